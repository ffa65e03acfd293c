/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit: one published state.  Its id is the SHA-256 of its encoding
 * (sailvol-format(5)).
 */
#ifndef LIB_COMMIT_H
#define LIB_COMMIT_H

#include "lib/entry.h"

#define COMMIT_MESSAGE_MAX 4096
#define COMMIT_AUTHOR_MAX 255

struct commit {
	uint8_t volume[16]; /* id of the volume */
	int has_parent;
	struct hash parent;
	uint64_t number;    /* 0 for the first, then parent's + 1 */
	struct entry root;  /* the root directory, an entry without a name */
	struct timens time; /* of the server */
	const uint8_t *author, *message;
	size_t author_len, message_len;
	/* what this commit did, as counted by the server */
	uint64_t puts, deletes, overwritten;
	const uint8_t *tail;
	size_t tail_len;
};

void commit_encode(struct wbuf *, const struct commit *);
/* Views into the memory; NULL, or what is wrong. */
const char *commit_decode(const uint8_t *, size_t, struct commit *);

/* A volume's header: format version and the two sets of features. */
struct volume_header {
	uint16_t version;
	uint64_t may_ignore; /* features that a reader may ignore */
	uint64_t must_know;
};
#define VOLUME_VERSION 1
#define VOLUME_FEATURES_KNOWN ((uint64_t)0)
void volume_header_encode(struct wbuf *, const struct volume_header *);
const char *volume_header_decode(struct rbuf *, struct volume_header *);

#endif
