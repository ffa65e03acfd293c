/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parse: the grammar of sailvold.conf(5).  In the parent.
 */
%define api.pure full
%define api.prefix {conf_yy}
%define parse.error custom
%define api.location.type {unsigned int}
%param { struct parse *p }
%initial-action { @$ = 1; }

%code requires {
#include "lib/conf_lex.h"
#include "sailvold/config.h"

struct parse {
	struct conf_lex lex;
	struct config *conf;
	struct conf_volume *volume; /* the one whose block is read */
	unsigned int seen;	    /* SEEN_*: what may be there only once */
	unsigned int volume_line, user_line[CONF_ROLES], owner_line, group_line;
	int kept; /* the file of mounts that commands made */
};
}

%code {
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api_url.h"
#include "lib/hash.h"
#include "lib/log.h"
#include "sailvold/sailvold_imsg.h"

#define SEEN_API 0x1
#define SEEN_CACHE 0x2
#define SEEN_STATE 0x4
#define SEEN_CONTROL 0x8
#define SEEN_PID 0x10
#define SEEN_METRICS 0x20

/* The line of what is reduced: of its last token, which may not be the last
   that was read. */
#define YYLLOC_DEFAULT(to, of, n) ((to) = p->lex.at = YYRHSLOC(of, n))

static int conf_yylex(union CONF_YYSTYPE *, unsigned int *, struct parse *);
static void conf_yyerror(unsigned int *, struct parse *, const char *);
static void once(struct parse *, unsigned int, const char *);
static void set_string(char **, char *);
static void set_mount(struct parse *, char *);
static void set_path(struct parse *, char **, char *, const char *);
static void set_user(struct parse *, char *, char *);
static void set_url(struct parse *, char *);
static void set_mode(struct parse *, int64_t);
static void set_metrics(struct parse *, char *, int64_t, char *);
static void begin_volume(struct parse *, char *);
static void end_volume(struct parse *);
static void set_subpath(struct parse *, char *);
static void set_commit(struct parse *, char *);
static void set_owner(struct parse *, int64_t);
static void set_ids(struct parse *, int64_t, int64_t);
}

%union {
	char *string;
	struct {
		int64_t value;
		char unit;
	} number;
	int64_t plain;
}

%token YYEOF 0 "the end"
%token API "api" AWAKE "awake" CA "ca" CACHE "cache" COMMIT "commit" CONTROL "control"
%token CREATE "create" DEBUG "debug" EVERY "every" FETCHERS "fetchers"
%token FILE_ "file" FREE "free"
%token FROM "from" GROUP "group" INFO "info" KEEP "keep" KEY "key" LISTEN "listen"
%token LOG "log"
%token MEMORY "memory" METRICS "metrics" MODE "mode" MOUNT "mount" NO "no" NOEXEC "noexec" ON "on" ONLY "only" OVERLAY "overlay"
%token OWNER "owner" PASSTHROUGH "passthrough" PID "pid" PORT "port"
%token PROCESSORS "processors" READ "read"
%token SIZE "size" STASH "stash" STATE "state" SUBPATH "subpath" SUID "suid"
%token TOTAL "total" TRANSFER "transfer" TRANSFERS "transfers"
%token UIDS "uids" UMOUNT "umount" USER "user" USERS "users" VOLUME "volume"
%token YES "yes"
%token <string> STRING "a string"
%token <number> NUMBER "a number"
%type <string> role port_file
%type <plain> count seconds bytes
%destructor { free($$); } <string>

%%

conf:
	| conf statement
	;

