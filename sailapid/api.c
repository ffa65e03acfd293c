/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: the role of sailapid(8) that speaks HTTP with the clients of the API
 * and passes their requests to meta.  It knows no secret and decides nothing.
 */
#include <errno.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/api.h"
#include "sailapid/config.h"
#include "sailapid/roles.h"

#define MEMORY (64 * 1024) /* of a connection: more headers are refused */
#define META_QUEUE_MAX 4096

struct api_config api_limits;
static int listen_fds[CONFIG_LISTEN_MAX], nlisten, have_config;

static int
call_cmp(const struct api_call *a, const struct api_call *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_HEAD(api_calls, api_call);
RB_PROTOTYPE(api_calls, api_call, entry, call_cmp);
RB_GENERATE(api_calls, api_call, entry, call_cmp)
static struct api_calls waiting = RB_INITIALIZER(&waiting);
static uint32_t last_id;

int
api_ask(struct api_call *call, uint8_t method, const char *target)
{
	struct chan *meta = role_peer_any(ROLE_META);
	struct api_request r = { .method = method };
	char peer[API_PEER_MAX];

	if (meta == NULL || chan_queued(meta) > META_QUEUE_MAX)
		return -1;
	httpd_peer(call->conn, peer, sizeof(peer));
	r.target = api_str(target);
	r.host = api_str(call->host);
	r.authorization = api_str(call->authorization);
	r.peer = api_str(peer);
	/* Connections are far fewer than numbers. */
	do
		call->id = ++last_id;
	while (RB_FIND(api_calls, &waiting, call) != NULL);
	if (api_request_send(meta, call->id, &r, call->body_fd) == -1) {
		log_warn("request to meta");
		return -1;
	}
	call->body_fd = -1;
	RB_INSERT(api_calls, &waiting, call);
	return 0;
}

void
api_forget(struct api_call *call)
{
	if (call->stage == API_WAITING)
		RB_REMOVE(api_calls, &waiting, call);
}

static int
on_response(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct api_call key = { .id = id }, *call;
	struct api_response r;

	(void)c;
	if (api_response_recv(body, &r) == -1)
		return -1;
	/* One that meta's predecessor was asked has been answered already. */
	if ((call = RB_FIND(api_calls, &waiting, &key)) == NULL)
		return 0;
	RB_REMOVE(api_calls, &waiting, call);
	api_answer(call, &r, imsg_get_fd(imsg));
	return 0;
}

/* What it did not answer, nobody will. */
static void
peer_down(struct chan *c)
{
	struct api_call *call;

	(void)c;
	while ((call = RB_MIN(api_calls, &waiting)) != NULL) {
		RB_REMOVE(api_calls, &waiting, call);
		api_unavailable(call);
	}
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (api_config_recv(body, &api_limits) == -1)
		return -1;
	have_config = 1;
	return 0;
}

static int
on_listen(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	if (nlisten == CONFIG_LISTEN_MAX || have_config)
		return -1;
	listen_fds[nlisten++] = imsg_get_fd(imsg);
	return 0;
}

/* The sockets come first. */
static int
configured(void)
{
	return have_config && nlisten > 0;
}

static int
prepare(void)
{
	httpd_prepare();
	return 0;
}

static int
start(void)
{
	struct httpd_conf conf = { api_limits.max_connections,
		api_limits.per_peer, api_limits.idle_s, MEMORY, api_begin,
		api_handle, api_end };
	int i;

	for (i = 0; i < nlisten; i++)
		if (httpd_new(listen_fds[i], &conf) == NULL)
			return -1;
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_API_CONFIG, ROLE_PARENT, CHAN_NOFD, 20, 20, on_config,
	    "config" },
	{ IMSG_PARENT_API_LISTEN, ROLE_PARENT, CHAN_FD, 0, 0, on_listen,
	    "listen" },
	{ IMSG_META_API_RESPONSE, ROLE_META, CHAN_MAYFD, 8, PROC_MAX_BODY,
	    on_response, "response" },
};

const struct role_def api_role = {
	.role = ROLE_API,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
	.peer_down = peer_down,
};
