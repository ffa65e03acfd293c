/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The role sign: a hostile meta.  Of the bucket itself nothing is signed but a
 * page of its listing.
 */
#include "regress/fuzz/role.h"
#include "sailapid/roles.h"
#include "sailapid/sailapid_imsg.h"

static void
configure(struct chan *parent_end)
{
	struct s3_config c = { api_str("access"), api_str("secret"),
		api_str("us-east-1"), api_str("sail"), api_str("") };

	if (s3_config_send(parent_end, IMSG_PARENT_SIGN_CONFIG, &c) == -1)
		abort();
}

static void
heard(uint8_t peer, struct imsg *imsg)
{
	static const char bucket[] = "/sail?", list[] = "list-type=2&";
	struct api_str u[SIGN_URLS_MAX];
	uint16_t i, n = SIGN_URLS_MAX;
	struct ibuf body;
	const char *at;

	(void)peer;
	if (imsg_get_type(imsg) != IMSG_SIGN_META_URLS)
		return;
	if (imsg_get_ibuf(imsg, &body) == -1 ||
	    signed_urls_recv(&body, u, &n) == -1)
		abort();
	for (i = 0; i < n; i++) {
		if (u[i].len == 0 ||
		    (at = memmem(u[i].p, u[i].len, bucket, 6)) == NULL)
			continue;
		at += 6;
		fuzz_check((size_t)(u[i].p + u[i].len - at) > 12 &&
		    memcmp(at, list, 12) == 0);
	}
}

static const struct fuzz_role fuzz_role = {
	.def = &sign_role,
	.peers = { ROLE_META },
	.configure = configure,
	.heard = heard,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
