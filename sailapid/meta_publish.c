/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_publish: merges a delta, in the thread or at once, and swaps the head of
 * the volume in one transaction with the session's result.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta_publish.h"

#define SWAP_TRIES 8
#define REPORT_PATHS 1000
/*
 * Nodes that a merge reads and writes: in a turn; in a thread that others wait
 * for, and those for each operation; and at most: directories may be equal a
 * thousand times on each level, and have more names to compare than anybody has
 * time.
 */
#define NODES_AT_ONCE 1024
#define NODES_SMALL (64 * 1024)
#define NODES_EACH_SMALL 8
#define NODES_MOST (1024 * 1024)
#define NODES_EACH 64

/* ---- answers ------------------------------------------------------------- */

static json_t *
overwritten_json(const struct merge_out *out)
{
	json_t *paths = json_array();
	size_t i;

	for (i = 0; i < out->npaths; i++)
		json_array_append_new(paths,
		    json_name(out->paths[i].path, out->paths[i].len));
	return json_pack("{s:I, s:o}", "count", (json_int_t)out->overwritten,
	    "paths", paths);
}

static void
publish_refused(struct req *req, const struct merge_out *out)
{
	json_t *error = error_json(409, "overwritten",
	    "the commit would overwrite what others have published");

	metrics_answered(NUMBER_REFUSED);
	json_object_set_new(error, "type", json_string("refused"));
	req_json(req, 409,
	    json_pack("{s:o, s:o}", "error", error, "overwritten",
		overwritten_json(out)));
}

static void
publish_merge_failed(struct req *req, const struct merge_out *out)
{
	char hex[HASH_HEX_LEN + 1];

	switch (errno) {
	case EINVAL:
		bad_delta(req, out->why, out->why_path, out->why_path_len);
		return;
	case ENODATA:
		hash_hex(&out->missing, hex);
		log_warnx("volume %s: node %s is missing", req->vol.name, hex);
		errno = EIO;
		break;
	case EBADMSG:
		log_warnx("volume %s: a damaged node: %s", req->vol.name,
		    out->why == NULL ? "?" : out->why);
		errno = EIO;
		break;
	}
	req_errno(req, "merge");
}

/* The commit's encoding in w, its id in id. */
static int
publish_encode(const struct req *req, const struct db_session *s,
    const struct commit *head, const struct merge_out *out, struct commit *c,
    struct wbuf *w, struct hash *id)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->volume, req->vol.public, sizeof(c->volume));
	c->has_parent = 1;
	c->parent = req->vol.head;
	c->number = head->number + 1;
	c->root = out->root;
	c->time = timens_now();
	c->author = (const uint8_t *)s->author;
	c->author_len = strlen(s->author);
	c->message = (const uint8_t *)s->message;
	c->message_len = strlen(s->message);
	c->puts = out->puts;
	c->deletes = out->deletes;
	c->overwritten = out->overwritten;
	commit_encode(w, c);
	if (w->error != 0) {
		errno = w->error;
		return -1;
	}
	hash_bytes(id, w->data, w->len);
	return 0;
}

static char *
publish_result(const struct hash *id, const struct commit *c,
    const struct merge_out *out, const struct hash *delta)
{
	char *text;
	json_t *j;

	j = json_pack("{s:o, s:I, s:o, s:b, s:I, s:I, s:o, s:o}", "commit",
	    json_hash(id), "number", (json_int_t)c->number, "parent",
	    c->has_parent ? json_hash(&c->parent) : json_null(), "changed",
	    out->changed, "puts", (json_int_t)out->puts, "deletes",
	    (json_int_t)out->deletes, "overwritten", overwritten_json(out),
	    "delta", json_hash(delta));
	text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (text == NULL)
		errno = ENOMEM;
	return text;
}

