/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: whatever is changed in a mount, the delta that is made of it gives the
 * server exactly what the mount shows, overwrites nothing, and after it was
 * published, rebased or left out in part, the next delta does so again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "regress/unit/delta_ops.h"
#include "regress/unit/seed.h"
#include "regress/unit/sailvold/model_tree.h"
#include "sailvold/delta_names.h"
#include "sailvold/rebase.h"

#include "regress/unit/sailvold/merge_all.h"
#include "regress/unit/sailvold/model_lines.h"

/* ---- commits --------------------------------------------------------------------------- */

static const uint8_t salt[TREE_SALT_LEN];
static struct hash head; /* of the volume */
static struct entry *head_root;
static uint64_t head_number;

static void
commit_new(const struct entry *root)
{
	struct commit c;
	struct wbuf w;
	struct hash id;

	memset(&c, 0, sizeof(c));
	c.has_parent = head_number > 0;
	c.parent = head;
	c.number = head_number++;
	c.root = *root;
	c.time = now();
	c.author = c.message = (const uint8_t *)"";
	wbuf_init(&w, 65536);
	commit_encode(&w, &c);
	assert_int_equal(w.error, 0);
	hash_bytes(&id, w.data, w.len);
	assert_int_equal(db_commit_put(manifest_db, &id, w.data, w.len), 0);
	wbuf_free(&w);
	head = id;
	struct entry *copy = entry_dup(root);

	free(head_root);
	head_root = copy;
}

static void
base_entry(struct entry *e, uint8_t type)
{
	memset(e, 0, sizeof(*e));
	e->type = type;
	e->mode = 0755;
	e->mtime = e->ctime = now();
	e->fileid = 10 + model_rand(1u << 30);
}

static void
make_tree(struct entry *dir, int depth, int forced)
{
	struct tree_edit edits[6];
	struct entry e[6];
	struct wbuf w[6];
	struct node_store store;
	struct tree_sums sums;
	size_t i, n = 0, k;

	db_node_store(manifest_db, &store);
	static const char *const sorted[] = { "a", "b", "c", "d", "e", "e.x" };

	for (i = 0; i < 6; i++) {
		wbuf_init(&w[i], 4096);
		if (!(forced && i == 0) && model_rand(5) < 2)
			continue;
		k = n++;
		if ((forced && i == 0) || (depth < 3 && model_rand(2) == 0)) {
			base_entry(&e[k], ENTRY_DIR);
			make_tree(&e[k], depth + 1,
			    forced > 0 ? forced - 1 : 0);
		} else {
			base_entry(&e[k], ENTRY_FILE);
			set_content(&e[k], model_rand(6), &w[i]);
		}
		edits[k].name = sorted[i];
		edits[k].len = strlen(sorted[i]);
		edits[k].entry = &e[k];
	}
	assert_int_equal(tree_apply(&store, salt, NULL, edits, n, &dir->root,
			     &sums),
	    0);
	dir->files = sums.files;
	dir->bytes = sums.bytes;
	for (i = 0; i < 6; i++)
		wbuf_free(&w[i]);
}

#define FOREIGN_MAX 100000
static unsigned int foreign_files;
static char foreign_known[FOREIGN_MAX]; /* the mount had it in a base */

