/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_store: whether the object store can be used, what is wrong with it in
 * words, and whether it is the one of this database.  In meta.
 */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

/*
 * One request at a time asks the store for the object that marks it as that of
 * this database: its answer has a code and words where it is an error, which the
 * answer to HEAD has not, and the Date.  Nothing else judges the store: what other
 * requests hear makes it be asked again, and whoever needs to know waits for it.
 */
#define ASK_AGE_MS 600000 /* after an answer that was good */
#define ASK_LEAST_MS 1000 /* after one that was not, doubling */
#define ASK_MOST_MS 10000 /* to this */
#define ASK_CALM_MS 60000 /* good for so long: from the least again */
#define KNOWN_MAX 16      /* objects that are looked for */

#define MEND_KEYS                                                             \
	": put new keys into the credentials file and send SIGHUP, or start " \
	"anew where they are in the environment"
#define ELSEWHERE                                                             \
	"has the bucket in another region: mend \"region\", and the host of " \
	"the store, in sailapid.conf"
#define NEW_BUCKET                                                     \
	"sends its requests elsewhere for now, as S3 does with a new " \
	"bucket: it is asked again"
#define DENIED                                                             \
	"denies access: the access key must have s3:GetObject, "           \
	"s3:PutObject and s3:DeleteObject for all objects of the bucket, " \
	"and s3:ListBucket for the bucket"

static const struct trouble {
	const char
	    *code; /* of the store's error, or its beginning and a star */
	const char *why;
	/* It refuses us, and will until somebody mends that. */
	uint8_t unusable;
} troubles[] = {
	{ "NoSuchBucket",
	    "does not have the bucket: make it, or mend \"bucket\" in "
	    "sailapid.conf",
	    1 },
	{ "InvalidAccessKeyId",
	    "does not know the access key: mend the credentials, and send "
	    "SIGHUP",
	    1 },
	{ "SignatureDoesNotMatch",
	    "says that the secret access key is not that of the access key: "
	    "mend the credentials, and send SIGHUP",
	    1 },
	{ "ExpiredToken", "says that the session token has expired" MEND_KEYS,
	    1 },
	{ "TokenRefreshRequired",
	    "says that the session token has expired" MEND_KEYS, 1 },
	{ "InvalidToken",
	    "does not take the session token, which must be that of the "
	    "keys" MEND_KEYS,
	    1 },
	{ "AccessDenied", DENIED, 1 },
	{ "RequestTimeTooSkewed", "finds our clock wrong: set it", 1 },
	{ "AuthorizationHeaderMalformed", ELSEWHERE, 1 },
	{ "AuthorizationQueryParametersError", ELSEWHERE, 1 },
	{ "PermanentRedirect", ELSEWHERE, 1 },
	{ "TemporaryRedirect", NEW_BUCKET, 0 },
	{ "IllegalLocation*", ELSEWHERE, 1 },
};
#define NTROUBLES (sizeof(troubles) / sizeof(troubles[0]))

/* Of what has no code that is known. */
static const struct trouble redirected = { "", ELSEWHERE, 1 };
static const struct trouble redirected_now = { "", NEW_BUCKET, 0 };
static const struct trouble denied = { "", DENIED, 1 };
static const struct trouble skewed = { "",
	"refuses URLs that are signed by our clock, which is too far from its "
	"own: set the clock",
	1 };
static const struct trouble silent = { "",
	"does not answer: is it up, and its URL in sailapid.conf right?", 0 };
static const struct trouble other = { "", "answers", 0 };
static const struct trouble stranger = { "",
	"does not have the mark of this database: it is another bucket or "
	"folder than before, a disk that is not mounted, or one that was "
	"emptied; mend that, or, if it is to be the store from now on, run "
	"`sailapid store accept'",
	1 };

/* Instead of an answer that has nothing to say. */
static const struct fetch_url_res nothing = { .status = 404 };

static struct {
	struct meta_backend backend;
	int embedded;
	/* the verdict; wrong NULL: it is good, if it is known */
	int judged;
	const struct trouble *wrong;
	char words[640];
	monotime_t judged_at, good_since;
	/* asking */
	monotime_t due, began, mended_at;
	int mended; /* perhaps, and not asked since */
	int64_t again_ms;
	int asking;
	struct db_store own;
	char key[16 + 2 * DB_ID_LEN];
	struct fetch_url_res res;
	struct db_object objects[KNOWN_MAX];
	struct fetch_url_res looked[KNOWN_MAX];
	int nobjects;
	/* how it reads signatures */
	int absent; /* it reads names of headers that must not be sent */
	int known;  /* whether it does */
} self;