statement: API STRING {
		once(p, SEEN_API, "api");
		set_url(p, $2);
		$2 = NULL; /* not for the destructor */
	} '{' api_options '}'
	| CACHE STRING cache_options {
		once(p, SEEN_CACHE, "cache");
		set_path(p, &p->conf->cache, $2, "cache");
	}
	| STATE STRING {
		once(p, SEEN_STATE, "state");
		set_path(p, &p->conf->state, $2, "state");
	}
	| CONTROL STRING control_options {
		once(p, SEEN_CONTROL, "control");
		set_path(p, &p->conf->control, $2, "control");
	}
	| USER role STRING {
		set_user(p, $2, $3);
	}
	| USERS FROM count {
		if ($3 < 1 || $3 > INT32_MAX - 64)
			conf_lex_error(&p->lex,
			    "users from: not 1 to 2147483583");
		p->conf->users_from = $3;
	}
	| FETCHERS count {
		if ($2 < 1 || $2 > 64)
			conf_lex_error(&p->lex, "fetchers: not 1 to 64");
		p->conf->fetchers = (uint32_t)$2;
	}
	| TRANSFERS count {
		if ($2 < 1 || $2 > 256)
			conf_lex_error(&p->lex, "transfers: not 1 to 256");
		p->conf->transfers = (uint32_t)$2;
	}
	| TRANSFER MEMORY bytes {
		if ($3 < (16 << 20) || $3 > ((int64_t)64 << 30))
			conf_lex_error(&p->lex,
			    "transfer memory: not 16M to 64G");
		p->conf->transfer_memory = (uint64_t)$3;
	}
	| STASH SIZE bytes {
		p->conf->stash_size = (uint64_t)$3;
	}
	| STASH TOTAL bytes {
		p->conf->stash_total = (uint64_t)$3;
	}
	| STASH KEEP seconds {
		p->conf->stash_days = (uint32_t)(($3 + 86399) / 86400);
	}
	| LOG DEBUG {
		p->conf->debug = 1;
	}
	| LOG INFO {
		p->conf->debug = 0;
	}
	| PROCESSORS AWAKE YES {
		p->conf->awake = 1;
	}
	| PROCESSORS AWAKE NO {
		p->conf->awake = 0;
	}
	| PASSTHROUGH YES {
		p->conf->passthrough = 1;
	}
	| PASSTHROUGH NO {
		p->conf->passthrough = 0;
	}
	| PID FILE_ STRING {
		once(p, SEEN_PID, "pid file");
		set_path(p, &p->conf->pid_file, $3, "pid file");
	}
	| METRICS LISTEN ON STRING PORT count port_file {
		set_metrics(p, $4, $6, $7);
		$4 = $7 = NULL;
	}
	| VOLUME STRING {
		begin_volume(p, $2);
		$2 = NULL;
	} '{' volume_options '}' {
		end_volume(p);
	}
	;

port_file: {
		$$ = NULL;
	}
	| PORT FILE_ STRING {
		$$ = $3;
	}
	;

api_options:
	| api_options KEY FILE_ STRING {
		set_path(p, &p->conf->key_file, $4, "key file");
	}
	| api_options CA STRING {
		set_path(p, &p->conf->ca_file, $3, "ca");
	}
	;

cache_options:
	| cache_options SIZE bytes {
		/* A chunk of any file must fit. */
		if ($3 < FETCH_CHUNK_MAX)
			conf_lex_error(&p->lex, "cache size: less than 64M");
		p->conf->cache_size = (uint64_t)$3;
	}
	| cache_options KEEP FREE bytes {
		p->conf->cache_keep_free = (uint64_t)$4;
	}
	;

control_options:
	| control_options OWNER STRING {
		set_string(&p->conf->control_owner, $3);
		p->owner_line = p->lex.at;
	}
	| control_options GROUP STRING {
		set_string(&p->conf->control_group, $3);
		p->group_line = p->lex.at;
	}
	| control_options MODE count {
		set_mode(p, $3);
	}
	;

volume_options:
	| volume_options volume_option
	;

volume_option: MOUNT STRING {
		set_mount(p, $2);
	}
	| SUBPATH STRING {
		set_subpath(p, $2);
	}
	| OWNER count {
		set_owner(p, $2);
	}
	| UIDS count count {
		set_ids(p, $2, $3);
	}
	| CREATE {
		p->volume->flags |= MOUNT_CREATE;
	}
	| SUID {
		p->volume->flags |= MOUNT_SUID;
	}
	| NOEXEC {
		p->volume->flags |= MOUNT_NOEXEC;
	}
	| READ ONLY {
		p->volume->flags |= MOUNT_READONLY;
	}
	| COMMIT STRING {
		set_commit(p, $2);
	}
	| COMMIT EVERY seconds {
		if ($3 < 1 || $3 > COMMIT_EVERY_MAX)
			conf_lex_error(&p->lex,
			    "commit every: not 1s to 366d");
		p->volume->policy.commit_every = (uint32_t)$3;
	}
	| COMMIT ON UMOUNT {
		p->volume->policy.commit_on_umount = 1;
	}
	| OVERLAY SIZE bytes {
		if ((uint64_t)$3 < OVERLAY_LIMIT_MIN)
			conf_lex_error(&p->lex, "overlay size: less than 1M");
		p->volume->policy.overlay_limit = (uint64_t)$3;
	}
	;

