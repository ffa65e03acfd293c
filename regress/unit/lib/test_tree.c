/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a directory is the same nodes whatever edits made it, a change
 * touches few of them, and look-up, iteration and comparison agree with a
 * sorted array.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/tree.h"
#include "regress/unit/lib/memstore.h"
#include "regress/unit/lib/treemodel.h"

static void
test_empty(void **state)
{
	struct memstore s;
	struct tree_sums sums;
	struct tree_edit del = { "a", 1, NULL };
	struct hash root, empty;
	struct wbuf w;

	(void)state;
	memstore_init(&s);
	wbuf_init(&w, 100);
	node_leaf_begin(&w);
	node_leaf_end(&w, 0);
	hash_bytes(&root, w.data, w.len);
	wbuf_free(&w);
	tree_empty_root(&empty);
	assert_memory_equal(&root, &empty, sizeof(root));
	assert_int_equal(tree_apply(&s.store, salt, NULL, NULL, 0, &root,
			     &sums),
	    0);
	assert_memory_equal(&root, &empty, sizeof(root));
	assert_int_equal(tree_apply(&s.store, salt, &root, &del, 1, &root,
			     &sums),
	    0);
	assert_memory_equal(&root, &empty, sizeof(root));
	assert_int_equal(tree_get_sums(&s.store, &root, &sums), 0);
	assert_int_equal(sums.entries, 0);
	memstore_free(&s);
}

/* From nothing, against the rule of the manual, at the sizes that matter. */
static void
test_scratch(void **state)
{
	static const size_t sizes[] = { 1, 2, 63, 64, 65, 1023, 1024, 1025,
		2048, 2049, 12000 };
	struct model m;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash root;
	size_t i, k;
	int f;

	(void)state;
	for (f = 0; f < FLAVOURS; f++) {
		for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			if (f == ALL_CUT && sizes[k] > 2049)
				continue;
			model_init(&m, (enum flavour)f, sizes[k]);
			batch_init(&b, m.n);
			memstore_init(&s);
			for (i = 0; i < m.n; i++)
				batch_add(&b, &m, i, m.version[i] = 1);
			tree_empty_root(&root);
			apply(&s, &root, &b, &sums);
			assert_root(&m, &root, &sums);
			assert_int_equal(tree_get_sums(&s.store, &root, &sums),
			    0);
			assert_root(&m, &root, &sums);
			memstore_free(&s);
			batch_free(&b);
			model_free(&m);
		}
	}
}

/* A random batch: a few names, or a range, or many; versions change with it. */
static void
random_batch(struct model *m, struct batch *b)
{
	size_t i, from = 0, to = m->n, one_in;
	int del = (int)rnd(3);

	b->n = 0;
	switch (rnd(5)) {
	case 0:
		one_in = 2;
		break;
	case 1:
		from = rnd(m->n);
		to = from + 1;
		one_in = 1;
		break;
	case 2:
		from = rnd(m->n);
		to = from + 1 + rnd(m->n - from);
		one_in = 1 + rnd(3);
		break;
	default:
		one_in = 1 + m->n / 20;
	}
	for (i = from; i < to; i++) {
		if (rnd(one_in) != 0)
			continue;
		if (del == 0 || (del == 1 && rnd(2)))
			m->version[i] = 0;
		else if (rnd(4))
			m->version[i] = 1 + (uint32_t)rnd(1000);
		batch_add(b, m, i, m->version[i]);
	}
}

static void
any_order(enum flavour f, size_t n, int rounds)
{
	struct model m;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash root;

	model_init(&m, f, n);
	batch_init(&b, m.n);
	memstore_init(&s);
	tree_empty_root(&root);
	while (rounds-- > 0) {
		random_batch(&m, &b);
		apply(&s, &root, &b, &sums);
		assert_root(&m, &root, &sums);
	}
	memstore_free(&s);
	batch_free(&b);
	model_free(&m);
}

