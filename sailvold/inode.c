/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inode: slots, names and look-up of the shared inode table.  In fuse.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <string.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "lib/path.h"
#include "sailvold/arena.h"
#include "sailvold/inode.h"
#include "sailvold/tally.h"

/*
 * Layout: a page of header (and of the tally), slots, handles, then the arena
 * of names (arena.h), eight units for each slot.  Names that are longer share
 * what short ones leave.
 */
#define HEADER_BYTES 4096
#define HANDLE_BYTES 48
#define UNITS_A_SLOT 8
#define SLOTS_MIN 64
#define SLOTS_MAX (UINT32_MAX / UNITS_A_SLOT / 2)
#define BUCKETS_MIN 64

/* What becomes INODE_DETACHED, and is STALE on the way: fuse may die there. */
struct detaching {
	uint32_t idx, off; /* of where its content is, in the arena */
	uint32_t len;
	uint32_t begun;
};

struct table_header {
	uint64_t magic;
	uint32_t slots;
	uint32_t top;     /* first slot that was never used */
	uint32_t arena;   /* first unit that was never used */
	uint32_t handles; /* first handle that was never used */
	struct inode_move move;
	uint64_t epoch; /* 0: of an older sailvold, which did not say it */
	uint8_t base[HASH_LEN];
	uint64_t giving; /* given.h */
	struct detaching detaching;
	struct inode_place places[INODE_PLACES];
};

_Static_assert(sizeof(struct table_header) <= TALLY_OFFSET, "header");
_Static_assert(sizeof(struct inode_slot) == 32, "inode slot");

/* Of every slot. */
struct priv {
	uint32_t next_name; /* chain */
	uint32_t more;      /* index; 0: all of it is 0 */
};

/* Of the few slots that are directories, open, in memory, or share a bucket. */
struct more {
	struct vn *vn;
	uint32_t next_ovl;       /* chain; of those that are free, too */
	uint32_t children;       /* slots that have it as their parent */
	uint32_t opens, writers; /* handles */
};

/*
 * A hash table with as many buckets as there were ever entries at once, so that
 * what comes and goes touches no more memory with time.  One bucket is split
 * at a time (linear hashing): no request waits for more.
 */
struct heads {
	uint32_t *head; /* room for as many as there may be */
	uint32_t used, buckets;
	uint32_t mask; /* the smallest 2^n - 1 that is not below buckets - 1 */
};

static struct {
	uint8_t *map;
	size_t bytes;
	struct table_header *head;
	struct inode_slot *slot;
	uint32_t slots, units;
	/* Private: one mapping that is only touched as far as it is used. */
	uint8_t *priv_map;
	size_t priv_bytes;
	struct priv *priv;
	struct more *more;            /* [0]: nothing, for all that have none */
	uint32_t more_top, more_free; /* chained by next_ovl */
	struct heads names, ovls;
	uint32_t max_buckets;
	uint32_t free_slot;   /* chained by next_name */
	uint32_t passthrough; /* slots in that mode */
	int told_full;
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
	    (uint64_t)slots * UNITS_A_SLOT * ARENA_UNIT;
}

/* ---- names ---------------------------------------------------------------- */

static void
drop_name(struct inode_slot *s)
{
	uint16_t len = s->name_len;

	__atomic_store_n(&s->name_len, 0, __ATOMIC_RELEASE);
	arena_give(s->name_off, len);
}

const uint8_t *
inode_name(uint32_t idx, size_t *len)
{
	*len = t.slot[idx].name_len;
	return arena_at(t.slot[idx].name_off);
}

/* ---- what few slots need ------------------------------------------------------ */

static const struct more *
more_of(uint32_t idx)
{
	return &t.more[t.priv[idx].more];
}

/* There are as many as slots. */
static struct more *
more_make(uint32_t idx)
{
	struct priv *p = &t.priv[idx];

	if (p->more != 0)
		return &t.more[p->more];
	if ((p->more = t.more_free) != 0)
		t.more_free = t.more[p->more].next_ovl;
	else
		p->more = t.more_top++;
	memset(&t.more[p->more], 0, sizeof(struct more));
	return &t.more[p->more];
}

static void
more_tidy(uint32_t idx)
{
	struct more *m = &t.more[t.priv[idx].more];

	if (t.priv[idx].more == 0 || m->vn != NULL || m->next_ovl != 0 ||
	    m->children != 0 || m->opens != 0 || m->writers != 0)
		return;
	m->next_ovl = t.more_free;
	t.more_free = t.priv[idx].more;
	t.priv[idx].more = 0;
}

