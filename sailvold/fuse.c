/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse: the role that answers the kernel for one mount: its start, its
 * channels, its session.  In fuse.
 */
#include <sys/resource.h>
#include <errno.h>
#include <event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "sailvold/change.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/given.h"
#include "sailvold/journal.h"
#include "sailvold/journal_done.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"
#include "sailvold/roles.h"
#include "sailvold/wakeful.h"
#include "sailvold/worker.h"

#define INIT_MAX 1024
#define EVICT_MS 250
#define EVICT_MORE_MS 1 /* while there is more to do */

static struct fuse_config config;
static int have_config, started, without_opendir;
static int table_fd = -1, session_fd = -1, latency_fd = -1;
static uint8_t wakeful; /* until it is started */
static int opened;
static uint64_t slots;
static uint8_t takeover, connection[16], init[INIT_MAX];
static size_t init_len;
static struct start start;
static uint64_t applied;
static int behind;
static struct chan *manifest; /* up, and not yet START */
static int manifest_said_start;
static struct event ev_evict;

int
frontend_readonly(void)
{
	return (config.flags & MOUNT_READONLY) != 0;
}

const struct idmap *
frontend_ids(void)
{
	return &config.ids;
}

int
frontend_without_opendir(void)
{
	return without_opendir;
}

const struct start *
frontend_start(void)
{
	return &start;
}

int
frontend_behind(void)
{
	return behind;
}

uint64_t
frontend_applied(void)
{
	return applied;
}

struct chan *
frontend_manifest(void)
{
	return manifest_said_start ? manifest : NULL;
}

struct chan *
frontend_cache(void)
{
	return role_peer_any(ROLE_CACHE);
}

/* ---- the session ---------------------------------------------------------------- */

