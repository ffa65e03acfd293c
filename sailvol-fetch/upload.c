/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload: asks which chunks the server lacks, shortly before they are sent,
 * and keeps some of them under way.  In sailvol-fetch.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/upload.h"
#include "sailvol-fetch/url.h"

#define BATCH 512    /* large chunks of one question */
#define READY_LOW 64 /* fewer URLs than these: ask for more */
#define PUTS_MAX 16  /* of one upload */
#define PROGRESS_MS 100
#define ANSWER_MAX ((uint64_t)8 * 1024 * 1024)
#define LIST_MAX (4 + (size_t)FETCH_UPLOAD_MAX * FETCH_UPLOAD_CHUNK_LEN)

/* Files that came before their list. */
struct assembly {
	TAILQ_ENTRY(assembly) entry;
	struct chan *peer;
	uint32_t id;
	unsigned int n;
	int files[FETCH_UPLOAD_FILES];
};
static TAILQ_HEAD(, assembly) assemblies = TAILQ_HEAD_INITIALIZER(assemblies);

static void upload_step(void *);

/* ---- the end --------------------------------------------------------------- */

static void
upload_free(struct upload *u)
{
	uint32_t i;

	if (u == NULL)
		return;
	for (i = 0; i < FETCH_UPLOAD_FILES; i++)
		if (u->files[i] != -1)
			close(u->files[i]);
	for (i = 0; u->groups != NULL && i < u->ngroups; i++) {
		free(u->groups[i].url);
		free(u->groups[i].headers);
	}
	pump_del(&u->pump);
	pause_end(&u->pause);
	if (event_initialized(&u->progress))
		evtimer_del(&u->progress);
	for (i = 0; u->kept != NULL && i < u->n; i++)
		kept_release(u->kept[i], u->error == 0);
	free(u->kept);
	free(u->by_chunk);
	free(u->chunks);
	free(u->order);
	free(u->groups);
	free(u->ask_body);
	free(u->refusal);
	free(u);
}

static int
statuses(struct upload *u)
{
	const struct group *g;
	uint8_t *status;
	uint32_t i, k = 0;
	int fd;

	if ((status = malloc((size_t)u->n + 1)) == NULL)
		return -1;
	memset(status, UPLOAD_CHANGED, (size_t)u->n + 1);
	for (i = 0; i < u->ngroups; i++) {
		g = &u->groups[i];
		/* Those of the group before cur had changed. */
		if (g->gone && g->cur > 0)
			status[u->order[g->cur - 1]] = UPLOAD_GONE;
		for (k = g->cur; k < g->end; k++)
			status[u->order[k]] = g->state == GROUP_DONE
			    ? g->result
			    : UPLOAD_NOT_DONE;
	}
	fd = memfd_new("statuses", status, u->n);
	free(status);
	return fd;
}

static void
upload_answer(struct upload *u)
{
	struct fetch_upload_res r = { .error = u->error,
		.what = u->what,
		.what_len = strlen(u->what),
		.status = (uint16_t)u->status,
		.refusal = u->refusal,
		.refusal_len = u->refusal_len };
	int fd = -1;

	if (u->req.peer != NULL) {
		fd = statuses(u);
		if (fetch_upload_res_send(u->req.peer, u->req.id, &r, fd) == 0)
			fd = -1;
		else
			op_lost("upload");
	}
	if (fd != -1)
		close(fd);
	request_del(&u->req);
	upload_free(u);
}

void
upload_fail(struct upload *u, int error, const char *fmt, ...)
{
	va_list ap;

	if (u->error != 0)
		return;
	u->error = (uint32_t)error;
	va_start(ap, fmt);
	if (vsnprintf(u->what, sizeof(u->what), fmt, ap) < 0)
		u->what[0] = '\0';
	va_end(ap);
	pump_kick();
}

