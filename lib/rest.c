/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rest: the file beside an overlay file that is not whole.  In fuse, manifest
 * and sailvol-fetch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/memfd.h"
#include "lib/path.h"
#include "lib/rest.h"

#define REST_MAGIC "SAILREST"
#define REST_VERSION 1
#define REST_MAX ((size_t)1 << 29)     /* bytes of the file */
#define HASHES_MAX ((uint64_t)1 << 24) /* of its list */

void
rest_encode(struct wbuf *w, const struct hash *commit, const void *path,
    size_t len, const struct chunklist *list)
{
	uint64_t slot, slots = chunklist_slots(list);
	struct hash h;

	wbuf_bytes(w, REST_MAGIC, 8);
	wbuf_u16(w, REST_VERSION);
	wbuf_hash(w, commit);
	wbuf_str16(w, path, len);
	chunklist_encode(w, list);
	wbuf_u32(w, w->error == 0 ? crc32c(0, w->data, w->len) : 0);
	for (slot = 0; slot < slots && w->error == 0; slot++)
		wbuf_u8(w, chunklist_get(list, slot, &h) == 1);
}

void
rest_free(struct rest *r)
{
	if (r == NULL)
		return;
	free(r->path);
	free(r->absent);
	chunklist_free(r->list);
	free(r);
}

/* The head, of which absent[] follows. */
static int
read_head(struct rest *r, struct rbuf *b, const uint8_t *data)
{
	const uint8_t *magic, *path;
	uint32_t crc;

	magic = rbuf_bytes(b, 8);
	if (b->error != NULL || memcmp(magic, REST_MAGIC, 8) != 0 ||
	    rbuf_u16(b) != REST_VERSION)
		return -1;
	rbuf_hash(b, &r->commit);
	path = rbuf_str16(b, SAIL_PATH_MAX, &r->path_len);
	if (b->error != NULL || path_problem(path, r->path_len) != NULL)
		return -1;
	if ((r->path = malloc(r->path_len + 1)) == NULL)
		return -1;
	if (r->path_len > 0)
		memcpy(r->path, path, r->path_len);
	if ((r->list = chunklist_decode(b, HASHES_MAX)) == NULL)
		return -1;
	r->at = b->pos;
	crc = rbuf_u32(b);
	if (b->error != NULL || crc != crc32c(0, data, r->at))
		return -1;
	r->at += 4;
	return 0;
}

static int
read_slots(struct rest *r, struct rbuf *b)
{
	const uint8_t *p;
	uint64_t i;
	struct hash h;

	r->slots = chunklist_slots(r->list);
	p = rbuf_bytes(b, (size_t)r->slots);
	if (b->error != NULL || rbuf_end(b) == -1)
		return -1;
	if ((r->absent = malloc((size_t)r->slots + 1)) == NULL)
		return -1;
	for (i = 0; i < r->slots; i++) {
		if (p[i] > 1 ||
		    (p[i] == 1 && chunklist_get(r->list, i, &h) != 1))
			return -1;
		r->absent[i] = p[i];
		r->nabsent += p[i];
	}
	return 0;
}

struct rest *
rest_read(int fd)
{
	struct memfd_view m;
	struct rest *r;
	struct rbuf b;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	if (memfd_map(fd, REST_MAX, &m) == -1) {
		free(r);
		return NULL;
	}
	errno = 0;
	rbuf_init(&b, m.data, m.len);
	if (read_head(r, &b, m.data) == -1 || read_slots(r, &b) == -1) {
		rest_free(r);
		r = NULL;
		if (errno != ENOMEM)
			errno = EBADMSG;
	}
	memfd_unmap(&m);
	return r;
}

int
rest_absent(const struct rest *r, uint64_t slot)
{
	return slot < r->slots && r->absent[slot];
}

int
rest_here(struct rest *r, int fd, uint64_t slot)
{
	static const uint8_t zero;

	if (!rest_absent(r, slot))
		return 0;
	if (pwrite(fd, &zero, 1, (off_t)(r->at + slot)) != 1)
		return -1;
	r->absent[slot] = 0;
	r->nabsent--;
	return 0;
}
