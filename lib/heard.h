/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * heard: the lines that one try of something has said, so that the next try does
 * not say them again.
 */
#ifndef LIB_HEARD_H
#define LIB_HEARD_H

#include <stdint.h>

#define HEARD_MAX 24 /* of a try; what is more is always new */

struct heard {
	unsigned int n, nbefore;
	uint64_t lines[HEARD_MAX], before[HEARD_MAX];
};

/* 1: that line, whatever its decimal numbers, was heard in this try or the one
   before it. */
int heard_line(struct heard *, const char *line);
/* Another try begins. */
void heard_next(struct heard *);

#endif
