/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Small chunks come in packs: what a client says of one is believed by nobody
 * else before the server has read it, a lie hurts only the liar, and what is
 * lost is healed by the next session that has the bytes.
 */
#include "meta_harness.h"

static const struct change two[] = { { "a", "one", NULL },
	{ "b", "three", NULL } };

static struct wire_chunk
chunk_of(const char *content)
{
	struct wire_chunk c;

	c.bytes = (uint32_t)strlen(content);
	hash_bytes(&c.hash, content, c.bytes);
	return c;
}

/* The object of contents one behind the other: its hash, chunks and, when it
   is put into the store, what lies in it. */
static void
make_pack(const char *const *contents, uint32_t n, struct hash *object,
    struct wire_chunk *chunks, int store)
{
	struct packed *k = &h.packs[h.npacks];
	struct hash_ctx *ctx = hash_begin();
	uint32_t i, at = 0;

	assert_non_null(ctx);
	for (i = 0; i < n; i++) {
		chunks[i] = chunk_of(contents[i]);
		hash_update(ctx, contents[i], chunks[i].bytes);
		k->parts[i].hash = chunks[i].hash;
		k->parts[i].offset = at;
		k->parts[i].bytes = chunks[i].bytes;
		at += chunks[i].bytes;
	}
	hash_end(ctx, object);
	if (!store)
		return;
	k->object = *object;
	k->n = n;
	h.npacks++;
	store_set(object, 1);
}

/* As a client says it whose packs end in random bytes. */
static void
claim_tailed(const char *session, const struct hash *object,
    struct wire_chunk *chunks, uint32_t n)
{
	struct wire_pack p = { *object, WIRE_PACK_TAIL, n, chunks };
	char target[256];
	struct got g;
	struct wbuf w;
	uint32_t i;

	for (i = 0; i < n; i++)
		p.length += chunks[i].bytes;
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/packs", session);
	wbuf_init(&w, 1 << 20);
	wire_pack_encode(&w, &p);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 200);
	wbuf_free(&w);
	got_clear(&g);
}

/* What the session is told of each; "." present, "u" upload, "p" pack. */
static void
told(const char *session, const struct wire_chunk *chunks, uint32_t n,
    const char *want)
{
	struct wire_upload *up;
	struct got g;
	struct wbuf w;
	char target[256], got[16];
	uint32_t i;

	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/chunks", session);
	wbuf_init(&w, 1 << 20);
	wire_chunks_encode(&w, chunks, n);
	call(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, 200);
	assert_null(wire_uploads_decode(g.body, g.len, n, &up));
	for (i = 0; i < n; i++)
		got[i] = ".up"[up[i].presence];
	got[n] = '\0';
	assert_string_equal(got, want);
	free(up);
	got_clear(&g);
}

/* Where a reader is sent: the object, or nowhere. */
static int
located(const struct hash *commit, const char *path, struct hash *object,
    struct wire_span_chunk *chunk)
{
	struct wire_locate_req q;
	struct wire_span *spans;
	struct got g;
	struct wbuf w;
	uint64_t slot = 0;
	uint32_t n;
	char want[64];

	memset(&q, 0, sizeof(q));
	q.commit = *commit;
	q.path = (const uint8_t *)path;
	q.path_len = strlen(path);
	q.nslots = 1;
	q.slots = &slot;
	wbuf_init(&w, 65536);
	wire_locate_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/locate", h.read, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, 200);
	assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
	if (n > 0) {
		*object = spans[0].object;
		*chunk = spans[0].chunks[0];
		snprintf(want, sizeof(want), "range: bytes=%u-%u\n",
		    (unsigned int)spans[0].offset,
		    (unsigned int)(spans[0].offset + spans[0].length - 1));
		if (spans[0].headers_len > 0) {
			assert_int_equal(spans[0].headers_len, strlen(want));
			assert_memory_equal(spans[0].headers, want,
			    strlen(want));
		}
		chunk->offset = spans[0].offset;
	}
	wire_spans_free(spans, n);
	got_clear(&g);
	return n > 0;
}

