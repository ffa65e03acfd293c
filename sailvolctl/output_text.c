/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * output_text: ids and tables on standard output, words on standard error.  In
 * sailvolctl.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/names.h"
#include "sailvolctl/output.h"
#include "sailvolctl/progress.h"

#define TIME_SHOWN_MAX 1e12 /* seconds from 1970, either way */
#define PATHS_SHOWN 20
#define LONGEST (16 * 1024) /* two paths, and words */

/* ---- failures ---------------------------------------------------------------- */

static int
is_inside(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* A path may be longer than the message: what is wrong stands behind it. */
static void
shorten(char *out, size_t size, const char *text)
{
	static const char dots[] = " ... ";
	size_t len = strlen(text), head = size / 4,
	       tail = size - head - sizeof(dots);

	if (len < size) {
		memcpy(out, text, len + 1);
		return;
	}
	while (head > 0 && is_inside(text[head]))
		head--;
	memcpy(out, text, head);
	text += len - tail;
	while (is_inside(*text))
		text++;
	memcpy(out + head, dots, sizeof(dots) - 1);
	memcpy(out + head + sizeof(dots) - 1, text, strlen(text) + 1);
}

void
failure_set(struct failure *f, const char *type, const char *code,
    const char *fmt, ...)
{
	char text[LONGEST];
	va_list ap;

	failure_clear(f);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	shorten(f->message, sizeof(f->message), text);
	snprintf(f->type, sizeof(f->type), "%s", type);
	snprintf(f->code, sizeof(f->code), "%s", code);
}

int
failure_memory(struct failure *f)
{
	failure_set(f, "", "memory", "out of memory");
	return -1;
}

static const char *
string_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s != NULL ? s : "";
}

int
failure_from_json(struct failure *f, json_t *whole)
{
	json_t *e = json_object_get(whole, "error");

	if (!json_is_object(e) ||
	    !json_is_string(json_object_get(e, "message")))
		return -1;
	failure_set(f, string_of(e, "type"), string_of(e, "code"), "%s",
	    string_of(e, "message"));
	f->whole = json_incref(whole);
	return 0;
}

void
failure_clear(struct failure *f)
{
	json_decref(f->whole);
	memset(f, 0, sizeof(*f));
}

int
failure_status(const struct failure *f)
{
	return strcmp(f->type, "refused") == 0 ? EXIT_REFUSED : EXIT_FAILED;
}

/* ---- words ------------------------------------------------------------------- */

static void
say(const char *text)
{
	progress_end();
	fprintf(stderr, "sailvolctl: ");
	name_print(stderr, text, strlen(text));
	fputc('\n', stderr);
}

static void sayf(const char *, ...) __attribute__((format(printf, 1, 2)));

static void
sayf(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(text);
}

/* A list of paths that belongs to what was said before. */
static void
say_paths(const json_t *paths)
{
	size_t i, n = json_array_size(paths);
	const json_t *p;

	for (i = 0; i < n && i < PATHS_SHOWN; i++) {
		p = json_array_get(paths, i);
		if (json_is_object(p) && json_object_get(p, "path") != NULL)
			p = json_object_get(p, "path");
		fputs("\t", stderr);
		name_print_json(stderr, p);
		fputc('\n', stderr);
	}
	if (n > i)
		fprintf(stderr, "\tand %zu more\n", n - i);
}

static void
say_overwritten(const json_t *o)
{
	json_int_t n = json_integer_value(json_object_get(o, "count"));

	if (n <= 0)
		return;
	sayf("%lld paths that others had changed were overwritten (they are "
	     "in the log's commits):",
	    (long long)n);
	say_paths(json_object_get(o, "paths"));
}

/* One of those that the command's text needs. */
static int
option_given(const struct invocation *inv)
{
	int o;

	for (o = 0; o < OPT_COUNT; o++)
		if ((inv->command->text_with & OPT_BIT(o)) &&
		    inv->opt[o] != NULL)
			return 1;
	return 0;
}

