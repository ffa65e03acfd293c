/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests: what comes to the parent of sailvold(8) from clients through
 * manifest.  In the parent.
 */
#include <sys/socket.h>
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"
#include "sailvold/config.h"
#include "sailvold/mounts.h"
#include "sailvold/metrics.h"
#include "sailvold/requests.h"
#include "sailvold/restart.h"
#include "sailvold/warrant.h"

#define ACCEPT_PAUSE_MS 500
#define STARTING_PAUSE_MS 20
#define CLIENTS_QUEUED 64

static const struct config *conf;
static struct event *accept_event, *accept_again;

/* ---- clients ---------------------------------------------------------------------------- */

/* unix(7): supplementary groups, as they were at connect(2). */
static int
add_groups(struct ibuf *b, int fd)
{
	static gid_t groups[CLIENT_GROUPS_MAX];
	socklen_t len = sizeof(groups);
	size_t i, n;

	/* Of more than there is room for (ERANGE) none counts. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == -1)
		len = 0;
	n = len / sizeof(groups[0]);
	if (ibuf_add_n16(b, (uint16_t)n) == -1)
		return -1;
	for (i = 0; i < n; i++)
		if (ibuf_add_n32(b, groups[i]) == -1)
			return -1;
	return 0;
}

static int
hand_over(int fd, struct proc *manifest)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct hash ticket;
	struct ibuf *b;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1 ||
	    warrant_ticket(fd, &ticket) == -1 ||
	    (b = ibuf_dynamic(64, PROC_MAX_BODY)) == NULL)
		return -1;
	if (ibuf_add_n32(b, cred.uid) == -1 ||
	    ibuf_add_n32(b, cred.gid) == -1 ||
	    ibuf_add_n32(b, (uint32_t)cred.pid) == -1 ||
	    ibuf_add(b, ticket.b, HASH_LEN) == -1 || add_groups(b, fd) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(proc_chan(manifest), IMSG_PARENT_MANIFEST_CLIENT,
	    0, fd, b);
}

/* The socket stays readable: without a descriptor to be had it would spin. */
static void
accept_pause(int ms)
{
	struct timeval tv = { 0, ms * 1000 };

	event_del(accept_event);
	evtimer_add(accept_again, &tv);
}

static void
accept_resume(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_add(accept_event, NULL);
}

/* The log says why; who waits would wait long. */
static void
refuse_client(int fd)
{
	static const char text[] =
	    "{\"error\":{\"message\":\"manifest, a process of sailvold, does "
	    "not start: the log says why\",\"type\":\"unavailable\",\"code\":"
	    "\"starting\"}}\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
}

/* Accepted clients are manifest's: until it is ready they wait in the queue. */
static void
accept_client(int listener, short what, void *arg)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	int fails = manifest == NULL || proc_fails(manifest);
	int ready =
	    !fails && proc_chan(manifest) != NULL && proc_ready(manifest);
	int fd;

	(void)what;
	(void)arg;
	/* Of one that does not read much may not be queued. */
	if ((!ready && !fails) ||
	    (ready && chan_queued_fds(proc_chan(manifest)) > CLIENTS_QUEUED)) {
		accept_pause(STARTING_PAUSE_MS);
		return;
	}
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1) {
		if (errno != EAGAIN && errno != EINTR &&
		    errno != ECONNABORTED) {
			log_warn("control socket");
			accept_pause(ACCEPT_PAUSE_MS);
		}
		return;
	}
	if (ready && hand_over(fd, manifest) == 0)
		return;
	refuse_client(fd);
	close(fd);
}

int
requests_listen(int fd)
{
	accept_event = event_new(proc_base(), fd, EV_READ | EV_PERSIST,
	    accept_client, NULL);
	accept_again = evtimer_new(proc_base(), accept_resume, NULL);
	if (accept_event == NULL || accept_again == NULL)
		return -1;
	return event_add(accept_event, NULL);
}

void
requests_end(void)
{
	if (accept_event != NULL)
		event_del(accept_event);
	if (accept_again != NULL)
		evtimer_del(accept_again);
}

/* ---- mount and umount ------------------------------------------------------------------------ */

