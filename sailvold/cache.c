/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache: the role that has the cache directory: gives fuse read-only files, each
 * a chunk of clean content, and keeps their bytes below a limit.  In cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/cache.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

#define FOLDERS 256
#define TOUCH_S 60
#define SCAN_AGAIN_MS 200 /* when descriptors or memory lacked */

struct cache_index cache_index;
uint64_t cache_fetched;
static uint64_t hits;
static int have_config;

enum cache_kind
cache_kind(const struct cache_entry *e)
{
	return e->nparts > 0 ? CACHE_BUNDLE : CACHE_CHUNK;
}

/* ---- the index ------------------------------------------------------------------ */

void
cache_give_up(struct cache_entry *e)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(&e->key, hex);
	log_debug("cache: %s is given up", hex);
	cache_store_remove(&e->key, cache_kind(e));
	cache_index_remove(&cache_index, e);
}

struct cache_entry *
cache_kept(const struct hash *key, uint64_t bytes, const struct cache_stamp *is)
{
	struct cache_entry *e;

	if ((e = cache_index_find(&cache_index, key)) != NULL) {
		/* In the place of one from before. */
		cache_index.used += bytes - e->bytes;
		e->bytes = bytes;
		e->verified = 1;
	} else if ((e = cache_index_add(&cache_index, key, bytes, 1, 0)) ==
	    NULL) {
		log_warn("cache: index");
		return NULL;
	}
	e->is = *is;
	return e;
}

void
cache_keep_neighbour(const struct hash *key, const uint8_t *data,
    uint32_t bytes)
{
	uint64_t disk = cache_disk_bytes(bytes);
	char tmp[CACHE_TMP_LEN];
	struct cache_stamp is;
	int fd;

	if (cache_index_having(&cache_index, key) != NULL ||
	    cache_reserve(disk) == -1)
		return;
	cache_unreserve(disk);
	if ((fd = cache_store_tmp(tmp)) == -1)
		return;
	if (cache_store_write(fd, data, bytes) == -1 ||
	    cache_store_stamp(fd, &is) == -1 ||
	    cache_store_keep(tmp, key, CACHE_CHUNK) == -1)
		cache_store_tmp_drop(tmp);
	else {
		cache_fetched += bytes;
		(void)cache_kept(key, disk, &is);
	}
	close(fd);
}

/* ---- files from before ------------------------------------------------------------ */

struct old {
	struct hash key;
	uint64_t bytes;
	int64_t age;
	struct cache_part *parts; /* of a bundle */
	uint16_t nparts;
};
static struct old *olds;
static size_t nolds, olds_size;
static unsigned int folder;
static struct event scan_ev;

static int
scan_found(const struct hash *h, enum cache_kind kind, uint64_t bytes,
    int64_t age)
{
	struct old *p;
	size_t size;

	/* One that came since this process runs. */
	if (kind == CACHE_BUNDLE && cache_index_find(&cache_index, h) != NULL)
		return 0;
	if (nolds == olds_size) {
		size = olds_size == 0 ? 1024 : olds_size * 2;
		p = reallocarray(olds, size, sizeof(*p));
		if (p == NULL)
			return -1;
		olds = p;
		olds_size = size;
	}
	p = &olds[nolds];
	memset(p, 0, sizeof(*p));
	p->key = *h;
	p->bytes = bytes;
	p->age = age;
	if (kind != CACHE_BUNDLE ||
	    (p->parts = cache_bundle_scan(h, &p->nparts)) != NULL)
		nolds++;
	else if (is_lack(errno))
		return -1;
	else
		cache_store_remove(h, kind);
	return 0;
}

/* Those of a folder, or none of them. */
static int
scan(unsigned int i)
{
	size_t before = nolds;
	int error;

	if (cache_store_scan(i, scan_found) == 0 || !is_lack(errno))
		return 0;
	error = errno;
	while (nolds > before)
		free(olds[--nolds].parts);
	errno = error;
	return -1;
}

static int
younger_first(const void *a, const void *b)
{
	const struct old *x = a, *y = b;

	return x->age < y->age ? 1 : x->age > y->age ? -1 : 0;
}

