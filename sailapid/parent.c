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
#include "sailapid/config.h"
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
static const char *conf_path;
static int verbose_option;
static struct listener api_sockets[CONFIG_LISTEN_MAX], store_socket;
static struct store_secret secret;
static char fetch_path[PATH_MAX];
static struct event ev_hup, ev_term, ev_int;

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
	struct api_config c = { conf->max_connections, conf->per_peer,
		conf->idle_s, conf->max_body };

	return api_config_send(proc_chan(p), type, &c);
}

static int
send_keys(struct proc *p, uint32_t type)
{
	struct s3_config c = { api_str(secret.access_key),
		api_str(secret.secret), api_str(CONFIG_REGION),
		api_str(CONFIG_BUCKET) };

	return s3_config_send(proc_chan(p), type, &c);
}

static int
configure_api(struct proc *p, void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < conf->napi; i++)
		if (send_socket(p, IMSG_PARENT_API_LISTEN, api_sockets[i].fd) ==
		    -1)
			return -1;
	return send_limits(p, IMSG_PARENT_API_CONFIG);
}

static int
configure_store(struct proc *p, void *arg)
{
	(void)arg;
	if (send_keys(p, IMSG_PARENT_STORE_CONFIG) == -1 ||
	    send_limits(p, IMSG_PARENT_STORE_LIMITS) == -1)
		return -1;
	return send_socket(p, IMSG_PARENT_STORE_LISTEN, store_socket.fd);
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
	struct meta_config c = { store_socket.port, api_str(""),
		conf->url_life_s };

	(void)arg;
	return meta_config_send(proc_chan(p), &c);
}

static int
configure_fetch(struct proc *p, void *arg)
{
	struct fetch_config c = { "", "", NULL, 8, 30000 };

	(void)arg;
	return fetch_configure(proc_chan(p), &c);
}

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
};
#define NSTARTS (sizeof(starts) / sizeof(starts[0]))

