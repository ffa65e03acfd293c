/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * role: a whole role with the real loop, channels, rules and handlers, in a
 * process of its own for each input, chrooted to an empty folder; the other
 * ends of its channels send what the input says.  A fuzzer of a role includes
 * this and defines fuzz_role and fuzz_one(), which calls role_fuzz().
 *
 * An input is messages, one behind the other: u8 which rule of the role (from
 * 0xf0 on: the end of a peer, who comes again; from 0xe0 on what the fuzzer makes
 * of it), u8 flags, u8 number (of the last
 * questions of the role to that peer, counted from the newest; or as it stands),
 * u16 length and body, and where the flags say so u8 kind of a descriptor, u16
 * length and content.
 *
 * A role may end by a message that breaks the rules: that is what it is to do
 * (status 1).
 */
#ifndef REGRESS_FUZZ_ROLE_H
#define REGRESS_FUZZ_ROLE_H

/* Its own statics are what a start is made of. */
#include "lib/proc_role.c"
#include "regress/fuzz/far.h"

struct fuzz_role {
	const struct role_def *def;
	uint8_t peers[4];        /* roles; 0: no more */
	const uint32_t *parents; /* messages of the parent that carry what
				     others said; ends with 0 */
	void (*configure)(struct chan *parent);
	void (*greet)(void); /* what makes it ready to work; may be NULL */
	/* What a descriptor with the message shall be; -1: as it comes. */
	int (*descriptor)(uint32_t type, const uint8_t *, size_t);
	/* Sees what the role sends to that peer; may be NULL. */
	void (*heard)(uint8_t peer, struct imsg *);
	/* What else may come, from that byte on; may be NULL. */
	void (*other)(struct fuzz_in *);
};
static const struct fuzz_role fuzz_role;

/* ---- stand-ins for what is not this process's to do ---------------------- */

void
sandbox_enter(uint8_t role, int fd, uid_t uid, gid_t gid, unsigned int flags)
{
	(void)role;
	(void)fd;
	(void)uid;
	(void)gid;
	(void)flags;
}

const char *
sandbox_status(void)
{
	return "none";
}

const char *const *
sandbox_calls(uint8_t role, size_t *n)
{
	(void)role;
	*n = 0;
	return NULL;
}

void
setproctitle(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- the other ends ------------------------------------------------------ */

#define FARS_MAX 5

static struct far fars[FARS_MAX];
static int nfars;

static struct far *
far_of(uint8_t role)
{
	int i;

	for (i = 0; i < nfars; i++)
		if (fars[i].role == role)
			return &fars[i];
	return NULL;
}

/* What the role said is thrown away, but for the numbers of its questions. */
static void
far_read(struct far *f)
{
	struct imsg imsg;

	if (f->chan == NULL || imsgbuf_read(&f->reader) == -1)
		return;
	while (imsgbuf_get(&f->reader, &imsg) == 1) {
		if (imsg_get_type(&imsg) >= IMSG_DAEMON_FIRST)
			f->asked[f->nasked++ % ASKED_MAX] = imsg_get_id(&imsg);
		if (fuzz_role.heard != NULL)
			fuzz_role.heard(f->role, &imsg);
		imsg_free(&imsg);
	}
}

static void
role_pump(void)
{
	int i, n;

	for (n = 0; n < 3; n++) {
		if (event_loop(EVLOOP_NONBLOCK) == -1)
			abort();
		for (i = 0; i < nfars; i++)
			far_read(&fars[i]);
	}
}

/* The role has a new channel to that peer. */
static void
far_connect(struct far *f, uint8_t role)
{
	uint8_t body[5] = { role, 0, 0, 0, 1 };
	int sv[2];

	no_sockets(sv, SOCK_STREAM);
	far_open(f, role, sv[0]);
	if (chan_send(fars[0].chan, IMSG_PARENT_ROLE_PEER, 0, sv[1], body,
		sizeof(body)) == -1)
		abort();
}

static void
far_again(struct far *f)
{
	uint8_t role = f->role;

	if (f == &fars[0])
		return;
	imsgbuf_clear(&f->reader);
	chan_free(f->chan);
	f->chan = NULL;
	role_pump();
	far_connect(f, role);
	role_pump();
}

/* ---- its start ----------------------------------------------------------- */

static void
role_begin(void)
{
	uint8_t start[142] = { 0 };
	const struct role_def *def = fuzz_role.def;
	int sv[2], i;

	alarm(300);
	fuzz_check(fcntl(ROLE_FD, F_GETFD) == -1 || close(ROLE_FD) == 0);
	no_sockets(sv, SOCK_STREAM);
	if (dup2(sv[0], ROLE_FD) == -1)
		abort();
	close(sv[0]);
	role_of = def;
	init_rules(def);
	init_loop();
	far_open(&fars[nfars++], ROLE_PARENT, sv[1]);
	start[0] = def->role;
	start[4] = 1; /* instance */
	memcpy(start + 14, "role", 4);
	i = fcntl(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), F_DUPFD_CLOEXEC,
	    20);
	if (chan_send(fars[0].chan, IMSG_PARENT_ROLE_START, 0, i, start,
		sizeof(start)) == -1)
		abort();
	if (fuzz_role.configure != NULL)
		fuzz_role.configure(fars[0].chan);
	while (!have_start || (def->configured != NULL && !def->configured()))
		if (event_loop(EVLOOP_ONCE) == -1)
			abort();
	if (def->prepare != NULL && def->prepare() == -1)
		abort();
	close(dirfd);
	dirfd = -1;
	if (def->start != NULL && def->start() == -1)
		abort();
	started = 1;
	for (i = 0; i < 4 && fuzz_role.peers[i] != 0; i++)
		far_connect(&fars[nfars++], fuzz_role.peers[i]);
	role_pump();
	if (fuzz_role.greet != NULL)
		fuzz_role.greet();
	role_pump();
}

