/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_locate: where the chunks of a file lie.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "sailapid/meta_near.h"
#include "sailapid/meta_place.h"

#define STEP_MS 10 /* of what was looked up; then others have their turn */
#define SPAN_MAX ((uint64_t)WIRE_PACK_BYTES) /* bytes, of several chunks */

/* Places that lie one behind the other in one object. */
struct span {
	uint32_t first, n;
	uint64_t length;
};
struct locate {
	struct wire_locate_req in;
	/* with room for neighbours */
	struct place *places;
	uint32_t n;
	struct span *spans;
	uint32_t nspans;
	int again;     /* what was lost is looked for again */
	uint32_t next; /* of the slots that were asked for */
};

static void
locate_free(void *arg)
{
	struct locate *l = arg;

	if (l == NULL)
		return;
	free(l->in.slots);
	free(l->places);
	free(l->spans);
	free(l);
}

/* ---- the answer ---------------------------------------------------------- */

/* Adds a span; -1: it could not be signed. */
static int
add_span(struct wbuf *w, const struct locate *l, const struct span *span,
    const struct object_url *o, struct wire_span_chunk *chunks)
{
	const struct place *p = &l->places[span->first];
	struct wire_span s;
	char headers[64];
	uint32_t i;

	if (o->url == NULL || o->url[0] == '\0')
		return -1;
	memset(&s, 0, sizeof(s));
	headers[0] = '\0';
	if (o->length != 0)
		snprintf(headers, sizeof(headers), "range: bytes=%llu-%llu\n",
		    (unsigned long long)o->offset,
		    (unsigned long long)o->offset + o->length - 1);
	s.object = p->loc.object;
	s.offset = p->loc.offset;
	s.length = span->length;
	s.url = (const uint8_t *)o->url;
	s.url_len = strlen(o->url);
	s.headers = (const uint8_t *)headers;
	s.headers_len = strlen(headers);
	s.chunks = chunks;
	s.nchunks = span->n;
	for (i = 0; i < span->n; i++) {
		chunks[i].slot = p[i].slot;
		chunks[i].hash = p[i].hash;
		chunks[i].offset = p[i].loc.offset - s.offset;
		chunks[i].stored = p[i].loc.stored;
		chunks[i].plain = p[i].loc.plain;
		chunks[i].codec = p[i].loc.codec;
	}
	wire_spans_add(w, &s);
	return 0;
}

static void
locate_answer(struct req *req)
{
	struct locate *l = req->state;
	struct wire_span_chunk *chunks;
	struct wbuf w;
	uint8_t *out;
	size_t len;
	uint32_t i;
	int signed_all = 1;

	if ((chunks = calloc((size_t)l->n + 1, sizeof(*chunks))) == NULL) {
		req_errno(req, "spans");
		return;
	}
	wbuf_init(&w, (size_t)WIRE_BATCH_MAX * (WIRE_URL_MAX + 1024));
	wire_spans_begin(&w, l->nspans);
	for (i = 0; i < l->nspans && signed_all; i++)
		signed_all = add_span(&w, l, &l->spans[i], &req->objects[i],
				 chunks) == 0;
	free(chunks);
	if (!signed_all) {
		req_error(req, 503, "not_signed",
		    "no URL could be made for a chunk");
		wbuf_free(&w);
		return;
	}
	out = wbuf_take(&w, &len);
	wbuf_free(&w);
	if (out == NULL)
		req_errno(req, "spans");
	else
		req_binary(req, out, len);
}

/* ---- places -------------------------------------------------------------- */

/* -1: answered. */
static int
locate_slot(struct req *req, struct locate *l, struct chunk_finder *f)
{
	const struct entry *e = f->entry;
	struct place *p = &l->places[l->n];
	int r, again = 0;

	p->slot = l->in.slots[l->next++];
	r = chunk_finder_get(f, p->slot, &p->hash);
	if (r == -1 && errno != ERANGE) {
		req_errno(req, "chunks of a file");
		return -1;
	}
	if (r != 1) {
		req_error(req, 400, "bad_slot", "the file has no chunk %llu",
		    (unsigned long long)p->slot);
		return -1;
	}
	r = place_choose(req, &p->hash,
	    chunk_slot_bytes(e->size, e->chunk_shift, p->slot), &p->loc);
	if (r == 0 && (again = place_again(req, &p->hash)) == 1)
		l->again = 1;
	if (r == -1 || again == -1) {
		req_errno(req, "location");
		return -1;
	}
	l->n += r == 1;
	return 0;
}

/* Where they lie; those that lie nowhere are left out.  1; 0: it takes longer;
   -1: answered. */
static int
locate_slots(struct req *req, struct locate *l, const struct node_store *store,
    const struct entry *e)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	struct chunk_finder f;
	int r = 1;

	if (l->places == NULL &&
	    (l->places = calloc((size_t)l->in.nslots + NEAR_MAX + 1,
		 sizeof(*l->places))) == NULL) {
		req_errno(req, "slots");
		return -1;
	}
	chunk_finder_init(&f, e, store);
	while (r == 1 && l->next < l->in.nslots) {
		if (locate_slot(req, l, &f) == -1)
			r = -1;
		else if (l->next < l->in.nslots && monotime_reached(end))
			r = 0;
	}
	chunk_finder_free(&f);
	/* What is there is told; the rest is asked for again when it is read. */
	if (r == 1 && l->again && l->n == 0) {
		req_error(req, 503, "busy",
		    "an object that was missing is looked for again");
		return -1;
	}
	return r;
}