static void
test_any_order(void **state)
{
	static const size_t sizes[] = { 3, 200, 1500, 6000 };
	size_t k;
	int f;

	(void)state;
	for (f = 0; f < FLAVOURS; f++) {
		for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
			any_order((enum flavour)f,
			    f == ALL_CUT && sizes[k] > 3000 ? 3000 : sizes[k],
			    40);
	}
	/* Index nodes that end because the next child does not fit. */
	any_order(HUGE, 25000, ROUNDS(20));
}

/* Nodes from the root to a leaf. */
static unsigned int
height(struct memstore *s, const struct hash *root)
{
	struct blob *b = memstore_get(s, root);
	unsigned int n;

	n = node_level(b->data) + 1u;
	blob_unref(b);
	return (n);
}

static void
test_few_nodes(void **state)
{
	struct model m;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash root, same;
	unsigned int levels, gets = 0, puts = 0;
	size_t i;
	int round;

	(void)state;
	model_init(&m, PLAIN, 100000);
	batch_init(&b, m.n);
	memstore_init(&s);
	for (i = 0; i < m.n; i++)
		batch_add(&b, &m, i, m.version[i] = 1);
	tree_empty_root(&root);
	apply(&s, &root, &b, &sums);
	levels = height(&s, &root);
	assert_true(levels >= 2);
	for (round = 0; round < 200; round++) {
		i = rnd(m.n);
		m.version[i] = rnd(3) ? 2 + (uint32_t)rnd(100) : 0;
		b.n = 0;
		batch_add(&b, &m, i, m.version[i]);
		s.gets = s.puts = 0;
		apply(&s, &root, &b, &sums);
		gets = s.gets > gets ? s.gets : gets;
		puts = s.puts > puts ? s.puts : puts;
		/* A cut that moves meets the old ones after a few nodes. */
		assert_true(s.gets <= 4 * (levels + 1));
		assert_true(s.puts <= 4 * (levels + 1));
		/* The same again is the same, and writes nothing. */
		same = root;
		s.puts = 0;
		apply(&s, &root, &b, &sums);
		assert_memory_equal(&root, &same, sizeof(root));
		assert_int_equal(s.puts, 0);
	}
	printf("one change of %zu names, %u levels: at most %u gets, %u puts\n",
	    m.n, levels, gets, puts);
	assert_root(&m, &root, &sums);
	memstore_free(&s);
	batch_free(&b);
	model_free(&m);
}

static void
assert_entry(const struct model *m, size_t i, const struct entry *e)
{
	struct wbuf got, want;
	struct entry x;

	wbuf_init(&got, 8192);
	wbuf_init(&want, 8192);
	make_entry(&x, m, i, m->version[i]);
	entry_encode(&got, e);
	entry_encode(&want, &x);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, got.len);
	wbuf_free(&got);
	wbuf_free(&want);
}

static void
check_reading(struct memstore *s, const struct hash *root,
    const struct model *m)
{
	struct tree_iter *it;
	const uint8_t *name;
	struct entry e;
	struct blob *keep;
	struct hash missing;
	size_t i, len;
	int r, after;

	for (i = 0; i < m->n; i++) {
		r = tree_lookup(&s->store, root, m->name[i], strlen(m->name[i]),
		    &e, &keep, &missing);
		if (m->version[i] == 0) {
			assert_int_equal(r, -1);
			assert_int_equal(errno, ENOENT);
			assert_null(keep);
		} else {
			assert_int_equal(r, 0);
			assert_entry(m, i, &e);
			blob_unref(keep);
		}
	}
	for (after = 0; after < 2; after++) {
		i = rnd(3) ? rnd(m->n) : 0;
		it = tree_iter_begin(&s->store, root, m->name[i],
		    i == 0 ? 0 : strlen(m->name[i]), after);
		assert_non_null(it);
		i += i != 0 && after;
		while ((r = tree_iter_next(it, &name, &len, &e)) == 1) {
			while (m->version[i] == 0)
				i++;
			assert_int_equal(len, strlen(m->name[i]));
			assert_memory_equal(name, m->name[i], len);
			assert_entry(m, i, &e);
			i++;
		}
		assert_int_equal(r, 0);
		assert_int_equal(tree_iter_next(it, &name, &len, &e), 0);
		for (; i < m->n; i++)
			assert_int_equal(m->version[i], 0);
		tree_iter_end(it);
	}
}

