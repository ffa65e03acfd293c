/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The parent of sailapid: hostile children.  Of the first byte: 1 the store is
 * S3, 2 there is a certificate, 4 no child says READY by itself.  0xe4: a new
 * configuration, where u8 says what is another.
 */
#include "regress/fuzz/parent.h"

#include "sailapid/parent.c"

static char database[] = "/db", objects[] = "/objects", pem[] = "/pem",
	    s3_url[] = "http://127.0.0.1:1", region[] = "us-east-1",
	    bucket[] = "sail";

static char *
own(const char *s)
{
	char *copy = strdup(s);

	if (copy == NULL)
		abort();
	return copy;
}

static struct config *
new_config(int s3, int tls)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->database = own(database);
	c->objects = own(objects);
	c->users_from = 1000;
	c->napi = 1;
	c->api[0].tls = tls;
	c->store.tls = tls && !s3;
	c->max_connections = 10;
	if (tls)
		c->tls_certificate = own(pem);
	if (s3) {
		c->s3_url = own(s3_url);
		c->s3_region = own(region);
		c->s3_bucket = own(bucket);
	}
	return c;
}

static int
descriptor(const char *name)
{
	int fd = memfd_new(name, "x", 1);

	if (fd == -1)
		abort();
	return fd;
}

static void
begin(uint8_t first)
{
	conf = new_config((first & 1) != 0, (first & 2) != 0);
	no_ready = (first & 4) != 0;
	(void)mkdir(database, 0700);
	(void)mkdir(objects, 0700);
	(void)config_listen_set(&conf->store, "127.0.0.1", 0, 0);
	(void)config_listen_set(&own_address, "127.0.0.1", 0, 0);
	certificate.fd = descriptor("certificate");
	certificate.cert_len = 1;
	sockets.api[0].fd = descriptor("api");
	sockets.store.fd = descriptor("store");
	sockets.own.fd = descriptor("own");
	sockets.metrics.fd = descriptor("metrics");
	strlcpy(fetch_path, "/fetch", sizeof(fetch_path));
	if (start_roles() == -1)
		abort();
}

/* What SIGHUP does with one that was read and is good. */
static void
other(struct fuzz_in *in)
{
	struct config *c =
	    new_config(conf->s3_url != NULL, conf->tls_certificate != NULL);
	struct sockets same = sockets;
	uint8_t what = fuzz_u8(in);

	c->store = conf->store;
	c->max_connections += what & 1;
	if (what & 2 && same.metrics.fd != -1)
		same.metrics.fd = -1;
	apply(c, &same);
}

static const struct fuzz_parent fuzz_parent = {
	.begin = begin,
	.other = other,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	fuzz_check(far_fuzz(p, len) == 0);
}
