/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * get: a file or directory of a commit to a place of this machine, without a
 * mount: made beside, so that it goes on where an earlier try ended, then
 * renamed; or a file's bytes to standard output.  In sailvolctl.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/rebuild.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/volpath.h"

#define TEMP ".sailvolctl-get-" /* and digits */
#define TEMP_DIGITS 16

struct get {
	const struct invocation *inv;
	struct volpath what;
	struct rebuild r;
	int dir;    /* where it goes */
	char *name; /* in it */
	char temp[sizeof(TEMP) + TEMP_DIGITS];
};

/* ---- standard output ---------------------------------------------------------------- */

struct stream {
	struct get *g;
	uint64_t at;
};

static int
put_out(const void *p, size_t n, struct failure *f)
{
	if (fwrite(p, 1, n, stdout) == n)
		return 0;
	failure_set(f, "", FAILURE_OUTPUT, "standard output failed");
	return -1;
}

static int
put_zeros(struct stream *s, uint64_t to, struct failure *f)
{
	static const uint8_t zeros[64 * 1024];
	size_t n;

	for (; s->at < to; s->at += n) {
		n = to - s->at < sizeof(zeros) ? (size_t)(to - s->at)
					       : sizeof(zeros);
		if (put_out(zeros, n, f) == -1)
			return -1;
	}
	return 0;
}

static int
put_chunk(void *arg, uint64_t offset, const void *p, size_t n,
    struct failure *f)
{
	struct stream *s = arg;

	if (put_zeros(s, offset, f) == -1 || put_out(p, n, f) == -1)
		return -1;
	s->at += n;
	s->g->r.bytes = s->at;
	rebuild_tell(&s->g->r);
	return 0;
}

static int
get_stream(struct get *g, const struct entry *e, struct failure *f)
{
	struct stream s = { g, 0 };

	if (e->type != ENTRY_FILE) {
		failure_set(f, "", "not_a_file",
		    "%s: %s: only a file goes to standard output: give a "
		    "target instead of -",
		    g->inv->operand[0],
		    e->type == ENTRY_DIR           ? "a directory"
			: e->type == ENTRY_SYMLINK ? "a symbolic link"
						   : "a fifo");
		return -1;
	}
	if (download_file(g->r.download, g->r.remote, g->what.path, g->what.len,
		e, NULL, put_chunk, &s, f) == -1 ||
	    put_zeros(&s, e->size, f) == -1)
		return -1;
	if (fflush(stdout) == 0)
		return 0;
	return put_out("", 1, f);
}

/* ---- where it goes ------------------------------------------------------------------ */

static int
open_target_dir(struct get *g, const char *path, struct failure *f)
{
	g->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->dir != -1)
		return 0;
	failure_set(f, "", "open", "%s: %s", path, strerror(errno));
	return -1;
}

/* A directory that is there, or the name that it is to have. */
static int
find_target(struct get *g, struct failure *f)
{
	const char *target = g->inv->noperands > 1 ? g->inv->operand[1] : ".";
	const char *slash = strrchr(target, '/');
	struct stat st;
	char *above;
	int rc;

	if (*target != '\0' && stat(target, &st) == 0 && S_ISDIR(st.st_mode)) {
		if ((g->name = volpath_base(&g->what, f)) == NULL)
			return -1;
		return open_target_dir(g, target, f);
	}
	if (*target == '\0' || (slash != NULL && slash[1] == '\0')) {
		failure_set(f, "", "open",
		    "%s: no such directory: make it "
		    "first, or give a name without a slash at its end",
		    target);
		return -1;
	}
	above = slash == NULL ? strdup(".")
	    : slash == target ? strdup("/")
			      : strndup(target, (size_t)(slash - target));
	g->name = strdup(slash != NULL ? slash + 1 : target);
	if (above == NULL || g->name == NULL) {
		free(above);
		return failure_memory(f);
	}
	rc = open_target_dir(g, above, f);
	free(above);
	return rc;
}

/* What is there must not be lost by a slip. */
static int
check_target(struct get *g, const struct entry *e, struct failure *f)
{
	int force = g->inv->opt[OPT_FORCE] != NULL;
	const char *what = NULL;
	struct stat st;

	if (fstatat(g->dir, g->name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno == ENOENT)
			return 0;
		failure_set(f, "", "open", "%s: %s", g->name, strerror(errno));
		return -1;
	}
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		failure_set(f, "refused", "exists",
		    "%s: a device: give - for standard output, or another "
		    "target",
		    g->name);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		what = "a directory";
	else if (!S_ISREG(st.st_mode))
		what = S_ISLNK(st.st_mode) ? "a symbolic link" : "no file";
	else if (e->type == ENTRY_DIR)
		what = "a file";
	if (what == NULL || force)
		return 0;
	failure_set(f, "refused", "exists",
	    "%s: it is there, and %s: give another target, or --force to "
	    "replace it",
	    g->name, what);
	return -1;
}

/* The same for the same, so that it is found again; not for two at a time. */
static int
name_temp(struct get *g, struct failure *f)
{
	char hex[HASH_HEX_LEN + 1];
	struct hash_ctx *c;
	struct hash h;

	if ((c = hash_begin()) == NULL)
		return failure_memory(f);
	hash_update(c, g->what.volume, strlen(g->what.volume) + 1);
	hash_update(c, g->what.path, g->what.len + 1);
	hash_update(c, g->name, strlen(g->name));
	hash_end(c, &h);
	hash_hex(&h, hex);
	snprintf(g->temp, sizeof(g->temp), TEMP "%.*s", TEMP_DIGITS, hex);
	return 0;
}

