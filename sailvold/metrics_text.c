/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics_text: numbers as the text of /metrics.  Each name is explained in
 * sailvold(8).  In metrics.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/promtext.h"
#include "sailvold/metrics.h"

#define TEXT_MAX ((size_t)64 << 20)

#define COUNTER(p, name, help) \
	promtext_family(p, "sailvold_" name "_total", PROMTEXT_COUNTER, help)
#define GAUGE(p, name, help) \
	promtext_family(p, "sailvold_" name, PROMTEXT_GAUGE, help)

int
metrics_is_settled(const struct metrics_all *a, const struct metrics_proc *p)
{
	if (!p->ready)
		return 1;
	switch (p->role) {
	case ROLE_MANIFEST:
		return a->manifest_in;
	case ROLE_CACHE:
		return a->cache_in;
	case ROLE_FETCH:
		return a->fetch_in[p->instance];
	default:
		return 1;
	}
}

/* ---- processes ------------------------------------------------------------------- */

/* Which one it is, of a role that has several. */
struct who {
	struct promtext_label labels[2];
	size_t n;
	char number[16];
};

static void
who_is(struct who *w, const struct metrics_proc *p)
{
	snprintf(w->number, sizeof(w->number), "%" PRIu32, p->instance);
	w->labels[0].name = "role";
	w->labels[0].value = role_name(p->role);
	w->labels[1].name = p->role == ROLE_FUSE ? "mount" : "fetcher";
	w->labels[1].value = w->number;
	w->n = p->role == ROLE_FUSE || p->role == ROLE_FETCH ? 2 : 1;
}

static void
processes(struct promtext *p, const struct metrics_all *a)
{
	const struct metrics_proc *one;
	struct who w;
	uint32_t i;

	GAUGE(p, "start_time_seconds",
	    "When the daemon started, in seconds since the epoch.");
	promtext_sample(p, NULL, 0, a->parent.started);
	GAUGE(p, "up",
	    "1: the process is ready, and answers where it is asked.");
	for (i = 0; i < a->parent.nprocs; i++) {
		one = &a->parent.procs[i];
		who_is(&w, one);
		promtext_sample(p, w.labels, w.n,
		    one->ready && metrics_is_settled(a, one));
	}
	COUNTER(p, "starts", "How often the process was started.");
	for (i = 0; i < a->parent.nprocs; i++) {
		one = &a->parent.procs[i];
		who_is(&w, one);
		promtext_sample(p, w.labels, w.n, one->starts);
	}
}

/* ---- mounts ---------------------------------------------------------------------- */

/* A label of the mount, and room for more. */
struct mount_labels {
	struct promtext_label l[3];
	char number[16];
};

static const struct promtext_label *
mount_is(struct mount_labels *m, uint32_t instance)
{
	snprintf(m->number, sizeof(m->number), "%" PRIu32, instance);
	m->l[0].name = "mount";
	m->l[0].value = m->number;
	return m->l;
}

static void
requests(struct promtext *p, const struct metrics_all *a)
{
	const struct metrics_mount *m;
	struct mount_labels l;
	uint32_t i;
	size_t op;

	COUNTER(p, "mount_requests", "Requests of the kernel, by operation.");
	for (i = 0; i < a->parent.nmounts; i++) {
		m = &a->parent.mounts[i];
		for (op = 0; op < TALLY_OPCODES; op++) {
			if (m->tally.requests[op] == 0 ||
			    tally_name(op) == NULL)
				continue;
			(void)mount_is(&l, m->instance);
			l.l[1].name = "operation";
			l.l[1].value = tally_name(op);
			promtext_sample(p, l.l, 2, m->tally.requests[op]);
		}
	}
}

#define OF_MOUNTS(f, v)                                \
	for (i = 0; i < a->parent.nmounts; i++) {      \
		m = &a->parent.mounts[i];              \
		f(p, mount_is(&l, m->instance), 1, v); \
	}

