/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * restart: sailvold(8) becomes the program that is installed now, and its mounts
 * do not end: its roles do, then it takes its own place by exec.  In the parent.
 */
#ifndef SAILVOLD_RESTART_H
#define SAILVOLD_RESTART_H

#include <sys/types.h>

/*
 * Where this program is, and how it is to be started again: both may change
 * while it runs.  The path of the configuration is absolute.
 */
void restart_init(const char *conf_path, int foreground, int verbose);
/*
 * Of the program of now with the configuration of now: what a program must say
 * of itself to take the place of another (sailvold -n -S).  Two lines: what it
 * can read of what the roles leave, and what must be the same.
 */
void restart_print(uid_t fuse_uid, const char *state);

/*
 * Asks the program that is installed whether it can: done(arg, error, what)
 * once; 0: it can, and restart_now() comes next.
 */
typedef void (*restart_cb)(void *arg, int error, const char *what);
void restart_ask(uid_t fuse_uid, const char *state, restart_cb done, void *arg);
/* All roles end, and then the event loop. */
void restart_now(void);
/* 1 after restart_now(). */
int restart_wanted(void);
/* After the event loop.  Returns when nothing could be executed. */
void restart_exec(void);

#endif
