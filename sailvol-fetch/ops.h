/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ops: the handlers of what sailvol-fetch(8) may be asked, for the table of
 * its messages, and what its operations share.
 */
#ifndef SAILVOL_FETCH_OPS_H
#define SAILVOL_FETCH_OPS_H

#include "lib/chan.h"
#include "lib/hash.h"
#include "sailvol-fetch/http.h"

/* api.c */
int op_api(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* hash_file.c */
int op_hash(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* verify_file.c */
int op_verify_list(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int op_verify(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void verify_peer_down(struct chan *);
/* upload.c */
int op_upload_file(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int op_upload(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void upload_peer_down(struct chan *);
/* get.c */
int op_get(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* object.c */
int op_url(struct chan *, uint32_t, struct imsg *, struct ibuf *);

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