/* Somebody else makes a file F... in a random directory of the head. */
static void
foreign_in(struct entry *dir, int depth)
{
	struct node_store store;
	struct tree_iter *it;
	struct tree_edit edit;
	struct tree_sums sums;
	struct entry e, *pick = NULL;
	const uint8_t *name;
	char text[16], found[16];
	struct wbuf w;
	size_t len, found_len = 0;
	unsigned int seen = 0;

	db_node_store(manifest_db, &store);
	it = tree_iter_begin(&store, &dir->root, "", 0, 0);
	while (tree_iter_next(it, &name, &len, &e) == 1)
		if (e.type == ENTRY_DIR && model_rand(++seen) == 0) {
			free(pick);
			pick = entry_dup(&e);
			memcpy(found, name, len);
			found_len = len;
		}
	tree_iter_end(it);
	wbuf_init(&w, 4096);
	if (pick != NULL && depth < 4 && model_rand(4) != 0) {
		foreign_in(pick, depth + 1);
		edit.name = found;
		edit.len = found_len;
		edit.entry = pick;
	} else {
		snprintf(text, sizeof(text), "F%u",
		    ++foreign_files % FOREIGN_MAX);
		foreign_known[foreign_files % FOREIGN_MAX] = 0;
		base_entry(&e, ENTRY_FILE);
		set_content(&e, 1 + model_rand(5), &w);
		edit.name = text;
		edit.len = strlen(text);
		edit.entry = &e;
	}
	assert_int_equal(tree_apply(&store, salt, &dir->root, &edit, 1,
			     &dir->root, &sums),
	    0);
	dir->files = sums.files;
	dir->bytes = sums.bytes;
	wbuf_free(&w);
	free(pick);
}

static void
trace(const char *what)
{
	if (getenv("TRACE") != NULL)
		print_message("%s\n", what);
}

static void
foreign_commit(void)
{
	struct entry e = *head_root;

	foreign_in(&e, 0);
	commit_new(&e);
}

static int
root_of_commit(void *arg, const struct hash *id, struct entry *root,
    struct blob **keep)
{
	(void)arg;
	return nodes_commit_root(id, root, keep);
}

/* ---- one commit of the mount ------------------------------------------------------------ */

static int left_any; /* something was left dirty: views need not be equal */

static void
collect(struct model *md, struct delta_set *set)
{
	struct node_miss miss;
	size_t i;

	memset(&miss, 0, sizeof(miss));
	md->m.row.flags |= ROW_SEEN;
	if (delta_collect(manifest_db, &md->m.row, set, &miss, 0, 0, NULL,
		NULL) == -1)
		fail_msg("collect: %s", strerror(errno));
	left_any = 0;
	for (i = 0; i < set->n; i++) {
		struct delta_item *it = &set->items[i];

		if (it->hash == HASH_KNOWN)
			continue;
		if (model_rand(40) == 0) {
			delta_item_leave(it);
			if (getenv("TRACE") != NULL)
				print_message("left %s\n", it->path);
			left_any = 1;
			continue;
		}
		assert_int_equal(delta_item_hashed(it,
				     model_chunks(md->content[it->ovl])),
		    0);
		it->hashed_ctime = it->hash_began = now();
		it->writers = model_rand(5) == 0;
	}
}

static void
print_op(const struct delta_op *op)
{
	uint32_t i;

	print_error("  op %u %.*s seen %d%s%s\n", op->kind, (int)op->len,
	    (const char *)op->path, op->seen.present, op->has_ref ? " ref" : "",
	    op->has_tree ? " tree" : "");
	if (op->has_ref)
		print_error("     ref %u:%.*s\n", op->ref.commit,
		    (int)op->ref.len, (const char *)op->ref.path);
	for (i = 0; i < op->nref_except; i++)
		print_error("     not %.*s\n", (int)op->ref_except[i].len,
		    (const char *)op->ref_except[i].path);
	if (op->has_tree)
		print_error("     tree %u:%.*s\n", op->tree.commit,
		    (int)op->tree.len, (const char *)op->tree.path);
	for (i = 0; i < op->ntree_except; i++)
		print_error("     except %.*s %d\n",
		    (int)op->tree_except[i].len,
		    (const char *)op->tree_except[i].path,
		    op->tree_except[i].seen.present);
}

static void
print_ops(const struct delta *d)
{
	struct delta_op *ops = delta_ops(d);
	uint32_t i;

	for (i = 0; i < d->nops; i++)
		print_op(&ops[i]);
	delta_ops_free(d, ops);
}

static void
bad(const char *what, const uint8_t *path, size_t len, const struct delta *d)
{
	if (d != NULL)
		print_ops(d);
	fail_msg("%s: %.*s", what, (int)len, (const char *)path);
}

static int
is_foreign(const uint8_t *path, size_t len)
{
	size_t base;
	const char *b = path_base((const char *)path, len, &base);

	return base > 0 && b[0] == 'F';
}

