/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What one process of sailvold sends, another reads as it was sent; a body
 * that is cut anywhere, or has a byte too much, is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sailvold/sailvold_imsg.h"

/* Stands in for lib/chan.c: keeps what was sent. */
static uint8_t sent[PROC_MAX_BODY + 1];
static size_t sent_len;
static uint32_t sent_type;

int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)c;
	(void)id;
	(void)fd;
	sent_type = type;
	sent_len = ibuf_size(b);
	memcpy(sent, ibuf_data(b), sent_len);
	ibuf_free(b);
	return 0;
}

/* Runs f at each length that is not the whole one: all must be refused. */
static void
cuts(int (*f)(struct ibuf *))
{
	uint8_t *copy;
	struct ibuf b;
	size_t n;

	for (n = 0; n <= sent_len + 1; n++) {
		if (n == sent_len)
			continue;
		/* Of its own, so that reading behind it is seen. */
		copy = calloc(1, n + 1);
		memcpy(copy, sent, n < sent_len ? n : sent_len);
		ibuf_from_buffer(&b, copy, n);
		assert_int_equal(f(&b), -1);
		free(copy);
	}
}

static int
cut_mount(struct ibuf *b)
{
	struct mount_req m;

	return mount_req_recv(b, &m);
}

static int
cut_parent(struct ibuf *b)
{
	struct parent_req m;

	return parent_req_recv(b, &m);
}

static int
cut_config(struct ibuf *b)
{
	struct fuse_config m;

	return fuse_config_recv(b, &m);
}

static int
cut_start(struct ibuf *b)
{
	struct start m;

	return start_recv(b, &m);
}

static int
cut_load(struct ibuf *b)
{
	struct load m;

	return load_recv(b, &m);
}

static int
cut_get(struct ibuf *b)
{
	static struct cache_want m;

	return cache_want_recv(b, &m);
}

