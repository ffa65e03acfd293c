/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A parent starts its roles in their sandbox, connects them, restarts and
 * reconnects what dies, slows down what dies again and again, and stops all.
 * The daemon of this test is the test itself, executed again with -R.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/proc.h"
#include "lib/sandbox.h"
#include "regress/unit/proc_roles.h"

/* ---- the parent ---------------------------------------------------------- */

static struct proc *sign, *cache;
static int nready, ndeaths, last_status, ups, downs, again = 1;
static uint32_t heard;
static char result[128], logged[64 * 1024], dir[64];
#define LOG_PIPE_BYTES (1024 * 1024) /* a full one takes no lines */
static int log_pipe[2], old_stderr;

static int
p_heard(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)id;
	(void)imsg;
	assert_ptr_equal(chan_arg(c), cache);
	return ibuf_get(body, &heard, sizeof(heard));
}

static int
p_peers(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	char ch;

	(void)c;
	(void)id;
	(void)imsg;
	assert_int_equal(ibuf_get(body, &ch, 1), 0);
	if (ch == '1')
		ups++;
	else
		downs++;
	return 0;
}

static int
p_result(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	size_t n = ibuf_size(body);

	(void)c;
	(void)id;
	(void)imsg;
	assert_int_equal(ibuf_get(body, result, n), 0);
	result[n] = '\0';
	return 0;
}

static const struct msg_rule sign_rules[] = {
	{ M_PEERS, ROLE_SIGN, CHAN_NOFD, 1, 1, p_peers, "peers" },
	{ M_RESULT, ROLE_SIGN, CHAN_NOFD, 1, 100, p_result, "result" },
};
static const struct msg_rule cache_rules[] = {
	{ M_PEERS, ROLE_CACHE, CHAN_NOFD, 1, 1, p_peers, "peers" },
	{ M_RESULT, ROLE_CACHE, CHAN_NOFD, 1, 100, p_result, "result" },
	{ M_HEARD, ROLE_CACHE, CHAN_NOFD, 4, 4, p_heard, "heard" },
};

static int
p_configure(struct proc *p, void *arg)
{
	return chan_send(proc_chan(p), M_CONF, 0, -1, arg, strlen(arg));
}

static void
p_ready(struct proc *p, void *arg)
{
	assert_ptr_equal(proc_arg(p), arg);
	nready++;
}

static int
p_death(struct proc *p, int status, void *arg)
{
	(void)arg;
	assert_int_equal(proc_pid(p), -1);
	assert_null(proc_chan(p));
	ndeaths++;
	last_status = status;
	if (!again && p == sign)
		sign = NULL;
	return again;
}

static void
step(int ms)
{
	struct timeval tv = { 0, ms * 1000 };

	event_loopexit(&tv);
	event_dispatch();
}

/* Throws away what was logged since, but for its lines' number: 1. */
static unsigned int lines;

static int
count_lines(void)
{
	char buf[4096];
	ssize_t n, i;

	while ((n = read(log_pipe[0], buf, sizeof(buf))) > 0)
		for (i = 0; i < n; i++)
			lines += buf[i] == '\n';
	return 1;
}

/* Takes what was logged since. */
static void
read_log(void)
{
	size_t used = strlen(logged);
	ssize_t n;

	while ((n = read(log_pipe[0], logged + used,
		    sizeof(logged) - 1 - used)) > 0)
		used += (size_t)n;
	logged[used] = '\0';
}

static void
dump_log(void)
{
	read_log();
	dprintf(old_stderr, "log:\n%s\n", logged);
}

