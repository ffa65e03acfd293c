/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: every row of the table of sailvol-format(5), MERGE, gives the result
 * and the report that it says, with --if-unchanged it is refused exactly where
 * the report is not empty, and a merge reads no more than what differs.
 *
 * Trees are written as "D/ D/x=1 L@2": directory, file and symlink with a
 * content number; each "!" behind one stands for other attributes.
 * Operations: "put", "attr", "delete", "tree", separated by ";".  What was
 * seen is the base's.  "put D/ tree" carries the delete tree of D, "ref S" the
 * names of S, both of the base, "-x" leaves out x.
 */
#include <err.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "regress/unit/sailapid/merge_tree.h"

struct row {
	const char *name, *base, *head, *ops, *want, *report;
};

static const struct row rows[] = {
	{ "equal put", "P=1", "P=2", "put P=2", "P=2", "" },
	{ "equal delete", "P=1", "", "delete P", "", "" },
	{ "equal attr", "P=1", "P=1!", "attr P=1!", "P=1!", "" },
	{ "equal directory", "", "D/ D/a=1", "put D/", "D/ D/a=1", "" },

	{ "put as seen", "P=1", "P=1 Q=3", "put P=2", "P=2 Q=3", "" },
	{ "put new", "Q=1", "Q=1", "put P=2", "P=2 Q=1", "" },
	{ "put changed", "P=1", "P=3", "put P=2", "P=2", "P" },
	{ "put changed attributes", "P=1", "P=1!", "put P=2", "P=2", "P" },
	{ "put made by another", "", "P=3", "put P=2", "P=2", "P" },
	{ "put deleted since", "P=1", "", "put P=2", "P=2", "P" },
	{ "put symlink", "P@1", "P@2", "put P@3", "P@3", "P" },

	{ "put below deleted", "D/", "", "put D/x=1", "D/ D/x=1", "D" },
	{ "put below deleted deep", "D/ D/E/", "", "put D/E/x=1",
	    "D/ D/E/ D/E/x=1", "D D/E" },
	{ "put below deleted, seen", "D/ D/x=1", "", "put D/x=2", "D/ D/x=2",
	    "D D/x" },
	{ "made again as seen", "D/!", "", "put D/x=1", "D/! D/x=1", "D" },
	{ "attr below deleted", "D/ D/x=1", "", "attr D/x=1!", "", "" },
	{ "put and attr above", "D/ D/x=1", "", "attr D/!; put D/x=2",
	    "D/! D/x=2", "D D/x" },

	{ "ancestor is a file", "D/", "D=7", "put D/x=1", "D/ D/x=1", "D" },
	{ "ancestor is a symlink", "D/ D/E/", "D@7", "put D/E/x=1",
	    "D/ D/E/ D/E/x=1", "D D/E" },
	{ "delete below a file", "D/ D/x=1", "D=7", "delete D/x", "D=7", "" },

	{ "file on directory", "", "P/ P/a=1 P/b/ P/b/c=2", "put P=1", "P=1",
	    "P P/a P/b P/b/c" },
	{ "file on directory as seen", "P/ P/a=1", "P/ P/a=1", "put P=1 tree",
	    "P=1", "" },
	{ "file on directory, one unseen", "P/ P/a=1", "P/ P/a=1 P/b=2",
	    "put P=1 tree", "P=1", "P/b" },
	{ "file on directory, one changed", "P/ P/a=1 P/c=3", "P/ P/a=2 P/c=3",
	    "put P=1 tree", "P=1", "P/a" },
	{ "file on file that became a directory", "P=1", "P/ P/a=1", "put P=2",
	    "P=2", "P P/a" },

	{ "directory on file", "", "D=1", "put D/; put D/x=2", "D/ D/x=2",
	    "D" },
	{ "rm f; mkdir f", "D=1", "D=1", "put D/", "D/", "" },
	{ "directory on changed file", "D=1", "D=2", "put D/", "D/", "D" },

	{ "both made it", "", "D/ D/a=1", "put D/; put D/b=2", "D/ D/a=1 D/b=2",
	    "" },
	{ "both made it, modes differ", "", "D/! D/a=1", "put D/; put D/b=2",
	    "D/ D/a=1 D/b=2", "D" },
	{ "both made it, a file too", "", "D/ D/a=1", "put D/; put D/a=2",
	    "D/ D/a=2", "D/a" },

	{ "attr on other content", "P=1", "P=2", "attr P=1!", "P=2!", "" },
	{ "attr on other attributes", "P=1", "P=1!!", "attr P=1!", "P=1!",
	    "P" },
	{ "attr on both changed", "P=1", "P=2!!", "attr P=1!", "P=2!", "P" },
	{ "attr of a directory", "D/ D/a=1", "D/ D/b=2", "attr D/!",
	    "D/! D/b=2", "" },
	{ "attr on nothing", "P=1", "", "attr P=1!", "", "" },
	{ "attr on another type", "P=1", "P/", "attr P=1!", "P/", "" },
	{ "attr of the root", "P=1", "P=2", "attr /!", "/! P=2", "" },

	{ "delete as seen", "P=1", "P=1", "delete P", "", "" },
	{ "delete changed", "P=1", "P=2", "delete P", "", "P" },
	{ "delete of a directory with paths", "P=1", "P/ P/a=1", "delete P",
	    "P/ P/a=1", "" },
	{ "delete of an empty directory", "P=1", "P/", "delete P", "", "P" },
	{ "delete of nothing", "P=1", "", "delete P", "", "" },

	{ "tree of nothing", "D/ D/a=1", "", "tree D", "", "" },
	{ "tree as seen", "D/ D/a=1 D/b/ D/b/c=1", "D/ D/a=1 D/b/ D/b/c=1",
	    "tree D", "", "" },
	{ "tree with unseen", "D/ D/a=1 D/b/ D/b/c=1",
	    "D/ D/a=1 D/b/ D/b/c=1 D/b/n=5", "tree D", "D/ D/b/ D/b/n=5", "" },
	{ "tree with an unseen directory", "D/ D/a=1", "D/ D/a=1 D/n/",
	    "tree D", "D/ D/n/", "" },
	{ "tree, one changed", "D/ D/a=1 D/b=1", "D/ D/a=2 D/b=1", "tree D", "",
	    "D/a" },
	{ "tree, one deleted", "D/ D/a=1 D/b=1", "D/ D/b=1", "tree D", "", "" },
	{ "tree, its directory changed", "D/ D/b/", "D/! D/b/!!", "tree D", "",
	    "D D/b" },
	{ "tree, directory changed that stays", "D/", "D/! D/n=1", "tree D",
	    "D/! D/n=1", "" },
	{ "tree is a file", "D/ D/a=1", "D=3", "tree D", "", "D" },
	{ "tree, a seen directory is a file", "D/ D/b/ D/b/c=1", "D/ D/b=3",
	    "tree D", "", "D/b" },
	{ "tree, a seen file is a directory", "D/ D/b=1", "D/ D/b/ D/b/c=2",
	    "tree D", "D/ D/b/ D/b/c=2", "" },
	{ "tree, a seen file is an empty directory", "D/ D/b=1", "D/ D/b/",
	    "tree D", "", "D/b" },

	{ "made again", "D/ D/a=1", "D/ D/a=1 D/n=2", "put D/ tree; put D/b=3",
	    "D/ D/b=3 D/n=2", "" },
	{ "made again, attributes", "D/ D/a=1", "D/ D/a=1", "attr D/! tree",
	    "D/!", "" },
	{ "made again, gone since", "D/ D/a=1", "", "attr D/! tree", "D/!",
	    "D" },
	{ "made again with the same file", "D/ D/a=1", "D/ D/a=2",
	    "put D/ tree; put D/a=2", "D/ D/a=2", "" },
	{ "made again with another file", "D/ D/a=1", "D/ D/a=2",
	    "put D/ tree; put D/a=3", "D/ D/a=3", "D/a" },

	{ "move", "S/ S/a=1 S/b/ S/b/c=2", "S/ S/a=1 S/b/ S/b/c=2",
	    "put D/ ref S; tree S", "D/ D/a=1 D/b/ D/b/c=2", "" },
	{ "move, one changed there", "S/ S/a=1", "S/ S/a=2",
	    "put D/ ref S; tree S", "D/ D/a=1", "S/a" },
	{ "move, one new there", "S/ S/a=1", "S/ S/a=1 S/n=2",
	    "put D/ ref S; tree S", "D/ D/a=1 S/ S/n=2", "" },
	{ "move, source gone", "S/ S/a=1", "", "put D/ ref S; tree S",
	    "D/ D/a=1", "" },
	{ "move onto another's directory", "S/ S/a=1 S/b=2",
	    "D/ D/a=5 D/n=6 S/ S/a=1 S/b=2", "put D/ ref S; tree S",
	    "D/ D/a=1 D/b=2 D/n=6", "D/a" },
	{ "move onto another's equal file", "S/ S/a=1", "D/ D/a=1 S/ S/a=1",
	    "put D/ ref S; tree S", "D/ D/a=1", "" },
	{ "move onto another's file", "S/ S/a=1", "D=1 S/ S/a=1",
	    "put D/ ref S; tree S", "D/ D/a=1", "D" },
	{ "move with less and more", "S/ S/a=1 S/b=2 S/c=3",
	    "S/ S/a=1 S/b=2 S/c=3",
	    "put D/ ref S -a -b; put D/b=7; put D/n=8; tree S",
	    "D/ D/b=7 D/c=3 D/n=8", "" },
	{ "move, then chmod below", "S/ S/a=1 S/b/ S/b/c=1",
	    "S/ S/a=1 S/b/ S/b/c=1",
	    "put D/ ref S; attr D/a=1!; attr D/b/!; tree S",
	    "D/ D/a=1! D/b/! D/b/c=1", "" },
	{ "move onto what was removed", "D/ D/a=1 D/o=2 S/ S/a=3",
	    "D/ D/a=1 D/o=2 S/ S/a=3", "put D/ ref S tree; tree S", "D/ D/a=3",
	    "" },
	{ "move onto what was removed and changed", "D/ D/a=1 D/o=2 S/ S/a=3",
	    "D/ D/a=8 D/n=4 D/o=9 S/ S/a=3", "put D/ ref S tree; tree S",
	    "D/ D/a=3 D/n=4", "D/a D/o" },
	{ "exchange", "A/ A/a=1 B/ B/b=2", "A/ A/a=1 B/ B/b=2",
	    "put A/ ref B tree; put B/ ref A tree", "A/ A/b=2 B/ B/a=1", "" },
	{ "move into the removed", "D/ D/e/ D/e/x=1 D/o=2",
	    "D/ D/e/ D/e/x=1 D/o=2", "put D/ tree; put D/n/ ref D/e",
	    "D/ D/n/ D/n/x=1", "" },
	{ "nested moves", "A/ A/B/ A/B/x=1 A/y=2", "A/ A/B/ A/B/x=1 A/y=2",
	    "tree A; put B/ ref A/B; put B/A/ ref A -B",
	    "B/ B/A/ B/A/y=2 B/x=1", "" },
};

