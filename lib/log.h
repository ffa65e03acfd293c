/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * log: messages of a process.  A parent or a tool writes them to standard
 * error or syslog(3); a role sends them to its parent through a sink, for
 * there is no /dev/log in its chroot.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdarg.h>
#include <syslog.h>

/*
 * name: shown before each line, kept by reference.  to_stderr: 1 standard
 * error, 0 syslog with facility daemon.  verbose: 0 hides LOG_DEBUG.
 */
void log_init(const char *name, int to_stderr, int verbose);
void log_set_verbose(int verbose);
int log_verbose(void);

/*
 * Each finished line (no new line at its end, at most 1,024 bytes, control
 * characters replaced by vis(3)) goes to sink instead; NULL takes it back.
 */
typedef void (*log_sink)(int priority, const char *line, void *arg);
void log_set_sink(log_sink sink, void *arg);

/* Writes a line as it stands: for a parent that passes on what a role said. */
void log_line(int priority, const char *who, const char *line);

/* log_warn and fatal add ": " and strerror(errno); errno is kept. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* End the process with status 1: what cannot happen or makes it useless. */
void fatal(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));
void fatalx(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

#endif
