/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what fuse asks waits for nothing that will never be written, more than
 * any fuse asks at a time is not taken, and each question has an answer, also when
 * there is no memory for it, or the role ends; while fuse has many answers to read
 * the others wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "regress/unit/sailvold/manifest_harness.h"
#include "sailvold/load.h"

#define MOST 65536

/* ---- stand-ins: a journal that is not applied yet ----------------------------------- */

static struct {
	applied_cb f;
	void *arg;
} waits[MOST + 1];
static unsigned int nwaits, answers, fail_sends;
static int fail_errno;
static uint32_t said, unread;

uint64_t
journal_reach(const struct mount *m)
{
	(void)m;
	return 5;
}

int
applied_wait_or(struct mount *m, uint64_t offset, applied_cb f,
    applied_cb broken, void *arg)
{
	(void)m;
	assert_in_range(offset, 0, 5);
	assert_non_null(broken);
	waits[nwaits].f = f;
	waits[nwaits++].arg = arg;
	return 0;
}

struct mount *
mount_by_instance(uint32_t instance)
{
	return instance == 1 ? &h_mount : NULL;
}

uint32_t
chan_instance(const struct chan *ch)
{
	(void)ch;
	return 1;
}

uint32_t
chan_queued_fds(const struct chan *ch)
{
	assert_non_null(ch);
	return unread;
}

int
chan_send_ibuf(struct chan *ch, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)ch;
	(void)id;
	assert_int_equal(type, IMSG_MANIFEST_FUSE_OBJECT_RES);
	assert_int_equal(fd, -1);
	if (fail_sends > 0) {
		fail_sends--;
		ibuf_free(b);
		errno = fail_errno;
		return -1;
	}
	assert_int_equal(ibuf_get_n32(b, &said), 0);
	ibuf_free(b);
	answers++;
	return 0;
}

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max_answer, server_cb f, void *arg)
{
	(void)method;
	(void)target;
	(void)type;
	(void)fd;
	(void)retry;
	(void)max_answer;
	(void)f;
	(void)arg;
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

/* ---- questions ------------------------------------------------------------------------ */

static char fuse; /* an address of a channel */

static int
ask_for(uint64_t offset, uint64_t ovl)
{
	struct ibuf *b = ibuf_dynamic(16, 16);
	int rc;

	assert_non_null(b);
	assert_int_equal(ibuf_add_n64(b, offset), 0);
	assert_int_equal(ibuf_add_n64(b, ovl), 0);
	rc = load_object((struct chan *)(void *)&fuse, 1, NULL, b);
	ibuf_free(b);
	return rc;
}

static int
ask(uint64_t offset)
{
	return ask_for(offset, 99);
}

static void
answer_all(void)
{
	unsigned int i, n = nwaits;

	nwaits = 0;
	for (i = 0; i < n; i++)
		waits[i].f(&h_mount, waits[i].arg);
}

static void
test_not_written(void **state)
{
	(void)state;
	assert_int_equal(ask(5), 0);
	assert_int_equal(ask(6), -1);
	assert_int_equal(ask(UINT64_MAX), -1);
	assert_int_equal(nwaits, 1);
	answer_all();
	assert_int_equal(answers, 1);
}

static void
test_too_many(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < MOST; i++)
		assert_int_equal(ask(5), 0);
	assert_int_equal(ask(5), -1);
	/* Of a fuse that died they count until they are let go. */
	load_fuse_down((struct chan *)(void *)&fuse);
	answers = 0;
	answer_all();
	assert_int_equal(answers, 0);
	assert_int_equal(ask(5), 0);
	answer_all();
	assert_int_equal(answers, 1);
}

static void
test_no_room(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(ask_for(5, OVL_ROOT), 0);
	answer_all();
	assert_int_equal(answers, 1);
	assert_int_equal(said, 0);
	assert_int_equal(ask_for(5, OVL_ROOT), 0);
	fail_sends = 1;
	fail_errno = ENOMEM;
	answer_all();
	assert_int_equal(answers, 2);
	assert_int_equal(said, ENOMEM);
	/* Who went needs none. */
	assert_int_equal(ask_for(5, OVL_ROOT), 0);
	fail_sends = 1;
	fail_errno = EPIPE;
	answer_all();
	assert_int_equal(answers, 2);
	assert_int_equal(h_mount.questions, 0);
	/* Nothing can be said. */
	assert_int_equal(ask_for(5, OVL_ROOT), 0);
	fail_errno = ENOMEM;
	fail_sends = 2;
	if ((pid = fork()) == 0) {
		answer_all();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	fail_sends = 0;
	answer_all();
	assert_int_equal(answers, 3);
}

static void
turn(void)
{
	struct timeval tv = { 0, 100 * 1000 };

	event_base_loopexit(h_base, &tv);
	event_base_dispatch(h_base);
}

/* A fuse that is slow to read is not one that never does. */
static void
test_unread(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++)
		assert_int_equal(ask_for(5, OVL_ROOT), 0);
	unread = 500;
	answer_all();
	turn();
	assert_int_equal(answers, 0);
	assert_int_equal(h_mount.questions, 10);
	unread = 3;
	turn();
	assert_int_equal(answers, 10);
	assert_int_equal(said, 0);
	assert_int_equal(h_mount.questions, 0);
	/* It dies meanwhile. */
	unread = 500;
	assert_int_equal(ask_for(5, OVL_ROOT), 0);
	answer_all();
	load_fuse_down((struct chan *)(void *)&fuse);
	turn();
	assert_int_equal(answers, 10);
	assert_int_equal(h_mount.questions, 0);
}

static int
setup(void **state)
{
	struct hash base;
	struct entry root;

	(void)state;
	h_open();
	root = h_dir(NULL, 0);
	base = h_commit(&root, 1);
	h_mount_begin(&base, "", &root);
	nwaits = answers = unread = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	h_close();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_not_written, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unread, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
