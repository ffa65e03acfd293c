/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: what the files of the role that speaks HTTP share.  In api.
 */
#ifndef SAILAPID_API_H
#define SAILAPID_API_H

#include <sys/tree.h>

#include "sailapid/httpd.h"
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

struct api_call {
	RB_ENTRY(api_call) entry; /* while it is API_WAITING */
	uint32_t id;
	struct MHD_Connection *conn;
	enum api_stage stage;
	uint8_t method; /* enum api_method */
	char *target;
	char host[API_HOST_MAX + 1], authorization[API_AUTHORIZATION_MAX + 1];
	/* the body: in memory, and in a memfd from 32 KiB on */
	char *body;
	size_t body_len;
	int body_fd;
	uint64_t body_counted, body_max;
	int asks_key; /* what meta has is the question about the key */
	/* the answer */
	struct MHD_Response *response;
	unsigned int status;
};

/* api_http.c: for struct httpd_conf. */
void *api_begin(const char *target);
enum MHD_Result api_handle(void *call, struct MHD_Connection *,
    const char *method, const char *data, size_t *size);
void api_end(void *call);
/* The answer of meta; the descriptor is taken.  It resumes the connection. */
void api_answer(struct api_call *, const struct api_response *, int fd);
/* There is no answer: meta is away. */
void api_unavailable(struct api_call *);

/* api.c: to meta; -1 when it is away.  The body's descriptor is taken. */
int api_ask(struct api_call *, uint8_t method, const char *target);
void api_forget(struct api_call *); /* no answer is wanted any more */
extern struct api_config api_limits;

#endif
