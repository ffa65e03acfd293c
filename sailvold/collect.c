/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * collect: what a mount has changed, collected in slices: a mount may have
 * millions of changed names, and manifest serves all mounts.
 *
 * The set is of one moment, although it takes many: the mount's rows change
 * through its journal, through what a commit has published, and through a
 * reload.  The journal is held: what its programs change meanwhile stands in
 * it, is acknowledged as ever, and is applied afterwards, behind set->mark, as
 * that is what a commit takes for published (programs wait only for directories
 * that fuse does not know).  Whatever changes the rows all the same (a commit or
 * a reload ends while somebody asks for a diff; an umount asks what is dirty; a
 * fuse that is started has what it needs applied, and is waited for) says so by
 * rows_changed, and the collection begins anew.  Nobody is held for ever: a diff
 * or a commit begins when the journal was applied to where it was asked for, and
 * diffs of a mount come one by one; and programs that are parked for a reload
 * wait for no stranger's diff: that begins anew after it.
 * In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/collect.h"
#include "sailvold/delta_set.h"
#include "sailvold/turns.h"

#define ANEW_MAX 20
#define DROP_AT_ONCE 1000
#define DROP_STEP 100

struct collecting {
	TAILQ_ENTRY(collecting) link;
	struct turn turn;
	struct mount *m;
	struct collecting **where;
	const struct collect_first *first; /* the reload's own; NULL */
	int holds;                         /* the journal */
	unsigned int attempt, anew;
	uint64_t rows_changed; /* when it began */
	struct delta_walk *walk;
	collect_cb f;
	void *arg;
};
static TAILQ_HEAD(, collecting) all = TAILQ_HEAD_INITIALIZER(all);
static TAILQ_HEAD(, collect_first) firsts = TAILQ_HEAD_INITIALIZER(firsts);

/* ---- what is not needed any more ------------------------------------------------- */

struct dropped {
	struct turn turn;
	struct delta_set set;
};

static int
drop_step(void *arg)
{
	struct dropped *d = arg;

	if (delta_set_free_some(&d->set, DROP_STEP))
		return 1;
	turn_end(&d->turn);
	free(d);
	return 0;
}

void
collect_drop(struct delta_set *set)
{
	struct dropped *d;

	if (set->n > DROP_AT_ONCE && (d = calloc(1, sizeof(*d))) != NULL) {
		d->set = *set;
		memset(set, 0, sizeof(*set));
		if (turn_begin(&d->turn, drop_step, d) == 0)
			return;
		*set = d->set;
		free(d);
	}
	delta_set_free(set);
}

static void
walk_drop(struct collecting *c)
{
	struct delta_set set;

	if (c->walk == NULL)
		return;
	delta_walk_take(c->walk, &set);
	delta_walk_free(c->walk);
	c->walk = NULL;
	collect_drop(&set);
}

/* ---- the collection ---------------------------------------------------------------- */

static void
hold(struct collecting *c)
{
	if (!c->holds)
		journal_hold(c->m);
	c->holds = 1;
}

static void
let(struct collecting *c)
{
	if (c->holds)
		journal_let(c->m);
	c->holds = 0;
}

static void
collecting_free(struct collecting *c)
{
	*c->where = NULL;
	TAILQ_REMOVE(&all, c, link);
	turn_end(&c->turn);
	walk_drop(c);
	let(c);
	free(c);
}

static void
finish(struct collecting *c, int error, struct node_miss *miss)
{
	collect_cb f = c->f;
	void *arg = c->arg;
	struct delta_set set;

	memset(&set, 0, sizeof(set));
	if (error == 0)
		delta_walk_take(c->walk, &set);
	collecting_free(c);
	f(arg, error, &set, miss);
}

/* A reload comes first. */
static int
is_second(const struct collecting *c)
{
	const struct collect_first *first;

	TAILQ_FOREACH (first, &firsts, link)
		if (first->m == c->m && c->first == NULL)
			return 1;
	return 0;
}