static void
session_init(void *arg, struct fuse_conn_info *conn)
{
	const unsigned int want = FUSE_CAP_ASYNC_READ |
	    FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS |
	    FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
	    FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ASYNC_DIO;

	(void)arg;
	/* Locks are the kernel's own; no splice; no write-back cache. */
	conn->want = conn->capable & want;
	without_opendir = (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
	conn->max_write = 1024 * 1024;
	conn->max_read = 0;
	conn->max_readahead = 1024 * 1024;
	conn->max_background = 65535;
	conn->congestion_threshold = 65535;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops frontend_ops = {
	.init = session_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
	.statfs = op_statfs,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
};

int
frontend_set_start(const struct start *st)
{
	struct item it;
	struct rbuf r;

	rbuf_init(&r, st->root, st->root_len);
	if (item_decode(&r, &it) != 1 || rbuf_left(&r) != 0 ||
	    view_set_root(&it) == -1) {
		log_warnx("manifest: a root that is not one");
		return -1;
	}
	start = *st;
	start.root = NULL;
	start.root_len = 0;
	applied = st->applied;
	overlay_set_next(st->next);
	return 0;
}

void
frontend_switched(void)
{
	inode_set_base(start.epoch, start.base.b);
	change_hold(0);
	request_pause(0);
	behind = 0;
}

static int
begin(const struct start *st)
{
	struct hash base;
	uint64_t epoch = inode_base(base.b);

	if (frontend_set_start(st) == -1)
		return -1;
	/*
	 * The one before died between the rows of a reload and SWITCH, which
	 * comes again: until then the names in the table are those of the old
	 * base, and nothing can be answered of what they show.
	 */
	behind = takeover && epoch != 0 && epoch != st->epoch;
	if (!takeover)
		inode_set_base(st->epoch, st->base.b);
	door_begin(takeover);
	if (request_start(session_fd, &frontend_ops, init, init_len,
		takeover) == -1)
		fatal("session");
	if (behind)
		request_pause(1);
	started = 1;
	passthrough_begin();
	pool_begin();
	use_set_limit(config.overlay_limit);
	log_info("mount of %s: %s", config.volume,
	    takeover ? "taken over" : "served");
	return 0;
}

static int
on_start(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct start st;

	(void)id;
	(void)imsg;
	if (c != manifest || start_recv(body, &st) == -1)
		return -1;
	if (journal_end() < st.applied && journal_skip(st.applied) == -1)
		fatal("journal");
	manifest_said_start = 1;
	if (!started) {
		if (begin(&st) == -1)
			return -1;
	} else {
		/*
		 * A new manifest.  Another epoch: the one before died between
		 * its rows and SWITCH, which comes again; the same: a reload
		 * that was under way has failed, or is begun again.
		 */
		change_hold(st.epoch != start.epoch);
		applied = st.applied;
		overlay_set_next(st.next);
	}
	query_resend();
	door_resend();
	passthrough_new_manifest();
	passthrough_tell();
	use_tell();
	pool_tell();
	sync_mend(1);
	return 0;
}

static int
on_applied(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t offset;

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n64(body, &offset) == -1 || offset > journal_end() ||
	    offset < applied)
		return -1;
	applied = offset;
	journal_cut(applied);
	sync_go_on();
	return 0;
}

static void
on_evict(int fd, short ev, void *arg)
{
	struct timeval tv = { 0, EVICT_MS * 1000 };

	(void)fd;
	(void)ev;
	(void)arg;
	/* A find of a large tree brings directories faster than EVICT_MS. */
	if (view_evict(query_safe()))
		tv.tv_usec = EVICT_MORE_MS * 1000;
	content_tidy();
	sync_go_on();
	door_tick();
	use_tick();
	evtimer_add(&ev_evict, &tv);
}

/* ---- channels ------------------------------------------------------------------------ */

static void
send_segment(uint64_t first, int fd, void *arg)
{
	struct ibuf *b;

	(void)arg;
	if (manifest == NULL) {
		close(fd);
		return; /* it gets all of them when it comes */
	}
	if ((b = ibuf_dynamic(8, 64)) == NULL || ibuf_add_n64(b, first) == -1)
		fatal("segment");
	if (chan_send_ibuf(manifest, IMSG_FUSE_MANIFEST_SEGMENT, 0, fd, b) ==
	    -1)
		close(fd);
}

/* Once: it takes a tick of the clock and more. */
static int stores_show;

static void
say_hello(void)
{
	struct ibuf *b;

	journal_segments(send_segment, NULL);
	if ((b = ibuf_dynamic(25, 64)) == NULL ||
	    ibuf_add(b, config.mount, sizeof(config.mount)) == -1 ||
	    ibuf_add_n64(b, journal_end()) == -1 ||
	    ibuf_add_n8(b, (uint8_t)stores_show) == -1)
		fatal("hello");
	if (chan_send_ibuf(manifest, IMSG_FUSE_MANIFEST_HELLO, 0, -1, b) == -1)
		log_warn("hello");
}

static void
fuse_peer_up(struct chan *c)
{
	switch (chan_role(c)) {
	case ROLE_MANIFEST:
		manifest = c;
		manifest_said_start = 0;
		say_hello();
		break;
	case ROLE_CACHE:
		content_resend();
		room_cache_came();
		break;
	default:
		break;
	}
}

static void
fuse_peer_down(struct chan *c)
{
	if (c == manifest) {
		manifest = NULL;
		/* What a reload holds stays held: START says how it ended. */
		manifest_said_start = 0;
		switch_manifest_gone();
	}
	if (chan_role(c) == ROLE_CACHE) {
		switch_cache_gone();
		room_cache_gone();
	}
}

/* ---- start ------------------------------------------------------------------------------ */

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (have_config || fuse_config_recv(body, &config) == -1)
		return -1;
	have_config = 1;
	return 0;
}

static int
on_table(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	if (table_fd != -1 || ibuf_get_n64(body, &slots) == -1 ||
	    slots > UINT32_MAX / 4)
		return -1;
	table_fd = imsg_get_fd(imsg);
	return 0;
}

