/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * late: a read that has failed after a long wait is not waited for again: the
 * kernel, which read ahead by it, asks once more for the page that it is about.
 * In fuse.
 */
#ifndef SAILVOLD_LATE_H
#define SAILVOLD_LATE_H

#include <stdint.h>

#include "lib/monotime.h"

/* It waited since then; nothing when that is not long. */
void late_failed(uint64_t nodeid, uint64_t off, uint64_t size, int error,
    monotime_t since);
/* The error of such a read just before, of which that is a part.  0: none. */
int late_again(uint64_t nodeid, uint64_t off);

#endif
