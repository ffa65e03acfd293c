/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_done: the table of what this connection's requests did, as its journal
 * says; journal_find() looks there.  In fuse.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/journal.h"
#include "sailvold/journal_done.h"
#include "sailvold/record.h"

#define DONE_MAX (1U << 20) /* requests that are remembered */

/* Open hash by unique. */
struct done_table {
	struct journal_done *v;
	uint32_t mask, n;
};

static struct done_table now, before; /* the latest, and those before */

/* Where it stands, or is to stand. */
static struct journal_done *
done_place(const struct done_table *t, uint64_t unique)
{
	uint32_t i = (uint32_t)(unique >> 1) & t->mask;

	while (t->v[i].unique != 0 && t->v[i].unique != unique)
		i = (i + 1) & t->mask;
	return &t->v[i];
}

static void
done_grow(struct done_table *t)
{
	struct done_table old = *t;
	uint32_t i, n = old.v == NULL ? 1024 : (old.mask + 1) * 2;

	if ((t->v = calloc(n, sizeof(*t->v))) == NULL)
		fatal("journal");
	t->mask = n - 1;
	for (i = 0; old.v != NULL && i <= old.mask; i++)
		if (old.v[i].unique != 0)
			*done_place(t, old.v[i].unique) = old.v[i];
	free(old.v);
}

/* What is sent again is among the last: the older half is forgotten. */
void
done_add(const struct record *r)
{
	struct journal_done *d;

	if (r->unique == 0)
		return;
	if (now.n == DONE_MAX / 2) {
		free(before.v);
		before = now;
		memset(&now, 0, sizeof(now));
	}
	if (now.n * 2 >= now.mask)
		done_grow(&now);
	d = done_place(&now, r->unique);
	if (d->unique == 0)
		now.n++;
	d->unique = r->unique;
	d->type = r->type;
	d->ovl = r->ovl;
	d->session = r->session;
	d->result = r->result;
}

static const struct journal_done *
done_find(const struct done_table *t, uint64_t unique)
{
	const struct journal_done *d;

	if (t->v == NULL || unique == 0)
		return NULL;
	d = done_place(t, unique);
	return d->unique == unique ? d : NULL;
}

const struct journal_done *
journal_find(uint64_t unique)
{
	const struct journal_done *d = done_find(&now, unique);

	return d != NULL ? d : done_find(&before, unique);
}

void
done_forget(void)
{
	free(now.v);
	free(before.v);
	memset(&now, 0, sizeof(now));
	memset(&before, 0, sizeof(before));
}
