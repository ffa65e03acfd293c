/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc: the life of a role: told by its parent who it is, dropped to that,
 * connected to its peers, ended by its parent.  In the roles.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <bsd/sys/queue.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/proc_base.h"
#include "lib/proc_exec.h"
#include "lib/sandbox.h"

#define LOG_QUEUE_MAX 4096 /* messages; a flood is cut, not kept */
#define FLUSH_MS 1000

struct peer {
	LIST_ENTRY(peer) entry;
	struct chan *chan;
	uint32_t number; /* of the channel, for the parent */
};

static LIST_HEAD(, peer) peers = LIST_HEAD_INITIALIZER(peers);
static const struct role_def *role_of;
static struct msg_rule *role_rules; /* role_of's and proc's own */
static size_t nrole_rules;
static struct role_start self = { .title = "role" };
static struct chan *parent;
static int dirfd = -1;
static int have_start, started;
static struct event ev_term;

/* ---- the parent ---------------------------------------------------------- */

_Noreturn void
role_end(int status)
{
	if (role_of != NULL && role_of->stop != NULL && started)
		role_of->stop();
	if (parent != NULL)
		(void)chan_flush(parent, FLUSH_MS);
	/* What libraries do at exit(3) may not be in the filter. */
	_exit(status);
}

static void
log_to_parent(int priority, const char *line, void *arg)
{
	uint8_t body[1 + 1024];
	size_t len = strnlen(line, sizeof(body) - 1);

	(void)arg;
	if (parent == NULL)
		return;
	if (priority > LOG_CRIT && chan_queued(parent) > LOG_QUEUE_MAX)
		return;
	body[0] = (uint8_t)priority;
	memcpy(body + 1, line, len);
	(void)chan_send(parent, IMSG_ROLE_PARENT_LOG, 0, -1, body, 1 + len);
	if (priority <= LOG_CRIT)
		(void)chan_flush(parent, FLUSH_MS);
}

static int
on_start(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct role_start s;

	(void)c;
	(void)id;
	if (have_start)
		return -1;
	memset(&s, 0, sizeof(s));
	if (ibuf_get_n8(body, &s.role) == -1 ||
	    ibuf_get_n32(body, &s.instance) == -1 ||
	    ibuf_get_n32(body, &s.uid) == -1 ||
	    ibuf_get_n32(body, &s.gid) == -1 ||
	    ibuf_get_n8(body, &s.verbose) == -1 ||
	    ibuf_get_strbuf(body, s.title, sizeof(s.title)) == -1 ||
	    ibuf_size(body) != 0)
		return -1;
	if (s.role != role_of->role)
		return -1;
	self = s;
	dirfd = imsg_get_fd(imsg);
	have_start = 1;
	log_set_verbose(s.verbose);
	setproctitle("%s", s.title);
	return 0;
}

static int
on_stop(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	(void)body;
	role_end(0);
}

static int
on_verbose(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint8_t v;

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n8(body, &v) == -1)
		return -1;
	log_set_verbose(v);
	return 0;
}

static void
parent_closed(struct chan *c, void *arg)
{
	(void)c;
	(void)arg;
	/* Nobody is there to hear more. */
	log_set_sink(NULL, NULL);
	parent = NULL;
	role_end(0);
}

static void
on_sigterm(int sig, short ev, void *arg)
{
	(void)sig;
	(void)ev;
	(void)arg;
	role_end(0);
}

/* ---- peers --------------------------------------------------------------- */

static struct peer *
peer_find(uint8_t role, uint32_t instance)
{
	struct peer *p;

	LIST_FOREACH (p, &peers, entry)
		if (chan_role(p->chan) == role &&
		    chan_instance(p->chan) == instance)
			return p;
	return NULL;
}

static void
peer_remove(struct chan *c, struct peer *p)
{
	LIST_REMOVE(p, entry);
	free(p);
	if (role_of->peer_down != NULL)
		role_of->peer_down(c);
}

static void
peer_closed(struct chan *c, void *arg)
{
	peer_remove(c, arg);
}

/* One that is broken or hostile takes nobody with it: its end is the parent's to
   see to. */
static void
peer_violation(struct chan *c, const char *why, void *arg)
{
	struct peer *p = arg;

	(void)c;
	log_warnx("%s", why);
	if (parent != NULL &&
	    chan_send(parent, IMSG_ROLE_PARENT_BLAME, p->number, -1, NULL, 0) ==
		-1)
		log_warn("parent");
}

static int
on_peer(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct chan_ops ops = {
		.rules = role_rules,
		.nrules = nrole_rules,
		.on_close = peer_closed,
		.on_violation = peer_violation,
	};
	struct chan *old;
	struct peer *p;
	uint32_t instance;
	uint8_t role;
	int fd;

	(void)c;
	if (!started || ibuf_get_n8(body, &role) == -1 ||
	    ibuf_get_n32(body, &instance) == -1 || ibuf_size(body) != 0 ||
	    role == ROLE_PARENT || role >= ROLE_MAX)
		return -1;
	/* Its predecessor is dead, and the end of that channel not yet seen. */
	if ((p = peer_find(role, instance)) != NULL) {
		old = p->chan;
		peer_remove(old, p);
		chan_free(old);
	}
	fd = imsg_get_fd(imsg);
	if ((p = calloc(1, sizeof(*p))) == NULL)
		fatal("channel to %s", role_name(role));
	p->number = id;
	p->chan = chan_new(fd, role, instance, PROC_MAX_BODY, &ops, p);
	if (p->chan == NULL)
		fatal("channel to %s", role_name(role));
	LIST_INSERT_HEAD(&peers, p, entry);
	if (role_of->peer_up != NULL)
		role_of->peer_up(p->chan);
	return 0;
}

