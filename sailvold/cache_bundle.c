/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_bundle: small chunks that came together stay together: one file of the
 * cache, one descriptor for a fuse, one verification.  A bundle is handed out
 * from the memfd that it came in, and written to the directory behind that.  In
 * cache.
 *
 * The file is that memfd, then for each chunk its hash, u32 offset, u32 bytes,
 * then the volume id, u16 its length, u16 number of chunks, and MAGIC
 * (little-endian, lib/bytes.h).  Its name is made of the hash of what is behind
 * the memfd's bytes.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

#define MAGIC 0x31424353 /* "SCB1" */
#define CHUNK_LEN (HASH_LEN + 8)
#define END_LEN 8 /* both numbers and MAGIC */
#define VOLUME_MAX 63
#define TAIL_MAX (FETCH_BUNDLE_MAX * CHUNK_LEN + VOLUME_MAX + END_LEN)
#define SLICE ((uint64_t)1 << 20)
#define WRITE_MS 1 /* behind the answers */
/* Of memfds that are to be written; what is more is only handed out. */
#define UNWRITTEN_MAX ((uint64_t)32 << 20)

/* One that came in this process, until its file is there. */
struct cache_bundle {
	TAILQ_ENTRY(cache_bundle) entry; /* of those to be written */
	struct cache_entry *of;          /* NULL: it is not kept */
	struct fetch_bundle *list;
	int fd;        /* the memfd */
	uint64_t len;  /* its bytes */
	uint8_t *tail; /* what comes behind them */
	size_t tail_len;
	char tmp[CACHE_TMP_LEN]; /* while out is open */
	int out;
	uint64_t copied;
	unsigned int turn; /* of handing out */
};

static TAILQ_HEAD(, cache_bundle) unwritten = TAILQ_HEAD_INITIALIZER(unwritten);
static uint64_t unwritten_bytes;
static struct event write_ev;
static unsigned int last_turn;

static void on_write(int, short, void *);

/* ---- what is behind the bytes -------------------------------------------------- */

static uint8_t *
tail_encode(const char *volume_id, const struct fetch_bundle *l, size_t *len)
{
	struct wbuf w;
	uint16_t i;

	wbuf_init(&w, TAIL_MAX);
	for (i = 0; i < l->n; i++) {
		wbuf_hash(&w, &l->chunks[i].hash);
		wbuf_u32(&w, l->chunks[i].offset);
		wbuf_u32(&w, l->chunks[i].bytes);
	}
	wbuf_bytes(&w, volume_id, strlen(volume_id));
	wbuf_u16(&w, (uint16_t)strlen(volume_id));
	wbuf_u16(&w, l->n);
	wbuf_u32(&w, MAGIC);
	return wbuf_take(&w, len);
}

/* data: the last len bytes of a file of size; -1: it is none of ours. */
static int
tail_decode(const uint8_t *data, size_t len, uint64_t size, char *volume_id,
    struct fetch_bundle *l)
{
	struct fetch_bundle_chunk *k;
	const uint8_t *id;
	size_t id_len, tail;
	struct rbuf r;
	uint16_t i;

	if (len < END_LEN)
		return -1;
	rbuf_init(&r, data + len - END_LEN, END_LEN);
	id_len = rbuf_u16(&r);
	l->n = rbuf_u16(&r);
	tail = (size_t)l->n * CHUNK_LEN + id_len + END_LEN;
	if (rbuf_u32(&r) != MAGIC || l->n == 0 || l->n > FETCH_BUNDLE_MAX ||
	    id_len > VOLUME_MAX || tail > len ||
	    size - tail > FETCH_BUNDLE_BYTES)
		return -1;
	rbuf_init(&r, data + len - tail, tail - END_LEN);
	for (i = 0; i < l->n; i++) {
		k = &l->chunks[i];
		rbuf_hash(&r, &k->hash);
		k->offset = rbuf_u32(&r);
		k->bytes = rbuf_u32(&r);
		if (k->bytes == 0 || k->bytes >= FETCH_BUNDLE_CHUNK ||
		    k->offset > size - tail ||
		    k->bytes > size - tail - k->offset)
			return -1;
	}
	if ((id = rbuf_bytes(&r, id_len)) == NULL ||
	    memchr(id, '\0', id_len) != NULL ||
	    volume_name_problem((const char *)id, id_len) != NULL)
		return -1;
	memcpy(volume_id, id, id_len);
	volume_id[id_len] = '\0';
	return 0;
}