static void
set_next_ovl(uint32_t idx, uint32_t next)
{
	if (next == more_of(idx)->next_ovl)
		return;
	more_make(idx)->next_ovl = next;
	more_tidy(idx);
}

static void
count_child(uint32_t parent, int by)
{
	more_make(parent)->children += (uint32_t)by;
	more_tidy(parent);
}

struct vn *
inode_vn(uint32_t idx)
{
	return more_of(idx)->vn;
}

void
inode_set_vn(uint32_t idx, struct vn *vn)
{
	if (vn == more_of(idx)->vn)
		return;
	more_make(idx)->vn = vn;
	more_tidy(idx);
}

uint32_t
inode_opens(uint32_t idx)
{
	return more_of(idx)->opens;
}

uint32_t
inode_writers(uint32_t idx)
{
	return more_of(idx)->writers;
}

void
inode_count_handle(uint32_t idx, int by, int writes)
{
	struct more *m = more_make(idx);

	m->opens += (uint32_t)by;
	if (writes)
		m->writers += (uint32_t)by;
	more_tidy(idx);
}

/* ---- look-up ---------------------------------------------------------------- */

static uint32_t *
head_of(const struct heads *h, uint32_t hash)
{
	uint32_t i = hash & h->mask;

	return &h->head[i < h->buckets ? i : i & (h->mask >> 1)];
}

/* One more entry.  1: *from is to be split into itself and *to. */
static int
heads_use(struct heads *h, uint32_t **from, uint32_t **to)
{
	uint32_t i = h->buckets;

	if (++h->used <= i || i == t.max_buckets)
		return 0;
	if (i > h->mask)
		h->mask = h->mask * 2 + 1;
	h->buckets++;
	*from = &h->head[i & (h->mask >> 1)];
	*to = &h->head[i];
	return 1;
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
	return head_of(&t.names, hash_of_name(parent, name, len));
}

static uint32_t *
head_of_ovl(uint64_t ovl)
{
	return head_of(&t.ovls, hash_of_ovl(ovl));
}

static int
has_name(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];

	return s->name_len != 0 &&
	    (s->kind == INODE_NAMED || s->kind == INODE_OBJECT);
}

static void
split_names(uint32_t *from, uint32_t *to)
{
	uint32_t *p = from, idx;
	size_t len;

	while ((idx = *p) != 0) {
		if (head_of_name(t.slot[idx].parent, inode_name(idx, &len),
			t.slot[idx].name_len) != to) {
			p = &t.priv[idx].next_name;
			continue;
		}
		*p = t.priv[idx].next_name;
		t.priv[idx].next_name = *to;
		*to = idx;
	}
}

static void
index_name(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint32_t *head, *from, *to;
	size_t len;

	if (!has_name(idx))
		return;
	if (heads_use(&t.names, &from, &to))
		split_names(from, to);
	head = head_of_name(s->parent, inode_name(idx, &len), s->name_len);
	t.priv[idx].next_name = *head;
	*head = idx;
	count_child(s->parent, 1);
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
	t.names.used--;
	if (more_of(s->parent)->children > 0)
		count_child(s->parent, -1);
}

static void
split_ovls(uint32_t *from, uint32_t *to)
{
	uint32_t idx = *from, next;

	*from = 0;
	for (; idx != 0; idx = next) {
		uint32_t *head = head_of_ovl(t.slot[idx].ovl);

		next = more_of(idx)->next_ovl;
		if (head != to)
			head = from;
		set_next_ovl(idx, *head);
		*head = idx;
	}
}

static void
index_ovl(uint32_t idx)
{
	uint32_t *head, *from, *to;

	if (heads_use(&t.ovls, &from, &to))
		split_ovls(from, to);
	head = head_of_ovl(t.slot[idx].ovl);
	set_next_ovl(idx, *head);
	*head = idx;
}

static void
unindex_ovl(uint32_t idx)
{
	uint32_t *head = head_of_ovl(t.slot[idx].ovl), i = *head, prev = 0;

	for (; i != 0 && i != idx; i = more_of(i)->next_ovl)
		prev = i;
	if (i == 0)
		return;
	if (prev == 0)
		*head = more_of(idx)->next_ovl;
	else
		set_next_ovl(prev, more_of(idx)->next_ovl);
	set_next_ovl(idx, 0);
	t.ovls.used--;
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
		    !(t.slot[i].flags & INODE_REMOVED) &&
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
	for (i = *head_of_ovl(ovl); i != 0; i = more_of(i)->next_ovl)
		if (t.slot[i].ovl == ovl)
			return i;
	return 0;
}

