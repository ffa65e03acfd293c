/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount: manifest with a mount of a small volume, whose nodes and rows are in
 * its database already.  For fuzzers of manifest.
 */
#ifndef REGRESS_FUZZ_MOUNT_H
#define REGRESS_FUZZ_MOUNT_H

#include "lib/commit.h"
#include "lib/tree.h"
#include "regress/fuzz/role.h"
#include "sailvold/db.h"
#include "sailvold/manifest.h"
#include "sailvold/record.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

static const uint8_t mount_id[16] = "fuzzed mount id";

static void
small_tree(struct db *db, struct entry *root, struct hash *head)
{
	static const uint8_t salt[TREE_SALT_LEN];
	struct entry fifo = { .type = ENTRY_FIFO, .mode = 0600, .fileid = 77 };
	struct tree_edit edit = { .name = "b", .len = 1, .entry = &fifo };
	struct commit c = { .number = 3 };
	struct node_store store;
	struct tree_sums sums;
	struct wbuf w;

	db_node_store(db, &store);
	memset(root, 0, sizeof(*root));
	root->type = ENTRY_DIR;
	root->mode = 0755;
	root->fileid = 5;
	if (tree_apply(&store, salt, NULL, &edit, 1, &root->root, &sums) == -1)
		abort();
	root->files = sums.files;
	c.root = *root;
	c.author = c.message = (const uint8_t *)"";
	wbuf_init(&w, 65536);
	commit_encode(&w, &c);
	hash_bytes(head, w.data, w.len);
	if (w.error || db_commit_put(db, head, w.data, w.len) == -1)
		abort();
	wbuf_free(&w);
}

static void
small_mount(void)
{
	static char path[] = "/mnt", volume[] = "v", org[] = "o", sub[] = "",
		    id[] = "vol_00000000000000000000000000000000";
	struct mount_row row = { .path = path,
		.volume_id = id,
		.volume = volume,
		.org = org,
		.subpath = sub,
		.base_number = 3,
		.next = 2 };
	struct entry root;
	struct obj o = { .ovl = OVL_ROOT,
		.links = 1,
		.entry = &root,
		.has_origin = 1 };
	struct db *db = db_open("/sailvold.db");

	if (db == NULL || db_begin(db) == -1)
		abort();
	small_tree(db, &root, &row.base);
	memcpy(row.id, mount_id, sizeof(row.id));
	o.origin_commit = row.base;
	o.origin_path = (uint8_t *)sub;
	if (db_mount_insert(db, &row) == -1 ||
	    db_obj_put(db, row.row, &o) == -1 || db_commit(db) == -1)
		abort();
	db_close(db);
}

static void
mount_configure(struct chan *parent_end)
{
	static const uint8_t config[28] = { 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 4, 0, 0, 0 };

	small_mount();
	if (chan_send(parent_end, IMSG_PARENT_MANIFEST_CONFIG, 0, -1, config,
		sizeof(config)) == -1)
		abort();
}

/* The mount is told to a manifest that comes up beside it. */
static void
mount_tell(void)
{
	static char sub[] = "", path[] = "/mnt";
	struct mount_req req = { .instance = 1,
		.flags = MOUNT_AGAIN,
		.volume = "v",
		.subpath = sub,
		.path = path };

	memcpy(req.mount, mount_id, sizeof(req.mount));
	if (mount_req_send(fars[0].chan, 1, &req) == -1)
		abort();
	role_pump();
	fuzz_check(mount_by_instance(1) != NULL);
}

static int
segment_file(uint64_t first)
{
	uint8_t header[SEGMENT_HEADER_LEN];
	struct segment_header h = { .first = first };

	memcpy(h.mount, mount_id, sizeof(h.mount));
	segment_header_encode(header, &h);
	return file_with(header, sizeof(header));
}

/* Its fuse says hello with an empty journal. */
static UNUSED void
mount_hello_said(void)
{
	static const uint8_t zero[8];
	uint8_t hello[25] = { 0 };
	struct far *f = far_of(ROLE_FUSE);

	memcpy(hello, mount_id, 16);
	hello[24] = 1;
	if (chan_send(f->chan, IMSG_FUSE_MANIFEST_SEGMENT, 0, segment_file(0),
		zero, sizeof(zero)) == -1 ||
	    chan_send(f->chan, IMSG_FUSE_MANIFEST_HELLO, 0, -1, hello,
		sizeof(hello)) == -1)
		abort();
	role_pump();
	fuzz_check(mount_by_instance(1)->started);
}

#endif
