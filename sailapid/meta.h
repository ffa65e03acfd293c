/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta: the inside of the meta process of sailapid(8): requests of the API on
 * their way from the queue over database, sign and sailvol-fetch to an answer.
 */
#ifndef SAILAPID_META_H
#define SAILAPID_META_H

#include <sys/queue.h>
#include <jansson.h>

#include "lib/fetch_imsg.h"
#include "lib/json_name.h"
#include "lib/memfd.h"
#include "lib/wire.h"
#include "sailapid/db.h"
#include "sailapid/sailapid_imsg.h"

struct req;
/* One step of a request.  It ends with an answer, or with req_sign or
   req_fetch, or with req_again: exactly one of them. */
typedef void (*req_step)(struct req *);

#define META_QUEUE_MAX 1024        /* requests at a time; then 503 */
#define META_ROUND 2048            /* objects asked for in one go */
#define META_JSON_MAX (256 * 1024) /* bytes of a JSON body */
#define META_WAIT_MS 90000         /* for sign and fetch, then 503 */
#define META_LIMIT_MAX 1000        /* of a page of a list */
#define META_CHUNK_MAX (1u << CHUNK_SHIFT_MAX)

/* What comes in; strings end with NUL, and are copied. */
struct meta_request {
	uint8_t method; /* enum api_method */
	const char *target, *host, *authorization, *peer;
	struct memfd_view body; /* the request owns it from meta_submit on */
};
struct meta_answer {
	uint16_t status;
	uint8_t type; /* enum api_type */
	const uint8_t *body;
	size_t len;
	uint8_t allow; /* of a 405: 1 << enum api_method each */
};
/* Called once for each request; body lives until it returns. */
typedef void (*meta_done)(void *arg, uint32_t id, const struct meta_answer *);

/*
 * How meta reaches the others: each sends one question, and gives back whom
 * it went to, or NULL when nobody is there at the moment.  An answer comes
 * later, never from within.
 */
struct meta_backend {
	void *(*sign)(uint32_t id, const struct sign_url *, uint16_t n);
	void *(*fetch)(uint32_t id, const struct fetch_url *);
	/* There is work: call meta_turn soon. */
	void (*wake)(void);
};
struct meta_settings {
	uint16_t store_port; /* embedded store: on the API's host; or 0 */
	char store_url[512]; /* scheme://host:port */
	uint32_t url_life_s;
};

/* ---- meta_req.c: the queue, turns, and questions to others --------------- */

/* db stays the caller's. */
void meta_init(struct db *, const struct meta_backend *,
    const struct meta_settings *);
void meta_fini(void); /* drops all requests without an answer */
void meta_submit(const struct meta_request *, meta_done, void *arg,
    uint32_t id);
/* Whoever waits at arg has gone: its answers are not wanted any more. */
void meta_forget(void *arg);
/* A turn: steps of what is ready, one transaction around all that they write,
   then the answers.  1 when more is ready. */
int meta_turn(void);
/* Once a second: time-outs, and what expires in the database. */
void meta_tick(void);
/* Answers; an id that is not known any more is passed over. */
int meta_signed(uint32_t id, const struct api_str *urls, uint16_t n);
void meta_fetched(uint32_t id, uint16_t status, uint8_t equal);
/* That peer has gone: what it was asked is asked again. */
void meta_peer_lost(const void *who);
/* A peer has come: what waits is sent. */
void meta_peer_found(void);

enum object_use {
	OBJECT_UPLOAD = 1, /* PUT by a client */
	OBJECT_DOWNLOAD,   /* GET by a client */
	OBJECT_LOOK,       /* HEAD by our fetch */
	OBJECT_VERIFY,     /* GET by our fetch, hashed */
	OBJECT_DELETE      /* DELETE by our fetch */
};
/* An object of the request's volume: what is wanted, and what came of it. */
struct object_url {
	struct hash hash;
	uint32_t bytes;
	uint8_t use;     /* enum object_use */
	char *url;       /* after req_sign; "" could not be signed */
	uint16_t status; /* after req_fetch; 0 no answer */
	uint8_t equal;
};

#define REQ_ARGS 4
struct req {
	TAILQ_ENTRY(req) all, entry;
	/* what came */
	uint8_t method;
	char *target, *host, *authorization, *peer;
	struct memfd_view body;
	meta_done done;
	void *arg;
	uint32_t id;
	/* found by the route */
	char *path;                 /* target without query, cut up */
	char *query;                /* or NULL */
	const char *args[REQ_ARGS]; /* what stands where the pattern has * */
	struct db_key key;
	struct db_volume vol;
	/* on its way */
	req_step next;
	int queued, finished, saved, lost;
	monotime_t since;
	struct object_url *objects; /* of the round under way */
	size_t nobjects;
	size_t pending; /* questions without an answer */
	void *state;    /* of its handler */
	void (*state_free)(void *);
	/* its answer */
	uint16_t status;
	uint8_t type;
	uint8_t *answer;
	size_t answer_len;
	uint8_t allow;
};
TAILQ_HEAD(req_list, req);

