/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests_api: the commands that ask the API server: volume, key and log.  In
 * sailvolctl.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/life.h"
#include "lib/path.h"
#include "sailvolctl/api.h"
#include "sailvolctl/client.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/history.h"
#include "sailvolctl/output.h"
#include "sailvolctl/requests.h"

#define PAGE 1000
#define MOUNT_PAGE 64
#define TARGET_MAX 1024

int
api_finish(const struct invocation *inv, json_t *result, struct failure *f)
{
	api_end();
	if (result == NULL)
		return api_finish_shown(inv, -1, f);
	inv->out->result(inv, result);
	json_decref(result);
	failure_clear(f);
	return EXIT_DONE;
}

int
api_finish_shown(const struct invocation *inv, int rc, struct failure *f)
{
	int status = EXIT_DONE;

	api_end();
	if (rc == -1 && strcmp(f->code, FAILURE_OUTPUT) == 0)
		status = EXIT_FAILED;
	else if (rc == -1)
		status = inv->out->error(f);
	failure_clear(f);
	return status;
}

int
misused(const struct invocation *inv, struct failure *f)
{
	inv->out->error(f);
	failure_clear(f);
	return EXIT_USAGE;
}

int
check_volume(const char *name, struct failure *f)
{
	const char *why = volume_name_problem(name, strlen(name));

	if (why == NULL)
		return 0;
	failure_set(f, "invalid_request", "bad_name", "volume %s: %s", name,
	    why);
	return -1;
}

static json_t *
volume_get(const struct invocation *inv, struct failure *f)
{
	char target[TARGET_MAX];

	if (check_volume(inv->operand[0], f) == -1)
		return NULL;
	snprintf(target, sizeof(target), "/v1/volumes/%s", inv->operand[0]);
	return api_request(inv, FETCH_METHOD_GET, 1, target, NULL, f);
}

/*
 * What is done to the volume of the first operand, by its id: who has lost the
 * answer may ask for the same again, which by its name could be another one by
 * then, or none.
 */
static json_t *
volume_change(const struct invocation *inv, uint8_t method, const char *action,
    const json_t *body, struct failure *f)
{
	char target[TARGET_MAX], said[512];
	json_t *volume = volume_get(inv, f), *result;
	const char *id = json_string_value(json_object_get(volume, "id"));

	if (volume == NULL)
		return NULL;
	if (id == NULL || volume_name_problem(id, strlen(id)) != NULL) {
		failure_set(f, "", "answer",
		    "the server's answer: a volume without an id");
		json_decref(volume);
		return NULL;
	}
	snprintf(target, sizeof(target), "/v1/volumes/%s%s", id, action);
	json_decref(volume);
	result = api_request(inv, method, 1, target, body, f);
	if (result == NULL && strcmp(f->code, "no_answer") == 0) {
		strlcpy(said, f->message, sizeof(said));
		failure_set(f, "unavailable", "unknown_result",
		    "%s; it may have been done: see sailvolctl volume list",
		    said);
	}
	return result;
}

int
run_volume_create(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	json_t *body, *result = NULL;
	int mint = inv->opt[OPT_MINT] != NULL;

	if (check_volume(inv->operand[0], &f) == 0) {
		body = json_pack("{s:s, s:b}", "name", inv->operand[0],
		    "mint_if_missing", mint);
		result = api_request(inv, FETCH_METHOD_POST, mint,
		    "/v1/volumes", body, &f);
		json_decref(body);
	}
	return api_finish(inv, result, &f);
}

int
run_volume_get(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };

	return api_finish(inv, volume_get(inv, &f), &f);
}

int
run_volume_delete(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };

	return api_finish(inv,
	    volume_change(inv, FETCH_METHOD_DELETE, "", NULL, &f), &f);
}

/* Something is done to the volume of the first operand.  Takes body. */
static json_t *
volume_action(const struct invocation *inv, const char *action, json_t *body,
    struct failure *f)
{
	char target[TARGET_MAX];
	json_t *result = NULL;

	if (body == NULL)
		failure_memory(f);
	else if (check_volume(inv->operand[0], f) == 0) {
		snprintf(target, sizeof(target), "/v1/volumes/%s/%s",
		    inv->operand[0], action);
		result =
		    api_request(inv, FETCH_METHOD_POST, 0, target, body, f);
	}
	json_decref(body);
	return result;
}

/* A new name is said to be none here, where it would not be UTF-8. */
static int
check_name(const char *name, struct failure *f)
{
	return name == NULL ? 0 : check_volume(name, f);
}

