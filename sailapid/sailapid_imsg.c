/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailapid_imsg: writes and reads the bodies of the messages between the
 * processes of sailapid(8).  In all of them.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <errno.h>
#include <string.h>

#include "sailapid/sailapid_imsg.h"

struct api_str
api_str(const char *s)
{
	struct api_str v = { s == NULL ? "" : s, s == NULL ? 0 : strlen(s) };

	return v;
}

static int
add_str16(struct ibuf *b, struct api_str s)
{
	if (s.len > UINT16_MAX) {
		errno = ERANGE;
		return -1;
	}
	if (ibuf_add_n16(b, s.len) == -1)
		return -1;
	return s.len == 0 ? 0 : ibuf_add(b, s.p, s.len);
}

static int
get_bytes(struct ibuf *b, struct api_str *s, size_t len, size_t max)
{
	struct ibuf view;

	if (len > max || ibuf_get_ibuf(b, len, &view) == -1) {
		errno = EBADMSG;
		return -1;
	}
	s->p = len == 0 ? "" : ibuf_data(&view);
	s->len = len;
	return 0;
}

static int
get_str16(struct ibuf *b, struct api_str *s, size_t max)
{
	uint16_t len;

	if (ibuf_get_n16(b, &len) == -1)
		return -1;
	return get_bytes(b, s, len, max);
}

/* Nothing may be left over. */
static int
get_end(struct ibuf *b)
{
	if (ibuf_size(b) == 0)
		return 0;
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

int
api_config_send(struct chan *c, uint32_t type, const struct api_config *conf)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, conf->max_connections) == -1 ||
	    ibuf_add_n32(b, conf->per_peer) == -1 ||
	    ibuf_add_n32(b, conf->idle_s) == -1 ||
	    ibuf_add_n32(b, conf->rate) == -1 ||
	    ibuf_add_n32(b, conf->header_size) == -1 ||
	    ibuf_add_n32(b, conf->requests) == -1 ||
	    ibuf_add_n32(b, conf->requests_per_peer) == -1 ||
	    ibuf_add_n64(b, conf->max_body) == -1 ||
	    ibuf_add_n64(b, conf->max_answers) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, type, 0, -1, b);
}

int
api_config_recv(struct ibuf *b, struct api_config *conf)
{
	if (ibuf_get_n32(b, &conf->max_connections) == -1 ||
	    ibuf_get_n32(b, &conf->per_peer) == -1 ||
	    ibuf_get_n32(b, &conf->idle_s) == -1 ||
	    ibuf_get_n32(b, &conf->rate) == -1 ||
	    ibuf_get_n32(b, &conf->header_size) == -1 ||
	    ibuf_get_n32(b, &conf->requests) == -1 ||
	    ibuf_get_n32(b, &conf->requests_per_peer) == -1 ||
	    ibuf_get_n64(b, &conf->max_body) == -1 ||
	    ibuf_get_n64(b, &conf->max_answers) == -1)
		return -1;
	return get_end(b);
}

int
s3_config_send(struct chan *c, uint32_t type, const struct s3_config *conf)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (add_str16(b, conf->access_key) == -1 ||
	    add_str16(b, conf->secret) == -1 ||
	    add_str16(b, conf->region) == -1 ||
	    add_str16(b, conf->bucket) == -1 || add_str16(b, conf->token) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, type, 0, -1, b);
}

int
s3_config_recv(struct ibuf *b, struct s3_config *conf)
{
	if (get_str16(b, &conf->access_key, S3_ACCESS_KEY_MAX) == -1 ||
	    get_str16(b, &conf->secret, S3_SECRET_MAX) == -1 ||
	    get_str16(b, &conf->region, S3_REGION_MAX) == -1 ||
	    get_str16(b, &conf->bucket, S3_BUCKET_MAX) == -1 ||
	    get_str16(b, &conf->token, S3_TOKEN_MAX) == -1)
		return -1;
	return get_end(b);
}

int
meta_config_send(struct chan *c, const struct meta_config *conf)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, conf->store_port) == -1 ||
	    ibuf_add_n8(b, conf->store_tls) == -1 ||
	    add_str16(b, conf->store_url) == -1 ||
	    ibuf_add_n32(b, conf->url_life_s) == -1 ||
	    ibuf_add_n32(b, conf->survey_s) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_META_CONFIG, 0, -1, b);
}

