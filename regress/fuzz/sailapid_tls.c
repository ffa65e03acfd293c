/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The role tls: hostile clients, before, in and after the handshake, and hostile
 * api and store.  0xe0 is followed by u8 what and u8 which of four clients, or of
 * the four newest connections that api and store were handed:
 *
 *	0 connects anew, to the service of its number	5 ends: u8 how
 *	1 sends u16 length and bytes as they are	6 the service writes: bytes
 *	2 goes on with its handshake			7 the service ends: u8 how
 *	3 the same, spoiled: u16 where, u8 by what	8 a message of the service:
 *	4 sends bytes by TLS				  u8 type, bytes
 *
 * Nothing of it ends the process.
 */
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "regress/fuzz/role.h"
#include "sailapid/roles.h"
#include "sailapid/tls.h"

#define CLIENTS 4

static struct client {
	int fd; /* 0: none */
	struct tls *tls;
	int spoils;
	uint16_t at;
	uint8_t by;
} clients[CLIENTS];
static struct sockaddr_in services[TLS_SERVICES];
static int plain[CLIENTS];
static unsigned int nplain;
static uint8_t pem[8192];
static size_t pem_len;
static uint32_t cert_len;

/* ---- a certificate ------------------------------------------------------- */

static void
pem_add(BIO *bio)
{
	int n = BIO_read(bio, pem + pem_len, (int)(sizeof(pem) - pem_len));

	if (n <= 0)
		abort();
	pem_len += (size_t)n;
	BIO_free(bio);
}

static void
pem_make(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *cert = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
	X509 *x = X509_new();

	if (key == NULL || cert == NULL || secret == NULL || x == NULL ||
	    X509_gmtime_adj(X509_getm_notBefore(x), 0) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
	    X509_set_pubkey(x, key) != 1 ||
	    X509_sign(x, key, EVP_sha256()) == 0 ||
	    PEM_write_bio_X509(cert, x) != 1 ||
	    PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) !=
		1)
		abort();
	pem_add(cert);
	cert_len = (uint32_t)pem_len;
	pem_add(secret);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* ---- its start ----------------------------------------------------------- */

static void
configure(struct chan *parent_end)
{
	struct tls_limits l = { 8, 6, 60, 10, 1000 };
	struct sockaddr_in *sin;
	socklen_t len = sizeof(*sin);
	uint8_t i;
	int fd;

	if (tls_pair_send(parent_end, cert_len,
		memfd_new("certificate", pem, pem_len)) == -1)
		abort();
	for (i = 0; i < TLS_SERVICES; i++) {
		sin = &services[i];
		sin->sin_family = AF_INET;
		sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
		if (fd == -1 ||
		    bind(fd, (struct sockaddr *)sin, sizeof(*sin)) == -1 ||
		    listen(fd, 16) == -1 ||
		    getsockname(fd, (struct sockaddr *)sin, &len) == -1 ||
		    tls_listen_send(parent_end, i, fd) == -1)
			abort();
	}
	if (tls_limits_send(parent_end, &l) == -1)
		abort();
}

static void
heard(uint8_t peer, struct imsg *imsg)
{
	int *to, fd;

	if (peer == ROLE_PARENT || (fd = imsg_get_fd(imsg)) == -1)
		return;
	to = &plain[nplain++ % CLIENTS];
	if (*to > 0)
		close(*to);
	*to = fcntl(fd, F_DUPFD_CLOEXEC, 20);
	close(fd);
}

/* ---- clients ------------------------------------------------------------- */

static ssize_t
client_read(struct tls *tls, void *buf, size_t len, void *arg)
{
	struct client *c = arg;
	ssize_t n = recv(c->fd, buf, len, MSG_DONTWAIT);

	(void)tls;
	return n == -1 && errno == EAGAIN ? TLS_WANT_POLLIN : n;
}

