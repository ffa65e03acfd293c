/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload: a batch is one question of our sailvol-fetch, which makes packs of
 * the small chunks in it.  In sailvolctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/wire.h"
#include "sailvolctl/api.h"
#include "sailvolctl/upload.h"

#define RUNNING_MAX 3
#define LARGE_BYTES ((uint64_t)256 * 1024 * 1024) /* of a batch */

struct upload_batch {
	struct upload *u;
	int fds[FETCH_UPLOAD_FILES];
	int *changed[FETCH_UPLOAD_FILES];
	uint32_t nfds, n;
	uint64_t small, large; /* bytes */
	uint64_t sent;         /* that were told */
	struct fetch_upload_chunk chunks[FETCH_UPLOAD_MAX];
};

static void
batch_free(struct upload_batch *b)
{
	uint32_t i;

	if (b == NULL)
		return;
	for (i = 0; i < b->nfds; i++)
		close(b->fds[i]);
	free(b);
}

/* ---- answers -------------------------------------------------------------------- */

static void
on_sent(void *arg, uint64_t bytes)
{
	struct upload_batch *b = arg;

	b->sent += bytes;
	b->u->sent += bytes;
	b->u->tell(b->u->arg);
}

/* What was first is said. */
static void
failed_by(struct upload *u, const struct fetch_upload_res *r)
{
	json_t *answer;

	if (u->failure.message[0] != '\0')
		return;
	if (r->status != 0) {
		answer = json_loadb(r->refusal, r->refusal_len, JSON_ALLOW_NUL,
		    NULL);
		api_refused(r->status, answer, &u->failure);
		json_decref(answer);
	} else if (r->what_len > 0)
		failure_set(&u->failure, "unavailable", "upload_failed",
		    "upload: %.*s", (int)r->what_len, r->what);
	else
		failure_set(&u->failure, "unavailable", "upload_failed",
		    "upload: %s", strerror((int)r->error));
}

static void
on_done(void *arg, const struct fetch_upload_res *r, const uint8_t *status)
{
	struct upload_batch *b = arg;
	struct upload *u = b->u;
	uint64_t sent = 0;
	uint32_t i;

	u->running--;
	if (r->error != 0)
		failed_by(u, r);
	for (i = 0; r->error == 0 && i < b->n; i++) {
		if (status[i] == 1)
			sent += b->chunks[i].bytes;
		else if (status[i] == 2)
			*b->changed[b->chunks[i].file] = 1;
		else if (status[i] > 1 && u->failure.message[0] == '\0')
			failure_set(&u->failure, "", "upload_failed",
			    "upload: a chunk was not sent");
	}
	if (sent > b->sent)
		u->sent += sent - b->sent;
	batch_free(b);
	u->tell(u->arg);
}

/* ---- batches -------------------------------------------------------------------- */

static int
failed(struct upload *u, struct failure *f)
{
	if (u->failure.message[0] == '\0')
		return 0;
	failure_set(f, u->failure.type, u->failure.code, "%s",
	    u->failure.message);
	return -1;
}

/* Until no more than so many are under way. */
static int
wait_for(struct upload *u, unsigned int running, struct failure *f)
{
	while (u->running > running && failed(u, f) == 0)
		if (fetch_turn(f) == -1)
			return -1;
	return failed(u, f);
}

static int
batch_send(struct upload *u, struct failure *f)
{
	static const struct fetch_upload_cbs cbs = { on_sent, on_done };
	struct upload_batch *b = u->filling;

	if (b == NULL)
		return 0;
	if (wait_for(u, RUNNING_MAX - 1, f) == -1)
		return -1;
	if (fetch_upload(u->volume, u->session, b->fds, b->nfds, b->chunks,
		b->n, &cbs, b, f) == -1)
		return -1;
	u->filling = NULL;
	u->running++;
	return 0;
}

/* A batch with room for a chunk of that file. */
static int
batch_room(struct upload *u, const struct upload_file *file, uint32_t bytes,
    struct failure *f)
{
	int small = bytes < WIRE_PACK_CHUNK;
	struct upload_batch *b = u->filling;

	if (b != NULL &&
	    (b->n == FETCH_UPLOAD_MAX ||
		(file->batch != u->batches && b->nfds == FETCH_UPLOAD_FILES) ||
		(small && b->small + bytes > WIRE_PACK_ROOM) ||
		b->large >= LARGE_BYTES) &&
	    batch_send(u, f) == -1)
		return -1;
	if (u->filling != NULL)
		return 0;
	if ((u->filling = calloc(1, sizeof(*b))) == NULL)
		return failure_memory(f);
	u->filling->u = u;
	u->batches++;
	return 0;
}

int
upload_chunk(struct upload *u, struct upload_file *file, uint64_t offset,
    uint32_t bytes, const struct hash *h, struct failure *f)
{
	struct fetch_upload_chunk *c;
	struct upload_batch *b;

	if (batch_room(u, file, bytes, f) == -1)
		return -1;
	b = u->filling;
	if (file->batch != u->batches) {
		b->fds[b->nfds] = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
		if (b->fds[b->nfds] == -1) {
			failure_set(f, "", "memory", "%s", strerror(errno));
			return -1;
		}
		b->changed[b->nfds] = file->changed;
		file->number = (int)b->nfds++;
		file->batch = u->batches;
	}
	c = &b->chunks[b->n++];
	c->file = (uint32_t)file->number;
	c->offset = offset;
	c->bytes = bytes;
	c->hash = *h;
	if (bytes < WIRE_PACK_CHUNK)
		b->small += bytes;
	else
		b->large += bytes;
	return 0;
}

int
upload_add(struct upload *u, int fd, const struct chunklist *l, int *changed,
    struct failure *f)
{
	struct upload_file file = { fd, changed, 0, 0 };
	uint64_t slot, found;
	struct hash h;

	for (slot = 0; chunklist_next(l, slot, &found, &h) == 1;
	     slot = found + 1)
		if (upload_chunk(u, &file, found << chunklist_shift(l),
			chunklist_slot_bytes(l, found), &h, f) == -1)
			return -1;
	return failed(u, f);
}

int
upload_idle(struct upload *u, struct failure *f)
{
	return u->running > 0 ? 0 : batch_send(u, f);
}

int
upload_end(struct upload *u, struct failure *f)
{
	return batch_send(u, f) == -1 ? -1 : wait_for(u, 0, f);
}

void
upload_free(struct upload *u)
{
	batch_free(u->filling);
	u->filling = NULL;
	failure_clear(&u->failure);
}
