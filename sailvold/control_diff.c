/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_diff: what a mount differs in from what it saw: what a commit would
 * publish (sailvol-ctl(5)).  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvold/asker.h"
#include "sailvold/delta_make.h"

#define DIFF_USUAL 500 /* changes that one answer names */
#define DIFF_MAX 10000
#define DIFF_ATTEMPTS 1000

struct diffing {
	uint64_t asker;
	uint32_t instance;
	unsigned int attempt;
	char *after; /* a path: those behind it; NULL: all */
	size_t after_len;
	size_t limit;
};

static void
diffing_free(struct diffing *d)
{
	free(d->after);
	free(d);
}

static void diff_run(struct diffing *);

static void
diff_node(void *arg, int error)
{
	struct diffing *d = arg;
	struct asker *a;

	if (error == 0) {
		diff_run(d);
		return;
	}
	if ((a = asker_find(d->asker)) != NULL)
		asker_error(a, "unavailable", "nodes", "%s", strerror(error));
	diffing_free(d);
}

/* ---- the answer --------------------------------------------------------------- */

/* As in sailapi(7); whether content that is not hashed yet is another, nobody
   knows. */
static const char *
item_change(const struct delta_item *it)
{
	struct hash content;

	if (it->kind == DELTA_DELETE || it->kind == DELTA_TREE)
		return "D";
	if (it->kind == DELTA_ATTR)
		return "m";
	if (!it->seen.present)
		return "A";
	if (it->entry == NULL || it->hash == HASH_NEEDED)
		return it->seen.is_dir ? "T" : "M";
	if (it->seen.is_dir != (it->entry->type == ENTRY_DIR))
		return "T";
	entry_content_hash(it->entry, &content);
	return hash_cmp(&content, &it->seen.content) == 0 ? "m" : "M";
}

static const char *
item_type(const struct delta_item *it)
{
	if (it->entry == NULL)
		return it->kind == DELTA_TREE || it->seen.is_dir ? "directory"
								 : "file";
	switch (it->entry->type) {
	case ENTRY_DIR:
		return "directory";
	case ENTRY_SYMLINK:
		return "symlink";
	case ENTRY_FIFO:
		return "fifo";
	default:
		return "file";
	}
}

static json_t *
item_json(const struct delta_item *it)
{
	json_t *o;

	o = json_pack("{s:o,s:s,s:s,s:b,s:s}", "path",
	    json_name(it->path, it->len), "kind",
	    it->kind != 0 ? item_kind(it->kind) : "put", "change",
	    item_change(it), "new", !it->seen.present, "type", item_type(it));
	if (it->has_ref)
		json_object_set_new(o, "from",
		    json_name(it->ref.path, it->ref.len));
	if (it->seen.present)
		json_object_set_new(o, "seen", json_hash(&it->seen.content));
	return o;
}

static json_t *
diff_json(const struct delta_set *set, const struct diffing *d)
{
	const struct delta_item *it, *last = NULL;
	json_t *l = json_array();
	size_t i, n = 0;
	int more = 0;

	for (i = 0; i < set->n; i++) {
		it = &set->items[i];
		if (it->kind == 0 && it->hash != HASH_NEEDED)
			continue;
		n++;
		if (d->after != NULL &&
		    path_cmp(it->path, it->len, d->after, d->after_len) <= 0)
			continue;
		if (json_array_size(l) >= d->limit) {
			more = 1;
			continue;
		}
		json_array_append_new(l, item_json(it));
		last = it;
	}
	return json_pack("{s:{s:o,s:I,s:b,s:o}}", "result", "changes", l,
	    "count", (json_int_t)n, "more", more, "next",
	    more && last != NULL ? json_name(last->path, last->len)
				 : json_null());
}

/* ---- the question ------------------------------------------------------------- */

static void
diff_run(struct diffing *d)
{
	struct mount *m = mount_by_instance(d->instance);
	struct asker *a = asker_find(d->asker);
	struct node_miss miss;
	struct delta_set set;
	char text[640];

	memset(&miss, 0, sizeof(miss));
	if (a == NULL || m == NULL) {
		diffing_free(d);
		return;
	}
	if (delta_collect(manifest_db, &m->row, &set, &miss, d->attempt, 0,
		NULL, NULL) == 0) {
		asker_answer(a, diff_json(&set, d));
		delta_set_free(&set);
	} else if (errno == ENODATA && d->attempt++ < DIFF_ATTEMPTS &&
	    nodes_want(m->row.volume_id, &miss.commit, NULL, miss.path,
		miss.path_len, miss.first, miss.first_len, diff_node, d) == 0) {
		node_miss_free(&miss);
		return;
	} else if (errno == EFBIG) {
		seen_too_many(&miss, text, sizeof(text));
		asker_error(a, "too_large", "too_many_seen", "%s", text);
	} else
		asker_error(a, "internal", "diff", "%s", strerror(errno));
	node_miss_free(&miss);
	diffing_free(d);
}

/* All that was changed before the question is in the rows. */
static void
diff_applied(struct mount *m, void *arg)
{
	struct diffing *d = arg;

	(void)m;
	diff_run(d);
}

static void
diff_broken(struct mount *m, void *arg)
{
	struct diffing *d = arg;
	struct asker *a = asker_find(d->asker);

	if (a != NULL)
		asker_error(a, "unavailable", "journal",
		    "the changes of %s cannot be looked at", m->row.path);
	diffing_free(d);
}

static void
diff_offset(struct mount *m, void *arg, int error, uint64_t offset)
{
	if (error != 0 ||
	    applied_wait_or(m, offset, diff_applied, diff_broken, arg) == -1)
		diff_broken(m, arg);
}

void
diff_request(struct asker *a, struct mount *m, json_t *req)
{
	json_t *after = json_object_get(req, "after");
	json_t *limit = json_object_get(req, "limit");
	json_int_t n = limit != NULL ? json_integer_value(limit) : DIFF_USUAL;
	struct diffing *d;

	if (n < 1 || n > DIFF_MAX) {
		asker_error(a, "invalid_request", "limit", "limit: not 1 to %d",
		    DIFF_MAX);
		return;
	}
	if ((d = calloc(1, sizeof(*d))) == NULL) {
		asker_error(a, "internal", "memory", "out of memory");
		return;
	}
	d->asker = a->id;
	d->instance = m->instance;
	d->limit = (size_t)n;
	if (after != NULL &&
	    ((d->after = json_name_get(after, &d->after_len)) == NULL ||
		path_problem(d->after, d->after_len) != NULL)) {
		asker_error(a, "invalid_request", "after", "after: not a path");
		diffing_free(d);
	} else if (ask_sync(m, diff_offset, d) == -1) {
		asker_error(a, "internal", "fuse", "%s", strerror(errno));
		diffing_free(d);
	}
}
