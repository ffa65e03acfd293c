/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_line: whose step is the next.  The requests of a key stand in a line of
 * their own, and the lines take turns: who sends a hundred requests waits for
 * himself, and another for one step of his.  In meta.
 */
#include <sys/tree.h>
#include <stdlib.h>

#include "sailapid/meta.h"

struct line {
	RB_ENTRY(line) entry;
	TAILQ_ENTRY(line) turn; /* of those in which somebody stands */
	struct req_list reqs;
	int64_t key;       /* its row; 0: of no key, what is the server's own */
	unsigned int refs; /* requests, whether they stand or not */
};

static int
line_cmp(const struct line *a, const struct line *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

RB_HEAD(lines, line);
RB_PROTOTYPE(lines, line, entry, line_cmp)
RB_GENERATE(lines, line, entry, line_cmp)

static struct lines lines = RB_INITIALIZER(&lines);
static TAILQ_HEAD(, line) turns = TAILQ_HEAD_INITIALIZER(turns);

int
line_join(struct req *req)
{
	struct line find = { .key = req->key.id }, *l;

	if ((l = RB_FIND(lines, &lines, &find)) == NULL) {
		if ((l = calloc(1, sizeof(*l))) == NULL)
			return -1;
		TAILQ_INIT(&l->reqs);
		l->key = find.key;
		RB_INSERT(lines, &lines, l);
	}
	l->refs++;
	req->line = l;
	return 0;
}

void
line_leave(struct req *req)
{
	struct line *l = req->line;

	req->line = NULL;
	if (l == NULL || --l->refs > 0)
		return;
	RB_REMOVE(lines, &lines, l);
	free(l);
}

void
line_add(struct req *req, int first)
{
	struct line *l = req->line;

	if (TAILQ_EMPTY(&l->reqs))
		TAILQ_INSERT_TAIL(&turns, l, turn);
	if (first)
		TAILQ_INSERT_HEAD(&l->reqs, req, entry);
	else
		TAILQ_INSERT_TAIL(&l->reqs, req, entry);
}

void
line_remove(struct req *req)
{
	struct line *l = req->line;

	TAILQ_REMOVE(&l->reqs, req, entry);
	if (TAILQ_EMPTY(&l->reqs))
		TAILQ_REMOVE(&turns, l, turn);
}

struct req *
line_next(void)
{
	struct line *l = TAILQ_FIRST(&turns);

	if (l == NULL)
		return NULL;
	/* Its others come behind those of all others. */
	TAILQ_REMOVE(&turns, l, turn);
	TAILQ_INSERT_TAIL(&turns, l, turn);
	return TAILQ_FIRST(&l->reqs);
}

int
line_any(void)
{
	return !TAILQ_EMPTY(&turns);
}
