/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailapid_imsg: the messages between the processes of sailapid(8), each with
 * its direction, body and meaning, and the pairs that write and read their
 * bodies.  Strings: u16 or u32 length (big endian, ibuf_add_n*), then bytes.
 */
#ifndef SAILAPID_IMSG_H
#define SAILAPID_IMSG_H

#include <sys/socket.h>

#include "lib/proc.h"

/*
 * X(name, number, from, to, descriptor, body)
 */
#define SAILAPID_MESSAGES(X)                                                 \
	X(PARENT_API_CONFIG, 100, PARENT, API, NOFD,                         \
	    "u32 max connections, u32 of one peer, u32 idle seconds, "       \
	    "u32 least bytes a second, u32 max header, "                     \
	    "u32 requests at a time, u32 of one peer, u64 max body")         \
	X(PARENT_API_LISTEN, 101, PARENT, API, FD, "listening socket")       \
	X(PARENT_STORE_CONFIG, 102, PARENT, STORE, NOFD,                     \
	    "str access key, str secret, str region, str bucket, str token") \
	X(PARENT_STORE_LISTEN, 103, PARENT, STORE, FD, "listening socket")   \
	X(PARENT_SIGN_CONFIG, 104, PARENT, SIGN, NOFD,                       \
	    "as PARENT_STORE_CONFIG; bucket \"\": the host names it")        \
	X(PARENT_META_CONFIG, 105, PARENT, META, NOFD,                       \
	    "u16 store port (0: endpoint), u8 it speaks TLS, "               \
	    "str URL of the endpoint, or for ourselves, u32 URL life s, "    \
	    "u32 seconds between surveys (0: never)")                        \
	X(PARENT_STORE_LIMITS, 106, PARENT, STORE, NOFD,                     \
	    "as PARENT_API_CONFIG")                                          \
	X(PARENT_API_METRICS, 107, PARENT, API, FD,                          \
	    "listening socket of /metrics")                                  \
	X(API_META_REQUEST, 110, API, META, MAYFD,                           \
	    "u8 method, u8 enum api_whence, str16 target, str16 host, "      \
	    "str16 authorization, "                                          \
	    "str16 peer; memfd of the body")                                 \
	X(META_API_RESPONSE, 111, META, API, MAYFD,                          \
	    "u16 status, u8 type (enum api_type), u8 methods that may be "   \
	    "(405: 1 << enum api_method each), str32 body, when no memfd")   \
	X(API_META_FORGET, 112, API, META, NOFD,                             \
	    "empty: nobody waits for the answer of the request of that "     \
	    "number, which comes all the same")                              \
	X(META_SIGN_URLS, 120, META, SIGN, NOFD,                             \
	    "u16 n, n of: u8 method, str16 base URL (scheme://host:port), "  \
	    "str16 key, str16 query, str16 headers (lines Name:value\\n), "  \
	    "u32 life s")                                                    \
	X(SIGN_META_URLS, 121, SIGN, META, NOFD, "u16 n, n of: str16 URL")   \
	X(META_PARENT_REFUSE, 122, META, PARENT, NOFD,                       \
	    "empty: the store is not that of the database")                  \
	X(PARENT_TLS_LISTEN, 130, PARENT, TLS, FD,                           \
	    "u8 whose connections (enum tls_service); listening socket")     \
	X(PARENT_TLS_PAIR, 131, PARENT, TLS, FD,                             \
	    "u32 bytes of the certificates; memfd of them and the key, PEM") \
	X(PARENT_TLS_CONFIG, 132, PARENT, TLS, NOFD,                         \
	    "u32 max connections, u32 of one peer, u32 idle seconds, "       \
	    "u32 handshake seconds, u32 least bytes a second; "              \
	    "the sockets sent before are all of them")                       \
	X(TLS_API_CONNECTION, 133, TLS, API, FD,                             \
	    "u8 family (4, 6), 16 bytes address, u16 port of the client; "   \
	    "socket with its plain bytes")                                   \
	X(TLS_STORE_CONNECTION, 134, TLS, STORE, FD, "as TLS_API_CONNECTION")

enum sailapid_message {
#define X(name, number, from, to, fd, body) IMSG_##name = number,
	SAILAPID_MESSAGES(X)
#undef X
};

enum api_method { API_GET = 1, API_PUT, API_POST, API_DELETE, API_HEAD };
enum api_type {
	API_TYPE_NONE = 0,
	API_TYPE_JSON,
	API_TYPE_BINARY /* WIRE_CONTENT_TYPE */
};

/*
 * The pairs.  send: 0, or -1 and errno (ERANGE: does not fit into a message);
 * a descriptor is owned by the channel from a success on, and stays with the
 * caller on failure.  recv: 0, or -1 and EBADMSG; strings are views into the
 * message, not terminated.
 */
struct api_str {
	const char *p;
	size_t len;
};
struct api_str api_str(const char *); /* of a C string; NULL gives "" */