/* Behind all that was used since; what was, is there already. */
static void
take_old(struct old *o)
{
	struct cache_entry *e = NULL;

	if (cache_index_find(&cache_index, &o->key) == NULL &&
	    (e = cache_index_add(&cache_index, &o->key, o->bytes, 0, 1)) ==
		NULL)
		log_warn("cache: index");
	if (e != NULL && o->parts != NULL)
		cache_index_add_parts(&cache_index, e, o->parts, o->nparts, 1);
	else
		free(o->parts);
}

/* A folder each time, so that questions are answered in between. */
static void
on_scan(int fd, short ev, void *arg)
{
	struct timeval now = { 0, 0 }, later = { 0, SCAN_AGAIN_MS * 1000 };
	static int lacks; /* what was said of it */
	size_t i;

	(void)fd;
	(void)ev;
	(void)arg;
	if (scan(folder) == -1) {
		if (errno != lacks)
			log_warn("cache: folder %02x: again until it can be "
				 "looked at",
			    folder);
		lacks = errno;
		evtimer_add(&scan_ev, &later);
		return;
	}
	lacks = 0;
	if (++folder < FOLDERS) {
		evtimer_add(&scan_ev, &now);
		return;
	}
	if (nolds > 0)
		qsort(olds, nolds, sizeof(*olds), younger_first);
	for (i = 0; i < nolds; i++)
		take_old(&olds[i]);
	free(olds);
	olds = NULL;
	nolds = olds_size = 0;
	log_info("cache: %llu files of %llu bytes",
	    (unsigned long long)cache_index.files,
	    (unsigned long long)cache_index.used);
	cache_room_start();
}

/* Also of a folder that was not scanned yet. */
static struct cache_entry *
find(const struct hash *key)
{
	struct cache_stamp is;
	struct cache_entry *e;
	int fd;

	e = cache_index_having(&cache_index, key);
	if (e != NULL || folder >= FOLDERS)
		return e;
	if ((fd = cache_store_open(key, CACHE_CHUNK, &is)) == -1)
		return NULL;
	close(fd);
	return cache_index_add(&cache_index, key, is.size, 0, 0);
}

/* ---- answers -------------------------------------------------------------------------- */

static int
answer(const struct waiter *w, int error, const char *what, int fd)
{
	struct ibuf *b;
	size_t len = strlen(what);

	if ((b = ibuf_dynamic(64, PROC_MAX_BODY)) == NULL)
		return -1;
	if (ibuf_add_n64(b, w->chunk.slot) == -1 ||
	    ibuf_add_n32(b, (uint64_t)error) == -1 ||
	    ibuf_add_n16(b, len) == -1 ||
	    (len > 0 && ibuf_add(b, what, len) == -1)) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(w->peer, IMSG_CACHE_FUSE_GET_RES, w->id, fd, b);
}

void
cache_answer_error(const struct waiter *w, int error, const char *what)
{
	if (answer(w, error, what, -1) == -1)
		log_warn("cache: answer");
}

void
cache_put_part(struct put *p, int error)
{
	struct ibuf *b;

	if (p->error == 0)
		p->error = error;
	if (--p->left > 0 || p->peer == NULL)
		return;
	p->mount->puts--;
	if ((b = ibuf_dynamic(4, 64)) == NULL ||
	    ibuf_add_n32(b, (uint64_t)p->error) == -1)
		fatal("cache: answer");
	if (chan_send_ibuf(p->peer, IMSG_CACHE_FUSE_PUT_RES, p->id, -1, b) ==
	    -1)
		log_warn("cache: answer");
}

int
cache_answer_bundled(const struct waiter *w)
{
	return answer(w, 0, "", -1);
}

int
cache_answer_file(const struct waiter *w, int fd)
{
	int copy, saved;

	if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	if (answer(w, 0, "", copy) == 0)
		return 0;
	saved = errno;
	close(copy);
	errno = saved;
	return -1;
}

/* It was used. */
static void
touch(struct cache_entry *e)
{
	monotime_t now = monotime_now();

	cache_index_touch(&cache_index, e);
	if (e->unwritten == NULL &&
	    (e->touched == 0 || now.ns / 1000000000 - e->touched > TOUCH_S)) {
		e->touched = now.ns / 1000000000;
		cache_store_touch(&e->key, cache_kind(e));
	}
}