void
store_init(const struct meta_backend *backend,
    const struct meta_settings *settings)
{
	memset(&self, 0, sizeof(self));
	self.backend = *backend;
	self.embedded = settings->store_port != 0;
	self.due = monotime_now();
	self.again_ms = ASK_LEAST_MS;
}

int
store_absent(void)
{
	return self.absent;
}

/* ---- the verdict --------------------------------------------------------- */

static const struct trouble *
trouble_of(const char *code)
{
	const char *c;
	size_t i, len;

	for (i = 0; i < NTROUBLES; i++) {
		c = troubles[i].code;
		len = strlen(c);
		if (c[len - 1] == '*' ? strncmp(code, c, len - 1) == 0
				      : strcmp(code, c) == 0)
			return &troubles[i];
	}
	return NULL;
}

int
store_code_of_all(const char *code)
{
	return trouble_of(code) != NULL;
}

static void
words_of(const struct trouble *t, const struct fetch_url_res *r)
{
	char more[FETCH_SAID_MAX + 64] = "";

	if (t == &other)
		snprintf(more, sizeof(more), " %u%s", r->status,
		    r->status < 500 ? ": is its URL in sailapid.conf right?"
				    : "");
	else if (t == &silent)
		snprintf(more, sizeof(more), " (%s)", r->said);
	snprintf(self.words, sizeof(self.words), "%s%s%s%s%s%s%s%s", t->why,
	    more, r->elsewhere[0] != '\0' ? "; it says \"" : "", r->elsewhere,
	    r->elsewhere[0] != '\0' ? "\"" : "", r->code[0] != '\0' ? " (" : "",
	    r->code, r->code[0] != '\0' ? ")" : "");
}

static void
judge_good(void)
{
	monotime_t now = monotime_now();

	if (self.wrong != NULL)
		log_info("store: it takes our requests again");
	if (self.wrong != NULL || !self.judged)
		self.good_since = now;
	self.wrong = NULL;
	self.judged = 1;
	self.judged_at = now;
	self.due = monotime_add_ms(now, ASK_AGE_MS);
}

static void
judge(const struct trouble *t, const struct fetch_url_res *r)
{
	monotime_t now = monotime_now();
	int first = !self.judged;

	if (self.wrong == NULL && !first &&
	    monotime_diff_ms(now, self.good_since) >= ASK_CALM_MS)
		self.again_ms = ASK_LEAST_MS;
	words_of(t, r);
	if (t != self.wrong)
		log_warnx("store: it %s", self.words);
	if (t != self.wrong && t == &stranger)
		log_warnx("store: the mark is the object %s", self.key);
	self.wrong = t;
	self.judged = 1;
	self.judged_at = now;
	self.due = monotime_add_ms(now, self.again_ms);
	self.again_ms *= 2;
	if (self.again_ms > ASK_MOST_MS)
		self.again_ms = ASK_MOST_MS;
	/* What does not need the store goes on where it was begun. */
	if (t == &stranger && first)
		self.backend.refuse();
}

static void
judge_answer(const struct fetch_url_res *r)
{
	const struct trouble *t = trouble_of(r->code);

	if (t == NULL && r->status == 0)
		t = &silent;
	else if (t == NULL && r->code[0] == '\0' && r->status == 403)
		t = &denied;
	else if (t == NULL && (r->status == 302 || r->status == 307))
		t = &redirected_now;
	else if (t == NULL && (r->status == 301 || r->status == 308))
		t = &redirected;
	/* So it calls a URL whose time has not come, or is over. */
	if (r->status == 403 && clock_too_far() &&
	    (t == &denied || strcmp(r->code, "AccessDenied") == 0))
		t = &skewed;
	judge(t != NULL ? t : &other, r);
}

int
store_refuses(struct req *req)
{
	if (self.wrong == NULL)
		return 0;
	if (self.wrong->unusable)
		req_error(req, 503, "store_unusable",
		    "the object store cannot be used: it %s", self.words);
	else
		req_error(req, 503, "store_unavailable",
		    "the object store cannot be used: it %s", self.words);
	return 1;
}

int
store_judged_since(monotime_t then)
{
	return self.judged && self.judged_at.ns >= then.ns;
}

