/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a short-lived child hands back what it found, has no descriptor of its
 * parent's, and is waited for until it is late and no longer; one that is late
 * and lives is not joined by a second about the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/proc_base.h"
#include "sailvold/errand.h"

struct answer {
	int fds, said;
	pid_t pid;
};

static struct answer got;
static int calls, late, refused, got_errno, got_fd;
static const char *again_about;

static int
count_fds(void)
{
	struct dirent *e;
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n - 1;
}

static int
answers(void *arg, void *answer)
{
	struct answer *a = answer;

	a->fds = count_fds();
	a->said = 42 + (int)*(uid_t *)arg;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int
dies(void *arg, void *answer)
{
	(void)arg;
	(void)answer;
	_exit(3);
}

static int
hangs(void *arg, void *answer)
{
	(void)arg;
	(void)answer;
	while (pause() == -1)
		;
	return -1;
}

static void run(int (*)(void *, void *), const char *about, uid_t);

static void
done(void *arg, void *answer, int fd)
{
	got_errno = errno;
	calls++;
	memcpy(&got, answer, sizeof(got));
	got_fd = fd;
	if (got_errno != ETIMEDOUT)
		return;
	/* It is killed, and not seen to have ended yet. */
	late++;
	if (again_about != NULL)
		run(answers, again_about, *(uid_t *)arg);
}

static uid_t number;

static void
run(int (*f)(void *, void *), const char *about, uid_t uid)
{
	const struct errand_spec spec = { .run = f,
		.done = done,
		.arg = &number,
		.size = sizeof(struct answer),
		.seconds = f == hangs ? 1 : 60,
		.about = about,
		.uid = uid };

	number = uid;
	if (errand_run(&spec) == -1) {
		assert_int_equal(errno, ETIMEDOUT);
		refused++;
	}
}

static void
wait_for(int n)
{
	while (calls < n)
		event_base_loop(proc_base(), EVLOOP_ONCE);
}

/* All have ended, and were waited for. */
static void
none_left(void)
{
	while (
	    event_base_get_num_events(proc_base(), EVENT_BASE_COUNT_ADDED) > 0)
		event_base_loop(proc_base(), EVLOOP_ONCE);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int
begin(void **state)
{
	(void)state;
	calls = late = refused = 0;
	again_about = NULL;
	return 0;
}

static void
an_answer(void **state)
{
	int more[4], i;

	(void)state;
	for (i = 0; i < 4; i++)
		more[i] = open("/dev/null", O_RDONLY);
	run(answers, "/a", 0);
	wait_for(1);
	assert_int_equal(got_errno, 0);
	assert_int_equal(got.said, 42);
	assert_int_equal(got.fds, 4); /* 0 to 2, and its channel */
	assert_true(got_fd != -1);
	close(got_fd);
	for (i = 0; i < 4; i++)
		close(more[i]);
	none_left();
}

static void
a_death(void **state)
{
	(void)state;
	run(dies, "/a", 0);
	wait_for(1);
	assert_int_equal(got_errno, EAGAIN);
	assert_int_equal(got.said, 0);
	assert_int_equal(got_fd, -1);
	none_left();
}

static void
a_late_one(void **state)
{
	(void)state;
	again_about = "/a";
	run(hangs, "/a", 0);
	wait_for(1);
	assert_int_equal(got_errno, ETIMEDOUT);
	assert_int_equal(got.said, 0);
	assert_int_equal(got_fd, -1);
	assert_int_equal(refused, 1);
	again_about = "/b";
	run(hangs, "/a2", 0);
	wait_for(3);
	assert_int_equal(refused, 1);
	assert_int_equal(got.said, 42);
	close(got_fd);
	none_left();
	/* It has ended. */
	run(answers, "/a", 0);
	wait_for(4);
	assert_int_equal(refused, 1);
	close(got_fd);
	none_left();
}

/* Of a user there are not many; root has no such limit. */
static void
late_ones_of_a_user(void **state)
{
	char about[16];
	uid_t uid;
	int i;

	(void)state;
	for (uid = 0; uid <= 1000; uid += 1000) {
		begin(NULL);
		for (i = 0; i < 8; i++) {
			snprintf(about, sizeof(about), "/%d", i);
			run(hangs, about, uid);
		}
		again_about = "/more";
		/* All are late in one turn of the loop. */
		usleep(1100 * 1000);
		while (late < 8)
			event_base_loop(proc_base(), EVLOOP_ONCE);
		assert_int_equal(refused, uid != 0);
		wait_for(16 - refused);
		none_left();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_answer, begin),
		cmocka_unit_test_setup(a_death, begin),
		cmocka_unit_test_setup(a_late_one, begin),
		cmocka_unit_test_setup(late_ones_of_a_user, begin),
	};

	log_init("test", 1, 0);
	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
