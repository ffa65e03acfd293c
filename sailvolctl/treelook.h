/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * treelook: tells whether what is below a name was changed between two looks.
 * In sailvolctl.
 */
#ifndef SAILVOLCTL_TREELOOK_H
#define SAILVOLCTL_TREELOOK_H

#include "lib/hash.h"

/*
 * Of name in dir and all that is below it: what stat(2) says, except when and
 * as what it was renamed itself.  No link is followed.  Two that are equal: it
 * is the same.  -1 and errno.
 */
int treelook(int dir, const char *name, struct hash *);

#endif