/* A question that is refused. */
static void
ask_locate(const struct hash *commit, const char *path, uint16_t status)
{
	struct wire_locate_req q = { .commit = *commit,
		.path = (const uint8_t *)path,
		.path_len = strlen(path),
		.nslots = 1 };
	uint64_t slot = 0;
	struct got g;
	struct wbuf w;

	q.slots = &slot;
	wbuf_init(&w, 65536);
	wire_locate_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/locate", h.read, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, status);
	got_clear(&g);
}

static void
report(const struct hash *object, const struct hash *chunk)
{
	char o[HASH_HEX_LEN + 1], c[HASH_HEX_LEN + 1], body[256];
	int i;

	hash_hex(object, o);
	hash_hex(chunk, c);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"corrupt\"}", o,
	    c);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, 202, "");
	for (i = 0; i < 30; i++)
		pump();
}

/* Once a second. */
static void
tick(void)
{
	int i;

	meta_tick();
	for (i = 0; i < 50; i++)
		pump();
}

static void
begin(char session[33])
{
	new_session(session);
	open_session("data", session, "{}");
}

static void
commit(const char *session, const struct hash *base, const struct change *c,
    size_t n, uint16_t status, struct hash *id)
{
	struct got g;

	send_commit(&g, "data", session, base, c, n);
	if (g.status != status)
		print_error("commit: %u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, status);
	if (status == 200)
		parse_hash(id, member(g.json, "commit"));
	else
		assert_string_equal(code_of(&g), "missing_chunks");
	got_clear(&g);
}

static const char *const contents[] = { "one", "three" };

/* The volume with both files in one pack, which nobody has verified. */
static void
publish_pack(struct hash *base, struct hash *id, struct hash *object,
    struct wire_chunk *chunks)
{
	char session[33];

	make_volume("data", base);
	begin(session);
	make_pack(contents, 2, object, chunks, 1);
	told(session, chunks, 2, "pp");
	claim_pack("data", session, object, chunks, 2, 200, "");
	commit(session, base, two, 2, 200, id);
}

static void
test_pack(void **state)
{
	struct hash base, id, object, where;
	struct wire_chunk chunks[3];
	struct wire_span_chunk k;
	char session[33], other[33];

	(void)state;
	make_volume("data", &base);
	begin(session);
	make_pack(contents, 2, &object, chunks, 0);
	chunks[2] = chunk_of("large");
	chunks[2].bytes = 1 << 20;
	told(session, chunks, 3, "ppu");
	told(session, chunks, 1, "u"); /* alone it needs no pack */
	told(session, chunks, 2, "pp");
	claim_pack("data", session, &object, chunks, 2, 200, "");

	/* Said, and not brought. */
	commit(session, &base, two, 2, 409, NULL);
	told(session, chunks, 2, "pp");
	begin(other);
	told(other, chunks, 2, "pp");

	/* Brought: there for that session, after one look at the pack. */
	h.npacks = 0;
	make_pack(contents, 2, &object, chunks, 1);
	claim_pack("data", session, &object, chunks, 2, 200, "");
	h.looks = 0;
	told(session, chunks, 2, "..");
	assert_int_equal(h.looks, 1);
	told(other, chunks, 2, "pp");
	commit(session, &base, two, 2, 200, &id);
	assert_int_equal(h.looks, 1);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &object), 0);
	assert_int_equal(k.offset, 3);
	assert_int_equal(k.plain, 5);

	/* Read by the server: there for everybody. */
	told(other, chunks, 2, "pp");
	h.verifies = 0;
	tick();
	assert_int_equal(h.verifies, 1);
	told(other, chunks, 2, "..");
	tick();
	assert_int_equal(h.verifies, 1);
}

/* What was published in a pack may be named again before it was read, by who
   was not asked to bring it. */