int
meta_config_recv(struct ibuf *b, struct meta_config *conf)
{
	if (ibuf_get_n16(b, &conf->store_port) == -1 ||
	    ibuf_get_n8(b, &conf->store_tls) == -1 ||
	    get_str16(b, &conf->store_url, 1024) == -1 ||
	    ibuf_get_n32(b, &conf->url_life_s) == -1 ||
	    ibuf_get_n32(b, &conf->survey_s) == -1)
		return -1;
	return get_end(b);
}

int
api_request_send(struct chan *c, uint32_t id, const struct api_request *r,
    int body_fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n8(b, r->method) == -1 ||
	    ibuf_add_n8(b, r->whence) == -1 || add_str16(b, r->target) == -1 ||
	    add_str16(b, r->host) == -1 ||
	    add_str16(b, r->authorization) == -1 || add_str16(b, r->peer) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_API_META_REQUEST, id, body_fd, b);
}

int
api_request_recv(struct ibuf *b, struct api_request *r)
{
	if (ibuf_get_n8(b, &r->method) == -1 ||
	    ibuf_get_n8(b, &r->whence) == -1 ||
	    get_str16(b, &r->target, API_TARGET_MAX) == -1 ||
	    get_str16(b, &r->host, API_HOST_MAX) == -1 ||
	    get_str16(b, &r->authorization, API_AUTHORIZATION_MAX) == -1 ||
	    get_str16(b, &r->peer, API_PEER_MAX) == -1)
		return -1;
	if (r->method < API_GET || r->method > API_HEAD ||
	    r->whence > API_METRICS) {
		errno = EBADMSG;
		return -1;
	}
	return get_end(b);
}

int
api_response_send(struct chan *c, uint32_t id, const struct api_response *r,
    int body_fd)
{
	struct ibuf *b;

	if (r->body.len > API_ANSWER_INLINE) {
		errno = ERANGE;
		return -1;
	}
	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n16(b, r->status) == -1 || ibuf_add_n8(b, r->type) == -1 ||
	    ibuf_add_n8(b, r->allow) == -1 ||
	    ibuf_add_n32(b, r->body.len) == -1 ||
	    (r->body.len != 0 && ibuf_add(b, r->body.p, r->body.len) == -1))
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_META_API_RESPONSE, id, body_fd, b);
}

int
api_response_recv(struct ibuf *b, struct api_response *r)
{
	uint32_t len;

	if (ibuf_get_n16(b, &r->status) == -1 ||
	    ibuf_get_n8(b, &r->type) == -1 || ibuf_get_n8(b, &r->allow) == -1 ||
	    ibuf_get_n32(b, &len) == -1 ||
	    get_bytes(b, &r->body, len, API_ANSWER_INLINE) == -1)
		return -1;
	if (r->status < 200 || r->status > 599 || r->type > API_TYPE_BINARY) {
		errno = EBADMSG;
		return -1;
	}
	return get_end(b);
}

int
sign_urls_send(struct chan *c, uint32_t id, const struct sign_url *u,
    uint16_t n)
{
	struct ibuf *b;
	uint16_t i;

	if (n == 0 || n > SIGN_URLS_MAX) {
		errno = ERANGE;
		return -1;
	}
	if ((b = body_new()) == NULL || ibuf_add_n16(b, n) == -1)
		return body_drop(b);
	for (i = 0; i < n; i++)
		if (ibuf_add_n8(b, u[i].method) == -1 ||
		    add_str16(b, u[i].base) == -1 ||
		    add_str16(b, u[i].key) == -1 ||
		    add_str16(b, u[i].query) == -1 ||
		    add_str16(b, u[i].headers) == -1 ||
		    ibuf_add_n32(b, u[i].life_s) == -1 ||
		    ibuf_add_n32(b, (uint32_t)u[i].offset_s) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, IMSG_META_SIGN_URLS, id, -1, b);
}

