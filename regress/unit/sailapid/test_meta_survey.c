/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A survey finds what the store has lost and nothing else, whatever the listing
 * says: it is not believed, it ends, and one server at a time makes it.
 */
#include "meta_harness.h"
#include "sailapid/sigv4.h"

#define FILES 40
#define KEYS 64

/* The bucket, in the order of its keys. */
static struct {
	char key[KEYS][128];
	uint64_t bytes[KEYS];
	int64_t written_s[KEYS];
	int n, page; /* keys of a page */
	int asked;   /* pages */
	int away;    /* from that page on it answers 503; 0: never */
	int stuck;   /* it begins anew with each page */
	void (*meanwhile)(void);
} bucket;

static void
bucket_add(const char *key, uint64_t bytes, int64_t age_s)
{
	int i = bucket.n++;

	assert_true(i < KEYS);
	for (; i > 0 && strcmp(bucket.key[i - 1], key) > 0; i--) {
		strlcpy(bucket.key[i], bucket.key[i - 1], 128);
		bucket.bytes[i] = bucket.bytes[i - 1];
		bucket.written_s[i] = bucket.written_s[i - 1];
	}
	strlcpy(bucket.key[i], key, 128);
	bucket.bytes[i] = bytes;
	bucket.written_s[i] = db_now() / 1000000000 - age_s;
}

static void
bucket_remove(int at)
{
	bucket.n--;
	for (; at < bucket.n; at++) {
		strlcpy(bucket.key[at], bucket.key[at + 1], 128);
		bucket.bytes[at] = bucket.bytes[at + 1];
		bucket.written_s[at] = bucket.written_s[at + 1];
	}
}

static void
list_answer(uint32_t id, const char *url)
{
	static const char name[] = "&start-after=";
	struct fetch_url_res res = { .status = 200 };
	struct fetch_list *l = calloc(1, sizeof(*l));
	const char *at = strstr(url, name);
	char after[128] = "";
	uint8_t *data;
	size_t len;
	int i;

	assert_non_null(l);
	assert_non_null(strstr(url, "&list-type=2&"));
	if (at != NULL && !bucket.stuck)
		after[sigv4_decode(after, at + strlen(name),
		    strlen(at + strlen(name)))] = '\0';
	if (bucket.meanwhile != NULL)
		bucket.meanwhile();
	if (++bucket.asked == bucket.away) {
		res.status = 503;
		meta_fetched(id, &res, NULL, 0);
		free(l);
		return;
	}
	for (i = 0; i < bucket.n && strcmp(bucket.key[i], after) <= 0; i++)
		;
	for (; i < bucket.n && l->n < bucket.page; i++, l->n++) {
		l->keys[l->n].key = bucket.key[i];
		l->keys[l->n].len = strlen(bucket.key[i]);
		l->keys[l->n].bytes = bucket.bytes[i];
		l->keys[l->n].written_s = bucket.written_s[i];
	}
	l->more = i < bucket.n || bucket.stuck;
	data = fetch_list_encode(l, &len);
	assert_non_null(data);
	meta_fetched(id, &res, data, len);
	free(data);
	free(l);
}

/* The store is good, and its bucket has what the database says. */
static void
fill_store(void)
{
	struct change c[FILES];
	char text[FILES][16];
	struct hash base, id;
	struct db_object o[KEYS];
	struct db_order at;
	struct object_url url;
	char key[OBJECT_KEY_LEN + 1];
	int i, n;

	memset(&bucket, 0, sizeof(bucket));
	bucket.page = 7;
	h.list = list_answer;
	h.marked = 1;
	make_volume("other", &base);
	make_volume("data", &base);
	for (i = 0; i < FILES; i++) {
		snprintf(text[i], sizeof(text[i]), "f%02d", i);
		c[i].path = c[i].content = text[i];
		c[i].seen = NULL;
	}
	publish("data", &base, c, FILES, &id);
	store_tick();
	for (i = 0; i < 50; i++)
		pump();
	assert_int_equal(store_good(), 1);
	memset(&at, 0, sizeof(at));
	n = db_objects_after(h.db, &at, o, KEYS);
	assert_int_equal(n, FILES);
	memset(&url, 0, sizeof(url));
	for (i = 0; i < n; i++) {
		url.hash = o[i].hash;
		memcpy(url.family.public, o[i].family_public, DB_ID_LEN);
		object_key(&url, key);
		bucket_add(key, o[i].size, 0);
	}
}

/* One that is asked for; 1: it ended. */
static int
run(void)
{
	uint64_t before = number(NUMBER_SURVEYS);
	int i;

	bucket.asked = 0;
	assert_int_equal(db_survey_ask(h.db), 0);
	meta_tick();
	for (i = 0; i < 500; i++)
		pump();
	return (int)(number(NUMBER_SURVEYS) - before);
}

