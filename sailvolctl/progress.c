/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * progress: a bar on a terminal, with rate and time left.  In sailvolctl.
 */
#include <sys/ioctl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/progress.h"

#define BAR_MAX 30

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

void
progress_line(const json_t *j, int width, char *out, size_t size)
{
	const char *phase = json_string_value(json_object_get(j, "phase"));
	uint64_t done = number(j, "bytes"), total = number(j, "bytes_total");
	uint64_t files = number(j, "files"), nfiles = number(j, "files_total");
	uint64_t skipped = number(j, "skipped"), left;
	char line[512], shown[BAR_MAX + 1], a[32], b[32], r[32];
	char *p;
	int n;

	bytes_text(done, a, sizeof(a));
	bytes_text(total, b, sizeof(b));
	n = snprintf(line, sizeof(line), "%.40s", phase != NULL ? phase : "");
	/* It came from outside, and goes to a terminal. */
	for (p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	if (total > 0) {
		bar(done, total, shown, width > 100 ? BAR_MAX : 10);
		n += snprintf(line + n, sizeof(line) - (size_t)n,
		    " [%s] %s of %s", shown, a, b);
	}
	if (nfiles > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n,
		    ", %llu of %llu files", (unsigned long long)files,
		    (unsigned long long)nfiles);
	if (skipped > 0) {
		bytes_text(skipped, a, sizeof(a));
		n += snprintf(line + n, sizeof(line) - (size_t)n,
		    ", %s skipped", a);
	}
	if (json_is_integer(json_object_get(j, "seconds_left"))) {
		left = number(j, "seconds_left");
		bytes_text(number(j, "bytes_per_s"), r, sizeof(r));
		snprintf(line + n, sizeof(line) - (size_t)n,
		    ", %s/s, %llu:%02u left", r, (unsigned long long)left / 60,
		    (unsigned int)(left % 60));
	}
	if (width > 0 && strlen(line) >= (size_t)width &&
	    (size_t)width <= sizeof(line))
		line[width - 1] = '\0';
	snprintf(out, size, "%s", line);
}

void
progress_show(const json_t *j)
{
	struct winsize ws = { 0 };
	char line[512];

	if (!isatty(STDERR_FILENO))
		return;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == -1 || ws.ws_col == 0)
		ws.ws_col = 80;
	progress_line(j, ws.ws_col, line, sizeof(line));
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	drawn = 1;
}

void
progress_end(void)
{
	if (drawn)
		fprintf(stderr, "\r\033[K");
	drawn = 0;
}
