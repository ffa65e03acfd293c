/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * given: the look-ups that the answer to one request gives to the kernel, noted
 * in the inode table until it is written.  Where fuse dies before, the kernel
 * does not have them and never forgets them; it sends the request again, and
 * then they are taken back (sailvold(8)).  In fuse.
 */
#ifndef SAILVOLD_GIVEN_H
#define SAILVOLD_GIVEN_H

#include <stdint.h>

/* After inode_open(): finds what the fuse before this one was giving. */
void given_open(int takeover);
/* A request begins; resent: the kernel had sent it to the fuse before. */
void given_begin(uint64_t unique, int resent);
/* Behind inode_ref(), and ahead of inode_forget(). */
void given_note(uint32_t idx);
void given_drop(uint32_t idx);
/* It was answered, or waits. */
void given_end(void);

#endif
