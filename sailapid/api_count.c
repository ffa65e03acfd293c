/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_count: what the role api itself counts of its requests, and says in the
 * text form of Prometheus.  Tables of fixed size: no client adds to them but
 * numbers.  In api.
 */
#include <stdio.h>
#include <string.h>

#include "sailapid/api.h"

/* By enum api_method; 0 is any other. */
static const char *const methods[] = { "other", "GET", "PUT", "POST", "DELETE",
	"HEAD" };
#define NMETHODS (sizeof(methods) / sizeof(methods[0]))

/* Ascending; 0: any other. */
static const uint16_t statuses[] = { 0, 200, 201, 202, 204, 400, 401, 403, 404,
	405, 409, 411, 413, 500, 503 };
#define NSTATUSES (sizeof(statuses) / sizeof(statuses[0]))

static const uint64_t bounds_us[] = { 500, 1000, 2500, 5000, 10000, 25000,
	50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
	30000000, 90000000 };
#define NBOUNDS (sizeof(bounds_us) / sizeof(bounds_us[0]))

static const char *const refusals[] = {
#define X(name, status, type, code, message) code,
	API_REFUSALS(X)
#undef X
};
#define NREFUSALS (sizeof(refusals) / sizeof(refusals[0]))

static struct {
	uint64_t requests[NMETHODS][NSTATUSES], unanswered;
	uint64_t refused[NREFUSALS];
	uint64_t durations[NBOUNDS + 1], duration_us;
} counts;

void
count_answer(uint8_t method, unsigned int status)
{
	size_t i;

	for (i = NSTATUSES - 1; i > 0 && statuses[i] != status; i--)
		;
	counts.requests[method < NMETHODS ? method : 0][i]++;
}

void
count_duration(monotime_t since)
{
	int64_t ns = monotime_now().ns - since.ns;
	uint64_t us = ns < 0 ? 0 : (uint64_t)ns / 1000;
	size_t i;

	for (i = 0; i < NBOUNDS && us > bounds_us[i]; i++)
		;
	counts.durations[i]++;
	counts.duration_us += us;
}

void
count_unanswered(void)
{
	counts.unanswered++;
}

void
count_refusal(enum api_refusal which)
{
	counts.refused[which]++;
}

static void
requests_text(struct promtext *p)
{
	char status[8] = "other";
	struct promtext_label labels[] = { { "method", "" },
		{ "status", status } };
	size_t i, j;

	promtext_family(p, "sailapid_http_requests_total", PROMTEXT_COUNTER,
	    "Requests that were answered, by method and status.");
	for (i = 0; i < NMETHODS; i++)
		for (j = 0; j < NSTATUSES; j++) {
			labels[0].value = methods[i];
			if (j > 0)
				snprintf(status, sizeof(status), "%u",
				    statuses[j]);
			else
				strlcpy(status, "other", sizeof(status));
			promtext_sample(p, labels, 2, counts.requests[i][j]);
		}
}

static void
refusals_text(struct promtext *p)
{
	struct promtext_label label = { "code", "" };
	size_t i;

	promtext_family(p, "sailapid_http_refusals_total", PROMTEXT_COUNTER,
	    "Requests that api refused by itself, by the code of the error.");
	for (i = 0; i < NREFUSALS; i++) {
		label.value = refusals[i];
		promtext_sample(p, &label, 1, counts.refused[i]);
	}
}

static void
one(struct promtext *p, const char *name, enum promtext_type type,
    const char *help, uint64_t n)
{
	promtext_family(p, name, type, help);
	promtext_sample(p, NULL, 0, n);
}

static void
connections_text(struct promtext *p)
{
	struct httpd_counts c = { 0, 0, 0 };

	api_connections(&c);
	one(p, "sailapid_http_connections", PROMTEXT_GAUGE,
	    "Connections of the API that are open.", c.open);
	one(p, "sailapid_http_connections_total", PROMTEXT_COUNTER,
	    "Connections of the API that were accepted.", c.accepted);
	one(p, "sailapid_http_connections_cut_total", PROMTEXT_COUNTER,
	    "Those that were cut off: silent, too slow, in the way of others.",
	    c.cut);
}

void
count_text(struct promtext *p)
{
	unsigned int asked, waiting;

	requests_text(p);
	one(p, "sailapid_http_requests_unanswered_total", PROMTEXT_COUNTER,
	    "Requests whose connection ended before their answer.",
	    counts.unanswered);
	refusals_text(p);
	promtext_family(p, "sailapid_http_request_duration_seconds",
	    PROMTEXT_HISTOGRAM,
	    "From the whole request, body included, to the beginning of its "
	    "answer.");
	promtext_histogram(p, bounds_us, counts.durations, NBOUNDS,
	    counts.duration_us);
	api_turn_count(&asked, &waiting);
	one(p, "sailapid_http_requests_running", PROMTEXT_GAUGE,
	    "Requests that are worked on.", asked);
	one(p, "sailapid_http_requests_waiting", PROMTEXT_GAUGE,
	    "Requests that wait for their turn.", waiting);
	connections_text(p);
}
