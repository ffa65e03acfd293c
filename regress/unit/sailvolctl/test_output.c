/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: ids go alone to standard output, words elsewhere; -j is one object;
 * names come back as they were; a terminal gets no control characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/mountinfo.h"
#include "sailvolctl/names.h"
#include "sailvolctl/output.h"
#include "sailvolctl/progress.h"

static char said[8192];

/* What f writes to standard output. */
static void
caught(const struct output *out, const char *words, const char *json)
{
	struct invocation inv = { .out = out };
	json_t *j = json_loads(json, 0, NULL);
	FILE *tmp = tmpfile();
	int saved;
	size_t n, i;

	assert_non_null(j);
	assert_non_null(tmp);
	for (i = 0; i < ncommands; i++)
		if (strcmp(commands[i].words[0], words) == 0)
			inv.command = &commands[i];
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	assert_true(saved != -1);
	assert_true(dup2(fileno(tmp), STDOUT_FILENO) != -1);
	out->result(&inv, j);
	fflush(stdout);
	assert_true(dup2(saved, STDOUT_FILENO) != -1);
	close(saved);
	rewind(tmp);
	n = fread(said, 1, sizeof(said) - 1, tmp);
	said[n] = '\0';
	fclose(tmp);
	json_decref(j);
}

static void
test_ids(void **state)
{
	(void)state;
	caught(&output_text, "commit",
	    "{\"commit\":\"abc\",\"changed\":true,"
	    "\"overwritten\":{\"count\":1,\"paths\":[{\"b64\":\"/w==\"}]},"
	    "\"left_dirty\":[\"x\"],\"not_kept\":[\"s\"]}");
	assert_string_equal(said, "abc\n");
	caught(&output_text, "reload",
	    "{\"commit\":\"abc\",\"stash\":{\"id\":3,"
	    "\"files\":2},\"open_writers\":1}");
	assert_string_equal(said, "abc\n");
	caught(&output_text, "mount", "{\"path\":\"/x\",\"warning\":\"w\"}");
	assert_string_equal(said, "");
	caught(&output_text, "umount", "{\"path\":\"/x\",\"commit\":\"c\"}");
	assert_string_equal(said, "");
	caught(&output_json, "commit", "{\"commit\":\"abc\",\"n\":1}");
	assert_string_equal(said, "{\"commit\":\"abc\",\"n\":1}\n");
	/* What is missing or of another type does no harm. */
	caught(&output_text, "status", "{\"mounts\":[{}, 7, {\"path\":1}]}");
	caught(&output_text, "log", "{\"commits\":[{\"id\":7}]}");
	caught(&output_text, "commit", "{\"overwritten\":7}");
}

static void
test_failures(void **state)
{
	struct failure f = { .whole = NULL };
	json_t *j = json_pack("{s:{s:s, s:s, s:s}}", "error", "message", "m",
	    "type", "refused", "code", "c");

	(void)state;
	assert_int_equal(failure_from_json(&f, j), 0);
	assert_int_equal(failure_status(&f), EXIT_REFUSED);
	failure_clear(&f);
	json_decref(j);
	j = json_pack("{s:i}", "error", 7);
	assert_int_equal(failure_from_json(&f, j), -1);
	json_decref(j);
	failure_set(&f, "conflict", "c", "%s", "words");
	assert_int_equal(failure_status(&f), EXIT_FAILED);
	failure_clear(&f);
}

/* A message that is too long keeps its end, and whole characters. */
static void
test_long_failure(void **state)
{
	struct failure f = { .whole = NULL };
	char path[3 * 1024 + 1];
	size_t begin, i, len;

	(void)state;
	for (begin = 0; begin < 3; begin++) {
		for (i = 0; i < sizeof(path) - 1; i++)
			path[i] = "\xe2\x82\xac"[(i + begin) % 3];
		path[sizeof(path) - 1 - begin] = '\0';
		failure_set(&f, "", "c", "%s: too long", path + 3 - begin);
		len = strlen(f.message);
		assert_in_range(len, sizeof(f.message) - 8,
		    sizeof(f.message) - 1);
		assert_true(utf8_valid(f.message, len));
		assert_non_null(strstr(f.message, " ... "));
		assert_string_equal(f.message + len - 10, ": too long");
	}
	failure_clear(&f);
}

