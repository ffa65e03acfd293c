/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: for random trees, simulated mounts, edits and interleavings, the merge
 * gives the tree, the report and the counts of the model, a commit without
 * others in between gives what its mount showed, and paths that a mount did not
 * touch stay as they were.
 *
 * SAIL_SEED and MERGES in the environment set the seed and the number of merges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "regress/unit/sailapid/merge_mount.h"
#include "regress/unit/seed.h"

/* So that a run shows that it tried what it should. */
static struct {
	uint64_t merges, puts, attrs, deletes, trees, refs, both, excepts;
	uint64_t overwritten, refused, paths, alone, flipped, mixed;
} stats;

/* ---- invariants that need no model ---- */

static int
same_trees(const struct mtree *a, const struct mtree *b)
{
	size_t i;

	if (a->n != b->n)
		return 0;
	for (i = 0; i < a->n; i++)
		if (strcmp(a->v[i].path, b->v[i].path) != 0 ||
		    !mnode_same(&a->v[i].n, &b->v[i].n))
			return 0;
	return 1;
}

/* The mount changed nothing at the path and at all above it. */
static int
untouched(const struct mount *m, const char *path)
{
	char p[MP_MAX];
	char *slash;
	struct mnode s, v;

	memcpy(p, path, strlen(path) + 1);
	for (;;) {
		s = mtree_get(&m->seen, p);
		v = mtree_get(&m->view, p);
		if (!mnode_same(&s, &v) ||
		    (s.type == ENTRY_DIR && s.fileid != v.fileid))
			return 0;
		if ((slash = strrchr(p, '/')) == NULL)
			return 1;
		*slash = '\0';
	}
}

static int
check_invariants(const struct mount *m, const struct mtree *head,
    const struct mtree *result, const struct mreport *rep)
{
	const struct mnode *n;
	struct mnode r;
	size_t i;

	if (rep->refused)
		return 0;
	stats.alone += (uint64_t)same_trees(head, &m->seen);
	if (same_trees(head, &m->seen) &&
	    (rep->n != 0 || !same_trees(result, &m->view))) {
		fprintf(stderr, "nobody else, but not what the mount shows\n");
		return 1;
	}
	for (i = 0; i < head->n; i++) {
		n = &head->v[i].n;
		if (n->type == ENTRY_DIR || !untouched(m, head->v[i].path))
			continue;
		/* A directory for the mount: it may have to be one again. */
		r = mtree_get(&m->seen, head->v[i].path);
		if (r.type == ENTRY_DIR)
			continue;
		r = mtree_get(result, head->v[i].path);
		if (!mnode_equal(n, &r)) {
			fprintf(stderr, "%s was disturbed\n", head->v[i].path);
			return 1;
		}
	}
	return 0;
}

/* ---- histories ---- */

static void
history_begin(struct history *h, uint32_t first_edits, int big)
{
	struct state *st = &h->commits[0];
	struct mnode n;
	char p[MP_MAX];
	struct mount w;
	uint32_t i;

	memset(h, 0, sizeof(*h));
	h->clock = 1000;
	h->fileid = 100;
	mem_store_init(&h->store);
	n = mount_fresh(h, ENTRY_DIR);
	memset(&w, 0, sizeof(w));
	(void)mtree_set(&w.view, "", &n);
	for (i = 5 + rnd(first_edits); i > 0; i--)
		mount_edit(h, &w);
	if (big) {
		mount_make(h, &w.view, "a", ENTRY_DIR);
		mount_make(h, &w.view, "a/b", ENTRY_DIR);
		for (i = 0; i < 400; i++) {
			(void)snprintf(p, sizeof(p),
			    i % 2 ? "a/n%03u" : "a/b/n%03u", i);
			mount_make(h, &w.view, p, ENTRY_FILE);
		}
	}
	mtree_copy(&st->flat, &w.view);
	mtree_free(&w.view);
	state_build(&h->store, st, 0);
	h->ncommits = 1;
	for (i = 0; i < MOUNTS; i++)
		mount_reload(h, &h->m[i], 0);
}

static void
history_end(struct history *h)
{
	int i;

	for (i = 0; i < MOUNTS; i++) {
		mtree_free(&h->m[i].view);
		mtree_free(&h->m[i].seen);
	}
	for (i = 0; i < h->ncommits; i++)
		state_free(&h->commits[i]);
	mem_store_free(&h->store);
}

