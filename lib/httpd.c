/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * httpd: runs libmicrohttpd by its epoll descriptor and its time-outs, as two
 * events of the loop.  In api and store.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/crowd.h"
#include "lib/httpd.h"
#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/uptake.h"

/* Slices of one turn, so that other events of the loop get theirs. */
#define RUNS_A_TURN 16
#define SLOW_S 1 /* between two looks for those that are too slow */
#define ACCEPTS_A_TURN 16
#define RETRY_MS 200 /* without descriptors or memory */

/* A connection. */
struct client {
	LIST_ENTRY(client) entry;
	struct guest guest;
	int fd;
	int begun; /* libmicrohttpd has it */
	struct MHD_Connection *conn;
	void *request; /* NULL: none */
	int suspended;
	int in_body;      /* the header of its request is there */
	int waits;        /* for us: as long as that takes */
	int cut;          /* counted as such */
	uint64_t came;    /* of the body */
	monotime_t since; /* it was due */
	int long_answer;  /* has its time */
	int looked_at;    /* and TCP says what is taken of it */
	struct uptake uptake;
	monotime_t end;
};

/* A socket that is listened to. */
struct door {
	LIST_ENTRY(door) entry;
	struct httpd *h;
	int fd;
	struct event ev;
};

struct httpd {
	struct MHD_Daemon *mhd;
	struct httpd_conf conf;
	struct event readable, timer, slow, retry;
	LIST_HEAD(, door) doors;
	LIST_HEAD(, client) clients;
	unsigned int nclients; /* with those that had to go, and have not yet */
	struct crowd crowd;    /* without those */
	struct httpd_counts counts;
	LIST_ENTRY(httpd) entry;
};
static LIST_HEAD(, httpd) all = LIST_HEAD_INITIALIZER(all);

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
run_soon(struct httpd *h)
{
	struct timeval now = { 0, 0 };

	if (evtimer_add(&h->timer, &now) == -1)
		fatalx("evtimer_add");
}

static void
on_event(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg);
}

static void look_for_more(struct httpd *);

/* ---- who is too slow ------------------------------------------------------ */

/* NULL: there was no memory for it. */
static struct client *
client_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info;

	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info == NULL ? NULL : info->socket_context;
}

static void
allow_from(const struct httpd *h, struct client *cl, monotime_t from,
    uint64_t bytes)
{
	cl->end = uptake_deadline(from, bytes, h->conf.idle_s, h->conf.rate);
}

static void
allow(const struct httpd *h, struct client *cl, uint64_t bytes)
{
	if (cl == NULL)
		return;
	cl->waits = 0;
	cl->looked_at = 0;
	allow_from(h, cl, monotime_now(), bytes);
}

static void
cut(struct httpd *h, struct client *cl)
{
	h->counts.cut += !cl->cut;
	cl->cut = 1;
}

static void
client_free(struct httpd *h, struct client *cl)
{
	if (cl == NULL)
		return;
	crowd_leave(&h->crowd, &cl->guest);
	LIST_REMOVE(cl, entry);
	h->nclients--;
	free(cl);
}

static void
end_client(struct httpd *h, struct client *cl, const char *why)
{
	/* libmicrohttpd never took it, or closed it: that number may be of
	   another by now. */
	if (!cl->begun) {
		client_free(h, cl);
		return;
	}
	/* It sees its end. */
	(void)shutdown(cl->fd, SHUT_RDWR);
	cut(h, cl);
	cl->waits = 1;
	crowd_leave(&h->crowd, &cl->guest);
	log_debug("a connection %s", why);
	/* It would keep its place until somebody has done what nobody waits
	   for. */
	if (cl->suspended && h->conf.drop != NULL && h->conf.drop(cl->request))
		httpd_resume(cl->conn);
}

static void
on_slow(int fd, short what, void *arg)
{
	struct timeval tv = { SLOW_S, 0 };
	struct httpd *h = arg;
	struct client *cl, *next;

	(void)fd;
	(void)what;
	LIST_FOREACH_SAFE(cl, &h->clients, entry, next)
	{
		/* Of an answer what was taken counts, and not its length. */
		if (cl->looked_at && !cl->waits)
			cl->end = uptake_until(&cl->uptake, cl->fd,
			    h->conf.idle_s, h->conf.rate);
		if (!cl->waits && monotime_reached(cl->end))
			end_client(h, cl, "is too slow");
	}
	if (!LIST_EMPTY(&h->clients) && evtimer_add(&h->slow, &tv) == -1)
		fatalx("evtimer_add");
}

