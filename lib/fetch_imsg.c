/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_imsg: writes and reads the bodies of the messages of
 * sailvol-fetch(8).  In it, and in all who ask it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/fetch_imsg.h"
#include "lib/entry.h"
#include "lib/path.h"

#define TARGET_MAX 8192
#define CONTENT_TYPE_MAX 128
#define NAME_MAX_BYTES 128 /* volume ids, volume names, session keys */
#define WHAT_MAX 1024
#define SKEW_MAX_MS (INT64_C(1) << 53) /* no clock is as wrong as that */
#define URL_MAX 4096

static int
bad(void)
{
	errno = EBADMSG;
	return -1;
}

static struct ibuf *
body_new(void)
{
	return ibuf_dynamic(256, PROC_MAX_BODY);
}

/* On failure the descriptor stays with the caller; the ibuf never does. */
static int
body_drop(struct ibuf *b)
{
	ibuf_free(b);
	return -1;
}

static int
add_str16(struct ibuf *b, const void *p, size_t len)
{
	if (len > UINT16_MAX) {
		errno = ERANGE;
		return -1;
	}
	if (ibuf_add_n16(b, len) == -1)
		return -1;
	return len == 0 ? 0 : ibuf_add(b, p, len);
}

/* Of a text for people, what fits. */
static int
add_what(struct ibuf *b, const char *what, size_t len)
{
	return add_str16(b, what, len > WHAT_MAX ? WHAT_MAX : len);
}

static int
get_str16(struct ibuf *b, const char **p, size_t *len, size_t max)
{
	struct ibuf view;
	uint16_t n;

	if (ibuf_get_n16(b, &n) == -1)
		return -1;
	if (n > max || ibuf_get_ibuf(b, n, &view) == -1)
		return bad();
	*p = n == 0 ? "" : ibuf_data(&view);
	*len = n;
	return memchr(*p, '\0', n) == NULL ? 0 : bad();
}

/* Bytes of a path, which may be any but NUL. */
static int
get_path(struct ibuf *b, const uint8_t **p, size_t *len)
{
	const char *s;

	if (get_str16(b, &s, len, SAIL_PATH_MAX) == -1)
		return -1;
	*p = (const uint8_t *)s;
	return path_problem(s, *len) == NULL ? 0 : bad();
}

static int
get_hash(struct ibuf *b, struct hash *h)
{
	return ibuf_get(b, h->b, HASH_LEN);
}

static int
add_time(struct ibuf *b, struct timens t)
{
	if (ibuf_add_n64(b, (uint64_t)t.sec) == -1)
		return -1;
	return ibuf_add_n32(b, t.nsec);
}

static int
get_time(struct ibuf *b, struct timens *t)
{
	uint64_t sec;

	if (ibuf_get_n64(b, &sec) == -1 || ibuf_get_n32(b, &t->nsec) == -1)
		return -1;
	t->sec = (int64_t)sec;
	return t->nsec < 1000000000U ? 0 : bad();
}

/* Nothing may be left over. */
static int
get_end(struct ibuf *b)
{
	return ibuf_size(b) == 0 ? 0 : bad();
}

/* ---- configuration ------------------------------------------------------- */

int
fetch_settings_send(struct chan *c, const struct fetch_settings *s)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (add_str16(b, s->url, s->url_len) == -1 ||
	    add_str16(b, s->key, s->key_len) == -1 ||
	    ibuf_add_n32(b, s->concurrency) == -1 ||
	    ibuf_add_n32(b, s->deadline_ms) == -1 ||
	    ibuf_add_n64(b, s->memory) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_FETCH_CONFIG, 0, -1, b);
}

int
fetch_settings_recv(struct ibuf *b, struct fetch_settings *s)
{
	if (get_str16(b, &s->url, &s->url_len, URL_MAX) == -1 ||
	    get_str16(b, &s->key, &s->key_len, NAME_MAX_BYTES) == -1 ||
	    ibuf_get_n32(b, &s->concurrency) == -1 ||
	    ibuf_get_n32(b, &s->deadline_ms) == -1 ||
	    ibuf_get_n64(b, &s->memory) == -1)
		return -1;
	return get_end(b);
}

