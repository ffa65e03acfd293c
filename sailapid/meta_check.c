/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_check: objects that sailvol-fetch reads for the server: those that a
 * reader has reported, and each pack once before its chunks count for
 * everybody.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"

/*
 * A report is a claim, and so is what a client says of its pack: the object is
 * read and hashed.  What is missing or wrong is quarantined, and an object of
 * which nothing is right is deleted, for an upload is refused while anything is
 * there; wrong twice, so that one torn answer deletes nothing.
 *
 * The store may have been without its objects for a while: a disk that was not
 * mounted, another bucket.  So what was good and is missing makes the store be
 * asked whether it is still that of the database, before it is quarantined; and
 * what is quarantined is looked for again when somebody wants it and it lies
 * nowhere else.
 */
#define CHECKS_MAX 16        /* of reports at a time: each reads an object */
#define QUEUE_MAX 2          /* of packs that nobody has reported */
#define QUEUE_AGAIN_MS 10000 /* those of a store that was away */
#define LOST_MAX 1024        /* objects that were looked for again */
#define LOST_AGAIN_MS 5000   /* one that is missing */
#define LOST_WRONG_MS 600000 /* one that was read, and is wrong in part */

struct check {
	LIST_ENTRY(check) entry;
	int64_t family;
	struct hash object;
	uint32_t size;
	int queued;
	int wrong; /* once */
	int again; /* it is bad, and perhaps there again */
	int pack;
	int reported; /* by that key, to which so much is charged */
	int64_t key;
	uint64_t charged;
	int in_vain;       /* all was right */
	int surveyed;      /* the survey waits for it */
	int found;         /* as survey_checked() says */
	int good;          /* it was seen there before */
	int64_t condemned; /* of the object, when it was begun */
	/* of a pack */
	int64_t row;
	struct fetch_part *parts;
	uint8_t *right;
	uint32_t nparts;
};
static LIST_HEAD(, check) checks = LIST_HEAD_INITIALIZER(checks);
static unsigned int nreported, nqueued;
static int64_t queue_after; /* the row of the pack begun last */
static monotime_t queue_began;

/* When a quarantined object may be looked for again. */
static struct lost {
	int64_t row; /* 0: none */
	monotime_t due;
} lost[LOST_MAX];

static void check_sign(struct req *);
static void check_fetch(struct req *);
static void check_next(struct req *);

static void
check_free(void *arg)
{
	struct check *c = arg;

	if (c == NULL)
		return;
	LIST_REMOVE(c, entry);
	if (c->queued)
		nqueued--;
	else
		nreported--;
	if (c->reported)
		pace_end(c->key, c->in_vain ? 0 : c->charged);
	if (c->surveyed)
		survey_checked(c->found);
	free(c->parts);
	free(c->right);
	free(c);
}

/* In this process: others are seen by check_overtaken(). */
int
check_running(int64_t family, const struct hash *object)
{
	struct check *c;

	LIST_FOREACH (c, &checks, entry) {
		if (c->family == family && hash_cmp(&c->object, object) == 0)
			return 1;
	}
	return 0;
}

static struct check *
check_new(int64_t family, int queued)
{
	struct check *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->family = family;
	c->queued = queued;
	LIST_INSERT_HEAD(&checks, c, entry);
	if (queued)
		nqueued++;
	else
		nreported++;
	return c;
}

/* ---- what was lost ------------------------------------------------------- */

/* Its entry, or the one that is due first, which becomes its own. */
static struct lost *
lost_find(int64_t row)
{
	struct lost *l, *first = &lost[0];
	size_t i;

	for (i = 0; i < LOST_MAX; i++) {
		l = &lost[i];
		if (l->row == row)
			return l;
		if (l->row == 0 ||
		    (first->row != 0 &&
			monotime_diff_ms(l->due, first->due) < 0))
			first = l;
	}
	return first;
}

static void
lost_until(int64_t row, int64_t ms)
{
	struct lost *l = lost_find(row);

	l->row = row;
	l->due = monotime_add_ms(monotime_now(), ms);
}

/* It was not looked for a moment ago, and there is room to note that it is. */
static int
lost_due(int64_t row)
{
	const struct lost *l = lost_find(row);

	return l->row == 0 || monotime_diff_ms(monotime_now(), l->due) >= 0;
}

/* ---- what came of it ----------------------------------------------------- */

static void
check_end(struct req *req)
{
	const struct check *c = req->state;

	if (c->queued)
		req_again(req, check_next);
	else
		req_none(req, 202);
}

static void
log_lost(const struct req *req, const struct hash *chunk,
    const struct hash *object, int missing)
{
	char a[HASH_HEX_LEN + 1], b[HASH_HEX_LEN + 1];

	hash_hex(chunk, a);
	hash_hex(object, b);
	log_warnx("volume %s: chunk %s is lost in object %s: %s", req->vol.name,
	    a, b, missing ? "missing" : "corrupt");
}

