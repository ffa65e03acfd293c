/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * httpd: libmicrohttpd inside the event loop of a role, without threads of its
 * own.  In api and store.
 */
#ifndef LIB_HTTPD_H
#define LIB_HTTPD_H

#include <sys/socket.h>
#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"

struct httpd;

struct httpd_conf {
	int tls; /* what httpd_add() brings came by TLS (httpd_is_tls()) */
	uint32_t max_connections, per_peer; /* who goes for more: crowd.h */
	uint32_t idle_s;
	uint32_t
	    rate; /* bytes a second that a body or an answer has at least */
	size_t memory; /* of a connection: headers must fit, and the buffers */
	/* A request begins; target is raw.  NULL: out of memory. */
	void *(*begin)(const char *target);
	/*
	 * Called first with the headers, then for each piece of the body, then
	 * with *size 0, as MHD_AccessHandlerCallback(3) has it.
	 */
	enum MHD_Result (*handle)(void *request, struct MHD_Connection *,
	    const char *method, const char *data, size_t *size);
	void (*end)(void *request); /* frees it */
	/*
	 * Its connection, which is suspended, has to go.  1: nobody has the
	 * request any more, and end() follows; 0: somebody resumes it yet.
	 * NULL: as 0.
	 */
	int (*drop)(void *request);
};

/*
 * listen_fd is owned from a success on; -1: there are only the connections of
 * httpd_add().  NULL after a message.
 */
struct httpd *httpd_new(int listen_fd, const struct httpd_conf *);
void httpd_free(struct httpd *);
/* One socket more, whose connections count with the others.  -1 after a message. */
int httpd_listen(struct httpd *, int listen_fd);
/* A connection that another accepted, and of whom; fd is taken. */
void httpd_add(struct httpd *, int fd, const struct sockaddr *, socklen_t);
/* It waits for another role or a thread, for as long as that takes; and goes
   on. */
void httpd_suspend(struct MHD_Connection *);
void httpd_resume(struct MHD_Connection *);
/*
 * An answer of that many bytes was queued.  Who does not take it in idle_s and a
 * second for each rate bytes is cut off, as who does not send a whole header in
 * idle_s, or of whose body after idle_s less has come than rate bytes a second;
 * where TCP says how much was taken, the same is true of an answer.
 */
void httpd_allow(struct MHD_Connection *, uint64_t bytes);
/*
 * Its client has shown a good key, or, NULL, one that cannot be told from others;
 * or one that is none any more: whom others have to go for (crowd.h).
 */
void httpd_known(struct MHD_Connection *, const struct hash *key);
void httpd_unknown(struct MHD_Connection *);
/* It gives way to others, whatever it does. */
void httpd_end(struct MHD_Connection *);
/* That time of a body begins now, for before nobody looked for it. */
void httpd_begin_body(struct MHD_Connection *);

/* Of its connections. */
struct httpd_counts {
	uint64_t open, accepted;
	uint64_t cut; /* by us: silent, too slow, or in the way of others */
};
/* Adds those of one to what stands there. */
void httpd_count(const struct httpd *, struct httpd_counts *);

/* Before chroot: what libmicrohttpd would look for later. */
void httpd_prepare(void);

/* 1: the client speaks TLS, with tls. */
int httpd_is_tls(struct MHD_Connection *);
/* "127.0.0.1" of the client. */
void httpd_peer(struct MHD_Connection *, char *, size_t);
/* 1 once, 0 not there, 2 several; *value is the last. */
int httpd_header(struct MHD_Connection *, const char *name, const char **value);
/* A response with a body that is copied; headers may be added to it. */
struct MHD_Response *httpd_response(const void *body, size_t len,
    const char *type);
/* Queues it and lets go of it; NULL closes the connection. */
enum MHD_Result httpd_reply(struct MHD_Connection *, unsigned int status,
    struct MHD_Response *);

#endif