/* ---- API ----------------------------------------------------------------- */

int
fetch_api_send(struct chan *c, uint32_t id, const struct fetch_api *a,
    int body_fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n8(b, a->method) == -1 || ibuf_add_n8(b, a->retry) == -1 ||
	    ibuf_add_n32(b, a->deadline_ms) == -1 ||
	    ibuf_add_n64(b, a->max_answer) == -1 ||
	    add_str16(b, a->target, a->target_len) == -1 ||
	    add_str16(b, a->content_type, a->content_type_len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_API, id, body_fd, b);
}

int
fetch_api_recv(struct ibuf *b, struct fetch_api *a)
{
	if (ibuf_get_n8(b, &a->method) == -1 ||
	    ibuf_get_n8(b, &a->retry) == -1 ||
	    ibuf_get_n32(b, &a->deadline_ms) == -1 ||
	    ibuf_get_n64(b, &a->max_answer) == -1 ||
	    get_str16(b, &a->target, &a->target_len, TARGET_MAX) == -1 ||
	    get_str16(b, &a->content_type, &a->content_type_len,
		CONTENT_TYPE_MAX) == -1)
		return -1;
	if (a->method < FETCH_METHOD_GET || a->method > FETCH_METHOD_DELETE ||
	    a->retry > 1)
		return bad();
	return get_end(b);
}

#define API_RES_DATED 1
#define API_RES_UNTRUSTED 2
#define API_RES_REPEATED 4

int
fetch_api_res_send(struct chan *c, uint32_t id, const struct fetch_api_res *r,
    int body_fd)
{
	uint8_t flags = (uint8_t)((r->dated ? API_RES_DATED : 0) |
	    (r->untrusted ? API_RES_UNTRUSTED : 0) |
	    (r->repeated ? API_RES_REPEATED : 0));
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, r->status) == -1 || ibuf_add_n8(b, r->type) == -1 ||
	    ibuf_add_n8(b, flags) == -1 ||
	    ibuf_add_n64(b, (uint64_t)r->skew_ms) == -1 ||
	    add_what(b, r->what, r->what_len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_API_RES, id, body_fd, b);
}

static int
skew_ok(int64_t ms)
{
	return ms <= SKEW_MAX_MS && ms >= -SKEW_MAX_MS;
}

int
fetch_api_res_recv(struct ibuf *b, struct fetch_api_res *r)
{
	uint64_t skew;
	uint8_t flags;

	if (ibuf_get_n16(b, &r->status) == -1 ||
	    ibuf_get_n8(b, &r->type) == -1 || ibuf_get_n8(b, &flags) == -1 ||
	    ibuf_get_n64(b, &skew) == -1 ||
	    get_str16(b, &r->what, &r->what_len, WHAT_MAX) == -1)
		return -1;
	r->skew_ms = (int64_t)skew;
	r->dated = (flags & API_RES_DATED) != 0;
	r->untrusted = (flags & API_RES_UNTRUSTED) != 0;
	r->repeated = (flags & API_RES_REPEATED) != 0;
	if (r->type > 2 || !skew_ok(r->skew_ms) ||
	    flags > (API_RES_DATED | API_RES_UNTRUSTED | API_RES_REPEATED) ||
	    (r->untrusted && r->status != 0) ||
	    (r->status != 0 && (r->status < 200 || r->status > 599)))
		return bad();
	return get_end(b);
}

/* ---- HASH and VERIFY ------------------------------------------------------- */

int
fetch_hash_send(struct chan *c, uint32_t id, uint8_t shift, uint8_t flags,
    int fd)
{
	uint8_t body[2] = { shift, flags };

	return chan_send(c, IMSG_FETCH_HASH, id, fd, body, sizeof(body));
}