static int
on_session(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	if (session_fd != -1 || ibuf_get_n8(body, &takeover) == -1 ||
	    takeover > 1 || ibuf_get(body, connection, 16) == -1 ||
	    (init_len = ibuf_size(body)) > sizeof(init) ||
	    ibuf_get(body, init, init_len) == -1)
		return -1;
	session_fd = imsg_get_fd(imsg);
	return 0;
}

/* At the start, and when the configuration says something else. */
static int
on_awake(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint8_t mode;
	int fd;

	(void)c;
	(void)id;
	fd = imsg_get_fd(imsg);
	if (ibuf_get_n8(body, &mode) == -1 || mode >= WAKEFUL_MODES ||
	    (mode == WAKEFUL_LATENCY) != (fd != -1)) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	if (opened) {
		wakeful_set(mode, fd);
		return 0;
	}
	if (latency_fd != -1)
		close(latency_fd);
	latency_fd = fd;
	wakeful = mode;
	return 0;
}

static int
on_limit(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n64(body, &config.overlay_limit) == -1)
		return -1;
	if (started)
		use_set_limit(config.overlay_limit);
	return 0;
}

static int
fuse_configured(void)
{
	return have_config && table_fd != -1 && session_fd != -1;
}

static int
fuse_prepare(void)
{
	struct rlimit rl;

	tzset();
	/* Where there is no chroot, the role's folder is the current one. */
	if (role_dirfd() != -1 && fchdir(role_dirfd()) == -1)
		return -1;
	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		return -1;
	rl.rlim_cur = rl.rlim_max < 4096 ? rl.rlim_max : 4096;
	if (setrlimit(RLIMIT_NOFILE, &rl) == -1)
		return -1;
	overlay_fd_limit((unsigned int)rl.rlim_cur / 2);
	content_init((unsigned int)rl.rlim_cur / 4);
	return 0;
}

static int
fuse_start(void)
{
	struct timeval tv = { 0, EVICT_MS * 1000 };

	if (overlay_open() == -1 ||
	    journal_open("journal", config.mount, connection, takeover) == -1 ||
	    inode_open(table_fd, (uint32_t)slots, takeover) == -1)
		return -1;
	stores_show = overlay_probe();
	if (!(config.flags & MOUNT_READONLY)) {
		passthrough_init(config.flags & MOUNT_PASSTHROUGH, init,
		    init_len, overlay_on_overlayfs());
		pool_open();
	}
	close(table_fd);
	given_open(takeover);
	tally_use(inode_tally_memory());
	wakeful_set(wakeful, latency_fd);
	opened = 1;
	handle_open_table(takeover);
	if (takeover)
		torn_mend();
	view_init(config.view_bytes);
	journal_on_segment(send_segment, NULL);
	journal_on_cut(door_cut);
	request_on_abandoned(content_abandoned);
	request_on_resent(done_forget);
	room_init();
	evtimer_set(&ev_evict, on_evict, NULL);
	evtimer_add(&ev_evict, &tv);
	return worker_start();
}

