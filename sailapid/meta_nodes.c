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

struct nodes_question {
	struct hash commit;
	struct hash have;
	int has_have;
	uint32_t budget, depth;
	const uint8_t *path, *first;
	size_t path_len, first_len;
};

/* The same path in the commit that the client has: 1, 0 nothing there, -1. */
static int
nodes_old(struct view *view, const struct nodes_question *q, struct entry *old,
    struct blob **commit, struct blob **keep)
{
	struct commit c;

	*commit = *keep = NULL;
	if (!q->has_have)
		return 0;
	*commit = view_commit(view, &q->have, &c);
	/* Not, or not any more, a commit of this volume: as if not named. */
	if (*commit == NULL)
		return errno == ENOENT ? 0 : -1;
	if (tree_find(&view->store, &c.root, q->path, q->path_len, old, keep) ==
	    -1)
		return errno == ENOENT ? 0 : -1;
	return 1;
}

static int
nodes_bundle(const struct nodes_question *q, const struct blob *commit, int cut,
    struct walk_target *t, uint8_t **out, size_t *len)
{
	struct wire_bundle_writer w;
	int r;

	wire_bundle_begin(&w, &q->commit, commit->data, commit->len);
	w.cut = cut;
	t->first = q->first;
	t->first_len = q->first_len;
	t->budget = q->budget > WIRE_BUDGET_MAX ? WIRE_BUDGET_MAX : q->budget;
	t->depth = q->depth;
	if ((r = meta_walk(t, &w)) == -1) {
		wbuf_free(&w.w);
		return -1;
	}
	*out = wire_bundle_end(&w, r, len);
	return *out == NULL ? -1 : 0;
}

static void
nodes_answer(struct req *req, const struct nodes_question *q)
{
	struct view view;
	struct walk_target t;
	struct entry entry, old;
	struct commit c;
	struct blob *commit, *keep = NULL, *old_commit = NULL, *old_keep = NULL;
	uint8_t *out;
	size_t len;
	int r;

	req_view(req, &view);
	memset(&t, 0, sizeof(t));
	t.store = &view.store;
	if ((commit = view_commit(&view, &q->commit, &c)) == NULL) {
		meta_commit_failed(req);
		goto out;
	}
	if (tree_find(&view.store, &c.root, q->path, q->path_len, &entry,
		&keep) == -1) {
		meta_path_failed(req);
		goto out;
	}
	t.entry = &entry;
	r = nodes_old(&view, q, &old, &old_commit, &old_keep);
	if (r == 1)
		t.old = &old;
	if (r == -1 ||
	    nodes_bundle(q, commit, view_is_cut(&view), &t, &out, &len) == -1)
		req_errno(req, "nodes");
	else
		req_binary(req, out, len);
out:
	blob_unref(commit);
	blob_unref(keep);
	blob_unref(old_commit);
	blob_unref(old_keep);
	view_free(&view);
}

void
meta_head(struct req *req)
{
	struct nodes_question q;
	int r;

	memset(&q, 0, sizeof(q));
	q.budget = HEAD_BUDGET;
	q.depth = SAIL_DEPTH_MAX;
	q.path = q.first = (const uint8_t *)"";
	q.commit = req->vol.head;
	if ((r = req_query_hash(req, "have", &q.have)) == -1 ||
	    req_query_number(req, "budget", WIRE_BUDGET_MAX, &q.budget) == -1 ||
	    req_query_number(req, "depth", SAIL_DEPTH_MAX, &q.depth) == -1)
		return;
	q.has_have = r;
	nodes_answer(req, &q);
}

void
meta_nodes(struct req *req)
{
	struct wire_nodes_req in;
	struct nodes_question q;
	const char *why;

	why = wire_nodes_req_decode(req->body.data, req->body.len, &in);
	if (why != NULL) {
		req_error(req, 400, "bad_request", "%s", why);
		return;
	}
	memset(&q, 0, sizeof(q));
	q.commit = in.commit;
	q.has_have = in.has_have;
	q.have = in.have;
	q.budget = in.budget;
	q.depth = in.depth;
	q.path = in.path;
	q.path_len = in.path_len;
	q.first = in.first;
	q.first_len = in.first_len;
	nodes_answer(req, &q);
}