static ssize_t
client_write(struct tls *tls, const void *buf, size_t len, void *arg)
{
	struct client *c = arg;
	uint8_t *copy = fuzz_copy(buf, len);
	ssize_t n;

	(void)tls;
	if (c->spoils && len > 0)
		copy[c->at % len] ^= c->by;
	c->spoils = 0;
	n = send(c->fd, copy, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	free(copy);
	return n == -1 && errno == EAGAIN ? TLS_WANT_POLLOUT : n;
}

static void
client_end(struct client *c, uint8_t how)
{
	struct linger reset = { 1, 0 };

	if (c->fd == 0)
		return;
	if (how % 4 == 3 && c->tls != NULL)
		(void)tls_close(c->tls);
	if (how % 4 == 2) {
		(void)shutdown(c->fd, SHUT_WR);
		return;
	}
	if (how % 4 == 1)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset,
		    sizeof(reset));
	tls_free(c->tls);
	c->tls = NULL;
	close(c->fd);
	c->fd = 0;
}

static void
client_begin(struct client *c, uint8_t service)
{
	client_end(c, 0);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1 ||
	    connect(c->fd, (struct sockaddr *)&services[service],
		sizeof(services[0])) == -1)
		abort();
}

static void
client_shake(struct client *c)
{
	struct tls_config *config;

	if (c->fd == 0)
		return;
	if (c->tls == NULL) {
		if ((config = tls_config_new()) == NULL ||
		    (c->tls = tls_client()) == NULL)
			abort();
		tls_config_insecure_noverifycert(config);
		tls_config_insecure_noverifyname(config);
		if (tls_configure(c->tls, config) == -1 ||
		    tls_connect_cbs(c->tls, client_read, client_write, c,
			"localhost") == -1)
			abort();
		tls_config_free(config);
	}
	(void)tls_handshake(c->tls);
}

/* ---- what happens -------------------------------------------------------- */

static void
service_ends(int *fd, uint8_t how)
{
	if (*fd <= 0)
		return;
	if (how % 4 < 3) {
		(void)shutdown(*fd, how % 4);
		return;
	}
	close(*fd);
	*fd = 0;
}

static void
service_says(uint8_t which, struct fuzz_in *in)
{
	struct far *f = far_of(which & 1 ? ROLE_STORE : ROLE_API);
	uint8_t type = fuzz_u8(in);
	const uint8_t *p;
	size_t len;

	p = fuzz_bytes(in, PROC_MAX_BODY, &len);
	(void)chan_send(f->chan, type, 1,
	    which & 2 ? memfd_new("x", p, len) : -1, p, len);
}

static void
other(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in) % 9, which = fuzz_u8(in);
	struct client *c = &clients[which % CLIENTS];
	int *service = &plain[which % CLIENTS];
	const uint8_t *p;
	size_t len;

	if (what == 0)
		client_begin(c, which % TLS_SERVICES);
	else if (what == 2 || what == 3) {
		if ((c->spoils = what == 3) != 0) {
			c->at = fuzz_u16(in);
			c->by = fuzz_u8(in);
		}
		client_shake(c);
	} else if (what == 5)
		client_end(c, fuzz_u8(in));
	else if (what == 7)
		service_ends(service, fuzz_u8(in));
	else if (what == 8)
		service_says(which, in);
	else {
		p = fuzz_bytes(in, 65535, &len);
		if (what == 6 && *service > 0)
			(void)send(*service, p, len,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		else if (what == 1 && c->fd > 0)
			(void)send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		else if (what == 4 && c->tls != NULL)
			(void)tls_write(c->tls, p, len);
	}
	role_pump();
}

static const struct fuzz_role fuzz_role = {
	.def = &tls_role,
	.peers = { ROLE_API, ROLE_STORE },
	.configure = configure,
	.heard = heard,
	.other = other,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	if (pem_len == 0)
		pem_make();
	fuzz_check(role_fuzz(p, len) == 0);
}