static void
test_names(void **state)
{
	unsigned int seed = 1, i, n;
	uint8_t name[64];
	char *back, *shown;
	size_t len;
	json_t *j;

	(void)state;
	for (i = 0; i < 2000; i++) {
		for (n = 0; n < i % 64; n++)
			name[n] = (uint8_t)(rand_r(&seed) >> 7);
		j = json_name(name, n);
		assert_non_null(j);
		back = json_name_get(j, &len);
		assert_non_null(back);
		assert_int_equal(len, n);
		assert_memory_equal(back, name, n);
		free(back);
		json_decref(j);
		shown = name_vis(name, n);
		assert_non_null(shown);
		for (len = 0; shown[len] != '\0'; len++)
			assert_true((unsigned char)shown[len] >= 0x20 &&
			    shown[len] != 0x7f);
		free(shown);
	}
	shown = name_vis("gr\xc3\xbcn", 5);
	assert_string_equal(shown, "gr\xc3\xbcn");
	free(shown);
	shown = name_vis("a\033[2J", 5);
	assert_null(strchr(shown, '\033'));
	free(shown);
}

static void
test_bad_base64(void **state)
{
	static const char *const texts[] = { "a", "ab", "abc",
		"a===", "====", "ab=c", "ab==", "abc=abcd", "ab!d", "ab\n=" };
	json_t *j;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		j = json_pack("{s:s}", "b64", texts[i]);
		assert_null(json_name_get(j, &len));
		assert_int_equal(errno, EBADMSG);
		json_decref(j);
	}
	j = json_integer(7);
	assert_null(json_name_get(j, &len));
	json_decref(j);
}

static void
test_progress(void **state)
{
	json_t *j = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i}",
	    "phase", "upload", "files", 3, "files_total", 4, "bytes", 1048576,
	    "bytes_total", 2097152, "skipped", 1024, "bytes_per_s", 8192,
	    "seconds_left", 128);
	char line[512];
	int width;

	(void)state;
	progress_line(j, 200, line, sizeof(line));
	assert_non_null(strstr(line, "1.0 MiB of 2.0 MiB"));
	assert_non_null(strstr(line, "3 of 4 files, 1.0 KiB skipped"));
	assert_non_null(strstr(line, "upload 50% ["));
	assert_non_null(strstr(line, "2:08 left, 8.0 KiB/s"));
	json_object_set_new(j, "seconds_left", json_null());
	progress_line(j, 200, line, sizeof(line));
	assert_null(strstr(line, "left"));
	json_object_set_new(j, "seconds_left", json_integer(128));
	for (width = 1; width < 120; width++) {
		progress_line(j, width, line, sizeof(line));
		assert_true(strlen(line) < (size_t)width);
	}
	/* What does not fit is left out whole, the least telling first. */
	progress_line(j, 12, line, sizeof(line));
	assert_string_equal(line, "upload 50%");
	progress_line(j, 45, line, sizeof(line));
	assert_string_equal(line, "upload 50% 1.0 MiB of 2.0 MiB, 2:08 left");
	json_object_set_new(j, "bytes", json_integer(0));
	json_object_set_new(j, "hashed", json_integer(524288));
	progress_line(j, 30, line, sizeof(line));
	assert_string_equal(line, "upload 25%, 2:08 left");
	progress_line(j, 40, line, sizeof(line));
	assert_string_equal(line, "upload 25% 512.0 KiB of 2.0 MiB");
	json_object_set_new(j, "phase", json_string("\033[2Jevil"));
	progress_line(j, 80, line, sizeof(line));
	assert_null(strchr(line, '\033'));
	json_decref(j);
	bytes_text(UINT64_MAX, line, sizeof(line));
	bytes_text(1023, line, sizeof(line));
	assert_string_equal(line, "1023 B");
}

static void
test_mountinfo(void **state)
{
	static const char *const wrong[] = { "", "x", "7", "x 1 0:1 / /m - t s",
		"7 1 0:1 / /m rw", "7 1 0:1 / /m rw -", "7 1 0:1 / /m rw - t" };
	struct mountinfo mi;
	size_t i;

	(void)state;
	assert_int_equal(
	    mountinfo_parse(
		"49 26 0:43 /sub /work/a\\040b\\134c "
		"rw,nosuid shared:7 - fuse.sailvol demo rw,user_id=0\n",
		&mi),
	    0);
	assert_int_equal(mi.id, 49);
	assert_string_equal(mi.root, "/sub");
	assert_string_equal(mi.point, "/work/a b\\c");
	assert_string_equal(mi.type, MOUNTINFO_TYPE);
	assert_string_equal(mi.source, "demo");
	mountinfo_free(&mi);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(mountinfo_parse(wrong[i], &mi), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_long_failure),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_base64),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_mountinfo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
