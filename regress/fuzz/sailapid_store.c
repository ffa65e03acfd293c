/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The embedded store: HTTP of any kind, and requests that are signed as they
 * should be (first byte of each, odd; then method, u16 length and key, u16 length
 * and headers, u16 length and body; even: u16 length and bytes).
 */
#include "regress/fuzz/role.h"
#include "regress/fuzz/http.h"
#include "sailapid/config.h"
#include "sailapid/roles.h"
#include "sailapid/sigv4.h"

static const struct sigv4_keys keys = { "access", "secret", CONFIG_REGION, "" };
static struct fuzz_in input;

static void
configure(struct chan *parent_end)
{
	struct s3_config c = { api_str("access"), api_str("secret"),
		api_str(CONFIG_REGION), api_str(CONFIG_BUCKET), api_str("") };
	struct api_config limits = { 100, 100, 30, 1, 65536, 100, 100, 1 << 20,
		1 << 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || listen(fd, 1) == -1 ||
	    s3_config_send(parent_end, IMSG_PARENT_STORE_CONFIG, &c) == -1 ||
	    api_config_send(parent_end, IMSG_PARENT_STORE_LIMITS, &limits) ==
		-1 ||
	    chan_send(parent_end, IMSG_PARENT_STORE_LISTEN, 0, fd, NULL, 0) ==
		-1)
		abort();
}

/* Its URL, as sign would make it; 0: it has none. */
static size_t
signed_request(struct fuzz_in *in, char *out, size_t size)
{
	static const char *const methods[] = { "GET", "PUT", "HEAD", "DELETE",
		"POST" };
	const char *method = methods[fuzz_u8(in) % 5];
	struct wbuf w;
	char path[1100];
	const uint8_t *key, *headers, *body;
	size_t klen, hlen, blen;
	int n;

	key = fuzz_bytes(in, 1024, &klen);
	headers = fuzz_bytes(in, 4096, &hlen);
	body = fuzz_bytes(in, 16384, &blen);
	snprintf(path, sizeof(path), "/%s/%.*s", CONFIG_BUCKET, (int)klen,
	    (const char *)key);
	wbuf_init(&w, 65536);
	if (sigv4_presign(&w, &keys, method, "http://store:1", path, NULL, 0,
		time(NULL), 900) == -1) {
		wbuf_free(&w);
		return 0;
	}
	n = snprintf(out, size,
	    "%s %.*s HTTP/1.1\r\nHost: store:1\r\nConnection: close\r\n"
	    "%.*sContent-Length: %zu\r\n\r\n",
	    method, (int)(w.len - 14), (const char *)w.data + 14, (int)hlen,
	    (const char *)headers, blen);
	wbuf_free(&w);
	if (n < 0 || (size_t)n + blen > size)
		return 0;
	if (blen > 0)
		memcpy(out + n, body, blen);
	return (size_t)n + blen;
}

static void
greet(void)
{
	static char out[128 * 1024];
	const uint8_t *p;
	char *answer;
	size_t len;
	int i, is_signed, status;

	for (i = 0; i < 16 && input.left > 0; i++) {
		is_signed = fuzz_u8(&input) & 1;
		if (is_signed)
			len = signed_request(&input, out, sizeof(out));
		else {
			p = fuzz_bytes(&input, 65535, &len);
			if (len > 0)
				memcpy(out, p, len);
		}
		if (len == 0)
			continue;
		answer = http_answer(http_connect(IMSG_TLS_STORE_CONNECTION,
					 (const uint8_t *)out, len),
		    NULL);
		/* What is no whole request ends by time alone. */
		if (answer != NULL &&
		    sscanf(answer, "HTTP/1.1 %d", &status) == 1)
			fuzz_check(status != 500);
		free(answer);
	}
}

static const struct fuzz_role fuzz_role = {
	.def = &store_role,
	.peers = { ROLE_TLS },
	.configure = configure,
	.greet = greet,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	input.p = p;
	input.left = len;
	/* No client ends the store. */
	fuzz_check(role_fuzz((const uint8_t *)"", 0) == 0);
}
