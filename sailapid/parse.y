/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parse: the grammar of sailapid.conf(5).  In the parent.
 */
%define api.pure full
%define api.prefix {conf_yy}
%define parse.error custom
%define api.location.type {unsigned int}
%param { struct parse *p }
%initial-action { @$ = 1; }

%code requires {
#include "lib/conf_lex.h"
#include "sailapid/config.h"

struct parse {
	struct conf_lex lex;
	struct config *conf;
	unsigned int seen; /* SEEN_*: what may be there only once */
	int before[2];     /* the last two tokens, and the line of the last */
	unsigned int before_line;
	unsigned int user_line[CONF_ROLES];
};
}

%code {
#include <stdlib.h>
#include <string.h>

#include "lib/api_url.h"
#include "lib/log.h"

#define SEEN_DATABASE 0x1
#define SEEN_STORE 0x2
#define SEEN_STORE_LISTEN 0x4
#define SEEN_PID 0x8
#define SEEN_S3_STYLE 0x10
#define SEEN_TLS 0x20

/* The line of what is reduced: of its last token, which may not be the last
   that was read. */
#define YYLLOC_DEFAULT(to, of, n) ((to) = p->lex.at = YYRHSLOC(of, n))

static int conf_yylex(union CONF_YYSTYPE *, unsigned int *, struct parse *);
static void conf_yyerror(unsigned int *, struct parse *, const char *);
static void set_listen(struct parse *, struct conf_listen *, char *, int,
    int64_t, char *);
static void add_listen(struct parse *, char *, int, int64_t, char *);
static void set_metrics(struct parse *, char *, int64_t, char *);
static void set_path(struct parse *, char **, char *, unsigned int,
    const char *);
static void set_s3(struct parse *, char *);
static void set_text(struct parse *, char **, char *,
    const char *(*)(const char *), const char *);
static void end_tls(struct parse *);
static void set_style(struct parse *, int);
static void set_user(struct parse *, char *, char *);
static void set_number(struct parse *, uint32_t *, int64_t, int64_t,
    const char *);
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
%token ANSWERS "answers"
%token EVERY "every" NEVER "never" SURVEY "survey"
%token BODY "body" BUCKET "bucket" CA "ca"
%token CERTIFICATE "certificate" CONNECTIONS "connections" CREDENTIALS "credentials" DATABASE "database" DEBUG "debug" FILE_ "file"
%token FROM "from" HANDSHAKE "handshake" HEADER "header" IDLE "idle" INFO "info" KEY "key"
%token LIFE "life"
%token LIMITS "limits" LISTEN "listen"
%token LISTEN_HERE "listen on its line" /* in the line of its store */
%token LOG "log" METRICS "metrics" ON "on" PATH "path" PEER "peer" PER "per" PID "pid"
%token PORT "port" RATE "rate" REGION "region" REQUESTS "requests" S3 "s3" SIZE "size" STORE "store"
%token STYLE "style" TLS "tls" URL "url" USER "user" USERS "users"
%token VIRTUAL "virtual"
%token <string> STRING "a string"
%token <number> NUMBER "a number"
%type <string> port_file role
%type <plain> count seconds bytes with_tls
%destructor { free($$); } <string>

%%

conf:
	| conf statement
	;

statement: LISTEN ON STRING with_tls PORT count port_file {
		add_listen(p, $3, (int)$4, $6, $7);
	}
	| METRICS LISTEN ON STRING PORT count port_file {
		set_metrics(p, $4, $6, $7);
	}
	| TLS '{' tls_items '}' {
		end_tls(p);
	}
	| DATABASE STRING {
		set_path(p, &p->conf->database, $2, SEEN_DATABASE, "database");
	}
	| STORE STRING {
		set_path(p, &p->conf->objects, $2, SEEN_STORE, "store");
	}
	| STORE STRING LISTEN_HERE store_listen {
		set_path(p, &p->conf->objects, $2, SEEN_STORE, "store");
	}
	| STORE STRING '{' '}' {
		set_path(p, &p->conf->objects, $2, SEEN_STORE, "store");
	}
	| STORE STRING '{' LISTEN store_listen '}' {
		set_path(p, &p->conf->objects, $2, SEEN_STORE, "store");
	}
	| STORE S3 STRING {
		set_s3(p, $3);
		$3 = NULL; /* it stays on the stack until '}' */
	} '{' s3_items '}'
	| USER role STRING {
		set_user(p, $2, $3);
	}
	| USERS FROM count {
		if ($3 < 1 || $3 > INT32_MAX - 64)
			conf_lex_error(&p->lex,
			    "users from: not 1 to 2147483583");
		p->conf->users_from = $3;
	}
	| URL LIFE seconds {
		set_number(p, &p->conf->url_life_s, $3, 604800, "url life");
	}
	| SURVEY EVERY seconds {
		if ($3 < CONFIG_SURVEY_LEAST || $3 > CONFIG_SURVEY_MOST)
			conf_lex_error(&p->lex,
			    "survey every: not 60 seconds to 366 days");
		p->conf->survey_s = (uint32_t)$3;
	}
	| SURVEY NEVER {
		p->conf->survey_s = 0;
	}
	| LIMITS '{' limits '}'
	| LOG DEBUG {
		p->conf->debug = 1;
	}
	| LOG INFO {
		p->conf->debug = 0;
	}
	| PID FILE_ STRING {
		set_path(p, &p->conf->pid_file, $3, SEEN_PID, "pid file");
	}
	;

store_listen: ON STRING with_tls PORT count port_file {
		set_listen(p, &p->conf->store, $2, (int)$3, $5, $6);
		p->seen |= SEEN_STORE_LISTEN;
	}
	;

with_tls: {
		$$ = 0;
	}
	| TLS {
		$$ = 1;
	}
	;

tls_items:
	| tls_items tls_item
	;

tls_item: CERTIFICATE FILE_ STRING {
		set_text(p, &p->conf->tls_certificate, $3, config_path_problem,
		    "certificate file");
	}
	| KEY FILE_ STRING {
		set_text(p, &p->conf->tls_key, $3, config_path_problem,
		    "key file");
	}
	;

s3_items:
	| s3_items s3_item
	;

s3_item: BUCKET STRING {
		set_text(p, &p->conf->s3_bucket, $2, config_bucket_problem,
		    "bucket");
	}
	| REGION STRING {
		set_text(p, &p->conf->s3_region, $2, config_region_problem,
		    "region");
	}
	| CREDENTIALS FILE_ STRING {
		set_text(p, &p->conf->s3_credentials, $3, config_path_problem,
		    "credentials file");
	}
	| CA FILE_ STRING {
		set_text(p, &p->conf->s3_ca_file, $3, config_path_problem,
		    "ca file");
	}
	| STYLE PATH {
		set_style(p, 0);
	}
	| STYLE VIRTUAL {
		set_style(p, 1);
	}
	;

limits:
	| limits limit
	| limits ','
	;

limit: CONNECTIONS count {
		set_number(p, &p->conf->max_connections, $2, 65536,
		    "connections");
	}
	| CONNECTIONS count PER PEER count {
		set_number(p, &p->conf->max_connections, $2, 65536,
		    "connections");
		set_number(p, &p->conf->per_peer, $5, 65536,
		    "connections per peer");
	}
	| REQUESTS count {
		set_number(p, &p->conf->requests, $2, 65536, "requests");
	}
	| REQUESTS count PER PEER count {
		set_number(p, &p->conf->requests, $2, 65536, "requests");
		set_number(p, &p->conf->requests_per_peer, $5, 65536,
		    "requests per peer");
	}
	| HEADER SIZE bytes {
		if ($3 < 4096 || $3 > 1 << 20)
			conf_lex_error(&p->lex, "header size: not 4K to 1M");
		p->conf->header_size = (uint32_t)$3;
	}
	| RATE bytes {
		if ($2 < 1 || $2 > 1 << 30)
			conf_lex_error(&p->lex, "rate: not 1 to 1G");
		p->conf->rate = (uint32_t)$2;
	}
	| BODY SIZE bytes {
		if ($3 < 1024 || $3 > (int64_t)1 << 30)
			conf_lex_error(&p->lex, "body size: not 1K to 1G");
		p->conf->max_body = (uint64_t)$3;
	}
	| ANSWERS SIZE bytes {
		/* With a few of the largest one or two keys would have all. */
		if ($3 < 1 << 20 || $3 > (int64_t)1 << 40)
			conf_lex_error(&p->lex, "answers size: not 1M to 1T");
		p->conf->max_answers =
		    $3 < 32 << 20 ? 32 << 20 : (uint64_t)$3;
	}
	| IDLE seconds {
		set_number(p, &p->conf->idle_s, $2, 86400, "idle");
	}
	| HANDSHAKE seconds {
		set_number(p, &p->conf->handshake_s, $2, 3600, "handshake");
	}
	;

port_file: {
		$$ = NULL;
	}
	| PORT FILE_ STRING {
		$$ = $3;
	}
	;

role: STRING
	| STORE {
		if (($$ = strdup("store")) == NULL)
			fatal("strdup");
	}
	| TLS {
		if (($$ = strdup("tls")) == NULL)
			fatal("strdup");
	}
	;

count: NUMBER {
		if ($1.unit != 0)
			conf_lex_error(&p->lex, "a number without a unit is "
			    "expected");
		$$ = $1.value;
	}
	;

seconds: NUMBER {
		if (strchr("KMGT", $1.unit) != NULL && $1.unit != 0)
			conf_lex_error(&p->lex, "a time is expected");
		$$ = $1.value;
	}
	;

bytes: NUMBER {
		if (strchr("smhd", $1.unit) != NULL && $1.unit != 0)
			conf_lex_error(&p->lex, "a size is expected");
		$$ = $1.value;
	}
	;

%%

/* Sorted by strcmp(3): looked up by bsearch(3). */
static const struct conf_keyword keywords[] = {
	{ "answers", ANSWERS },
	{ "body", BODY },
	{ "bucket", BUCKET },
	{ "ca", CA },
	{ "certificate", CERTIFICATE },
	{ "connections", CONNECTIONS },
	{ "credentials", CREDENTIALS },
	{ "database", DATABASE },
	{ "debug", DEBUG },
	{ "every", EVERY },
	{ "file", FILE_ },
	{ "from", FROM },
	{ "handshake", HANDSHAKE },
	{ "header", HEADER },
	{ "idle", IDLE },
	{ "info", INFO },
	{ "key", KEY },
	{ "life", LIFE },
	{ "limits", LIMITS },
	{ "listen", LISTEN },
	{ "log", LOG },
	{ "metrics", METRICS },
	{ "never", NEVER },
	{ "on", ON },
	{ "path", PATH },
	{ "peer", PEER },
	{ "per", PER },
	{ "pid", PID },
	{ "port", PORT },
	{ "rate", RATE },
	{ "region", REGION },
	{ "requests", REQUESTS },
	{ "s3", S3 },
	{ "size", SIZE },
	{ "store", STORE },
	{ "style", STYLE },
	{ "survey", SURVEY },
	{ "tls", TLS },
	{ "url", URL },
	{ "user", USER },
	{ "users", USERS },
	{ "virtual", VIRTUAL },
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
	/*
	 * A new line is white space, but `listen' behind a store is the
	 * store's only in the same line: on the next it begins a statement.
	 */
	if (token == LISTEN && p->before[0] == STORE &&
	    p->before[1] == STRING && p->before_line == p->lex.line)
		token = LISTEN_HERE;
	p->before[0] = p->before[1];
	p->before[1] = token;
	p->before_line = p->lex.line;
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
set_port_file(struct parse *p, struct conf_listen *l, char *file)
{
	const char *why;

	if (file != NULL && (why = config_path_problem(file)) != NULL)
		conf_lex_error(&p->lex, "port file: %s: %s", file, why);
	free(l->port_file);
	l->port_file = file;
}

static void
set_listen(struct parse *p, struct conf_listen *l, char *address, int tls,
    int64_t port, char *file)
{
	const char *why = config_listen_set(l, address, tls, port);

	if (why != NULL)
		conf_lex_error(&p->lex, "listen on %s: %s", address, why);
	free(address);
	set_port_file(p, l, file);
}

static void
add_listen(struct parse *p, char *address, int tls, int64_t port, char *file)
{
	struct config *c = p->conf;

	if (c->napi == CONFIG_LISTEN_MAX) {
		conf_lex_error(&p->lex, "more than %d addresses",
		    CONFIG_LISTEN_MAX);
		free(address);
		free(file);
		return;
	}
	set_listen(p, &c->api[c->napi++], address, tls, port, file);
}

/* Whoever comes there needs no key: config_listen_set() takes only loopback. */
static void
set_metrics(struct parse *p, char *address, int64_t port, char *file)
{
	if (p->conf->metrics.at.len != 0)
		conf_lex_error(&p->lex, "metrics is there twice");
	set_listen(p, &p->conf->metrics, address, 0, port, file);
}

static void
set_path(struct parse *p, char **to, char *path, unsigned int bit,
    const char *what)
{
	const char *why;

	if (p->seen & bit)
		conf_lex_error(&p->lex, "%s is there twice", what);
	p->seen |= bit;
	if ((why = config_path_problem(path)) != NULL)
		conf_lex_error(&p->lex, "%s: %s: %s", what, path, why);
	free(*to);
	*to = path;
}

/* Once, and as problem wants it. */
static void
set_text(struct parse *p, char **to, char *s,
    const char *(*problem)(const char *), const char *what)
{
	const char *why;

	if (*to != NULL)
		conf_lex_error(&p->lex, "%s is there twice", what);
	if ((why = problem(s)) != NULL)
		conf_lex_error(&p->lex, "%s: %s: %s", what, s, why);
	free(*to);
	*to = s;
}

static void
set_s3(struct parse *p, char *url)
{
	size_t n = strlen(url);

	if (p->seen & SEEN_STORE)
		conf_lex_error(&p->lex, "store is there twice");
	p->seen |= SEEN_STORE;
	set_text(p, &p->conf->s3_url, url, api_url_problem, "store s3");
	/* What is signed is the host, and a path begins behind it. */
	if (n > 0 && url[n - 1] == '/')
		url[n - 1] = '\0';
}

static void
end_tls(struct parse *p)
{
	struct config *c = p->conf;

	if (p->seen & SEEN_TLS)
		conf_lex_error(&p->lex, "tls is there twice");
	p->seen |= SEEN_TLS;
	if (c->tls_certificate == NULL || c->tls_key == NULL)
		conf_lex_error(&p->lex, "tls: no %s file is named",
		    c->tls_key == NULL ? "key" : "certificate");
}

static void
set_style(struct parse *p, int is_virtual)
{
	if (p->seen & SEEN_S3_STYLE)
		conf_lex_error(&p->lex, "style is there twice");
	p->seen |= SEEN_S3_STYLE;
	p->conf->s3_virtual = is_virtual;
}

static const char *const default_users[CONF_ROLES] = {
	"_sailtls",
	"_sailapi",
	"_sailmeta",
	"_sailsign",
	"_sailvolnet",
	"_sailstore",
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
		free(p->conf->users[i]);
		p->conf->users[i] = name;
		p->user_line[i] = p->lex.at;
	}
	free(role);
}

static void
set_number(struct parse *p, uint32_t *to, int64_t value, int64_t max,
    const char *what)
{
	if (value < 1 || value > max)
		conf_lex_error(&p->lex, "%s: not 1 to %lld", what,
		    (long long)max);
	else
		*to = (uint32_t)value;
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

static struct config *
config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	size_t i;

	if (c == NULL)
		fatal("calloc");
	for (i = 0; i < CONF_ROLES; i++)
		set_default(&c->users[i], default_users[i]);
	c->users_from = -1;
	c->url_life_s = 900;
	c->survey_s = 86400;
	c->max_connections = 1024;
	c->per_peer = 512;
	c->idle_s = 60;
	c->rate = 4096;
	c->handshake_s = 10;
	c->requests = 256;
	c->requests_per_peer = 128;
	c->header_size = 64 * 1024;
	c->max_body = (uint64_t)1 << 30;
	c->max_answers = (uint64_t)512 << 20;
	return c;
}

static void
s3_defaults(struct parse *p)
{
	struct config *c = p->conf;
	const char *why;

	set_default(&c->s3_region, CONFIG_REGION);
	if (c->s3_bucket == NULL)
		conf_lex_error(&p->lex, "store s3: no bucket is named");
	else if (c->s3_virtual &&
	    (why = config_virtual_problem(c->s3_url, c->s3_bucket)) != NULL)
		conf_lex_error(&p->lex, "store s3: style virtual: %s", why);
}

/*
 * TLS needs a certificate; and who comes to the API by it comes to the store
 * from outside, too.
 */
static void
check_tls(struct parse *p)
{
	struct config *c = p->conf;
	int some = 0;
	size_t i;

	for (i = 0; i < c->napi; i++)
		some |= c->api[i].tls;
	if (c->s3_url == NULL && some && !c->store.tls)
		conf_lex_error(&p->lex, "store: listens without tls, which "
		    "clients of the API with tls refuse");
	some |= c->s3_url == NULL && c->store.tls;
	if (some && c->tls_certificate == NULL)
		conf_lex_error(&p->lex, "listen with tls: no certificate and "
		    "key are named, tls { ... }");
}

/* The store listens where the API does, at a port that the kernel picks. */
static void
config_defaults(struct parse *p)
{
	struct config *c = p->conf;
	char *file = c->store.port_file;

	if (c->napi == 0) {
		config_listen_set(&c->api[0], "127.0.0.1", 0, 8470);
		c->napi = 1;
	}
	if (c->s3_url != NULL)
		s3_defaults(p);
	if (!(p->seen & SEEN_STORE_LISTEN)) {
		c->store = c->api[0];
		c->store.port_file = file;
		inaddr_set_port(&c->store.at, 0);
	}
	set_default(&c->database, "/var/db/sailapi/db");
	set_default(&c->objects, "/var/db/sailapi/objects");
	if (c->per_peer > c->max_connections)
		c->per_peer = c->max_connections;
	if (c->requests_per_peer > c->requests)
		c->requests_per_peer = c->requests;
	if (strcmp(c->database, c->objects) == 0)
		conf_lex_error(&p->lex,
		    "database and store have the same folder");
	check_tls(p);
	check_users(p);
}

struct config *
config_parse(const char *path)
{
	struct parse p = { 0 };
	int failed;

	if (conf_lex_open(&p.lex, path, 0, keywords,
		sizeof(keywords) / sizeof(keywords[0]), STRING,
		NUMBER) == -1)
		return NULL;
	p.conf = config_new();
	failed = conf_yyparse(&p) != 0;
	p.lex.at = p.lex.line;
	if (!failed && p.lex.errors == 0)
		config_defaults(&p);
	if (failed || p.lex.errors != 0) {
		config_free(p.conf);
		p.conf = NULL;
	}
	conf_lex_close(&p.lex);
	return p.conf;
}
