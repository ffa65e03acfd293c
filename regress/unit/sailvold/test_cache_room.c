/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What the cache gave up is not given up once more because it is not free yet;
 * what others write is made room for all the same; and who asks for room is told
 * to try again when it was given up before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <string.h>

#include "lib/proc.h"
#include "sailvold/cache.h"
#include "sailvold/sailvold_imsg.h"

#define MIB ((int64_t)1 << 20)
#define FILES 400 /* of a MiB each */
#define KEEP (64 * MIB)

struct cache_index cache_index;
static struct event_base *base;
static int64_t disk_free, not_yet; /* given up, and free later */
static int slow;                   /* the file system frees later */
static unsigned int answers;
static uint64_t given;
static struct cache_mount mount;

/* ---- in place of the file system and of the fuses ------------------------------ */

int
cache_store_free(uint64_t keep, int64_t *bytes)
{
	*bytes = disk_free - (int64_t)keep;
	return 0;
}

uint64_t
cache_store_device(void)
{
	return 7;
}

void
cache_give_up(struct cache_entry *e)
{
	if (slow)
		not_yet += (int64_t)e->bytes;
	else
		disk_free += (int64_t)e->bytes;
	cache_index_remove(&cache_index, e);
}

struct cache_mount *
cache_mount_next(struct cache_mount *m)
{
	return m == NULL ? &mount : NULL;
}

struct cache_mount *
cache_mount_find(uint32_t instance)
{
	(void)instance;
	return &mount;
}

struct chan *
role_peer(uint8_t role, uint32_t instance)
{
	(void)role;
	(void)instance;
	return (struct chan *)&mount;
}

uint32_t
chan_instance(const struct chan *c)
{
	(void)c;
	return 3;
}

int
chan_send(struct chan *c, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	(void)c;
	(void)id;
	(void)fd;
	(void)data;
	(void)len;
	assert_int_equal(type, IMSG_CACHE_FUSE_LET_GO);
	return 0;
}

int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)c;
	(void)fd;
	assert_int_equal(type, IMSG_CACHE_FUSE_ROOM_RES);
	assert_int_equal(id, 9);
	assert_int_equal(ibuf_get_n64(b, &given), 0);
	ibuf_free(b);
	answers++;
	return 0;
}

/* ---- a disk that is nearly full ------------------------------------------------- */

static int
setup(void **state)
{
	struct hash h;
	int i;

	(void)state;
	cache_index_init(&cache_index, (uint64_t)1 << 40);
	for (i = 0; i < FILES; i++) {
		hash_bytes(&h, &i, sizeof(i));
		assert_non_null(cache_index_add(&cache_index, &h, MIB, 1, 0));
	}
	disk_free = KEEP;
	not_yet = 0;
	slow = 0;
	answers = 0;
	cache_room_keep((uint64_t)KEEP);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	/* All that was to come has come, or is not waited for any more. */
	disk_free += FILES * MIB;
	(void)cache_reserve(0);
	cache_index_clear(&cache_index);
	return 0;
}

static int64_t
gone(void)
{
	return FILES - (int64_t)cache_index.files;
}

static void
turn(int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void
look(int times)
{
	while (times-- > 0)
		(void)cache_reserve(0);
}

static void
test_at_once(void **state)
{
	(void)state;
	disk_free = KEEP - 10 * MIB;
	look(3);
	assert_int_equal(gone(), 10);
	assert_int_equal(disk_free, KEEP);
	disk_free -= 5 * MIB;
	look(3);
	assert_int_equal(gone(), 15);
}

static void
test_not_twice(void **state)
{
	(void)state;
	slow = 1;
	disk_free = KEEP - 10 * MIB;
	look(10);
	assert_int_equal(gone(), 10);
	/* Others go on. */
	disk_free -= 3 * MIB;
	look(3);
	assert_int_equal(gone(), 13);
	/* Some of it comes. */
	disk_free += 6 * MIB;
	not_yet -= 6 * MIB;
	look(3);
	assert_int_equal(gone(), 13);
	disk_free += not_yet;
	look(3);
	assert_int_equal(gone(), 13);
	assert_int_equal(disk_free, KEEP);
	/* From now on it is as before. */
	disk_free -= MIB;
	look(1);
	assert_int_equal(gone(), 14);
}

/* What never comes: another try now and then, each after a longer time. */
static void
test_never(void **state)
{
	int i;

	(void)state;
	slow = 1;
	disk_free = KEEP - 10 * MIB;
	for (i = 0; i < 150; i++) {
		look(1);
		turn(10);
	}
	assert_in_range(gone(), 20, 100);
}

/* Half of what is to be left free is so, whatever may come. */
static void
test_writer(void **state)
{
	(void)state;
	slow = 1;
	disk_free = KEEP - 40 * MIB;
	look(1);
	assert_int_equal(gone(), 40);
	look(1);
	assert_int_equal(gone(), 48);
}

static void
ask(int64_t wanted)
{
	struct ibuf *b = ibuf_open(16);

	assert_non_null(b);
	assert_int_equal(ibuf_add_n64(b, (uint64_t)wanted), 0);
	assert_int_equal(ibuf_add_n64(b, 7), 0);
	assert_int_equal(cache_room_ask((struct chan *)&mount, 9, NULL, b), 0);
	ibuf_free(b);
}

static void
test_ask(void **state)
{
	(void)state;
	slow = 1;
	disk_free = 1; /* one byte is never counted */
	ask(MIB);
	assert_int_equal(answers, 1);
	assert_int_equal(given, 33 * MIB);
	assert_int_equal(gone(), 33);
	ask(MIB);
	assert_int_equal(answers, 1);
	turn(200);
	assert_int_equal(answers, 2);
	assert_true(given > 0);
	assert_int_equal(gone(), 33);
	disk_free += not_yet;
	ask(MIB);
	assert_int_equal(answers, 3);
	assert_int_equal(given, 0);
	assert_int_equal(gone(), 33);
	/* More than all of it. */
	disk_free = 0;
	ask(2 * FILES * MIB);
	assert_int_equal(given, 0);
	assert_int_equal(gone(), 33);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_at_once),
		T(test_not_twice),
		T(test_never),
		T(test_writer),
		T(test_ask),
	};
	int rc;

	if ((base = event_init()) == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return rc;
}
