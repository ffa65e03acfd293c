/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * compare: diff and show: changes with their letters, and what changed in
 * texts.  In sailvolctl.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvolctl/api.h"
#include "sailvolctl/client.h"
#include "sailvolctl/colour.h"
#include "sailvolctl/content.h"
#include "sailvolctl/history.h"
#include "sailvolctl/names.h"
#include "sailvolctl/requests.h"

#define MOUNT_PAGE 10000
#define PATCHES_MAX ((size_t)64 * 1024 * 1024) /* of all, in one object */

struct compare {
	const struct invocation *inv;
	const char *volume; /* to be asked for contents */
	struct hash from, to;
	int has_from;
	json_t *list;   /* with -j; else each is printed when it comes */
	size_t patches; /* bytes of them in list */
	/* with -p, once they are needed */
	struct remote *was, *now;
	struct download *download;
	/* a mount: what is in it now, and its older commit besides */
	int root;
	size_t subpath_len;
	int has_older;
	struct hash older;
	struct remote *before;
};

static void
compare_end(struct compare *c)
{
	remote_free(c->was);
	remote_free(c->now);
	remote_free(c->before);
	download_free(c->download);
	json_decref(c->list);
	if (c->root != -1)
		close(c->root);
}

/* ---- one change ------------------------------------------------------------------ */

static const char *
member(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s != NULL ? s : "";
}

static int
is_directory(const json_t *change)
{
	const char *type = member(change, "type");

	if (*type == '\0')
		type = member(json_object_get(change, "now"), "type");
	if (*type == '\0')
		type = member(json_object_get(change, "was"), "type");
	return strcmp(type, "directory") == 0;
}

static void
print_change(const json_t *change)
{
	const char *letter = member(change, "change");
	const json_t *path = json_object_get(change, "path");
	const json_t *from = json_object_get(change, "from");

	colour_set(stdout,
	    *letter == 'A'       ? COLOUR_GREEN
		: *letter == 'D' ? COLOUR_RED
				 : COLOUR_CYAN);
	name_print(stdout, letter, strlen(letter));
	colour_set(stdout, COLOUR_NONE);
	putchar(' ');
	name_print_json(stdout, path);
	if (json_string_length(path) == 0 && json_is_string(path))
		putchar('.');
	if (is_directory(change))
		putchar('/');
	if (from != NULL) {
		fputs(" (from ", stdout);
		name_print_json(stdout, from);
		putchar(')');
	}
	putchar('\n');
}

/* Takes patch (NULL: there is none, or why not). */
static int
put_change(struct compare *c, json_t *change, char *patch, size_t len,
    const char *why, struct failure *f)
{
	json_t *j = NULL;
	int rc = 0;

	if (c->list == NULL) {
		print_change(change);
		if (patch != NULL)
			patch_print(stdout, patch, len);
		else if (why != NULL)
			printf("(%s)\n", why);
		free(patch);
		if (!ferror(stdout))
			return 0;
		failure_set(f, "", FAILURE_OUTPUT, "standard output failed");
		return -1;
	}
	if (patch != NULL && len > 0 && c->patches + len > PATCHES_MAX)
		why = "there is too much of it";
	else if (patch != NULL && len > 0) {
		c->patches += len;
		j = json_name(patch, len);
		rc = j == NULL ? -1 : json_object_set_new(change, "patch", j);
	}
	if (rc == 0 && why != NULL)
		rc = json_object_set_new(change, "no_patch", json_string(why));
	if (rc == 0)
		rc = json_array_append(c->list, change);
	if (rc == -1)
		failure_memory(f);
	free(patch);
	return rc;
}

/* ---- contents -------------------------------------------------------------------- */

/* The tree of a commit, opened when it is looked at first. */
static struct remote *
side(struct compare *c, struct remote **r, const struct hash *id,
    struct failure *f)
{
	if (c->download == NULL && (c->download = download_new()) == NULL) {
		failure_memory(f);
		return NULL;
	}
	if (*r == NULL)
		*r = remote_open(c->inv, c->volume, id, f);
	return *r;
}

static enum content
content_at(struct compare *c, struct remote **r, const struct hash *id,
    const char *path, size_t len, const struct hash *wanted, struct version *v,
    struct failure *f)
{
	if (side(c, r, id, f) == NULL)
		return CONTENT_FAILED;
	return content_of_commit(*r, c->download, path, len, wanted, v, f);
}

/* What a mount saw at a path is in its last commit, or in its base. */
static enum content
content_seen(struct compare *c, const json_t *change, const char *path,
    size_t len, struct version *v, struct failure *f)
{
	const char *hex = member(change, "seen");
	enum content got = CONTENT_NONE;
	struct hash seen;

	if (hash_parse(&seen, hex, strlen(hex)) == -1)
		return CONTENT_NONE;
	if (c->has_older)
		got = content_at(c, &c->before, &c->older, path, len, &seen, v,
		    f);
	if (got == CONTENT_NONE)
		got = content_at(c, &c->was, &c->from, path, len, &seen, v, f);
	return got;
}

