/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvold: the daemon of a machine that mounts volumes.  This file is its
 * parent: start, watch, SIGHUP, the end.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/handover.h"
#include "lib/hash.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/supervisor.h"
#include "sailvold/metrics.h"
#include "sailvold/mounts.h"
#include "sailvold/privileged.h"
#include "sailvold/requests.h"
#include "sailvold/restart.h"
#include "sailvold/roles.h"

#define NODE_CACHE_BYTES ((uint64_t)1 << 30)
#define FILES_WATCH_S 10
#define STOP_MS 5000

static struct config *conf;
static const char *conf_path = CONFIG_DEFAULT;
static char fetch_path[4096];
static const char no_fetch[] =
    "sailvol-fetch is not where this program is, and not in " SAIL_LIBEXECDIR;
static struct event *watch_event, *signal_events[3];
static int ending;

static void usage(void) __attribute__((noreturn));

static void
usage(void)
{
	fprintf(stderr, "usage: sailvold [-dnSv] [-f file]\n");
	exit(2);
}

/* ---- processes ------------------------------------------------------------------------ */

static int
manifest_configure(struct proc *p, void *arg)
{
	struct ibuf *b;

	(void)arg;
	if ((b = ibuf_dynamic(28, 28)) == NULL ||
	    ibuf_add_n64(b, conf->stash_size) == -1 ||
	    ibuf_add_n64(b, conf->stash_total) == -1 ||
	    ibuf_add_n32(b, conf->stash_days) == -1 ||
	    ibuf_add_n64(b, NODE_CACHE_BYTES) == -1) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(proc_chan(p), IMSG_PARENT_MANIFEST_CONFIG, 0, -1,
	    b);
}

static void
manifest_ready(struct proc *p, void *arg)
{
	static int told;

	(void)arg;
	/* From now on clients are answered. */
	if (!told)
		supervisor_tell("READY=1");
	told = 1;
	mounts_manifest_ready(p);
}

static int
cache_configure(struct proc *p, void *arg)
{
	struct ibuf *b;

	(void)arg;
	if ((b = ibuf_dynamic(16, 16)) == NULL ||
	    ibuf_add_n64(b, conf->cache_size) == -1 ||
	    ibuf_add_n64(b, conf->cache_keep_free) == -1) {
		ibuf_free(b);
		return -1;
	}
	if (chan_send_ibuf(proc_chan(p), IMSG_PARENT_CACHE_CONFIG, 0, -1, b) ==
	    -1)
		return -1;
	mounts_tell_cache(p);
	return 0;
}

static int
fetcher_configure(struct proc *p, void *arg)
{
	struct fetch_config c;

	(void)arg;
	memset(&c, 0, sizeof(c));
	c.api_url = conf->api_url;
	c.key = conf->key;
	c.ca_file = conf->ca_file;
	c.concurrency = conf->transfers;
	c.memory = conf->transfer_memory;
	return fetch_configure(proc_chan(p), &c);
}

static const struct msg_rule manifest_rules[] = {
	{ IMSG_MANIFEST_PARENT_MOUNT_RES, ROLE_MANIFEST, CHAN_NOFD, 8, 4096,
	    mounts_on_mount_res, "MANIFEST_PARENT_MOUNT_RES" },
	{ IMSG_MANIFEST_PARENT_START_RES, ROLE_MANIFEST, CHAN_NOFD, 6, 4096,
	    mounts_on_start_res, "MANIFEST_PARENT_START_RES" },
	{ IMSG_MANIFEST_PARENT_LAST_RES, ROLE_MANIFEST, CHAN_NOFD, 0, 0,
	    mounts_on_last_res, "MANIFEST_PARENT_LAST_RES" },
	{ IMSG_MANIFEST_PARENT_ENDS_RES, ROLE_MANIFEST, CHAN_NOFD, 0, 0,
	    mounts_on_ends_res, "MANIFEST_PARENT_ENDS_RES" },
	{ IMSG_MANIFEST_PARENT_DIRTY_RES, ROLE_MANIFEST, CHAN_NOFD, 5, 5,
	    mounts_on_dirty_res, "MANIFEST_PARENT_DIRTY_RES" },
	{ IMSG_MANIFEST_PARENT_DO, ROLE_MANIFEST, CHAN_FD, 38, 16384,
	    requests_on_do, "MANIFEST_PARENT_DO" },
	{ IMSG_MANIFEST_PARENT_NOTIFY, ROLE_MANIFEST, CHAN_NOFD, 4, 4,
	    mounts_on_notify, "MANIFEST_PARENT_NOTIFY" },
	{ IMSG_MANIFEST_PARENT_STATUS, ROLE_MANIFEST, CHAN_NOFD, 0, 0,
	    requests_on_status, "MANIFEST_PARENT_STATUS" },
	{ IMSG_MANIFEST_PARENT_NUMBERS_RES, ROLE_MANIFEST, CHAN_FD, 0, 0,
	    metrics_on_manifest, "MANIFEST_PARENT_NUMBERS_RES" },
};

