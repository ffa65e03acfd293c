/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailapid(8), the API server of Sail Volumes: options, and what the process
 * is to be: the parent, one of its roles, or a command of the administrator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/life.h"
#include "lib/log.h"
#include "sailapid/command.h"
#include "sailapid/config.h"
#include "sailapid/credentials.h"
#include "sailapid/parent.h"
#include "sailapid/roles.h"

static const struct role_def *const roles[] = { &api_role, &meta_role,
	&sign_role, &store_role, &tls_role };

static void usage(void) __attribute__((noreturn));

static void
usage(void)
{
	size_t i;

	fprintf(stderr, "usage: sailapid [-dnv] [-f file]\n");
	for (i = 0; command_usage[i] != NULL; i++)
		fprintf(stderr, "       sailapid [-v] [-f file] %s\n",
		    command_usage[i]);
	exit(2);
}

/* The keys of a store in a file, which root alone may read: -1 after a message.
   Those of the environment are that of the start. */
static int
keys_check(const struct config *conf)
{
	struct store_keys keys;
	int rc;

	if (conf->s3_url == NULL || conf->s3_credentials == NULL ||
	    geteuid() != 0)
		return 0;
	rc = credentials_read(conf->s3_credentials, &keys);
	explicit_bzero(&keys, sizeof(keys));
	return rc;
}

int
main(int argc, char **argv)
{
	const char *path = CONFIG_DEFAULT;
	int ch, check = 0, foreground = 0, verbose = 0;
	int64_t life_s = 0;
	struct config *conf;
	uint8_t role;
	size_t i;

	if (role_wanted(argc, argv, &role))
		for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
			if (roles[i]->role == role)
				role_main(roles[i], argc, argv);
	log_init("sailapid", 1, 0);
	while ((ch = getopt(argc, argv, "de:f:nv")) != -1)
		switch (ch) {
		case 'd':
			foreground = 1;
			break;
		case 'e':
			if ((life_s = life_parse(optarg)) == -1) {
				log_warnx("-e %s: not a number with s, m, h or "
					  "d behind it, at most 3650d",
				    optarg);
				return 2;
			}
			break;
		case 'f':
			path = optarg;
			break;
		case 'n':
			check = 1;
			break;
		case 'v':
			verbose = 1;
			break;
		default:
			usage();
		}
	argc -= optind;
	argv += optind;
	if (argc == 0
		? life_s != 0
		: check || foreground || !command_known(argc, argv, life_s))
		usage();
	log_set_verbose(verbose);
	if ((conf = config_parse(path)) == NULL)
		return 1;
	if (check) {
		if (keys_check(conf) == -1)
			return 1;
		if (verbose)
			config_print(conf, stdout);
		else
			fprintf(stderr, "configuration OK\n");
		config_free(conf);
		return 0;
	}
	if (geteuid() != 0) {
		log_warnx("must be started by root");
		return 1;
	}
	if (argc > 0) {
		ch = command_run(conf, argc, argv, life_s);
		config_free(conf);
		return ch;
	}
	return parent_run(conf, path, foreground, verbose);
}
