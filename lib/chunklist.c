/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * chunklist: the chunks of one file, in memory and in its encodings,
 * sailvol-format(5), CHUNK LISTS.  Used by manifest, cache, meta and tools.
 */
#include "lib/chunklist.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/path.h"

/* Slots [start, start of the next run or filled), all holes or all hashes. */
struct run {
	uint64_t start;
	uint64_t first; /* index of the first slot's hash */
	int is_hash;
};

struct chunklist {
	uint64_t size, slots, filled;
	uint8_t shift;
	struct run *runs;
	size_t nruns, runs_cap;
	struct hash *hashes;
	size_t nhashes, hashes_cap;
};

int
chunk_shift_valid(uint8_t shift)
{
	return (shift == CHUNK_SHIFT_MIN || shift == CHUNK_SHIFT_MID ||
	    shift == CHUNK_SHIFT_MAX);
}

uint64_t
chunk_slots(uint64_t size, uint8_t shift)
{
	return ((size >> shift) + ((size & (((uint64_t)1 << shift) - 1)) != 0));
}

uint8_t
chunk_tree_level(uint64_t slots)
{
	uint8_t level = 0;

	for (; slots > NODE_CHUNK_FANOUT; level++)
		slots = (slots + NODE_CHUNK_FANOUT - 1) / NODE_CHUNK_FANOUT;
	return (level);
}

struct chunklist *
chunklist_new(uint64_t size, uint8_t shift)
{
	struct chunklist *c;

	if (size > SAIL_SIZE_MAX || !chunk_shift_valid(shift)) {
		errno = EINVAL;
		return (NULL);
	}
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return (NULL);
	c->size = size;
	c->shift = shift;
	c->slots = chunk_slots(size, shift);
	return (c);
}

void
chunklist_free(struct chunklist *c)
{
	if (c == NULL)
		return;
	free(c->runs);
	free(c->hashes);
	free(c);
}

uint64_t
chunklist_size(const struct chunklist *c)
{
	return (c->size);
}

uint8_t
chunklist_shift(const struct chunklist *c)
{
	return (c->shift);
}

uint64_t
chunklist_slots(const struct chunklist *c)
{
	return (c->slots);
}

uint64_t
chunklist_hashes(const struct chunklist *c)
{
	return (c->nhashes);
}

uint32_t
chunk_slot_bytes(uint64_t size, uint8_t shift, uint64_t slot)
{
	uint64_t n;

	if (slot >= chunk_slots(size, shift))
		return (0);
	n = size - (slot << shift);
	if (n > (uint64_t)1 << shift)
		n = (uint64_t)1 << shift;
	return ((uint32_t)n);
}

uint32_t
chunklist_slot_bytes(const struct chunklist *c, uint64_t slot)
{
	return (chunk_slot_bytes(c->size, c->shift, slot));
}

static int
begin_run(struct chunklist *c, int is_hash)
{
	struct run *r;
	size_t cap;

	if (c->nruns > 0 && c->runs[c->nruns - 1].is_hash == is_hash)
		return (0);
	if (c->nruns == c->runs_cap) {
		cap = c->runs_cap == 0 ? 4 : c->runs_cap * 2;
		if ((r = reallocarray(c->runs, cap, sizeof(*r))) == NULL)
			return (-1);
		c->runs = r;
		c->runs_cap = cap;
	}
	r = &c->runs[c->nruns++];
	r->start = c->filled;
	r->first = c->nhashes;
	r->is_hash = is_hash;
	return (0);
}

int
chunklist_add_hole(struct chunklist *c, uint64_t count)
{
	if (count > c->slots - c->filled) {
		errno = EINVAL;
		return (-1);
	}
	if (count == 0)
		return (0);
	if (begin_run(c, 0) == -1)
		return (-1);
	c->filled += count;
	return (0);
}

