/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * history: asks the API server for commits and their differences, page by page.
 * In sailvolctl.
 */
#include <stdio.h>
#include <string.h>

#include "lib/fetch_imsg.h"
#include "sailvolctl/api.h"
#include "sailvolctl/history.h"

#define TARGET_MAX 512
#define PAGE 1000

static json_t *
head_of(const struct invocation *inv, const char *volume, struct failure *f)
{
	char target[TARGET_MAX];

	snprintf(target, sizeof(target), "/v1/volumes/%s", volume);
	return api_request(inv, FETCH_METHOD_GET, 1, target, NULL, f);
}

static int
take_hash(const json_t *j, const char *name, struct hash *h, struct failure *f)
{
	const char *s = json_string_value(json_object_get(j, name));

	if (s != NULL && hash_parse(h, s, strlen(s)) == 0)
		return 0;
	failure_set(f, "", "answer", "the server's answer: %s: not a commit",
	    name);
	return -1;
}

/* ---- the first digits of an id ------------------------------------------------- */

struct search {
	const char *digits;
	struct hash found;
	int n; /* commits that have them */
};

static int
search_page(struct search *s, const json_t *page, struct failure *f)
{
	const json_t *list = json_object_get(page, "commits");
	char hex[HASH_HEX_LEN + 1];
	struct hash h;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		if (take_hash(json_array_get(list, i), "id", &h, f) == -1)
			return -1;
		hash_hex(&h, hex);
		if (strncmp(hex, s->digits, strlen(s->digits)) != 0)
			continue;
		s->found = h;
		s->n++;
	}
	return 0;
}

static int
search_all(const struct invocation *inv, const char *volume, struct search *s,
    struct failure *f)
{
	char target[TARGET_MAX], before[HASH_HEX_LEN + 16] = "";
	struct hash next;
	json_t *page;
	int rc = 0, more;

	do {
		snprintf(target, sizeof(target),
		    "/v1/volumes/%s/commits?limit=%d%s", volume, PAGE, before);
		page = api_request(inv, FETCH_METHOD_GET, 1, target, NULL, f);
		if (page == NULL)
			return -1;
		more = json_is_string(json_object_get(page, "next"));
		if (search_page(s, page, f) == -1 ||
		    (more && take_hash(page, "next", &next, f) == -1))
			rc = -1;
		json_decref(page);
		if (rc == 0 && more) {
			strlcpy(before, "&before=", sizeof(before));
			hash_hex(&next, before + strlen(before));
		}
	} while (rc == 0 && more);
	return rc;
}

int
history_resolve(const struct invocation *inv, const char *volume,
    const char *word, struct hash *h, struct failure *f)
{
	struct search s = { .digits = word };
	size_t len = strlen(word);
	json_t *j;
	int rc;

	if (hash_parse(h, word, len) == 0)
		return 0;
	if (strcmp(word, "head") == 0) {
		if ((j = head_of(inv, volume, f)) == NULL)
			return -1;
		rc = take_hash(j, "head", h, f);
		json_decref(j);
		return rc;
	}
	if (len < HISTORY_SHORT || strspn(word, "0123456789abcdef") != len) {
		failure_set(f, "invalid_request", "bad_commit",
		    "%s: a commit is the digits of its id, %d at least, or "
		    "'head': see sailvolctl log %s",
		    word, HISTORY_SHORT, volume);
		return -1;
	}
	if (search_all(inv, volume, &s, f) == -1)
		return -1;
	if (s.n != 1) {
		failure_set(f, s.n == 0 ? "not_found" : "invalid_request",
		    s.n == 0 ? "commit_not_found" : "ambiguous",
		    s.n == 0 ? "volume %s has no commit that begins with %s: "
			       "see sailvolctl log %s"
			     : "volume %s has several commits that begin with "
			       "%s: give more digits; see sailvolctl log %s",
		    volume, word, volume);
		return -1;
	}
	*h = s.found;
	return 0;
}

/* ---- differences ---------------------------------------------------------------- */

static json_t *
diff_page(const struct invocation *inv, const char *volume, json_t *question,
    struct failure *f)
{
	char target[TARGET_MAX];

	if (question == NULL) {
		failure_memory(f);
		return NULL;
	}
	snprintf(target, sizeof(target), "/v1/volumes/%s/diff", volume);
	return api_request(inv, FETCH_METHOD_POST, 1, target, question, f);
}

int
history_diff(const struct invocation *inv, const char *volume,
    const struct hash *from, const struct hash *to, history_cb cb, void *arg,
    struct failure *f)
{
	char a[HASH_HEX_LEN + 1] = "", b[HASH_HEX_LEN + 1];
	json_t *question, *page, *list, *next;
	size_t i;
	int rc = 0;

	if (from != NULL)
		hash_hex(from, a);
	hash_hex(to, b);
	question =
	    json_pack("{s:s*, s:s}", "from", from != NULL ? a : NULL, "to", b);
	do {
		page = diff_page(inv, volume, question, f);
		if (page == NULL) {
			rc = -1;
			break;
		}
		list = json_object_get(page, "changes");
		for (i = 0; rc == 0 && i < json_array_size(list); i++)
			rc = cb(arg, json_array_get(list, i), f);
		next = json_object_get(page, "next");
		if (json_is_null(next))
			next = NULL;
		/* The same place again would not end. */
		if (rc == 0 && next != NULL &&
		    json_equal(next, json_object_get(question, "after"))) {
			failure_set(f, "", "answer",
			    "the server's answer does not go on");
			rc = -1;
		} else if (next != NULL &&
		    json_object_set(question, "after", next) == -1) {
			failure_memory(f);
			rc = -1;
		}
		json_decref(page);
	} while (rc == 0 && next != NULL);
	json_decref(question);
	return rc;
}
