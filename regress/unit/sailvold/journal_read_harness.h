/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_read_harness: what stands in for the others of manifest, for memory and
 * for a disk.  Included by test_journal_read.c.
 */
#ifndef REGRESS_JOURNAL_READ_HARNESS_H
#define REGRESS_JOURNAL_READ_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <sqlite3.h>

#include "regress/unit/sailvold/manifest_harness.h"

/* ---- stand-ins ------------------------------------------------------------------ */

static uint64_t told;
static unsigned int ntold;

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	(void)method;
	(void)target;
	(void)type;
	(void)fd;
	(void)retry;
	(void)max;
	(void)f;
	(void)arg;
	fail_msg("the server was asked");
	return 0;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	(void)a;
	(void)out;
	(void)size;
	(void)code;
	(void)code_size;
}

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	(void)m;
	(void)ovl;
	return 0;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	(void)ovls;
	(void)n;
}

int
chan_send_ibuf(struct chan *ch, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)ch;
	(void)id;
	assert_int_equal(type, IMSG_MANIFEST_FUSE_APPLIED);
	assert_int_equal(fd, -1);
	assert_int_equal(ibuf_get_n64(b, &told), 0);
	assert_int_equal(ibuf_size(b), 0);
	ibuf_free(b);
	ntold++;
	return 0;
}

/* ---- what is safe ---------------------------------------------------------------- */

int __real_db_begin_durable(struct db *);
int __wrap_db_begin_durable(struct db *);
static unsigned int syncs;
static int sync_fails;

int
__wrap_db_begin_durable(struct db *db)
{
	syncs++;
	if (sync_fails) {
		errno = EIO;
		return -1;
	}
	return __real_db_begin_durable(db);
}

/* ---- memory ---------------------------------------------------------------------- */

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

/* Of the allocations from now on, our own and SQLite's, one fails, or from that
   one on all. */
static struct {
	sqlite3_mem_methods real;
	unsigned int at, count; /* at 0: none */
	int all;
} mem;

static int
no_memory(void)
{
	mem.count++;
	if (mem.at == 0 || mem.count < mem.at ||
	    (mem.count > mem.at && !mem.all))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
__wrap_malloc(size_t n)
{
	return no_memory() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __real_realloc(p, n);
}

static void *
sql_malloc(int n)
{
	return no_memory() ? NULL : mem.real.xMalloc(n);
}

static void *
sql_realloc(void *p, int n)
{
	return no_memory() ? NULL : mem.real.xRealloc(p, n);
}

/* Before SQLite is used. */
static int
memory_setup(void **state)
{
	sqlite3_mem_methods m;

	(void)state;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &mem.real),
	    SQLITE_OK);
	m = mem.real;
	m.xMalloc = sql_malloc;
	m.xRealloc = sql_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &m), SQLITE_OK);
	/* Each of its allocations is one of ours. */
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0),
	    SQLITE_OK);
	return 0;
}

/* ---- a disk that does not read ------------------------------------------------------ */

static int reading_fails; /* errno of each read of a segment */

ssize_t
pread(int fd, void *p, size_t len, off_t at)
{
	if (reading_fails != 0 && len > 65536) {
		errno = reading_fails;
		return -1;
	}
	return (ssize_t)syscall(SYS_pread64, fd, p, len, at);
}

#endif
