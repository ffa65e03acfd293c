/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * command: runs the commands of sailapid(8) in a child without root's rights.
 */
#include <sys/wait.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "sailapid/command.h"
#include "sailapid/db.h"
#include "sailapid/privileged.h"

static int
run_init(char **a, int n, int64_t life_s)
{
	(void)n;
	(void)life_s;
	return db_init_org("/", a[0]);
}

static int
run_create(char **a, int n, int64_t life_s)
{
	return db_key_create("/", a[0], a[1], n > 2 ? a[2] : "", life_s, a + 3,
	    n > 3 ? (size_t)n - 3 : 0);
}

static int
run_list(char **a, int n, int64_t life_s)
{
	(void)n;
	(void)life_s;
	return db_key_list("/", a[0]);
}

static int
run_revoke(char **a, int n, int64_t life_s)
{
	(void)n;
	(void)life_s;
	return db_key_revoke("/", a[0], a[1]);
}

static int
run_accept(char **a, int n, int64_t life_s)
{
	(void)a;
	(void)n;
	(void)life_s;
	return db_store_accept("/");
}

static int
run_survey(char **a, int n, int64_t life_s)
{
	(void)a;
	(void)n;
	(void)life_s;
	return db_store_survey("/");
}

static const struct command {
	const char *words[2];
	int min, max; /* operands */
	int makes;    /* the folder of the database */
	int lives;    /* has the option of a life */
	int (*run)(char **, int, int64_t);
} commands[] = {
	{ { "init", NULL }, 1, 1, 1, 0, run_init },
	{ { "key", "create" }, 2, 3 + KEY_GRANTS_MAX, 0, 1, run_create },
	{ { "key", "list" }, 1, 1, 0, 0, run_list },
	{ { "key", "revoke" }, 2, 2, 0, 0, run_revoke },
	{ { "store", "accept" }, 0, 0, 0, 0, run_accept },
	{ { "store", "survey" }, 0, 0, 0, 0, run_survey },
};

const char *const command_usage[] = { "init org",
	"[-e life] key create org role [name [volume[:/path] ...]]",
	"key list org", "key revoke org id", "store accept", "store survey",
	NULL };

/* skip: how many words name it. */
static const struct command *
find(int argc, char **argv, int *skip)
{
	const struct command *c;
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		c = &commands[i];
		*skip = c->words[1] == NULL ? 1 : 2;
		if (argc - *skip < c->min || argc - *skip > c->max ||
		    strcmp(argv[0], c->words[0]) != 0)
			continue;
		if (*skip == 1 || strcmp(argv[1], c->words[1]) == 0)
			return c;
	}
	return NULL;
}

int
command_known(int argc, char **argv, int64_t life_s)
{
	const struct command *c;
	int skip;

	c = find(argc, argv, &skip);
	return c != NULL && (c->lives || life_s == 0);
}

int
command_run(const struct config *conf, int argc, char **argv, int64_t life_s)
{
	const struct command *c;
	int skip, status;
	uid_t uid;
	gid_t gid;
	pid_t pid;

	if ((c = find(argc, argv, &skip)) == NULL ||
	    config_user(conf, CONF_META, &uid, &gid) == -1 ||
	    (c->makes && privileged_folder(conf->database, uid, gid) == -1))
		return 1;
	/* What is looked for in /etc, now. */
	tzset();
	fflush(stdout);
	if ((pid = fork()) == -1) {
		log_warn("fork");
		return 1;
	}
	if (pid == 0) {
		/* What is changed stands there, wherever messages go. */
		openlog("sailapid", LOG_PID | LOG_NDELAY, LOG_DAEMON);
		privileged_become(conf->database, uid, gid);
		status = c->run(argv + skip, argc - skip, life_s) == 0 ? 0 : 1;
		if (fflush(stdout) == EOF) {
			log_warn("standard output");
			status = 1;
		}
		_exit(status);
	}
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR) {
			log_warn("waitpid");
			return 1;
		}
	if (WIFSIGNALED(status))
		log_warnx("%s: killed by signal %d", argv[0], WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
