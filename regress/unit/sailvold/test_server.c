/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: each question to sailvol-fetch is answered exactly once, whoever dies
 * and whatever the callbacks do: asked again where that is allowed, else with
 * an error; and no descriptor stays behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>

#include "regress/unit/sailvold/manifest_harness.h"
#include "sailvold/server.h"

/* ---- a sailvol-fetch -------------------------------------------------------------- */

static struct chan *ours, *peer;
static unsigned int asked, cancelled, files;
static uint32_t last_id, last_cancel;
static char last_target[256], last_body[256];

struct chan *
role_peer_any(uint8_t role)
{
	assert_int_equal(role, ROLE_FETCH);
	return ours;
}

static void
keep_body(struct imsg *im)
{
	int fd = imsg_get_fd(im);
	ssize_t n = 0;

	if (fd != -1) {
		n = pread(fd, last_body, sizeof(last_body) - 1, 0);
		close(fd);
	}
	last_body[n > 0 ? n : 0] = '\0';
}

static int
peer_api(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct fetch_api api;

	(void)ch;
	assert_int_equal(fetch_api_recv(body, &api), 0);
	snprintf(last_target, sizeof(last_target), "%.*s", (int)api.target_len,
	    api.target);
	keep_body(im);
	last_id = id;
	asked++;
	return 0;
}

static int
peer_hash(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint8_t shift, keep;

	(void)ch;
	assert_int_equal(fetch_hash_recv(body, &shift, &keep), 0);
	assert_int_equal(shift, 23);
	keep_body(im);
	last_id = id;
	asked++;
	return 0;
}

static int
peer_file(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint32_t file;

	(void)ch;
	last_id = id;
	assert_int_equal(fetch_upload_file_recv(body, &file), 0);
	assert_int_equal(file, files);
	keep_body(im);
	files++;
	return 0;
}

static int
peer_rest(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)body;
	keep_body(im);
	last_id = id;
	files++;
	return 0;
}

static int
peer_upload(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct fetch_upload u;

	(void)ch;
	(void)im;
	assert_int_equal(fetch_upload_recv(body, &u), 0);
	last_id = id;
	asked++;
	return 0;
}

static int
peer_cancel(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)ch;
	(void)id;
	(void)im;
	assert_int_equal(ibuf_get_n32(body, &last_cancel), 0);
	cancelled++;
	return 0;
}

#define RULE(type, from, fd, f)                            \
	{                                                  \
		type, from, fd, 0, PROC_MAX_BODY, f, #type \
	}
static const struct msg_rule peer_rules[] = {
	RULE(IMSG_FETCH_API, ROLE_MANIFEST, CHAN_MAYFD, peer_api),
	RULE(IMSG_FETCH_HASH, ROLE_MANIFEST, CHAN_FD, peer_hash),
	RULE(IMSG_FETCH_UPLOAD_FILE, ROLE_MANIFEST, CHAN_FD, peer_file),
	RULE(IMSG_FETCH_UPLOAD, ROLE_MANIFEST, CHAN_FD, peer_upload),
	RULE(IMSG_FETCH_CANCEL, ROLE_MANIFEST, CHAN_NOFD, peer_cancel),
	RULE(IMSG_FETCH_HASH_REST, ROLE_MANIFEST, CHAN_FD, peer_rest),
};
static const struct msg_rule our_rules[] = {
	RULE(IMSG_FETCH_API_RES, ROLE_FETCH, CHAN_MAYFD, server_api_res),
	RULE(IMSG_FETCH_HASH_RES, ROLE_FETCH, CHAN_MAYFD, server_hash_res),
	RULE(IMSG_FETCH_UPLOAD_PROGRESS, ROLE_FETCH, CHAN_NOFD,
	    server_upload_progress),
	RULE(IMSG_FETCH_UPLOAD_RES, ROLE_FETCH, CHAN_MAYFD, server_upload_res),
	RULE(IMSG_FETCH_HASH_CHUNKS, ROLE_FETCH, CHAN_NOFD, server_hash_chunks),
};

