/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * manifest_harness: what the tests of manifest's files share: a database in
 * memory, commits made of a few entries, a mount with a root, and records.
 * Included once by a test, after cmocka.h.
 */
#ifndef MANIFEST_HARNESS_H
#define MANIFEST_HARNESS_H

#include <errno.h>
#include <event.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "lib/tree.h"
#include "sailvold/manifest.h"

#define H_VOLUME_ID "vol_11111111111111111111111111111111"

struct db *manifest_db;
static struct event_base *h_base;
static struct mount h_mount;

struct event_base *
proc_base(void)
{
	return h_base;
}

/* Leaks of descriptors show as a number that does not come back. */
static inline int
h_count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 2048; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			n++;
	return n;
}

/* ---- entries and commits ------------------------------------------------------ */

static inline struct entry
h_entry(uint8_t type)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = type;
	e.mode = type == ENTRY_DIR ? 0755 : 0644;
	e.mtime.sec = e.ctime.sec = 1000;
	e.fileid = 77;
	if (type == ENTRY_FILE)
		e.chunk_shift = CHUNK_SHIFT_MIN;
	if (type == ENTRY_DIR)
		tree_empty_root(&e.root);
	if (type == ENTRY_SYMLINK) {
		e.target = (const uint8_t *)"target";
		e.target_len = 6;
	}
	return e;
}

static inline struct tree_edit
h_edit(const char *name, const struct entry *e)
{
	struct tree_edit t = { name, strlen(name), e };

	return t;
}

/* A directory of these names, which ascend. */
static inline struct entry
h_dir(const struct tree_edit *edits, size_t n)
{
	static const uint8_t salt[TREE_SALT_LEN];
	struct entry e = h_entry(ENTRY_DIR);
	struct node_store store;
	struct tree_sums sums;

	db_node_store(manifest_db, &store);
	assert_int_equal(tree_put_empty(&store), 0);
	assert_int_equal(tree_apply(&store, salt, NULL, edits, n, &e.root,
			     &sums),
	    0);
	e.files = sums.files;
	e.bytes = sums.bytes;
	return e;
}

static inline struct hash
h_commit_of(int volume, const struct entry *root, uint64_t number)
{
	struct commit c;
	struct hash id;
	struct wbuf w;

	memset(&c, 0, sizeof(c));
	memset(c.volume, volume, sizeof(c.volume));
	c.number = number;
	c.has_parent = number > 0;
	if (c.has_parent)
		memset(c.parent.b, 0x33, HASH_LEN);
	c.root = *root;
	c.author = c.message = (const uint8_t *)"x";
	c.author_len = c.message_len = 1;
	wbuf_init(&w, 65536);
	commit_encode(&w, &c);
	assert_int_equal(w.error, 0);
	hash_bytes(&id, w.data, w.len);
	assert_int_equal(db_commit_put(manifest_db, &id, w.data, w.len), 0);
	wbuf_free(&w);
	return id;
}

static inline struct hash
h_commit(const struct entry *root, uint64_t number)
{
	return h_commit_of(0x11, root, number);
}

/* ---- a mount --------------------------------------------------------------------- */

static inline void
h_open(void)
{
	log_init("test", 1, 0);
	h_base = event_init(); /* the current one: lib/chan.h */
	assert_non_null(h_base);
	manifest_db = db_open(":memory:");
	assert_non_null(manifest_db);
}

/* A row, and the root as the commit has it at the subpath. */
static inline void
h_mount_begin(const struct hash *base, const char *subpath,
    const struct entry *root)
{
	struct mount_row *r = &h_mount.row;
	struct entry copy = *root;
	struct obj o;

	memset(&h_mount, 0, sizeof(h_mount));
	TAILQ_INIT(&h_mount.waits);
	TAILQ_INIT(&h_mount.asks);
	TAILQ_INIT(&h_mount.jobs);
	h_mount.instance = 1;
	memset(r->id, 0x22, sizeof(r->id));
	r->path = strdup("/mnt/x");
	r->volume_id = strdup(H_VOLUME_ID);
	r->volume = strdup("x");
	r->org = strdup("o");
	r->subpath = strdup(subpath);
	r->base = *base;
	r->epoch = 1;
	r->next = OVL_ROOT + 1;
	assert_int_equal(db_mount_insert(manifest_db, r), 0);
	memset(&o, 0, sizeof(o));
	o.ovl = OVL_ROOT;
	o.links = 1;
	o.entry = &copy;
	o.has_origin = 1;
	o.origin_commit = *base;
	o.origin_path = (uint8_t *)r->subpath;
	o.origin_path_len = strlen(subpath);
	assert_int_equal(db_obj_put(manifest_db, r->row, &o), 0);
}

static inline void
h_close(void)
{
	mount_row_free(&h_mount.row);
	db_close(manifest_db);
	manifest_db = NULL;
	event_base_free(h_base);
}

/* ---- records ----------------------------------------------------------------------- */

static inline struct record
h_record(uint8_t type)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = type;
	r.time.sec = 2000;
	return r;
}

static inline struct record
h_alloc(uint64_t next)
{
	struct record r = h_record(RECORD_ALLOC);

	r.next = next;
	return r;
}

static inline struct record
h_named(uint8_t type, uint64_t parent, const char *name, uint64_t ovl)
{
	struct record r = h_record(type);

	r.parent = parent;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.ovl = ovl;
	return r;
}

static inline struct record
h_make(uint64_t parent, const char *name, uint64_t ovl, uint8_t type)
{
	struct record r = h_named(RECORD_MAKE, parent, name, ovl);

	r.entry = h_entry(type == ENTRY_SOCKET ? ENTRY_FIFO : type);
	r.entry.type = type;
	return r;
}

static inline struct record
h_copyup(uint64_t parent, const char *name, uint64_t ovl, const struct entry *e,
    const struct hash *commit, const char *path)
{
	struct record r = h_named(RECORD_COPYUP, parent, name, ovl);

	r.entry = *e;
	r.origin_commit = *commit;
	r.origin_path = (const uint8_t *)path;
	r.origin_path_len = strlen(path);
	return r;
}

static inline struct record
h_rename(uint64_t parent, const char *name, uint64_t parent2, const char *name2,
    uint32_t flags)
{
	struct record r = h_named(RECORD_RENAME, parent, name, 0);

	r.parent2 = parent2;
	r.name2 = (const uint8_t *)name2;
	r.name2_len = strlen(name2);
	r.flags = flags;
	return r;
}

static inline struct record
h_of(uint8_t type, uint64_t ovl)
{
	struct record r = h_record(type);

	r.ovl = ovl;
	return r;
}

#endif
