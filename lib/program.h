/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * program: finds another program of the suite.  In parents and tools.
 */
#ifndef LIB_PROGRAM_H
#define LIB_PROGRAM_H

#include <stddef.h>

/*
 * The path of a program that is not on anybody's PATH (sailvol-fetch): looked
 * for in the folder of the running program, beside it in a build tree
 * (../NAME/NAME), and in the libexec folder of the installation.  0, or -1
 * and ENOENT.
 */
int program_find(const char *name, char *path, size_t size);

#endif
