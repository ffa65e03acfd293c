/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tally: counting in fuse, and reading what it counted in the parent.
 */
#include <sys/mman.h>
#include <linux/fuse.h>
#include <string.h>

#include "sailvold/tally.h"

#define PAGE 4096

_Static_assert(TALLY_OFFSET + sizeof(struct tally) <= PAGE, "first page");

static struct tally nobody;
struct tally *tally = &nobody;

/* The kernel's names of what it asks for. */
static const char *const names[TALLY_OPCODES] = {
	[0] = "OTHER",
	[FUSE_LOOKUP] = "LOOKUP",
	[FUSE_FORGET] = "FORGET",
	[FUSE_GETATTR] = "GETATTR",
	[FUSE_SETATTR] = "SETATTR",
	[FUSE_READLINK] = "READLINK",
	[FUSE_SYMLINK] = "SYMLINK",
	[FUSE_MKNOD] = "MKNOD",
	[FUSE_MKDIR] = "MKDIR",
	[FUSE_UNLINK] = "UNLINK",
	[FUSE_RMDIR] = "RMDIR",
	[FUSE_RENAME] = "RENAME",
	[FUSE_LINK] = "LINK",
	[FUSE_OPEN] = "OPEN",
	[FUSE_READ] = "READ",
	[FUSE_WRITE] = "WRITE",
	[FUSE_STATFS] = "STATFS",
	[FUSE_RELEASE] = "RELEASE",
	[FUSE_FSYNC] = "FSYNC",
	[FUSE_SETXATTR] = "SETXATTR",
	[FUSE_GETXATTR] = "GETXATTR",
	[FUSE_LISTXATTR] = "LISTXATTR",
	[FUSE_REMOVEXATTR] = "REMOVEXATTR",
	[FUSE_FLUSH] = "FLUSH",
	[FUSE_OPENDIR] = "OPENDIR",
	[FUSE_READDIR] = "READDIR",
	[FUSE_RELEASEDIR] = "RELEASEDIR",
	[FUSE_FSYNCDIR] = "FSYNCDIR",
	[FUSE_ACCESS] = "ACCESS",
	[FUSE_CREATE] = "CREATE",
	[FUSE_INTERRUPT] = "INTERRUPT",
	[FUSE_DESTROY] = "DESTROY",
	[FUSE_IOCTL] = "IOCTL",
	[FUSE_POLL] = "POLL",
	[FUSE_BATCH_FORGET] = "BATCH_FORGET",
	[FUSE_FALLOCATE] = "FALLOCATE",
	[FUSE_READDIRPLUS] = "READDIRPLUS",
	[FUSE_RENAME2] = "RENAME2",
	[FUSE_LSEEK] = "LSEEK",
	[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
	[FUSE_SYNCFS] = "SYNCFS",
};

static const char *const modes[WAKEFUL_MODES] = {
	[WAKEFUL_OFF] = "no",
	[WAKEFUL_LOOK] = "looking",
	[WAKEFUL_LATENCY] = "cpu_dma_latency",
};

void
tally_use(struct tally *t)
{
	tally = t;
}

void
tally_request(uint32_t opcode)
{
	if (opcode >= TALLY_OPCODES || names[opcode] == NULL)
		opcode = 0;
	tally->requests[opcode]++;
}

const char *
tally_name(size_t opcode)
{
	return opcode < TALLY_OPCODES ? names[opcode] : NULL;
}

int
tally_read(int table_fd, struct tally *t)
{
	const uint8_t *p;

	/* Sealed against shrinking: what is mapped is there. */
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, table_fd, 0);
	if (p == MAP_FAILED)
		return -1;
	memcpy(t, p + TALLY_OFFSET, sizeof(*t));
	munmap((void *)(uintptr_t)p, PAGE);
	return 0;
}

json_t *
tally_json(int table_fd)
{
	json_t *all = NULL, *requests = json_object();
	struct tally t;
	size_t i;

	if (tally_read(table_fd, &t) == -1) {
		json_decref(requests);
		return NULL;
	}
	for (i = 0; i < TALLY_OPCODES; i++)
		if (t.requests[i] != 0 && names[i] != NULL)
			json_object_set_new(requests, names[i],
			    json_integer((json_int_t)t.requests[i]));
	all = json_pack("{s:o, s:{s:s, s:I, s:I}, s:I}", "requests", requests,
	    "awake", "by", modes[t.wakeful < WAKEFUL_MODES ? t.wakeful : 0],
	    "bursts", (json_int_t)t.bursts, "ms",
	    (json_int_t)(t.awake_us / 1000), "pool", (json_int_t)t.pool);
	return all;
}