static unsigned int
foreign_number(const uint8_t *path, size_t len)
{
	size_t base;
	const char *b = path_base((const char *)path, len, &base);

	return (unsigned int)strtoul(b + 1, NULL, 10) % FOREIGN_MAX;
}

/* What the mount showed is in the result; and what else is there, others
   made. */
static void
compare(struct model *md, const struct lines *view, const struct lines *result,
    const struct delta *d)
{
	const char *sub = md->m.row.subpath;
	const struct line *l;
	size_t i, k;
	int foreign;

	for (i = 0; i < view->n; i++) {
		l = find_line(result, view->v[i].path, view->v[i].len);
		if (l == NULL)
			bad("shown, and not there", view->v[i].path,
			    view->v[i].len, d);
		else if (!seen_equal(&l->seen, &view->v[i].seen))
			bad("shown with other content or attributes", l->path,
			    l->len, d);
	}
	for (i = 0; i < result->n; i++) {
		l = &result->v[i];
		if (!path_is_below(l->path, l->len, sub, strlen(sub)) ||
		    find_line(view, l->path, l->len) != NULL)
			continue;
		foreign = is_foreign(l->path, l->len);
		for (k = i + 1; k < result->n && !foreign &&
		     path_is_below(result->v[k].path, result->v[k].len, l->path,
			 l->len);
		     k++)
			foreign =
			    is_foreign(result->v[k].path, result->v[k].len);
		if (!foreign)
			bad("not shown, and there", l->path, l->len, d);
	}
}

/* Files of others that this mount never saw are still there, where no file
   took the place of a directory above them. */
static void
foreign_stay(const struct lines *before, const struct lines *view,
    const struct lines *result, const struct merge_out *out,
    const struct delta *d)
{
	const struct line *l, *up;
	size_t i, k, len;
	int may;

	for (i = 0; i < before->n; i++) {
		l = &before->v[i];
		if (!is_foreign(l->path, l->len) ||
		    find_line(result, l->path, l->len) != NULL)
			continue;
		may = foreign_known[foreign_number(l->path, l->len)];
		for (len = l->len; len > 0;) {
			len = path_parent(l->path, len);
			up = find_line(view, l->path, len);
			if (up != NULL && !up->seen.is_dir)
				may = 1;
		}
		if (!may)
			bad("lost of others", l->path, l->len, d);
	}
	/* Only directories that others keep in being, or their files. */
	for (k = 0; k < out->npaths; k++) {
		for (i = 0, may = 0; i < before->n && !may; i++)
			may = is_foreign(before->v[i].path, before->v[i].len) &&
			    path_is_below(before->v[i].path, before->v[i].len,
				out->paths[k].path, out->paths[k].len);
		if (!may)
			bad("overwritten", out->paths[k].path,
			    out->paths[k].len, d);
	}
}

static struct delta *
written(const struct delta_set *set, uint8_t **mem)
{
	const char *why;
	struct node_miss miss;
	struct delta *d;
	FILE *f = tmpfile();
	long len;

	memset(&miss, 0, sizeof(miss));
	assert_non_null(f);
	if (delta_set_write(set, fileno(f), &miss) == -1)
		fail_msg("writing: %s", strerror(errno));
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	rewind(f);
	*mem = malloc((size_t)len + 1);
	assert_int_equal(fread(*mem, 1, (size_t)len, f), len);
	fclose(f);
	if ((d = delta_decode(*mem, (size_t)len, &why)) == NULL) {
		size_t i;

		for (i = 0; i < set->n; i++)
			if (set->items[i].kind != 0)
				print_error("  item %u %s\n",
				    set->items[i].kind, set->items[i].path);
		fail_msg("delta: %s", why);
	}
	return d;
}

static void
record_published(struct model *md, const struct delta_set *set)
{
	assert_int_equal(db_begin(manifest_db), 0);
	assert_int_equal(delta_set_published(manifest_db, &md->m.row, set), 0);
	md->m.row.has_last = 1;
	md->m.row.last = head;
	assert_int_equal(db_mount_update(manifest_db, &md->m.row), 0);
	assert_int_equal(db_commit(manifest_db), 0);
}