int
fetch_hash_recv(struct ibuf *b, uint8_t *shift, uint8_t *flags)
{
	if (ibuf_get_n8(b, shift) == -1 || ibuf_get_n8(b, flags) == -1)
		return -1;
	if (*flags > (FETCH_HASH_KEEP | FETCH_HASH_SYNC | FETCH_HASH_TELL |
			 FETCH_HASH_SYNC_ALL))
		return bad();
	return get_end(b);
}

int
fetch_hash_rest_send(struct chan *c, uint32_t id, int fd)
{
	return chan_send(c, IMSG_FETCH_HASH_REST, id, fd, NULL, 0);
}

int
fetch_hash_res_send(struct chan *c, uint32_t id, const struct fetch_hash_res *r,
    int list_fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, r->error) == -1 || ibuf_add_n64(b, r->size) == -1 ||
	    add_time(b, r->ctime) == -1 || add_time(b, r->before) == -1 ||
	    ibuf_add_n8(b, r->changed) == -1 || ibuf_add_n8(b, r->kept) == -1 ||
	    add_str16(b, r->list, r->list_len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_HASH_RES, id, list_fd, b);
}

int
fetch_hash_res_recv(struct ibuf *b, struct fetch_hash_res *r)
{
	struct ibuf view;
	uint16_t n;

	if (ibuf_get_n32(b, &r->error) == -1 ||
	    ibuf_get_n64(b, &r->size) == -1 || get_time(b, &r->ctime) == -1 ||
	    get_time(b, &r->before) == -1 ||
	    ibuf_get_n8(b, &r->changed) == -1 ||
	    ibuf_get_n8(b, &r->kept) == -1 || ibuf_get_n16(b, &n) == -1)
		return -1;
	if (r->size > SAIL_SIZE_MAX || r->changed > 1 || r->kept > 1 ||
	    n > FETCH_LIST_INLINE || ibuf_get_ibuf(b, n, &view) == -1)
		return bad();
	r->list = n == 0 ? NULL : ibuf_data(&view);
	r->list_len = n;
	return get_end(b);
}

int
fetch_verify_send(struct chan *c, uint32_t id, uint32_t bytes,
    const struct hash *h, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, bytes) == -1 || ibuf_add(b, h->b, HASH_LEN) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_VERIFY, id, fd, b);
}

int
fetch_verify_recv(struct ibuf *b, uint32_t *bytes, struct hash *h)
{
	if (ibuf_get_n32(b, bytes) == -1 || get_hash(b, h) == -1)
		return -1;
	if (*bytes == 0 || *bytes > FETCH_CHUNK_MAX)
		return bad();
	return get_end(b);
}

int
fetch_verify_res_send(struct chan *c, uint32_t id, uint32_t error)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, error) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_VERIFY_RES, id, -1, b);
}

int
fetch_verify_res_recv(struct ibuf *b, uint32_t *error)
{
	if (ibuf_get_n32(b, error) == -1)
		return -1;
	return get_end(b);
}

/* ---- UPLOAD ---------------------------------------------------------------- */

int
fetch_upload_file_send(struct chan *c, uint32_t id, uint32_t file, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, file) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_UPLOAD_FILE, id, fd, b);
}

int
fetch_upload_file_recv(struct ibuf *b, uint32_t *file)
{
	if (ibuf_get_n32(b, file) == -1)
		return -1;
	if (*file >= FETCH_UPLOAD_FILES)
		return bad();
	return get_end(b);
}

/* Makes the memfd of the list; -1 and errno. */
static int
upload_list(const struct fetch_upload_chunk *chunks, uint32_t n)
{
	struct wbuf w;
	uint8_t *data;
	uint32_t i;
	size_t len;
	int fd;

	if (n > FETCH_UPLOAD_MAX) {
		errno = ERANGE;
		return -1;
	}
	wbuf_init(&w, 4 + (size_t)FETCH_UPLOAD_MAX * FETCH_UPLOAD_CHUNK_LEN);
	wbuf_u32(&w, n);
	for (i = 0; i < n; i++) {
		wbuf_u32(&w, chunks[i].file);
		wbuf_u64(&w, chunks[i].offset);
		wbuf_u32(&w, chunks[i].bytes);
		wbuf_hash(&w, &chunks[i].hash);
	}
	if ((data = wbuf_take(&w, &len)) == NULL)
		return -1;
	fd = memfd_new("upload", data, len);
	free(data);
	return fd;
}

