/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rest: what an overlay file does not have yet of the content that it was
 * copied up from: a file beside it, with the chunk list of that content, where
 * it may be had from, and for each slot whether it is still to be had.  As long
 * as there is one the overlay file has the sticky bit (REST_MODE), and its
 * bytes alone are not its content.  Written by fuse, read by it, by manifest
 * and by sailvol-fetch.
 */
#ifndef LIB_REST_H
#define LIB_REST_H

#include <sys/stat.h>

#include "lib/chunklist.h"

#define REST_MODE S_ISVTX /* of an overlay file that is not whole */

struct rest {
	struct hash commit;
	uint8_t *path; /* in the volume */
	size_t path_len;
	struct chunklist *list; /* of the content before */
	uint8_t *absent;        /* of each of its slots */
	uint64_t slots, nabsent;
	uint64_t at; /* where absent[] is in the file */
};

/*
 * The whole file: every slot with a hash is absent.  Magic "SAILREST", u16
 * version 1, hash commit, str16 path, flat chunk list, u32 CRC-32C of all
 * before; then a byte for each slot: 1 absent, 0 not.
 */
void rest_encode(struct wbuf *, const struct hash *commit, const void *path,
    size_t len, const struct chunklist *);
/* Checked as a stranger's; NULL and errno (EBADMSG: it is none). */
struct rest *rest_read(int fd);
void rest_free(struct rest *);
/* 1: the bytes of that slot are not in the overlay file. */
int rest_absent(const struct rest *, uint64_t slot);
/* They are from now on, also in the file; -1 and errno. */
int rest_here(struct rest *, int fd, uint64_t slot);

#endif
