/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc: starts, connects, watches, restarts and stops the roles of a daemon.
 * In the parents.
 */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <bsd/sys/queue.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/proc.h"
#include "lib/proc_base.h"
#include "lib/proc_exec.h"
#include "lib/sandbox.h"

#define READY_MS (30 * 1000)
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS (10 * 1000)
#define BACKOFF_KILLED_MS 1000 /* of one that others kill again and again */
#define FAILS_MS 800           /* of back-off: the fourth time */
#define SHORT_LIFE_MS 1000
#define CLOSED_MS 500 /* from the end of its channel to its SIGKILL */
#define FD_LIMIT 65536
#define GUILTY_LIFE_MS (60 * 1000) /* after that its guilt is forgotten */
#define BLAMES_MAX 6               /* of one peer by another, in BLAMES_MS */
#define BLAMES_MS (60 * 1000)
#define LOG_WINDOW_MS 10000
#define LOG_WINDOW_LINES 20000 /* of one role, */
#define LOG_LAST_WORDS 20      /* and so many more that may be its last */

struct proc {
	TAILQ_ENTRY(proc) entry;
	struct proc_spec spec;
	char *title, *exec, *chroot_dir; /* what spec points to */
	struct msg_rule *rules;          /* spec's and proc's own */
	struct chan *chan;
	pid_t pid;
	int ready;
	char sandbox[SANDBOX_STATUS_BYTES]; /* its own word, once ready */
	int by_us;                          /* its SIGKILL is ours */
	int guilty;                         /* it is killed for what it did */
	int blamed;                         /* for what a peer says it did */
	int suspect;                        /* it was, not long ago */
	int stopping;
	int grace_ms;
	int stop_stage; /* 0 nothing, 1 STOP, 2 SIGTERM, 3 SIGKILL was sent */
	int backoff_ms;
	unsigned int deaths;
	monotime_t started;
	monotime_t log_since;
	unsigned int log_lines, log_last; /* since then */
	struct event timer; /* to READY, to a restart or to a stop */
};

/* Two roles that have, or will have again, a channel. */
struct link {
	TAILQ_ENTRY(link) entry;
	struct proc *a, *b;
	int up;
	uint32_t number;    /* of the channel that is up */
	struct event timer; /* to the next one, of those who quarrel */
	struct {
		monotime_t since;
		unsigned int n;
	} blames[2]; /* by a, by b */
};

static TAILQ_HEAD(, proc) procs = TAILQ_HEAD_INITIALIZER(procs);
static TAILQ_HEAD(, link) links = TAILQ_HEAD_INITIALIZER(links);
static struct event ev_sigchld;
static int verbose_level;
static int stopping_all;

static uint32_t last_link;

static void proc_on_timer(int, short, void *);
static int proc_launch(struct proc *);

/* ---- small things -------------------------------------------------------- */

static void
timer_set(struct event *timer, int ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	evtimer_del(timer);
	if (evtimer_add(timer, &tv) == -1)
		fatalx("evtimer_add");
}

static void
proc_kill(struct proc *p, int sig)
{
	p->by_us |= sig == SIGKILL;
	if (p->pid != -1 && kill(p->pid, sig) == -1)
		log_warn("role \"%s\" (pid %d): kill", p->title, (int)p->pid);
}

static void
proc_free(struct proc *p)
{
	if (p == NULL)
		return;
	if (event_initialized(&p->timer))
		evtimer_del(&p->timer);
	chan_free(p->chan);
	free(p->title);
	free(p->exec);
	free(p->chroot_dir);
	free(p->rules);
	free(p);
}

/* It is finished with. */
static void
proc_remove(struct proc *p)
{
	struct link *l, *next;

	for (l = TAILQ_FIRST(&links); l != NULL; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (l->a == p || l->b == p) {
			TAILQ_REMOVE(&links, l, entry);
			evtimer_del(&l->timer);
			free(l);
		}
	}
	TAILQ_REMOVE(&procs, p, entry);
	proc_free(p);
	if (stopping_all && TAILQ_EMPTY(&procs)) {
		stopping_all = 0;
		event_loopexit(NULL);
	}
}

