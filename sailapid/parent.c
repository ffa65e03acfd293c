/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parent: starts the roles of sailapid(8), gives each what it may know, and
 * changes what a new configuration changes.
 */
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/program.h"
#include "sailapid/certificate.h"
#include "sailapid/config.h"
#include "sailapid/credentials.h"
#include "sailapid/parent.h"
#include "sailapid/privileged.h"
#include "sailapid/sailapid_imsg.h"

#define GRACE_MS 5000

/* One listening socket, with the address that was asked for. */
struct listener {
	int fd;
	uint16_t port;
};

static struct config *conf;
static struct conf_listen own_address; /* of sockets.own */
static const char *conf_path;
static int verbose_option;
/* own: plain, on loopback, for ourselves, of a store that speaks TLS.  metrics:
   fd -1 where there is none. */
struct sockets {
	struct listener api[CONFIG_LISTEN_MAX], store, own, metrics;
};
static struct sockets sockets;
static struct certificate certificate = { .fd = -1 };
static struct store_keys keys;
static char fetch_path[PATH_MAX];
static struct event ev_hup, ev_term, ev_int;
static int status; /* of the exit */

/* ---- what each role gets ------------------------------------------------- */

static int
send_socket(struct proc *p, uint32_t type, int socket_fd)
{
	int fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (chan_send(proc_chan(p), type, 0, fd, NULL, 0) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
send_limits(struct proc *p, uint32_t type)
{
	struct api_config c = {
		.max_connections = conf->max_connections,
		.per_peer = conf->per_peer,
		.idle_s = conf->idle_s,
		.rate = conf->rate,
		.header_size = conf->header_size,
		.requests = conf->requests,
		.requests_per_peer = conf->requests_per_peer,
		.max_body = conf->max_body,
		.max_answers = conf->max_answers,
	};

	return api_config_send(proc_chan(p), type, &c);
}

static int
send_keys(struct proc *p, uint32_t type)
{
	struct s3_config c = { api_str(keys.access_key), api_str(keys.secret),
		api_str(CONFIG_REGION), api_str(CONFIG_BUCKET),
		api_str(keys.token) };

	if (conf->s3_url != NULL) {
		c.region = api_str(conf->s3_region);
		c.bucket = api_str(conf->s3_virtual ? "" : conf->s3_bucket);
	}
	return s3_config_send(proc_chan(p), type, &c);
}

static int
configure_api(struct proc *p, void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < conf->napi; i++)
		if (!conf->api[i].tls &&
		    send_socket(p, IMSG_PARENT_API_LISTEN, sockets.api[i].fd) ==
			-1)
			return -1;
	if (sockets.metrics.fd != -1 &&
	    send_socket(p, IMSG_PARENT_API_METRICS, sockets.metrics.fd) == -1)
		return -1;
	return send_limits(p, IMSG_PARENT_API_CONFIG);
}

static int
send_tls_socket(struct proc *p, uint8_t service, int socket_fd)
{
	int fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (tls_listen_send(proc_chan(p), service, fd) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

static int
send_certificate(struct proc *p)
{
	int fd = fcntl(certificate.fd, F_DUPFD_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (tls_pair_send(proc_chan(p), certificate.cert_len, fd) == -1) {
		close(fd);
		return -1;
	}
	return 0;
}

/* Also while it runs: no connection ends by it. */
static int
configure_tls(struct proc *p, void *arg)
{
	struct tls_limits l = { conf->max_connections, conf->per_peer,
		conf->idle_s, conf->handshake_s, conf->rate };
	size_t i;

	(void)arg;
	if (send_certificate(p) == -1)
		return -1;
	for (i = 0; i < conf->napi; i++)
		if (conf->api[i].tls &&
		    send_tls_socket(p, TLS_FOR_API, sockets.api[i].fd) == -1)
			return -1;
	if (conf->s3_url == NULL && conf->store.tls &&
	    send_tls_socket(p, TLS_FOR_STORE, sockets.store.fd) == -1)
		return -1;
	return tls_limits_send(proc_chan(p), &l);
}

/* The store's own socket, at which nobody needs TLS. */
static const struct listener *
plain_store(void)
{
	return conf->store.tls ? &sockets.own : &sockets.store;
}

static int
configure_store(struct proc *p, void *arg)
{
	(void)arg;
	if (send_keys(p, IMSG_PARENT_STORE_CONFIG) == -1 ||
	    send_limits(p, IMSG_PARENT_STORE_LIMITS) == -1)
		return -1;
	return send_socket(p, IMSG_PARENT_STORE_LISTEN, plain_store()->fd);
}

static int
configure_sign(struct proc *p, void *arg)
{
	(void)arg;
	return send_keys(p, IMSG_PARENT_SIGN_CONFIG);
}

static int
configure_meta(struct proc *p, void *arg)
{
	struct meta_config c = { 0, 0, api_str(""), conf->url_life_s,
		conf->survey_s };
	char url[1024 + S3_BUCKET_MAX];
	int scheme;

	(void)arg;
	if (conf->s3_url != NULL) {
		scheme = (int)(strstr(conf->s3_url, "://") + 3 - conf->s3_url);
		snprintf(url, sizeof(url), "%.*s%s%s%s", scheme, conf->s3_url,
		    conf->s3_virtual ? conf->s3_bucket : "",
		    conf->s3_virtual ? "." : "", conf->s3_url + scheme);
	} else {
		c.store_port = sockets.store.port;
		c.store_tls = conf->store.tls != 0;
		config_listen_url(conf->store.tls ? &own_address : &conf->store,
		    plain_store()->port, url, sizeof(url));
	}
	c.store_url = api_str(url);
	return meta_config_send(proc_chan(p), &c);
}

static int
configure_fetch(struct proc *p, void *arg)
{
	struct fetch_config c = { "", "", conf->s3_ca_file, 8, 30000, 0 };

	(void)arg;
	return fetch_configure(proc_chan(p), &c);
}

/* ---- what they say ------------------------------------------------------- */

/* The log has it already.  One that has begun again found the store right at
   first: what needs no store goes on. */
static int
on_refuse(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	const struct proc *p = chan_arg(c);

	(void)id;
	(void)imsg;
	(void)body;
	if (proc_starts(p) > 1)
		return 0;
	log_warnx("not started");
	status = 1;
	proc_stop_all(GRACE_MS);
	return 0;
}

static const struct msg_rule meta_rules[] = {
	{ IMSG_META_PARENT_REFUSE, ROLE_META, CHAN_NOFD, 0, 0, on_refuse,
	    "META_PARENT_REFUSE" },
};

/* ---- start --------------------------------------------------------------- */

static const struct start {
	uint8_t role;
	enum conf_role user;
	int (*configure)(struct proc *, void *);
} starts[] = {
	{ ROLE_SIGN, CONF_SIGN, configure_sign },
	{ ROLE_FETCH, CONF_FETCH, configure_fetch },
	{ ROLE_STORE, CONF_STORE, configure_store },
	{ ROLE_META, CONF_META, configure_meta },
	{ ROLE_API, CONF_API, configure_api },
	{ ROLE_TLS, CONF_TLS, configure_tls },
};
#define NSTARTS (sizeof(starts) / sizeof(starts[0]))

/* Without the embedded store there is nobody to be it; nor without a
   certificate to show it. */
static int
is_wanted(uint8_t role)
{
	if (role == ROLE_STORE)
		return conf->s3_url == NULL;
	return role != ROLE_TLS || conf->tls_certificate != NULL;
}

static int
start_role(const struct start *s)
{
	struct proc_spec spec = { .role = s->role,
		.title = role_name(s->role),
		.configure = s->configure };

	if (config_user(conf, s->user, &spec.uid, &spec.gid) == -1)
		return -1;
	if (s->role == ROLE_META) {
		spec.chroot_dir = conf->database;
		spec.rules = meta_rules;
		spec.nrules = sizeof(meta_rules) / sizeof(meta_rules[0]);
	} else if (s->role == ROLE_STORE)
		spec.chroot_dir = conf->objects;
	else if (s->role == ROLE_FETCH)
		spec.exec = fetch_path;
	if (proc_start(&spec) == NULL) {
		log_warn("role %s", spec.title);
		return -1;
	}
	return 0;
}

static int
start_roles(void)
{
	static const uint8_t pairs[][2] = { { ROLE_API, ROLE_META },
		{ ROLE_META, ROLE_SIGN }, { ROLE_META, ROLE_FETCH },
		{ ROLE_TLS, ROLE_API }, { ROLE_TLS, ROLE_STORE } };
	size_t i;

	for (i = 0; i < NSTARTS; i++)
		if (is_wanted(starts[i].role) && start_role(&starts[i]) == -1)
			return -1;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (is_wanted(pairs[i][0]) && is_wanted(pairs[i][1]) &&
		    proc_connect(proc_find(pairs[i][0], 0),
			proc_find(pairs[i][1], 0)) == -1) {
			log_warn("channel of %s and %s", role_name(pairs[i][0]),
			    role_name(pairs[i][1]));
			return -1;
		}
	return 0;
}

static int
open_listener(struct listener *l, const struct conf_listen *c, const char *what)
{
	char text[128];

	if ((l->fd = privileged_listen(c, &l->port)) == -1)
		return -1;
	config_listen_text(c, text, sizeof(text));
	*strstr(text, " port ") = '\0';
	log_info("%s: listening on %s port %u", what, text, l->port);
	return 0;
}

/* The certificate and key of a configuration; -1 after a message. */
static int
read_certificate(const struct config *c, struct certificate *out)
{
	uid_t uid;
	gid_t gid;

	out->fd = -1;
	if (c->tls_certificate == NULL)
		return 0;
	if (config_user(c, CONF_TLS, &uid, &gid) == -1)
		return -1;
	return certificate_read(c->tls_certificate, c->tls_key, uid, gid, out);
}

/* The folder, the keys and the socket of the store, or the keys of S3. */
static int
make_store(void)
{
	char path[PATH_MAX];
	uid_t uid;
	gid_t gid;

	sockets.store.fd = sockets.own.fd = -1;
	if (conf->s3_url != NULL) {
		if (credentials_read(conf->s3_credentials, &keys) == -1)
			return -1;
		/* No role is to have them but sign. */
		credentials_clear_environment();
		return 0;
	}
	if (config_user(conf, CONF_STORE, &uid, &gid) == -1 ||
	    privileged_folder(conf->objects, uid, gid) == -1 ||
	    privileged_claim(conf->objects) == -1)
		return -1;
	snprintf(path, sizeof(path), "%s.key", conf->objects);
	return privileged_secret(path, &keys);
}

/* What of the store is not open yet. */
static int
open_store(const struct config *c, struct sockets *s)
{
	if (s->store.fd == -1 &&
	    open_listener(&s->store, &c->store, "store") == -1)
		return -1;
	(void)config_listen_set(&own_address, "127.0.0.1", 0, 0);
	if (!c->store.tls || s->own.fd != -1)
		return 0;
	return open_listener(&s->own, &own_address, "store, for ourselves");
}

static int
open_metrics(const struct config *c, struct sockets *s)
{
	s->metrics.fd = -1;
	if (c->metrics.at.len == 0)
		return 0;
	if (conf != c && config_listen_equal(&c->metrics, &conf->metrics)) {
		s->metrics = sockets.metrics;
		return 0;
	}
	return open_listener(&s->metrics, &c->metrics, "metrics");
}

/* All that can fail because of the machine, before anything runs. */
static int
make_all(void)
{
	uid_t uid;
	gid_t gid;
	size_t i;

	if (conf->pid_file != NULL && privileged_is_free(conf->pid_file) == -1)
		return -1;
	for (i = 0; i < NSTARTS; i++)
		if (is_wanted(starts[i].role) &&
		    config_user(conf, starts[i].user, &uid, &gid) == -1)
			return -1;
	if (program_find("sailvol-fetch", fetch_path, sizeof(fetch_path)) ==
	    -1) {
		log_warn("sailvol-fetch");
		return -1;
	}
	if (config_user(conf, CONF_META, &uid, &gid) == -1 ||
	    privileged_folder(conf->database, uid, gid) == -1 ||
	    make_store() == -1)
		return -1;
	if (read_certificate(conf, &certificate) == -1)
		return -1;
	/* Clients will refuse it, and say why. */
	if (certificate.fd != -1)
		(void)certificate_is_current(&certificate,
		    conf->tls_certificate);
	for (i = 0; i < conf->napi; i++)
		if (open_listener(&sockets.api[i], &conf->api[i], "api") == -1)
			return -1;
	if (open_metrics(conf, &sockets) == -1)
		return -1;
	return conf->s3_url != NULL ? 0 : open_store(conf, &sockets);
}

/* ---- a new configuration ------------------------------------------------- */

static int
differs(const char *a, const char *b)
{
	return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

/* NULL, or what only a new start can change. */
static const char *
fixed_part(const struct config *a, const struct config *b)
{
	size_t i;

	if (strcmp(a->database, b->database) != 0)
		return "database";
	if (strcmp(a->objects, b->objects) != 0 ||
	    differs(a->s3_url, b->s3_url) ||
	    differs(a->s3_bucket, b->s3_bucket) ||
	    differs(a->s3_region, b->s3_region) ||
	    a->s3_virtual != b->s3_virtual ||
	    (a->s3_credentials == NULL) != (b->s3_credentials == NULL))
		return "store";
	if (a->users_from != b->users_from)
		return "users";
	for (i = 0; i < CONF_ROLES; i++)
		if (strcmp(a->users[i], b->users[i]) != 0)
			return "user";
	if (differs(a->pid_file, b->pid_file))
		return "pid file";
	if ((a->tls_certificate == NULL) != (b->tls_certificate == NULL))
		return "kind of service, with or without tls,";
	return NULL;
}

/* The old socket of an address that stays; -1 when it is new. */
static int
kept(const struct conf_listen *want, struct listener *out)
{
	size_t i;

	for (i = 0; i < conf->napi; i++)
		if (config_listen_equal(want, &conf->api[i])) {
			*out = sockets.api[i];
			return 0;
		}
	return -1;
}

static size_t
all_fds(const struct sockets *s, size_t napi, int *fds)
{
	size_t i;

	for (i = 0; i < napi; i++)
		fds[i] = s->api[i].fd;
	fds[napi] = s->store.fd;
	fds[napi + 1] = s->own.fd;
	fds[napi + 2] = s->metrics.fd;
	return napi + 3;
}

static void
close_not_in(const struct sockets *old, size_t nold, const struct sockets *keep,
    size_t nkeep)
{
	int a[CONFIG_LISTEN_MAX + 3], b[CONFIG_LISTEN_MAX + 3];
	size_t i, j;

	nold = all_fds(old, nold, a);
	nkeep = all_fds(keep, nkeep, b);
	for (i = 0; i < nold; i++) {
		for (j = 0; j < nkeep; j++)
			if (a[i] == b[j])
				break;
		if (j == nkeep && a[i] != -1)
			close(a[i]);
	}
}

/* The sockets of a new configuration; -1: all as before. */
static int
new_sockets(const struct config *c, struct sockets *s)
{
	size_t i;

	s->store.fd = s->own.fd = s->metrics.fd = -1;
	for (i = 0; i < c->napi; i++)
		if (kept(&c->api[i], &s->api[i]) == -1 &&
		    open_listener(&s->api[i], &c->api[i], "api") == -1)
			goto fail;
	if (open_metrics(c, s) == -1)
		goto fail;
	if (c->s3_url != NULL)
		return 0;
	if (config_listen_equal(&c->store, &conf->store))
		s->store = sockets.store;
	if (c->store.tls)
		s->own = sockets.own;
	if (open_store(c, s) == 0)
		return 0;

fail:
	close_not_in(s, i, &sockets, conf->napi);
	return -1;
}

/* It comes back with what configure gives it then. */
static void
restart(uint8_t role)
{
	struct proc *p = proc_find(role, 0);

	if (p != NULL && proc_chan(p) != NULL) {
		log_info("role \"%s\": starts again for its new settings",
		    role_name(role));
		(void)chan_send(proc_chan(p), IMSG_PARENT_ROLE_STOP, 0, -1,
		    NULL, 0);
	}
}

/* Whether api listens otherwise: what tls does for it is not its business. */
static int
api_differs(const struct config *c, const struct sockets *s)
{
	size_t i;

	if (c->napi != conf->napi || s->metrics.fd != sockets.metrics.fd)
		return 1;
	for (i = 0; i < c->napi; i++)
		if (c->api[i].tls != conf->api[i].tls ||
		    (!c->api[i].tls && s->api[i].fd != sockets.api[i].fd))
			return 1;
	return 0;
}

static void
apply(struct config *c, const struct sockets *s)
{
	struct config *old = conf;
	int limits, api, plain = 0;
	struct proc *p;

	limits = c->max_connections != old->max_connections ||
	    c->per_peer != old->per_peer || c->idle_s != old->idle_s ||
	    c->rate != old->rate || c->header_size != old->header_size ||
	    c->requests != old->requests ||
	    c->requests_per_peer != old->requests_per_peer ||
	    c->max_body != old->max_body || c->max_answers != old->max_answers;
	api = api_differs(c, s);
	if (c->s3_url == NULL)
		plain = plain_store()->fd;
	conf = c;
	/* The old api may have it for a while yet: its port is free. */
	if (sockets.metrics.fd != -1 && s->metrics.fd != sockets.metrics.fd)
		(void)shutdown(sockets.metrics.fd, SHUT_RDWR);
	close_not_in(&sockets, old->napi, s, c->napi);
	sockets = *s;
	if (c->s3_url == NULL && (limits || plain_store()->fd != plain))
		restart(ROLE_STORE);
	if (limits || api)
		restart(ROLE_API);
	p = proc_find(ROLE_TLS, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_tls(p, NULL) == -1)
		log_warn("settings of tls");
	p = proc_find(ROLE_SIGN, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_sign(p, NULL) == -1)
		log_warn("settings of sign");
	/* Resolver and certificates may have changed. */
	p = proc_find(ROLE_FETCH, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_fetch(p, NULL) == -1)
		log_warn("settings of fetch");
	/* Behind these, for it will look what has become of the store by them. */
	p = proc_find(ROLE_META, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_meta(p, NULL) == -1)
		log_warn("settings of meta");
	log_set_verbose(verbose_option || conf->debug);
	proc_set_verbose(verbose_option || conf->debug);
	config_free(old);
}

/* Who has a good certificate does not change it for one that is none. */
static int
new_certificate(const struct config *c, struct certificate *out)
{
	if (read_certificate(c, out) == -1)
		return -1;
	if (out->fd == -1 || certificate_equal(out, &certificate) ||
	    certificate_is_current(out, c->tls_certificate))
		return 0;
	certificate_close(out);
	return -1;
}

static void
on_hup(int sig, short what, void *arg)
{
	struct certificate cert = { .fd = -1 }, unused;
	struct store_keys again = keys;
	struct sockets fresh;
	struct config *c;
	const char *why;

	(void)sig;
	(void)what;
	(void)arg;
	memset(&fresh, 0, sizeof(fresh));
	if ((c = config_parse(conf_path)) == NULL)
		log_warnx("%s: not read, nothing was changed", conf_path);
	else if ((why = fixed_part(conf, c)) != NULL)
		log_warnx("%s: another %s needs a new start, nothing was "
			  "changed",
		    conf_path, why);
	else if ((c->s3_credentials != NULL &&
		     credentials_read(c->s3_credentials, &again) == -1) ||
	    fetch_ca_check(c->s3_ca_file) == -1 ||
	    new_certificate(c, &cert) == -1 || new_sockets(c, &fresh) == -1)
		log_warnx("%s: nothing was changed", conf_path);
	else {
		keys = again;
		unused = certificate;
		certificate = cert;
		cert = unused;
		apply(c, &fresh);
		log_info("%s: read again", conf_path);
		c = NULL;
	}
	certificate_close(&cert);
	explicit_bzero(&again, sizeof(again));
	config_free(c);
}

/* ---- run ----------------------------------------------------------------- */

static void
on_stop(int sig, short what, void *arg)
{
	(void)what;
	(void)arg;
	log_info("stops on signal %d", sig);
	proc_stop_all(GRACE_MS);
}

static int
background(int verbose)
{
	/* Standard error stays until here: what fails is seen. */
	if (daemon(0, 0) == -1) {
		log_warn("daemon");
		return -1;
	}
	log_init("sailapid", 0, verbose);
	return 0;
}

static int
signals(void)
{
	signal_set(&ev_hup, SIGHUP, on_hup, NULL);
	signal_set(&ev_term, SIGTERM, on_stop, NULL);
	signal_set(&ev_int, SIGINT, on_stop, NULL);
	return signal_add(&ev_hup, NULL) == -1 ||
		signal_add(&ev_term, NULL) == -1 ||
		signal_add(&ev_int, NULL) == -1
	    ? -1
	    : 0;
}

static void
remove_files(void)
{
	size_t i;

	if (conf->pid_file != NULL)
		(void)unlink(conf->pid_file);
	for (i = 0; i < conf->napi; i++)
		if (conf->api[i].port_file != NULL)
			(void)unlink(conf->api[i].port_file);
	if (conf->store.port_file != NULL)
		(void)unlink(conf->store.port_file);
	if (conf->metrics.port_file != NULL)
		(void)unlink(conf->metrics.port_file);
}

int
parent_run(struct config *c, const char *path, int foreground, int verbose)
{
	char pid[32];

	conf = c;
	/* daemon(3) goes to /. */
	if ((conf_path = realpath(path, NULL)) == NULL) {
		log_warn("%s", path);
		return 1;
	}
	verbose_option = verbose;
	umask(077);
	if (make_all() == -1 ||
	    (!foreground && background(verbose || conf->debug) == -1))
		return 1;
	if (proc_parent_init(verbose || conf->debug) == -1)
		fatal("processes");
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (signals() == -1 ||
	    (conf->pid_file != NULL &&
		privileged_write(conf->pid_file, pid) == -1) ||
	    start_roles() == -1)
		fatalx("cannot start");
	event_dispatch();
	remove_files();
	log_info("ended");
	explicit_bzero(&keys, sizeof(keys));
	certificate_close(&certificate);
	config_free(conf);
	return status;
}