static int
on_cache_status(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	return id == METRICS_ID ? metrics_on_cache(ch, id, im, body)
				: requests_on_cache_status(ch, id, im, body);
}

static const struct msg_rule cache_rules[] = {
	{ IMSG_CACHE_PARENT_STATUS_RES, ROLE_CACHE, CHAN_NOFD,
	    METRICS_CACHE_LEN, METRICS_CACHE_LEN, on_cache_status,
	    "CACHE_PARENT_STATUS_RES" },
};

static const struct msg_rule fetch_rules[] = {
	{ IMSG_FETCH_NUMBERS_RES, ROLE_FETCH, CHAN_NOFD, FETCH_NUMBERS_LEN,
	    FETCH_NUMBERS_LEN, metrics_on_fetch, "FETCH_NUMBERS_RES" },
};

static struct proc *
start_role(uint8_t role, enum conf_role user, uint32_t instance,
    const char *title, const char *chroot_dir, const char *exec,
    int (*configure)(struct proc *, void *))
{
	struct proc_spec spec;

	memset(&spec, 0, sizeof(spec));
	spec.role = role;
	spec.instance = instance;
	spec.title = title;
	spec.exec = exec;
	spec.chroot_dir = chroot_dir;
	spec.configure = configure;
	if (role == ROLE_MANIFEST) {
		spec.rules = manifest_rules;
		spec.nrules =
		    sizeof(manifest_rules) / sizeof(manifest_rules[0]);
		spec.on_ready = manifest_ready;
		spec.is_old = mounts_line_is_old;
	} else if (role == ROLE_CACHE) {
		spec.rules = cache_rules;
		spec.nrules = sizeof(cache_rules) / sizeof(cache_rules[0]);
	} else if (role == ROLE_FETCH) {
		spec.rules = fetch_rules;
		spec.nrules = sizeof(fetch_rules) / sizeof(fetch_rules[0]);
	}
	if (config_user(conf, user, &spec.uid, &spec.gid) == -1 ||
	    (chroot_dir != NULL &&
		priv_make_folder(chroot_dir, spec.uid, spec.gid, 0700) == -1))
		return NULL;
	return proc_start(&spec);
}

static int
start_processes(void)
{
	struct proc *manifest, *cache, *fetch;
	char db[1100], title[32];
	uint32_t i;

	snprintf(db, sizeof(db), "%s/db", conf->state);
	manifest = start_role(ROLE_MANIFEST, CONF_MANIFEST, 0, "manifest", db,
	    NULL, manifest_configure);
	cache = start_role(ROLE_CACHE, CONF_CACHE, 0, "cache", conf->cache,
	    NULL, cache_configure);
	if (manifest == NULL || cache == NULL)
		return -1;
	for (i = 0; i < conf->fetchers; i++) {
		snprintf(title, sizeof(title), "fetch %u", i + 1);
		fetch = start_role(ROLE_FETCH, CONF_FETCH, i, title, NULL,
		    fetch_path, fetcher_configure);
		if (fetch == NULL || proc_connect(manifest, fetch) == -1 ||
		    proc_connect(cache, fetch) == -1)
			return -1;
	}
	return 0;
}

/* ---- the key, and the files that sailvol-fetch has from us -------------------------------- */

