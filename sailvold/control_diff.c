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
#include "sailvold/collect.h"
#include "sailvold/turns.h"

#define DIFF_USUAL 500 /* changes that one answer names */
#define DIFF_MAX 10000
#define DIFF_ATTEMPTS 1000
#define DIFF_STEP 100 /* changes that are looked at between two turns */
#define DIFFS_MAX 64  /* that are asked for at a time, of a mount */

struct diffing {
	TAILQ_ENTRY(diffing) link;
	uint64_t asker;
	uint32_t instance;
	int begun;
	unsigned int attempt;
	char *after; /* a path: those behind it; NULL: all */
	size_t after_len;
	size_t limit;
	struct collecting *collecting;
	/* The answer is made of the set, in slices. */
	struct turn turn;
	struct delta_set set;
	size_t at, n; /* looked at, and changes among them */
	int more;
	const struct delta_item *last;
	json_t *changes;
};
/* In order; of a mount, the first one goes on. */
static TAILQ_HEAD(, diffing) diffs = TAILQ_HEAD_INITIALIZER(diffs);

static void diff_next(uint32_t instance);

static void
diffing_free(struct diffing *d)
{
	TAILQ_REMOVE(&diffs, d, link);
	turn_end(&d->turn);
	collect_stop(d->collecting);
	collect_drop(&d->set);
	json_decref(d->changes);
	free(d->after);
	free(d);
}

/* The one that went on. */
static void
diff_end(struct diffing *d)
{
	uint32_t instance = d->instance;

	diffing_free(d);
	diff_next(instance);
}

static void
say(const struct diffing *d, const char *type, const char *code,
    const char *what)
{
	struct asker *a = asker_find(d->asker);

	if (a != NULL)
		asker_error(a, type, code, "%s", what);
}

static void
diff_fail(struct diffing *d, const char *type, const char *code,
    const char *what)
{
	say(d, type, code, what);
	diff_end(d);
}

#define WENT_AWAY "unavailable", "unmounted", "the mount went away"

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

static void
diff_answer(struct diffing *d)
{
	struct asker *a = asker_find(d->asker);

	if (a != NULL)
		asker_answer(a,
		    json_pack("{s:{s:O,s:I,s:b,s:o}}", "result", "changes",
			d->changes, "count", (json_int_t)d->n, "more", d->more,
			"next",
			d->more && d->last != NULL
			    ? json_name(d->last->path, d->last->len)
			    : json_null()));
	diff_end(d);
}

static int
diff_step(void *arg)
{
	struct diffing *d = arg;
	const struct delta_item *it;
	size_t i;

	for (i = 0; i < DIFF_STEP && d->at < d->set.n; i++) {
		it = &d->set.items[d->at++];
		if (it->kind == 0 && it->hash != HASH_NEEDED)
			continue;
		d->n++;
		if (d->after != NULL &&
		    path_cmp(it->path, it->len, d->after, d->after_len) <= 0)
			continue;
		if (json_array_size(d->changes) >= d->limit) {
			d->more = 1;
			continue;
		}
		json_array_append_new(d->changes, item_json(it));
		d->last = it;
	}
	if (d->at < d->set.n)
		return 1;
	diff_answer(d);
	return 0;
}

/* ---- the question ------------------------------------------------------------- */

static void diff_run(struct diffing *);

static void
diff_node(void *arg, int error)
{
	struct diffing *d = arg;

	if (error == 0)
		diff_run(d);
	else
		diff_fail(d, "unavailable", "nodes", strerror(error));
}

static void
diff_collected(void *arg, int error, struct delta_set *set,
    struct node_miss *miss)
{
	struct diffing *d = arg;
	struct mount *m = mount_by_instance(d->instance);
	char text[640];

