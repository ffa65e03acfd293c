/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * bundle: a bounded list of bundles, the one used last first, each with a table
 * of its chunks by hash.  In fuse.
 */
#include <sys/queue.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "sailvold/bundle.h"
#include "sailvold/worker.h"

#define SIZE_MAX_FD (2 * (uint64_t)FETCH_BUNDLE_BYTES) /* with a cache's list */

struct bundle {
	TAILQ_ENTRY(bundle) entry;
	int fd, memory;
	uint64_t bytes; /* of the file */
	monotime_t used;
	unsigned int found;
	struct fetch_bundle_chunk *chunks;
	uint16_t n;
	uint16_t *table; /* 1 + index of a chunk; 0: none */
	uint32_t mask;
};
TAILQ_HEAD(bundle_list, bundle);
static struct bundle_list bundles = TAILQ_HEAD_INITIALIZER(bundles);
static unsigned int nbundles;
static uint64_t nbytes;
static int ran_half;

static uint32_t
place_of(const struct bundle *b, const struct hash *h)
{
	uint32_t v;

	memcpy(&v, h->b, sizeof(v));
	return v & b->mask;
}

static void
bundle_free(struct bundle *b)
{
	/* The kernel has what was read as pages of the files. */
	if (b->memory)
		close(b->fd);
	else
		worker_give_up(b->fd);
	free(b->chunks);
	free(b->table);
	free(b);
}

static void
bundle_drop(struct bundle *b)
{
	TAILQ_REMOVE(&bundles, b, entry);
	nbundles--;
	nbytes -= b->bytes;
	bundle_free(b);
}

void
bundle_drop_all(void)
{
	while (!TAILQ_EMPTY(&bundles))
		bundle_drop(TAILQ_FIRST(&bundles));
}

void
bundle_tidy(void)
{
	struct bundle *b;
	monotime_t now;

	if (TAILQ_EMPTY(&bundles))
		return;
	now = monotime_now();
	while ((b = TAILQ_LAST(&bundles, bundle_list)) != NULL &&
	    monotime_diff_ms(now, b->used) > BUNDLES_IDLE_MS)
		bundle_drop(b);
}

void
bundle_let_go(void)
{
	struct bundle *b, *next;
	struct stat st;

	TAILQ_FOREACH_SAFE (b, &bundles, entry, next)
		if (!b->memory && fstat(b->fd, &st) == 0 && st.st_nlink == 0)
			bundle_drop(b);
}

void
bundle_bad(const struct stat *bad)
{
	struct bundle *b, *next;
	struct stat st;

	TAILQ_FOREACH_SAFE (b, &bundles, entry, next)
		if (fstat(b->fd, &st) == 0 && st.st_ino == bad->st_ino &&
		    st.st_dev == bad->st_dev)
			bundle_drop(b);
}

unsigned int
bundle_count(void)
{
	return nbundles;
}

/* ---- taking ----------------------------------------------------------------------- */

/* Chunks within the file; the bounds of each were looked at on receipt. */
static int
is_sound(const struct fetch_bundle *l, int fd, uint64_t *bytes)
{
	struct stat st;
	uint16_t i;

	if (fstat(fd, &st) == -1)
		return 0;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > SIZE_MAX_FD) {
		errno = EBADMSG;
		return 0;
	}
	*bytes = (uint64_t)st.st_size;
	for (i = 0; i < l->n; i++)
		if ((uint64_t)l->chunks[i].offset + l->chunks[i].bytes >
		    *bytes) {
			/* Somebody has cut it on its way. */
			errno = EIO;
			return 0;
		}
	return 1;
}

static int
make_table(struct bundle *b, const struct fetch_bundle *l)
{
	uint32_t size = 4, at;
	uint16_t i;

	while (size < 2 * (uint32_t)l->n)
		size *= 2;
	b->n = l->n;
	b->mask = size - 1;
	b->chunks = malloc(l->n * sizeof(l->chunks[0]));
	b->table = calloc(size, sizeof(*b->table));
	if (b->chunks == NULL || b->table == NULL)
		return -1;
	memcpy(b->chunks, l->chunks, l->n * sizeof(l->chunks[0]));
	for (i = 0; i < l->n; i++) {
		at = place_of(b, &l->chunks[i].hash);
		while (b->table[at] != 0)
			at = (at + 1) & b->mask;
		b->table[at] = (uint16_t)(i + 1);
	}
	return 0;
}

/* The same once more, asked for by another who waited: the new one counts. */
static void
drop_same(const struct bundle *b)
{
	struct bundle *o;

	TAILQ_FOREACH (o, &bundles, entry)
		if (o->n == b->n &&
		    memcmp(o->chunks, b->chunks, b->n * sizeof(*b->chunks)) ==
			0) {
			bundle_drop(o);
			return;
		}
}

int
bundle_take(const struct fetch_bundle *l, int fd)
{
	struct bundle *b;
	uint64_t bytes;

	if (!is_sound(l, fd, &bytes)) {
		close(fd);
		return -1;
	}
	if ((b = calloc(1, sizeof(*b))) == NULL) {
		close(fd);
		return -1;
	}
	b->fd = fd;
	b->bytes = bytes;
	b->memory = memfd_is_sealed(fd);
	b->used = monotime_now();
	if (make_table(b, l) == -1) {
		bundle_free(b);
		errno = ENOMEM;
		return -1;
	}
	drop_same(b);
	/* Room first; this one stays in any case. */
	while (!TAILQ_EMPTY(&bundles) &&
	    (nbundles >= BUNDLES_MAX || nbytes + bytes > BUNDLES_BYTES))
		bundle_drop(TAILQ_LAST(&bundles, bundle_list));
	TAILQ_INSERT_HEAD(&bundles, b, entry);
	nbundles++;
	nbytes += bytes;
	return 0;
}

/* ---- finding ------------------------------------------------------------------------ */

static const struct fetch_bundle_chunk *
chunk_of(const struct bundle *b, const struct hash *h)
{
	uint32_t at;

	for (at = place_of(b, h); b->table[at] != 0; at = (at + 1) & b->mask)
		if (hash_cmp(&b->chunks[b->table[at] - 1].hash, h) == 0)
			return &b->chunks[b->table[at] - 1];
	return NULL;
}

static struct bundle *
having(const struct hash *h, uint32_t bytes,
    const struct fetch_bundle_chunk **k)
{
	struct bundle *b;

	TAILQ_FOREACH (b, &bundles, entry)
		if ((*k = chunk_of(b, h)) != NULL && (*k)->bytes == bytes)
			return b;
	return NULL;
}

int
bundle_has(const struct hash *h, uint32_t bytes)
{
	const struct fetch_bundle_chunk *k;

	return having(h, bytes, &k) != NULL;
}

int
bundle_ran_half(void)
{
	int is = ran_half;

	ran_half = 0;
	return is;
}

int
bundle_find(const struct hash *h, uint32_t bytes, int *fd, off_t *at,
    int *memory)
{
	const struct fetch_bundle_chunk *k;
	struct bundle *b;

	if ((b = having(h, bytes, &k)) == NULL)
		return 0;
	b->used = monotime_now();
	if (++b->found == (unsigned int)b->n / 2 && b->n >= BUNDLE_MANY)
		ran_half = 1;
	if (TAILQ_FIRST(&bundles) != b) {
		TAILQ_REMOVE(&bundles, b, entry);
		TAILQ_INSERT_HEAD(&bundles, b, entry);
	}
	*fd = b->fd;
	*at = (off_t)k->offset;
	*memory = b->memory;
	return 1;
}