/* ---- links --------------------------------------------------------------- */

/* Takes fd.  The role at the other end of it is other. */
static int
send_peer(struct proc *p, const struct proc *other, uint32_t number, int fd)
{
	struct ibuf *body;

	if ((body = ibuf_open(5)) == NULL)
		goto fail;
	if (ibuf_add_n8(body, other->spec.role) == -1 ||
	    ibuf_add_n32(body, other->spec.instance) == -1) {
		ibuf_free(body);
		goto fail;
	}
	if (chan_send_ibuf(p->chan, IMSG_PARENT_ROLE_PEER, number, fd, body) ==
	    -1)
		goto fail;
	return 0;

fail:
	log_warn("role \"%s\": channel to \"%s\"", p->title, other->title);
	close(fd);
	return -1;
}

static void
link_try(struct link *l)
{
	int sv[2], bad;

	if (l->up || !l->a->ready || !l->b->ready || l->a->chan == NULL ||
	    l->b->chan == NULL || l->a->stopping || l->b->stopping)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) == -1) {
		log_warn("socketpair");
		return;
	}
	evtimer_del(&l->timer);
	/* When one of them dies here, its death puts the link down again. */
	l->up = 1;
	l->number = ++last_link;
	bad = send_peer(l->a, l->b, l->number, sv[0]) == -1;
	bad |= send_peer(l->b, l->a, l->number, sv[1]) == -1;
	if (bad)
		l->up = 0;
}

static void
link_again(int fd, short ev, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)ev;
	l->up = 0;
	link_try(l);
}

static void
links_try(struct proc *p)
{
	struct link *l;

	TAILQ_FOREACH (l, &links, entry)
		if (l->a == p || l->b == p)
			link_try(l);
}

static void
links_down(struct proc *p)
{
	struct link *l;

	TAILQ_FOREACH (l, &links, entry)
		if (l->a == p || l->b == p)
			l->up = 0;
}

int
proc_connect(struct proc *a, struct proc *b)
{
	struct link *l;

	if (a == b) {
		errno = EINVAL;
		return -1;
	}
	TAILQ_FOREACH (l, &links, entry)
		if ((l->a == a && l->b == b) || (l->a == b && l->b == a))
			return 0;
	if ((l = calloc(1, sizeof(*l))) == NULL)
		return -1;
	l->a = a;
	l->b = b;
	evtimer_set(&l->timer, link_again, l);
	TAILQ_INSERT_TAIL(&links, l, entry);
	link_try(l);
	return 0;
}

/* ---- what a child says --------------------------------------------------- */

static int
on_ready(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct proc *p = chan_arg(c);
	char sandbox[SANDBOX_STATUS_BYTES] = "";
	size_t len = ibuf_size(body);

	(void)id;
	(void)imsg;
	if (p->ready || ibuf_get(body, sandbox, len) == -1 ||
	    strspn(sandbox, "abcdefghijklmnopqrstuvwxyz,") != len)
		return -1;
	p->ready = 1;
	memcpy(p->sandbox, sandbox, sizeof(p->sandbox));
	if (p->stopping)
		return 0;
	evtimer_del(&p->timer);
	log_debug("role \"%s\" (pid %d) ready after %lld ms", p->title,
	    (int)p->pid,
	    (long long)monotime_diff_ms(monotime_now(), p->started));
	links_try(p);
	if (p->spec.on_ready != NULL)
		p->spec.on_ready(p, p->spec.arg);
	return 0;
}