/* ---- a file or directory --------------------------------------------------------------- */

/* What came is kept for the next try, if it is worth it. */
static void
stop_early(struct get *g, struct failure *f)
{
	char text[256];

	if (strcmp(f->code, "busy") == 0)
		return;
	rebuild_unfinish(&g->r);
	if (g->r.came == 0 && !g->r.found) {
		(void)rebuild_remove(g->dir, g->temp);
		return;
	}
	snprintf(text, sizeof(text),
	    "what has come is kept as %s: the same get goes on from there",
	    g->temp);
	g->inv->out->note(text);
}

static int
get_place(struct get *g, const struct entry *e, struct failure *f)
{
	const void *path = g->what.path;
	size_t len = g->what.len;
	int rc;

	g->r.resume = 1;
	if (name_temp(g, f) == -1)
		return -1;
	/* The target once more: it took its time. */
	if (rebuild(&g->r, g->dir, g->temp, path, len, e, f) == -1 ||
	    check_target(g, e, f) == -1 ||
	    rebuild_finish(&g->r, g->dir, g->temp, path, len, e, f) == -1)
		goto fail;
	if (rebuild_place(g->dir, g->temp, g->name, e) == -1) {
		failure_set(f, "", "get", "%s: %s", g->name,
		    errno == ENOTSUP ? "the file system cannot exchange it: "
				       "remove it first"
				     : strerror(errno));
		goto fail;
	}
	if (fsync(g->dir) == -1) {
		failure_set(f, "", "get", "%s: %s", g->name, strerror(errno));
		return -1;
	}
	if ((rc = rebuild_remove(g->dir, g->temp)) == -1)
		failure_set(f, "", "get",
		    "%s: it is there, but what was there is left as %s: %s",
		    g->name, g->temp, strerror(errno));
	return rc;
fail:
	stop_early(g, f);
	return -1;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static json_t *
get_result(struct get *g)
{
	char hex[HASH_HEX_LEN + 1];

	if (g->r.xattrs > 0) {
		char text[128];

		snprintf(text, sizeof(text),
		    "%llu extended attributes are not kept: the file system "
		    "does not take them",
		    (unsigned long long)g->r.xattrs);
		g->inv->out->note(text);
	}
	hash_hex(remote_id(g->r.remote), hex);
	return json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "path",
	    json_name(g->what.path, g->what.len), "commit", hex, "files",
	    (json_int_t)g->r.files, "bytes", (json_int_t)g->r.bytes,
	    "bytes_downloaded", (json_int_t)g->r.came, "owners_not_kept",
	    (json_int_t)g->r.owners, "attributes_not_kept",
	    (json_int_t)g->r.xattrs);
}

static json_t *
get(struct get *g, struct failure *f)
{
	int out = g->inv->noperands > 1 && strcmp(g->inv->operand[1], "-") == 0;
	struct blob *keep = NULL;
	json_t *result = NULL;
	struct entry e;
	int rc = -1;

	if (!out && find_target(g, f) == -1)
		return NULL;
	g->r.out = g->inv->out;
	g->r.remote = volpath_open(g->inv, &g->what, f);
	/* A stream leaves nothing behind: it ends as any filter does. */
	if (g->r.remote == NULL || (!out && fetch_interrupts(f) == -1) ||
	    volpath_find(&g->what, g->r.remote, &e, &keep, f) == -1)
		return NULL;
	g->r.files_total = e.type == ENTRY_DIR ? e.files : 1;
	g->r.bytes_total = e.type == ENTRY_DIR ? e.bytes
	    : e.type == ENTRY_FILE             ? e.size
					       : 0;
	if ((g->r.download = download_new()) == NULL)
		failure_memory(f);
	else if (out)
		rc = get_stream(g, &e, f);
	else if (check_target(g, &e, f) == 0)
		rc = get_place(g, &e, f);
	if (rc == 0)
		result = get_result(g);
	blob_unref(keep);
	return result;
}

static int
understand(struct get *g, struct failure *f)
{
	const struct invocation *inv = g->inv;

	if (volpath_parse(&g->what, inv->operand[0], f) == -1)
		return -1;
	if (inv->noperands < 2 || strcmp(inv->operand[1], "-") != 0 ||
	    inv->opt[OPT_JSON] == NULL)
		return 0;
	failure_set(f, "invalid_request", "usage",
	    "-j and - both want standard output");
	return -1;
}

int
run_get(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct get g = { .inv = inv, .dir = -1 };
	json_t *result;
	int status;

	g.r.lock = -1;
	if (understand(&g, &f) == -1) {
		volpath_free(&g.what);
		return misused(inv, &f);
	}
	rebuild_more_files();
	result = get(&g, &f);
	status = api_finish(inv, result, &f);
	if (g.r.lock != -1)
		close(g.r.lock);
	if (g.dir != -1)
		close(g.dir);
	remote_free(g.r.remote);
	download_free(g.r.download);
	free(g.name);
	volpath_free(&g.what);
	return status;
}