int
fetch_upload_send(struct chan *c, uint32_t id, const char *volume,
    const char *session, const struct fetch_upload_chunk *chunks, uint32_t n)
{
	struct ibuf *b;
	int fd, saved;

	if ((fd = upload_list(chunks, n)) == -1)
		return -1;
	if ((b = body_new()) == NULL)
		goto fail;
	if (add_str16(b, volume, strlen(volume)) == -1 ||
	    add_str16(b, session, strlen(session)) == -1) {
		ibuf_free(b);
		goto fail;
	}
	if (chan_send_ibuf(c, IMSG_FETCH_UPLOAD, id, fd, b) == -1)
		goto fail;
	return 0;

fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int
fetch_upload_recv(struct ibuf *b, struct fetch_upload *u)
{
	if (get_str16(b, &u->volume, &u->volume_len, NAME_MAX_BYTES) == -1 ||
	    get_str16(b, &u->session, &u->session_len, NAME_MAX_BYTES) == -1)
		return -1;
	return get_end(b);
}

int
fetch_upload_list_decode(const uint8_t *data, size_t len,
    struct fetch_upload_chunk **chunks, uint32_t *n)
{
	struct fetch_upload_chunk *c = NULL;
	struct rbuf r;
	uint32_t i, count;

	rbuf_init(&r, data, len);
	count = rbuf_u32(&r);
	if (r.error != NULL || count > FETCH_UPLOAD_MAX ||
	    rbuf_left(&r) != (size_t)count * FETCH_UPLOAD_CHUNK_LEN)
		return bad();
	if ((c = calloc((size_t)count + 1, sizeof(*c))) == NULL)
		return -1;
	for (i = 0; i < count; i++) {
		c[i].file = rbuf_u32(&r);
		c[i].offset = rbuf_u64(&r);
		c[i].bytes = rbuf_u32(&r);
		rbuf_hash(&r, &c[i].hash);
		if ((c[i].file >= FETCH_UPLOAD_FILES &&
			c[i].file != FETCH_UPLOAD_KEPT) ||
		    c[i].bytes == 0 || c[i].bytes > FETCH_CHUNK_MAX ||
		    c[i].offset > SAIL_SIZE_MAX)
			rbuf_fail(&r, "chunk out of range");
	}
	if (rbuf_end(&r) == -1) {
		free(c);
		return bad();
	}
	*chunks = c;
	*n = count;
	return 0;
}

int
fetch_upload_res_send(struct chan *c, uint32_t id,
    const struct fetch_upload_res *r, int status_fd)
{
	size_t len = r->refusal_len > FETCH_REFUSAL_MAX ? 0 : r->refusal_len;
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, r->error) == -1 ||
	    add_what(b, r->what, r->what_len) == -1 ||
	    ibuf_add_n16(b, r->status) == -1 ||
	    add_str16(b, r->refusal, len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_UPLOAD_RES, id, status_fd, b);
}

int
fetch_upload_res_recv(struct ibuf *b, struct fetch_upload_res *r)
{
	if (ibuf_get_n32(b, &r->error) == -1 ||
	    get_str16(b, &r->what, &r->what_len, WHAT_MAX) == -1 ||
	    ibuf_get_n16(b, &r->status) == -1 ||
	    get_str16(b, &r->refusal, &r->refusal_len, FETCH_REFUSAL_MAX) == -1)
		return -1;
	if (r->status == 0
		? r->refusal_len != 0
		: ((r->status < 400 || r->status > 499) && r->status != 503) ||
		    r->error == 0)
		return bad();
	return get_end(b);
}

int
fetch_hash_progress_send(struct chan *c, uint32_t id, uint64_t bytes)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, bytes) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(c, IMSG_FETCH_HASH_PROGRESS, id, -1, b);
}