/* Whose lines would fill the disk: the rest of the window is left out. */
static int
floods(struct proc *p, int last_words)
{
	monotime_t now = monotime_now();

	if (p->log_lines == 0 ||
	    monotime_diff_ms(now, p->log_since) >= LOG_WINDOW_MS) {
		p->log_since = now;
		p->log_lines = p->log_last = 0;
	}
	if (++p->log_lines == LOG_WINDOW_LINES + 1)
		log_warnx("role \"%s\" (pid %d): more than %d lines in %d s, "
			  "the rest of them is left out",
		    p->title, (int)p->pid, LOG_WINDOW_LINES,
		    LOG_WINDOW_MS / 1000);
	return p->log_lines > LOG_WINDOW_LINES &&
	    !(last_words && p->log_last++ < LOG_LAST_WORDS);
}

int
proc_floods(struct proc *p)
{
	return floods(p, 0);
}

static int
is_old(const struct proc *p, const char *line)
{
	return p->spec.is_old != NULL && p->spec.is_old(line, p->spec.arg);
}

static int
on_log(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct proc *p = chan_arg(c);
	char line[1025];
	uint8_t priority;
	size_t len;

	(void)id;
	(void)imsg;
	if (ibuf_get_n8(body, &priority) == -1 || priority > LOG_DEBUG)
		return -1;
	len = ibuf_size(body);
	if (len >= sizeof(line) || ibuf_get(body, line, len) == -1 ||
	    memchr(line, '\0', len) != NULL)
		return -1;
	line[len] = '\0';
	if (is_old(p, line))
		priority = LOG_DEBUG;
	if ((priority == LOG_DEBUG && !verbose_level) ||
	    floods(p, priority <= LOG_CRIT))
		return 0;
	/* Nobody is to be woken on every terminal by a role. */
	if (priority < LOG_CRIT)
		priority = LOG_CRIT;
	log_line(priority, p->title, line);
	return 0;
}

/* ---- what its peers say of it -------------------------------------------- */

static void
proc_condemn(struct proc *p, int *what, const char *why)
{
	log_warnx("role \"%s\" (pid %d): %s: it is ended for that", p->title,
	    (int)p->pid, why);
	*what = 1;
	proc_kill(p, SIGKILL);
}

/*
 * By one of one peer.  Nobody knows who of them lies: whoever were ended with
 * back-off for it, a bad one could do that to a good one.  So both live, and
 * what they share rests: for so long, in ms; 0: it is heard.
 */
static int
blames_too_often(struct link *l, const struct proc *by, const struct proc *bad)
{
	size_t i = by == l->b;
	monotime_t now = monotime_now();
	int64_t age = monotime_diff_ms(now, l->blames[i].since);

	if (l->blames[i].n == 0 || age >= BLAMES_MS) {
		l->blames[i].since = now;
		l->blames[i].n = 0;
		age = 0;
	}
	if (++l->blames[i].n <= BLAMES_MAX)
		return 0;
	if (l->blames[i].n == BLAMES_MAX + 1)
		log_warnx("role \"%s\" (pid %d): it blames \"%s\" again and "
			  "again, and is not heard: they have no channel now",
		    by->title, (int)by->pid, bad->title);
	return (int)(BLAMES_MS - age);
}

static int
on_blame(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct proc *p = chan_arg(c), *bad;
	char why[256];
	struct link *l;
	int ms;

	(void)imsg;
	(void)body;
	TAILQ_FOREACH (l, &links, entry)
		if (l->up && l->number == id && (l->a == p || l->b == p))
			break;
	/* Of a channel that was: its other end is dead. */
	if (l == NULL)
		return 0;
	bad = l->a == p ? l->b : l->a;
	if (bad->by_us || bad->stopping || p->by_us || p->stopping)
		return 0;
	if ((ms = blames_too_often(l, p, bad)) > 0) {
		timer_set(&l->timer, ms);
		return 0;
	}
	snprintf(why, sizeof(why), "it broke the rules, says \"%s\"", p->title);
	proc_condemn(bad, &bad->blamed, why);
	return 0;
}

