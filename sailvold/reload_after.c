/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * reload_after: what is left to do of a reload when the mount has moved, and
 * programs go on.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/log.h"
#include "sailvold/reload_after.h"

#define LET_GO_BATCH 1000
#define CACHE_IN_FLIGHT 8

/* Published files go to the cache, then all that has no name is let go. */
struct after {
	struct mount *m;
	struct snap_same *same;
	size_t nsame, next, in_flight;
	uint64_t *gone;
	size_t ngone;
	int dead;
};

static void
after_end(struct after *a)
{
	struct mount *m = a->m;
	struct reload_run *r;
	struct ibuf *b;
	size_t i, n, at;

	/* One that starts hears it then. */
	if (m->fuse == NULL || !m->started)
		a->dead = 1;
	for (at = 0; !a->dead && at < a->ngone; at += n) {
		n = a->ngone - at < LET_GO_BATCH ? a->ngone - at : LET_GO_BATCH;
		b = ibuf_dynamic(2, 2 + 8 * LET_GO_BATCH);
		if (b == NULL || ibuf_add_n16(b, (uint16_t)n) == -1)
			goto fail;
		for (i = 0; i < n; i++)
			if (ibuf_add_n64(b, a->gone[at + i]) == -1)
				goto fail;
		if (chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_LET_GO, 0, -1,
			b) == -1)
			log_warn("mount %s: letting go", m->row.path);
	}
	goto done;
fail:
	ibuf_free(b);
	log_warn("mount %s: letting go", m->row.path);
done:
	free(a->same);
	free(a->gone);
	free(a);
	if (--m->letting_go == 0 && (r = m->restores) != NULL) {
		m->restores = NULL;
		restore_go_on(r);
	}
}

static void after_pump(struct after *);

static void
cached(struct mount *m, void *arg, int error)
{
	struct after *a = arg;

	(void)m;
	a->in_flight--;
	if (error == ENODEV)
		a->dead = 1;
	after_pump(a);
}

static void
after_pump(struct after *a)
{
	const struct snap_same *s;
	struct obj o;
	int rc;

	while (
	    !a->dead && a->next < a->nsame && a->in_flight < CACHE_IN_FLIGHT) {
		s = &a->same[a->next++];
		if (s->size == 0 ||
		    db_obj_get(manifest_db, a->m->row.row, s->ovl, &o) == -1)
			continue;
		a->in_flight++;
		rc = o.chunks == NULL
		    ? -1
		    : ask_cache_put(a->m, s->ovl, &s->content, s->size,
			  o.chunks, o.chunks_len, cached, a);
		if (rc == -1)
			a->in_flight--;
		obj_free(&o);
	}
	if (a->in_flight == 0 && (a->dead || a->next == a->nsame))
		after_end(a);
}

void
reload_after(struct mount *m, struct snap_diff *d, struct rebase_gone *gone)
{
	struct after *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return;
	a->m = m;
	m->letting_go++;
	a->same = d->same;
	a->nsame = d->nsame;
	d->same = NULL;
	d->nsame = 0;
	a->gone = gone->ovls;
	a->ngone = gone->n;
	gone->ovls = NULL;
	after_pump(a);
}

int
reload_gone_load(struct mount *m, struct rebase_gone *g)
{
	uint64_t *more;
	size_t n;

	do {
		more =
		    reallocarray(g->ovls, g->n + NAMELESS_BATCH, sizeof(*more));
		if (more == NULL)
			return -1;
		g->ovls = more;
		if (db_obj_list_nameless(manifest_db, m->row.row,
			g->n == 0 ? 0 : g->ovls[g->n - 1], g->ovls + g->n,
			NAMELESS_BATCH, &n) == -1)
			return -1;
		g->n += n;
		g->cap = g->n;
	} while (n == NAMELESS_BATCH);
	return 0;
}
