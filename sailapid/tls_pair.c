/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tls_pair: a certificate and its key, as libtls wants them.  In tls, and in
 * the child that looks at them before tls gets them.
 */
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sailapid/tls.h"

/* Of TLS 1.2: forward secrecy and authenticated encryption.  Those of 1.3 have
   both. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/*
 * While a handshake runs, libtls looks into what it was accepted by: that
 * lives as long as the last connection.
 */
struct pair {
	unsigned int refs;
	struct tls *tls;
};

static void
say(char *why, size_t size, const char *what)
{
	strlcpy(why, what != NULL ? what : "out of memory", size);
}

struct pair *
pair_new(const uint8_t *pem, size_t cert_len, size_t len, char *why,
    size_t size)
{
	struct tls_config *config = tls_config_new();
	struct pair *p = calloc(1, sizeof(*p));

	if (config == NULL || p == NULL || (p->tls = tls_server()) == NULL) {
		say(why, size, NULL);
		goto fail;
	}
	p->refs = 1;
	if (tls_config_set_protocols(config,
		TLS_PROTOCOL_TLSv1_2 | TLS_PROTOCOL_TLSv1_3) == -1 ||
	    tls_config_set_ciphers(config, CIPHERS) == -1 ||
	    tls_config_set_alpn(config, "http/1.1") == -1 ||
	    tls_config_set_keypair_mem(config, pem, cert_len, pem + cert_len,
		len - cert_len) == -1) {
		say(why, size, tls_config_error(config));
		goto fail;
	}
	if (tls_configure(p->tls, config) == -1) {
		say(why, size, tls_error(p->tls));
		goto fail;
	}
	/* What it needs of the key it has. */
	tls_config_clear_keys(config);
	tls_config_free(config);
	return p;

fail:
	tls_config_free(config);
	pair_free(p);
	return NULL;
}

struct pair *
pair_ref(struct pair *p)
{
	p->refs++;
	return p;
}

void
pair_free(struct pair *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	tls_free(p->tls);
	free(p);
}

struct tls *
pair_tls(struct pair *p)
{
	return p->tls;
}

static int
when(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return -1;
	*out = (int64_t)timegm(&tm);
	return 0;
}

int
pair_times(const uint8_t *pem, size_t cert_len, int64_t *from, int64_t *until)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)cert_len);
	X509 *x = NULL;
	int ret = -1;

	if (bio != NULL)
		x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (x != NULL && when(X509_get0_notBefore(x), from) == 0 &&
	    when(X509_get0_notAfter(x), until) == 0)
		ret = 0;
	X509_free(x);
	BIO_free(bio);
	return ret;
}
