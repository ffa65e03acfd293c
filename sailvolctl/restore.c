/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * restore: puts a file or directory of a commit back into a mount: made beside,
 * synced, then renamed, so that at each moment the old one or the new one is
 * there.  In sailvolctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvolctl/client.h"
#include "sailvolctl/content.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/history.h"
#include "sailvolctl/rebuild.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/treelook.h"

#define TEMP ".sailvolctl-restore-" /* and digits */

struct restore {
	const struct invocation *inv;
	const char *mount; /* as typed */
	char *path;        /* in the volume */
	size_t len;
	const char *below; /* the end of it that is in the mount */
	const char *word;  /* of the commit */
	char volume[64];
	struct hash commit;
	int root;
	int keep_temp; /* what was there is not to be lost */
	struct rebuild r;
};

/* ---- what was typed -------------------------------------------------------------- */

/* FILE@COMMIT: the last @ counts, for names may have others. */
static int
take_operand(struct restore *s, const char *text, struct failure *f)
{
	const char *at = strrchr(text, '@'), *why;
	size_t len;

	if (at == NULL || at[1] == '\0') {
		failure_set(f, "invalid_request", "usage",
		    "%s: no commit: FILE@COMMIT is needed, as in %s@head", text,
		    text);
		return -1;
	}
	s->word = at + 1;
	text += strspn(text, "/");
	for (len = (size_t)(at - text); len > 0 && text[len - 1] == '/'; len--)
		;
	if ((s->path = strndup(text, len)) == NULL) {
		return failure_memory(f);
	}
	s->len = len;
	why = len == 0 ? "the root of a volume cannot be restored"
		       : path_problem(s->path, len);
	if (why == NULL)
		return 0;
	failure_set(f, "invalid_request", "bad_path", "%s: %s", s->path, why);
	return -1;
}

/* ---- the mount ------------------------------------------------------------------- */

static json_t *
ask(struct restore *s, json_t *request, struct failure *f)
{
	json_t *answer = NULL;
	int fd;

	fd = client_open_mount(s->mount, s->inv->opt[OPT_SOCKET], request, f);
	if (fd != -1) {
		answer = client_ask(fd, request, s->inv->out, f);
		close(fd);
	}
	json_decref(request);
	return answer;
}

/* Where in the mount the path is. */
static int
take_subpath(struct restore *s, const json_t *status, struct failure *f)
{
	size_t len = 0;
	char *sub = json_name_get(json_object_get(status, "subpath"), &len);
	int rc = 0;

	s->below = s->path;
	if (sub != NULL && len > 0) {
		if (path_is_below(s->path, s->len, sub, len) && s->len > len)
			s->below = s->path + len + 1;
		else {
			failure_set(f, "invalid_request", "bad_path",
			    "%s: not in this mount, which shows what is below "
			    "%s",
			    s->path, sub);
			rc = -1;
		}
	}
	free(sub);
	return rc;
}

static int
look_at_mount(struct restore *s, struct failure *f)
{
	const char *id;
	json_t *status;
	int rc = -1;

	status = ask(s, json_pack("{s:s}", "request", "status"), f);
	if (status == NULL)
		return -1;
	id = json_string_value(json_object_get(status, "volume_id"));
	if (id == NULL || check_volume(id, f) == -1 ||
	    strlcpy(s->volume, id, sizeof(s->volume)) >= sizeof(s->volume))
		failure_set(f, "", "answer",
		    "sailvold does not say what %s shows", s->mount);
	else if (json_is_true(json_object_get(status, "read_only")))
		failure_set(f, "permission", "read_only",
		    "%s: the mount is read-only", s->mount);
	else if (take_subpath(s, status, f) == 0) {
		s->root = client_open_root(s->mount, f);
		rc = s->root == -1 ? -1 : 0;
	}
	json_decref(status);
	return rc;
}

/* What no commit has is not thrown away: 1 when there is something.  That
   something was deleted is what people come for. */
static int
has_changes(struct restore *s, const json_t *page)
{
	const json_t *list = json_object_get(page, "changes"), *c;
	const char *letter;
	char *path;
	size_t i, len;
	int found = 0;

	for (i = 0; !found && i < json_array_size(list); i++) {
		c = json_array_get(list, i);
		letter = json_string_value(json_object_get(c, "change"));
		path = json_name_get(json_object_get(c, "path"), &len);
		found = path != NULL && (letter == NULL || *letter != 'D') &&
		    path_is_below(path, len, s->path, s->len);
		free(path);
	}
	return found;
}