int
chunklist_add(struct chunklist *c, const struct hash *h)
{
	struct hash *p;
	size_t cap;

	if (c->filled == c->slots || hash_is_zero(h)) {
		errno = EINVAL;
		return (-1);
	}
	if (c->nhashes == c->hashes_cap) {
		cap = c->hashes_cap == 0 ? 8 : c->hashes_cap * 2;
		if ((p = reallocarray(c->hashes, cap, sizeof(*p))) == NULL)
			return (-1);
		c->hashes = p;
		c->hashes_cap = cap;
	}
	if (begin_run(c, 1) == -1)
		return (-1);
	c->hashes[c->nhashes++] = *h;
	c->filled++;
	return (0);
}

/* The run that slot, which is filled, lies in. */
static size_t
find_run(const struct chunklist *c, uint64_t slot)
{
	size_t lo = 0, hi = c->nruns, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (c->runs[mid].start <= slot)
			lo = mid;
		else
			hi = mid;
	}
	return (lo);
}

int
chunklist_get(const struct chunklist *c, uint64_t slot, struct hash *h)
{
	const struct run *r;

	if (slot >= c->filled) {
		errno = ERANGE;
		return (-1);
	}
	r = &c->runs[find_run(c, slot)];
	if (!r->is_hash)
		return (0);
	*h = c->hashes[r->first + (slot - r->start)];
	return (1);
}

int
chunklist_next(const struct chunklist *c, uint64_t slot, uint64_t *found,
    struct hash *h)
{
	size_t i;

	if (slot >= c->filled)
		return (0);
	i = find_run(c, slot);
	if (!c->runs[i].is_hash) {
		if (++i == c->nruns)
			return (0);
		slot = c->runs[i].start;
	}
	*found = slot;
	*h = c->hashes[c->runs[i].first + (slot - c->runs[i].start)];
	return (1);
}

/*
 * A sequence of slots: runs (u32: length * 2, and 1 of hashes) that cover them
 * exactly, of kinds that alternate; then the hashes.
 */
static void
encode_slots(struct wbuf *w, const struct chunklist *c)
{
	uint64_t end;
	size_t i;

	if (c->filled != c->slots) {
		if (w->error == 0)
			w->error = EINVAL;
		return;
	}
	for (i = 0; i < c->nruns; i++) {
		end = i + 1 < c->nruns ? c->runs[i + 1].start : c->filled;
		wbuf_u32(w,
		    (uint32_t)((end - c->runs[i].start) << 1 |
			(unsigned int)c->runs[i].is_hash));
	}
	for (i = 0; i < c->nhashes; i++)
		wbuf_hash(w, &c->hashes[i]);
}

/* Reads the runs of that many slots; r is at the first hash afterwards. */
static void
read_runs(struct rbuf *r, uint64_t slots, uint64_t *nhashes)
{
	uint64_t left = slots, n;
	uint32_t run;
	int kind, last = -1;

	*nhashes = 0;
	while (left > 0 && r->error == NULL) {
		run = rbuf_u32(r);
		if (r->error != NULL)
			return;
		n = run >> 1;
		kind = (int)(run & 1);
		if (n == 0)
			rbuf_fail(r, "empty run of slots");
		else if (n > left)
			rbuf_fail(r, "runs have more than the slots");
		else if (kind == last)
			rbuf_fail(r, "adjacent runs of one kind");
		left -= n <= left ? n : left;
		if (kind)
			*nhashes += n;
		last = kind;
	}
}

static void
check_hashes(struct rbuf *r, uint64_t n)
{
	struct hash h;

	for (; n > 0 && r->error == NULL; n--) {
		rbuf_hash(r, &h);
		if (r->error == NULL && hash_is_zero(&h))
			rbuf_fail(r, "slot without a hash that is no hole");
	}
}

const char *
chunks_inline_check(const uint8_t *data, size_t len, uint64_t size,
    uint8_t shift)
{
	struct rbuf r;
	uint64_t n;

	if (!chunk_shift_valid(shift))
		return ("bad chunk size");
	rbuf_init(&r, data, len);
	read_runs(&r, chunk_slots(size, shift), &n);
	if (n > CHUNK_INLINE_MAX)
		rbuf_fail(&r, "more than 8 hashes in an entry");
	check_hashes(&r, n);
	return (rbuf_end(&r) == 0 ? NULL : r.error);
}

