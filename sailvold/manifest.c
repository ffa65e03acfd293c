/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * manifest: the role that owns the database: its loop, its mounts, the table
 * of what may come from whom.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/ask.h"
#include "sailvold/auto_commit.h"
#include "sailvold/ballast.h"
#include "sailvold/collect.h"
#include "sailvold/control.h"
#include "sailvold/load.h"
#include "sailvold/metrics.h"
#include "sailvold/mount_start.h"
#include "sailvold/roles.h"
#include "sailvold/server.h"

#define DB_FILE "/sailvold.db"
#define BALLAST_FILE "/ballast"
#define BALLAST_S 10
#define NODE_TRIM_S 3600
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

struct db *manifest_db;

static TAILQ_HEAD(, mount) mounts = TAILQ_HEAD_INITIALIZER(mounts);
static struct event *trim_event, *keep_event;
static uint64_t node_bytes = (uint64_t)1 << 30;
static int configured;

/* ---- mounts -------------------------------------------------------------------------- */

struct mount *
mount_by_instance(uint32_t instance)
{
	struct mount *m;

	TAILQ_FOREACH (m, &mounts, link)
		if (m->instance == instance)
			return m;
	return NULL;
}

struct mount *
mount_by_path(const char *path)
{
	struct mount *m;

	TAILQ_FOREACH (m, &mounts, link)
		/* Of one that goes nobody begins anything. */
		if (!m->gone && strcmp(m->row.path, path) == 0)
			return m;
	return NULL;
}

void
mount_foreach(void (*f)(struct mount *, void *), void *arg)
{
	struct mount *m, *next;

	for (m = TAILQ_FIRST(&mounts); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		f(m, arg);
	}
}

struct mount *
mount_new(void)
{
	struct mount *m;

	if ((m = calloc(1, sizeof(*m))) == NULL)
		return NULL;
	TAILQ_INIT(&m->waits);
	TAILQ_INIT(&m->asks);
	TAILQ_INIT(&m->jobs);
	return m;
}

void
mount_free(struct mount *m)
{
	journal_free(m);
	mount_start_free(m);
	mount_row_free(&m->row);
	free(m);
}

void
mount_ready(struct mount *m)
{
	TAILQ_INSERT_TAIL(&mounts, m, link);
	/* Its fuse may have come first, after a restart of this process. */
	if ((m->fuse = role_peer(ROLE_FUSE, m->instance)) != NULL)
		chan_resume(m->fuse);
	m->notify = role_peer(ROLE_NOTIFY, m->instance);
}

void
mount_started(struct mount *m)
{
	collect_go_on(m);
	jobs_mount_started(m);
	auto_commit_started(m);
}

int
parent_start_notify(struct mount *m)
{
	uint8_t b[4] = { (uint8_t)(m->instance >> 24),
		(uint8_t)(m->instance >> 16), (uint8_t)(m->instance >> 8),
		(uint8_t)m->instance };

	return chan_send(role_parent(), IMSG_MANIFEST_PARENT_NOTIFY, 0, -1, b,
	    sizeof(b));
}

/* ---- from the parent ------------------------------------------------------------------- */

static int
get_str16(struct ibuf *body, char *out, size_t size)
{
	uint16_t len;

	if (ibuf_get_n16(body, &len) == -1 || len >= size ||
	    ibuf_get(body, out, len) == -1 || memchr(out, '\0', len) != NULL)
		return -1;
	out[len] = '\0';
	return 0;
}

static int
on_config(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint64_t stash_bytes, stash_total;
	uint32_t stash_days;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n64(body, &stash_bytes) == -1 ||
	    ibuf_get_n64(body, &stash_total) == -1 ||
	    ibuf_get_n32(body, &stash_days) == -1 ||
	    ibuf_get_n64(body, &node_bytes) == -1 || ibuf_size(body) != 0)
		return -1;
	stash_limits(stash_bytes, stash_total, stash_days);
	configured = 1;
	return 0;
}