#define WAIT_MS(cond, ms)                                             \
	do {                                                          \
		monotime_t end = monotime_add_ms(monotime_now(), ms); \
		while (!(cond) && !monotime_reached(end))             \
			step(5);                                      \
		if (!(cond)) {                                        \
			dump_log();                                   \
			fail_msg("not within %d ms: %s", ms, #cond);  \
		}                                                     \
	} while (0)
#define WAIT(cond) WAIT_MS(cond, 20000)

static int
is_logged(const char *want)
{
	read_log();
	return strstr(logged, want) != NULL;
}

static void
expect_log(const char *want)
{
	if (!is_logged(want)) {
		dump_log();
		fail_msg("not logged: %s", want);
	}
}

static void
command(struct proc *p, const char *what)
{
	result[0] = '\0';
	assert_int_equal(chan_send(proc_chan(p), M_DO, 0, -1, what,
			     strlen(what)),
	    0);
}

static struct proc *
start(uint8_t role, char *what)
{
	struct proc_spec spec = {
		.role = role,
		.instance = role == ROLE_SIGN ? 3 : 9,
		.title = role == ROLE_SIGN ? "sign one" : "cache nine",
		.uid = UID,
		.gid = GID,
		.chroot_dir = role == ROLE_CACHE ? dir : NULL,
		.rules = role == ROLE_SIGN ? sign_rules : cache_rules,
		.nrules = role == ROLE_SIGN ? 2 : 3,
		.configure = p_configure,
		.on_ready = p_ready,
		.on_death = p_death,
		.arg = what,
	};
	struct proc *p = proc_start(&spec);

	assert_non_null(p);
	assert_ptr_equal(proc_find(role, spec.instance), p);
	return p;
}

static int
setup(void **state)
{
	static char go[] = "go";

	(void)state;
	nready = ndeaths = ups = downs = 0;
	again = 1;
	logged[0] = '\0';
	strlcpy(dir, "/tmp/test_proc.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL || chown(dir, UID, GID) == -1)
		return -1;
	if (pipe2(log_pipe, O_NONBLOCK | O_CLOEXEC) == -1 ||
	    fcntl(log_pipe[1], F_SETPIPE_SZ, LOG_PIPE_BYTES) == -1 ||
	    (old_stderr = fcntl(2, F_DUPFD_CLOEXEC, 100)) == -1 ||
	    dup2(log_pipe[1], 2) == -1)
		return -1;
	sign = start(ROLE_SIGN, go);
	cache = start(ROLE_CACHE, go);
	assert_int_equal(proc_connect(sign, cache), 0);
	assert_int_equal(proc_connect(cache, sign), 0);
	WAIT(nready == 2 && ups == 2);
	return 0;
}

static void
count(struct proc *p, void *arg)
{
	(void)p;
	++*(int *)arg;
}

static int
teardown(void **state)
{
	char path[128];
	int n = 0;

	(void)state;
	proc_stop_all(5000);
	event_dispatch();
	proc_foreach(count, &n);
	assert_int_equal(n, 0);
	/* Nobody is left behind. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	snprintf(path, sizeof(path), "%s/made", dir);
	unlink(path);
	rmdir(dir);
	dup2(old_stderr, 2);
	close(old_stderr);
	close(log_pipe[0]);
	close(log_pipe[1]);
	return 0;
}

static void
proc_file(const char *name, pid_t pid, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	assert_int_not_equal(fd = open(path, O_RDONLY | O_CLOEXEC), -1);
	n = read(fd, buf, size - 1);
	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

static void
test_sandbox_in_force(void **state)
{
	char buf[8192], path[64];
	ssize_t n;

	(void)state;
	proc_file("status", proc_pid(sign), buf, sizeof(buf));
	assert_non_null(strstr(buf, "\nUid:\t54321\t54321\t54321\t54321\n"));
	assert_non_null(strstr(buf, "\nGid:\t54322\t54322\t54322\t54322\n"));
	assert_non_null(strstr(buf, "\nGroups:\t54322 \n"));
	assert_non_null(strstr(buf, "\nNoNewPrivs:\t1\n"));
	assert_non_null(strstr(buf, "\nSeccomp:\t2\n"));
	assert_non_null(strstr(buf, "\nCapEff:\t0000000000000000\n"));
	assert_non_null(strstr(buf, "\nCapPrm:\t0000000000000000\n"));
	snprintf(path, sizeof(path), "/proc/%d/root", (int)proc_pid(sign));
	n = readlink(path, buf, sizeof(buf) - 1);
	assert_true(n > 1);
	buf[n] = '\0';
	assert_non_null(strstr(buf, "(deleted)"));
	snprintf(path, sizeof(path), "/proc/%d/root", (int)proc_pid(cache));
	n = readlink(path, buf, sizeof(buf) - 1);
	buf[n] = '\0';
	assert_string_equal(buf, dir);
	proc_file("cmdline", proc_pid(cache), buf, sizeof(buf));
	assert_string_equal(buf, "test_proc: cache nine");
	command(sign, "self");
	WAIT(result[0] != '\0');
	assert_true(
	    strncmp(result, "3 54321 sign one chroot,uid,nnp,", 32) == 0);
	assert_non_null(strstr(result, ",seccomp"));
	command(sign, "env");
	WAIT(result[0] != '\0');
	assert_string_equal(result, "clean 0 1");
}

static void
test_messages(void **state)
{
	(void)state;
	assert_int_equal(chan_send(proc_chan(sign), M_ASK, 0, -1, NULL, 0), 0);
	WAIT(heard == (uint32_t)proc_pid(sign));
	command(sign, "open");
	WAIT(result[0] != '\0');
	assert_string_equal(result, "-1 Permission denied");
	command(cache, "files");
	WAIT(result[0] != '\0');
	assert_string_equal(result, "made no etc");
	command(cache, "threads");
	WAIT(result[0] != '\0');
	assert_string_equal(result, "joined");
	command(sign, "log");
	WAIT(result[0] != '\0');
	expect_log("test: sign one: a line with\\nnew line\n");
	assert_null(strstr(logged, "a debug line"));
	proc_set_verbose(1);
	command(sign, "log");
	WAIT(result[0] != '\0');
	expect_log("test: sign one: a debug line\n");
	proc_set_verbose(0);
}

static void
test_killed_is_restarted_and_reconnected(void **state)
{
	pid_t old = proc_pid(sign);
	char want[128];

	(void)state;
	heard = 0;
	kill(old, SIGKILL);
	/* Both ends come up again, and the other one saw the end. */
	WAIT(nready == 3 && ups == 4 && downs == 1);
	assert_int_equal(ndeaths, 1);
	assert_true(WIFSIGNALED(last_status));
	assert_int_not_equal(proc_pid(sign), old);
	assert_int_equal(chan_send(proc_chan(sign), M_ASK, 0, -1, NULL, 0), 0);
	WAIT(heard == (uint32_t)proc_pid(sign));
	snprintf(want, sizeof(want),
	    "role \"sign one\" (pid %d) killed by signal 9 (SIGKILL)\n",
	    (int)old);
	expect_log(want);
	/* At once, not with a pause. */
	assert_null(strstr(logged, "starts again in"));
}

static void
test_forbidden_calls(void **state)
{
	static const char *const what[] = { "socket", "exec", "fork" };
	char want[128];
	size_t i;
	pid_t pid;

	(void)state;
	for (i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		pid = proc_pid(sign);
		command(sign, what[i]);
		WAIT(ndeaths == (int)i + 1);
		assert_true(WIFSIGNALED(last_status));
		assert_int_equal(WTERMSIG(last_status), SIGSYS);
		snprintf(want, sizeof(want),
		    "role \"sign one\" (pid %d) killed by signal 31 (SIGSYS): "
		    "it broke its filter\n",
		    (int)pid);
		expect_log(want);
		WAIT(nready == (int)i + 3 && ups == 2 * (int)i + 4);
	}
}

static void
test_deaths(void **state)
{
	(void)state;
	command(sign, "fatal");
	WAIT(nready == 3);
	assert_true(WIFEXITED(last_status));
	/* The last words come first. */
	expect_log("sign one: fatal: so be it\ntest: role \"sign one\"");
	command(sign, "exit");
	WAIT(nready == 4);
	expect_log("exited with status 3\n");
	command(sign, "abort");
	WAIT(nready == 5);
	expect_log("(SIGABRT)\n");
	command(sign, "nonsense");
	WAIT(nready == 6);
	expect_log("channel to sign 3: message 4711 is not allowed: it is "
		   "ended for that\n");
	again = 0;
	command(sign, "exit");
	WAIT(sign == NULL);
	assert_null(proc_find(ROLE_SIGN, 3));
	WAIT(downs == 5);
}

static void
test_crash_loop_backs_off(void **state)
{
	static char crash[] = "crash";

	(void)state;
	again = 0;
	command(sign, "exit");
	WAIT(sign == NULL);
	again = 1;
	ndeaths = 0;
	sign = start(ROLE_SIGN, crash);
	/* 0, 100, 300, 700 ms after the first. */
	WAIT(ndeaths == 4);
	expect_log("starts again in 100 ms\n");
	expect_log("starts again in 200 ms\n");
	expect_log("starts again in 400 ms\n");
	expect_log("(SIGKILL)\n");
	assert_false(proc_ready(sign));
	/* Stopped while it waits: gone without another start, and who has it is
	   told. */
	WAIT(proc_pid(sign) == -1);
	ndeaths = 0;
	proc_stop(sign, 100);
	WAIT(proc_find(ROLE_SIGN, 3) == NULL);
	assert_int_equal(ndeaths, 1);
	assert_int_equal(last_status, 0);
}

/* Who is killed again and again by others is waited for a second at most. */
static void
test_killed_young(void **state)
{
	int i, n;

	(void)state;
	for (i = 0; i < 6; i++) {
		n = ndeaths;
		WAIT(proc_pid(sign) != -1);
		kill(proc_pid(sign), SIGKILL);
		WAIT(ndeaths == n + 1);
	}
	expect_log("starts again in 800 ms\n");
	expect_log("starts again in 1000 ms\n");
	WAIT(proc_ready(sign));
}

/* A role that is bad to its peer ends, and the peer does not, however often. */
static void
test_bad_peer(void **state)
{
	pid_t good = proc_pid(cache), bad;
	int i;

	(void)state;
	for (i = 1; i <= 6; i++) {
		command(sign, "bad word");
		WAIT(ndeaths == i && nready == 2 + i && ups == 2 + 2 * i);
		assert_int_equal(WTERMSIG(last_status), SIGKILL);
	}
	expect_log("cache nine: channel to sign 3: message 4711 is not "
		   "allowed\n");
	expect_log("it broke the rules, says \"cache nine\": it is "
		   "ended for that\n");
	assert_null(strstr(logged, "starts again in"));
	/* Then they have no channel, until one of them has been started. */
	bad = proc_pid(sign);
	command(sign, "bad word");
	WAIT(is_logged("it blames \"sign one\" again and again, and is not "
		       "heard"));
	assert_int_equal(proc_pid(sign), bad);
	kill(bad, SIGKILL);
	WAIT(ndeaths == 7 && nready == 9 && ups == 16);
	assert_int_equal(proc_pid(cache), good);
	heard = 0;
	assert_int_equal(chan_send(proc_chan(sign), M_ASK, 0, -1, NULL, 0), 0);
	WAIT(heard == (uint32_t)proc_pid(sign));
}

/* A good one that is blamed again and again is there again at once, and stays in
   the end. */
static void
test_liar(void **state)
{
	pid_t good, liar = proc_pid(sign);
	int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		command(sign, "lie");
		WAIT(ndeaths > i && proc_ready(cache) && ups >= 2 * i + 4);
	}
	good = proc_pid(cache);
	command(sign, "lie");
	WAIT(strcmp(result, "lied") == 0);
	expect_log(
	    "it blames \"cache nine\" again and again, and is not heard: "
	    "they have no channel now\n");
	assert_null(strstr(logged, "starts again in"));
	/* And that is said once. */
	logged[0] = '\0';
	command(sign, "lie");
	WAIT(strcmp(result, "lied") == 0);
	read_log();
	assert_null(strstr(logged, "is not heard"));
	assert_int_equal(ndeaths, 6);
	assert_int_equal(proc_pid(cache), good);
	assert_int_equal(proc_pid(sign), liar);
}

/* Clean deaths in between do not make the back-off of a bad one short. */
static void
test_guilt_lasts(void **state)
{
	(void)state;
	command(sign, "nonsense");
	WAIT(ndeaths == 1 && nready == 3);
	step(1100);
	command(sign, "nonsense");
	WAIT(ndeaths == 2 && nready == 4);
	expect_log("starts again in 200 ms\n");
	step(1100);
	kill(proc_pid(sign), SIGKILL);
	WAIT(ndeaths == 3 && nready == 5);
	expect_log("starts again in 200 ms\n");
}

static void
test_log_flood(void **state)
{
	(void)state;
	lines = 0;
	command(sign, "flood");
	WAIT(count_lines() && result[0] != '\0');
	count_lines();
	assert_true(lines > 20000 && lines < 20100);
}

static void
test_stop(void **state)
{
	(void)state;
	proc_stop(sign, 5000);
	WAIT(ndeaths == 1);
	assert_true(WIFEXITED(last_status));
	assert_int_equal(WEXITSTATUS(last_status), 0);
	assert_null(proc_find(ROLE_SIGN, 3));
	expect_log("test: sign one: stops cleanly\n");
	/* Who does not listen is killed. */
	command(cache, "hang");
	step(50);
	proc_stop(cache, 100);
	WAIT(ndeaths == 2);
	assert_true(WIFSIGNALED(last_status));
	assert_int_equal(WTERMSIG(last_status), SIGKILL);
}

/* Another parent, which dies without a word; its own exec. */
static int
short_parent(void)
{
	static char go[] = "go";
	uint32_t role;

	if (proc_parent_init(0) == -1)
		return 1;
	sign = start(ROLE_SIGN, go);
	WAIT(nready == 1);
	role = (uint32_t)proc_pid(sign);
	if (write(1, &role, sizeof(role)) != sizeof(role))
		return 1;
	return raise(SIGKILL);
}

static void
test_parent_dies(void **state)
{
	char path[64];
	uint32_t role = 0;
	int fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execl("/proc/self/exe", "test_proc", "parent", (char *)NULL);
		_exit(77);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &role, sizeof(role)), sizeof(role));
	close(fds[0]);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "/proc/%u/stat", role);
	/* It is somebody else's child now: gone, or a zombie. */
	WAIT(access(path, F_OK) == -1 ||
	    (proc_file("stat", (pid_t)role, result, sizeof(result)),
		strstr(result, ") Z ") != NULL));
}

