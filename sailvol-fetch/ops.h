/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ops: the handlers of what sailvol-fetch(8) may be asked, for the table of
 * its messages, and what its operations share.
 */
#ifndef SAILVOL_FETCH_OPS_H
#define SAILVOL_FETCH_OPS_H

#include "lib/chan.h"
#include "lib/fetch_imsg.h"
#include "lib/hash.h"
#include "sailvol-fetch/http.h"

/*
 * NAME_given_up: lets go of the files of a question of that number that has not
 * come, and will not.
 */

/* api.c */
int op_api(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* hash_file.c */
int op_hash(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int op_hash_rest(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void hash_peer_down(struct chan *);
void hash_given_up(struct chan *, uint32_t);
/* verify_file.c */
int op_verify(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int op_verify_bundle(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* upload.c */
int op_upload_file(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int op_upload(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void upload_peer_down(struct chan *);
void upload_given_up(struct chan *, uint32_t);
/* get.c */
int op_get_file(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void get_peer_down(struct chan *);
void get_given_up(struct chan *, uint32_t);
int op_get(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* object.c */
int op_url(struct chan *, uint32_t, struct imsg *, struct ibuf *);
struct fetch_url_res;
/* What the store calls the error, and where it sends us; "" it does not. */
void object_error(const struct http_result *, struct fetch_url_res *);
/* list.c */
int op_list(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* pack_check.c: URL with a list of parts in fd, which it takes. */
struct fetch_url;
int pack_check(struct chan *, uint32_t id, const struct fetch_url *, int fd);

/* Numbers of answers that cannot be sent any more. */
void op_lost(const char *what);

/*
 * transfer.c, also in threads: reads n bytes at offset: 0; -1 and errno, 0
 * bytes at the end of the file: ENODATA.
 */
int read_at(int fd, void *buf, size_t n, uint64_t offset);
int write_at(int fd, const void *buf, size_t n, uint64_t offset);
/* The hash of a piece of a file; -1 and errno. */
int hash_range(int fd, uint64_t offset, uint64_t bytes, struct hash *);
/* 1 when that piece is all zero, 0 not, -1 and errno. */
int range_is_zero(int fd, uint64_t offset, uint64_t bytes);
/* Where data begins at or after offset; size when none follows. */
uint64_t next_data(int fd, uint64_t offset, uint64_t size);
/* errno of a result that is not a success. */
int result_errno(const struct http_result *);
/* Says what was wrong with a result, for people. */
void result_what(const struct http_result *, const char *who, char *, size_t);

#define READ_STEP ((size_t)256 * 1024) /* bytes; fits the processor's cache */

#endif
