/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_survey: now and then all of the bucket is listed, page by page, and
 * compared with the database, so that what the store has lost is known before a
 * reader wants it, and who has it can bring it anew; and what lies there for
 * nothing is counted.  In meta.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"
#include "sailapid/sigv4.h"

/*
 * A page and the objects of the database are both in the order of their keys, so
 * that each is gone through once, in short steps.  A listing is not believed: an
 * object that it does not have, or has with another size, is looked for by HEAD,
 * and what is still in doubt is checked as if a reader had reported it.
 *
 * The next page is that behind the last key, whatever became of that one: after
 * a failure it goes on where it was.  One server does it: see db_survey_due().
 * It says every few minutes that it is still at it, so that another one begins
 * anew where it has died.
 */
#define HOLD_NS ((int64_t)10 * 60 * 1000000000)
#define ROWS_MAX 256  /* of the database in a step */
#define DOUBTS_MAX 16 /* objects that are looked for at a time */
#define CHECKS_MAX 4  /* of them that are read, perhaps */
#define OLD_S 86400   /* what is younger may still be committed */
#define AGAIN_MS 1000 /* after a failure, doubling */
#define AGAIN_MOST_MS 60000

/* How far it is. */
struct place {
	struct db_order at;
	char after[FETCH_LIST_KEY_MAX]; /* of the bucket */
	size_t after_len;
	uint64_t n[META_NUMBERS_COUNT]; /* NUMBER_SURVEY_*: so far */
};

static struct {
	int64_t every_ns;
	struct req *req;        /* it is under way */
	int64_t due;            /* as the database had it */
	int64_t mine;           /* until then it is ours; 0: it is not */
	struct place now, kept; /* kept: nothing before it is in doubt */
	struct fetch_list *page;
	uint16_t next; /* of the page */
	int page_ends; /* with these doubts */
	struct db_object rows[ROWS_MAX], doubts[DOUBTS_MAX];
	int ndoubts, begun; /* of them */
	int checking, unsure;
	char query[SIGN_QUERY_MAX + 1];
	struct fetch_url_res res;
	int64_t again_ms;
	monotime_t again;
	int told; /* that it waits */
	int well; /* it has not failed */
	uint64_t last[META_NUMBERS_COUNT];
} self;

static void survey_ask(struct req *);
static void survey_compare(struct req *);
static void survey_check(struct req *);

void
survey_init(const struct meta_settings *settings)
{
	memset(&self, 0, sizeof(self));
	self.again_ms = AGAIN_MS;
	survey_every(settings->survey_s);
}

void
survey_every(uint32_t seconds)
{
	self.every_ns = (int64_t)seconds * 1000000000;
}

void
survey_numbers(uint64_t n[META_NUMBERS_COUNT])
{
	size_t i;

	for (i = 0; i < META_NUMBERS_COUNT; i++)
		n[i] += self.last[i];
}

/* ---- beginning and end --------------------------------------------------- */

static void
page_free(void)
{
	fetch_list_free(self.page);
	self.page = NULL;
}

/* The request has ended, for whatever reason. */
static void
survey_left(void *arg)
{
	(void)arg;
	page_free();
	self.req = NULL;
	if (self.well)
		return;
	self.now = self.kept;
	self.again = monotime_add_ms(monotime_now(), self.again_ms);
	self.again_ms *= 2;
	if (self.again_ms > AGAIN_MOST_MS)
		self.again_ms = AGAIN_MOST_MS;
}

static void
survey_wait(struct req *req, const char *why)
{
	if (!self.told)
		log_info("survey: waits, for %s", why);
	self.told = 1;
	req_none(req, 503);
}

/* Until then it is ours, and nobody else begins: 1; the request was answered: 0. */
static int
survey_hold(struct req *req, int64_t from, int64_t until)
{
	int r;

	if (req_write(req) == -1)
		return 0;
	if ((r = db_survey_put_off(meta_db(), from, until)) == 1) {
		self.mine = until;
		return 1;
	}
	if (r == -1)
		req_errno(req, "survey");
	else {
		self.well = 1;
		if (self.mine != 0)
			log_info("survey: it begins anew, here or in another "
				 "server");
		self.mine = 0;
		req_none(req, 202);
	}
	return 0;
}

/* 1: it was ours to the last. */
static int
survey_end(struct req *req)
{
	int64_t next =
	    self.every_ns == 0 ? SURVEY_UNSET : db_now() + self.every_ns;

	if (!survey_hold(req, self.mine, next))
		return 0;
	self.mine = 0;
	self.well = 1;
	req_none(req, 202);
	return 1;
}

static void
survey_give_up(struct req *req, const char *why)
{
	if (survey_end(req))
		log_warnx("survey: given up: %s", why);
}