static void
do_done(void *arg, int error, const char *what, const char *warning,
    uint32_t instance)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	uint32_t id = (uint32_t)(uintptr_t)arg;
	size_t n = strnlen(what, 1000), w = strnlen(warning, 1000);
	struct ibuf *b;

	if (manifest == NULL || proc_chan(manifest) == NULL)
		return;
	b = ibuf_dynamic(64, 4096);
	if (b == NULL || ibuf_add_n32(b, (uint32_t)error) == -1 ||
	    ibuf_add_n16(b, (uint16_t)n) == -1 || ibuf_add(b, what, n) == -1 ||
	    ibuf_add_n16(b, (uint16_t)w) == -1 ||
	    ibuf_add(b, warning, w) == -1 || ibuf_add_n32(b, instance) == -1) {
		ibuf_free(b);
		log_warnx("out of memory: who asked for a mount, umount or "
			  "restart is not told how it ended: %s",
		    error == 0 ? "it is done" : what);
		return;
	}
	if (chan_send_ibuf(proc_chan(manifest), IMSG_PARENT_MANIFEST_DONE, id,
		-1, b) == -1)
		log_warn("answering manifest");
}

static void
do_mount(uint32_t id, struct parent_req *req, uid_t uid)
{
	struct conf_volume v;
	const char *why;

	memset(&v, 0, sizeof(v));
	v.name = req->mount.volume;
	v.path = req->mount.path;
	v.subpath = req->mount.subpath;
	v.flags =
	    req->mount.flags & (MOUNT_READONLY | MOUNT_CREATE | MOUNT_NOEXEC);
	v.policy.commit_on_umount = req->mount.policy.commit_on_umount;
	v.ids = req->mount.ids;
	v.has_commit = req->mount.has_commit;
	if (v.has_commit) {
		hash_hex(&req->mount.commit, v.commit);
		v.flags |= MOUNT_READONLY;
	}
	why = volume_name_problem(v.name, strlen(v.name));
	if (why == NULL)
		why = config_path_problem(v.path);
	if (why == NULL)
		why = path_problem(v.subpath, strlen(v.subpath));
	if (why != NULL)
		do_done((void *)(uintptr_t)id, EINVAL, why, "", 0);
	else if ((v.flags & MOUNT_CREATE) && uid != 0)
		do_done((void *)(uintptr_t)id, EPERM,
		    "only root makes volumes "
		    "with the key of sailvold",
		    "", 0);
	else if (v.policy.commit_on_umount && uid != 0)
		do_done((void *)(uintptr_t)id, EPERM,
		    "only root has a mount committed on umount", "", 0);
	else if (v.policy.commit_on_umount && (v.flags & MOUNT_READONLY))
		do_done((void *)(uintptr_t)id, EINVAL,
		    "commit on umount: it is read only", "", 0);
	else if (v.ids.count != 0 && uid != 0)
		do_done((void *)(uintptr_t)id, EPERM,
		    "only root may mount with a range of uids", "", 0);
	else
		mounts_add(&v, uid, do_done, (void *)(uintptr_t)id);
}

/* ---- restart ----------------------------------------------------------------------------------- */

static void
restart_may(void *arg, int error, const char *what)
{
	char why[4200];

	if (error == 0 && mounts_hand_over(why, sizeof(why)) == -1) {
		error = EBUSY;
		what = why;
	}
	do_done(arg, error, what, "", 0);
	if (error != 0)
		return;
	requests_end();
	metrics_end();
	restart_now();
}

static void
do_restart(uint32_t id, uid_t asker)
{
	void *arg = (void *)(uintptr_t)id;
	uid_t uid;
	gid_t gid;

	if (asker != 0)
		do_done(arg, EPERM, "only root restarts sailvold", "", 0);
	else if (config_user(conf, CONF_FUSE, &uid, &gid) == -1)
		do_done(arg, EINVAL, "the user of fuse is not there", "", 0);
	else
		restart_ask(uid, conf->state, restart_may, arg);
}

int
requests_on_do(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	void *arg = (void *)(uintptr_t)id;
	struct parent_req req;
	const char *why;
	uid_t uid;
	int fd, error;

	if (parent_req_recv(body, &req) == -1)
		return -1;
	fd = imsg_get_fd(im);
	if (warrant_check(fd, &req, &uid, &why) == -1) {
		error = errno;
		if (!proc_floods(chan_arg(ch)))
			log_warnx("a request of manifest is refused: %s", why);
		do_done(arg, error, why, "", 0);
	} else if (req.verb == PARENT_MOUNT)
		do_mount(id, &req, uid);
	else if (req.verb == PARENT_RESTART)
		do_restart(id, uid);
	else if (req.verb == PARENT_FORGET)
		mounts_forget(req.mount.path, uid, do_done, arg);
	else
		mounts_remove(req.mount.path, uid, req.force, do_done, arg);
	if (fd != -1)
		close(fd);
	mount_req_free(&req.mount);
	return 0;
}

