/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parent: a whole parent whose children are compromised, in a process and a
 * folder of its own for each input.  A fuzzer includes this and defines
 * fuzz_parent and fuzz_one(), which calls far_fuzz().  The children are no
 * processes: they are the other ends of their channels, and say READY and end
 * as they are told.
 *
 * An input is a byte for the fuzzer, and then, one behind the other: u8 which
 * child and u8 which rule, and what comes behind that in role.h; or from 0xe0 on
 * what happens otherwise: 0xe0 a child dies (u8 which, u8 how), 0xe1 the time of
 * a child has come (u8 which), 0xe2 one blames a peer (u8 which, u8 at which of
 * its channels), from 0xe4 on what the fuzzer makes of it.
 *
 * Whatever they say the parent lives, and kills none that said nothing, unless
 * its peers blame it.
 */
#ifndef REGRESS_FUZZ_PARENT_H
#define REGRESS_FUZZ_PARENT_H

#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>

#include "regress/fuzz/far.h"

#define KIDS_MAX 32
#define PID_FIRST 0x40000000 /* no process has it */

struct kid {
	pid_t pid;
	int dead; /* and not waited for yet */
	int status;
	int stops; /* it was told to */
	int sent;  /* it said something of the input's */
	struct far far;
	uint32_t links[ASKED_MAX]; /* numbers of its channels to peers */
	uint32_t nlinks;
};
static struct kid kids[KIDS_MAX];
static int nkids, last_pair = -1;
static int no_ready;       /* they do not say it by themselves */
static int excused;        /* from here on one that said nothing may die */
static UNUSED int nhonest; /* what the fuzzer's own children said */

struct fuzz_parent {
	void (*begin)(uint8_t first);
	/* What the parent said to that child; may be NULL. */
	void (*heard)(struct kid *, uint8_t role, struct imsg *);
	void (*other)(struct fuzz_in *); /* may be NULL */
};
static const struct fuzz_parent fuzz_parent;

/* ---- in place of the system's -------------------------------------------- */

static int
kid_pair(int domain, int type, int protocol, int sv[2])
{
	if (socketpair(domain, type, protocol, sv) == -1)
		return -1;
	if (last_pair != -1)
		close(last_pair);
	if ((last_pair = fcntl(sv[1], F_DUPFD_CLOEXEC, 20)) == -1)
		abort();
	return 0;
}

/* The far end of the channel that was made just before. */
static pid_t
kid_fork(void)
{
	struct kid *k;

	if (nkids == KIDS_MAX) {
		errno = EAGAIN;
		return -1;
	}
	k = &kids[nkids];
	k->pid = PID_FIRST + nkids++;
	far_open(&k->far, ROLE_PARENT, last_pair);
	last_pair = -1;
	return k->pid;
}

static void
kid_dies(struct kid *k, int status)
{
	if (k->far.chan == NULL)
		return;
	imsgbuf_clear(&k->far.reader);
	chan_free(k->far.chan);
	k->far.chan = NULL;
	k->dead = 1;
	k->status = status;
}

static struct kid *
kid_of_pid(pid_t pid)
{
	return pid >= PID_FIRST && pid < PID_FIRST + nkids
	    ? &kids[pid - PID_FIRST]
	    : NULL;
}

static int
kid_kill(pid_t pid, int sig)
{
	struct kid *k = kid_of_pid(pid);

	fuzz_check(k != NULL);
	fuzz_check(k->sent || k->stops || excused);
	kid_dies(k, sig);
	return 0;
}

static pid_t
kid_wait(pid_t pid, int *status, int flags)
{
	struct kid *k = kid_of_pid(pid);

	(void)flags;
	if (k == NULL || !k->dead)
		return 0;
	k->dead = 0;
	*status = k->status;
	return pid;
}

#define socketpair kid_pair
#define fork kid_fork
#define kill kid_kill
#define waitpid kid_wait
#include "lib/proc_parent.c"
#undef socketpair
#undef fork
#undef kill
#undef waitpid

/* ---- the children -------------------------------------------------------- */

static struct proc *
proc_of(const struct kid *k)
{
	struct proc *p;

	TAILQ_FOREACH (p, &procs, entry)
		if (p->pid == k->pid)
			return p;
	return NULL;
}

static void
kid_say(struct kid *k, uint32_t type, uint32_t id, int fd, const void *body,
    size_t len)
{
	if ((k->far.chan == NULL ||
		chan_send(k->far.chan, type, id, fd, body, len) == -1) &&
	    fd != -1)
		close(fd);
}

static void
kid_hear(struct kid *k, struct imsg *imsg)
{
	struct proc *p = proc_of(k);

	if (imsg_get_type(imsg) >= IMSG_DAEMON_FIRST)
		k->far.asked[k->far.nasked++ % ASKED_MAX] = imsg_get_id(imsg);
	else if (imsg_get_type(imsg) == IMSG_PARENT_ROLE_PEER)
		k->links[k->nlinks++ % ASKED_MAX] = imsg_get_id(imsg);
	else if (imsg_get_type(imsg) == IMSG_PARENT_ROLE_START && !no_ready)
		kid_say(k, IMSG_ROLE_PARENT_READY, 0, -1, "none", 4);
	else if (imsg_get_type(imsg) == IMSG_PARENT_ROLE_STOP)
		k->stops = 1;
	if (fuzz_parent.heard != NULL && p != NULL)
		fuzz_parent.heard(k, p->spec.role, imsg);
}

