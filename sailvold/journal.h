/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal: the file in which every acknowledged change of a mount stands
 * before it is acknowledged: segments in the folder `journal' (record.h).  In
 * fuse, which alone writes and cuts them; manifest reads behind.
 */
#ifndef SAILVOLD_JOURNAL_H
#define SAILVOLD_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

/* What a resent request was answered. */
struct journal_done {
	uint64_t unique, ovl;
	uint64_t session; /* CTL */
	int32_t result;
	uint8_t type;
};

/*
 * Opens folder, checks all segments, cuts a torn end, and where a sync had failed
 * what is behind a torn segment.  A connection other than that of the last segment
 * begins a new one, with the first append if there is no room now.  takeover:
 * requests of this
 * connection are remembered for journal_find().  -1: errno, said in the log.
 */
int journal_open(const char *folder, const uint8_t mount[16],
    const uint8_t connection[16], int takeover);
void journal_close(void); /* tests */
uint64_t journal_end(void);
/*
 * Whole records, in one write(2): all of them stand there, or none and errno
 * (ENOSPC: no room, nothing was changed).
 */
int journal_append(const void *, size_t);
/*
 * Offsets go on from there: what was before is lost, and manifest has it.  Only
 * when it knows more than stands here.
 */
int journal_skip(uint64_t offset);
/* Removes whole segments up to the offset; one applied one is kept, unless that is
   one that is not on the disk. */
void journal_cut(uint64_t applied);
/* Called before a segment goes, with where its records begin and end. */
void journal_on_cut(void (*f)(uint64_t first, uint64_t end));
/* Read-only descriptors, oldest first; f owns fd. */
void journal_segments(void (*f)(uint64_t first, int fd, void *), void *arg);
/* Called for each segment that is begun later; f owns fd. */
void journal_on_segment(void (*f)(uint64_t first, int fd, void *), void *arg);
/*
 * Segments that a loss of power may yet take, for fdatasync(2), and the folder, for
 * fsync(2), where it may bring back one that is gone: descriptors in *fds, which
 * is the caller's as they are.  Then journal_synced() is told *end, or
 * journal_not_synced() that one has failed: of these segments nothing is safe from
 * then on before manifest has applied them, and -1 and EIO until it has.
 * A process that ends between the two leaves to the next that nothing is, for the
 * kernel tells once of what it could not write: EAGAIN then, for nobody was told
 * of a failure.
 */
int journal_unsynced(int **fds, size_t *n, uint64_t *end);
void journal_synced(uint64_t end);
/* By the thread, at once: a process after this one knows.  0, or an errno, which
   journal_not_synced() is to be told. */
int journal_mark_unsafe(void);
void journal_not_synced(int error);
/* When a record is applied that is behind what is unsafe, all is safe. */
enum journal_safety {
	JOURNAL_SAFE,
	JOURNAL_UNSAFE,       /* one more record is needed, or two */
	JOURNAL_UNSAFE_BEHIND /* it stands there */
};
enum journal_safety journal_safety(void);
int journal_is_synced(void); /* there is nothing that is not */
/* What the request did before it was sent again; NULL: nothing. */
const struct journal_done *journal_find(uint64_t unique);
/* Records that stand behind the offset; oldest first. */
struct record;
void journal_since(uint64_t offset, void (*f)(const struct record *, void *),
    void *arg);
/* Lines of .sailvol/ctl that this connection finished. */
void journal_lines(void (*f)(uint64_t session, uint32_t uid, uint32_t gid,
		       const uint8_t *line, size_t len, uint64_t offset,
		       void *),
    void *arg);

#endif
