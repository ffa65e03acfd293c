/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: when not all that changed can be told to the kernel one by one, the
 * names in the root are told that it is below, and nothing dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/handle.h"
#include "sailvold/tell.h"

#define SLOTS 256
#define NAMES 40
#define MAX 800 /* bytes: room for NAMES and more, not for NAMES twice */

static uint32_t
known(uint32_t parent, const char *name)
{
	uint32_t idx = inode_new(parent, name, strlen(name), 0);

	assert_int_not_equal(idx, 0);
	inode_ref(idx);
	return idx;
}

static void
crowded(void **state)
{
	uint32_t a, b, deep;
	const uint8_t *name;
	unsigned int i, told_b = 0, told_deep = 0;
	struct tell t;
	struct rbuf r;
	uint64_t id;
	uint8_t kind;
	size_t len;
	char text[16];
	int fd, rc;

	(void)state;
	fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)table_bytes(SLOTS)), 0);
	assert_int_equal(inode_open(fd, SLOTS, 0), 0);
	handle_open_table(0);
	a = known(INODE_ROOT, "a");
	b = known(INODE_ROOT, "b");
	deep = known(known(b, "c"), "d");
	tell_begin(&t, MAX);
	for (i = 0; i < NAMES; i++) {
		snprintf(text, sizeof(text), "name%02u", i);
		tell_add(&t, TELL_ENTRY, a, text, strlen(text));
	}
	assert_false(t.lost);
	for (i = 0; i < NAMES; i++) {
		snprintf(text, sizeof(text), "name%02u", i);
		tell_add(&t, TELL_ENTRY, deep, text, strlen(text));
		tell_add(&t, TELL_ATTR, deep, "", 0);
	}
	assert_true(t.crowded);
	assert_false(t.lost);
	rbuf_init(&r, t.w.data, t.w.len);
	while ((rc = tell_decode(&r, &kind, &id, &name, &len)) == 1) {
		told_deep += id == inode_id(deep);
		told_b += kind == TELL_ENTRY && id == inode_id(INODE_ROOT) &&
		    len == 1 && *name == 'b';
	}
	assert_int_equal(rc, 0);
	assert_true(told_deep < 2 * NAMES);
	assert_int_equal(told_b, 1);
	/* Names in the root are as they are; what is too much is left out. */
	for (i = 0; i < NAMES; i++)
		tell_add(&t, TELL_ENTRY, INODE_ROOT, "long name", 9);
	assert_true(t.lost);
	assert_true(t.w.len <= MAX && t.w.error == 0);
	wbuf_free(&t.w);
	inode_close();
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(crowded) };

	log_init("test", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
