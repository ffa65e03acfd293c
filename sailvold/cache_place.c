/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_place: of which file chunks are asked, and which file has those that are
 * given: what jobs share.  In cache.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/cache.h"
#include "sailvold/sailvold_imsg.h"

struct place *
place_new(const struct cache_mount *m, const struct cache_want *g)
{
	struct place *p;

	if ((p = calloc(1, sizeof(*p) + g->path_len + 1)) == NULL)
		return NULL;
	p->refs = 1;
	strlcpy(p->volume_id, m->volume_id, sizeof(p->volume_id));
	p->commit = g->commit;
	p->path_len = g->path_len;
	if (g->path_len > 0)
		memcpy(p->path, g->path, g->path_len);
	return p;
}

void
place_unref(struct place *p)
{
	if (p != NULL && --p->refs == 0)
		free(p);
}

struct put *
put_new(struct chan *c, uint32_t id, struct cache_mount *m, int fd)
{
	struct put *p;

	if ((p = calloc(1, sizeof(*p))) == NULL)
		fatal("cache: put");
	p->refs = 1;
	p->peer = c;
	p->id = id;
	p->mount = m;
	p->fd = fd;
	return p;
}

void
put_unref(struct put *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	close(p->fd);
	free(p);
}