/* The pins of a large session, some at a time. */
static void
unpin_step(struct req *req)
{
	const int64_t *session = req->state;
	int r;

	if (req_write_lazy(req) == -1)
		return;
	if ((r = db_session_unpin(meta_db(), *session)) == 1)
		req_again(req, unpin_step);
	else if (r == 0)
		req_none(req, 200);
	else
		req_errno(req, "pins");
}

/* Those that stay for want of memory go when the session is forgotten. */
static void
unpin_later(const struct req *from, int64_t session)
{
	int64_t *state = malloc(sizeof(*state));
	struct req *req;

	if (state == NULL || (req = req_spawn(from, unpin_step)) == NULL) {
		free(state);
		return;
	}
	*state = session;
	req->state = state;
	req->state_free = free;
}

/* The mount shows the commit from now on, and need not ask for its lease. */
static int
publish_lease(const struct req *req, const struct db_session *s,
    const struct hash *id)
{
	if (!s->has_mount)
		return 0;
	return db_lease_add(meta_db(), req->vol.id, s->mount, id,
	    db_now() + LEASE_LIFE_NS);
}

/* The mount has not seen the head that it publishes upon: 1, 0, -1. */
static int
publish_merges(const struct req *req, const struct db_session *s)
{
	int r;

	if (!s->has_mount)
		return 0;
	r = db_lease_has(meta_db(), req->vol.id, s->mount, &req->vol.head);
	return r == -1 ? -1 : !r;
}

static void
publish_count(const struct merge_out *out, int merged)
{
	if (!out->changed)
		return;
	metrics_add(NUMBER_COMMITS, 1);
	metrics_add(NUMBER_MERGED, (uint64_t)merged);
	metrics_add(NUMBER_OVERWRITTEN, out->overwritten);
}

static void
publish_audit(struct req *req, const struct hash *id, const struct commit *c,
    const struct merge_out *out)
{
	char hex[HASH_HEX_LEN + 1];

	if (!out->changed)
		return;
	hash_hex(id, hex);
	req_audit_volume(req, "commit",
	    "commit=%s number=%llu puts=%llu deletes=%llu overwritten=%llu",
	    hex, (unsigned long long)c->number, (unsigned long long)out->puts,
	    (unsigned long long)out->deletes,
	    (unsigned long long)out->overwritten);
}

/* What was merged becomes the head: 1, 0 another came between, -1. */
static int
publish_swap(struct req *req, const struct db_session *s,
    const struct commit *head, const struct merge_out *out)
{
	const struct merging *g = req->state;
	struct commit c = *head;
	struct hash id = req->vol.head;
	struct wbuf w;
	char *text = NULL;
	int pins, merged = 0, r = 1;

	wbuf_init(&w, NODE_MAX_BYTES);
	if (out->changed) {
		r = publish_encode(req, s, head, out, &c, &w, &id);
		if (r == 0)
			r = db_volume_swap(meta_db(), req->vol.id,
			    &req->vol.head, &id);
		if (r == 1 &&
		    db_commit_add(meta_db(), req->vol.id, &id, c.number, w.data,
			w.len) == -1)
			r = -1;
	}
	if (r == 1 &&
	    ((merged = publish_merges(req, s)) == -1 ||
		publish_lease(req, s, &id) == -1))
		r = -1;
	if (r == 1) {
		text = publish_result(&id, &c, out, &g->delta_hash);
		pins = text == NULL
		    ? -1
		    : db_session_published(meta_db(), s->id, text);
		if (pins == -1)
			r = -1;
		else {
			publish_audit(req, &id, &c, out);
			publish_count(out, merged);
			req_text(req, 200, text);
		}
		if (pins == 1)
			unpin_later(req, s->id);
	}
	wbuf_free(&w);
	free(text);
	return r;
}

/* ---- the thread ---------------------------------------------------------- */

struct root_of {
	struct db *db;
	const struct db_volume *vol;
};

static int
commit_root(void *arg, const struct hash *hash, struct entry *root,
    struct blob **keep)
{
	const struct root_of *from = arg;
	struct commit c;

