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
 *   CONFIG	str16 API URL, str16 key, u32 concurrency, u32 deadline ms, u64
 *	bytes of memory
 *   CA, RESOLV, HOSTS	memfd: bytes of the file
 *
 * API (from manifest, ctl): one request to the API.
 *	u8 method (1 GET 2 PUT 3 POST 4 DELETE), u8 retry (1: safe to repeat on a
 *	lost answer), u32 deadline ms (0: the configured), u64 max answer bytes,
 *	str16 target ("/v1/..."), str16 content type; memfd of the body
 *   API_RES	u16 status (0: no answer), u8 type (0 none 1 JSON 2 binary),
 *	u8 flags (1: it had a Date; 2, status 0: its certificate does not
 *	verify), i64 skew ms (server's Date less ours), str16 what was wrong
 *	(status 0); memfd of the body (when status is not 0)
 *
 * HASH (from manifest): hash the file by chunks.
 *	u8 shift (0: chosen by size), u8 flags (1: bytes of a small file are to
 *	be kept for UPLOAD, 2: sync it first, somebody may write to it, 4: tell
 *	its chunks while it is hashed); fd, read-only
 *   HASH_REST	before it, of a file that is not whole (lib/rest.h), with the
 *	same number; fd: what lacks, whose hashes count
 *   HASH_PROGRESS	u64 bytes read, of a large file
 *   HASH_CHUNKS	of a file with several: u64 size, u8 shift, u16 n, n of: u64 slot,
 *	hash; in the order of the file, without holes and what it lacks.  HASH_RES
 *	counts, and may say that they have changed
 *   HASH_RES	u32 errno, u64 size, i64+u32 ctime after, i64+u32 wall clock
 *	before the sync, u8 changed (size or ctime moved while it was read), u8
 *	kept, str16 chunklist (lib/chunklist.h, flat form), or memfd of it
 *
 * UPLOAD (from manifest): see that these chunks are in the store.  Files come
 * first, one message each, then the list, all with one number.
 *   UPLOAD_FILE	u32 file; fd, read-only
 *   UPLOAD	str16 volume id, str16 session key; memfd of u32 n, n of: u32 file,
 *	u64 offset, u32 bytes, hash (little-endian, lib/bytes.h); file 2^32 - 1:
 *	its bytes were kept by HASH
 *   UPLOAD_PROGRESS	u32 chunks done, u64 bytes done, u64 bytes sent
 *   UPLOAD_RES	u32 errno, str16 what, u16 status (0; 4xx: the API refused, and
 *	will again; 503: so does its store), str16 body of that answer; memfd of n u8: 0 present before,
 *	1 sent, 2 the bytes are no longer those of the hash, 3 not done, 4 its
 *	bytes are not kept any more
 *
 * GET (from cache, ctl): chunks of one file.  Files come first, one message each,
 * then the question, all with one number.
 *   GET_FILE	u64 slot; fd, writable, empty: the bytes of that slot go there,
 *	from its beginning; until GET_DONE they may be any
 *   GET	str16 volume id, hash commit, str16 path, u32 budget (bytes of
 *	neighbours that are welcome, 0: none), u16 n, n of: u64 slot, u32 bytes,
 *	hash.  Slots without a file, under 1 MiB, come in bundles
 *   GET_DONE	u64 slot: one that has a file is there
 *   GET_BUNDLE	u16 n, n of: hash, u32 offset, u32 bytes; memfd of at most 8 MiB:
 *	verified chunks, those without a file, and neighbours
 *   GET_RES	u32 errno (0, EIO: no good copy, ETIMEDOUT, ENOENT...), str16 what
 *
 * VERIFY (from cache): does the file hold this chunk and nothing else?
 *	u32 bytes, hash; fd, read-only
 * VERIFY_BUNDLE	the same of many chunks, and what is between them does not
 *	matter: the body of GET_BUNDLE; fd, read-only
 *   VERIFY_RES	u32 errno (0, EBADMSG)
 *
 * URL (from meta): an operation on an object by a signed URL.
 *	u8 method (1 GET 5 HEAD 4 DELETE 2 PUT, of nothing), str16 URL, hash
 *	expected, u64 length expected, u8 verify (GET: hash what comes), u32 ms
 *	until it must have ended, with all its tries (0: while bytes flow); verify
 *	of a pack: memfd of u32 n, n of: hash, u32 offset, u32 bytes
 *	(little-endian)
 *   URL_RES	u16 status (0: no answer), u8 equal (length, and hash when
 *	verified), u8 dated, i64 the store's clock less ours in ms (dated; 0
 *	where they may be equal), u64 length that the store says (0: unknown),
 *	str16 what was wrong (status 0), str16 code of the store's error (letters
 *	and digits, "": none known), str16 the region or host to which it sends
 *	us ("": none); of a pack with status 200: memfd of n u8, 1: the bytes
 *	there have that hash
 * LIST (from meta): str16 URL of a page of the bucket, u32 ms as in URL
 *   URL_RES	as of URL; with status 200: memfd of u8 more (there are more
 *	pages), u16 n, n of: str16 key, u64 bytes, i64 when it was written, s since
 *	1970 (little-endian); the keys ascend.  Without one it was no such page,
 *	and str16 says why
 *
 * NUMBERS (from the parent): empty
 *   NUMBERS_RES	struct fetch_numbers, field by field: u64 each
 *
 * CANCEL	u32 number of the request: its answer, ECANCELED, may still be
 *	a success.  Of one that was put in part, its files: they are let go, and
 *	no answer comes
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
	X(FETCH_GET, 218, NOFD)                                \
	X(FETCH_GET_DONE, 219, NOFD)                           \
	X(FETCH_GET_RES, 220, NOFD)                            \
	X(FETCH_VERIFY, 222, FD)                               \
	X(FETCH_VERIFY_RES, 223, NOFD)                         \
	X(FETCH_URL, 224, MAYFD)                               \
	X(FETCH_URL_RES, 225, MAYFD)                           \
	X(FETCH_CANCEL, 226, NOFD)                             \
	X(FETCH_GET_FILE, 227, FD)                             \
	X(FETCH_GET_BUNDLE, 228, FD)                           \
	X(FETCH_HASH_PROGRESS, 229, NOFD)                      \
	X(FETCH_HASH_REST, 230, FD)                            \
	X(FETCH_HASH_CHUNKS, 231, NOFD)                        \
	X(FETCH_VERIFY_BUNDLE, 232, FD)                        \
	X(FETCH_NUMBERS, 233, NOFD)                            \
	X(FETCH_NUMBERS_RES, 234, NOFD)                        \
	X(FETCH_LIST, 235, NOFD)

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
#define FETCH_PARTS_MAX 16384     /* chunks of a pack that is verified */
#define FETCH_PART_LEN 40         /* of one, in the memfd of URL */
#define FETCH_CODE_MAX 64         /* of an error of the store's */
#define FETCH_ELSEWHERE_MAX 64    /* of a region or host */
#define FETCH_SAID_MAX 255        /* of words about a store */
#define FETCH_UPLOAD_CHUNK_LEN 48 /* of the list of UPLOAD, in its memfd */
#define FETCH_GET_MAX 256         /* chunks of one GET */
#define FETCH_GET_FILES 64        /* of them with a file */
#define FETCH_BUNDLE_CHUNK (1024 * 1024) /* a chunk in a bundle is smaller */
#define FETCH_BUNDLE_BYTES (8 * 1024 * 1024) /* of all of one bundle */
#define FETCH_BUNDLE_MAX 1024                /* chunks of one message */
#define FETCH_UPLOAD_FILES 256               /* files of one UPLOAD */
#define FETCH_UPLOAD_MAX 4096                /* chunks of one UPLOAD */
#define FETCH_UPLOAD_KEPT UINT32_MAX         /* instead of a file */
#define FETCH_REFUSAL_MAX 2048               /* bytes of the API's words */
#define FETCH_HASH_KEEP 1                    /* flags of HASH */
#define FETCH_HASH_SYNC 2
#define FETCH_HASH_TELL 4
#define FETCH_HASH_SYNC_ALL 8     /* of its file system, as far as it can */
#define FETCH_HASH_CHUNKS_MAX 128 /* of one message */
#define FETCH_HASH_CHUNKS_HEAD 11 /* bytes before them */
#define FETCH_HASH_CHUNK_LEN 40
#define FETCH_LIST_KEYS 1000 /* of a page of the bucket, as S3 has it */
#define FETCH_LIST_KEY_MAX 1024
#define FETCH_LIST_URL_MAX 16384
#define FETCH_LIST_PAGE_MAX (3 + FETCH_LIST_KEYS * (18 + FETCH_LIST_KEY_MAX))
#define FETCH_LIST_INLINE 512 /* bytes of a chunklist without a memfd */

