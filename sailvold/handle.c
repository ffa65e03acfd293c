/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * handle: the table of open handles.  In fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/handle.h"
#include "sailvold/inode.h"

_Static_assert(sizeof(struct handle) == 48, "handle slot");

static struct handle *table;
static uint32_t count;
static uint32_t *top; /* in the table: no slot from there on was ever used */
static uint32_t *freed;
static uint32_t nfreed;

int
handle_writes(const struct handle *h)
{
	return h->kind == HANDLE_FILE && (h->flags & O_ACCMODE) != O_RDONLY;
}

static void
count_handle(const struct handle *h, int by)
{
	inode_count_handle(h->inode, by, handle_writes(h));
	if (inode_opens(h->inode) == 0)
		inode_closed(h->inode);
}

void
handle_open_table(int takeover)
{
	uint32_t i;

	table = inode_handle_memory();
	count = table_handles(inode_slots());
	free(freed);
	if ((freed = calloc(count, sizeof(*freed))) == NULL)
		fatal("handles");
	nfreed = 0;
	top = inode_handle_top();
	if (*top > count)
		fatalx("handle table: not sound");
	/* What was never used is not looked at either: that would fill it. */
	for (i = 0; i < *top; i++) {
		if (table[i].kind == HANDLE_FREE)
			continue;
		if (table[i].kind > HANDLE_INFO || !inode_is(table[i].inode)) {
			log_warnx("handle table: slot %u is not sound", i);
			table[i].kind = HANDLE_FREE;
			continue;
		}
		count_handle(&table[i], 1);
	}
	if (takeover)
		inode_check_modes();
	for (i = 0; i < *top; i++)
		if (table[i].kind == HANDLE_FREE)
			freed[nfreed++] = i;
}

uint64_t
handle_id(const struct handle *h)
{
	return (uint64_t)h->generation << 32 | (uint32_t)(h - table + 1);
}

int
handle_room(void)
{
	static int told;

	if (nfreed > 0 || *top < count)
		return 1;
	if (!told)
		log_warnx("as many files of the mount are open as may be, %u: "
			  "no other can be opened",
		    count);
	told = 1;
	return 0;
}

uint64_t
handle_new(uint8_t kind, uint32_t inode, uint32_t flags, uint64_t unique,
    uint32_t uid)
{
	struct handle *h;

	if (nfreed > 0)
		h = &table[freed[--nfreed]];
	else if (handle_room())
		h = &table[(*top)++];
	else {
		errno = ENFILE;
		return 0;
	}
	h->unique = unique;
	h->session = h->last = 0;
	h->generation++;
	h->inode = inode;
	h->flags = flags;
	h->uid = uid;
	h->lost = 0;
	__atomic_store_n(&h->kind, kind, __ATOMIC_RELEASE);
	count_handle(h, 1);
	return handle_id(h);
}

struct handle *
handle_get(uint64_t fh)
{
	uint32_t i = (uint32_t)fh - 1;

	if (i >= *top || table[i].kind == HANDLE_FREE ||
	    table[i].generation != fh >> 32)
		return NULL;
	return &table[i];
}

void
handle_free(uint64_t fh)
{
	struct handle *h = handle_get(fh);

	if (h == NULL)
		return;
	count_handle(h, -1);
	__atomic_store_n(&h->kind, HANDLE_FREE, __ATOMIC_RELEASE);
	freed[nfreed++] = (uint32_t)(h - table);
}

uint64_t
handle_by_unique(uint64_t unique, uint8_t kind)
{
	uint32_t i;

	for (i = 0; i < *top; i++)
		if (table[i].kind == kind && table[i].unique == unique)
			return handle_id(&table[i]);
	return 0;
}

void
handle_lost(uint32_t inode)
{
	uint32_t i;

	for (i = 0; i < *top; i++)
		if (table[i].kind == HANDLE_FILE && table[i].inode == inode)
			table[i].lost = 1;
}

void
handle_foreach(void (*f)(struct handle *, void *), void *arg)
{
	uint32_t i;

	for (i = 0; i < *top; i++)
		if (table[i].kind != HANDLE_FREE)
			f(&table[i], arg);
}
