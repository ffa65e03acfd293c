/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: each question to fuse and notify is answered exactly once: put again
 * to the next one when it dies, ENODEV when the mount goes, whatever the
 * callback asks or cancels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <fcntl.h>

#include "regress/unit/sailvold/manifest_harness.h"
#include "sailvold/ask.h"

/* ---- stand-ins: channels that only count ------------------------------------------- */

static unsigned int sent, notifies;
static uint32_t sent_type, sent_id;
static int send_fails; /* so */
static size_t unlinked;

static int
take(uint32_t type, uint32_t id, int fd)
{
	if (send_fails != 0) {
		errno = send_fails;
		return -1;
	}
	if (fd != -1)
		close(fd);
	sent++;
	sent_type = type;
	sent_id = id;
	return 0;
}

int
chan_send(struct chan *ch, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	(void)ch;
	(void)data;
	(void)len;
	return take(type, id, fd);
}

int
chan_send_ibuf(struct chan *ch, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	uint16_t n;

	(void)ch;
	if (type == IMSG_MANIFEST_FUSE_UNLINK) {
		assert_int_equal(ibuf_get_n16(b, &n), 0);
		assert_int_equal(ibuf_size(b), n * 8U);
		unlinked += n;
	}
	ibuf_free(b);
	return take(type, id, fd);
}

uint32_t
chan_instance(const struct chan *ch)
{
	(void)ch;
	return 1;
}

uint64_t
journal_reach(const struct mount *m)
{
	(void)m;
	return 5;
}

struct mount *
mount_by_instance(uint32_t instance)
{
	return instance == 1 && !h_mount.gone ? &h_mount : NULL;
}

int
parent_start_notify(struct mount *m)
{
	(void)m;
	notifies++;
	return 0;
}

int
start_fill(struct mount *m, struct start *st, void **keep)
{
	(void)m;
	memset(st, 0, sizeof(*st));
	st->root = (const uint8_t *)"";
	*keep = NULL;
	return 0;
}

/* ---- who asks ------------------------------------------------------------------------ */

static unsigned int answers;
static int last_error, last_writers, ask_more;
static uint64_t last_offset;
static char other;

static void
on_offset(struct mount *m, void *arg, int error, uint64_t offset)
{
	(void)arg;
	answers++;
	last_error = error;
	last_offset = offset;
	if (ask_more) {
		int rc = ask_sync(m, on_offset, NULL);

		assert_int_equal(rc, m->gone ? -1 : 0);
		ask_cancel(m, &other);
	}
}

static void
on_open(struct mount *m, void *arg, int error, int fd, int writers, int rest_fd)
{
	assert_int_equal(rest_fd, -1);
	(void)m;
	(void)arg;
	answers++;
	last_error = error;
	last_writers = writers;
	assert_int_equal(fd != -1, error == 0);
	if (fd != -1)
		close(fd);
}

static void
on_switch(struct mount *m, void *arg, int error, uint32_t writers, int fd)
{
	(void)m;
	(void)arg;
	answers++;
	last_error = error;
	last_writers = (int)writers;
	if (fd != -1)
		close(fd);
}

static void
on_done(struct mount *m, void *arg, int error)
{
	(void)m;
	(void)arg;
	answers++;
	last_error = error;
}

static int fds_before;

static int
setup(void **state)
{
	(void)state;
	log_init("test", 1, 0);
	memset(&h_mount, 0, sizeof(h_mount));
	TAILQ_INIT(&h_mount.asks);
	h_mount.instance = 1;
	h_mount.row.path = strdup("/mnt/x");
	sent = notifies = answers = 0;
	unlinked = 0;
	send_fails = ask_more = 0;
	last_error = -1;
	fds_before = h_count_fds();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ask_mount_gone(&h_mount);
	assert_int_equal(h_count_fds(), fds_before);
	free(h_mount.row.path);
	return 0;
}

static void
fuse_starts(void)
{
	h_mount.fuse = (struct chan *)&sent;
	h_mount.started = 1;
	ask_fuse_started(&h_mount);
}

static void
fuse_dies(void)
{
	h_mount.fuse = NULL;
	h_mount.started = 0;
}

static int
answer(int (*f)(struct chan *, uint32_t, struct imsg *, struct ibuf *),
    uint32_t id, const void *data, size_t len)
{
	struct ibuf *b = ibuf_open(len);
	struct imsg im;
	int rc;

	memset(&im, 0, sizeof(im));
	assert_non_null(b);
	assert_int_equal(ibuf_add(b, data, len), 0);
	rc = f(NULL, id, &im, b);
	ibuf_free(b);
	return rc;
}

static const uint8_t offset6[8] = { 0, 0, 0, 0, 0, 0, 0, 6 };
static const uint8_t offset5[8] = { 0, 0, 0, 0, 0, 0, 0, 5 };