/*
 * The bodies, for who asks and who answers; 0 or -1 (EBADMSG: malformed).
 * Views point into the message.
 */
struct fetch_settings { /* CONFIG */
	const char *url, *key;
	size_t url_len, key_len;
	uint32_t concurrency, deadline_ms; /* 0: the built-in */
	uint64_t memory;                   /* bytes; the same */
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
/* The errno where a server's or store's certificate does not verify. */
#define FETCH_UNTRUSTED EKEYREJECTED
/* GET: a file that was given takes no bytes, whatever the disk says of it; what
   passes (lib/lack.h), or is of room, is told as it is. */
#define FETCH_NO_FILE EBADFD
/* GET: ETIMEDOUT, and there was no byte for anybody else either all that time. */
#define FETCH_STILL EHOSTDOWN

struct fetch_api_res {
	uint16_t status;
	uint8_t type;
	uint8_t dated;     /* skew_ms is known */
	uint8_t untrusted; /* status 0: the server's certificate */
	uint8_t repeated;  /* an earlier try may have been done */
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
	uint8_t changed, kept;
	/* of a short one; else it is in the memfd */
	const uint8_t *list;
	size_t list_len;
};
int fetch_hash_send(struct chan *, uint32_t id, uint8_t shift, uint8_t flags,
    int fd);
int fetch_hash_recv(struct ibuf *, uint8_t *shift, uint8_t *flags);
int fetch_hash_rest_send(struct chan *, uint32_t id, int fd);
int fetch_hash_res_send(struct chan *, uint32_t id,
    const struct fetch_hash_res *, int list_fd);
int fetch_hash_res_recv(struct ibuf *, struct fetch_hash_res *);

int fetch_verify_send(struct chan *, uint32_t id, uint32_t bytes,
    const struct hash *, int fd);
int fetch_verify_recv(struct ibuf *, uint32_t *bytes, struct hash *);
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
	uint16_t status; /* 0: the API did not refuse */
	const char
	    *refusal; /* the body of its answer; too long, it is left out */
	size_t refusal_len;
};
int fetch_upload_res_send(struct chan *, uint32_t id,
    const struct fetch_upload_res *, int status_fd);