/* That it has: its address was seen when it came. */
static struct client *
client_by_fd(const struct httpd *h, int fd)
{
	struct client *cl;

	LIST_FOREACH (cl, &h->clients, entry)
		if (!cl->begun && cl->fd == fd)
			return cl;
	return NULL;
}

static void
on_connection(void *cls, struct MHD_Connection *c, void **context,
    enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info;
	struct httpd *h = cls;
	struct client *cl = *context;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		h->counts.open--;
		/* libmicrohttpd looks for silence, too. */
		if (cl != NULL && !cl->waits && monotime_reached(cl->end))
			cut(h, cl);
		client_free(h, cl);
		*context = NULL;
		look_for_more(h);
		return;
	}
	h->counts.open++;
	h->counts.accepted++;
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info == NULL || (cl = client_by_fd(h, info->connect_fd)) == NULL)
		return;
	cl->begun = 1;
	cl->conn = c;
	*context = cl;
}

/* Of a body what has come counts, and not what was announced. */
static void
begin_body(const struct httpd *h, struct client *cl)
{
	if (cl == NULL)
		return;
	cl->in_body = 1;
	cl->came = 0;
	cl->since = monotime_now();
	allow(h, cl, 0);
}

/* The header is there, and so much of the body. */
static void
allow_body(const struct httpd *h, struct client *cl, size_t came)
{
	if (cl == NULL)
		return;
	if (!cl->in_body)
		begin_body(h, cl);
	if (came == 0)
		return;
	cl->came += came;
	allow_from(h, cl, cl->since, cl->came);
}

static struct client *
client_of_guest(struct guest *g)
{
	return (void *)((char *)g - offsetof(struct client, guest));
}

static struct httpd *
httpd_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info;
	struct httpd *h;

	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_DAEMON);
	LIST_FOREACH (h, &all, entry)
		if (info != NULL && h->mhd == info->daemon)
			return h;
	return NULL;
}

/* After which libmicrohttpd ends it by itself; 0: never. */
static void
set_silence(struct MHD_Connection *c, uint32_t s)
{
	(void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT,
	    (unsigned int)s);
}

void
httpd_allow(struct MHD_Connection *c, uint64_t bytes)
{
	const struct httpd *h = httpd_of(c);
	struct client *cl = client_of(c);

	if (h == NULL || cl == NULL || cl->cut)
		return;
	allow(h, cl, bytes);
	if (bytes == 0)
		return;
	/* It would see nothing of what goes out of a full buffer.  Where that
	   is none of TCP, whoever has the client's connection looks. */
	cl->long_answer = 1;
	set_silence(c, 0);
	cl->looked_at = uptake_begin(&cl->uptake, cl->fd) == 0;
}

void
httpd_begin_body(struct MHD_Connection *c)
{
	const struct httpd *h = httpd_of(c);

	if (h != NULL)
		begin_body(h, client_of(c));
}

void
httpd_known(struct MHD_Connection *c, const struct hash *key)
{
	struct client *cl = client_of(c);
	struct httpd *h = httpd_of(c);
	struct guest *go;

	if (h == NULL || cl == NULL)
		return;
	while (!crowd_know(&h->crowd, &cl->guest, key, &go) && go != NULL)
		end_client(h, client_of_guest(go), "gives way to another key");
}

void
httpd_unknown(struct MHD_Connection *c)
{
	struct client *cl = client_of(c);
	struct httpd *h = httpd_of(c);

	if (h != NULL && cl != NULL)
		crowd_forget(&h->crowd, &cl->guest);
}

void
httpd_end(struct MHD_Connection *c)
{
	struct client *cl = client_of(c);
	struct httpd *h = httpd_of(c);

	if (h != NULL && cl != NULL)
		end_client(h, cl, "gives way to others");
}

void
httpd_count(const struct httpd *h, struct httpd_counts *out)
{
	out->open += h->counts.open;
	out->accepted += h->counts.accepted;
	out->cut += h->counts.cut;
}

