/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The loops that make bench takes the time of: one piece of work each, done
 * once; prints the nanoseconds it took.
 *
 *	workload create DIR FILES BYTES	in directories of 100
 *	workload stat | read		of paths in standard input
 *	workload seqread | seqwrite FILE
 *	workload randread | randwrite FILE OPERATIONS
 */

#include <sys/stat.h>

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (1024 * 1024)
#define PAGE 4096
#define A_DIRECTORY 100

struct paths {
	char **path;
	size_t count;
};

static char block[BLOCK];

static uint64_t
now(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		err(1, "clock_gettime");
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Of a fixed seed: each run does the same. */
static uint64_t
next_random(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void
fill(void)
{
	size_t i;
	uint64_t r;

	for (i = 0; i < sizeof(block); i += sizeof(r)) {
		r = next_random();
		memcpy(block + i, &r, sizeof(r));
	}
}

static uint64_t
number(const char *text)
{
	char *end;
	unsigned long long n;

	n = strtoull(text, &end, 10);
	if (*text == '\0' || *end != '\0')
		errx(2, "not a number: %s", text);
	return n;
}

static int
open_or_die(const char *path, int flags)
{
	int fd;

	fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd == -1)
		err(1, "%s", path);
	return fd;
}

static uint64_t
create(const char *top, uint64_t files, size_t bytes)
{
	char path[4096];
	uint64_t i, start;
	int fd, n;

	if (bytes > sizeof(block))
		errx(2, "files of at most %zu bytes", sizeof(block));
	start = now();
	for (i = 0; i < files; i++) {
		n = snprintf(path, sizeof(path), "%s/d%05ju", top,
		    (uintmax_t)(i / A_DIRECTORY));
		if (n < 0 || (size_t)n >= sizeof(path) - 16)
			errx(1, "path too long");
		if (i % A_DIRECTORY == 0 && mkdir(path, 0755) == -1)
			err(1, "%s", path);
		snprintf(path + n, sizeof(path) - (size_t)n, "/f%05ju",
		    (uintmax_t)i);
		memcpy(block, &i, sizeof(i)); /* each its own content */
		fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
		if (write(fd, block, bytes) != (ssize_t)bytes)
			err(1, "%s: write", path);
		close(fd);
	}
	return now() - start;
}

static struct paths
read_paths(void)
{
	struct paths p = { NULL, 0 };
	char *line = NULL;
	size_t size = 0, room = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (p.count == room) {
			room = room == 0 ? 1024 : room * 2;
			p.path = reallocarray(p.path, room, sizeof(*p.path));
			if (p.path == NULL)
				err(1, NULL);
		}
		if ((p.path[p.count++] = strdup(line)) == NULL)
			err(1, NULL);
	}
	free(line);
	return p;
}

static uint64_t
stat_all(void)
{
	struct paths p = read_paths();
	struct stat st;
	uint64_t start;
	size_t i;

	start = now();
	for (i = 0; i < p.count; i++)
		if (lstat(p.path[i], &st) == -1)
			err(1, "%s", p.path[i]);
	return now() - start;
}

static uint64_t
read_all(void)
{
	struct paths p = read_paths();
	uint64_t start;
	ssize_t n;
	size_t i;
	int fd;

	start = now();
	for (i = 0; i < p.count; i++) {
		fd = open_or_die(p.path[i], O_RDONLY);
		while ((n = read(fd, block, sizeof(block))) > 0)
			;
		if (n == -1)
			err(1, "%s: read", p.path[i]);
		close(fd);
	}
	return now() - start;
}

static uint64_t
sequential(const char *path, int is_write)
{
	uint64_t start;
	off_t at, size;
	ssize_t n;
	int fd;

	fd = open_or_die(path, is_write ? O_RDWR : O_RDONLY);
	if ((size = lseek(fd, 0, SEEK_END)) == -1)
		err(1, "%s", path);
	start = now();
	for (at = 0; at < size; at += n) {
		size_t want = size - at < BLOCK ? (size_t)(size - at) : BLOCK;

		n = is_write ? pwrite(fd, block, want, at)
			     : pread(fd, block, want, at);
		if (n <= 0)
			err(1, "%s", path);
	}
	start = now() - start;
	close(fd);
	return start;
}

static uint64_t
scattered(const char *path, uint64_t operations, int is_write)
{
	uint64_t i, pages, start;
	off_t size;
	ssize_t n;
	int fd;

	fd = open_or_die(path, is_write ? O_RDWR : O_RDONLY);
	if ((size = lseek(fd, 0, SEEK_END)) == -1)
		err(1, "%s", path);
	if ((pages = (uint64_t)size / PAGE) == 0)
		errx(1, "%s: too small", path);
	start = now();
	for (i = 0; i < operations; i++) {
		off_t at = (off_t)(next_random() % pages * PAGE);

		n = is_write ? pwrite(fd, block, PAGE, at)
			     : pread(fd, block, PAGE, at);
		if (n != PAGE)
			err(1, "%s", path);
	}
	start = now() - start;
	close(fd);
	return start;
}

int
main(int argc, char *argv[])
{
	const char *what = argc > 1 ? argv[1] : "";
	uint64_t took;

	fill();
	if (argc == 5 && strcmp(what, "create") == 0)
		took =
		    create(argv[2], number(argv[3]), (size_t)number(argv[4]));
	else if (argc == 2 && strcmp(what, "stat") == 0)
		took = stat_all();
	else if (argc == 2 && strcmp(what, "read") == 0)
		took = read_all();
	else if (argc == 3 &&
	    (strcmp(what, "seqread") == 0 || strcmp(what, "seqwrite") == 0))
		took = sequential(argv[2], strcmp(what, "seqwrite") == 0);
	else if (argc == 4 &&
	    (strcmp(what, "randread") == 0 || strcmp(what, "randwrite") == 0))
		took = scattered(argv[2], number(argv[3]),
		    strcmp(what, "randwrite") == 0);
	else {
		fprintf(stderr, "usage: workload WORK ...: see workload.c\n");
		return 2;
	}
	printf("%ju\n", (uintmax_t)took);
	return 0;
}
