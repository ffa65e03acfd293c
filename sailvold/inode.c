/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inode: slots, names and look-up of the shared inode table.  In fuse.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "lib/path.h"
#include "sailvold/inode.h"

/*
 * Layout: a page of header, slots, handles, then the arena of names in units
 * of 16 bytes, two for each slot.  Names that are longer share what short ones
 * leave.  Freed pieces are kept in lists by size, in private memory.
 */
#define HEADER_BYTES 4096
#define TABLE_MAGIC 0x53494e4f44453031ULL
#define HANDLE_BYTES 48
#define UNIT 16
#define UNITS_A_SLOT 2
#define DETACHED_MAX (HASH_LEN + SAIL_PATH_MAX)
#define CLASSES (DETACHED_MAX / UNIT + 2)
#define SLOTS_MIN 64
#define BUCKETS_MIN 64

struct table_header {
	uint64_t magic;
	uint32_t slots;
	uint32_t top;   /* first slot that was never used */
	uint32_t arena; /* first unit that was never used */
	uint32_t reserved;
};

_Static_assert(sizeof(struct inode_slot) == 48, "inode slot");

static struct {
	uint8_t *map;
	size_t bytes;
	struct table_header *head;
	struct inode_slot *slot;
	uint8_t *arena;
	uint32_t slots, units;
	struct inode_priv *priv;
	size_t priv_bytes;
	uint32_t *by_name, *by_ovl; /* room for max_buckets each */
	uint32_t buckets, max_buckets;
	uint32_t mask; /* the smallest 2^n - 1 that is not below buckets - 1 */
	uint32_t used; /* slots that are not free */
	uint32_t free_slot; /* chained by priv.next_name */
	struct {
		uint32_t *off;
		size_t n, cap;
	} freed[CLASSES];
} t;

uint32_t
table_handles(uint32_t slots)
{
	return slots / 16 < 4096 ? 4096 : slots / 16;
}

uint64_t
table_bytes(uint32_t slots)
{
	return HEADER_BYTES + (uint64_t)slots * sizeof(struct inode_slot) +
	    (uint64_t)table_handles(slots) * HANDLE_BYTES +
	    (uint64_t)slots * UNITS_A_SLOT * UNIT;
}

/* ---- names ---------------------------------------------------------------- */

static uint32_t
units_for(size_t len)
{
	return (uint32_t)((len + UNIT - 1) / UNIT);
}

static int
arena_take(const void *name, size_t len, uint32_t *off)
{
	uint32_t n = units_for(len);

	if (n >= CLASSES) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (t.freed[n].n > 0)
		*off = t.freed[n].off[--t.freed[n].n];
	else if (n <= t.units - t.head->arena) {
		*off = t.head->arena;
		t.head->arena += n;
	} else {
		errno = ENOSPC;
		return -1;
	}
	memcpy(t.arena + (size_t)*off * UNIT, name, len);
	return 0;
}

static void
arena_give(uint32_t off, size_t len)
{
	uint32_t n = units_for(len), *p;
	size_t cap;

	if (n == 0 || n >= CLASSES)
		return;
	if (t.freed[n].n == t.freed[n].cap) {
		cap = t.freed[n].cap == 0 ? 64 : t.freed[n].cap * 2;
		p = reallocarray(t.freed[n].off, cap, sizeof(*p));
		if (p == NULL)
			return; /* lost until the session ends */
		t.freed[n].off = p;
		t.freed[n].cap = cap;
	}
	t.freed[n].off[t.freed[n].n++] = off;
}

const uint8_t *
inode_name(uint32_t idx, size_t *len)
{
	*len = t.slot[idx].name_len;
	return t.arena + (size_t)t.slot[idx].name_off * UNIT;
}

/* ---- look-up ---------------------------------------------------------------- */

/*
 * Two hash tables with as many buckets as there were ever slots in use at once,
 * so that names and numbers that come and go touch no more memory with time.
 * One bucket is split at a time (linear hashing): no request waits for more.
 */
