/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * httpd: runs libmicrohttpd by its epoll descriptor and its time-outs, as two
 * events of the loop.  In api and store.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/httpd.h"

/* Slices of one turn, so that other events of the loop get theirs. */
#define RUNS_A_TURN 16

struct httpd {
	struct MHD_Daemon *mhd;
	struct httpd_conf conf;
	struct event readable, timer;
	unsigned int connections; /* after the last run */
	LIST_ENTRY(httpd) entry;
};
static LIST_HEAD(, httpd) all = LIST_HEAD_INITIALIZER(all);

/*
 * At its limit of connections it stops listening, and looks whether it can
 * listen again only at the beginning of a run: there must be one more.
 */
static int
fewer(struct httpd *h)
{
	const union MHD_DaemonInfo *info;
	unsigned int before = h->connections;

	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	if (info == NULL)
		return 0;
	h->connections = info->num_connections;
	return h->connections < before;
}

static void
run(struct httpd *h)
{
	struct timeval tv;
	MHD_UNSIGNED_LONG_LONG ms = 0;
	int i;

	/*
	 * Its epoll is edge-triggered: what it has seen and not yet worked off
	 * shows only as a time-out of 0.
	 */
	for (i = 0; i < RUNS_A_TURN; i++) {
		if (MHD_run(h->mhd) == MHD_NO)
			fatalx("libmicrohttpd cannot go on");
		if (fewer(h)) {
			ms = 0;
			continue;
		}
		if (MHD_get_timeout(h->mhd, &ms) == MHD_NO) {
			evtimer_del(&h->timer);
			return;
		}
		if (ms > 0)
			break;
	}
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	if (evtimer_add(&h->timer, &tv) == -1)
		fatalx("evtimer_add");
}

static void
on_event(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg);
}

static void *
on_uri(void *cls, const char *uri, struct MHD_Connection *c)
{
	struct httpd *h = cls;

	(void)c;
	return h->conf.begin(uri);
}

static enum MHD_Result
on_access(void *cls, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *size,
    void **request)
{
	struct httpd *h = cls;

	(void)url;
	(void)version;
	if (*request == NULL)
		return MHD_NO;
	return h->conf.handle(*request, c, method, data, size);
}

static void
on_completed(void *cls, struct MHD_Connection *c, void **request,
    enum MHD_RequestTerminationCode why)
{
	struct httpd *h = cls;

	(void)c;
	(void)why;
	if (*request != NULL)
		h->conf.end(*request);
	*request = NULL;
}

static void
on_log(void *cls, const char *fmt, va_list ap)
{
	char line[512];

	(void)cls;
	if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
		return;
	line[strcspn(line, "\r\n")] = '\0';
	log_debug("libmicrohttpd: %s", line);
}

/* The parsed URL is not used: only the raw one is signed. */
static size_t
no_unescape(void *cls, struct MHD_Connection *c, char *s)
{
	(void)cls;
	(void)c;
	return strlen(s);
}

struct httpd *
httpd_new(int listen_fd, const struct httpd_conf *conf)
{
	const union MHD_DaemonInfo *info;
	struct httpd *h;
	int flags;

	flags = fcntl(listen_fd, F_GETFL);
	if (flags == -1 ||
	    fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
	    (h = calloc(1, sizeof(*h))) == NULL) {
		log_warn("listening socket");
		return NULL;
	}
	h->conf = *conf;
	h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
		MHD_USE_ERROR_LOG,
	    0, NULL, NULL, on_access, h, MHD_OPTION_EXTERNAL_LOGGER, on_log,
	    NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned int)conf->max_connections,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int)conf->per_peer,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)conf->idle_s,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, conf->memory,
	    MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
	    MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
	    /* It is ignored in every role; without this no sendfile(2). */
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_STRICT_FOR_CLIENT,
	    1, MHD_OPTION_END);
	if (h->mhd == NULL) {
		log_warnx("libmicrohttpd does not start");
		free(h);
		return NULL;
	}
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL)
		fatalx("libmicrohttpd has no epoll");
	event_set(&h->readable, info->epoll_fd, EV_READ | EV_PERSIST, on_event,
	    h);
	evtimer_set(&h->timer, on_event, h);
	if (event_add(&h->readable, NULL) == -1)
		fatalx("event_add");
	LIST_INSERT_HEAD(&all, h, entry);
	return h;
}

void
httpd_free(struct httpd *h)
{
	if (h == NULL)
		return;
	LIST_REMOVE(h, entry);
	event_del(&h->readable);
	evtimer_del(&h->timer);
	MHD_stop_daemon(h->mhd);
	free(h);
}

/* Not run here: the caller may be in the middle of a run. */
void
httpd_resume(struct MHD_Connection *c)
{
	struct timeval now = { 0, 0 };
	struct httpd *h;

	MHD_resume_connection(c);
	LIST_FOREACH (h, &all, entry)
		if (evtimer_add(&h->timer, &now) == -1)
			fatalx("evtimer_add");
}

void
httpd_prepare(void)
{
	tzset();
}

void
httpd_peer(struct MHD_Connection *c, char *out, size_t size)
{
	const union MHD_ConnectionInfo *info;
	const struct sockaddr *sa;

	strlcpy(out, "?", size);
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info == NULL || (sa = info->client_addr) == NULL)
		return;
	if (sa->sa_family == AF_INET)
		inet_ntop(AF_INET,
		    &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
		    out, (socklen_t)size);
	else if (sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6,
		    &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
		    out, (socklen_t)size);
}

struct header_search {
	const char *name, *value;
	int n;
};

static enum MHD_Result
on_header(void *cls, enum MHD_ValueKind kind, const char *name,
    const char *value)
{
	struct header_search *s = cls;

	(void)kind;
	if (strcasecmp(name, s->name) == 0) {
		s->value = value == NULL ? "" : value;
		s->n++;
	}
	return MHD_YES;
}

int
httpd_header(struct MHD_Connection *c, const char *name, const char **value)
{
	struct header_search s = { name, NULL, 0 };

	MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, &s);
	if (s.n > 0 && value != NULL)
		*value = s.value;
	return s.n > 2 ? 2 : s.n;
}

struct MHD_Response *
httpd_response(const void *body, size_t len, const char *type)
{
	struct MHD_Response *r;

	/* It copies what is not there, too, when the length is 0. */
	r = MHD_create_response_from_buffer(len,
	    (void *)(uintptr_t)(len == 0 ? "" : body), MHD_RESPMEM_MUST_COPY);
	if (r == NULL)
		return NULL;
	if (type != NULL)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return r;
}

enum MHD_Result
httpd_reply(struct MHD_Connection *c, unsigned int status,
    struct MHD_Response *r)
{
	enum MHD_Result ret;

	if (r == NULL)
		return MHD_NO;
	ret = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ret;
}