/* ---- status ------------------------------------------------------------------------------------ */

#define CACHE_WAIT_S 2

static uint32_t status_ids[64];
static size_t nstatus;
static struct event *status_timer;

static void
add_process(struct proc *p, void *arg)
{
	json_array_append_new(arg,
	    json_pack("{s:s, s:i, s:i, s:b, s:s}", "role",
		role_name(proc_role(p)), "instance", (int)proc_instance(p),
		"pid", (int)proc_pid(p), "ready", proc_ready(p), "sandbox",
		proc_sandbox(p)));
}

void
requests_configure(const struct config *c)
{
	conf = c;
}

/* Where root finds the server and the key; the key is not told. */
static json_t *
server_status(void)
{
	return json_pack("{s:s, s:s, s:s?}", "url", conf->api_url, "key_file",
	    conf->key_file, "ca_file", conf->ca_file);
}

static int wait_for_cache(void);

static void
answer_status(json_t *cache)
{
	struct proc *manifest = proc_find(ROLE_MANIFEST, 0);
	json_t *processes = json_array(), *all;
	char *text;
	size_t i, left = 0;
	int fd;

	proc_foreach(add_process, processes);
	all = json_pack("{s:i, s:i, s:o, s:o, s:o, s:o}", "pid", (int)getpid(),
	    "restarts", (int)handover_times(), "processes", processes, "mounts",
	    mounts_status(), "cache", cache != NULL ? cache : json_null(),
	    "server", server_status());
	text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
	for (i = 0; text != NULL && i < nstatus; i++) {
		if (manifest == NULL || proc_chan(manifest) == NULL)
			break;
		fd = memfd_new("status", text, strlen(text));
		if (fd == -1 ||
		    chan_send(proc_chan(manifest),
			IMSG_PARENT_MANIFEST_STATUS_RES, status_ids[i], fd,
			NULL, 0) == -1) {
			log_warn("status");
			if (fd != -1)
				close(fd);
			status_ids[left++] = status_ids[i];
		}
	}
	if (text == NULL) {
		log_warnx("status: out of memory");
		left = nstatus;
	}
	if (status_timer != NULL)
		evtimer_del(status_timer);
	/* These are tried again. */
	nstatus = left;
	if (left > 0 && wait_for_cache() == -1)
		log_warn("status");
	free(text);
	json_decref(all);
}

/* A cache that died or hangs does not hold the answer up. */
static void
cache_is_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	answer_status(NULL);
}

static int
wait_for_cache(void)
{
	struct timeval tv = { CACHE_WAIT_S, 0 };

	if (status_timer == NULL)
		status_timer = evtimer_new(proc_base(), cache_is_late, NULL);
	if (status_timer == NULL)
		return -1;
	return evtimer_pending(status_timer, NULL)
	    ? 0
	    : evtimer_add(status_timer, &tv);
}

/* The cache is asked first; without it the answer goes at once. */
int
requests_on_status(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct proc *cache = proc_find(ROLE_CACHE, 0);

	(void)ch;
	(void)im;
	(void)body;
	if (nstatus == sizeof(status_ids) / sizeof(status_ids[0]))
		answer_status(NULL);
	status_ids[nstatus++] = id;
	if (cache == NULL || proc_chan(cache) == NULL || !proc_ready(cache) ||
	    wait_for_cache() == -1 ||
	    chan_send(proc_chan(cache), IMSG_PARENT_CACHE_STATUS, 0, -1, NULL,
		0) == -1)
		answer_status(NULL);
	return 0;
}

int
requests_on_cache_status(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	uint64_t used, limit, files, hits, fetched;

	(void)ch;
	(void)id;
	(void)im;
	if (ibuf_get_n64(body, &used) == -1 ||
	    ibuf_get_n64(body, &limit) == -1 ||
	    ibuf_get_n64(body, &files) == -1 ||
	    ibuf_get_n64(body, &hits) == -1 ||
	    ibuf_get_n64(body, &fetched) == -1 || ibuf_size(body) != 0)
		return -1;
	if (nstatus == 0)
		return 0; /* answered without it */
	answer_status(
	    json_pack("{s:I, s:I, s:I, s:I, s:I}", "used", (json_int_t)used,
		"limit", (json_int_t)limit, "files", (json_int_t)files, "hits",
		(json_int_t)hits, "fetched", (json_int_t)fetched));
	return 0;
}