static void
mounts(struct promtext *p, const struct metrics_all *a)
{
	const struct metrics_mount *m;
	struct mount_labels l;
	uint32_t i;

	GAUGE(p, "mounts", "Mounts that are there or are to be.");
	promtext_sample(p, NULL, 0, a->parent.nmounts);
	GAUGE(p, "mount_up", "1: the volume is mounted.");
	OF_MOUNTS(promtext_sample, m->up);
	requests(p, a);
	COUNTER(p, "mount_awake_seconds",
	    "How long processors were kept awake for its requests.");
	OF_MOUNTS(promtext_sample_milli, m->tally.awake_us / 1000);
	COUNTER(p, "mount_bursts",
	    "Bursts of requests for which processors were kept awake.");
	OF_MOUNTS(promtext_sample, m->tally.bursts);
	GAUGE(p, "mount_pool_files", "Empty files that were made ahead.");
	OF_MOUNTS(promtext_sample, m->tally.pool);
}

/* ---- what manifest has to do ----------------------------------------------------- */

static void
jobs_ended(struct promtext *p, const struct metrics_all *a)
{
	static const char *const kinds[JOB_KINDS + 1] = { NULL, "commit",
		"reload", "restore" };
	const struct metrics_work *k;
	struct mount_labels l;
	uint32_t i;
	size_t kind;

	COUNTER(p, "mount_jobs_ended",
	    "Jobs that ended since manifest started, by kind and result.");
	for (i = 0; i < a->manifest.nworks; i++) {
		k = &a->manifest.works[i];
		(void)mount_is(&l, k->instance);
		l.l[1].name = "kind";
		l.l[2].name = "result";
		for (kind = 1; kind <= JOB_KINDS; kind++) {
			l.l[1].value = kinds[kind];
			l.l[2].value = "done";
			promtext_sample(p, l.l, 3, k->done[kind]);
			l.l[2].value = "failed";
			promtext_sample(p, l.l, 3, k->failed[kind]);
		}
	}
}

/* Of those of which there is something to say. */
#define OF_WORKS(there, v)                                                   \
	for (i = 0; i < a->manifest.nworks; i++) {                           \
		k = &a->manifest.works[i];                                   \
		if (there)                                                   \
			promtext_sample(p, mount_is(&l, k->instance), 1, v); \
	}

static void
work(struct promtext *p, const struct metrics_all *a)
{
	const struct metrics_work *k;
	struct mount_labels l;
	uint32_t i;

	GAUGE(p, "mount_dirty_names",
	    "Names with changes that no commit has, 10000 at most.");
	OF_WORKS(k->counted, k->names);
	GAUGE(p, "mount_dirty_files",
	    "Files and directories whose content or attributes no commit has, "
	    "10000 at most.");
	OF_WORKS(k->counted, k->objects);
	GAUGE(p, "mount_jobs",
	    "Commits, reloads and restores that wait or run.");
	OF_WORKS(1, k->jobs);
	jobs_ended(p, a);
	GAUGE(p, "mount_last_commit_time_seconds",
	    "When the last commit since manifest started was done, in seconds "
	    "since the epoch.");
	OF_WORKS(k->committed != 0, (uint64_t)k->committed);
	COUNTER(p, "mount_journal_bytes",
	    "Bytes of the journal in the database.");
	OF_WORKS(1, k->journal);
	GAUGE(p, "mount_overlay_bytes",
	    "What the files of the local changes take, where there is a limit.");
	OF_WORKS(k->limit != 0, k->overlay_used);
	GAUGE(p, "mount_overlay_limit_bytes",
	    "What the files of the local changes may take.");
	OF_WORKS(k->limit != 0, k->limit);
}

/* ---- cache ----------------------------------------------------------------------- */

static void
cache_sample(struct promtext *p, const struct metrics_all *a, uint64_t value)
{
	if (a->cache_in)
		promtext_sample(p, NULL, 0, value);
}

