/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * httpd: libmicrohttpd inside the event loop of a role, without threads of its
 * own.  In api and store.
 */
#ifndef SAILAPID_HTTPD_H
#define SAILAPID_HTTPD_H

#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>

struct httpd;

struct httpd_conf {
	uint32_t max_connections, per_peer, idle_s;
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
};

/* listen_fd is owned from a success on.  NULL after a message. */
struct httpd *httpd_new(int listen_fd, const struct httpd_conf *);
void httpd_free(struct httpd *);
/* A suspended request goes on. */
void httpd_resume(struct MHD_Connection *);

/* Before chroot: what libmicrohttpd would look for later. */
void httpd_prepare(void);

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
