/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inode: the table of what the kernel has looked up, in memory that the
 * parent keeps (sailvold(8)): a new fuse process finds there what each node id
 * stands for.  A node id is generation << 32 | index.  The look-up by name and
 * by overlay number, and what few slots need, is in private memory, made anew at a takeover, when every
 * index and length of the table is checked.  In fuse; the parent makes the
 * memfd of table_bytes() bytes and never looks into it, but for what tally.h
 * has there.
 */
#ifndef SAILVOLD_INODE_H
#define SAILVOLD_INODE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/path.h"

/* Of the table, whose layout it stands for: another one is not taken over. */
#define INODE_TABLE_MAGIC 0x53494e4f44453032ULL

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
#define INODE_PAGES \
	0x2 /* the kernel may have pages from before a time of
			   passthrough: a plain open drops them */
#define INODE_REMOVED \
	0x4 /* named, clean, and its name was taken away: not found by
			   it any more, which says where its content is */
#define INODE_GIVEN \
	0x8 /* one of its look-ups is that of an answer that is not written
			   yet (given.h) */

/* How the handles of a file are open, all of them alike: the kernel wants it. */
enum inode_mode {
	MODE_NONE = 0, /* no handle */
	MODE_PLAIN,
	MODE_PASSTHROUGH
};

/*
 * 32 bytes in the shared table: there are as many as there are files that the
 * kernel has looked up, so that each byte counts.
 */
struct inode_slot {
	uint64_t ovl;
	uint32_t
	    nlookup; /* at most INODE_LOOKUPS_MAX: then it is never freed */
	uint32_t generation;
	uint32_t parent;   /* slot */
	uint32_t name_off; /* in units of 4 bytes in the arena */
	uint16_t name_len;
	uint8_t kind;  /* enum inode_kind; written last */
	uint8_t flags; /* INODE_GONE... */
	uint8_t mode;  /* enum inode_mode; set before the first handle */
	/* Of this process alone: 0 after a takeover. */
	uint8_t untold; /* attributes changed that the kernel may not know */
	uint8_t kept;   /* it may keep those that it has for ever */
	uint8_t pages;  /* it was given the content, or has read of it */
};
#define INODE_LOOKUPS_MAX UINT32_MAX

/*
 * What a change of names does to the table, between its record in the journal
 * and its end: fuse may die there.
 */
struct inode_move {
	uint64_t before;   /* end of the journal without the record */
	uint32_t from, to; /* slots of the directories */
	/* What has the name, and what has the one that it gets; 0: the kernel
	   does not know it, or nothing. */
	uint32_t moved, target;
	uint32_t begun;
};

/*
 * A name that was the last of an answer to who reads a directory, in case that
 * very name goes (fuse_list.c).  cookie is written last; 0: none.
 */
struct inode_place {
	uint64_t cookie;
	uint16_t len;
	uint8_t name[SAIL_NAME_MAX];
};
/* As many as there is room for in the first page. */
#define INODE_PLACES 6

struct vn;

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
/* Memory of the handles behind the slots, and how many were ever used. */
void *inode_handle_memory(void);
uint32_t *inode_handle_top(void);
/* Whose answer gives what is INODE_GIVEN: its unique number. */
uint64_t *inode_giving(void);
/* INODE_PLACES of them. */
struct inode_place *inode_places(void);
/* Memory of what is counted (tally.h), in the first page. */
void *inode_tally_memory(void);

uint64_t inode_id(uint32_t idx);
/* Index of a node id; 0: there is none, or not any more. */
uint32_t inode_index(uint64_t nodeid);
/* 1: a slot that is in use, whatever number somebody else wrote down. */
int inode_is(uint32_t idx);
struct inode_slot *inode_slot(uint32_t idx);
/* The thing of a slot, as far as it is in memory; or NULL. */
struct vn *inode_vn(uint32_t idx);
void inode_set_vn(uint32_t idx, struct vn *);
/* Its handles; those that may write. */
uint32_t inode_opens(uint32_t idx);
uint32_t inode_writers(uint32_t idx);
void inode_count_handle(uint32_t idx, int by, int writes);
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
/* Names change: begun before the journal says so, and done. */
void inode_move_begin(const struct inode_move *);
void inode_move_end(void);
/* What a fuse before this one began; NULL: nothing. */
const struct inode_move *inode_move_open(void);
/*
 * Which view its names are of: its epoch (struct start; 0: nobody said it), and
 * the commit that is its base.
 */
uint64_t inode_base(uint8_t commit[32]);
void inode_set_base(uint64_t epoch, const uint8_t commit[32]);
void inode_set_removed(uint32_t idx); /* NAMED becomes INODE_REMOVED */
/* An object's slot loses its name: it is found by its number alone. */
void inode_unname(uint32_t idx);
/* Path of where its content is: commit (32 bytes), then the path. */
int inode_detach(uint32_t idx, const uint8_t commit[32], const void *path,
    size_t len);
void inode_make_stale(uint32_t idx);
/* Its handles are open that way from now on. */
void inode_set_mode(uint32_t idx, uint8_t mode);
/* Its last handle went. */
void inode_closed(uint32_t idx);
/* After the handles of a session that goes on were counted. */
void inode_check_modes(void);
/* Slots in MODE_PASSTHROUGH. */
uint32_t inode_passthrough(void);
/* Calls f for each slot that is not free. */
void inode_foreach(void (*f)(uint32_t idx, void *), void *arg);

#endif
