/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A store that refuses us is named in words, at once, and never taken for a
 * client that lies; a store that is not that of the database is not believed; and
 * what nobody can read is left to the administrator.
 */
#include "meta_harness.h"

static void
settle(void)
{
	int i;

	for (i = 0; i < 40; i++)
		pump();
}

static void
ask(void)
{
	store_ask();
	settle();
}

static void
again(void)
{
	end_meta();
	begin_meta();
	ask();
}

static uint8_t
mark_of_db(void)
{
	struct db_store s;

	assert_int_equal(db_store_get(h.db, &s), 0);
	return s.mark;
}

static void
mark_db(uint8_t mark)
{
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_store_mark(h.db, mark), 0);
	assert_int_equal(db_end(h.db), 0);
}

/* What came of a commit of one file: its status, code and words. */
static void
commit(const char *content, int store, uint16_t status, const char *code,
    const char *words)
{
	struct change c = { "f", content, NULL };
	struct hash head;
	struct got g;
	char session[33];

	head_of("data", &head);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, &c, 1, store);
	send_commit(&g, "data", session, &head, &c, 1);
	if (g.status != status || strcmp(code_of(&g), code) != 0)
		print_error("%u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, status);
	assert_string_equal(code_of(&g), code);
	if (strstr((char *)g.body, words) == NULL)
		print_error("%s\n", (char *)g.body);
	assert_non_null(strstr((char *)g.body, words));
	got_clear(&g);
}

/* The answer to who asks for the URL of an upload. */
static void
upload(const char *content, uint16_t status, const char *code,
    const char *words)
{
	struct wire_chunk v;
	char session[33], target[256];
	struct wbuf w;
	struct got g;

	new_session(session);
	open_session("data", session, "{}");
	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%s/chunks",
	    session);
	v.bytes = (uint32_t)strlen(content);
	hash_bytes(&v.hash, content, v.bytes);
	wbuf_init(&w, 65536);
	wire_chunks_encode(&w, &v, 1);
	call(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, status);
	if (status != 200) {
		if (strstr((char *)g.body, words) == NULL)
			print_error("%s: %s\n", words, (char *)g.body);
		assert_string_equal(code_of(&g), code);
		assert_non_null(strstr((char *)g.body, words));
	}
	got_clear(&g);
}

static void
test_mark(void **state)
{
	struct hash base;

	(void)state;
	make_volume("data", &base);
	ask();
	assert_int_equal(h.marks, 1);
	assert_int_equal(mark_of_db(), STORE_MARKED);
	commit("one", 1, 200, "", "");
	again();
	assert_int_equal(h.marks, 1);
	assert_int_equal(h.refused, 0);

	/* Emptied, or another: neither is it begun with ... */
	h.marked = 0;
	again();
	assert_int_equal(h.refused, 1);
	upload("two", 503, "store_unusable", "the mark of this database");
	/* ... unless it is said to be the right one. */
	assert_int_equal(db_store_accept(h.dir), 0);
	again();
	assert_int_equal(h.refused, 1);
	assert_int_equal(h.marks, 2);
	assert_int_equal(mark_of_db(), STORE_MARKED);
	upload("two", 200, "", "");

	/* While it runs, it is not ended for that, but nothing is brought. */
	h.marked = 0;
	ask();
	assert_int_equal(h.refused, 1);
	upload("two", 503, "store_unusable", "the mark of this database");
	h.marked = 1;
	ask();
	upload("two", 200, "", "");

	/* Nor one that did not answer when it was begun. */
	h.store_status = 500;
	again();
	h.store_status = 0;
	h.marked = 0;
	ask();
	assert_int_equal(h.refused, 1);
	upload("two", 503, "store_unusable", "the mark of this database");
}

static uint8_t
state_of(const char *content)
{
	struct db_location l;
	struct hash chunk;

	hash_bytes(&chunk, content, strlen(content));
	assert_int_equal(db_chunk_find(h.db, 1, &chunk, &l), 1);
	return l.state;
}

static void
report_missing(const char *content)
{
	char hex[HASH_HEX_LEN + 1], body[256];
	struct hash chunk;

	hash_bytes(&chunk, content, strlen(content));
	hash_hex(&chunk, hex);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"missing\"}", hex,
	    hex);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, 202, "");
	settle();
}