static void
our_close(struct chan *ch, void *arg)
{
	(void)arg;
	ours = NULL;
	server_fetch_down(ch);
}

static void
peer_close(struct chan *ch, void *arg)
{
	(void)ch;
	(void)arg;
	peer = NULL;
}

static void
fetch_connect(void)
{
	static const struct chan_ops our_ops = { our_rules, 5, our_close,
		NULL };
	static const struct chan_ops peer_ops = { peer_rules, 6, peer_close,
		NULL };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
	    0);
	files = 0;
	peer =
	    chan_new(sv[1], ROLE_MANIFEST, 0, PROC_MAX_BODY, &peer_ops, NULL);
	ours = chan_new(sv[0], ROLE_FETCH, 0, PROC_MAX_BODY, &our_ops, NULL);
	assert_non_null(peer);
	assert_non_null(ours);
}

static void
fetch_start(void)
{
	fetch_connect();
	server_fetch_up(ours);
}

static void
turn(void)
{
	int i;

	for (i = 0; i < 10; i++)
		event_base_loop(h_base, EVLOOP_NONBLOCK);
}

/* It dies; nothing else starts yet. */
static void
fetch_die(void)
{
	chan_free(peer);
	peer = NULL;
	turn();
	assert_null(ours);
}

/* ---- who asks ------------------------------------------------------------------------ */

static unsigned int answers, progress;
static int last_status, last_error;
static char last_words[64];
static char last_answer[256], last_what[256];
static uint32_t to_cancel;

static void
on_answer(void *arg, const struct server_answer *a)
{
	(void)arg;
	answers++;
	last_status = a->status;
	assert_non_null(a->data);
	snprintf(last_answer, sizeof(last_answer), "%.*s", (int)a->len,
	    (const char *)a->data);
	snprintf(last_what, sizeof(last_what), "%s", a->what);
	if (to_cancel != 0)
		server_cancel(to_cancel);
}

static void
on_hash(void *arg, const struct fetch_hash_res *res, int fd)
{
	(void)arg;
	answers++;
	last_error = (int)res->error;
	if (fd != -1)
		close(fd);
}

static void
on_upload(void *arg, uint32_t error, const struct server_answer *a,
    const uint8_t *status, uint32_t n)
{
	char code[64];

	(void)arg;
	answers++;
	last_status = a->status;
	if (a->status != 0)
		server_error(a, last_words, sizeof(last_words), code,
		    sizeof(code));
	last_error = (int)error;
	if (error == 0) {
		assert_int_equal(n, 2);
		assert_int_equal(status[1], 1);
	}
}

static void
on_progress(void *arg, uint32_t chunks, uint64_t bytes, uint64_t sent)
{
	(void)arg;
	assert_int_equal(chunks, 1);
	assert_int_equal(bytes, 2);
	assert_int_equal(sent, 3);
	progress++;
}

static int fds_before;

static int
setup(void **state)
{
	(void)state;
	log_init("test", 1, 0);
	h_base = event_init();
	assert_non_null(h_base);
	fds_before = h_count_fds();
	asked = cancelled = answers = progress = 0;
	last_error = last_status = -1;
	to_cancel = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (peer != NULL)
		fetch_die();
	assert_int_equal(h_count_fds(), fds_before);
	event_base_free(h_base);
	return 0;
}

static void
reply(uint32_t id, uint16_t status, const char *text)
{
	struct fetch_api_res res;
	int fd = -1;

	memset(&res, 0, sizeof(res));
	res.status = status;
	res.type = 1;
	res.what = "";
	if (text != NULL)
		fd = memfd_new("answer", text, strlen(text));
	assert_int_equal(fetch_api_res_send(peer, id, &res, fd), 0);
	turn();
}

static uint32_t
ask(int retry)
{
	uint32_t n;

	n = server_request(3, "/v1/x", "application/json",
	    memfd_new("body", "hello", 5), retry, 100, on_answer, NULL);
	assert_int_not_equal(n, 0);
	turn();
	return n;
}

