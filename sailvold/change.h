/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * change: one change of the mount: its records, written in one piece before
 * anything in memory changes.  What it needs as objects becomes objects.  In
 * fuse.
 */
#ifndef SAILVOLD_CHANGE_H
#define SAILVOLD_CHANGE_H

#include "sailvold/request.h"
#include "sailvold/view.h"

struct change {
	struct wbuf w;
	struct vn **up; /* things that get the number in plan */
	size_t nup, cap;
	int error;
};

/* 0; EROFS; E_WAIT while a reload goes on. */
int change_begin(struct change *);
/* Its number, or the one that it will have; 0 with c->error. */
uint64_t change_object(struct change *, struct vn *);
/* A number for a new object; 0 with c->error. */
uint64_t change_number(struct change *);
void change_add(struct change *, struct record *);
/* Writes it, with the unique number of the request in the last record; 0 or
   an errno, and nothing has changed.  Frees c either way. */
int change_commit(struct change *);
void change_abort(struct change *);
/* The time that changes of now have: that of the kernel's files. */
struct timens change_time(void);
/* Marks a directory as changed now. */
void change_touch(struct vn *dir, struct timens);

/* While it is on, changes wait. */
void change_hold(int on);

#endif
