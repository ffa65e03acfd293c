/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * list: ls: the names of a directory of a commit, in their order, without a
 * mount.  In sailvolctl.
 */
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "lib/json_name.h"
#include "sailvolctl/api.h"
#include "sailvolctl/names.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/volpath.h"

#define COLUMNS_MAX 4096 /* of a terminal that can be believed */

struct list {
	const struct invocation *inv;
	struct remote *remote;
	int json, full, deep;
	/* On a terminal: the names of the directory, to be put into columns. */
	int columns; /* 0: one a line */
	char **names;
	size_t n, size;
	/* The directory that is shown, and those below while they are. */
	uint8_t path[SAIL_PATH_MAX];
	size_t len;
	int more; /* something was printed before */
};

/* Nobody reads it any more, or there is no room. */
static int
output_ok(struct failure *f)
{
	if (!ferror(stdout))
		return 0;
	failure_set(f, "", FAILURE_OUTPUT, "standard output failed");
	return -1;
}

/* ---- one name ------------------------------------------------------------------- */

static mode_t
mode_of(const struct entry *e)
{
	static const mode_t types[] = { [ENTRY_FILE] = S_IFREG,
		[ENTRY_DIR] = S_IFDIR,
		[ENTRY_SYMLINK] = S_IFLNK,
		[ENTRY_FIFO] = S_IFIFO };

	return types[e->type] | e->mode;
}

static uint64_t
bytes_of(const struct entry *e)
{
	return e->type == ENTRY_FILE   ? e->size
	    : e->type == ENTRY_DIR     ? e->bytes
	    : e->type == ENTRY_SYMLINK ? e->target_len
				       : 0;
}