static void
mounts(void **state)
{
	static char sub[] = "a/b", path[] = "/mnt/x";
	struct mount_req m, out;
	struct parent_req p, pout;
	struct fuse_config f, fout;
	struct ibuf b;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.instance = 5;
	m.flags = MOUNT_READONLY | MOUNT_CREATE;
	strlcpy(m.volume, "shared", sizeof(m.volume));
	m.subpath = sub;
	m.path = path;
	m.uid = 1234;
	m.has_commit = 1;
	memset(m.commit.b, 3, HASH_LEN);
	m.ids.base = 100000;
	m.ids.count = 65536;
	m.policy.commit_every = 60;
	m.policy.commit_on_umount = 1;
	assert_int_equal(mount_req_send(NULL, 1, &m), 0);
	assert_int_equal(sent_type, IMSG_PARENT_MANIFEST_MOUNT);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(mount_req_recv(&b, &out), 0);
	assert_string_equal(out.volume, "shared");
	assert_string_equal(out.subpath, "a/b");
	assert_string_equal(out.path, "/mnt/x");
	assert_int_equal(out.flags, m.flags);
	assert_int_equal(out.uid, 1234);
	assert_memory_equal(&out.commit, &m.commit, HASH_LEN);
	assert_int_equal(out.ids.base, 100000);
	assert_int_equal(out.ids.count, 65536);
	assert_true(policy_equal(&out.policy, &m.policy));
	mount_req_free(&out);
	cuts(cut_mount);
	m.ids.base = 0; /* root is in it */
	assert_int_equal(mount_req_send(NULL, 1, &m), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(mount_req_recv(&b, &out), -1);
	m.ids.count = 0;

	memset(&p, 0, sizeof(p));
	p.verb = PARENT_UMOUNT;
	memset(p.ticket.b, 5, HASH_LEN);
	p.line = 7;
	p.force = 1;
	p.mount = m;
	assert_int_equal(parent_req_send(NULL, 1, &p, -1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(parent_req_recv(&b, &pout), 0);
	assert_int_equal(pout.verb, PARENT_UMOUNT);
	assert_memory_equal(&pout.ticket, &p.ticket, HASH_LEN);
	assert_int_equal(pout.line, 7);
	assert_int_equal(pout.force, 1);
	mount_req_free(&pout.mount);
	cuts(cut_parent);

	memset(&f, 0, sizeof(f));
	memset(f.mount, 4, 16);
	f.overlay_limit = 1ULL << 40;
	f.view_bytes = 12345;
	f.ids.base = 1;
	f.ids.count = 10;
	strlcpy(f.volume, "v", sizeof(f.volume));
	assert_int_equal(fuse_config_send(NULL, &f), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(fuse_config_recv(&b, &fout), 0);
	assert_memory_equal(&f, &fout, sizeof(f));
	cuts(cut_config);
	f.ids.count = 65537;
	assert_int_equal(fuse_config_send(NULL, &f), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(fuse_config_recv(&b, &fout), -1);
}

static int
cut_policy(struct ibuf *b)
{
	struct mount_policy p;
	uint32_t instance;

	return policy_recv(b, &instance, &p);
}

static void
policies(void **state)
{
	struct mount_policy p, out;
	uint32_t instance;
	struct ibuf b;

	(void)state;
	memset(&p, 0, sizeof(p));
	p.commit_every = COMMIT_EVERY_MAX;
	p.commit_on_umount = 1;
	p.overlay_limit = 1ULL << 50;
	assert_int_equal(policy_send(NULL, 77, &p), 0);
	assert_int_equal(sent_type, IMSG_PARENT_MANIFEST_POLICY);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(policy_recv(&b, &instance, &out), 0);
	assert_int_equal(instance, 77);
	assert_true(policy_equal(&p, &out));
	cuts(cut_policy);
	p.commit_every++;
	assert_int_equal(policy_send(NULL, 77, &p), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(policy_recv(&b, &instance, &out), -1);
}

static int
cut_numbers(struct ibuf *b)
{
	uint64_t ovls[4];
	uint16_t n;

	return numbers_recv(b, ovls, 4, &n);
}

static int
cut_backing(struct ibuf *b)
{
	struct backing_res r[BACKING_BATCH];
	uint16_t n;

	return backing_res_recv(b, r, &n);
}

static void
backing_files(void **state)
{
	uint64_t ovls[3] = { 1, 1ULL << 40, UINT64_MAX }, got[4];
	struct backing_res r[2] = { { 7, 0, 3 }, { 8, ENOENT, 0 } };
	struct backing_res rout[BACKING_BATCH];
	struct ibuf b;
	uint16_t n;

	(void)state;
	assert_int_equal(numbers_send(NULL, IMSG_FUSE_PARENT_BACKING, 1, ovls,
			     3),
	    0);
	assert_int_equal(sent_type, IMSG_FUSE_PARENT_BACKING);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(numbers_recv(&b, got, 4, &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(got, ovls, sizeof(ovls));
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(numbers_recv(&b, got, 2, &n), -1);
	cuts(cut_numbers);

	assert_int_equal(backing_res_send(NULL, 5, r, 2), 0);
	assert_int_equal(sent_type, IMSG_PARENT_FUSE_BACKING_RES);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(backing_res_recv(&b, rout, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(rout[0].ovl, 7);
	assert_int_equal(rout[0].id, 3);
	assert_int_equal(rout[1].error, ENOENT);
	cuts(cut_backing);
	/* Ids are numbers above 0 that fit the kernel's answer. */
	r[0].id = 0;
	assert_int_equal(backing_res_send(NULL, 5, r, 2), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(backing_res_recv(&b, rout, &n), -1);
	r[0].id = (uint32_t)INT32_MAX + 1;
	assert_int_equal(backing_res_send(NULL, 5, r, 2), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(backing_res_recv(&b, rout, &n), -1);
}

static void
starts_and_loads(void **state)
{
	struct start s, sout;
	struct load l, lout;
	struct ibuf b;

	(void)state;
	memset(&s, 0, sizeof(s));
	s.epoch = 3;
	s.applied = 1000;
	s.next = 77;
	s.base_number = 12;
	s.volume_version = 1;
	strlcpy(s.volume_id, "id", sizeof(s.volume_id));
	strlcpy(s.volume, "v", sizeof(s.volume));
	strlcpy(s.org, "o", sizeof(s.org));
	s.root = (const uint8_t *)"root";
	s.root_len = 4;
	assert_int_equal(start_send(NULL, IMSG_MANIFEST_FUSE_START, 0, &s, -1),
	    0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(start_recv(&b, &sout), 0);
	assert_int_equal(sout.next, 77);
	assert_string_equal(sout.org, "o");
	assert_int_equal(sout.root_len, 4);
	cuts(cut_start);

	memset(&l, 0, sizeof(l));
	l.offset = 9;
	l.has_origin = 1;
	l.origin_path = (const uint8_t *)"a/b";
	l.origin_path_len = 3;
	l.first = (const uint8_t *)"n";
	l.first_len = 1;
	l.flags = LOAD_ONE;
	assert_int_equal(load_send(NULL, 1, &l), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(load_recv(&b, &lout), 0);
	assert_int_equal(lout.first_len, 1);
	assert_memory_equal(lout.origin_path, "a/b", 3);
	cuts(cut_load);
	/* Neither an object nor an origin. */
	l.has_origin = 0;
	load_send(NULL, 1, &l);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(load_recv(&b, &lout), -1);
	/* A path that climbs. */
	l.has_origin = 1;
	l.origin_path = (const uint8_t *)"../";
	load_send(NULL, 1, &l);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(load_recv(&b, &lout), -1);
}

static void
cache_wants(void **state)
{
	static struct cache_want w, out;
	struct ibuf b;
	int i;

	(void)state;
	memset(w.commit.b, 2, HASH_LEN);
	w.path = (const uint8_t *)"a/b";
	w.path_len = 3;
	w.shift = CHUNK_SHIFT_MID;
	w.n = CACHE_WANT_MAX;
	for (i = 0; i < w.n; i++) {
		w.chunks[i].slot = (uint64_t)i * 7;
		w.chunks[i].bytes = (uint32_t)1 << CHUNK_SHIFT_MID;
		w.chunks[i].hash.b[0] = (uint8_t)i;
	}
	assert_int_equal(cache_want_send(NULL, IMSG_FUSE_CACHE_GET, 1, &w, -1),
	    0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(cache_want_recv(&b, &out), 0);
	assert_int_equal(out.n, w.n);
	assert_int_equal(out.shift, w.shift);
	assert_int_equal(out.path_len, 3);
	assert_memory_equal(out.chunks, w.chunks, sizeof(w.chunks));
	cuts(cut_get);
	for (i = 0; i < 6; i++) {
		w.n = 2;
		w.shift = i == 0 ? 22 : CHUNK_SHIFT_MID;
		w.chunks[1].slot = i == 1 ? 0
		    : i == 2              ? SAIL_SIZE_MAX >> CHUNK_SHIFT_MID
					  : 1;
		w.chunks[1].bytes = i == 3 ? 0
		    : i == 4 ? ((uint32_t)1 << CHUNK_SHIFT_MID) + 1
			     : 1;
		if (i == 5)
			w.n = 0;
		assert_int_equal(cache_want_send(NULL, IMSG_FUSE_CACHE_GET, 1,
				     &w, -1),
		    0);
		ibuf_from_buffer(&b, sent, sent_len);
		assert_int_equal(cache_want_recv(&b, &out), -1);
	}
}

static void
items(void **state)
{
	struct item it, out;
	struct rbuf r;
	struct wbuf w;
	size_t n;

	(void)state;
	memset(&it, 0, sizeof(it));
	it.name = (const uint8_t *)"name";
	it.name_len = 4;
	it.ovl = 5;
	it.flags = ITEM_LOCAL | ITEM_UNSETTLED;
	it.links = 2;
	it.has_origin = 1;
	it.origin_path = (const uint8_t *)"p/q";
	it.origin_path_len = 3;
	it.entry.type = ENTRY_SYMLINK;
	it.entry.fileid = 9;
	it.entry.mode = 0777;
	it.entry.target = (const uint8_t *)"t";
	it.entry.target_len = 1;
	wbuf_init(&w, 1 << 20);
	item_encode(&w, &it);
	item_encode(&w, &it);
	assert_int_equal(w.error, 0);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(item_decode(&r, &out), 1);
	assert_int_equal(out.ovl, 5);
	assert_int_equal(out.links, 2);
	assert_int_equal(out.entry.target_len, 1);
	assert_int_equal(item_decode(&r, &out), 1);
	assert_int_equal(item_decode(&r, &out), 0);
	for (n = w.len / 2 + 1; n < w.len; n++) {
		rbuf_init(&r, w.data, n);
		assert_int_equal(item_decode(&r, &out), 1);
		assert_int_equal(item_decode(&r, &out), -1);
	}
	/* Of a clean name no overlay file can be. */
	w.len = 0;
	it.ovl = 0;
	item_encode(&w, &it);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(item_decode(&r, &out), -1);
	wbuf_free(&w);
}

static void
lists(void **state)
{
	struct diff_origin o,
	    from = { 7, { { 9 } }, (const uint8_t *)"from", 4 };
	const uint8_t *p;
	struct rbuf r;
	struct wbuf w;
	uint64_t node;
	uint8_t kind;
	size_t len;

	(void)state;
	wbuf_init(&w, 1 << 16);
	diff_origin_encode(&w, &from);
	diff_encode(&w, DIFF_OTHER, "a/b", 3);
	diff_encode(&w, DIFF_ATTR, "", 0);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(diff_origin_decode(&r, &o), 1);
	assert_int_equal(o.ovl, 7);
	assert_int_equal(o.commit.b[0], 9);
	assert_memory_equal(o.path, "from", o.len);
	assert_int_equal(diff_origin_decode(&r, &o), 0);
	/* Who wants none of these. */
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(diff_decode(&r, &kind, &p, &len), 1);
	assert_int_equal(kind, DIFF_OTHER);
	assert_int_equal(diff_decode(&r, &kind, &p, &len), 1);
	assert_int_equal(diff_decode(&r, &kind, &p, &len), 0);
	w.data[0] = 9;
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(diff_decode(&r, &kind, &p, &len), -1);
	w.len = 0;
	tell_encode(&w, TELL_ENTRY, 7, "x", 1);
	tell_encode(&w, TELL_LIST, 9, "", 0);
	tell_encode(&w, TELL_ATTR, 8, "", 0);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(tell_decode(&r, &kind, &node, &p, &len), 1);
	assert_int_equal(node, 7);
	assert_int_equal(tell_decode(&r, &kind, &node, &p, &len), 1);
	assert_int_equal(kind, TELL_LIST);
	assert_int_equal(node, 9);
	assert_int_equal(tell_decode(&r, &kind, &node, &p, &len), 1);
	assert_int_equal(kind, TELL_ATTR);
	assert_int_equal(tell_decode(&r, &kind, &node, &p, &len), 0);
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mounts),
		cmocka_unit_test(policies),
		cmocka_unit_test(backing_files),
		cmocka_unit_test(starts_and_loads),
		cmocka_unit_test(cache_wants),
		cmocka_unit_test(items),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
