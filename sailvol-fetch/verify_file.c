/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * verify_file: does a file hold one chunk and nothing else, or all chunks of a
 * bundle where they should be?  In sailvol-fetch.
 */
#include <sys/stat.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

struct verify {
	struct work work; /* first: its work is it */
	struct request req;
	int fd;
	uint32_t bytes; /* 0: of a bundle */
	struct hash hash;
	struct fetch_bundle_chunk *chunks; /* of one */
	uint16_t n;
	uint32_t error;
};

static struct verify *
verify_of(struct request *r)
{
	return (
	    struct verify *)(void *)((char *)r - offsetof(struct verify, req));
}

/* 0 or an errno. */
static uint32_t
one(const struct verify *v, uint64_t at, uint32_t bytes, const struct hash *is)
{
	struct hash h;

	if (hash_range(v->fd, at, bytes, &h) == -1)
		return errno == ENODATA ? EBADMSG : (uint32_t)errno;
	return hash_cmp(&h, is) == 0 ? 0 : EBADMSG;
}

/* In a thread. */
static int
verify_run(struct work *w)
{
	struct verify *v = (struct verify *)w;
	struct stat st;
	uint16_t i;

	if (atomic_load(&w->cancel))
		v->error = ECANCELED;
	else if (fstat(v->fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (v->n == 0 && st.st_size != (off_t)v->bytes))
		v->error = EBADMSG;
	else if (v->n == 0)
		v->error = one(v, 0, v->bytes, &v->hash);
	for (i = 0; i < v->n && v->error == 0; i++)
		v->error = one(v, v->chunks[i].offset, v->chunks[i].bytes,
		    &v->chunks[i].hash);
	return 0;
}

static void
verify_done(struct work *w)
{
	struct verify *v = (struct verify *)w;

	if (v->req.peer != NULL &&
	    fetch_verify_res_send(v->req.peer, v->req.id, v->error) == -1)
		op_lost("verify");
	request_del(&v->req);
	close(v->fd);
	free(v->chunks);
	free(v);
}

static void
verify_cancel(struct request *req)
{
	atomic_store(&verify_of(req)->work.cancel, 1);
}

static void
begin(struct verify *v, struct imsg *imsg)
{
	v->fd = imsg_get_fd(imsg);
	v->work.run = verify_run;
	v->work.done = verify_done;
	worker_add(&v->work);
}

int
op_verify(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct verify *v;

	if ((v = calloc(1, sizeof(*v))) == NULL)
		fatal("verify");
	if (fetch_verify_recv(body, &v->bytes, &v->hash) == -1 ||
	    request_add(&v->req, c, id, verify_cancel) == -1) {
		free(v);
		return -1;
	}
	begin(v, imsg);
	return 0;
}

int
op_verify_bundle(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	static struct fetch_bundle u;
	struct verify *v;

	if (fetch_bundle_recv(body, &u) == -1)
		return -1;
	if ((v = calloc(1, sizeof(*v))) == NULL ||
	    (v->chunks = calloc(u.n, sizeof(*v->chunks))) == NULL)
		fatal("verify");
	memcpy(v->chunks, u.chunks, u.n * sizeof(*v->chunks));
	v->n = u.n;
	if (request_add(&v->req, c, id, verify_cancel) == -1) {
		free(v->chunks);
		free(v);
		return -1;
	}
	begin(v, imsg);
	return 0;
}