/* What another store has, or has not, says nothing of an object. */
static void
test_stranger(void **state)
{
	struct change c = { "g", "two", NULL };
	struct hash base, head, chunk;
	char session[33];
	struct got g;

	(void)state;
	make_volume("data", &base);
	ask();
	commit("one", 1, 200, "", "");
	head_of("data", &head);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, &c, 1, 1);

	/* It is found out by the first object that is missing. */
	h.marked = 0;
	h.mark_asks = 0;
	hash_bytes(&chunk, "one", 3);
	store_set(&chunk, 0);
	report_missing("one");
	assert_int_equal(h.mark_asks, 1);
	report_missing("one");
	assert_true(location_good(state_of("one")));

	/* It may have what was brought there, and is not believed. */
	send_commit(&g, "data", session, &head, &c, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unusable");
	got_clear(&g);
	assert_int_equal(state_of("two"), LOCATION_CLAIMED);

	h.marked = 1;
	ask();
	report_missing("one");
	assert_int_equal(state_of("one"), LOCATION_BAD);
	send_commit(&g, "data", session, &head, &c, 1);
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

/* Before there is anything in it, too, it is one store and not each that is
   found: another server may have brought something by now. */
static void
test_mark_empty(void **state)
{
	struct hash base;

	(void)state;
	make_volume("data", &base);
	ask();
	assert_int_equal(h.marks, 1);
	again();
	assert_int_equal(h.refused, 0);
	h.marked = 0;
	again();
	assert_int_equal(h.refused, 1);
	assert_int_equal(h.marks, 1);
	assert_int_equal(db_store_accept(h.dir), 0);
	again();
	assert_int_equal(h.refused, 1);
	assert_int_equal(h.marks, 2);
	assert_int_equal(mark_of_db(), STORE_MARKED);
}

/* Of two servers that start with a new database in the same moment the one that
   is told later of its own bucket finds it marked by the other. */
static void
test_mark_first(void **state)
{
	struct hash base;

	(void)state;
	make_volume("data", &base);
	end_meta();
	begin_meta();
	h.fetch_down = 1;
	ask();
	mark_db(STORE_MARKED);
	h.fetch_down = 0;
	meta_peer_found();
	settle();
	assert_int_equal(h.marks, 0);
	assert_int_equal(h.refused, 1);
}

/* Of a database that is older than the marks. */
static void
test_mark_older(void **state)
{
	struct hash base, chunk;

	(void)state;
	make_volume("data", &base);
	commit("one", 1, 200, "", "");
	commit("two", 1, 200, "", "");
	assert_int_equal(mark_of_db(), STORE_UNMARKED);
	hash_bytes(&chunk, "one", 3);
	store_set(&chunk, 0);
	hash_bytes(&chunk, "two", 3);
	store_set(&chunk, 0);
	again();
	assert_int_equal(h.refused, 1);
	assert_int_equal(h.marks, 0);
	store_set(&chunk, 1);
	again();
	assert_int_equal(h.refused, 1);
	assert_int_equal(h.marks, 1);
	/* And is a mark like others. */
	store_set(&chunk, 0);
	again();
	assert_int_equal(h.marks, 1);
	assert_int_equal(h.refused, 1);
	/* A store that does not answer says nothing of whose it is. */
	mark_db(STORE_UNMARKED);
	h.marked = 0;
	h.store_status = 500;
	again();
	assert_int_equal(h.refused, 1);
	h.store_status = 0;
	h.mark_status = 403;
	h.store_code = NULL;
	store_set(&chunk, 1);
	ask();
	assert_int_equal(h.refused, 1);
	assert_int_equal(mark_of_db(), STORE_UNMARKED);
	h.mark_status = 0;
	ask();
	assert_int_equal(h.marks, 2);

	/* Nor does one that is silent of its objects: soon, and in its words. */
	mark_db(STORE_UNMARKED);
	h.marked = 0;
	h.s3 = 1;
	h.silent = 2;
	h.endless = 0;
	again();
	assert_int_equal(h.endless, 0);
	assert_int_equal(h.refused, 1);
	upload("three", 503, "store_unavailable", "(x.test: no answer)");
	h.silent = 0;
	ask();
	assert_int_equal(h.endless, 0);
	assert_int_equal(h.marks, 3);
	upload("three", 200, "", "");
}

/* A question that ended without an answer makes no liar of who waited for it. */
static void
test_no_verdict(void **state)
{
	struct change c = { "f", "one", NULL };
	struct hash base;
	char session[33];
	struct got g;

	(void)state;
	make_volume("data", &base);
	h.s3 = 1;
	again();
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, &c, 1, 0), 1);
	h.silent = 1;
	again();
	send_commit(&g, "data", session, &base, &c, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unavailable");
	got_clear(&g);
	h.silent = 0;
	send_commit(&g, "data", session, &base, &c, 1);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "missing_chunks");
	got_clear(&g);
}

