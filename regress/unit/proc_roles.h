/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc_roles: the roles of test_proc.c, which do what its parent tells them.
 */
#ifndef REGRESS_PROC_ROLES_H
#define REGRESS_PROC_ROLES_H

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/sandbox.h"

enum {
	M_CONF = IMSG_DAEMON_FIRST, /* a string: what to do */
	M_ASK,                      /* to a role: say something to the peer */
	M_PEER_SAYS,                /* between the roles */
	M_HEARD,                    /* to the parent: u32 pid of the peer */
	M_PEERS,                    /* to the parent: u8 1 up, 0 down */
	M_DO,                       /* a command */
	M_RESULT,
};

#define UID 54321
#define GID 54322

/* ---- the roles ----------------------------------------------------------- */

static char conf[64];
static int nprepared;
static int world = -1; /* the machine's root directory, from before the drop */

static void
tell(uint32_t type, const char *text)
{
	if (chan_send(role_parent(), type, 0, -1, text, strlen(text)) == -1)
		fatal("tell");
}

static int
r_conf(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	size_t n = ibuf_size(body);

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get(body, conf, n) == -1)
		return -1;
	conf[n] = '\0';
	if ((geteuid() == 0) != (strcmp(conf, "user") != 0))
		return -1;
	return 0;
}

static int
r_ask(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t pid = (uint32_t)getpid();
	struct chan *peer;

	(void)c;
	(void)id;
	(void)imsg;
	(void)body;
	if ((peer = role_peer_any(ROLE_CACHE)) == NULL ||
	    peer != role_peer(ROLE_CACHE, 9))
		return -1;
	return chan_send(peer, M_PEER_SAYS, 0, -1, &pid, sizeof(pid));
}

static int
r_peer_says(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)id;
	(void)imsg;
	if (chan_role(c) != ROLE_SIGN || chan_instance(c) != 3)
		return -1;
	return chan_send(role_parent(), M_HEARD, 0, -1, ibuf_data(body),
	    ibuf_size(body));
}

static void *
thread_body(void *arg)
{
	return arg;
}

static void
do_files(void)
{
	char buf[64];
	int fd;

	/* A role with a directory sees it as the root, and nothing else. */
	fd = open("/made", O_RDWR | O_CREAT | O_EXCL, 0600);
	snprintf(buf, sizeof(buf), "%s %s%s", fd != -1 ? "made" : "not made",
	    open("/etc/passwd", O_RDONLY) == -1 ? "no etc" : "etc",
	    strstr(sandbox_status(), "landlock") == NULL ||
		    (openat(world, "etc/passwd", O_RDONLY) == -1 &&
			errno == EACCES &&
			openat(world, "tmp/x", O_WRONLY | O_CREAT, 0600) == -1)
		? ""
		: ", but by a descriptor");
	tell(M_RESULT, buf);
}

/* What a hostile role may do to others. */
static int
do_harm(const char *what)
{
	uint32_t i;

	if (strcmp(what, "bad word") == 0)
		return chan_send(role_peer_any(ROLE_CACHE), 4711, 0, -1, "x",
		    1);
	if (strcmp(what, "lie") == 0) {
		for (i = 0; i < 200; i++)
			if (chan_send(role_parent(), IMSG_ROLE_PARENT_BLAME, i,
				-1, NULL, 0) == -1)
				return -1;
		tell(M_RESULT, "lied");
	} else if (strcmp(what, "flood") == 0) {
		for (i = 0; i < 25000; i++) {
			log_info("line %u", i);
			(void)chan_flush(role_parent(), 5000);
		}
		/* As if they were its last words. */
		for (i = 0; i < 5000; i++) {
			(void)chan_send(role_parent(), IMSG_ROLE_PARENT_LOG, 0,
			    -1, i % 2 == 0 ? "\2x" : "\0x", 2);
			(void)chan_flush(role_parent(), 5000);
		}
		tell(M_RESULT, "flooded");
	} else
		return -1;
	return 0;
}