static int
refuse_changes(struct restore *s, struct failure *f)
{
	json_t *page, *next = NULL;
	int found = 0;

	if (s->inv->opt[OPT_FORCE] != NULL)
		return 0;
	do {
		page = ask(s,
		    json_pack("{s:s, s:i, s:o*}", "request", "diff", "limit",
			10000, "after", next),
		    f);
		if (page == NULL)
			return -1;
		found = has_changes(s, page);
		next = json_object_get(page, "next");
		next = json_is_null(next) ? NULL : json_incref(next);
		json_decref(page);
	} while (!found && next != NULL);
	json_decref(next);
	if (!found)
		return 0;
	failure_set(f, "refused", "dirty",
	    "%s: there are changes that no commit has: commit them first "
	    "(sailvolctl commit), or use --force to lose them",
	    s->path);
	return -1;
}

/* ---- directories above -------------------------------------------------------------- */

/* A directory that lacks is made as the commit has it. */
static int
make_above(struct restore *s, size_t len, struct failure *f)
{
	struct blob *keep;
	struct entry e;
	char *rel, *slash;
	int fd = -1, dir = -1, rc = -1;

	if (remote_find(s->r.remote, s->path, len, &e, &keep, f) == -1)
		return -1;
	rel = strndup(s->below, len - (size_t)(s->below - s->path));
	if (rel == NULL)
		goto out;
	slash = strrchr(rel, '/');
	if (slash != NULL)
		*slash = '\0';
	dir = slash != NULL
	    ? open_below(s->root, rel, O_RDONLY | O_DIRECTORY, 0)
	    : openat(s->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1 ||
	    mkdirat(dir, slash != NULL ? slash + 1 : rel, 0700) == -1 ||
	    (fd = openat(dir, slash != NULL ? slash + 1 : rel,
		 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) == -1)
		goto out;
	rc = rebuild_attributes(&s->r, fd, s->path, len, &e, f);
out:
	if (rc == -1 && f->message[0] == '\0')
		failure_set(f, "", "restore", "%.*s: %s", (int)len, s->path,
		    strerror(errno));
	if (fd != -1)
		close(fd);
	if (dir != -1)
		close(dir);
	free(rel);
	blob_unref(keep);
	return rc;
}

/* The directory that the path is in, opened. */
static int
open_above(struct restore *s, struct failure *f)
{
	size_t i, first = (size_t)(s->below - s->path);
	char *rel;
	int fd = openat(s->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (i = first; fd != -1 && i < s->len; i++) {
		if (s->path[i] != '/')
			continue;
		close(fd);
		if ((rel = strndup(s->below, i - first)) == NULL) {
			fd = -1;
			break;
		}
		fd = open_below(s->root, rel, O_RDONLY | O_DIRECTORY, 0);
		if (fd == -1 && errno == ENOENT) {
			if (make_above(s, i, f) == -1) {
				free(rel);
				return -1;
			}
			fd =
			    open_below(s->root, rel, O_RDONLY | O_DIRECTORY, 0);
		}
		free(rel);
	}
	/* The loop ended behind the slash. */
	if (fd == -1)
		failure_set(f, "", "restore", "%.*s: %s", (int)i - 1, s->path,
		    errno == ENOTDIR || errno == ELOOP
			? "not a directory in the mount: restore that first"
			: strerror(errno));
	return fd;
}

/* ---- the file ---------------------------------------------------------------------------- */

static int
changed_at_once(struct restore *s, struct failure *f)
{
	failure_set(f, "refused", "dirty",
	    "%s: it was changed at the same moment: nothing was restored",
	    s->path);
	return -1;
}

/*
 * 1 when what is there is what was looked at before; was_there 0: nothing.  -1
 * and errno.
 */
static int
is_as_before(int dir, const char *name, int was_there,
    const struct hash *before)
{
	struct hash now;

	if (treelook(dir, name, &now) == -1)
		return errno == ENOENT ? !was_there : -1;
	return was_there && hash_cmp(&now, before) == 0;
}

/*
 * What was there is at temp afterwards, or gone.  Between the last look and the
 * rename somebody may have written to it, deep below, where no name of ours
 * shows that: it is looked at again before it goes.
 */
static int
swap(struct restore *s, int dir, const char *temp, const char *name,
    int was_there, const struct hash *before, struct failure *f)
{
	int same;

	if (renameat2(dir, temp, dir, name,
		was_there ? RENAME_EXCHANGE : RENAME_NOREPLACE) == -1) {
		if (errno == EEXIST || errno == ENOENT)
			return changed_at_once(s, f);
		failure_set(f, "", "restore", "%s: %s", s->path,
		    strerror(errno));
		return -1;
	}
	if (!was_there || (same = is_as_before(dir, temp, 1, before)) == 1)
		return 0;
	s->keep_temp = 1;
	failure_set(f, "conflict", "dirty",
	    "%s: it is back, but what was there %s: it is left beside it as %s",
	    s->path,
	    same == 0 ? "was changed at the same moment"
		      : "cannot be looked at",
	    temp);
	return -1;
}

/*
 * The download took its time: what was changed since is not lost either.  What
 * is changed while sailvold looks is seen by what stat(2) says.
 */
static int
replace(struct restore *s, int dir, const char *temp, const char *name,
    const struct entry *e, struct failure *f)
{
	int force = s->inv->opt[OPT_FORCE] != NULL, was_there = 1, same;
	struct hash before;

	if (fsync(dir) == -1)
		goto fail;
	if (force) {
		if (rebuild_place(dir, temp, name, e) == -1)
			goto fail;
	} else {
		if (treelook(dir, name, &before) == -1) {
			if (errno != ENOENT)
				goto fail;
			was_there = 0;
		}
		if (refuse_changes(s, f) == -1)
			return -1;
		same = is_as_before(dir, name, was_there, &before);
		if (same == -1)
			goto fail;
		if (same == 0)
			return changed_at_once(s, f);
		if (swap(s, dir, temp, name, was_there, &before, f) == -1)
			return -1;
	}
	if (fsync(dir) == 0)
		return 0;
fail:
	failure_set(f, "", "restore", "%s: %s", s->path, strerror(errno));
	return -1;
}

static int
put_back(struct restore *s, const struct entry *e, struct failure *f)
{
	char temp[sizeof(TEMP) + 16];
	const char *name = strrchr(s->path, '/');
	int dir, rc;

	name = name != NULL ? name + 1 : s->path;
	if ((dir = open_above(s, f)) == -1)
		return -1;
	snprintf(temp, sizeof(temp), TEMP "%08x", arc4random());
	rc = rebuild(&s->r, dir, temp, s->path, s->len, e, f);
	if (rc == 0)
		rc = replace(s, dir, temp, name, e, f);
	if (!s->keep_temp && rebuild_remove(dir, temp) == -1 && rc == 0) {
		failure_set(f, "", "restore",
		    "%s: it is back, but what was there is left as %s: %s",
		    s->path, temp, strerror(errno));
		rc = -1;
	}
	close(dir);
	return rc;
}

static void
say_what(struct restore *s)
{
	char text[256];

	if (s->inv->opt[OPT_JSON] != NULL || s->r.owners == 0)
		return;
	snprintf(text, sizeof(text),
	    "%llu owners are not kept: only root may set them",
	    (unsigned long long)s->r.owners);
	s->inv->out->note(text);
}

static json_t *
restore(struct restore *s, struct failure *f)
{
	struct blob *keep = NULL;
	struct entry e;
	json_t *result = NULL;
	char hex[HASH_HEX_LEN + 1];

	if (look_at_mount(s, f) == -1)
		return NULL;
	if (history_resolve(s->inv, s->volume, s->word, &s->commit, f) == -1)
		return NULL;
	s->r.out = s->inv->out;
	s->r.download = download_new();
	s->r.remote = remote_open(s->inv, s->volume, &s->commit, f);
	if (s->r.remote == NULL || fetch_interrupts(f) == -1 ||
	    remote_find(s->r.remote, s->path, s->len, &e, &keep, f) == -1)
		return NULL;
	s->r.files_total = e.type == ENTRY_DIR ? e.files : 1;
	s->r.bytes_total = e.type == ENTRY_DIR ? e.bytes : e.size;
	if (refuse_changes(s, f) == 0 && put_back(s, &e, f) == 0) {
		say_what(s);
		hash_hex(&s->commit, hex);
		result = json_pack("{s:o, s:s, s:I, s:I, s:I}", "restored",
		    json_name(s->path, s->len), "commit", hex, "files",
		    (json_int_t)s->r.files, "bytes", (json_int_t)s->r.bytes,
		    "owners_not_kept", (json_int_t)s->r.owners);
	}
	blob_unref(keep);
	return result;
}

int
run_restore(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct restore s = { .inv = inv, .mount = inv->operand[0], .root = -1 };
	json_t *result;

	if (take_operand(&s, inv->operand[1], &f) == -1) {
		inv->out->error(&f);
		failure_clear(&f);
		free(s.path);
		return EXIT_USAGE;
	}
	rebuild_more_files();
	result = restore(&s, &f);
	remote_free(s.r.remote);
	download_free(s.r.download);
	if (s.root != -1)
		close(s.root);
	free(s.path);
	return api_finish(inv, result, &f);
}
