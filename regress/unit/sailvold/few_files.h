/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * few_files: openat(2) for the program of a test that is out of descriptors, without
 * a limit of the process: valgrind(1) needs its own.
 */
#ifndef REGRESS_FEW_FILES_H
#define REGRESS_FEW_FILES_H

#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

/* So many can be opened yet; -1: all. */
static int files_left = -1;

int openat(int, const char *, int, ...);

int
openat(int at, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (files_left == 0) {
		errno = EMFILE;
		return -1;
	}
	files_left -= files_left > 0;
	return (int)syscall(SYS_openat, at, name, flags, mode);
}

#endif