int fetch_upload_res_recv(struct ibuf *, struct fetch_upload_res *);
int fetch_hash_progress_send(struct chan *, uint32_t id, uint64_t bytes);
int fetch_hash_progress_recv(struct ibuf *, uint64_t *bytes);
int fetch_upload_progress_send(struct chan *, uint32_t id, uint32_t chunks,
    uint64_t bytes, uint64_t sent);
int fetch_upload_progress_recv(struct ibuf *, uint32_t *chunks, uint64_t *bytes,
    uint64_t *sent);

struct fetch_get_chunk {
	uint64_t slot;
	uint32_t bytes;
	struct hash hash;
};
struct fetch_hash_chunks {
	uint64_t size;
	uint8_t shift;
	uint16_t n;
	struct fetch_get_chunk chunks[FETCH_HASH_CHUNKS_MAX];
};
/* Sets no bytes; received, they are what size and shift say. */
int fetch_hash_chunks_send(struct chan *, uint32_t id,
    const struct fetch_hash_chunks *);
int fetch_hash_chunks_recv(struct ibuf *, struct fetch_hash_chunks *);

struct fetch_get {
	const char *volume;
	size_t volume_len;
	struct hash commit;
	const uint8_t *path;
	size_t path_len;
	uint32_t budget;
	uint16_t n;
	struct fetch_get_chunk chunks[FETCH_GET_MAX];
};
int fetch_get_file_send(struct chan *, uint32_t id, uint64_t slot, int fd);
int fetch_get_file_recv(struct ibuf *, uint64_t *slot);
int fetch_get_send(struct chan *, uint32_t id, const struct fetch_get *);
int fetch_get_recv(struct ibuf *, struct fetch_get *);
struct fetch_bundle_chunk {
	struct hash hash;
	uint32_t offset, bytes;
};
struct fetch_bundle {
	uint16_t n;
	struct fetch_bundle_chunk chunks[FETCH_BUNDLE_MAX];
};
/* Also as another message with that body: cache hands it on. */
int fetch_bundle_send(struct chan *, uint32_t type, uint32_t id,
    const struct fetch_bundle *, int fd);
/* Each within the bounds, not of the memfd. */
int fetch_bundle_recv(struct ibuf *, struct fetch_bundle *);
int fetch_get_done_send(struct chan *, uint32_t id, uint64_t slot);
int fetch_get_done_recv(struct ibuf *, uint64_t *slot);
int fetch_get_res_send(struct chan *, uint32_t id, uint32_t error,
    const char *what);
int fetch_get_res_recv(struct ibuf *, uint32_t *error, const char **what,
    size_t *what_len);