static const struct msg_rule own_rules[] = {
	{ IMSG_ROLE_PARENT_READY, 0, CHAN_NOFD, 1, SANDBOX_STATUS_BYTES - 1,
	    on_ready, "ready" },
	{ IMSG_ROLE_PARENT_LOG, 0, CHAN_NOFD, 1, 1025, on_log, "log" },
	{ IMSG_ROLE_PARENT_BLAME, 0, CHAN_NOFD, 0, 0, on_blame, "blame" },
};
#define NOWN (sizeof(own_rules) / sizeof(own_rules[0]))

static void
proc_on_close(struct chan *c, void *arg)
{
	struct proc *p = arg;

	(void)c;
	p->chan = NULL;
	/* It is ending, or useless.  Its death comes by SIGCHLD. */
	if (p->pid != -1) {
		p->stop_stage = 2;
		timer_set(&p->timer, CLOSED_MS);
	}
}

static void
proc_on_violation(struct chan *c, const char *why, void *arg)
{
	struct proc *p = arg;

	(void)c;
	proc_condemn(p, &p->guilty, why);
}

/* ---- start --------------------------------------------------------------- */

static int
send_start(struct proc *p, int dirfd)
{
	struct ibuf *body;

	body = ibuf_open(14 + sizeof(((struct role_start *)0)->title));
	if (body == NULL)
		return -1;
	if (ibuf_add_n8(body, p->spec.role) == -1 ||
	    ibuf_add_n32(body, p->spec.instance) == -1 ||
	    ibuf_add_n32(body, p->spec.uid) == -1 ||
	    ibuf_add_n32(body, p->spec.gid) == -1 ||
	    ibuf_add_n8(body, verbose_level != 0) == -1 ||
	    ibuf_add_strbuf(body, p->title,
		sizeof(((struct role_start *)0)->title)) == -1) {
		ibuf_free(body);
		return -1;
	}
	return chan_send_ibuf(p->chan, IMSG_PARENT_ROLE_START, 0, dirfd, body);
}

static pid_t
proc_fork(struct proc *p, int fd)
{
	/* Room for setproctitle(3), which writes over the environment. */
	static char room[] =
	    "SAIL_ROOM=                                      "
	    "                                                                "
	    "                                                                ";
	static char rflag[] = "-R", asan[512], ubsan[512];
	char role[32], *envp[4], *argv[4];
	const char *path, *v;
	size_t n = 0;
	pid_t pid;

	strlcpy(role, role_name(p->spec.role), sizeof(role));
	argv[0] = program_invocation_short_name;
	if (p->exec != NULL && (argv[0] = strrchr(p->exec, '/')) != NULL)
		argv[0]++;
	else if (p->exec != NULL)
		argv[0] = p->exec;
	argv[1] = rflag;
	argv[2] = role;
	argv[3] = NULL;
	envp[n++] = room;
	if ((v = getenv("ASAN_OPTIONS")) != NULL) {
		snprintf(asan, sizeof(asan), "ASAN_OPTIONS=%s", v);
		envp[n++] = asan;
	}
	if ((v = getenv("UBSAN_OPTIONS")) != NULL) {
		snprintf(ubsan, sizeof(ubsan), "UBSAN_OPTIONS=%s", v);
		envp[n++] = ubsan;
	}
	envp[n] = NULL;
	path = p->exec != NULL ? p->exec : "/proc/self/exe";
	if ((pid = fork()) == 0)
		proc_exec(fd, path, argv, envp);
	return pid;
}

