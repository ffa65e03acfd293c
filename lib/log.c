/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * log: messages to standard error, to syslog(3) or, in a role, to the parent.
 * In every process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/shown.h"

#define LOG_LINE_MAX 1024

static const char *log_name = "sail";
static int log_to_stderr = 1;
static int log_level;
static log_sink sink_fn;
static void *sink_arg;

void
log_init(const char *name, int to_stderr, int verbose)
{
	log_name = name;
	log_to_stderr = to_stderr;
	log_level = verbose;
	if (!to_stderr)
		openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void
log_set_verbose(int verbose)
{
	log_level = verbose;
}

int
log_verbose(void)
{
	return log_level;
}

void
log_set_sink(log_sink sink, void *arg)
{
	sink_fn = sink;
	sink_arg = arg;
}

/* A line that was encoded by a role is not encoded twice by its parent. */
static void
line_encode(char *dst, size_t size, const char *src)
{
	(void)shown_encode(dst, size, src, strlen(src), 1);
}

static void
line_write(int priority, const char *who, const char *line)
{
	const char *sep = who != NULL ? ": " : "";

	if (who == NULL)
		who = "";
	if (log_to_stderr)
		fprintf(stderr, "%s: %s%s%s\n", log_name, who, sep, line);
	else
		syslog(priority, "%s%s%s", who, sep, line);
}

void
log_line(int priority, const char *who, const char *line)
{
	char buf[LOG_LINE_MAX + 1];
	int saved = errno;

	line_encode(buf, sizeof(buf), line);
	line_write(priority, who, buf);
	errno = saved;
}

static void log_v(int priority, int error, const char *prefix, const char *fmt,
    va_list ap) __attribute__((format(printf, 4, 0)));

static void
log_v(int priority, int error, const char *prefix, const char *fmt, va_list ap)
{
	char raw[2 * LOG_LINE_MAX], line[LOG_LINE_MAX + 1];
	size_t n;

	strlcpy(raw, prefix, sizeof(raw));
	n = strlen(raw);
	if (vsnprintf(raw + n, sizeof(raw) - n, fmt, ap) < 0)
		strlcpy(raw, fmt, sizeof(raw));
	if (error != 0) {
		strlcat(raw, ": ", sizeof(raw));
		strlcat(raw, strerror(error), sizeof(raw));
	}
	line_encode(line, sizeof(line), raw);
	if (sink_fn != NULL)
		sink_fn(priority, line, sink_arg);
	else
		line_write(priority, NULL, line);
}

void
log_warn(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_ERR, saved, "", fmt, ap);
	va_end(ap);
	errno = saved;
}

void
log_warnx(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_WARNING, 0, "", fmt, ap);
	va_end(ap);
	errno = saved;
}

void
log_info(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_INFO, 0, "", fmt, ap);
	va_end(ap);
	errno = saved;
}

void
log_debug(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (!log_level)
		return;
	va_start(ap, fmt);
	log_v(LOG_DEBUG, 0, "", fmt, ap);
	va_end(ap);
	errno = saved;
}

/*
 * A role has nothing to do at its exit, and what libraries would do then may
 * not be in its filter.
 */
static _Noreturn void
log_end(void)
{
	if (sink_fn != NULL)
		_exit(1);
	exit(1);
}

void
fatal(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_CRIT, saved, "fatal: ", fmt, ap);
	va_end(ap);
	log_end();
}

void
fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_CRIT, 0, "fatal: ", fmt, ap);
	va_end(ap);
	log_end();
}
