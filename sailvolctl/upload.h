/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload: chunks of files are gathered into batches, in the order they come, and
 * brought to the store while more come.  In sailvolctl.
 */
#ifndef SAILVOLCTL_UPLOAD_H
#define SAILVOLCTL_UPLOAD_H

#include "sailvolctl/fetch_put.h"

struct upload_batch;
struct upload {
	const char *volume, *session;
	uint64_t sent;        /* bytes that went out */
	void (*tell)(void *); /* the number has grown */
	void *arg;
	/* its own */
	struct upload_batch *filling;
	unsigned int batches; /* so far */
	unsigned int running;
	struct failure failure; /* of a batch: what was first */
};

/* A file of which chunks are sent; batch and number are not the caller's. */
struct upload_file {
	int fd;
	int *changed;
	unsigned int batch;
	int number;
};
/*
 * A chunk of a file.  *changed is set when it turns out that the file does not
 * have it any more, before upload_end() returns.  May wait.  -1 with failure
 * set.
 */
int upload_chunk(struct upload *, struct upload_file *, uint64_t offset,
    uint32_t bytes, const struct hash *, struct failure *);
/* All chunks of the list of a file. */
int upload_add(struct upload *, int fd, const struct chunklist *, int *changed,
    struct failure *);
/* More will come, but nothing is under way: what there is goes. */
int upload_idle(struct upload *, struct failure *);
/* All that was added is in the store. */
int upload_end(struct upload *, struct failure *);
/* What is not sent is forgotten. */
void upload_free(struct upload *);

#endif