/* ---- the little language ---- */

static struct mnode
parse_node(const char *word, char path[MP_MAX])
{
	size_t n = strcspn(word, "=@!");
	struct mnode m;
	const char *p;
	unsigned int id = 0;

	memset(&m, 0, sizeof(m));
	m.type = word[n] == '=' ? ENTRY_FILE
	    : word[n] == '@'    ? ENTRY_SYMLINK
				: ENTRY_DIR;
	m.mode = m.type == ENTRY_DIR ? 0755
	    : m.type == ENTRY_FILE   ? 0644
				     : 0777;
	m.content =
	    m.type != ENTRY_DIR ? (uint32_t)strtoul(word + n + 1, NULL, 10) : 0;
	for (p = word; *p != '\0'; p++)
		m.uid += *p == '!';
	if (m.type == ENTRY_DIR && n > 0 && word[n - 1] == '/')
		n--;
	(void)snprintf(path, MP_MAX, "%.*s", (int)n, word);
	for (p = path; *p != '\0'; p++)
		id = id * 31 + (unsigned char)*p;
	m.fileid = 100 + id % 100000;
	m.mtime = m.ctime = 10;
	return m;
}

static void
parse_tree(const char *spec, struct mtree *t)
{
	char copy[512], path[MP_MAX];
	char *word, *rest = copy;
	struct mnode n = parse_node("/", path);

	memset(t, 0, sizeof(*t));
	(void)mtree_set(t, "", &n);
	(void)snprintf(copy, sizeof(copy), "%s", spec);
	while ((word = strsep(&rest, " ")) != NULL)
		if (*word != '\0') {
			n = parse_node(word, path);
			(void)mtree_set(t, path, &n);
		}
}