uint64_t
inode_id(uint32_t idx)
{
	return (uint64_t)t.slot[idx].generation << 32 | idx;
}

int
inode_is(uint32_t idx)
{
	return idx != 0 && idx < t.head->top && idx < t.slots &&
	    t.slot[idx].kind != INODE_FREE;
}

uint32_t
inode_index(uint64_t nodeid)
{
	uint32_t idx = (uint32_t)nodeid;

	if (!inode_is(idx) || t.slot[idx].generation != nodeid >> 32)
		return 0;
	return idx;
}

struct inode_slot *
inode_slot(uint32_t idx)
{
	return &t.slot[idx];
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

uint32_t *
inode_handle_top(void)
{
	return &t.head->handles;
}

uint64_t *
inode_giving(void)
{
	return &t.head->giving;
}

struct inode_place *
inode_places(void)
{
	return t.head->places;
}

void *
inode_tally_memory(void)
{
	return t.map + TALLY_OFFSET;
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
		if (!t.told_full)
			log_warnx("the kernel knows as many files and folders "
				  "of the mount as it may, %u: no other can be "
				  "looked up until it forgets some",
			    t.slots);
		t.told_full = 1;
		arena_give(off, len);
		errno = ENFILE;
		return 0;
	}
	s = &t.slot[idx];
	t.priv[idx].next_name = 0;
	s->nlookup = 0;
	s->ovl = ovl;
	s->generation++;
	s->parent = parent;
	s->name_off = off;
	s->name_len = (uint16_t)len;
	s->flags = 0;
	s->mode = MODE_NONE;
	s->untold = s->kept = s->pages = 0;
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
	if (t.slot[idx].nlookup != INODE_LOOKUPS_MAX)
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
	drop_name(s);
	t.priv[idx].next_name = t.free_slot;
	t.free_slot = idx;
	if (parent != 0)
		inode_try_free(parent);
}

int
inode_try_free(uint32_t idx)
{
	const struct more *m = more_of(idx);

	if (idx < INODE_FIRST || t.slot[idx].kind == INODE_FREE ||
	    t.slot[idx].nlookup != 0 || m->children != 0 || m->opens != 0 ||
	    m->vn != NULL)
		return 0;
	free_slot(idx);
	return 1;
}

int
inode_forget(uint32_t idx, uint64_t n)
{
	struct inode_slot *s = &t.slot[idx];

	/* Of so many nobody can tell how many are left. */
	if (idx < INODE_FIRST || s->nlookup == INODE_LOOKUPS_MAX)
		return 0;
	if (n > s->nlookup) {
		log_warnx("node %u: more forgotten than looked up", idx);
		n = s->nlookup;
	}
	s->nlookup -= (uint32_t)n;
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
	__atomic_store_n(&s->name_len, 0, __ATOMIC_RELEASE);
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
	/* First: an object without a number would be none. */
	__atomic_store_n(&s->kind, INODE_NAMED, __ATOMIC_SEQ_CST);
	s->ovl = 0;
}

void
inode_move_begin(const struct inode_move *m)
{
	t.head->move = *m;
	__atomic_store_n(&t.head->move.begun, 1, __ATOMIC_SEQ_CST);
}

void
inode_move_end(void)
{
	__atomic_store_n(&t.head->move.begun, 0, __ATOMIC_SEQ_CST);
}

const struct inode_move *
inode_move_open(void)
{
	return t.head->move.begun ? &t.head->move : NULL;
}

uint64_t
inode_base(uint8_t commit[HASH_LEN])
{
	memcpy(commit, t.head->base, HASH_LEN);
	return t.head->epoch;
}

/* Whoever dies in between begins the switch again, and finds it done. */
void
inode_set_base(uint64_t epoch, const uint8_t commit[HASH_LEN])
{
	memcpy(t.head->base, commit, HASH_LEN);
	__atomic_store_n(&t.head->epoch, epoch, __ATOMIC_SEQ_CST);
}