static int
proc_launch(struct proc *p)
{
	struct chan_ops ops = {
		.rules = p->rules,
		.nrules = p->spec.nrules + NOWN,
		.on_close = proc_on_close,
		.on_violation = proc_on_violation,
	};
	int sv[2] = { -1, -1 }, dirfd = -1, saved;

	p->ready = 0;
	p->by_us = 0;
	p->guilty = p->blamed = 0;
	p->log_lines = 0;
	p->sandbox[0] = '\0';
	p->stop_stage = 0;
	p->started = monotime_now();
	if (p->chroot_dir != NULL)
		dirfd = open(p->chroot_dir,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	else
		dirfd = proc_empty_dir();
	if (dirfd == -1) {
		log_warn("role \"%s\": %s", p->title,
		    p->chroot_dir != NULL ? p->chroot_dir : "empty directory");
		goto fail;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) == -1)
		goto fail_warn;
	p->chan = chan_new(sv[0], p->spec.role, p->spec.instance, PROC_MAX_BODY,
	    &ops, p);
	if (p->chan == NULL)
		goto fail_warn;
	sv[0] = -1;
	if ((p->pid = proc_fork(p, sv[1])) == -1)
		goto fail_warn;
	close(sv[1]);
	sv[1] = -1;
	/* From here on a failure is the child's death. */
	timer_set(&p->timer, READY_MS);
	if (send_start(p, dirfd) == -1)
		close(dirfd);
	else if (p->spec.configure == NULL ||
	    p->spec.configure(p, p->spec.arg) == 0)
		return 0;
	log_warnx("role \"%s\" (pid %d): could not be configured", p->title,
	    (int)p->pid);
	proc_kill(p, SIGKILL);
	return 0;

fail_warn:
	log_warn("role \"%s\"", p->title);
fail:
	saved = errno;
	chan_free(p->chan);
	p->chan = NULL;
	if (sv[0] != -1)
		close(sv[0]);
	if (sv[1] != -1)
		close(sv[1]);
	if (dirfd != -1)
		close(dirfd);
	errno = saved;
	return -1;
}

static char *
copy_or_null(const char *s, int *failed)
{
	char *copy;

	if (s == NULL)
		return NULL;
	if ((copy = strdup(s)) == NULL)
		*failed = 1;
	return copy;
}

struct proc *
proc_start(const struct proc_spec *spec)
{
	struct proc *p;
	int failed = 0, saved;
	size_t i;

	if (spec->role == ROLE_PARENT || spec->role >= ROLE_MAX ||
	    strlen(spec->title) >= sizeof(((struct role_start *)0)->title)) {
		errno = EINVAL;
		return NULL;
	}
	if (stopping_all) {
		errno = ECANCELED;
		return NULL;
	}
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	p->spec = *spec;
	p->pid = -1;
	p->spec.title = p->title = copy_or_null(spec->title, &failed);
	p->spec.exec = p->exec = copy_or_null(spec->exec, &failed);
	p->chroot_dir = copy_or_null(spec->chroot_dir, &failed);
	p->spec.chroot_dir = p->chroot_dir;
	p->rules = calloc(spec->nrules + NOWN, sizeof(*p->rules));
	if (failed || p->rules == NULL)
		goto fail;
	memcpy(p->rules, own_rules, sizeof(own_rules));
	for (i = 0; i < NOWN; i++)
		p->rules[i].from = spec->role;
	if (spec->nrules > 0)
		memcpy(p->rules + NOWN, spec->rules,
		    spec->nrules * sizeof(*p->rules));
	evtimer_set(&p->timer, proc_on_timer, p);
	TAILQ_INSERT_TAIL(&procs, p, entry);
	if (proc_launch(p) == -1) {
		TAILQ_REMOVE(&procs, p, entry);
		goto fail;
	}
	return p;

fail:
	saved = errno;
	proc_free(p);
	errno = saved;
	return NULL;
}

/* ---- death and restart --------------------------------------------------- */

static void say(const struct proc *, void (*)(const char *, ...), const char *,
    ...) __attribute__((format(printf, 3, 4)));

static void
say(const struct proc *p, void (*say_new)(const char *, ...), const char *fmt,
    ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	(is_old(p, line) ? log_debug : say_new)("%s", line);
}

