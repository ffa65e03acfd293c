/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* The role sign: a hostile meta. */
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

static const struct fuzz_role fuzz_role = {
	.def = &sign_role,
	.peers = { ROLE_META },
	.configure = configure,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