static int
read_key(struct config *c)
{
	struct stat st;
	char buf[CONFIG_KEY_MAX + 2];
	ssize_t n = -1;
	int fd;

	fd = open(c->key_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd == -1 || fstat(fd, &st) == -1)
		goto fail;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0 ||
	    (st.st_uid != 0 && st.st_uid != getuid())) {
		log_warnx(
		    "key file %s: it must be a file of root, closed to all "
		    "others (chmod 600)",
		    c->key_file);
		close(fd);
		return -1;
	}
	if ((n = read(fd, buf, sizeof(buf) - 1)) == -1)
		goto fail;
	close(fd);
	buf[n] = '\0';
	buf[strcspn(buf, " \t\r\n")] = '\0';
	if (strlen(buf) != 67 || strncmp(buf, "sk_", 3) != 0 ||
	    strspn(buf + 3, "0123456789abcdef") != 64) {
		log_warnx("key file %s: not a key (sk_ and 64 digits)",
		    c->key_file);
		explicit_bzero(buf, sizeof(buf));
		return -1;
	}
	strlcpy(c->key, buf, sizeof(c->key));
	explicit_bzero(buf, sizeof(buf));
	return 0;
fail:
	log_warn("key file %s", c->key_file);
	if (fd != -1)
		close(fd);
	return -1;
}

static struct timespec watched[3];

/* 1 when one of them changed since the last look. */
static int
files_changed(void)
{
	const char *paths[3] = { "/etc/resolv.conf", "/etc/hosts",
		conf->ca_file };
	struct stat st;
	int i, changed = 0;

	for (i = 0; i < 3; i++) {
		if (paths[i] == NULL || stat(paths[i], &st) == -1)
			continue;
		if (st.st_mtim.tv_sec != watched[i].tv_sec ||
		    st.st_mtim.tv_nsec != watched[i].tv_nsec)
			changed = 1;
		watched[i] = st.st_mtim;
	}
	return changed;
}

static void
configure_again(struct proc *p, void *arg)
{
	(void)arg;
	if (proc_chan(p) == NULL || !proc_ready(p))
		return;
	if (proc_role(p) == ROLE_FETCH && fetcher_configure(p, NULL) == -1)
		log_warn("telling sailvol-fetch");
	if (proc_role(p) == ROLE_CACHE && cache_configure(p, NULL) == -1)
		log_warn("telling cache");
}

static void
watch_files(int fd, short what, void *arg)
{
	struct timeval tv = { FILES_WATCH_S, 0 };

	(void)fd;
	(void)what;
	(void)arg;
	if (files_changed())
		proc_foreach(configure_again, NULL);
	evtimer_add(watch_event, &tv);
}

/* ---- signals -------------------------------------------------------------------------------- */

static void
all_unmounted(void)
{
	proc_stop_all(STOP_MS);
}

/* One that was caught just before they were blocked (restart.h): it comes again,
   and pends until the program after this one takes it. */
static int
is_for_the_next(int sig)
{
	if (!restart_wanted())
		return 0;
	kill(getpid(), sig);
	return 1;
}

static void
on_end(int sig, short what, void *arg)
{
	(void)what;
	(void)arg;
	if (is_for_the_next(sig))
		return;
	if (ending) {
		mounts_end_soon();
		return;
	}
	ending = 1;
	log_info("signal %d: ending", sig);
	supervisor_tell("STOPPING=1");
	requests_end();
	metrics_end();
	unlink(conf->control);
	mounts_end_all(all_unmounted);
}

static struct config *
load_config(void)
{
	struct config *c;

	if ((c = config_parse(conf_path)) == NULL)
		return NULL;
	if (read_key(c) == -1 || fetch_ca_check(c->ca_file) == -1) {
		config_free(c);
		return NULL;
	}
	return c;
}