/* ---- messages ------------------------------------------------------------ */

/* NULL: the role hears nothing from those that are hostile. */
static const struct msg_rule *
some_rule(uint8_t which, struct far **f)
{
	const struct role_def *def = fuzz_role.def;
	const struct msg_rule *found[256];
	const uint32_t *t;
	size_t i, n = 0;

	for (i = 0; i < def->nrules && n < 256; i++) {
		if (def->rules[i].from == ROLE_PARENT) {
			for (t = fuzz_role.parents; t != NULL && *t != 0; t++)
				if (*t == def->rules[i].type)
					found[n++] = &def->rules[i];
		} else if (far_of(def->rules[i].from) != NULL)
			found[n++] = &def->rules[i];
	}
	if (n == 0)
		return NULL;
	*f = far_of(found[which % n]->from);
	return found[which % n];
}

static void
role_message(struct fuzz_in *in)
{
	static uint8_t body[PROC_MAX_BODY];
	const struct msg_rule *r;
	const uint8_t *p, *content;
	struct far *f;
	uint8_t which = fuzz_u8(in), flags, number, kind;
	size_t len, clen;
	int fd = -1, with;

	if (which >= 0xe0 && which < 0xf0 && fuzz_role.other != NULL) {
		fuzz_role.other(in);
		role_pump();
		return;
	}
	flags = fuzz_u8(in);
	number = fuzz_u8(in);
	if (which >= 0xf0) {
		far_again(&fars[which % nfars]);
		return;
	}
	/* Of some there is none. */
	if ((r = some_rule(which, &f)) == NULL)
		return;
	nmessages++;
	p = fuzz_bytes(in, sizeof(body), &len);
	memset(body, 0, sizeof(body));
	if (len > 0)
		memcpy(body, p, len);
	if (flags & FLAG_FIT)
		len = len < r->min ? r->min : len > r->max ? r->max : len;
	with = r->fd == CHAN_FD || (r->fd == CHAN_MAYFD && flags & FLAG_FD);
	if (flags & FLAG_WRONG)
		with = !with;
	if (with) {
		kind = fuzz_u8(in);
		content = fuzz_bytes(in, 65535, &clen);
		if (fuzz_role.descriptor != NULL)
			fd = fuzz_role.descriptor(r->type, content, clen);
		if (fd == -1)
			fd = some_descriptor(kind, content, clen);
		if (fd == -1)
			return;
	}
	if (chan_send(f->chan, r->type, some_number(f, flags, number), fd, body,
		len) == -1 &&
	    fd != -1)
		close(fd);
	if (flags & FLAG_AGAIN)
		(void)chan_send(f->chan, r->type, some_number(f, flags, number),
		    -1, body, len);
	if (!(flags & FLAG_LATER))
		role_pump();
}

#define ROLE_MESSAGES_MAX 64

static void
far_run(const uint8_t *p, size_t len)
{
	struct fuzz_in in = { p, len };
	int n;

	role_begin();
	for (n = 0; in.left > 0 && n < ROLE_MESSAGES_MAX; n++)
		role_message(&in);
	role_pump();
	role_end(0);
}

static UNUSED int
role_fuzz(const uint8_t *p, size_t len)
{
	return far_fuzz(p, len);
}

#endif
