/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fake_rows: a small mount in manifest's database, and changes of it by
 * records.  Included after fake_mount.h, by one file of a test alone.
 */
#ifndef FAKE_ROWS_H
#define FAKE_ROWS_H

/* ---- the mount -------------------------------------------------------------------------- */

static void
put(struct record *r)
{
	const char *why;

	offset += 10;
	if (namespace_apply(manifest_db, &mnt.row, r, offset, &why) == -1)
		fail_msg("record %u: %s", r->type, why != NULL ? why : "error");
	mnt.row.applied = offset;
	assert_int_equal(db_mount_update(manifest_db, &mnt.row), 0);
}

static void
write_file(uint64_t ovl, const char *text)
{
	struct record r;

	assert_int_equal(ftruncate(files[ovl], 0), 0);
	assert_int_equal(pwrite(files[ovl], text, strlen(text), 0),
	    strlen(text));
	memset(&r, 0, sizeof(r));
	r.ovl = ovl;
	r.type = RECORD_DIRTY;
	put(&r);
	r.type = RECORD_SETTLE;
	r.entry.size = strlen(text);
	r.entry.mtime = r.entry.ctime = timens_now();
	put(&r);
}

static int
new_file(void)
{
	FILE *f = tmpfile();
	int fd = dup(fileno(f));

	fclose(f);
	return fd;
}

static void
make_file(uint64_t ovl, const char *name, const char *text)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_MAKE;
	r.parent = OVL_ROOT;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.ovl = ovl;
	r.entry.type = ENTRY_FILE;
	r.entry.mode = 0644;
	r.entry.fileid = 1000 + ovl;
	r.entry.mtime = r.entry.ctime = timens_now();
	r.entry.chunk_shift = CHUNK_SHIFT_MIN;
	put(&r);
	files[ovl] = new_file();
	write_file(ovl, text);
}

static void
remove_name(const char *name)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_REMOVE;
	r.parent = OVL_ROOT;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.time = timens_now();
	put(&r);
}

static void
base_tree(void)
{
	struct tree_edit edit;
	struct tree_sums sums;
	struct node_store store;
	struct entry root, e;

	db_node_store(manifest_db, &store);
	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FIFO;
	e.mode = 0600;
	e.fileid = 77;
	edit.name = "b";
	edit.len = 1;
	edit.entry = &e;
	memset(&root, 0, sizeof(root));
	root.type = ENTRY_DIR;
	root.mode = 0755;
	root.fileid = 5;
	assert_int_equal(tree_apply(&store, salt, NULL, &edit, 1, &root.root,
			     &sums),
	    0);
	root.files = sums.files;
	commit_new(&root);
}

static int
setup(void **state)
{
	struct record r;
	struct obj o;
	size_t i;

	(void)state;
	base = proc_base();
	manifest_db = db_open(":memory:");
	assert_non_null(manifest_db);
	memset(&mnt, 0, sizeof(mnt));
	TAILQ_INIT(&mnt.jobs);
	TAILQ_INIT(&mnt.waits);
	TAILQ_INIT(&mnt.asks);
	for (i = 0; i < FILES; i++) {
		files[i] = -1;
		writers[i] = 0;
	}
	head_number = 0;
	published_count = lost_answers = unavailable = posts = 0;
	changes_while_hashed = stale_uploads = hashes = uploads = 0;
	ntells = ntold = nsent = 0;
	switches = told_now = parked_now = refuse_next = let_go = 0;
	cache_puts = 0;
	published_key[0] = '\0';
	offset = 0;
	base_tree();
	mnt.instance = 1;
	mnt.started = 1;
	mnt.stores_show = 1;
	mnt.row.path = strdup("/mnt");
	mnt.row.volume_id = strdup("vol_00000000000000000000000000000000");
	mnt.row.volume = strdup("v");
	mnt.row.org = strdup("o");
	mnt.row.subpath = strdup("");
	mnt.row.base = head;
	mnt.row.next = 2;
	assert_int_equal(db_mount_insert(manifest_db, &mnt.row), 0);
	memset(&o, 0, sizeof(o));
	o.ovl = OVL_ROOT;
	o.links = 1;
	o.entry = head_root;
	o.has_origin = 1;
	o.origin_commit = head;
	o.origin_path = (uint8_t *)mnt.row.subpath;
	assert_int_equal(db_obj_put(manifest_db, mnt.row.row, &o), 0);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	r.next = FILES;
	put(&r);
	return 0;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	jobs_mount_gone(&mnt);
	drop_steps();
	for (i = 0; i < FILES; i++)
		if (files[i] != -1)
			close(files[i]);
	mount_row_free(&mnt.row);
	db_close(manifest_db);
	free(head_root);
	head_root = NULL;
	return 0;
}

#endif