static void
on_hup(int sig, short what, void *arg)
{
	struct config *c;

	(void)what;
	(void)arg;
	if (is_for_the_next(sig))
		return;
	if ((c = load_config()) == NULL) {
		log_warnx("%s: not taken; all stays as it was", conf_path);
		return;
	}
	if (config_needs_restart(conf, c)) {
		log_warnx(
		    "%s: state, cache, control, users, fetchers, transfers and stash "
		    "cannot be changed while sailvold runs: start it anew; "
		    "nothing was changed",
		    conf_path);
		config_free(c);
		return;
	}
	if (metrics_prepare(c) == -1) {
		log_warnx("%s: not taken; all stays as it was", conf_path);
		config_free(c);
		return;
	}
	config_free(conf);
	conf = c;
	proc_set_verbose(conf->debug);
	proc_foreach(configure_again, NULL);
	requests_configure(conf);
	(void)metrics_configure(conf);
	mounts_configure(conf);
	mounts_reconfigure(conf);
	log_info("%s: taken", conf_path);
}

static int
watch_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set;
	size_t i;

	for (i = 0; i < 3; i++) {
		signal_events[i] = evsignal_new(proc_base(), signals[i],
		    signals[i] == SIGHUP ? on_hup : on_end, NULL);
		if (signal_events[i] == NULL ||
		    event_add(signal_events[i], NULL) == -1)
			return -1;
	}
	/* Those that came while it took its own place (restart.h). */
	sigemptyset(&set);
	for (i = 0; i < 3; i++)
		sigaddset(&set, signals[i]);
	return sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- the control socket ------------------------------------------------------------------------ */

/* Whose it is, by the configuration; -1 after a message. */
static int
control_owner(uid_t *uid, gid_t *gid, mode_t *mode)
{
	struct passwd *pw;
	struct group *gr;
	const char *group =
	    conf->control_group != NULL ? conf->control_group : CONFIG_GROUP;

	*uid = 0;
	*gid = 0;
	*mode = 0660;
	if (conf->control_owner != NULL) {
		if ((pw = getpwnam(conf->control_owner)) == NULL) {
			log_warnx("control: there is no user %s",
			    conf->control_owner);
			return -1;
		}
		*uid = pw->pw_uid;
	}
	if ((gr = getgrnam(group)) != NULL)
		*gid = gr->gr_gid;
	else if (conf->control_group != NULL) {
		log_warnx("control: there is no group %s", group);
		return -1;
	} else {
		*mode = 0600;
		log_info("control %s: no group %s: for root alone",
		    conf->control, group);
	}
	if (conf->control_mode != -1)
		*mode = (mode_t)conf->control_mode;
	return 0;
}

/* It is handed over by exec: who connects meanwhile waits in its queue. */
static int
listen_for_clients(void)
{
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int fd;

	if (control_owner(&uid, &gid, &mode) == -1)
		return -1;
	if ((fd = handover_take("control")) != -1 &&
	    priv_listen_on(fd, conf->control, uid, gid, mode) == -1) {
		handover_refuse("control", fd);
		fd = -1;
	}
	if ((fd == -1 &&
		(fd = priv_listen(conf->control, uid, gid, mode)) == -1) ||
	    handover_keep("control", fd, HANDOVER_EXEC) == -1)
		return -1;
	return requests_listen(fd);
}

/* ---- main ------------------------------------------------------------------------------------------ */

static void
run_role(uint8_t role, int argc, char **argv)
{
	static const struct role_def *const roles[] = { &fuse_role,
		&notify_role, &manifest_role, &cache_role, &metrics_role };
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (roles[i]->role == role)
			role_main(roles[i], argc, argv);
	fatalx("no such role of sailvold");
}

static void
write_pid(void)
{
	FILE *f;

	if (conf->pid_file == NULL)
		return;
	if ((f = fopen(conf->pid_file, "we")) == NULL ||
	    fprintf(f, "%d\n", (int)getpid()) < 0)
		log_warn("pid file %s", conf->pid_file);
	if (f != NULL && fclose(f) == EOF)
		log_warn("pid file %s", conf->pid_file);
}

/* After the messages: what it would end for when it is too late. */
static int
can_start(uid_t *fuse)
{
	enum conf_role role;
	mode_t mode;
	uid_t uid;
	gid_t gid;

	for (role = CONF_FUSE; role < CONF_ROLES; role++)
		if (config_user(conf, role, &uid, &gid) == -1)
			return 0;
	if (program_find("sailvol-fetch", fetch_path, sizeof(fetch_path)) ==
	    -1) {
		log_warnx("%s", no_fetch);
		return 0;
	}
	return control_owner(&uid, &gid, &mode) == 0 &&
	    config_user(conf, CONF_FUSE, fuse, &gid) == 0;
}