void
upload_refused(struct upload *u, const struct http_result *r, const char *who)
{
	char what[256];

	if (u->error == 0 && http_is_final(r->status, r->body, r->body_len)) {
		u->status = r->status;
		/* Without words of it, which are no binary, its number is. */
		if (r->body_len > 0 && r->body_len <= FETCH_REFUSAL_MAX &&
		    memchr(r->body, '\0', r->body_len) == NULL &&
		    (u->refusal = malloc(r->body_len)) != NULL) {
			memcpy(u->refusal, r->body, r->body_len);
			u->refusal_len = r->body_len;
		}
	}
	result_what(r, who, what, sizeof(what));
	upload_fail(u, result_errno(r), "%s", what);
}

static void
upload_cancel(struct request *req)
{
	struct upload *u = (struct upload *)req;

	upload_fail(u, ECANCELED, "cancelled");
}

/* ---- groups ------------------------------------------------------------------ */

struct fetch_upload_chunk *
upload_chunk(struct upload *u, const struct group *g)
{
	return &u->chunks[u->order[g->cur]];
}

void
upload_group_done(struct upload *u, struct group *g, uint8_t result)
{
	uint32_t k;

	g->state = GROUP_DONE;
	g->result = result;
	u->ndone++;
	for (k = g->cur; k < g->end; k++) {
		u->chunks_done++;
		u->bytes_done += u->chunks[u->order[k]].bytes;
	}
	free(g->url);
	free(g->headers);
	g->url = g->headers = NULL;
	pump_kick();
}

/* Small ones go into packs unless they have an URL. */
static void
group_ready(struct upload *u, struct group *g)
{
	if (g->url != NULL) {
		g->state = GROUP_READY;
		u->nready++;
		u->next_ready = 0;
	} else {
		g->state = GROUP_PACK;
		u->npack++;
		u->pack_bytes += upload_chunk(u, g)->bytes;
		u->next_pack = 0;
	}
	pump_kick();
}

void
upload_group_changed(struct upload *u, struct group *g)
{
	u->chunks_done++;
	if (++g->cur == g->end) {
		upload_group_done(u, g, UPLOAD_CHANGED);
		return;
	}
	/* Another file has the same bytes, perhaps still. */
	group_ready(u, g);
}

void
upload_group_gone(struct upload *u, struct group *g)
{
	/* One of that hash says so to all of them: they are read again. */
	u->chunks_done++;
	g->cur++;
	g->gone = 1;
	upload_group_done(u, g, UPLOAD_GONE);
}

/* It has no URL any more, and is asked for again. */
static void
group_ask(struct upload *u, struct group *g)
{
	free(g->url);
	free(g->headers);
	g->url = g->headers = NULL;
	g->state = GROUP_ASK;
	u->next_ask = 0;
}

void
upload_group_again(struct upload *u, struct group *g, int fresh)
{
	struct group *o;
	uint32_t i;

	if (fresh ? ++g->refused == UPLOAD_REFUSED_MAX
		  : ++g->stale == UPLOAD_STALE_MAX) {
		upload_fail(u, EACCES, "store refuses the server's URLs");
		return;
	}
	if (fresh) {
		pause_begin(&u->pause, g->refused);
	} else {
		g->first = 1;
		/* Those that came with it or before are as old. */
		for (i = 0; i < u->ngroups; i++) {
			o = &u->groups[i];
			if (o->state != GROUP_READY ||
			    monotime_diff_ms(o->url_came, g->url_came) > 0)
				continue;
			u->nready--;
			group_ask(u, o);
		}
	}
	group_ask(u, g);
	pump_kick();
}

/* ---- the question -------------------------------------------------------------- */