int
cache_answer_entry(const struct waiter *w, struct cache_entry *e)
{
	struct cache_stamp is;
	int fd, saved;

	if (cache_kind(e) == CACHE_BUNDLE) {
		if (cache_bundle_give(w->peer, e) == -1 ||
		    cache_answer_bundled(w) == -1)
			return errno;
		touch(e);
		return 0;
	}
	if ((fd = cache_store_open(&e->key, CACHE_CHUNK, &is)) == -1)
		return errno;
	if (!cache_stamp_same(&e->is, &is)) {
		close(fd);
		e->verified = 0;
		return EBADMSG;
	}
	touch(e);
	if (answer(w, 0, "", fd) == -1) {
		saved = errno;
		close(fd);
		return saved;
	}
	return 0;
}

/* ---- questions of fuse ---------------------------------------------------------------- */

/* 1: it is there and verified; a GET is answered. */
static int
served(const struct waiter *w, const struct hash *key)
{
	struct cache_entry *e = find(key);
	int error;

	if (e == NULL || !e->verified)
		return 0;
	if (w->put != NULL) {
		cache_index_touch(&cache_index, e);
		return 1;
	}
	if ((error = cache_answer_entry(w, e)) != 0) {
		/* Somebody has taken the file away, or broken it; what is
		   only another is looked at. */
		if (e->verified && !e->busy && !is_lack(error) &&
		    error != EPIPE)
			cache_give_up(e);
		return 0;
	}
	hits++;
	return 1;
}

/* Marks those that are not there; how many. */
static unsigned int
serve(struct chan *c, uint32_t id, const struct cache_mount *m,
    const struct cache_want *g, struct put *put, uint8_t *lacks)
{
	struct waiter w = { .peer = c, .id = id, .put = put };
	unsigned int n = 0;
	struct hash key;
	uint16_t i;

	for (i = 0; i < g->n; i++) {
		w.chunk = g->chunks[i];
		cache_key(m->volume_id, &g->chunks[i].hash, &key);
		lacks[i] = !served(&w, &key);
		n += lacks[i];
	}
	return n;
}

static int
on_get(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct cache_mount *m = cache_mount_find(chan_instance(c));
	struct waiter w = { .peer = c, .id = id };
	static struct cache_want g;
	uint8_t lacks[CACHE_WANT_MAX];
	uint16_t i;
	int error;

	(void)imsg;
	if (m == NULL || cache_want_recv(body, &g) == -1 ||
	    cache_mount_room(m, 0, g.n) == -1)
		return -1;
	if (serve(c, id, m, &g, NULL, lacks) == 0)
		return 0;
	if (job_want(c, id, m, &g, lacks, NULL) == -1) {
		error = errno;
		for (i = 0; i < g.n; i++) {
			w.chunk = g.chunks[i];
			if (lacks[i])
				cache_answer_error(&w, error, strerror(error));
		}
	}
	job_run_queue();
	return 0;
}

static int
on_put(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct cache_mount *m = cache_mount_find(chan_instance(c));
	static struct cache_want g;
	uint8_t lacks[CACHE_WANT_MAX];
	struct put *put;

	if (m == NULL || cache_want_recv(body, &g) == -1 ||
	    cache_mount_room(m, 1, 1) == -1)
		return -1;
	m->puts++;
	put = put_new(c, id, m, imsg_get_fd(imsg));
	/* Itself, so that it is answered also when nothing lacks. */
	put->left = 1;
	if (serve(c, id, m, &g, put, lacks) > 0 &&
	    job_want(c, id, m, &g, lacks, put) == -1)
		put->error = errno;
	cache_put_part(put, 0);
	put_unref(put);
	job_run_queue();
	return 0;
}

static int
on_cancel(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t which;

	(void)id;
	(void)imsg;
	if (ibuf_get_n32(body, &which) == -1)
		return -1;
	cache_cancel(c, which);
	return 0;
}

/*
 * A chunk that could not be read, or had other bytes, when it was used: what is
 * here is looked at again before it is given out.  Who lies makes work.
 */