/* A tool of a user, who is not root, starts a role of the same user. */
static int
user_parent(void)
{
	static char user[] = "user";

	if (setgid(GID) == -1 || setuid(UID) == -1 || proc_parent_init(0) == -1)
		return 1;
	sign = start(ROLE_SIGN, user);
	WAIT(nready == 1);
	command(sign, "self");
	WAIT(result[0] != '\0');
	if (write(1, result, strlen(result)) == -1)
		return 1;
	proc_stop_all(5000);
	event_dispatch();
	return 0;
}

static void
test_not_root(void **state)
{
	char buf[256];
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execl("/proc/self/exe", "test_proc", "user", (char *)NULL);
		_exit(77);
	}
	close(fds[1]);
	n = read(fds[0], buf, sizeof(buf) - 1);
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (n <= 0 || status != 0) {
		dump_log();
		fail_msg("status %d", status);
	}
	buf[n] = '\0';
	assert_true(strncmp(buf, "3 54321 sign one nnp,", 21) == 0);
	assert_non_null(strstr(buf, ",seccomp"));
}

static void
test_not_by_hand(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		close(3);
		execl("/proc/self/exe", "test_proc", "-R", "sign",
		    (char *)NULL);
		_exit(77);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	expect_log("-R: not started by the parent process\n");
}