int
run_volume_rename(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	json_t *body, *result = NULL;

	if (check_name(inv->operand[1], &f) == 0) {
		body = json_pack("{s:s}", "name", inv->operand[1]);
		if (body == NULL)
			failure_memory(&f);
		else
			result = volume_change(inv, FETCH_METHOD_POST,
			    "/rename", body, &f);
		json_decref(body);
	}
	return api_finish(inv, result, &f);
}

int
run_volume_restore(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	json_t *result = NULL;

	if (check_name(inv->operand[1], &f) == 0)
		result = volume_action(inv, "restore",
		    json_pack("{s:s*}", "name", inv->operand[1]), &f);
	return api_finish(inv, result, &f);
}

int
run_volume_fork(const struct invocation *inv)
{
	const char *at = inv->opt[OPT_AT];
	struct failure f = { .whole = NULL };
	char hex[HASH_HEX_LEN + 1] = "";
	struct hash h;
	json_t *result = NULL;

	if (check_volume(inv->operand[0], &f) == -1 ||
	    check_name(inv->operand[1], &f) == -1 ||
	    (at != NULL &&
		history_resolve(inv, inv->operand[0], at, &h, &f) == -1))
		return api_finish(inv, NULL, &f);
	if (at != NULL)
		hash_hex(&h, hex);
	result = volume_action(inv, "fork",
	    json_pack("{s:s, s:s*}", "name", inv->operand[1], "commit",
		at != NULL ? hex : NULL),
	    &f);
	return api_finish(inv, result, &f);
}

/* ---- lists that come by pages ------------------------------------------------------ */

/* 1: more is wanted. */
static int
take_page(json_t *all, json_t *page, const char *what, size_t max)
{
	json_t *list = json_object_get(page, what);
	size_t i;

	for (i = 0; i < json_array_size(list) && json_array_size(all) < max;
	     i++)
		if (json_array_append(all, json_array_get(list, i)) == -1)
			return 0;
	/* A page may be empty where the key sees a part of the volume. */
	return json_array_size(all) < max &&
	    json_is_string(json_object_get(page, "next"));
}

/* Only what may stand in a query. */
static int
token_ok(const char *s)
{
	return strspn(s,
		   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		   "0123456789._-") == strlen(s) &&
	    strlen(s) <= 256;
}

static json_t *
all_pages(const struct invocation *inv, const char *target, const char *key,
    const char *what, size_t max, struct failure *f)
{
	json_t *all = json_array(), *page = NULL;
	char query[TARGET_MAX], next[257] = "";
	size_t limit;
	int more = 1;

	while (more) {
		limit = max - json_array_size(all);
		if (limit > PAGE)
			limit = PAGE;
		snprintf(query, sizeof(query), "%s%slimit=%zu%s%s%s%s", target,
		    strchr(target, '?') != NULL ? "&" : "?", limit,
		    *next != '\0' ? "&" : "", *next != '\0' ? key : "",
		    *next != '\0' ? "=" : "", next);
		page = api_request(inv, FETCH_METHOD_GET, 1, query, NULL, f);
		if (page == NULL)
			goto fail;
		if ((more = take_page(all, page, what, max))) {
			const char *s =
			    json_string_value(json_object_get(page, "next"));

			if (!token_ok(s) || strcmp(s, next) == 0)
				more = 0;
			else
				snprintf(next, sizeof(next), "%s", s);
		}
		json_decref(page);
	}
	return json_pack("{s:o}", what, all);

fail:
	json_decref(all);
	return NULL;
}

int
run_volume_list(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };

	return api_finish(inv,
	    all_pages(inv,
		inv->opt[OPT_DELETED] != NULL ? "/v1/volumes?deleted=1"
					      : "/v1/volumes",
		"after", "volumes", SIZE_MAX, &f),
	    &f);
}

/* ---- log ------------------------------------------------------------------------------ */

/* Through the mount's own door: no key is needed. */
static json_t *
log_of_mount(const struct invocation *inv, size_t max, struct failure *f)
{
	json_t *all = json_array(), *page, *request;
	char next[257] = "";
	size_t limit = MOUNT_PAGE;
	int fd, more = 1;

	while (more) {
		request = json_pack("{s:s, s:s*, s:I}", "request", "log",
		    "before", *next != '\0' ? next : NULL, "limit",
		    (json_int_t)(max < limit ? max : limit));
		page = NULL;
		fd = client_open_mount(inv->operand[0], inv->opt[OPT_SOCKET],
		    request, f);
		if (fd != -1) {
			page = client_ask(fd, request, inv->out, f);
			close(fd);
		}
		json_decref(request);
		/* What comes through that door is bounded. */
		if (page == NULL && strcmp(f->code, "answer_too_long") == 0 &&
		    limit > 1) {
			limit /= 4;
			continue;
		}
		if (page == NULL)
			goto fail;
		if ((more = take_page(all, page, "commits", max)))
			snprintf(next, sizeof(next), "%s",
			    json_string_value(json_object_get(page, "next")));
		json_decref(page);
	}
	return json_pack("{s:o}", "commits", all);

fail:
	json_decref(all);
	return NULL;
}

