/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_diff: what differs between two commits of a volume, path by path, a page
 * at a time.  Directories that are equal are not looked into.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/meta.h"

#define PAGE_CHANGES 1000
#define PAGE_BYTES (256 * 1024) /* of paths in one answer */
#define PAGE_MS 10              /* or one name when that takes more */

/* One of the two commits at the path in question. */
struct diff_side {
	int has_commit, has_entry;
	struct hash id;
	struct blob *commit, *keep;
	struct commit c;
	struct entry entry;
};

struct diff_page {
	struct view view;
	struct diff_side from, to;
	uint8_t *path, *after; /* as asked, for free(3) */
	size_t path_len, after_len;
	uint32_t limit;
	/* the walk: where it is, and what of `after' lies below that */
	uint8_t at[SAIL_PATH_MAX];
	size_t at_len;
	const uint8_t *skip;
	size_t skip_len;
	/* what came of it */
	json_t *list;
	monotime_t end;
	size_t n, bytes, passed;
	uint8_t last[SAIL_PATH_MAX];
	size_t last_len;
	int full;
};

static void
page_free(struct diff_page *p)
{
	blob_unref(p->from.commit);
	blob_unref(p->from.keep);
	blob_unref(p->to.commit);
	blob_unref(p->to.keep);
	json_decref(p->list);
	view_free(&p->view);
	free(p->path);
	free(p->after);
	free(p);
}

/* ---- one name ------------------------------------------------------------ */

/* 0: nothing that anybody would see. */
static char
change_of(const struct entry *a, const struct entry *b)
{
	struct hash ha, hb;

	if (a == NULL || b == NULL)
		return a == NULL ? 'A' : 'D';
	if (a->type != b->type)
		return 'T';
	entry_content_hash(a, &ha);
	entry_content_hash(b, &hb);
	if (hash_cmp(&ha, &hb) != 0)
		return 'M';
	entry_attr_hash(a, &ha);
	entry_attr_hash(b, &hb);
	return hash_cmp(&ha, &hb) != 0 ? 'm' : 0;
}

static json_t *
entry_json(const struct entry *e)
{
	static const char *const types[] = { [ENTRY_FILE] = "file",
		[ENTRY_DIR] = "directory",
		[ENTRY_SYMLINK] = "symlink",
		[ENTRY_FIFO] = "fifo" };
	json_t *j;

	if (e == NULL)
		return json_null();
	j = json_pack("{s:s, s:i, s:I, s:I, s:o}", "type", types[e->type],
	    "mode", (int)e->mode, "uid", (json_int_t)e->uid, "gid",
	    (json_int_t)e->gid, "mtime",
	    json_real((double)e->mtime.sec + e->mtime.nsec / 1e9));
	if (j != NULL && e->type == ENTRY_FILE)
		json_object_set_new(j, "size",
		    json_integer(json_count(e->size)));
	else if (j != NULL && e->type == ENTRY_SYMLINK)
		json_object_set_new(j, "target",
		    json_name(e->target, e->target_len));
	return j;
}

/* The name that the walk is at. */
static int
page_add(struct diff_page *p, const struct entry *a, const struct entry *b)
{
	char change[2] = { change_of(a, b), '\0' };

	p->passed++;
	memcpy(p->last, p->at, p->at_len);
	p->last_len = p->at_len;
	if (*change == '\0')
		return 0;
	p->n++;
	p->bytes += p->at_len;
	if (json_array_append_new(p->list,
		json_pack("{s:o, s:s, s:o, s:o}", "path",
		    json_name(p->at, p->at_len), "change", change, "was",
		    entry_json(a), "now", entry_json(b))) == 0)
		return 0;
	errno = ENOMEM;
	return -1;
}

/* ---- the walk ------------------------------------------------------------ */

/* The page ends before this name; it has at least one, so all gets done. */
static int
page_is_full(const struct diff_page *p)
{
	return p->passed > 0 &&
	    (p->n >= p->limit || p->bytes >= PAGE_BYTES ||
		monotime_reached(p->end));
}

static int
at_push(struct diff_page *p, const uint8_t *name, size_t len)
{
	if (p->at_len + len + 1 > sizeof(p->at)) {
		errno = EBADMSG;
		return -1;
	}
	if (p->at_len > 0)
		p->at[p->at_len++] = '/';
	memcpy(p->at + p->at_len, name, len);
	p->at_len += len;
	return 0;
}

/* Bytes of the first name of what is to be skipped. */
static size_t
skip_name(const struct diff_page *p)
{
	const uint8_t *slash =
	    p->skip_len == 0 ? NULL : memchr(p->skip, '/', p->skip_len);

	return slash != NULL ? (size_t)(slash - p->skip) : p->skip_len;
}

static int walk_below(struct diff_page *, const struct entry *,
    const struct entry *);

static int
walk_name(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct diff_page *p = arg;
	size_t was = p->at_len, n = skip_name(p);
	int done = n > 0 && n == len && memcmp(p->skip, name, n) == 0, r;

	if (done) {
		n += n < p->skip_len; /* its slash */
		p->skip += n;
		p->skip_len -= n;
	} else {
		p->skip_len = 0;
		if (page_is_full(p)) {
			p->full = 1;
			errno = ECANCELED;
			return -1;
		}
	}
	if (at_push(p, name, len) == -1 || (!done && page_add(p, a, b) == -1))
		return -1;
	r = walk_below(p, a, b);
	p->at_len = was;
	return r;
}