int
fetch_hash_progress_recv(struct ibuf *b, uint64_t *bytes)
{
	if (ibuf_get_n64(b, bytes) == -1)
		return -1;
	return get_end(b);
}

int
fetch_hash_chunks_send(struct chan *c, uint32_t id,
    const struct fetch_hash_chunks *h)
{
	struct ibuf *b;
	uint16_t i;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, h->size) == -1 || ibuf_add_n8(b, h->shift) == -1 ||
	    ibuf_add_n16(b, h->n) == -1)
		return body_drop(b);
	for (i = 0; i < h->n; i++)
		if (ibuf_add_n64(b, h->chunks[i].slot) == -1 ||
		    ibuf_add(b, h->chunks[i].hash.b, HASH_LEN) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_HASH_CHUNKS, id, -1, b);
}

int
fetch_hash_chunks_recv(struct ibuf *b, struct fetch_hash_chunks *h)
{
	struct fetch_get_chunk *k;
	uint64_t left;
	uint16_t i;

	if (ibuf_get_n64(b, &h->size) == -1 ||
	    ibuf_get_n8(b, &h->shift) == -1 || ibuf_get_n16(b, &h->n) == -1)
		return -1;
	if (h->size > SAIL_SIZE_MAX || h->shift < CHUNK_SHIFT_MIN ||
	    h->shift > CHUNK_SHIFT_MAX || h->n == 0 ||
	    h->n > FETCH_HASH_CHUNKS_MAX)
		return bad();
	for (i = 0; i < h->n; i++) {
		k = &h->chunks[i];
		if (ibuf_get_n64(b, &k->slot) == -1 ||
		    get_hash(b, &k->hash) == -1)
			return -1;
		if ((i > 0 && k->slot <= h->chunks[i - 1].slot) ||
		    k->slot > h->size >> h->shift ||
		    k->slot << h->shift >= h->size || hash_is_zero(&k->hash))
			return bad();
		left = h->size - (k->slot << h->shift);
		k->bytes = left < (uint64_t)1 << h->shift
		    ? (uint32_t)left
		    : (uint32_t)1 << h->shift;
	}
	return get_end(b);
}

int
fetch_upload_progress_send(struct chan *c, uint32_t id, uint32_t chunks,
    uint64_t bytes, uint64_t sent)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, chunks) == -1 || ibuf_add_n64(b, bytes) == -1 ||
	    ibuf_add_n64(b, sent) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_UPLOAD_PROGRESS, id, -1, b);
}

int
fetch_upload_progress_recv(struct ibuf *b, uint32_t *chunks, uint64_t *bytes,
    uint64_t *sent)
{
	if (ibuf_get_n32(b, chunks) == -1 || ibuf_get_n64(b, bytes) == -1 ||
	    ibuf_get_n64(b, sent) == -1)
		return -1;
	return get_end(b);
}

/* ---- GET --------------------------------------------------------------------- */

int
fetch_get_file_send(struct chan *c, uint32_t id, uint64_t slot, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, slot) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_GET_FILE, id, fd, b);
}

int
fetch_get_file_recv(struct ibuf *b, uint64_t *slot)
{
	if (ibuf_get_n64(b, slot) == -1)
		return -1;
	return get_end(b);
}

int
fetch_get_send(struct chan *c, uint32_t id, const struct fetch_get *g)
{
	struct ibuf *b;
	uint16_t i;

	if (g->n > FETCH_GET_MAX) {
		errno = ERANGE;
		return -1;
	}
	if ((b = body_new()) == NULL)
		return -1;
	if (add_str16(b, g->volume, g->volume_len) == -1 ||
	    ibuf_add(b, g->commit.b, HASH_LEN) == -1 ||
	    add_str16(b, g->path, g->path_len) == -1 ||
	    ibuf_add_n32(b, g->budget) == -1 || ibuf_add_n16(b, g->n) == -1)
		return body_drop(b);
	for (i = 0; i < g->n; i++)
		if (ibuf_add_n64(b, g->chunks[i].slot) == -1 ||
		    ibuf_add_n32(b, g->chunks[i].bytes) == -1 ||
		    ibuf_add(b, g->chunks[i].hash.b, HASH_LEN) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_GET, id, -1, b);
}