void
httpd_suspend(struct MHD_Connection *c)
{
	struct client *cl = client_of(c);

	if (cl != NULL)
		cl->waits = cl->suspended = 1;
	MHD_suspend_connection(c);
}

/* ---- libmicrohttpd's callbacks --------------------------------------------- */

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
	struct client *cl = client_of(c);
	struct httpd *h = cls;

	(void)url;
	(void)version;
	if (*request == NULL)
		return MHD_NO;
	/* It was ended; what it asked may have been dropped. */
	if (cl != NULL && cl->cut)
		return MHD_NO;
	if (cl != NULL) {
		crowd_busy(&cl->guest, 1);
		cl->request = *request;
	}
	allow_body(h, cl, *size);
	return h->conf.handle(*request, c, method, data, size);
}

static void
on_completed(void *cls, struct MHD_Connection *c, void **request,
    enum MHD_RequestTerminationCode why)
{
	struct httpd *h = cls;
	struct client *cl = client_of(c);

	if (cl != NULL && why == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
		cut(h, cl);
	if (*request != NULL)
		h->conf.end(*request);
	*request = NULL;
	if (cl == NULL)
		return;
	cl->request = NULL;
	cl->in_body = 0;
	if (cl->long_answer)
		set_silence(c, h->conf.idle_s);
	cl->long_answer = 0;
	crowd_busy(&cl->guest, 0);
	/* Who has been cut off stays so. */
	if (!cl->cut)
		allow(h, cl, 0);
}

static void
on_log(void *cls, const char *fmt, va_list ap)
{
	struct httpd *h = cls;
	char line[512];

	if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
		return;
	line[strcspn(line, "\r\n")] = '\0';
	/* The plain ends of tls are not TCP, which it asks about each time. */
	if (h->conf.tls &&
	    (strstr(line, " TCP_") != NULL ||
		strstr(line, "push the data") != NULL))
		return;
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

static int
set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags == -1 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* ---- who comes ------------------------------------------------------------- */

/* Those that had to go may be slow with it: there are not more of them than of
   the others. */
static unsigned int
clients_max(const struct httpd *h)
{
	return 2 * h->conf.max_connections + ACCEPTS_A_TURN;
}

static void
look_for_more(struct httpd *h)
{
	struct door *d;

	LIST_FOREACH (d, &h->doors, entry) {
		if (h->nclients >= clients_max(h) ||
		    evtimer_pending(&h->retry, NULL))
			event_del(&d->ev);
		else if (event_add(&d->ev, NULL) == -1)
			fatalx("event_add");
	}
}

static void
door_close(struct door *d)
{
	event_del(&d->ev);
	close(d->fd);
	LIST_REMOVE(d, entry);
	free(d);
}

static void
on_retry(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_for_more(arg);
}

static int
make_room(struct httpd *h, const struct sockaddr *sa)
{
	struct guest *go;

	if (h->nclients >= clients_max(h))
		return 0;
	while (!crowd_room(&h->crowd, sa, &go)) {
		if (go == NULL)
			return 0;
		end_client(h, client_of_guest(go), "gives way to a new one");
	}
	return 1;
}

/* Takes fd, which does not block. */
static void
add(struct httpd *h, int fd, const struct sockaddr *sa, socklen_t len)
{
	struct timeval tv = { SLOW_S, 0 };
	struct client *cl;

	/* Its number is new: one that had it never began. */
	client_free(h, client_by_fd(h, fd));
	if (!make_room(h, sa) || (cl = calloc(1, sizeof(*cl))) == NULL) {
		close(fd);
		return;
	}
	if (crowd_enter(&h->crowd, &cl->guest, sa) == -1) {
		free(cl);
		close(fd);
		return;
	}
	cl->fd = fd;
	allow(h, cl, 0);
	LIST_INSERT_HEAD(&h->clients, cl, entry);
	h->nclients++;
	if (!evtimer_pending(&h->slow, NULL) &&
	    evtimer_add(&h->slow, &tv) == -1)
		fatalx("evtimer_add");
	/* Who cannot be taken sees the end of the connection. */
	if (MHD_add_connection(h->mhd, fd, sa, len) == MHD_NO)
		client_free(h, client_by_fd(h, fd));
	run_soon(h);
}

static void
on_accept(int listen_fd, short what, void *arg)
{
	struct timeval tv = { 0, RETRY_MS * 1000 };
	struct sockaddr_storage ss;
	struct door *d = arg;
	struct httpd *h = d->h;
	socklen_t len;
	int fd, i;

	(void)what;
	for (i = 0; i < ACCEPTS_A_TURN && h->nclients < clients_max(h); i++) {
		len = sizeof(ss);
		fd = accept4(listen_fd, (struct sockaddr *)&ss, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			add(h, fd, (struct sockaddr *)&ss, len);
			continue;
		}
		if (errno == EINVAL) {
			/* The parent has shut it down. */
			door_close(d);
			return;
		}
		if ((errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			errno == ENOMEM) &&
		    evtimer_add(&h->retry, &tv) == -1)
			fatalx("evtimer_add");
		break;
	}
	look_for_more(h);
}

static struct MHD_Daemon *
start(struct httpd *h)
{
	const struct httpd_conf *conf = &h->conf;

	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
		MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET,
	    0, NULL, NULL, on_access, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
	    MHD_OPTION_CONNECTION_LIMIT, clients_max(h) + ACCEPTS_A_TURN,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)conf->idle_s,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, conf->memory,
	    MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
	    MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
	    /* It is ignored in every role; without this no sendfile(2). */
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_STRICT_FOR_CLIENT,
	    1, MHD_OPTION_END);
}

