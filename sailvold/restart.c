/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * restart: the parent of sailvold(8) takes its own place.
 */
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/db.h"
#include "sailvold/errand.h"
#include "sailvold/inode.h"
#include "sailvold/kept.h"
#include "sailvold/record.h"
#include "sailvold/restart.h"

/* The table is taken over as it is; journal and database may be older. */
#define READS_BEGIN "reads table "
#define READS_FORMAT READS_BEGIN "%llx journal %d to %d database %d to %d"

#define ASK_S 20
#define TEXT_MAX 65536 /* half of it is kept: all versions of KEPT_VERSION */
#define SAID_MAX \
	700         /* with names before it: of an answer 1000 bytes are sent */
#define STOP_MS 500 /* nothing is lost by more force: programs wait */

/* What an errand answers: words when it cannot be. */
struct answer {
	int asked;
	int error;
	char what[6144];
};

struct asking {
	char want[PATH_MAX + 64];
	restart_cb done;
	void *arg;
};

static char program[PATH_MAX], conf[PATH_MAX];
static int is_foreground, is_verbose, wanted;

void
restart_init(const char *conf_path, int foreground, int verbose)
{
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	program[n > 0 ? n : 0] = '\0';
	strlcpy(conf, conf_path, sizeof(conf));
	is_foreground = foreground;
	is_verbose = verbose;
}

static void
line_of(int version, uid_t fuse_uid, const char *state, char *line, size_t size)
{
	snprintf(line, size, "takes over %d %u %s\n", version,
	    (unsigned int)fuse_uid, state);
}

void
restart_print(uid_t fuse_uid, const char *state)
{
	char line[PATH_MAX + 64];
	int version;

	printf(READS_FORMAT "\n", INODE_TABLE_MAGIC, SEGMENT_VERSION_FIRST,
	    SEGMENT_VERSION, DB_SCHEMA_FIRST, DB_SCHEMA_NUMBER);
	/* The one that asks looks for its own; the oldest at the end alone. */
	for (version = KEPT_VERSION; version >= KEPT_OLDEST; version--) {
		line_of(version, fuse_uid, state, line, sizeof(line));
		fputs(line, stdout);
	}
}

/* ---- the question, in a child -------------------------------------------- */

static pid_t
run_check(int out)
{
	static char name[] = "sailvold", n[] = "-n", s[] = "-S", f[] = "-f";
	char *argv[] = { name, n, s, f, conf, NULL };
	pid_t pid;

	if ((pid = fork()) != 0)
		return pid;
	if (dup2(out, 1) == -1 || dup2(out, 2) == -1 ||
	    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == -1)
		_exit(127);
	execv(program, argv);
	_exit(127);
}

/* Until its end; what there is no room for goes from the begin on: the error comes
   last, and so do the lines that are looked for. */