	*keep = db_commit_get(from->db, from->vol->id, hash);
	if (*keep == NULL)
		return -1;
	if (commit_decode((*keep)->data, (*keep)->len, &c) != NULL) {
		blob_unref(*keep);
		*keep = NULL;
		errno = EBADMSG;
		return -1;
	}
	*root = c.root;
	return 0;
}

static void
merge_setup(struct merge_in *in, const struct merging *g, struct root_of *from)
{
	memset(in, 0, sizeof(*in));
	in->salt = from->vol->salt;
	in->commit_root = commit_root;
	in->arg = from;
	in->delta = g->delta;
	in->if_unchanged = g->if_unchanged;
	in->max_report = REPORT_PATHS;
	if (g->has_prior) {
		in->prior = &g->out;
		in->prior_head = g->head_root;
	}
}

/* The head as it is now, not as it was when this began to wait.  1, 0 the volume
   is gone, -1. */
static int
thread_head(const struct req *req, struct merging *g, struct db *db)
{
	struct commit head;
	struct blob *b;
	int r;

	free(g->next_root);
	g->next_root = NULL;
	r = db_volume_by_public(db, req->key.org.id, req->vol.public, &g->vol);
	if (r != 1)
		return r;
	if ((b = commit_load(db, &g->vol, &g->vol.head, &head)) == NULL)
		return -1;
	g->next_root = entry_dup(&head.root);
	blob_unref(b);
	return g->next_root == NULL ? -1 : 1;
}

static uint32_t
nodes_most(int large, uint32_t nops)
{
	uint64_t most = large ? NODES_MOST + (uint64_t)NODES_EACH * nops
			      : NODES_SMALL + (uint64_t)NODES_EACH_SMALL * nops;

	return most < UINT32_MAX - 1 ? (uint32_t)most : UINT32_MAX - 1;
}

static void
thread_merge(struct req *req, struct db *db)
{
	struct merging *g = req->state;
	struct root_of from = { db, &g->vol };
	struct db_stage stage;
	struct merge_in in;
	int r;

	g->error = 0;
	memset(&g->next, 0, sizeof(g->next));
	if ((r = thread_head(req, g, db)) != 1) {
		g->error = r == 0 ? 0 : errno != 0 ? errno : EIO;
		return;
	}
	if ((r = db_stage_init(&stage, db, g->vol.family, meta_stop(),
		 &req->stop)) == 0) {
		db_nodes_limit(&stage.nodes,
		    nodes_most(threads_large(req), g->delta->nops));
		merge_setup(&in, g, &from);
		in.store = &stage.store;
		in.head_root = g->next_root;
		r = merge_apply(&in, &g->next);
		if (r == 0 && !g->next.refused)
			r = db_stage_flush(&stage);
	}
	if (r == -1)
		g->error = errno;
	db_stage_free(&stage);
}

/* A key of a path makes that directory in no case, and none above it: the head of
   the volume has it, or that is answered: 0. */
static int
publish_has_path(struct req *req, const struct db_volume *vol)
{
	int r = 1;

	if (req_cut(req))
		r = view_has_dir(meta_db(), vol, req->grant->path,
		    req->grant->len);
	if (r == -1)
		req_errno(req, "path");
	else if (r == 0)
		req_error(req, 409, "path_gone",
		    "the volume has no longer the directory that the key is "
		    "for");
	return r == 1;
}

