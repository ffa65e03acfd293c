/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvol-fetch: hostile manifest, cache and meta; files of the parent that
 * others wrote (resolver, hosts); and a hostile server and store, who answers
 * each connection with what the input has for it (0xe0: u16 length and bytes).
 */
#include <netinet/in.h>

#include "regress/fuzz/role.h"
int fetch_main(int, char **);
#define main fetch_main
#include "sailvol-fetch/sailvol-fetch.c"
#undef main

#define ANSWERS 8

static int listening = -1;
static uint16_t port;
static struct event ev_accept;
static struct fuzz_in answers[ANSWERS];
static unsigned int nanswers, given;

static const uint32_t passed_on[] = { IMSG_PARENT_FETCH_RESOLV,
	IMSG_PARENT_FETCH_HOSTS, IMSG_PARENT_FETCH_CA, IMSG_PARENT_FETCH_END,
	IMSG_PARENT_FETCH_CONFIG, 0 };

/* The whole answer at once: nobody waits for the question. */
static void
on_connect(int fd, short what, void *arg)
{
	static const char none[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";
	char buf[4096];
	const struct fuzz_in *a;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	(void)arg;
	if (c == -1)
		return;
	a = given < nanswers ? &answers[given++] : NULL;
	(void)!write(c, a != NULL ? (const char *)a->p : none,
	    a != NULL ? a->left : sizeof(none) - 1);
	(void)recv(c, buf, sizeof(buf), MSG_DONTWAIT);
	shutdown(c, SHUT_WR);
}

static void
configure(struct chan *parent_end)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	char url[64];
	struct fetch_settings s = { .key = "sk_0",
		.key_len = 4,
		.concurrency = 4,
		.deadline_ms = 100 };

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listening =
	    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listening == -1 ||
	    bind(listening, (struct sockaddr *)&sin, sizeof(sin)) == -1 ||
	    listen(listening, 16) == -1 ||
	    getsockname(listening, (struct sockaddr *)&sin, &len) == -1)
		abort();
	port = ntohs(sin.sin_port);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	s.url = url;
	s.url_len = strlen(url);
	if (fetch_settings_send(parent_end, &s) == -1 ||
	    chan_send(parent_end, IMSG_PARENT_FETCH_END, 0, -1, NULL, 0) == -1)
		abort();
}

static void
greet(void)
{
	event_set(&ev_accept, listening, EV_READ | EV_PERSIST, on_connect,
	    NULL);
	if (event_add(&ev_accept, NULL) == -1)
		abort();
}

/* An answer that is waited for, of the API, by an honest manifest. */
static void
server_says(struct fuzz_in *in)
{
	static const char target[] = "/v1/whoami";
	struct fetch_api a = { .method = FETCH_METHOD_GET,
		.max_answer = 65536,
		.target = target,
		.target_len = sizeof(target) - 1,
		.content_type = "",
		.deadline_ms = 100 };
	struct timeval ms = { 0, 3000 };
	struct fuzz_in *mine = &answers[nanswers % ANSWERS];
	struct far *f = far_of(ROLE_MANIFEST);
	uint32_t before = f->nasked;
	int i;

	mine->p = fuzz_bytes(in, 65535, &mine->left);
	if (nanswers < ANSWERS)
		nanswers++;
	if (fetch_api_send(f->chan, 7, &a, -1) == -1)
		abort();
	for (i = 0; i < 20 && f->nasked == before; i++) {
		role_pump();
		event_loopexit(&ms);
		event_dispatch();
	}
}

static const struct fuzz_role fuzz_role = {
	.def = &fetch_role,
	.peers = { ROLE_MANIFEST, ROLE_CACHE, ROLE_META },
	.parents = passed_on,
	.configure = configure,
	.greet = greet,
	.other = server_says,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