static int
on_mount(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount_req req;

	(void)ch;
	(void)im;
	if (mount_req_recv(body, &req) == -1)
		return -1;
	return mount_begin(id, &req);
}

static int
on_gone(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m;
	uint32_t instance;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n32(body, &instance) == -1 || ibuf_size(body) != 0)
		return -1;
	if ((m = mount_by_instance(instance)) == NULL) {
		mount_begin_gone(instance);
		return 0;
	}
	m->gone = 1;
	auto_commit_gone(m);
	jobs_mount_gone(m);
	collect_mount_gone(m);
	ask_mount_gone(m);
	if (journal_drain(m) == 0)
		mount_reset(m);
	TAILQ_REMOVE(&mounts, m, link);
	mount_free(m);
	return 0;
}

/* All that was acknowledged stands in the journal. */
static int
on_dirty(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint64_t names = 0, objects = 0;
	uint32_t instance;
	struct mount *m;
	struct ibuf *b;
	int dirty;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n32(body, &instance) == -1 || ibuf_size(body) != 0)
		return -1;
	m = mount_by_instance(instance);
	dirty = m == NULL || !m->started || journal_drain(m) == -1 ||
	    db_dirty_count(manifest_db, m->row.row, &names, &objects) == -1 ||
	    names > 0 || objects > 0;
	if ((b = ibuf_dynamic(5, 5)) == NULL ||
	    ibuf_add_n32(b, instance) == -1 ||
	    ibuf_add_n8(b, (uint8_t)dirty) == -1) {
		ibuf_free(b);
		return 0;
	}
	chan_send_ibuf(role_parent(), IMSG_MANIFEST_PARENT_DIRTY_RES, 0, -1, b);
	return 0;
}

static int
on_client(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	static uint32_t groups[CLIENT_GROUPS_MAX];
	struct control_peer p = { .groups = groups };
	uint16_t n, i;

	(void)ch;
	(void)id;
	if (ibuf_get_n32(body, &p.uid) == -1 ||
	    ibuf_get_n32(body, &p.gid) == -1 ||
	    ibuf_get_n32(body, &p.pid) == -1 ||
	    ibuf_get(body, p.ticket.b, HASH_LEN) == -1 ||
	    ibuf_get_n16(body, &n) == -1 || n > CLIENT_GROUPS_MAX ||
	    ibuf_size(body) != (size_t)n * 4)
		return -1;
	for (i = 0; i < n; i++)
		if (ibuf_get_n32(body, &groups[i]) == -1)
			return -1;
	p.ngroups = n;
	control_client(imsg_get_fd(im), &p);
	return 0;
}

static int
on_done(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	char what[1024], warning[1024];
	uint32_t error, instance;

	(void)ch;
	(void)im;
	if (ibuf_get_n32(body, &error) == -1 ||
	    get_str16(body, what, sizeof(what)) == -1 ||
	    get_str16(body, warning, sizeof(warning)) == -1 ||
	    ibuf_get_n32(body, &instance) == -1 || ibuf_size(body) != 0)
		return -1;
	control_parent_done(id, (int)error, what, warning, instance);
	return 0;
}

static int
on_ends(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	(void)body;
	jobs_daemon_ends();
	control_ends();
	if (chan_send(role_parent(), IMSG_MANIFEST_PARENT_ENDS_RES, 0, -1, NULL,
		0) == -1)
		log_warn("parent");
	return 0;
}

static int
on_policy(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount_policy p;
	uint32_t instance;
	struct mount *m;

	(void)ch;
	(void)id;
	(void)im;
	if (policy_recv(body, &instance, &p) == -1)
		return -1;
	if ((m = mount_by_instance(instance)) != NULL) {
		m->policy = p;
		auto_commit_changed(m);
	}
	return 0;
}

static void
last_done(void)
{
	if (chan_send(role_parent(), IMSG_MANIFEST_PARENT_LAST_RES, 0, -1, NULL,
		0) == -1)
		log_warn("answering the parent");
}

