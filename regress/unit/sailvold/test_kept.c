/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a record gives back the volume and the session that it was made of;
 * what is another version, shorter, not sealed, or says lengths that do not fit
 * is refused, and nothing beyond it is read; registered files are there again,
 * and none of a damaged record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/backing.h"
#include "sailvold/kept.h"

static int
begin(void **state)
{
	(void)state;
	log_init("test", 1, 0);
	return 0;
}

static struct kept *
made(int *fd)
{
	struct kept *k = kept_new(fd);

	assert_non_null(k);
	return k;
}

static void
same_again(void **state)
{
	char name[] = "shared-data", path[] = "/mnt/a \"b\"\\c", sub[] = "x/y";
	struct conf_volume v = { .name = name, .path = path, .subpath = sub },
			   *back;
	struct session s, t;
	struct kept *k, *other;
	int fd;

	(void)state;
	v.flags = MOUNT_READONLY | MOUNT_NOEXEC | MOUNT_CONFIGURED;
	v.owner = 1000;
	v.ids.base = 200000;
	v.ids.count = 65536;
	v.policy.commit_every = 0;
	v.policy.overlay_limit = 12345678;
	k = made(&fd);
	assert_int_equal(kept_set_volume(k, &v), 0);
	memset(&s, 0, sizeof(s));
	memset(s.connection, 7, sizeof(s.connection));
	memset(s.init, 9, sizeof(s.init));
	s.init_len = sizeof(s.init);
	s.mount_id = UINT64_MAX;
	kept_set_session(k, &s);
	assert_non_null(other = kept_open(fd));
	assert_non_null(back = kept_volume(other));
	assert_string_equal(back->name, name);
	assert_string_equal(back->path, path);
	assert_string_equal(back->subpath, sub);
	assert_int_equal(back->flags, v.flags);
	assert_int_equal(back->owner, 1000);
	assert_int_equal(back->ids.base, 200000);
	assert_int_equal(back->policy.overlay_limit, 12345678);
	conf_volume_free(back);
	kept_session(other, &t);
	assert_int_equal(t.fuse_fd, -1);
	assert_int_equal(t.mount_id, UINT64_MAX);
	assert_int_equal(t.init_len, sizeof(t.init));
	assert_memory_equal(t.init, s.init, sizeof(s.init));
	assert_memory_equal(t.connection, s.connection, sizeof(s.connection));
	kept_free(other);
	kept_free(k);
	close(fd);
}

static void
refused(int fd, int error)
{
	assert_null(kept_open(fd));
	assert_int_equal(errno, error);
}

static void
not_one(void **state)
{
	struct kept *k, *other;
	int fd, null;

	(void)state;
	k = made(&fd);
	k->version = KEPT_VERSION + 1;
	refused(fd, EPROTONOSUPPORT);
	k->version = KEPT_OLDEST - 1;
	refused(fd, EPROTONOSUPPORT);
	k->version = KEPT_OLDEST;
	assert_non_null(other = kept_open(fd));
	assert_int_equal(k->version, KEPT_VERSION);
	kept_free(other);
	k->init_len = sizeof(k->init) + 1;
	refused(fd, EBADMSG);
	k->init_len = 0;
	k->volume_len = UINT32_MAX;
	refused(fd, EBADMSG);
	/* Nothing in it, and no volume. */
	k->volume_len = 0;
	assert_non_null(other = kept_open(fd));
	assert_null(kept_volume(other));
	kept_free(other);
	memcpy(k->volume, "volume {", 8);
	k->volume_len = 8;
	assert_non_null(other = kept_open(fd));
	assert_null(kept_volume(other));
	kept_free(other);
	memset(k->volume_id, 'v', sizeof(k->volume_id));
	refused(fd, EBADMSG);
	strlcpy(k->volume_id, "a/b", sizeof(k->volume_id));
	refused(fd, EBADMSG);
	strlcpy(k->volume_id, "vol_1", sizeof(k->volume_id));
	assert_non_null(other = kept_open(fd));
	kept_free(other);
	k->volume_id[0] = '\0';
	memset(k->folder, 'f', sizeof(k->folder));
	refused(fd, EBADMSG);
	k->folder[0] = '\0';
	k->magic[0] = 'X';
	refused(fd, EBADMSG);
	kept_free(k);
	close(fd);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	refused(null, EBADMSG);
	close(null);
	refused(-1, EBADMSG);
}

static void
too_short(void **state)
{
	static const char head[] = "SAILKEPT";
	const uint32_t version = KEPT_VERSION;
	int fd;

	(void)state;
	fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, head, 8), 8);
	assert_int_equal(write(fd, &version, sizeof(version)), 4);
	/* It could be made shorter under the reader. */
	refused(fd, EBADMSG);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	refused(fd, EBADMSG);
	close(fd);
}

static void
registered(void **state)
{
	struct backings all;
	struct kept *k;
	int fd;

	(void)state;
	k = made(&fd);
	k->backings[3].ovl = 70;
	k->backings[3].id = 5;
	k->backings[3].used = 1;
	k->backings[BACKING_MAX - 1].ovl = 80;
	k->backings[BACKING_MAX - 1].id = 6;
	k->backings[BACKING_MAX - 1].used = 1;
	memset(&all, 0, sizeof(all));
	all.folder_fd = -1;
	all.kept = k->backings;
	assert_int_equal(backing_adopt(&all), 0);
	assert_int_equal(all.n, 2);
	backing_free(&all);
	assert_int_equal(k->backings[3].used, 0);
	assert_int_equal(k->backings[BACKING_MAX - 1].used, 0);
	/* The same twice. */
	k->backings[3].used = k->backings[4].used = 1;
	k->backings[4].ovl = 70;
	assert_int_equal(backing_adopt(&all), -1);
	assert_int_equal(errno, EBADMSG);
	backing_free(&all);
	kept_free(k);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_again),
		cmocka_unit_test(not_one),
		cmocka_unit_test(too_short),
		cmocka_unit_test(registered),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
