/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * download: brings chunks through our sailvol-fetch, some at a time; memory is
 * bounded by what one request may bring.  In sailvolctl.
 */
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/download.h"
#include "sailvolctl/fetch.h"

#define BATCH_BYTES ((uint64_t)32 * 1024 * 1024) /* and one chunk more */
#define BATCH_FILES 16
#define SMALL_BYTES ((size_t)24 * 1024 * 1024)
#define NEAR_MIN (256 * 1024)
#define PIECE_BYTES ((uint32_t)1024 * 1024)

struct small {
	TAILQ_ENTRY(small) entry; /* the oldest first */
	RB_ENTRY(small) node;
	struct hash hash;
	uint32_t bytes;
	uint8_t data[];
};

static int
small_cmp(struct small *a, struct small *b)
{
	return hash_cmp(&a->hash, &b->hash);
}

RB_HEAD(small_tree, small);
RB_PROTOTYPE(small_tree, small, node, small_cmp)
RB_GENERATE(small_tree, small, node, small_cmp)

struct download {
	TAILQ_HEAD(, small) smalls;
	struct small_tree tree;
	size_t bytes;
	uint32_t near; /* bytes of neighbours that are asked for */
};

struct download *
download_new(void)
{
	struct download *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	TAILQ_INIT(&d->smalls);
	RB_INIT(&d->tree);
	return d;
}

static void
small_free(struct download *d, struct small *s)
{
	TAILQ_REMOVE(&d->smalls, s, entry);
	RB_REMOVE(small_tree, &d->tree, s);
	d->bytes -= s->bytes;
	free(s);
}

void
download_free(struct download *d)
{
	struct small *s;

	if (d == NULL)
		return;
	while ((s = TAILQ_FIRST(&d->smalls)) != NULL)
		small_free(d, s);
	free(d);
}

static struct small *
small_find(struct download *d, const struct hash *h)
{
	struct small like;

	like.hash = *h;
	return RB_FIND(small_tree, &d->tree, &like);
}

/* Those of a bundle, which the fetch has checked. */
static int
take_bundle(void *arg, const struct fetch_bundle *b, const struct memfd_view *v)
{
	struct download *d = arg;
	struct small *s;
	uint16_t i;

	for (i = 0; i < b->n; i++) {
		if (small_find(d, &b->chunks[i].hash) != NULL)
			continue;
		if ((s = malloc(sizeof(*s) + b->chunks[i].bytes)) == NULL)
			return -1;
		s->hash = b->chunks[i].hash;
		s->bytes = b->chunks[i].bytes;
		memcpy(s->data, v->data + b->chunks[i].offset, s->bytes);
		TAILQ_INSERT_TAIL(&d->smalls, s, entry);
		RB_INSERT(small_tree, &d->tree, s);
		d->bytes += s->bytes;
	}
	return 0;
}

/* ---- one request ---------------------------------------------------------------- */

struct batch {
	struct fetch_get get;
	int fds[FETCH_GET_MAX];
	unsigned int nfds;
	uint64_t bytes;
};

static void
batch_close(struct batch *b)
{
	uint16_t i;

	for (i = 0; i < b->get.n; i++)
		if (b->fds[i] != -1)
			close(b->fds[i]);
	b->get.n = 0;
	b->nfds = 0;
	b->bytes = 0;
}

/* What is there of a file has the chunk already. */
static int
is_had(const struct chunklist *have, uint64_t slot, const struct hash *h)
{
	struct hash other;

	return have != NULL && chunklist_get(have, slot, &other) == 1 &&
	    hash_cmp(&other, h) == 0;
}

/* The chunks from slot on, as many as fit; the next slot.  -1: failure. */
static int
batch_fill(struct batch *b, const struct chunklist *l,
    const struct chunklist *have, uint64_t *slot, struct failure *f)
{
	struct fetch_get_chunk *c;
	uint64_t found;
	struct hash h;

	while (b->get.n < FETCH_GET_MAX && b->nfds < BATCH_FILES &&
	    b->bytes < BATCH_BYTES &&
	    chunklist_next(l, *slot, &found, &h) == 1) {
		if (is_had(have, found, &h)) {
			*slot = found + 1;
			continue;
		}
		c = &b->get.chunks[b->get.n];
		c->slot = found;
		c->bytes = chunklist_slot_bytes(l, found);
		c->hash = h;
		b->fds[b->get.n] = -1;
		if (c->bytes >= FETCH_BUNDLE_CHUNK) {
			b->fds[b->get.n] = memfd_create("chunk", MFD_CLOEXEC);
			if (b->fds[b->get.n] == -1) {
				failure_set(f, "", "memory", "%s",
				    strerror(errno));
				return -1;
			}
			b->nfds++;
		}
		b->get.n++;
		b->bytes += c->bytes;
		*slot = found + 1;
	}
	return 0;
}