/* How many follow; at least one, at most room. */
static int
get_count(struct ibuf *b, uint16_t room, uint16_t *n)
{
	if (ibuf_get_n16(b, n) == -1)
		return -1;
	if (*n == 0 || *n > room || *n > SIGN_URLS_MAX) {
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

int
sign_urls_recv(struct ibuf *b, struct sign_url *u, uint16_t *n)
{
	uint16_t i, room = *n;
	uint32_t offset;

	if (get_count(b, room, n) == -1)
		return -1;
	for (i = 0; i < *n; i++) {
		if (ibuf_get_n8(b, &u[i].method) == -1 ||
		    get_str16(b, &u[i].base, API_HOST_MAX + 16) == -1 ||
		    get_str16(b, &u[i].key, SIGN_KEY_MAX) == -1 ||
		    get_str16(b, &u[i].query, SIGN_QUERY_MAX) == -1 ||
		    get_str16(b, &u[i].headers, 4096) == -1 ||
		    ibuf_get_n32(b, &u[i].life_s) == -1 ||
		    ibuf_get_n32(b, &offset) == -1)
			return -1;
		u[i].offset_s = (int32_t)offset;
		if (u[i].method < API_GET || u[i].method > API_HEAD ||
		    u[i].offset_s < -SIGN_OFFSET_MAX ||
		    u[i].offset_s > SIGN_OFFSET_MAX) {
			errno = EBADMSG;
			return -1;
		}
	}
	return get_end(b);
}

int
signed_urls_send(struct chan *c, uint32_t id, const struct api_str *u,
    uint16_t n)
{
	struct ibuf *b;
	uint16_t i;

	if ((b = body_new()) == NULL || ibuf_add_n16(b, n) == -1)
		return body_drop(b);
	for (i = 0; i < n; i++)
		if (add_str16(b, u[i]) == -1)
			return body_drop(b);
	return chan_send_ibuf(c, IMSG_SIGN_META_URLS, id, -1, b);
}

int
signed_urls_recv(struct ibuf *b, struct api_str *u, uint16_t *n)
{
	uint16_t i, room = *n;

	if (get_count(b, room, n) == -1)
		return -1;
	for (i = 0; i < *n; i++)
		if (get_str16(b, &u[i], SIGN_URL_MAX) == -1)
			return -1;
	return get_end(b);
}

int
tls_limits_send(struct chan *c, const struct tls_limits *l)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, l->max_connections) == -1 ||
	    ibuf_add_n32(b, l->per_peer) == -1 ||
	    ibuf_add_n32(b, l->idle_s) == -1 ||
	    ibuf_add_n32(b, l->handshake_s) == -1 ||
	    ibuf_add_n32(b, l->rate) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_TLS_CONFIG, 0, -1, b);
}

int
tls_limits_recv(struct ibuf *b, struct tls_limits *l)
{
	if (ibuf_get_n32(b, &l->max_connections) == -1 ||
	    ibuf_get_n32(b, &l->per_peer) == -1 ||
	    ibuf_get_n32(b, &l->idle_s) == -1 ||
	    ibuf_get_n32(b, &l->handshake_s) == -1 ||
	    ibuf_get_n32(b, &l->rate) == -1)
		return -1;
	return get_end(b);
}

int
tls_listen_send(struct chan *c, uint8_t service, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n8(b, service) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_TLS_LISTEN, 0, fd, b);
}

int
tls_listen_recv(struct ibuf *b, uint8_t *service)
{
	if (ibuf_get_n8(b, service) == -1)
		return -1;
	if (*service >= TLS_SERVICES) {
		errno = EBADMSG;
		return -1;
	}
	return get_end(b);
}

int
tls_pair_send(struct chan *c, uint32_t cert_len, int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n32(b, cert_len) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, IMSG_PARENT_TLS_PAIR, 0, fd, b);
}

int
tls_pair_recv(struct ibuf *b, uint32_t *cert_len)
{
	if (ibuf_get_n32(b, cert_len) == -1)
		return -1;
	return get_end(b);
}

int
tls_client_send(struct chan *c, uint32_t type, const struct tls_client *t,
    int fd)
{
	struct ibuf *b;

	if ((b = body_new()) == NULL)
		return -1;
	if (ibuf_add_n8(b, t->family) == -1 ||
	    ibuf_add(b, t->addr, sizeof(t->addr)) == -1 ||
	    ibuf_add_n16(b, t->port) == -1)
		return body_drop(b);
	return chan_send_ibuf(c, type, 0, fd, b);
}

int
tls_client_recv(struct ibuf *b, struct tls_client *t)
{
	if (ibuf_get_n8(b, &t->family) == -1 ||
	    ibuf_get(b, t->addr, sizeof(t->addr)) == -1 ||
	    ibuf_get_n16(b, &t->port) == -1)
		return -1;
	if (t->family != 4 && t->family != 6) {
		errno = EBADMSG;
		return -1;
	}
	return get_end(b);
}

socklen_t
tls_client_address(const struct tls_client *client, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };

	memset(ss, 0, sizeof(*ss));
	if (client->family == 4) {
		memcpy(&four.sin_addr, client->addr, sizeof(four.sin_addr));
		four.sin_port = htons(client->port);
		memcpy(ss, &four, sizeof(four));
		return sizeof(four);
	}
	memcpy(&six.sin6_addr, client->addr, sizeof(six.sin6_addr));
	six.sin6_port = htons(client->port);
	memcpy(ss, &six, sizeof(six));
	return sizeof(six);
}
