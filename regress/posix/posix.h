/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What the cases of the POSIX test program share: checks that end a case with
 * what was expected and what was got, and helpers.  Every case runs in a
 * process of its own, whose working directory is fresh and empty.
 */
#ifndef REGRESS_POSIX_H
#define REGRESS_POSIX_H

#include <sys/types.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))
#define NSEC 1000000000LL
#define MODE(st) ((st).st_mode & 07777)

struct posix_case {
	const char *name;
	void (*run)(void);
	int sail; /* 1: only with -s, on a Sail Volumes mount */
};

extern const struct posix_case cases_names[];
extern const struct posix_case cases_dirs[];
extern const struct posix_case cases_files[];
extern const struct posix_case cases_attr[];
extern const struct posix_case cases_perm[];
extern const struct posix_case cases_io[];
extern const struct posix_case cases_optional[];
extern const struct posix_case cases_own[];

extern int sail;            /* -s was given */
extern const char *top_dir; /* absolute: DIR of the command line */

/* Ends the case as failed; the text reads "expected ..., got ...". */
void fail(const char *, ...) __attribute__((format(printf, 1, 2), noreturn));
/* This file system does not have what the case tries: skipped. */
void unsupported(void) __attribute__((noreturn));
const char *errno_name(int);

long long check_ok(long long, const char *, const char *, int);
void check_error(long long, int, const char *, const char *, int);
void check_equal(long long, long long, const char *, const char *, int);
void check_true(int, const char *, const char *, int);

/* The call's result is not negative; its value. */
#define OK(call) check_ok((long long)(call), #call, __FILE__, __LINE__)
/* The call's result is -1 and errno is that. */
#define FAILS(error, call)                                             \
	do {                                                           \
		errno = 0;                                             \
		check_error((long long)(call), error, #call, __FILE__, \
		    __LINE__);                                         \
	} while (0)
#define EQUAL(want, got)                                                 \
	check_equal((long long)(want), (long long)(got), #got, __FILE__, \
	    __LINE__)
#define TRUE(cond) check_true(!!(cond), #cond, __FILE__, __LINE__)

/* Makes a file of that content (a string), mode 0644. */
void put(const char *, const char *);
/* The file of that name, or the descriptor from its start, has that content. */
void content(const char *, const char *);
void fd_content(int, const char *);
/* size bytes of a pattern that tells each position and seed from others. */
void fill(void *, size_t, size_t, unsigned int);
void put_filled(const char *, size_t, unsigned int);
int exists(const char *);
struct stat stat_of(const char *);
struct stat lstat_of(const char *);
struct stat fd_stat(int);
int64_t ns(struct timespec);
/* Long enough for the coarse clock of the kernel's time stamps. */
void tick(void);
/* Runs in a forked child as that user and group; a failed check in it fails
 * the case. */
void as_user(uid_t, gid_t, void (*)(void));
/* A forked child that runs the function and exits with 0. */
pid_t start_child(void (*)(void));
void end_child(pid_t);
/* A directory of nobody, mode 0755 or so, that is the working directory. */
int open_dir(const char *);
/* Whether a directory lists that name. */
int lists(const char *, const char *);

#endif
