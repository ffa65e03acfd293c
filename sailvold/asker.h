/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * asker: whoever sent a line of JSON: a session of a mount's .sailvol/ctl, or a
 * client of the control socket; and the requests they may make
 * (sailvol-ctl(5)).  In manifest.
 */
#ifndef SAILVOLD_ASKER_H
#define SAILVOLD_ASKER_H

#include "sailvold/job.h"

struct asker {
	TAILQ_ENTRY(asker) link;
	struct mount *m; /* of a session of ctl; NULL: the control socket */
	uint64_t session, offset;
	uint32_t uid, gid, pid;
	struct listener listener;
	uint32_t server_number; /* of server_request, while one is under way */
	uint32_t parent_number; /* of the parent's answer that is awaited */
	/* A commit before an umount: the request goes on when it is done. */
	json_t *after;
	/* Sends a line; last: the session ends with it.  The asker is freed
	   by then, or later when its client has read it. */
	void (*send)(struct asker *, const char *text, int last);
};

/* Handles a line; answers at once or later, by asker->send. */
void asker_line(struct asker *, const void *line, size_t len);
/* Takes back what it waits for; the jobs go on. */
void asker_leave(struct asker *);
/* Sends {"result": ..} or {"error": ..} as the last line.  json is taken. */
void asker_answer(struct asker *, json_t *json);
void asker_error(struct asker *, const char *type, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void asker_init(struct asker *);

/* ---- answers that come at once (status.c, stash.c, diff.c) -------------------- */

/* {"result": ..} or {"error": ..}. */
json_t *status_of_mount(struct mount *);
/* What the parent said of itself and its processes, and all mounts. */
json_t *status_of_all(uint32_t uid, uint32_t gid, const char *parent,
    size_t len);
/* list, show, drop; m NULL: of all mounts (root). */
json_t *stash_request(struct mount *m, json_t *request);
json_t *diff_request(struct mount *m, json_t *request);

#endif