uint64_t
chunks_inline_bytes(const uint8_t *data, size_t len, uint64_t size,
    uint8_t shift)
{
	uint64_t slots = chunk_slots(size, shift), left = slots, sum = 0, n;
	struct rbuf r;
	uint32_t run;

	rbuf_init(&r, data, len);
	while (left > 0) {
		run = rbuf_u32(&r);
		n = run >> 1;
		if (r.error != NULL || n == 0 || n > left)
			break;
		left -= n;
		if (run & 1)
			sum += (n << shift) -
			    (left == 0 ? (slots << shift) - size : 0);
	}
	return (sum);
}

/* Header and slots of a chunk node; r is at the runs afterwards. */
static void
open_chunk_node(struct rbuf *r, const uint8_t *data, size_t len, uint8_t *kind,
    uint64_t *slots)
{
	const char *why;

	*slots = 0;
	rbuf_init(r, data, len);
	if ((why = node_header(data, len, kind)) != NULL) {
		rbuf_fail(r, why);
		return;
	}
	if (*kind != NODE_CHUNK_LEAF && *kind != NODE_CHUNK_INDEX)
		rbuf_fail(r, "node of another kind");
	(void)rbuf_bytes(r, NODE_HEADER_LEN);
	*slots = rbuf_u32(r);
	if (*slots == 0 || *slots > NODE_CHUNK_FANOUT)
		rbuf_fail(r, "bad number of slots of a chunk node");
}

const char *
chunk_node_check(const uint8_t *data, size_t len, uint64_t *nhashes)
{
	struct rbuf r;
	uint64_t slots;
	uint8_t kind;

	open_chunk_node(&r, data, len, &kind, &slots);
	if (r.error != NULL)
		return (r.error);
	read_runs(&r, slots, nhashes);
	if (*nhashes == 0)
		rbuf_fail(&r, "chunk node of holes alone");
	check_hashes(&r, *nhashes);
	return (rbuf_end(&r) == 0 ? NULL : r.error);
}

/* The slots below one child of a node of that level. */
static uint64_t
child_span(uint8_t level)
{
	uint64_t span = 1;

	for (; level > 0; level--)
		span *= NODE_CHUNK_FANOUT;
	return (span);
}

/* Puts the node of slots [first, end) and its children: 1 and its hash, 0 when
   all are holes, -1. */
static int
store_tree(const struct chunklist *c, const struct node_store *s, uint8_t level,
    uint64_t first, uint64_t end, struct hash *out)
{
	struct chunklist part;
	uint64_t span = child_span(level), at, stop, found;
	struct hash h;
	struct wbuf w;
	int r = -1, there;

	if (!chunklist_next(c, first, &found, &h) || found >= end)
		return (0);
	memset(&part, 0, sizeof(part));
	wbuf_init(&w, NODE_MAX_BYTES);
	part.slots = (end - first + span - 1) / span;
	for (at = first; at < end; at = stop) {
		stop = end - at < span ? end : at + span;
		if (level == 0)
			there = chunklist_get(c, at, &h);
		else
			there = store_tree(c, s, level - 1, at, stop, &h);
		if (there == -1)
			goto fail;
		if ((there ? chunklist_add(&part, &h)
			   : chunklist_add_hole(&part, 1)) == -1)
			goto fail;
	}
	node_begin(&w, level == 0 ? NODE_CHUNK_LEAF : NODE_CHUNK_INDEX, level);
	wbuf_u32(&w, (uint32_t)part.slots);
	encode_slots(&w, &part);
	if (w.error != 0) {
		errno = w.error;
		goto fail;
	}
	if (node_put(s, w.data, w.len, out) == 0)
		r = 1;
fail:
	free(part.runs);
	free(part.hashes);
	wbuf_free(&w);
	return (r);
}

int
chunklist_to_entry(const struct chunklist *c, const struct node_store *s,
    struct entry *e, struct wbuf *w)
{
	struct hash root;
	size_t at;

