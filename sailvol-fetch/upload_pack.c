/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload_pack: gathers small chunks of an upload into an object, in the order
 * of their list; a thread reads and checks each, tells the server what lies
 * where, and sends it.  What has changed is left out.  Behind them are random
 * bytes: the name of the object is its hash, and without them who reads a part of
 * it could try by the name what the rest is.  In sailvol-fetch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/upload.h"

#define PACKS_MAX 8 /* of one upload */
#define ANSWER_MAX ((uint64_t)64 * 1024)

struct item {
	struct group *group;
	struct fetch_upload_chunk chunk;
	int fd;
	const uint8_t *data; /* kept, or where it was read to */
	int error;           /* ENODATA, EBADMSG: changed */
};

struct pack {
	struct work work; /* first: its work is it */
	TAILQ_ENTRY(pack) entry;
	struct upload *upload;
	struct http *http;
	struct item *items;
	uint32_t n;
	uint8_t *buf; /* bytes that are not kept */
	size_t memory;
	struct hash hash;
	uint32_t length; /* of the object */
	uint8_t tail[WIRE_PACK_TAIL];
	uint32_t tail_len; /* 0: it is one chunk */
	uint8_t *claim;    /* body of the question */
	size_t claim_len;
	char *url, *headers;
	monotime_t url_came;
	unsigned int refused, stale; /* as of a group */
	int first;                   /* its turn has come before */
	int busy, dead;
	int paused; /* before its URL is asked for again */
	struct pause pause;
	/* what is sent */
	uint32_t cur;
	size_t pos; /* in item cur */
	uint64_t sent;
};

static void claim_start(struct pack *);

static void
pack_free(struct pack *p)
{
	TAILQ_REMOVE(&p->upload->packs, p, entry);
	p->upload->nputs--;
	http_cancel(p->http);
	pause_end(&p->pause);
	budget_give(p->memory);
	free(p->items);
	free(p->buf);
	free(p->claim);
	free(p->url);
	free(p->headers);
	free(p);
}

static void
pack_end(struct pack *p, uint8_t result)
{
	uint32_t i;

	if (result == UPLOAD_SENT)
		p->upload->bytes_sent += p->length - p->tail_len;
	for (i = 0; i < p->n; i++)
		upload_group_done(p->upload, p->items[i].group, result);
	pack_free(p);
}

static void
pack_fail(struct pack *p, int error, const char *what)
{
	upload_fail(p->upload, error, "%s", what);
	pack_free(p);
}

/* ---- in a thread --------------------------------------------------------- */

static int
item_read(struct item *it, uint8_t *to)
{
	struct hash h;

	if (it->data != NULL)
		return 0;
	if (read_at(it->fd, to, it->chunk.bytes, it->chunk.offset) == -1)
		return errno;
	hash_bytes(&h, to, it->chunk.bytes);
	if (hash_cmp(&h, &it->chunk.hash) != 0)
		return EBADMSG;
	it->data = to;
	return 0;
}

static int
pack_run(struct work *w)
{
	struct pack *p = (struct pack *)w;
	struct hash_ctx *ctx;
	struct item *it;
	uint8_t *to = p->buf;
	uint32_t i, n = 0;

	if ((ctx = hash_begin()) == NULL) {
		for (i = 0; i < p->n; i++)
			p->items[i].error = ENOMEM;
		return 0;
	}
	p->length = 0;
	for (i = 0; i < p->n; i++) {
		it = &p->items[i];
		if ((it->error = item_read(it, to)) != 0)
			continue;
		if (it->data == to)
			to += it->chunk.bytes;
		hash_update(ctx, it->data, it->chunk.bytes);
		p->length += it->chunk.bytes;
		n++;
	}
	if (n > 1) {
		p->tail_len = WIRE_PACK_TAIL;
		arc4random_buf(p->tail, p->tail_len);
		hash_update(ctx, p->tail, p->tail_len);
		p->length += p->tail_len;
	}
	hash_end(ctx, &p->hash);
	return 0;
}

/* ---- sending ------------------------------------------------------------- */

static size_t
pack_read(void *arg, void *buf, size_t n)
{
	struct pack *p = arg;
	uint8_t *to = buf;
	size_t left = n, part;

	/* Bytes of chunks are what is told. */
	while (left > 0 && p->cur < p->n) {
		part = p->items[p->cur].chunk.bytes - p->pos;
		if (part > left)
			part = left;
		memcpy(to, p->items[p->cur].data + p->pos, part);
		to += part;
		left -= part;
		p->pos += part;
		if (p->pos == p->items[p->cur].chunk.bytes) {
			p->cur++;
			p->pos = 0;
		}
	}
	p->sent += n - left;
	if (p->cur < p->n)
		return n - left;
	part = p->tail_len - p->pos;
	if (part > left)
		part = left;
	memcpy(to, p->tail + p->pos, part);
	p->pos += part;
	return n - left + part;
}