static enum content
content_was(struct compare *c, const json_t *change, const char *path,
    size_t len, struct version *v, struct failure *f)
{
	if (*member(change, "change") == 'A')
		return CONTENT_NONE;
	if (c->root != -1)
		return content_seen(c, change, path, len, v, f);
	return content_at(c, &c->was, &c->from, path, len, NULL, v, f);
}

static enum content
content_now(struct compare *c, const json_t *change, const char *path,
    size_t len, struct version *v, struct failure *f)
{
	size_t skip = c->subpath_len;

	if (*member(change, "change") == 'D')
		return CONTENT_NONE;
	if (c->root == -1)
		return content_at(c, &c->now, &c->to, path, len, NULL, v, f);
	skip += skip > 0 && skip < len;
	return skip > len
	    ? CONTENT_NONE
	    : content_of_mount(c->root, path + skip, len - skip, v, f);
}

/* Two of them when one thing became another. */
static char *
make_patch(const char *path, size_t len, const struct version *was,
    const struct version *now, int two, size_t *out_len)
{
	static const struct version none;
	char *a, *b, *both;
	size_t alen, blen;

	if (!two)
		return patch_make(path, len, was, now, out_len);
	a = patch_make(path, len, was, &none, &alen);
	b = patch_make(path, len, &none, now, &blen);
	both = a != NULL && b != NULL ? malloc(alen + blen + 1) : NULL;
	if (both != NULL) {
		memcpy(both, a, alen);
		memcpy(both + alen, b, blen);
		*out_len = alen + blen;
	}
	free(a);
	free(b);
	return both;
}

static int
compare_contents(struct compare *c, json_t *change, const char *path,
    size_t len, struct failure *f)
{
	struct version was = { NULL, 0 }, now = { NULL, 0 };
	enum content a, b;
	const char *why = NULL;
	char *patch = NULL;
	size_t n = 0;
	int rc = -1;

	a = content_was(c, change, path, len, &was, f);
	if (a == CONTENT_FAILED)
		return -1;
	b = content_now(c, change, path, len, &now, f);
	if (b == CONTENT_FAILED)
		goto out;
	if (a == CONTENT_LARGE || b == CONTENT_LARGE)
		why = "too large to be compared";
	else if (a == CONTENT_NONE && *member(change, "change") == 'M')
		why = "what it was is in no commit that the mount names";
	else if ((patch = make_patch(path, len, &was, &now,
		      *member(change, "change") == 'T', &n)) == NULL) {
		failure_memory(f);
		goto out;
	}
	rc = put_change(c, change, patch, n, why, f);
out:
	content_free(&was);
	content_free(&now);
	return rc;
}

static int
compare_change(void *arg, json_t *change, struct failure *f)
{
	struct compare *c = arg;
	const char *letter = member(change, "change");
	char *path;
	size_t len;
	int rc;

	if (c->inv->opt[OPT_PATCH] == NULL || *letter == 'm' ||
	    (*letter != 'T' && is_directory(change)))
		return put_change(c, change, NULL, 0, NULL, f);
	path = json_name_get(json_object_get(change, "path"), &len);
	if (path == NULL || path_problem(path, len) != NULL) {
		failure_set(f, "", "answer", "an answer with a bad path");
		free(path);
		return -1;
	}
	rc = compare_contents(c, change, path, len, f);
	free(path);
	return rc;
}

/* ---- a mount ------------------------------------------------------------------------ */

static json_t *
ask_mount(const struct invocation *inv, const char *path, json_t *request,
    struct failure *f)
{
	json_t *answer = NULL;
	int fd;

	fd = client_open_mount(path, inv->opt[OPT_SOCKET], request, f);
	if (fd != -1) {
		answer = client_ask(fd, request, inv->out, f);
		close(fd);
	}
	json_decref(request);
	return answer;
}

static int
take_commit(const json_t *j, const char *name, struct hash *h)
{
	const char *s = member(j, name);

	return hash_parse(h, s, strlen(s)) == 0;
}

/* Where contents are: the base, the last commit of its own, the mount. */
static int
mount_contents(struct compare *c, const char *path, json_t *status,
    struct failure *f)
{
	char *subpath;

	c->volume = member(status, "volume_id");
	if (!take_commit(status, "base", &c->from) ||
	    volume_name_problem(c->volume, strlen(c->volume)) != NULL) {
		failure_set(f, "", "answer",
		    "sailvold does not say what %s shows", path);
		return -1;
	}
	c->has_older = take_commit(status, "last_commit", &c->older) &&
	    hash_cmp(&c->older, &c->from) != 0;
	subpath =
	    json_name_get(json_object_get(status, "subpath"), &c->subpath_len);
	free(subpath);
	c->root = client_open_root(path, f);
	return c->root == -1 ? -1 : 0;
}