role: STRING
	| CACHE {
		if (($$ = strdup("cache")) == NULL)
			fatal("strdup");
	}
	| METRICS {
		if (($$ = strdup("metrics")) == NULL)
			fatal("strdup");
	}
	;

count: NUMBER {
		if ($1.unit != 0)
			conf_lex_error(&p->lex,
			    "a number without a unit is expected");
		$$ = $1.value;
	}
	;

seconds: NUMBER {
		if ($1.unit != 0 && strchr("KMGT", $1.unit) != NULL)
			conf_lex_error(&p->lex, "a time is expected");
		$$ = $1.value;
	}
	;

bytes: NUMBER {
		if ($1.unit != 0 && strchr("smhd", $1.unit) != NULL)
			conf_lex_error(&p->lex, "a size is expected");
		$$ = $1.value;
	}
	;

%%

/* Sorted by strcmp(3): looked up by bsearch(3). */
static const struct conf_keyword keywords[] = {
	{ "api", API },
	{ "awake", AWAKE },
	{ "ca", CA },
	{ "cache", CACHE },
	{ "commit", COMMIT },
	{ "control", CONTROL },
	{ "create", CREATE },
	{ "debug", DEBUG },
	{ "every", EVERY },
	{ "fetchers", FETCHERS },
	{ "file", FILE_ },
	{ "free", FREE },
	{ "from", FROM },
	{ "group", GROUP },
	{ "info", INFO },
	{ "keep", KEEP },
	{ "key", KEY },
	{ "listen", LISTEN },
	{ "log", LOG },
	{ "memory", MEMORY },
	{ "metrics", METRICS },
	{ "mode", MODE },
	{ "mount", MOUNT },
	{ "no", NO },
	{ "noexec", NOEXEC },
	{ "on", ON },
	{ "only", ONLY },
	{ "overlay", OVERLAY },
	{ "owner", OWNER },
	{ "passthrough", PASSTHROUGH },
	{ "pid", PID },
	{ "port", PORT },
	{ "processors", PROCESSORS },
	{ "read", READ },
	{ "size", SIZE },
	{ "stash", STASH },
	{ "state", STATE },
	{ "subpath", SUBPATH },
	{ "suid", SUID },
	{ "total", TOTAL },
	{ "transfer", TRANSFER },
	{ "transfers", TRANSFERS },
	{ "uids", UIDS },
	{ "umount", UMOUNT },
	{ "user", USER },
	{ "users", USERS },
	{ "volume", VOLUME },
	{ "yes", YES },
};

static int
conf_yylex(union CONF_YYSTYPE *v, unsigned int *line, struct parse *p)
{
	int token = conf_lex_next(&p->lex);

	*line = p->lex.at;
	if (token == STRING) {
		v->string = p->lex.string;
		p->lex.string = NULL;
	} else if (token == NUMBER) {
		v->number.value = p->lex.number;
		v->number.unit = p->lex.unit;
	}
	return token;
}

static void
conf_yyerror(unsigned int *line, struct parse *p, const char *msg)
{
	p->lex.at = *line;
	conf_lex_error(&p->lex, "%s", msg);
}

/* Says what is expected, unless that is a long list. */
static int
yyreport_syntax_error(const yypcontext_t *context, struct parse *p)
{
	yysymbol_kind_t want[3];
	char but[128] = "";
	int i, n = yypcontext_expected_tokens(context, want, 3);

	for (i = 0; i < n; i++) {
		strlcat(but, i == 0 ? "" : i == n - 1 ? " or " : ", ",
		    sizeof(but));
		strlcat(but, yysymbol_name(want[i]), sizeof(but));
	}
	p->lex.at = *yypcontext_location(context);
	conf_lex_unexpected(&p->lex, but);
	return 0;
}

static void
once(struct parse *p, unsigned int bit, const char *what)
{
	if (p->seen & bit)
		conf_lex_error(&p->lex, "%s is there twice", what);
	p->seen |= bit;
}

static void
set_string(char **to, char *s)
{
	free(*to);
	*to = s;
}

static void
set_path(struct parse *p, char **to, char *path, const char *what)
{
	const char *why;

	if ((why = config_path_problem(path)) != NULL)
		conf_lex_error(&p->lex, "%s: %s: %s", what, path, why);
	set_string(to, path);
}

static void
set_url(struct parse *p, char *url)
{
	const char *why;

	if ((why = api_url_problem(url)) != NULL)
		conf_lex_error(&p->lex, "api: %s: %s", url, why);
	set_string(&p->conf->api_url, url);
}

