/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * progress: a bar on a terminal, with rate and time left.  In sailvolctl.
 */
#include <sys/ioctl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/progress.h"

#define BAR_MAX 30
#define LINE_SIZE 512

static int drawn;

void
bytes_text(uint64_t n, char *out, size_t size)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB",
		"PiB" };
	double v = (double)n;
	size_t i;

	if (n < 1024) {
		snprintf(out, size, "%u B", (unsigned int)n);
		return;
	}
	for (i = 0, v /= 1024; v >= 1023.95 && i < 4; i++)
		v /= 1024;
	snprintf(out, size, "%.1f %s", v, units[i]);
}

static uint64_t
number(const json_t *j, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(j, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void
bar(uint64_t done, uint64_t total, char *out, int width)
{
	int n;

	if (done > total)
		done = total;
	n = (int)((double)done / (double)total * width);
	memset(out, ' ', (size_t)width);
	memset(out, '#', (size_t)n);
	out[width] = '\0';
}

/* A part of the line; left out where it would not fit as a whole. */
static void add_part(char *, size_t, const char *, ...)
    __attribute__((format(printf, 3, 4)));

static void
add_part(char *line, size_t width, const char *fmt, ...)
{
	char part[128];
	size_t n = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	if (n + strlen(part) < width)
		memcpy(line + n, part, strlen(part) + 1);
}

static unsigned int
percent(uint64_t done, uint64_t total)
{
	return done >= total
	    ? 100
	    : (unsigned int)((double)done / (double)total * 100);
}

/* What tells most comes first. */
void
progress_line(const json_t *j, int width, char *out, size_t size)
{
	const char *phase = json_string_value(json_object_get(j, "phase"));
	uint64_t done = number(j, "bytes"), total = number(j, "bytes_total");
	uint64_t files = number(j, "files"), nfiles = number(j, "files_total");
	uint64_t hashed = number(j, "hashed"), skipped = number(j, "skipped");
	uint64_t left = number(j, "seconds_left");
	uint64_t answers = number(j, "answers");
	size_t room = width > 0 && (size_t)width < size ? (size_t)width : size;
	char shown[BAR_MAX + 1], a[32], b[32];
	char *p;

	snprintf(out, room, "%.40s", phase != NULL ? phase : "");
	/* It came from outside, and goes to a terminal. */
	for (p = out; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	/* Before anything went up the reading is what there is to see. */
	if (done == 0 && hashed > 0)
		done = hashed;
	if (total > 0) {
		bytes_text(done, a, sizeof(a));
		bytes_text(total, b, sizeof(b));
		add_part(out, room, " %u%%", percent(done, total));
		if (width >= 60) {
			bar(done, total, shown, width > 100 ? BAR_MAX : 10);
			add_part(out, room, " [%s]", shown);
		}
		add_part(out, room, " %s of %s", a, b);
	}
	if (json_is_integer(json_object_get(j, "seconds_left"))) {
		bytes_text(number(j, "bytes_per_s"), a, sizeof(a));
		if (left < 100 * 3600)
			add_part(out, room, ", %llu:%02u left",
			    (unsigned long long)left / 60,
			    (unsigned int)(left % 60));
		add_part(out, room, ", %s/s", a);
	}
	if (answers > 0)
		add_part(out, room, ", %llu answers of the server",
		    (unsigned long long)answers);
	if (nfiles > 0)
		add_part(out, room, ", %llu of %llu files",
		    (unsigned long long)files, (unsigned long long)nfiles);
	if (skipped > 0) {
		bytes_text(skipped, a, sizeof(a));
		add_part(out, room, ", %s skipped", a);
	}
}

static int
terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term != NULL && *term != '\0' &&
	    strcmp(term, "dumb") != 0;
}

/* ^C and the like: the bar does not stay behind. */
static void
on_signal(int sig)
{
	static const char clear[] = "\r\033[K";

	(void)!write(STDERR_FILENO, clear, sizeof(clear) - 1);
	raise(sig); /* as SA_RESETHAND has it: it ends the program */
}

static void
catch_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction sa, old;
	size_t i;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sa.sa_flags = SA_RESETHAND;
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    old.sa_handler == SIG_DFL)
			sigaction(signals[i], &sa, NULL);
}

void
progress_show(const json_t *j)
{
	static int caught;
	struct winsize ws = { 0 };
	char line[LINE_SIZE];

	if (!terminal())
		return;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == -1 || ws.ws_col == 0)
		ws.ws_col = 80;
	progress_line(j, ws.ws_col, line, sizeof(line));
	if (!caught)
		catch_signals();
	caught = 1;
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	drawn = 1;
}

void
progress_end(void)
{
	if (drawn) {
		fprintf(stderr, "\r\033[K");
		fflush(stderr);
	}
	drawn = 0;
}
