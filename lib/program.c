/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * program: finds another program of the suite.  In parents and tools.
 */
#include <sys/stat.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/program.h"

static int __attribute__((format(printf, 3, 4)))
try(char *path, size_t size, const char *fmt, ...)
{
	struct stat st;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, size, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size)
		return 0;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    access(path, X_OK) == 0;
}

int
program_find(const char *name, char *path, size_t size)
{
	char self[PATH_MAX], *slash;
	ssize_t n;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		if ((slash = strrchr(self, '/')) != NULL) {
			*slash = '\0';
			if (try(path, size, "%s/%s", self, name) ||
			    try(path, size, "%s/../%s/%s", self, name, name))
				return 0;
		}
	}
	if (try(path, size, "%s/%s", SAIL_LIBEXECDIR, name))
		return 0;
	errno = ENOENT;
	return -1;
}
