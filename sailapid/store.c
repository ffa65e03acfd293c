/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store: the role that is the embedded object store of sailapid(8): objects as
 * files in the folder that it is chrooted to, behind the S3 protocol.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "sailapid/roles.h"
#include "sailapid/sailapid_imsg.h"
#include "sailapid/store.h"

#define WORKERS 4
#define WORKER_STACK ((size_t)256 * 1024)
#define MEMORY (256 * 1024) /* of a connection: pieces of uploads */

static int listen_fd = -1, have_keys, have_limits;
static struct api_config limits;
static struct httpd *from_tls;

static int
copy_str(char *to, size_t size, struct api_str s)
{
	if (s.len == 0 || s.len >= size || memchr(s.p, '\0', s.len) != NULL)
		return -1;
	memcpy(to, s.p, s.len);
	to[s.len] = '\0';
	return 0;
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct s3_config conf;

	(void)c;
	(void)id;
	(void)imsg;
	if (s3_config_recv(body, &conf) == -1 ||
	    copy_str(store.access_key, sizeof(store.access_key),
		conf.access_key) == -1 ||
	    copy_str(store.secret, sizeof(store.secret), conf.secret) == -1 ||
	    copy_str(store.region, sizeof(store.region), conf.region) == -1 ||
	    copy_str(store.bucket, sizeof(store.bucket), conf.bucket) == -1)
		return -1;
	have_keys = 1;
	return 0;
}

static int
on_limits(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (api_config_recv(body, &limits) == -1)
		return -1;
	have_limits = 1;
	return 0;
}

static int
on_listen(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	if (listen_fd != -1)
		return -1;
	listen_fd = imsg_get_fd(imsg);
	return 0;
}

static int
on_connection(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct sockaddr_storage ss;
	struct tls_client client;
	socklen_t len;

	(void)c;
	(void)id;
	if (tls_client_recv(body, &client) == -1)
		return -1;
	len = tls_client_address(&client, &ss);
	httpd_add(from_tls, imsg_get_fd(imsg), (const struct sockaddr *)&ss,
	    len);
	return 0;
}

static int
configured(void)
{
	return listen_fd != -1 && have_keys && have_limits;
}

/* OpenSSL looks for its settings, and libc for the time zone, once. */
static int
prepare(void)
{
	EVP_MD_CTX *md5;

	httpd_prepare();
	if ((md5 = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(md5, EVP_md5(), NULL) != 1)
		log_warnx("no MD5 here: Content-MD5 will be refused");
	EVP_MD_CTX_free(md5);
	return 0;
}

static int
start(void)
{
	struct httpd_conf conf = { 0, limits.max_connections, limits.per_peer,
		limits.idle_s, limits.rate, MEMORY, s3_begin, s3_handle, s3_end,
		s3_drop };

	store.root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store.root == -1 || store_setup(store.root) == -1) {
		log_warn("folder of the objects");
		return -1;
	}
	if (work_init(WORKERS, WORKER_STACK) == -1 ||
	    httpd_new(listen_fd, &conf) == NULL)
		return -1;
	conf.tls = 1;
	return (from_tls = httpd_new(-1, &conf)) == NULL ? -1 : 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_STORE_CONFIG, ROLE_PARENT, CHAN_NOFD, 10, 512, on_config,
	    "config" },
	{ IMSG_PARENT_STORE_LISTEN, ROLE_PARENT, CHAN_FD, 0, 0, on_listen,
	    "listen" },
	{ IMSG_TLS_STORE_CONNECTION, ROLE_TLS, CHAN_FD, TLS_CLIENT_LEN,
	    TLS_CLIENT_LEN, on_connection, "connection" },
	{ IMSG_PARENT_STORE_LIMITS, ROLE_PARENT, CHAN_NOFD, API_CONFIG_LEN,
	    API_CONFIG_LEN, on_limits, "limits" },
};

const struct role_def store_role = {
	.role = ROLE_STORE,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
	.sandbox_flags = SANDBOX_THREADS,
};
