/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fake_cache: the role cache in one process with stand-ins for its directory, which
 * fails when it is told to, for sailvol-fetch with a store, and for two fuses of a
 * volume.  Included once by a test, after cmocka.h.
 */
#ifndef FAKE_CACHE_H
#define FAKE_CACHE_H

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/cache.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

#define VOL "vol_11111111111111111111111111111111"
#define SHIFT 23
#define LARGE ((uint32_t)FETCH_BUNDLE_CHUNK)
#define MIB ((uint64_t)1 << 20)

static struct event_base *base;

/* ---- in place of the directory ---------------------------------------------------- */

struct file {
	struct hash key;
	enum cache_kind kind;
	char tmp[CACHE_TMP_LEN]; /* or it has no key yet */
	int fd;                  /* -1: none */
	int64_t age;
};
static struct file files[100];
static unsigned int ntmp, removed;
/* What fails, how often. */
struct fault {
	int error, times;
};
static struct fault f_tmp, f_open, f_keep, f_write, f_scan, f_given;
static int no_fds_after_tmp;

static int
faulty(struct fault *f)
{
	if (f->times == 0)
		return 0;
	f->times--;
	errno = f->error;
	return 1;
}

static struct file *
file_free(void)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].fd == -1)
			return &files[i];
	fail_msg("too many files");
	return NULL;
}

static struct file *
file_find(const struct hash *h, enum cache_kind kind)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].fd != -1 && files[i].tmp[0] == '\0' &&
		    files[i].kind == kind && hash_cmp(&files[i].key, h) == 0)
			return &files[i];
	return NULL;
}

static struct file *
file_tmp(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].fd != -1 && strcmp(files[i].tmp, name) == 0)
			return &files[i];
	return NULL;
}

static void
file_drop(struct file *f)
{
	if (f == NULL)
		return;
	close(f->fd);
	f->fd = -1;
}

static int
again(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void
set_fds(rlim_t n)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = n < r.rlim_max ? n : r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

int
cache_store_prepare(int dirfd)
{
	(void)dirfd;
	return 0;
}

int
cache_store_start(void)
{
	return 0;
}

int
cache_store_stamp(int fd, struct cache_stamp *is)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	is->size = (uint64_t)st.st_size;
	is->mtime_s = st.st_mtim.tv_sec;
	is->mtime_ns = st.st_mtim.tv_nsec;
	return 0;
}

