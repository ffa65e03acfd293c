/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tally: what a mount's fuse counts, in the first page of the memory of its
 * inode table: it outlives fuse, and the parent reads it for `status' without
 * asking anybody.  Numbers only: nothing in the parent depends on them.  In
 * fuse and in the parent.
 */
#ifndef SAILVOLD_TALLY_H
#define SAILVOLD_TALLY_H

#include <jansson.h>
#include <stdint.h>

#define TALLY_OFFSET 2048 /* in that memory */
#define TALLY_OPCODES 64

/* How the processors are kept awake while requests come (wakeful.h). */
enum wakeful_mode {
	WAKEFUL_OFF = 0,
	WAKEFUL_LOOK,    /* fuse looks for the next request before it sleeps */
	WAKEFUL_LATENCY, /* /dev/cpu_dma_latency is held at 0 */
	WAKEFUL_MODES
};

struct tally {
	uint64_t requests[TALLY_OPCODES]; /* as read, by opcode; 0: others */
	uint64_t awake_us;                /* held, or looked in vain */
	uint64_t bursts;
	uint32_t wakeful; /* enum wakeful_mode */
	uint32_t pool;    /* files ready for those that are created (pool.h) */
};

/* In fuse: where to count; before tally_use() it is nobody's. */
extern struct tally *tally;
void tally_use(struct tally *);
void tally_request(uint32_t opcode);
/* The name of an opcode, NULL: it is counted as 0. */
const char *tally_name(size_t opcode);
/* In the parent, of such a memory: -1 and errno. */
int tally_read(int table_fd, struct tally *);
/* In the parent: {"requests": {NAME: n, ...}, "awake": {...},
   "pool": n}; NULL. */
json_t *tally_json(int table_fd);

#endif
