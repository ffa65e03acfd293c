/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * complete: completions of shells, and the nearest of the words that somebody
 * may have meant, both from the table of commands.  In sailvolctl.
 */
#ifndef SAILVOLCTL_COMPLETE_H
#define SAILVOLCTL_COMPLETE_H

#include <stdio.h>

/* The script for that shell ("bash", "zsh", "fish"); -1: no such shell. */
int complete_print(FILE *, const char *shell);
/* The command nearest to the words, as it is typed; NULL: none is near. */
const char *command_nearest(const char *first, const char *second);
/* The same of long options, with their dashes. */
const char *option_nearest(const char *word);

#endif
