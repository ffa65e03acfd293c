/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch: starts a sailvol-fetch(8), asks it and waits.  In sailvolctl, which is
 * then its parent.
 */
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/monotime.h"
#include "lib/program.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/fetch_put.h"

#define STOP_MS 1000
#define DEADLINE_MS 10000 /* somebody waits before a terminal */
#define NOBODY 65534
#define LOOK_MS 50 /* after a signal */

/* The fetch, and the one question that it has. */
static struct {
	struct proc *proc;
	struct fetch_server server;
	int ready, dead, done;
	uint32_t id; /* the question's number */
	struct event signals[3];
	int interrupted;
	/* of the API */
	struct fetch_answer *answer;
	/* of chunks */
	fetch_bundle_cb bundle;
	void *arg;
	uint32_t error;
	char what[512];
} fetch;

static void
answered(void)
{
	fetch.done = 1;
	event_loopexit(NULL);
}

/* ---- what it says ------------------------------------------------------------- */

static int
on_api_res(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct fetch_api_res res;
	int fd, rc;

	(void)c;
	if (fetch.answer == NULL || id != fetch.id ||
	    fetch_api_res_recv(body, &res) == -1)
		return -1;
	fetch.answer->status = res.status;
	fetch.answer->repeated = res.repeated;
	snprintf(fetch.what, sizeof(fetch.what), "%.*s", (int)res.what_len,
	    res.what_len > 0 ? res.what : "");
	if ((fd = imsg_get_fd(imsg)) != -1) {
		rc = memfd_map(fd, SIZE_MAX, &fetch.answer->body);
		close(fd);
		if (rc == -1)
			return -1;
		fetch.answer->have = 1;
	}
	answered();
	return 0;
}

static int
on_get_done(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t slot;

	(void)c;
	(void)imsg;
	return id == fetch.id ? fetch_get_done_recv(body, &slot) : -1;
}

static int
on_get_bundle(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	static struct fetch_bundle b;
	struct memfd_view v;
	int fd = imsg_get_fd(imsg), rc;
	uint16_t i;

	(void)c;
	if (fetch.bundle == NULL || id != fetch.id ||
	    fetch_bundle_recv(body, &b) == -1) {
		close(fd);
		return -1;
	}
	rc = memfd_map(fd, FETCH_BUNDLE_BYTES, &v);
	close(fd);
	if (rc == -1)
		return -1;
	for (i = 0; i < b.n; i++)
		if (b.chunks[i].offset > v.len ||
		    b.chunks[i].bytes > v.len - b.chunks[i].offset)
			rc = -1;
	if (rc == 0)
		rc = fetch.bundle(fetch.arg, &b, &v);
	memfd_unmap(&v);
	return rc;
}

static int
on_get_res(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	const char *what;
	size_t len;

	(void)c;
	(void)imsg;
	if (id != fetch.id ||
	    fetch_get_res_recv(body, &fetch.error, &what, &len) == -1)
		return -1;
	if (fetch.error == FETCH_STILL)
		fetch.error = ETIMEDOUT;
	snprintf(fetch.what, sizeof(fetch.what), "%.*s", (int)len,
	    len > 0 ? what : "");
	answered();
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_FETCH_HASH_RES, ROLE_FETCH, CHAN_MAYFD, 40, PROC_MAX_BODY,
	    fetch_on_hashed, "chunks of a file" },
	{ IMSG_FETCH_HASH_CHUNKS, ROLE_FETCH, CHAN_NOFD, FETCH_HASH_CHUNKS_HEAD,
	    FETCH_HASH_CHUNKS_HEAD +
		FETCH_HASH_CHUNKS_MAX *FETCH_HASH_CHUNK_LEN,
	    fetch_on_hash_chunks, "some chunks of a file" },
	{ IMSG_FETCH_HASH_PROGRESS, ROLE_FETCH, CHAN_NOFD, 8, 8,
	    fetch_on_hash_progress, "file is read" },
	{ IMSG_FETCH_UPLOAD_PROGRESS, ROLE_FETCH, CHAN_NOFD, 20, 20,
	    fetch_on_upload_progress, "chunks are sent" },
	{ IMSG_FETCH_UPLOAD_RES, ROLE_FETCH, CHAN_MAYFD, 10, PROC_MAX_BODY,
	    fetch_on_uploaded, "end of an upload" },
	{ IMSG_FETCH_API_RES, ROLE_FETCH, CHAN_MAYFD, 14, PROC_MAX_BODY,
	    on_api_res, "api answer" },
	{ IMSG_FETCH_GET_DONE, ROLE_FETCH, CHAN_NOFD, 8, 8, on_get_done,
	    "chunk" },
	{ IMSG_FETCH_GET_BUNDLE, ROLE_FETCH, CHAN_FD, 2, PROC_MAX_BODY,
	    on_get_bundle, "chunks" },
	{ IMSG_FETCH_GET_RES, ROLE_FETCH, CHAN_NOFD, 6, PROC_MAX_BODY,
	    on_get_res, "end of chunks" },
};

