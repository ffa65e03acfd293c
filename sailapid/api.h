/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: what the files of the role that speaks HTTP share.  In api.
 */
#ifndef SAILAPID_API_H
#define SAILAPID_API_H

#include <sys/queue.h>
#include <sys/tree.h>

#include "lib/hash.h"
#include "lib/httpd.h"
#include "lib/monotime.h"
#include "lib/promtext.h"
#include "sailapid/sailapid_imsg.h"

enum api_stage {
	API_NEW = 0,
	API_KEYED, /* meta has said of the key of a large body what it is */
	API_BODY,
	API_DRAIN,   /* refused; the body is read to its end first */
	API_WAITING, /* suspended, meta has it */
	API_READY,   /* the answer is there, or meta died */
	API_ANSWERED
};

/* What api refuses by itself: X(name, status, type, code, message). */
#define API_REFUSALS(X)                                              \
	X(NOT_ALLOWED, 405, "invalid_request", "method_not_allowed", \
	    "only GET, HEAD, PUT, POST and DELETE")                  \
	X(BAD_TARGET, 400, "invalid_request", "bad_target",          \
	    "the target of the request is malformed or too long")    \
	X(BAD_HEADER, 400, "invalid_request", "bad_header",          \
	    "a header is malformed, too long or there twice")        \
	X(NO_LENGTH, 411, "invalid_request", "length_required",      \
	    "a body needs a Content-Length")                         \
	X(TOO_LARGE, 413, "too_large", "body_too_large",             \
	    "the body is larger than this server takes")             \
	X(NO_KEY, 401, "authentication", "bad_key",                  \
	    "a body of this size needs an API key")                  \
	X(INTERNAL, 500, "internal", "internal",                     \
	    "the server could not take the request")                 \
	X(UNAVAILABLE, 503, "unavailable", "unavailable",            \
	    "the server cannot answer at the moment, try again")

enum api_refusal {
#define X(name, status, type, code, message) REFUSED_##name,
	API_REFUSALS(X)
#undef X
};

#define API_SCHEME "Bearer " /* in whatever case */
#define API_SCHEME_LEN (sizeof(API_SCHEME) - 1)

struct peer;
struct question;
struct body_share;
struct answer_share;

struct api_call {
	/* of peers, while it is API_WAITING: for its turn, then for meta */
	TAILQ_ENTRY(api_call) queued;
	struct peer *peer;
	uint8_t ask_method;
	const char *ask_target;
	struct question *question; /* NULL: not asked yet */
	monotime_t asked;          /* since when it waits */
	struct MHD_Connection *conn;
	monotime_t whole; /* when all of the request was here, or 0 */
	enum api_stage stage;
	uint8_t method; /* enum api_method */
	char *target;
	char host[API_HOST_MAX + 1], authorization[API_AUTHORIZATION_MAX + 1];
	/* the body: in memory, and in a memfd from 32 KiB on */
	char *body;
	size_t body_len;
	int body_fd;
	uint64_t body_max;
	struct body_share *share; /* of the memory for large ones */
	int asks_key; /* what meta has is the question about the key */
	/* the answer */
	struct MHD_Response *response;
	uint64_t answer_len;         /* of a long one */
	struct answer_share *answer; /* of the memory for those */
	unsigned int status;
};

/* api_http.c: for struct httpd_conf. */
void *api_begin(const char *target);
enum MHD_Result api_handle(void *call, struct MHD_Connection *,
    const char *method, const char *data, size_t *size);
void api_end(void *call);
int api_drop(void *call);
/* The answer of meta; the descriptor is taken.  It resumes the connection. */
void api_answer(struct api_call *, const struct api_response *, int fd);
/* There is no answer: meta is away. */
void api_unavailable(struct api_call *);
/* By which key it is counted, however its scheme is written; of who has none, what
   stands in its place. */
void api_key_hash(const struct api_call *, struct hash *);
/* Its body, which meta does not have yet, is given up for that of another. */
void api_take_body(struct api_call *);

/* api_turn.c: to meta, when it is its peer's turn; -1 when meta is away.  The
   target outlives the question; the body's descriptor is taken. */
int api_ask(struct api_call *, uint8_t method, const char *target);
/* No answer is wanted any more. */
void api_forget(struct api_call *);
/* meta's answer came: to whom, or NULL; then others get their turn. */
struct api_call *api_answered(uint32_t id);
void api_turn(void);
void api_meta_down(void); /* all that wait are told so */
/* meta answers within META_WAIT_MS, or says that it could not; one that says
   nothing is not waited for: from time to time.  Long work goes on. */
#define API_WAIT_MS 180000
#define API_LATE_MS 5000
void api_turn_late(void);
/* How many meta has, and how many wait. */
void api_turn_count(unsigned int *asked, unsigned int *waiting);
extern struct api_config api_limits;

/* api_body.c: so much more of a large body comes; 0, or -1 and ENOMEM: others
   have less than its key. */
int body_grow(struct api_call *, size_t);
/* NULL: it has no large body. */
void body_free(struct body_share *);
/* meta may have it now, with what it has already; and it has it. */
int body_may_go(const struct body_share *);
void body_goes(struct body_share *);
/* The call ends, and meta still has the body. */
void body_leave(struct api_call *);

/* api_answer.c: a long answer is there, until its client has taken it; 0, or -1
   and ENOMEM: others have less than its key. */
int answer_take(struct api_call *, uint64_t bytes);
void answer_free(struct api_call *);

/* api.c: of all sockets of the API. */
void api_connections(struct httpd_counts *);

/* api_count.c: what is said at /metrics of all that. */
void count_answer(uint8_t method, unsigned int status);
void count_duration(monotime_t since);
void count_unanswered(void);
void count_refusal(enum api_refusal);
void count_text(struct promtext *);

/* api_metrics.c: listen_fd as httpd_new(); -1: nobody is told anything. */
int metrics_start(int listen_fd);
/* Numbers of questions to meta that are not of a client of the API. */
#define API_ID_METRICS 0x80000000u
void metrics_answer(uint32_t id, const struct api_response *, int fd);
void metrics_meta_down(void);

#endif
