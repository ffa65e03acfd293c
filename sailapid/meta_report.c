/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_report: a reader says that a chunk is not where it was sent for it.  In
 * meta.
 *
 * Who may not see all of a family always hears the same, and as soon for what
 * others have as for what nobody has: first the chunk is looked for in what the
 * key sees, in the thread, and only what it could have been told of is followed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hashset.h"
#include "sailapid/meta_apart.h"
#include "sailapid/meta_place.h"

struct report {
	struct hash object, chunk;
	/* of the search */
	struct hashset chunks;
	uint32_t bytes;
	uint8_t found;
	struct apart_search *search;
	int searching; /* there is more of it to be done */
	int64_t key;   /* it is charged for that: REPORT_COST */
	int charged, in_vain;
};

static void report_found(struct req *);

static void
report_free(void *arg)
{
	struct report *p = arg;

	if (p == NULL)
		return;
	if (p->charged)
		pace_end(p->key, p->in_vain ? 0 : REPORT_COST);
	apart_free(p->search);
	hashset_free(&p->chunks);
	free(p);
}

/* Whoever sees all. */
static void
report_place(struct req *req, const struct report *p)
{
	struct db_location loc;
	struct db_object o;
	int r;

	/* The object may lie in the annex of a key. */
	r = db_object_of(meta_db(), req->vol.family, &p->chunk, &p->object, &o);
	if (r == 1)
		r = db_chunk_find_in(meta_db(), req->vol.family, &p->chunk,
		    o.row, 0, &loc);
	if (r == -1)
		req_errno(req, "location");
	else if (r == 0)
		req_error(req, 404, "chunk_not_found",
		    "the chunk is not in that object");
	else if (!location_good(loc.state))
		req_none(req, 202);
	else
		check_report(req, &o);
}

/* ---- of what the key sees ------------------------------------------------- */

/* In the thread. */
static void
report_find(struct req *req, struct db *db)
{
	struct report *p = req->state;
	struct apart_wanted w = { db, &req->vol, req->grant, NULL, NULL,
		&p->chunks, &p->bytes, &p->found, 1, req->key.id };

	p->searching = 0;
	if (p->search == NULL && (p->search = apart_new(&w)) == NULL) {
		p->searching = errno == EAGAIN;
		return;
	}
	p->searching = apart_step(p->search, db, meta_stop()) == 0;
	if (!p->searching) {
		apart_free(p->search);
		p->search = NULL;
	}
}

/* The object is one that locate tells the key of for that chunk: 1, 0. */
static int
report_told(const struct req *req, const struct report *p, struct db_object *o)
{
	struct db_location all[LOCATIONS_MAX];
	int i, n;

	n = place_list(req, &p->chunk, all);
	for (i = 0; i < n; i++)
		if (location_good(all[i].state) &&
		    hash_cmp(&all[i].object, &p->object) == 0)
			return db_object_find(meta_db(), all[i].family,
				   &p->object, o) == 1;
	return 0;
}

static void
report_found(struct req *req)
{
	struct report *p = req->state;
	struct db_object o;

	req->search = REQ_NO_SEARCH;
	if (p->searching) {
		req->search =
		    p->search == NULL ? REQ_WOULD_SEARCH : REQ_SEARCHES;
		req_work(req, report_find, report_found);
		return;
	}
	if (p->found && report_told(req, p, &o)) {
		p->in_vain = 0;
		check_report(req, &o);
	}
	req_none(req, 202);
}

/* ---- the request ----------------------------------------------------------- */

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

/* -1: answered. */
static int
report_read(struct req *req, json_t *body, struct report *p)
{
	const char *problem = NULL;

	if (report_hash(req, body, "object", &p->object) == -1 ||
	    report_hash(req, body, "chunk", &p->chunk) == -1 ||
	    req_member_string(req, body, "problem", &problem) == -1)
		return -1;
	if (problem != NULL &&
	    (strcmp(problem, "missing") == 0 ||
		strcmp(problem, "corrupt") == 0))
		return 0;
	req_error(req, 400, "bad_json", "problem: not missing or corrupt");
	return -1;
}

void
meta_report(struct req *req)
{
	struct report *p;
	uint32_t i;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	if ((p = calloc(1, sizeof(*p))) == NULL) {
		req_errno(req, "report");
		json_decref(body);
		return;
	}
	hashset_init(&p->chunks);
	req->state = p;
	req->state_free = report_free;
	if (report_read(req, body, p) == 0) {
		p->bytes = APART_ANY_BYTES;
		if (!req->apart)
			report_place(req, p);
		else if (hashset_add(&p->chunks, &p->chunk, &i) == -1)
			req_errno(req, "report");
		else if (!pace_take(req->key.id, REPORT_COST))
			req_none(req, 202);
		else {
			p->key = req->key.id;
			p->charged = p->in_vain = 1;
			req_work(req, report_find, report_found);
		}
	}
	json_decref(body);
}
