/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * place: directories of commits, looked at through the nodes that are here.
 * In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/shown.h"
#include "sailvold/place.h"

void *
mem_dup(const void *p, size_t len)
{
	uint8_t *copy;

	if ((copy = malloc(len + 1)) == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, p, len);
	copy[len] = '\0';
	return copy;
}

void
place_free(struct place *p)
{
	free(p->path);
	p->path = NULL;
}

int
place_copy(struct place *to, const struct place *from)
{
	*to = *from;
	to->path = mem_dup(from->path, from->len);
	return to->path == NULL ? -1 : 0;
}

int
miss_set(struct node_miss *miss, const struct hash *commit, const void *path,
    size_t len, const void *first, size_t first_len)
{
	node_miss_free(miss);
	miss->commit = *commit;
	miss->path_len = len;
	if ((miss->path = mem_dup(path, len)) == NULL)
		return -1;
	miss->first_len = first_len <= sizeof(miss->first) ? first_len : 0;
	if (miss->first_len > 0)
		memcpy(miss->first, first, miss->first_len);
	errno = ENODATA;
	return -1;
}

void
miss_shown(const struct node_miss *where, char *shown, size_t size)
{
	static const char cut[] = "...";
	size_t n = where->path_len;

	*shown = '\0';
	if (where->path == NULL || n > SAIL_PATH_MAX)
		return;
	if (!shown_encode(shown, size - strlen(cut), where->path, n, 0))
		strlcat(shown, cut, size);
}

int
place_open(struct place *p, const struct hash *commit, const void *path,
    size_t len, struct node_miss *miss)
{
	const uint8_t *b = path, *rest, *slash;
	struct blob *keep = NULL;
	struct entry e;
	size_t depth, at, n;

	memset(p, 0, sizeof(*p));
	if (nodes_lookup(commit, path, len, &e, &keep, &depth) == -1) {
		if (errno != ENODATA)
			return -1;
		at = depth == 0 ? 0 : depth + 1;
		if (at > len)
			at = len;
		rest = b + at;
		n = len - at;
		slash = n > 0 ? memchr(rest, '/', n) : NULL;
		return miss_set(miss, commit, path, depth, rest,
		    slash != NULL ? (size_t)(slash - rest) : n);
	}
	p->root = e.root;
	blob_unref(keep);
	if (e.type != ENTRY_DIR) {
		errno = ENOTDIR;
		return -1;
	}
	p->commit = *commit;
	p->len = len;
	return (p->path = mem_dup(path, len)) == NULL ? -1 : 0;
}

int
place_entry(const struct hash *commit, const void *path, size_t len,
    struct entry **out, struct node_miss *miss)
{
	struct blob *keep = NULL, *xattrs = NULL;
	struct node_store store;
	struct hash missing;
	struct place p;
	struct entry e;
	size_t depth;
	int rc = -1;

	/* This says what to ask for when a node is missing. */
	if (place_open(&p, commit, path, len, miss) == -1)
		return -1;
	place_free(&p);
	if (nodes_lookup(commit, path, len, &e, &keep, &depth) == -1)
		return -1;
	db_node_store(manifest_db, &store);
	if (node_xattrs_load(&store, &e, &xattrs, &missing) == 0)
		rc = (*out = entry_dup(&e)) == NULL ? -1 : 0;
	else if (errno == ENODATA)
		miss_set(miss, commit, path, len, "", 0);
	blob_unref(xattrs);
	blob_unref(keep);
	return rc;
}

int
place_child(const struct place *p, const void *name, size_t len,
    struct entry *e, struct blob **keep, struct node_miss *miss)
{
	struct node_store store;
	struct hash missing;

	*keep = NULL;
	db_node_store(manifest_db, &store);
	if (tree_lookup(&store, &p->root, name, len, e, keep, &missing) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	if (errno == ENODATA)
		return miss_set(miss, &p->commit, p->path, p->len, name, len);
	return -1;
}

int
place_down(const struct place *p, const void *name, size_t len,
    const struct entry *e, struct place *down)
{
	size_t n = p->len;

	memset(down, 0, sizeof(*down));
	down->commit = p->commit;
	down->root = e->root;
	if ((down->path = malloc(n + len + 2)) == NULL)
		return -1;
	if (n > 0) {
		memcpy(down->path, p->path, n);
		down->path[n++] = '/';
	}
	memcpy(down->path + n, name, len);
	down->len = n + len;
	down->path[down->len] = '\0';
	return 0;
}

int
place_same(const struct place *a, const struct place *b)
{
	return hash_cmp(&a->root, &b->root) == 0;
}

int
place_is(const struct place *p, const struct hash *commit, const void *path,
    size_t len)
{
	return hash_cmp(&p->commit, commit) == 0 && p->len == len &&
	    (len == 0 || memcmp(p->path, path, len) == 0);
}

struct diffing {
	tree_diff_cb f;
	void *arg;
	uint8_t last[SAIL_NAME_MAX];
	size_t len;
};

static int
diff_name(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct diffing *d = arg;

	if (len <= sizeof(d->last)) {
		memcpy(d->last, name, len);
		d->len = len;
	}
	return d->f(d->arg, name, len, a, b);
}

int
place_diff(const struct place *a, const struct place *b, unsigned int attempt,
    const void *from, size_t len, tree_diff_cb f, void *arg,
    struct node_miss *miss)
{
	struct diffing d = { f, arg, { 0 }, 0 };
	struct node_store store;
	const struct place *ask;

	if ((a == NULL && b == NULL) ||
	    (a != NULL && b != NULL && place_same(a, b)))
		return 0;
	db_node_store(manifest_db, &store);
	if (len > 0 && len <= sizeof(d.last)) {
		memcpy(d.last, from, len);
		d.len = len;
	}
	if (tree_diff_from(&store, a != NULL ? &a->root : NULL,
		b != NULL ? &b->root : NULL, from != NULL ? from : "", len,
		diff_name, &d) == 0)
		return 0;
	if (errno != ENODATA)
		return -1;
	ask = a == NULL ? b : b == NULL || (attempt & 1) == 0 ? a : b;
	return miss_set(miss, &ask->commit, ask->path, ask->len, d.last, d.len);
}

long
pathbuf_push(struct pathbuf *p, const void *name, size_t len)
{
	size_t before = p->len;

	if (before + len + 1 > SAIL_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (before > 0)
		p->b[p->len++] = '/';
	memcpy(p->b + p->len, name, len);
	p->len += len;
	return (long)before;
}

void
pathbuf_pop(struct pathbuf *p, long len)
{
	p->len = (size_t)len;
}
