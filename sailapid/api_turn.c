/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_turn: whose request is the next that meta gets.  It has so many at a time,
 * and so many of one peer (sailapid.conf(5), requests); the others wait here, and
 * the peers take turns: who sends many waits for himself.  In api.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/api.h"
#include "sailapid/roles.h"

#define META_QUEUE_MAX 4096

/* An address, or of IPv6 a network of 64 bits. */
struct peer {
	RB_ENTRY(peer) entry;
	TAILQ_ENTRY(peer) turn; /* of those with calls that may be asked now */
	TAILQ_HEAD(, api_call) calls;
	unsigned int asked; /* that meta has */
	int in_turn;
	char name[API_PEER_MAX];
};

/* What meta was asked, until it answers, whether or not somebody still waits. */
struct question {
	RB_ENTRY(question) entry;
	uint32_t id;
	struct api_call *call; /* NULL: its client has gone */
	struct peer *peer;
	struct body_share *share; /* of its body, if that is a large one */
};

static int
peer_cmp(const struct peer *a, const struct peer *b)
{
	return strcmp(a->name, b->name);
}

static int
question_cmp(const struct question *a, const struct question *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_HEAD(peers, peer);
RB_PROTOTYPE(peers, peer, entry, peer_cmp)
RB_GENERATE(peers, peer, entry, peer_cmp)
RB_HEAD(questions, question);
RB_PROTOTYPE(questions, question, entry, question_cmp)
RB_GENERATE(questions, question, entry, question_cmp)

static struct peers peers = RB_INITIALIZER(&peers);
static TAILQ_HEAD(, peer) turns = TAILQ_HEAD_INITIALIZER(turns);
static struct questions asked = RB_INITIALIZER(&asked);
static unsigned int nasked;
static uint32_t last_id;

/* ---- peers ---------------------------------------------------------------- */

static void
peer_name(struct api_call *call, char *out, size_t size)
{
	struct in6_addr a;

	httpd_peer(call->conn, out, size);
	if (inet_pton(AF_INET6, out, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
		return;
	memset(a.s6_addr + 8, 0, 8);
	inet_ntop(AF_INET6, &a, out, (socklen_t)size);
}

static struct peer *
peer_get(struct api_call *call)
{
	struct peer key, *p;

	peer_name(call, key.name, sizeof(key.name));
	if ((p = RB_FIND(peers, &peers, &key)) != NULL)
		return p;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	TAILQ_INIT(&p->calls);
	strlcpy(p->name, key.name, sizeof(p->name));
	RB_INSERT(peers, &peers, p);
	return p;
}

/* The first of its calls whose body meta may have now. */
static struct api_call *
peer_next(struct peer *p)
{
	struct api_call *call;

	TAILQ_FOREACH (call, &p->calls, queued)
		if (body_may_go(call->share))
			return call;
	return NULL;
}

/* Its calls changed: is it among those whose turn comes? */
static void
peer_look(struct peer *p)
{
	int may =
	    p->asked < api_limits.requests_per_peer && peer_next(p) != NULL;

	if (may && !p->in_turn)
		TAILQ_INSERT_TAIL(&turns, p, turn);
	else if (!may && p->in_turn)
		TAILQ_REMOVE(&turns, p, turn);
	p->in_turn = may;
	if (p->asked == 0 && TAILQ_EMPTY(&p->calls)) {
		RB_REMOVE(peers, &peers, p);
		free(p);
	}
}

/* ---- asking ----------------------------------------------------------------- */

static int
ask(struct api_call *call)
{
	struct chan *meta = role_peer_any(ROLE_META);
	struct api_request r = { .method = call->ask_method };
	char name[API_PEER_MAX];
	struct question *q;

	if (meta == NULL || chan_queued(meta) > META_QUEUE_MAX ||
	    (q = calloc(1, sizeof(*q))) == NULL)
		return -1;
	httpd_peer(call->conn, name, sizeof(name));
	r.whence = httpd_is_tls(call->conn) ? API_TLS : API_PLAIN;
	r.target = api_str(call->ask_target);
	r.host = api_str(call->host);
	r.authorization = api_str(call->authorization);
	r.peer = api_str(name);
	/* Questions are far fewer than numbers. */
	do
		q->id = last_id = (last_id + 1) & ~API_ID_METRICS;
	while (q->id == 0 || RB_FIND(questions, &asked, q) != NULL);
	if (api_request_send(meta, q->id, &r, call->body_fd) == -1) {
		log_warn("request to meta");
		free(q);
		return -1;
	}
	call->body_fd = -1;
	call->question = q;
	q->call = call;
	q->peer = call->peer;
	q->share = call->share;
	body_goes(q->share);
	RB_INSERT(questions, &asked, q);
	q->peer->asked++;
	nasked++;
	return 0;
}

/* Those that may, in turns. */
static void
ask_next(void)
{
	struct api_call *call;
	struct peer *p;

	while (
	    nasked < api_limits.requests && (p = TAILQ_FIRST(&turns)) != NULL) {
		TAILQ_REMOVE(&turns, p, turn);
		p->in_turn = 0;
		/* Others may have had the room for its body. */
		if ((call = peer_next(p)) == NULL)
			continue;
		TAILQ_REMOVE(&p->calls, call, queued);
		if (ask(call) == -1) {
			call->peer = NULL;
			api_unavailable(call);
		}
		peer_look(p);
	}
}

int
api_ask(struct api_call *call, uint8_t method, const char *target)
{
	struct peer *p;
	int rc = 0;

	if (role_peer_any(ROLE_META) == NULL || (p = peer_get(call)) == NULL)
		return -1;
	call->peer = p;
	call->asked = monotime_now();
	call->ask_method = method;
	call->ask_target = target;
	/* Not before those that could go, too. */
	if (nasked < api_limits.requests && peer_next(p) == NULL &&
	    p->asked < api_limits.requests_per_peer && body_may_go(call->share))
		rc = ask(call);
	else
		TAILQ_INSERT_TAIL(&p->calls, call, queued);
	if (rc == -1)
		call->peer = NULL;
	peer_look(p);
	return rc;
}

/* meta has no more of it. */
static void
question_end(struct question *q)
{
	struct peer *p = q->peer, *next;
	int large = q->share != NULL;

	RB_REMOVE(questions, &asked, q);
	nasked--;
	p->asked--;
	if (q->call != NULL) {
		q->call->question = NULL;
		q->call->peer = NULL;
	}
	body_free(q->share);
	free(q);
	peer_look(p);
	if (large)
		/* Whose bodies had no room at meta. */
		RB_FOREACH_SAFE (p, peers, &peers, next)
			peer_look(p);
}

void
api_forget(struct api_call *call)
{
	struct chan *meta = role_peer_any(ROLE_META);
	struct peer *p = call->peer;

	if (p == NULL)
		return;
	call->peer = NULL;
	if (call->question != NULL) {
		/* meta has its body, and may go on with it. */
		if (meta != NULL &&
		    chan_send(meta, IMSG_API_META_FORGET, call->question->id,
			-1, NULL, 0) == -1)
			log_warn("to meta");
		call->question->call = NULL;
		call->question = NULL;
		body_leave(call);
		return;
	}
	TAILQ_REMOVE(&p->calls, call, queued);
	peer_look(p);
}

struct api_call *
api_answered(uint32_t id)
{
	struct question key = { .id = id }, *q;
	struct api_call *call;

	if ((q = RB_FIND(questions, &asked, &key)) == NULL)
		return NULL;
	call = q->call;
	question_end(q);
	return call;
}

void
api_turn(void)
{
	ask_next();
}

void
api_turn_count(unsigned int *n, unsigned int *waiting)
{
	const struct api_call *call;
	struct peer *p;

	*n = nasked;
	*waiting = 0;
	RB_FOREACH (p, peers, &peers)
		TAILQ_FOREACH (call, &p->calls, queued)
			++*waiting;
}

/* One that has waited too long, for its turn or for meta. */
static struct api_call *
find_late(monotime_t now)
{
	struct api_call *call;
	struct question *q;
	struct peer *p;

	RB_FOREACH (q, questions, &asked)
		if (q->call != NULL &&
		    monotime_diff_ms(now, q->call->asked) >= API_WAIT_MS)
			return q->call;
	RB_FOREACH (p, peers, &peers)
		if ((call = TAILQ_FIRST(&p->calls)) != NULL &&
		    monotime_diff_ms(now, call->asked) >= API_WAIT_MS)
			return call;
	return NULL;
}

void
api_turn_late(void)
{
	monotime_t now = monotime_now();
	struct api_call *call;
	unsigned int n = 0;

	for (; (call = find_late(now)) != NULL; n++) {
		api_forget(call);
		api_unavailable(call);
	}
	if (n > 0)
		log_warnx("%u requests have waited for meta for %d s", n,
		    API_WAIT_MS / 1000);
}

void
api_meta_down(void)
{
	struct api_call *call;
	struct peer *p, *next;
	struct question *q;

	while ((q = RB_MIN(questions, &asked)) != NULL) {
		call = q->call;
		question_end(q);
		if (call != NULL)
			api_unavailable(call);
	}
	RB_FOREACH_SAFE (p, peers, &peers, next) {
		while ((call = TAILQ_FIRST(&p->calls)) != NULL) {
			TAILQ_REMOVE(&p->calls, call, queued);
			call->peer = NULL;
			api_unavailable(call);
		}
		peer_look(p);
	}
}
