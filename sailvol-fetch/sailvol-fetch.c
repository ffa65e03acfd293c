/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvol-fetch: the network process: the only one that has a socket to the
 * outside, and the API key.  Started by sailvold(8), sailapid(8) and
 * sailvolctl(8).
 */
#include <event2/util.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/kept.h"
#include "sailvol-fetch/numbers.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/resolve.h"
#include "sailvol-fetch/worker.h"

#define FILE_MAX ((size_t)8 * 1024 * 1024)
#define BODY_LEN (PROC_MAX_BODY)

/* What the parent says, until END. */
static struct {
	char *url, *key;
	uint32_t concurrency, deadline_ms;
	uint64_t memory;
	struct memfd_view ca, resolv, hosts;
	int have_settings;
} pending;
static int configured;
static int loop_ready; /* before, nothing may be put into the loop */

/* ---- configuration ----------------------------------------------------------- */

static void
pending_clear(void)
{
	free(pending.url);
	if (pending.key != NULL)
		explicit_bzero(pending.key, strlen(pending.key));
	free(pending.key);
	memfd_unmap(&pending.ca);
	memfd_unmap(&pending.resolv);
	memfd_unmap(&pending.hosts);
	memset(&pending, 0, sizeof(pending));
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct fetch_settings s;

	(void)c;
	(void)id;
	(void)imsg;
	if (fetch_settings_recv(body, &s) == -1)
		return -1;
	pending_clear();
	pending.url = strndup(s.url, s.url_len);
	pending.key = strndup(s.key, s.key_len);
	if (pending.url == NULL || pending.key == NULL)
		fatal("configuration");
	pending.concurrency = s.concurrency;
	pending.deadline_ms = s.deadline_ms;
	pending.memory = s.memory;
	pending.have_settings = 1;
	return 0;
}

static int
take_file(struct imsg *imsg, struct ibuf *body, struct memfd_view *v)
{
	int fd, rc;

	if (ibuf_size(body) != 0)
		return -1;
	fd = imsg_get_fd(imsg);
	memfd_unmap(v);
	rc = memfd_map(fd, FILE_MAX, v);
	close(fd);
	return rc;
}

static int
on_ca(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	return take_file(imsg, body, &pending.ca);
}

static int
on_resolv(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	return take_file(imsg, body, &pending.resolv);
}

static int
on_hosts(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	return take_file(imsg, body, &pending.hosts);
}

static void
apply(void)
{
	struct http_config conf = {
		.api_url = pending.url,
		.key = pending.key,
		.ca = pending.ca.data,
		.ca_len = pending.ca.len,
		.concurrency = pending.concurrency,
		.deadline_ms = pending.deadline_ms,
	};

	if (http_configure(&conf) == -1) {
		/* Without an API: every request for it says so. */
		if (!loop_ready) {
			conf.api_url = "";
			conf.key = "";
			(void)http_configure(&conf);
		} else
			log_warnx("the settings before stay");
	}
	budget_set(pending.memory);
	resolve_config((const char *)pending.resolv.data, pending.resolv.len,
	    (const char *)pending.hosts.data, pending.hosts.len);
	pending_clear();
}

static int
on_end(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_size(body) != 0 || !pending.have_settings)
		return -1;
	configured = 1;
	if (loop_ready)
		apply();
	return 0;
}

static int
is_configured(void)
{
	return configured;
}

/* ---- the role ------------------------------------------------------------------- */

static int
on_cancel(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t which;

	(void)id;
	(void)imsg;
	if (fetch_cancel_recv(body, &which) == -1)
		return -1;
	/* One that was put in part only has files, and no request. */
	get_given_up(c, which);
	hash_given_up(c, which);
	upload_given_up(c, which);
	request_cancel(c, which);
	return 0;
}

static int
prepare(void)
{
	http_init();
	if (evutil_secure_rng_init() == -1)
		fatalx("libevent has no random numbers");
	return 0;
}

static int
start(void)
{
	worker_start();
	http_start_loop();
	apply();
	loop_ready = 1;
	return 0;
}

static void
peer_down(struct chan *c)
{
	request_peer_down(c);
	get_peer_down(c);
	hash_peer_down(c);
	upload_peer_down(c);
	kept_peer_down(c);
}

/*
 * sailvolctl is a parent that asks for itself.  Its messages are handled from
 * the first on; a question comes after READY.
 */
#define FROM_PARENT(op)                                                        \
	static int parent_##op(struct chan *c, uint32_t id, struct imsg *imsg, \
	    struct ibuf *body)                                                 \
	{                                                                      \
		return loop_ready ? op(c, id, imsg, body) : -1;                \
	}