static void
parse_ref(struct mref *r, const char *path)
{
	memset(r, 0, sizeof(*r));
	(void)snprintf(r->path, sizeof(r->path), "%s", path);
}

static void
parse_op(char *text, const struct mtree *base, struct mop *op)
{
	static const struct mnode nothing;
	const struct mpath *p;
	char *word;

	memset(op, 0, sizeof(*op));
	while (*text == ' ')
		text++;
	word = strsep(&text, " ");
	op->kind = strcmp(word, "put") == 0 ? M_PUT
	    : strcmp(word, "attr") == 0     ? M_ATTR
	    : strcmp(word, "delete") == 0   ? M_DELETE
					    : M_TREE;
	op->e = parse_node(strsep(&text, " "), op->path);
	p = mtree_find(base, op->path);
	op->seen = p != NULL ? p->n : nothing;
	if (op->kind == M_PUT)
		op->e.fileid += 500000;
	op->has_tree = op->kind == M_TREE;
	while ((word = strsep(&text, " ")) != NULL) {
		if (strcmp(word, "tree") == 0)
			op->has_tree = 1;
		else if (strcmp(word, "ref") == 0) {
			op->has_ref = 1;
			parse_ref(&op->ref, strsep(&text, " "));
		} else if (*word == '-') {
			op->ref.x = realloc(op->ref.x,
			    (op->ref.nx + 1) * sizeof(*op->ref.x));
			memset(&op->ref.x[op->ref.nx], 0, sizeof(*op->ref.x));
			(void)snprintf(op->ref.x[op->ref.nx++].path, MP_MAX,
			    "%s", word + 1);
		}
	}
	if (op->has_tree)
		parse_ref(&op->tree, op->path);
	if (op->kind == M_DELETE || op->kind == M_TREE)
		op->e = nothing;
}

