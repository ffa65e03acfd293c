/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * progress: a bar on a terminal.  In sailvolctl.
 */
#ifndef SAILVOLCTL_PROGRESS_H
#define SAILVOLCTL_PROGRESS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Draws the object behind "progress"; nothing when standard error is no
   terminal, or a dumb one.  A signal that ends the program takes it away. */
void progress_show(const json_t *);
/* Takes the bar away, before anything else is written. */
void progress_end(void);
/* "12.3 MiB"; out is cut to size. */
void bytes_text(uint64_t, char *out, size_t size);
/* The bar without its terminal, shorter than width columns. */
void progress_line(const json_t *, int width, char *out, size_t size);

#endif