struct httpd *
httpd_new(int listen_fd, const struct httpd_conf *conf)
{
	const union MHD_DaemonInfo *info;
	struct httpd *h;

	if ((h = calloc(1, sizeof(*h))) == NULL) {
		log_warn("httpd");
		return NULL;
	}
	h->conf = *conf;
	LIST_INIT(&h->doors);
	LIST_INIT(&h->clients);
	evtimer_set(&h->slow, on_slow, h);
	evtimer_set(&h->retry, on_retry, h);
	crowd_init(&h->crowd, conf->max_connections, conf->per_peer);
	h->mhd = start(h);
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
	if (listen_fd != -1 && httpd_listen(h, listen_fd) == -1) {
		httpd_free(h);
		return NULL;
	}
	return h;
}

int
httpd_listen(struct httpd *h, int listen_fd)
{
	struct door *d;

	if (set_nonblock(listen_fd) == -1 ||
	    (d = calloc(1, sizeof(*d))) == NULL) {
		log_warn("listening socket");
		return -1;
	}
	d->h = h;
	d->fd = listen_fd;
	event_set(&d->ev, d->fd, EV_READ | EV_PERSIST, on_accept, d);
	LIST_INSERT_HEAD(&h->doors, d, entry);
	look_for_more(h);
	return 0;
}

void
httpd_free(struct httpd *h)
{
	if (h == NULL)
		return;
	LIST_REMOVE(h, entry);
	while (!LIST_EMPTY(&h->doors))
		door_close(LIST_FIRST(&h->doors));
	event_del(&h->readable);
	MHD_stop_daemon(h->mhd);
	evtimer_del(&h->timer);
	evtimer_del(&h->slow);
	evtimer_del(&h->retry);
	while (!LIST_EMPTY(&h->clients))
		client_free(h, LIST_FIRST(&h->clients));
	free(h);
}

void
httpd_add(struct httpd *h, int fd, const struct sockaddr *sa, socklen_t len)
{
	if (set_nonblock(fd) == -1)
		close(fd);
	else
		add(h, fd, sa, len);
}

/* Not run here: the caller may be in the middle of a run. */
void
httpd_resume(struct MHD_Connection *c)
{
	struct client *cl = client_of(c);
	struct httpd *h;

	if (cl != NULL)
		cl->suspended = 0;
	MHD_resume_connection(c);
	LIST_FOREACH (h, &all, entry)
		run_soon(h);
}

void
httpd_prepare(void)
{
	tzset();
}

int
httpd_is_tls(struct MHD_Connection *c)
{
	const struct httpd *h = httpd_of(c);

	return h != NULL && h->conf.tls;
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
	httpd_allow(c, 0);
	MHD_destroy_response(r);
	return ret;
}
