/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what an overlay file lacks is read as it was written, slot by slot it
 * becomes less, also for who reads the file anew, and a file that is not one of
 * these is refused, wherever it was changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/rest.h"

#define SLOTS 9

static struct wbuf image;
static struct hash commit = { .b = { 7, 7 } };

/* Slots 3 and 4 are a hole. */
static int
setup(void **state)
{
	struct chunklist *cl;
	struct hash h = { .b = { 1 } };
	int i;

	(void)state;
	cl = chunklist_new((uint64_t)(SLOTS - 1) * (8 << 20) + 5, 23);
	for (i = 0; i < SLOTS; i++) {
		h.b[1] = (uint8_t)i;
		if (i == 3 || i == 4)
			chunklist_add_hole(cl, 1);
		else
			chunklist_add(cl, &h);
	}
	wbuf_init(&image, 65536);
	rest_encode(&image, &commit, "a/b", 3, cl);
	chunklist_free(cl);
	return image.error;
}

static int
file_of(const uint8_t *data, size_t len)
{
	int fd = memfd_create("rest", MFD_CLOEXEC);

	assert_int_equal(write(fd, data, len), (ssize_t)len);
	return fd;
}

static void
reads(void **state)
{
	int fd = file_of(image.data, image.len);
	struct rest *r;
	int i;

	(void)state;
	r = rest_read(fd);
	assert_non_null(r);
	assert_int_equal(hash_cmp(&r->commit, &commit), 0);
	assert_int_equal(r->path_len, 3);
	assert_memory_equal(r->path, "a/b", 3);
	assert_int_equal(r->nabsent, SLOTS - 2);
	for (i = 0; i < SLOTS + 2; i++)
		assert_int_equal(rest_absent(r, (uint64_t)i),
		    i < SLOTS && i != 3 && i != 4);
	assert_int_equal(rest_here(r, fd, 0), 0);
	assert_int_equal(rest_here(r, fd, 0), 0);
	assert_int_equal(rest_here(r, fd, 3), 0);
	assert_int_equal(rest_here(r, fd, SLOTS - 1), 0);
	assert_int_equal(rest_here(r, fd, SLOTS), 0);
	assert_int_equal(r->nabsent, SLOTS - 4);
	rest_free(r);
	r = rest_read(fd);
	assert_non_null(r);
	assert_int_equal(r->nabsent, SLOTS - 4);
	assert_int_equal(rest_absent(r, 0), 0);
	assert_int_equal(rest_absent(r, 1), 1);
	assert_int_equal(rest_absent(r, SLOTS - 1), 0);
	rest_free(r);
	close(fd);
}

static void
refuses(void **state)
{
	uint8_t copy[4096] = { 0 };
	struct rest *r;
	size_t i;
	int fd;

	(void)state;
	assert_true(image.len < sizeof(copy));
	for (i = 0; i <= image.len; i++) {
		memcpy(copy, image.data, image.len);
		copy[i] ^= 0x40;
		/* Changed there; one byte more; shorter. */
		fd = file_of(copy, i < image.len ? image.len : image.len + 1);
		assert_null(rest_read(fd));
		assert_int_equal(errno, EBADMSG);
		close(fd);
		if (i == image.len)
			break;
		fd = file_of(image.data, i);
		assert_null(rest_read(fd));
		close(fd);
	}
	/* A hole that is to be had. */
	memcpy(copy, image.data, image.len);
	copy[image.len - SLOTS + 3] = 1;
	fd = file_of(copy, image.len);
	r = rest_read(fd);
	assert_null(r);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
	};
	int rc;

	rc = cmocka_run_group_tests(tests, setup, NULL);
	wbuf_free(&image);
	return rc;
}
