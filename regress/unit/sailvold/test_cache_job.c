/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what the cache's directory, this process or another mount lacks or lies
 * about is never an error to who reads, while a sailvol-fetch has the chunk; and no
 * good file is thrown away for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "regress/unit/sailvold/fake_cache.h"

/* A file from before is verified when descriptors and memory are there again. */
static void
test_lacks_kept(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM };
	struct content *k;
	uint32_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		k = content_new(1000, 'a' + (int)i);
		from_before(k, k->bytes);
		f_open = (struct fault){ errors[i], 2 };
		f_verify = (struct fault){ ENOMEM, 1 };
		get(1, i, k);
		expect(i, k);
		assert_true(is_kept(k));
	}
	assert_int_equal(gets, 0);
	assert_int_equal(removed, 0);
	/* Verified, and given out again. */
	f_open = (struct fault){ EMFILE, 3 };
	get(1, 4, k);
	expect(4, k);
	assert_int_equal(gets, 0);
	assert_int_equal(removed, 0);
	/* What it does not have, or what is broken, goes. */
	k = content_new(1000, 'x');
	from_before(k, k->bytes);
	f_open = (struct fault){ EIO, 1 };
	get(1, 5, k);
	expect(5, k);
	assert_int_equal(gets, 1);
	assert_true(is_kept(k));
	k->data[0] ^= 1;
	from_before(content_new(1000, 'y'), 7);
	k = &contents[ncontents - 1];
	get(1, 6, k);
	expect(6, k);
	assert_int_equal(gets, 2);
	assert_true(is_kept(k));
}

/* Whatever the directory says. */
static void
test_directory(void **state)
{
	static const int errors[] = { EIO, ENOENT, EROFS, EACCES, ENOTDIR };
	struct fault *at[] = { &f_tmp, &f_keep };
	struct content *k;
	size_t i, n;

	(void)state;
	for (n = 0; n < 2; n++) {
		for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
			k = content_new(n ? LARGE : 1000, (int)i + 1);
			*at[i % 2] = (struct fault){ errors[i], 1 };
			get(1, 1, k);
			expect(1, k);
			assert_false(is_kept(k));
			free(k->data);
			ncontents--;
		}
	}
	k = content_new(1000, 'w');
	f_write = (struct fault){ EIO, 1 };
	get(1, 1, k);
	expect(1, k);
	assert_false(is_kept(k));
	get(1, 1, k);
	expect(1, k);
	assert_true(is_kept(k));
}

