/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_tree: commits of a volume, and entries by path in their trees.  In
 * meta.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"

struct blob *
meta_commit_load(const struct db_volume *v, const struct hash *hash,
    struct commit *c)
{
	struct blob *b;
	const char *why;

	if ((b = db_commit_get(meta_db(), v->id, hash)) == NULL)
		return NULL;
	if ((why = commit_decode(b->data, b->len, c)) == NULL)
		return b;
	log_warnx("volume %s: a commit in the database: %s", v->name, why);
	blob_unref(b);
	errno = EIO;
	return NULL;
}

static int
find_failed(const struct hash *missing)
{
	char hex[HASH_HEX_LEN + 1];

	if (errno == ENODATA) {
		hash_hex(missing, hex);
		log_warnx("database: node %s is missing", hex);
		errno = EIO;
	} else if (errno == EBADMSG) {
		log_warnx("database: a node is damaged");
		errno = EIO;
	}
	return -1;
}

int
meta_find(const struct node_store *store, const struct entry *root,
    const uint8_t *path, size_t len, struct entry *e, struct blob **keep)
{
	const uint8_t *end = path + len, *next;
	struct blob *blob;
	struct hash missing, dir;
	size_t n;
	int r;

	*keep = NULL;
	*e = *root;
	while (path < end) {
		if (e->type != ENTRY_DIR) {
			blob_unref(*keep);
			*keep = NULL;
			errno = ENOENT;
			return -1;
		}
		next = memchr(path, '/', (size_t)(end - path));
		n = (size_t)((next == NULL ? end : next) - path);
		dir = e->root;
		r = tree_lookup(store, &dir, path, n, e, &blob, &missing);
		blob_unref(*keep);
		*keep = NULL;
		if (r == -1)
			return find_failed(&missing);
		*keep = blob;
		path += n;
		if (path < end)
			path++;
	}
	return 0;
}