static void
cache(struct promtext *p, const struct metrics_all *a)
{
	GAUGE(p, "cache_bytes", "What the cache takes on disk.");
	cache_sample(p, a, a->cache.used);
	GAUGE(p, "cache_limit_bytes", "What it may take.");
	cache_sample(p, a, a->cache.limit);
	GAUGE(p, "cache_files", "Files in the cache.");
	cache_sample(p, a, a->cache.files);
	COUNTER(p, "cache_hits", "Chunks that were asked for and were there.");
	cache_sample(p, a, a->cache.hits);
	COUNTER(p, "cache_fetched_bytes", "Bytes of chunks that were fetched.");
	cache_sample(p, a, a->cache.fetched);
}

/* ---- the network ------------------------------------------------------------------ */

static void
fetch_samples(struct promtext *p, const struct metrics_all *a, size_t offset)
{
	static const char *const kinds[FETCH_CLASSES] = { [FETCH_OBJECTS] =
							      "object",
		[FETCH_REQUESTS] = "api" };
	struct promtext_label l[2] = { { .name = "fetcher" },
		{ .name = "kind" } };
	uint64_t value;
	char number[16];
	size_t i, kind;

	for (i = 0; i < METRICS_FETCHERS; i++)
		for (kind = 0; a->fetch_in[i] && kind < FETCH_CLASSES; kind++) {
			snprintf(number, sizeof(number), "%zu", i);
			l[0].value = number;
			l[1].value = kinds[kind];
			memcpy(&value,
			    (const char *)&a->fetch[i].of[kind] + offset,
			    sizeof(value));
			promtext_sample(p, l, 2, value);
		}
}

#define OF_FETCHERS(field)                                \
	fetch_samples(p, a,                               \
	    offsetof(struct fetch_numbers, of[0].field) - \
		offsetof(struct fetch_numbers, of[0]))

static void
network(struct promtext *p, const struct metrics_all *a)
{
	uint64_t answered = FETCH_NEVER, unanswered = FETCH_NEVER;
	size_t i;

	COUNTER(p, "fetch_tries", "Requests that were begun, each try counts.");
	OF_FETCHERS(tries);
	COUNTER(p, "fetch_repeats", "Tries that another one followed.");
	OF_FETCHERS(again);
	COUNTER(p, "fetch_failures", "Requests that ended without an answer.");
	OF_FETCHERS(failed);
	COUNTER(p, "fetch_sent_bytes", "Bytes of bodies that were sent.");
	OF_FETCHERS(sent);
	COUNTER(p, "fetch_received_bytes",
	    "Bytes of bodies that were received.");
	OF_FETCHERS(received);
	GAUGE(p, "fetch_running", "Requests under way.");
	OF_FETCHERS(running);
	GAUGE(p, "fetch_waiting", "Requests that wait for their turn.");
	OF_FETCHERS(waiting);
	for (i = 0; i < METRICS_FETCHERS; i++) {
		if (!a->fetch_in[i])
			continue;
		if (a->fetch[i].answered_ms < answered)
			answered = a->fetch[i].answered_ms;
		if (a->fetch[i].unanswered_ms < unanswered)
			unanswered = a->fetch[i].unanswered_ms;
	}
	GAUGE(p, "server_reachable",
	    "1: the server answered the last request that ended.");
	if (answered != FETCH_NEVER || unanswered != FETCH_NEVER)
		promtext_sample(p, NULL, 0, answered <= unanswered);
	GAUGE(p, "server_answer_age_seconds",
	    "How long ago the server answered.");
	if (answered != FETCH_NEVER)
		promtext_sample_milli(p, NULL, 0, answered);
}

char *
metrics_text(const struct metrics_all *all, size_t *len)
{
	static const struct metrics_manifest none;
	struct metrics_all a = *all;
	struct promtext p;

	if (!a.manifest_in)
		a.manifest = none;
	promtext_init(&p, TEXT_MAX);
	processes(&p, &a);
	mounts(&p, &a);
	work(&p, &a);
	cache(&p, &a);
	network(&p, &a);
	return (char *)wbuf_take(&p.out, len);
}