/* By object and offset; of the same bytes the first slot. */
static int
place_cmp(const void *x, const void *y)
{
	const struct place *a = x, *b = y;

	if (a->loc.row != b->loc.row)
		return a->loc.row < b->loc.row ? -1 : 1;
	if (a->loc.offset != b->loc.offset)
		return a->loc.offset < b->loc.offset ? -1 : 1;
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* 1 when it goes on where the span ends. */
static int
span_fits(const struct locate *l, const struct span *s, const struct place *p)
{
	const struct place *last = &l->places[s->first + s->n - 1];

	return last->loc.row == p->loc.row &&
	    last->loc.offset + last->loc.stored == p->loc.offset &&
	    s->length + p->loc.stored <= SPAN_MAX;
}

/* A chunk of another file that is there already. */
static int
is_double(const struct locate *l, const struct span *s, const struct place *p)
{
	const struct place *last;

	if (s == NULL || p->slot != NEAR_SLOT)
		return 0;
	last = &l->places[s->first + s->n - 1];
	return last->loc.row == p->loc.row && last->loc.offset == p->loc.offset;
}

/* Only spans with something that was asked for are told. */
static void
drop_strangers(struct locate *l)
{
	const struct span *s;
	uint32_t i, k, n = 0;

	for (i = 0; i < l->nspans; i++) {
		s = &l->spans[i];
		for (k = 0; k < s->n; k++)
			if (l->places[s->first + k].slot != NEAR_SLOT)
				break;
		if (k < s->n)
			l->spans[n++] = *s;
	}
	l->nspans = n;
}

/* Joins neighbours; -1 and ENOMEM. */
static int
locate_join(struct locate *l)
{
	struct span *s = NULL;
	uint32_t i, n = 0;

	if ((l->spans = calloc((size_t)l->n + 1, sizeof(*l->spans))) == NULL)
		return -1;
	if (l->n > 0)
		qsort(l->places, l->n, sizeof(*l->places), place_cmp);
	for (i = 0; i < l->n; i++) {
		if (is_double(l, s, &l->places[i]))
			continue;
		l->places[n] = l->places[i];
		if (s == NULL || !span_fits(l, s, &l->places[n])) {
			s = &l->spans[l->nspans++];
			s->first = n;
		}
		s->n++;
		s->length += l->places[n++].loc.stored;
	}
	l->n = n;
	drop_strangers(l);
	return 0;
}

/* Under which name the object of a place lies in the store. */
static int
place_family(const struct req *req, const struct db_location *loc,
    struct db_family *f)
{
	if (loc->family != req->vol.family)
		return db_family_find(meta_db(), loc->family, f) == 1 ? 0 : -1;
	f->id = loc->family;
	memcpy(f->public, req->vol.family_public, sizeof(f->public));
	return 0;
}

static void
locate_sign(struct req *req, struct locate *l)
{
	const struct place *p;
	struct object_url *o;
	uint32_t i;

	if (locate_join(l) == -1) {
		req_errno(req, "spans");
		return;
	}
	if (req_objects(req, l->nspans) == -1)
		return;
	for (i = 0; i < l->nspans; i++) {
		p = &l->places[l->spans[i].first];
		o = &req->objects[i];
		if (place_family(req, &p->loc, &o->family) == -1) {
			req_errno(req, "family");
			return;
		}
		o->hash = p->loc.object;
		o->bytes = (uint32_t)p->loc.object_size;
		o->use = OBJECT_DOWNLOAD;
		if (l->spans[i].length == p->loc.object_size)
			continue;
		o->offset = p->loc.offset;
		o->length = (uint32_t)l->spans[i].length;
	}
	req_sign(req, locate_answer);
}

/* Adds what follows the file in its pack; -1: answered. */
static int
locate_near(struct req *req, struct locate *l, const struct node_store *store,
    const struct entry *root)
{
	int n;

	if (l->in.budget == 0 || l->n == 0 || l->places[0].loc.own)
		return 0;
	n = near_find(req, store, root, l->in.path, l->in.path_len,
	    l->places[0].loc.row, l->in.budget, &l->places[l->n]);
	if (n == -1 && errno == ENOMEM) {
		req_errno(req, "neighbours");
		return -1;
	}
	/* A directory that cannot be read is no matter of this file. */
	if (n > 0)
		l->n += (uint32_t)n;
	return 0;
}

static void
locate_file(struct req *req)
{
	struct locate *l = req->state;
	struct view view;
	struct commit c;
	struct entry e;
	struct blob *commit, *keep = NULL;
	int r;

	req_view(req, &view);
	commit = view_commit(&view, &l->in.commit, &c);
	if (commit == NULL)
		meta_commit_failed(req);
	else if (tree_find(&view.store, &c.root, l->in.path, l->in.path_len, &e,
		     &keep) == -1)
		meta_path_failed(req);
	else if (e.type != ENTRY_FILE)
		req_error(req, 400, "not_a_file", "the path is not a file");
	else if ((r = locate_slots(req, l, &view.store, &e)) == 0)
		req_again(req, locate_file);
	else if (r == 1 && locate_near(req, l, &view.store, &c.root) == 0)
		locate_sign(req, l);
	blob_unref(keep);
	blob_unref(commit);
	view_free(&view);
}

void
meta_locate(struct req *req)
{
	struct locate *l;
	const char *why;

	if ((l = calloc(1, sizeof(*l))) == NULL) {
		req_errno(req, "locate");
		return;
	}
	req->state = l;
	req->state_free = locate_free;
	why = wire_locate_req_decode(req->body.data, req->body.len, &l->in);
	if (why != NULL)
		req_error(req, 400, "bad_request", "%s", why);
	else
		locate_file(req);
}