struct diff_check {
	const struct model *m, *old;
	size_t at;
	size_t calls, stop;
};

static int
on_diff(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct diff_check *d = arg;

	if (++d->calls == d->stop)
		return (-1);
	while (d->m->version[d->at] == d->old->version[d->at])
		d->at++;
	assert_int_equal(len, strlen(d->m->name[d->at]));
	assert_memory_equal(name, d->m->name[d->at], len);
	assert_int_equal(a == NULL, d->old->version[d->at] == 0);
	assert_int_equal(b == NULL, d->m->version[d->at] == 0);
	if (a != NULL)
		assert_entry(d->old, d->at, a);
	if (b != NULL)
		assert_entry(d->m, d->at, b);
	d->at++;
	return (0);
}

/* Marks what is below a node by its count of gets. */
static void
mark(struct memstore *s, const struct hash *h, unsigned int by)
{
	struct memnode *n = memstore_find(s, h);
	struct node_child c;
	struct node_index x;

	n->gets += by;
	if (node_level(n->blob->data) == 0)
		return;
	assert_int_equal(node_index_open(&x, n->blob->data, n->blob->len), 0);
	while (node_index_next(&x, &c) == 1)
		mark(s, &c.hash, by);
}

static void
check_diff(struct memstore *s, const struct hash *a, const struct hash *b,
    const struct model *old, const struct model *m)
{
	struct diff_check d = { m, old, 0, 0, 0 };
	size_t i;

	for (i = 0; i < s->cap; i++)
		s->v[i].gets = 0;
	mark(s, a, 1000);
	mark(s, b, 1000000);
	assert_int_equal(tree_diff(&s->store, a, b, on_diff, &d), 0);
	for (; d.at < m->n; d.at++)
		assert_int_equal(m->version[d.at], old->version[d.at]);
	/* The roots say how high the trees are; else nothing common is read. */
	for (i = 0; i < s->cap; i++) {
		if (s->v[i].gets > 1001000 && hash_cmp(&s->v[i].hash, a) != 0 &&
		    hash_cmp(&s->v[i].hash, b) != 0)
			fail_msg("an equal node was loaded");
	}
	/* From a name on. */
	d.at = rnd((unsigned int)m->n);
	d.calls = 0;
	assert_int_equal(tree_diff_from(&s->store, a, b, m->name[d.at],
			     strlen(m->name[d.at]), on_diff, &d),
	    0);
	for (; d.at < m->n; d.at++)
		assert_int_equal(m->version[d.at], old->version[d.at]);
	d.at = d.calls = 0;
	assert_int_equal(tree_diff(&s->store, a, b, on_diff, &d), 0);
	if (d.calls > 0) {
		d.stop = 1 + rnd(d.calls);
		d.calls = d.at = 0;
		assert_int_equal(tree_diff(&s->store, a, b, on_diff, &d), -1);
		assert_int_equal(d.calls, d.stop);
	}
}

static void
test_reading(void **state)
{
	static const size_t sizes[] = { 5, 300, 3000, 10000 };
	struct model m, old;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash root, before;
	size_t k;
	int f, round;

	(void)state;
	for (f = 0; f < FLAVOURS; f++) {
		for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			model_init(&m, (enum flavour)f,
			    f == ALL_CUT && sizes[k] > 3000 ? 1500 : sizes[k]);
			old = m;
			old.version = calloc(m.n, sizeof(*m.version));
			batch_init(&b, m.n);
			memstore_init(&s);
			tree_empty_root(&root);
			tree_put_empty(&s.store);
			for (round = 0; round < 12; round++) {
				memcpy(old.version, m.version,
				    m.n * sizeof(*m.version));
				before = root;
				random_batch(&m, &b);
				apply(&s, &root, &b, &sums);
				check_diff(&s, &before, &root, &old, &m);
				if (round % 6 == 5)
					check_reading(&s, &root, &m);
			}
			memstore_free(&s);
			batch_free(&b);
			model_free(&m);
			free(old.version);
		}
	}
}