static void
pack_rewind(void *arg)
{
	struct pack *p = arg;

	p->cur = 0;
	p->pos = 0;
	p->sent = 0;
}

static void
pack_sent_done(const struct http_result *r, void *arg)
{
	struct pack *p = arg;
	char what[256];

	p->http = NULL;
	switch (r->status) {
	case 200:
	case 201:
	case 204:
		pack_end(p, UPLOAD_SENT);
		break;
	case 412:
		pack_end(p, UPLOAD_PRESENT);
		break;
	case 403:
		p->first = !http_was_fresh(r, p->url_came);
		if (p->first ? ++p->stale == UPLOAD_STALE_MAX
			     : ++p->refused == UPLOAD_REFUSED_MAX)
			pack_fail(p, EACCES, "store refuses the server's URLs");
		else if (p->first)
			claim_start(p);
		else {
			p->paused = 1;
			pause_begin(&p->pause, p->refused);
		}
		break;
	default:
		result_what(r, "store", what, sizeof(what));
		pack_fail(p, result_errno(r), what);
		break;
	}
}

static void
pack_put(struct pack *p)
{
	struct http_spec spec = {
		.method = FETCH_METHOD_PUT,
		.url = p->url,
		.headers = p->headers,
		.headers_len = strlen(p->headers),
		.repeat = 1,
		.first = p->first,
		.max_answer = ANSWER_MAX,
		.body_len = p->length,
		.read = pack_read,
		.rewind = pack_rewind,
		.done = pack_sent_done,
		.arg = p,
	};

	if ((p->http = http_start(&spec)) == NULL)
		pack_fail(p, ENOMEM, "out of memory");
}

/* ---- the claim ----------------------------------------------------------- */

/* What the server says of the object: 0, or -1 and the pack has ended. */
static int
claim_answer(struct pack *p, const struct http_result *r)
{
	struct wire_upload *w = NULL;
	const char *why;
	char what[256];
	int rc = -1;

	why = wire_uploads_decode(r->body, r->body_len, 1, &w);
	if (why != NULL) {
		snprintf(what, sizeof(what), "packs: server's answer: %s", why);
		pack_fail(p, EPROTO, what);
		return -1;
	}
	if (w->presence == WIRE_PRESENT)
		pack_end(p, UPLOAD_PRESENT);
	else if (w->presence != WIRE_UPLOAD ||
	    hash_cmp(&w->object, &p->hash) != 0)
		pack_fail(p, EPROTO, "packs: server wants another object");
	else {
		free(p->url);
		free(p->headers);
		p->url_came = monotime_now();
		p->url = strndup((const char *)w->url, w->url_len);
		p->headers = strndup((const char *)w->headers, w->headers_len);
		if (p->url == NULL || p->headers == NULL)
			pack_fail(p, ENOMEM, "out of memory");
		else
			rc = 0;
	}
	free(w);
	return rc;
}

static void
claim_done(const struct http_result *r, void *arg)
{
	struct pack *p = arg;

	p->http = NULL;
	if (r->status != 200) {
		upload_refused(p->upload, r, "packs: server");
		pack_free(p);
	} else if (claim_answer(p, r) == 0)
		pack_put(p);
}

static int
claim_body(struct pack *p)
{
	struct wire_pack w = { .object = p->hash, .length = p->length };
	struct wbuf b;
	uint32_t i;

	if (p->claim != NULL)
		return 0;
	if ((w.chunks = calloc(p->n, sizeof(*w.chunks))) == NULL)
		return -1;
	for (i = 0; i < p->n; i++) {
		w.chunks[w.n].hash = p->items[i].chunk.hash;
		w.chunks[w.n++].bytes = p->items[i].chunk.bytes;
	}
	wbuf_init(&b, 1024 * 1024);
	wire_pack_encode(&b, &w);
	free(w.chunks);
	p->claim = wbuf_take(&b, &p->claim_len);
	return p->claim != NULL ? 0 : -1;
}

static void
claim_start(struct pack *p)
{
	char target[384];

	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%s/packs",
	    p->upload->volume, p->upload->session);
	if (claim_body(p) == 0)
		p->http = http_ask(target, p->claim, p->claim_len, ANSWER_MAX,
		    claim_done, p);
	if (p->http == NULL)
		pack_fail(p, ENOMEM, "out of memory");
}

/* ---- making it ----------------------------------------------------------- */

