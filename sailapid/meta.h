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
#include "sailapid/numbers.h"
#include "sailapid/sailapid_imsg.h"
#include "sailapid/view.h"
#include "sailapid/work.h"

struct req;
struct line;
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
	uint8_t method;  /* enum api_method */
	uint8_t tls;     /* it came by TLS */
	uint8_t metrics; /* by the socket of /metrics: without a key */
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
	/* Who was asked to fetch that need not; an answer may come. */
	void (*cancel)(void *who, uint32_t id);
	/* There is work: call meta_turn soon. */
	void (*wake)(void);
	/* Runs it in a thread: as many at a time as there are; work_end(): nothing runs there any more. */
	void (*work)(struct work *);
	void (*work_end)(void);
	/* The store is not that of this database: the server is to end. */
	void (*refuse)(void);
};
struct meta_settings {
	uint16_t store_port; /* embedded store: on the API's host; or 0 */
	uint8_t store_tls;   /* it speaks TLS there */
	char store_url[512]; /* scheme://host:port: for us, or for all */
	uint32_t url_life_s;
	uint32_t survey_s; /* between surveys; 0: none but what is asked for */
};

/* ---- meta_req.c: the queue, turns, and questions to others --------------- */

/* All connections stay the caller's; each thread has one. */
void meta_init(struct db *, struct db *const *, size_t nthreads,
    const struct meta_backend *, const struct meta_settings *);
void meta_fini(void); /* drops all requests without an answer */
void meta_submit(const struct meta_request *, meta_done, void *arg,
    uint32_t id);
/* Whoever waits at arg has gone: its answers are not wanted any more. */
void meta_forget(void *arg);
/* One answer is not wanted any more.  It comes, at once if the request has not
   begun. */
void meta_unwanted(void *arg, uint32_t id);
/* 1: the next turn could take more than what is ready. */
int meta_room(void);
/* A turn: steps of what is ready, one transaction around all that they write,
   then the answers.  1 when more is ready. */
int meta_turn(void);
/* Once a second: time-outs, and what expires in the database. */
void meta_tick(void);
/* Answers; an id that is not known any more is passed over. */
int meta_signed(uint32_t id, const struct api_str *urls, uint16_t n);
/* data: n bytes, one for each part of a pack, or a page of the bucket; NULL when
   nothing came. */
void meta_fetched(uint32_t id, const struct fetch_url_res *,
    const uint8_t *data, size_t n);
/* That peer has gone: what it was asked is asked again. */
void meta_peer_lost(const void *who);
/* A peer has come: what waits is sent. */
void meta_peer_found(void);

enum object_use {
	OBJECT_UPLOAD = 1, /* PUT by a client */
	OBJECT_DOWNLOAD,   /* GET by a client */
	OBJECT_LOOK,       /* HEAD by our fetch */
	OBJECT_VERIFY, /* GET by our fetch, hashed; with an index its parts */
	OBJECT_DELETE, /* DELETE by our fetch */
	OBJECT_MARK,   /* PUT of nothing by our fetch */
	OBJECT_LIST    /* GET of the bucket by our fetch: a page */
};
/* An object of the request's volume: what is wanted, and what came of it. */
struct object_url {
	struct hash hash;
	struct db_family family; /* req_family(), if nobody says another */
	uint32_t bytes;
	uint8_t use; /* enum object_use */
	/* DOWNLOAD: that part of it alone; length 0: the whole */
	uint64_t offset;
	uint32_t length;
	/* LOOK: signed as an upload with headers that must not be sent */
	uint8_t absent;
	/* VERIFY: of a pack; right is set to 1 for what is as it should be */
	const struct fetch_part *index;
	uint32_t nindex;
	uint8_t *right;
	char *url;       /* after req_sign; "" could not be signed */
	uint16_t status; /* after req_fetch; 0 no answer */
	uint8_t equal;
	uint64_t said; /* its length, by the store; 0: unknown */
	/* of the store itself: its name, and all of the answer */
	const char *key;
	struct fetch_url_res *res;
	/* LIST: of which keys; and those, with status 200 */
	const char *query;
	struct fetch_list *page;
};

#define OBJECT_KEY_LEN (2 * DB_ID_LEN + 4 + HASH_HEX_LEN)
/* Its name in the store (meta_ask.c). */
void object_key(const struct object_url *, char out[OBJECT_KEY_LEN + 1]);

/* What META_SEARCHES may do at a time, and of one key one: its trees are held
   from one part of the work to the next. */
