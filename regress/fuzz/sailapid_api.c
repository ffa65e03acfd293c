/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The role api: HTTP of any kind (0xe0: u16 length and bytes), and a hostile
 * meta and tls.
 */
#include "regress/fuzz/role.h"
#include "regress/fuzz/http.h"
#include "sailapid/roles.h"

static uint32_t asked[64];
static unsigned int nasked, nanswered;

static void
configure(struct chan *parent_end)
{
	struct api_config limits = { 100, 100, 30, 1, 16384, 100, 100, 1 << 20,
		1 << 20 };

	if (api_config_send(parent_end, IMSG_PARENT_API_CONFIG, &limits) == -1)
		abort();
}

static void
heard(uint8_t peer, struct imsg *imsg)
{
	struct api_request r;
	struct ibuf body;

	if (peer != ROLE_META)
		return;
	/* What api sends is what meta takes. */
	fuzz_check(imsg_get_ibuf(imsg, &body) == 0 &&
	    api_request_recv(&body, &r) == 0);
	if (nasked < 64)
		asked[nasked++] = imsg_get_id(imsg);
}

static void
meta_answers(void)
{
	struct api_response r = { .status = 200, .type = API_TYPE_JSON };

	r.body = api_str("{}");
	while (nanswered < nasked)
		(void)api_response_send(far_of(ROLE_META)->chan,
		    asked[nanswered++], &r, -1);
}

static void
client(struct fuzz_in *in)
{
	const uint8_t *p;
	char *answer;
	size_t len;

	p = fuzz_bytes(in, 65535, &len);
	answer = http_answer(http_connect(IMSG_TLS_API_CONNECTION, p, len),
	    meta_answers);
	free(answer);
}

static const struct fuzz_role fuzz_role = {
	.def = &api_role,
	.peers = { ROLE_META, ROLE_TLS },
	.configure = configure,
	.heard = heard,
	.other = client,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