static int
on_last(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	(void)body;
	auto_commit_last(last_done);
	return 0;
}

static int
on_status(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)body;
	control_parent_status(id, imsg_get_fd(im));
	return 0;
}

/* ---- from fuse --------------------------------------------------------------------------- */

static int
on_segment(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint64_t first;

	(void)id;
	if (ibuf_get_n64(body, &first) == -1 || ibuf_size(body) != 0)
		return -1;
	if (m == NULL)
		return 0;
	return journal_segment(m, first, imsg_get_fd(im));
}

static int
on_hello(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint8_t mount[16], stores_show;
	uint64_t end;

	(void)id;
	(void)im;
	if (ibuf_get(body, mount, sizeof(mount)) == -1 ||
	    ibuf_get_n64(body, &end) == -1 ||
	    ibuf_get_n8(body, &stores_show) == -1 || stores_show > 1 ||
	    ibuf_size(body) != 0)
		return -1;
	if (m == NULL)
		return 0;
	m->stores_show = stores_show;
	return mount_hello(m, mount, end);
}

static int
on_ctl(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	struct memfd_view line;
	uint64_t session, offset;
	uint32_t uid, gid;
	int fd = imsg_get_fd(im), rc;

	(void)id;
	rc = memfd_map(fd, RECORD_LINE_MAX, &line);
	close(fd);
	if (rc == -1)
		return -1;
	if (ibuf_get_n64(body, &session) == -1 ||
	    ibuf_get_n32(body, &uid) == -1 || ibuf_get_n32(body, &gid) == -1 ||
	    ibuf_get_n64(body, &offset) == -1)
		rc = -1;
	else if (m != NULL)
		control_ctl(m, session, uid, gid, offset, line.data, line.len);
	memfd_unmap(&line);
	return rc;
}

static int
on_ctl_close(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint64_t session;

	(void)id;
	(void)im;
	if (ibuf_get_n64(body, &session) == -1 || ibuf_size(body) != 0)
		return -1;
	if (m != NULL)
		control_ctl_close(m, session);
	return 0;
}

static int
on_passthrough(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint8_t state;

	(void)id;
	(void)im;
	if (ibuf_get_n8(body, &state) == -1 || state >= PASSTHROUGH_STATES)
		return -1;
	if (m != NULL)
		m->passthrough = state;
	return 0;
}

static int
on_use(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint64_t used, limit;

	(void)id;
	(void)im;
	if (ibuf_get_n64(body, &used) == -1 || ibuf_get_n64(body, &limit) == -1)
		return -1;
	if (m != NULL) {
		m->overlay_used = used;
		m->overlay_limit = limit;
	}
	return 0;
}

/* Its journal is applied to the end: what has no row was never used. */
static int
on_pool(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct mount *m = mount_by_instance(chan_instance(ch));
	uint64_t ovls[BACKING_BATCH], gone[BACKING_BATCH];
	uint16_t i, n;
	size_t ngone = 0;
	struct obj o;

	(void)im;
	if (numbers_recv(body, ovls, BACKING_BATCH, &n) == -1)
		return -1;
	if (m == NULL || !m->started)
		return 0;
	for (i = 0; i < n; i++) {
		if (db_obj_get(manifest_db, m->row.row, ovls[i], &o) == 0)
			obj_free(&o);
		else if (errno == ENOENT && ovls[i] > OVL_ROOT &&
		    ovls[i] < m->row.next && !ovl_is_held(m, ovls[i]))
			gone[ngone++] = ovls[i];
	}
	tell_unlink(m, gone, ngone);
	return chan_send(ch, IMSG_MANIFEST_FUSE_POOL_RES, id, -1, NULL, 0) ==
		    -1 &&
		errno != EPIPE
	    ? -1
	    : 0;
}

/* ---- who may send what ---------------------------------------------------------------------- */

#define RULE(type, from, fd, min, max, f)                               \
	{                                                               \
		IMSG_##type, ROLE_##from, CHAN_##fd, min, max, f, #type \
	}