static uint32_t
bucket_of(uint32_t hash)
{
	uint32_t i = hash & t.mask;

	return i < t.buckets ? i : i & (t.mask >> 1);
}

static uint32_t
hash_of_name(uint32_t parent, const void *name, size_t len)
{
	const uint8_t *p = name;
	uint64_t h = 14695981039346656037ULL ^ parent;
	size_t i;

	h *= 1099511628211ULL;
	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	return (uint32_t)(h ^ (h >> 32));
}

static uint32_t
hash_of_ovl(uint64_t ovl)
{
	ovl *= 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(ovl >> 32);
}

static uint32_t *
head_of_name(uint32_t parent, const void *name, size_t len)
{
	return &t.by_name[bucket_of(hash_of_name(parent, name, len))];
}

static uint32_t *
head_of_ovl(uint64_t ovl)
{
	return &t.by_ovl[bucket_of(hash_of_ovl(ovl))];
}

static int
has_name(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];

	return s->name_len != 0 &&
	    (s->kind == INODE_NAMED || s->kind == INODE_OBJECT);
}

static void
index_name(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t *head;
	size_t len;

	if (!has_name(idx))
		return;
	head = head_of_name(s->parent, inode_name(idx, &len), s->name_len);
	t.priv[idx].next_name = *head;
	*head = idx;
	t.priv[s->parent].children++;
}

static void
unindex_name(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t *p;
	size_t len;

	if (!has_name(idx))
		return;
	p = head_of_name(s->parent, inode_name(idx, &len), s->name_len);
	while (*p != 0 && *p != idx)
		p = &t.priv[*p].next_name;
	if (*p == 0)
		return;
	*p = t.priv[idx].next_name;
	t.priv[idx].next_name = 0;
	if (t.priv[s->parent].children > 0)
		t.priv[s->parent].children--;
}

static void
index_ovl(uint32_t idx)
{
	uint32_t *head = head_of_ovl(t.slot[idx].ovl);

	t.priv[idx].next_ovl = *head;
	*head = idx;
}

static void
unindex_ovl(uint32_t idx)
{
	uint32_t *p = head_of_ovl(t.slot[idx].ovl);

	while (*p != 0 && *p != idx)
		p = &t.priv[*p].next_ovl;
	if (*p != 0)
		*p = t.priv[idx].next_ovl;
	t.priv[idx].next_ovl = 0;
}

static void
split_names(uint32_t from, uint32_t to)
{
	uint32_t *p = &t.by_name[from], idx;
	size_t len;

	while ((idx = *p) != 0) {
		if (head_of_name(t.slot[idx].parent, inode_name(idx, &len),
			t.slot[idx].name_len) != &t.by_name[to]) {
			p = &t.priv[idx].next_name;
			continue;
		}
		*p = t.priv[idx].next_name;
		t.priv[idx].next_name = t.by_name[to];
		t.by_name[to] = idx;
	}
}

static void
split_ovls(uint32_t from, uint32_t to)
{
	uint32_t *p = &t.by_ovl[from], idx;

	while ((idx = *p) != 0) {
		if (head_of_ovl(t.slot[idx].ovl) != &t.by_ovl[to]) {
			p = &t.priv[idx].next_ovl;
			continue;
		}
		*p = t.priv[idx].next_ovl;
		t.priv[idx].next_ovl = t.by_ovl[to];
		t.by_ovl[to] = idx;
	}
}

/* One more slot is in use. */
static void
use_slot(void)
{
	uint32_t from, to = t.buckets;

	if (++t.used <= t.buckets || t.buckets == t.max_buckets)
		return;
	if (to > t.mask)
		t.mask = t.mask * 2 + 1;
	from = to & (t.mask >> 1);
	t.buckets++;
	split_names(from, to);
	split_ovls(from, to);
}

uint32_t
inode_by_name(uint32_t parent, const void *name, size_t len)
{
	const uint8_t *p;
	uint32_t i;
	size_t n;

	for (i = *head_of_name(parent, name, len); i != 0;
	     i = t.priv[i].next_name) {
		p = inode_name(i, &n);
		if (t.slot[i].parent == parent && n == len &&
		    memcmp(p, name, len) == 0)
			return i;
	}
	return 0;
}