static void
count(const struct gen *g, const struct state *result,
    const struct mreport *rep)
{
	const struct mop *op;
	int first = -1, mixed = 0;

	for (op = g->d.op; op < g->d.op + g->d.nop; op++) {
		if (op->has_tree && first == -1)
			first = op->tree.commit;
		mixed |= (op->has_tree && op->tree.commit != first) ||
		    (op->has_ref && first != -1 && op->ref.commit != first);
		stats.puts += op->kind == M_PUT;
		stats.attrs += op->kind == M_ATTR;
		stats.deletes += op->kind == M_DELETE;
		stats.trees += (uint64_t)op->has_tree;
		stats.refs += (uint64_t)op->has_ref;
		stats.both += op->has_ref && op->has_tree;
		stats.excepts += op->ref.nx + op->tree.nx;
	}
	stats.merges++;
	stats.mixed += (uint64_t)mixed;
	stats.overwritten += rep->n;
	stats.refused += (uint64_t)rep->refused;
	stats.paths += result->flat.n;
}

/* Commits a mount; 1: something was wrong. */
static int
commit(struct history *h, struct mount *m)
{
	const struct state *commits[COMMITS_MAX];
	const struct mtree *flats[COMMITS_MAX];
	const struct state *head = &h->commits[h->ncommits - 1];
	struct state *next = &h->commits[h->ncommits];
	struct gen g;
	struct mreport rep;
	int i, bad;

	memset(&g, 0, sizeof(g));
	memset(next, 0, sizeof(*next));
	g.h = h;
	g.m = m;
	mount_generate(&g);
	for (i = 0; i < h->ncommits; i++) {
		commits[i] = &h->commits[i];
		flats[i] = &h->commits[i].flat;
	}
	g.d.commits = flats;
	bad = merge_both(&h->store, head, &g.d, commits, (uint32_t)h->ncommits,
	    rnd(8) == 0, next, &rep);
	if (!bad &&
	    (bad = check_invariants(m, &head->flat, &next->flat, &rep)) != 0) {
		mtree_print("seen", &m->seen);
		mtree_print("view", &m->view);
		mtree_print("head", &head->flat);
		mdelta_print(&g.d);
		mtree_print("result", &next->flat);
	}
	if (!bad && g.d.nop > 0 && rnd(20) == 0)
		stats.flipped += merge_flipped(&h->store, head, &g.d, commits,
		    (uint32_t)h->ncommits, 50, rnd);
	state_name(next, (uint32_t)h->ncommits);
	h->ncommits++;
	if (!rep.refused)
		mtree_copy(&m->seen, &m->view);
	count(&g, next, &rep);
	mreport_free(&rep);
	gen_free(&g);
	return bad;
}

static void
random_histories(void **state)
{
	const char *n = getenv("MERGES");
	uint64_t seed = seeded();
	uint64_t want = n != NULL ? strtoull(n, NULL, 0) : 100000, done = 0;
	uint64_t first;
	static struct history h;
	struct mount *m;
	uint32_t i, k;
	int bad = 0;

	(void)state;
	while (done < want && !bad) {
		/* Each history has a seed of its own, so that it can be had
		   alone. */
		first = seed++;
		rng_state = first * 0x9e3779b97f4a7c15ULL + 1;
		for (i = 0; i < 8; i++)
			(void)rnd(2);
		history_begin(&h, 10u << rnd(5), first % 100 == 0);
		for (k = 0; k < 24 && !bad; k++) {
			m = &h.m[rnd(MOUNTS)];
			for (i = 1 + rnd(6); i > 0; i--)
				mount_edit(&h, m);
			if (rnd(3) == 0)
				continue;
			bad = commit(&h, m);
			done++;
			if (rnd(3) == 0)
				mount_reload(&h, &h.m[rnd(MOUNTS)],
				    h.ncommits - 1);
			if (rnd(6) == 0)
				mount_reload_keep(&h, &h.m[rnd(MOUNTS)],
				    h.ncommits - 1);
		}
		history_end(&h);
		if (bad)
			fprintf(stderr, "again with SAIL_SEED=%ju MERGES=24\n",
			    (uintmax_t)first);
	}
	printf(
	    "%ju merges of %ju paths each: %ju puts, %ju attributes, "
	    "%ju deletes, %ju trees, %ju references, %ju both, %ju exceptions; "
	    "%ju overwritten, %ju refused, %ju with nobody else, "
	    "%ju of several commits, %ju of changed bytes\n",
	    stats.merges, stats.paths / stats.merges, stats.puts, stats.attrs,
	    stats.deletes, stats.trees, stats.refs, stats.both, stats.excepts,
	    stats.overwritten, stats.refused, stats.alone, stats.mixed,
	    stats.flipped);
	assert_false(bad);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
	    random_histories) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