static int
mount_pages(struct compare *c, const char *path, struct failure *f)
{
	json_t *page, *list, *next = NULL, *request;
	size_t i;
	int rc = 0;

	do {
		request = json_pack("{s:s, s:i, s:o*}", "request", "diff",
		    "limit", MOUNT_PAGE, "after", next);
		if ((page = ask_mount(c->inv, path, request, f)) == NULL)
			return -1;
		list = json_object_get(page, "changes");
		for (i = 0; rc == 0 && i < json_array_size(list); i++)
			rc = compare_change(c, json_array_get(list, i), f);
		next = json_object_get(page, "next");
		next = json_array_size(list) == 0 || json_is_null(next)
		    ? NULL
		    : json_incref(next);
		json_decref(page);
	} while (rc == 0 && next != NULL);
	json_decref(next);
	return rc;
}

static int
diff_mount(struct compare *c, const char *path, struct failure *f)
{
	json_t *status = NULL;
	int rc = 0;

	if (c->inv->opt[OPT_PATCH] != NULL) {
		status = ask_mount(c->inv, path,
		    json_pack("{s:s}", "request", "status"), f);
		rc = status == NULL ? -1 : mount_contents(c, path, status, f);
	}
	if (rc == 0)
		rc = mount_pages(c, path, f);
	json_decref(status);
	c->volume = NULL;
	return rc;
}

/* ---- two commits ---------------------------------------------------------------------- */

static int
diff_commits(struct compare *c, struct failure *f)
{
	const struct invocation *inv = c->inv;

	c->volume = inv->operand[0];
	if (check_volume(c->volume, f) == -1 ||
	    history_resolve(inv, c->volume, inv->operand[1], &c->from, f) ==
		-1 ||
	    history_resolve(inv, c->volume, inv->operand[2], &c->to, f) == -1)
		return -1;
	c->has_from = 1;
	return history_diff(inv, c->volume, &c->from, &c->to, compare_change, c,
	    f);
}

int
run_diff(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct compare c = { .inv = inv, .root = -1 };
	json_t *result = NULL;
	int rc;

	if (inv->noperands == 2) {
		failure_set(&f, "invalid_request", "usage",
		    "diff: a path of a mount, or a volume and two commits");
		inv->out->error(&f);
		failure_clear(&f);
		return EXIT_USAGE;
	}
	if (inv->opt[OPT_JSON] != NULL)
		c.list = json_array();
	rc = inv->noperands == 3
	    ? diff_commits(&c, &f)
	    : diff_mount(&c, inv->noperands == 1 ? inv->operand[0] : ".", &f);
	if (rc == 0)
		result = json_pack("{s:O?}", "changes", c.list);
	compare_end(&c);
	return api_finish(inv, result, &f);
}

/* ---- one commit ------------------------------------------------------------------------ */

static json_t *
get_commit(const struct invocation *inv, const char *volume,
    const struct hash *id, struct failure *f)
{
	char target[512], hex[HASH_HEX_LEN + 1];

	hash_hex(id, hex);
	snprintf(target, sizeof(target), "/v1/volumes/%s/commits/%s", volume,
	    hex);
	return api_request(inv, FETCH_METHOD_GET, 1, target, NULL, f);
}

/* What is shown of it besides its changes, and what they are against. */
static int
show_commit(struct compare *c, json_t **commit, struct failure *f)
{
	const struct invocation *inv = c->inv;
	const char *word = inv->noperands > 1 ? inv->operand[1] : "head";

	c->volume = inv->operand[0];
	if (check_volume(c->volume, f) == -1 ||
	    history_resolve(inv, c->volume, word, &c->to, f) == -1 ||
	    (*commit = get_commit(inv, c->volume, &c->to, f)) == NULL)
		return -1;
	c->has_from = take_commit(*commit, "parent", &c->from);
	if (c->list == NULL)
		text_commit_shown(*commit);
	return history_diff(inv, c->volume, c->has_from ? &c->from : NULL,
	    &c->to, compare_change, c, f);
}

int
run_show(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct compare c = { .inv = inv, .root = -1 };
	json_t *commit = NULL;

	if (inv->opt[OPT_JSON] != NULL)
		c.list = json_array();
	if (show_commit(&c, &commit, &f) == -1 ||
	    (c.list != NULL &&
		json_object_set(commit, "changes", c.list) == -1)) {
		json_decref(commit);
		commit = NULL;
	}
	compare_end(&c);
	return api_finish(inv, commit, &f);
}
