/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * handover: descriptors that outlive the process that has them, by name.  It
 * gives them to the program that it becomes by exec, and, as they come, to its
 * supervisor, which gives them to the process after it: both in the form of
 * sd_listen_fds(3), so that there is one way to receive them.  In parents.
 */
#ifndef LIB_HANDOVER_H
#define LIB_HANDOVER_H

/* Bytes with NUL: of letters, digits and '-' (sd_notify(3), FDNAME). */
#define HANDOVER_NAME_MAX 64

enum handover_kind {
	HANDOVER_EXEC, /* by exec alone */
	HANDOVER_STORE /* and to the supervisor */
};

/*
 * What LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say, which leave the
 * environment.  Once, before daemon(3), which changes the number of the process.
 */
void handover_init(void);
/* How often this process has become a new program by exec. */
unsigned int handover_times(void);
/* One that came, the caller's (close-on-exec); -1: none of that name did. */
int handover_take(const char *name);
/* 1 and the name of one that came, begins with prefix and was not taken. */
int handover_next(const char *prefix, char name[HANDOVER_NAME_MAX]);
/* Closes one that was taken and is of no use; no supervisor keeps it on. */
void handover_refuse(const char *name, int fd);
/* Closes all that came and that nobody took. */
void handover_rest(void);

/*
 * From now on it is handed over, until handover_drop(); it stays the caller's,
 * and open.  0, or -1 and errno: it is not.
 */
int handover_keep(const char *name, int fd, enum handover_kind);
void handover_drop(const char *name);

/*
 * Whether handover_exec() can take all with it that is kept now, and what it needs
 * of descriptors for that is taken now.  0, or -1 and errno (E2BIG: they are too
 * many to be told; EMFILE): nothing was changed.
 */
int handover_prepare(void);

/*
 * Becomes that program, with what is kept as descriptors from 3 on, all others
 * closed, and the same environment.  Returns when it cannot: -1 and errno; then
 * the process is good for another handover_exec() and nothing else.
 */
int handover_exec(const char *path, char *const argv[]);

#endif