static void
log_there(const struct req *req, const struct hash *object)
{
	char a[HASH_HEX_LEN + 1];

	hash_hex(object, a);
	log_info("volume %s: object %s is there again", req->vol.name, a);
}

/* 1: nothing in it is good; 0; -1. */
static int
pack_set(const struct req *req, const struct check *c, int missing)
{
	const struct object_url *o = req->objects;
	uint8_t state;
	uint32_t i;

	for (i = 0; i < c->nparts; i++) {
		state = LOCATION_VERIFIED;
		if (missing || !c->right[i]) {
			state = LOCATION_BAD;
			log_lost(req, &c->parts[i].hash, &c->object, missing);
		}
		if (db_place_set(meta_db(), c->row, &c->parts[i].hash,
			c->parts[i].offset, c->parts[i].bytes, state) == -1)
			return -1;
	}
	/* It was bad, and is there: what was claimed since is not in it. */
	if (c->again && o->status == 200 && !o->equal &&
	    (o->said == 0 || o->said == c->size))
		return db_pack_wrong(meta_db(), c->row);
	return db_pack_checked(meta_db(), c->row);
}

/* One that stays is in the way of who brings it: check_in_way(). */
static void
check_deleted(struct req *req)
{
	const struct object_url *o = req->objects;
	char key[OBJECT_KEY_LEN + 1];

	if (o->status != 404 && (o->status < 200 || o->status > 299)) {
		object_key(o, key);
		log_warnx("volume %s: the object %s is wrong and was not "
			  "deleted: the store answered %u",
		    req->vol.name, key, o->status);
	}
	check_end(req);
}

static void
check_delete(struct req *req)
{
	req_fetch(req, check_deleted);
}

/*
 * What was looked for again and is not there is as it was; so is a chunk that
 * somebody has brought anew since.
 */
static int
still_lost(const struct check *c, int missing)
{
	struct db_location loc;

	return c->again &&
	    (missing ||
		(!c->pack &&
		    db_chunk_own(meta_db(), c->family, &c->object, &loc) == 1 &&
		    loc.state != LOCATION_BAD));
}

/*
 * Another server has read it too, and condemned it, or what was lost is there
 * again: what was read here is older than what may have been brought anew since.
 * 1, 0, -1.
 */
static int
check_overtaken(const struct check *c)
{
	struct db_object o;
	int r = db_object_find(meta_db(), c->family, &c->object, &o);

	if (r != 1)
		return r == 0 ? 1 : -1;
	return o.condemned != c->condemned ||
	    (!c->good && location_good(o.state));
}

static void
check_set(struct req *req, int bad)
{
	const struct object_url *o = req->objects;
	struct check *c = req->state;
	int missing = o->status == 404, overtaken, r = bad;
	uint8_t state;

	if (bad && still_lost(c, missing)) {
		lost_until(c->row, missing ? LOST_AGAIN_MS : LOST_WRONG_MS);
		check_end(req);
		return;
	}
	if (bad)
		lost_until(c->row, missing ? LOST_AGAIN_MS : LOST_WRONG_MS);
	if (req_write(req) == -1)
		return;
	if ((overtaken = check_overtaken(c)) == 1) {
		c->found = 0;
		check_end(req);
		return;
	}
	if (!bad && c->again)
		log_there(req, &c->object);
	if (overtaken == -1 ||
	    (bad && db_object_condemn(meta_db(), c->row) == -1))
		r = -1;
	else if (c->pack)
		r = pack_set(req, c, missing);
	else {
		if (bad)
			log_lost(req, &c->object, &c->object, missing);
		state = bad ? LOCATION_BAD : LOCATION_VERIFIED;
		if (db_chunk_set(meta_db(), c->family, &c->object, c->size,
			state) == -1 ||
		    db_place_set(meta_db(), c->row, &c->object, 0, c->size,
			state) == -1)
			r = -1;
	}
	metrics_add(bad ? NUMBER_WRONG : NUMBER_VERIFIED, 1);
	c->found = r == -1 ? -1 : bad;
	if (r == -1)
		req_errno(req, "chunk");
	else if (r == 1 && !missing) {
		/* It may fail, or be done for a server that dies. */
		lost_until(c->row, LOST_AGAIN_MS);
		req->objects[0].use = OBJECT_DELETE;
		req->objects[0].nindex = 0;
		req_sign(req, check_delete);
	} else
		check_end(req);
}

static int
all_right(const struct check *c, const struct object_url *o)
{
	uint32_t i;

	for (i = 0; i < c->nparts; i++) {
		if (!c->right[i])
			return 0;
	}
	return c->nparts > 0 || o->equal;
}