static void
test_answer(void **state)
{
	uint32_t n;

	(void)state;
	fetch_start();
	n = ask(0);
	assert_int_equal(asked, 1);
	assert_int_equal(last_id, n);
	assert_string_equal(last_target, "/v1/x");
	assert_string_equal(last_body, "hello");
	reply(n + 1, 200, "of nobody");
	assert_int_equal(answers, 0);
	reply(n, 200, "world");
	assert_int_equal(answers, 1);
	assert_int_equal(last_status, 200);
	assert_string_equal(last_answer, "world");
	reply(n, 200, "again");
	assert_int_equal(answers, 1);
	/* Larger than was allowed: no answer, and said so. */
	n = ask(0);
	{
		char big[201];

		memset(big, 'x', 200);
		big[200] = '\0';
		reply(n, 200, big);
	}
	assert_int_equal(answers, 2);
	assert_int_equal(last_status, 0);
	assert_true(last_what[0] != '\0');
}

static void
test_cancel(void **state)
{
	uint32_t n;

	(void)state;
	fetch_start();
	n = ask(1);
	server_cancel(n);
	turn();
	assert_int_equal(cancelled, 1);
	assert_int_equal(last_cancel, n);
	reply(n, 200, "late");
	assert_int_equal(answers, 0);
	server_cancel(n);
	server_cancel(0);
	/* A callback that cancels its own question. */
	to_cancel = n = ask(1);
	reply(n, 200, "x");
	assert_int_equal(answers, 1);
	assert_int_equal(cancelled, 1);
}

static void
test_waits_for_fetch(void **state)
{
	(void)state;
	ask(0);
	assert_int_equal(asked, 0);
	fetch_start();
	turn();
	assert_int_equal(asked, 1);
	reply(last_id, 204, NULL);
	assert_int_equal(answers, 1);
	assert_int_equal(last_status, 204);
	assert_string_equal(last_answer, "");
}

static void
test_death(void **state)
{
	uint32_t again, other;

	(void)state;
	fetch_start();
	again = ask(1);
	ask(0);
	other = ask(0);
	to_cancel = other; /* the first that hears of it ends the other */
	fetch_die();
	assert_int_equal(answers, 1);
	assert_int_equal(last_status, 0);
	assert_int_equal(cancelled, 0);
	to_cancel = 0;
	asked = 0;
	fetch_start();
	turn();
	assert_int_equal(asked, 1);
	assert_int_equal(last_id, again);
	assert_string_equal(last_body, "hello");
	reply(again, 200, "late");
	assert_int_equal(answers, 2);
	assert_string_equal(last_answer, "late");
}

/* Its end is not seen yet: what is asked now waits for the next one. */
static void
test_dying(void **state)
{
	struct upload_file f[2] = { { memfd_new("a", "aa", 2) },
		{ memfd_new("b", "bb", 2) } };
	struct fetch_upload_chunk c[2] = { { .bytes = 2 },
		{ .bytes = 2, .file = 1 } };
	uint32_t n[5];
	int i;

	(void)state;
	fetch_start();
	chan_free(peer);
	peer = NULL;
	n[0] = server_request(1, "/v1/x", NULL, -1, 1, 100, on_answer, NULL);
	n[1] = server_request(3, "/v1/x", NULL, -1, 0, 100, on_answer, NULL);
	n[2] = server_upload(H_VOLUME_ID, "key", f, 2, c, 2, on_progress,
	    on_upload, NULL);
	n[3] = server_hash(23, 0, memfd_new("f", "abc", 3),
	    memfd_new("rest", "rest", 4), on_hash, NULL);
	n[4] = server_hash(23, FETCH_HASH_KEEP, memfd_new("f", "abc", 3), -1,
	    on_hash, NULL);
	turn();
	assert_null(ours);
	assert_int_equal(answers, 0);
	/* So is the next one, as soon as it is there. */
	fetch_connect();
	chan_free(peer);
	peer = NULL;
	server_fetch_up(ours);
	turn();
	assert_null(ours);
	assert_int_equal(answers, 0);
	fetch_start();
	turn();
	assert_int_equal(asked, 5);
	assert_int_equal(files, 3);
	assert_int_equal(cancelled, 0);
	for (i = 0; i < 5; i++) {
		assert_int_not_equal(n[i], 0);
		server_cancel(n[i]);
	}
	turn();
	assert_int_equal(cancelled, 5);
}