static void
test_named_again(void **state)
{
	static const struct change more[] = { { "c", "three", NULL } };
	struct hash base, id, object;
	struct wire_chunk chunks[2];
	char session[33];

	(void)state;
	publish_pack(&base, &id, &object, chunks);
	begin(session);
	commit(session, &id, more, 1, 200, &id);
	/* Who was asked has to. */
	begin(session);
	told(session, chunks, 2, "pp");
	commit(session, &id, two, 2, 409, NULL);
}

/* Verification survives a restart, and a store that is away. */
static void
test_later(void **state)
{
	struct hash base, id, object;
	struct wire_chunk chunks[2];
	char session[33];

	(void)state;
	publish_pack(&base, &id, &object, chunks);
	h.store_status = 503;
	tick();
	h.store_status = 0;
	begin(session);
	told(session, chunks, 2, "pp");
	end_meta();
	begin_meta();
	tick();
	told(session, chunks, 2, "..");
}

static void
test_refused(void **state)
{
	struct hash base, object, other;
	struct wire_chunk c[2];
	struct wire_pack p;
	struct got g;
	struct wbuf w;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	begin(session);
	make_pack(contents, 2, &object, c, 1);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/packs", session);
	expect(API_POST, target, h.write, "junk", 400, "bad_pack");
	expect(API_POST, target, h.read, "junk", 403, "role");
	/* Its length is not that of its chunks. */
	p.object = object;
	p.length = 9;
	p.n = 2;
	p.chunks = c;
	wbuf_init(&w, 4096);
	wire_pack_encode(&w, &p);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 400);
	assert_string_equal(code_of(&g), "bad_pack");
	got_clear(&g);
	wbuf_free(&w);
	/* One that is another. */
	claim_pack("data", session, &object, c, 1, 400, "bad_pack");
	/* An object of another length: nobody knows yet who lies. */
	claim_pack("data", session, &object, c, 2, 200, "");
	c[1].bytes++;
	claim_pack("data", session, &object, c, 2, 200, "");
	c[1].bytes--;
	claim_pack("data", session, &object, c, 2, 200, "");
	/* A session that is not there, or over. */
	hash_bytes(&other, "x", 1);
	claim_pack("data", "0123456789abcdef0123456789abcdef", &other, c, 2,
	    404, "session_not_found");
	commit(session, &base, two, 2, 200, &other);
	claim_pack("data", session, &object, c, 2, 409, "session_published");
	/* Now the store has said how long it is. */
	begin(session);
	c[1].bytes++;
	claim_pack("data", session, &object, c, 2, 400, "bad_pack");
	c[1].bytes--;
	claim_pack("data", session, &object, c, 2, 200, "");
}

/* One chunk of a pack is not what its client said: the others are good, it is
   lost, and healed by the next who has it. */
static void
test_lying_index(void **state)
{
	static const char *const lie[] = { "one", "thxee" };
	static const struct change again[] = { { "c", "three", NULL } };
	struct hash base, id, object, where;
	struct wire_chunk c[2];
	struct wire_span_chunk k;
	char session[33];

	(void)state;
	make_volume("data", &base);
	begin(session);
	make_pack(lie, 2, &object, c, 1);
	c[1] = chunk_of("three");
	told(session, c, 2, "pp");
	claim_pack("data", session, &object, c, 2, 200, "");
	commit(session, &base, two, 2, 200, &id);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	tick();
	assert_int_equal(h.deletes, 0);
	assert_int_equal(located(&id, "a", &where, &k), 1);
	assert_int_equal(located(&id, "b", &where, &k), 0);

	begin(session);
	told(session, c, 2, ".u");
	store_set(&c[1].hash, 1);
	commit(session, &id, again, 1, 200, &base);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &c[1].hash), 0);
	/* And the session that repeats the lie still finds it out. */
	begin(session);
	claim_pack("data", session, &object, c, 2, 200, "");
	told(session, c, 2, "..");
	tick();
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &c[1].hash), 0);
}