static void
check_unseen(struct req *req)
{
	/* The queue comes back to it. */
	req_error(req, 503, "store_unavailable", "not verified");
}

static void
check_missing(struct req *req)
{
	const struct check *c = req->state;

	if (store_strange() || (c->good && !store_judged_since(req->since)))
		check_unseen(req);
	else
		check_set(req, 1);
}

static void
check_seen(struct req *req)
{
	struct check *c = req->state;
	const struct object_url *o = req->objects;

	if (o->status == 200 && all_right(c, o)) {
		c->in_vain = 1;
		check_set(req, 0);
	} else if (o->status == 404 && c->good)
		req_store(req, check_missing, 1);
	else if (o->status == 404)
		check_missing(req);
	else if (o->status != 200)
		check_unseen(req);
	else if (c->wrong++ == 0)
		req_sign(req, check_fetch);
	else
		check_set(req, 1);
}

/* ---- reading ------------------------------------------------------------- */

static int
add_part(void *arg, const struct hash *h, const struct db_location *l)
{
	struct check *c = arg;
	struct fetch_part *p;

	/* It may not have come yet. */
	if (l->state == LOCATION_CLAIMED || c->nparts == FETCH_PARTS_MAX)
		return 0;
	if (l->offset > c->size || l->stored > c->size - l->offset)
		return 0;
	p = reallocarray(c->parts, (size_t)c->nparts + 1, sizeof(*p));
	if (p == NULL)
		return -1;
	c->parts = p;
	p[c->nparts].hash = *h;
	p[c->nparts].offset = (uint32_t)l->offset;
	p[c->nparts++].bytes = l->stored;
	return 0;
}

/* -1: the request was answered. */
static int
check_load(struct req *req, const struct db_object *o)
{
	struct check *c = req->state;
	struct db_family family;

	if (db_family_find(meta_db(), o->family, &family) != 1) {
		req_errno(req, "family");
		return -1;
	}
	c->object = o->hash;
	c->size = (uint32_t)o->size;
	c->row = o->row;
	c->wrong = 0;
	c->pack = o->pack;
	c->good = location_good(o->state);
	c->condemned = o->condemned;
	c->nparts = 0;
	free(c->right);
	c->right = NULL;
	if (o->pack) {
		if (db_pack_each(meta_db(), o->row, add_part, c) == -1 ||
		    (c->right = calloc((size_t)c->nparts + 1, 1)) == NULL) {
			req_errno(req, "pack");
			return -1;
		}
	}
	if (req_objects(req, 1) == -1)
		return -1;
	req->objects[0].family = family;
	req->objects[0].hash = c->object;
	req->objects[0].bytes = c->size;
	req->objects[0].use = OBJECT_VERIFY;
	req->objects[0].index = c->parts;
	req->objects[0].nindex = c->nparts;
	req->objects[0].right = c->right;
	return 0;
}

static void
check_sign(struct req *req)
{
	req_sign(req, check_fetch);
}

static void
check_fetch(struct req *req)
{
	req_fetch(req, check_seen);
}

/* ---- packs that are due -------------------------------------------------- */

/* The next one, that nobody reads at the moment: 1, 0, -1. */
static int
queue_next(struct db_object *o)
{
	int r;

	while ((r = db_pack_due(meta_db(), queue_after, o)) == 1) {
		queue_after = o->row;
		if (!check_running(o->family, &o->hash))
			return 1;
	}
	return r;
}

static void
check_next(struct req *req)
{
	struct check *c = req->state;
	struct db_object o;
	int r;

	if ((r = queue_next(&o)) != 1) {
		if (r == -1)
			log_warn("packs to be verified");
		req_none(req, 202);
		return;
	}
	c->family = req->vol.family = o.family;
	memcpy(req->vol.family_public, o.family_public, DB_ID_LEN);
	if (check_load(req, &o) == -1)
		return;
	if (c->nparts > 0)
		check_sign(req);
	else if (req_write(req) == 0) {
		/* Only claims are left of it. */
		if (db_pack_checked(meta_db(), c->row) == -1)
			req_errno(req, "pack");
		else
			check_end(req);
	}
}

void
check_due(int64_t row)
{
	if (row <= queue_after)
		queue_after = row - 1;
}

void
check_init(void)
{
	LIST_INIT(&checks);
	nreported = nqueued = 0;
	queue_after = 0;
	queue_began = monotime_now();
	memset(lost, 0, sizeof(lost));
	pace_init();
}

