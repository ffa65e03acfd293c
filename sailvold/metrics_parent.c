/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics_parent: starts the role metrics where the configuration has it, and
 * hands it numbers: what the parent counts itself, and, unread, what manifest,
 * cache and the fetchers answer.  It waits for nobody.  In the parent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "sailvold/config.h"
#include "sailvold/metrics.h"
#include "sailvold/mounts.h"
#include "sailvold/privileged.h"

#define ASK_MS 250 /* a good one asks half as often */
#define STOP_MS 1000

/* What is served, or about to be. */
struct service {
	int fd; /* -1: nothing */
	struct inaddr at;
	char *port_file;
};
static struct service now = { .fd = -1 }, next = { .fd = -1 };
static struct proc *metrics; /* NULL: it is not configured */
static uint64_t started;
static int ended; /* the daemon ends */

/*
 * A process that has not answered yet is not asked again, unless that was long
 * ago and it has read all: who hangs gets no queue.
 */
enum { ASKED_MANIFEST, ASKED_CACHE, ASKED_FETCH };
static struct {
	unsigned int start; /* which of its starts; 0: it has answered */
	monotime_t at;
} asked[ASKED_FETCH + METRICS_FETCHERS];

/* ---- the socket and the role ------------------------------------------------- */

static void
service_end(struct service *s)
{
	if (s->fd != -1)
		close(s->fd);
	free(s->port_file);
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

static int
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* With port 0 too: the port that it has is one that the kernel picked. */
static int
is_same(const struct config *c)
{
	return c->metrics
	    ? now.fd != -1 && inaddr_equal(&now.at, &c->metrics_at) &&
		same_text(now.port_file, c->metrics_port_file)
	    : now.fd == -1;
}

int
metrics_prepare(const struct config *c)
{
	uid_t uid;
	gid_t gid;

	service_end(&next);
	if (ended || !c->metrics || is_same(c))
		return 0;
	if (config_user(c, CONF_METRICS, &uid, &gid) == -1)
		return -1;
	next.at = c->metrics_at;
	if (c->metrics_port_file != NULL &&
	    (next.port_file = strdup(c->metrics_port_file)) == NULL) {
		log_warn("metrics");
		return -1;
	}
	/* The same port, and another file for its number. */
	if (now.fd != -1 && inaddr_equal(&now.at, &next.at)) {
		next.fd = fcntl(now.fd, F_DUPFD_CLOEXEC, 0);
		if (next.fd != -1 &&
		    priv_write_port(next.fd, next.port_file) == 0)
			return 0;
	} else {
		next.fd = priv_listen_loopback(&next.at, next.port_file);
		if (next.fd != -1)
			return 0;
	}
	service_end(&next);
	return -1;
}

static monotime_t last_asked;
static int was_asked; /* by this process */

static int
send_socket(struct proc *p, void *arg)
{
	int fd = fcntl(now.fd, F_DUPFD_CLOEXEC, 0);

	(void)arg;
	was_asked = 0;
	if (fd == -1)
		return -1;
	if (chan_send(proc_chan(p), IMSG_PARENT_METRICS_LISTEN, 0, fd, NULL,
		0) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
on_death(struct proc *p, int status, void *arg)
{
	(void)status;
	(void)arg;
	return p == metrics;
}

static int on_ask(struct chan *, uint32_t, struct imsg *, struct ibuf *);

static const struct msg_rule rules[] = {
	{ IMSG_METRICS_PARENT_ASK, ROLE_METRICS, CHAN_NOFD, 0, 0, on_ask,
	    "METRICS_PARENT_ASK" },
};

static struct proc *
start_role(const struct config *c)
{
	struct proc_spec spec;

	memset(&spec, 0, sizeof(spec));
	spec.role = ROLE_METRICS;
	spec.title = "metrics";
	spec.configure = send_socket;
	spec.on_death = on_death;
	spec.rules = rules;
	spec.nrules = sizeof(rules) / sizeof(rules[0]);
	if (config_user(c, CONF_METRICS, &spec.uid, &spec.gid) == -1)
		return NULL;
	return proc_start(&spec);
}

/* shared: the next one has the same socket. */
static void
stop_role(int shared)
{
	struct proc *p = metrics;

	/* The process may have it for a second yet: nobody listens from here on,
	   and the port is free. */
	if (now.fd != -1 && !shared)
		(void)shutdown(now.fd, SHUT_RDWR);
	if (now.port_file != NULL && !same_text(now.port_file, next.port_file))
		unlink(now.port_file);
	service_end(&now);
	metrics = NULL;
	if (p != NULL)
		proc_stop(p, STOP_MS);
}

void
metrics_end(void)
{
	ended = 1;
	stop_role(0);
}

int
metrics_configure(const struct config *c)
{
	if (started == 0)
		started = (uint64_t)time(NULL);
	if (ended || is_same(c))
		return 0;
	stop_role(next.fd != -1 && inaddr_equal(&now.at, &next.at));
	if (!c->metrics)
		return 0;
	now = next;
	memset(&next, 0, sizeof(next));
	next.fd = -1;
	if ((metrics = start_role(c)) == NULL) {
		log_warn("starting metrics");
		/* The next SIGHUP tries it again. */
		stop_role(0);
		return -1;
	}
	return 0;
}

/* ---- numbers ------------------------------------------------------------------- */

struct procs {
	struct wbuf *w;
	uint32_t n;
};

static void
add_process(struct proc *p, void *arg)
{
	struct metrics_proc one;
	struct procs *all = arg;

	/* It is there only while there is something to tell; one that ends
	   is no more. */
	if (proc_role(p) == ROLE_NOTIFY ||
	    (proc_role(p) == ROLE_METRICS && p != metrics))
		return;
	one.role = proc_role(p);
	one.instance = proc_instance(p);
	one.ready = proc_ready(p) != 0;
	one.starts = proc_starts(p);
	metrics_proc_encode(all->w, &one);
	all->n++;
}

static int
send_own(struct chan *ch, uint32_t id)
{
	struct procs all = { .n = 0 };
	struct wbuf w;
	uint8_t *data;
	size_t at, len;
	int fd = -1;

	wbuf_init(&w, METRICS_MAX);
	wbuf_u64(&w, started);
	wbuf_u32(&w, 0);
	all.w = &w;
	proc_foreach(add_process, &all);
	wbuf_set_u32(&w, 8, all.n);
	at = w.len;
	wbuf_u32(&w, 0);
	wbuf_set_u32(&w, at, mounts_numbers(&w));
	if ((data = wbuf_take(&w, &len)) != NULL)
		fd = memfd_new("numbers", data, len);
	free(data);
	if (fd == -1)
		return -1;
	if (chan_send(ch, IMSG_PARENT_METRICS_PARENT, id, fd, NULL, 0) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
may_ask(struct proc *p, size_t which)
{
	struct chan *ch = proc_chan(p);

	if (ch == NULL || !proc_ready(p))
		return 0;
	if (asked[which].start != proc_starts(p))
		return 1;
	return chan_queued(ch) == 0 &&
	    monotime_diff_ms(monotime_now(), asked[which].at) >
	    METRICS_AGAIN_MS;
}

static void
ask(struct proc *p, void *arg)
{
	uint32_t type;
	size_t which;

	(void)arg;
	switch (proc_role(p)) {
	case ROLE_MANIFEST:
		which = ASKED_MANIFEST;
		type = IMSG_PARENT_MANIFEST_NUMBERS;
		break;
	case ROLE_CACHE:
		which = ASKED_CACHE;
		type = IMSG_PARENT_CACHE_STATUS;
		break;
	case ROLE_FETCH:
		if (proc_instance(p) >= METRICS_FETCHERS)
			return;
		which = ASKED_FETCH + proc_instance(p);
		type = IMSG_FETCH_NUMBERS;
		break;
	default:
		return;
	}
	if (!may_ask(p, which) ||
	    chan_send(proc_chan(p), type, METRICS_ID, -1, NULL, 0) == -1)
		return;
	asked[which].start = proc_starts(p);
	asked[which].at = monotime_now();
}

static int
on_ask(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)im;
	(void)body;
	/* One that asks without end, or does not read, is no good metrics. */
	if (chan_queued(ch) > 0 ||
	    (was_asked &&
		monotime_diff_ms(monotime_now(), last_asked) < ASK_MS))
		return 0;
	was_asked = 1;
	last_asked = monotime_now();
	if (send_own(ch, id) == -1)
		log_warn("numbers for metrics");
	else
		proc_foreach(ask, NULL);
	return 0;
}

/* NULL: nobody wants to know any more. */
static struct chan *
asker(void)
{
	return metrics != NULL && proc_ready(metrics) ? proc_chan(metrics)
						      : NULL;
}

/* b: taken, may be NULL; fd: too, -1: none. */
static void
pass_on(uint32_t type, struct ibuf *b, int fd)
{
	struct chan *to = asker();

	if (to == NULL) {
		ibuf_free(b);
		if (fd != -1)
			close(fd);
	} else if (chan_send_ibuf(to, type, 0, fd, b) == -1) {
		if (fd != -1)
			close(fd);
		if (errno != EPIPE)
			log_warn("numbers for metrics");
	}
}

static void
pass_body(uint32_t type, int numbered, uint32_t instance, struct ibuf *body)
{
	uint8_t data[FETCH_NUMBERS_LEN];
	size_t len = ibuf_size(body);
	struct ibuf *b;

	if (len > sizeof(data) || ibuf_get(body, data, len) == -1)
		return;
	if ((b = ibuf_dynamic(len, len + 4)) == NULL ||
	    (numbered && ibuf_add_n32(b, instance) == -1) ||
	    ibuf_add(b, data, len) == -1) {
		ibuf_free(b);
		log_warn("numbers for metrics");
		return;
	}
	pass_on(type, b, -1);
}

int
metrics_on_manifest(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)body;
	asked[ASKED_MANIFEST].start = 0;
	pass_on(IMSG_PARENT_METRICS_MANIFEST, NULL, imsg_get_fd(im));
	return 0;
}

int
metrics_on_cache(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	asked[ASKED_CACHE].start = 0;
	pass_body(IMSG_PARENT_METRICS_CACHE, 0, 0, body);
	return 0;
}

int
metrics_on_fetch(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	uint32_t instance = chan_instance(ch);

	(void)id;
	(void)im;
	if (instance >= METRICS_FETCHERS)
		return -1;
	asked[ASKED_FETCH + instance].start = 0;
	pass_body(IMSG_PARENT_METRICS_FETCH, 1, instance, body);
	return 0;
}