static void
thread_merged(struct req *req)
{
	struct merging *g = req->state;

	if (g->error == EOVERFLOW && !threads_large(req)) {
		/* With those that take long, from the beginning. */
		merge_out_free(&g->next);
		req->large = 1;
		req_work_alone(req, thread_merge, thread_merged);
		return;
	}
	if (g->error == EOVERFLOW) {
		req_error(req, 400, "bad_delta",
		    "it would have to be compared with too many names that "
		    "others have published");
		return;
	}
	if (g->error == ECANCELED && req->authorized && !meta_route_still(req))
		return;
	if (g->error != 0) {
		/* The head that it was merged with is not the one for which that
		   was asked before. */
		if (g->error == EINVAL && !publish_has_path(req, &g->vol))
			return;
		errno = g->error;
		publish_merge_failed(req, &g->next);
		return;
	}
	if (g->next.refused) {
		publish_refused(req, &g->next);
		return;
	}
	if (g->next_root == NULL) {
		meta_publish(req); /* which says that the volume is gone */
		return;
	}
	merge_out_free(&g->out);
	free(g->head_root);
	g->out = g->next;
	memset(&g->next, 0, sizeof(g->next));
	g->head_root = g->next_root;
	g->next_root = NULL;
	g->head = g->vol.head;
	g->has_prior = 1;
	meta_publish(req);
}

void
merging_clear(struct merging *g)
{
	delta_free(g->delta);
	merge_out_free(&g->out);
	merge_out_free(&g->next);
	free(g->head_root);
	free(g->next_root);
}

/* ---- the step ------------------------------------------------------------ */

/* Merges here and now, in not too many nodes; the results of publish_try. */
static int
publish_at_once(struct req *req, const struct db_session *s,
    const struct commit *head)
{
	struct merging *g = req->state;
	struct root_of from = { meta_db(), &req->vol };
	struct db_nodes nodes;
	struct merge_out out;
	struct merge_in in;
	int r = 1;

	db_nodes_init(&nodes, meta_db(), req->vol.family);
	db_nodes_limit(&nodes, NODES_AT_ONCE);
	merge_setup(&in, g, &from);
	in.store = &nodes.store;
	in.head_root = &head->root;
	memset(&out, 0, sizeof(out));
	if (merge_apply(&in, &out) == -1) {
		if (errno == EOVERFLOW)
			r = 2;
		else
			publish_merge_failed(req, &out);
	} else if (out.refused)
		publish_refused(req, &out);
	else
		r = publish_swap(req, s, head, &out);
	merge_out_free(&out);
	return r;
}

/* 1: answered, or goes on in the thread; 0: another commit came between; -1 and
   errno. */
static int
publish_try(struct req *req, const struct db_session *s)
{
	struct merging *g = req->state;
	struct commit head;
	struct blob *b;
	int r = 2;

	b = commit_load(meta_db(), &req->vol, &req->vol.head, &head);
	if (b == NULL)
		return -1;
	g->if_unchanged = s->if_unchanged;
	if (!publish_has_path(req, &req->vol)) {
		blob_unref(b);
		return 1;
	}
	if (g->has_prior && hash_cmp(&g->head, &req->vol.head) == 0)
		r = publish_swap(req, s, &head, &g->out);
	else if (g->has_prior || g->bytes_in <= META_AT_ONCE)
		r = publish_at_once(req, s, &head);
	if (r == 2) {
		r = 1;
		req_work_alone(req, thread_merge, thread_merged);
	}
	blob_unref(b);
	return r;
}

void
meta_publish(struct req *req)
{
	struct db_session s;
	int i, r = 0;

	/* From here on nobody else writes: head and session are what they
	   are. */
	memset(&s, 0, sizeof(s));
	if (req_write(req) == -1 || !req_session(req, &s))
		return;
	if (s.state == SESSION_PUBLISHED) {
		req_text(req, 200, s.result == NULL ? "{}" : s.result);
		goto out;
	}
	for (i = 0; i < SWAP_TRIES && r == 0; i++) {
		r = db_volume_by_public(meta_db(), req->key.org.id,
		    req->vol.public, &req->vol);
		if (r == 0) {
			req_error(req, 404, "volume_not_found",
			    "the volume was deleted");
			goto out;
		}
		if (r == 1)
			r = publish_try(req, &s);
	}
	if (r == 0)
		req_error(req, 503, "busy", "other commits came between");
	else if (r == -1)
		req_errno(req, "commit");
out:
	db_session_clear(&s);
}