static const struct msg_rule rules[] = {
	RULE(PARENT_MANIFEST_CONFIG, PARENT, NOFD, 28, 28, on_config),
	RULE(PARENT_MANIFEST_MOUNT, PARENT, NOFD, 16, 16384, on_mount),
	RULE(PARENT_MANIFEST_GONE, PARENT, NOFD, 4, 4, on_gone),
	RULE(PARENT_MANIFEST_DIRTY, PARENT, NOFD, 4, 4, on_dirty),
	RULE(PARENT_MANIFEST_CLIENT, PARENT, FD, 46, 46 + 4 * CLIENT_GROUPS_MAX,
	    on_client),
	RULE(PARENT_MANIFEST_DONE, PARENT, NOFD, 12, 4096, on_done),
	RULE(PARENT_MANIFEST_STATUS_RES, PARENT, FD, 0, 0, on_status),
	RULE(PARENT_MANIFEST_ENDS, PARENT, NOFD, 0, 0, on_ends),
	RULE(PARENT_MANIFEST_POLICY, PARENT, NOFD, 17, 17, on_policy),
	RULE(PARENT_MANIFEST_LAST, PARENT, NOFD, 0, 0, on_last),
	RULE(PARENT_MANIFEST_NUMBERS, PARENT, NOFD, 0, 0, metrics_manifest),
	RULE(FUSE_MANIFEST_SEGMENT, FUSE, FD, 8, 8, on_segment),
	RULE(FUSE_MANIFEST_HELLO, FUSE, NOFD, 25, 25, on_hello),
	RULE(FUSE_MANIFEST_USE, FUSE, NOFD, 16, 16, on_use),
	RULE(FUSE_MANIFEST_PASSTHROUGH, FUSE, NOFD, 1, 1, on_passthrough),
	RULE(FUSE_MANIFEST_POOL, FUSE, NOFD, 2, 2 + BACKING_BATCH * 8, on_pool),
	RULE(FUSE_MANIFEST_LOAD, FUSE, NOFD, 16, 16384, load_dir),
	RULE(FUSE_MANIFEST_OBJECT, FUSE, NOFD, 16, 16, load_object),
	RULE(FUSE_MANIFEST_CHUNKS, FUSE, NOFD, 50, 8192, load_chunks),
	RULE(FUSE_MANIFEST_SYNC_RES, FUSE, NOFD, 8, 8, ask_sync_res),
	RULE(FUSE_MANIFEST_OPEN_REST, FUSE, FD, 0, 0, ask_open_rest),
	RULE(FUSE_MANIFEST_OPEN_RES, FUSE, MAYFD, 5, 5, ask_open_res),
	RULE(FUSE_MANIFEST_RELOAD_RES, FUSE, NOFD, 8, 8, ask_reload_res),
	RULE(FUSE_MANIFEST_SWITCHED, FUSE, FD, 4, 4, ask_switched),
	RULE(FUSE_MANIFEST_CACHE_PUT_RES, FUSE, NOFD, 4, 4, ask_cache_put_res),
	RULE(FUSE_MANIFEST_CTL, FUSE, FD, 24, 24, on_ctl),
	RULE(FUSE_MANIFEST_CTL_CLOSE, FUSE, NOFD, 8, 8, on_ctl_close),
	RULE(NOTIFY_MANIFEST_TOLD, NOTIFY, NOFD, 8, 8, ask_told),
	RULE(FETCH_API_RES, FETCH, MAYFD, 14, 8192, server_api_res),
	RULE(FETCH_HASH_RES, FETCH, MAYFD, 40, 1024, server_hash_res),
	RULE(FETCH_HASH_PROGRESS, FETCH, NOFD, 8, 8, server_hash_progress),
	RULE(FETCH_HASH_CHUNKS, FETCH, NOFD,
	    FETCH_HASH_CHUNKS_HEAD + FETCH_HASH_CHUNK_LEN,
	    FETCH_HASH_CHUNKS_HEAD +
		FETCH_HASH_CHUNKS_MAX * FETCH_HASH_CHUNK_LEN,
	    server_hash_chunks),
	RULE(FETCH_UPLOAD_PROGRESS, FETCH, NOFD, 20, 20,
	    server_upload_progress),
	RULE(FETCH_UPLOAD_RES, FETCH, MAYFD, 10, 8192, server_upload_res),
};