/* The first name of each leaf, and the end. */
static size_t
leaf_starts(const struct model *m, size_t *start)
{
	size_t i, n = 0, count = 0;

	for (i = 0; i < m->n; i++) {
		if (count == 0)
			start[n++] = i;
		count++;
		if (count == 1024 || (count >= 64 && cut_at_leaves(m->name[i])))
			count = 0;
	}
	start[n] = m->n;
	return (n);
}

/* All goes but a few whole leaves, which nothing touches: the levels above them
   fall in, and grow again. */
static void
test_shrinking(void **state)
{
	struct model m, old;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash full, root;
	size_t *start, leaves, first, last, i;
	int round;

	(void)state;
	model_init(&m, PLAIN, 150000);
	old = m;
	old.version = calloc(m.n, sizeof(*m.version));
	start = calloc(m.n + 1, sizeof(*start));
	leaves = leaf_starts(&m, start);
	batch_init(&b, m.n);
	memstore_init(&s);
	for (i = 0; i < m.n; i++)
		batch_add(&b, &m, i, old.version[i] = 1);
	tree_empty_root(&full);
	apply(&s, &full, &b, &sums);
	assert_true(height(&s, &full) >= 2);
	for (round = 0; round < ROUNDS(40); round++) {
		first = round == 1 ? leaves - 1 : rnd(leaves);
		last = round % 2 ? first + 1 : first + 1 + rnd(leaves - first);
		b.n = 0;
		for (i = 0; i < m.n; i++) {
			m.version[i] = i >= start[first] && i < start[last];
			if (m.version[i] == 0)
				batch_add(&b, &m, i, 0);
		}
		root = full;
		apply(&s, &root, &b, &sums);
		assert_root(&m, &root, &sums);
		check_diff(&s, &full, &root, &old, &m);
		b.n = 0;
		for (i = 0; i < m.n; i++) {
			if (m.version[i] == 0)
				batch_add(&b, &m, i, 1);
		}
		apply(&s, &root, &b, &sums);
		assert_memory_equal(&root, &full, sizeof(root));
	}
	/* A few changes of two trees of one height. */
	memcpy(m.version, old.version, m.n * sizeof(*m.version));
	for (round = 0; round < 20; round++) {
		b.n = 0;
		i = rnd(m.n);
		batch_add(&b, &m, i, m.version[i] = (uint32_t)rnd(3));
		apply(&s, &root, &b, &sums);
		check_diff(&s, &full, &root, &old, &m);
	}
	memstore_free(&s);
	batch_free(&b);
	model_free(&m);
	free(old.version);
	free(start);
}