uint32_t
inode_by_ovl(uint64_t ovl)
{
	uint32_t i;

	if (ovl == 1)
		return INODE_ROOT;
	for (i = *head_of_ovl(ovl); i != 0; i = t.priv[i].next_ovl)
		if (t.slot[i].ovl == ovl)
			return i;
	return 0;
}

uint64_t
inode_id(uint32_t idx)
{
	return (uint64_t)t.slot[idx].generation << 32 | idx;
}

uint32_t
inode_index(uint64_t nodeid)
{
	uint32_t idx = (uint32_t)nodeid;

	if (idx == 0 || idx >= t.head->top || idx >= t.slots ||
	    t.slot[idx].kind == INODE_FREE ||
	    t.slot[idx].generation != nodeid >> 32)
		return 0;
	return idx;
}

struct inode_slot *
inode_slot(uint32_t idx)
{
	return &t.slot[idx];
}

struct inode_priv *
inode_priv(uint32_t idx)
{
	return &t.priv[idx];
}

uint32_t
inode_slots(void)
{
	return t.slots;
}

void *
inode_handle_memory(void)
{
	return t.slot + t.slots;
}

/* ---- slots ---------------------------------------------------------------- */

uint32_t
inode_new(uint32_t parent, const void *name, size_t len, uint64_t ovl)
{
	struct inode_slot *s;
	uint32_t idx, off = 0;

	if (len != 0 && arena_take(name, len, &off) == -1)
		return 0;
	if ((idx = t.free_slot) != 0)
		t.free_slot = t.priv[idx].next_name;
	else if (t.head->top < t.slots)
		idx = t.head->top++;
	else {
		arena_give(off, len);
		errno = ENFILE;
		return 0;
	}
	use_slot();
	s = &t.slot[idx];
	memset(&t.priv[idx], 0, sizeof(t.priv[idx]));
	s->nlookup = 0;
	s->ovl = ovl;
	s->generation++;
	s->parent = parent;
	s->name_off = off;
	s->name_len = (uint16_t)len;
	s->flags = 0;
	__atomic_store_n(&s->kind, ovl != 0 ? INODE_OBJECT : INODE_NAMED,
	    __ATOMIC_RELEASE);
	index_name(idx);
	if (ovl != 0)
		index_ovl(idx);
	return idx;
}

void
inode_ref(uint32_t idx)
{
	t.slot[idx].nlookup++;
}

static void
free_slot(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t parent = has_name(idx) ? s->parent : 0;

	unindex_name(idx);
	if (s->kind == INODE_OBJECT)
		unindex_ovl(idx);
	__atomic_store_n(&s->kind, INODE_FREE, __ATOMIC_RELEASE);
	arena_give(s->name_off, s->name_len);
	s->name_len = 0;
	memset(&t.priv[idx], 0, sizeof(t.priv[idx]));
	t.priv[idx].next_name = t.free_slot;
	t.free_slot = idx;
	t.used--;
	if (parent != 0)
		inode_try_free(parent);
}

int
inode_try_free(uint32_t idx)
{
	struct inode_priv *p = &t.priv[idx];

	if (idx < INODE_FIRST || t.slot[idx].kind == INODE_FREE ||
	    t.slot[idx].nlookup != 0 || p->children != 0 || p->opens != 0 ||
	    p->vn != NULL)
		return 0;
	free_slot(idx);
	return 1;
}

int
inode_forget(uint32_t idx, uint64_t n)
{
	struct inode_slot *s = &t.slot[idx];

	if (idx < INODE_FIRST)
		return 0;
	if (n > s->nlookup) {
		log_warnx("node %u: more forgotten than looked up", idx);
		n = s->nlookup;
	}
	s->nlookup -= n;
	return s->nlookup == 0;
}