int
cache_stamp_same(const struct cache_stamp *a, const struct cache_stamp *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int
cache_store_open(const struct hash *h, enum cache_kind kind,
    struct cache_stamp *is)
{
	struct file *f = file_find(h, kind);

	if (faulty(&f_open))
		return -1;
	if (f == NULL) {
		errno = ENOENT;
		return -1;
	}
	assert_int_equal(cache_store_stamp(f->fd, is), 0);
	return again(f->fd);
}

void
cache_store_remove(const struct hash *h, enum cache_kind kind)
{
	removed += file_find(h, kind) != NULL;
	file_drop(file_find(h, kind));
}

void
cache_store_touch(const struct hash *h, enum cache_kind kind)
{
	(void)h;
	(void)kind;
}

int
cache_store_scan(unsigned int i,
    int (*f)(const struct hash *, enum cache_kind, uint64_t, int64_t))
{
	size_t k;

	for (k = 0; k < sizeof(files) / sizeof(files[0]); k++) {
		if (files[k].fd == -1 || files[k].tmp[0] != '\0' ||
		    files[k].key.b[0] != i)
			continue;
		if (f(&files[k].key, files[k].kind, 4096, files[k].age) == -1 ||
		    faulty(&f_scan))
			return -1;
	}
	return 0;
}

int
cache_store_tmp(char name[CACHE_TMP_LEN])
{
	struct file *f = file_free();
	int fd;

	if (faulty(&f_tmp))
		return -1;
	snprintf(name, CACHE_TMP_LEN, "tmp/%u", ntmp++);
	strlcpy(f->tmp, name, sizeof(f->tmp));
	if ((f->fd = memfd_empty("tmp")) == -1)
		return -1;
	fd = again(f->fd);
	assert_int_not_equal(fd, -1);
	if (no_fds_after_tmp) {
		no_fds_after_tmp = 0;
		set_fds(1);
	}
	return fd;
}

int
cache_store_write(int fd, const void *data, size_t n)
{
	if (faulty(&f_write))
		return -1;
	return pwrite(fd, data, n, 0) == (ssize_t)n ? 0 : -1;
}

int
cache_store_tmp_open(const char *name)
{
	return again(file_tmp(name)->fd);
}

void
cache_store_tmp_drop(const char *name)
{
	file_drop(file_tmp(name));
}

int
cache_store_keep(const char *name, const struct hash *h, enum cache_kind kind)
{
	struct file *f = file_tmp(name);

	if (faulty(&f_keep))
		return -1;
	assert_non_null(f);
	file_drop(file_find(h, kind));
	f->tmp[0] = '\0';
	f->key = *h;
	f->kind = kind;
	return 0;
}

int
cache_store_copy(int from, uint64_t at, int to, uint64_t *done, uint64_t size)
{
	char *buf = malloc(size);
	ssize_t n;

	assert_non_null(buf);
	n = pread(from, buf, size, (off_t)at);
	if (n > 0)
		assert_int_equal(pwrite(to, buf, (size_t)n, 0), n);
	free(buf);
	if (n != (ssize_t)size) {
		errno = ENODATA;
		return -1;
	}
	*done = size;
	return 0;
}

int
cache_store_free(uint64_t keep, int64_t *bytes)
{
	*bytes = ((int64_t)1 << 40) - (int64_t)keep;
	return 0;
}

uint64_t
cache_store_device(void)
{
	return 7;
}

/* ---- in place of the peers --------------------------------------------------------- */

static struct chan *fuse[3], *fuse_end[3], *fetch, *fetch_end;
static unsigned int gets, bundles;
static struct fault f_verify;
/* Nothing is answered, or no GET. */
static enum { HOLD_NOTHING, HOLD_ALL, HOLD_GETS } hold;
static struct {
	uint32_t id;
	struct fetch_get g; /* n 0: no GET */
	int error;
} held[80];
static unsigned int nheld;
static int get_file = -1; /* that came before its GET */

/* What the store has. */
static struct content {
	struct hash hash;
	uint32_t bytes;
	uint8_t *data;
} contents[80];
static unsigned int ncontents;

static struct content *
content_new(uint32_t bytes, int c)
{
	struct content *k = &contents[ncontents++];

	k->data = malloc(bytes);
	assert_non_null(k->data);
	memset(k->data, c, bytes);
	k->bytes = bytes;
	hash_bytes(&k->hash, k->data, bytes);
	return k;
}

static const struct content *
content_of(const struct fetch_get_chunk *c)
{
	unsigned int i;

	for (i = 0; i < ncontents; i++)
		if (hash_cmp(&contents[i].hash, &c->hash) == 0 &&
		    contents[i].bytes == c->bytes)
			return &contents[i];
	return NULL;
}

struct chan *
role_peer_any(uint8_t role)
{
	assert_int_equal(role, ROLE_FETCH);
	return fetch;
}

struct chan *
role_peer(uint8_t role, uint32_t instance)
{
	assert_int_equal(role, ROLE_FUSE);
	return fuse[instance];
}

int
role_dirfd(void)
{
	return -1;
}

/* The first n, which are small, as one bundle. */
static void
give(uint32_t id, const struct fetch_get *g, uint16_t n)
{
	static struct fetch_bundle l;
	static uint8_t bytes[65536];
	const struct content *k;
	uint32_t at = 0;
	uint16_t i;

	for (l.n = i = 0; i < n; i++) {
		if ((k = content_of(&g->chunks[i])) == NULL)
			continue;
		l.chunks[l.n].hash = k->hash;
		l.chunks[l.n].offset = at;
		l.chunks[l.n++].bytes = k->bytes;
		memcpy(bytes + at, k->data, k->bytes);
		at += k->bytes;
	}
	if (l.n > 0)
		assert_int_equal(fetch_bundle_send(fetch_end,
				     IMSG_FETCH_GET_BUNDLE, id, &l,
				     memfd_new("chunks", bytes, at)),
		    0);
	assert_int_equal(fetch_get_res_send(fetch_end, id,
			     l.n == g->n ? 0 : EIO, l.n == g->n ? "" : "none"),
	    0);
}

static void
answer_get(uint32_t id, const struct fetch_get *g)
{
	const struct content *k = content_of(&g->chunks[0]);

	if (g->chunks[0].bytes < LARGE) {
		give(id, g, g->n);
		return;
	}
	assert_int_not_equal(get_file, -1);
	if (faulty(&f_given)) {
		close(get_file);
		get_file = -1;
		assert_int_equal(fetch_get_res_send(fetch_end, id,
				     (uint32_t)errno, "its file"),
		    0);
		return;
	}
	if (k != NULL) {
		assert_int_equal(pwrite(get_file, k->data, k->bytes, 0),
		    k->bytes);
		assert_int_equal(fetch_get_done_send(fetch_end, id,
				     g->chunks[0].slot),
		    0);
	}
	close(get_file);
	get_file = -1;
	assert_int_equal(fetch_get_res_send(fetch_end, id, k ? 0 : EIO, "none"),
	    0);
}

static void
let_go(void)
{
	unsigned int i;

	hold = HOLD_NOTHING;
	for (i = 0; i < nheld; i++)
		if (held[i].g.n > 0)
			answer_get(held[i].id, &held[i].g);
		else
			assert_int_equal(fetch_verify_res_send(fetch_end,
					     held[i].id,
					     (uint32_t)held[i].error),
			    0);
	nheld = 0;
}

static int
fetch_get(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	static struct fetch_get g;

	(void)c;
	(void)im;
	assert_int_equal(fetch_get_recv(body, &g), 0);
	gets++;
	held[nheld].id = id;
	held[nheld++].g = g;
	if (!hold)
		let_go();
	return 0;
}

static int
fetch_file(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	if (get_file != -1)
		close(get_file);
	get_file = imsg_get_fd(im);
	return 0;
}

static int
fetch_verify(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	int fd = imsg_get_fd(im), error = EBADMSG;
	struct hash want, is;
	uint32_t bytes;
	uint8_t *buf;

	assert_int_equal(fetch_verify_recv(body, &bytes, &want), 0);
	buf = malloc(bytes + 1);
	assert_non_null(buf);
	if (pread(fd, buf, bytes + 1, 0) == (ssize_t)bytes) {
		hash_bytes(&is, buf, bytes);
		if (hash_cmp(&is, &want) == 0)
			error = 0;
	}
	free(buf);
	close(fd);
	if (faulty(&f_verify))
		error = errno;
	(void)c;
	if (hold == HOLD_GETS) {
		assert_int_equal(fetch_verify_res_send(fetch_end, id,
				     (uint32_t)error),
		    0);
		return 0;
	}
	held[nheld].id = id;
	held[nheld].g.n = 0;
	held[nheld++].error = error;
	if (!hold)
		let_go();
	return 0;
}

static int
fetch_cancel(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	unsigned int i;

	(void)im;
	assert_int_equal(fetch_cancel_recv(body, &id), 0);
	/* Only files of it may have come. */
	for (i = 0; i < nheld; i++)
		assert_int_not_equal(held[i].id, id);
	(void)c;
	return 0;
}

/* By number of the question. */
static struct {
	int came, error, fd;
} answers[100];

static int
fuse_get_res(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint64_t slot;
	uint32_t error;

	(void)c;
	assert_int_equal(ibuf_get_n64(body, &slot), 0);
	assert_int_equal(ibuf_get_n32(body, &error), 0);
	answers[id].came++;
	answers[id].error = (int)error;
	answers[id].fd = imsg_get_fd(im);
	return 0;
}

static int
fuse_put_res(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint32_t error;

	(void)c;
	(void)im;
	assert_int_equal(ibuf_get_n32(body, &error), 0);
	answers[id].came++;
	answers[id].error = (int)error;
	return 0;
}

static int
fuse_bundle(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	close(imsg_get_fd(im));
	bundles++;
	return 0;
}

#define RULE(type, fd, f)                                        \
	{                                                        \
		type, ROLE_CACHE, fd, 0, PROC_MAX_BODY, f, #type \
	}
static const struct msg_rule end_rules[] = {
	RULE(IMSG_FETCH_GET, CHAN_NOFD, fetch_get),
	RULE(IMSG_FETCH_GET_FILE, CHAN_FD, fetch_file),
	RULE(IMSG_FETCH_VERIFY, CHAN_FD, fetch_verify),
	RULE(IMSG_FETCH_CANCEL, CHAN_NOFD, fetch_cancel),
	RULE(IMSG_CACHE_FUSE_GET_RES, CHAN_MAYFD, fuse_get_res),
	RULE(IMSG_CACHE_FUSE_PUT_RES, CHAN_NOFD, fuse_put_res),
	RULE(IMSG_CACHE_FUSE_BUNDLE, CHAN_FD, fuse_bundle),
};

static void
on_close(struct chan *c, void *arg)
{
	(void)arg;
	fail_msg("the channel of %u %u ends", chan_role(c), chan_instance(c));
}

static struct chan *
connect_to(uint8_t role, uint32_t instance, struct chan **end)
{
	static const struct chan_ops end_ops = { end_rules,
		sizeof(end_rules) / sizeof(end_rules[0]), on_close, NULL };
	static struct chan_ops ops;
	struct chan *c;
	int sv[2];

	ops.rules = cache_role.rules;
	ops.nrules = cache_role.nrules;
	ops.on_close = on_close;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
	    0);
	*end = chan_new(sv[1], ROLE_CACHE, 0, PROC_MAX_BODY, &end_ops, NULL);
	c = chan_new(sv[0], role, instance, PROC_MAX_BODY, &ops, NULL);
	assert_non_null(*end);
	assert_non_null(c);
	return c;
}