/* As above, where what is left lies below an index node of one child. */
static void
test_lone_leaf(void **state)
{
	struct model m;
	struct batch b;
	struct memstore s;
	struct tree_sums sums;
	struct hash root;
	size_t *start, leaves, k, i;

	(void)state;
	/* A directory whose first index node ends before its last leaf. */
	for (;;) {
		model_init(&m, PLAIN, 150000);
		start = calloc(m.n + 1, sizeof(*start));
		leaves = leaf_starts(&m, start);
		for (k = 63; k + 1 < leaves; k++) {
			i = start[k + 1] - 1;
			if (ref_cut((const uint8_t *)m.name[i],
				strlen(m.name[i]), 1))
				break;
		}
		if (k + 1 < leaves)
			break;
		free(start);
		model_free(&m);
	}
	m.n = start[k + 2];
	batch_init(&b, m.n);
	memstore_init(&s);
	for (i = 0; i < m.n; i++)
		batch_add(&b, &m, i, m.version[i] = 1);
	tree_empty_root(&root);
	apply(&s, &root, &b, &sums);
	assert_root(&m, &root, &sums);
	assert_int_equal(height(&s, &root), 3);
	b.n = 0;
	for (i = 0; i < start[k + 1]; i++)
		batch_add(&b, &m, i, m.version[i] = 0);
	s.puts = 0;
	apply(&s, &root, &b, &sums);
	assert_root(&m, &root, &sums);
	assert_int_equal(height(&s, &root), 1);
	assert_int_equal(s.puts, 0);
	memstore_free(&s);
	batch_free(&b);
	model_free(&m);
	free(start);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((double)t.tv_sec + (double)t.tv_nsec / 1e9);
}

static void
million_changes(struct memstore *s, struct hash root, struct tree_edit *v)
{
	struct tree_sums sums;
	struct hash undone;
	unsigned int levels = height(s, &root), gets = 0, puts = 0;
	double t = seconds();
	int i;

	for (i = 0; i < 1000; i++) {
		struct tree_edit del = { v[rnd(MANY)].name, 7, NULL };

		s->gets = s->puts = 0;
		assert_int_equal(tree_apply(&s->store, salt, &root, &del, 1,
				     &undone, &sums),
		    0);
		assert_int_equal(sums.entries, MANY - 1);
		assert_true(s->gets <= 4 * (levels + 1));
		assert_true(s->puts <= 4 * (levels + 1));
		gets = s->gets > gets ? s->gets : gets;
		puts = s->puts > puts ? s->puts : puts;
	}
	printf("delete of one name: %.0f us, at most %u gets, %u puts\n",
	    (seconds() - t) * 1e3, gets, puts);
}

static void
test_million(void **state)
{
	struct tree_edit *v = calloc(MANY, sizeof(*v));
	char(*names)[8] = calloc(MANY, sizeof(*names));
	struct model m = { PLAIN, 0, NULL, NULL };
	struct tree_iter *it;
	struct tree_sums sums;
	struct memstore s;
	struct entry e, got;
	struct hash root, missing;
	struct blob *keep;
	const uint8_t *name;
	size_t i, len;
	double t;

	(void)state;
	memstore_init(&s);
	make_entry(&e, &m, 3, 1);
	for (i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "n%06zu", i);
		v[i].name = names[i];
		v[i].len = 7;
		v[i].entry = &e;
	}
	t = seconds();
	assert_int_equal(tree_apply(&s.store, salt, NULL, v, MANY, &root,
			     &sums),
	    0);
	printf("build of %d names: %.2f s, %zu nodes, %u levels\n", MANY,
	    seconds() - t, s.n, height(&s, &root));
	assert_int_equal(sums.entries, MANY);
	assert_int_equal(sums.files, MANY);
	t = seconds();
	for (i = 0; i < 10000; i++) {
		assert_int_equal(tree_lookup(&s.store, &root, names[rnd(MANY)],
				     7, &got, &keep, &missing),
		    0);
		blob_unref(keep);
	}
	printf("look-up: %.1f us\n", (seconds() - t) * 100);
	t = seconds();
	it = tree_iter_begin(&s.store, &root, "", 0, 0);
	for (i = 0; tree_iter_next(it, &name, &len, &got) == 1; i++)
		assert_memory_equal(name, names[i], 7);
	assert_int_equal(i, MANY);
	tree_iter_end(it);
	printf("iteration: %.2f s\n", seconds() - t);
	million_changes(&s, root, v);
	memstore_free(&s);
	free(names);
	free(v);
}

static int
setup(void **state)
{
	(void)state;
	rnd_seed();
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_scratch),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_few_nodes),
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_shrinking),
		cmocka_unit_test(test_lone_leaf),
		cmocka_unit_test(test_million),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
