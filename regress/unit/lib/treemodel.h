/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * treemodel: a directory as a sorted array of names with versions, edits of it,
 * and its nodes made by the rule of sailvol-format(5) without thought of speed.
 */
#ifndef REGRESS_TREEMODEL_H
#define REGRESS_TREEMODEL_H

#include "lib/path.h"
#include "lib/tree.h"
#include "regress/unit/lib/memstore.h"

/* The sanitizers' build is slower: fewer rounds of the same. */
#if defined(__SANITIZE_ADDRESS__)
#define ROUNDS(n) ((n) / 4)
#define MANY 100000
#else
#define ROUNDS(n) (n)
#define MANY 1000000
#endif

static const uint8_t salt[TREE_SALT_LEN] = "the salt of a family";

/* The pool of names of a test, sorted, and which version of each is there. */
enum flavour { PLAIN, ALL_CUT, NEVER_CUT, LONG, HUGE, FLAVOURS };
struct model {
	enum flavour flavour;
	size_t n;
	char (*name)[SAIL_NAME_MAX + 1];
	uint32_t *version; /* 0: not there */
};

static int
cut_at_leaves(const char *name)
{
	uint8_t buf[TREE_SALT_LEN + SAIL_NAME_MAX];
	size_t len = strlen(name);
	struct hash h;

	memcpy(buf, salt, TREE_SALT_LEN);
	memcpy(buf + TREE_SALT_LEN, name, len);
	hash_bytes(&h, buf, TREE_SALT_LEN + len);
	return (h.b[0] == 0);
}

static int
name_order(const void *a, const void *b)
{
	return (strcmp(a, b));
}

static void
model_init(struct model *m, enum flavour flavour, size_t n)
{
	size_t i, j, len;

	m->flavour = flavour;
	m->n = 0;
	m->name = calloc(n, sizeof(*m->name));
	m->version = calloc(n, sizeof(*m->version));
	for (i = 0; i < n; i++) {
		do {
			len = flavour == HUGE ? 240 + rnd(16)
			    : flavour == LONG ? 150 + rnd(106)
					      : 7 + rnd(14);
			for (j = 0; j < len; j++)
				m->name[i][j] = (char)('a' + rnd(26));
			m->name[i][len] = '\0';
		} while ((flavour == ALL_CUT && !cut_at_leaves(m->name[i])) ||
		    (flavour == NEVER_CUT && cut_at_leaves(m->name[i])));
	}
	qsort(m->name, n, sizeof(*m->name), name_order);
	for (i = 0; i < n; i++) {
		if (m->n == 0 || strcmp(m->name[m->n - 1], m->name[i]) != 0)
			memmove(m->name[m->n++], m->name[i], sizeof(*m->name));
	}
}

static void
model_free(struct model *m)
{
	free(m->name);
	free(m->version);
}

static uint8_t target[4096], chunk[4 + HASH_LEN] = { 3, [4] = 1 };

/* The entry of a name in a version. */
static void
make_entry(struct entry *e, const struct model *m, size_t i, uint32_t version)
{
	static const uint8_t xattr[] = "\x06user.a\x01\x00x";
	uint32_t v = (uint32_t)i * 2654435761u + version;

	memset(e, 0, sizeof(*e));
	e->type = ENTRY_FILE;
	e->mode = 0644;
	e->uid = version;
	e->mtime.sec = version;
	e->fileid = 2 + v;
	e->chunk_shift = CHUNK_SHIFT_MIN;
	switch (m->flavour == HUGE ? 1 : v % (m->flavour == LONG ? 8 : 16)) {
	case 0:
		e->type = ENTRY_DIR;
		hash_bytes(&e->root, &v, sizeof(v));
		e->files = 10;
		e->bytes = v;
		break;
	case 1:
		e->type = ENTRY_SYMLINK;
		memset(target, 't', sizeof(target));
		e->target = target;
		e->target_len = m->flavour == HUGE ? 2000 + v % 2096
		    : m->flavour == LONG           ? 1 + v % 4000
						   : 20;
		break;
	case 2:
		e->xattrs = xattr;
		e->xattrs_len = sizeof(xattr) - 1;
		break;
	default:
		e->size = 1 + v % 4096;
		e->chunks = chunk;
		e->chunks_len = sizeof(chunk);
	}
}

struct batch {
	struct tree_edit *v;
	struct entry *e;
	size_t n;
};

static void
batch_init(struct batch *b, size_t cap)
{
	b->v = calloc(cap, sizeof(*b->v));
	b->e = calloc(cap, sizeof(*b->e));
	b->n = 0;
}

static void
batch_free(struct batch *b)
{
	free(b->v);
	free(b->e);
}