/* Time that has passed, for whoever asks. */
static int64_t passed_ms;
monotime_t __real_monotime_now(void);
monotime_t __wrap_monotime_now(void);

monotime_t
__wrap_monotime_now(void)
{
	return monotime_add_ms(__real_monotime_now(), passed_ms);
}

/* What the parent says. */
static void
tell(uint32_t type, struct ibuf *body)
{
	size_t i;

	for (i = 0; i < cache_role.nrules; i++)
		if (cache_role.rules[i].type == type)
			assert_int_equal(cache_role.rules[i].handler(NULL, 0,
					     NULL, body),
			    0);
	ibuf_free(body);
}

static void
tell_limit(uint64_t limit)
{
	struct ibuf *b = ibuf_dynamic(16, 64);

	assert_int_equal(ibuf_add_n64(b, limit), 0);
	assert_int_equal(ibuf_add_n64(b, 1), 0);
	tell(IMSG_PARENT_CACHE_CONFIG, b);
}

static void
turn(int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

/* A sailvol-fetch dies; and there is another, or none. */
static void
fetch_dies(int another)
{
	struct chan *old = fetch, *old_end = fetch_end;

	fetch = fetch_end = NULL;
	nheld = 0;
	if (another)
		fetch = connect_to(ROLE_FETCH, 0, &fetch_end);
	if (old != NULL)
		cache_role.peer_down(old);
	chan_free(old_end);
	chan_free(old);
	if (another && old == NULL)
		cache_role.peer_up(fetch);
	turn(20);
}

/* ---- one question ----------------------------------------------------------------------- */

static void
want(uint32_t mount, uint32_t type, uint32_t id, const struct content *k,
    uint32_t bytes, const char *path, int fd)
{
	struct cache_want w = { .path = (const uint8_t *)path,
		.path_len = strlen(path),
		.shift = SHIFT,
		.n = 1 };

	w.chunks[0].bytes = bytes;
	w.chunks[0].hash = k->hash;
	answers[id].came = 0;
	answers[id].fd = -1;
	assert_int_equal(cache_want_send(fuse_end[mount], type, id, &w, fd), 0);
}

static void
get(uint32_t mount, uint32_t id, const struct content *k)
{
	want(mount, IMSG_FUSE_CACHE_GET, id, k, k->bytes, "f", -1);
}

static void
put(uint32_t mount, uint32_t id, const struct content *k, const uint8_t *data)
{
	char name[] = "/tmp/test_cache_job.XXXXXX";
	int fd = mkstemp(name), ro;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pwrite(fd, data, k->bytes, 0), k->bytes);
	ro = open(name, O_RDONLY | O_CLOEXEC);
	assert_int_not_equal(ro, -1);
	close(fd);
	unlink(name);
	want(mount, IMSG_FUSE_CACHE_PUT, id, k, k->bytes, "f", ro);
}

