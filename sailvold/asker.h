/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * asker: who made a request and hears its answer; shared by control.c (ctl and
 * dispatch), control_request.c (what can be asked), control_client.c (the
 * control socket) and status.c.  In manifest.
 */
#ifndef SAILVOLD_ASKER_H
#define SAILVOLD_ASKER_H

#include "sailvold/job.h"

#define CONTROL_LINE_MAX (64 * 1024)

struct client;
struct asker {
	TAILQ_ENTRY(asker) link;
	struct listener l;
	uint64_t id; /* for callbacks: it may be gone when they come */
	uint32_t uid, gid, pid;
	/* ctl */
	struct mount *m;
	uint64_t session, offset;
	/* control socket */
	struct client *client;
	char *umount_path; /* to be unmounted once the commit is done */
	int umount_force;
};

struct asker *asker_new(uint32_t uid, uint32_t gid, uint32_t pid);
struct asker *asker_find(uint64_t id);
/* By the number that the parent knows it by: the lower half of its id. */
struct asker *asker_by_number(uint32_t number);
/* The last line (taken) is sent; the asker is gone. */
void asker_answer(struct asker *, json_t *);
void asker_error(struct asker *, const char *type, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Nobody hears it any more. */
void asker_gone(struct asker *);
/* A request's line: an answer comes, at once or later. */
void asker_request(struct asker *, const char *line, size_t len);

/* control_request.c */
void request_dispatch(struct asker *, json_t *);
void umount_continue(struct asker *, const char *commit_answer);

/* control_client.c: a line for a client; last: its next request is read. */
void client_line(struct client *, const char *text, int last);
/* 1 when that is its group, or one of its supplementary ones. */
int client_in_group(const struct client *, uint32_t gid);

/* status.c */
json_t *status_of_mount(struct mount *);
/* 1 when the user may read, or (write set) write in the mount's root. */
int mount_permits(struct mount *, const struct asker *, int write);

#endif