/* ---- the process ----------------------------------------------------------------- */

static int
configure(struct proc *p, void *arg)
{
	struct fetch_config c = { fetch.server.url, fetch.server.key,
		*fetch.server.ca != '\0' ? fetch.server.ca : NULL, 0,
		DEADLINE_MS, 0 };

	(void)arg;
	return fetch_configure(proc_chan(p), &c);
}

static void
on_ready(struct proc *p, void *arg)
{
	(void)p;
	(void)arg;
	fetch.ready = 1;
	event_loopexit(NULL);
}

static int
on_death(struct proc *p, int status, void *arg)
{
	(void)p;
	(void)status;
	(void)arg;
	fetch.dead = 1;
	fetch.proc = NULL;
	event_loopexit(NULL);
	return 0;
}

/* Not root's: of a user that owns nothing. */
static void
fetch_user(struct proc_spec *spec)
{
	const struct passwd *pw;

	spec->uid = getuid();
	spec->gid = getgid();
	if (geteuid() != 0)
		return;
	if ((pw = getpwnam("_sailvolnet")) == NULL)
		pw = getpwnam("nobody");
	spec->uid = pw != NULL ? pw->pw_uid : NOBODY;
	spec->gid = pw != NULL ? pw->pw_gid : NOBODY;
}

int
fetch_begin(const struct fetch_server *server, struct failure *f)
{
	char path[PATH_MAX];
	struct proc_spec spec = { .role = ROLE_FETCH,
		.title = "fetch",
		.exec = path,
		.rules = rules,
		.nrules = sizeof(rules) / sizeof(rules[0]),
		.configure = configure,
		.on_ready = on_ready,
		.on_death = on_death };

	if (fetch.proc != NULL)
		return 0;
	fetch.server = *server;
	fetch.ready = fetch.dead = 0;
	if (program_find("sailvol-fetch", path, sizeof(path)) == -1) {
		failure_set(f, "", "fetch", "sailvol-fetch is not installed");
		return -1;
	}
	fetch_user(&spec);
	if (proc_parent_init(0) == -1 ||
	    (fetch.proc = proc_start(&spec)) == NULL) {
		failure_set(f, "", "fetch", "%s: %s", path, strerror(errno));
		return -1;
	}
	while (!fetch.ready && !fetch.dead)
		event_dispatch();
	if (fetch.dead) {
		failure_set(f, "", "fetch", "sailvol-fetch does not start");
		return -1;
	}
	return 0;
}

void
fetch_end(void)
{
	size_t i;

	for (i = 0; i < 3; i++)
		if (event_initialized(&fetch.signals[i]))
			signal_del(&fetch.signals[i]);
	if (fetch.proc != NULL) {
		proc_stop_all(STOP_MS);
		event_dispatch();
	}
	explicit_bzero(&fetch.server, sizeof(fetch.server));
}

static void
on_signal(int sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	(void)arg;
	fetch.interrupted = 1;
	event_loopexit(NULL);
}

int
fetch_interrupts(struct failure *f)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	size_t i;

	for (i = 0; i < 3; i++) {
		signal_set(&fetch.signals[i], signals[i], on_signal, NULL);
		if (signal_add(&fetch.signals[i], NULL) == -1) {
			failure_set(f, "", "signals", "signals: %s",
			    strerror(errno));
			return -1;
		}
	}
	return 0;
}