/* Else batch by batch all that there is in the journal is being applied. */
static int
may_look(const struct collecting *c)
{
	return (c->m->started || c->m->broken) && !is_second(c);
}

static int
collect_step(void *arg)
{
	struct collecting *c = arg;
	struct node_miss miss;
	int rc = -1;

	memset(&miss, 0, sizeof(miss));
	if (!may_look(c)) {
		turn_end(&c->turn);
		return 0;
	}
	if (c->walk != NULL && c->rows_changed != c->m->rows_changed) {
		walk_drop(c);
		if (++c->anew > ANEW_MAX) {
			finish(c, EBUSY, &miss);
			return 0;
		}
	}
	if (c->walk == NULL) {
		c->rows_changed = c->m->rows_changed;
		c->walk = delta_walk_begin(manifest_db, &c->m->row, c->attempt,
		    0, NULL, NULL);
	}
	if (c->walk != NULL && (rc = delta_walk_step(c->walk, &miss)) == 1)
		return 1;
	/* A part of it must never be taken for all. */
	if (rc == -1)
		finish(c, errno != 0 ? errno : EIO, &miss);
	else
		finish(c, 0, &miss);
	return 0;
}

static int
begin(struct mount *m, const struct collect_first *first,
    struct collecting **where, unsigned int attempt, collect_cb f, void *arg)
{
	struct collecting *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return -1;
	c->m = m;
	c->first = first;
	c->where = where;
	c->attempt = attempt;
	c->f = f;
	c->arg = arg;
	*where = c;
	TAILQ_INSERT_TAIL(&all, c, link);
	if (is_second(c))
		return 0; /* collect_first_end() */
	hold(c);
	if (turn_begin(&c->turn, collect_step, c) == 0)
		return 0;
	collecting_free(c);
	errno = ENOMEM;
	return -1;
}

int
collect_begin(struct mount *m, struct collecting **where, unsigned int attempt,
    collect_cb f, void *arg)
{
	return begin(m, NULL, where, attempt, f, arg);
}

int
collect_begin_first(struct collect_first *first, struct collecting **where,
    unsigned int attempt, collect_cb f, void *arg)
{
	return begin(first->m, first, where, attempt, f, arg);
}

void
collect_first(struct collect_first *first, struct mount *m)
{
	struct collecting *c;

	if (first->m != NULL)
		return;
	first->m = m;
	TAILQ_INSERT_TAIL(&firsts, first, link);
	TAILQ_FOREACH (c, &all, link)
		if (is_second(c)) {
			turn_end(&c->turn);
			walk_drop(c);
			let(c);
		}
}

void
collect_first_end(struct collect_first *first)
{
	struct mount *m = first->m;

	if (m == NULL)
		return;
	TAILQ_REMOVE(&firsts, first, link);
	first->m = NULL;
	collect_go_on(m);
}

void
collect_stop(struct collecting *c)
{
	if (c != NULL)
		collecting_free(c);
}

void
collect_go_on(struct mount *m)
{
	struct collecting *c;
	struct node_miss miss;

	memset(&miss, 0, sizeof(miss));
	do {
		TAILQ_FOREACH (c, &all, link)
			if (c->m == m && !c->turn.in_line && may_look(c))
				break;
		if (c != NULL)
			hold(c);
		if (c != NULL && turn_begin(&c->turn, collect_step, c) == -1)
			finish(c, ENOMEM, &miss);
	} while (c != NULL);
}

void
collect_mount_gone(struct mount *m)
{
	struct collecting *c;
	struct node_miss miss;

	memset(&miss, 0, sizeof(miss));
	do {
		TAILQ_FOREACH (c, &all, link)
			if (c->m == m)
				break;
		if (c != NULL)
			finish(c, ENODEV, &miss);
	} while (c != NULL);
}