/* Another server has marked it while this one was told that it has no mark. */
static void
test_mark_race(void **state)
{
	struct hash base;

	(void)state;
	make_volume("data", &base);
	commit("one", 1, 200, "", "");
	end_meta();
	begin_meta();
	h.fetch_down = 1;
	ask();
	mark_db(STORE_MARKED);
	h.refuse = 3; /* it was not there when it was asked */
	h.store_code = "AccessDenied";
	h.fetch_down = 0;
	h.marked = 1;
	meta_peer_found();
	settle();
	assert_int_equal(h.refused, 0);
	assert_int_equal(h.marks, 0);
	assert_int_equal(mark_of_db(), STORE_MARKED);
}

/* Who may not list the bucket hears 403 of what is not there. */
static void
test_mark_denied(void **state)
{
	struct hash base;

	(void)state;
	make_volume("data", &base);
	h.store_status = 403;
	h.store_code = "AccessDenied";
	ask();
	upload("one", 503, "store_unusable", "denies access");
	assert_int_equal(h.marks, 0);
	h.store_status = 0;
	h.refuse = 3; /* the question alone */
	ask();
	assert_int_equal(h.marks, 1);
	h.store_code = NULL;
	upload("one", 200, "", "");

	/* It says the same to a clock that is days off. */
	h.store_status = 403;
	h.store_code = "AccessDenied";
	h.store_skew_ms = (int64_t)-3 * 86400 * 1000;
	ask();
	upload("one", 503, "store_unusable", "signed by our clock");
}

static void
test_bucket_gone(void **state)
{
	struct hash base, chunk;

	(void)state;
	make_volume("data", &base);
	ask();
	commit("one", 0, 409, "missing_chunks", "neither known nor uploaded");

	/* It was uploaded, and HEAD says 404 of everything. */
	h.store_status = 404;
	h.store_code = "NoSuchBucket";
	h.mark_asks = 0;
	commit("two", 1, 503, "store_unusable", "does not have the bucket");
	assert_int_equal(h.mark_asks, 1);
	h.store_status = 0;
	h.store_code = NULL;
	upload("three", 503, "store_unusable", "does not have the bucket");
	ask();
	commit("two", 1, 200, "", "");

	/* The same when it is an empty one now. */
	hash_bytes(&chunk, "four", 4);
	h.marked = 0;
	commit("four", 0, 503, "store_unusable", "mark of this database");
	upload("four", 503, "store_unusable", "mark of this database");
	h.marked = 1;
	ask();
	assert_int_equal(h.refused, 0);
	commit("four", 0, 409, "missing_chunks", "neither known nor uploaded");

	/* What answers nothing is no liar either. */
	h.store_status = 500;
	h.store_code = "InternalError";
	commit("five", 1, 503, "store_unavailable",
	    "it answers 500 (InternalError)");
	/* It may be there again when the client comes to it. */
	upload("six", 200, "", "");
	h.said = "x.test: Couldn't connect to server";
	ask();
	commit("six", 1, 503, "store_unavailable",
	    "does not answer: is it up, and its URL in sailapid.conf right? "
	    "(x.test: Couldn't connect to server)");
}

/* A refusal for another cause is not for ever. */
static void
test_absent(void **state)
{
	(void)state;
	h.s3 = 1;
	h.absent_status = 403;
	again();
	assert_int_equal(store_absent(), 0);
	h.absent_status = 0;
	ask();
	assert_int_equal(store_absent(), 1);
	h.absent_status = 403;
	ask();
	assert_int_equal(store_absent(), 1);
}

/* However many wait for what the store is found to be, it is asked. */
static void
test_many_wait(void **state)
{
	static struct got g[META_QUEUE_MAX];
	struct wire_chunk v = { .bytes = 3 };
	char session[33], target[256];
	struct hash base;
	struct wbuf w;
	size_t i;

	(void)state;
	make_volume("data", &base);
	h.s3 = 1;
	end_meta();
	begin_meta();
	new_session(session);
	open_session("data", session, "{}");
	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%s/chunks",
	    session);
	hash_bytes(&v.hash, "one", 3);
	wbuf_init(&w, 65536);
	wire_chunks_encode(&w, &v, 1);
	for (i = 0; i < META_QUEUE_MAX; i++)
		submit(&g[i], API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	/* In turns, each of a time. */
	for (i = 0; i < 1000 && !g[META_QUEUE_MAX - 1].done; i++)
		settle();
	for (i = 0; i < META_QUEUE_MAX; i++) {
		assert_int_equal(g[i].done, 1);
		assert_int_equal(g[i].status, 200);
		got_clear(&g[i]);
	}
}