static void
wait_for(uint32_t id)
{
	int i;

	for (i = 0; i < 2000 && !answers[id].came; i++)
		turn(5);
	assert_int_equal(answers[id].came, 1);
}

static int
has(uint32_t id, const struct content *k)
{
	uint8_t *buf = malloc(k->bytes);
	int rc;

	assert_non_null(buf);
	rc = pread(answers[id].fd, buf, k->bytes, 0) == (ssize_t)k->bytes &&
	    memcmp(buf, k->data, k->bytes) == 0;
	close(answers[id].fd);
	answers[id].fd = -1;
	free(buf);
	return rc;
}

static void
expect(uint32_t id, const struct content *k)
{
	wait_for(id);
	assert_int_equal(answers[id].error, 0);
	assert_true(has(id, k));
}

static void
key_of(const struct content *k, struct hash *key)
{
	cache_key(VOL, &k->hash, key);
}

/* From before this process; n of its bytes. */
static void
from_before(const struct content *k, uint32_t n)
{
	struct file *f = file_free();

	f->fd = memfd_empty("old");
	assert_int_equal(pwrite(f->fd, k->data, n, 0), n);
	f->tmp[0] = '\0';
	f->kind = CACHE_CHUNK;
	key_of(k, &f->key);
	assert_non_null(cache_index_add(&cache_index, &f->key, 4096, 0, 1));
}

