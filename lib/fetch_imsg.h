/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_imsg: what manifest, cache, meta and sailvolctl may ask of
 * sailvol-fetch(8), and its answers.  Strings: u16 or u32 length (big endian,
 * ibuf_add_n*), then bytes.  The number of a message (imsg's peerid) is chosen
 * by who asks, and the answer repeats it.
 */
#ifndef LIB_FETCH_IMSG_H
#define LIB_FETCH_IMSG_H

#include "lib/hash.h"
#include "lib/monotime.h"
#include "lib/proc.h"

/*
 * From the parent, before it drops its privileges: the API's URL ("" for
 * sailapid), key, limits; resolver settings and CA certificates as memfds, and
 * again when they change.
 *
 *   CONFIG	str16 API URL, str16 key, u32 concurrency, u32 deadline ms
 *   CA, RESOLV, HOSTS	memfd: bytes of the file
 *
 * API (from manifest, ctl): one request to the API.
 *	u8 method (1 GET 2 PUT 3 POST 4 DELETE), u8 retry (1: safe to repeat on a
 *	lost answer), u32 deadline ms (0: the configured), u64 max answer bytes,
 *	str16 target ("/v1/..."), str16 content type; memfd of the body
 *   API_RES	u16 status (0: no answer), u8 type (0 none 1 JSON 2 binary),
 *	i64 skew ms (server's Date less ours), str16 what was wrong (status 0);
 *	memfd of the body (when status is not 0)
 *
 * HASH (from manifest): sync the file, hash it by chunks.
 *	u8 shift (0: chosen by size); fd, read-only
 *   HASH_RES	u32 errno, u64 size, i64+u32 ctime after, i64+u32 wall clock
 *	before the sync, u8 changed (size or ctime moved while it was read);
 *	memfd of the chunklist (lib/chunklist.h, flat form)
 *
 * UPLOAD (from manifest): see that these chunks are in the store.  Files come
 * first, one message each, then the list, all with one number.
 *   UPLOAD_FILE	u32 file; fd, read-only
 *   UPLOAD	str16 volume id, str16 session key; memfd of u32 n, n of: u32 file,
 *	u64 offset, u32 bytes, hash (little-endian, lib/bytes.h)
 *   UPLOAD_PROGRESS	u32 chunks done, u64 bytes done, u64 bytes sent
 *   UPLOAD_RES	u32 errno, str16 what; memfd of n u8: 0 present before, 1
 *	sent, 2 the bytes are no longer those of the hash, 3 not done
 *
 * GET (from cache): chunks of one file into fd, at (slot << shift), verified
 * before they are written.
 *	str16 volume id, hash commit, str16 path, u8 shift, u16 n, n of: u64
 *	slot, u32 bytes, hash; fd, writable
 *   GET_DONE	u64 slot: one is there
 *   GET_RES	u32 errno (0, EIO: no good copy, ETIMEDOUT, ENOENT...), str16 what
 *
 * VERIFY (from cache): does the file hold this content?
 *	u64 size; fd read-only; chunklist follows as VERIFY_LIST memfd, same
 *	number, sent before
 *   VERIFY_RES	u32 errno (0, EBADMSG)
 *
 * URL (from meta): an operation on an object by a signed URL.
 *	u8 method (1 GET 5 HEAD 4 DELETE), str16 URL, hash expected, u64 length
 *	expected, u8 verify (GET: hash what comes)
 *   URL_RES	u16 status (0: no answer), u8 equal (length, and hash when
 *	verified), str16 what
 *
 * CANCEL	u32 number of the request: its answer, ECANCELED, may still be
 *	a success.
 */
#define FETCH_MESSAGES(X)                                      \
	X(PARENT_FETCH_CONFIG, 200, NOFD)                      \
	X(PARENT_FETCH_CA, 201, FD)                            \
	X(PARENT_FETCH_RESOLV, 202, FD)                        \
	X(PARENT_FETCH_HOSTS, 203, FD)                         \
	X(PARENT_FETCH_END, 204, NOFD) /* empty: configured */ \
	X(FETCH_API, 210, MAYFD)                               \
	X(FETCH_API_RES, 211, MAYFD)                           \
	X(FETCH_HASH, 212, FD)                                 \
	X(FETCH_HASH_RES, 213, MAYFD)                          \
	X(FETCH_UPLOAD_FILE, 214, FD)                          \
	X(FETCH_UPLOAD, 215, FD)                               \
	X(FETCH_UPLOAD_PROGRESS, 216, NOFD)                    \
	X(FETCH_UPLOAD_RES, 217, MAYFD)                        \
	X(FETCH_GET, 218, FD)                                  \
	X(FETCH_GET_DONE, 219, NOFD)                           \
	X(FETCH_GET_RES, 220, NOFD)                            \
	X(FETCH_VERIFY_LIST, 221, FD)                          \
	X(FETCH_VERIFY, 222, FD)                               \
	X(FETCH_VERIFY_RES, 223, NOFD)                         \
	X(FETCH_URL, 224, NOFD)                                \
	X(FETCH_URL_RES, 225, NOFD)                            \
	X(FETCH_CANCEL, 226, NOFD)

enum fetch_message {
#define X(name, number, fd) IMSG_##name = number,
	FETCH_MESSAGES(X)
#undef X
};

/* Methods of API and URL. */
#define FETCH_METHOD_GET 1
#define FETCH_METHOD_PUT 2
#define FETCH_METHOD_POST 3
#define FETCH_METHOD_DELETE 4
#define FETCH_METHOD_HEAD 5

#define FETCH_CHUNK_MAX (64 * 1024 * 1024)  /* bytes of a chunk */
#define FETCH_OBJECT_MAX (64 * 1024 * 1024) /* bytes of an object */
#define FETCH_UPLOAD_CHUNK_LEN 48 /* of the list of UPLOAD, in its memfd */
#define FETCH_GET_MAX 512         /* chunks of one GET */
#define FETCH_UPLOAD_FILES 256    /* files of one UPLOAD */
#define FETCH_UPLOAD_MAX 4096     /* chunks of one UPLOAD */

/*
 * The bodies, for who asks and who answers; 0 or -1 (EBADMSG: malformed).
 * Views point into the message.
 */
struct fetch_settings { /* CONFIG */
	const char *url, *key;
	size_t url_len, key_len;
	uint32_t concurrency, deadline_ms; /* 0: the built-in */
};
int fetch_settings_send(struct chan *, const struct fetch_settings *);
int fetch_settings_recv(struct ibuf *, struct fetch_settings *);

struct fetch_api {
	uint8_t method, retry;
	uint32_t deadline_ms;
	uint64_t max_answer;
	const char *target, *content_type; /* not terminated when received */
	size_t target_len, content_type_len;
};
int fetch_api_send(struct chan *, uint32_t id, const struct fetch_api *,
    int body_fd);
int fetch_api_recv(struct ibuf *, struct fetch_api *);
struct fetch_api_res {
	uint16_t status;
	uint8_t type;
	int64_t skew_ms;
	const char *what;
	size_t what_len;
};
int fetch_api_res_send(struct chan *, uint32_t id, const struct fetch_api_res *,
    int body_fd);
int fetch_api_res_recv(struct ibuf *, struct fetch_api_res *);

struct fetch_hash_res {
	uint32_t error;
	uint64_t size;
	struct timens ctime, before;
	uint8_t changed;
};
int fetch_hash_send(struct chan *, uint32_t id, uint8_t shift, int fd);
int fetch_hash_recv(struct ibuf *, uint8_t *shift);
int fetch_hash_res_send(struct chan *, uint32_t id,
    const struct fetch_hash_res *, int list_fd);
int fetch_hash_res_recv(struct ibuf *, struct fetch_hash_res *);

/* VERIFY_LIST and VERIFY.  Takes list_fd, also when it fails. */
int fetch_verify_send(struct chan *, uint32_t id, uint64_t size, int list_fd,
    int fd);
int fetch_verify_recv(struct ibuf *, uint64_t *size);
int fetch_verify_res_send(struct chan *, uint32_t id, uint32_t error);
int fetch_verify_res_recv(struct ibuf *, uint32_t *error);

struct fetch_upload_chunk {
	uint32_t file;
	uint64_t offset;
	uint32_t bytes;
	struct hash hash;
};
int fetch_upload_file_send(struct chan *, uint32_t id, uint32_t file, int fd);
int fetch_upload_send(struct chan *, uint32_t id, const char *volume,
    const char *session, const struct fetch_upload_chunk *, uint32_t n);
struct fetch_upload {
	const char *volume, *session; /* not terminated */
	size_t volume_len, session_len;
};
int fetch_upload_file_recv(struct ibuf *, uint32_t *file);
int fetch_upload_recv(struct ibuf *, struct fetch_upload *);
/* The bytes of the memfd; the caller frees *chunks. */
int fetch_upload_list_decode(const uint8_t *, size_t,
    struct fetch_upload_chunk **chunks, uint32_t *n);
struct fetch_upload_res {
	uint32_t error;
	const char *what;
	size_t what_len;
};
int fetch_upload_res_send(struct chan *, uint32_t id,
    const struct fetch_upload_res *, int status_fd);
int fetch_upload_res_recv(struct ibuf *, struct fetch_upload_res *);
int fetch_upload_progress_send(struct chan *, uint32_t id, uint32_t chunks,
    uint64_t bytes, uint64_t sent);
int fetch_upload_progress_recv(struct ibuf *, uint32_t *chunks, uint64_t *bytes,
    uint64_t *sent);

struct fetch_get_chunk {
	uint64_t slot;
	uint32_t bytes;
	struct hash hash;
};
struct fetch_get {
	const char *volume;
	size_t volume_len;
	struct hash commit;
	const uint8_t *path;
	size_t path_len;
	uint8_t shift;
	uint16_t n;
	struct fetch_get_chunk chunks[FETCH_GET_MAX];
};
int fetch_get_send(struct chan *, uint32_t id, const struct fetch_get *,
    int fd);
int fetch_get_recv(struct ibuf *, struct fetch_get *);
int fetch_get_done_send(struct chan *, uint32_t id, uint64_t slot);
int fetch_get_done_recv(struct ibuf *, uint64_t *slot);
int fetch_get_res_send(struct chan *, uint32_t id, uint32_t error,
    const char *what);
int fetch_get_res_recv(struct ibuf *, uint32_t *error, const char **what,
    size_t *what_len);

struct fetch_url {
	uint8_t method;
	const char *url;
	size_t url_len;
	struct hash hash;
	uint64_t length;
	uint8_t verify;
};
int fetch_url_send(struct chan *, uint32_t id, const struct fetch_url *);
int fetch_url_recv(struct ibuf *, struct fetch_url *);
int fetch_url_res_send(struct chan *, uint32_t id, uint16_t status,
    uint8_t equal, const char *what);
int fetch_url_res_recv(struct ibuf *, uint16_t *status, uint8_t *equal);
/* id: the request that is not wanted any more. */
int fetch_cancel_send(struct chan *, uint32_t id);
int fetch_cancel_recv(struct ibuf *, uint32_t *id);

/* For a parent of a fetch: reads CA, resolver and hosts files and sends all of
   the configuration.  ca_file NULL: the system's. -1 after a message. */
struct fetch_config {
	const char *api_url, *key, *ca_file;
	uint32_t concurrency, deadline_ms;
};
int fetch_configure(struct chan *, const struct fetch_config *);

#endif