static const struct msg_rule own_rules[] = {
	{ IMSG_PARENT_ROLE_START, ROLE_PARENT, CHAN_FD, 142, 142, on_start,
	    "start" },
	{ IMSG_PARENT_ROLE_PEER, ROLE_PARENT, CHAN_FD, 5, 5, on_peer, "peer" },
	{ IMSG_PARENT_ROLE_STOP, ROLE_PARENT, CHAN_NOFD, 0, 0, on_stop,
	    "stop" },
	{ IMSG_PARENT_ROLE_VERBOSE, ROLE_PARENT, CHAN_NOFD, 1, 1, on_verbose,
	    "verbose" },
};
#define NOWN (sizeof(own_rules) / sizeof(own_rules[0]))

/* ---- start --------------------------------------------------------------- */

int
role_wanted(int argc, char **argv, uint8_t *role)
{
	uint8_t r;

	if (argc != 3 || strcmp(argv[1], "-R") != 0)
		return 0;
	for (r = ROLE_PARENT + 1; r < ROLE_MAX; r++)
		if (strcmp(argv[2], role_name(r)) == 0) {
			*role = r;
			return 1;
		}
	return 0;
}

/*
 * Whoever types the option by hand has no socket pair on descriptor 3 whose
 * other end was made by the parent process.
 */
static void
check_parent(void)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int type;

	if (getsockopt(ROLE_FD, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1 ||
	    cred.pid != getppid() || cred.uid != geteuid())
		fatalx("-R: not started by the parent process");
	len = sizeof(type);
	if (getsockopt(ROLE_FD, SOL_SOCKET, SO_TYPE, &type, &len) == -1 ||
	    type != SOCK_STREAM || fcntl(ROLE_FD, F_SETFD, FD_CLOEXEC) == -1)
		fatalx("-R: not started by the parent process");
}

static void
init_rules(const struct role_def *def)
{
	nrole_rules = NOWN + def->nrules;
	role_rules = calloc(nrole_rules, sizeof(*role_rules));
	if (role_rules == NULL)
		fatal("rules");
	memcpy(role_rules, own_rules, sizeof(own_rules));
	if (def->nrules > 0)
		memcpy(role_rules + NOWN, def->rules,
		    def->nrules * sizeof(*role_rules));
}

static void
init_loop(void)
{
	struct chan_ops ops = {
		.rules = role_rules,
		.nrules = nrole_rules,
		.on_close = parent_closed,
	};

	/* A file that may not get longer is an error of the write. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    signal(SIGINT, SIG_IGN) == SIG_ERR ||
	    signal(SIGHUP, SIG_IGN) == SIG_ERR)
		fatal("signal");
	if (proc_base_init() == -1)
		fatal("event_init");
	signal_set(&ev_term, SIGTERM, on_sigterm, NULL);
	if (signal_add(&ev_term, NULL) == -1)
		fatalx("signal_add");
	parent = chan_new(ROLE_FD, ROLE_PARENT, 0, PROC_MAX_BODY, &ops, NULL);
	if (parent == NULL)
		fatal("channel to the parent");
	log_set_sink(log_to_parent, NULL);
}

void
role_main(const struct role_def *def, int argc, char **argv)
{
	uint8_t role;

	log_init("role", 1, 0);
	if (!role_wanted(argc, argv, &role) || role != def->role)
		fatalx("-R: not a role of this program");
	check_parent();
	role_of = def;
	setproctitle_init(argc, argv, environ);
	(void)prctl(PR_SET_NAME, role_name(role));
	umask(S_IRWXG | S_IRWXO);
	init_rules(def);
	init_loop();

	while (!have_start || (def->configured != NULL && !def->configured()))
		if (event_loop(EVLOOP_ONCE) == -1)
			fatal("event_loop");
	if (def->prepare != NULL && def->prepare() == -1)
		fatal("prepare");
	sandbox_enter(def->role, dirfd, self.uid, self.gid, def->sandbox_flags);
	close(dirfd);
	dirfd = -1;
	if (def->start != NULL && def->start() == -1)
		fatal("start");
	started = 1;
	if (chan_send(parent, IMSG_ROLE_PARENT_READY, 0, -1, sandbox_status(),
		strlen(sandbox_status())) == -1)
		fatal("ready");
	event_dispatch();
	fatalx("the event loop ended");
}

struct chan *
role_parent(void)
{
	return parent;
}

struct chan *
role_peer(uint8_t role, uint32_t instance)
{
	struct peer *p = peer_find(role, instance);

	return p != NULL ? p->chan : NULL;
}

struct chan *
role_peer_any(uint8_t role)
{
	struct chan *best = NULL;
	struct peer *p;

	LIST_FOREACH (p, &peers, entry)
		if (chan_role(p->chan) == role &&
		    (best == NULL || chan_queued(p->chan) < chan_queued(best)))
			best = p->chan;
	return best;
}

int
role_peers_more(uint8_t role)
{
	struct peer *p, *next;
	int more = 0;

	/* It may end its own channel, and no other. */
	for (p = LIST_FIRST(&peers); p != NULL; p = next) {
		next = LIST_NEXT(p, entry);
		if (chan_role(p->chan) == role && chan_more(p->chan))
			more = 1;
	}
	return more;
}

const struct role_start *
role_self(void)
{
	return &self;
}

int
role_dirfd(void)
{
	return dirfd;
}
