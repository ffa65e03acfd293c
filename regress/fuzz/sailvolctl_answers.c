/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What sailvolctl does with the answers of a hostile sailvold or server: none
 * ends it, and none brings a terminal to do anything.  The first byte says which:
 * 0 lines of the control protocol, for the command that u8 says; 1 answers of
 * the API, one behind the other (u8 status, u16 length and body), for one of
 * those that read trees and lists.
 */
#include <sys/socket.h>
#include <fcntl.h>

#include "regress/fuzz/fuzz.h"
#include "sailvolctl/api.h"
#include "sailvolctl/client.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/fetch_put.h"
#include "sailvolctl/progress.h"

/* ---- a terminal ---------------------------------------------------------- */

int
isatty(int fd)
{
	(void)fd;
	return 1;
}

static FILE *real_out, *real_err;
static char *shown[2];
static size_t shown_len[2];

static void
terminal_begin(void)
{
	real_out = stdout;
	real_err = stderr;
	stdout = open_memstream(&shown[0], &shown_len[0]);
	stderr = open_memstream(&shown[1], &shown_len[1]);
	if (stdout == NULL || stderr == NULL)
		abort();
}

static void
terminal_end(void)
{
	size_t i, j;

	fclose(stdout);
	fclose(stderr);
	stdout = real_out;
	stderr = real_err;
	for (i = 0; i < 2; i++) {
		for (j = 0; j < shown_len[i]; j++) {
			const uint8_t *p = (uint8_t *)shown[i] + j;

			fuzz_check(*p == '\n' || *p == '\t' ||
			    (*p >= ' ' && *p != 0x7f));
			/* Those of eight bits, in UTF-8. */
			fuzz_check(*p != 0xc2 || j + 1 == shown_len[i] ||
			    p[1] >= 0xa0);
		}
		free(shown[i]);
	}
}

static void
on_progress(const json_t *j)
{
	char line[256];
	size_t i;
	int width;

	for (width = 20; width < 200; width += 50) {
		progress_line(j, width, line, sizeof(line));
		for (i = 0; line[i] != '\0'; i++)
			fuzz_check(line[i] >= ' ' && line[i] < 0x7f);
	}
}

/* ---- the API ------------------------------------------------------------- */

static struct fuzz_in answers;

int
fetch_begin(const struct fetch_server *server, struct failure *f)
{
	(void)server;
	(void)f;
	return 0;
}

int
fetch_interrupts(struct failure *f)
{
	(void)f;
	return 0;
}

int
fetch_go_on(struct failure *f)
{
	(void)f;
	return 0;
}

void
fetch_end(void)
{
}

struct chan *
fetch_chan(void)
{
	return NULL;
}

int
fetch_turn(struct failure *f)
{
	failure_set(f, "unavailable", "no_answer", "it has ended");
	return -1;
}

int
fetch_ask(const struct fetch_api *api, int body_fd, struct fetch_answer *a,
    struct failure *f)
{
	static const uint16_t statuses[] = { 200, 200, 200, 201, 204, 404, 409,
		500 };
	const uint8_t *p;
	size_t len;
	int fd;

	(void)api;
	if (body_fd != -1)
		close(body_fd);
	memset(a, 0, sizeof(*a));
	if (answers.left == 0)
		return fetch_turn(f);
	a->status = statuses[fuzz_u8(&answers) % 8];
	p = fuzz_bytes(&answers, 65535, &len);
	if (len == 0)
		return 0;
	if ((fd = memfd_new("answer", p, len)) == -1 ||
	    memfd_map(fd, 65536, &a->body) == -1)
		abort();
	close(fd);
	a->have = 1;
	return 0;
}

int
fetch_chunks(const struct fetch_get *g, const int *fds, fetch_bundle_cb bundle,
    void *arg, struct failure *f)
{
	(void)g;
	(void)fds;
	(void)bundle;
	(void)arg;
	return fetch_turn(f);
}

