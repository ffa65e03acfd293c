/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a delta comes back from its encoding as it was and encodes to the
 * same bytes again; each rule of sailvol-format(5), DELTAS, that is broken is
 * refused with its reason; and no change of bytes makes the decoder misbehave.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/delta.h"
#include "regress/unit/delta_ops.h"
#include "regress/unit/seed.h"

#define NOPS 9

/* A good delta in memory, to be encoded as it is or after a change. */
struct sample {
	struct hash commits[2];
	struct delta_context context[3];
	struct delta_op ops[NOPS];
	struct delta_except ref_x[2], tree_x[3];
	struct chunklist *chunks;
	uint32_t ncommits, ncontext, nops;
	uint8_t *big; /* extended attributes of over 1 KiB */
	size_t big_len;
};

static void
set_path(const uint8_t **path, size_t *len, const char *s)
{
	*path = (const uint8_t *)s;
	*len = strlen(s);
}

static void
set_entry(struct entry *e, uint8_t type)
{
	memset(e, 0, sizeof(*e));
	e->type = type;
	e->mode = 0644;
	e->uid = 1000;
	e->mtime.sec = 17;
	e->fileid = 99;
	if (type == ENTRY_FILE)
		e->chunk_shift = CHUNK_SHIFT_MIN;
	if (type == ENTRY_SYMLINK)
		set_path(&e->target, &e->target_len, "target");
}

static void
set_seen(struct seen *s, uint8_t type)
{
	struct entry e;

	if (type == 0) {
		seen_of(NULL, s);
		return;
	}
	set_entry(&e, type);
	seen_of(&e, s);
}

static struct delta_op *
set_op(struct sample *s, uint32_t i, const char *path, uint8_t kind,
    uint8_t type, uint8_t seen)
{
	struct delta_op *op = &s->ops[i];

	set_path(&op->path, &op->len, path);
	op->kind = kind;
	if (type != 0)
		set_entry(&op->entry, type);
	set_seen(&op->seen, seen);
	return op;
}

static void
set_tree(struct delta_op *op, const char *path)
{
	op->has_tree = 1;
	op->tree.commit = 1;
	set_path(&op->tree.path, &op->tree.len, path);
}

static void
sample_make(struct sample *s)
{
	struct delta_op *op;
	struct hash h;
	char value[1500];

	memset(s, 0, sizeof(*s));
	s->ncommits = 2;
	s->ncontext = 3;
	s->nops = NOPS;
	hash_bytes(&s->commits[0], "b", 1);
	hash_bytes(&s->commits[1], "a", 1);
	set_path(&s->context[0].path, &s->context[0].len, "a");
	set_path(&s->context[1].path, &s->context[1].len, "a/b");
	set_path(&s->context[2].path, &s->context[2].len, "z");
	set_entry(&s->context[0].entry, ENTRY_DIR);
	set_entry(&s->context[1].entry, ENTRY_DIR);
	set_entry(&s->context[2].entry, ENTRY_DIR);
	memset(value, 'v', sizeof(value));
	assert_int_equal(xattrs_set(NULL, 0, "user.x", value, sizeof(value), 0,
			     &s->big, &s->big_len),
	    0);
	s->context[1].entry.xattrs = s->big;
	s->context[1].entry.xattrs_len = s->big_len;

	(void)set_op(s, 0, "", DELTA_ATTR, ENTRY_DIR, ENTRY_DIR);
	op = set_op(s, 1, "a/b/f", DELTA_PUT, ENTRY_FILE, 0);
	s->chunks = chunklist_new(10u << 20, CHUNK_SHIFT_MIN);
	assert_non_null(s->chunks);
	hash_bytes(&h, "chunk", 5);
	assert_int_equal(chunklist_add(s->chunks, &h), 0);
	assert_int_equal(chunklist_add_hole(s->chunks, 1), 0);
	op->chunks = s->chunks;
	op = set_op(s, 2, "a/c", DELTA_ATTR, ENTRY_FILE, ENTRY_FILE);
	op->entry.xattrs = s->big;
	op->entry.xattrs_len = s->big_len;
	(void)set_op(s, 3, "d", DELTA_DELETE, 0, ENTRY_SYMLINK);
	op = set_op(s, 4, "m", DELTA_PUT, ENTRY_DIR, ENTRY_DIR);
	op->has_ref = 1;
	set_path(&op->ref.path, &op->ref.len, "from/here");
	set_path(&s->ref_x[0].path, &s->ref_x[0].len, "x");
	set_path(&s->ref_x[1].path, &s->ref_x[1].len, "x-");
	op->ref_except = s->ref_x;
	op->nref_except = 2;
	set_tree(op, "m");
	(void)set_op(s, 5, "m/x", DELTA_PUT, ENTRY_SYMLINK, 0);
	op = set_op(s, 6, "t", DELTA_TREE, 0, ENTRY_DIR);
	set_tree(op, "t");
	set_path(&s->tree_x[0].path, &s->tree_x[0].len, "d");
	set_path(&s->tree_x[1].path, &s->tree_x[1].len, "d/f");
	set_path(&s->tree_x[2].path, &s->tree_x[2].len, "g");
	set_seen(&s->tree_x[0].seen, ENTRY_DIR);
	set_seen(&s->tree_x[1].seen, ENTRY_FILE);
	op->tree_except = s->tree_x;
	op->ntree_except = 3;
	op = set_op(s, 7, "t/sub", DELTA_TREE, 0, ENTRY_DIR);
	set_tree(op, "elsewhere");
	(void)set_op(s, 8, "z/p", DELTA_PUT, ENTRY_FIFO, ENTRY_FILE);
}