/* The list of a file; -1 and errno, EBADMSG: it is not sound. */
static int
tail_read(int fd, char volume_id[VOLUME_MAX + 1], struct fetch_bundle *l)
{
	static uint8_t buf[TAIL_MAX];
	struct stat st;
	size_t len;
	ssize_t n;

	if (fstat(fd, &st) == -1)
		return -1;
	len =
	    st.st_size < (off_t)sizeof(buf) ? (size_t)st.st_size : sizeof(buf);
	if ((n = pread(fd, buf, len, st.st_size - (off_t)len)) == -1)
		return -1;
	errno = EBADMSG;
	if (n != (ssize_t)len)
		return -1;
	return tail_decode(buf, len, (uint64_t)st.st_size, volume_id, l);
}

/* ---- the index ------------------------------------------------------------------- */

static struct cache_part *
make_parts(const char *volume_id, const struct fetch_bundle *l)
{
	struct cache_part *parts;
	uint16_t i;

	if ((parts = calloc(l->n, sizeof(*parts))) == NULL)
		return NULL;
	for (i = 0; i < l->n; i++)
		cache_key(volume_id, &l->chunks[i].hash, &parts[i].key);
	return parts;
}

struct cache_part *
cache_bundle_scan(const struct hash *key, uint16_t *n)
{
	static struct fetch_bundle l;
	char volume_id[VOLUME_MAX + 1];
	struct cache_part *parts = NULL;
	struct cache_stamp is;
	int fd, saved;

	if ((fd = cache_store_open(key, CACHE_BUNDLE, &is)) == -1)
		return NULL;
	if (tail_read(fd, volume_id, &l) == 0 &&
	    (parts = make_parts(volume_id, &l)) != NULL)
		*n = l.n;
	saved = errno;
	close(fd);
	errno = saved;
	return parts;
}

/* ---- handing out ------------------------------------------------------------------ */

static int
bundle_send(struct chan *c, const struct fetch_bundle *l, int fd)
{
	int copy, saved;

	if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	if (fetch_bundle_send(c, IMSG_CACHE_FUSE_BUNDLE, 0, l, copy) == 0)
		return 0;
	saved = errno;
	close(copy);
	errno = saved;
	return -1;
}