/* Leaves out what was not as it should be; -1: the pack has ended. */
static int
sort_out(struct pack *p)
{
	struct item *it;
	uint32_t i, n = 0;

	for (i = 0; i < p->n; i++) {
		it = &p->items[i];
		if (it->error == 0)
			p->items[n++] = *it;
		else if (it->error == ENODATA || it->error == EBADMSG)
			upload_group_changed(p->upload, it->group);
		else {
			pack_fail(p, it->error, strerror(it->error));
			return -1;
		}
	}
	p->n = n;
	if (n > 0)
		return 0;
	pack_free(p);
	return -1;
}

static void
pack_made(struct work *w)
{
	struct pack *p = (struct pack *)w;

	p->busy = 0;
	if (p->dead) {
		pack_free(p);
		pump_kick();
	} else if (sort_out(p) == 0)
		claim_start(p);
}

/* The next group that waits, in the order of the list. */
static struct group *
next_group(struct upload *u)
{
	struct group *g;

	for (; u->next_pack < u->n; u->next_pack++) {
		if (u->by_chunk[u->next_pack] == 0)
			continue;
		g = &u->groups[u->by_chunk[u->next_pack] - 1];
		if (g->state == GROUP_PACK)
			return g;
	}
	return NULL;
}

/* Its bytes are to be had; 0: not any more. */
static int
add_item(struct upload *u, struct pack *p, struct group *g)
{
	uint32_t index = u->order[g->cur];
	struct item *it = &p->items[p->n];

	it->group = g;
	it->chunk = u->chunks[index];
	it->fd = -1;
	if (it->chunk.file != FETCH_UPLOAD_KEPT) {
		it->fd = u->files[it->chunk.file];
		p->memory += it->chunk.bytes;
	} else if (u->kept[index] == NULL)
		return 0;
	else
		it->data = kept_data(u->kept[index]);
	p->length += it->chunk.bytes;
	p->n++;
	return 1;
}

/* As many as fit, which then are in it. */
static void
gather(struct upload *u, struct pack *p)
{
	struct group *g;
	uint32_t bytes;

	while (p->n < WIRE_PACK_MAX && (g = next_group(u)) != NULL) {
		bytes = upload_chunk(u, g)->bytes;
		if (p->length + bytes > WIRE_PACK_ROOM)
			break;
		u->npack--;
		u->pack_bytes -= bytes;
		if (add_item(u, p, g))
			g->state = GROUP_SENDING;
		else
			upload_group_gone(u, g);
	}
}

/* 1: one was begun; 0: nothing waits; -1 wait for memory. */
static int
pack_new(struct upload *u)
{
	struct pack *p;

	/* What it may need at most: it is given back below. */
	if (!budget_take(WIRE_PACK_BYTES))
		return -1;
	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->items = calloc(WIRE_PACK_MAX, sizeof(*p->items))) == NULL)
		fatal("upload");
	p->upload = u;
	TAILQ_INSERT_TAIL(&u->packs, p, entry);
	u->nputs++;
	gather(u, p);
	budget_give(WIRE_PACK_BYTES - p->memory);
	if (p->n == 0) {
		pack_free(p);
		return 0;
	}
	if (p->memory > 0 && (p->buf = malloc(p->memory)) == NULL) {
		pack_fail(p, ENOMEM, "out of memory");
		return 0;
	}
	p->work.run = pack_run;
	p->work.done = pack_made;
	p->busy = 1;
	worker_add(&p->work);
	return 1;
}

/* Those whose pause is over. */
static void
resume(struct upload *u)
{
	struct pack *p, *next;

	for (p = TAILQ_FIRST(&u->packs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (!p->paused || pause_lasts(&p->pause))
			continue;
		p->paused = 0;
		claim_start(p);
	}
}

void
pack_start(struct upload *u, int last)
{
	unsigned int n = 0;
	struct pack *p;

	resume(u);
	TAILQ_FOREACH (p, &u->packs, entry)
		n++;
	while (u->error == 0 && u->npack > 0 && n < PACKS_MAX &&
	    (last || u->pack_bytes >= WIRE_PACK_ROOM ||
		u->npack >= WIRE_PACK_MAX)) {
		if (pack_new(u) != 1)
			break;
		n++;
	}
}

void
pack_cancel_all(struct upload *u)
{
	struct pack *p, *next;

	for (p = TAILQ_FIRST(&u->packs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		http_cancel(p->http);
		p->http = NULL;
		p->dead = 1;
		if (!p->busy)
			pack_free(p);
	}
}

uint64_t
pack_sent(const struct upload *u)
{
	const struct pack *p;
	uint64_t n = 0;

	TAILQ_FOREACH (p, &u->packs, entry)
		n += p->sent;
	return n;
}
