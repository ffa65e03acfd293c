/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * names: names of files, as the terminal shall get them.  In sailvolctl.
 */
#ifndef SAILVOLCTL_NAMES_H
#define SAILVOLCTL_NAMES_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* Through vis(3) when f is a terminal; else as they are. */
void name_print(FILE *f, const void *, size_t);
void name_print_json(FILE *f, const json_t *);
/* What a terminal shall get, for free(3). */
char *name_vis(const void *, size_t);

#endif