static void
mount_commit(struct model *md)
{
	struct lines view, result, before;
	struct node_store store;
	struct merge_out out;
	struct merge_in in;
	struct delta_set set;
	struct delta *d;
	uint8_t *mem;
	unsigned int i;

	collect(md, &set);
	trace("-- commit");
	lines_of_mount(md, &view);
	for (i = model_rand(3); i > 0 && model_rand(3) == 0; i--)
		model_change(md);
	d = written(&set, &mem);
	db_node_store(manifest_db, &store);
	memset(&in, 0, sizeof(in));
	in.store = &store;
	in.salt = salt;
	in.head_root = head_root;
	in.commit_root = root_of_commit;
	in.delta = d;
	in.max_report = 10;
	if (merge_apply(&in, &out) == -1)
		bad(out.why, out.why_path, out.why_path_len, d);
	lines_of_entry(&out.root, &result);
	lines_of_entry(head_root, &before);
	for (size_t k = 0; k < out.npaths && getenv("VERBOSE") != NULL; k++)
		print_message("overwritten: %s\n", out.paths[k].path);
	if (!left_any) {
		compare(md, &view, &result, d);
		foreign_stay(&before, &view, &result, &out, d);
	}
	if (getenv("TRACE") != NULL)
		print_ops(d);
	if (out.changed)
		commit_new(&out.root);
	record_published(md, &set);
	merge_out_free(&out);
	delta_free(d);
	delta_set_free(&set);
	free(mem);
	lines_free(&view);
	lines_free(&result);
	lines_free(&before);
}

static void
mount_reload(struct model *md, int keep)
{
	struct rebase_gone gone;
	struct node_miss miss;
	struct lines view, base;
	size_t i;
	int rc;

	memset(&miss, 0, sizeof(miss));
	trace(keep ? "-- keep" : "-- reload");
	assert_int_equal(db_begin(manifest_db), 0);
	if (keep)
		rc = rebase_keep(manifest_db, &md->m.row, &head, head_number, 0,
		    0, &gone, &miss);
	else
		rc = rebase_drop(manifest_db, &md->m.row, &head, head_number,
		    &gone, &miss);
	if (rc == -1)
		fail_msg("reload: %s", strerror(errno));
	assert_int_equal(db_commit(manifest_db), 0);
	free(gone.ovls);
	wbuf_free(&gone.origins);
	json_decref(gone.sockets);
	model_free(md->root);
	md->root = NULL;
	model_load(md);
	lines_of_entry(head_root, &base);
	for (i = 0; i < base.n; i++)
		if (is_foreign(base.v[i].path, base.v[i].len))
			foreign_known[foreign_number(base.v[i].path,
			    base.v[i].len)] = 1;
	if (keep) {
		lines_free(&base);
		return;
	}
	lines_of_mount(md, &view);
	compare(md, &view, &base, NULL);
	lines_free(&view);
	lines_free(&base);
}

/* Attributes of what the new base does not have are not kept. */
static int
attr_is_moot(const struct delta_item *it)
{
	struct blob *keep;
	struct entry e;
	size_t depth;
	int moot;

	if (it->kind != DELTA_ATTR)
		return 0;
	if (nodes_lookup(&head, it->path, it->len, &e, &keep, &depth) == -1)
		return 1;
	moot = e.type != it->entry->type;
	blob_unref(keep);
	return moot;
}

/* What is kept is in view: the delta that was made before gives the same. */
static void
mount_reload_keep(struct model *md)
{
	struct lines before, after;
	struct delta_set set;
	size_t i;

	collect(md, &set);
	lines_of_mount(md, &before);
	mount_reload(md, 1);
	lines_of_mount(md, &after);
	for (i = 0; i < set.n; i++) {
		const struct delta_item *it = &set.items[i];
		const struct line *x = find_line(&before, it->path, it->len);
		const struct line *y = find_line(&after, it->path, it->len);

		if (it->kind == 0 || attr_is_moot(it))
			continue;
		if ((x == NULL) != (y == NULL) ||
		    (x != NULL && !seen_equal(&x->seen, &y->seen)))
			bad("not kept", it->path, it->len, NULL);
	}
	delta_set_free(&set);
	lines_free(&before);
	lines_free(&after);
}