static int
op_cmp(const void *a, const void *b)
{
	const struct mop *p = a, *q = b;

	return mp_cmp(p->path, q->path);
}

/* Operations, and all directories of the base as context. */
static void
parse_ops(const char *spec, const struct mtree *base, struct mdelta *d)
{
	char copy[512];
	char *text, *rest = copy;
	size_t i;

	memset(d, 0, sizeof(*d));
	if ((d->op = calloc(16, sizeof(*d->op))) == NULL)
		err(1, "calloc");
	(void)snprintf(copy, sizeof(copy), "%s", spec);
	while ((text = strsep(&rest, ";")) != NULL && *text != '\0')
		parse_op(text, base, &d->op[d->nop++]);
	qsort(d->op, d->nop, sizeof(*d->op), op_cmp);
	for (i = 0; i < base->n; i++)
		if (base->v[i].path[0] != '\0' &&
		    base->v[i].n.type == ENTRY_DIR) {
			struct mop *op, *end = d->op + d->nop;

			for (op = d->op; op < end; op++)
				if (strcmp(op->path, base->v[i].path) == 0)
					break;
			if (op == end)
				(void)mtree_set(&d->context, base->v[i].path,
				    &base->v[i].n);
		}
}

static void
mdelta_free(struct mdelta *d)
{
	size_t i;

	for (i = 0; i < d->nop; i++)
		free(d->op[i].ref.x);
	free(d->op);
	mtree_free(&d->context);
}