static void
sample_free(struct sample *s)
{
	chunklist_free(s->chunks);
	free(s->big);
}

static int
sink(void *arg, const void *data, size_t len)
{
	wbuf_bytes(arg, data, len);
	return 0;
}

static uint8_t *
encode(const struct hash *commits, uint32_t ncommits,
    const struct delta_context *context, uint32_t ncontext,
    const struct delta_op *ops, uint32_t nops, size_t *len)
{
	struct delta_writer dw;
	struct wbuf w;
	uint32_t i;

	wbuf_init(&w, DELTA_MAX_BYTES);
	assert_int_equal(delta_begin(&dw, sink, &w, commits, ncommits, ncontext,
			     nops),
	    0);
	for (i = 0; i < ncontext; i++)
		assert_int_equal(delta_add_context(&dw, &context[i]), 0);
	for (i = 0; i < nops; i++)
		assert_int_equal(delta_add_op(&dw, &ops[i]), 0);
	assert_int_equal(delta_end(&dw), 0);
	return wbuf_take(&w, len);
}

static uint8_t *
sample_encode(const struct sample *s, size_t *len)
{
	return encode(s->commits, s->ncommits, s->context, s->ncontext, s->ops,
	    s->nops, len);
}

static void
comes_back(void **state)
{
	struct delta_op *ops;
	struct sample s;
	struct delta *d;
	const char *why;
	uint8_t *data, *again;
	size_t len, len2;
	uint32_t i;

	(void)state;
	sample_make(&s);
	data = sample_encode(&s, &len);
	d = delta_decode(data, len, &why);
	assert_null(why);
	assert_non_null(d);
	assert_int_equal(d->nops, NOPS);
	ops = delta_ops(d);
	for (i = 0; i < NOPS; i++) {
		assert_int_equal(ops[i].kind, s.ops[i].kind);
		assert_int_equal(ops[i].len, s.ops[i].len);
		assert_memory_equal(ops[i].path, s.ops[i].path, s.ops[i].len);
		assert_true(seen_equal(&ops[i].seen, &s.ops[i].seen));
		assert_int_equal(ops[i].seen.is_dir, s.ops[i].seen.is_dir);
		assert_int_equal(ops[i].entry.type, s.ops[i].entry.type);
	}
	assert_int_equal(ops[1].entry.size, 10u << 20);
	assert_int_equal(chunklist_hashes(ops[1].chunks), 1);
	assert_int_equal(ops[2].entry.xattrs_len, s.big_len);
	assert_int_equal(ops[4].nref_except, 2);
	assert_int_equal(ops[4].tree.commit, 1);
	assert_int_equal(ops[6].tree_except[1].len, 3);
	assert_false(ops[6].tree_except[2].seen.present);
	again = encode(d->commits, d->ncommits, d->context, d->ncontext, ops,
	    d->nops, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(data, again, len);
	delta_ops_free(d, ops);
	free(again);
	delta_free(d);
	free(data);
	sample_free(&s);
}

static void
nothing_at_all(void **state)
{
	struct delta *d;
	const char *why;
	uint8_t *data;
	size_t len;

	(void)state;
	data = encode(NULL, 0, NULL, 0, NULL, 0, &len);
	d = delta_decode(data, len, &why);
	assert_non_null(d);
	assert_int_equal(d->nops, 0);
	delta_free(d);
	free(data);
}

/* ---- one rule broken at a time ---- */

static void
op_path(struct sample *s, uint32_t i, const char *path)
{
	set_path(&s->ops[i].path, &s->ops[i].len, path);
}

#define BREAK(name) static void name(struct sample *s)
BREAK(b_order)
{
	op_path(s, 3, "zz");
}
BREAK(b_twice)
{
	op_path(s, 3, "a/c");
}
BREAK(b_path)
{
	op_path(s, 3, "d//e");
}
BREAK(b_reserved)
{
	op_path(s, 3, "d/.sailvol");
}
BREAK(b_kind)
{
	s->ops[3].kind = 9;
}
BREAK(b_root_put)
{
	s->ops[0].kind = DELTA_PUT;
}
BREAK(b_root_tree)
{
	set_tree(&s->ops[0], "");
}
BREAK(b_delete_nothing)
{
	set_seen(&s->ops[3].seen, 0);
}
BREAK(b_delete_dir)
{
	set_seen(&s->ops[3].seen, ENTRY_DIR);
}
BREAK(b_delete_tree)
{
	set_seen(&s->ops[3].seen, ENTRY_DIR);
	set_tree(&s->ops[3], "d");
}
BREAK(b_tree_without)
{
	s->ops[6].has_tree = 0;
}
BREAK(b_tree_unseen)
{
	set_seen(&s->ops[6].seen, 0);
}
BREAK(b_tree_of_file)
{
	set_seen(&s->ops[6].seen, ENTRY_FILE);
}
BREAK(b_ref_attr)
{
	s->ops[4].kind = DELTA_ATTR;
}
BREAK(b_ref_file)
{
	set_entry(&s->ops[4].entry, ENTRY_SYMLINK);
}
BREAK(b_attr_symlink)
{
	set_entry(&s->ops[2].entry, ENTRY_SYMLINK);
}
BREAK(b_commit)
{
	s->ops[4].ref.commit = 2;
}
BREAK(b_commits_twice)
{
	s->commits[1] = s->commits[0];
}
BREAK(b_ref_path)
{
	set_path(&s->ops[4].ref.path, &s->ops[4].ref.len, "a/./b");
}
BREAK(b_except_empty)
{
	s->ref_x[0].len = 0;
}
BREAK(b_except_order)
{
	set_path(&s->ref_x[1].path, &s->ref_x[1].len, "w");
}
BREAK(b_except_below)
{
	set_path(&s->ref_x[1].path, &s->ref_x[1].len, "x/y");
}
BREAK(b_except_below_file)
{
	set_seen(&s->tree_x[0].seen, ENTRY_FILE);
}
BREAK(b_except_below_nothing)
{
	set_seen(&s->tree_x[0].seen, 0);
}
BREAK(b_context_order)
{
	set_path(&s->context[1].path, &s->context[1].len, "A");
}
BREAK(b_context_root)
{
	s->context[0].len = 0;
}
BREAK(b_context_file)
{
	set_entry(&s->context[2].entry, ENTRY_FILE);
}
BREAK(b_context_lacks)
{
	s->ncontext = 2;
}
BREAK(b_context_lacks_middle)
{
	s->context[1] = s->context[2];
	s->ncontext = 2;
}
BREAK(b_context_of_gone)
{
	set_path(&s->context[2].path, &s->context[2].len, "t");
	s->nops = 8;
}
BREAK(b_put_below_tree)
{
	op_path(s, 8, "t/sub/p");
}
BREAK(b_put_below_file)
{
	op_path(s, 8, "m/x/p");
	s->ops[8].len = 5;
	s->ops[6] = s->ops[8];
	s->nops = 7;
}
BREAK(b_dir_root)
{
	s->ops[4].entry.root.b[3] = 1;
}
BREAK(b_fileid)
{
	s->ops[4].entry.fileid = 1;
}
BREAK(b_mode)
{
	s->ops[4].entry.mode = 010000;
}

static const struct {
	void (*f)(struct sample *);
	const char *why;
} broken[] = {
	{ b_order, "delta: operations not in order" },
	{ b_twice, "delta: operations not in order" },
	{ b_path, "empty name" },
	{ b_reserved, "name is reserved" },
	{ b_kind, "delta: unknown operation" },
	{ b_root_put, "delta: the root can have its attributes set only" },
	{ b_root_tree, "delta: the root can have its attributes set only" },
	{ b_delete_nothing, "delta: delete of what was not seen" },
	{ b_delete_dir, "delta: delete of what was not seen" },
	{ b_delete_tree, "delta: delete of what was not seen" },
	{ b_tree_without, "delta: delete tree without a tree" },
	{ b_tree_unseen, "delta: a tree goes where no directory was seen" },
	{ b_tree_of_file, "delta: a tree goes where no directory was seen" },
	{ b_ref_attr, "delta: only a put directory has a reference" },
	{ b_ref_file, "delta: only a put directory has a reference" },
	{ b_attr_symlink, "delta: attributes of no file or directory" },
	{ b_commit, "delta: reference to no commit of the table" },
	{ b_commits_twice, "delta: a commit stands twice" },
	{ b_ref_path, "name is . or .." },
	{ b_except_empty, "delta: exception without a path" },
	{ b_except_order, "delta: exceptions not in order" },
	{ b_except_below, "delta: exception below one that ends there" },
	{ b_except_below_file, "delta: exception below one that ends there" },
	{ b_except_below_nothing,
	    "delta: exception below one that ends there" },
	{ b_context_order, "delta: context not in order" },
	{ b_context_root, "delta: context of the root" },
	{ b_context_file, "delta: context is no directory" },
	{ b_context_lacks, "delta: no context above a put" },
	{ b_context_lacks_middle, "delta: no context above a put" },
	{ b_context_of_gone, "delta: context of what is no directory" },
	{ b_put_below_tree, "delta: operation below what is gone" },
	{ b_put_below_file, "delta: operation below what is gone" },
	{ b_dir_root, "delta: entry of a directory with a root" },
	{ b_fileid, "file id is 0 or 1" },
	{ b_mode, "mode has more than permissions" },
};

static void
each_rule(void **state)
{
	struct sample s;
	struct delta *d;
	const char *why;
	uint8_t *data;
	size_t len, i;

	(void)state;
	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		sample_make(&s);
		broken[i].f(&s);
		data = sample_encode(&s, &len);
		d = delta_decode(data, len, &why);
		if (d != NULL || strcmp(why, broken[i].why) != 0)
			fail_msg("rule %zu: expected '%s', got '%s'", i,
			    broken[i].why, d != NULL ? "good" : why);
		assert_int_equal(errno, EBADMSG);
		free(data);
		sample_free(&s);
	}
}