static void
log_death(const struct proc *p, pid_t pid, int status)
{
	const char *name;
	int code;

	if (WIFSIGNALED(status)) {
		code = WTERMSIG(status);
		name = sigabbrev_np(code);
		say(p, log_warnx,
		    "role \"%s\" (pid %d) killed by signal %d (SIG%s)%s",
		    p->title, (int)pid, code, name != NULL ? name : "?",
		    code == SIGSYS ? ": it broke its filter" : "");
		return;
	}
	code = WEXITSTATUS(status);
	if (code == 127 && !p->ready)
		log_warnx("role \"%s\" (pid %d): %s could not be executed",
		    p->title, (int)pid,
		    p->exec != NULL ? p->exec : "/proc/self/exe");
	else if (code != 0 || !p->stopping)
		say(p, log_warnx, "role \"%s\" (pid %d) exited with status %d",
		    p->title, (int)pid, code);
	else
		log_debug("role \"%s\" (pid %d) ended", p->title, (int)pid);
}

static int
next_backoff(const struct proc *p, int max_ms)
{
	if (p->backoff_ms == 0)
		return BACKOFF_MIN_MS;
	return p->backoff_ms * 2 < max_ms ? p->backoff_ms * 2 : max_ms;
}

/* status: how it died. */
static void
proc_restart(struct proc *p, int was_ready, int status)
{
	int64_t life = monotime_diff_ms(monotime_now(), p->started);
	/* Not by itself: programs wait for the next one. */
	int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	    !p->by_us && !p->suspect;

	if (life >= GUILTY_LIFE_MS) {
		p->backoff_ms = 0;
		p->suspect = 0;
	}
	/* One that was guilty does not win by a clean death in between. */
	p->suspect |= p->guilty;
	if (!was_ready || p->guilty ||
	    (p->deaths > 0 && life < SHORT_LIFE_MS && !p->blamed))
		p->backoff_ms = next_backoff(p,
		    killed ? BACKOFF_KILLED_MS : BACKOFF_MAX_MS);
	else if (!p->suspect)
		p->backoff_ms = 0;
	p->deaths++;
	if (p->backoff_ms > 0)
		say(p, log_info, "role \"%s\": starts again in %d ms", p->title,
		    p->backoff_ms);
	else if (proc_launch(p) == 0)
		return;
	else
		p->backoff_ms = BACKOFF_MIN_MS;
	timer_set(&p->timer, p->backoff_ms);
}

static void
proc_died(struct proc *p, int status)
{
	pid_t pid = p->pid;
	int was_ready, again = 1;

	/* The number may be another's from now on. */
	p->pid = -1;
	/* Its last words stand in the log before its death. */
	if (p->chan != NULL)
		chan_drain(p->chan);
	log_death(p, pid, status);
	chan_free(p->chan);
	p->chan = NULL;
	was_ready = p->ready;
	p->ready = 0;
	p->sandbox[0] = '\0';
	evtimer_del(&p->timer);
	links_down(p);
	if (p->spec.on_death != NULL)
		again = p->spec.on_death(p, status, p->spec.arg);
	if (again && !p->stopping)
		proc_restart(p, was_ready, status);
	else
		proc_remove(p);
}

/* Only its own children are waited for: the daemon may have others. */
static void
proc_on_sigchld(int sig, short ev, void *arg)
{
	struct proc *p, *next;
	int status;

	(void)sig;
	(void)ev;
	(void)arg;
	for (p = TAILQ_FIRST(&procs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->pid != -1 && waitpid(p->pid, &status, WNOHANG) == p->pid)
			proc_died(p, status);
	}
}

static void
proc_on_timer(int fd, short ev, void *arg)
{
	struct proc *p = arg;

	(void)fd;
	(void)ev;
	if (p->pid == -1 && p->stopping) {
		/* Its last death was not its end yet. */
		if (p->spec.on_death != NULL)
			(void)p->spec.on_death(p, 0, p->spec.arg);
		proc_remove(p);
		return;
	}
	if (p->pid == -1) {
		if (proc_launch(p) == -1) {
			p->backoff_ms = next_backoff(p, BACKOFF_MAX_MS);
			timer_set(&p->timer, p->backoff_ms);
		}
		return;
	}
	if (!p->stopping && p->stop_stage == 0) {
		log_warnx("role \"%s\" (pid %d) is not ready after %d s",
		    p->title, (int)p->pid, READY_MS / 1000);
		proc_kill(p, SIGKILL);
	} else if (p->stop_stage == 1) {
		proc_kill(p, SIGTERM);
		p->stop_stage = 2;
		timer_set(&p->timer, p->grace_ms);
	} else if (!p->stopping && p->stop_stage == 2) {
		if (!p->by_us)
			proc_condemn(p, &p->guilty, "it closed its channel");
		p->stop_stage = 3;
	} else {
		proc_kill(p, SIGKILL);
		p->stop_stage = 3;
	}
}