static int
is_kept(const struct content *k)
{
	struct hash key;

	key_of(k, &key);
	return cache_index_find(&cache_index, &key) != NULL &&
	    file_find(&key, CACHE_CHUNK) != NULL;
}

static int
setup(void **state)
{
	struct ibuf *b;
	uint32_t i;

	(void)state;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		files[i].fd = -1;
	tell_limit((uint64_t)1 << 40);
	for (i = 1; i <= 2; i++) {
		b = ibuf_dynamic(64, 256);
		assert_int_equal(ibuf_add_n32(b, i), 0);
		assert_int_equal(ibuf_add_n16(b, strlen(VOL)), 0);
		assert_int_equal(ibuf_add(b, VOL, strlen(VOL)), 0);
		tell(IMSG_PARENT_CACHE_VOLUME, b);
		fuse[i] = connect_to(ROLE_FUSE, i, &fuse_end[i]);
	}
	fetch = connect_to(ROLE_FETCH, 0, &fetch_end);
	gets = bundles = removed = nheld = 0;
	hold = HOLD_NOTHING;
	return 0;
}

static int
teardown(void **state)
{
	struct fault *all[] = { &f_tmp, &f_open, &f_keep, &f_write, &f_scan,
		&f_given, &f_verify };
	uint32_t i;

	(void)state;
	turn(150); /* what waits to be written */
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(all[i]->times, 0);
	for (i = 1; i <= 2; i++) {
		chan_free(fuse_end[i]);
		cache_role.peer_down(fuse[i]);
		chan_free(fuse[i]);
		fuse[i] = NULL;
	}
	chan_free(fetch_end);
	chan_free(fetch);
	fetch = NULL;
	assert_int_equal(cache_index.reserved, 0);
	cache_index_clear(&cache_index);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		/* Nothing half is left. */
		assert_true(files[i].fd == -1 || files[i].tmp[0] == '\0');
		if (files[i].fd != -1)
			close(files[i].fd);
	}
	while (ncontents > 0)
		free(contents[--ncontents].data);
	return 0;
}

#endif
