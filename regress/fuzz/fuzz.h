/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuzz: what all fuzzers share.  Each is one .c that includes this and defines
 * fuzz_one(): libFuzzer calls it with inputs of any kind, and no input may end
 * the process, write or read where nothing is, or break what fuzz_check() says.
 */
#ifndef REGRESS_FUZZ_H
#define REGRESS_FUZZ_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

#define UNUSED __attribute__((unused))

static void fuzz_one(const uint8_t *, size_t);

/* ---- the input, from front to back; what is lacking is 0 ----------------- */

struct fuzz_in {
	const uint8_t *p;
	size_t left;
};

static UNUSED uint8_t
fuzz_u8(struct fuzz_in *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

static UNUSED uint16_t
fuzz_u16(struct fuzz_in *in)
{
	uint16_t low = fuzz_u8(in);

	return (uint16_t)(low | fuzz_u8(in) << 8);
}

/* At most max bytes, in *len; where a length of two bytes says so. */
static UNUSED const uint8_t *
fuzz_bytes(struct fuzz_in *in, size_t max, size_t *len)
{
	const uint8_t *p;

	*len = fuzz_u16(in);
	if (*len > max)
		*len = max;
	if (*len > in->left)
		*len = in->left;
	p = in->p;
	in->p += *len;
	in->left -= *len;
	return p;
}

/* A copy that ends where the input ends, so that a read beyond it is seen. */
static UNUSED uint8_t *
fuzz_copy(const uint8_t *p, size_t len)
{
	uint8_t *copy = malloc(len);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, p, len);
	return copy;
}

/* The first byte says which of f has the rest. */
static UNUSED void
fuzz_pick(void (*const *f)(const uint8_t *, size_t), size_t n,
    const uint8_t *in, size_t len)
{
	uint8_t *p;

	if (len == 0)
		return;
	p = fuzz_copy(in + 1, len - 1);
	f[in[0] % n](p, len - 1);
	free(p);
}

static UNUSED char *
fuzz_string(const uint8_t *p, size_t len)
{
	char *s = malloc(len + 1);

	if (s == NULL)
		abort();
	if (len > 0)
		memcpy(s, p, len);
	s[len] = '\0';
	return s;
}

#define fuzz_check(what)                                                 \
	do {                                                             \
		if (!(what)) {                                           \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, \
			    __LINE__, #what);                            \
			abort();                                         \
		}                                                        \
	} while (0)

/* ---- the end of a process ------------------------------------------------ */

/* libFuzzer's counters, which it looks at after each input: the linker has us
   told where they are. */
static uint8_t *counters_start, *counters_end;

void __real___sanitizer_cov_8bit_counters_init(uint8_t *, uint8_t *);
void __wrap___sanitizer_cov_8bit_counters_init(uint8_t *, uint8_t *);

__attribute__((no_sanitize("address", "undefined"))) void
__wrap___sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *end)
{
	counters_start = start;
	counters_end = end;
	__real___sanitizer_cov_8bit_counters_init(start, end);
}

static uint8_t *fuzz_counters; /* of the child, for who forked it */
static int fuzz_is_child, fuzz_runs;

/* Statuses that no sanitizer ends with. */
#define FUZZ_ENDED 40

/* A child says what it ran through: whatever way it ends. */
static _Noreturn void
fuzz_end_child(int status)
{
	memcpy(fuzz_counters, counters_start,
	    (size_t)(counters_end - counters_start));
	syscall(SYS_exit_group, FUZZ_ENDED + status);
	abort();
}

/* The linker gives these instead of exit(3) and _exit(2), to libFuzzer too. */
void __real_exit(int) __attribute__((noreturn));
void __wrap_exit(int) __attribute__((noreturn));
void __wrap__exit(int) __attribute__((noreturn));

void
__wrap_exit(int status)
{
	if (fuzz_is_child)
		fuzz_end_child(status);
	if (!fuzz_runs)
		__real_exit(status);
	fprintf(stderr, "exit(%d)\n", status);
	abort();
}

void
__wrap__exit(int status)
{
	__wrap_exit(status);
}

/*
 * Runs an input in a process of its own, for code that keeps state or that may
 * end.  Returns how it ended: the status of exit; any other end is a finding.
 */
#define FUZZ_CHILD_S 20 /* of processor time */

static UNUSED int
fuzz_forked(void (*run)(const uint8_t *, size_t), const uint8_t *p, size_t len)
{
	struct itimerval tv = { .it_value = { FUZZ_CHILD_S, 0 } };
	size_t n = (size_t)(counters_end - counters_start);
	int status;
	pid_t pid;

	if (fuzz_counters == NULL)
		fuzz_counters = mmap(NULL, n, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz_counters == MAP_FAILED || (pid = fork()) == -1)
		abort();
	if (pid == 0) {
		fuzz_is_child = 1;
		signal(SIGPROF, SIG_DFL);
		setitimer(ITIMER_PROF, &tv, NULL);
		run(p, len);
		fuzz_end_child(0);
	}
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			abort();
	memcpy(counters_start, fuzz_counters, n);
	if (!WIFEXITED(status) || WEXITSTATUS(status) < FUZZ_ENDED ||
	    WEXITSTATUS(status) > FUZZ_ENDED + 1) {
		fprintf(stderr, "a child ended with status %#x\n",
		    (unsigned int)status);
		abort();
	}
	return WEXITSTATUS(status) - FUZZ_ENDED;
}

/* ---- what libFuzzer calls ------------------------------------------------ */

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
fuzz_quiet(int priority, const char *line, void *arg)
{
	(void)arg;
	if (priority <= LOG_CRIT || getenv("FUZZ_LOG") != NULL)
		log_line(LOG_DEBUG, "fuzz", line);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_init("fuzz", 1, getenv("FUZZ_LOG") != NULL);
	log_set_sink(fuzz_quiet, NULL);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	fuzz_runs = 1;
	fuzz_one(p, len);
	fuzz_runs = 0;
	return 0;
}

#endif