int
store_strange(void)
{
	return self.wrong == &stranger;
}

int
store_good(void)
{
	return self.judged && self.wrong == NULL;
}

int
store_is_mark(const char *key, size_t len)
{
	return len == strlen(self.key) && memcmp(key, self.key, len) == 0;
}

/* ---- URLs for uploads ---------------------------------------------------- */

/* What cannot be uploaded is not begun; where the store may be there again when
   the client comes to it, it may. */
static void
upload_sign(struct req *req)
{
	int known = self.embedded || self.known;

	if (self.wrong != NULL && (self.wrong->unusable || !known) &&
	    store_refuses(req))
		return;
	if (!known)
		req_error(req, 503, "store_unavailable",
		    "the object store was not heard of yet");
	else
		req_sign(req, req->then);
}

void
req_upload(struct req *req, req_step next)
{
	req->then = next;
	if (req->nobjects == 0)
		req_sign(req, next);
	else if (self.wrong != NULL && self.mended)
		req_store(req, upload_sign, 1);
	else if (self.embedded || self.known || self.wrong != NULL)
		upload_sign(req);
	else
		req_store(req, upload_sign, 0);
}

/* ---- asking -------------------------------------------------------------- */

/* One object of that name; of each answer all is kept, and it comes soon. */
static int
ask_object(struct req *req, uint8_t use)
{
	if (req_objects(req, 1) == -1)
		return -1;
	memset(&self.res, 0, sizeof(self.res));
	hash_bytes(&req->objects[0].hash, "", 0);
	req->objects[0].use = use;
	req->objects[0].key = self.key;
	req->objects[0].res = &self.res;
	return 0;
}

/* It refuses a signature, and not the object, which it does not have either. */
static void
asked_absent(struct req *req)
{
	uint16_t status = req->objects[0].status;

	if (status == 404 && !self.absent)
		log_info("store: signed absence of headers is understood");
	/* Some stores say 400 of such a signature; others will do later. */
	if ((status >= 400 && status < 500 && status != 408 && status != 429) ||
	    status == 501) {
		self.absent = status == 404;
		self.known = 1;
	}
	if (self.known)
		judge_good();
	else
		self.due = monotime_add_ms(monotime_now(), ASK_LEAST_MS);
	req_none(req, 202);
}

static void
absent_look(struct req *req)
{
	req_fetch(req, asked_absent);
}

/* It is good, and that of this database. */
static void
asked_good(struct req *req)
{
	/* A refusal may have had another cause: it is asked again. */
	if (self.embedded || (self.known && self.absent)) {
		judge_good();
		req_none(req, 202);
		return;
	}
	if (req_objects(req, 1) == -1)
		return;
	req->objects[0].use = OBJECT_LOOK;
	req->objects[0].bytes = 1;
	req->objects[0].absent = 1;
	req->objects[0].res = &self.res;
	req_sign(req, absent_look);
}

static void
mark_note(struct req *req)
{
	if (self.own.mark != STORE_MARKED) {
		if (req_write(req) == -1)
			return;
		if (db_store_mark(meta_db(), STORE_MARKED) == -1) {
			req_errno(req, "store");
			return;
		}
	}
	req_again(req, asked_good);
}

static void
marked(struct req *req)
{
	uint16_t status = self.res.status;

	if (status == 200 || status == 201 || status == 204) {
		log_info("store: marked as that of this database, by the "
			 "object %s",
		    self.key);
		mark_note(req);
		return;
	}
	judge_answer(&self.res);
	req_none(req, 202);
}

static void
mark_fetch(struct req *req)
{
	req_fetch(req, marked);
}

static void
mark_begin(struct req *req)
{
	if (ask_object(req, OBJECT_MARK) == 0)
		req_sign(req, mark_fetch);
}

/* A database of before there were marks: it has one of the objects that it
   should have, or none of them. */
static void
known_looked(struct req *req)
{
	const struct fetch_url_res *wrong = NULL;
	int i;

	for (i = 0; i < self.nobjects; i++) {
		if (req->objects[i].status == 200) {
			mark_begin(req);
			return;
		}
		if (req->objects[i].status != 404)
			wrong = &self.looked[i];
	}
	if (wrong == NULL)
		judge(&stranger, &nothing);
	else
		judge_answer(wrong);
	req_none(req, 202);
}

static void
known_fetch(struct req *req)
{
	req_fetch(req, known_looked);
}

