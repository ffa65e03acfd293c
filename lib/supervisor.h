/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * supervisor: tells who started a daemon how it goes, as sd_notify(3) says: one
 * datagram to the socket that NOTIFY_SOCKET names.
 */
#ifndef LIB_SUPERVISOR_H
#define LIB_SUPERVISOR_H

/* Takes NOTIFY_SOCKET out of the environment: it is not for children. */
void supervisor_init(void);
/* Tells what waits for room, or says in the log that it could not: before the
   descriptors of this process become those of another program. */
void supervisor_flush(void);
/* Puts it back, for the program that this process becomes; -1 and errno. */
int supervisor_restore(void);
/* "READY=1", "STOPPING=1"; nothing without a supervisor. */
void supervisor_tell(const char *state);
/*
 * FDSTORE=1 and FDSTOREREMOVE=1: it keeps the descriptor, and gives it to the
 * process that it starts after this one (sd_listen_fds(3)).
 */
void supervisor_store(const char *name, int fd);
void supervisor_drop(const char *name);

#endif