/* Slots ascend, and each may be one of a file. */
static int
get_chunks(struct ibuf *b, struct fetch_get *g)
{
	struct fetch_get_chunk *k;
	uint16_t i;

	for (i = 0; i < g->n; i++) {
		k = &g->chunks[i];
		if (ibuf_get_n64(b, &k->slot) == -1 ||
		    ibuf_get_n32(b, &k->bytes) == -1 ||
		    get_hash(b, &k->hash) == -1)
			return -1;
		if (k->slot >= SAIL_SIZE_MAX >> CHUNK_SHIFT_MIN ||
		    k->bytes == 0 || k->bytes > FETCH_CHUNK_MAX ||
		    (i > 0 && k->slot <= g->chunks[i - 1].slot))
			return bad();
	}
	return 0;
}

int
fetch_get_recv(struct ibuf *b, struct fetch_get *g)
{
	if (get_str16(b, &g->volume, &g->volume_len, NAME_MAX_BYTES) == -1 ||
	    get_hash(b, &g->commit) == -1 ||
	    get_path(b, &g->path, &g->path_len) == -1 ||
	    ibuf_get_n32(b, &g->budget) == -1 || ibuf_get_n16(b, &g->n) == -1)
		return -1;
	if (g->n == 0 || g->n > FETCH_GET_MAX)
		return bad();
	if (get_chunks(b, g) == -1)
		return -1;
	return get_end(b);
}

int
fetch_bundle_send(struct chan *c, uint32_t type, uint32_t id,
    const struct fetch_bundle *u, int fd)
{
	struct ibuf *b;
	uint16_t i;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, u->n) == -1)
		return body_drop(b);
	for (i = 0; i < u->n; i++)
		if (ibuf_add(b, u->chunks[i].hash.b, HASH_LEN) == -1 ||
		    ibuf_add_n32(b, u->chunks[i].offset) == -1 ||
		    ibuf_add_n32(b, u->chunks[i].bytes) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, type, id, fd, b);
}

int
fetch_bundle_recv(struct ibuf *b, struct fetch_bundle *u)
{
	struct fetch_bundle_chunk *k;
	uint16_t i;

	if (ibuf_get_n16(b, &u->n) == -1)
		return -1;
	if (u->n == 0 || u->n > FETCH_BUNDLE_MAX)
		return bad();
	for (i = 0; i < u->n; i++) {
		k = &u->chunks[i];
		if (get_hash(b, &k->hash) == -1 ||
		    ibuf_get_n32(b, &k->offset) == -1 ||
		    ibuf_get_n32(b, &k->bytes) == -1)
			return -1;
		if (k->bytes == 0 || k->bytes >= FETCH_BUNDLE_CHUNK ||
		    k->offset > FETCH_BUNDLE_BYTES - k->bytes)
			return bad();
	}
	return get_end(b);
}

int
fetch_get_done_send(struct chan *c, uint32_t id, uint64_t slot)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n64(b, slot) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_GET_DONE, id, -1, b);
}

int
fetch_get_done_recv(struct ibuf *b, uint64_t *slot)
{
	if (ibuf_get_n64(b, slot) == -1)
		return -1;
	return get_end(b);
}

int
fetch_get_res_send(struct chan *c, uint32_t id, uint32_t error,
    const char *what)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, error) == -1 ||
	    add_what(b, what, strlen(what)) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_GET_RES, id, -1, b);
}

int
fetch_get_res_recv(struct ibuf *b, uint32_t *error, const char **what,
    size_t *what_len)
{
	if (ibuf_get_n32(b, error) == -1 ||
	    get_str16(b, what, what_len, WHAT_MAX) == -1)
		return -1;
	return get_end(b);
}

/* ---- URL and CANCEL ------------------------------------------------------------ */

