/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * certificate: the certificate and key that tls is given.  In the parent.
 */
#ifndef SAILAPID_CERTIFICATE_H
#define SAILAPID_CERTIFICATE_H

#include <sys/types.h>
#include <stdint.h>

struct certificate {
	int fd; /* sealed memfd: certificates, then the key; -1: none */
	uint32_t cert_len;
	int64_t from,
	    until; /* when the first one is good, seconds since 1970 */
};

/*
 * From the two files, in PEM.  A child that has that user looks whether libtls
 * can use them.  -1 after a message: *out has none.
 */
int certificate_read(const char *cert_file, const char *key_file, uid_t, gid_t,
    struct certificate *out);
void certificate_close(struct certificate *);
/* The same bytes. */
int certificate_equal(const struct certificate *, const struct certificate *);
/* It is good at this time; else a message says that it is not. */
int certificate_is_current(const struct certificate *, const char *cert_file);

#endif