static json_int_t
count(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

static int
print_json(const struct list *l, const uint8_t *name, size_t len,
    const struct entry *e, struct failure *f)
{
	static const char *const types[] = { [ENTRY_FILE] = "file",
		[ENTRY_DIR] = "directory",
		[ENTRY_SYMLINK] = "symlink",
		[ENTRY_FIFO] = "fifo" };
	uint8_t path[SAIL_PATH_MAX + 1 + SAIL_NAME_MAX];
	size_t n = l->len;
	json_t *j;
	int rc = 0;

	memcpy(path, l->path, n);
	if (n > 0 && len > 0)
		path[n++] = '/';
	memcpy(path + n, name, len);
	j = json_pack("{s:o, s:s, s:i, s:I, s:I, s:f}", "path",
	    json_name(path, n + len), "type", types[e->type], "mode",
	    (int)e->mode, "uid", (json_int_t)e->uid, "gid", (json_int_t)e->gid,
	    "mtime", (double)e->mtime.sec + (double)e->mtime.nsec / 1e9);
	if (j != NULL && e->type == ENTRY_FILE)
		rc = json_object_set_new(j, "size",
		    json_integer(count(e->size)));
	else if (j != NULL && e->type == ENTRY_SYMLINK)
		rc = json_object_set_new(j, "target",
		    json_name(e->target, e->target_len));
	else if (j != NULL && e->type == ENTRY_DIR)
		rc = json_object_set_new(j, "files",
			 json_integer(count(e->files))) == 0
		    ? json_object_set_new(j, "bytes",
			  json_integer(count(e->bytes)))
		    : -1;
	if (j == NULL || rc == -1)
		failure_memory(f);
	else if (json_dumpf(j, stdout, JSON_COMPACT) == -1 ||
	    putchar('\n') == EOF) {
		output_ok(f);
		rc = -1;
	}
	json_decref(j);
	return j == NULL ? -1 : rc;
}

static void
print_full(const struct entry *e)
{
	char mode[16], when[32] = "?";
	time_t t = (time_t)e->mtime.sec;
	struct tm tm;

	strmode(mode_of(e), mode);
	mode[10] = '\0'; /* a blank for ACLs, which there are none of */
	if (localtime_r(&t, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	printf("%s %5u %5u %12llu %s ", mode, e->uid, e->gid,
	    (unsigned long long)bytes_of(e), when);
}

static int
keep_name(struct list *l, const uint8_t *name, size_t len, struct failure *f)
{
	char **more;
	size_t size;

	if (l->n == l->size) {
		size = l->size == 0 ? 64 : 2 * l->size;
		more = reallocarray(l->names, size, sizeof(*more));
		if (more == NULL)
			return failure_memory(f);
		l->names = more;
		l->size = size;
	}
	if ((l->names[l->n] = name_vis(name, len)) == NULL)
		return failure_memory(f);
	l->n++;
	return 0;
}

static int
print_name(void *arg, const uint8_t *name, size_t len, const struct entry *e,
    struct failure *f)
{
	struct list *l = arg;

	if (l->json)
		return print_json(l, name, len, e, f);
	if (l->columns > 0)
		return keep_name(l, name, len, f);
	if (l->full)
		print_full(e);
	name_print(stdout, name, len);
	if (l->full && e->type == ENTRY_SYMLINK) {
		fputs(" -> ", stdout);
		name_print(stdout, e->target, e->target_len);
	}
	putchar('\n');
	return output_ok(f);
}

/* ---- columns -------------------------------------------------------------------- */

static size_t
width_of(const char *name)
{
	wchar_t wide[4 * SAIL_NAME_MAX + 1];
	size_t n = mbstowcs(wide, name, sizeof(wide) / sizeof(wide[0]));
	int width;

	if (n >= sizeof(wide) / sizeof(wide[0]) ||
	    (width = wcswidth(wide, n)) < 0)
		return strlen(name);
	return (size_t)width;
}

/* Down the first one, then the next. */
static void
print_columns(struct list *l)
{
	size_t widest = 0, i, row, rows, n, per, w;

	for (i = 0; i < l->n; i++)
		if ((w = width_of(l->names[i])) > widest)
			widest = w;
	per = (size_t)l->columns / (widest + 2);
	if (per == 0)
		per = 1;
	rows = (l->n + per - 1) / per;
	for (row = 0; row < rows; row++)
		for (i = row; i < l->n; i += rows) {
			fputs(l->names[i], stdout);
			n = i + rows < l->n ? widest + 2 - width_of(l->names[i])
					    : 0;
			printf("%*s", (int)n, "");
			if (i + rows >= l->n)
				putchar('\n');
		}
	for (i = 0; i < l->n; i++)
		free(l->names[i]);
	l->n = 0;
}

/* ---- directories ---------------------------------------------------------------- */

static int list_dir(struct list *, const struct entry *, struct failure *);

static int
list_below(void *arg, const uint8_t *name, size_t len, const struct entry *e,
    struct failure *f)
{
	struct list *l = arg;
	size_t before = l->len;
	struct entry dir = *e;
	int rc;

	if (e->type != ENTRY_DIR)
		return 0;
	if (before + len + 1 > sizeof(l->path)) {
		failure_set(f, "", "answer",
		    "the path of a directory is too "
		    "long");
		return -1;
	}
	if (before > 0)
		l->path[l->len++] = '/';
	memcpy(l->path + l->len, name, len);
	l->len += len;
	rc = list_dir(l, &dir, f);
	l->len = before;
	return rc;
}

/* Its names, then, with -R, each directory among them. */
static int
list_dir(struct list *l, const struct entry *dir, struct failure *f)
{
	int rc;

	if (l->deep && !l->json) {
		if (l->more)
			putchar('\n');
		name_print(stdout, l->path, l->len);
		puts(":");
		l->more = 1;
	}
	rc = remote_each(l->remote, l->path, l->len, dir, print_name, l, f);
	print_columns(l);
	if (rc == 0 && l->deep)
		rc = remote_each(l->remote, l->path, l->len, dir, list_below, l,
		    f);
	return rc == -1 ? -1 : output_ok(f);
}

static int
list_columns(const struct invocation *inv)
{
	struct winsize ws;

	if (inv->opt[OPT_ONE] != NULL || inv->opt[OPT_LONG] != NULL ||
	    inv->opt[OPT_JSON] != NULL || !isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == -1 || ws.ws_col == 0 ||
	    ws.ws_col > COLUMNS_MAX)
		return 80;
	return ws.ws_col;
}

static int
list(struct list *l, const struct volpath *v, struct failure *f)
{
	struct blob *keep = NULL;
	struct entry e;
	int rc;

	if ((l->remote = volpath_open(l->inv, v, f)) == NULL ||
	    volpath_find(v, l->remote, &e, &keep, f) == -1)
		return -1;
	if (e.type == ENTRY_DIR) {
		memcpy(l->path, v->path, v->len);
		l->len = v->len;
		rc = list_dir(l, &e, f);
	} else {
		rc = print_name(l, (const uint8_t *)v->path, v->len, &e, f);
		print_columns(l);
	}
	blob_unref(keep);
	return rc;
}

int
run_ls(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct volpath v;
	struct list *l;
	int rc = -1;

	if (volpath_parse(&v, inv->operand[0], &f) == -1) {
		volpath_free(&v);
		return misused(inv, &f);
	}
	if ((l = calloc(1, sizeof(*l))) == NULL)
		failure_memory(&f);
	else {
		l->inv = inv;
		l->json = inv->opt[OPT_JSON] != NULL;
		l->full = inv->opt[OPT_LONG] != NULL;
		l->deep = inv->opt[OPT_RECURSIVE] != NULL;
		l->columns = list_columns(inv);
		rc = list(l, &v, &f);
		remote_free(l->remote);
		free(l->names);
	}
	free(l);
	volpath_free(&v);
	return api_finish_shown(inv, rc, &f);
}
