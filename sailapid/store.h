/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store: what the files of the embedded object store share.  In store.
 */
#ifndef SAILAPID_STORE_H
#define SAILAPID_STORE_H

#include <sys/stat.h>
#include <openssl/evp.h>

#include "lib/hash.h"
#include "lib/httpd.h"
#include "sailapid/sigv4.h"
#include "sailapid/store_file.h"
#include "sailapid/work.h"

/* Of the whole process, set before the first request. */
struct store {
	int root; /* the folder of the objects */
	char access_key[129], secret[129], region[65], bucket[65];
};
extern struct store store;

enum s3_stage {
	S3_NEW = 0, /* no part of it was looked at */
	S3_HEADERS, /* it will be, when its body has been read away */
	S3_LOOKING, /* suspended, a worker looks whether it is there */
	S3_BODY,    /* an object comes in */
	S3_DRAIN,   /* refused; the body is read to its end first */
	S3_WORKING, /* suspended, a worker has it */
	S3_ANSWERED
};

struct s3_request {
	struct MHD_Connection *conn;
	enum s3_stage stage;
	char method[8];
	char *target;
	struct sigv4_header headers[SIGV4_HEADERS_MAX];
	size_t nheaders;
	const char *twice; /* a header that may be there only once */
	char *key;         /* decoded, not terminated */
	size_t key_len;
	const char *query; /* in target; "" */
	/* the answer of S3_DRAIN */
	unsigned int status;
	const char *code, *message;
	/* an upload */
	struct store_put put;
	uint64_t left;
	struct hash_ctx *hash;
	EVP_MD_CTX *md5;
	int has_sha256, has_checksum, has_md5, exclusive;
	struct hash sha256, checksum;
	uint8_t md5_want[16];
	/* between loop and worker */
	struct work work;
	int error;
	struct stat st;
};

/* store_http.c: for struct httpd_conf. */
void *s3_begin(const char *target);
enum MHD_Result s3_handle(void *request, struct MHD_Connection *,
    const char *method, const char *data, size_t *size);
void s3_end(void *request);
int s3_drop(void *request);
/* The header's value, NULL when it is missing; sets twice. */
const char *s3_header(struct s3_request *, const char *name);
/* Answers with an error, now or when the body has been read. */
enum MHD_Result s3_refuse(struct s3_request *, unsigned int status,
    const char *code, const char *message);
enum MHD_Result s3_errno(struct s3_request *, int error);
enum MHD_Result s3_reply(struct s3_request *, unsigned int status,
    struct MHD_Response *);
void s3_object_headers(struct MHD_Response *, const struct stat *);
void s3_etag(const struct stat *, char *, size_t);

/* store_put.c */
enum MHD_Result s3_put_begin(struct s3_request *);
enum MHD_Result s3_put_looked(struct s3_request *);
enum MHD_Result s3_put_data(struct s3_request *, const char *, size_t *);
enum MHD_Result s3_put_end(struct s3_request *);
enum MHD_Result s3_put_answer(struct s3_request *);
void s3_put_free(struct s3_request *);

/* store_xml.c */
enum MHD_Result s3_list(struct s3_request *);
struct MHD_Response *s3_error_response(const char *code, const char *message,
    const char *target);

#endif