/* A place that somebody else claims for a chunk is left when it is reported,
   and the honest one is read. */
static void
test_hostile(void **state)
{
	static const char *const junk[] = { "junk1", "junk2" };
	static const struct change mine[] = { { "m", "three", NULL } };
	struct hash base, id, object, bad, where;
	struct wire_chunk c[2], j[2];
	struct wire_span_chunk k;
	char session[33];

	(void)state;
	/* The hostile one comes first. */
	make_volume("data", &base);
	begin(session);
	make_pack(junk, 2, &bad, j, 1);
	j[1] = chunk_of("three");
	told(session, j, 2, "pp");
	claim_pack("data", session, &bad, j, 2, 200, "");
	commit(session, &base, mine, 1, 200, &id);
	begin(session);
	make_pack(contents, 2, &object, c, 1);
	told(session, c, 2, "pp");
	claim_pack("data", session, &object, c, 2, 200, "");
	commit(session, &id, two, 2, 200, &id);

	assert_int_equal(located(&id, "b", &where, &k), 1);
	if (hash_cmp(&where, &bad) == 0) {
		/* While it is read again, the reader is sent elsewhere. */
		h.fetch_down = 1;
		report(&bad, &j[1].hash);
		assert_int_equal(located(&id, "b", &where, &k), 1);
		assert_int_equal(hash_cmp(&where, &object), 0);
		h.fetch_down = 0;
		meta_peer_found();
	}
	tick();
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &object), 0);
	assert_int_equal(located(&id, "m", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &object), 0);
	tick();
	begin(session);
	told(session, c, 2, "..");
}

/* A pack is gone, or damaged: what was in it is lost until it comes again. */
static void
test_lost(void **state)
{
	struct hash base, id, object, where;
	struct wire_chunk c[2];
	struct wire_span_chunk k;
	char session[33];
	int damaged;

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	for (damaged = 0; damaged <= 1; damaged++) {
		store_set(&object, damaged ? 2 : 0);
		h.deletes = 0;
		report(&object, &c[0].hash);
		assert_int_equal(h.deletes, damaged);
		assert_int_equal(located(&id, "a", &where, &k), 0);
		assert_int_equal(located(&id, "b", &where, &k), 0);
		begin(session);
		told(session, c, 2, "pp");
		claim_pack("data", session, &object, c, 2, 200, "");
		commit(session, &id, two, 2, 409, NULL);
		store_set(&object, 1);
		commit(session, &id, two, 2, 200, &id);
		assert_int_equal(located(&id, "a", &where, &k), 1);
		tick();
		begin(session);
		told(session, c, 2, "..");
	}
}

