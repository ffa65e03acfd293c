/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_place: see meta_place.h.  In meta.
 */
#include "sailapid/meta_place.h"

/* Those that the key has brought itself, and that are proved to be there. */
static int
own_places(const struct req *req, const struct hash *h, struct db_location *out)
{
	int i, n;

	n = db_chunk_places(meta_db(), req->grant->annex.id, h, out,
	    LOCATIONS_MAX);
	for (i = 0; i < n && location_present(&out[i]); i++)
		;
	return n == -1 ? -1 : i;
}

int
place_list(const struct req *req, const struct hash *h, struct db_location *out)
{
	int64_t family = req->vol.family;
	int i, n;

	if (!req->apart)
		return db_chunk_places(meta_db(), family, h, out,
		    LOCATIONS_MAX);
	if ((n = own_places(req, h, out)) != 0)
		return n;
	n = db_chunk_places_for(meta_db(), family, req->grant, h, out,
	    LOCATIONS_MAX);
	if (n < 2 || !location_good(out[0].state))
		return n;
	/* Of an annex of others that one alone; else what is no annex. */
	for (i = 1; i < n && out[0].family == family; i++)
		if (out[i].family != family)
			break;
	return i;
}

int
place_choose(const struct req *req, const struct hash *h, uint32_t bytes,
    struct db_location *loc)
{
	struct db_location all[LOCATIONS_MAX];
	int i, n, doubt, least = 4, best = -1;

	n = place_list(req, h, all);
	for (i = 0; i < n && location_good(all[i].state); i++) {
		doubt = 2 * (all[i].plain != bytes) +
		    check_running(all[i].family, &all[i].object);
		if (doubt < least) {
			least = doubt;
			best = i;
		}
	}
	if (n == -1)
		return -1;
	if (best == -1)
		return 0;
	*loc = all[best];
	return 1;
}

int
place_again(struct req *req, const struct hash *h)
{
	struct db_location all[LOCATIONS_MAX];
	int64_t family = req->vol.family;
	int i, n, again = 0;

	for (;;) {
		n = db_chunk_places(meta_db(), family, h, all, LOCATIONS_MAX);
		for (i = 0; i < n; i++)
			again |= check_again(req, &all[i]);
		if (n == -1)
			return -1;
		if (!req->apart || family == req->grant->annex.id)
			return again;
		family = req->grant->annex.id;
	}
}
