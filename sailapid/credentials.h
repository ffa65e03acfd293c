/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * credentials: the keys of the object store.  In the parent.
 */
#ifndef SAILAPID_CREDENTIALS_H
#define SAILAPID_CREDENTIALS_H

#include "sailapid/sailapid_imsg.h"

#define CREDENTIALS_FILE_MAX 16384 /* bytes of the file */

struct store_keys {
	char access_key[S3_ACCESS_KEY_MAX + 1], secret[S3_SECRET_MAX + 1];
	char token[S3_TOKEN_MAX + 1]; /* of a session, "": none */
};

/*
 * From text, a terminated string, as aws(1) keeps it (sailapid.conf(5), "store
 * s3"): what stands before the first section, and in that of the name
 * [default].  NULL, or a constant string that says what is wrong.
 */
const char *credentials_parse(const char *text, struct store_keys *);
/*
 * From the file path, which must be root's and closed to others, or with NULL
 * from the environment.  -1 after a message.
 */
int credentials_read(const char *path, struct store_keys *);
/* What is secret in the environment is no longer needed there. */
void credentials_clear_environment(void);

#endif