	if (c->filled != c->slots) {
		errno = EINVAL;
		return (-1);
	}
	memset(&root, 0, sizeof(root));
	if (c->nhashes > CHUNK_INLINE_MAX) {
		if (store_tree(c, s, chunk_tree_level(c->slots), 0, c->slots,
			&root) == -1)
			return (-1);
		e->chunk_form = CHUNKS_TREE;
		e->chunks = NULL;
		e->chunks_len = 0;
	} else {
		at = w->len;
		encode_slots(w, c);
		if (w->error != 0) {
			errno = w->error;
			return (-1);
		}
		e->chunk_form = CHUNKS_INLINE;
		e->chunks_len = w->len - at;
		e->chunks = e->chunks_len == 0 ? NULL : w->data + at;
	}
	e->chunk_root = root;
	e->size = c->size;
	e->chunk_shift = c->shift;
	return (0);
}

/* Runs and hashes of slots that are to be added to c.  NULL, or what is
   wrong; errno ENOMEM or EFBIG with "". */
static const char *
add_slots(struct chunklist *c, struct rbuf *r, uint64_t slots,
    uint64_t max_hashes)
{
	struct rbuf runs = *r;
	struct hash h;
	uint64_t n, left;
	uint32_t run;

	read_runs(r, slots, &n);
	if (r->error != NULL)
		return (r->error);
	if (n > max_hashes || c->nhashes > max_hashes - n) {
		errno = EFBIG;
		return ("");
	}
	for (left = slots; left > 0; left -= run >> 1) {
		run = rbuf_u32(&runs);
		if (!(run & 1)) {
			if (chunklist_add_hole(c, run >> 1) == -1)
				return ("");
			continue;
		}
		for (n = run >> 1; n > 0; n--) {
			rbuf_hash(r, &h);
			if (r->error != NULL)
				return (r->error);
			if (hash_is_zero(&h))
				return ("slot without a hash that is no hole");
			if (chunklist_add(c, &h) == -1)
				return ("");
		}
	}
	return (NULL);
}

struct loader {
	const struct node_store *store;
	struct chunklist *c;
	uint64_t max;
	struct hash *missing;
};

static int load_tree(struct loader *, const struct hash *, uint8_t, uint64_t);

/* The children of an index node, of which each but the last has span slots. */
static int
load_children(struct loader *l, struct rbuf *r, uint8_t level, uint64_t n,
    uint64_t slots)
{
	struct rbuf runs = *r;
	uint64_t span = child_span(level), count, hashes, part;
	struct hash h;
	uint32_t run;

	read_runs(r, n, &hashes);
	while (n > 0) {
		run = rbuf_u32(&runs);
		for (count = run >> 1; count > 0; count--, n--) {
			part = slots < span ? slots : span;
			slots -= part;
			if (!(run & 1)) {
				if (chunklist_add_hole(l->c, part) == -1)
					return (-1);
				continue;
			}
			rbuf_hash(r, &h);
			if (load_tree(l, &h, level - 1, part) == -1)
				return (-1);
		}
	}
	return (0);
}

static int
load_tree(struct loader *l, const struct hash *h, uint8_t level, uint64_t slots)
{
	uint64_t span = child_span(level), n, hashes;
	const char *why = "";
	struct blob *b;
	struct rbuf r;
	uint8_t kind;
	int ret = -1;

	if ((b = l->store->get(l->store->ctx, h)) == NULL) {
		if (errno == ENOENT) {
			*l->missing = *h;
			errno = ENODATA;
		}
		return (-1);
	}
	if (chunk_node_check(b->data, b->len, &hashes) != NULL ||
	    node_level(b->data) != level)
		goto bad;
	open_chunk_node(&r, b->data, b->len, &kind, &n);
	if (n != (slots + span - 1) / span)
		goto bad;
	if (level > 0)
		ret = load_children(l, &r, level, n, slots);
	else if ((why = add_slots(l->c, &r, n, l->max)) == NULL)
		ret = 0;
	else if (*why != '\0')
		goto bad;
	blob_unref(b);
	return (ret);
bad:
	blob_unref(b);
	errno = EBADMSG;
	return (-1);
}