#define BODY PROC_MAX_BODY
static const struct msg_rule rules[] = {
	{ IMSG_PARENT_FUSE_CONFIG, ROLE_PARENT, CHAN_NOFD, 46, 512, on_config,
	    "fuse config" },
	{ IMSG_PARENT_FUSE_TABLE, ROLE_PARENT, CHAN_FD, 8, 8, on_table,
	    "fuse table" },
	{ IMSG_PARENT_FUSE_SESSION, ROLE_PARENT, CHAN_FD, 17, 17 + INIT_MAX,
	    on_session, "fuse session" },
	{ IMSG_PARENT_FUSE_AWAKE, ROLE_PARENT, CHAN_MAYFD, 1, 1, on_awake,
	    "fuse awake" },
	{ IMSG_PARENT_FUSE_LIMIT, ROLE_PARENT, CHAN_NOFD, 8, 8, on_limit,
	    "limit" },
	{ IMSG_PARENT_FUSE_BACKING_RES, ROLE_PARENT, CHAN_NOFD, 2,
	    2 + BACKING_BATCH * 16, passthrough_rules_res, "backing files" },
	{ IMSG_MANIFEST_FUSE_POOL_RES, ROLE_MANIFEST, CHAN_NOFD, 0, 0,
	    pool_rules_res, "pool" },
	{ IMSG_MANIFEST_FUSE_START, ROLE_MANIFEST, CHAN_NOFD, 75, BODY,
	    on_start, "start" },
	{ IMSG_MANIFEST_FUSE_APPLIED, ROLE_MANIFEST, CHAN_NOFD, 8, 8,
	    on_applied, "applied" },
	{ IMSG_MANIFEST_FUSE_LOAD_RES, ROLE_MANIFEST, CHAN_MAYFD, 7, BODY,
	    query_rules_load, "load result" },
	{ IMSG_MANIFEST_FUSE_OBJECT_RES, ROLE_MANIFEST, CHAN_MAYFD, 8, BODY,
	    query_rules_object, "object result" },
	{ IMSG_MANIFEST_FUSE_CHUNKS_RES, ROLE_MANIFEST, CHAN_MAYFD, 4, 4,
	    query_rules_chunks, "chunks result" },
	{ IMSG_MANIFEST_FUSE_SYNC, ROLE_MANIFEST, CHAN_NOFD, 0, 0, switch_sync,
	    "sync" },
	{ IMSG_MANIFEST_FUSE_OPEN, ROLE_MANIFEST, CHAN_NOFD, 8, 8, switch_open,
	    "open" },
	{ IMSG_MANIFEST_FUSE_UNLINK, ROLE_MANIFEST, CHAN_NOFD, 2, BODY,
	    switch_unlink, "unlink" },
	{ IMSG_MANIFEST_FUSE_LET_GO, ROLE_MANIFEST, CHAN_NOFD, 2, BODY,
	    switch_let_go, "let go" },
	{ IMSG_MANIFEST_FUSE_SETTLE, ROLE_MANIFEST, CHAN_NOFD, 2, BODY,
	    switch_settle, "settle" },
	{ IMSG_MANIFEST_FUSE_RELOAD, ROLE_MANIFEST, CHAN_NOFD, 0, 0,
	    switch_reload, "reload" },
	{ IMSG_MANIFEST_FUSE_SWITCH, ROLE_MANIFEST, CHAN_MAYFD, 75, BODY,
	    switch_switch, "switch" },
	{ IMSG_MANIFEST_FUSE_CACHE_PUT, ROLE_MANIFEST, CHAN_NOFD, 52, BODY,
	    switch_cache_put, "cache put" },
	{ IMSG_MANIFEST_FUSE_CTL_LINE, ROLE_MANIFEST, CHAN_FD, 9, 9, door_line,
	    "line" },
	{ IMSG_CACHE_FUSE_GET_RES, ROLE_CACHE, CHAN_MAYFD, 14, BODY,
	    content_rules_get, "get result" },
	{ IMSG_CACHE_FUSE_BUNDLE, ROLE_CACHE, CHAN_FD, 2, BODY,
	    content_rules_bundle, "bundle" },
	{ IMSG_CACHE_FUSE_LET_GO, ROLE_CACHE, CHAN_NOFD, 0, 0,
	    content_rules_let_go, "let go of files" },
	{ IMSG_CACHE_FUSE_ROOM_RES, ROLE_CACHE, CHAN_NOFD, 8, 8, room_rules_res,
	    "room result" },
	{ IMSG_CACHE_FUSE_PUT_RES, ROLE_CACHE, CHAN_NOFD, 4, 4,
	    content_rules_put, "put result" },
};

const struct role_def fuse_role = {
	.role = ROLE_FUSE,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = fuse_configured,
	.prepare = fuse_prepare,
	.start = fuse_start,
	.peer_up = fuse_peer_up,
	.peer_down = fuse_peer_down,
	.stop = pool_close,
	.sandbox_flags = SANDBOX_THREADS,
};
