/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * numbers: what meta counts, and says to api when somebody comes for /metrics:
 * numbers alone, so that nothing else can get there.  In meta and api.
 */
#ifndef SAILAPID_NUMBERS_H
#define SAILAPID_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* X(name, type of promtext.h, name for Prometheus, help) */
#define META_NUMBERS(X)                                                     \
	X(COMMITS, COUNTER, "sailapid_commits_published_total",             \
	    "Commits that became the newest of a volume.")                  \
	X(MERGED, COUNTER, "sailapid_commits_merged_total",                 \
	    "Those of mounts that had not seen the commit before theirs.")  \
	X(REFUSED, COUNTER, "sailapid_commits_refused_total",               \
	    "Commits that would have overwritten something, and were not "  \
	    "to.")                                                          \
	X(OVERWRITTEN, COUNTER, "sailapid_paths_overwritten_total",         \
	    "Paths at which a commit overwrote what its sender had not "    \
	    "seen.")                                                        \
	X(CHUNKS, COUNTER, "sailapid_chunks_confirmed_total",               \
	    "Chunks that the store was found to have.")                     \
	X(CHUNK_BYTES, COUNTER, "sailapid_chunks_confirmed_bytes_total",    \
	    "Bytes of these.")                                              \
	X(VERIFIED, COUNTER, "sailapid_objects_verified_total",             \
	    "Packs and other objects that the server read, and found "      \
	    "right.")                                                       \
	X(WRONG, COUNTER, "sailapid_objects_wrong_total",                   \
	    "Packs and other objects that the server read or looked for, "  \
	    "and found wrong or missing.")                                  \
	X(SURVEYS, COUNTER, "sailapid_surveys_total",                       \
	    "Surveys of the store that this server has finished.")          \
	X(SURVEY_OBJECTS, GAUGE, "sailapid_survey_objects",                 \
	    "Objects that the store had in the last of these.")             \
	X(SURVEY_BYTES, GAUGE, "sailapid_survey_bytes", "Bytes of these.")  \
	X(SURVEY_MISSING, GAUGE, "sailapid_survey_missing",                 \
	    "Objects that it found missing or wrong.")                      \
	X(SURVEY_UNKNOWN, GAUGE, "sailapid_survey_unknown",                 \
	    "Objects older than a day that the database did not know.")     \
	X(SURVEY_UNKNOWN_BYTES, GAUGE, "sailapid_survey_unknown_bytes",     \
	    "Bytes of these.")                                              \
	X(SESSIONS, GAUGE, "sailapid_sessions_open",                        \
	    "Upload sessions that are neither published nor forgotten, of " \
	    "all servers of the database.")

enum meta_number {
#define X(name, type, prom, help) NUMBER_##name,
	META_NUMBERS(X)
#undef X
	    META_NUMBERS_COUNT
};

struct meta_numbers {
	uint64_t start_ms;  /* when meta was started, since 1970 */
	uint64_t uptime_ms; /* and how long ago, by a clock that nobody sets */
	uint64_t n[META_NUMBERS_COUNT];
};

/* For free(3); NULL and errno. */
uint8_t *meta_numbers_encode(const struct meta_numbers *, size_t *len);
/* 0, or -1 and EBADMSG. */
int meta_numbers_decode(struct meta_numbers *, const void *, size_t len);

#endif