void
check_tick(void)
{
	uint8_t none[DB_ID_LEN] = { 0 };
	monotime_t now = monotime_now();
	struct db_object o;
	struct req *req;

	pace_tick();
	/* From the beginning: those that could not be read. */
	if (nqueued == 0 &&
	    monotime_diff_ms(now, queue_began) >= QUEUE_AGAIN_MS) {
		queue_after = 0;
		queue_began = now;
	}
	while (nqueued < QUEUE_MAX &&
	    db_pack_due(meta_db(), queue_after, &o) == 1) {
		if ((req = req_own("-", o.family, none, check_next)) == NULL)
			return;
		req->state = check_new(o.family, 1);
		req->state_free = check_free;
		if (req->state == NULL) {
			req_errno(req, "check");
			return;
		}
	}
}

/* ---- reports ------------------------------------------------------------- */

int
check_now(struct req *req, int64_t family, const struct hash *object)
{
	struct db_object o;
	struct req *own;
	int r;

	if ((r = db_object_find(meta_db(), family, object, &o)) != 1)
		return r;
	/* The queue comes to it when it is not now. */
	check_due(o.row);
	if (check_running(family, object) || nreported >= CHECKS_MAX ||
	    (own = req_spawn(req, check_sign)) == NULL)
		return 0;
	own->state = check_new(family, 0);
	own->state_free = check_free;
	if (own->state == NULL)
		req_errno(own, "check");
	else
		(void)check_load(own, &o); /* -1: it was answered */
	return 0;
}

/* One that was bad, at most every few seconds: 1: it is begun. */
static int
check_bad(struct req *req, const struct db_object *o)
{
	struct check *c;
	struct req *own;

	if (!lost_due(o->row))
		return 0;
	if (nreported >= CHECKS_MAX)
		return 0; /* another time */
	if ((own = req_spawn(req, check_sign)) == NULL)
		return 0;
	lost_until(o->row, LOST_AGAIN_MS);
	own->state = c = check_new(o->family, 0);
	own->state_free = check_free;
	if (c == NULL) {
		req_errno(own, "check");
		return 0;
	}
	c->again = 1;
	return check_load(own, o) == 0;
}

int
check_again(struct req *req, const struct db_location *l)
{
	struct db_object o;

	if (l->state != LOCATION_BAD)
		return 0;
	if (check_running(l->family, &l->object))
		return 1;
	if (db_object_find(meta_db(), l->family, &l->object, &o) != 1)
		return 0;
	return check_bad(req, &o);
}

int
check_in_way(struct req *req, int64_t family, const struct hash *object,
    uint32_t bytes)
{
	struct db_object o;
	int r;

	if ((r = db_object_find(meta_db(), family, object, &o)) != 1)
		return r;
	if (o.pack)
		o.size = bytes;
	if (!check_running(family, object))
		(void)check_bad(req, &o);
	return 1;
}

/* In bytes: what is read, and for the chunks of a pack, which may be small. */
static uint64_t
report_cost(const struct db_object *o)
{
	return o->size + (o->pack ? REPORT_COST : 0);
}

/* NULL: the request was answered. */
static struct req *
report_spawn(struct req *req, const struct db_object *o)
{
	struct req *own;
	struct check *c;

	if (nreported >= CHECKS_MAX) {
		req_error(req, 503, "busy", "too many reports");
		return NULL;
	}
	if (!pace_take(req->key.id, report_cost(o))) {
		req_error(req, 503, "busy",
		    "too much was read for reports of this key that were "
		    "wrong");
		return NULL;
	}
	if ((own = req_spawn(req, check_sign)) == NULL) {
		pace_end(req->key.id, report_cost(o));
		req_error(req, 503, "busy", "too many requests");
		return NULL;
	}
	own->state = c = check_new(o->family, 0);
	own->state_free = check_free;
	if (c == NULL) {
		pace_end(req->key.id, report_cost(o));
		req_errno(own, "report");
		req_errno(req, "report");
		return NULL;
	}
	c->reported = 1;
	c->key = req->key.id;
	c->charged = report_cost(o);
	return own;
}

void
check_report(struct req *req, const struct db_object *o)
{
	struct req *own;

	if (check_running(o->family, &o->hash))
		req_none(req, 202);
	else if ((own = report_spawn(req, o)) == NULL)
		return;
	else if (check_load(own, o) == -1)
		req_error(req, 503, "busy", "the report could not be followed");
	else
		req_none(req, 202);
}

int
check_survey(const struct db_object *o)
{
	struct check *c;
	struct req *own;

	if (check_running(o->family, &o->hash))
		return 1;
	if (nreported >= CHECKS_MAX ||
	    (own = req_own("-", o->family, o->family_public, check_sign)) ==
		NULL)
		return -1;
	own->state = c = check_new(o->family, 0);
	own->state_free = check_free;
	if (c == NULL) {
		req_errno(own, "survey");
		return -1;
	}
	c->surveyed = 1;
	c->found = -1;
	(void)check_load(own, o); /* -1: it was answered, and ends */
	return 0;
}