static int
r_do(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	char what[32], buf[256];
	size_t n = ibuf_size(body);
	pthread_t t;
	void *p;

	(void)c;
	(void)id;
	(void)imsg;
	if (n >= sizeof(what) || ibuf_get(body, what, n) == -1)
		return -1;
	what[n] = '\0';
	if (strcmp(what, "socket") == 0)
		socket(AF_INET, SOCK_STREAM, 0);
	else if (strcmp(what, "exec") == 0)
		execl("/bin/true", "true", (char *)NULL);
	else if (strcmp(what, "fork") == 0)
		fork();
	else if (strcmp(what, "abort") == 0)
		abort();
	else if (strcmp(what, "fatal") == 0)
		fatalx("so be it");
	else if (strcmp(what, "exit") == 0)
		_exit(3);
	else if (strcmp(what, "nonsense") == 0)
		tell(4711, "x");
	else if (strcmp(what, "hang") == 0)
		for (;;)
			usleep(1000);
	else if (strcmp(what, "open") == 0) {
		int fd = open("/etc/passwd", O_RDONLY);

		snprintf(buf, sizeof(buf), "%d %s", fd, strerror(errno));
		tell(M_RESULT, buf);
	} else if (strcmp(what, "files") == 0)
		do_files();
	else if (strcmp(what, "threads") == 0) {
		if (pthread_create(&t, NULL, thread_body, what) != 0)
			fatal("pthread_create");
		pthread_join(t, &p);
		tell(M_RESULT, p == what ? "joined" : "lost");
	} else if (strcmp(what, "self") == 0) {
		snprintf(buf, sizeof(buf), "%u %u %s %s", role_self()->instance,
		    role_self()->uid, role_self()->title, sandbox_status());
		tell(M_RESULT, buf);
	} else if (strcmp(what, "log") == 0) {
		log_debug("a debug line");
		log_warnx("a line with\nnew line");
		tell(M_RESULT, "logged");
	} else if (strcmp(what, "env") == 0) {
		snprintf(buf, sizeof(buf), "%s %d %d",
		    getenv("HOME") != NULL ? "env" : "clean",
		    fcntl(4, F_GETFD) != -1 && fcntl(50, F_GETFD) != -1,
		    fcntl(3, F_GETFD));
		tell(M_RESULT, buf);
	} else
		return do_harm(what);
	return 0;
}

static int
r_configured(void)
{
	return conf[0] != '\0';
}

static int
r_prepare(void)
{
	if (++nprepared != 1)
		return -1;
	if (strcmp(conf, "crash") == 0)
		raise(SIGKILL);
	world = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return world != -1 ? 0 : -1;
}

static int
r_start(void)
{
	return geteuid() == UID && nprepared == 1 ? 0 : -1;
}

static void
r_peer_up(struct chan *c)
{
	(void)c;
	tell(M_PEERS, "1");
}

static void
r_peer_down(struct chan *c)
{
	if (chan_role(c) == ROLE_PARENT)
		fatalx("no peer");
	tell(M_PEERS, "0");
}

static void
r_stop(void)
{
	log_info("stops cleanly");
}

static const struct msg_rule role_rules[] = {
	{ M_CONF, ROLE_PARENT, CHAN_NOFD, 1, 63, r_conf, "conf" },
	{ M_ASK, ROLE_PARENT, CHAN_NOFD, 0, 0, r_ask, "ask" },
	{ M_DO, ROLE_PARENT, CHAN_NOFD, 1, 31, r_do, "do" },
	{ M_PEER_SAYS, ROLE_SIGN, CHAN_NOFD, 4, 4, r_peer_says, "peer says" },
};

static const struct role_def defs[] = {
	{ .role = ROLE_SIGN,
	    .rules = role_rules,
	    .nrules = 4,
	    .configured = r_configured,
	    .prepare = r_prepare,
	    .start = r_start,
	    .peer_up = r_peer_up,
	    .peer_down = r_peer_down,
	    .stop = r_stop },
	{ .role = ROLE_CACHE,
	    .rules = role_rules,
	    .nrules = 4,
	    .configured = r_configured,
	    .prepare = r_prepare,
	    .start = r_start,
	    .peer_up = r_peer_up,
	    .peer_down = r_peer_down,
	    .stop = r_stop,
	    .sandbox_flags = SANDBOX_THREADS },
};

#endif