static void
report_text(const struct mreport *r, char out[512])
{
	size_t i, n = 0;

	out[0] = '\0';
	for (i = 0; i < r->n; i++)
		n += (size_t)snprintf(out + n, 512 - n, "%s%s", i ? " " : "",
		    r->path[i]);
}

static int
same_shape(const struct mtree *want, const struct mtree *got)
{
	size_t i;

	for (i = 0; i < want->n && i < got->n; i++)
		if (strcmp(want->v[i].path, got->v[i].path) != 0 ||
		    !mnode_same(&want->v[i].n, &got->v[i].n))
			return 0;
	return want->n == got->n;
}

/* ---- tests ---- */

static int
run_row(const struct row *row, int if_unchanged)
{
	struct mem_store store;
	struct state base, head, result;
	const struct state *commits[1] = { &base };
	const struct mtree *flats[1] = { &base.flat };
	struct mtree want;
	struct mdelta d;
	struct mreport rep;
	char text[512];
	int bad;

	memset(&result, 0, sizeof(result));
	mem_store_init(&store);
	parse_tree(row->base, &base.flat);
	parse_tree(row->head, &head.flat);
	state_build(&store, &base, 1);
	state_build(&store, &head, 2);
	parse_ops(row->ops, &base.flat, &d);
	d.commits = flats;
	bad = merge_both(&store, &head, &d, commits, 1, if_unchanged, &result,
	    &rep);
	parse_tree(if_unchanged && row->report[0] ? row->head : row->want,
	    &want);
	report_text(&rep, text);
	if (!bad && !same_shape(&want, &result.flat)) {
		mtree_print("expected", &want);
		mtree_print("got", &result.flat);
		bad = 1;
	}
	if (!bad && strcmp(text, row->report) != 0) {
		fprintf(stderr, "reported '%s', expected '%s'\n", text,
		    row->report);
		bad = 1;
	}
	if (!bad && rep.refused != (if_unchanged && row->report[0]))
		bad = 1;
	if (bad)
		fprintf(stderr, "row '%s'%s\n", row->name,
		    if_unchanged ? " with --if-unchanged" : "");
	mtree_free(&want);
	mreport_free(&rep);
	mdelta_free(&d);
	state_free(&result);
	state_free(&base);
	state_free(&head);
	mem_store_free(&store);
	return bad;
}

static void
every_row(void **state)
{
	size_t i;
	int bad = 0;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		bad += run_row(&rows[i], 0) + run_row(&rows[i], 1);
	printf("%zu rows\n", i);
	assert_int_equal(bad, 0);
}

/* A merge by hand, of what the language cannot say. */
struct fix {
	struct mem_store store;
	struct state base, head;
	struct mdelta d;
	struct delta *delta;
	uint8_t *bytes;
	size_t len;
	struct merge_in in;
	struct merge_out out;
};

static int
give_root(void *arg, const struct hash *id, struct entry *root,
    struct blob **keep)
{
	const struct fix *f = arg;

	*keep = NULL;
	if (hash_cmp(id, &f->base.id) != 0) {
		errno = ENOENT;
		return -1;
	}
	*root = f->base.root;
	return 0;
}

static void
fix_begin(struct fix *f, const char *base, const char *head, const char *ops)
{
	const struct state *commits[1] = { &f->base };

	memset(f, 0, sizeof(*f));
	mem_store_init(&f->store);
	parse_tree(base, &f->base.flat);
	parse_tree(head, &f->head.flat);
	state_build(&f->store, &f->base, 1);
	state_build(&f->store, &f->head, 2);
	parse_ops(ops, &f->base.flat, &f->d);
	f->delta = delta_of(&f->store, &f->d, commits, 1, &f->bytes, &f->len);
	f->in.store = &f->store.store;
	f->in.salt = test_salt;
	f->in.head_root = &f->head.root;
	f->in.commit_root = give_root;
	f->in.arg = f;
	f->in.delta = f->delta;
	f->in.max_report = 10;
}

