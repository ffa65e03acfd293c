/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_put: an object that comes in: it has its name only when its length and
 * each of its checksums are what the request says.  In store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/store.h"

#define OBJECT_MAX ((uint64_t)5 << 30) /* of one PUT, as AWS has it */

void
s3_put_free(struct s3_request *r)
{
	struct hash unused;

	store_put_abort(store.root, &r->put);
	if (r->hash != NULL)
		hash_end(r->hash, &unused);
	r->hash = NULL;
	EVP_MD_CTX_free(r->md5);
	r->md5 = NULL;
}

/* Padded base64 of exactly len bytes. */
static int
base64(const char *s, uint8_t *out, size_t len)
{
	uint8_t tmp[48];
	size_t chars = (len + 2) / 3 * 4;

	if (strlen(s) != chars || chars / 4 * 3 > sizeof(tmp) ||
	    EVP_DecodeBlock(tmp, (const unsigned char *)s, (int)chars) !=
		(int)(chars / 4 * 3) ||
	    strspn(s + chars - (chars / 4 * 3 - len), "=") !=
		chars / 4 * 3 - len)
		return -1;
	memcpy(out, tmp, len);
	return 0;
}

/* NULL, or what is wrong with a header that says what the body is. */
static const char *
read_checksums(struct s3_request *r)
{
	const char *v;

	if ((v = s3_header(r, "x-amz-content-sha256")) != NULL &&
	    strcmp(v, "UNSIGNED-PAYLOAD") != 0) {
		if (hash_parse(&r->sha256, v, strlen(v)) == -1)
			return "x-amz-content-sha256 is malformed";
		r->has_sha256 = 1;
	}
	if ((v = s3_header(r, "x-amz-checksum-sha256")) != NULL) {
		if (base64(v, r->checksum.b, HASH_LEN) == -1)
			return "x-amz-checksum-sha256 is malformed";
		r->has_checksum = 1;
	}
	if ((v = s3_header(r, "Content-MD5")) != NULL) {
		if (base64(v, r->md5_want, sizeof(r->md5_want)) == -1)
			return "Content-MD5 is malformed";
		r->has_md5 = 1;
	}
	return NULL;
}

/* NULL, or the header that asks for what this store does not do. */
static const char *
not_done(struct s3_request *r)
{
	static const char *const names[] = { "If-Match", "x-amz-copy-source",
		"x-amz-checksum-crc32", "x-amz-checksum-crc32c",
		"x-amz-checksum-crc64nvme", "x-amz-checksum-sha1",
		"x-amz-trailer", "x-amz-server-side-encryption" };
	const char *v;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (s3_header(r, names[i]) != NULL)
			return names[i];
	v = s3_header(r, "x-amz-content-sha256");
	if (v != NULL && strncmp(v, "STREAMING-", 10) == 0)
		return "STREAMING payload";
	return NULL;
}

static int
parse_length(const char *s, uint64_t *n)
{
	*n = 0;
	if (*s == '\0' || strlen(s) > 15)
		return -1;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		*n = *n * 10 + (uint64_t)(*s - '0');
	}
	return 0;
}

