/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * record: what stands in the journal of a mount (sailvold(8), FILES): each
 * acknowledged change, in the words of the overlay.  Written by fuse, read and
 * applied by manifest, which checks each as it would a stranger's.  Pure
 * encoding and decoding; little-endian (lib/bytes.h).
 *
 * The overlay is a graph: objects (files, directories, ...) have a number that
 * is never used twice; names (directory object, name) point to objects, or say
 * that nothing is there (a whiteout).  Object 1 is the root.  A directory
 * object with an origin (commit, path) shows the names of that directory of
 * the base where it has no name of its own.
 */
#ifndef SAILVOLD_RECORD_H
#define SAILVOLD_RECORD_H

#include "lib/entry.h"
#include "lib/path.h"

/*
 * A record holds one entry and two names at most: of the entry 64 KiB
 * are xattrs, the rest is little.
 */
#define RECORD_MAX_BYTES (128 * 1024)
#define RECORD_LINE_MAX (64 * 1024) /* of ctl */
#define ENTRY_SOCKET 5              /* in an overlay only: never published */
#define OVL_ROOT ((uint64_t)1)

enum record_type {
	/* next: numbers below it may be in use. */
	RECORD_ALLOC = 1,
	/* (parent, name), which the mount shows from the base or from the
	   origin of a moved directory, becomes object ovl: entry as shown;
	   origin: where it comes from.  Content stays clean. */
	RECORD_COPYUP,
	/* A new object: entry (a file: size 0, content in file ovl). */
	RECORD_MAKE,
	RECORD_LINK,   /* (parent, name) is ovl too; time: its ctime */
	RECORD_REMOVE, /* (parent, name) is gone; time: parent's mtime, ctime */
	/* (parent, name) becomes (parent2, name2); flags RENAME_EXCHANGE;
	   what stood there is gone; time: of the parents and the object's ctime */
	RECORD_RENAME,
	RECORD_ATTR,  /* mask of RECORD_ATTR_*, entry's fields */
	RECORD_XATTR, /* entry.xattrs replaces; time: ctime */
	/* The content of ovl is from now on its overlay file (copied up or cut
	   to nothing): size, mtime, ctime. */
	RECORD_CONTENT,
	/* Size, mtime, ctime of an overlay file after its last writer. */
	RECORD_SETTLE,
	/* Somebody may write to ovl from now on, the first since it was last
	   handed out to be hashed. */
	RECORD_DIRTY,
	/* ovl has no name, and its last handle is gone. */
	RECORD_DROP,
	/* A finished line of .sailvol/ctl: session, uid, gid, line. */
	RECORD_CTL,
	/* As SETTLE, with a writer that may say nothing of what it writes then:
	   after a crash it is settled once more. */
	RECORD_LOOK
};

#define RECORD_ATTR_MODE 0x01
#define RECORD_ATTR_UID 0x02
#define RECORD_ATTR_GID 0x04
#define RECORD_ATTR_MTIME 0x08 /* always with CTIME */
#define RECORD_ATTR_CTIME 0x10
#define RECORD_ATTR_SIZE 0x20 /* of an overlay file: content changed */

struct record {
	uint8_t type;
	/* unique number of the request without bit 63; 0: none */
	uint64_t unique;
	int32_t result; /* what the request is answered: 0 or an errno */
	uint64_t parent, ovl, parent2;
	const uint8_t *name, *name2;
	size_t name_len, name2_len;
	uint32_t flags; /* RENAME_*, RECORD_ATTR_* */
	struct timens time;
	struct entry entry; /* type may be ENTRY_SOCKET */
	/* COPYUP: where it is in a commit */
	struct hash origin_commit;
	const uint8_t *origin_path;
	size_t origin_path_len;
	uint64_t next;    /* ALLOC */
	uint64_t session; /* CTL */
	uint32_t uid, gid;
	const uint8_t *line;
	size_t line_len;
};

/*
 * An entry as records and items carry it: u8 type (with ENTRY_SOCKET), u64
 * size, str32 xattrs, then entry_encode() without xattrs.  A file of the
 * overlay (size, and no chunks) stands in it as one of size 0.
 */
void record_entry_encode(struct wbuf *, const struct entry *);
/* Views into r's memory.  0, or -1 with r->error. */
int record_entry_decode(struct rbuf *r, struct entry *);

/*
 * On disk: u32 length of all that follows but the CRC, u8 type, u64 unique,
 * i32 result, payload, u32 CRC-32C of length to payload.
 */
void record_encode(struct wbuf *, const struct record *);
/*
 * The record at the front of data.  1 and the bytes it takes; 0: more bytes are
 * needed (a torn end); -1 and *why: not a record.  Views into data.
 */
int record_decode(const uint8_t *data, size_t len, struct record *,
    size_t *taken, const char **why);
/* Length and checksum at the front of data fit, whatever is in between: 1. */
int record_is_whole(const uint8_t *data, size_t len);

/*
 * A segment: magic "SAILJNL1", u16 version, mount id (16), connection id
 * (16, random: of this connection to the kernel), u64 first offset; then
 * records.  Named by its first offset, 16 hex digits.  Offsets are logical:
 * bytes of records since the mount was made; they never go back.
 */
#define SEGMENT_MAGIC "SAILJNL1"
#define SEGMENT_VERSION 2       /* another for each new type of record */
#define SEGMENT_VERSION_FIRST 1 /* without RECORD_LOOK */
#define SEGMENT_HEADER_LEN (8 + 2 + 16 + 16 + 8)
#define SEGMENT_BYTES (16 * 1024 * 1024)
/* Of one journal that are not applied: to more than these nothing is added. */
#define SEGMENTS_MAX 1024
struct segment_header {
	uint8_t mount[16], connection[16];
	uint64_t first;
	uint16_t version; /* decoded; what is encoded is SEGMENT_VERSION */
};
void segment_header_encode(uint8_t out[SEGMENT_HEADER_LEN],
    const struct segment_header *);
const char *segment_header_decode(const uint8_t *, size_t,
    struct segment_header *);

#endif
