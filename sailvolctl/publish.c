/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * publish: a delta on top of the newest commit of a volume.  In sailvolctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/path.h"
#include "sailvolctl/api.h"
#include "sailvolctl/publish.h"
#include "sailvolctl/volpath.h"

#define TARGET_MAX 256
#define PATIENCE_MS 120000 /* much may be looked at before it is published */

static void
target_of(const struct publish *p, const char *what, char *out)
{
	snprintf(out, TARGET_MAX, "/v1/volumes/%s/sessions/%s%s", p->volume,
	    p->session, what);
}

void
publish_new_session(struct publish *p)
{
	uint8_t raw[16];
	size_t i;

	arc4random_buf(raw, sizeof(raw));
	for (i = 0; i < sizeof(raw); i++)
		snprintf(p->session + 2 * i, 3, "%02x", raw[i]);
}

/* A result that names what was published. */
static int
is_result(const json_t *r)
{
	const char *id = json_string_value(json_object_get(r, "commit"));
	struct hash h;

	return id != NULL && hash_parse(&h, id, strlen(id)) == 0;
}

/* What became of it, when that is known: its result. */
static json_t *
look(struct publish *p, struct failure *f)
{
	char target[TARGET_MAX];
	json_t *j, *r;

	target_of(p, "", target);
	j = api_request(p->inv, FETCH_METHOD_GET, 1, target, NULL, f);
	r = json_object_get(j, "result");
	r = is_result(r) ? json_incref(r) : NULL;
	json_decref(j);
	return r;
}

int
publish_begin(struct publish *p, struct failure *f)
{
	const char *message = p->inv->opt[OPT_MESSAGE], *state;
	char target[TARGET_MAX];
	json_t *body, *j;
	int rc;

	if (message != NULL && !utf8_valid(message, strlen(message))) {
		failure_set(f, "invalid_request", "bad_message",
		    "the message is not UTF-8");
		return -1;
	}
	body = json_pack("{s:s*, s:b}", "message", message, "if_unchanged",
	    p->inv->opt[OPT_IF_UNCHANGED] != NULL);
	if (body == NULL) {
		return failure_memory(f);
	}
	target_of(p, "", target);
	j = api_request(p->inv, FETCH_METHOD_PUT, 1, target, body, f);
	json_decref(body);
	if (j == NULL) {
		volpath_explain(p->volume, f);
		return -1;
	}
	state = json_string_value(json_object_get(j, "state"));
	rc = state != NULL && strcmp(state, "published") == 0;
	if (rc == 0 && (state == NULL || strcmp(state, "open") != 0)) {
		failure_set(f, "", "answer",
		    "the server's answer: not a session");
		rc = -1;
	}
	json_decref(j);
	return rc;
}

int
publish_write(void *arg, const void *data, size_t len)
{
	const uint8_t *p = data;
	int *fd = arg;
	ssize_t n;

	for (; len > 0; len -= (size_t)n, p += n) {
		n = write(*fd, p, len);
		if (n == -1 && errno != EINTR)
			return -1;
		if (n == -1)
			n = 0;
	}
	return 0;
}

/* Who says so has looked into the session, and it is not published. */
static int
is_of_session(const struct failure *f)
{
	return strcmp(f->code, "overwritten") == 0 ||
	    strcmp(f->code, "bad_delta") == 0 ||
	    strcmp(f->code, "missing_chunks") == 0;
}

/* Nobody answered, or who refuses it now says nothing of what was sent first: it
   may have been published all the same. */
static json_t *
unknown(struct publish *p, struct failure *f)
{
	struct failure other = { .whole = NULL };
	json_t *r = look(p, &other);
	char said[512];
	int known;

	/* Its session is open, or there is none. */
	known = strcmp(f->code, "no_answer") != 0 &&
	    (other.code[0] == '\0' ||
		strcmp(other.code, "session_not_found") == 0);
	failure_clear(&other);
	if (r != NULL) {
		failure_clear(f);
		return r;
	}
	if (known) {
		volpath_explain(p->volume, f);
		return NULL;
	}
	strlcpy(said, f->message, sizeof(said));
	failure_set(f, "unavailable", "unknown_result",
	    "%s; it may have been published: see sailvolctl log %s, and do "
	    "the same again if not",
	    said, p->volume);
	return NULL;
}

json_t *
publish_delta(struct publish *p, int fd, struct failure *f)
{
	char target[TARGET_MAX];
	struct memfd_view v;
	json_t *r = NULL;
	int doubt;

	if (fcntl(fd, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == -1 ||
	    lseek(fd, 0, SEEK_SET) == -1) {
		failure_set(f, "", "delta", "%s", strerror(errno));
		close(fd);
		return NULL;
	}
	target_of(p, "/commit", target);
	if (api_post_file(target, fd, PATIENCE_MS, &v, &doubt, f) == -1) {
		if (doubt && !is_of_session(f))
			return unknown(p, f);
		volpath_explain(p->volume, f);
		return NULL;
	}
	r = json_loadb((const char *)v.data, v.len, JSON_ALLOW_NUL, NULL);
	memfd_unmap(&v);
	if (is_result(r))
		return r;
	json_decref(r);
	failure_set(f, "", "answer", "the server's answer: not a commit");
	return NULL;
}