static int
walk_below(struct diff_page *p, const struct entry *a, const struct entry *b)
{
	const struct hash *ra = NULL, *rb = NULL;
	const uint8_t *from = p->skip;
	size_t len = skip_name(p);

	if (a != NULL && a->type == ENTRY_DIR)
		ra = &a->root;
	if (b != NULL && b->type == ENTRY_DIR)
		rb = &b->root;
	if (ra == NULL && rb == NULL)
		return 0;
	return tree_diff_from(&p->view.store, ra, rb, from, len, walk_name, p);
}

/* What is at the path itself comes first, then what is below. */
static int
page_walk(struct diff_page *p)
{
	const struct entry *a = p->from.has_entry ? &p->from.entry : NULL;
	const struct entry *b = p->to.has_entry ? &p->to.entry : NULL;

	memcpy(p->at, p->path, p->path_len);
	p->at_len = p->path_len;
	if (p->after != NULL) {
		p->skip = p->after + p->path_len;
		p->skip_len = p->after_len - p->path_len;
		if (p->path_len > 0 && p->skip_len > 0) {
			p->skip++;
			p->skip_len--;
		}
	} else if (p->from.has_commit && page_add(p, a, b) == -1)
		return -1;
	if (walk_below(p, a, b) == -1 && !p->full)
		return -1;
	return 0;
}

/* ---- the question -------------------------------------------------------- */

/* A hash: 1, 0 there is none; -1: answered. */
static int
take_commit(struct req *req, json_t *body, const char *name, struct hash *h)
{
	const char *text = NULL;
	int r = req_member_string(req, body, name, &text);

	if (r == 1 && hash_parse(h, text, strlen(text)) == -1) {
		req_error(req, 400, "bad_json", "%s: not a hash", name);
		return -1;
	}
	return r;
}

/* A path: 0, or -1: answered.  *out is NULL when there is none. */
static int
take_path(struct req *req, json_t *body, const char *name, uint8_t **out,
    size_t *len)
{
	json_t *j = json_object_get(body, name);

	if (j == NULL || json_is_null(j))
		return 0;
	*out = (uint8_t *)json_name_get(j, len);
	if (*out != NULL && path_problem(*out, *len) == NULL)
		return 0;
	req_error(req, 400, "bad_json", "%s: not a path", name);
	return -1;
}

static int
take_question(struct req *req, json_t *body, struct diff_page *p)
{
	json_t *limit = json_object_get(body, "limit");
	int r;

	if ((r = take_commit(req, body, "to", &p->to.id)) == -1)
		return -1;
	p->to.has_commit = r;
	if ((r = take_commit(req, body, "from", &p->from.id)) == -1)
		return -1;
	p->from.has_commit = r;
	if (take_path(req, body, "path", &p->path, &p->path_len) == -1 ||
	    take_path(req, body, "after", &p->after, &p->after_len) == -1)
		return -1;
	p->limit = PAGE_CHANGES;
	if (json_is_integer(limit) && json_integer_value(limit) >= 1 &&
	    json_integer_value(limit) <= PAGE_CHANGES)
		p->limit = (uint32_t)json_integer_value(limit);
	else if (limit != NULL && !json_is_null(limit)) {
		req_error(req, 400, "bad_json", "limit: not 1 to %d",
		    PAGE_CHANGES);
		return -1;
	}
	if (!p->to.has_commit) {
		req_error(req, 400, "bad_json", "to: missing");
		return -1;
	}
	if (p->path == NULL && (p->path = calloc(1, 1)) == NULL) {
		req_errno(req, "diff");
		return -1;
	}
	if (p->after != NULL &&
	    !path_is_below(p->after, p->after_len, p->path, p->path_len)) {
		req_error(req, 400, "bad_json", "after: not below path");
		return -1;
	}
	return 0;
}

/* 0, or -1: answered. */
static int
side_open(struct req *req, struct diff_page *p, struct diff_side *s)
{
	if (!s->has_commit)
		return 0;
	if ((s->commit = view_commit(&p->view, &s->id, &s->c)) == NULL) {
		meta_commit_failed(req);
		return -1;
	}
	if (tree_find(&p->view.store, &s->c.root, p->path, p->path_len,
		&s->entry, &s->keep) == 0)
		s->has_entry = 1;
	else if (errno != ENOENT) {
		req_errno(req, "path");
		return -1;
	}
	return 0;
}

static void
page_answer(struct req *req, struct diff_page *p)
{
	json_t *list = p->list;

	p->list = NULL;
	req_json(req, 200,
	    json_pack("{s:o, s:o, s:o, s:o}", "from",
		p->from.has_commit ? json_hash(&p->from.id) : json_null(), "to",
		json_hash(&p->to.id), "changes", list, "next",
		p->full ? json_name(p->last, p->last_len) : json_null()));
}

void
meta_diff(struct req *req)
{
	struct diff_page *p;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->list = json_array()) == NULL) {
		req_errno(req, "diff");
		goto out;
	}
	req_view(req, &p->view);
	p->end = monotime_add_ms(monotime_now(), PAGE_MS);
	if (take_question(req, body, p) == -1 ||
	    side_open(req, p, &p->to) == -1)
		goto out;
	/* Without another: what the commit itself did. */
	if (!p->from.has_commit && p->to.c.has_parent) {
		p->from.has_commit = 1;
		p->from.id = p->to.c.parent;
	}
	if (side_open(req, p, &p->from) == -1)
		goto out;
	if (!p->from.has_entry && !p->to.has_entry)
		req_error(req, 404, "path_not_found",
		    "neither commit has such a path");
	else if (page_walk(p) == -1)
		req_errno(req, "diff");
	else
		page_answer(req, p);
out:
	json_decref(body);
	if (p != NULL)
		page_free(p);
}