static void
fix_end(struct fix *f)
{
	merge_out_free(&f->out);
	delta_free(f->delta);
	free(f->bytes);
	mdelta_free(&f->d);
	state_free(&f->base);
	state_free(&f->head);
	mem_store_free(&f->store);
}

static void
unknown_commit(void **state)
{
	struct fix f;

	(void)state;
	fix_begin(&f, "D/ D/a=1", "D/ D/a=1", "tree D");
	f.delta->commits[0].b[5] ^= 1;
	assert_int_equal(merge_apply(&f.in, &f.out), -1);
	assert_int_equal(errno, EINVAL);
	assert_string_equal(f.out.why, "reference to an unknown commit");
	assert_int_equal(f.out.why_path_len, 1);
	fix_end(&f);
}

static void
unknown_directory(void **state)
{
	struct fix f;

	(void)state;
	fix_begin(&f, "S/ f=1", "S/ f=1", "put D/ ref nowhere; tree S");
	assert_int_equal(merge_apply(&f.in, &f.out), -1);
	assert_int_equal(errno, EINVAL);
	fix_end(&f);
	fix_begin(&f, "S/ f=1", "S/ f=1", "put D/ ref f; tree S");
	assert_int_equal(merge_apply(&f.in, &f.out), -1);
	assert_int_equal(errno, EINVAL);
	fix_end(&f);
}

static void
below_a_brought_file(void **state)
{
	struct fix f;

	(void)state;
	fix_begin(&f, "S/ S/a=1", "S/ S/a=1", "put D/ ref S");
	assert_int_equal(merge_apply(&f.in, &f.out), 0);
	fix_end(&f);
	/* D/a is a file of S, and D/a/x cannot stand below it. */
	fix_begin(&f, "D/ D/a/ S/ S/a=1", "", "put D/ ref S; put D/a/x=1");
	assert_int_equal(merge_apply(&f.in, &f.out), -1);
	assert_int_equal(errno, EINVAL);
	fix_end(&f);
}

static void
missing_node(void **state)
{
	struct fix f;
	struct entry e;
	struct blob *keep;
	struct hash missing;

	(void)state;
	fix_begin(&f, "D/ D/a=1", "D/ D/a=1 D/b=2", "put D/a=4");
	assert_int_equal(tree_lookup(&f.store.store, &f.head.root.root, "D", 1,
			     &e, &keep, &missing),
	    0);
	missing = e.root;
	blob_unref(keep);
	mem_store_remove(&f.store, &missing);
	assert_int_equal(merge_apply(&f.in, &f.out), -1);
	assert_int_equal(errno, ENODATA);
	assert_memory_equal(&f.out.missing, &missing, sizeof(missing));
	fix_end(&f);
}

static void
report_is_bounded(void **state)
{
	struct fix f;

	(void)state;
	fix_begin(&f, "a=1 b=1 c=1", "a=2 b=2 c=2",
	    "put a=3; put b=3; put c=3");
	f.in.max_report = 2;
	assert_int_equal(merge_apply(&f.in, &f.out), 0);
	assert_int_equal(f.out.npaths, 2);
	assert_int_equal(f.out.overwritten, 3);
	assert_int_equal(f.out.puts, 3);
	fix_end(&f);
}

/* Which fileid stays: of what is put the committer's, of what is equal, or
   has its attributes set, the head's. */
static void
fileids(void **state)
{
	struct mtree t = { NULL, 0, 0 };
	struct fix f;

	(void)state;
	fix_begin(&f, "a=1 b=1 c=1", "a=1 b=2 c=1",
	    "put a=3; put b=2; attr c=1!");
	assert_int_equal(merge_apply(&f.in, &f.out), 0);
	tree_read(&f.store, &f.out.root, &t);
	assert_true(mtree_find(&t, "a")->n.fileid > 500000);
	assert_true(mtree_find(&t, "b")->n.fileid < 500000);
	assert_true(mtree_find(&t, "c")->n.fileid < 500000);
	mtree_free(&t);
	fix_end(&f);
}

