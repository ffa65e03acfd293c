/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_apart: see meta_apart.h.  In meta, in its thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/monotime.h"
#include "sailapid/meta.h"
#include "sailapid/meta_apart.h"

#define NODES_MAX 65536 /* that are looked into, for one delta */
#define COMMITS_MAX 16
#define SLOTS_MAX ((uint64_t)1 << 24)
#define STEP_MS 20       /* then others of the thread have their turn */
#define STOP_SLOTS 65536 /* between two looks whether meta ends */

enum phase {
	AT_PATHS,   /* of the operations */
	EVERYWHERE, /* in trees */
	DONE
};

struct apart_search {
	struct apart_wanted w;
	struct view view;
	const atomic_int *stop;
	struct hash commits[2 * COMMITS_MAX + 1];
	size_t ncommits;
	/* where it is */
	enum phase phase;
	size_t at;   /* in commits */
	uint32_t op; /* of the delta */
	/* the commit that is looked at; NULL: it is to be loaded */
	struct blob *blob;
	struct commit c;
	/* the directories from its root to where it is */
	struct tree_iter **dirs;
	uint32_t ndirs, roomdirs;
};

static atomic_int searches;

/* -1 and ECANCELED: meta ends. */
static int
stopped(const struct apart_search *s)
{
	if (!atomic_load(s->stop))
		return 0;
	errno = ECANCELED;
	return -1;
}

/* ---- files --------------------------------------------------------------- */

static int
mark_file(struct apart_search *s, const struct entry *e)
{
	struct apart_wanted *w = &s->w;
	struct hash h, missing;
	struct chunklist *l;
	uint64_t slot, n;
	uint32_t i;
	int r = 0;

	if (e->type != ENTRY_FILE || e->size == 0)
		return 0;
	l = chunklist_from_entry(e, &s->view.store, SLOTS_MAX, &missing);
	if (l == NULL)
		return errno == EFBIG ? 0 : -1;
	for (slot = n = 0;
	     w->lacking > 0 && chunklist_next(l, slot, &slot, &h) == 1;
	     slot++, n++) {
		if (n % STOP_SLOTS == 0 && (r = stopped(s)) == -1)
			break;
		if (!hashset_find(w->chunks, &h, &i) || w->found[i] ||
		    (w->bytes[i] != APART_ANY_BYTES &&
			w->bytes[i] != chunklist_slot_bytes(l, slot)))
			continue;
		w->found[i] = 1;
		w->lacking--;
	}
	chunklist_free(l);
	return r;
}

static int
mark_path(struct apart_search *s, const uint8_t *path, size_t len)
{
	struct blob *keep;
	struct entry e;
	int r;

	if (tree_find(&s->view.store, &s->c.root, path, len, &e, &keep) == -1)
		return errno == ENOENT ? 0 : -1;
	r = mark_file(s, &e);
	blob_unref(keep);
	return r;
}

/* ---- the operations ------------------------------------------------------ */

/* A chunk of it is still looked for. */
static int
op_lacks(const struct apart_wanted *w, const struct delta_op *op)
{
	struct hash h;
	uint64_t slot;
	uint32_t i;

	if (op->kind != DELTA_PUT || op->chunks == NULL)
		return op->kind == DELTA_DELETE;
	for (slot = 0; chunklist_next(op->chunks, slot, &slot, &h) == 1; slot++)
		if (hashset_find(w->chunks, &h, &i) && !w->found[i])
			return 1;
	return 0;
}

/* What was put there before, and what was there that is elsewhere now: of one
   operation.  1: there are no more. */
static int
next_op(struct apart_search *s)
{
	struct delta_op op;
	int r;

	if (s->op == s->w.delta->nops) {
		s->op = 0;
		return 1;
	}
	r = delta_op_get(s->w.delta, s->op++, &op);
	if (r == 0 && op_lacks(&s->w, &op))
		r = mark_path(s, op.path, op.len);
	delta_op_clear(&op);
	return r;
}

/* ---- whole trees --------------------------------------------------------- */

static int
enter_dir(struct apart_search *s, const struct hash *root)
{
	struct tree_iter **grown;
	uint32_t n;

	if (s->ndirs > SAIL_DEPTH_MAX)
		return 0;
	if (s->ndirs == s->roomdirs) {
		n = s->roomdirs + 16;
		grown = reallocarray(s->dirs, n, sizeof(*grown));
		if (grown == NULL)
			return -1;
		s->dirs = grown;
		s->roomdirs = n;
	}
	s->dirs[s->ndirs] = tree_iter_begin(&s->view.store, root, "", 0, 0);
	if (s->dirs[s->ndirs] == NULL)
		return -1;
	s->ndirs++;
	return 0;
}

static void
leave_all(struct apart_search *s)
{
	while (s->ndirs > 0)
		tree_iter_end(s->dirs[--s->ndirs]);
}

