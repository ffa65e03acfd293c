/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * promtext: writes the text form of Prometheus.  In sailvold and sailapid.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/path.h"
#include "lib/promtext.h"

static void
fail(struct promtext *p)
{
	if (p->out.error == 0)
		p->out.error = EINVAL;
}

static void
put(struct promtext *p, const char *s)
{
	wbuf_bytes(&p->out, s, strlen(s));
}

/* No colons, which are for rules of the one who asks. */
static int
is_name(const char *s)
{
	static const char first[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	static const char more[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

	return *s != '\0' && strchr(first, *s) != NULL &&
	    s[strspn(s, more)] == '\0';
}

static int
ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

/* quoted: of a label, where a quotation mark is escaped too. */
static void
put_text(struct promtext *p, const char *s, int quoted)
{
	if (!utf8_valid(s, strlen(s))) {
		fail(p);
		return;
	}
	for (; *s != '\0'; s++)
		if (*s == '\n')
			put(p, "\\n");
		else if (*s == '\\' || (*s == '"' && quoted)) {
			wbuf_u8(&p->out, '\\');
			wbuf_u8(&p->out, (uint8_t)*s);
		} else
			wbuf_u8(&p->out, (uint8_t)*s);
}

void
promtext_init(struct promtext *p, size_t max)
{
	wbuf_init(&p->out, max);
	p->family = NULL;
	p->type = PROMTEXT_GAUGE;
}

void
promtext_family(struct promtext *p, const char *name, enum promtext_type type,
    const char *help)
{
	static const char *const types[] = { [PROMTEXT_COUNTER] = "counter",
		[PROMTEXT_GAUGE] = "gauge",
		[PROMTEXT_HISTOGRAM] = "histogram" };

	if (!is_name(name) ||
	    (type == PROMTEXT_COUNTER) != ends_in(name, "_total"))
		fail(p);
	p->family = name;
	p->type = type;
	put(p, "# HELP ");
	put(p, name);
	put(p, " ");
	put_text(p, help, 0);
	put(p, "\n# TYPE ");
	put(p, name);
	put(p, " ");
	put(p, types[type]);
	put(p, "\n");
}

static void
put_sample(struct promtext *p, const char *suffix,
    const struct promtext_label *labels, size_t n, const char *value)
{
	size_t i;

	if (p->family == NULL ||
	    (p->type == PROMTEXT_HISTOGRAM) != (*suffix != '\0')) {
		fail(p);
		return;
	}
	put(p, p->family);
	put(p, suffix);
	for (i = 0; i < n; i++) {
		if (!is_name(labels[i].name) ||
		    strncmp(labels[i].name, "__", 2) == 0)
			fail(p);
		put(p, i == 0 ? "{" : ",");
		put(p, labels[i].name);
		put(p, "=\"");
		put_text(p, labels[i].value, 1);
		put(p, "\"");
	}
	put(p, n != 0 ? "} " : " ");
	put(p, value);
	put(p, "\n");
}

void
promtext_sample(struct promtext *p, const struct promtext_label *labels,
    size_t n, uint64_t value)
{
	char s[32];

	snprintf(s, sizeof(s), "%" PRIu64, value);
	put_sample(p, "", labels, n, s);
}

void
promtext_sample_milli(struct promtext *p, const struct promtext_label *labels,
    size_t n, uint64_t thousandths)
{
	char s[32];

	snprintf(s, sizeof(s), "%" PRIu64 ".%03" PRIu64, thousandths / 1000,
	    thousandths % 1000);
	put_sample(p, "", labels, n, s);
}

/* Without zeros that say nothing: 2.5, 10. */
static void
seconds(char *out, size_t size, uint64_t us)
{
	size_t n;

	snprintf(out, size, "%" PRIu64 ".%06" PRIu64, us / 1000000,
	    us % 1000000);
	for (n = strlen(out); out[n - 1] == '0'; n--)
		;
	out[out[n - 1] == '.' ? n - 1 : n] = '\0';
}

void
promtext_histogram(struct promtext *p, const uint64_t *bounds,
    const uint64_t *counts, size_t n, uint64_t sum)
{
	char le[32], value[32];
	struct promtext_label label = { "le", le };
	uint64_t all = 0;
	size_t i;

	for (i = 0; i <= n; i++) {
		all += counts[i];
		if (i == n)
			strlcpy(le, "+Inf", sizeof(le));
		else
			seconds(le, sizeof(le), bounds[i]);
		snprintf(value, sizeof(value), "%" PRIu64, all);
		put_sample(p, "_bucket", &label, 1, value);
	}
	seconds(value, sizeof(value), sum);
	put_sample(p, "_sum", NULL, 0, value);
	snprintf(value, sizeof(value), "%" PRIu64, all);
	put_sample(p, "_count", NULL, 0, value);
}