static int
bad_objects(void)
{
	struct db_object o[KEYS];
	struct db_order at;
	int i, n, bad = 0;

	memset(&at, 0, sizeof(at));
	n = db_objects_after(h.db, &at, o, KEYS);
	for (i = 0; i < n; i++)
		bad += o[i].state == LOCATION_BAD;
	return bad;
}

static void
test_found(void **state)
{
	unsigned int looks;
	struct hash gone;

	(void)state;
	fill_store();
	looks = h.looks;
	assert_int_equal(run(), 1);
	assert_int_equal(bucket.asked, 6);
	assert_int_equal(number(NUMBER_SURVEY_OBJECTS), FILES);
	assert_int_equal(number(NUMBER_SURVEY_BYTES), FILES * 3);
	assert_int_equal(number(NUMBER_SURVEY_MISSING), 0);
	assert_int_equal(number(NUMBER_SURVEY_UNKNOWN), 0);
	assert_int_equal(h.looks, looks);

	/* The last of a page, the first of the next, and one that is short. */
	assert_int_equal(hash_parse(&gone,
			     bucket.key[6] + strlen(bucket.key[6]) - 64, 64),
	    0);
	store_set(&gone, 0);
	assert_int_equal(hash_parse(&gone,
			     bucket.key[7] + strlen(bucket.key[7]) - 64, 64),
	    0);
	store_set(&gone, 0);
	bucket_remove(7);
	bucket_remove(6);
	bucket.bytes[20]--;
	assert_int_equal(run(), 1);
	assert_int_equal(number(NUMBER_SURVEY_OBJECTS), FILES - 2);
	assert_int_equal(number(NUMBER_SURVEY_MISSING), 2);
	assert_int_equal(bad_objects(), 2);
	/* HEAD says the right length of the third. */
	assert_int_equal(h.looks, looks + 3);
	assert_int_equal(run(), 1);
	assert_int_equal(number(NUMBER_SURVEY_MISSING), 0);
}

static void
test_unknown(void **state)
{
	struct db_store own;
	char hex[2 * DB_ID_LEN + 1], mark[128];

	(void)state;
	fill_store();
	assert_int_equal(db_store_get(h.db, &own), 0);
	hex_encode(own.public, DB_ID_LEN, hex);
	snprintf(mark, sizeof(mark), "sailapid/%s", hex);
	bucket_add(mark, 0, 900000);
	bucket_add("!old", 10, 86500);
	bucket_add("5/of a family that is none", 100, 86500);
	bucket_add("zz", 1000, 86500);
	bucket_add("!young", 1, 86300);
	bucket_add("sailapid/00000000000000000000000000000000", 10000, 90000);
	assert_int_equal(run(), 1);
	assert_int_equal(number(NUMBER_SURVEY_OBJECTS), FILES + 5);
	assert_int_equal(number(NUMBER_SURVEY_UNKNOWN), 4);
	assert_int_equal(number(NUMBER_SURVEY_UNKNOWN_BYTES), 11110);
	assert_int_equal(number(NUMBER_SURVEY_MISSING), 0);
	/* The store's clock is 5 minutes ahead, and so is what it says. */
	h.store_skew_ms = 300000;
	clock_saw(300000);
	assert_int_equal(run(), 1);
	assert_int_equal(number(NUMBER_SURVEY_UNKNOWN), 5);
}

/* A listing that has nothing, of a store that has all. */
static void
test_lies(void **state)
{
	unsigned int looks, verifies;

	(void)state;
	fill_store();
	looks = h.looks;
	verifies = h.verifies;
	bucket.n = 0;
	assert_int_equal(run(), 1);
	assert_int_equal(number(NUMBER_SURVEY_MISSING), 0);
	assert_int_equal(bad_objects(), 0);
	assert_int_equal(h.looks, looks + FILES);
	assert_int_equal(h.verifies, verifies);
}

/* One that never ends; the next is later. */
static void
test_endless(void **state)
{
	int64_t due;

	(void)state;
	fill_store();
	bucket.stuck = 1;
	assert_int_equal(run(), 0);
	assert_int_equal(bucket.asked, 2);
	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_int_equal(due, SURVEY_UNSET);
}

/* The store is no longer that of the database, while it is listed. */
static void
another_store(void)
{
	h.marked = 0;
}

static void
test_strange(void **state)
{
	static const struct hash zero;
	uint32_t i;

	(void)state;
	fill_store();
	(void)zero;
	for (i = 0; i < FILES; i++)
		h.gone[i] = 1;
	bucket.n = 0;
	bucket.meanwhile = another_store;
	assert_int_equal(run(), 0);
	assert_int_equal(bad_objects(), 0);
	assert_int_equal(store_strange(), 1);
}