/* One entry of the tree.  1: there are no more. */
static int
next_entry(struct apart_search *s)
{
	const uint8_t *name;
	struct entry e;
	struct hash below;
	size_t len;
	int r;

	if (s->ndirs == 0)
		return 1;
	r = tree_iter_next(s->dirs[s->ndirs - 1], &name, &len, &e);
	if (r == 0) {
		tree_iter_end(s->dirs[--s->ndirs]);
		return s->ndirs == 0;
	}
	if (r == -1)
		return -1;
	below = e.root;
	if (mark_file(s, &e) == -1)
		return -1;
	return e.type == ENTRY_DIR ? enter_dir(s, &below) : 0;
}

/* ---- the commits --------------------------------------------------------- */

static int
add_commit(void *arg, const struct hash *h)
{
	struct apart_search *s = arg;
	size_t i;

	for (i = 0; i < s->ncommits; i++)
		if (hash_cmp(&s->commits[i], h) == 0)
			return 0;
	if (s->ncommits < sizeof(s->commits) / sizeof(s->commits[0]))
		s->commits[s->ncommits++] = *h;
	return 0;
}

/* 1: there is one; 0: it is not there, and passed over. */
static int
load_commit(struct apart_search *s)
{
	struct hash root;

	s->blob = view_commit(&s->view, &s->commits[s->at], &s->c);
	if (s->blob == NULL) {
		/* The merge says what is wrong with it. */
		if (errno != ENOENT)
			return -1;
		s->at++;
		return 0;
	}
	root = s->c.root.root;
	if (s->phase == EVERYWHERE && enter_dir(s, &root) == -1)
		return -1;
	return 1;
}

static void
end_commit(struct apart_search *s)
{
	blob_unref(s->blob);
	s->blob = NULL;
	s->at++;
}

/* The next little thing; 1: nothing is left to be done. */
static int
next_thing(struct apart_search *s)
{
	int r;

	if (s->phase == DONE || s->w.lacking == 0)
		return 1;
	if (s->at == s->ncommits) {
		s->at = 0;
		s->phase++;
		return 0;
	}
	if (s->blob == NULL && (r = load_commit(s)) != 1)
		return r;
	r = s->phase == AT_PATHS ? next_op(s) : next_entry(s);
	if (r == 1)
		end_commit(s);
	return r == -1 ? -1 : 0;
}

int
apart_step(struct apart_search *s, struct db *db, const atomic_int *stop)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	int r;

	/* It may go on in another thread: each has a connection of its own. */
	s->w.db = s->view.db = s->view.nodes.db = db;
	s->stop = stop;
	do {
		if (stopped(s) == -1)
			return -1;
		r = next_thing(s);
	} while (r == 0 && !monotime_reached(end));
	/* What was not found by now is to be uploaded. */
	return r == -1 && errno == EOVERFLOW ? 1 : r;
}

struct apart_search *
apart_new(const struct apart_wanted *w)
{
	struct apart_search *s;
	uint32_t i, n;

	if (atomic_fetch_add(&searches, 1) >= META_SEARCHES) {
		atomic_fetch_sub(&searches, 1);
		errno = EAGAIN;
		return NULL;
	}
	if ((s = calloc(1, sizeof(*s))) == NULL) {
		atomic_fetch_sub(&searches, 1);
		return NULL;
	}
	s->w = *w;
	view_init(&s->view, w->db, w->vol, w->grant);
	db_nodes_limit(&s->view.nodes, NODES_MAX);
	add_commit(s, &w->vol->head);
	n = w->delta == NULL ? 0 : w->delta->ncommits;
	for (i = 0; i < n && i < COMMITS_MAX; i++)
		add_commit(s, &w->delta->commits[i]);
	if (w->delta == NULL)
		s->phase = EVERYWHERE;
	if ((w->mount == NULL ||
		db_lease_each(w->db, w->vol->id, w->mount, COMMITS_MAX,
		    add_commit, s) != -1) &&
	    (w->maker == 0 ||
		db_lease_each_of(w->db, w->vol->id, w->maker, COMMITS_MAX,
		    add_commit, s) != -1))
		return s;
	apart_free(s);
	return NULL;
}

void
apart_free(struct apart_search *s)
{
	if (s == NULL)
		return;
	leave_all(s);
	free(s->dirs);
	blob_unref(s->blob);
	view_free(&s->view);
	free(s);
	atomic_fetch_sub(&searches, 1);
}

void
apart_cut_context(struct delta *d, const uint8_t *path, size_t len)
{
	uint32_t i, n = 0;

	for (i = 0; i < d->ncontext; i++)
		if (path_is_below(d->context[i].path, d->context[i].len, path,
			len))
			d->context[n++] = d->context[i];
	d->ncontext = n;
}