int
inode_rename(uint32_t idx, uint32_t parent, const void *name, size_t len)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t off, old = s->name_off, was = has_name(idx) ? s->parent : 0;
	uint16_t old_len = s->name_len;
	int error;

	error = arena_take(name, len, &off);
	unindex_name(idx);
	s->name_len = 0;
	if (error == 0) {
		s->parent = parent;
		s->name_off = off;
		__atomic_store_n(&s->name_len, (uint16_t)len, __ATOMIC_RELEASE);
		index_name(idx);
	}
	arena_give(old, old_len);
	if (was != 0)
		inode_try_free(was);
	return error;
}

void
inode_set_ovl(uint32_t idx, uint64_t ovl)
{
	struct inode_slot *s = &t.slot[idx];

	if (idx < INODE_FIRST)
		return;
	if (s->kind == INODE_OBJECT)
		unindex_ovl(idx);
	s->ovl = ovl;
	__atomic_store_n(&s->kind, INODE_OBJECT, __ATOMIC_RELEASE);
	index_ovl(idx);
}

void
inode_set_named(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];

	if (s->kind != INODE_OBJECT || s->name_len == 0)
		return;
	unindex_ovl(idx);
	s->ovl = 0;
	__atomic_store_n(&s->kind, INODE_NAMED, __ATOMIC_RELEASE);
}

void
inode_unname(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t parent;

	if (!has_name(idx))
		return;
	parent = s->parent;
	unindex_name(idx);
	arena_give(s->name_off, s->name_len);
	s->name_len = 0;
	inode_try_free(parent);
}

int
inode_detach(uint32_t idx, const uint8_t commit[32], const void *path,
    size_t len)
{
	struct inode_slot *s = &t.slot[idx];
	uint8_t both[DETACHED_MAX];
	uint32_t off;

	if (idx < INODE_FIRST || len > SAIL_PATH_MAX) {
		errno = EINVAL;
		return -1;
	}
	memcpy(both, commit, HASH_LEN);
	memcpy(both + HASH_LEN, path, len);
	if (arena_take(both, HASH_LEN + len, &off) == -1)
		return -1;
	inode_make_stale(idx);
	s->name_off = off;
	s->name_len = (uint16_t)(HASH_LEN + len);
	__atomic_store_n(&s->kind, INODE_DETACHED, __ATOMIC_RELEASE);
	return 0;
}

void
inode_make_stale(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];

	if (idx < INODE_FIRST || s->kind == INODE_FREE)
		return;
	inode_unname(idx);
	if (s->kind == INODE_OBJECT)
		unindex_ovl(idx);
	if (s->kind == INODE_DETACHED) {
		arena_give(s->name_off, s->name_len);
		s->name_len = 0;
	}
	__atomic_store_n(&s->kind, INODE_STALE, __ATOMIC_RELEASE);
}

void
inode_foreach(void (*f)(uint32_t, void *), void *arg)
{
	uint32_t i;

	for (i = INODE_FIRST; i < t.head->top; i++)
		if (t.slot[i].kind != INODE_FREE)
			f(i, arg);
}

/* ---- mapping and taking over ------------------------------------------------ */

/* NULL, or what is wrong with a slot that another process left. */
static const char *
slot_problem(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	size_t len;
	const uint8_t *name;

	if (s->kind > INODE_STALE)
		return "kind";
	if (s->name_len != 0) {
		if (s->name_off >= t.units ||
		    units_for(s->name_len) > t.units - s->name_off)
			return "name";
		name = inode_name(idx, &len);
		if (s->kind == INODE_DETACHED) {
			if (len < HASH_LEN || len > DETACHED_MAX ||
			    path_problem(name + HASH_LEN, len - HASH_LEN) !=
				NULL)
				return "origin";
		} else if (name_problem(name, len) != NULL)
			return "name";
	}
	if (s->kind == INODE_NAMED && s->name_len == 0)
		return "no name";
	if (s->kind == INODE_OBJECT && s->ovl == 0)
		return "no object";
	if ((s->kind == INODE_NAMED || s->kind == INODE_OBJECT) &&
	    s->name_len != 0 &&
	    (s->parent == 0 || s->parent >= t.head->top || s->parent == idx ||
		t.slot[s->parent].kind == INODE_FREE))
		return "parent";
	return NULL;
}