static void
test_away(void **state)
{
	int i;

	(void)state;
	fill_store();
	bucket.away = 3;
	assert_int_equal(run(), 0);
	assert_int_equal(bucket.asked, 3);
	/* A second later it goes on there. */
	for (i = 0; i < 1000 && number(NUMBER_SURVEYS) == 0; i++) {
		usleep(10000);
		meta_tick();
		pump();
	}
	assert_int_equal(number(NUMBER_SURVEYS), 1);
	assert_int_equal(bucket.asked, 7);
	assert_int_equal(number(NUMBER_SURVEY_OBJECTS), FILES);
}

static void
taken(void)
{
	int64_t due;

	if (bucket.asked != 2)
		return;
	assert_int_equal(db_survey_due(h.thread_db, &due), 0);
	assert_true(due > db_now());
	assert_int_equal(db_survey_put_off(h.thread_db, due, due + 7), 1);
}

/* Another server has begun anew: this one lets it be, and leaves it. */
static void
test_taken(void **state)
{
	int64_t due;

	(void)state;
	fill_store();
	bucket.meanwhile = taken;
	assert_int_equal(run(), 0);
	assert_int_equal(bucket.asked, 6);
	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_true(due % 10000000 != 0 && due > db_now());
	meta_tick();
	for (due = 0; due < 50; due++)
		pump();
	assert_int_equal(bucket.asked, 6);
}

static int
begins(int64_t due)
{
	int64_t now;
	int i;

	assert_int_equal(db_survey_due(h.db, &now), 0);
	assert_int_equal(db_survey_put_off(h.db, now, due), 1);
	bucket.asked = 0;
	meta_tick();
	for (i = 0; i < 500; i++)
		pump();
	return bucket.asked > 0;
}

static void
test_due(void **state)
{
	const int64_t s = 1000000000;
	int64_t due;

	(void)state;
	fill_store();
	/* Never, but when it is asked for. */
	assert_false(begins(db_now() - s));
	assert_true(begins(SURVEY_ASKED));
	survey_every(7200);
	/* The first after the time, not at once. */
	assert_false(begins(SURVEY_UNSET));
	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_true(due > db_now() + 7190 * s && due <= db_now() + 7200 * s);
	assert_false(begins(db_now() + 60 * s));
	assert_true(begins(db_now() - s));
	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_true(due > db_now() + 7190 * s && due <= db_now() + 7200 * s);
	/* By a clock that was wrong. */
	assert_true(begins(db_now() + 7300 * s));
}

/* All objects in the order of their names, of however many families, and however
   few at a time; and one server alone puts off a survey. */
static void
test_order(void **state)
{
	uint8_t public[DB_ID_LEN] = { 0 }, salt[TREE_SALT_LEN] = { 5 };
	struct db_order at;
	struct db_object o[7], last;
	struct hash hash;
	int64_t family[9], due;
	int i, k, n, seen, max;

	(void)state;
	/* Backwards, and every third has none. */
	for (i = 8; i >= 0; i--) {
		public[0] = (uint8_t)(i * 31);
		assert_int_equal(db_family_add(h.db, public, salt, &family[i]),
		    0);
		for (k = 0; k < 11 && i % 3 != 0; k++) {
			n = i * 100 + k;
			hash_bytes(&hash, &n, sizeof(n));
			assert_int_equal(db_chunk_set(h.db, family[i], &hash, 9,
					     LOCATION_CONFIRMED),
			    0);
		}
	}
	for (max = 1; max <= 7; max++) {
		memset(&at, 0, sizeof(at));
		memset(&last, 0, sizeof(last));
		for (seen = 0; !at.end;) {
			n = db_objects_after(h.db, &at, o, max);
			assert_true(n >= 0 && n <= max);
			for (i = 0; i < n; i++, seen++) {
				k = memcmp(o[i].family_public,
				    last.family_public, DB_ID_LEN);
				assert_true(k > 0 ||
				    (k == 0 &&
					hash_cmp(&o[i].hash, &last.hash) > 0));
				last = o[i];
			}
		}
		assert_int_equal(seen, 66);
	}
	db_order_set(&at, &last);
	assert_int_equal(db_objects_after(h.db, &at, o, 7), 0);
	assert_int_equal(at.end, 1);

	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_int_equal(due, SURVEY_UNSET);
	assert_int_equal(db_survey_put_off(h.db, SURVEY_UNSET, 100), 1);
	assert_int_equal(db_survey_put_off(h.db, SURVEY_UNSET, 101), 0);
	assert_int_equal(db_store_survey(h.dir), 0);
	assert_int_equal(db_survey_due(h.db, &due), 0);
	assert_int_equal(due, SURVEY_ASKED);
	assert_int_equal(db_survey_put_off(h.db, 100, 101), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_found), T(test_unknown),
		T(test_lies), T(test_endless), T(test_strange), T(test_away),
		T(test_taken), T(test_due), T(test_order) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