#define API_TARGET_MAX 8192
#define API_HOST_MAX 512
#define API_AUTHORIZATION_MAX 512
#define API_PEER_MAX 64
#define API_ANSWER_INLINE (32 * 1024) /* a larger body goes as a memfd */

#define API_CONFIG_LEN 44

struct api_config {
	uint32_t max_connections, per_peer, idle_s;
	uint32_t rate, header_size;           /* bytes a second, bytes */
	uint32_t requests, requests_per_peer; /* that meta has at a time */
	uint64_t max_body, max_answers;
};
/* type: IMSG_PARENT_API_CONFIG or IMSG_PARENT_STORE_LIMITS. */
int api_config_send(struct chan *, uint32_t type, const struct api_config *);
int api_config_recv(struct ibuf *, struct api_config *);

/* For store and sign: the same body, IMSG_PARENT_STORE_CONFIG or _SIGN_. */
#define S3_ACCESS_KEY_MAX 128
#define S3_SECRET_MAX 128
#define S3_TOKEN_MAX 2048
#define S3_REGION_MAX 64
#define S3_BUCKET_MAX 64
struct s3_config {
	struct api_str access_key, secret, region, bucket, token;
};
int s3_config_send(struct chan *, uint32_t type, const struct s3_config *);
int s3_config_recv(struct ibuf *, struct s3_config *);

struct meta_config {
	uint16_t store_port; /* 0: all go to store_url */
	uint8_t store_tls;   /* of clients; store_url is ours and plain then */
	struct api_str store_url;
	uint32_t url_life_s, survey_s;
};
int meta_config_send(struct chan *, const struct meta_config *);
int meta_config_recv(struct ibuf *, struct meta_config *);

/* METRICS: of the socket of /metrics, where nobody has a key. */
enum api_whence { API_PLAIN = 0, API_TLS, API_METRICS };

struct api_request {
	uint8_t method; /* enum api_method */
	uint8_t whence; /* enum api_whence */
	struct api_str target, host, authorization, peer;
};
/* body_fd: sealed memfd of the body, -1 when it is empty. */
int api_request_send(struct chan *, uint32_t id, const struct api_request *,
    int body_fd);
int api_request_recv(struct ibuf *, struct api_request *);

struct api_response {
	uint16_t status;
	uint8_t type;        /* enum api_type */
	struct api_str body; /* at most API_ANSWER_INLINE; "" with a memfd */
	uint8_t allow;       /* of a 405: 1 << enum api_method each */
};
int api_response_send(struct chan *, uint32_t id, const struct api_response *,
    int body_fd);
int api_response_recv(struct ibuf *, struct api_response *);

/* Whose plain bytes come to tls. */
enum tls_service { TLS_FOR_API = 0, TLS_FOR_STORE, TLS_SERVICES };

struct tls_limits {
	uint32_t max_connections, per_peer; /* of each service */
	uint32_t idle_s, handshake_s, rate;
};
int tls_limits_send(struct chan *, const struct tls_limits *);
int tls_limits_recv(struct ibuf *, struct tls_limits *);
int tls_listen_send(struct chan *, uint8_t service, int fd);
int tls_listen_recv(struct ibuf *, uint8_t *service);
int tls_pair_send(struct chan *, uint32_t cert_len, int fd);
int tls_pair_recv(struct ibuf *, uint32_t *cert_len);

struct tls_client {
	uint8_t family; /* 4 or 6 */
	uint8_t addr[16];
	uint16_t port;
};
#define TLS_CLIENT_LEN 19 /* of the body */
/* type: IMSG_TLS_API_CONNECTION or IMSG_TLS_STORE_CONNECTION. */
int tls_client_send(struct chan *, uint32_t type, const struct tls_client *,
    int fd);
int tls_client_recv(struct ibuf *, struct tls_client *);
/* Its length. */
socklen_t tls_client_address(const struct tls_client *,
    struct sockaddr_storage *);

#define SIGN_URLS_MAX 32 /* of one message */
#define SIGN_KEY_MAX 1024
#define SIGN_QUERY_MAX 4096
#define SIGN_URL_MAX 16384
struct sign_url {
	uint8_t method;
	/* query: of a request to the bucket, which has no key: encoded, else "" */
	struct api_str base, key, query, headers; /* lines Name:value\n */
	uint32_t life_s;
	int32_t offset_s; /* of the store's clock from ours */
};
#define SIGN_OFFSET_MAX (24 * 3600)
int sign_urls_send(struct chan *, uint32_t id, const struct sign_url *,
    uint16_t n);
/* n: in, room; out, how many there are. */
int sign_urls_recv(struct ibuf *, struct sign_url *, uint16_t *n);
/* An URL that cannot be signed (a bad key or header) is "". */
int signed_urls_send(struct chan *, uint32_t id, const struct api_str *,
    uint16_t n);
int signed_urls_recv(struct ibuf *, struct api_str *, uint16_t *n);

#endif