FROM_PARENT(op_api)
FROM_PARENT(op_hash)
FROM_PARENT(op_upload_file)
FROM_PARENT(op_upload)
FROM_PARENT(op_get_file)
FROM_PARENT(op_get)
FROM_PARENT(on_cancel)
FROM_PARENT(op_numbers)

/* Rows of the same messages for each who may send them. */
#define RULE(type, from, fd, min, max, f, name)                \
	{                                                      \
		IMSG_FETCH_##type, from, fd, min, max, f, name \
	}
#define API_RULE(from, f) RULE(API, from, CHAN_MAYFD, 18, BODY_LEN, f, "api")
#define HASH_RULE(from, f) RULE(HASH, from, CHAN_FD, 2, 2, f, "hash")
#define FILE_RULE(from, f) \
	RULE(UPLOAD_FILE, from, CHAN_FD, 4, 4, f, "upload file")
#define UPLOAD_RULE(from, f) RULE(UPLOAD, from, CHAN_FD, 4, 512, f, "upload")
#define GET_FILE_RULE(from, f) \
	RULE(GET_FILE, from, CHAN_FD, 8, 8, f, "get file")
#define GET_RULE(from, f) RULE(GET, from, CHAN_NOFD, 42, BODY_LEN, f, "get")
#define CANCEL_RULE(from, f) RULE(CANCEL, from, CHAN_NOFD, 4, 4, f, "cancel")

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_FETCH_CONFIG, ROLE_PARENT, CHAN_NOFD, 20, 8192, on_config,
	    "config" },
	{ IMSG_PARENT_FETCH_CA, ROLE_PARENT, CHAN_FD, 0, 0, on_ca, "ca" },
	{ IMSG_PARENT_FETCH_RESOLV, ROLE_PARENT, CHAN_FD, 0, 0, on_resolv,
	    "resolver" },
	{ IMSG_PARENT_FETCH_HOSTS, ROLE_PARENT, CHAN_FD, 0, 0, on_hosts,
	    "hosts" },
	{ IMSG_PARENT_FETCH_END, ROLE_PARENT, CHAN_NOFD, 0, 0, on_end, "end" },
	API_RULE(ROLE_MANIFEST, op_api),
	RULE(HASH_REST, ROLE_MANIFEST, CHAN_FD, 0, 0, op_hash_rest,
	    "hash rest"),
	HASH_RULE(ROLE_MANIFEST, op_hash),
	FILE_RULE(ROLE_MANIFEST, op_upload_file),
	UPLOAD_RULE(ROLE_MANIFEST, op_upload),
	CANCEL_RULE(ROLE_MANIFEST, on_cancel),
	GET_FILE_RULE(ROLE_CACHE, op_get_file),
	GET_RULE(ROLE_CACHE, op_get),
	RULE(VERIFY_BUNDLE, ROLE_CACHE, CHAN_FD, 2, PROC_MAX_BODY,
	    op_verify_bundle, "verify bundle"),
	RULE(VERIFY, ROLE_CACHE, CHAN_FD, 4 + HASH_LEN, 4 + HASH_LEN, op_verify,
	    "verify"),
	CANCEL_RULE(ROLE_CACHE, on_cancel),
	RULE(URL, ROLE_META, CHAN_MAYFD, 48, 8192, op_url, "url"),
	RULE(LIST, ROLE_META, CHAN_NOFD, 7, 6 + FETCH_LIST_URL_MAX, op_list,
	    "list"),
	CANCEL_RULE(ROLE_META, on_cancel),
	API_RULE(ROLE_PARENT, parent_op_api),
	HASH_RULE(ROLE_PARENT, parent_op_hash),
	FILE_RULE(ROLE_PARENT, parent_op_upload_file),
	UPLOAD_RULE(ROLE_PARENT, parent_op_upload),
	GET_FILE_RULE(ROLE_PARENT, parent_op_get_file),
	GET_RULE(ROLE_PARENT, parent_op_get),
	CANCEL_RULE(ROLE_PARENT, parent_on_cancel),
	RULE(NUMBERS, ROLE_PARENT, CHAN_NOFD, 0, 0, parent_op_numbers,
	    "numbers"),
};

static const struct role_def fetch_role = {
	.role = ROLE_FETCH,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = is_configured,
	.prepare = prepare,
	.start = start,
	.peer_down = peer_down,
	.sandbox_flags = SANDBOX_THREADS,
};

int
main(int argc, char **argv)
{
	uint8_t role;

	/* Fresh memory for each large chunk costs more than all the rest:
	   it is kept while there is work (worker.c gives it back). */
	(void)mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
	(void)mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
	if (!role_wanted(argc, argv, &role) || role != ROLE_FETCH) {
		fprintf(stderr,
		    "sailvol-fetch: started by sailvold(8), "
		    "sailapid(8) and sailvolctl(8), not by hand\n");
		return 2;
	}
	role_main(&fetch_role, argc, argv);
}