/* ---- bytes ---- */

static struct delta *
decode_copy(const uint8_t *data, size_t len, const char **why, uint8_t **copy)
{
	*copy = malloc(len + (len == 0));
	assert_non_null(*copy);
	memcpy(*copy, data, len);
	return delta_decode(*copy, len, why);
}

static void
header(void **state)
{
	static const struct {
		size_t at;
		const char *why;
	} h[] = { { 0, "delta: not one" }, { 4, "delta: unknown version" },
		{ 5, "delta: unknown hash algorithm" },
		{ 9, "delta: too many commits or operations" },
		{ 13, "delta: truncated context" },
		{ 17, "delta: too many commits or operations" } };
	struct sample s;
	const char *why;
	uint8_t *data;
	size_t len, i;

	(void)state;
	sample_make(&s);
	data = sample_encode(&s, &len);
	for (i = 0; i < sizeof(h) / sizeof(h[0]); i++) {
		data[h[i].at] ^= 0x40;
		assert_null(delta_decode(data, len, &why));
		assert_string_equal(why, h[i].why);
		data[h[i].at] ^= 0x40;
	}
	free(data);
	sample_free(&s);
}

static void
no_truncation_and_no_tail(void **state)
{
	struct sample s;
	const char *why;
	uint8_t *data, *copy, *longer;
	size_t len, n;

	(void)state;
	sample_make(&s);
	data = sample_encode(&s, &len);
	for (n = 0; n < len; n++) {
		assert_null(decode_copy(data, n, &why, &copy));
		assert_non_null(why);
		free(copy);
	}
	longer = calloc(1, len + 1);
	assert_non_null(longer);
	memcpy(longer, data, len);
	assert_null(decode_copy(longer, len + 1, &why, &copy));
	free(copy);
	free(longer);
	free(data);
	sample_free(&s);
}