void
inode_set_removed(uint32_t idx)
{
	if (t.slot[idx].kind == INODE_NAMED)
		t.slot[idx].flags |= INODE_REMOVED;
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
	drop_name(s);
	inode_try_free(parent);
}

static void
become_detached(uint32_t idx, uint32_t off, size_t len)
{
	struct inode_slot *s = &t.slot[idx];

	s->name_off = off;
	s->name_len = (uint16_t)len;
	__atomic_store_n(&s->kind, INODE_DETACHED, __ATOMIC_SEQ_CST);
}

/* What a process before this one has begun. */
static void
detach_on(void)
{
	struct detaching *d = &t.head->detaching;

	if (d->begun && d->idx >= INODE_FIRST && d->idx < t.head->top &&
	    t.slot[d->idx].kind != INODE_FREE && d->len <= ARENA_LEN_MAX &&
	    arena_has(d->off, d->len))
		become_detached(d->idx, d->off, d->len);
	d->begun = 0;
}

int
inode_detach(uint32_t idx, const uint8_t commit[32], const void *path,
    size_t len)
{
	struct detaching *d = &t.head->detaching;
	uint8_t both[ARENA_LEN_MAX];
	uint32_t off;

	if (idx < INODE_FIRST || len > SAIL_PATH_MAX) {
		errno = EINVAL;
		return -1;
	}
	memcpy(both, commit, HASH_LEN);
	memcpy(both + HASH_LEN, path, len);
	if (arena_take(both, HASH_LEN + len, &off) == -1)
		return -1;
	d->idx = idx;
	d->off = off;
	d->len = (uint32_t)(HASH_LEN + len);
	__atomic_store_n(&d->begun, 1, __ATOMIC_SEQ_CST);
	inode_make_stale(idx);
	become_detached(idx, off, HASH_LEN + len);
	__atomic_store_n(&d->begun, 0, __ATOMIC_SEQ_CST);
	return 0;
}

void
inode_make_stale(uint32_t idx)
{
	struct inode_slot *s = &t.slot[idx];
	uint8_t was;

	if (idx < INODE_FIRST || s->kind == INODE_FREE)
		return;
	inode_unname(idx);
	if (s->kind == INODE_OBJECT)
		unindex_ovl(idx);
	was = s->kind;
	s->flags &= ~INODE_REMOVED;
	__atomic_store_n(&s->kind, INODE_STALE, __ATOMIC_RELEASE);
	if (was == INODE_DETACHED)
		drop_name(s);
}

void
inode_set_mode(uint32_t idx, uint8_t mode)
{
	struct inode_slot *s = &t.slot[idx];

	t.passthrough -= s->mode == MODE_PASSTHROUGH;
	t.passthrough += mode == MODE_PASSTHROUGH;
	if (mode == MODE_PASSTHROUGH)
		s->flags |= INODE_PAGES;
	__atomic_store_n(&s->mode, mode, __ATOMIC_RELEASE);
}

/*
 * Every plain open since the time of passthrough had the kernel drop the pages,
 * not the first alone: the second may be there before the first is done.
 */
void
inode_closed(uint32_t idx)
{
	if (t.slot[idx].mode == MODE_PLAIN)
		t.slot[idx].flags &= ~INODE_PAGES;
	inode_set_mode(idx, MODE_NONE);
}

static void
check_mode(uint32_t idx, void *arg)
{
	struct inode_slot *s = &t.slot[idx];

	(void)arg;
	if (s->mode > MODE_PASSTHROUGH ||
	    (s->mode == MODE_PASSTHROUGH && s->kind != INODE_OBJECT)) {
		log_warnx("inode table: slot %u: mode", idx);
		s->mode = MODE_PLAIN;
	}
	if (inode_opens(idx) == 0)
		s->mode = MODE_NONE;
	t.passthrough += s->mode == MODE_PASSTHROUGH;
}

void
inode_check_modes(void)
{
	uint32_t i;

	t.passthrough = 0;
	for (i = 1; i < INODE_FIRST; i++)
		t.slot[i].mode = MODE_NONE;
	inode_foreach(check_mode, NULL);
}

