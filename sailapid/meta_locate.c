/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_locate: where the chunks of a file lie, and what happens when a reader
 * says that one does not lie there.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "sailapid/meta.h"

#define SLOTS_MAX ((uint64_t)1 << 24) /* with a hash, of a file */

struct place {
	uint64_t slot;
	struct hash hash;
	struct db_location loc;
};
struct locate {
	struct wire_locate_req in;
	struct place *places;
	uint32_t n;
};

static void
locate_free(void *arg)
{
	struct locate *l = arg;

	if (l == NULL)
		return;
	free(l->in.slots);
	free(l->places);
	free(l);
}

static void
locate_answer(struct req *req)
{
	struct locate *l = req->state;
	struct wire_span_chunk c;
	struct wire_span s;
	const struct place *p;
	struct wbuf w;
	uint8_t *out;
	size_t len;
	uint32_t i;

	wbuf_init(&w, (size_t)WIRE_BATCH_MAX * (WIRE_URL_MAX + 1024));
	wire_spans_begin(&w, l->n);
	for (i = 0; i < l->n; i++) {
		p = &l->places[i];
		if (req->objects[i].url == NULL ||
		    req->objects[i].url[0] == '\0') {
			req_error(req, 503, "not_signed",
			    "no URL could be made for a chunk");
			wbuf_free(&w);
			return;
		}
		memset(&s, 0, sizeof(s));
		memset(&c, 0, sizeof(c));
		s.object = p->loc.object;
		s.length = p->loc.stored;
		s.url = (const uint8_t *)req->objects[i].url;
		s.url_len = strlen(req->objects[i].url);
		s.headers = (const uint8_t *)"";
		c.slot = p->slot;
		c.hash = p->hash;
		c.stored = p->loc.stored;
		c.plain = p->loc.plain;
		c.codec = p->loc.codec;
		s.chunks = &c;
		s.nchunks = 1;
		wire_spans_add(&w, &s);
	}
	out = wbuf_take(&w, &len);
	wbuf_free(&w);
	if (out == NULL)
		req_errno(req, "spans");
	else
		req_binary(req, out, len);
}

/* Where they lie; those that lie nowhere are left out.  -1: answered. */
static int
locate_slots(struct req *req, struct locate *l, const struct chunklist *list)
{
	struct place *p;
	uint32_t i;
	int r;

	l->places = calloc((size_t)l->in.nslots + 1, sizeof(*l->places));
	if (l->places == NULL) {
		req_errno(req, "slots");
		return -1;
	}
	for (i = 0; i < l->in.nslots; i++) {
		p = &l->places[l->n];
		p->slot = l->in.slots[i];
		if (chunklist_get(list, p->slot, &p->hash) != 1) {
			req_error(req, 400, "bad_slot",
			    "the file has no chunk %llu",
			    (unsigned long long)p->slot);
			return -1;
		}
		r = db_chunk_find(meta_db(), req->vol.family, &p->hash,
		    &p->loc);
		if (r == -1) {
			req_errno(req, "location");
			return -1;
		}
		if (r == 1 && location_good(p->loc.state))
			l->n++;
	}
	return 0;
}

static void
locate_sign(struct req *req, struct locate *l)
{
	uint32_t i;

	if (req_objects(req, l->n) == -1)
		return;
	for (i = 0; i < l->n; i++) {
		req->objects[i].hash = l->places[i].loc.object;
		req->objects[i].bytes = l->places[i].loc.stored;
		req->objects[i].use = OBJECT_DOWNLOAD;
	}
	req_sign(req, locate_answer);
}

static void
locate_file(struct req *req, struct locate *l)
{
	struct db_nodes nodes;
	struct chunklist *list;
	struct commit c;
	struct entry e;
	struct blob *commit, *keep = NULL;
	struct hash missing;

	db_nodes_init(&nodes, meta_db(), req->vol.family);
	commit = meta_commit_load(&req->vol, &l->in.commit, &c);
	if (commit == NULL) {
		if (errno == ENOENT)
			req_error(req, 404, "commit_not_found",
			    "the volume has no such commit");
		else
			req_errno(req, "commit");
		return;
	}
	if (meta_find(&nodes.store, &c.root, l->in.path, l->in.path_len, &e,
		&keep) == -1) {
		if (errno == ENOENT)
			req_error(req, 404, "path_not_found",
			    "the commit has no such path");
		else
			req_errno(req, "path");
	} else if (e.type != ENTRY_FILE)
		req_error(req, 400, "not_a_file", "the path is not a file");
	else {
		list =
		    chunklist_from_entry(&e, &nodes.store, SLOTS_MAX, &missing);
		if (list == NULL)
			req_errno(req, "chunks of a file");
		else if (locate_slots(req, l, list) == 0)
			locate_sign(req, l);
		chunklist_free(list);
	}
	blob_unref(keep);
	blob_unref(commit);
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
		locate_file(req, l);
}

/* ---- reports ------------------------------------------------------------- */

