/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * colour: what may be coloured, and the text of files on a terminal.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_COLOUR_H
#define SAILVOLCTL_COLOUR_H

#include <stddef.h>
#include <stdio.h>

enum colour { COLOUR_NONE = 0, COLOUR_RED, COLOUR_GREEN, COLOUR_CYAN };

/* A terminal, not a dumb one, and without NO_COLOR in the environment. */
int colour_wanted(FILE *);
/* Until COLOUR_NONE; nothing when it is not wanted. */
void colour_set(FILE *, enum colour);
/* A line of a file, perhaps with its end: on a terminal nothing in it moves
   the cursor or does worse; else as it is. */
void line_print(FILE *, const void *, size_t);

#endif
