/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * handover: descriptors by name, to the next program or process.
 */
#include <sys/queue.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"
#include "lib/supervisor.h"

#define FIRST_FD 3
#define COUNT_MAX 16384
#define TIMES "SAIL_HANDOVERS"
#define NAMES "LISTEN_FDNAMES"

struct handed {
	TAILQ_ENTRY(handed) link;
	char name[HANDOVER_NAME_MAX];
	int fd;
	int up; /* a second one, above all numbers that they will have; -1 */
	enum handover_kind kind;
};
TAILQ_HEAD(handed_list, handed);

static struct handed_list came = TAILQ_HEAD_INITIALIZER(came);
static struct handed_list kept = TAILQ_HEAD_INITIALIZER(kept);
static unsigned int times;

/* A number of the environment, which is taken out of it; 0: none, or not one. */
static unsigned long
env_number(const char *name, unsigned long max)
{
	const char *s = getenv(name);
	unsigned long n = 0;
	char *end;

	if (s != NULL && *s >= '0' && *s <= '9') {
		errno = 0;
		n = strtoul(s, &end, 10);
		if (errno != 0 || *end != '\0' || n > max)
			n = 0;
	}
	unsetenv(name);
	return n;
}

static int
is_name(const char *s, size_t len)
{
	return len > 0 && len < HANDOVER_NAME_MAX &&
	    strspn(s,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789-") >= len;
}

static struct handed *
find(struct handed_list *list, const char *name)
{
	struct handed *h;

	TAILQ_FOREACH (h, list, link)
		if (strcmp(h->name, name) == 0)
			return h;
	return NULL;
}

static int
add(struct handed_list *list, const char *name, size_t len, int fd,
    enum handover_kind kind)
{
	struct handed *h;

	if (!is_name(name, len)) {
		errno = EINVAL;
		return -1;
	}
	if ((h = calloc(1, sizeof(*h))) == NULL)
		return -1;
	memcpy(h->name, name, len);
	h->fd = fd;
	h->up = -1;
	h->kind = kind;
	TAILQ_INSERT_TAIL(list, h, link);
	return 0;
}

/* ---- what came ----------------------------------------------------------- */

void
handover_init(void)
{
	unsigned long pid = env_number("LISTEN_PID", 1UL << 30), i, n;
	const char *names = getenv(NAMES);
	size_t len;
	int fd;

	n = env_number("LISTEN_FDS", COUNT_MAX);
	times = (unsigned int)env_number(TIMES, 1UL << 30);
	if (pid != (unsigned long)getpid())
		n = 0; /* of another process, whose child this is */
	for (i = 0; i < n; i++) {
		fd = FIRST_FD + (int)i;
		len = names != NULL ? strcspn(names, ":") : 0;
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
			log_warn("descriptor %d of LISTEN_FDS", fd);
		else if (add(&came, names != NULL ? names : "", len, fd,
			     HANDOVER_EXEC) == -1) {
			log_warnx("descriptor %d of LISTEN_FDS has no name "
				  "that is known: it is closed",
			    fd);
			close(fd);
		}
		if (names != NULL)
			names = names[len] == ':' ? names + len + 1 : NULL;
	}
	unsetenv(NAMES);
}

unsigned int
handover_times(void)
{
	return times;
}

int
handover_take(const char *name)
{
	struct handed *h = find(&came, name);
	int fd;

	if (h == NULL)
		return -1;
	fd = h->fd;
	TAILQ_REMOVE(&came, h, link);
	free(h);
	return fd;
}

int
handover_next(const char *prefix, char name[HANDOVER_NAME_MAX])
{
	struct handed *h;

	TAILQ_FOREACH (h, &came, link)
		if (strncmp(h->name, prefix, strlen(prefix)) == 0) {
			memcpy(name, h->name, sizeof(h->name));
			return 1;
		}
	return 0;
}

void
handover_refuse(const char *name, int fd)
{
	supervisor_drop(name);
	close(fd);
}

void
handover_rest(void)
{
	struct handed *h;

	while ((h = TAILQ_FIRST(&came)) != NULL) {
		log_warnx("%s was handed over, and is not needed", h->name);
		handover_refuse(h->name, h->fd);
		TAILQ_REMOVE(&came, h, link);
		free(h);
	}
}

/* ---- what is to go on ---------------------------------------------------- */

int
handover_keep(const char *name, int fd, enum handover_kind kind)
{
	if (find(&kept, name) != NULL) {
		errno = EEXIST;
		return -1;
	}
	if (add(&kept, name, strlen(name), fd, kind) == -1)
		return -1;
	if (kind == HANDOVER_STORE)
		supervisor_store(name, fd);
	return 0;
}

static void
close_up(struct handed *h)
{
	if (h->up != -1)
		close(h->up);
	h->up = -1;
}

void
handover_drop(const char *name)
{
	struct handed *h = find(&kept, name);

	if (h == NULL)
		return;
	if (h->kind == HANDOVER_STORE)
		supervisor_drop(name);
	close_up(h);
	TAILQ_REMOVE(&kept, h, link);
	free(h);
}

/* The longest string of an environment, with its NUL (execve(2)). */
static size_t
string_max(void)
{
	return 32 * (size_t)sysconf(_SC_PAGESIZE);
}

/* How many there are; -1 and E2BIG: more than can be told. */
static int
count(void)
{
	size_t size = sizeof(NAMES) + 1;
	struct handed *h;
	int n = 0;

	TAILQ_FOREACH (h, &kept, link) {
		size += strlen(h->name) + 1;
		if (++n <= COUNT_MAX && size <= string_max())
			continue;
		errno = E2BIG;
		return -1;
	}
	return n;
}

static int
move_up(int n)
{
	struct handed *h;
	int fd;

	TAILQ_FOREACH (h, &kept, link) {
		if (h->fd >= FIRST_FD + n || h->up >= FIRST_FD + n)
			continue;
		fd = fcntl(h->fd, F_DUPFD_CLOEXEC, FIRST_FD + n);
		if (fd == -1) {
			/* That number is above the limit. */
			if (errno == EINVAL)
				errno = EMFILE;
			return -1;
		}
		close_up(h);
		h->up = fd;
	}
	return 0;
}

int
handover_prepare(void)
{
	struct handed *h;
	int n = count(), saved;

	if (n != -1 && move_up(n) == 0)
		return 0;
	saved = errno;
	TAILQ_FOREACH (h, &kept, link)
		close_up(h);
	errno = saved;
	return -1;
}

int
handover_exec(const char *path, char *const argv[])
{
	int n = count(), fd = FIRST_FD;
	char text[32], *names = NULL;
	size_t size = string_max();
	struct handed *h;

	supervisor_flush();
	if (n == -1 || (names = calloc(1, size)) == NULL || move_up(n) == -1)
		goto fail;
	TAILQ_FOREACH (h, &kept, link) {
		if (dup2(h->fd >= FIRST_FD + n ? h->fd : h->up, fd++) == -1)
			goto fail;
		if (names[0] != '\0')
			strlcat(names, ":", size);
		strlcat(names, h->name, size);
	}
	/* The numbers below are others now. */
	TAILQ_FOREACH (h, &kept, link)
		if (h->fd < FIRST_FD + n)
			h->fd = h->up;
	/* What nobody marked must not be another's either. */
	if (close_range((unsigned int)fd, ~0U, CLOSE_RANGE_CLOEXEC) == -1)
		goto fail;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	if (setenv("LISTEN_PID", text, 1) == -1)
		goto fail;
	snprintf(text, sizeof(text), "%d", n);
	if (setenv("LISTEN_FDS", text, 1) == -1 ||
	    setenv(NAMES, names, 1) == -1)
		goto fail;
	snprintf(text, sizeof(text), "%u", times + 1);
	if (setenv(TIMES, text, 1) == -1 || supervisor_restore() == -1)
		goto fail;
	free(names);
	names = NULL;
	execv(path, argv);
fail:
	free(names);
	return -1;
}
