/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailapid_imsg: the messages between the processes of sailapid(8), each with
 * its direction, body and meaning, and the pairs that write and read their
 * bodies.  Strings: u16 or u32 length (big endian, ibuf_add_n*), then bytes.
 */
#ifndef SAILAPID_IMSG_H
#define SAILAPID_IMSG_H

#include "lib/proc.h"

/*
 * X(name, number, from, to, descriptor, body)
 */
#define SAILAPID_MESSAGES(X)                                                   \
	X(PARENT_API_CONFIG, 100, PARENT, API, NOFD,                           \
	    "u32 max connections, u32 idle seconds, u64 max body")             \
	X(PARENT_API_LISTEN, 101, PARENT, API, FD, "listening socket")         \
	X(PARENT_STORE_CONFIG, 102, PARENT, STORE, NOFD,                       \
	    "str access key, str secret, str region, str bucket")              \
	X(PARENT_STORE_LISTEN, 103, PARENT, STORE, FD, "listening socket")     \
	X(PARENT_SIGN_CONFIG, 104, PARENT, SIGN, NOFD,                         \
	    "str access key, str secret, str region, str bucket")              \
	X(PARENT_META_CONFIG, 105, PARENT, META, NOFD,                         \
	    "u16 store port (0: endpoint), str endpoint URL, u32 URL life s")  \
	X(API_META_REQUEST, 110, API, META, MAYFD,                             \
	    "u8 method, str16 target, str16 host, str16 authorization, "       \
	    "str16 peer; memfd of the body")                                   \
	X(META_API_RESPONSE, 111, META, API, MAYFD,                            \
	    "u16 status, u8 type (enum api_type), str32 body, when no memfd")  \
	X(META_SIGN_URLS, 120, META, SIGN, NOFD,                               \
	    "u16 n, n of: u8 method, str16 base URL (scheme://host:port), "    \
	    "str16 key, str16 headers (lines Name:value\\n), u32 life s")      \
	X(SIGN_META_URLS, 121, SIGN, META, NOFD, "u16 n, n of: str16 URL")

enum sailapid_message {
#define X(name, number, from, to, fd, body) IMSG_##name = number,
	SAILAPID_MESSAGES(X)
#undef X
};

enum api_method {
	API_GET = 1,
	API_PUT,
	API_POST,
	API_DELETE,
	API_HEAD
};
enum api_type {
	API_TYPE_NONE = 0,
	API_TYPE_JSON,
	API_TYPE_BINARY /* WIRE_CONTENT_TYPE */
};

#endif