static int
start_file(struct s3_request *r)
{
	if (store_put_begin(store.root, &r->put) == -1)
		return -1;
	if ((r->has_sha256 || r->has_checksum) &&
	    (r->hash = hash_begin()) == NULL)
		return -1;
	if (!r->has_md5)
		return 0;
	if ((r->md5 = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(r->md5, EVP_md5(), NULL) != 1) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

static struct s3_request *
request_of(struct work *w)
{
	return (struct s3_request *)(void *)((char *)w -
	    offsetof(struct s3_request, work));
}

static enum MHD_Result
start_body(struct s3_request *r)
{
	if (start_file(r) == -1)
		return s3_errno(r, errno);
	r->stage = S3_BODY;
	return MHD_YES;
}

static void
put_resume(struct work *w)
{
	httpd_resume(request_of(w)->conn);
}

static enum MHD_Result
put_work(struct s3_request *r, enum s3_stage stage, void (*run)(struct work *))
{
	r->stage = stage;
	r->work.run = run;
	r->work.done = put_resume;
	httpd_suspend(r->conn);
	work_queue(&r->work);
	return MHD_YES;
}

/* To its client 412 is as good as 200. */
static void
look_run(struct work *w)
{
	struct s3_request *r = request_of(w);

	r->error =
	    store_there(store.root, r->key, r->key_len) == -1 ? errno : EEXIST;
}

enum MHD_Result
s3_put_looked(struct s3_request *r)
{
	r->stage = S3_NEW;
	return r->error == ENOENT ? start_body(r) : s3_errno(r, r->error);
}

enum MHD_Result
s3_put_begin(struct s3_request *r)
{
	const char *len, *why, *none;
	struct stat st;
	int fd;

	len = s3_header(r, "Content-Length");
	if (len == NULL || s3_header(r, "Transfer-Encoding") != NULL)
		return s3_refuse(r, 411, "MissingContentLength",
		    "You must provide the Content-Length HTTP header.");
	if (parse_length(len, &r->left) == -1)
		return s3_refuse(r, 400, "InvalidArgument",
		    "Content-Length is malformed.");
	if (r->left > OBJECT_MAX)
		return s3_refuse(r, 400, "EntityTooLarge",
		    "An object has at most 5 GiB.");
	none = s3_header(r, "If-None-Match");
	if ((why = not_done(r)) != NULL ||
	    (none != NULL && strcmp(none, "*") != 0))
		return s3_refuse(r, 501, "NotImplemented",
		    why != NULL ? why : "If-None-Match other than *");
	if ((why = read_checksums(r)) != NULL)
		return s3_refuse(r, 400, "InvalidDigest", why);
	if (r->twice != NULL)
		return s3_refuse(r, 400, "InvalidRequest",
		    "A header is there twice.");
	r->exclusive = none != NULL;
	if (r->exclusive &&
	    (fd = store_get(store.root, r->key, r->key_len, &st)) != -1) {
		close(fd);
		return put_work(r, S3_LOOKING, look_run);
	}
	return start_body(r);
}

enum MHD_Result
s3_put_data(struct s3_request *r, const char *data, size_t *size)
{
	size_t n = *size;

	*size = 0;
	if (n > r->left)
		return s3_refuse(r, 400, "InvalidRequest",
		    "The body is longer than its Content-Length.");
	if (r->hash != NULL)
		hash_update(r->hash, data, n);
	if (r->md5 != NULL && EVP_DigestUpdate(r->md5, data, n) != 1)
		return s3_errno(r, ENOMEM);
	if (store_put_write(&r->put, data, n) == -1)
		return s3_errno(r, errno);
	r->left -= n;
	return MHD_YES;
}

/* NULL, or the code of the checksum that is another. */
static const char *
check_sums(struct s3_request *r)
{
	unsigned char md5[EVP_MAX_MD_SIZE];
	struct hash h;

	if (r->hash != NULL) {
		hash_end(r->hash, &h);
		r->hash = NULL;
		if (r->has_sha256 && hash_cmp(&h, &r->sha256) != 0)
			return "XAmzContentSHA256Mismatch";
		if (r->has_checksum && hash_cmp(&h, &r->checksum) != 0)
			return "BadDigest";
	}
	if (r->md5 != NULL &&
	    (EVP_DigestFinal_ex(r->md5, md5, NULL) != 1 ||
		memcmp(md5, r->md5_want, sizeof(r->md5_want)) != 0))
		return "BadDigest";
	return NULL;
}

static void
commit_run(struct work *w)
{
	struct s3_request *r = request_of(w);

	r->error = store_put_commit(store.root, &r->put, r->key, r->key_len,
		       r->exclusive, &r->st) == -1
	    ? errno
	    : 0;
}

enum MHD_Result
s3_put_end(struct s3_request *r)
{
	const char *code;

	r->stage = S3_WORKING;
	if (r->left != 0) {
		s3_put_free(r);
		return s3_refuse(r, 400, "IncompleteBody",
		    "The body is shorter than its Content-Length.");
	}
	if ((code = check_sums(r)) != NULL) {
		s3_put_free(r);
		return s3_refuse(r, 400, code,
		    "The body is not what the request says.");
	}
	return put_work(r, S3_WORKING, commit_run);
}

enum MHD_Result
s3_put_answer(struct s3_request *r)
{
	struct MHD_Response *res;

	if (r->error != 0)
		return s3_errno(r, r->error);
	res = httpd_response("", 0, NULL);
	s3_object_headers(res, &r->st);
	return s3_reply(r, 200, res);
}
