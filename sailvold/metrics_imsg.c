/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics_imsg: numbers for metrics, written in the parent and in manifest, read
 * in metrics.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/metrics_imsg.h"

#define PROC_LEN 10
#define MOUNT_LEN (5 + TALLY_OPCODES * 8 + 24)
#define WORK_LEN (9 + 6 * 8 + JOB_KINDS * 16)

void
metrics_proc_encode(struct wbuf *w, const struct metrics_proc *p)
{
	wbuf_u8(w, p->role);
	wbuf_u32(w, p->instance);
	wbuf_u8(w, p->ready);
	wbuf_u32(w, p->starts);
}

static void
proc_decode(struct rbuf *r, struct metrics_proc *p)
{
	p->role = rbuf_u8(r);
	p->instance = rbuf_u32(r);
	p->ready = rbuf_u8(r);
	p->starts = rbuf_u32(r);
	if (p->role >= ROLE_MAX || p->ready > 1)
		rbuf_fail(r, "process");
	if (p->role == ROLE_FETCH && p->instance >= METRICS_FETCHERS)
		rbuf_fail(r, "more fetchers than there can be");
}

void
metrics_mount_encode(struct wbuf *w, const struct metrics_mount *m)
{
	size_t i;

	wbuf_u32(w, m->instance);
	wbuf_u8(w, m->up);
	for (i = 0; i < TALLY_OPCODES; i++)
		wbuf_u64(w, m->tally.requests[i]);
	wbuf_u64(w, m->tally.awake_us);
	wbuf_u64(w, m->tally.bursts);
	wbuf_u32(w, m->tally.wakeful);
	wbuf_u32(w, m->tally.pool);
}

static void
mount_decode(struct rbuf *r, struct metrics_mount *m)
{
	size_t i;

	m->instance = rbuf_u32(r);
	m->up = rbuf_u8(r);
	for (i = 0; i < TALLY_OPCODES; i++)
		m->tally.requests[i] = rbuf_u64(r);
	m->tally.awake_us = rbuf_u64(r);
	m->tally.bursts = rbuf_u64(r);
	m->tally.wakeful = rbuf_u32(r);
	m->tally.pool = rbuf_u32(r);
	if (m->up > 1)
		rbuf_fail(r, "mount");
}

void
metrics_work_encode(struct wbuf *w, const struct metrics_work *k)
{
	size_t i;

	wbuf_u32(w, k->instance);
	wbuf_u32(w, k->jobs);
	wbuf_u8(w, k->counted);
	wbuf_u64(w, k->names);
	wbuf_u64(w, k->objects);
	wbuf_u64(w, k->journal);
	wbuf_u64(w, k->overlay_used);
	wbuf_u64(w, k->limit);
	for (i = 1; i <= JOB_KINDS; i++) {
		wbuf_u64(w, k->done[i]);
		wbuf_u64(w, k->failed[i]);
	}
	wbuf_i64(w, k->committed);
}

static void
work_decode(struct rbuf *r, struct metrics_work *k)
{
	size_t i;

	k->instance = rbuf_u32(r);
	k->jobs = rbuf_u32(r);
	k->counted = rbuf_u8(r);
	k->names = rbuf_u64(r);
	k->objects = rbuf_u64(r);
	k->journal = rbuf_u64(r);
	k->overlay_used = rbuf_u64(r);
	k->limit = rbuf_u64(r);
	for (i = 1; i <= JOB_KINDS; i++) {
		k->done[i] = rbuf_u64(r);
		k->failed[i] = rbuf_u64(r);
	}
	k->committed = rbuf_i64(r);
	if (k->committed < 0 || k->counted > 1)
		rbuf_fail(r, "work of a mount");
}

/* Room for as many as it says, if they can be there; NULL with r->error or
   ENOMEM. */
static void *
table_new(struct rbuf *r, size_t len, size_t size, uint32_t *n)
{
	void *table;

	*n = rbuf_u32(r);
	if (*n > rbuf_left(r) / len) {
		rbuf_fail(r, "more than there is");
		*n = 0;
		return NULL;
	}
	table = calloc((size_t)*n + 1, size);
	if (table == NULL)
		*n = 0;
	return table;
}

int
metrics_parent_decode(const void *data, size_t len, struct metrics_parent *m)
{
	struct rbuf r;
	uint32_t i;

	memset(m, 0, sizeof(*m));
	rbuf_init(&r, data, len);
	m->started = rbuf_u64(&r);
	m->procs = table_new(&r, PROC_LEN, sizeof(*m->procs), &m->nprocs);
	if (m->procs == NULL)
		return r.error != NULL ? rbuf_end(&r) : -1;
	for (i = 0; i < m->nprocs; i++)
		proc_decode(&r, &m->procs[i]);
	m->mounts = table_new(&r, MOUNT_LEN, sizeof(*m->mounts), &m->nmounts);
	if (m->mounts == NULL)
		return r.error != NULL ? rbuf_end(&r) : -1;
	for (i = 0; i < m->nmounts; i++)
		mount_decode(&r, &m->mounts[i]);
	return rbuf_end(&r);
}

void
metrics_parent_free(struct metrics_parent *m)
{
	free(m->procs);
	free(m->mounts);
	memset(m, 0, sizeof(*m));
}

int
metrics_manifest_decode(const void *data, size_t len,
    struct metrics_manifest *m)
{
	struct rbuf r;
	uint32_t i;

	memset(m, 0, sizeof(*m));
	rbuf_init(&r, data, len);
	m->works = table_new(&r, WORK_LEN, sizeof(*m->works), &m->nworks);
	if (m->works == NULL)
		return r.error != NULL ? rbuf_end(&r) : -1;
	for (i = 0; i < m->nworks; i++)
		work_decode(&r, &m->works[i]);
	return rbuf_end(&r);
}

void
metrics_manifest_free(struct metrics_manifest *m)
{
	free(m->works);
	memset(m, 0, sizeof(*m));
}