/* Nodes read by a move, a delete tree and a put, in a volume of so many
   files. */
static uint64_t
cost(unsigned int files)
{
	const char *const ops = "put D/ ref S; put q/a=7; tree S; tree T";
	struct mnode file, dir;
	struct fix f;
	char path[MP_MAX];
	unsigned int i;
	uint64_t gets;

	memset(&f, 0, sizeof(f));
	mem_store_init(&f.store);
	parse_tree("S/ T/ q/ q/a=1", &f.base.flat);
	dir = parse_node("d/", path);
	file = parse_node("f=1", path);
	for (i = 0; i < files; i++) {
		(void)snprintf(path, sizeof(path), "%c/%04u", "ST"[i % 2], i);
		(void)mtree_set(&f.base.flat, path, i % 8 ? &file : &dir);
	}
	mtree_copy(&f.head.flat, &f.base.flat);
	state_build(&f.store, &f.base, 1);
	state_build(&f.store, &f.head, 2);
	parse_ops(ops, &f.base.flat, &f.d);
	/* Only what the operations need. */
	mtree_free(&f.d.context);
	dir = parse_node("q/", path);
	(void)mtree_set(&f.d.context, "q", &dir);
	f.delta = delta_of(&f.store, &f.d,
	    (const struct state *const[]){ &f.base }, 1, &f.bytes, &f.len);
	f.in.store = &f.store.store;
	f.in.salt = test_salt;
	f.in.head_root = &f.head.root;
	f.in.commit_root = give_root;
	f.in.arg = &f;
	f.in.delta = f.delta;
	f.store.gets = 0;
	assert_int_equal(merge_apply(&f.in, &f.out), 0);
	gets = f.store.gets;
	assert_int_equal(f.out.overwritten, 0);
	assert_int_equal(f.out.puts, 2);
	assert_int_equal(f.out.deletes, 2);
	fix_end(&f);
	return gets;
}

static void
reads_what_differs(void **state)
{
	uint64_t few = cost(16), many = cost(8000);

	(void)state;
	printf("nodes read: %ju with 16 files, %ju with 8000\n", (uintmax_t)few,
	    (uintmax_t)many);
	assert_true(many <= few);
}

static void
prefix(void **state)
{
	const uint8_t *path;
	size_t len, i;
	struct fix f;
	uint8_t *at;

	(void)state;
	fix_begin(&f, "D/ D/a=1 D/x/", "", "tree D/x; put D/a=2; attr D/!");
	assert_null(merge_check_prefix(f.delta, "", 0, &path, &len));
	assert_null(merge_check_prefix(f.delta, "D", 1, &path, &len));
	assert_non_null(merge_check_prefix(f.delta, "D/x", 3, &path, &len));
	assert_non_null(merge_check_prefix(f.delta, "E", 1, &path, &len));
	/* The path of the tree of the last operation. */
	for (at = NULL, i = 0; i + 3 <= f.len; i++)
		if (memcmp(f.bytes + i, "D/x", 3) == 0)
			at = f.bytes + i;
	assert_non_null(at);
	*at = 'E';
	assert_non_null(merge_check_prefix(f.delta, "D", 1, &path, &len));
	assert_memory_equal(path, "E", 1);
	fix_end(&f);
	fix_begin(&f, "D/", "", "tree D");
	assert_non_null(merge_check_prefix(f.delta, "D", 1, &path, &len));
	fix_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row),
		cmocka_unit_test(unknown_commit),
		cmocka_unit_test(unknown_directory),
		cmocka_unit_test(below_a_brought_file),
		cmocka_unit_test(missing_node),
		cmocka_unit_test(report_is_bounded),
		cmocka_unit_test(fileids),
		cmocka_unit_test(reads_what_differs),
		cmocka_unit_test(prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