int
cache_bundle_give(struct chan *c, struct cache_entry *e)
{
	static struct fetch_bundle l;
	char volume_id[VOLUME_MAX + 1];
	struct cache_stamp is;
	int fd, rc, saved;

	if (e->unwritten != NULL)
		return bundle_send(c, e->unwritten->list, e->unwritten->fd);
	if ((fd = cache_store_open(&e->key, CACHE_BUNDLE, &is)) == -1)
		return -1;
	if (!cache_stamp_same(&e->is, &is)) {
		close(fd);
		e->verified = 0;
		errno = EBADMSG;
		return -1;
	}
	if ((rc = tail_read(fd, volume_id, &l)) == 0)
		rc = bundle_send(c, &l, fd);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

int
cache_bundle_verify(struct chan *fetch, uint32_t number, int fd)
{
	static struct fetch_bundle l;
	char volume_id[VOLUME_MAX + 1];

	if (tail_read(fd, volume_id, &l) == -1)
		return -1;
	return fetch_bundle_send(fetch, IMSG_FETCH_VERIFY_BUNDLE, number, &l,
	    fd);
}

int
cache_bundle_answer(struct cache_bundle *b, const struct waiter *w)
{
	/* Each mount has it once, however many wait there. */
	if (w->mount->bundle_turn != b->turn) {
		if (bundle_send(w->peer, b->list, b->fd) == -1)
			return -1;
		w->mount->bundle_turn = b->turn;
	}
	return cache_answer_bundled(w);
}

/* ---- the file --------------------------------------------------------------------- */

static void
bundle_free(struct cache_bundle *b)
{
	if (b == NULL)
		return;
	if (b->out != -1) {
		close(b->out);
		cache_store_tmp_drop(b->tmp);
	}
	if (b->fd != -1)
		close(b->fd);
	free(b->list);
	free(b->tail);
	free(b);
}

static void
write_later(int ms)
{
	struct timeval tv = { 0, ms * 1000 };

	if (!evtimer_initialized(&write_ev))
		evtimer_set(&write_ev, on_write, NULL);
	if (!evtimer_pending(&write_ev, NULL))
		evtimer_add(&write_ev, &tv);
}

/* It is there, or will not be. */
static void
written(struct cache_bundle *b, int error)
{
	struct cache_entry *e = b->of;

	TAILQ_REMOVE(&unwritten, b, entry);
	unwritten_bytes -= b->len;
	e->unwritten = NULL;
	e->busy = 0;
	if (error != 0) {
		log_warnx("cache: bundle: %s", strerror(error));
		/* One of before, too, that has the name. */
		cache_give_up(e);
	}
	bundle_free(b);
}

/* A slice of it: 1: more remain; 0; -1 and errno. */
static int
write_slice(struct cache_bundle *b)
{
	uint64_t to = b->copied + SLICE < b->len ? b->copied + SLICE : b->len;
	ssize_t n;

	if (b->out == -1 && (b->out = cache_store_tmp(b->tmp)) == -1)
		return -1;
	if (cache_store_copy(b->fd, 0, b->out, &b->copied, to) == -1)
		return -1;
	if (b->copied < b->len)
		return 1;
	n = pwrite(b->out, b->tail, b->tail_len, (off_t)b->len);
	if (n != (ssize_t)b->tail_len) {
		if (n != -1)
			errno = ENOSPC;
		return -1;
	}
	if (cache_store_stamp(b->out, &b->of->is) == -1 ||
	    cache_store_keep(b->tmp, &b->of->key, CACHE_BUNDLE) == -1)
		return -1;
	close(b->out);
	b->out = -1;
	return 0;
}

static void
on_write(int fd, short ev, void *arg)
{
	struct cache_bundle *b = TAILQ_FIRST(&unwritten);
	int rc;

	(void)fd;
	(void)ev;
	(void)arg;
	if (b == NULL)
		return;
	if ((rc = write_slice(b)) != 1) {
		written(b, rc == -1 ? errno : 0);
		job_run_queue(); /* who waits for its room */
	}
	if (!TAILQ_EMPTY(&unwritten))
		write_later(0);
}

/* In the index from now on, with its parts, if there is room; -1: not. */
static int
keep(struct cache_bundle *b, const char *volume_id, struct cache_part *parts)
{
	struct cache_entry *e;
	struct hash h, key;
	uint64_t disk;

	if (unwritten_bytes + b->len > UNWRITTEN_MAX)
		return -1;
	b->tail = tail_encode(volume_id, b->list, &b->tail_len);
	if (b->tail == NULL)
		return -1;
	hash_bytes(&h, b->tail, b->tail_len);
	cache_bundle_key(volume_id, &h, &key);
	disk = cache_disk_bytes((uint32_t)(b->len + b->tail_len));
	/* The same once more is there; but one from before may be bad. */
	if ((e = cache_index_find(&cache_index, &key)) != NULL) {
		if (e->verified || e->busy)
			return -1;
		cache_give_up(e);
	}
	if (cache_reserve(disk) == -1)
		return -1;
	cache_unreserve(disk);
	if ((e = cache_index_add(&cache_index, &key, disk, 1, 0)) == NULL)
		return -1;
	cache_index_add_parts(&cache_index, e, parts, b->list->n, 0);
	e->unwritten = b;
	e->busy = 1; /* it is not evicted before it is there */
	b->of = e;
	TAILQ_INSERT_TAIL(&unwritten, b, entry);
	unwritten_bytes += b->len;
	write_later(WRITE_MS);
	return 0;
}

int
cache_bundle_came(const char *volume_id, const struct fetch_bundle *l, int fd)
{
	struct cache_part *parts;
	struct cache_bundle *b;
	struct stat st;
	uint16_t i;

	/* What nobody can change is handed on as it is. */
	if (!memfd_is_sealed(fd) || fstat(fd, &st) == -1 ||
	    st.st_size > FETCH_BUNDLE_BYTES) {
		close(fd);
		return -1;
	}
	if ((b = calloc(1, sizeof(*b))) == NULL ||
	    (b->list = malloc(sizeof(*l))) == NULL ||
	    (parts = make_parts(volume_id, l)) == NULL)
		fatal("cache: bundle");
	memcpy(b->list, l, sizeof(*l));
	b->fd = fd;
	b->out = -1;
	b->len = (uint64_t)st.st_size;
	for (i = 0; i < l->n; i++)
		if (l->chunks[i].offset + (uint64_t)l->chunks[i].bytes >
		    b->len) {
			bundle_free(b);
			free(parts);
			return -1;
		}
	for (i = 0; i < l->n; i++) {
		cache_fetched += l->chunks[i].bytes;
		job_give_room(&parts[i].key, l->chunks[i].bytes);
	}
	if (++last_turn == 0)
		last_turn = 1;
	b->turn = last_turn;
	(void)keep(b, volume_id, parts);
	for (i = 0; i < l->n; i++)
		job_bundled(&parts[i].key, l->chunks[i].bytes, b);
	if (b->of == NULL) {
		bundle_free(b);
		free(parts);
	}
	return 0;
}
