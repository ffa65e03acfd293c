/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * handle: open files and sessions of .sailvol/ctl, in the memory
 * that the parent keeps beside the inode table.  The kernel's fh is
 * generation << 32 | index.  In fuse.
 */
#ifndef SAILVOLD_HANDLE_H
#define SAILVOLD_HANDLE_H

#include <stdint.h>

enum handle_kind { HANDLE_FREE = 0, HANDLE_FILE, HANDLE_CTL, HANDLE_INFO };

struct handle {
	uint64_t unique;  /* of the request that opened it */
	uint64_t session; /* CTL */
	uint64_t last; /* CTL: offset of the answer's last line; 0: unknown */
	uint32_t generation;
	uint32_t inode; /* slot */
	uint32_t flags; /* of open(2) */
	uint32_t uid;
	uint8_t kind; /* enum handle_kind; written last */
	/* fsync(2) is to say once that its file was not written; CTL: its line is
	   nowhere but in this process. */
	uint8_t lost;
	uint16_t last_sum; /* of that line */
	uint32_t last_len;
};

/* After inode_open(): counts opens and writers of a session that goes on. */
void handle_open_table(int takeover);
int handle_room(void); /* 1: handle_new() finds a slot */
/* 0 and ENFILE. */
uint64_t handle_new(uint8_t kind, uint32_t inode, uint32_t flags,
    uint64_t unique, uint32_t uid);
struct handle *handle_get(uint64_t fh); /* NULL: no such handle */
void handle_free(uint64_t fh);
uint64_t handle_id(const struct handle *);
/* One that this request opened before it was sent again; 0. */
uint64_t handle_by_unique(uint64_t unique, uint8_t kind);
int handle_writes(const struct handle *);
/* What was written to the file is lost: all its handles hear of it.  From any
   thread. */
void handle_lost(uint32_t inode);
void handle_foreach(void (*f)(struct handle *, void *), void *arg);

#endif