/*
 * 0 and the hashes below a node, no more than left are looked for; a few equal
 * nodes can stand for more than fit in memory.
 */
static int
count_tree(struct loader *l, const struct hash *h, uint8_t level, uint64_t left,
    uint64_t *found)
{
	uint64_t n, hashes, below;
	struct hash child;
	struct blob *b;
	struct rbuf r;
	uint8_t kind;
	int ret = -1;

	*found = 0;
	if ((b = l->store->get(l->store->ctx, h)) == NULL) {
		if (errno == ENOENT) {
			*l->missing = *h;
			errno = ENODATA;
		}
		return (-1);
	}
	if (chunk_node_check(b->data, b->len, &hashes) != NULL ||
	    node_level(b->data) != level) {
		errno = EBADMSG;
		goto done;
	}
	ret = 0;
	if (level == 0) {
		*found = hashes;
		goto done;
	}
	open_chunk_node(&r, b->data, b->len, &kind, &n);
	read_runs(&r, n, &hashes);
	for (; hashes > 0 && *found <= left; hashes--) {
		rbuf_hash(&r, &child);
		if (count_tree(l, &child, level - 1, left - *found, &below) ==
		    -1) {
			ret = -1;
			break;
		}
		*found += below;
	}
done:
	blob_unref(b);
	return (ret);
}

/* Before anything of a large one is loaded. */
static int
check_count(struct loader *l, const struct hash *root)
{
	uint64_t n;

	if (l->c->slots <= l->max)
		return (0);
	if (count_tree(l, root, chunk_tree_level(l->c->slots), l->max, &n) ==
	    -1)
		return (-1);
	if (n <= l->max)
		return (0);
	errno = EFBIG;
	return (-1);
}

struct chunklist *
chunklist_from_entry(const struct entry *e, const struct node_store *s,
    uint64_t max_slots, struct hash *missing)
{
	struct loader l = { s, NULL, max_slots, missing };
	struct chunklist *c;
	const char *why;
	struct rbuf r;
	int save;

	if ((c = chunklist_new(e->size, e->chunk_shift)) == NULL) {
		if (errno == EINVAL)
			errno = EBADMSG;
		return (NULL);
	}
	l.c = c;
	if (e->chunk_form == CHUNKS_TREE) {
		if (check_count(&l, &e->chunk_root) == -1 ||
		    load_tree(&l, &e->chunk_root, chunk_tree_level(c->slots),
			c->slots) == -1)
			goto fail;
		if (c->nhashes <= CHUNK_INLINE_MAX)
			goto bad;
		return (c);
	}
	if (chunks_inline_check(e->chunks, e->chunks_len, e->size,
		e->chunk_shift) != NULL)
		goto bad;
	rbuf_init(&r, e->chunks, e->chunks_len);
	if ((why = add_slots(c, &r, c->slots, max_slots)) == NULL)
		return (c);
	if (*why == '\0')
		goto fail;
bad:
	errno = EBADMSG;
fail:
	save = errno;
	chunklist_free(c);
	errno = save;
	return (NULL);
}

void
chunk_finder_init(struct chunk_finder *f, const struct entry *e,
    const struct node_store *s)
{
	memset(f, 0, sizeof(*f));
	f->entry = e;
	f->store = s;
}

void
chunk_finder_free(struct chunk_finder *f)
{
	size_t i;

	for (i = 0; i < CHUNK_LEVELS_MAX; i++)
		blob_unref(f->nodes[i]);
}

