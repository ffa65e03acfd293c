/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A compromised role: linked into the real programs in place of role_main(),
 * chan_new(), chan_send() and chan_send_ibuf().  The file `hostile' beside the
 * program says in one line who, and how:
 *
 *	ROLE INSTANCE MODE SEED PERCENT		INSTANCE -: all of them
 *
 * noise: it says READY, then sends what it likes on all channels.
 * silent: it says READY, and no more.
 * lies: it is the real role, and spoils PERCENT of what it sends.
 * nth: the same, and spoils one word alone, PERCENT / 16 from its first, in way
 * PERCENT % 16 of those that spoil() has: who asks for little is done before others
 * lie.
 * swaps: it is the real role, and each word that it says could be true, but
 * PERCENT are of another question, another time or another mount.
 * forges: it is the real role, a manifest, and asks its parent for what nobody
 * has asked for: at a path with `ours' where its client said `mine', and in the
 * name of PERCENT: 0 that client, 1 who made its own channel, which is root, 2
 * the first client that asked for something (which it did as it should).
 * blames: it is the real role, and says of each peer that comes that it broke the
 * rules.
 * All others are what they always are.  It keeps its sandbox.  What it has done
 * is counted in the file `hostile.done' there: a test that expects nothing bad
 * must know that there was something.
 */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd_message.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/sailvold_imsg.h"

/* Those of sailapid have the same names for other things. */
#define SAILAPID_TYPES 100, 101, 110, 111, 120, 121, 131, 133, 134

enum mode { REAL, NOISE, SILENT, LIES, SWAPS, FORGES, BLAMES };

#define LINES_MAX 16
#define TICK_MS 3
#define SETTLE_MS 200 /* of a liar: its first words are true */
#define NTYPES 320
#define PASTS 64
#define NTH_WAYS 16

void __real_role_main(const struct role_def *, int, char **)
    __attribute__((noreturn));
void __wrap_role_main(const struct role_def *, int, char **)
    __attribute__((noreturn));
struct chan *__real_chan_new(int, uint8_t, uint32_t, size_t,
    const struct chan_ops *, void *);
struct chan *__wrap_chan_new(int, uint8_t, uint32_t, size_t,
    const struct chan_ops *, void *);
int __real_chan_send(struct chan *, uint32_t, uint32_t, int, const void *,
    size_t);
int __wrap_chan_send(struct chan *, uint32_t, uint32_t, int, const void *,
    size_t);
int __real_chan_send_ibuf(struct chan *, uint32_t, uint32_t, int,
    struct ibuf *);
int __wrap_chan_send_ibuf(struct chan *, uint32_t, uint32_t, int,
    struct ibuf *);

static enum mode mode;
static char want_instance[16];
static uint64_t seed;
static unsigned int percent;
static int lying, nth;
static unsigned int words; /* nth: said so far */
static struct event tick;
static const struct role_def *real_def;

/* Sockets of its channels; ino: it is still the same one. */
static struct line {
	int fd;
	uint8_t to;
	ino_t ino;
	struct chan *chan;
} lines[LINES_MAX];
static size_t nlines;

/* Of all its lives: those that began, that said READY, what was sent as noise or
   spoiled, what was taken without an answer. */
static struct tally {
	uint64_t begun, lives, spoiled, swallowed;
} nowhere, *tally = &nowhere;

/* What it has been asked: numbers of messages. */
static uint32_t asked[64];
static unsigned int nasked;

static uint32_t
rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below == 0 ? 0 : (uint32_t)(seed >> 11) % below;
}

/* ---- what it sends ------------------------------------------------------- */

static uint32_t
some_type(uint8_t to)
{
#define X(name, number, from, dest, fd, body) \
	{ number, ROLE_##from, ROLE_##dest },
	static const struct {
		uint32_t type;
		uint8_t from, to;
	} mine[] = { SAILVOLD_MESSAGES(X) };
#undef X
#define X(name, number, fd) number,
	static const uint32_t fetch[] = { FETCH_MESSAGES(X) SAILAPID_TYPES };
#undef X
	size_t i, n = sizeof(mine) / sizeof(mine[0]), at = rnd((uint32_t)n);

	switch (rnd(8)) {
	case 0:
		return rnd(NTYPES);
	case 1:
		return rnd(1U << 31);
	case 2:
		return 1 + rnd(IMSG_ROLE_PARENT_BLAME);
	case 3:
	case 4:
		return fetch[rnd(sizeof(fetch) / sizeof(fetch[0]))];
	default:
		for (i = 0; i < n; i++, at = (at + 1) % n)
			if (mine[at].from == real_def->role &&
			    mine[at].to == to)
				return mine[at].type;
		return fetch[rnd(sizeof(fetch) / sizeof(fetch[0]))];
	}
}

static size_t
some_length(void)
{
	static const size_t often[] = { 0, 1, 2, 4, 5, 8, 9, 12, 16, 20, 25, 40,
		48, 128 };

	if (rnd(4) != 0)
		return often[rnd(sizeof(often) / sizeof(often[0]))];
	return rnd(8) != 0 ? rnd(2000) : rnd(PROC_MAX_BODY + 1);
}

static void
some_bytes(uint8_t *p, size_t len)
{
	uint32_t how = rnd(4);
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = how == 0 ? 0 : how == 1 ? 0xff : (uint8_t)rnd(256);
	/* Small numbers go further. */
	if (how == 3)
		for (i = 0; i < len; i++)
			p[i] = (uint8_t)(i % 4 == 3 ? rnd(8) : 0);
}

/* Of a kind that nobody has asked for. */
static int
some_fd(void)
{
	uint8_t bytes[512];
	int fd, ends[2];

	switch (rnd(4)) {
	case 0:
		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1)
			return -1;
		close(ends[1]);
		return ends[0];
	case 1:
		/* Its filter gives that to these alone. */
		if ((real_def->role != ROLE_FETCH &&
			real_def->role != ROLE_TLS) ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ==
			-1)
			return epoll_create1(EPOLL_CLOEXEC);
		close(ends[1]);
		return ends[0];
	default:
		if ((fd = memfd_create("hostile", MFD_CLOEXEC)) == -1)
			return -1;
		some_bytes(bytes, sizeof(bytes));
		if (write(fd, bytes, rnd(sizeof(bytes))) == -1)
			log_debug("hostile: write");
		return fd;
	}
}

static uint32_t
some_number(void)
{
	if (nasked > 0 && rnd(2) == 0)
		return asked[rnd(nasked < 64 ? nasked : 64)];
	return rnd(4) == 0 ? rnd(1U << 31) : rnd(50);
}

/* As bytes: a channel would not send what is wrong. */
static void
send_raw(const struct line *l, uint32_t type, const uint8_t *body, size_t len,
    size_t claimed, int fd)
{
	union fd_message u;
	uint32_t head[4] = { type, (uint32_t)(IMSG_HEADER_SIZE + claimed),
		some_number(), 0 };
	struct iovec iov[2] = { { head, sizeof(head) },
		{ (void *)(uintptr_t)body, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd != -1) {
		head[1] |= rnd(8) != 0 ? IMSG_FD_MARK : 0;
		fd_message(&m, &u, fd);
	} else if (rnd(50) == 0)
		head[1] |= IMSG_FD_MARK;
	if (sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		tally->spoiled++;
	if (fd != -1)
		close(fd);
}

static void
send_noise(const struct line *l)
{
	static uint8_t body[PROC_MAX_BODY];
	uint32_t type = some_type(l->to), what = rnd(64);
	size_t len = some_length(), claimed = len;
	int i, n = 1;

	some_bytes(body, len);
	if (what == 0)
		claimed = rnd(1U << 30); /* of a length that nobody takes */
	else if (what == 1 && len > 0)
		len = rnd((uint32_t)len); /* the rest is what comes next */
	else if (what == 2) {
		(void)send(l->fd, body, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	} else if (what == 3)
		n = 2000;
	else if (what == 4) {
		shutdown(l->fd, SHUT_WR);
		return;
	} else if (what == 5 && l->to != ROLE_PARENT)
		chan_pause(l->chan); /* no answer is read any more */
	for (i = 0; i < n; i++)
		send_raw(l, type, body, len, claimed,
		    rnd(3) == 0 ? some_fd() : -1);
}

static int
is_open(const struct line *l)
{
	struct stat st;

	return fstat(l->fd, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    st.st_ino == l->ino;
}

static void
on_tick(int fd, short ev, void *arg)
{
	struct timeval tv = { 0, TICK_MS * 1000 };
	const struct line *l;
	uint32_t i, n;

	(void)fd;
	(void)ev;
	(void)arg;
	if (mode == LIES || mode == SWAPS || mode == FORGES || mode == BLAMES) {
		lying = mode == LIES || mode == SWAPS;
		return;
	}
	/* To its parent seldom: that kills it at the first. */
	if (nlines > 0) {
		l = &lines[rnd((uint32_t)nlines)];
		if (l->to == ROLE_PARENT && rnd(16) != 0)
			l = &lines[rnd((uint32_t)nlines)];
		for (i = 0, n = 1 + rnd(20); i < n && is_open(l); i++)
			send_noise(l);
	}
	evtimer_add(&tick, &tv);
}

/* ---- a role that does nothing of its own --------------------------------- */

static int
swallow(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)imsg;
	(void)body;
	asked[nasked++ % 64] = id;
	tally->swallowed++;
	return 0;
}

static int
start_hostile(void)
{
	struct timeval tv = { 0, TICK_MS * 1000 };

	if (mode == LIES || mode == SWAPS || mode == FORGES || mode == BLAMES) {
		/* notify has none, and seldom a second. */
		tv.tv_usec =
		    nth || real_def->role == ROLE_NOTIFY ? 0 : SETTLE_MS * 1000;
		if (real_def->start != NULL && real_def->start() == -1)
			return -1;
	}
	evtimer_set(&tick, on_tick, NULL);
	if (mode != SILENT)
		evtimer_add(&tick, &tv);
	tally->lives++;
	return 0;
}

static void
make_deaf(struct role_def *def)
{
	struct msg_rule *r;
	uint32_t type;
	uint8_t role;

	r = calloc((size_t)NTYPES * ROLE_MAX, sizeof(*r));
	if (r == NULL)
		fatal("hostile");
	def->rules = r;
	for (type = IMSG_DAEMON_FIRST; type < NTYPES; type++)
		for (role = ROLE_PARENT; role < ROLE_MAX; role++, r++) {
			r->type = type;
			r->from = role;
			r->fd = CHAN_MAYFD;
			r->max = PROC_MAX_BODY;
			r->handler = swallow;
			r->name = "any";
		}
	def->nrules = (size_t)(r - def->rules);
	def->configured = NULL;
	def->prepare = NULL;
	def->peer_up = NULL;
	def->peer_down = NULL;
	def->stop = NULL;
}

/* ---- in place of the real ones ------------------------------------------- */

/* A page of that file: its sandbox opens none. */
static void
open_tally(const char *path)
{
	void *p;
	int fd;

	if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1)
		return;
	p = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);
	if (p != MAP_FAILED)
		tally = p;
	close(fd);
}

static void
read_orders(const char *role)
{
	char path[PATH_MAX], who[32], how[16];
	unsigned long long s;
	ssize_t n;
	FILE *f;

	n = readlink("/proc/self/exe", path,
	    sizeof(path) - sizeof("hostile.done"));
	if (n <= 0)
		return;
	path[n] = '\0';
	if (strrchr(path, '/') == NULL)
		return;
	(void)strlcpy(strrchr(path, '/') + 1, "hostile", sizeof("hostile"));
	if ((f = fopen(path, "re")) == NULL)
		return;
	if (fscanf(f, "%31s %15s %15s %llu %u", who, want_instance, how, &s,
		&percent) == 5 &&
	    strcmp(who, role) == 0) {
		nth = strcmp(how, "nth") == 0;
		mode = strcmp(how, "noise") == 0      ? NOISE
		    : nth || strcmp(how, "lies") == 0 ? LIES
		    : strcmp(how, "swaps") == 0       ? SWAPS
		    : strcmp(how, "forges") == 0      ? FORGES
		    : strcmp(how, "blames") == 0      ? BLAMES
						      : SILENT;
		(void)strlcat(path, ".done", sizeof(path));
		open_tally(path);
		/* Each life is another. */
		seed = s * 1000003 +
		    __atomic_fetch_add(&tally->begun, 1, __ATOMIC_SEQ_CST);
		seed = seed * 0x9e3779b97f4a7c15 | 1;
	}
	fclose(f);
}

/* What START will say, on descriptor 3: u8 role, u32 instance. */
static int
is_meant(void)
{
	struct pollfd pfd = { .fd = 3, .events = POLLIN };
	uint8_t head[IMSG_HEADER_SIZE + 5];
	char instance[16];

	if (strcmp(want_instance, "-") == 0)
		return 1;
	if (poll(&pfd, 1, 10000) != 1 ||
	    recv(3, head, sizeof(head), MSG_PEEK) != sizeof(head))
		return 0;
	snprintf(instance, sizeof(instance), "%u",
	    (unsigned int)head[19] << 8 | head[20]);
	return strcmp(want_instance, instance) == 0;
}

void
__wrap_role_main(const struct role_def *def, int argc, char **argv)
{
	static struct role_def own;

	read_orders(role_name(def->role));
	if (mode != REAL && !is_meant())
		mode = REAL;
	real_def = def;
	own = *def;
	if (mode == NOISE || mode == SILENT)
		make_deaf(&own);
	own.start = start_hostile;
	__real_role_main(mode == REAL ? def : &own, argc, argv);
}

struct chan *
__wrap_chan_new(int fd, uint8_t from, uint32_t instance, size_t max_body,
    const struct chan_ops *ops, void *arg)
{
	struct chan *c;
	struct stat st;

	c = __real_chan_new(fd, from, instance, max_body, ops, arg);
	if (c != NULL && mode != REAL && nlines < LINES_MAX &&
	    fstat(fd, &st) == 0) {
		lines[nlines].fd = fd;
		lines[nlines].to = from;
		lines[nlines].ino = st.st_ino;
		lines[nlines++].chan = c;
	}
	if (c != NULL && mode == BLAMES && ops->on_violation != NULL) {
		ops->on_violation(c, "hostile: blamed", arg);
		tally->spoiled++;
	}
	return c;
}

static int
is_to_be_spoiled(void)
{
	if (nth)
		return words++ == percent / NTH_WAYS;
	return rnd(100) < percent;
}

/* A copy of the body, spoiled; 0: it is not to be sent at all. */
static int
spoil(const struct chan *c, uint32_t *type, uint32_t *id, int *fd,
    uint8_t *body, size_t *len)
{
	size_t i, n = 1 + rnd(8);

	asked[nasked++ % 64] = *id;
	switch (nth ? percent % NTH_WAYS : rnd(9)) {
	case 0:
		*len = rnd((uint32_t)*len + 1);
		break;
	case 1:
		n += *len;
		if (n > PROC_MAX_BODY)
			n = PROC_MAX_BODY;
		for (i = *len; i < n; i++)
			body[i] = (uint8_t)rnd(256);
		*len = n;
		break;
	case 2:
		some_bytes(body, *len);
		break;
	case 3:
		*id = some_number();
		break;
	case 4:
		*type = some_type(chan_role(c));
		break;
	case 5:
		if (*fd != -1)
			close(*fd);
		*fd = *fd != -1 && rnd(2) == 0 ? -1 : some_fd();
		break;
	case 6:
		tally->swallowed++;
		return 0;
	default:
		for (i = 0; i<n && * len> 0; i++)
			body[rnd((uint32_t)*len)] ^= (uint8_t)(1U << rnd(8));
		break;
	}
	return 1;
}

/* ---- true words in the wrong place ---------------------------------------- */

static struct past {
	uint32_t type, id;
	uint8_t to;
	int fd; /* -1: none */
	size_t len;
	uint8_t *body; /* NULL: nothing yet */
} pasts[PASTS];
static unsigned int npasts;

static void
remember(const struct chan *c, uint32_t type, uint32_t id, int fd,
    const void *body, size_t len)
{
	struct past *p = &pasts[npasts++ % PASTS];

	if (p->body != NULL && p->fd != -1)
		close(p->fd);
	free(p->body);
	p->type = type;
	p->id = id;
	p->to = chan_role(c);
	p->fd = fd != -1 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	p->len = len;
	if ((p->body = malloc(len + 1)) == NULL)
		fatal("hostile");
	if (len > 0)
		memcpy(p->body, body, len);
}

/* One that was sent before, of that type (0: any) to that role; NULL. */
static const struct past *
some_past(uint32_t type, uint8_t to)
{
	uint32_t i, at = rnd(PASTS);

	for (i = 0; i < PASTS; i++, at = (at + 1) % PASTS)
		if (pasts[at].body != NULL && pasts[at].to == to &&
		    (type == 0 || pasts[at].type == type))
			return &pasts[at];
	return NULL;
}

static void
send_past(struct chan *c, const struct past *p, uint32_t id)
{
	int fd = p->fd != -1 ? fcntl(p->fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (__real_chan_send(c, p->type, id, fd, p->body, p->len) == -1 &&
	    fd != -1)
		close(fd);
}

/* Another peer of that role: the fuse of another mount. */
static struct chan *
another(struct chan *c)
{
	uint32_t i, at = rnd((uint32_t)nlines);

	for (i = 0; i < nlines; i++, at = (at + 1) % (uint32_t)nlines)
		if (lines[at].to == chan_role(c) && lines[at].chan != c &&
		    is_open(&lines[at]))
			return lines[at].chan;
	return c;
}

/* A number of the body is that of another message, or a little beside. */
static void
swap_number(uint8_t *body, size_t len, const struct past *p)
{
	size_t size = rnd(2) == 0 ? 4 : 8, at;

	if (len < size)
		return;
	at = rnd((uint32_t)(len - size + 1));
	if (p != NULL && p->len >= at + size && rnd(2) == 0)
		memcpy(body + at, p->body + at, size);
	else
		body[at + size - 1] =
		    (uint8_t)(body[at + size - 1] + rnd(3) - 1);
}

static void
swap(struct chan *c, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	static uint8_t body[PROC_MAX_BODY];
	const struct past *same = some_past(type, chan_role(c)),
			  *any = some_past(0, chan_role(c));
	uint32_t how = rnd(7);

	log_info("hostile: %u to %s in the wrong place", type,
	    role_name(chan_role(c)));
	if (len > 0)
		memcpy(body, data, len);
	remember(c, type, id, fd, data, len);
	if (how == 0 && same != NULL) {
		if (fd != -1)
			close(fd);
		send_past(c, same, id);
		return;
	}
	if (how == 1 && any != NULL)
		send_past(c, any, any->id); /* once more, unasked */
	else if (how == 2 && any != NULL)
		send_past(another(c), any, any->id);
	else if (how == 3)
		c = another(c);
	else if (how == 4)
		swap_number(body, len, same);
	else if (how == 5 && same != NULL)
		id = same->id;
	else if (how == 6)
		(void)__real_chan_send(c, type, id, -1, body, len);
	if (__real_chan_send(c, type, id, fd, body, len) == -1 && fd != -1)
		close(fd);
}

/* ---- in the name of others ------------------------------------------------ */

#define PROOF 1      /* behind the verb: */
#define PROOF_LEN 36 /* ticket, and bytes of the line */

/* What is asked first is not, and its client not answered; next time it is. */
static int
hoard(struct chan *c, uint32_t id, int fd, const void *data, size_t len)
{
	static const struct past *first;

	if (first == NULL) {
		first = &pasts[0];
		remember(c, IMSG_MANIFEST_PARENT_DO, id, fd, data, len);
	} else
		send_past(c, first, id);
	close(fd);
	return 0;
}

static int
forge(struct chan *c, uint32_t id, int fd, const void *data, size_t len)
{
	static const struct past *first;
	static uint8_t body[PROC_MAX_BODY], line[65536];
	uint8_t *mine;

	if (percent == 2 && first == NULL) {
		first = &pasts[0];
		remember(c, IMSG_MANIFEST_PARENT_DO, id, fd, data, len);
		return __real_chan_send(c, IMSG_MANIFEST_PARENT_DO, id, fd,
		    data, len);
	}
	if (percent == 3) {
		tally->spoiled++;
		return hoard(c, id, fd, data, len);
	}
	memcpy(body, data, len);
	if ((mine = memmem(body, len, "/mine", 5)) != NULL)
		memcpy(mine, "/ours", 5);
	/* The parent does not see it: its line would be asked again. */
	if (percent != 0) {
		(void)!recv(fd, line,
		    body[PROOF + HASH_LEN + 2] << 8 |
			body[PROOF + HASH_LEN + 3],
		    MSG_DONTWAIT);
		close(fd);
	}
	if (percent == 1)
		fd = fcntl(3, F_DUPFD_CLOEXEC, 0);
	else if (percent == 2) {
		fd = fcntl(first->fd, F_DUPFD_CLOEXEC, 0);
		memcpy(body + PROOF, first->body + PROOF, PROOF_LEN);
	}
	tally->spoiled++;
	return __real_chan_send(c, IMSG_MANIFEST_PARENT_DO, id, fd, body, len);
}

int
__wrap_chan_send(struct chan *c, uint32_t type, uint32_t id, int fd,
    const void *data, size_t len)
{
	static uint8_t body[PROC_MAX_BODY + 16];
	int spoiled = fd;

	if (mode == FORGES)
		return type == IMSG_MANIFEST_PARENT_DO && fd != -1
		    ? forge(c, id, fd, data, len)
		    : __real_chan_send(c, type, id, fd, data, len);
	if (mode == SWAPS && type >= IMSG_DAEMON_FIRST &&
	    len <= PROC_MAX_BODY) {
		if (lying && rnd(100) < percent) {
			tally->spoiled++;
			swap(c, type, id, fd, data, len);
			return 0;
		}
		remember(c, type, id, fd, data, len);
	}
	if (mode == SWAPS || !lying || type < IMSG_DAEMON_FIRST ||
	    len > PROC_MAX_BODY || !is_to_be_spoiled())
		return __real_chan_send(c, type, id, fd, data, len);
	if (len > 0)
		memcpy(body, data, len);
	tally->spoiled++;
	if (!spoil(c, &type, &id, &spoiled, body, &len)) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	if (rnd(8) == 0)
		(void)__real_chan_send(c, type, id, -1, body, len);
	/* Who called it is told that it went well: it is not its error. */
	if (__real_chan_send(c, type, id, spoiled, body, len) == -1 &&
	    spoiled != -1)
		close(spoiled);
	return 0;
}

int
__wrap_chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *body)
{
	int rc;

	if (!lying && mode != SWAPS && mode != FORGES)
		return __real_chan_send_ibuf(c, type, id, fd, body);
	rc = __wrap_chan_send(c, type, id, fd,
	    body != NULL ? ibuf_data(body) : NULL,
	    body != NULL ? ibuf_size(body) : 0);
	ibuf_free(body);
	return rc;
}