/* What is here already need not be asked for. */
static int
batch_is_here(struct download *d, const struct batch *b)
{
	uint16_t i;

	for (i = 0; i < b->get.n; i++)
		if (b->fds[i] != -1 ||
		    small_find(d, &b->get.chunks[i].hash) == NULL)
			return 0;
	return 1;
}

static int
batch_ask(struct download *d, struct batch *b, struct failure *f)
{
	struct small *s;

	/* Room for what comes, the oldest goes. */
	while (d->bytes > SMALL_BYTES && (s = TAILQ_FIRST(&d->smalls)) != NULL)
		small_free(d, s);
	if (d->near == 0)
		d->near = NEAR_MIN;
	else if (d->near < FETCH_BUNDLE_BYTES)
		d->near *= 2;
	b->get.budget = b->nfds > 0 ? 0 : d->near;
	return fetch_chunks(&b->get, b->fds, take_bundle, d, f);
}

/* It may be shorter than it should be, or become so: it is never mapped. */
static int
hand_on_file(int fd, uint64_t offset, uint32_t bytes, download_cb cb, void *arg,
    struct failure *f)
{
	uint32_t room = bytes < PIECE_BYTES ? bytes : PIECE_BYTES, done;
	ssize_t n;
	void *p;
	int rc = 0;

	if ((p = malloc(room)) == NULL)
		return failure_memory(f);
	for (done = 0; rc == 0 && done < bytes; done += (uint32_t)n) {
		if (room > bytes - done)
			room = bytes - done;
		if ((n = pread(fd, p, room, (off_t)done)) > 0) {
			rc = cb(arg, offset + done, p, (size_t)n, f);
			continue;
		}
		failure_set(f, "", "download", "what sailvol-fetch brought: %s",
		    n == 0 ? "it is short" : strerror(errno));
		rc = -1;
		break;
	}
	free(p);
	return rc;
}

static int
batch_hand_on(struct download *d, const struct batch *b, uint8_t shift,
    download_cb cb, void *arg, struct failure *f)
{
	const struct fetch_get_chunk *c;
	const struct small *s;
	uint16_t i;
	int rc;

	for (i = 0; i < b->get.n; i++) {
		c = &b->get.chunks[i];
		if (b->fds[i] != -1)
			rc = hand_on_file(b->fds[i], c->slot << shift, c->bytes,
			    cb, arg, f);
		else if ((s = small_find(d, &c->hash)) != NULL &&
		    s->bytes == c->bytes)
			rc = cb(arg, c->slot << shift, s->data, s->bytes, f);
		else {
			failure_set(f, "", "download",
			    "sailvol-fetch did not bring a chunk");
			rc = -1;
		}
		if (rc == -1)
			return -1;
	}
	return 0;
}

/* Where a hole should be, and is none. */
static int
make_holes(const struct chunklist *l, const struct chunklist *have,
    download_cb cb, void *arg, struct failure *f)
{
	uint64_t slot, found;
	struct hash h;

	for (slot = 0; have != NULL && chunklist_next(have, slot, &found, &h);
	     slot = found + 1)
		if (chunklist_get(l, found, &h) == 0 &&
		    cb(arg, found << chunklist_shift(l), NULL,
			chunklist_slot_bytes(l, found), f) == -1)
			return -1;
	return 0;
}

int
download_file(struct download *d, struct remote *r, const void *path,
    size_t len, const struct entry *e, const struct chunklist *have,
    download_cb cb, void *arg, struct failure *f)
{
	struct chunklist *l;
	struct batch *b;
	uint64_t slot = 0;
	int rc = -1;

	if ((l = remote_chunks(r, path, len, e, f)) == NULL)
		return -1;
	if ((b = calloc(1, sizeof(*b))) == NULL) {
		failure_memory(f);
		goto out;
	}
	if (make_holes(l, have, cb, arg, f) == -1)
		goto out;
	b->get.volume = remote_volume(r);
	b->get.volume_len = strlen(b->get.volume);
	b->get.commit = *remote_id(r);
	b->get.path = path;
	b->get.path_len = len;
	for (;;) {
		if (batch_fill(b, l, have, &slot, f) == -1)
			goto out;
		if (b->get.n == 0)
			break;
		if ((!batch_is_here(d, b) && batch_ask(d, b, f) == -1) ||
		    batch_hand_on(d, b, e->chunk_shift, cb, arg, f) == -1)
			goto out;
		batch_close(b);
	}
	rc = 0;
out:
	if (b != NULL)
		batch_close(b);
	free(b);
	chunklist_free(l);
	return rc;
}
