/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * wire: the binary bodies of the API, sailapi(7) and sailvol-format(5), HTTP
 * BODIES: requests for nodes, bundles of nodes, chunk look-ups and locations.
 * Pure encoding and decoding; used by manifest, sailvol-fetch, sailvolctl and
 * meta.
 */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

#include "lib/commit.h"
#include "lib/path.h"

#define WIRE_BUDGET_MAX (8 * 1024 * 1024)
#define WIRE_BATCH_MAX 4096 /* chunks of one request */
#define WIRE_URL_MAX 4096
#define WIRE_PACK_CHUNK (1024 * 1024)      /* smaller chunks go into packs */
#define WIRE_PACK_BYTES (8 * 1024 * 1024u) /* of a pack */
#define WIRE_PACK_MAX 4096                 /* chunks of one */
/* Random bytes behind those of a pack, so that its name tells nothing of what
   is in it to who knows some of that; and what is left for chunks. */
#define WIRE_PACK_TAIL 32
#define WIRE_PACK_ROOM (WIRE_PACK_BYTES - WIRE_PACK_TAIL)
#define WIRE_CONTENT_TYPE "application/x-sailvol"
/* A header of requests and their answers: which belong together, by 16 digits
   that the client makes up. */
#define WIRE_REQUEST "Sail-Request"
#define WIRE_REQUEST_LEN 16

/*
 * POST /v1/volumes/ID/nodes: the nodes of the directory at path of a commit
 * from the leaf that holds `first' on, then what lies below, breadth first, to
 * the budget; nodes that the directory of the same path in commit `have' shares are
 * left out when has_have is set.
 */
struct wire_nodes_req {
	struct hash commit;
	int has_have;
	struct hash have;
	uint32_t budget; /* bytes of nodes */
	uint16_t depth;  /* directories below path: 0 that one alone */
	const uint8_t *path, *first;
	size_t path_len, first_len;
};
void wire_nodes_req_encode(struct wbuf *, const struct wire_nodes_req *);
const char *wire_nodes_req_decode(const uint8_t *, size_t,
    struct wire_nodes_req *);

/*
 * A bundle of nodes: answer of nodes and of head.  Header, then each node as
 * u32 length and bytes; the reader hashes them.  complete: all that was asked
 * for is in it; else the budget ended it.  cut: the commit is shown as far as the
 * key may see it, and its id is not the hash of these bytes.
 */
struct wire_bundle_writer {
	struct wbuf w;
	uint32_t count;
	int cut; /* set after wire_bundle_begin() */
};
void wire_bundle_begin(struct wire_bundle_writer *, const struct hash *commit,
    const uint8_t *commit_bytes, size_t commit_len);
void wire_bundle_add(struct wire_bundle_writer *, const uint8_t *, size_t);
uint8_t *wire_bundle_end(struct wire_bundle_writer *, int complete,
    size_t *len);
struct wire_bundle {
	struct rbuf r;
	struct hash commit;
	const uint8_t *commit_bytes; /* the commit's encoding; may be empty */
	size_t commit_len;
	int complete, cut;
	uint32_t count, next;
};
/* commit_bytes, when there, must hash to commit, if it is not cut. */
const char *wire_bundle_open(struct wire_bundle *, const uint8_t *, size_t);
/* 1 and a view, checked by node_check, with its hash; 0 end; -1 and
   b->r.error. */
int wire_bundle_next(struct wire_bundle *, const uint8_t **, size_t *,
    struct hash *, uint8_t *kind);

/*
 * POST /v1/volumes/ID/sessions/KEY/chunks: which of these does the server
 * lack?  Each: hash, plain bytes.
 */
struct wire_chunk {
	struct hash hash;
	uint32_t bytes;
};
void wire_chunks_encode(struct wbuf *, const struct wire_chunk *, uint32_t n);
/* Caller frees *chunks. */
const char *wire_chunks_decode(const uint8_t *, size_t, struct wire_chunk **,
    uint32_t *n);

/* Its answer, one for each in the same order. */
enum wire_presence {
	WIRE_PRESENT = 0,
	WIRE_UPLOAD = 1, /* PUT it to url with the headers */
	WIRE_PACK = 2    /* put it into a pack, and say so */
};
struct wire_upload {
	uint8_t presence;             /* enum wire_presence */
	struct hash object;           /* UPLOAD: hash of the stored bytes */
	const uint8_t *url, *headers; /* headers: lines "Name: value\n" */
	size_t url_len, headers_len;
};
void wire_uploads_begin(struct wbuf *, uint32_t n);
void wire_uploads_add(struct wbuf *, const struct wire_upload *);
const char *wire_uploads_decode(const uint8_t *, size_t, uint32_t expect,
    struct wire_upload **);

/*
 * POST /v1/volumes/ID/sessions/KEY/packs: an object that will hold these chunks,
 * raw, one behind the other, and the tail, which older packs, and one of a single
 * chunk, do not have.  The answer is that of chunks, of the one object.
 */
struct wire_pack {
	struct hash object;
	uint32_t length; /* with the tail */
	uint32_t n;
	struct wire_chunk *chunks;
};
void wire_pack_encode(struct wbuf *, const struct wire_pack *);
/* Its chunks are freed with wire_pack_free, which frees the struct too. */
const char *wire_pack_decode(const uint8_t *, size_t, struct wire_pack *);
void wire_pack_free(struct wire_pack *);

/*
 * POST /v1/volumes/ID/locate: where do these chunks of the file (commit, path)
 * lie?  slots ascending.  budget: so many bytes of other chunks, of the files
 * that follow, are welcome.
 */
struct wire_locate_req {
	struct hash commit;
	const uint8_t *path;
	size_t path_len;
	uint32_t budget;
	uint32_t nslots;
	uint64_t *slots; /* decoded: caller frees */
};
void wire_locate_req_encode(struct wbuf *, const struct wire_locate_req *);
const char *wire_locate_req_decode(const uint8_t *, size_t,
    struct wire_locate_req *);

/* A span of an object: answer of locate; several chunks may share one. */
struct wire_span {
	struct hash object;
	uint64_t offset, length; /* stored bytes, of the signed Range */
	const uint8_t *url, *headers;
	size_t url_len, headers_len;
	/* chunks in it, by offset */
	uint32_t nchunks;
	struct wire_span_chunk {
		uint64_t slot; /* UINT64_MAX: not asked for, a neighbour */
		struct hash hash;
		uint64_t offset; /* in the span */
		uint32_t stored, plain;
		uint8_t codec; /* 0 raw */
	} * chunks;
};
void wire_spans_begin(struct wbuf *, uint32_t n);
void wire_spans_add(struct wbuf *, const struct wire_span *);
/* Caller frees with wire_spans_free. */
const char *wire_spans_decode(const uint8_t *, size_t, struct wire_span **,
    uint32_t *n);
void wire_spans_free(struct wire_span *, uint32_t n);

#endif