struct fetch_part {
	struct hash hash;
	uint32_t offset, bytes;
};
struct fetch_url {
	uint8_t method;
	const char *url;
	size_t url_len;
	struct hash hash;
	uint64_t length;
	uint8_t verify;
	uint32_t deadline_ms; /* 0: while bytes flow */
	uint8_t list;         /* of a sender: that a LIST is asked, not a URL */
	/* of a pack; not set by recv */
	const struct fetch_part *parts;
	uint32_t nparts;
};
int fetch_url_send(struct chan *, uint32_t id, const struct fetch_url *);
int fetch_url_recv(struct ibuf *, struct fetch_url *);
/* The bytes of the memfd, for an object of that length; the caller frees
   *parts. */
int fetch_parts_decode(const uint8_t *, size_t, uint64_t length,
    struct fetch_part **parts, uint32_t *n);
struct fetch_url_res {
	uint16_t status; /* 0: no answer */
	uint8_t equal;
	uint8_t dated; /* skew_ms is known: the store's Date less our clock */
	int64_t skew_ms;
	uint64_t length;  /* of the whole object, says the store; 0: unknown */
	const char *what; /* of a sender */
	char said[FETCH_SAID_MAX + 1]; /* of a receiver: the same, printable */
	/* of the store's error, as S3 names them: "NoSuchKey"; "": unknown */
	char code[FETCH_CODE_MAX + 1];
	/* where the bucket is, says the store: a region or a host; "": nowhere
	   else */
	char elsewhere[FETCH_ELSEWHERE_MAX + 1];
};
/* Such a code, or none. */
int fetch_code_ok(const char *, size_t);
int fetch_elsewhere_ok(const char *, size_t);
/* The first of such words, with an end; to: FETCH_SAID_MAX + 1. */
void fetch_printable(char *to, const char *, size_t);
int fetch_url_res_send(struct chan *, uint32_t id, const struct fetch_url_res *,
    int parts_fd);
int fetch_url_res_recv(struct ibuf *, struct fetch_url_res *);

/* fetch_list.c: a page of the bucket. */
struct fetch_listed {
	const char *key; /* not terminated */
	size_t len;
	uint64_t bytes;
	int64_t written_s;
};
struct fetch_list {
	int more;
	uint16_t n;
	struct fetch_listed keys[FETCH_LIST_KEYS];
	uint8_t *data; /* of one that was decoded: where its keys are */
};
int fetch_list_send(struct chan *, uint32_t id, const char *url, size_t len,
    uint32_t deadline_ms);
int fetch_list_recv(struct ibuf *, const char **url, size_t *len,
    uint32_t *deadline_ms);
/* By memcmp(3), as a bucket is listed. */
int fetch_key_cmp(const char *a, size_t alen, const char *b, size_t blen);
/* The bytes of the memfd, for free(3); NULL and errno, EBADMSG: the keys do not
   ascend, or it is otherwise no page. */
uint8_t *fetch_list_encode(const struct fetch_list *, size_t *len);
/* NULL and errno, EBADMSG: malformed. */
struct fetch_list *fetch_list_decode(const uint8_t *, size_t);
void fetch_list_free(struct fetch_list *);
/* What it has counted since it started: of objects, and of the API. */
enum fetch_class { FETCH_OBJECTS = 0, FETCH_REQUESTS, FETCH_CLASSES };
#define FETCH_NEVER UINT64_MAX
struct fetch_numbers {
	struct {
		uint64_t tries;  /* begun */
		uint64_t again;  /* tries that were followed by another */
		uint64_t failed; /* ended without an answer */
		uint64_t sent, received;   /* bytes of bodies */
		uint64_t running, waiting; /* at the moment */
	} of[FETCH_CLASSES];
	/* Since the API answered, and since a try of it got no answer, or
	   that of a server that cannot; FETCH_NEVER. */
	uint64_t answered_ms, unanswered_ms;
};
#define FETCH_NUMBERS_LEN ((7 * FETCH_CLASSES + 2) * 8)
int fetch_numbers_send(struct chan *, uint32_t id,
    const struct fetch_numbers *);
int fetch_numbers_recv(struct ibuf *, struct fetch_numbers *);

/* id: the request that is not wanted any more. */
int fetch_cancel_send(struct chan *, uint32_t id);
int fetch_cancel_recv(struct ibuf *, uint32_t *id);

/* For a parent of a fetch: reads CA, resolver and hosts files and sends all of
   the configuration.  ca_file NULL: the system's. -1 after a message. */
struct fetch_config {
	const char *api_url, *key, *ca_file;
	uint32_t concurrency, deadline_ms;
	uint64_t memory;
};
int fetch_configure(struct chan *, const struct fetch_config *);
/* 0 when such a ca_file can be read, or is NULL; -1 after a message. */
int fetch_ca_check(const char *path);

#endif