void
proc_stop(struct proc *p, int grace_ms)
{
	if (p->stopping)
		return;
	p->stopping = 1;
	p->grace_ms = grace_ms;
	if (p->pid == -1) {
		/* Not at once: the caller may still look at it. */
		timer_set(&p->timer, 0);
		return;
	}
	p->stop_stage = 1;
	if (p->chan == NULL ||
	    chan_send(p->chan, IMSG_PARENT_ROLE_STOP, 0, -1, NULL, 0) == -1) {
		proc_kill(p, SIGTERM);
		p->stop_stage = 2;
	}
	timer_set(&p->timer, grace_ms);
}

void
proc_stop_all(int grace_ms)
{
	struct proc *p;

	if (TAILQ_EMPTY(&procs)) {
		event_loopexit(NULL);
		return;
	}
	stopping_all = 1;
	TAILQ_FOREACH (p, &procs, entry)
		proc_stop(p, grace_ms);
}

/* ---- the daemon's side --------------------------------------------------- */

int
proc_parent_init(int verbose)
{
	struct rlimit rl;
	int fd;

	/* Nothing else may get the numbers of the standard descriptors. */
	do {
		if ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1)
			return -1;
	} while (fd <= 2);
	close(fd);
	verbose_level = verbose;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max < FD_LIMIT ? rl.rlim_max : FD_LIMIT;
		if (setrlimit(RLIMIT_NOFILE, &rl) == -1)
			log_warn("limit of open files");
	}
	/* A file that may not get longer is an error of the write. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return -1;
	if (proc_base_init() == -1)
		return -1;
	signal_set(&ev_sigchld, SIGCHLD, proc_on_sigchld, NULL);
	if (signal_add(&ev_sigchld, NULL) == -1) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

void
proc_set_verbose(int verbose)
{
	struct proc *p;
	uint8_t v = verbose != 0;

	verbose_level = verbose;
	log_set_verbose(verbose);
	TAILQ_FOREACH (p, &procs, entry)
		if (p->chan != NULL)
			(void)chan_send(p->chan, IMSG_PARENT_ROLE_VERBOSE, 0,
			    -1, &v, sizeof(v));
}

struct chan *
proc_chan(struct proc *p)
{
	return p->chan;
}

pid_t
proc_pid(const struct proc *p)
{
	return p->pid;
}

uint8_t
proc_role(const struct proc *p)
{
	return p->spec.role;
}

uint32_t
proc_instance(const struct proc *p)
{
	return p->spec.instance;
}

void *
proc_arg(const struct proc *p)
{
	return p->spec.arg;
}

unsigned int
proc_starts(const struct proc *p)
{
	return p->deaths + 1;
}

int
proc_fails(const struct proc *p)
{
	return !p->ready && p->backoff_ms >= FAILS_MS;
}

int
proc_ready(const struct proc *p)
{
	return p->ready;
}

const char *
proc_sandbox(const struct proc *p)
{
	return p->sandbox;
}

struct proc *
proc_find(uint8_t role, uint32_t instance)
{
	struct proc *p;

	TAILQ_FOREACH (p, &procs, entry)
		if (p->spec.role == role && p->spec.instance == instance)
			return p;
	return NULL;
}

void
proc_foreach(void (*f)(struct proc *, void *), void *arg)
{
	struct proc *p, *next;

	for (p = TAILQ_FIRST(&procs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		f(p, arg);
	}
}