/* The slot's hash in a sequence of slots; 1, 0, or -1 and EBADMSG. */
static int
pick_slot(struct rbuf *r, uint64_t slots, uint64_t slot, struct hash *h)
{
	struct rbuf runs = *r;
	uint64_t hashes, before = 0, n;
	uint32_t run = 0;

	read_runs(r, slots, &hashes);
	if (r->error == NULL) {
		for (;; slot -= n) {
			run = rbuf_u32(&runs);
			if ((n = run >> 1) > slot)
				break;
			before += run & 1 ? n : 0;
		}
		if (!(run & 1))
			return (0);
		(void)rbuf_bytes(r, (size_t)(before + slot) * HASH_LEN);
		rbuf_hash(r, h);
	}
	if (r->error == NULL)
		return (1);
	errno = EBADMSG;
	return (-1);
}

/* The node of that name at its level. */
static struct blob *
finder_node(struct chunk_finder *f, const struct hash *name, uint8_t level)
{
	struct blob *b = f->nodes[level];
	uint64_t hashes;

	if (b != NULL && hash_cmp(&f->names[level], name) == 0)
		return (b);
	if ((b = f->store->get(f->store->ctx, name)) == NULL) {
		if (errno == ENOENT)
			errno = ENODATA;
		return (NULL);
	}
	if (chunk_node_check(b->data, b->len, &hashes) != NULL ||
	    node_level(b->data) != level) {
		blob_unref(b);
		errno = EBADMSG;
		return (NULL);
	}
	blob_unref(f->nodes[level]);
	f->nodes[level] = b;
	f->names[level] = *name;
	return (b);
}

static int
find_in_tree(struct chunk_finder *f, uint64_t slots, uint64_t slot,
    struct hash *h)
{
	uint8_t kind, level = chunk_tree_level(slots);
	struct blob *b;
	struct rbuf r;
	uint64_t span, n;
	int got;

	for (*h = f->entry->chunk_root;; level--) {
		span = child_span(level);
		if ((b = finder_node(f, h, level)) == NULL)
			return (-1);
		open_chunk_node(&r, b->data, b->len, &kind, &n);
		if (n != (slots + span - 1) / span) {
			errno = EBADMSG;
			return (-1);
		}
		got = pick_slot(&r, n, slot / span, h);
		if (got != 1 || level == 0)
			return (got);
		slots -= slot / span * span;
		slots = slots < span ? slots : span;
		slot %= span;
	}
}

int
chunk_finder_get(struct chunk_finder *f, uint64_t slot, struct hash *h)
{
	const struct entry *e = f->entry;
	struct rbuf r;
	uint64_t slots;

	if (!chunk_shift_valid(e->chunk_shift) || e->size > SAIL_SIZE_MAX) {
		errno = EBADMSG;
		return (-1);
	}
	slots = chunk_slots(e->size, e->chunk_shift);
	if (slot >= slots) {
		errno = ERANGE;
		return (-1);
	}
	if (e->chunk_form == CHUNKS_TREE)
		return (find_in_tree(f, slots, slot, h));
	rbuf_init(&r, e->chunks, e->chunks_len);
	return (pick_slot(&r, slots, slot, h));
}

void
chunklist_encode(struct wbuf *w, const struct chunklist *c)
{
	wbuf_u64(w, c->size);
	wbuf_u8(w, c->shift);
	encode_slots(w, c);
}

struct chunklist *
chunklist_decode(struct rbuf *r, uint64_t max_slots)
{
	struct chunklist *c = NULL;
	const char *why;
	uint64_t size;
	uint8_t shift;
	int save;

	size = rbuf_u64(r);
	shift = rbuf_u8(r);
	if (size > SAIL_SIZE_MAX)
		rbuf_fail(r, "file is too large");
	if (!chunk_shift_valid(shift))
		rbuf_fail(r, "bad chunk size");
	if (r->error != NULL) {
		errno = EBADMSG;
		return (NULL);
	}
	if ((c = chunklist_new(size, shift)) == NULL)
		return (NULL);
	if ((why = add_slots(c, r, c->slots, max_slots)) == NULL)
		return (c);
	if (*why != '\0')
		errno = EBADMSG;
	save = errno;
	rbuf_fail(r, *why != '\0' ? why : "chunks do not fit in memory");
	chunklist_free(c);
	errno = save;
	return (NULL);
}