static int
limit_of(const struct invocation *inv, size_t *max, struct failure *f)
{
	const char *s = inv->opt[OPT_LIMIT];
	char *end;
	unsigned long n;

	*max = SIZE_MAX;
	if (s == NULL)
		return 0;
	n = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end != '\0' || n == 0 || n > INT_MAX) {
		failure_set(f, "invalid_request", "bad_number",
		    "-n %s: not a number from 1", s);
		return -1;
	}
	*max = n;
	return 0;
}

/* A name of a volume has no slash, and does not begin with a dot. */
static int
is_path(const char *s)
{
	return strchr(s, '/') != NULL || *s == '.';
}

int
run_log(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	char target[TARGET_MAX];
	json_t *result = NULL;
	size_t max;

	if (limit_of(inv, &max, &f) == -1) {
		inv->out->error(&f);
		return EXIT_USAGE;
	}
	if (is_path(inv->operand[0]))
		result = log_of_mount(inv, max, &f);
	else if (check_volume(inv->operand[0], &f) == 0) {
		snprintf(target, sizeof(target), "/v1/volumes/%s/commits",
		    inv->operand[0]);
		result = all_pages(inv, target, "before", "commits", max, &f);
	}
	return api_finish(inv, result, &f);
}

/* ---- keys ------------------------------------------------------------------------------ */

/* The volumes of the operands, each VOLUME[:/PATH]; NULL: there are none, or
   failure is set. */
static json_t *
key_volumes(const struct invocation *inv, struct failure *f)
{
	json_t *all, *one, *path;
	int i;

	if (inv->noperands < 3 || (all = json_array()) == NULL)
		return NULL;
	for (i = 2; i < inv->noperands; i++) {
		if ((one = json_object()) == NULL ||
		    request_add_volume(one, inv->operand[i], f) == -1) {
			json_decref(one);
			json_decref(all);
			return NULL;
		}
		if ((path = json_object_get(one, "subpath")) != NULL)
			json_object_set(one, "path", path);
		json_object_del(one, "subpath");
		json_array_append_new(all, one);
	}
	return all;
}

int
run_key_create(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	const char *name = inv->noperands > 1 ? inv->operand[1] : NULL;
	const char *expires = inv->opt[OPT_EXPIRES];
	json_t *body, *volumes = NULL, *result = NULL;
	int64_t life = 0;

	if (name != NULL && !utf8_valid(name, strlen(name)))
		failure_set(&f, "invalid_request", "bad_name",
		    "the name is not UTF-8");
	else if (expires != NULL && (life = life_parse(expires)) == -1) {
		failure_set(&f, "invalid_request", "bad_life",
		    "--expires %s: not a number with s, m, h or d behind it, "
		    "at most 3650d",
		    expires);
		return misused(inv, &f);
	} else if ((volumes = key_volumes(inv, &f)) != NULL ||
	    inv->noperands < 3) {
		body = json_pack("{s:s, s:s*, s:o*}", "role", inv->operand[0],
		    "name", name, "volumes", volumes);
		if (expires != NULL)
			json_object_set_new(body, "life", json_integer(life));
		result = api_request(inv, FETCH_METHOD_POST, 0, "/v1/keys",
		    body, &f);
		json_decref(body);
	}
	return api_finish(inv, result, &f);
}

int
run_key_list(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };

	return api_finish(inv,
	    api_request(inv, FETCH_METHOD_GET, 1, "/v1/keys", NULL, &f), &f);
}

int
run_key_revoke(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	char target[TARGET_MAX];
	json_t *result = NULL;

	if (!token_ok(inv->operand[0]) || *inv->operand[0] == '\0')
		failure_set(&f, "invalid_request", "bad_id",
		    "%.100s: not the id of a key", inv->operand[0]);
	else {
		snprintf(target, sizeof(target), "/v1/keys/%s",
		    inv->operand[0]);
		result =
		    api_request(inv, FETCH_METHOD_DELETE, 1, target, NULL, &f);
	}
	return api_finish(inv, result, &f);
}