static void
batch_add(struct batch *b, const struct model *m, size_t i, uint32_t version)
{
	struct tree_edit *t = &b->v[b->n];

	t->name = m->name[i];
	t->len = strlen(m->name[i]);
	t->entry = NULL;
	if (version != 0) {
		make_entry(&b->e[b->n], m, i, version);
		t->entry = &b->e[b->n];
	}
	b->n++;
}

static void
apply(struct memstore *s, struct hash *root, const struct batch *b,
    struct tree_sums *sums)
{
	assert_int_equal(tree_apply(&s->store, salt, root, b->v, b->n, root,
			     sums),
	    0);
}

/*
 * The rule as the manual says it, with no thought of speed: the root of
 * the model.
 */
struct ref_node {
	struct node_child c;
	uint8_t name[SAIL_NAME_MAX];
};

static int
ref_cut(const uint8_t *name, size_t len, unsigned int level)
{
	uint8_t buf[TREE_SALT_LEN + SAIL_NAME_MAX];
	struct hash h;

	memcpy(buf, salt, TREE_SALT_LEN);
	memcpy(buf + TREE_SALT_LEN, name, len);
	hash_bytes(&h, buf, TREE_SALT_LEN + len);
	return (h.b[level] == 0);
}

/* One level; in: NULL at the leaves.  Gives the number of its nodes. */
static size_t
ref_level(const struct model *m, const struct ref_node *in, size_t n,
    unsigned int level, struct ref_node *out)
{
	struct ref_node *o = out;
	struct wbuf w, item;
	struct entry e;
	uint32_t count = 0;
	size_t i, len;
	const uint8_t *name;

	wbuf_init(&w, NODE_MAX_BYTES);
	for (i = 0; i <= n; i++) {
		wbuf_init(&item, NODE_MAX_BYTES);
		name = NULL;
		if (i < n && in == NULL && m->version[i] != 0) {
			name = (const uint8_t *)m->name[i];
			len = strlen(m->name[i]);
			make_entry(&e, m, i, m->version[i]);
			node_leaf_add(&item, name, len, &e);
		} else if (i < n && in != NULL) {
			name = in[i].name;
			len = in[i].c.last_len;
			node_index_add(&item, &in[i].c);
		} else if (i < n)
			continue;
		if (count > 0 &&
		    (i == n || count == 1024 ||
			w.len - 12 + item.len > 128 * 1024 ||
			(count >= 64 &&
			    ref_cut(o->name, o->c.last_len, level)))) {
			if (in == NULL)
				node_leaf_end(&w, count);
			else
				node_index_end(&w, count);
			hash_bytes(&o->c.hash, w.data, w.len);
			o->c.last = o->name;
			o++;
			count = 0;
		}
		if (name == NULL) {
			wbuf_free(&item);
			continue;
		}
		if (count++ == 0) {
			w.len = 0;
			memset(&o->c, 0, sizeof(o->c));
			if (in == NULL)
				node_leaf_begin(&w);
			else
				node_index_begin(&w, (uint8_t)level);
		}
		wbuf_bytes(&w, item.data, item.len);
		memcpy(o->name, name, len);
		o->c.last_len = len;
		o->c.entries += in == NULL ? 1 : in[i].c.entries;
		if (in != NULL) {
			o->c.files += in[i].c.files;
			o->c.bytes += in[i].c.bytes;
		} else {
			o->c.files += e.type == ENTRY_DIR ? e.files : 1;
			o->c.bytes += e.type == ENTRY_DIR ? e.bytes : e.size;
		}
		wbuf_free(&item);
	}
	wbuf_free(&w);
	return ((size_t)(o - out));
}

static void
ref_root(const struct model *m, struct hash *root, struct tree_sums *s)
{
	struct ref_node *in, *out = calloc(m->n + 1, sizeof(*out));
	unsigned int level = 0;
	size_t n;

	memset(s, 0, sizeof(*s));
	n = ref_level(m, NULL, m->n, 0, out);
	while (n > 1) {
		in = out;
		out = calloc(n, sizeof(*out));
		n = ref_level(m, in, n, ++level, out);
		free(in);
	}
	if (n == 0)
		tree_empty_root(root);
	else {
		*root = out->c.hash;
		s->entries = out->c.entries;
		s->files = out->c.files;
		s->bytes = out->c.bytes;
	}
	free(out);
}

static void
assert_root(const struct model *m, const struct hash *root,
    const struct tree_sums *sums)
{
	struct tree_sums s;
	struct hash want;

	ref_root(m, &want, &s);
	assert_memory_equal(&want, root, sizeof(want));
	assert_memory_equal(&s, sums, sizeof(s));
}

#endif