/* Written as people write modes: the digits are octal. */
static void
set_mode(struct parse *p, int64_t digits)
{
	int mode = 0, shift;

	for (shift = 0; digits > 0 && shift < 12; shift += 3) {
		if (digits % 10 > 7)
			break;
		mode |= (int)(digits % 10) << shift;
		digits /= 10;
	}
	if (digits != 0 || mode > 0777)
		conf_lex_error(&p->lex, "mode: not 0 to 777");
	p->conf->control_mode = mode;
}

static void
set_metrics(struct parse *p, char *address, int64_t port, char *file)
{
	const char *why = inaddr_set_loopback(&p->conf->metrics_at, address, port);

	once(p, SEEN_METRICS, "metrics");
	if (why != NULL)
		conf_lex_error(&p->lex, "metrics listen on %s: %s", address,
		    why);
	free(address);
	p->conf->metrics = 1;
	if (file != NULL)
		set_path(p, &p->conf->metrics_port_file, file, "port file");
}

static const char *const default_users[CONF_ROLES] = {
	"_sailvolfuse",
	"_sailvol",
	"_sailvolcache",
	"_sailvolnet",
	"_sailvolmet",
};

static void
set_user(struct parse *p, char *role, char *name)
{
	size_t i;

	for (i = 0; i < CONF_ROLES; i++)
		if (strcmp(conf_role_names[i], role) == 0)
			break;
	if (i == CONF_ROLES || *name == '\0') {
		conf_lex_error(&p->lex, i == CONF_ROLES ? "no such role: %s" :
		    "user for %s: empty name", role);
		free(name);
	} else {
		set_string(&p->conf->users[i], name);
		p->user_line[i] = p->lex.at;
	}
	free(role);
}

static void
begin_volume(struct parse *p, char *name)
{
	const char *why;

	p->volume_line = p->lex.at;
	if ((why = volume_name_problem(name, strlen(name))) != NULL)
		conf_lex_error(&p->lex, "volume %s: %s", name, why);
	if ((p->volume = calloc(1, sizeof(*p->volume))) == NULL ||
	    (p->volume->subpath = strdup("")) == NULL)
		fatal("calloc");
	p->volume->name = name;
	TAILQ_INSERT_TAIL(&p->conf->volumes, p->volume, link);
}

static void
end_volume(struct parse *p)
{
	struct conf_volume *v;

	p->lex.at = p->volume_line;
	if (p->volume->path == NULL) {
		conf_lex_error(&p->lex, "volume %s: no mount", p->volume->name);
		return;
	}
	if (!p->kept && p->volume->has_commit &&
	    (p->volume->flags & MOUNT_CREATE))
		conf_lex_error(&p->lex, "volume %s: commit and create: a new "
		    "volume has no commits", p->volume->name);
	if ((p->volume->flags & MOUNT_READONLY) &&
	    (p->volume->policy.commit_every != 0 ||
		p->volume->policy.commit_on_umount))
		conf_lex_error(&p->lex, "volume %s: commit every, or on "
		    "umount: it is read only", p->volume->name);
	TAILQ_FOREACH(v, &p->conf->volumes, link)
		if (v != p->volume && v->path != NULL &&
		    strcmp(v->path, p->volume->path) == 0)
			conf_lex_error(&p->lex, "volume %s: %s is mounted on "
			    "already", p->volume->name, v->path);
}

static void
set_mount(struct parse *p, char *path)
{
	if (p->volume->path != NULL)
		conf_lex_error(&p->lex, "volume %s: mount is there twice",
		    p->volume->name);
	if (*path == '/' && path[strspn(path, "/")] == '\0')
		conf_lex_error(&p->lex, "mount: %s: not over the root", path);
	set_path(p, &p->volume->path, path, "mount");
}

static void
set_subpath(struct parse *p, char *path)
{
	const char *why;
	char *s = path + strspn(path, "/");

	if ((why = path_problem(s, strlen(s))) != NULL)
		conf_lex_error(&p->lex, "subpath: %s: %s", path, why);
	free(p->volume->subpath);
	if ((p->volume->subpath = strdup(s)) == NULL)
		fatal("strdup");
	free(path);
}

static void
set_commit(struct parse *p, char *hex)
{
	struct hash h;

	if (hash_parse(&h, hex, strlen(hex)) == -1)
		conf_lex_error(&p->lex, "commit: not 64 hexadecimal digits");
	else
		memcpy(p->volume->commit, hex, sizeof(p->volume->commit));
	p->volume->has_commit = 1;
	p->volume->flags |= MOUNT_READONLY;
	free(hex);
}