uint32_t
inode_passthrough(void)
{
	return t.passthrough;
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

/* It may be between two names, and gets the other. */
static int
is_moving(uint32_t idx)
{
	const struct inode_move *m = inode_move_open();

	return m != NULL && (idx == m->moved || idx == m->target);
}

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
		if (!arena_has(s->name_off, s->name_len))
			return "name";
		name = inode_name(idx, &len);
		if (s->kind == INODE_DETACHED) {
			if (len < HASH_LEN || len > ARENA_LEN_MAX ||
			    path_problem(name + HASH_LEN, len - HASH_LEN) !=
				NULL)
				return "origin";
		} else if (name_problem(name, len) != NULL)
			return "name";
	}
	if (s->kind == INODE_NAMED && s->name_len == 0 && !is_moving(idx))
		return "no name";
	if (s->kind == INODE_OBJECT && s->ovl == 0)
		return "no object";
	if ((s->kind == INODE_NAMED || s->kind == INODE_OBJECT) &&
	    s->name_len != 0 &&
	    (s->parent == 0 || s->parent >= t.head->top || s->parent == idx ||
		t.slot[s->parent].kind == INODE_FREE))
		return "parent";
	/* Of two the first: nobody can tell whose it is. */
	if (s->name_len != 0 && arena_claim(s->name_off, s->name_len) == -1)
		return "name within another";
	return NULL;
}

static void
take_over(void)
{
	struct inode_slot *s;
	const char *why;
	uint32_t i;

	if (t.head->magic != INODE_TABLE_MAGIC || t.head->slots != t.slots ||
	    t.head->top < INODE_FIRST || t.head->top > t.slots ||
	    t.head->arena > t.units)
		fatalx("inode table: not sound");
	if (arena_claims() == -1)
		fatal("inode table");
	detach_on();
	for (i = INODE_FIRST; i < t.head->top; i++) {
		s = &t.slot[i];
		if (s->kind == INODE_FREE) {
			s->name_len = 0;
			t.priv[i].next_name = t.free_slot;
			t.free_slot = i;
			continue;
		}
		if (s->kind == INODE_STALE)
			s->name_len = 0; /* it was about to lose it */
		if (s->kind == INODE_NAMED)
			s->ovl = 0; /* it was about to lose that */
		if ((why = slot_problem(i)) != NULL) {
			log_warnx("inode table: slot %u: %s", i, why);
			s->kind = INODE_STALE;
			s->name_len = 0;
		}
		if (s->parent >= t.head->top)
			s->parent = 0; /* of one without a name */
		s->untold = s->kept = s->pages = 0;
	}
	arena_claimed();
	for (i = INODE_FIRST; i < t.head->top; i++) {
		index_name(i);
		if (t.slot[i].kind == INODE_OBJECT)
			index_ovl(i);
	}
}

/* One mapping for all that is private. */
static int
map_private(void)
{
	size_t priv = (size_t)t.slots * sizeof(*t.priv);
	size_t more = ((size_t)t.slots + 1) * sizeof(*t.more);
	size_t heads = (size_t)t.max_buckets * sizeof(uint32_t);

	t.priv_bytes = more + priv + 2 * heads;
	t.priv_map = mmap(NULL, t.priv_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t.priv_map == MAP_FAILED)
		return -1;
	t.more = (struct more *)(void *)t.priv_map;
	t.more_top = 1;
	t.priv = (struct priv *)(void *)(t.priv_map + more);
	t.names.head = (uint32_t *)(void *)(t.priv_map + more + priv);
	t.ovls.head = t.names.head + t.max_buckets;
	t.names.buckets = t.ovls.buckets = BUCKETS_MIN;
	t.names.mask = t.ovls.mask = BUCKETS_MIN - 1;
	return 0;
}

int
inode_open(int fd, uint32_t slots, int takeover)
{
	struct stat st;
	uint32_t i;

	if (slots < SLOTS_MIN || slots > SLOTS_MAX) {
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
	arena_open(t.map + HEADER_BYTES +
		(size_t)slots * sizeof(struct inode_slot) +
		(size_t)table_handles(slots) * HANDLE_BYTES,
	    t.units, &t.head->arena);
	t.max_buckets = slots / 2 < BUCKETS_MIN ? BUCKETS_MIN : slots / 2;
	if (map_private() == -1) {
		munmap(t.map, t.bytes);
		return -1;
	}
	if (takeover) {
		take_over();
		return 0;
	}
	t.head->magic = INODE_TABLE_MAGIC;
	t.head->slots = slots;
	t.head->top = INODE_FIRST;
	t.head->arena = t.head->handles = 0;
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
	munmap(t.map, t.bytes);
	munmap(t.priv_map, t.priv_bytes);
	memset(&t, 0, sizeof(t));
}