static void
test_missing_exec(void **state)
{
	struct proc_spec spec = {
		.role = ROLE_FETCH,
		.title = "fetch",
		.exec = "/nonexistent/sailvol-fetch",
		.uid = UID,
		.gid = GID,
	};
	struct proc *p;

	(void)state;
	assert_non_null(p = proc_start(&spec));
	WAIT(proc_pid(p) == -1);
	expect_log("/nonexistent/sailvol-fetch could not be executed\n");
	spec.chroot_dir = "/nonexistent";
	assert_null(proc_start(&spec));
	assert_int_equal(errno, ENOENT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(test_sandbox_in_force),
		T(test_messages),
		T(test_killed_is_restarted_and_reconnected),
		T(test_forbidden_calls),
		T(test_deaths),
		T(test_crash_loop_backs_off),
		T(test_killed_young),
		T(test_bad_peer),
		T(test_liar),
		T(test_guilt_lasts),
		T(test_log_flood),
		T(test_stop),
		T(test_parent_dies),
		T(test_not_root),
		T(test_not_by_hand),
		T(test_missing_exec),
	};
	uint8_t role;

	if (role_wanted(argc, argv, &role))
		role_main(&defs[role == ROLE_SIGN ? 0 : 1], argc, argv);
	if (geteuid() != 0) {
		fprintf(stderr, "skipped: must be root\n");
		return 0;
	}
	log_init("test", 1, 0);
	if (argc == 2 && strcmp(argv[1], "parent") == 0)
		return short_parent();
	if (argc == 2 && strcmp(argv[1], "user") == 0)
		return user_parent();
	if (proc_parent_init(0) == -1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
