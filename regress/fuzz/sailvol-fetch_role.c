/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvol-fetch: hostile manifest, cache and meta; files of the parent that
 * others wrote (resolver, hosts); and a hostile server and store, who answers
 * each connection with what the input has for it (0xe0: u16 length and bytes);
 * where that has a Sail-Request, its digits become those of the question.
 */
#include <netinet/in.h>

#include "lib/wire.h"
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

static void
name_answer(uint8_t *p, size_t len, const char *question, size_t question_len)
{
	static const char name[] = WIRE_REQUEST ": ";
	const size_t skip = sizeof(name) - 1;
	const char *from = memmem(question, question_len, name, skip);
	uint8_t *to = memmem(p, len, name, skip);

	if (from == NULL || to == NULL ||
	    (size_t)(question + question_len - from) <
		skip + WIRE_REQUEST_LEN ||
	    (size_t)(p + len - to) < skip + WIRE_REQUEST_LEN)
		return;
	memcpy(to + skip, from + skip, WIRE_REQUEST_LEN);
}

/* The whole answer to what has come of the question by then. */
static void
on_question(int c, short what, void *arg)
{
	static const char none[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	    "Connection: close\r\n" WIRE_REQUEST ": 0123456789abcdef\r\n\r\n";
	const struct fuzz_in *a = arg;
	const void *from = a != NULL ? (const void *)a->p : none;
	size_t len = a != NULL ? a->left : sizeof(none) - 1;
	uint8_t answer[65536];
	char buf[4096];
	ssize_t n = recv(c, buf, sizeof(buf), MSG_DONTWAIT);

	(void)what;
	if (len > 0)
		memcpy(answer, from, len);
	name_answer(answer, len, buf, n > 0 ? (size_t)n : 0);
	(void)!write(c, answer, len);
	shutdown(c, SHUT_WR);
}

static void
on_connect(int fd, short what, void *arg)
{
	struct fuzz_in *a;
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	(void)arg;
	if (c == -1)
		return;
	a = given < nanswers ? &answers[given++] : NULL;
	if (event_once(c, EV_READ, on_question, a, NULL) == -1)
		abort();
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
