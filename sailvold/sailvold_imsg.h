/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvold_imsg: the messages between the processes of sailvold(8) (those of
 * sailvol-fetch are in lib/fetch_imsg.h).  Each has its direction, its
 * descriptor and its body; the pairs that write and read bodies are below.
 * Strings: u16 or u32 length (big endian, ibuf_add_n*), then bytes.  The
 * number of a message (imsg's peerid) is the asker's; an answer repeats it.
 * `instance' is the parent's number of a mount, the same in all processes.
 */
#ifndef SAILVOLD_IMSG_H
#define SAILVOLD_IMSG_H

#include "lib/chunklist.h"
#include "lib/fetch_imsg.h"
#include "lib/path.h"
#include "lib/proc.h"
#include "sailvold/idmap.h"
#include "sailvold/policy.h"
#include "sailvold/record.h"

/*
 * X(name, number, from, to, descriptor, body)
 *
 * Mount: parent asks manifest (MOUNT), which finds the volume, its base and
 * root; then the parent makes the session, starts fuse and connects it; fuse
 * is READY, says HELLO after its segments, gets START, answers INIT; the parent
 * attaches the mount when it is READY and START_RES says so.
 */
#define SAILVOLD_MESSAGES(X)                                                      \
	/* parent and manifest */                                                 \
	X(PARENT_MANIFEST_CONFIG, 100, PARENT, MANIFEST, NOFD,                    \
	    "u64 stash bytes, u64 of all, u32 stash days, u64 node cache bytes")  \
	X(PARENT_MANIFEST_MOUNT, 101, PARENT, MANIFEST, NOFD,                     \
	    "struct mount_req")                                                   \
	X(MANIFEST_PARENT_MOUNT_RES, 102, MANIFEST, PARENT, NOFD,                 \
	    "u32 errno, str16 what, str16 volume id")                             \
	X(PARENT_MANIFEST_GONE, 103, PARENT, MANIFEST, NOFD,                      \
	    "u32 instance: unmounted, forget it (its overlay stays)")             \
	X(PARENT_MANIFEST_CLIENT, 104, PARENT, MANIFEST, FD,                      \
	    "u32 uid, u32 gid, u32 pid, ticket (32: warrant.h), u16 n, n of u32 " \
	    "supplementary gid: accepted at the control socket")                  \
	X(MANIFEST_PARENT_DO, 105, MANIFEST, PARENT, FD,                          \
	    "struct parent_req: mount, umount, restart for the client whose "     \
	    "socket that is")                                                     \
	X(PARENT_MANIFEST_DONE, 106, PARENT, MANIFEST, NOFD,                      \
	    "u32 errno, str16 what, str16 warning, u32 instance")                 \
	X(MANIFEST_PARENT_NOTIFY, 107, MANIFEST, PARENT, NOFD,                    \
	    "u32 instance: start its notify, and connect it to me")               \
	X(MANIFEST_PARENT_STATUS, 108, MANIFEST, PARENT, NOFD, "empty")           \
	X(PARENT_MANIFEST_STATUS_RES, 109, PARENT, MANIFEST, FD,                  \
	    "memfd: JSON object of processes, cache and sandbox")                 \
	X(MANIFEST_PARENT_START_RES, 110, MANIFEST, PARENT, NOFD,                 \
	    "u32 errno, str16 what; numbered by instance: its fuse has START, "   \
	    "or why it gets none")                                                \
	X(PARENT_MANIFEST_DIRTY, 111, PARENT, MANIFEST, NOFD, "u32 instance")     \
	X(MANIFEST_PARENT_DIRTY_RES, 112, MANIFEST, PARENT, NOFD,                 \
	    "u32 instance, u8 it has changes that are not published")             \
	X(PARENT_MANIFEST_ENDS, 113, PARENT, MANIFEST, NOFD,                      \
	    "empty: sailvold ends; nobody need listen to a job any more, and an " \
	    "umount that waits for one is asked for")                             \
	X(PARENT_MANIFEST_POLICY, 114, PARENT, MANIFEST, NOFD,                    \
	    "u32 instance, struct mount_policy: it is another now")               \
	X(PARENT_MANIFEST_LAST, 115, PARENT, MANIFEST, NOFD,                      \
	    "empty: sailvold is to end: commit where it is to be done at umount") \
	X(MANIFEST_PARENT_LAST_RES, 116, MANIFEST, PARENT, NOFD,                  \
	    "empty: it is done, or cannot be")                                    \
	X(PARENT_MANIFEST_NUMBERS, 117, PARENT, MANIFEST, NOFD, "empty")          \
	X(MANIFEST_PARENT_NUMBERS_RES, 118, MANIFEST, PARENT, FD,                 \
	    "memfd of manifest's numbers (metrics_imsg.h), passed on unread")     \
	X(MANIFEST_PARENT_ENDS_RES, 119, MANIFEST, PARENT, NOFD,                  \
	    "empty: all that is to be asked for before the end has been")         \
	/* parent and fuse, notify */                                             \
	X(PARENT_FUSE_CONFIG, 120, PARENT, FUSE, NOFD, "struct fuse_config")      \
	X(PARENT_FUSE_TABLE, 121, PARENT, FUSE, FD,                               \
	    "u64 slots; memfd of the inode table, kept by the parent")            \
	X(PARENT_FUSE_SESSION, 122, PARENT, FUSE, FD,                             \
	    "u8 takeover, connection id (16), INIT as read; /dev/fuse")           \
	X(PARENT_NOTIFY_SESSION, 123, PARENT, NOTIFY, FD, "empty; /dev/fuse")     \
	X(FUSE_PARENT_BACKING, 124, FUSE, PARENT, NOFD,                           \
	    "u16 n, n of u64 ovl: register these overlay files for passthrough")  \
	X(PARENT_FUSE_BACKING_RES, 125, PARENT, FUSE, NOFD,                       \
	    "u16 n, n of u64 ovl, u32 errno, u32 id of the kernel; unasked, "     \
	    "those that a fuse before this one had registered")                   \
	X(FUSE_PARENT_BACKING_CLOSE, 126, FUSE, PARENT, NOFD,                     \
	    "u16 n, n of u64 ovl: not needed any more")                           \
	X(PARENT_FUSE_AWAKE, 127, PARENT, FUSE, MAYFD,                            \
	    "u8 enum wakeful_mode; /dev/cpu_dma_latency, for that mode")          \
	X(PARENT_FUSE_LIMIT, 128, PARENT, FUSE, NOFD,                             \
	    "u64 bytes: the limit of its overlay files is another; 0: none")      \
	/* parent and cache */                                                    \
	X(PARENT_CACHE_CONFIG, 130, PARENT, CACHE, NOFD,                          \
	    "u64 limit bytes, u64 bytes to keep free (0: max(2 %, 1 GiB))")       \
	X(PARENT_CACHE_STATUS, 131, PARENT, CACHE, NOFD, "empty")                 \
	X(CACHE_PARENT_STATUS_RES, 132, CACHE, PARENT, NOFD,                      \
	    "u64 used, u64 limit, u64 files, u64 hits, u64 fetched bytes")        \
	X(PARENT_CACHE_VOLUME, 133, PARENT, CACHE, NOFD,                          \
	    "u32 instance, str16 volume id: all that the fuse of that mount "     \
	    "may have; empty: the mount is gone")                                 \
	/* parent and metrics */                                                  \
	X(PARENT_METRICS_LISTEN, 134, PARENT, METRICS, FD,                        \
	    "empty; the listening socket")                                        \
	X(METRICS_PARENT_ASK, 135, METRICS, PARENT, NOFD,                         \
	    "empty: what you know, and what the others answer you")               \
	X(PARENT_METRICS_PARENT, 136, PARENT, METRICS, FD,                        \
	    "memfd of the parent's numbers (metrics_imsg.h)")                     \
	X(PARENT_METRICS_MANIFEST, 137, PARENT, METRICS, FD,                      \
	    "memfd of manifest's numbers")                                        \
	X(PARENT_METRICS_CACHE, 138, PARENT, METRICS, NOFD,                       \
	    "the body of CACHE_PARENT_STATUS_RES")                                \
	X(PARENT_METRICS_FETCH, 139, PARENT, METRICS, NOFD,                       \
	    "u32 instance, the body of FETCH_NUMBERS_RES")                        \
	/* fuse and manifest: start and journal */                                \
	X(FUSE_MANIFEST_SEGMENT, 140, FUSE, MANIFEST, FD,                         \
	    "u64 first offset; segment, read-only; also each new one later")      \
	X(FUSE_MANIFEST_HELLO, 141, FUSE, MANIFEST, NOFD,                         \
	    "mount id (16), u64 end offset, u8 a store through a mapping moves "  \
	    "the ctime of an overlay file (overlay_probe)")                       \
	X(MANIFEST_FUSE_START, 142, MANIFEST, FUSE, NOFD, "struct start")         \
	X(MANIFEST_FUSE_APPLIED, 143, MANIFEST, FUSE, NOFD,                       \
	    "u64 offset: durable in SQLite")                                      \
	X(FUSE_MANIFEST_PASSTHROUGH, 144, FUSE, MANIFEST, NOFD,                   \
	    "u8 enum passthrough_state, for status; after each START, and when "  \
	    "it changes")                                                         \
	X(FUSE_MANIFEST_POOL, 145, FUSE, MANIFEST, NOFD,                          \
	    "u16 n, n of u64 ovl: made ahead by a fuse that died: UNLINK for "    \
	    "those that no object is, then POOL_RES")                             \
	X(MANIFEST_FUSE_POOL_RES, 146, MANIFEST, FUSE, NOFD, "empty")             \
	X(FUSE_MANIFEST_USE, 147, FUSE, MANIFEST, NOFD,                           \
	    "u64 bytes that its overlay files take, u64 limit, for status; "      \
	    "where there is a limit: after each START, and when it changes")      \
	/* fuse and manifest: what is where */                                    \
	X(FUSE_MANIFEST_LOAD, 150, FUSE, MANIFEST, NOFD, "struct load")           \
	X(MANIFEST_FUSE_LOAD_RES, 151, MANIFEST, FUSE, MAYFD,                     \
	    "u32 errno, u8 end, str16 upto, then items, or memfd of items")       \
	X(FUSE_MANIFEST_OBJECT, 152, FUSE, MANIFEST, NOFD,                        \
	    "u64 offset it must include, u64 ovl")                                \
	X(MANIFEST_FUSE_OBJECT_RES, 153, MANIFEST, FUSE, MAYFD,                   \
	    "u32 errno, u32 names, then one item with an empty name")             \
	X(FUSE_MANIFEST_CHUNKS, 154, FUSE, MANIFEST, NOFD,                        \
	    "u64 offset, u64 ovl (0: none), hash commit, str16 path")             \
	X(MANIFEST_FUSE_CHUNKS_RES, 155, MANIFEST, FUSE, MAYFD,                   \
	    "u32 errno; memfd of the flat chunk list")                            \
	/* fuse and manifest: commit */                                           \
	X(MANIFEST_FUSE_SYNC, 160, MANIFEST, FUSE, NOFD,                          \
	    "empty: settle what is open for writing, say where you are")          \
	X(FUSE_MANIFEST_SYNC_RES, 161, FUSE, MANIFEST, NOFD, "u64 offset")        \
	X(MANIFEST_FUSE_OPEN, 162, MANIFEST, FUSE, NOFD,                          \
	    "u64 ovl: to be hashed; RECORD_DIRTY starts anew for it")             \
	X(FUSE_MANIFEST_OPEN_RES, 163, FUSE, MANIFEST, MAYFD,                     \
	    "u32 errno, u8 writers (a handle or mapping that may write lives)")   \
	X(FUSE_MANIFEST_OPEN_REST, 167, FUSE, MANIFEST, FD,                       \
	    "empty, before OPEN_RES with its number: the file is not whole; "     \
	    "what lacks (lib/rest.h), read-only")                                 \
	X(MANIFEST_FUSE_UNLINK, 164, MANIFEST, FUSE, NOFD,                        \
	    "u16 n, n of u64 ovl: these overlay files may go")                    \
	X(MANIFEST_FUSE_LET_GO, 165, MANIFEST, FUSE, NOFD,                        \
	    "u16 n, n of u64 ovl: they lost their names by a reload; "            \
	    "RECORD_DROP for each, at once or when its last handle goes "         \
	    "(also for those that fuse does not know); with number 1: for those " \
	    "that fuse does not know alone")                                      \
	X(MANIFEST_FUSE_SETTLE, 166, MANIFEST, FUSE, NOFD,                        \
	    "u16 n, n of u64 ovl, u64 size, i64 s and u32 ns of its mtime and "   \
	    "its ctime, u8 settled: RECORD_SETTLE for those without a writer (a " \
	    "fuse died before it); of a settled one when its size is another "    \
	    "(a loss of power)")                                                  \
	/* fuse and manifest: reload */                                           \
	X(MANIFEST_FUSE_RELOAD, 170, MANIFEST, FUSE, NOFD,                        \
	    "empty: park changes, settle, say where you are")                     \
	X(FUSE_MANIFEST_RELOAD_RES, 171, FUSE, MANIFEST, NOFD, "u64 offset")      \
	X(MANIFEST_FUSE_SWITCH, 172, MANIFEST, FUSE, MAYFD,                       \
	    "struct start; memfd of differences; also ends a failed reload "      \
	    "(same epoch, no memfd)")                                             \
	X(FUSE_MANIFEST_SWITCHED, 173, FUSE, MANIFEST, FD,                        \
	    "u32 open writers whose file is stashed; memfd of notifications")     \
	X(MANIFEST_FUSE_CACHE_PUT, 174, MANIFEST, FUSE, NOFD,                     \
	    "u64 ovl, hash content, u64 size, str32 flat chunk list (or none: "   \
	    "ask CHUNKS): hand it to cache if it has no writers")                 \
	X(FUSE_MANIFEST_CACHE_PUT_RES, 175, FUSE, MANIFEST, NOFD, "u32 errno")    \
	X(MANIFEST_NOTIFY_TELL, 176, MANIFEST, NOTIFY, FD,                        \
	    "memfd of notifications")                                             \
	X(NOTIFY_MANIFEST_TOLD, 177, NOTIFY, MANIFEST, NOFD,                      \
	    "u32 told, u32 unknown to the kernel")                                \
	/* fuse and manifest: .sailvol/ctl */                                     \
	X(FUSE_MANIFEST_CTL, 180, FUSE, MANIFEST, FD,                             \
	    "u64 session, u32 uid, u32 gid, u64 offset after its record; "        \
	    "memfd of the line")                                                  \
	X(MANIFEST_FUSE_CTL_LINE, 181, MANIFEST, FUSE, FD,                        \
	    "u64 session, u8 last; memfd of the line without its new line")       \
	X(FUSE_MANIFEST_CTL_CLOSE, 182, FUSE, MANIFEST, NOFD, "u64 session")      \
	/* fuse and cache */                                                      \
	X(FUSE_CACHE_BAD, 190, FUSE, CACHE, NOFD,                                 \
	    "hash of a chunk that could not be read from the file it was given "  \
	    "in, or is not there: look at it before it is given out again")       \
	X(FUSE_CACHE_GET, 191, FUSE, CACHE, NOFD, "struct cache_want")            \
	X(CACHE_FUSE_GET_RES, 192, CACHE, FUSE, MAYFD,                            \
	    "u64 slot, u32 errno, str16 what; read-only file of that chunk, or "  \
	    "none: a BUNDLE before it has the chunk: one for each of a GET, in "  \
	    "any order")                                                          \
	X(CACHE_FUSE_BUNDLE, 196, CACHE, FUSE, FD,                                \
	    "the body of FETCH_GET_BUNDLE: verified small chunks of the mount's " \
	    "volume; a sealed memfd or a read-only file with them")               \
	X(FUSE_CACHE_PUT, 193, FUSE, CACHE, FD,                                   \
	    "struct cache_want; a file, read-only, with each of these chunks "    \
	    "at slot << shift: take copies")                                      \
	X(CACHE_FUSE_PUT_RES, 194, CACHE, FUSE, NOFD, "u32 errno: of all")        \
	X(FUSE_CACHE_ROOM, 197, FUSE, CACHE, NOFD,                                \
	    "u64 bytes, u64 device: there is no room there for what somebody "    \
	    "writes, if not so many are free: the cache is to give way")          \
	X(CACHE_FUSE_ROOM_RES, 198, CACHE, FUSE, NOFD,                            \
	    "u64 bytes: of what was given up")                                    \
	X(CACHE_FUSE_LET_GO, 199, CACHE, FUSE, NOFD,                              \
	    "empty: files were given up to make room: close them")                \
	X(FUSE_CACHE_CANCEL, 195, FUSE, CACHE, NOFD,                              \
	    "u32 number: nobody waits for the rest of that GET any more")

/* Of a line that .sailvol/ctl answers: its clients take that much. */
#define CTL_ANSWER_MAX (64 * 1024 * 1024 - 1)

enum sailvold_message {
#define X(name, number, from, to, fd, body) IMSG_##name = number,
	SAILVOLD_MESSAGES(X)
#undef X
};

#define CLIENT_GROUPS_MAX 8192 /* supplementary ones of a client */
#define MOUNT_POINT_MAX 1024   /* bytes of the path of a mount point */

#define MOUNT_READONLY 0x1
#define MOUNT_CREATE 0x2       /* make the volume when it is missing */
#define MOUNT_SUID 0x4         /* setuid bits count */
#define MOUNT_CONFIGURED 0x8   /* from the configuration, not by a command */
#define MOUNT_AGAIN 0x10       /* told to a new manifest: the mount lives */
#define MOUNT_PASSTHROUGH 0x20 /* of fuse_config: where the kernel can */
#define MOUNT_BACK 0x40        /* of what was there before the daemon began */
#define MOUNT_NOEXEC 0x80      /* no program of it is executed */

struct mount_req {
	uint32_t instance;
	uint8_t mount
	    [16]; /* of (volume, subpath, mount point): where its overlay is */
	uint32_t flags;
	uint32_t uid; /* who mounted it */
	char volume[SAIL_VOLUME_NAME_MAX + 1];
	char *subpath; /* "" or a path; owned by who fills it */
	char *path;    /* the mount point, absolute, for messages and status */
	int has_commit;
	struct hash commit; /* -c */
	struct idmap ids;
	struct mount_policy policy;
};
int mount_req_send(struct chan *, uint32_t id, const struct mount_req *);
int mount_req_recv(struct ibuf *, struct mount_req *); /* mount_req_free */
void mount_req_free(struct mount_req *);
int policy_send(struct chan *, uint32_t instance, const struct mount_policy *);
int policy_recv(struct ibuf *, uint32_t *instance, struct mount_policy *);

/* In PARENT_MANIFEST_DONE: of what root wrote nothing was read. */
#define PARENT_REFUSED EKEYREJECTED

enum parent_verb {
	PARENT_MOUNT = 1,
	PARENT_UMOUNT,
	PARENT_FORGET, /* one that waits for its server */
	PARENT_RESTART
};
struct parent_req {
	uint8_t verb;       /* enum parent_verb */
	struct hash ticket; /* of the client */
	uint32_t line;      /* bytes of its line that are still in its socket */
	uint8_t force;
	struct mount_req mount; /* UMOUNT, FORGET: path alone; RESTART: none */
};
/* fd: the client's socket, taken on success. */
int parent_req_send(struct chan *, uint32_t id, const struct parent_req *,
    int fd);
int parent_req_recv(struct ibuf *, struct parent_req *);

struct fuse_config {
	uint8_t mount[16];
	uint32_t flags;         /* MOUNT_* */
	uint64_t overlay_limit; /* bytes, 0: none */
	uint64_t view_bytes;    /* memory for names that can be asked again */
	struct idmap ids;
	char volume[SAIL_VOLUME_NAME_MAX + 1];
};
int fuse_config_send(struct chan *, const struct fuse_config *);
int fuse_config_recv(struct ibuf *, struct fuse_config *);

/* Overlay files in one message about backing files, and in all of a mount. */
#define BACKING_BATCH 256
#define BACKING_MAX 8192

enum passthrough_state {
	PASSTHROUGH_OFF = 0, /* by the configuration, or read only */
	PASSTHROUGH_NONE,    /* the kernel, or what is below, cannot */
	PASSTHROUGH_ON,
	PASSTHROUGH_STATES
};

/* Numbers of overlay files: u16 n, n of u64; at most max in one. */
int numbers_send(struct chan *, uint32_t type, uint32_t id,
    const uint64_t *ovls, uint16_t n);
int numbers_recv(struct ibuf *, uint64_t *ovls, uint16_t max, uint16_t *n);

struct backing_res {
	uint64_t ovl;
	uint32_t error; /* errno */
	uint32_t id;    /* of the kernel */
};
int backing_res_send(struct chan *, uint32_t id, const struct backing_res *,
    uint16_t n);
int backing_res_recv(struct ibuf *, struct backing_res[BACKING_BATCH],
    uint16_t *n);

/* What a mount shows from now on. */
struct start {
	uint64_t epoch;   /* grows with each reload */
	uint64_t applied; /* journal offset that is durable */
	uint64_t next;    /* overlay number that was never taken */
	struct hash base; /* commit */
	uint64_t base_number;
	uint8_t volume_version;
	char volume_id[64], volume[SAIL_VOLUME_NAME_MAX + 1], org[128];
	/* Root: an item for object 1 (attributes, origin). */
	const uint8_t *root; /* encoded item (views) */
	size_t root_len;
};
int start_send(struct chan *, uint32_t type, uint32_t id, const struct start *,
    int fd);
int start_recv(struct ibuf *, struct start *);

/* An object of MANIFEST_FUSE_SETTLE (number, size, mtime, ctime, and 1 when it
   is settled), and how many are in one at most. */
#define SETTLE_ITEM_LEN 41

/* Number of MANIFEST_FUSE_LET_GO. */
#define LET_GO_LEFT 1 /* the one before may not have been heard */
#define SETTLE_BATCH 1024

/*
 * Names of one directory, from `first' on.  ovl: its object, or 0 and its
 * origin alone.  offset: changes up to there must be in the answer.
 */
#define LOAD_ONE 0x1 /* only the name `first', or nothing */
struct load {
	uint64_t offset, ovl;
	int has_origin;
	struct hash origin_commit;
	const uint8_t *origin_path, *first;
	size_t origin_path_len, first_len;
	uint32_t max; /* entries; 0: as many as fit a page */
	uint8_t flags;
};
int load_send(struct chan *, uint32_t id, const struct load *);
int load_recv(struct ibuf *, struct load *);

/*
 * One name as the mount shows it.  In answers an item is: u32 length, then
 * str16 name, u64 ovl, u8 flags, u32 links, u8 has_origin (and then hash,
 * str16 path), record_entry_encode() (little-endian, lib/bytes.h).  end: no name follows the last item; else what
 * was answered reaches to `upto', including it.
 */
#define ITEM_LOCAL 0x01     /* content is the overlay file ovl */
#define ITEM_UNSETTLED 0x02 /* fstat says size and times */
#define ITEM_CLEAN 0x04     /* published as it is: writing is RECORD_DIRTY */
struct item {
	const uint8_t *name;
	size_t name_len;
	uint64_t ovl;  /* 0: clean, from the origin of its directory */
	uint8_t flags; /* ITEM_* */
	uint32_t
	    links; /* names of an object in the overlay; 1 for clean ones */
	/*
	 * Of an object: the commit and path where its clean content, or the names
	 * of a directory, are; of a clean name: that of its directory and name.
	 */
	int has_origin;
	struct hash origin_commit;
	const uint8_t *origin_path;
	size_t origin_path_len;
	struct entry entry;
};
void item_encode(struct wbuf *, const struct item *);
/* 1 and the next, 0 at the end, -1 with r->error. */
int item_decode(struct rbuf *r, struct item *);

/*
 * Differences between what the mount showed and shows after a reload, by
 * path in the mount, ascending by path_cmp: u8 kind, str16 path.  A directory
 * that is GONE or NEW stands for all below it.  In front of them stands where
 * objects that have another origin since come from: u8 ORIGIN, u64 ovl, 32 bytes
 * commit, str16 path in the volume.
 */
#define DIFF_MAX_BYTES ((size_t)256 << 20)
#define DIFF_MAX_NAMES \
	((size_t)4 << 20) /* names that differ, or are looked at */
enum diff_kind {
	DIFF_ATTR = 1, /* same object and content: other attributes (a
			  directory's mtime too) */
	DIFF_NEW,      /* nothing was there */
	DIFF_GONE,
	DIFF_OTHER, /* other content or type: a new node id */
	DIFF_ORIGIN
};
struct diff_origin {
	uint64_t ovl;
	struct hash commit;
	const uint8_t *path;
	size_t len;
};
void diff_origin_encode(struct wbuf *, const struct diff_origin *);
/* 1; 0: there are no more. */
int diff_origin_decode(struct rbuf *, struct diff_origin *);
void diff_encode(struct wbuf *, uint8_t kind, const void *path, size_t len);
/* Of origins, in front, it says nothing. */
int diff_decode(struct rbuf *, uint8_t *kind, const uint8_t **path,
    size_t *len);

/*
 * Notifications: u8 kind, u64 node id (ENTRY: of the directory), str16 name.
 * All that a difference can give has room: its name, and three of them.
 */
#define TELL_MAX_BYTES ((size_t)1 << 30)
#define TELL_HEAD_BYTES (1 + 8 + 2)
_Static_assert(DIFF_MAX_BYTES + 3 * TELL_HEAD_BYTES * DIFF_MAX_NAMES <=
	TELL_MAX_BYTES / 2,
    "notifications of a reload");
enum tell_kind { TELL_ENTRY = 1, TELL_ATTR, TELL_LIST };
void tell_encode(struct wbuf *, uint8_t kind, uint64_t nodeid, const void *name,
    size_t len);
int tell_decode(struct rbuf *, uint8_t *kind, uint64_t *nodeid,
    const uint8_t **name, size_t *len);

/*
 * What one fuse may have asked of cache without an answer yet: chunks of GET,
 * and PUTs; more is a violation.
 */
#define CACHE_GETS_MAX 512
#define CACHE_PUTS_MAX 64

/* Chunks of a file of the mount's own volume, and where they may be had from. */
#define CACHE_WANT_MAX 64
struct cache_want {
	struct hash commit;
	const uint8_t *path; /* in the volume */
	size_t path_len;
	uint8_t shift;
	uint16_t n;
	struct fetch_get_chunk chunks[CACHE_WANT_MAX]; /* slots ascend */
};
int cache_want_send(struct chan *, uint32_t type, uint32_t id,
    const struct cache_want *, int fd);
int cache_want_recv(struct ibuf *, struct cache_want *);

#endif