static void
text_result(const struct invocation *inv, const json_t *result)
{
	const char *warning = string_of(result, "warning");
	const char *note = string_of(result, "note");

	progress_end();
	if (*warning != '\0')
		sayf("warning: %s", warning);
	if (*note != '\0')
		say(note);
	if (inv->command->text_with == 0 || option_given(inv))
		inv->command->text(result);
}

static int
text_failure(const struct failure *f)
{
	const json_t *o = json_object_get(f->whole, "overwritten");

	say(f->message);
	say_paths(json_object_get(o, "paths"));
	return failure_status(f);
}

const struct output output_text = { text_result, text_failure, say,
	progress_show };

/* ---- any text ---- */

/* Whatever sailvold or a server says: a terminal only shows it. */
static void
print_text(const char *s)
{
	name_print(stdout, s, strlen(s));
}

static void
print_text_line(const char *s)
{
	print_text(s);
	putchar('\n');
}

/* ---- any object ---------------------------------------------------------------- */

static void
print_scalar(const json_t *j)
{
	char text[64];

	if (json_is_string(j) || json_is_object(j))
		name_print_json(stdout, j);
	else if (json_is_integer(j))
		printf("%lld", (long long)json_integer_value(j));
	else if (json_is_real(j)) {
		snprintf(text, sizeof(text), "%.3f", json_real_value(j));
		fputs(text, stdout);
	} else
		fputs(json_is_true(j)      ? "yes"
			: json_is_false(j) ? "no"
					   : "-",
		    stdout);
}

static int
is_name(const json_t *j)
{
	return json_is_object(j) && json_object_size(j) == 1 &&
	    json_object_get(j, "b64") != NULL;
}

/* Every member in one line, for the elements of lists. */
static void
print_line(const json_t *j)
{
	const char *key;
	json_t *v;
	int first = 1;

	if (!json_is_object(j) || is_name(j)) {
		print_scalar(j);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)j, key, v)
	{
		fputs(first ? "" : ", ", stdout);
		print_text(key);
		putchar(' ');
		first = 0;
		if (json_is_object(v) && !is_name(v))
			print_line(v);
		else if (json_is_array(v))
			printf("%zu", json_array_size(v));
		else
			print_scalar(v);
	}
}

static void
print_tree(const json_t *j, int depth)
{
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)j, key, v)
	{
		printf("%*s", 2 * depth, "");
		print_text(key);
		putchar(':');
		if (json_is_object(v) && !is_name(v) && depth < 6) {
			putchar('\n');
			print_tree(v, depth + 1);
			continue;
		}
		if (!json_is_array(v)) {
			putchar(' ');
			print_scalar(v);
		}
		putchar('\n');
		for (i = 0; json_is_array(v) && i < json_array_size(v); i++) {
			printf("%*s", 2 * depth + 2, "");
			print_line(json_array_get(v, i));
			putchar('\n');
		}
	}
}

void
text_tree(const json_t *j)
{
	print_tree(j, 0);
}

void
text_nothing(const json_t *j)
{
	(void)j;
}

void
text_id(const json_t *j)
{
	print_text_line(string_of(j, "id"));
}

/* ---- mounts ------------------------------------------------------------------ */

void
text_mount(const json_t *j)
{
	(void)j;
}

void
text_umount(const json_t *j)
{
	const json_t *commit = json_object_get(j, "commit");

	if (json_is_string(commit))
		print_text_line(json_string_value(commit));
}

void
text_commit(const json_t *j)
{
	const json_t *left = json_object_get(j, "left_dirty");
	const json_t *not_kept = json_object_get(j, "not_kept");

	print_text_line(string_of(j, "commit"));
	if (json_is_false(json_object_get(j, "changed")))
		say("nothing to publish");
	say_overwritten(json_object_get(j, "overwritten"));
	if (json_array_size(left) > 0) {
		say("left dirty, because they changed all the time:");
		say_paths(left);
	}
	if (json_array_size(not_kept) > 0) {
		say("not kept in a commit (sockets):");
		say_paths(not_kept);
	}
}