static void
commit_busy(const char *session, const struct hash *base)
{
	struct got g;
	int i;

	send_commit(&g, "data", session, base, two, 2);
	if (g.status != 503)
		print_error("commit: %u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "busy");
	got_clear(&g);
	for (i = 0; i < 30; i++)
		pump();
}

/* It was not deleted, and is in the way of who brings it again: whatever was
   claimed of it, it is read and deleted. */
static void
test_not_deleted(void **state)
{
	struct wire_chunk c[2], lie[2];
	struct hash base, id, object, where;
	struct wire_span_chunk k;
	char liar[33], session[33];

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	store_set(&object, 2);
	h.fail_deletes = 1;
	report(&object, &c[0].hash);
	assert_int_equal(h.deletes, 1);
	/* Somebody says that something else lies in it. */
	begin(liar);
	lie[0] = chunk_of("ONE");
	lie[1] = chunk_of("THREE");
	claim_pack("data", liar, &object, lie, 2, 200, "");
	begin(session);
	claim_pack("data", session, &object, c, 2, 200, "");
	commit_busy(session, &id);
	assert_int_equal(h.deletes, 1);
	end_meta();
	begin_meta();
	commit_busy(session, &id);
	assert_int_equal(h.deletes, 2);
	claim_pack("data", session, &object, c, 2, 200, "");
	store_set(&object, 1);
	commit(session, &id, two, 2, 200, &id);
	assert_int_equal(located(&id, "a", &where, &k), 1);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	tick();
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(h.deletes, 2);
}

/* Another server read it as well, condemned and deleted it, and somebody has
   brought it again: what was read before says nothing of that. */
static void
test_overtaken(void **state)
{
	struct hash base, id, object, where;
	struct wire_chunk c[2];
	struct wire_span_chunk k;

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	store_set(&object, 2);
	h.overtaken_by = "UPDATE object SET condemned = condemned + 1";
	report(&object, &c[0].hash);
	h.overtaken_by = NULL;
	assert_int_equal(h.deletes, 0);
	assert_int_equal(located(&id, "a", &where, &k), 1);
	report(&object, &c[0].hash);
	assert_int_equal(h.deletes, 1);
	assert_int_equal(located(&id, "a", &where, &k), 0);
}

/* Whoever was to delete it is gone: it may have been done, and is not done a
   second time. */
static void
test_deleted_once(void **state)
{
	struct hash base, id, object;
	struct wire_chunk c[2];
	int i;

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	store_set(&object, 2);
	h.lose_delete = 1;
	report(&object, &c[0].hash);
	assert_int_equal(h.lose_delete, 0);
	for (i = 0; i < 30; i++)
		pump();
	assert_int_equal(h.deletes, 1);
	assert_false(check_running(1, &object));
}

/* Somebody says of a pack that is published that its chunks have other lengths,
   and lie elsewhere, and has that confirmed before anybody reads it: who names
   what is published is not held up, and readers are sent where it lies. */
static void
test_lengths_of_published(void **state)
{
	static const struct change more[] = { { "c", "three", NULL } };
	struct hash base, id, object, where;
	struct wire_chunk chunks[2], lie[2];
	struct wire_span_chunk k;
	char session[33];

	(void)state;
	publish_pack(&base, &id, &object, chunks);
	begin(session);
	lie[0] = chunks[1];
	lie[1] = chunks[0];
	lie[0].bytes = lie[1].bytes = 4;
	claim_pack("data", session, &object, lie, 2, 200, "");
	told(session, lie, 2, "..");
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(k.plain, 5);
	assert_int_equal(k.offset, 3);
	begin(session);
	commit(session, &id, more, 1, 200, &id);
	tick();
	assert_int_equal(h.deletes, 0);
	assert_int_equal(located(&id, "c", &where, &k), 1);
	assert_int_equal(k.plain, 5);
}

/* Of all that can be foreseen, the pack without a tail, wrong lengths are said
   and confirmed: an honest client has another pack, and is not held up before
   anybody has read the liar's. */
static void
test_not_foreseen(void **state)
{
	static const char *const with_tail[] = { "one", "three",
		"0123456789abcdef0123456789ABCDEF" };
	struct hash base, id, object, honest, where;
	struct wire_chunk chunks[3], lie[2];
	struct wire_span_chunk k;
	char liar[33], session[33];

	(void)state;
	make_volume("data", &base);
	begin(liar);
	make_pack(contents, 2, &object, lie, 1);
	lie[0].bytes = 2;
	lie[1].bytes = 6;
	claim_pack("data", liar, &object, lie, 2, 200, "");
	told(liar, lie, 2, "..");
	begin(session);
	make_pack(with_tail, 3, &honest, chunks, 1);
	h.packs[h.npacks - 1].n = 2;
	told(session, chunks, 2, "pp");
	claim_tailed(session, &honest, chunks, 2);
	told(session, chunks, 2, "..");
	commit(session, &base, two, 2, 200, &id);
	assert_int_equal(h.verifies, 0);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &honest), 0);
	assert_int_equal(k.plain, 5);
	/* Read: what is true in it stays. */
	tick();
	assert_int_equal(located(&id, "b", &where, &k), 1);
	assert_int_equal(hash_cmp(&where, &honest), 0);
	begin(session);
	told(session, chunks, 2, "..");
}