static void
kid_read(struct kid *k)
{
	struct imsg imsg;

	if (k->far.chan == NULL || imsgbuf_read(&k->far.reader) == -1)
		return;
	while (k->far.chan != NULL && imsgbuf_get(&k->far.reader, &imsg) == 1) {
		kid_hear(k, &imsg);
		imsg_free(&imsg);
	}
	if (k->stops)
		kid_dies(k, 0);
}

static void
parent_pump(void)
{
	int i, n;

	for (n = 0; n < 4; n++) {
		if (event_loop(EVLOOP_NONBLOCK) == -1)
			abort();
		for (i = 0; i < nkids; i++)
			kid_read(&kids[i]);
		proc_on_sigchld(SIGCHLD, 0, NULL);
	}
}

static UNUSED struct kid *
kid_of_role(uint8_t role)
{
	struct proc *p;

	TAILQ_FOREACH (p, &procs, entry)
		if (p->spec.role == role && p->pid != -1)
			return kid_of_pid(p->pid);
	return NULL;
}

/* ---- an input ------------------------------------------------------------ */

static struct proc *
some_proc(uint8_t which)
{
	struct proc *p;
	unsigned int n = 0;

	TAILQ_FOREACH (p, &procs, entry)
		n++;
	if (n == 0)
		return NULL;
	which = (uint8_t)(which % n);
	TAILQ_FOREACH (p, &procs, entry)
		if (which-- == 0)
			break;
	return p;
}

static void
one_dies(struct kid *k, uint8_t how)
{
	static const int statuses[] = { 0, 1 << 8, SIGKILL, SIGSEGV, SIGSYS };

	if (k == NULL || k->far.chan == NULL)
		return;
	k->sent = 1;
	if (how % 8 < 5) {
		kid_dies(k, statuses[how % 8]);
		return;
	}
	/* It lives, and its channel is closed. */
	imsgbuf_clear(&k->far.reader);
	chan_free(k->far.chan);
	k->far.chan = NULL;
}

static void
one_says(struct fuzz_in *in, struct proc *p, struct kid *k)
{
	static uint8_t body[PROC_MAX_BODY];
	size_t nrules = p->spec.nrules + NOWN, len, clen;
	uint8_t which = fuzz_u8(in), flags = fuzz_u8(in), number = fuzz_u8(in);
	const struct msg_rule *r = &p->rules[which % nrules];
	const uint8_t *content, *said = fuzz_bytes(in, sizeof(body), &len);
	int fd = -1, with;

	memset(body, 0, sizeof(body));
	if (len > 0)
		memcpy(body, said, len);
	if (flags & FLAG_FIT)
		len = len < r->min ? r->min : len > r->max ? r->max : len;
	with = r->fd == CHAN_FD || (r->fd == CHAN_MAYFD && flags & FLAG_FD);
	if (flags & FLAG_WRONG)
		with = !with;
	if (with) {
		uint8_t kind = fuzz_u8(in);

		content = fuzz_bytes(in, 65535, &clen);
		if ((fd = some_descriptor(kind, content, clen)) == -1)
			return;
	}
	k->sent = 1;
	if (r->type == IMSG_ROLE_PARENT_BLAME)
		excused = 1;
	kid_say(k, r->type, some_number(&k->far, flags, number), fd, body, len);
	if (flags & FLAG_AGAIN)
		kid_say(k, r->type, some_number(&k->far, flags, number), -1,
		    body, len);
	if (!(flags & FLAG_LATER))
		parent_pump();
}

static void
one_blames(struct kid *k, uint8_t which)
{
	uint32_t have = k->nlinks < ASKED_MAX ? k->nlinks : ASKED_MAX;

	if (have == 0)
		return;
	k->sent = excused = 1;
	kid_say(k, IMSG_ROLE_PARENT_BLAME,
	    k->links[(k->nlinks - 1 - which % have) % ASKED_MAX], -1, NULL, 0);
}

static void
one_thing(struct fuzz_in *in)
{
	uint8_t which = fuzz_u8(in);
	struct proc *p;
	struct kid *k;

	if (which >= 0xe4) {
		if (fuzz_parent.other != NULL)
			fuzz_parent.other(in);
		parent_pump();
		return;
	}
	p = some_proc(which >= 0xe0 ? fuzz_u8(in) : which);
	k = p != NULL && p->pid != -1 ? kid_of_pid(p->pid) : NULL;
	if (which == 0xe0)
		one_dies(k, fuzz_u8(in));
	else if (which == 0xe1 && p != NULL &&
	    evtimer_pending(&p->timer, NULL)) {
		excused = 1;
		evtimer_del(&p->timer);
		proc_on_timer(-1, EV_TIMEOUT, p);
	} else if (which == 0xe2 && k != NULL)
		one_blames(k, fuzz_u8(in));
	else if (which < 0xe0 && k != NULL) {
		one_says(in, p, k);
		return;
	}
	parent_pump();
}

#define THINGS_MAX 64

static void
far_run(const uint8_t *p, size_t len)
{
	struct fuzz_in in = { p, len };
	uint8_t first = fuzz_u8(&in);
	int n;

	alarm(300);
	/* Who looks into a finding wants to know. */
	log_init("parent", getenv("SAIL_FUZZ_LOG") != NULL, 1);
	if (getenv("SAIL_FUZZ_LOG") != NULL)
		log_set_sink(NULL, NULL);
	/* For folders of roles that have none. */
	if (mkdir("/tmp", 0700) == -1 || proc_base_init() == -1)
		abort();
	fuzz_parent.begin(first);
	parent_pump();
	for (n = 0; in.left > 0 && n < THINGS_MAX; n++)
		one_thing(&in);
	parent_pump();
}

#endif