void
text_reload(const json_t *j)
{
	const json_t *stash = json_object_get(j, "stash");
	const json_t *gone = json_object_get(j, "not_kept");
	json_int_t writers =
	    json_integer_value(json_object_get(j, "open_writers"));

	print_text_line(string_of(j, "commit"));
	if (json_is_object(stash))
		sayf("%lld unpublished changes (%lld files) were put away: "
		     "stash %lld",
		    (long long)json_integer_value(
			json_object_get(stash, "changes")),
		    (long long)json_integer_value(
			json_object_get(stash, "files")),
		    (long long)json_integer_value(
			json_object_get(stash, "id")));
	if (json_array_size(gone) > 0) {
		say("removed, because a stash cannot have them (sockets):");
		say_paths(gone);
	}
	if (writers > 0)
		sayf("%lld files are open for writing and go on as they were "
		     "before the reload",
		    (long long)writers);
}

static void
print_mount(const json_t *m)
{
	const char *key;
	json_t *v;

	name_print_json(stdout, json_object_get(m, "path"));
	putchar('\n');
	json_object_foreach((json_t *)(uintptr_t)m, key, v)
	{
		if (strcmp(key, "path") == 0)
			continue;
		fputs("  ", stdout);
		print_text(key);
		fputs(": ", stdout);
		if (json_is_array(v)) {
			size_t i;

			putchar('\n');
			for (i = 0; i < json_array_size(v); i++) {
				fputs("    ", stdout);
				print_line(json_array_get(v, i));
				putchar('\n');
			}
			continue;
		}
		print_line(v);
		putchar('\n');
	}
}

void
text_status(const json_t *j)
{
	const json_t *mounts = json_object_get(j, "mounts");
	json_t *rest;
	size_t i;

	if (!json_is_array(mounts)) {
		print_tree(j, 0);
		return;
	}
	for (i = 0; i < json_array_size(mounts); i++)
		print_mount(json_array_get(mounts, i));
	if ((rest = json_copy((json_t *)(uintptr_t)j)) != NULL) {
		json_object_del(rest, "mounts");
		print_tree(rest, 0);
	}
	json_decref(rest);
}

/* ---- stashes ------------------------------------------------------------------- */

static void
print_time(const json_t *j)
{
	double seconds = json_number_value(j);
	struct tm tm;
	char text[64];
	time_t t = 0;

	/* A number may be any. */
	if (seconds > -TIME_SHOWN_MAX && seconds < TIME_SHOWN_MAX)
		t = (time_t)seconds;
	else
		j = NULL;
	if (!json_is_number(j) || gmtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
		snprintf(text, sizeof(text), "-");
	fputs(text, stdout);
}

static void
print_stash(const json_t *s, const char *files)
{
	const json_t *id = json_object_get(s, "id");
	const json_t *bytes = json_object_get(s, "bytes");

	print_scalar(id);
	putchar('\t');
	print_time(json_object_get(s, "created"));
	printf("\t%lld files\t",
	    (long long)json_integer_value(json_object_get(s, files)));
	print_scalar(bytes);
	printf("%s\t", bytes != NULL ? " bytes" : "");
	print_scalar(json_object_get(s, "volume"));
	putchar('\t');
	name_print_json(stdout, json_object_get(s, "path"));
	putchar('\n');
}

void
text_stash_list(const json_t *j)
{
	const json_t *list = json_object_get(j, "stashes");
	const json_t *gone = json_object_get(j, "unmounted");
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		print_stash(json_array_get(list, i), "files");
	for (i = 0; i < json_array_size(gone); i++)
		print_stash(json_array_get(gone, i), "objects");
}

void
text_stash_show(const json_t *j)
{
	const json_t *items = json_object_get(j, "items"), *s;
	size_t i;

	if (!json_is_array(items)) {
		print_tree(j, 0);
		return;
	}
	for (i = 0; i < json_array_size(items); i++) {
		s = json_array_get(items, i);
		print_scalar(json_object_get(s, "kind"));
		putchar('\t');
		name_print_json(stdout, json_object_get(s, "path"));
		putchar('\n');
	}
}

void
text_stash_done(const json_t *j)
{
	const json_t *back = json_object_get(j, "restored");
	const json_t *gone = json_object_get(j, "dropped");

	if (json_is_integer(back))
		sayf("stash %lld is in view again; its changes are not "
		     "published",
		    (long long)json_integer_value(back));
	if (json_is_integer(gone))
		sayf("stash %lld was dropped",
		    (long long)json_integer_value(gone));
}

/* ---- what the server knows ------------------------------------------------------- */

void
text_log(const json_t *j)
{
	const json_t *list = json_object_get(j, "commits"), *c, *message;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		c = json_array_get(list, i);
		print_text(string_of(c, "id"));
		printf(" %lld ",
		    (long long)json_integer_value(
			json_object_get(c, "number")));
		print_time(json_object_get(c, "time"));
		putchar(' ');
		name_print_json(stdout, json_object_get(c, "author"));
		message = json_object_get(c, "message");
		if (json_is_object(message) ||
		    json_string_length(message) > 0) {
			fputs(": ", stdout);
			name_print_json(stdout, message);
		}
		putchar('\n');
	}
}