static void
survey_done(struct req *req)
{
	const uint64_t *n = self.now.n;

	if (!survey_end(req))
		return;
	memcpy(self.last, n, sizeof(self.last));
	metrics_add(NUMBER_SURVEYS, 1);
	log_info("survey: the store has %" PRIu64 " objects, %" PRIu64
		 " bytes; %" PRIu64 " were missing or wrong; %" PRIu64
		 " older than a day are unknown, %" PRIu64 " bytes",
	    n[NUMBER_SURVEY_OBJECTS], n[NUMBER_SURVEY_BYTES],
	    n[NUMBER_SURVEY_MISSING], n[NUMBER_SURVEY_UNKNOWN],
	    n[NUMBER_SURVEY_UNKNOWN_BYTES]);
}

static void
survey_begin(struct req *req)
{
	int64_t now = db_now();

	if (self.mine != 0) {
		if (survey_hold(req, self.mine, now + HOLD_NS))
			req_again(req, survey_ask);
	} else if (self.due == SURVEY_UNSET) {
		/* A new database, or one that had none: not at once. */
		if (survey_hold(req, self.due, now + self.every_ns)) {
			self.mine = 0;
			self.well = 1;
			req_none(req, 202);
		}
	} else if (survey_hold(req, self.due, now + HOLD_NS)) {
		memset(&self.now, 0, sizeof(self.now));
		memset(&self.kept, 0, sizeof(self.kept));
		self.again_ms = AGAIN_MS;
		self.told = 0;
		log_debug("survey: begins");
		req_again(req, survey_ask);
	}
}

/* Our clock may have been set back, or the time between them made shorter. */
static int
survey_is_due(void)
{
	int64_t now = db_now(), most;

	if (db_survey_due(meta_db(), &self.due) == -1)
		return 0;
	if (self.due == SURVEY_ASKED)
		return 1;
	most = self.every_ns > HOLD_NS ? self.every_ns : HOLD_NS;
	return self.every_ns != 0 && (self.due <= now || self.due > now + most);
}

void
survey_tick(void)
{
	static const uint8_t none[DB_ID_LEN];

	if (self.req != NULL || !store_good() ||
	    !monotime_reached(self.again) ||
	    (self.mine == 0 && !survey_is_due()) ||
	    (self.req = req_own("-", 0, none, survey_begin)) == NULL)
		return;
	self.well = 0;
	self.req->state = &self;
	self.req->state_free = survey_left;
}

/* ---- a page -------------------------------------------------------------- */

static void
survey_listed(struct req *req)
{
	struct object_url *o = &req->objects[0];
	uint16_t status = self.res.status;
	char why[FETCH_SAID_MAX + 64];

	if (o->status == 200) {
		self.page = o->page;
		o->page = NULL;
		self.next = 0;
		if (self.page->n > 0 &&
		    fetch_key_cmp(self.page->keys[0].key,
			self.page->keys[0].len, self.now.after,
			self.now.after_len) <= 0) {
			survey_give_up(req,
			    "the store lists again what it has listed");
			return;
		}
		self.again_ms = AGAIN_MS;
		req_again(req, survey_compare);
	} else if (status == 200)
		survey_give_up(req, self.res.said);
	else if (status >= 400 && status < 500 && status != 408 &&
	    status != 429) {
		snprintf(why, sizeof(why),
		    "the store does not let itself be listed (%u %s)", status,
		    self.res.code);
		survey_give_up(req, why);
	} else
		survey_wait(req, "a page of the store's listing");
}

static void
survey_fetch(struct req *req)
{
	req_fetch(req, survey_listed);
}

static int
query_make(void)
{
	struct wbuf w;
	int ok;

	wbuf_init(&w, SIGN_QUERY_MAX);
	sigv4_encode(&w, self.now.after, self.now.after_len, 0);
	ok = w.error == 0 &&
	    snprintf(self.query, sizeof(self.query),
		"list-type=2&encoding-type=url&max-keys=%d%s%.*s",
		FETCH_LIST_KEYS, w.len > 0 ? "&start-after=" : "", (int)w.len,
		w.len > 0 ? (const char *)w.data : "") <
		(int)sizeof(self.query);
	wbuf_free(&w);
	return ok ? 0 : -1;
}

static void
survey_ask(struct req *req)
{
	struct object_url *o;
	int64_t now = db_now();

	if (self.mine < now + HOLD_NS / 2 &&
	    !survey_hold(req, self.mine, now + HOLD_NS))
		return;
	if (query_make() == -1) {
		survey_wait(req, "memory");
		return;
	}
	if (req_objects(req, 1) == -1)
		return;
	o = &req->objects[0];
	memset(&self.res, 0, sizeof(self.res));
	o->use = OBJECT_LIST;
	o->query = self.query;
	o->res = &self.res;
	req_sign(req, survey_fetch);
}

/* ---- what is in doubt ---------------------------------------------------- */

static void
survey_on(struct req *req)
{
	int more;

	self.kept = self.now;
	if (!self.page_ends) {
		req_again(req, survey_compare);
		return;
	}
	more = self.page->more;
	page_free();
	if (more)
		req_again(req, survey_ask);
	else
		survey_done(req);
}

