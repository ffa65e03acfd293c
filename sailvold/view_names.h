/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view_names: what view.c and view_names.c know of each other.  In fuse.
 */
#ifndef SAILVOLD_VIEW_NAMES_H
#define SAILVOLD_VIEW_NAMES_H

#include "sailvold/view.h"

/* What is in memory, as malloc counts it: each piece when it comes and goes. */
void view_came(void *piece);
void view_goes(void *piece);
void view_dir_listed(struct vdir *);
void view_dir_touched(struct vdir *);
void view_dir_unlisted(struct vdir *);
/* Drops all names of the directory, and the things that hang on them alone. */
void view_dir_free(struct vn *dir);
/* 1 when nothing in it is known here alone. */
int view_dir_evictable(struct vdir *, uint64_t safe);
/* A clean thing that is about to lose its name keeps where it comes from. */
int vn_keep_origin(struct vn *);

#endif