/* Each thing that a store may have against us, of S3: nobody waits. */
static void
test_words(void **state)
{
	static const struct {
		uint16_t status;
		const char *code, *elsewhere, *said, *want;
		int unusable;
	} t[] = {
		{ 404, "NoSuchBucket", NULL, NULL, "does not have the bucket",
		    1 },
		{ 403, "InvalidAccessKeyId", NULL, NULL,
		    "does not know the access key", 1 },
		{ 403, "SignatureDoesNotMatch", NULL, NULL,
		    "the secret access key is not", 1 },
		{ 403, "AccessDenied", NULL, NULL, "denies access", 1 },
		{ 403, "", NULL, NULL, "denies access", 1 },
		{ 400, "ExpiredToken", NULL, NULL,
		    "session token has expired: put new keys into", 1 },
		{ 400, "TokenRefreshRequired", NULL, NULL,
		    "session token has expired", 1 },
		{ 400, "InvalidToken", NULL, NULL,
		    "does not take the session token", 1 },
		{ 403, "RequestTimeTooSkewed", NULL, NULL, "set it", 1 },
		{ 400, "AuthorizationHeaderMalformed", "eu-west-1", NULL,
		    "in another region: mend \\\"region\\\", and the host of "
		    "the store, in sailapid.conf; it says "
		    "\\\"eu-west-1\\\" (AuthorizationHeaderMalformed)",
		    1 },
		{ 400, "AuthorizationQueryParametersError", "eu-west-1", NULL,
		    "in another region", 1 },
		{ 301, "PermanentRedirect", "b.s3.example", NULL,
		    "in another region", 1 },
		{ 301, "", NULL, NULL, "in another region", 1 },
		{ 400, "IllegalLocationConstraintException", NULL, NULL,
		    "in another region", 1 },
		{ 307, "TemporaryRedirect", "b.s3.example", NULL,
		    "elsewhere for now", 0 },
		{ 307, "", NULL, NULL, "elsewhere for now", 0 },
		{ 503, "SlowDown", NULL, NULL, "it answers 503 (SlowDown)", 0 },
		{ 404, "", NULL, NULL, "it answers 404: is its URL", 0 },
		{ 0, "", NULL, "x: SSL peer certificate was not OK",
		    "does not answer: is it up, and its URL in sailapid.conf "
		    "right? (x: SSL peer certificate was not OK)",
		    0 },
	};
	struct hash base;
	size_t i;

	(void)state;
	make_volume("data", &base);
	h.s3 = 1;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		h.store_status = t[i].status;
		h.store_code = t[i].code;
		h.elsewhere = t[i].elsewhere;
		h.said = t[i].said;
		end_meta();
		begin_meta();
		/* Whoever comes first waits for what the store is found to be. */
		upload("one", 503,
		    t[i].unusable ? "store_unusable" : "store_unavailable",
		    t[i].want);
		h.mark_asks = 0;
		upload("one", 503,
		    t[i].unusable ? "store_unusable" : "store_unavailable",
		    t[i].want);
		assert_int_equal(h.mark_asks, 0);
		h.store_status = 0;
		h.store_code = NULL;
		h.elsewhere = h.said = NULL;
		/* After SIGHUP the old verdict does not count. */
		store_ask_soon();
		upload("one", 200, "", "");
	}
	assert_int_equal(h.refused, 0);
}

/* What another has put there so that nobody else can read it. */
static void
test_unreadable(void **state)
{
	struct hash base, chunk;
	struct change c = { "f", "one", NULL };
	char session[33];
	struct got g;

	(void)state;
	make_volume("data", &base);
	ask();
	hash_bytes(&chunk, "one", 3);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, &c, 1, 0), 1);
	store_set(&chunk, 3);

	/* Nothing is deleted, of a store that refuses everything so, ... */
	h.store_status = 400;
	h.store_code = "ExpiredToken";
	send_commit(&g, "data", session, &base, &c, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unusable");
	got_clear(&g);
	settle();
	h.store_status = 0;
	h.store_code = "InvalidRequest";
	ask();

	/* ... or this alone, until somebody has done so. */
	send_commit(&g, "data", session, &base, &c, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unavailable");
	assert_non_null(strstr((char *)g.body, "answered 400"));
	got_clear(&g);
	settle();
	assert_int_equal(send_chunks("data", session, &c, 1, 1), 1);
	send_commit(&g, "data", session, &base, &c, 1);
	assert_int_equal(g.status, 200);
	got_clear(&g);

	/* What is published counts as not verified, and stays good. */
	store_set(&chunk, 3);
	report_missing("one");
	assert_int_equal(h.deletes, 0);
	assert_true(location_good(state_of("one")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_mark), T(test_mark_empty),
		T(test_mark_first), T(test_mark_older), T(test_mark_race),
		T(test_mark_denied), T(test_stranger), T(test_no_verdict),
		T(test_absent), T(test_many_wait), T(test_bucket_gone),
		T(test_words), T(test_unreadable) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