void
survey_checked(int bad)
{
	/* That stays so, also when it begins again from what is kept. */
	if (bad == 1) {
		self.now.n[NUMBER_SURVEY_MISSING]++;
		self.kept.n[NUMBER_SURVEY_MISSING]++;
	} else if (bad == -1)
		self.unsure = 1;
	if (--self.checking == 0 && self.req != NULL &&
	    !atomic_load(meta_stop()))
		req_again(self.req, survey_check);
}

static void
survey_check(struct req *req)
{
	int r = 0;

	if (self.unsure) {
		survey_wait(req, "the store");
		return;
	}
	while (self.begun < self.ndoubts && self.checking < CHECKS_MAX &&
	    (r = check_survey(&self.doubts[self.begun])) != -1) {
		self.begun++;
		self.checking += r == 0;
	}
	/* survey_checked() goes on. */
	if (self.checking > 0)
		return;
	if (r == -1)
		survey_wait(req, "other checks");
	else
		survey_on(req);
}

static void
survey_looked(struct req *req)
{
	const struct object_url *o;
	int i, n = 0;

	for (i = 0; i < self.ndoubts; i++) {
		o = &req->objects[i];
		if (o->status == 404 || (o->status == 200 && !o->equal))
			self.doubts[n++] = self.doubts[i];
		else if (o->status != 200) {
			survey_wait(req, "the store");
			return;
		}
	}
	self.ndoubts = n;
	self.begun = self.checking = self.unsure = 0;
	req_again(req, survey_check);
}

static void
survey_look_fetch(struct req *req)
{
	req_fetch(req, survey_looked);
}

static void
survey_look(struct req *req)
{
	struct object_url *o;
	int i;

	if (req_objects(req, (size_t)self.ndoubts) == -1)
		return;
	for (i = 0; i < self.ndoubts; i++) {
		o = &req->objects[i];
		o->hash = self.doubts[i].hash;
		o->family.id = self.doubts[i].family;
		memcpy(o->family.public, self.doubts[i].family_public,
		    DB_ID_LEN);
		o->bytes = (uint32_t)self.doubts[i].size;
		o->use = OBJECT_LOOK;
	}
	req_sign(req, survey_look_fetch);
}

/* ---- comparing ----------------------------------------------------------- */

static void
now_after(const char *key, size_t len)
{
	memcpy(self.now.after, key, len);
	self.now.after_len = len;
}

/* The next key of the page is behind us. */
static void
pass_key(int known)
{
	const struct fetch_listed *k = &self.page->keys[self.next++];
	int64_t store_s = db_now() / 1000000000 + clock_offset_s();

	now_after(k->key, k->len);
	if (store_is_mark(k->key, k->len))
		return;
	self.now.n[NUMBER_SURVEY_OBJECTS]++;
	self.now.n[NUMBER_SURVEY_BYTES] += k->bytes;
	if (known || k->written_s > store_s - OLD_S)
		return;
	self.now.n[NUMBER_SURVEY_UNKNOWN]++;
	self.now.n[NUMBER_SURVEY_UNKNOWN_BYTES] += k->bytes;
}

/* An object of the database, in its turn: 1, it is in doubt. */
static int
pass_row(const struct db_object *o, const char *key, size_t len)
{
	const struct fetch_listed *k;
	int r = 1;

	db_order_set(&self.now.at, o);
	while (self.next < self.page->n) {
		k = &self.page->keys[self.next];
		if ((r = fetch_key_cmp(k->key, k->len, key, len)) >= 0)
			break;
		pass_key(0);
	}
	if (self.next < self.page->n && r == 0) {
		pass_key(1);
		return location_good(o->state) && k->bytes != o->size;
	}
	now_after(key, len);
	return location_good(o->state);
}

static void
survey_compare(struct req *req)
{
	const struct fetch_list *page = self.page;
	const struct fetch_listed *last =
	    page->more ? &page->keys[page->n - 1] : NULL;
	struct db_order behind = self.now.at;
	struct object_url name = { 0 };
	char key[OBJECT_KEY_LEN + 1];
	const struct db_object *o;
	int i, n;

	n = db_objects_after(meta_db(), &behind, self.rows, ROWS_MAX);
	if (n == -1) {
		req_errno(req, "survey");
		return;
	}
	self.ndoubts = self.page_ends = 0;
	for (i = 0; i < n && self.ndoubts < DOUBTS_MAX; i++) {
		o = &self.rows[i];
		name.hash = o->hash;
		memcpy(name.family.public, o->family_public, DB_ID_LEN);
		object_key(&name, key);
		self.page_ends = last != NULL &&
		    fetch_key_cmp(key, strlen(key), last->key, last->len) > 0;
		if (self.page_ends)
			break;
		if (pass_row(o, key, strlen(key)))
			self.doubts[self.ndoubts++] = *o;
	}
	if (i == n) {
		self.now.at = behind;
		self.page_ends = behind.end;
	}
	while (self.page_ends && self.next < page->n)
		pass_key(0);
	if (self.ndoubts > 0)
		survey_look(req);
	else
		survey_on(req);
}