struct db *meta_db(void);
/*
 * Before the first write of a step: from here on all that the step writes is
 * kept if the step does not end with an answer of 400 or more, else undone.
 * -1: the request was answered.
 */
int req_write(struct req *);
/* Room for n objects, all zero; -1: the request was answered. */
int req_objects(struct req *, size_t n);
/* Asks sign for all objects' URLs, then runs next. */
void req_sign(struct req *, req_step next);
/* Has all objects looked at, verified or deleted, then runs next. */
void req_fetch(struct req *, req_step next);
/* Runs next in this turn or a later one. */
void req_again(struct req *, req_step next);
/* A request of our own about the same volume, without anybody who waits.
   NULL: too many. */
struct req *req_spawn(const struct req *, req_step);

/* Answers. */
void req_none(struct req *, uint16_t status);
void req_json(struct req *, uint16_t status, json_t *); /* takes it */
void req_text(struct req *, uint16_t status, const char *json);
void req_binary(struct req *, uint8_t *, size_t); /* takes it */
/* The type follows from the status. */
void req_error(struct req *, uint16_t status, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
/* The object of an error, for answers with more beside it. */
json_t *error_json(uint16_t status, const char *code, const char *message);
/* By errno, with a log line where it is ours to mend. */
void req_errno(struct req *, const char *what);

/* ---- meta_route.c -------------------------------------------------------- */

/* The first step of each request: route, key, role, volume. */
void meta_route(struct req *);
/* A parameter of the query, unescaped, into out: 1, 0 none, -1 too long. */
int req_query(const struct req *, const char *name, char *out, size_t size);
/* A number of the query, or its default; -1: the request was answered. */
int req_query_number(struct req *, const char *name, uint32_t max, uint32_t *n);
/* A hash of the query: 1, 0 none; -1: the request was answered. */
int req_query_hash(struct req *, const char *name, struct hash *);
/* The body as a JSON object (an empty one when there is none); NULL: the
   request was answered. */
json_t *req_body_json(struct req *);
/* Optional members: 1 there, 0 not; -1: answered, for its type is wrong. */
int req_member_string(struct req *, json_t *, const char *, const char **);
int req_member_bool(struct req *, json_t *, const char *, int *);

/* ---- values in JSON (meta_json.c) ---------------------------------------- */

json_t *json_time(int64_t ns);
json_t *json_hash(const struct hash *);
json_t *json_id(const char *word, const uint8_t *, size_t len);
json_int_t json_count(uint64_t); /* 2^63 - 1 at most */
json_t *json_commit(const struct hash *, const struct commit *);

/* ---- what several handlers need (meta_tree.c) ---------------------------- */

/* A commit of the volume: views into the blob, which the caller unrefs.  NULL:
   ENOENT, EIO (logged), or the database's. */
struct blob *meta_commit_load(const struct db_volume *, const struct hash *,
    struct commit *);
/*
 * The entry at path below root.  0 and views that need *keep (or NULL); -1 and
 * ENOENT, or EIO after a log line.
 */
int meta_find(const struct node_store *, const struct entry *root,
    const uint8_t *path, size_t len, struct entry *, struct blob **keep);

/*
 * The nodes of a directory and of what is below it, breadth first, those left
 * out that the old one has, to a budget.
 */
struct walk_target {
	const struct node_store *store;
	const struct entry *entry; /* a directory, or a file */
	const struct entry *old;   /* or NULL */
	const uint8_t *first;      /* names from here on */
	size_t first_len;
	uint32_t budget;
	uint32_t depth; /* directories below */
};
/* 1 complete, 0 the budget ended it, -1 and errno (ENODATA, EBADMSG ...). */
int meta_walk(const struct walk_target *, struct wire_bundle_writer *);

/* ---- handlers ------------------------------------------------------------ */

void meta_whoami(struct req *);
void meta_key_list(struct req *);
void meta_key_create(struct req *);
void meta_key_revoke(struct req *);
void meta_volume_list(struct req *);
void meta_volume_create(struct req *);
void meta_volume_show(struct req *);
void meta_volume_delete(struct req *);
void meta_head(struct req *);
void meta_nodes(struct req *);
void meta_session_put(struct req *);
void meta_session_get(struct req *);
void meta_session_chunks(struct req *);
void meta_commit(struct req *);
void meta_locate(struct req *);
void meta_report(struct req *);
void meta_lease_put(struct req *);
void meta_lease_delete(struct req *);
void meta_log_list(struct req *);
void meta_log_show(struct req *);

/* The session of the path (args[1]): 1, or the request was answered: 0. */
int req_session(struct req *, struct db_session *);

#endif