static void
take_upload(struct upload *u, struct group *g, const struct wire_upload *w)
{
	if (w->presence == WIRE_PRESENT) {
		upload_group_done(u, g, UPLOAD_PRESENT);
		return;
	}
	if (w->presence == WIRE_PACK &&
	    upload_chunk(u, g)->bytes >= WIRE_PACK_CHUNK) {
		upload_fail(u, EPROTO, "server wants a large chunk in a pack");
		return;
	}
	if (w->presence == WIRE_PACK) {
		group_ready(u, g);
		return;
	}
	if (hash_cmp(&w->object, &upload_chunk(u, g)->hash) != 0) {
		upload_fail(u, EPROTO,
		    "server wants a form of a chunk that "
		    "is not known here");
		return;
	}
	g->url = strndup((const char *)w->url, w->url_len);
	g->headers = strndup((const char *)w->headers, w->headers_len);
	g->url_came = monotime_now();
	if (g->url == NULL || g->headers == NULL) {
		upload_fail(u, ENOMEM, "out of memory");
		return;
	}
	group_ready(u, g);
}

static void
ask_done(const struct http_result *r, void *arg)
{
	struct upload *u = arg;
	struct wire_upload *ups = NULL;
	const char *why;
	uint32_t i;

	u->ask = NULL;
	free(u->ask_body);
	u->ask_body = NULL;
	pump_kick();
	if (r->status != 200) {
		upload_refused(u, r, "chunks: server");
		return;
	}
	why = wire_uploads_decode(r->body, r->body_len, u->nbatch, &ups);
	if (why != NULL) {
		upload_fail(u, EPROTO, "chunks: server's answer: %s", why);
		return;
	}
	for (i = 0; i < u->nbatch; i++)
		take_upload(u, &u->groups[u->batch[i]], &ups[i]);
	free(ups);
}

static int
ask_body(struct upload *u, size_t *len)
{
	struct wire_chunk *chunks;
	struct wbuf w;
	uint32_t i;

	if ((chunks = calloc(u->nbatch, sizeof(*chunks))) == NULL)
		return -1;
	for (i = 0; i < u->nbatch; i++) {
		chunks[i].hash = upload_chunk(u, &u->groups[u->batch[i]])->hash;
		chunks[i].bytes =
		    upload_chunk(u, &u->groups[u->batch[i]])->bytes;
	}
	wbuf_init(&w, 1024 * 1024);
	wire_chunks_encode(&w, chunks, u->nbatch);
	free(chunks);
	return (u->ask_body = wbuf_take(&w, len)) != NULL ? 0 : -1;
}

/* Asks for the next chunks, if URLs are running short. */
static void
ask_more(struct upload *u)
{
	struct group *g;
	char target[384];
	uint32_t nlarge = 0;
	size_t len = 0;

	if (u->ask != NULL || u->nready >= READY_LOW || pause_lasts(&u->pause))
		return;
	u->nbatch = 0;
	for (; u->next_ask < u->ngroups && nlarge < BATCH &&
	     u->nbatch < WIRE_BATCH_MAX;
	     u->next_ask++) {
		g = &u->groups[u->next_ask];
		if (g->state != GROUP_ASK)
			continue;
		nlarge += upload_chunk(u, g)->bytes >= WIRE_PACK_CHUNK;
		u->batch[u->nbatch++] = u->next_ask;
	}
	if (u->nbatch == 0)
		return;
	for (len = 0; len < u->nbatch; len++)
		u->groups[u->batch[len]].state = GROUP_ASKING;
	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%s/chunks",
	    u->volume, u->session);
	if (ask_body(u, &len) == 0)
		u->ask =
		    http_ask(target, u->ask_body, len, ANSWER_MAX, ask_done, u);
	if (u->ask == NULL)
		upload_fail(u, ENOMEM, "out of memory");
}

/* ---- steps ----------------------------------------------------------------------- */

