/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * backing: registers and takes back overlay files for a fuse, which names them
 * by their numbers alone: of a descriptor nobody could tell where it came from.
 * What it can do by that is to fill its own mount's table, up to BACKING_MAX.
 * In the parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/backing.h"
#include "sailvold/kept.h"
#include "sailvold/privileged.h"

struct backing {
	RB_ENTRY(backing) tree;
	uint64_t ovl;
	uint32_t id;               /* of the kernel */
	struct kept_backing *kept; /* NULL: not handed over */
};

static int backing_cmp(const struct backing *, const struct backing *);
RB_PROTOTYPE(backing_tree, backing, tree, backing_cmp)

static uid_t fuse_uid;
static gid_t fuse_gid;

static int
backing_cmp(const struct backing *a, const struct backing *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_GENERATE(backing_tree, backing, tree, backing_cmp)

void
backing_init(uid_t uid, gid_t gid)
{
	fuse_uid = uid;
	fuse_gid = gid;
}

static struct backing *
find(struct backings *all, uint64_t ovl)
{
	struct backing key = { .ovl = ovl };

	return RB_FIND(backing_tree, &all->tree, &key);
}

/* There is a free one: they are as many as may be registered. */
static void
keep(struct backings *all, struct backing *b)
{
	if (all->kept == NULL)
		return;
	while (all->kept[all->free].used)
		all->free = (all->free + 1) % BACKING_MAX;
	b->kept = &all->kept[all->free];
	b->kept->ovl = b->ovl;
	b->kept->id = b->id;
	b->kept->used = 1;
}

static void
forget(struct backings *all, struct backing *b)
{
	if (b->kept != NULL)
		b->kept->used = 0;
	RB_REMOVE(backing_tree, &all->tree, b);
	all->n--;
	free(b);
}

void
backing_free(struct backings *all)
{
	struct backing *b;

	while ((b = RB_MIN(backing_tree, &all->tree)) != NULL)
		forget(all, b);
	if (all->folder_fd != -1)
		close(all->folder_fd);
	all->folder_fd = -1;
}

int
backing_adopt(struct backings *all)
{
	struct kept_backing *k;
	struct backing *b;

	for (k = all->kept; k < all->kept + BACKING_MAX; k++) {
		if (!k->used)
			continue;
		if (find(all, k->ovl) != NULL) {
			errno = EBADMSG;
			return -1;
		}
		if ((b = calloc(1, sizeof(*b))) == NULL)
			return -1;
		b->ovl = k->ovl;
		b->id = k->id;
		b->kept = k;
		RB_INSERT(backing_tree, &all->tree, b);
		all->n++;
	}
	return 0;
}

int
backing_tell(struct backings *all, struct chan *c)
{
	struct backing_res r[BACKING_BATCH];
	struct backing *b;
	uint16_t n = 0;

	memset(r, 0, sizeof(r));
	RB_FOREACH (b, backing_tree, &all->tree) {
		r[n].ovl = b->ovl;
		r[n++].id = b->id;
		if (n == BACKING_BATCH) {
			if (backing_res_send(c, 0, r, n) == -1)
				return -1;
			n = 0;
		}
	}
	return n == 0 ? 0 : backing_res_send(c, 0, r, n);
}

/* 0 and its id, the one that it has already if it has one; or an errno. */
static int
open_one(struct backings *all, int fuse_fd, uint64_t ovl, uint32_t *id)
{
	struct backing *b;
	int32_t got;

	if ((b = find(all, ovl)) != NULL) {
		*id = b->id;
		return 0;
	}
	if (all->n >= BACKING_MAX)
		return ENOSPC;
	if ((b = calloc(1, sizeof(*b))) == NULL)
		return ENOMEM;
	got =
	    priv_backing_open(fuse_fd, all->folder_fd, ovl, fuse_uid, fuse_gid);
	if (got <= 0) {
		free(b);
		return got == -1 ? errno : EPROTO;
	}
	b->ovl = ovl;
	*id = b->id = (uint32_t)got;
	RB_INSERT(backing_tree, &all->tree, b);
	all->n++;
	keep(all, b);
	return 0;
}

int
backing_ask(struct backings *all, int fuse_fd, struct chan *c, uint32_t id,
    struct ibuf *body)
{
	struct backing_res r[BACKING_BATCH];
	uint64_t ovls[BACKING_BATCH];
	uint16_t i, n;

	if (numbers_recv(body, ovls, BACKING_BATCH, &n) == -1)
		return -1;
	memset(r, 0, sizeof(r));
	for (i = 0; i < n; i++) {
		r[i].ovl = ovls[i];
		r[i].error =
		    (uint32_t)open_one(all, fuse_fd, ovls[i], &r[i].id);
	}
	if (backing_res_send(c, id, r, n) == -1 && errno != EPIPE)
		log_warn("answer to fuse");
	return 0;
}

int
backing_close(struct backings *all, int fuse_fd, struct ibuf *body)
{
	uint64_t ovls[BACKING_BATCH];
	struct backing *b;
	uint32_t kernels;
	uint16_t i, n;

	if (numbers_recv(body, ovls, BACKING_BATCH, &n) == -1)
		return -1;
	for (i = 0; i < n; i++) {
		if ((b = find(all, ovls[i])) == NULL)
			continue;
		/* Nobody who comes after this one is told of an id that is
		   another's by then. */
		kernels = b->id;
		forget(all, b);
		if (priv_backing_close(fuse_fd, kernels) == -1)
			log_warn("backing file %u", kernels);
	}
	return 0;
}
