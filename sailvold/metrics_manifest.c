/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics_manifest: what manifest knows of its mounts, as numbers.  In
 * manifest.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "sailvold/job.h"
#include "sailvold/metrics.h"

/*
 * Other requests wait while the dirty names of a mount are counted, some
 * milliseconds; and all of this machine may ask.  So it is done where something
 * has changed since, for so long in one answer, and by turns.
 */
#define LOOKED_AT 10000
#define COUNT_MS 20

struct works {
	struct wbuf w;
	uint32_t n;
};

static unsigned int turn = 1;
static monotime_t began;
static int left_out; /* of this turn */

static uint64_t
ended(const struct mount *m)
{
	uint64_t n = 0;
	size_t i;

	for (i = 1; i <= JOB_KINDS; i++)
		n += m->jobs_done[i] + m->jobs_failed[i];
	return n;
}

static void
count(struct mount *m, void *arg)
{
	(void)arg;
	if (m->dirty.turn == turn ||
	    (m->dirty.turn != 0 && m->dirty.applied == m->row.applied &&
		m->dirty.ended == ended(m) && TAILQ_EMPTY(&m->jobs)))
		return;
	if (monotime_diff_ms(monotime_now(), began) >= COUNT_MS) {
		left_out = 1;
		return;
	}
	if (db_dirty_count_most(manifest_db, m->row.row, LOOKED_AT,
		&m->dirty.names, &m->dirty.objects) == -1)
		return;
	m->dirty.turn = turn;
	m->dirty.applied = m->row.applied;
	m->dirty.ended = ended(m);
}

static void
count_all(void)
{
	began = monotime_now();
	left_out = 0;
	mount_foreach(count, NULL);
	if (!left_out && ++turn == 0)
		turn = 1;
}

static void
add(struct mount *m, void *arg)
{
	struct works *all = arg;
	struct metrics_work k;
	const struct job *j;
	size_t i;

	memset(&k, 0, sizeof(k));
	k.instance = m->instance;
	TAILQ_FOREACH (j, &m->jobs, link)
		k.jobs++;
	k.counted = m->dirty.turn != 0;
	k.names = m->dirty.names;
	k.objects = m->dirty.objects;
	k.journal = m->row.applied;
	k.overlay_used = m->overlay_limit != 0 ? m->overlay_used : 0;
	k.limit = m->overlay_limit;
	for (i = 1; i <= JOB_KINDS; i++) {
		k.done[i] = m->jobs_done[i];
		k.failed[i] = m->jobs_failed[i];
	}
	k.committed = m->committed;
	metrics_work_encode(&all->w, &k);
	all->n++;
}

int
metrics_manifest(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct works all = { .n = 0 };
	uint8_t *data;
	size_t len;
	int fd = -1;

	(void)im;
	(void)body;
	wbuf_init(&all.w, METRICS_MAX);
	wbuf_u32(&all.w, 0);
	count_all();
	mount_foreach(add, &all);
	wbuf_set_u32(&all.w, 0, all.n);
	if ((data = wbuf_take(&all.w, &len)) != NULL)
		fd = memfd_new("numbers", data, len);
	free(data);
	if (fd == -1 ||
	    chan_send(ch, IMSG_MANIFEST_PARENT_NUMBERS_RES, id, fd, NULL, 0) ==
		-1) {
		log_warn("numbers");
		if (fd != -1)
			close(fd);
	}
	return 0;
}
