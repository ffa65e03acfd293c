/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inode: the table of what the kernel has looked up, in memory that the
 * parent keeps (sailvold(8)): a new fuse process finds there what each node id
 * stands for.  A node id is generation << 32 | index.  The look-up by name and
 * by overlay number is in private memory, made anew at a takeover, when every
 * index and length of the table is checked.  In fuse; the parent makes the
 * memfd of table_bytes() bytes and never looks into it.
 */
#ifndef SAILVOLD_INODE_H
#define SAILVOLD_INODE_H

#include <stddef.h>
#include <stdint.h>

/* Node ids that are always there; generation 0. */
#define INODE_ROOT 1
#define INODE_DOOR 2 /* .sailvol */
#define INODE_CTL 3  /* .sailvol/ctl */
#define INODE_INFO 4 /* .sailvol/volume.json */
#define INODE_FIRST 5

enum inode_kind {
	INODE_FREE = 0,
	INODE_NAMED,    /* what (parent, name) shows */
	INODE_OBJECT,   /* object ovl; parent and name of one of its names */
	INODE_DETACHED, /* clean content without a name: hash commit, path */
	INODE_STALE     /* nothing any more: a reload took it away */
};

#define INODE_GONE 0x1 /* stale, and its name has nothing any more */

/* 48 bytes in the shared table. */
struct inode_slot {
	uint64_t nlookup;
	uint64_t ovl;
	uint64_t spare;
	uint32_t generation;
	uint32_t parent;   /* slot */
	uint32_t name_off; /* in units of 16 bytes in the arena */
	uint16_t name_len;
	uint8_t kind;  /* enum inode_kind; written last */
	uint8_t flags; /* INODE_GONE */
	uint32_t reserved[2];
};

struct vn;

/* Private: what this process knows of a slot. */
struct inode_priv {
	struct vn *vn;
	uint32_t next_name, next_ovl; /* chains */
	uint32_t children;            /* slots that have it as their parent */
	uint32_t opens, writers;      /* handles */
};

/* Size of the memfd for so many slots (with its handles and names). */
uint64_t table_bytes(uint32_t slots);
uint32_t table_handles(uint32_t slots);

/*
 * Maps the table.  takeover: it is that of a living session; slots that are not
 * sound are made stale and counted in the log.  -1 and errno.
 */
int inode_open(int fd, uint32_t slots, int takeover);
void inode_close(void); /* tests */
uint32_t inode_slots(void);
/* Memory of the handles behind the slots. */
void *inode_handle_memory(void);

uint64_t inode_id(uint32_t idx);
/* Index of a node id; 0: there is none, or not any more. */
uint32_t inode_index(uint64_t nodeid);
struct inode_slot *inode_slot(uint32_t idx);
struct inode_priv *inode_priv(uint32_t idx);
const uint8_t *inode_name(uint32_t idx, size_t *len);

uint32_t inode_by_name(uint32_t parent, const void *name, size_t len);
uint32_t inode_by_ovl(uint64_t ovl);
/* A new slot without look-ups; ovl 0: NAMED.  0 and errno (ENFILE: full). */
uint32_t inode_new(uint32_t parent, const void *name, size_t len, uint64_t ovl);
/* Raised before the reply. */
void inode_ref(uint32_t idx);
/* Takes n look-ups back; 1 when the slot is gone now. */
int inode_forget(uint32_t idx, uint64_t n);
/* Frees a slot that nothing needs any more; 1 when it did. */
int inode_try_free(uint32_t idx);

/* Another name or place; -1 and ENOSPC: the slot has no name then. */
int inode_rename(uint32_t idx, uint32_t parent, const void *name, size_t len);
void inode_set_ovl(uint32_t idx, uint64_t ovl); /* becomes OBJECT */
void inode_set_named(uint32_t idx);             /* OBJECT becomes NAMED */
/* An object's slot loses its name: it is found by its number alone. */
void inode_unname(uint32_t idx);
/* Path of where its content is: commit (32 bytes), then the path. */
int inode_detach(uint32_t idx, const uint8_t commit[32], const void *path,
    size_t len);
void inode_make_stale(uint32_t idx);
/* Calls f for each slot that is not free. */
void inode_foreach(void (*f)(uint32_t idx, void *), void *arg);

#endif
