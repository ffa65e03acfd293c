/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Every key that is allowed is one regular file, none leaves the folder or
 * meets another's, and the list has all of them in the order of their bytes;
 * what is said to be there stays when the power goes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sailapid/store_file.h"
#include "regress/unit/seed.h"

static char dir[64];
static int root = -1;

/* Folders that were synced, by their numbers. */
static ino_t synced[64];
static size_t nsynced;
static int no_sync;           /* of folders */
static void (*in_sync)(void); /* once, of a folder; then it fails */

/* Instead of the library's. */
int
fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (in_sync != NULL) {
			void (*f)(void) = in_sync;

			in_sync = NULL;
			f();
			errno = EIO;
			return -1;
		}
		if (no_sync) {
			errno = EIO;
			return -1;
		}
		synced[nsynced++ % 64] = st.st_ino;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* Since the last time. */
static int
was_synced(const char *path)
{
	struct stat st;
	size_t i;
	int yes = 0;

	assert_int_equal(fstatat(root, path, &st, 0), 0);
	for (i = 0; i < nsynced && i < 64; i++)
		yes |= synced[i] == st.st_ino;
	return yes;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
setup(void **state)
{
	(void)state;
	strlcpy(dir, "/tmp/test_store.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL)
		return -1;
	root = open(dir, O_RDONLY | O_DIRECTORY);
	return root == -1 ? -1 : store_setup(root);
}

static int
teardown(void **state)
{
	(void)state;
	close(root);
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int
put(const char *key, size_t len, const char *data, int exclusive)
{
	struct store_put p;
	struct stat st;

	assert_null(store_key_problem(key, len));
	assert_int_equal(store_put_begin(root, &p), 0);
	assert_int_equal(store_put_write(&p, data, strlen(data)), 0);
	return store_put_commit(root, &p, key, len, exclusive, &st);
}

static void
expect(const char *key, size_t len, const char *data)
{
	char buf[2048];
	struct stat st;
	int fd = store_get(root, key, len, &st);

	if (data == NULL) {
		assert_int_equal(fd, -1);
		assert_int_equal(errno, ENOENT);
		return;
	}
	assert_int_not_equal(fd, -1);
	assert_int_equal(st.st_size, strlen(data));
	assert_int_equal(read(fd, buf, sizeof(buf)), strlen(data));
	assert_memory_equal(buf, data, strlen(data));
	close(fd);
}

static size_t
count_tmp(void)
{
	char cmd[128], out[32];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "ls '%s/%%tmp' | wc -l", dir);
	assert_non_null(f = popen(cmd, "r"));
	assert_non_null(fgets(out, sizeof(out), f));
	pclose(f);
	return strtoul(out, NULL, 10);
}

static void
test_one(void **state)
{
	struct store_put p;

	(void)state;
	expect("f/ab/x", 6, NULL);
	assert_int_equal(put("f/ab/x", 6, "one", 1), 0);
	expect("f/ab/x", 6, "one");
	assert_int_equal(put("f/ab/x", 6, "two", 1), -1);
	assert_int_equal(errno, EEXIST);
	expect("f/ab/x", 6, "one");
	assert_int_equal(put("f/ab/x", 6, "three", 0), 0);
	expect("f/ab/x", 6, "three");
	assert_int_equal(put("f", 1, "file f", 1), 0);
	assert_int_equal(put("f/", 2, "folder mark", 1), 0);
	expect("f", 1, "file f");
	expect("f/", 2, "folder mark");
	expect("f/ab", 4, NULL);
	assert_int_equal(store_delete(root, "f/ab/x", 6), 0);
	assert_int_equal(store_delete(root, "f/ab/x", 6), 0);
	expect("f/ab/x", 6, NULL);
	assert_int_equal(count_tmp(), 0);
	assert_int_equal(store_put_begin(root, &p), 0);
	assert_int_equal(store_put_write(&p, "x", 1), 0);
	assert_int_equal(count_tmp(), 1);
	store_put_abort(root, &p);
	assert_int_equal(count_tmp(), 0);
	/* What a crash left is gone at the next start. */
	assert_int_equal(store_put_begin(root, &p), 0);
	close(p.fd);
	assert_int_equal(store_setup(root), 0);
	assert_int_equal(count_tmp(), 0);
}

static void
test_bad_keys(void **state)
{
	static const char *bad[] = { "", ".", "..", "a/..", "../a", "a/./b",
		"a/../../b" };
	char big[STORE_KEY_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(store_key_problem(bad[i], strlen(bad[i])));
	assert_non_null(store_key_problem("a\0b", 3));
	memset(big, 'a', sizeof(big));
	assert_null(store_key_problem(big, STORE_KEY_MAX));
	assert_non_null(store_key_problem(big, STORE_KEY_MAX + 1));
	memset(big, '/', sizeof(big));
	assert_non_null(store_key_problem(big, STORE_DEPTH_MAX));
	assert_null(store_key_problem(big, STORE_DEPTH_MAX - 1));
	assert_null(store_key_problem("...", 3));
}

/* A link in the folder leads nowhere. */
static void
test_links(void **state)
{
	(void)state;
	assert_int_equal(symlinkat("/etc", root, "etc%"), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "passwd"), 0);
	expect("etc/passwd", 10, NULL);
	expect("passwd", 6, NULL);
	assert_int_equal(put("etc/new", 7, "x", 0), -1);
	assert_int_equal(count_tmp(), 0);
	assert_int_equal(mkfifoat(root, "fifo", 0600), 0);
	expect("fifo", 4, NULL);
}

/* A name that may not be there after a loss of power is not said to be. */
static void
test_not_synced(void **state)
{
	(void)state;
	assert_int_equal(put("f/ab/x", 6, "one", 1), 0);
	no_sync = 1;
	assert_int_equal(put("f/ab/y", 6, "two", 1), -1);
	assert_int_equal(errno, EIO);
	expect("f/ab/y", 6, NULL);
	assert_int_equal(put("g/ab/y", 6, "two", 1), -1);
	assert_int_equal(errno, EIO);
	/* Nor one that another has just named. */
	assert_int_equal(put("f/ab/x", 6, "one", 1), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(store_there(root, "f/ab/x", 6), -1);
	assert_int_equal(errno, EIO);
	/* The last of those that replace each other is there or is not. */
	assert_int_equal(put("f/ab/x", 6, "three", 0), -1);
	assert_int_equal(errno, EIO);
	expect("f/ab/x", 6, "three");
	no_sync = 0;
	nsynced = 0;
	assert_int_equal(store_there(root, "f/ab/x", 6), 0);
	assert_true(was_synced("f%/ab%"));
	assert_int_equal(put("f/ab/y", 6, "two", 1), 0);
	nsynced = 0;
	assert_int_equal(put("f/ab/y", 6, "two", 1), -1);
	assert_int_equal(errno, EEXIST);
	assert_true(was_synced("f%/ab%"));
	/* The folders that failed are done again. */
	assert_int_equal(put("g/ab/y", 6, "two", 1), 0);
	assert_true(was_synced("."));
	assert_true(was_synced("g%"));
	/* A folder that another worker, or server, has made just now. */
	assert_int_equal(mkdirat(root, "f%/cd%", 0700), 0);
	nsynced = 0;
	assert_int_equal(put("f/cd/z", 6, "four", 1), 0);
	assert_true(was_synced("f%"));
	/* Once is enough. */
	nsynced = 0;
	assert_int_equal(put("f/cd/y", 6, "five", 1), 0);
	assert_int_equal(nsynced, 1);
	assert_int_equal(store_there(root, "f/cd/none", 9), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(store_there(root, "h/cd/none", 9), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(count_tmp(), 0);
	assert_int_equal(faccessat(root, "h%", F_OK, 0), -1);
}

/* ---- lists --------------------------------------------------------------- */

struct seen {
	char keys[512][STORE_KEY_MAX + 1];
	size_t lens[512], n, stop;
	const char *delimiter;
};
static struct seen seen;

static int
see(void *arg, const char *key, size_t len, const struct stat *st)
{
	const char *d;

	(void)arg;
	(void)st;
	assert_true(seen.n < 512);
	memcpy(seen.keys[seen.n], key, len);
	seen.lens[seen.n++] = len;
	if (seen.n == seen.stop)
		return STORE_LIST_STOP;
	if (seen.delimiter != NULL &&
	    (d = memmem(key, len, seen.delimiter, 1)) != NULL)
		return (int)(d - key) + 1;
	return STORE_LIST_NEXT;
}

static int
cmp(const char *a, size_t alen, const char *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	if (c != 0)
		return c;
	return alen < blen ? -1 : alen > blen;
}

static void
test_random_list(void **state)
{
	static char keys[300][STORE_KEY_MAX + 1];
	static const char letters[] = "ab/%\x01\xff!z";
	size_t lens[300], n = 0, i, j, len, want;
	char text[24], *k;
	int r;

	(void)state;
	seeded();
	while (n < 300) {
		k = keys[n];
		len = 1 + (size_t)random() % 6;
		for (i = 0; i < len; i++)
			k[i] = letters[(size_t)random() % 8];
		if (random() % 4 == 0) {
			/* Around the places where a name is cut. */
			j = 236 + (size_t)random() % 8;
			memset(k, '%' + (random() % 2) * ('q' - '%'), j);
			for (i = 0; i < len; i++)
				k[j + i] = letters[(size_t)random() % 8];
			len += j;
		}
		if (store_key_problem(k, len) != NULL)
			continue;
		snprintf(text, sizeof(text), "%zu", n);
		r = put(k, len, text, 1);
		if (r == -1) {
			assert_int_equal(errno, EEXIST);
			continue;
		}
		lens[n++] = len;
	}
	for (i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%zu", i);
		expect(keys[i], lens[i], text);
	}
	seen.n = seen.stop = 0;
	assert_int_equal(store_list(root, "", 0, "", 0, see, NULL), 0);
	assert_int_equal(seen.n, n);
	for (i = 1; i < seen.n; i++)
		assert_true(cmp(seen.keys[i - 1], seen.lens[i - 1],
				seen.keys[i], seen.lens[i]) < 0);
	for (i = 0; i < n; i++) {
		/* After each, and below each of its prefixes. */
		for (want = 0, j = 0; j < n; j++)
			want += cmp(keys[j], lens[j], keys[i], lens[i]) > 0;
		seen.n = 0;
		store_list(root, "", 0, keys[i], lens[i], see, NULL);
		assert_int_equal(seen.n, want);
		len = (size_t)random() % (lens[i] + 1);
		for (want = 0, j = 0; j < n; j++)
			want += lens[j] >= len &&
			    memcmp(keys[j], keys[i], len) == 0;
		seen.n = 0;
		store_list(root, keys[i], len, "", 0, see, NULL);
		assert_int_equal(seen.n, want);
	}
}

static void
test_skip(void **state)
{
	static const char *keys[] = { "a", "a/1", "a/2/3", "a0", "b/1", "b/2",
		"c" };
	static const char *want[] = { "a", "a/1", "a0", "b/1", "c" };
	size_t i;

	(void)state;
	for (i = 0; i < 7; i++)
		assert_int_equal(put(keys[i], strlen(keys[i]), "x", 1), 0);
	memset(&seen, 0, sizeof(seen));
	seen.delimiter = "/";
	assert_int_equal(store_list(root, "", 0, "", 0, see, NULL), 0);
	assert_int_equal(seen.n, 5);
	for (i = 0; i < 5; i++)
		assert_string_equal(seen.keys[i], want[i]);
	memset(&seen, 0, sizeof(seen));
	seen.stop = 2;
	assert_int_equal(store_list(root, "", 0, "a/1", 3, see, NULL), 0);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.keys[0], "a/2/3");
	assert_string_equal(seen.keys[1], "a0");
}

/* Another worker, while a name that is there has yet to be synced. */
static struct {
	pthread_t thread;
	int looks;
	int ret, error;
	atomic_int begun, done;
} other;

static void *
other_run(void *arg)
{
	(void)arg;
	atomic_store(&other.begun, 1);
	other.ret = other.looks ? store_there(root, "f/ab/x", 6)
				: put("f/ab/x", 6, "one", 1);
	other.error = errno;
	atomic_store(&other.done, 1);
	return NULL;
}

/* It has time to say what it should not. */
static void
other_begin(void)
{
	const struct timespec ms = { 0, 1000000 };
	int i;

	assert_int_equal(pthread_create(&other.thread, NULL, other_run, NULL),
	    0);
	for (i = 0; i < 200 && !atomic_load(&other.done); i++)
		nanosleep(&ms, NULL);
	assert_true(atomic_load(&other.begun));
}

/* What one has named and takes away again nobody has said to be there. */
static void
test_taken_away(void **state)
{
	(void)state;
	assert_int_equal(put("f/ab/y", 6, "two", 1), 0);
	for (other.looks = 0; other.looks < 2; other.looks++) {
		other.begun = other.done = 0;
		in_sync = other_begin;
		assert_int_equal(put("f/ab/x", 6, "one", 1), -1);
		assert_int_equal(errno, EIO);
		assert_int_equal(pthread_join(other.thread, NULL), 0);
		if (other.looks) {
			assert_int_equal(other.ret, -1);
			assert_int_equal(other.error, ENOENT);
			expect("f/ab/x", 6, NULL);
		} else {
			assert_int_equal(other.ret, 0);
			expect("f/ab/x", 6, "one");
			assert_int_equal(store_delete(root, "f/ab/x", 6), 0);
		}
	}
	assert_int_equal(count_tmp(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_synced, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_taken_away, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_random_list, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