static int
is_interrupted(struct failure *f)
{
	if (fetch.interrupted)
		failure_set(f, "", "interrupted", "interrupted");
	return fetch.interrupted;
}

int
fetch_go_on(struct failure *f)
{
	static monotime_t next;

	if (monotime_reached(next)) {
		(void)event_loop(EVLOOP_NONBLOCK);
		next = monotime_add_ms(monotime_now(), LOOK_MS);
	}
	return is_interrupted(f) ? -1 : 0;
}

/* ---- questions --------------------------------------------------------------------- */

/* It does not go on: failure is set. */
static int
has_ended(struct failure *f)
{
	if (is_interrupted(f))
		return 1;
	if (fetch.dead)
		failure_set(f, "unavailable", "fetch",
		    "sailvol-fetch ended before it answered");
	return fetch.dead;
}

/* Until it has answered; -1: it did not. */
static int
wait_answer(struct failure *f)
{
	while (!fetch.done && !fetch.dead && !fetch.interrupted)
		event_dispatch();
	if (fetch.done && !fetch.interrupted)
		return 0;
	has_ended(f);
	return -1;
}

/* One that has said what is not allowed has none any more, before it has ended. */
struct chan *
fetch_chan(void)
{
	return fetch.proc != NULL ? proc_chan(fetch.proc) : NULL;
}

int
fetch_turn(struct failure *f)
{
	if (has_ended(f))
		return -1;
	if (event_loop(EVLOOP_ONCE) == -1) {
		failure_set(f, "", "fetch", "events: %s", strerror(errno));
		return -1;
	}
	return has_ended(f) ? -1 : 0;
}

static void
not_sent(struct failure *f)
{
	failure_set(f, "", "fetch", "sailvol-fetch: %s", strerror(errno));
}

int
fetch_ask(const struct fetch_api *api, int body_fd, struct fetch_answer *answer,
    struct failure *f)
{
	struct chan *c = fetch_chan();
	int rc;

	memset(answer, 0, sizeof(*answer));
	fetch.answer = answer;
	fetch.done = 0;
	if (c == NULL) {
		errno = EPIPE;
		goto fail;
	}
	if (fetch_api_send(c, ++fetch.id, api, body_fd) == -1)
		goto fail;
	rc = wait_answer(f);
	fetch.answer = NULL;
	if (rc == 0 && answer->status != 0)
		return 0;
	if (rc == 0)
		failure_set(f, "unavailable", "no_answer", "%s: %s",
		    fetch.server.url, fetch.what);
	if (answer->have)
		memfd_unmap(&answer->body);
	return -1;

fail:
	not_sent(f);
	fetch.answer = NULL;
	if (body_fd != -1)
		close(body_fd);
	return -1;
}

static int
send_files(struct chan *c, const struct fetch_get *g, const int *fds)
{
	uint16_t i;
	int fd;

	for (i = 0; i < g->n; i++) {
		if (fds[i] == -1)
			continue;
		if ((fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0)) == -1)
			return -1;
		if (fetch_get_file_send(c, fetch.id, g->chunks[i].slot, fd) ==
		    -1) {
			close(fd);
			return -1;
		}
	}
	return 0;
}

int
fetch_chunks(const struct fetch_get *g, const int *fds, fetch_bundle_cb bundle,
    void *arg, struct failure *f)
{
	struct chan *c = fetch_chan();
	int rc;

	fetch.bundle = bundle;
	fetch.arg = arg;
	fetch.done = 0;
	fetch.error = 0;
	if (c == NULL) {
		errno = EPIPE;
		not_sent(f);
		return -1;
	}
	fetch.id++;
	if (send_files(c, g, fds) == -1 ||
	    fetch_get_send(c, fetch.id, g) == -1) {
		not_sent(f);
		(void)fetch_cancel_send(c, fetch.id);
		return -1;
	}
	rc = wait_answer(f);
	fetch.bundle = NULL;
	if (rc == 0 && fetch.error == 0)
		return 0;
	if (rc == 0)
		failure_set(f, fetch.error == ENOENT ? "not_found" : "",
		    "download", "%s",
		    *fetch.what != '\0' ? fetch.what
					: strerror((int)fetch.error));
	return -1;
}