/* What is still taken after a change has the same bytes when encoded again:
   there is one encoding only. */
static void
random_flips(void **state)
{
	struct delta_op *ops;
	struct sample s;
	struct delta *d;
	const char *why;
	uint8_t *data, *copy, *again;
	size_t len, len2, at, i, n, taken = 0;
	uint8_t was[4];

	(void)state;
	seeded();
	sample_make(&s);
	data = sample_encode(&s, &len);
	for (i = 0; i < 50000; i++) {
		at = (size_t)random() % (len - 3);
		memcpy(was, data + at, sizeof(was));
		n = 1 + (size_t)random() % 4;
		while (n-- > 0)
			data[at + n] =
			    random() % 3 == 0 ? 0xff : (uint8_t)random();
		d = decode_copy(data, len, &why, &copy);
		if (d == NULL)
			assert_non_null(why);
		else {
			ops = delta_ops(d);
			again = encode(d->commits, d->ncommits, d->context,
			    d->ncontext, ops, d->nops, &len2);
			delta_ops_free(d, ops);
			assert_int_equal(len, len2);
			assert_memory_equal(data, again, len);
			free(again);
			taken++;
		}
		delta_free(d);
		free(copy);
		memcpy(data + at, was, sizeof(was));
	}
	printf("%zu of %zu still deltas\n", taken, i);
	free(data);
	sample_free(&s);
}