static int
start_role(const struct start *s)
{
	struct proc_spec spec = { .role = s->role,
		.title = role_name(s->role),
		.configure = s->configure };

	if (config_user(conf, s->user, &spec.uid, &spec.gid) == -1)
		return -1;
	if (s->role == ROLE_META)
		spec.chroot_dir = conf->database;
	else if (s->role == ROLE_STORE)
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
		{ ROLE_META, ROLE_SIGN }, { ROLE_META, ROLE_FETCH } };
	size_t i;

	for (i = 0; i < NSTARTS; i++)
		if (start_role(&starts[i]) == -1)
			return -1;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (proc_connect(proc_find(pairs[i][0], 0),
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

/* All that can fail because of the machine, before anything runs. */
static int
make_all(void)
{
	char path[PATH_MAX];
	uid_t uid;
	gid_t gid;
	size_t i;

	if (conf->pid_file != NULL && privileged_is_free(conf->pid_file) == -1)
		return -1;
	for (i = 0; i < NSTARTS; i++)
		if (config_user(conf, starts[i].user, &uid, &gid) == -1)
			return -1;
	if (program_find("sailvol-fetch", fetch_path, sizeof(fetch_path)) ==
	    -1) {
		log_warn("sailvol-fetch");
		return -1;
	}
	if (config_user(conf, CONF_META, &uid, &gid) == -1 ||
	    privileged_folder(conf->database, uid, gid) == -1 ||
	    config_user(conf, CONF_STORE, &uid, &gid) == -1 ||
	    privileged_folder(conf->objects, uid, gid) == -1)
		return -1;
	snprintf(path, sizeof(path), "%s.key", conf->objects);
	if (privileged_secret(path, &secret) == -1)
		return -1;
	for (i = 0; i < conf->napi; i++)
		if (open_listener(&api_sockets[i], &conf->api[i], "api") == -1)
			return -1;
	return open_listener(&store_socket, &conf->store, "store");
}

/* ---- a new configuration ------------------------------------------------- */

/* NULL, or what only a new start can change. */
static const char *
fixed_part(const struct config *a, const struct config *b)
{
	size_t i;

	if (strcmp(a->database, b->database) != 0)
		return "database";
	if (strcmp(a->objects, b->objects) != 0)
		return "store";
	if (a->users_from != b->users_from)
		return "users";
	for (i = 0; i < CONF_ROLES; i++)
		if (strcmp(a->users[i], b->users[i]) != 0)
			return "user";
	if ((a->pid_file == NULL) != (b->pid_file == NULL) ||
	    (a->pid_file != NULL && strcmp(a->pid_file, b->pid_file) != 0))
		return "pid file";
	return NULL;
}

/* The old socket of an address that stays; -1 when it is new. */
static int
kept(const struct conf_listen *want, struct listener *out)
{
	size_t i;

	for (i = 0; i < conf->napi; i++)
		if (config_listen_equal(want, &conf->api[i])) {
			*out = api_sockets[i];
			return 0;
		}
	return -1;
}

static void
close_not_in(struct listener *old, size_t nold, const struct listener *keep,
    size_t nkeep)
{
	size_t i, j;

	for (i = 0; i < nold; i++) {
		for (j = 0; j < nkeep; j++)
			if (old[i].fd == keep[j].fd)
				break;
		if (j == nkeep && old[i].fd != -1)
			close(old[i].fd);
	}
}

/* The sockets of a new configuration; -1: all as before. */
static int
new_sockets(const struct config *c, struct listener *api,
    struct listener *store)
{
	size_t i;

	*store = store_socket;
	for (i = 0; i < c->napi; i++)
		if (kept(&c->api[i], &api[i]) == -1 &&
		    open_listener(&api[i], &c->api[i], "api") == -1)
			goto fail;
	if (config_listen_equal(&c->store, &conf->store) ||
	    open_listener(store, &c->store, "store") == 0)
		return 0;

fail:
	close_not_in(api, i, api_sockets, conf->napi);
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

static void
apply(struct config *c, struct listener *api, struct listener *store)
{
	struct config *old = conf;
	struct proc *p;
	int limits, sockets;
	size_t i;

	limits = c->max_connections != old->max_connections ||
	    c->per_peer != old->per_peer || c->idle_s != old->idle_s ||
	    c->max_body != old->max_body;
	sockets = c->napi != old->napi;
	for (i = 0; i < c->napi && !sockets; i++)
		sockets = api[i].fd != api_sockets[i].fd;
	conf = c;
	close_not_in(api_sockets, old->napi, api, c->napi);
	memcpy(api_sockets, api, c->napi * sizeof(*api));
	if (store->fd != store_socket.fd) {
		close(store_socket.fd);
		store_socket = *store;
		restart(ROLE_STORE);
	} else if (limits)
		restart(ROLE_STORE);
	if (limits || sockets)
		restart(ROLE_API);
	p = proc_find(ROLE_META, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_meta(p, NULL) == -1)
		log_warn("settings of meta");
	/* Resolver and certificates may have changed. */
	p = proc_find(ROLE_FETCH, 0);
	if (p != NULL && proc_chan(p) != NULL && configure_fetch(p, NULL) == -1)
		log_warn("settings of fetch");
	log_set_verbose(verbose_option || conf->debug);
	proc_set_verbose(verbose_option || conf->debug);
	config_free(old);
}

static void
on_hup(int sig, short what, void *arg)
{
	struct listener api[CONFIG_LISTEN_MAX], store;
	struct config *c;
	const char *why;

	(void)sig;
	(void)what;
	(void)arg;
	memset(api, 0, sizeof(api));
	if ((c = config_parse(conf_path)) == NULL)
		log_warnx("%s: not read, nothing was changed", conf_path);
	else if ((why = fixed_part(conf, c)) != NULL)
		log_warnx("%s: another %s needs a new start, nothing was "
			  "changed",
		    conf_path, why);
	else if (new_sockets(c, api, &store) == -1)
		log_warnx("%s: nothing was changed", conf_path);
	else {
		apply(c, api, &store);
		log_info("%s: read again", conf_path);
		return;
	}
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
	explicit_bzero(&secret, sizeof(secret));
	config_free(conf);
	return 0;
}
