/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: the role of sailapid(8) that speaks HTTP with the clients of the API
 * and passes their requests to meta.  It knows no secret and decides nothing.
 */
#include <errno.h>
#include <event.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/api.h"
#include "sailapid/config.h"
#include "sailapid/roles.h"

struct api_config api_limits;
static int listen_fds[CONFIG_LISTEN_MAX], nlisten, have_config;
static int metrics_fd = -1;
/* Of all sockets, and of tls. */
static struct httpd *plain, *from_tls;
static struct event late;

static int
on_response(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct api_call *call;
	struct api_response r;

	(void)c;
	if (api_response_recv(body, &r) == -1)
		return -1;
	if (id & API_ID_METRICS) {
		metrics_answer(id, &r, imsg_get_fd(imsg));
		return 0;
	}
	/* Its client may have gone; and one that meta's predecessor was asked
	   has been answered already. */
	if ((call = api_answered(id)) != NULL)
		api_answer(call, &r, imsg_get_fd(imsg));
	api_turn();
	return 0;
}

/* What meta did not answer, nobody will. */
static void
peer_down(struct chan *c)
{
	if (chan_role(c) == ROLE_META) {
		api_meta_down();
		metrics_meta_down();
	}
}

void
api_connections(struct httpd_counts *out)
{
	httpd_count(plain, out);
	httpd_count(from_tls, out);
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

static int
on_metrics(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	if (metrics_fd != -1 || have_config)
		return -1;
	metrics_fd = imsg_get_fd(imsg);
	return 0;
}

static int
on_connection(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct sockaddr_storage ss;
	struct tls_client client;
	socklen_t len;

	(void)c;
	(void)id;
	if (tls_client_recv(body, &client) == -1)
		return -1;
	len = tls_client_address(&client, &ss);
	httpd_add(from_tls, imsg_get_fd(imsg), (const struct sockaddr *)&ss,
	    len);
	return 0;
}

/* The sockets come first; there may be none but those of tls. */
static int
configured(void)
{
	return have_config;
}

static int
prepare(void)
{
	httpd_prepare();
	return 0;
}

static void
look_late(int fd, short what, void *arg)
{
	struct timeval tv = { API_LATE_MS / 1000, 0 };

	(void)fd;
	(void)what;
	(void)arg;
	api_turn_late();
	evtimer_add(&late, &tv);
}

static int
start(void)
{
	struct timeval tv = { API_LATE_MS / 1000, 0 };
	struct httpd_conf conf = { 0, api_limits.max_connections,
		api_limits.per_peer, api_limits.idle_s, api_limits.rate,
		api_limits.header_size, api_begin, api_handle, api_end,
		api_drop };
	int i;

	if ((plain = httpd_new(-1, &conf)) == NULL)
		return -1;
	for (i = 0; i < nlisten; i++)
		if (httpd_listen(plain, listen_fds[i]) == -1)
			return -1;
	conf.tls = 1;
	if ((from_tls = httpd_new(-1, &conf)) == NULL)
		return -1;
	evtimer_set(&late, look_late, NULL);
	if (evtimer_add(&late, &tv) == -1)
		return -1;
	return metrics_start(metrics_fd);
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_API_CONFIG, ROLE_PARENT, CHAN_NOFD, API_CONFIG_LEN,
	    API_CONFIG_LEN, on_config, "config" },
	{ IMSG_PARENT_API_LISTEN, ROLE_PARENT, CHAN_FD, 0, 0, on_listen,
	    "listen" },
	{ IMSG_PARENT_API_METRICS, ROLE_PARENT, CHAN_FD, 0, 0, on_metrics,
	    "metrics" },
	{ IMSG_TLS_API_CONNECTION, ROLE_TLS, CHAN_FD, TLS_CLIENT_LEN,
	    TLS_CLIENT_LEN, on_connection, "connection" },
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
