/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * promtext: the text form of Prometheus, version 0.0.4, in which a role that
 * answers /metrics says its numbers.  In sailvold and sailapid.
 */
#ifndef LIB_PROMTEXT_H
#define LIB_PROMTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/bytes.h"

#define PROMTEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum promtext_type { PROMTEXT_COUNTER, PROMTEXT_GAUGE, PROMTEXT_HISTOGRAM };

struct promtext_label {
	const char *name;
	const char *value; /* any text of UTF-8: it is escaped */
};

/*
 * The text is in `out': its error sticks, its bytes are taken with
 * wbuf_take(), its memory is freed with wbuf_free().  EINVAL: a name that is
 * none, a counter whose name does not end in _total, a help or value that is no
 * UTF-8, a sample before any family, or of the other kind than that.
 */
struct promtext {
	struct wbuf out;
	const char *family; /* whose samples follow; the caller's string */
	enum promtext_type type;
};

void promtext_init(struct promtext *, size_t max);
/* HELP and TYPE; all samples of it follow, before the next. */
void promtext_family(struct promtext *, const char *name, enum promtext_type,
    const char *help);
/* labels may be NULL when n is 0.  Whole numbers are written whole. */
void promtext_sample(struct promtext *, const struct promtext_label *labels,
    size_t n, uint64_t value);
/* What is counted in thousandths and said in base units: 1500 ms is 1.500. */
void promtext_sample_milli(struct promtext *,
    const struct promtext_label *labels, size_t n, uint64_t thousandths);
/*
 * The samples of a histogram of times: bounds ascend, n of them, in microseconds;
 * counts are of what lies in each (to its bound) and not below it, n + 1 of them,
 * the last of what is beyond all bounds.
 */
void promtext_histogram(struct promtext *, const uint64_t *bounds,
    const uint64_t *counts, size_t n, uint64_t sum);

#endif