/* Who mounted it: kept for him, and not to be said in sailvold.conf. */
static void
set_owner(struct parse *p, int64_t uid)
{
	if (!p->kept)
		conf_lex_error(&p->lex, "owner: only sailvold writes it");
	else if (uid < 1 || uid >= UINT32_MAX)
		conf_lex_error(&p->lex, "owner: not the number of a user");
	else
		p->volume->owner = (uid_t)uid;
}

static void
set_ids(struct parse *p, int64_t base, int64_t count)
{
	const char *why;

	if ((why = idmap_problem((uint64_t)base, (uint64_t)count)) != NULL) {
		conf_lex_error(&p->lex, "uids: %s", why);
		return;
	}
	p->volume->ids.base = (uint32_t)base;
	p->volume->ids.count = (uint32_t)count;
}

static void
set_default(char **to, const char *s)
{
	if (*to == NULL && (*to = strdup(s)) == NULL)
		fatal("strdup");
}

/*
 * Accounts that the file names.  Those that the installation makes may come
 * later: a configuration can be checked before.
 */
static void
check_users(struct parse *p)
{
	const char *why, *name;
	size_t i;

	for (i = 0; i < CONF_ROLES && p->conf->users_from == -1; i++) {
		name = p->conf->users[i];
		if (strcmp(name, default_users[i]) == 0 ||
		    (why = config_account_problem(name)) == NULL)
			continue;
		p->lex.at = p->user_line[i];
		conf_lex_error(&p->lex, "user %s %s: %s", conf_role_names[i],
		    name, why);
	}
}

static void
check_control(struct parse *p)
{
	const char *owner = p->conf->control_owner;
	const char *group = p->conf->control_group;

	p->lex.at = p->owner_line;
	if (owner != NULL && getpwnam(owner) == NULL)
		conf_lex_error(&p->lex, "control owner %s: there is no such "
		    "account", owner);
	p->lex.at = p->group_line;
	if (group != NULL && strcmp(group, CONFIG_GROUP) != 0 &&
	    getgrnam(group) == NULL)
		conf_lex_error(&p->lex, "control group %s: there is no such "
		    "group", group);
}

static struct config *
config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	size_t i;

	if (c == NULL)
		fatal("calloc");
	TAILQ_INIT(&c->volumes);
	for (i = 0; i < CONF_ROLES; i++)
		set_default(&c->users[i], default_users[i]);
	c->users_from = -1;
	c->fetchers = 2;
	c->transfers = 16;
	c->transfer_memory = (uint64_t)128 << 20;
	c->passthrough = 1;
	c->cache_size = (uint64_t)20 << 30;
	c->stash_size = (uint64_t)10 << 30;
	c->stash_days = 30;
	c->awake = 1;
	c->control_mode = -1;
	return c;
}

static void
config_defaults(struct parse *p)
{
	struct config *c = p->conf;

	if (c->api_url == NULL)
		conf_lex_error(&p->lex, "no api: the server's URL is needed");
	else if (c->key_file == NULL)
		conf_lex_error(&p->lex, "api: no key file");
	set_default(&c->state, "/var/db/sailvol");
	set_default(&c->cache, "/var/cache/sailvol");
	set_default(&c->control, CONFIG_CONTROL);
	if (strcmp(c->state, c->cache) == 0)
		conf_lex_error(&p->lex, "state and cache have the same folder");
	check_users(p);
	check_control(p);
}

static struct config *
parse_file(const char *path, void (*finish)(struct parse *))
{
	struct parse p = { 0 };
	int failed;

	if (conf_lex_open(&p.lex, path, 0, keywords,
	    sizeof(keywords) / sizeof(keywords[0]), STRING, NUMBER) == -1)
		return NULL;
	p.conf = config_new();
	p.kept = finish == NULL;
	failed = conf_yyparse(&p) != 0;
	p.lex.at = p.lex.line;
	if (!failed && p.lex.errors == 0 && finish != NULL)
		finish(&p);
	if (failed || p.lex.errors != 0) {
		config_free(p.conf);
		p.conf = NULL;
	}
	conf_lex_close(&p.lex);
	return p.conf;
}

struct config *
config_parse(const char *path)
{
	return parse_file(path, config_defaults);
}

struct config *
config_parse_volumes(const char *path)
{
	return parse_file(path, NULL);
}
