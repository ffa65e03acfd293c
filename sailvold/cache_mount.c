/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_mount: whose fuse is at which channel: the parent says what volume each
 * mount has, fuse is not asked.  In cache.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

static TAILQ_HEAD(, cache_mount) mounts = TAILQ_HEAD_INITIALIZER(mounts);

struct cache_mount *
cache_mount_find(uint32_t instance)
{
	struct cache_mount *m;

	TAILQ_FOREACH (m, &mounts, entry)
		if (m->instance == instance)
			return m;
	return NULL;
}

struct cache_mount *
cache_mount_next(struct cache_mount *m)
{
	return m == NULL ? TAILQ_FIRST(&mounts) : TAILQ_NEXT(m, entry);
}

static void
forget(struct cache_mount *m)
{
	TAILQ_REMOVE(&mounts, m, entry);
	free(m);
}

int
cache_mount_tell(struct ibuf *body)
{
	struct cache_mount *m;
	uint32_t instance;
	char id[sizeof(m->volume_id)];
	uint16_t len;

	if (ibuf_get_n32(body, &instance) == -1 ||
	    ibuf_get_n16(body, &len) == -1 || len >= sizeof(id) ||
	    ibuf_get(body, id, len) == -1 || memchr(id, '\0', len) != NULL ||
	    ibuf_size(body) != 0)
		return -1;
	id[len] = '\0';
	if (len > 0 && volume_name_problem(id, len) != NULL)
		return -1;
	m = cache_mount_find(instance);
	if (len == 0) {
		if (m == NULL)
			return 0;
		/* What its fuse had sent before may come later than this. */
		m->gone = 1;
		if (role_peer(ROLE_FUSE, instance) == NULL)
			forget(m);
		return 0;
	}
	if (m == NULL) {
		if ((m = calloc(1, sizeof(*m))) == NULL)
			fatal("cache: mount");
		m->instance = instance;
		TAILQ_INSERT_TAIL(&mounts, m, entry);
	}
	m->gone = 0;
	strlcpy(m->volume_id, id, sizeof(m->volume_id));
	return 0;
}

void
cache_mount_down(uint32_t instance)
{
	struct cache_mount *m = cache_mount_find(instance);

	if (m == NULL)
		return;
	m->puts = 0; /* nobody is answered */
	if (m->gone)
		forget(m);
}

int
cache_mount_room(const struct cache_mount *m, int put, unsigned int n)
{
	if (put)
		return m->puts < CACHE_PUTS_MAX ? 0 : -1;
	return n <= CACHE_GETS_MAX - m->gets ? 0 : -1;
}

static void
make_key(const char *volume_id, const struct hash *h, const char *kind,
    struct hash *key)
{
	struct hash_ctx *ctx;

	if ((ctx = hash_begin()) == NULL)
		fatal("cache: hash");
	hash_update(ctx, volume_id, strlen(volume_id) + 1);
	hash_update(ctx, h->b, HASH_LEN);
	hash_update(ctx, kind, strlen(kind));
	hash_end(ctx, key);
}

void
cache_key(const char *volume_id, const struct hash *chunk, struct hash *key)
{
	make_key(volume_id, chunk, "", key);
}

void
cache_bundle_key(const char *volume_id, const struct hash *list,
    struct hash *key)
{
	make_key(volume_id, list, "bundle", key);
}
