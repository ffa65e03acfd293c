/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A page of a bucket is read as stores write it, with any key that they have; what
 * is no such page is refused, in words, and nothing in it reaches for more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailvol-fetch/list.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define ROOT \
	"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
#define ALL "<IsTruncated>false</IsTruncated>"
#define END "</ListBucketResult>"
#define TIME "<LastModified>2026-11-29T17:00:00.000Z</LastModified>"
#define KEY(k)                                                         \
	"<Contents><Key>" k "</Key>" TIME "<ETag>&quot;x&quot;</ETag>" \
	"<Size>5</Size><Owner><ID>Key</ID></Owner></Contents>"

static struct list l;

static const char *
parse(const char *xml)
{
	return list_parse(&l, xml, strlen(xml));
}

static void
test_good(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	assert_null(parse(HEAD ROOT
	    "<Name>b</Name><Prefix></Prefix><KeyCount>3</KeyCount>" ALL KEY(
		"a&amp;b") KEY("a%+\xc3\xa9") KEY("b&#x9;") END));
	assert_int_equal(l.page.n, 3);
	assert_int_equal(l.page.more, 0);
	assert_int_equal(l.page.keys[0].len, 3);
	assert_memory_equal(l.page.keys[0].key, "a&b", 3);
	assert_int_equal(l.page.keys[1].len, 5);
	assert_memory_equal(l.page.keys[1].key, "a%+\xc3\xa9", 5);
	assert_true(l.page.keys[0].written_s == 1795971600);
	assert_int_equal(l.page.keys[0].bytes, 5);
	list_end(&l);

	/* Escaped, which may be said behind them. */
	assert_null(parse(ROOT KEY(
	    "a%2Fb+c%2B%00%C3%a9") "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>" END));
	assert_int_equal(l.page.more, 1);
	assert_int_equal(l.page.keys[0].len, 9);
	assert_memory_equal(l.page.keys[0].key, "a/b c+\0\xc3\xa9", 9);
	data = fetch_list_encode(&l.page, &len);
	assert_non_null(data);
	free(data);
	list_end(&l);
	assert_null(parse(ROOT ALL "</ListBucketResult>\n"));
	assert_int_equal(l.page.n, 0);
	list_end(&l);
}

static void
test_hostile(void **state)
{
	static const struct {
		const char *xml, *why;
	} t[] = {
		{ "", "no XML" },
		{ "{}", "no XML" },
		{ ROOT ALL, "no XML" },
		{ ROOT ALL END "x", "no XML" },
		{ ROOT ALL KEY("\xff") END, "no XML" },
		{ ROOT ALL KEY("&e;") END, "no XML" },
		{ ROOT KEY("a") END, "whether it is all" },
		{ "<Error><Code>x</Code></Error>", "no listing" },
		{ "<!DOCTYPE x [<!ENTITY e \"eee\">]>" ROOT ALL KEY("&e;") END,
		    "DOCTYPE" },
		{ "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">" ROOT ALL END,
		    "DOCTYPE" },
		{ ROOT "<IsTruncated>maybe</IsTruncated>" END, "IsTruncated" },
		{ ROOT ALL ALL END, "twice" },
		{ ROOT ALL "<EncodingType>x</EncodingType>" END,
		    "EncodingType" },
		{ ROOT ALL "<Contents><Key>a</Key>" TIME "</Contents>" END,
		    "lacks" },
		{ ROOT ALL "<Contents/>" END, "lacks" },
		{ ROOT ALL "<Contents><Key>a</Key><Key>b</Key></Contents>" END,
		    "twice" },
		{ ROOT ALL "<Contents><Key><b>a</b></Key></Contents>" END,
		    "nested" },
		{ ROOT ALL "<Contents><Size>-1</Size></Contents>" END, "Size" },
		{ ROOT ALL "<Contents><Size>9999999999999999999</Size>"
			   "</Contents>" END,
		    "Size" },
		{ ROOT ALL "<Contents><Size>1x</Size></Contents>" END, "Size" },
		{ ROOT ALL "<Contents><LastModified>yesterday</LastModified>"
			   "</Contents>" END,
		    "LastModified" },
		{ ROOT ALL "<Contents><LastModified>2026-99-99T99:99:99Z"
			   "</LastModified></Contents>" END,
		    "LastModified" },
		{ ROOT ALL KEY("a%2") "<EncodingType>url</EncodingType>" END,
		    "malformed" },
		{ ROOT ALL KEY("%GG") "<EncodingType>url</EncodingType>" END,
		    "malformed" },
		{ ROOT ALL
		    "<a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a>" END,
		    "nested" },
	};
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		why = parse(t[i].xml);
		if (why == NULL || strstr(why, t[i].why) == NULL)
			fail_msg("%s: %s", t[i].xml, why == NULL ? "" : why);
		list_end(&l);
	}
}

/* Keys of a length, so many, in the order of their numbers. */
static const char *
many(int n, int len, const char *more, int step)
{
	static char *xml;
	size_t size = 1000 + (size_t)n * ((size_t)len + 200);
	size_t at;
	const char *why;
	int i;

	free(xml);
	xml = malloc(size);
	assert_non_null(xml);
	at = (size_t)snprintf(xml, size, "%s<IsTruncated>%s</IsTruncated>",
	    ROOT, more);
	for (i = 0; i < n; i++)
		at += (size_t)snprintf(xml + at, size - at,
		    "<Contents><Key>%0*d</Key>%s<Size>1</Size></Contents>", len,
		    step < 0        ? n - i
			: step == 0 ? 1
				    : i,
		    TIME);
	snprintf(xml + at, size - at, "%s", END);
	why = parse(xml);
	free(xml);
	xml = NULL;
	return why;
}

static void
test_bounds(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	assert_null(many(1000, 1024, "true", 1));
	data = fetch_list_encode(&l.page, &len);
	assert_non_null(data);
	assert_true(len <= FETCH_LIST_PAGE_MAX);
	free(data);
	list_end(&l);
	assert_non_null(many(1001, 10, "false", 1));
	list_end(&l);
	assert_non_null(many(1, 3073, "false", 1));
	list_end(&l);
	/* Its text is no longer than an escaped one, but its key is. */
	assert_null(many(1, 1025, "false", 1));
	assert_null(fetch_list_encode(&l.page, &len));
	list_end(&l);
	assert_null(many(2, 10, "false", 0));
	assert_null(fetch_list_encode(&l.page, &len));
	list_end(&l);
	assert_null(many(2, 10, "false", -1));
	assert_null(fetch_list_encode(&l.page, &len));
	list_end(&l);
	/* There is more behind nothing. */
	assert_null(many(0, 0, "true", 1));
	assert_null(fetch_list_encode(&l.page, &len));
	list_end(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