	d->set = *set;
	if (error == ENODATA && m != NULL && d->attempt++ < DIFF_ATTEMPTS &&
	    nodes_want(m->row.volume_id, &miss->commit, NULL, miss->path,
		miss->path_len, miss->first, miss->first_len, diff_node,
		d) == 0) {
		node_miss_free(miss);
		return;
	}
	if (error == EFBIG) {
		seen_too_many(miss, text, sizeof(text));
		diff_fail(d, "too_large", "too_many_seen", text);
	} else if (error == ENODEV)
		diff_fail(d, WENT_AWAY);
	else if (error == EBUSY)
		diff_fail(d, "unavailable", "busy",
		    "commits and reloads change what is looked at: ask again");
	else if (error != 0)
		diff_fail(d, "internal", "diff", strerror(error));
	else if ((d->changes = json_array()) == NULL ||
	    turn_begin(&d->turn, diff_step, d) == -1)
		diff_fail(d, "internal", "memory", "out of memory");
	node_miss_free(miss);
}

static void
diff_run(struct diffing *d)
{
	struct mount *m = mount_by_instance(d->instance);

	if (m == NULL)
		diff_fail(d, WENT_AWAY);
	else if (asker_find(d->asker) == NULL)
		diff_end(d);
	else if (collect_begin(m, &d->collecting, d->attempt, diff_collected,
		     d) == -1)
		diff_fail(d, "internal", "memory", "out of memory");
}

/* All that was changed before the question is in the rows. */
static void
diff_applied(struct mount *m, void *arg)
{
	(void)m;
	diff_run(arg);
}

static void
diff_broken(struct mount *m, void *arg)
{
	char text[4200];

	snprintf(text, sizeof(text), "the changes of %s cannot be looked at",
	    m->row.path);
	diff_fail(arg, "unavailable", "journal", text);
}

static void
diff_offset(struct mount *m, void *arg, int error, uint64_t offset)
{
	if (error != 0 ||
	    applied_wait_or(m, offset, diff_applied, diff_broken, arg) == -1)
		diff_broken(m, arg);
}

/* The first one of a mount. */
static struct diffing *
first_of(uint32_t instance)
{
	struct diffing *d;

	TAILQ_FOREACH (d, &diffs, link)
		if (d->instance == instance)
			break;
	return d;
}

/* The first one of that mount begins, if it has not: one at a time, and each
   with what was changed until then, so that the journal has its turn between
   them. */
static void
diff_next(uint32_t instance)
{
	struct mount *m = mount_by_instance(instance);
	struct diffing *d;

	while ((d = first_of(instance)) != NULL && !d->begun) {
		d->begun = 1;
		if (m == NULL || m->gone)
			say(d, WENT_AWAY);
		else if (asker_find(d->asker) == NULL)
			;
		else if (ask_sync(m, diff_offset, d) == 0)
			return;
		else
			say(d, "internal", "fuse", strerror(errno));
		diffing_free(d);
	}
}

/* Those that are asked for still; others make room. */
static unsigned int
waiting_of(uint32_t instance)
{
	struct diffing *d, *next;
	unsigned int n = 0;

	for (d = TAILQ_FIRST(&diffs); d != NULL; d = next) {
		next = TAILQ_NEXT(d, link);
		if (d->instance != instance)
			continue;
		/* Else a callback will come. */
		if (asker_find(d->asker) == NULL &&
		    (!d->begun || d->collecting != NULL))
			diffing_free(d);
		else
			n++;
	}
	diff_next(instance);
	return n;
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
	if (waiting_of(m->instance) >= DIFFS_MAX) {
		asker_error(a, "unavailable", "busy",
		    "%d others look at the changes of this mount: ask again",
		    DIFFS_MAX);
		return;
	}
	if ((d = calloc(1, sizeof(*d))) == NULL) {
		asker_error(a, "internal", "memory", "out of memory");
		return;
	}
	if (after != NULL &&
	    ((d->after = json_name_get(after, &d->after_len)) == NULL ||
		path_problem(d->after, d->after_len) != NULL)) {
		asker_error(a, "invalid_request", "after", "after: not a path");
		free(d->after);
		free(d);
		return;
	}
	d->asker = a->id;
	d->instance = m->instance;
	d->limit = (size_t)n;
	TAILQ_INSERT_TAIL(&diffs, d, link);
	diff_next(d->instance);
}