static void
test_again(void **state)
{
	uint32_t id;

	(void)state;
	assert_int_equal(ask_sync(&h_mount, on_offset, NULL), 0);
	assert_int_equal(sent, 0);           /* no fuse yet */
	h_mount.fuse = (struct chan *)&sent; /* one that has no START yet */
	assert_int_equal(ask_reload(&h_mount, on_offset, NULL), 0);
	assert_int_equal(sent, 0);
	fuse_starts();
	assert_int_equal(sent, 2);
	fuse_dies();
	fuse_starts();
	assert_int_equal(sent, 4);
	assert_int_equal(sent_type, IMSG_MANIFEST_FUSE_RELOAD);
	id = sent_id;
	/* The number of one question answers no other. */
	assert_int_equal(answer(ask_sync_res, id, offset5, 8), 0);
	assert_int_equal(answers, 0);
	assert_int_equal(answer(ask_reload_res, id, offset5, 8), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(last_offset, 5);
	assert_int_equal(answer(ask_reload_res, id, offset5, 8), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(answer(ask_reload_res, id, offset5, 7), -1);
	/* What is not written. */
	assert_int_equal(answer(ask_reload_res, id, offset6, 8), -1);
}

/* One that is dead, which nobody has heard yet: it is asked of the next. */
static void
test_dead(void **state)
{
	(void)state;
	fuse_starts();
	h_mount.notify = (struct chan *)&sent;
	send_fails = EPIPE;
	assert_int_equal(ask_sync(&h_mount, on_offset, NULL), 0);
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), 0);
	assert_int_equal(ask_switch(&h_mount, memfd_new("d", "d", 1), on_switch,
			     NULL),
	    0);
	assert_int_equal(ask_tell(&h_mount, memfd_new("t", "t", 1), on_done,
			     NULL),
	    0);
	assert_int_equal(sent, 0);
	send_fails = 0;
	fuse_dies();
	fuse_starts();
	assert_int_equal(sent, 3);
	ask_notify_up(&h_mount);
	assert_int_equal(sent, 4);
	assert_int_equal(answers, 0);
}

/* What cannot be asked again the next manifest asks. */
static void
test_fails_again(void **state)
{
	pid_t pid;
	int i, status, failures[] = { EIO, ENOMEM, EMFILE };

	(void)state;
	fuse_starts();
	assert_int_equal(ask_sync(&h_mount, on_offset, NULL), 0);
	for (i = 0; i < 3; i++) {
		fuse_dies();
		if ((pid = fork()) == 0) {
			send_fails = failures[i];
			fuse_starts();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	}
}

static void
test_gone(void **state)
{
	(void)state;
	fuse_starts();
	assert_int_equal(ask_sync(&h_mount, on_offset, NULL), 0);
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), 0);
	assert_int_equal(ask_switch(&h_mount, memfd_new("d", "d", 1), on_switch,
			     NULL),
	    0);
	assert_int_equal(ask_tell(&h_mount, memfd_new("t", "t", 1), on_done,
			     &other),
	    0);
	assert_int_equal(notifies, 1);
	ask_more = 1; /* and cancels the last one */
	ask_mount_gone(&h_mount);
	assert_int_equal(answers, 3);
	assert_int_equal(last_error, ENODEV);
	assert_true(TAILQ_EMPTY(&h_mount.asks));
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), -1);
	assert_int_equal(errno, ENODEV);
}

static void
test_callback_asks(void **state)
{
	uint32_t first;

	(void)state;
	fuse_starts();
	assert_int_equal(ask_sync(&h_mount, on_offset, &other), 0);
	first = sent_id;
	ask_more = 1; /* cancels itself, which is being answered */
	assert_int_equal(answer(ask_sync_res, first, offset5, 8), 0);
	assert_int_equal(answers, 1);
	assert_int_not_equal(sent_id, first);
	ask_more = 0;
	assert_int_equal(answer(ask_sync_res, sent_id, offset5, 8), 0);
	assert_int_equal(answers, 2);
}

static void
test_open(void **state)
{
	static const uint8_t good[5] = { 0, 0, 0, 0, 1 };
	static const uint8_t bad[5] = { 0, 0, 0, ENOENT, 0 };

	(void)state;
	fuse_starts();
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), 0);
	assert_int_equal(answer(ask_open_res, sent_id, good, 5), 0);
	assert_int_equal(last_error, EBADF); /* it sent no descriptor */
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), 0);
	assert_int_equal(answer(ask_open_res, sent_id, bad, 5), 0);
	assert_int_equal(last_error, ENOENT);
	assert_int_equal(answers, 2);
	send_fails = ENOMEM;
	assert_int_equal(ask_open(&h_mount, 5, on_open, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(ask_switch(&h_mount, memfd_new("d", "d", 1), on_switch,
			     NULL),
	    -1);
	assert_int_equal(answers, 2);
	assert_true(TAILQ_EMPTY(&h_mount.asks));
}

static void
test_notify(void **state)
{
	static const uint8_t told[8] = { 0 };

	(void)state;
	assert_int_equal(ask_tell(&h_mount, memfd_new("t", "t", 1), on_done,
			     NULL),
	    0);
	assert_int_equal(notifies, 1);
	fuse_starts();
	assert_int_equal(sent, 0);
	h_mount.notify = (struct chan *)&sent;
	ask_notify_up(&h_mount);
	assert_int_equal(sent, 1);
	h_mount.notify = NULL;
	ask_notify_down(&h_mount);
	assert_int_equal(notifies, 2);
	h_mount.notify = (struct chan *)&sent;
	ask_notify_up(&h_mount);
	assert_int_equal(sent, 2);
	assert_int_equal(answer(ask_told, sent_id, told, 8), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(last_error, 0);
	h_mount.notify = NULL;
	ask_notify_down(&h_mount); /* nothing to tell: it stays away */
	assert_int_equal(notifies, 2);
}

static void
test_unlink(void **state)
{
	static uint64_t many[10000];

	(void)state;
	tell_unlink(&h_mount, many, 10000);
	assert_int_equal(unlinked, 0);
	fuse_starts();
	tell_unlink(&h_mount, many, 10000);
	assert_int_equal(unlinked, 10000);
	assert_int_equal(sent, 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_again),
		T(test_dead),
		T(test_fails_again),
		T(test_gone),
		T(test_callback_asks),
		T(test_open),
		T(test_notify),
		T(test_unlink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