static void
take_over(void)
{
	struct inode_slot *s;
	const char *why;
	uint32_t i, top = 0, end;

	if (t.head->magic != TABLE_MAGIC || t.head->slots != t.slots ||
	    t.head->top < INODE_FIRST || t.head->top > t.slots ||
	    t.head->arena > t.units)
		fatalx("inode table: not sound");
	for (i = INODE_FIRST; i < t.head->top; i++) {
		s = &t.slot[i];
		if (s->kind == INODE_FREE) {
			s->name_len = 0;
			t.priv[i].next_name = t.free_slot;
			t.free_slot = i;
			continue;
		}
		if ((why = slot_problem(i)) != NULL) {
			log_warnx("inode table: slot %u: %s", i, why);
			s->kind = INODE_STALE;
			s->name_len = 0;
		}
		use_slot();
		end = s->name_off + units_for(s->name_len);
		if (s->name_len != 0 && end > top)
			top = end;
	}
	/* Pieces below the highest name that nobody has are lost: little. */
	if (top < t.head->arena)
		t.head->arena = top;
	else if (top > t.head->arena)
		t.head->arena = top;
	for (i = INODE_FIRST; i < t.head->top; i++) {
		index_name(i);
		if (t.slot[i].kind == INODE_OBJECT)
			index_ovl(i);
	}
}

int
inode_open(int fd, uint32_t slots, int takeover)
{
	struct stat st;
	uint32_t i;

	if (slots < SLOTS_MIN || slots > UINT32_MAX / 4) {
		errno = EINVAL;
		return -1;
	}
	memset(&t, 0, sizeof(t));
	t.slots = slots;
	t.units = slots * UNITS_A_SLOT;
	t.bytes = table_bytes(slots);
	if (fstat(fd, &st) == -1)
		return -1;
	if (st.st_size < 0 || (uint64_t)st.st_size < t.bytes) {
		errno = EINVAL;
		return -1;
	}
	t.map = mmap(NULL, t.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (t.map == MAP_FAILED)
		return -1;
	t.head = (struct table_header *)(void *)t.map;
	t.slot = (struct inode_slot *)(void *)(t.map + HEADER_BYTES);
	t.arena = t.map + HEADER_BYTES +
	    (size_t)slots * sizeof(struct inode_slot) +
	    (size_t)table_handles(slots) * HANDLE_BYTES;
	t.buckets = BUCKETS_MIN;
	t.mask = BUCKETS_MIN - 1;
	t.max_buckets = slots / 2 < BUCKETS_MIN ? BUCKETS_MIN : slots / 2;
	t.priv_bytes = (size_t)slots * sizeof(*t.priv) +
	    (size_t)t.max_buckets * 2 * sizeof(uint32_t);
	t.priv = mmap(NULL, t.priv_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t.priv == MAP_FAILED) {
		munmap(t.map, t.bytes);
		return -1;
	}
	t.by_name = (uint32_t *)(void *)(t.priv + slots);
	t.by_ovl = t.by_name + t.max_buckets;
	if (takeover) {
		take_over();
		return 0;
	}
	t.head->magic = TABLE_MAGIC;
	t.head->slots = slots;
	t.head->top = INODE_FIRST;
	for (i = 1; i < INODE_FIRST; i++) {
		t.slot[i].kind = INODE_OBJECT;
		t.slot[i].ovl = i == INODE_ROOT ? 1 : 0;
		t.slot[i].nlookup = 1;
	}
	return 0;
}

void
inode_close(void)
{
	size_t i;

	for (i = 0; i < CLASSES; i++)
		free(t.freed[i].off);
	munmap(t.map, t.bytes);
	munmap(t.priv, t.priv_bytes);
	memset(&t, 0, sizeof(t));
}