/* No descriptors: it waits, and is kept then. */
static void
test_lacks(void **state)
{
	struct content *k = content_new(LARGE, 'l');
	struct content *small = content_new(1000, 's');
	struct rlimit r;

	(void)state;
	f_tmp = (struct fault){ EMFILE, 3 };
	get(1, 1, k);
	expect(1, k);
	assert_true(is_kept(k));
	f_tmp = (struct fault){ ENFILE, 2 };
	get(1, 1, small);
	expect(1, small);
	assert_true(is_kept(small));
	/* Of the question itself. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	k = content_new(LARGE, 'm');
	no_fds_after_tmp = 1;
	get(1, 1, k);
	turn(250);
	assert_int_equal(no_fds_after_tmp, 0);
	set_fds(r.rlim_cur);
	expect(1, k);
	assert_true(is_kept(k));
}

/* A length is one mount's word, and a PUT one mount's bytes. */
static void
test_liar(void **state)
{
	struct content *k = content_new(1000, 'k');
	struct content *old = content_new(1000, 'o');
	struct content *p = content_new(1000, 'p');
	uint8_t bad[1000] = { 1 };

	(void)state;
	hold = HOLD_ALL;
	want(2, IMSG_FUSE_CACHE_GET, 1, k, 1, "f", -1);
	turn(20);
	get(1, 2, k);
	turn(20);
	assert_int_equal(gets, 2);
	let_go();
	expect(2, k);
	wait_for(1);
	assert_int_not_equal(answers[1].error, 0);
	assert_true(is_kept(k));
	/* A good file from before stays. */
	from_before(old, old->bytes);
	want(2, IMSG_FUSE_CACHE_GET, 1, old, 1, "f", -1);
	wait_for(1);
	assert_int_not_equal(answers[1].error, 0);
	assert_int_equal(removed, 0);
	gets = 0;
	get(1, 2, old);
	expect(2, old);
	assert_int_equal(gets, 0);
	/* Other bytes than said, and who has the right ones. */
	hold = HOLD_ALL;
	want(2, IMSG_FUSE_CACHE_GET, 5, p, 1, "f", -1);
	put(2, 3, p, bad);
	turn(20);
	put(1, 4, p, p->data);
	get(1, 2, p);
	turn(20);
	let_go();
	expect(2, p);
	wait_for(3);
	wait_for(4);
	wait_for(5);
	assert_int_equal(answers[3].error, EBADMSG);
	assert_int_equal(answers[4].error, 0);
	assert_int_not_equal(answers[5].error, 0);
	assert_true(is_kept(p));
	assert_int_equal(gets, 1);
}

/* Nobody hears that it is kept, who only hands it out. */
static void
test_bundle_without_room(void **state)
{
	struct content *a = content_new(1000, 'a'), *b = content_new(900, 'b');
	struct cache_want w = { .path = (const uint8_t *)"f",
		.path_len = 1,
		.shift = SHIFT,
		.n = 2 };
	int kept;

	(void)state;
	w.chunks[0].bytes = a->bytes;
	w.chunks[0].hash = a->hash;
	w.chunks[1].slot = 1;
	w.chunks[1].bytes = b->bytes;
	w.chunks[1].hash = b->hash;
	for (kept = 0; kept < 2; kept++) {
		tell_limit((uint64_t)1 << 40);
		hold = HOLD_ALL;
		assert_int_equal(cache_want_send(fuse_end[1],
				     IMSG_FUSE_CACHE_GET, 1, &w, -1),
		    0);
		turn(20);
		put(2, 2, a, a->data);
		turn(20);
		assert_int_equal(answers[2].came, 0);
		if (!kept)
			tell_limit(0);
		let_go();
		wait_for(2);
		assert_int_equal(answers[2].error, kept ? 0 : ENOSPC);
		assert_int_equal(bundles, kept + 1);
	}
}

/* A bundle from before, of contents from to to. */
static void
bundle_before(unsigned int from, unsigned int to, int64_t age, struct hash *key)
{
	struct file *f = file_free();
	uint32_t at = 0;
	struct wbuf w;
	struct hash h;
	uint8_t *tail;
	unsigned int i;
	size_t len;

	f->fd = memfd_empty("bundle");
	wbuf_init(&w, 4096);
	for (i = from; i < to; i++) {
		wbuf_hash(&w, &contents[i].hash);
		wbuf_u32(&w, at);
		wbuf_u32(&w, contents[i].bytes);
		assert_int_equal(pwrite(f->fd, contents[i].data,
				     contents[i].bytes, at),
		    contents[i].bytes);
		at += contents[i].bytes;
	}
	wbuf_bytes(&w, VOL, strlen(VOL));
	wbuf_u16(&w, (uint16_t)strlen(VOL));
	wbuf_u16(&w, (uint16_t)(to - from));
	wbuf_u32(&w, 0x31424353);
	tail = wbuf_take(&w, &len);
	assert_non_null(tail);
	assert_int_equal(pwrite(f->fd, tail, len, at), len);
	hash_bytes(&h, tail, len);
	free(tail);
	cache_bundle_key(VOL, &h, key);
	f->tmp[0] = '\0';
	f->kind = CACHE_BUNDLE;
	f->key = *key;
	f->age = age;
}

/* All of the directory is found, whatever lacks meanwhile; last of all: once in
   a process. */
static void
test_scan(void **state)
{
	struct hash old, young, bad, part;
	struct cache_entry *e;
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		content_new(1000, 'a' + i);
	bundle_before(0, 2, 5, &young);
	bundle_before(1, 3, 4, &old);
	content_new(1000, 'z');
	bundle_before(3, 4, 3, &bad);
	assert_int_equal(ftruncate(file_find(&bad, CACHE_BUNDLE)->fd, 1010), 0);
	f_open = (struct fault){ EMFILE, 2 };
	f_scan = (struct fault){ ENOMEM, 1 };
	assert_int_equal(cache_role.start(), 0);
	for (i = 0; i < 2000 && cache_index.files < 2; i++)
		turn(5);
	assert_int_equal(removed, 1);
	assert_int_equal(cache_index.files, 2);
	assert_non_null(cache_index_find(&cache_index, &young));
	assert_non_null(cache_index_find(&cache_index, &old));
	/* The younger one stays longer, and has what both have. */
	key_of(&contents[1], &part);
	e = cache_index_having(&cache_index, &part);
	assert_non_null(e);
	assert_int_equal(hash_cmp(&e->key, &young), 0);
	key_of(&contents[2], &part);
	e = cache_index_having(&cache_index, &part);
	assert_non_null(e);
	assert_int_equal(hash_cmp(&e->key, &old), 0);
	e = cache_index_victim(&cache_index, 1, 1);
	assert_int_equal(hash_cmp(&e->key, &old), 0);
}

static struct file *
file_of(const struct content *k)
{
	struct hash key;

	key_of(k, &key);
	return file_find(&key, CACHE_CHUNK);
}

/* A fuse has found it bad. */
static void
bad(const struct content *k)
{
	assert_int_equal(chan_send(fuse_end[1], IMSG_FUSE_CACHE_BAD, 0, -1,
			     k->hash.b, HASH_LEN),
	    0);
}

/* What is another since it was verified is verified again, and so is what somebody
   could not read. */
static void
test_changed(void **state)
{
	static const uint8_t other[2] = { 1, 2 };
	const struct timespec then[2] = { { 7, 7 }, { 7, 7 } };
	struct content *k = content_new(LARGE, 'k');

	(void)state;
	get(1, 1, k);
	expect(1, k);
	get(1, 2, k);
	expect(2, k);
	assert_int_equal(gets, 1);
	/* As it was, but for the time. */
	assert_int_equal(futimens(file_of(k)->fd, then), 0);
	get(1, 3, k);
	expect(3, k);
	assert_int_equal(gets, 1);
	assert_int_equal(removed, 0);
	/* Written to. */
	assert_int_equal(pwrite(file_of(k)->fd, other, 2, 9), 2);
	get(1, 4, k);
	expect(4, k);
	assert_int_equal(gets, 2);
	assert_int_equal(removed, 1);
	/* Cut; the store says which length is the true one. */
	assert_int_equal(ftruncate(file_of(k)->fd, 9), 0);
	get(1, 5, k);
	expect(5, k);
	assert_int_equal(gets, 3);
	/* By the disk: who copies it finds that. */
	assert_int_equal(futimens(file_of(k)->fd, then), 0);
	get(1, 6, k);
	expect(6, k);
	assert_int_equal(pwrite(file_of(k)->fd, other, 2, 9), 2);
	assert_int_equal(futimens(file_of(k)->fd, then), 0);
	bad(k);
	get(1, 7, k);
	expect(7, k);
	assert_int_equal(gets, 4);
	/* A sector that cannot be read. */
	f_verify = (struct fault){ EIO, 1 };
	bad(k);
	get(1, 8, k);
	expect(8, k);
	assert_int_equal(gets, 5);
	/* A liar costs a look. */
	bad(k);
	bad(content_new(5, 'n'));
	get(1, 9, k);
	expect(9, k);
	assert_int_equal(gets, 5);
	assert_true(is_kept(k));
}

/* Many wait for a store that does not answer: what is here, or is given, is had. */
static void
test_store_hangs(void **state)
{
	struct content *old = content_new(1000, 'o');
	struct content *mine = content_new(900, 'm');
	struct fetch_get both = { .n = 2 };
	uint32_t i;

	(void)state;
	from_before(old, old->bytes);
	hold = HOLD_GETS;
	for (i = 1; i <= 70; i++)
		get(1, i, content_new(100, (int)i));
	turn(50);
	assert_int_equal(gets, 64);
	get(1, 90, old);
	expect(90, old);
	put(2, 91, mine, mine->data);
	wait_for(91);
	assert_int_equal(answers[91].error, 0);
	assert_true(is_kept(mine));
	/* One that waits already. */
	put(2, 92, &contents[2 + 69], contents[2 + 69].data);
	wait_for(92);
	expect(70, &contents[2 + 69]);
	/* In a bundle of another's. */
	both.chunks[0] = held[1].g.chunks[0];
	both.chunks[1].hash = contents[2 + 68].hash;
	both.chunks[1].bytes = contents[2 + 68].bytes;
	give(held[1].id, &both, 2);
	held[1] = held[--nheld];
	wait_for(2);
	wait_for(69);
	assert_int_equal(answers[69].error, 0);
	turn(50);
	assert_int_equal(gets, 65);
	/* Nothing has come for anybody: they all hear of it, but who came last. */
	passed_ms += CACHE_LATE_MS - 2000;
	get(1, 93, &contents[2 + 67]);
	turn(50);
	passed_ms += 2001;
	assert_int_equal(fetch_get_res_send(fetch_end, held[0].id, FETCH_STILL,
			     "nothing comes"),
	    0);
	held[0] = held[--nheld];
	wait_for(1);
	for (i = 66; i <= 68; i++) {
		wait_for(i);
		assert_int_equal(answers[i].error, EIO);
	}
	assert_int_equal(answers[3].came, 0);
	assert_int_equal(answers[93].came, 0);
	let_go();
	wait_for(3);
	assert_int_equal(answers[3].error, 0);
	expect(93, &contents[2 + 67]);
	assert_int_equal(gets, 66);
}

/* Of what kills a sailvol-fetch, or when there is none, nobody waits for ever. */
static void
test_no_fetch(void **state)
{
	struct content *k = content_new(1000, 'k');
	int i;

	(void)state;
	hold = HOLD_ALL;
	get(1, 1, k);
	turn(20);
	for (i = 0; i < 6; i++)
		fetch_dies(1);
	assert_int_equal(gets, 7);
	assert_int_equal(answers[1].came, 0);
	passed_ms += CACHE_LATE_MS;
	fetch_dies(1);
	wait_for(1);
	assert_int_equal(answers[1].error, EIO);
	assert_int_equal(gets, 7);
	get(1, 2, k);
	turn(20);
	fetch_dies(0);
	passed_ms += CACHE_LATE_MS - 5000;
	turn(1200);
	assert_int_equal(answers[2].came, 0);
	fetch_dies(1);
	hold = HOLD_NOTHING;
	let_go();
	expect(2, k);
	k = content_new(1000, 'm');
	fetch_dies(0);
	get(1, 3, k);
	turn(20);
	passed_ms += CACHE_LATE_MS;
	wait_for(3);
	assert_int_equal(answers[3].error, EIO);
	fetch_dies(1);
	get(1, 4, k);
	expect(4, k);
}

/* The cache's own file takes no bytes: what is read does not depend on it. */
static void
test_unwritten(void **state)
{
	struct content *k = content_new(LARGE, 'k');

	(void)state;
	f_given = (struct fault){ FETCH_NO_FILE, 1 };
	get(1, 1, k);
	expect(1, k);
	assert_false(is_kept(k));
	assert_int_equal(gets, 2);
	get(1, 2, k);
	expect(2, k);
	assert_true(is_kept(k));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_lacks_kept),
		T(test_directory),
		T(test_lacks),
		T(test_liar),
		T(test_bundle_without_room),
		T(test_scan),
		T(test_changed),
		T(test_store_hangs),
		T(test_no_fetch),
		T(test_unwritten),
	};
	int rc;

	log_init("test", 1, 0);
	if ((base = event_init()) == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return rc;
}