/* ---- peers ------------------------------------------------------------------------------------ */

static void
peer_up(struct chan *ch)
{
	struct mount *m = mount_by_instance(chan_instance(ch));

	switch (chan_role(ch)) {
	case ROLE_FUSE:
		if (m != NULL) {
			journal_forget(m);
			m->fuse = ch;
			m->fuses++;
			m->started = 0;
		} else
			chan_pause(ch); /* until mount_ready() */
		break;
	case ROLE_NOTIFY:
		if (m != NULL) {
			m->notify = ch;
			ask_notify_up(m);
		}
		break;
	case ROLE_FETCH:
		server_fetch_up(ch);
		break;
	}
}

static void
peer_down(struct chan *ch)
{
	struct mount *m = mount_by_instance(chan_instance(ch));

	switch (chan_role(ch)) {
	case ROLE_FUSE:
		load_fuse_down(ch);
		if (m != NULL && m->fuse == ch) {
			m->fuse = NULL;
			m->started = 0;
			mount_fuse_down(m);
			control_fuse_down(m);
		}
		break;
	case ROLE_NOTIFY:
		if (m != NULL && m->notify == ch) {
			m->notify = NULL;
			ask_notify_down(m);
		}
		break;
	case ROLE_FETCH:
		server_fetch_down(ch);
		break;
	}
}

/* ---- the role ---------------------------------------------------------------------------------- */

static int
is_configured(void)
{
	return configured;
}

static void
trim(int fd, short what, void *arg)
{
	struct timeval tv = { NODE_TRIM_S, 0 };

	(void)fd;
	(void)what;
	(void)arg;
	if (db_begin(manifest_db) == 0) {
		if (db_node_trim(manifest_db, node_bytes) == -1 ||
		    db_commit(manifest_db) == -1)
			db_rollback(manifest_db);
	}
	evtimer_add(trim_event, &tv);
}

static void
keep(int fd, short what, void *arg)
{
	struct timeval tv = { BALLAST_S, 0 };

	(void)fd;
	(void)what;
	(void)arg;
	ballast_keep();
	evtimer_add(keep_event, &tv);
}

/* There is no /proc where it goes. */
static int
prepare(void)
{
	char id[BOOT_ID_LEN + 1] = "";
	ssize_t n;
	int fd;

	if ((fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC)) == -1) {
		log_warn("%s", BOOT_ID_FILE);
		return 0;
	}
	n = read(fd, id, BOOT_ID_LEN);
	close(fd);
	id[n == BOOT_ID_LEN ? n : 0] = '\0';
	mount_boot(id);
	return 0;
}

static int
start(void)
{
	struct timeval tv = { NODE_TRIM_S, 0 };

	umask(077);
	if ((manifest_db = db_open(DB_FILE)) == NULL)
		return -1;
	db_on_full(ballast_drop);
	ballast_open(BALLAST_FILE);
	keep_event = evtimer_new(proc_base(), keep, NULL);
	if (keep_event == NULL)
		return -1;
	keep(-1, 0, NULL);
	trim_event = evtimer_new(proc_base(), trim, NULL);
	if (trim_event == NULL || evtimer_add(trim_event, &tv) == -1)
		return -1;
	return 0;
}

static void
stop(void)
{
	control_clients_flush();
	db_close(manifest_db);
	manifest_db = NULL;
}

const struct role_def manifest_role = {
	.role = ROLE_MANIFEST,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = is_configured,
	.prepare = prepare,
	.start = start,
	.peer_up = peer_up,
	.peer_down = peer_down,
	.stop = stop,
};