static int
check_only(int verbose, int takes_over)
{
	uid_t uid;

	if (takes_over) {
		if (!can_start(&uid))
			return 1;
		restart_print(uid, conf->state);
	} else if (verbose)
		config_print(conf, stdout);
	else
		fprintf(stderr, "%s: ok\n", conf_path);
	return 0;
}

/* It is read again when the current folder is another. */
static void
make_path_absolute(void)
{
	static char path[PATH_MAX];
	char here[PATH_MAX];

	if (conf_path[0] == '/')
		return;
	if (getcwd(here, sizeof(here)) == NULL ||
	    snprintf(path, sizeof(path), "%s/%s", here, conf_path) >=
		(int)sizeof(path))
		fatalx("%s: its folder cannot be told", conf_path);
	conf_path = path;
}

/* In its own place it is in the background already. */
static void
go_to_background(int verbose)
{
	if (handover_times() == 0 && daemon(0, 0) == -1)
		fatal("daemon");
	log_init("sailvold", 0, verbose || conf->debug);
}

/* Mounts that were handed over do not end for them. */
static int
start_metrics(void)
{
	if (metrics_prepare(conf) == 0 && metrics_configure(conf) == 0)
		return 0;
	if (handover_times() == 0 && !mounts_came())
		return -1;
	log_warnx("metrics are not served: see the messages before, then send "
		  "SIGHUP");
	return 0;
}

static void
begin_mounts(void)
{
	int adopted = mounts_adopt();

	handover_rest();
	mounts_begin_all(conf);
	if (adopted)
		mounts_reconfigure(conf);
}

static void
run(int foreground, int verbose)
{
	struct timeval tv = { FILES_WATCH_S, 0 };
	char what[512];

	if (geteuid() != 0)
		fatalx("sailvold must be started by root");
	supervisor_init();
	handover_init();
	make_path_absolute();
	restart_init(conf_path, foreground, verbose);
	if (!priv_fuse_works(what, sizeof(what)))
		log_warnx("%s", what); /* mounts say it again */
	if (program_find("sailvol-fetch", fetch_path, sizeof(fetch_path)) == -1)
		fatalx("%s", no_fetch);
	if (priv_lock_state(conf->state) == -1)
		fatalx("cannot start without its state");
	if (!foreground)
		go_to_background(verbose);
	if (proc_parent_init(verbose || conf->debug) == -1 ||
	    watch_signals() == -1)
		fatal("starting");
	requests_configure(conf);
	if (start_processes() == -1 || mounts_init(conf) == -1 ||
	    start_metrics() == -1)
		fatalx("cannot start: see the messages before");
	if (listen_for_clients() == -1)
		fatalx("cannot start without its control socket");
	files_changed();
	watch_event = evtimer_new(proc_base(), watch_files, NULL);
	if (watch_event == NULL || evtimer_add(watch_event, &tv) == -1)
		fatal("starting");
	write_pid();
	begin_mounts();
	event_base_dispatch(proc_base());
	if (restart_wanted())
		restart_exec();
	if (conf->pid_file != NULL)
		unlink(conf->pid_file);
	log_info("ended");
}

int
main(int argc, char **argv)
{
	int ch, check = 0, foreground = 0, takes_over = 0, verbose = 0;
	uint8_t role;

	if (role_wanted(argc, argv, &role))
		run_role(role, argc, argv);
	log_init("sailvold", 1, 0);
	while ((ch = getopt(argc, argv, "df:nSv")) != -1) {
		switch (ch) {
		case 'd':
			foreground = 1;
			break;
		case 'f':
			conf_path = optarg;
			break;
		case 'n':
			check = 1;
			break;
		case 'S':
			takes_over = 1;
			break;
		case 'v':
			verbose = 1;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || (takes_over && !check))
		usage();
	log_set_verbose(verbose);
	if ((conf = load_config()) == NULL)
		return 1;
	if (check)
		return check_only(verbose, takes_over);
	run(foreground, verbose);
	config_free(conf);
	return 0;
}