/* What makes each sailvol-fetch die is not asked for ever. */
static void
test_poison(void **state)
{
	int i;

	(void)state;
	fetch_start();
	assert_int_not_equal(server_hash(23, 0, memfd_new("f", "abc", 3), -1,
				 on_hash, NULL),
	    0);
	for (i = 0; i < 20 && answers == 0; i++) {
		turn();
		fetch_die();
		if (answers == 0)
			fetch_start();
	}
	assert_int_equal(answers, 1);
	assert_int_not_equal(last_error, 0);
	assert_in_range(i, 2, 10);
}

static unsigned int told;

static void
on_told(void *arg, const struct fetch_hash_chunks *m)
{
	(void)arg;
	told += m->n;
	assert_int_equal(m->chunks[0].bytes, 1 << 23);
}

static void
test_hash(void **state)
{
	struct fetch_hash_chunks some = { .size = 1 << 24,
		.shift = 23,
		.n = 2 };
	struct fetch_hash_res res;
	uint32_t n;

	(void)state;
	fetch_start();
	n = server_hash(23, 0, memfd_new("f", "abc", 3), -1, on_hash, NULL);
	turn();
	assert_string_equal(last_body, "abc");
	fetch_die();
	fetch_start();
	turn();
	assert_int_equal(asked, 2);
	assert_string_equal(last_body, "abc");
	/* Chunks come before the answer, and of no other question. */
	some.chunks[1].slot = 1;
	memset(&some.chunks[0].hash, 1, HASH_LEN);
	memset(&some.chunks[1].hash, 2, HASH_LEN);
	assert_int_equal(fetch_hash_chunks_send(peer, n, &some), 0);
	turn();
	assert_int_equal(told, 0);
	server_hash_watch(n, NULL, on_told);
	assert_int_equal(fetch_hash_chunks_send(peer, n, &some), 0);
	assert_int_equal(fetch_hash_chunks_send(peer, n + 1, &some), 0);
	turn();
	assert_int_equal(told, 2);
	memset(&res, 0, sizeof(res));
	assert_int_equal(fetch_hash_res_send(peer, n, &res,
			     memfd_new("list", "list", 4)),
	    0);
	turn();
	assert_int_equal(answers, 1);
	assert_int_equal(last_error, 0);
	/* To nobody: its descriptor is closed. */
	assert_int_equal(fetch_hash_res_send(peer, n, &res,
			     memfd_new("list", "list", 4)),
	    0);
	turn();
}

static void
test_upload(void **state)
{
	struct upload_file f[2] = { { memfd_new("a", "aa", 2) },
		{ memfd_new("b", "bb", 2) } };
	struct fetch_upload_chunk c[2];
	struct fetch_upload_res res;
	uint32_t n;

	(void)state;
	memset(c, 0, sizeof(c));
	c[0].bytes = c[1].bytes = 2;
	c[1].file = 1;
	n = server_upload(H_VOLUME_ID, "key", f, 2, c, 2, on_progress,
	    on_upload, NULL);
	assert_int_not_equal(n, 0);
	fetch_start();
	turn();
	assert_int_equal(files, 2);
	assert_int_equal(asked, 1);
	fetch_die();
	fetch_start();
	turn();
	assert_int_equal(files, 2);
	assert_int_equal(asked, 2);
	assert_int_equal(fetch_upload_progress_send(peer, n, 1, 2, 3), 0);
	turn();
	assert_int_equal(progress, 1);
	memset(&res, 0, sizeof(res));
	res.what = "";
	assert_int_equal(fetch_upload_res_send(peer, n, &res,
			     memfd_new("status", "\1\1", 2)),
	    0);
	turn();
	assert_int_equal(answers, 1);
	assert_int_equal(last_error, 0);
}