/* A pack that was missing is there again: all its chunks are. */
static void
test_there_again(void **state)
{
	struct hash base, id, object, where;
	struct wire_chunk c[2];
	struct wire_span_chunk k;
	char session[33];

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	store_set(&object, 0);
	report(&object, &c[0].hash);
	assert_int_equal(located(&id, "a", &where, &k), 0);
	end_meta();
	begin_meta();
	store_set(&object, 1);
	ask_locate(&id, "a", 503);
	tick();
	assert_int_equal(located(&id, "a", &where, &k), 1);
	assert_int_equal(located(&id, "b", &where, &k), 1);
	begin(session);
	told(session, c, 2, "..");
	assert_int_equal(h.deletes, 0);
}

/* It was wrong when it was looked for again, deleted by another server, and brought
   anew before that was noted. */
static void
test_brought_anew(void **state)
{
	struct hash base, id, object, where;
	struct wire_chunk c[2];
	struct wire_span_chunk k;

	(void)state;
	h.marked = 1;
	publish_pack(&base, &id, &object, c);
	store_set(&object, 0);
	report(&object, &c[0].hash);
	assert_int_equal(located(&id, "a", &where, &k), 0);
	end_meta();
	begin_meta();
	store_set(&object, 2);
	h.overtaken_by = "UPDATE object SET state = 2 WHERE pack = 1;"
			 "UPDATE location SET state = 2";
	ask_locate(&id, "a", 503);
	tick();
	h.overtaken_by = NULL;
	assert_int_equal(h.deletes, 0);
	store_set(&object, 1);
	assert_int_equal(located(&id, "a", &where, &k), 1);
}

/* Chunks that are told with that of a. */
static uint32_t
neighbours(const struct hash *commit)
{
	struct wire_locate_req q = { .commit = *commit,
		.path = (const uint8_t *)"a",
		.path_len = 1,
		.budget = 1 << 20,
		.nslots = 1 };
	struct wire_span *spans;
	uint64_t slot = 0;
	struct got g;
	struct wbuf w;
	uint32_t n, chunks;

	q.slots = &slot;
	wbuf_init(&w, 65536);
	wire_locate_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/locate", h.read, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, 200);
	assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
	assert_int_equal(n, 1);
	chunks = spans[0].nchunks;
	wire_spans_free(spans, n);
	got_clear(&g);
	return chunks;
}

/* Directories that have nothing of the pack are not looked into without end. */
static void
test_neighbours(void **state)
{
	enum { DIRS = 200 };
	static struct change c[DIRS + 2];
	static char name[DIRS][16];
	struct hash base, id, object;
	struct wire_chunk chunks[2];
	char session[33];
	size_t i, n;

	(void)state;
	make_volume("data", &base);
	make_pack(contents, 2, &object, chunks, 1);
	for (n = 20; n <= DIRS; n *= 10) {
		begin(session);
		told(session, chunks, 2, "pp");
		claim_pack("data", session, &object, chunks, 2, 200, "");
		c[0] = (struct change){ "a", contents[0], NULL };
		for (i = 0; i < n; i++) {
			snprintf(name[i], sizeof(name[i]), "d%03zu/e", i);
			c[i + 1] = (struct change){ name[i], "", NULL };
		}
		c[n + 1] = (struct change){ "z", contents[1], NULL };
		commit(session, &base, c, n + 2, 200, &id);
		assert_int_equal(neighbours(&id), n == 20 ? 2 : 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_pack), T(test_named_again),
		T(test_lengths_of_published), T(test_not_foreseen),
		T(test_later), T(test_refused), T(test_lying_index),
		T(test_hostile), T(test_lost), T(test_not_deleted),
		T(test_overtaken), T(test_deleted_once), T(test_there_again),
		T(test_brought_anew), T(test_neighbours) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
