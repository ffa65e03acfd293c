/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * path: names and paths of a volume, checked where they enter.  A path is
 * relative to the root of the volume, components joined by '/', without one in
 * front or behind; the root is "".  Bytes, not characters.
 */
#ifndef LIB_PATH_H
#define LIB_PATH_H

#include <stddef.h>
#include <stdint.h>

#define SAIL_NAME_MAX 255
#define SAIL_PATH_MAX 4096
#define SAIL_TARGET_MAX 4095
#define SAIL_DEPTH_MAX 1024
#define SAIL_SIZE_MAX ((uint64_t)1 << 53)
#define SAIL_XATTRS_MAX (64 * 1024)
#define SAIL_VOLUME_NAME_MAX 128

/*
 * NULL when the name may stand in a directory, else why not: empty, too long,
 * "." or "..", has '/' or NUL, reserved (.sailvol, .sail_volume.json).
 */
const char *name_problem(const void *name, size_t len);
int name_is_reserved(const void *name, size_t len);
/* The same for a path: each component, length, depth. "" is fine. */
const char *path_problem(const void *path, size_t len);
/* The order of deltas: component by component by memcmp(3), so that what is
   below a directory follows it. */
int path_cmp(const void *a, size_t alen, const void *b, size_t blen);
/* 1 when path is dir or below it. */
int path_is_below(const void *path, size_t len, const void *dir, size_t dirlen);
/* Length of the parent's path (0 for the root's children). */
size_t path_parent(const void *path, size_t len);
/* Start of the last component. */
const char *path_base(const char *path, size_t len, size_t *baselen);
/* NULL when it may be a volume's name: 1 to 128 of [A-Za-z0-9._-], beginning
   with a letter or digit; else why not. */
const char *volume_name_problem(const char *name, size_t len);
/* 1 when valid UTF-8 (no surrogates, shortest form), so that JSON may show it. */
int utf8_valid(const void *, size_t);

#endif