/* Makes the memfd of the parts of a pack; -1 and errno. */
static int
parts_list(const struct fetch_part *parts, uint32_t n)
{
	struct wbuf w;
	uint8_t *data;
	uint32_t i;
	size_t len;
	int fd;

	wbuf_init(&w, 4 + (size_t)FETCH_PARTS_MAX * FETCH_PART_LEN);
	wbuf_u32(&w, n);
	for (i = 0; i < n; i++) {
		wbuf_hash(&w, &parts[i].hash);
		wbuf_u32(&w, parts[i].offset);
		wbuf_u32(&w, parts[i].bytes);
	}
	if ((data = wbuf_take(&w, &len)) == NULL)
		return -1;
	fd = memfd_new("parts", data, len);
	free(data);
	return fd;
}

int
fetch_parts_decode(const uint8_t *data, size_t len, uint64_t length,
    struct fetch_part **parts, uint32_t *n)
{
	struct fetch_part *p;
	struct rbuf r;
	uint32_t i, count;

	rbuf_init(&r, data, len);
	count = rbuf_u32(&r);
	if (r.error != NULL || count == 0 || count > FETCH_PARTS_MAX ||
	    rbuf_left(&r) != (size_t)count * FETCH_PART_LEN)
		return bad();
	if ((p = calloc(count, sizeof(*p))) == NULL)
		return -1;
	for (i = 0; i < count; i++) {
		rbuf_hash(&r, &p[i].hash);
		p[i].offset = rbuf_u32(&r);
		p[i].bytes = rbuf_u32(&r);
		if (p[i].offset > length || p[i].bytes > length - p[i].offset)
			rbuf_fail(&r, "part outside of its pack");
	}
	if (rbuf_end(&r) == -1) {
		free(p);
		return bad();
	}
	*parts = p;
	*n = count;
	return 0;
}

int
fetch_url_send(struct chan *c, uint32_t id, const struct fetch_url *u)
{
	struct ibuf *b;
	int fd = -1, saved;

	if (u->nparts > 0 && (fd = parts_list(u->parts, u->nparts)) == -1)
		return -1;
	if ((b = body_new()) == NULL)
		goto fail;
	if (ibuf_add_n8(b, u->method) == -1 ||
	    add_str16(b, u->url, u->url_len) == -1 ||
	    ibuf_add(b, u->hash.b, HASH_LEN) == -1 ||
	    ibuf_add_n64(b, u->length) == -1 ||
	    ibuf_add_n8(b, u->verify) == -1 ||
	    ibuf_add_n32(b, u->deadline_ms) == -1)
		body_drop(b);
	else if (chan_send_ibuf(c, IMSG_FETCH_URL, id, fd, b) == 0)
		return 0;
fail:
	saved = errno;
	if (fd != -1)
		close(fd);
	errno = saved;
	return -1;
}

int
fetch_url_recv(struct ibuf *b, struct fetch_url *u)
{
	if (ibuf_get_n8(b, &u->method) == -1 ||
	    get_str16(b, &u->url, &u->url_len, URL_MAX) == -1 ||
	    get_hash(b, &u->hash) == -1 || ibuf_get_n64(b, &u->length) == -1 ||
	    ibuf_get_n8(b, &u->verify) == -1 ||
	    ibuf_get_n32(b, &u->deadline_ms) == -1)
		return -1;
	if ((u->method != FETCH_METHOD_GET && u->method != FETCH_METHOD_HEAD &&
		u->method != FETCH_METHOD_DELETE &&
		u->method != FETCH_METHOD_PUT) ||
	    u->verify > 1 || u->url_len == 0 || u->length > FETCH_OBJECT_MAX)
		return bad();
	u->parts = NULL;
	u->nparts = 0;
	return get_end(b);
}