static void
print_row(const char *name, const json_t *value)
{
	printf("%-12s", name);
	if (json_is_real(value))
		print_time(value);
	else
		print_scalar(value);
	putchar('\n');
}

void
text_commit_shown(const json_t *c)
{
	static const char *const rows[] = { "number", "parent", "author",
		"time", "message", "files", "bytes", "puts", "deletes",
		"overwritten" };
	size_t i;

	print_row("commit", json_object_get(c, "id"));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i], "message") != 0 ||
		    json_string_length(json_object_get(c, rows[i])) > 0)
			print_row(rows[i], json_object_get(c, rows[i]));
	putchar('\n');
}

void
text_volume_list(const json_t *j)
{
	const json_t *list = json_object_get(j, "volumes"), *v;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		v = json_array_get(list, i);
		print_text(string_of(v, "name"));
		putchar('\t');
		print_text(string_of(v, "id"));
		printf("\t%lld\t%lld files\t%lld bytes",
		    (long long)json_integer_value(json_object_get(v, "number")),
		    (long long)json_integer_value(json_object_get(v, "files")),
		    (long long)json_integer_value(json_object_get(v, "bytes")));
		if (json_object_get(v, "deleted") != NULL) {
			fputs("\tdeleted ", stdout);
			print_time(json_object_get(v, "deleted"));
			fputs(", kept until ", stdout);
			print_time(json_object_get(v, "until"));
		}
		putchar('\n');
	}
}

void
text_key(const json_t *j)
{
	print_text_line(string_of(j, "key"));
	sayf("%s: keep it: it is not shown again", string_of(j, "id"));
}

/* What a limited key is for, VOLUME[:/PATH] each. */
static void
print_grants(const json_t *volumes)
{
	const json_t *v;
	size_t i, len;
	char *path;

	for (i = 0; i < json_array_size(volumes); i++) {
		v = json_array_get(volumes, i);
		putchar('\t');
		print_text(string_of(v, "name"));
		path = json_name_get(json_object_get(v, "path"), &len);
		if (path != NULL && len > 0) {
			fputs(":/", stdout);
			name_print_json(stdout, json_object_get(v, "path"));
		}
		free(path);
	}
}

void
text_key_list(const json_t *j)
{
	const json_t *list = json_object_get(j, "keys"), *k, *revoked, *expires;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		k = json_array_get(list, i);
		print_text(string_of(k, "id"));
		putchar('\t');
		print_text(string_of(k, "role"));
		putchar('\t');
		print_time(json_object_get(k, "created"));
		revoked = json_object_get(k, "revoked");
		fputs(json_is_true(revoked) || json_is_number(revoked)
			? "\trevoked\t"
			: "\t-\t",
		    stdout);
		expires = json_object_get(k, "expires");
		if (json_is_number(expires))
			print_time(expires);
		else
			putchar('-');
		putchar('\t');
		name_print_json(stdout, json_object_get(k, "name"));
		print_grants(json_object_get(k, "volumes"));
		putchar('\n');
	}
}
