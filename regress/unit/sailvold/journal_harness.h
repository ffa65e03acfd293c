/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_harness: a journal in a folder of its own, and records for it.  Included
 * by the tests of journal.c.
 */
#ifndef REGRESS_JOURNAL_HARNESS_H
#define REGRESS_JOURNAL_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/hash.h"
#include "sailvold/journal.h"
#include "sailvold/record.h"

#include "regress/unit/sailvold/few_files.h"

static char dir[] = "/tmp/test_journal.XXXXXX";
static const uint8_t mount_id[16] = { 1 }, conn_a[16] = { 2 },
		     conn_b[16] = { 3 };

/* How often the journal's folder was synced; that fails. */
static int dir_syncs, dir_sync_fails;

int
fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode) && dir_sync_fails) {
		errno = EIO;
		return -1;
	}
	dir_syncs += S_ISDIR(st.st_mode);
	return (int)syscall(SYS_fsync, fd);
}

/* A bad sector behind that place; -1: none. */
static off_t bad_from = -1;

ssize_t
pread(int fd, void *p, size_t len, off_t at)
{
	if (bad_from != -1 && at + (off_t)len > bad_from) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)syscall(SYS_pread64, fd, p, len, at);
}

static int renames_fail;

int
renameat(int from, const char *a, int to, const char *b)
{
	if (renames_fail) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from, a, to, b, 0);
}

static inline int
in_dir(void **state)
{
	(void)state;
	strlcpy(dir, "/tmp/test_journal.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	return chdir(dir);
}

static inline int
out_of_dir(void **state)
{
	char cmd[64];

	(void)state;
	journal_close();
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static inline size_t
encode(struct wbuf *w, uint64_t unique, uint64_t ovl)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_DROP;
	r.unique = unique;
	r.ovl = ovl;
	wbuf_init(w, 1 << 20);
	record_encode(w, &r);
	assert_int_equal(w->error, 0);
	return w->len;
}

static inline int
append(uint64_t unique, uint64_t ovl)
{
	struct wbuf w;
	int rc, error;

	encode(&w, unique, ovl);
	rc = journal_append(w.data, w.len);
	error = errno;
	wbuf_free(&w);
	errno = error;
	return rc;
}

static inline int
count_segments(void)
{
	char name[64];
	int n = 0;
	FILE *p = popen("ls journal | grep -Exc '[0-9a-f]{16}'", "r");

	assert_non_null(p);
	assert_non_null(fgets(name, sizeof(name), p));
	n = (int)strtol(name, NULL, 10);
	pclose(p);
	return n;
}

/* Many records at once, n times. */
static inline void
append_many(int n)
{
	static uint8_t many[1024 * 1024];
	struct wbuf w;
	size_t one, len = 0;

	one = encode(&w, 2, 1);
	while (len + one <= sizeof(many)) {
		memcpy(many + len, w.data, one);
		len += one;
	}
	wbuf_free(&w);
	while (n-- > 0)
		assert_int_equal(journal_append(many, len), 0);
}

static unsigned int begun;

static inline void
on_begun(uint64_t first, int fd, void *arg)
{
	(void)first;
	(void)arg;
	close(fd);
	begun++;
}

#endif