/* The words of a server that refuses come with it. */
static void
test_upload_refused(void **state)
{
	static const char json[] = "{\"error\":{\"message\":\"the API key was "
				   "revoked\",\"code\":\"bad_key\"}}";
	struct upload_file f = { memfd_new("a", "aa", 2) };
	struct fetch_upload_chunk c = { .bytes = 2 };
	struct fetch_upload_res res = { .error = EACCES,
		.what = "no",
		.what_len = 2,
		.status = 401,
		.refusal = json,
		.refusal_len = sizeof(json) - 1 };
	uint32_t n;

	(void)state;
	fetch_start();
	n = server_upload(H_VOLUME_ID, "key", &f, 1, &c, 1, NULL, on_upload,
	    NULL);
	assert_int_equal(fetch_upload_res_send(peer, n, &res, -1), 0);
	turn();
	assert_int_equal(answers, 1);
	assert_int_equal(last_error, EACCES);
	assert_int_equal(last_status, 401);
	assert_string_equal(last_words, "the API key was revoked");
}

#define NO_FILE 99999 /* nothing is open there */

/* A question that failed when it was put in part: what came of it is let go. */
static void
test_put_in_part(void **state)
{
	struct upload_file f[2] = { { memfd_new("a", "aa", 2) }, { NO_FILE } };
	struct fetch_upload_chunk c[2];

	(void)state;
	memset(c, 0, sizeof(c));
	c[0].bytes = c[1].bytes = 2;
	c[1].file = 1;
	fetch_start();
	assert_int_equal(server_upload(H_VOLUME_ID, "key", f, 2, c, 2,
			     on_progress, on_upload, NULL),
	    0);
	assert_int_equal(errno, EBADF);
	turn();
	assert_int_equal(files, 1);
	assert_int_equal(cancelled, 1);
	assert_int_equal(last_cancel, last_id);
	assert_int_equal(server_hash(23, 0, NO_FILE,
			     memfd_new("rest", "rest", 4), on_hash, NULL),
	    0);
	assert_int_equal(errno, EBADF);
	turn();
	assert_int_equal(files, 2);
	assert_int_equal(asked, 0);
	assert_int_equal(cancelled, 2);
	assert_int_equal(last_cancel, last_id);
}

/* A status for each chunk, or it counts as an error. */
static void
test_upload_wrong_size(void **state)
{
	struct upload_file f = { memfd_new("a", "aa", 2) };
	struct fetch_upload_chunk c[2];
	struct fetch_upload_res res;
	uint32_t n;

	(void)state;
	memset(c, 0, sizeof(c));
	c[0].bytes = c[1].bytes = 2;
	fetch_start();
	n = server_upload(H_VOLUME_ID, "key", &f, 1, c, 2, NULL, on_upload,
	    NULL);
	memset(&res, 0, sizeof(res));
	res.what = "";
	assert_int_equal(fetch_upload_res_send(peer, n, &res,
			     memfd_new("status", "\1", 1)),
	    0);
	turn();
	assert_int_equal(answers, 1);
	assert_int_not_equal(last_error, 0);
}

static void
test_error_words(void **state)
{
	static const char json[] =
	    "{\"error\":{\"message\":\"no such volume\","
	    "\"type\":\"not_found\",\"code\":\"no_volume\"}}";
	struct server_answer a;
	char out[64], code[64];

	(void)state;
	memset(&a, 0, sizeof(a));
	a.status = 404;
	a.type = 1;
	a.data = (const uint8_t *)json;
	a.len = sizeof(json) - 1;
	server_error(&a, out, sizeof(out), code, sizeof(code));
	assert_string_equal(out, "no such volume");
	assert_string_equal(code, "no_volume");
	a.data = (const uint8_t *)"[1";
	a.len = 2;
	server_error(&a, out, sizeof(out), code, sizeof(code));
	assert_string_equal(out, "the server answered 404");
	assert_string_equal(code, "unknown");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_answer),
		T(test_cancel),
		T(test_waits_for_fetch),
		T(test_death),
		T(test_dying),
		T(test_poison),
		T(test_hash),
		T(test_upload),
		T(test_upload_refused),
		T(test_put_in_part),
		T(test_upload_wrong_size),
		T(test_error_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