/*
 * A report is a claim: the object is read and hashed.  What is missing or
 * wrong is quarantined, and wrong bytes are deleted, for an upload is refused
 * while anything is there; wrong twice, so that one torn answer deletes
 * nothing.
 */
#define CHECKS_MAX 16 /* at a time: each reads a whole object */

struct check {
	LIST_ENTRY(check) entry;
	int64_t family;
	struct hash object;
	int wrong;
};
static LIST_HEAD(, check) checks = LIST_HEAD_INITIALIZER(checks);
static unsigned int nchecks;

static void
check_free(void *arg)
{
	struct check *c = arg;

	if (c == NULL)
		return;
	LIST_REMOVE(c, entry);
	nchecks--;
	free(c);
}

/* Two at a time could delete what was brought anew in between. */
static int
check_running(int64_t family, const struct hash *object)
{
	struct check *c;

	LIST_FOREACH (c, &checks, entry) {
		if (c->family == family && hash_cmp(&c->object, object) == 0)
			return 1;
	}
	return 0;
}

static struct check *
check_new(int64_t family, const struct hash *object)
{
	struct check *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->family = family;
	c->object = *object;
	LIST_INSERT_HEAD(&checks, c, entry);
	nchecks++;
	return c;
}

static void
check_set(struct req *req, uint8_t state)
{
	const struct object_url *o = req->objects;
	char hex[HASH_HEX_LEN + 1];

	hash_hex(&o->hash, hex);
	if (state == LOCATION_BAD)
		log_warnx("volume %s: chunk %s is lost: %s", req->vol.name, hex,
		    o->status == 404 ? "missing" : "corrupt");
	if (req_write(req) == -1)
		return;
	if (db_chunk_set(meta_db(), req->vol.family, &o->hash, o->bytes,
		state) == -1)
		req_errno(req, "chunk");
	else
		req_none(req, 202);
}

static void
check_deleted(struct req *req)
{
	check_set(req, LOCATION_BAD);
}

static void
check_delete(struct req *req)
{
	req_fetch(req, check_deleted);
}

static void check_fetch(struct req *);

static void
check_seen(struct req *req)
{
	struct check *c = req->state;
	struct object_url *o = req->objects;

	if (o->status == 200 && o->equal)
		check_set(req, LOCATION_VERIFIED);
	else if (o->status == 404)
		check_set(req, LOCATION_BAD);
	else if (o->status != 200)
		req_error(req, 503, "store_unavailable", "not verified");
	else if (c->wrong++ == 0)
		req_sign(req, check_fetch);
	else {
		o->use = OBJECT_DELETE;
		req_sign(req, check_delete);
	}
}

static void
check_fetch(struct req *req)
{
	req_fetch(req, check_seen);
}

static void
check_begin(struct req *req)
{
	req_sign(req, check_fetch);
}

/* The hash of a member of the body; -1: answered. */
static int
report_hash(struct req *req, json_t *body, const char *name, struct hash *h)
{
	const char *text = NULL;

	if (req_member_string(req, body, name, &text) == -1)
		return -1;
	if (text != NULL && hash_parse(h, text, strlen(text)) == 0)
		return 0;
	req_error(req, 400, "bad_json", "%s: not a hash", name);
	return -1;
}

static void
report_check(struct req *req, const struct db_location *loc)
{
	struct req *own;

	if (check_running(req->vol.family, &loc->object)) {
		req_none(req, 202);
		return;
	}
	if (nchecks >= CHECKS_MAX ||
	    (own = req_spawn(req, check_begin)) == NULL) {
		req_error(req, 503, "busy", "too many reports");
		return;
	}
	own->state = check_new(req->vol.family, &loc->object);
	own->state_free = check_free;
	if (own->state == NULL || req_objects(own, 1) == -1) {
		req_errno(own, "report");
		req_errno(req, "report");
		return;
	}
	own->objects[0].hash = loc->object;
	own->objects[0].bytes = loc->stored;
	own->objects[0].use = OBJECT_VERIFY;
	req_none(req, 202);
}

void
meta_report(struct req *req)
{
	const char *problem = NULL;
	struct db_location loc;
	struct hash object, chunk;
	json_t *body;
	int r;

	if ((body = req_body_json(req)) == NULL)
		return;
	if (report_hash(req, body, "object", &object) == -1 ||
	    report_hash(req, body, "chunk", &chunk) == -1 ||
	    req_member_string(req, body, "problem", &problem) == -1)
		goto out;
	if (problem == NULL ||
	    (strcmp(problem, "missing") != 0 &&
		strcmp(problem, "corrupt") != 0)) {
		req_error(req, 400, "bad_json",
		    "problem: not missing or corrupt");
		goto out;
	}
	r = db_chunk_find(meta_db(), req->vol.family, &chunk, &loc);
	if (r == -1)
		req_errno(req, "location");
	else if (r == 0 || hash_cmp(&loc.object, &object) != 0)
		req_error(req, 404, "chunk_not_found",
		    "the chunk is not in that object");
	else if (!location_good(loc.state))
		req_none(req, 202);
	else
		report_check(req, &loc);
out:
	json_decref(body);
}