/* ---- the test ------------------------------------------------------------------------------ */

static void
mount_new_model(struct model *md)
{
	static unsigned int serial;
	struct entry e, *root;
	struct blob *keep;
	struct record r;
	struct obj o;
	size_t depth;

	memset(md, 0, sizeof(*md));
	base_entry(&e, ENTRY_DIR);
	make_tree(&e, 0, 2);
	head_number = 0;
	commit_new(&e);
	serial++;
	memcpy(md->m.row.id, &serial, sizeof(serial));
	md->m.row.path = strdup("/mnt");
	md->m.row.volume_id = strdup("vol_1");
	md->m.row.volume = strdup("v");
	md->m.row.org = strdup("o");
	md->m.row.subpath = strdup(model_rand(4) == 0 ? "a/a"
		: model_rand(4) == 0                  ? "a"
						      : "");
	md->m.row.base = head;
	md->m.row.next = 2;
	assert_int_equal(db_mount_insert(manifest_db, &md->m.row), 0);
	assert_int_equal(nodes_lookup(&head, md->m.row.subpath,
			     strlen(md->m.row.subpath), &e, &keep, &depth),
	    0);
	root = entry_dup(&e);
	blob_unref(keep);
	memset(&o, 0, sizeof(o));
	o.ovl = OVL_ROOT;
	o.links = 1;
	o.entry = root;
	o.has_origin = 1;
	o.origin_commit = head;
	o.origin_path = (uint8_t *)md->m.row.subpath;
	o.origin_path_len = strlen(md->m.row.subpath);
	assert_int_equal(db_obj_put(manifest_db, md->m.row.row, &o), 0);
	free(root);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	r.next = 4096;
	md->next_ovl = 2;
	put(md, &r);
	model_load(md);
}

static void
scenario(unsigned int *rounds)
{
	struct model md;
	unsigned int i, k;

	mount_new_model(&md);
	for (i = 0; i < 12 && md.next_ovl < 3500; i++, (*rounds)++) {
		for (k = 1 + model_rand(10); k > 0; k--)
			model_change(&md);
		if (model_rand(8) == 0)
			model_check(&md);
		if (model_rand(3) == 0)
			foreign_commit();
		switch (model_rand(6)) {
		case 0:
			mount_reload(&md, 0);
			break;
		case 1:
			mount_reload_keep(&md);
			break;
		case 2:
			break;
		default:
			mount_commit(&md);
			break;
		}
	}
	mount_commit(&md);
	model_free(md.root);
	assert_int_equal(db_mount_delete(manifest_db, md.m.row.row), 0);
	mount_row_free(&md.m.row);
}

static void
random_changes(void **state)
{
	const char *count = getenv("ROUNDS");
	uint64_t seed = seeded();
	unsigned int rounds = 0,
		     want = count != NULL
	    ? (unsigned int)strtoul(count, NULL, 10)
	    : 20000,
		     n = 0;

	(void)state;
	manifest_db = db_open(":memory:");
	assert_non_null(manifest_db);
	while (rounds < want) {
		if (++n % 500 == 0) { /* old nodes are only ballast */
			db_close(manifest_db);
			manifest_db = db_open(":memory:");
		}
		rand_state = seed * 2654435761u + 88172645463325252ull + n;
		delta_page = 1 + n % 4;
		if (getenv("ONLY") != NULL &&
		    strtoul(getenv("ONLY"), NULL, 10) != n) {
			rounds += 12;
			continue;
		}
		if (getenv("VERBOSE") != NULL)
			print_message("ONLY=%u\n", n);
		scenario(&rounds);
	}
	db_close(manifest_db);
	free(head_root);
	head_root = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
