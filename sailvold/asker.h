/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * asker: who made a request and hears its answer; shared by control.c (ctl and
 * dispatch), control_request.c (what can be asked), control_umount.c,
 * control_client.c (the control socket) and status.c.  In manifest.
 */
#ifndef SAILVOLD_ASKER_H
#define SAILVOLD_ASKER_H

#include "sailvold/job.h"
#include "sailvold/parent_ask.h"

struct client;
struct asker {
	TAILQ_ENTRY(asker) link;
	struct listener l;
	uint64_t id; /* for callbacks: it may be gone when they come */
	/* Of the machine; through ctl the volume's, which say nothing of what
	   he may: that its mode has decided. */
	uint32_t uid, gid, pid;
	/* ctl */
	struct mount *m;
	uint64_t session, offset;
	/* control socket */
	struct client *client;
	/* control_umount.c */
	char *umount_path;
	int umount_unasked;        /* its commit: the configuration says so */
	int umount_keep;           /* what is not published stays */
	int umount_to_stash;       /* its job is to put them away */
	int umount_sent;           /* the parent is asked */
	char *umount_commit;       /* what it published */
	json_t *umount_stash;      /* or put away */
	char *umount_note;         /* what was not, and why */
	struct event *umount_late; /* it is waited for no longer */
};

/* The machine's. */
static inline int
asker_is_root(const struct asker *a)
{
	return a->client != NULL && a->uid == 0;
}

/* The number that the parent knows it by: the lower half of its id. */
static inline uint32_t
asker_number(const struct asker *a)
{
	return (uint32_t)a->id;
}

struct asker *asker_new(uint32_t uid, uint32_t gid, uint32_t pid);
struct asker *asker_find(uint64_t id);
struct asker *asker_by_number(uint32_t number);
/* The last line (taken) is sent; the asker is gone. */
void asker_answer(struct asker *, json_t *);
void asker_error(struct asker *, const char *type, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Nobody hears it any more. */
void asker_gone(struct asker *);
/* A request's line: an answer comes, at once or later. */
void asker_request(struct asker *, const char *line, size_t len);

int control_is_ending(void); /* sailvold is */

/* control_request.c */
void request_dispatch(struct asker *, json_t *);
void add_job(struct asker *, struct mount *, uint8_t kind, json_t *req);
/* In the name of its client, which it has: none of these comes through ctl. */
void ask_parent(struct asker *, struct parent_req *);
const char *item_kind(uint8_t kind);

/* control_diff.c: what a commit would publish. */
void diff_request(struct asker *, struct mount *, json_t *);

/* control_umount.c */
void umount_request(struct asker *, struct mount *, json_t *);
/* The answer of the job before it. */
void umount_continue(struct asker *, const char *answer);
/* sailvold ends: one with keep waits for nothing more, others are told so. */
void umount_soon(struct asker *);
/* "; its changes were ..": what was done before an umount that fails, or "". */
void umount_done_before(const struct asker *, char *text, size_t size);

/* control_client.c: a line for a client; last: its next request is read. */
void client_line(struct client *, const char *text, int last);
/* What shows the parent who asks, in the request and as a descriptor; -1. */
int client_socket(const struct client *, struct parent_req *);
/* The parent is asked: of root it takes the line from the socket. */
void client_asked(struct client *);
/* The parent did not take it from there: there is no next request. */
void client_refused(struct client *);
/* 1 when that is its group, or one of its supplementary ones. */
int client_in_group(const struct client *, uint32_t gid);

/* status.c */
json_t *status_of_mount(struct mount *);
/* 1 when the user may read, or (write set) write in the mount's root. */
int mount_permits(struct mount *, const struct asker *, int write);

#endif