enum req_search { REQ_NO_SEARCH = 0, REQ_WOULD_SEARCH, REQ_SEARCHES };

#define REQ_ARGS 4
struct req {
	TAILQ_ENTRY(req) all, entry;
	/* what came */
	uint8_t method, tls, metrics;
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
	int authorized; /* by that key, which is looked at before each step */
	struct db_volume vol;
	struct db_grant *grant; /* of a limited key: what it may see of vol */
	int apart;              /* what it uploads is apart, in its annex */
	/* on its way */
	struct line
	    *line; /* it stands in that; NULL: nobody knows its key yet */
	req_step next;
	int queued, finished, saved, lost, to_work, lazy;
	/* Waits for what the store is found to be: 1, or 2, asked from now on. */
	int at_store;
	req_step then; /* of req_upload */
	struct work work;
	size_t thread;   /* that works on it */
	int large;       /* the work, whatever the body is */
	atomic_int stop; /* the work should fail with ECANCELED */
	enum req_search search;
	int64_t merges; /* a volume; 0 */
	int holds;      /* that volume: no other merge of its kind begins */
	TAILQ_ENTRY(req) held;
	void (*run)(struct req *, struct db *);
	char said[512]; /* by the database, in the thread */
	monotime_t since;
	struct object_url *objects; /* of the round under way */
	size_t nobjects;
	size_t pending; /* questions without an answer */
	void *state;    /* of its handler */
	void (*state_free)(void *);
	char *audit; /* what it changed */
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
/*
 * The same for what a power failure within a second or so may take although it
 * was answered: a session and what it was told.  Whoever misses them begins
 * again: a commit names nothing that is not looked up again.
 */
int req_write_lazy(struct req *);
/* Room for n objects, all zero; -1: the request was answered. */
int req_objects(struct req *, size_t n);
/* Asks sign for all objects' URLs, then runs next. */
void req_sign(struct req *, req_step next);
/* Has all objects looked at, verified or deleted, then runs next. */
void req_fetch(struct req *, req_step next);
/*
 * Runs next when it is known how the store is; anew: by an answer to what it is
 * asked from now on.
 */
void req_store(struct req *, req_step next, int anew);
/* It was asked, and that began then: how many wait for the next time. */
size_t req_store_judged(monotime_t began);
/* meta ends: whatever runs in the thread should fail with ECANCELED. */
const atomic_int *meta_stop(void);
/* Runs next in this turn or a later one. */
void req_again(struct req *, req_step next);
/* The same, before the others of its key: they would keep what it holds. */
void req_again_first(struct req *, req_step next);
/* A request of our own about the same volume, without anybody who waits.
   NULL: too many. */
struct req *req_spawn(const struct req *, req_step);
/* The same, about no volume; however many there are, for they may wait for it. */
struct req *req_first(req_step);
/* The same, about the volumes of a family. */
struct req *req_own(const char *name, int64_t family,
    const uint8_t family_public[DB_ID_LEN], req_step);

/* Answers. */
void req_none(struct req *, uint16_t status);
void req_json(struct req *, uint16_t status, json_t *); /* takes it */
/* The same; nothing of that member, a secret, is left here. */
void req_json_secret(struct req *, uint16_t status, json_t *, const char *);
void req_text(struct req *, uint16_t status, const char *json);
void req_binary(struct req *, uint8_t *, size_t); /* takes it */
/* The type follows from the status. */
void req_error(struct req *, uint16_t status, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
/* The object of an error, for answers with more beside it. */
json_t *error_json(uint16_t status, const char *code, const char *message);
/* By errno, with a log line where it is ours to mend. */
void req_errno(struct req *, const char *what);

/*
 * What a request changes, in words name=value: a line of the log, with who asked
 * for it, once its answer says that it was done.  No secrets, and no text that a
 * client may choose freely.
 */
void req_audit(struct req *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, of its volume as it is now: volume and name first; fmt: what else,
   or NULL. */
void req_audit_volume(struct req *, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void audit_log(const struct req *);

/* ---- meta_route.c -------------------------------------------------------- */

/* Before all steps: 0, and the key is in req, or -1: answered. */
int meta_route_key(struct req *);
/* The first step of each request: route, role, volume. */
void meta_route(struct req *);
/* The table of routes says of each who may come; else fatal. */
void meta_route_init(void);
/* The key that authorized the request still opens something, and may still see
   all that it was let see: 1; 0: answered. */
int meta_route_still(struct req *);
/* The volume is one that the key may see: 1, with its grant in *g if it is
   limited; 0; -1. */
int req_sees(const struct req *, const struct db_volume *, struct db_grant *);
/* For the rows of lists: its id, if the key is limited, or 0. */
int64_t req_limited(const struct req *);
/* The key is limited to a part of the volume. */
int req_cut(const struct req *);
/* The family of what is uploaded by this request, and of what it may know to
   be there. */
struct db_family req_family(const struct req *);
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

/* ---- meta_line.c: whose step is the next ------------------------------------ */

/* The line of req->key, from now on; -1 and ENOMEM. */
int line_join(struct req *);
void line_leave(struct req *); /* it stands in none */
void line_add(struct req *, int first);
void line_remove(struct req *);
/* Who is to have the next step, or NULL; he still stands. */
struct req *line_next(void);
int line_any(void); /* somebody stands */

/* ---- meta_threads.c: what takes long ---------------------------------------- */

#define META_THREADS 3
#define META_SEARCHES 2

void threads_init(struct db *const *, size_t n, void (*work)(struct work *));
/*
 * After this turn, when what it wrote is there for all, and when it is the turn
 * of its key: runs run in a thread, with its own connection, then next.  Of the
 * request run touches its state alone.
 */
void req_work(struct req *, void (*run)(struct req *, struct db *),
    req_step next);
/*
 * The same for a merge into the request's volume.  From the beginning of run to the
 * end of next nobody else is given work of that kind: each one that published would
 * make the work of all others stale.
 */
void req_work_alone(struct req *, void (*run)(struct req *, struct db *),
    req_step next);
/* Its step has ended: another may merge. */
void threads_release(struct req *);
/* It is of those of which one at a time is worked on: req->large, or its body. */
int threads_large(const struct req *);
/* It has an answer already. */
void threads_forget(struct req *);
/* Stops merges of keys that were revoked.  Once a second. */
void threads_tick(void);
/* At the end of a turn. */
void threads_start(void);

/* ---- values in JSON (meta_json.c) ---------------------------------------- */

json_t *json_time(int64_t ns);
json_t *json_hash(const struct hash *);
json_t *json_id(const char *word, const uint8_t *, size_t len);
json_int_t json_count(uint64_t); /* 2^63 - 1 at most */
json_t *json_commit(const struct hash *, const struct commit *);

/* ---- what several handlers need (meta_tree.c) ---------------------------- */

/* The volume's commits as the key may see them: handlers read no others.  Ended
   by view_free(). */
void req_view(struct req *, struct view *);
/* Answers why view_commit() gave none, or tree_find(), by errno. */
void meta_commit_failed(struct req *);
void meta_path_failed(struct req *);

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
/*
 * The target's store and first, and the writer, outlive the walk; entries do not
 * have to.  NULL and errno (ENOMEM, ENODATA ...).  A step takes about until that
 * time: 1 complete, 0 the budget ended it, WALK_MORE, -1 and errno (ENODATA,
 * EBADMSG ...).
 */
#define WALK_MORE 2
struct meta_walk *meta_walk_begin(const struct walk_target *,
    struct wire_bundle_writer *);
int meta_walk_step(struct meta_walk *, monotime_t until);
void meta_walk_end(struct meta_walk *); /* or NULL */

/* ---- handlers ------------------------------------------------------------ */

void meta_whoami(struct req *);
void meta_key_list(struct req *);
void meta_key_create(struct req *);
void meta_key_revoke(struct req *);
void meta_volume_list(struct req *);
void meta_volume_create(struct req *);
void meta_volume_show(struct req *);
void meta_volume_delete(struct req *);
void meta_volume_restore(struct req *);
void meta_volume_rename(struct req *);
void meta_volume_fork(struct req *);
void meta_head(struct req *);
void meta_nodes(struct req *);
void meta_session_put(struct req *);
void meta_session_get(struct req *);
void meta_session_chunks(struct req *);
void meta_session_packs(struct req *);
void meta_commit(struct req *);
void meta_locate(struct req *);
void meta_report(struct req *);
void meta_lease_put(struct req *);
void meta_lease_delete(struct req *);
void meta_log_list(struct req *);
void meta_log_show(struct req *);
void meta_diff(struct req *);

/* ---- the store's clock (meta_clock.c) ------------------------------------ */

void clock_init(void);
/* Once a second: has the store asked, when our own clock was set. */
void clock_tick(void);
/* An answer of the store's: its clock less ours, 0 where they may be equal.  What
   is far from the answers before counts when the next says the same. */
void clock_saw(int64_t skew_ms);
/* By more than URLs can be signed for. */
int clock_too_far(void);
/* Added to our time when a URL is signed. */
int32_t clock_offset_s(void);

/* ---- how the store is (meta_store.c) --------------------------------------- */

void store_init(const struct meta_backend *, const struct meta_settings *);
/* Once a second: asks it, when nobody did for long, or it was not good. */
void store_tick(void);
/* Now, unless that is under way. */
void store_ask(void);
/* With the next tick: something was mended, perhaps. */
void store_ask_soon(void);
/* What came of an object. */
void store_said(const struct object_url *, const struct fetch_url_res *);
/* The store calls an error so that is none of an object. */
int store_code_of_all(const char *code);
/* The store takes URLs that sign which headers must not be sent. */
int store_absent(void);
/* It cannot be used: 1, the request was answered, in words; 0. */
int store_refuses(struct req *);
/* How it is was found out since then: who waited for it may hear that it was not
   asked, or did not answer. */
int store_judged_since(monotime_t);
/* It is not that of the database: what it has, and has not, says nothing. */
int store_strange(void);
/* It was asked, and is good. */
int store_good(void);
/* That object is its mark. */
int store_is_mark(const char *key, size_t len);
/* As req_sign() for uploads, when it is known how to sign them; or answers why
   there can be none. */
void req_upload(struct req *, req_step next);

/* ---- verification (meta_check.c) ----------------------------------------- */

void check_init(void);
/* Once a second: packs that nobody has read yet. */
void check_tick(void);
/* That pack was confirmed, and is to be read. */
void check_due(int64_t row);
/* The same at once, for it is in doubt: nobody is told to bring it until then.
   0, or -1 and errno. */
int check_now(struct req *, int64_t family, const struct hash *object);
/*
 * A place that was bad is wanted, and there is no better one: its object is looked
 * for again, if it was not a moment ago.  1: that is under way; 0.
 */
int check_again(struct req *, const struct db_location *);
/*
 * Somebody would bring an object that was bad, and what the store has there is
 * wrong still, with so many bytes if it is a pack: it is read again, unless it was
 * a moment ago, and deleted.  1: who would bring it has to wait for that; 0: it is
 * not known; -1 and errno.
 */
int check_in_way(struct req *, int64_t family, const struct hash *object,
    uint32_t bytes);
/* It is said to be missing or wrong by the request's key: answers. */
void check_report(struct req *, const struct db_object *);
/* That object is being read: what it holds is in doubt. */
int check_running(int64_t family, const struct hash *object);
/*
 * The survey doubts of that object: as a report of the server itself.  Ended by
 * survey_checked().  0; 1: it is being looked at anyway, without that end; -1: not
 * now.
 */
int check_survey(const struct db_object *);

/* ---- the survey of the store (meta_survey.c) ------------------------------ */

void survey_init(const struct meta_settings *);
/* So many seconds between them from now on; 0: none but what is asked for. */
void survey_every(uint32_t seconds);
void survey_tick(void); /* once a second */
/* What came of a check: it was wrong or missing (1), is not (0), or that was not
   found out (-1). */
void survey_checked(int bad);
/* Into the numbers: of the last survey that was finished here. */
void survey_numbers(uint64_t n[META_NUMBERS_COUNT]);

/* ---- reports that were wrong (meta_pace.c) -------------------------------- */

/* For what a report costs besides what is read, in bytes. */
#define REPORT_COST (1U << 20)

void pace_init(void);
/* The key may have that much read: 1, and then pace_end(); 0. */
int pace_take(int64_t key, uint64_t bytes);
/* It was read, and so much of it not for nothing. */
void pace_end(int64_t key, uint64_t back);
void pace_tick(void); /* once a second */

/* ---- numbers (meta_metrics.c) -------------------------------------------- */

void metrics_init(void);
/* What the step under way did; it counts if the step is kept. */
void metrics_add(enum meta_number, uint64_t n);
/* An answer that says so counts, whatever becomes of its step. */
void metrics_answered(enum meta_number);
/* A step ended, or a turn: all that it wrote is kept, or nothing. */
void metrics_step(int kept);
void metrics_turn(int kept);
/* The request of whoever came for /metrics. */
void meta_metrics(struct req *);

/* The session of the path (args[1]): 1, or the request was answered: 0. */
int req_session(struct req *, struct db_session *);
/* So many chunks more will be pinned by it; -1: the request was answered. */
int session_charge(struct req *, int64_t session, uint32_t chunks);

#endif
