/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Verification of signatures: method, target and headers, each in a line.
 * Nothing that was not signed with the key is taken; a request that is signed
 * is taken, and with any byte of its URL changed is not, or is the same request.
 */
#include "regress/fuzz/fuzz.h"
#include "sailapid/credentials.h"
#include "sailapid/sigv4.h"

static const struct sigv4_keys keys = { "access", "a secret that nobody has",
	"us-east-1", "" };

#define NOW 1700000000

static enum sigv4_verdict
verdict(const char *method, const char *target,
    const struct sigv4_header *headers, size_t n)
{
	struct sigv4_request r = { method, target, headers, n };
	struct sigv4_result res;

	return sigv4_verify(&r, &keys, NOW, &res);
}

static void
as_it_comes(char *text)
{
	struct sigv4_header headers[SIGV4_HEADERS_MAX];
	char *method = strsep(&text, "\n"), *target = strsep(&text, "\n"),
	     *line, *value;
	size_t n = 0;

	while ((line = strsep(&text, "\n")) != NULL && n < SIGV4_HEADERS_MAX) {
		if ((value = strchr(line, ':')) == NULL)
			continue;
		*value++ = '\0';
		headers[n].name = line;
		headers[n++].value = value;
	}
	if (target != NULL)
		fuzz_check(verdict(method, target, headers, n) != SIGV4_OK);
}

/* u8 where, u8 what, then the path. */
static void
changed(uint8_t where, uint8_t what, const char *path)
{
	struct sigv4_header host = { "host", "store:9000" };
	struct wbuf w;
	char *url, *target;
	size_t len;

	wbuf_init(&w, 65536);
	if (sigv4_presign(&w, &keys, "PUT", "http://store:9000", path, NULL, 0,
		NOW, 900) == 0) {
		wbuf_u8(&w, 0);
		fuzz_check(w.error == 0);
		url = (char *)w.data;
		target = url + strlen("http://store:9000");
		fuzz_check(verdict("PUT", target, &host, 1) == SIGV4_OK);
		fuzz_check(verdict("GET", target, &host, 1) != SIGV4_OK);
		/* The signature is the last parameter. */
		len = strlen(target);
		fuzz_check(len > SIGV4_SIGNATURE_LEN);
		target += len - SIGV4_SIGNATURE_LEN;
		target[where % SIGV4_SIGNATURE_LEN] ^= (char)(1 + what % 7);
		fuzz_check(verdict("PUT", url + strlen("http://store:9000"),
			       &host, 1) != SIGV4_OK);
	}
	wbuf_free(&w);
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	struct store_keys k;
	char *text;

	if (len < 3)
		return;
	text = fuzz_string(p + 3, len - 3);
	switch (p[0] % 3) {
	case 0:
		as_it_comes(text);
		break;
	case 1:
		changed(p[1], p[2], text);
		break;
	default:
		(void)credentials_parse(text, &k);
		break;
	}
	free(text);
}