int
fetch_url_res_send(struct chan *c, uint32_t id, const struct fetch_url_res *r,
    int parts_fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, r->status) == -1 ||
	    ibuf_add_n8(b, r->equal) == -1 || ibuf_add_n8(b, r->dated) == -1 ||
	    ibuf_add_n64(b, (uint64_t)r->skew_ms) == -1 ||
	    ibuf_add_n64(b, r->length) == -1 ||
	    add_what(b, r->what, strlen(r->what)) == -1 ||
	    add_what(b, r->code, strlen(r->code)) == -1 ||
	    add_what(b, r->elsewhere, strlen(r->elsewhere)) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_URL_RES, id, parts_fd, b);
}

int
fetch_url_res_recv(struct ibuf *b, struct fetch_url_res *r)
{
	const char *code, *where;
	size_t len, what_len, where_len;
	uint64_t skew;

	if (ibuf_get_n16(b, &r->status) == -1 ||
	    ibuf_get_n8(b, &r->equal) == -1 ||
	    ibuf_get_n8(b, &r->dated) == -1 || ibuf_get_n64(b, &skew) == -1 ||
	    ibuf_get_n64(b, &r->length) == -1 ||
	    get_str16(b, &r->what, &what_len, WHAT_MAX) == -1 ||
	    get_str16(b, &code, &len, FETCH_CODE_MAX) == -1 ||
	    get_str16(b, &where, &where_len, FETCH_ELSEWHERE_MAX) == -1)
		return -1;
	fetch_printable(r->said, r->what, what_len);
	r->what = NULL; /* without an end */
	if (!fetch_code_ok(code, len) || !fetch_elsewhere_ok(where, where_len))
		return bad();
	memcpy(r->code, code, len);
	r->code[len] = '\0';
	memcpy(r->elsewhere, where, where_len);
	r->elsewhere[where_len] = '\0';
	r->skew_ms = (int64_t)skew;
	if (r->equal > 1 || r->dated > 1 || !skew_ok(r->skew_ms))
		return bad();
	return get_end(b);
}

int
fetch_cancel_send(struct chan *c, uint32_t id)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, id) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_CANCEL, id, -1, b);
}

int
fetch_cancel_recv(struct ibuf *b, uint32_t *id)
{
	if (ibuf_get_n32(b, id) == -1)
		return -1;
	return get_end(b);
}

int
fetch_numbers_send(struct chan *c, uint32_t id, const struct fetch_numbers *n)
{
	struct ibuf *b;
	size_t i;

	if ((b = body_new()) == NULL)
		return -1;
	for (i = 0; i < FETCH_CLASSES; i++)
		if (ibuf_add_n64(b, n->of[i].tries) == -1 ||
		    ibuf_add_n64(b, n->of[i].again) == -1 ||
		    ibuf_add_n64(b, n->of[i].failed) == -1 ||
		    ibuf_add_n64(b, n->of[i].sent) == -1 ||
		    ibuf_add_n64(b, n->of[i].received) == -1 ||
		    ibuf_add_n64(b, n->of[i].running) == -1 ||
		    ibuf_add_n64(b, n->of[i].waiting) == -1)
			return body_drop(b);
	if (ibuf_add_n64(b, n->answered_ms) == -1 ||
	    ibuf_add_n64(b, n->unanswered_ms) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_FETCH_NUMBERS_RES, id, -1, b);
}

int
fetch_numbers_recv(struct ibuf *b, struct fetch_numbers *n)
{
	size_t i;

	for (i = 0; i < FETCH_CLASSES; i++)
		if (ibuf_get_n64(b, &n->of[i].tries) == -1 ||
		    ibuf_get_n64(b, &n->of[i].again) == -1 ||
		    ibuf_get_n64(b, &n->of[i].failed) == -1 ||
		    ibuf_get_n64(b, &n->of[i].sent) == -1 ||
		    ibuf_get_n64(b, &n->of[i].received) == -1 ||
		    ibuf_get_n64(b, &n->of[i].running) == -1 ||
		    ibuf_get_n64(b, &n->of[i].waiting) == -1)
			return -1;
	if (ibuf_get_n64(b, &n->answered_ms) == -1 ||
	    ibuf_get_n64(b, &n->unanswered_ms) == -1)
		return -1;
	return get_end(b);
}
