/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * chunklist: the chunks of one file in memory, as runs of hashes and holes,
 * and their two encodings: inline in an entry, or a tree of nodes with fixed
 * fan-out 1,024 over the slots (sailvol-format(5)).
 */
#ifndef LIB_CHUNKLIST_H
#define LIB_CHUNKLIST_H

#include "lib/node.h"

struct chunklist; /* owned by who made it; chunklist_free */

struct chunklist *chunklist_new(uint64_t size, uint8_t shift);
void chunklist_free(struct chunklist *);
uint64_t chunklist_size(const struct chunklist *);
uint8_t chunklist_shift(const struct chunklist *);
uint64_t chunklist_slots(const struct chunklist *);  /* ceil(size >> shift) */
uint64_t chunklist_hashes(const struct chunklist *); /* slots with a hash */
/* Plain bytes of that slot: the chunk size, or less for the last. */
uint32_t chunklist_slot_bytes(const struct chunklist *, uint64_t slot);
uint32_t chunk_slot_bytes(uint64_t size, uint8_t shift, uint64_t slot);
/* The next slots, from the first on: count holes, or one hash. -1 EINVAL when
   there are more than slots. */
int chunklist_add_hole(struct chunklist *, uint64_t count);
int chunklist_add(struct chunklist *, const struct hash *);
/* 1 and the hash, 0 a hole, -1 ERANGE. */
int chunklist_get(const struct chunklist *, uint64_t slot, struct hash *);
/* The next slot from `slot' on that has a hash, 1; 0: none. */
int chunklist_next(const struct chunklist *, uint64_t slot, uint64_t *found,
    struct hash *);

/*
 * Of a list whose slots were all added (else -1 and EINVAL, as for
 * chunklist_encode).  Fills e's size, chunk_shift, chunk_form, chunks (memory in w, a view of it)
 * or chunk_root (its nodes are put into the store).
 */
int chunklist_to_entry(const struct chunklist *, const struct node_store *,
    struct entry *e, struct wbuf *w);
/* Loads all of it; store is asked for the tree's nodes. NULL: ENODATA with
   *missing, EBADMSG, EFBIG (over max_slots with a hash), ENOMEM. */
struct chunklist *chunklist_from_entry(const struct entry *,
    const struct node_store *, uint64_t max_slots, struct hash *missing);

/* One slot's hash after the other, without the rest of the list; in their order
   each node is asked for once. */
#define CHUNK_LEVELS_MAX 3
struct chunk_finder {
	const struct entry *entry;
	const struct node_store *store;
	struct blob *nodes[CHUNK_LEVELS_MAX]; /* those of the last */
	struct hash names[CHUNK_LEVELS_MAX];
};
void chunk_finder_init(struct chunk_finder *, const struct entry *,
    const struct node_store *);
/* 1 and the hash, 0 a hole, -1: ERANGE, ENODATA, EBADMSG, ENOMEM. */
int chunk_finder_get(struct chunk_finder *, uint64_t slot, struct hash *);
void chunk_finder_free(struct chunk_finder *);

/* The flat form of deltas and messages: size, shift, runs, hashes. */
void chunklist_encode(struct wbuf *, const struct chunklist *);
struct chunklist *chunklist_decode(struct rbuf *, uint64_t max_slots);
/* For node_check: NULL when a chunk node of either kind is canonical; the
   hashes of an index node's children are its last *nhashes * 32 bytes. */
const char *chunk_node_check(const uint8_t *, size_t, uint64_t *nhashes);
/* 1 when a file may have that shift: 8, 32 or 64 MiB. */
int chunk_shift_valid(uint8_t);
/* Slots of a file. */
uint64_t chunk_slots(uint64_t size, uint8_t shift);
/* The level of the root node of that many slots: 0 a chunk leaf. */
uint8_t chunk_tree_level(uint64_t slots);
/* For entry_decode: NULL when the inline form is canonical for that size. */
const char *chunks_inline_check(const uint8_t *, size_t, uint64_t size,
    uint8_t shift);
/* Plain bytes of the slots that are no holes, of a form that was checked. */
uint64_t chunks_inline_bytes(const uint8_t *, size_t, uint64_t size,
    uint8_t shift);

#endif