static int
on_bad(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct cache_mount *m = cache_mount_find(chan_instance(c));
	struct hash hash, key;
	struct cache_entry *e;

	(void)id;
	(void)imsg;
	if (m == NULL || ibuf_get(body, hash.b, HASH_LEN) == -1)
		return -1;
	cache_key(m->volume_id, &hash, &key);
	e = cache_index_having(&cache_index, &key);
	if (e != NULL && e->unwritten == NULL)
		e->verified = 0;
	return 0;
}

/* ---- the parent ---------------------------------------------------------------------------- */

static int
on_volume(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	return cache_mount_tell(body);
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t limit, keep;

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n64(body, &limit) == -1 || ibuf_get_n64(body, &keep) == -1)
		return -1;
	if (!have_config)
		cache_index_init(&cache_index, limit);
	have_config = 1;
	cache_index.limit = limit;
	cache_room_keep(keep);
	return 0;
}

static int
on_status(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ibuf *b;

	(void)imsg;
	(void)body;
	if (!have_config)
		return -1;
	if ((b = ibuf_open(40)) == NULL)
		fatal("cache: status");
	if (ibuf_add_n64(b, cache_index.used) == -1 ||
	    ibuf_add_n64(b, cache_index.limit) == -1 ||
	    ibuf_add_n64(b, cache_index.files) == -1 ||
	    ibuf_add_n64(b, hits) == -1 || ibuf_add_n64(b, cache_fetched) == -1)
		fatal("cache: status");
	if (chan_send_ibuf(c, IMSG_CACHE_PARENT_STATUS_RES, id, -1, b) == -1)
		log_warn("cache: status");
	return 0;
}

/* ---- the role -------------------------------------------------------------------------------- */

static int
configured(void)
{
	return have_config;
}

static int
prepare(void)
{
	return cache_store_prepare(role_dirfd());
}

static int
start(void)
{
	struct timeval now = { 0, 0 };

	if (cache_store_start() == -1)
		return -1;
	evtimer_set(&scan_ev, on_scan, NULL);
	evtimer_add(&scan_ev, &now);
	return 0;
}

static void
peer_up(struct chan *c)
{
	if (chan_role(c) == ROLE_FETCH)
		ask_fetch_up();
}

static void
peer_down(struct chan *c)
{
	if (chan_role(c) == ROLE_FETCH) {
		ask_fetch_down(c);
		return;
	}
	job_peer_down(c);
	cache_mount_down(chan_instance(c));
}

#define BODY_MAX PROC_MAX_BODY
#define WANT_MIN (HASH_LEN + 5 + 12 + HASH_LEN)
#define RULE(m, from, fd, min, max, f)                            \
	{                                                         \
		IMSG_##m, ROLE_##from, CHAN_##fd, min, max, f, #m \
	}
static const struct msg_rule rules[] = {
	RULE(PARENT_CACHE_CONFIG, PARENT, NOFD, 16, 16, on_config),
	RULE(PARENT_CACHE_STATUS, PARENT, NOFD, 0, 0, on_status),
	RULE(PARENT_CACHE_VOLUME, PARENT, NOFD, 6, 69, on_volume),
	RULE(FUSE_CACHE_GET, FUSE, NOFD, WANT_MIN, BODY_MAX, on_get),
	RULE(FUSE_CACHE_PUT, FUSE, FD, WANT_MIN, BODY_MAX, on_put),
	RULE(FUSE_CACHE_CANCEL, FUSE, NOFD, 4, 4, on_cancel),
	RULE(FUSE_CACHE_BAD, FUSE, NOFD, HASH_LEN, HASH_LEN, on_bad),
	RULE(FUSE_CACHE_ROOM, FUSE, NOFD, 16, 16, cache_room_ask),
	RULE(FETCH_GET_DONE, FETCH, NOFD, 8, 8, ask_get_done),
	RULE(FETCH_GET_BUNDLE, FETCH, FD, 2, BODY_MAX, ask_get_bundle),
	RULE(FETCH_GET_RES, FETCH, NOFD, 6, 2048, ask_get_res),
	RULE(FETCH_VERIFY_RES, FETCH, NOFD, 4, 4, ask_verify_res),
};

const struct role_def cache_role = {
	.role = ROLE_CACHE,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
	.peer_up = peer_up,
	.peer_down = peer_down,
};