static void
start_puts(struct upload *u)
{
	struct group *g;
	size_t memory;

	for (;
	     u->nready > 0 && u->nputs < PUTS_MAX && u->next_ready < u->ngroups;
	     u->next_ready++) {
		g = &u->groups[u->next_ready];
		if (g->state != GROUP_READY)
			continue;
		if (upload_chunk(u, g)->file == FETCH_UPLOAD_KEPT &&
		    u->kept[u->order[g->cur]] == NULL) {
			u->nready--;
			upload_group_gone(u, g);
			continue;
		}
		memory = put_memory(upload_chunk(u, g)->bytes);
		if (!budget_take(memory))
			return;
		g->state = GROUP_SENDING;
		u->nready--;
		if (put_start(u, g) == -1) {
			budget_give(memory);
			upload_fail(u, ENOMEM, "out of memory");
			return;
		}
	}
}

/* Does what can be done now; may end the upload. */
static void
upload_step(void *arg)
{
	struct upload *u = arg;

	if (u->error != 0) {
		http_cancel(u->ask);
		u->ask = NULL;
		put_cancel_all(u);
		pack_cancel_all(u);
		if (u->nputs == 0)
			upload_answer(u);
		return;
	}
	if (u->ndone == u->ngroups) {
		upload_answer(u);
		return;
	}
	ask_more(u);
	start_puts(u);
	pack_start(u, u->ask == NULL && u->next_ask >= u->ngroups);
}

static void
on_progress(int fd, short ev, void *arg)
{
	struct timeval tv = { 0, PROGRESS_MS * 1000 };
	struct upload *u = arg;
	uint64_t sent = u->bytes_sent + put_sent(u) + pack_sent(u);

	(void)fd;
	(void)ev;
	evtimer_add(&u->progress, &tv);
	if (u->req.peer == NULL ||
	    (u->told == u->chunks_done && u->told_sent == sent))
		return;
	u->told = u->chunks_done;
	u->told_sent = sent;
	if (fetch_upload_progress_send(u->req.peer, u->req.id, u->chunks_done,
		u->bytes_done, sent) == -1)
		op_lost("upload");
}

/* ---- the request ------------------------------------------------------------------ */

static const struct fetch_upload_chunk *sorting;

static int
order_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int c = hash_cmp(&sorting[x].hash, &sorting[y].hash);

	return c != 0 ? c : x < y ? -1 : x > y;
}

/* 0; -1: one hash for two lengths, which cannot be. */
static int
make_groups(struct upload *u)
{
	struct fetch_upload_chunk *c, *prev = NULL;
	uint32_t i;

	u->order = calloc((size_t)u->n + 1, sizeof(*u->order));
	u->groups = calloc((size_t)u->n + 1, sizeof(*u->groups));
	u->by_chunk = calloc((size_t)u->n + 1, sizeof(*u->by_chunk));
	if (u->order == NULL || u->groups == NULL || u->by_chunk == NULL)
		fatal("upload");
	for (i = 0; i < u->n; i++)
		u->order[i] = i;
	sorting = u->chunks;
	if (u->n > 0)
		qsort(u->order, u->n, sizeof(*u->order), order_cmp);
	for (i = 0; i < u->n; i++) {
		c = &u->chunks[u->order[i]];
		if (prev == NULL || hash_cmp(&c->hash, &prev->hash) != 0) {
			u->groups[u->ngroups].cur = i;
			u->groups[u->ngroups++].end = i + 1;
			u->by_chunk[u->order[i]] = u->ngroups;
		} else if (prev->bytes != c->bytes)
			return -1;
		else
			u->groups[u->ngroups - 1].end = i + 1;
		prev = c;
	}
	return 0;
}

static struct assembly *
assembly_find(struct chan *c, uint32_t id, unsigned int *files)
{
	struct assembly *a, *found = NULL;

	*files = 0;
	TAILQ_FOREACH (a, &assemblies, entry) {
		if (a->peer != c)
			continue;
		*files += a->n;
		if (a->id == id)
			found = a;
	}
	return found;
}