int
fetch_hash(int fd, uint8_t shift, int sync, fetch_told_cb told,
    fetch_hash_cb done, void *arg, struct failure *f)
{
	(void)fd;
	(void)shift;
	(void)sync;
	(void)told;
	(void)done;
	(void)arg;
	return fetch_turn(f);
}

struct chunklist *
fetch_hash_now(int fd, uint8_t shift, struct failure *f)
{
	(void)fd;
	(void)shift;
	(void)fetch_turn(f);
	return NULL;
}

int
fetch_upload(const char *volume, const char *session, const int *fds,
    uint32_t nfds, const struct fetch_upload_chunk *chunks, uint32_t n,
    const struct fetch_upload_cbs *cbs, void *arg, struct failure *f)
{
	(void)volume;
	(void)session;
	(void)fds;
	(void)nfds;
	(void)chunks;
	(void)n;
	(void)cbs;
	(void)arg;
	return fetch_turn(f);
}

/* ---- which --------------------------------------------------------------- */

static void
control(const uint8_t *p, size_t len)
{
	struct invocation inv = { .out = &output_text };
	struct output out = output_text;
	struct failure f = { .whole = NULL };
	json_t *request = json_pack("{s:s}", "request", "status"), *result;
	int sv[2], i;

	if (len == 0 || request == NULL)
		goto end;
	inv.command = &commands[p[0] % ncommands];
	for (i = 0; i < OPT_COUNT; i++)
		inv.opt[i] = "";
	out.progress = on_progress;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == -1 ||
	    send(sv[1], p + 1, len - 1, MSG_DONTWAIT) == -1 ||
	    shutdown(sv[1], SHUT_WR) == -1)
		abort();
	if ((result = client_ask(sv[0], request, &out, &f)) != NULL)
		out.result(&inv, result);
	else
		(void)out.error(&f);
	json_decref(result);
	failure_clear(&f);
	close(sv[0]);
	close(sv[1]);
end:
	json_decref(request);
}

static void
api(const uint8_t *p, size_t len)
{
	static const char digits[] = "0101010101010101010101010101010101010101"
				     "010101010101010101010101",
			  *const words[][5] = { { "ls", "v:" },
				  { "ls", "-l", "-R", "v@0101:d" },
				  { "ls", "-1", "v:x/1" }, { "log", "v" },
				  { "show", "v" },
				  { "show", "-p", "v", "0101" },
				  { "diff", "v", digits, digits },
				  { "diff", "v", "01", "02" },
				  { "get", "v:d/e", "/none/e" },
				  { "get", "v:a", "/none/a" }, { "rm", "v:a" },
				  { "volume", "list" },
				  { "volume", "create", "v" },
				  { "volume", "get", "v" },
				  { "volume", "fork", "v", "w" },
				  { "key", "list" },
				  { "key", "create", "write" } };
	char program[] = "sailvolctl", why[256], *argv[6] = { program },
	     copy[80];
	struct invocation inv;
	int i, argc = 1;

	if (len == 0)
		return;
	answers.p = p + 1;
	answers.left = len - 1;
	for (i = 0; i < 5; i++) {
		const char *w =
		    words[p[0] % (sizeof(words) / sizeof(words[0]))][i];

		if (w == NULL)
			break;
		strlcpy(copy, w, sizeof(copy));
		if ((argv[argc++] = strdup(copy)) == NULL)
			abort();
	}
	fuzz_check(invocation_parse(&inv, argc, argv, why, sizeof(why)) == 0);
	(void)inv.command->run(&inv);
	api_end();
	while (argc > 1)
		free(argv[--argc]);
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	static void (*const f[])(const uint8_t *, size_t) = { control, api };

	if (real_out == NULL) {
		unsetenv("TERM");
		setenv("SAIL_API_URL", "http://127.0.0.1:1", 1);
		setenv("SAIL_API_KEY", "sk_1", 1);
	}
	terminal_begin();
	fuzz_pick(f, 2, p, len);
	terminal_end();
}