static void
read_last(int fd, char *buf, size_t size)
{
	size_t len = 0, half = size / 2;
	ssize_t n;

	for (;;) {
		if (len == size - 1) {
			memmove(buf, buf + half, len - half);
			len -= half;
		}
		n = read(fd, buf + len, size - 1 - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
}

/* Its last whole lines, of at most that many bytes. */
static const char *
last_lines(const char *text, size_t max)
{
	size_t len = strlen(text);
	const char *at, *nl;

	if (len <= max)
		return text;
	at = text + len - max;
	/* A single one that is longer is cut. */
	nl = at[-1] == '\n' ? at - 1 : strchr(at, '\n');
	return nl != NULL && nl[1] != '\0' ? nl + 1 : at;
}

/* Its messages come before its lines, which are the last; NULL: there is none. */
static const char *
find_line(const char *text, const char *begin)
{
	const char *at = text;

	while ((at = strstr(at, begin)) != NULL && at != text && at[-1] != '\n')
		at++;
	return at;
}

/* What it could not read of what this program's roles leave; NULL. */
static const char *
unreadable(const char *text)
{
	const char *line = find_line(text, READS_BEGIN);
	int journal[2], database[2];
	unsigned long long table;

	if (line == NULL ||
	    sscanf(line, READS_FORMAT, &table, &journal[0], &journal[1],
		&database[0], &database[1]) != 5)
		return "says nothing of its inode table, journal and database";
	if (table != INODE_TABLE_MAGIC)
		return "has another inode table";
	if (SEGMENT_VERSION < journal[0] || SEGMENT_VERSION > journal[1])
		return "does not read this journal";
	if (DB_SCHEMA_NUMBER < database[0] || DB_SCHEMA_NUMBER > database[1])
		return "does not read this database";
	return NULL;
}

static void
judge(const char *want, const char *text, int status, struct answer *a)
{
	const char *lacks;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		snprintf(a->what, sizeof(a->what),
		    "%.2000s cannot be executed: nothing was changed", program);
		a->error = ENOEXEC;
	} else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		snprintf(a->what, sizeof(a->what),
		    "%.2000s does not take %.2000s: nothing was changed: %.1000s",
		    program, conf, last_lines(text, SAID_MAX));
		a->error = EINVAL;
	} else if (find_line(text, want) == NULL) {
		snprintf(a->what, sizeof(a->what),
		    "%.2000s with %.2000s cannot go on with the mounts that there are "
		    "(another version, state folder or user of fuse): nothing "
		    "was changed; stop sailvold, and start it again",
		    program, conf);
		a->error = EINVAL;
	} else if ((lacks = unreadable(text)) != NULL) {
		snprintf(a->what, sizeof(a->what),
		    "%.2000s cannot go on with the mounts that there are: it %s: "
		    "nothing was changed; stop sailvold, and start it again",
		    program, lacks);
		a->error = EINVAL;
	}
}

static int
ask_program(void *arg, void *answer)
{
	const struct asking *q = arg;
	struct answer *a = answer;
	int fds[2], status = -1;
	static char text[TEXT_MAX];
	pid_t pid = -1;

	a->asked = 1;
	alarm(ASK_S); /* what is told then: that it did not answer */
	if (pipe2(fds, O_CLOEXEC) == 0)
		pid = run_check(fds[1]);
	if (pid == -1) {
		a->error = errno;
		return -1;
	}
	close(fds[1]);
	read_last(fds[0], text, sizeof(text));
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	judge(q->want, text, status, a);
	return -1;
}

static void
answered(void *arg, void *answer, int fd)
{
	struct asking *q = arg;
	struct answer *a = answer;

	if (fd != -1)
		close(fd);
	if (!a->asked) {
		a->error = ETIMEDOUT;
		snprintf(a->what, sizeof(a->what),
		    "%.2000s did not say whether it can go on: nothing was changed",
		    program);
	}
	a->what[sizeof(a->what) - 1] = '\0';
	q->done(q->arg, a->error, a->what);
	free(q);
}

void
restart_ask(uid_t fuse_uid, const char *state, restart_cb done, void *arg)
{
	struct errand_spec spec;
	struct asking *q;

	if ((q = calloc(1, sizeof(*q))) == NULL) {
		done(arg, errno, strerror(errno));
		return;
	}
	line_of(KEPT_VERSION, fuse_uid, state, q->want, sizeof(q->want));
	q->done = done;
	q->arg = arg;
	spec = (struct errand_spec){ .run = ask_program,
		.done = answered,
		.arg = q,
		.size = sizeof(struct answer),
		.seconds = ASK_S + 5,
		.about = program };
	if (errand_run(&spec) == -1) {
		done(arg, errno, strerror(errno));
		free(q);
	}
}

/* ---- the deed ------------------------------------------------------------ */

void
restart_now(void)
{
	sigset_t set;

	log_info("restart: becomes %s as it is now", program);
	/* They stay pending, and are for the program after this one. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		log_warn("restart");
	wanted = 1;
	proc_stop_all(STOP_MS);
}

int
restart_wanted(void)
{
	return wanted;
}

void
restart_exec(void)
{
	static char name[] = "sailvold", f[] = "-f", d[] = "-d", v[] = "-v";
	char *argv[6] = { name, f, conf };
	size_t n = 3;

	if (is_foreground)
		argv[n++] = d;
	if (is_verbose)
		argv[n++] = v;
	argv[n] = NULL;
	handover_exec(program, argv);
	log_warn("restart: %s: goes on with the program as it was", program);
	handover_exec("/proc/self/exe", argv);
	log_warn("restart: it cannot be executed either: all mounts end");
}