int
op_upload_file(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct assembly *a;
	unsigned int files;
	uint32_t file, i;

	if (fetch_upload_file_recv(body, &file) == -1)
		return -1;
	a = assembly_find(c, id, &files);
	if (files >= REQUEST_FILES_PEER || (a != NULL && a->files[file] != -1))
		return -1;
	if (a == NULL) {
		if ((a = calloc(1, sizeof(*a))) == NULL)
			fatal("upload");
		a->peer = c;
		a->id = id;
		for (i = 0; i < FETCH_UPLOAD_FILES; i++)
			a->files[i] = -1;
		TAILQ_INSERT_TAIL(&assemblies, a, entry);
	}
	a->files[file] = imsg_get_fd(imsg);
	a->n++;
	return 0;
}

/* Its files go to u, or are closed. */
static void
assembly_end(struct assembly *a, struct upload *u)
{
	uint32_t i;

	TAILQ_REMOVE(&assemblies, a, entry);
	for (i = 0; i < FETCH_UPLOAD_FILES; i++)
		if (u != NULL)
			u->files[i] = a->files[i];
		else if (a->files[i] != -1)
			close(a->files[i]);
	free(a);
}

void
upload_peer_down(struct chan *c)
{
	struct assembly *a, *next;

	for (a = TAILQ_FIRST(&assemblies); a != NULL; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (a->peer == c)
			assembly_end(a, NULL);
	}
}

void
upload_given_up(struct chan *c, uint32_t id)
{
	struct assembly *a;
	unsigned int files;

	if ((a = assembly_find(c, id, &files)) != NULL)
		assembly_end(a, NULL);
}

/* Where the bytes of a chunk come from; -1: there is no such file. */
static int
chunk_source(struct upload *u, struct chan *c, uint32_t i)
{
	const struct fetch_upload_chunk *k = &u->chunks[i];

	if (k->file != FETCH_UPLOAD_KEPT)
		return u->files[k->file] == -1 ? -1 : 0;
	u->kept[i] = kept_hold(c, &k->hash, k->bytes);
	return k->bytes < WIRE_PACK_CHUNK ? 0 : -1;
}

/* 0; -1 malformed. */
static int
upload_read(struct upload *u, struct chan *c, struct imsg *imsg,
    struct ibuf *body)
{
	struct fetch_upload msg;
	struct memfd_view m;
	uint32_t i;
	int fd, bad;

	if (fetch_upload_recv(body, &msg) == -1 ||
	    !url_plain(msg.volume, msg.volume_len) ||
	    !url_plain(msg.session, msg.session_len))
		return -1;
	memcpy(u->volume, msg.volume, msg.volume_len);
	memcpy(u->session, msg.session, msg.session_len);
	fd = imsg_get_fd(imsg);
	bad = memfd_map(fd, LIST_MAX, &m);
	close(fd);
	if (bad == -1)
		return -1;
	bad = fetch_upload_list_decode(m.data, m.len, &u->chunks, &u->n);
	memfd_unmap(&m);
	if (bad == 0 &&
	    (u->kept = calloc((size_t)u->n + 1, sizeof(*u->kept))) == NULL)
		fatal("upload");
	for (i = 0; bad == 0 && i < u->n; i++)
		bad = chunk_source(u, c, i);
	return bad == 0 ? make_groups(u) : -1;
}

int
op_upload(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct upload *u;
	struct assembly *a;
	struct timeval tv = { 0, PROGRESS_MS * 1000 };
	unsigned int files;
	uint32_t i;

	if ((u = calloc(1, sizeof(*u))) == NULL)
		fatal("upload");
	TAILQ_INIT(&u->puts);
	TAILQ_INIT(&u->packs);
	for (i = 0; i < FETCH_UPLOAD_FILES; i++)
		u->files[i] = -1;
	if ((a = assembly_find(c, id, &files)) != NULL)
		assembly_end(a, u);
	if (upload_read(u, c, imsg, body) == -1 ||
	    request_add(&u->req, c, id, upload_cancel) == -1) {
		upload_free(u);
		return -1;
	}
	evtimer_set(&u->progress, on_progress, u);
	evtimer_add(&u->progress, &tv);
	pump_add(&u->pump, upload_step, u);
	return 0;
}
