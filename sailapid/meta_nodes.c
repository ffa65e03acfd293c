/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_nodes: the head of a volume, and nodes by (commit, path): an answer
 * never depends on a hash of a node that a client knows.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/meta.h"

#define HEAD_BUDGET (1024 * 1024) /* when none is named */
#define STEP_MS 10                /* of the walk; then others have their turn */

/* The question, and what comes of it; names are in the body. */
struct nodes {
	struct hash commit;
	struct hash have;
	int has_have;
	uint32_t budget, depth;
	const uint8_t *path, *first;
	size_t path_len, first_len;
	struct view view;
	int viewing; /* view is to be freed */
	struct wire_bundle_writer out;
	struct meta_walk *walk;
};

static void
nodes_free(void *arg)
{
	struct nodes *q = arg;

	if (q == NULL)
		return;
	meta_walk_end(q->walk);
	wbuf_free(&q->out.w);
	if (q->viewing)
		view_free(&q->view);
	free(q);
}

/* NULL: it was answered. */
static struct nodes *
nodes_new(struct req *req)
{
	struct nodes *q;

	if ((q = calloc(1, sizeof(*q))) == NULL) {
		req_errno(req, "nodes");
		return NULL;
	}
	req->state = q;
	req->state_free = nodes_free;
	return q;
}

/* The same path in the commit that the client has: 1, 0 nothing there, -1. */
static int
nodes_old(struct nodes *q, struct entry *old, struct blob **commit,
    struct blob **keep)
{
	struct commit c;

	*commit = *keep = NULL;
	if (!q->has_have)
		return 0;
	*commit = view_commit(&q->view, &q->have, &c);
	/* Not, or not any more, a commit of this volume: as if not named. */
	if (*commit == NULL)
		return errno == ENOENT ? 0 : -1;
	if (tree_find(&q->view.store, &c.root, q->path, q->path_len, old,
		keep) == -1)
		return errno == ENOENT ? 0 : -1;
	return 1;
}

static int
nodes_begin(struct nodes *q, const struct blob *commit,
    const struct entry *entry)
{
	struct blob *old_commit, *old_keep;
	struct walk_target t;
	struct entry old;
	int r;

	memset(&t, 0, sizeof(t));
	if ((r = nodes_old(q, &old, &old_commit, &old_keep)) != -1) {
		t.store = &q->view.store;
		t.entry = entry;
		t.old = r == 1 ? &old : NULL;
		t.first = q->first;
		t.first_len = q->first_len;
		t.budget =
		    q->budget > WIRE_BUDGET_MAX ? WIRE_BUDGET_MAX : q->budget;
		t.depth = q->depth;
		wire_bundle_begin(&q->out, &q->commit, commit->data,
		    commit->len);
		q->out.cut = view_is_cut(&q->view);
		q->walk = meta_walk_begin(&t, &q->out);
	}
	blob_unref(old_commit);
	blob_unref(old_keep);
	return q->walk == NULL ? -1 : 0;
}

static void
nodes_step(struct req *req)
{
	struct nodes *q = req->state;
	uint8_t *out = NULL;
	size_t len;
	int r;

	r = meta_walk_step(q->walk, monotime_add_ms(monotime_now(), STEP_MS));
	if (r == WALK_MORE) {
		req_again(req, nodes_step);
		return;
	}
	if (r != -1)
		out = wire_bundle_end(&q->out, r, &len);
	if (out == NULL)
		req_errno(req, "nodes");
	else
		req_binary(req, out, len);
}

static void
nodes_answer(struct req *req)
{
	struct nodes *q = req->state;
	struct blob *commit, *keep = NULL;
	struct entry entry;
	struct commit c;

	req_view(req, &q->view);
	q->viewing = 1;
	if ((commit = view_commit(&q->view, &q->commit, &c)) == NULL)
		meta_commit_failed(req);
	else if (tree_find(&q->view.store, &c.root, q->path, q->path_len,
		     &entry, &keep) == -1)
		meta_path_failed(req);
	else if (nodes_begin(q, commit, &entry) == -1)
		req_errno(req, "nodes");
	else
		nodes_step(req);
	blob_unref(commit);
	blob_unref(keep);
}

void
meta_head(struct req *req)
{
	struct nodes *q;
	int r;

	if ((q = nodes_new(req)) == NULL)
		return;
	q->budget = HEAD_BUDGET;
	q->depth = SAIL_DEPTH_MAX;
	q->path = q->first = (const uint8_t *)"";
	q->commit = req->vol.head;
	if ((r = req_query_hash(req, "have", &q->have)) == -1 ||
	    req_query_number(req, "budget", WIRE_BUDGET_MAX, &q->budget) ==
		-1 ||
	    req_query_number(req, "depth", SAIL_DEPTH_MAX, &q->depth) == -1)
		return;
	q->has_have = r;
	nodes_answer(req);
}

void
meta_nodes(struct req *req)
{
	struct wire_nodes_req in;
	const char *why;
	struct nodes *q;

	why = wire_nodes_req_decode(req->body.data, req->body.len, &in);
	if (why != NULL) {
		req_error(req, 400, "bad_request", "%s", why);
		return;
	}
	if ((q = nodes_new(req)) == NULL)
		return;
	q->commit = in.commit;
	q->has_have = in.has_have;
	q->have = in.have;
	q->budget = in.budget;
	q->depth = in.depth;
	q->path = in.path;
	q->path_len = in.path_len;
	q->first = in.first;
	q->first_len = in.first_len;
	nodes_answer(req);
}
