/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * memfd: a bulk payload that travels beside a message as a descriptor.  In
 * every process.
 */
#ifndef LIB_MEMFD_H
#define LIB_MEMFD_H

#include <stddef.h>
#include <stdint.h>

/*
 * A bulk payload as a sealed memfd (F_SEAL_SHRINK, GROW, WRITE).  memfd_new
 * returns the descriptor, offset 0.  memfd_map checks that fd is a regular
 * file of at most max bytes that nobody can shrink or write any more (sealed;
 * else it is copied), and gives its bytes; end with memfd_unmap.  fd stays with
 * the caller and may be closed at once.  -1 and errno: EBADMSG not such a file,
 * EFBIG too large.
 */
int memfd_new(const char *name, const void *data, size_t len);
/* The same in two steps: an empty one, that is written to; then it is sealed. */
int memfd_empty(const char *name);
int memfd_seal(int fd);
struct memfd_view {
	const uint8_t *data; /* not NULL, also when len is 0 */
	size_t len;
	int mapped;
};
int memfd_map(int fd, size_t max, struct memfd_view *);
void memfd_unmap(struct memfd_view *);
/* 1: a memfd that nobody can write to, shrink or unseal: fit to be handed on. */
int memfd_is_sealed(int fd);

#endif