static void
writer_counts(void **state)
{
	struct delta_writer dw;
	struct sample s;
	struct wbuf w;

	(void)state;
	sample_make(&s);
	wbuf_init(&w, 1 << 20);
	assert_int_equal(delta_begin(&dw, sink, &w, s.commits, 2, 1, 1), 0);
	assert_int_equal(delta_add_op(&dw, &s.ops[0]), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(delta_end(&dw), -1);
	assert_int_equal(delta_begin(&dw, sink, &w, s.commits, 2, 0, 2), 0);
	assert_int_equal(delta_add_op(&dw, &s.ops[0]), 0);
	assert_int_equal(delta_end(&dw), -1);
	wbuf_free(&w);
	sample_free(&s);
}

static void
seen_encodes(void **state)
{
	static const uint8_t types[] = { 0, ENTRY_FILE, ENTRY_DIR,
		ENTRY_SYMLINK, ENTRY_FIFO };
	struct seen a, b;
	struct wbuf w;
	struct rbuf r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types); i++) {
		set_seen(&a, types[i]);
		wbuf_init(&w, 1000);
		seen_encode(&w, &a);
		rbuf_init(&r, w.data, w.len);
		assert_int_equal(seen_decode(&r, &b), 0);
		assert_int_equal(rbuf_end(&r), 0);
		assert_true(seen_equal(&a, &b));
		assert_int_equal(a.is_dir, b.is_dir);
		assert_int_equal(a.present, b.present);
		wbuf_free(&w);
	}
	/* A directory's content in the form of something else. */
	set_seen(&a, ENTRY_DIR);
	a.is_dir = 0;
	wbuf_init(&w, 1000);
	seen_encode(&w, &a);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(seen_decode(&r, &b), -1);
	assert_string_equal(r.error, "seen: content of a directory");
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back),
		cmocka_unit_test(nothing_at_all),
		cmocka_unit_test(each_rule),
		cmocka_unit_test(header),
		cmocka_unit_test(no_truncation_and_no_tail),
		cmocka_unit_test(random_flips),
		cmocka_unit_test(writer_counts),
		cmocka_unit_test(seen_encodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
