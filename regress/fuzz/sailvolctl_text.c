/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What sailvolctl reads: what people type, the kernel's list of mounts, options
 * of mount(8), and files as a difference.  The first byte says which.
 */
#include "regress/fuzz/fuzz.h"
#include "sailvolctl/mount_helper.h"
#include "sailvolctl/mountinfo.h"
#include "sailvolctl/patch.h"
#include "sailvolctl/volpath.h"

static void
typed(char *s)
{
	struct failure f;
	struct volpath v;

	memset(&f, 0, sizeof(f));
	if (volpath_parse(&v, s, &f) == 0) {
		fuzz_check(path_problem(v.path, v.len) == NULL);
		fuzz_check(
		    volume_name_problem(v.volume, strlen(v.volume)) == NULL);
	}
	volpath_free(&v);
}

static void
mounts(char *s)
{
	struct mountinfo m;

	if (mountinfo_parse(s, &m) == 0)
		mountinfo_free(&m);
}

static void
options(char *s)
{
	struct mount_options o;
	char why[128];

	memset(&o, 0, sizeof(o));
	(void)mount_options_parse(&o, s, s[0] & 1, why, sizeof(why));
}

/* Two states of a file, with a new page between. */
static void
states(char *s)
{
	char *cut = strchr(s, '\f'), *text;
	struct version was = { NULL, 0 }, now = { NULL, 0 };
	size_t len;

	was.len = cut != NULL ? (size_t)(cut - s) : strlen(s);
	was.data = fuzz_copy((uint8_t *)s, was.len);
	if (cut != NULL) {
		now.len = strlen(cut + 1);
		now.data = fuzz_copy((uint8_t *)cut + 1, now.len);
	}
	text = patch_make("a\nb", 3, &was, &now, &len);
	fuzz_check(text != NULL);
	free(text);
	free(was.data);
	free(now.data);
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	static void (*const f[])(char *) = { typed, mounts, options, states };
	char *s;

	if (len == 0)
		return;
	s = fuzz_string(p + 1, len - 1);
	f[p[0] % (sizeof(f) / sizeof(f[0]))](s);
	free(s);
}