static void
known_look(struct req *req)
{
	struct object_url *o;
	int i;

	if (req_objects(req, (size_t)self.nobjects) == -1)
		return;
	for (i = 0; i < self.nobjects; i++) {
		o = &req->objects[i];
		o->hash = self.objects[i].hash;
		o->family.id = self.objects[i].family;
		memcpy(o->family.public, self.objects[i].family_public,
		    DB_ID_LEN);
		o->use = OBJECT_LOOK;
		o->res = &self.looked[i];
	}
	memset(self.looked, 0, sizeof(self.looked));
	req_sign(req, known_fetch);
}

static void ask_begin(struct req *);

/* It has no mark, or says of what it has not that we may not see it. */
static void
asked_unmarked(struct req *req)
{
	struct db_store now;
	int n;

	n = db_store_known(meta_db(), self.objects, KNOWN_MAX);
	if (n == -1 || db_store_get(meta_db(), &now) == -1) {
		req_errno(req, "store");
		return;
	}
	self.nobjects = n;
	/* Another server has marked one since; perhaps this one. */
	if (now.mark != self.own.mark)
		req_again(req, ask_begin);
	else if (self.own.mark == STORE_ACCEPTED ||
	    (n == 0 && self.own.mark == STORE_UNMARKED))
		mark_begin(req);
	else if (self.own.mark == STORE_UNMARKED)
		known_look(req);
	else {
		if (self.res.status == 404)
			judge(&stranger, &nothing);
		else
			judge_answer(&self.res);
		req_none(req, 202);
	}
}

static void
asked(struct req *req)
{
	const struct fetch_url_res *r = &self.res;

	if (r->status == 200) {
		if (self.own.mark == STORE_ACCEPTED)
			log_info("store: `sailapid store accept` changes "
				 "nothing: it has the mark of this database");
		mark_note(req);
	} else if ((r->status == 404 && strcmp(r->code, "NoSuchKey") == 0) ||
	    (r->status == 403 && strcmp(r->code, "AccessDenied") == 0))
		asked_unmarked(req);
	else {
		judge_answer(r);
		req_none(req, 202);
	}
}

static void
ask_fetch_step(struct req *req)
{
	req_fetch(req, asked);
}

static void
ask_begin(struct req *req)
{
	char hex[2 * DB_ID_LEN + 1];

	/* Before the store is asked: two servers may be at it, and what one has
	   noted the store has. */
	if (db_store_get(meta_db(), &self.own) == -1) {
		req_errno(req, "store");
		return;
	}
	hex_encode(self.own.public, DB_ID_LEN, hex);
	snprintf(self.key, sizeof(self.key), "sailapid/%s", hex);
	if (ask_object(req, OBJECT_VERIFY) == 0)
		req_sign(req, ask_fetch_step);
}

static void
ask_end(void *arg)
{
	(void)arg;
	self.asking = 0;
	if (self.began.ns >= self.mended_at.ns)
		self.mended = 0;
	if (req_store_judged(self.began) > 0)
		store_ask();
}

void
store_ask(void)
{
	struct req *req;

	if (self.asking)
		return;
	self.began = monotime_now();
	self.due = monotime_add_ms(self.began, ASK_MOST_MS);
	if ((req = req_first(ask_begin)) == NULL) {
		self.due = monotime_add_ms(self.began, ASK_LEAST_MS);
		return;
	}
	self.asking = 1;
	req->state = &self;
	req->state_free = ask_end;
}

/* The question itself comes here, too. */
void
store_said(const struct object_url *o, const struct fetch_url_res *r)
{
	monotime_t soon;
	int good = r->status == 200 || r->status == 206 || r->status == 204 ||
	    (r->status == 404 &&
		(o->use == OBJECT_LOOK || strcmp(r->code, "NoSuchKey") == 0));

	if (o->res != NULL || self.asking || !self.judged)
		return;
	if (good == (self.wrong == NULL))
		return;
	/* It is otherwise than it was when it was asked. */
	soon = monotime_add_ms(self.began, ASK_LEAST_MS);
	if (monotime_diff_ms(soon, self.due) < 0)
		self.due = soon;
}

void
store_ask_soon(void)
{
	self.due = self.mended_at = monotime_now();
	self.mended = 1;
	self.again_ms = ASK_LEAST_MS;
}

void
store_tick(void)
{
	if (!self.asking && monotime_reached(self.due))
		store_ask();
}
