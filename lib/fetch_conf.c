/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_conf: hands a sailvol-fetch(8) its settings and the files that it
 * will not be able to open.  In its parents.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"

#define CA_MAX (8 * 1024 * 1024)
#define SMALL_MAX (1024 * 1024)

/* The bytes of a file as a memfd; -1 and errno. */
static int
file_memfd(const char *path, size_t max)
{
	struct stat st;
	uint8_t *data = NULL;
	size_t len = 0;
	ssize_t n;
	int fd, out = -1, saved;

	/* Not blocked by a fifo that somebody put there. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1)
		return -1;
	if (fstat(fd, &st) == -1)
		goto end;
	if (!S_ISREG(st.st_mode) || (uintmax_t)st.st_size > max) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		goto end;
	}
	if ((data = malloc((size_t)st.st_size + 1)) == NULL)
		goto end;
	while (len < (size_t)st.st_size) {
		n = read(fd, data + len, (size_t)st.st_size - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			goto end;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	out = memfd_new("file", data, len);
end:
	saved = errno;
	free(data);
	close(fd);
	errno = saved;
	return out;
}

/* One that a sailvol-fetch(8) has from us. */
struct handed {
	uint32_t type;
	const char *path; /* NULL: an empty one */
	size_t max;
	int needed; /* else one that is not there is an empty one */
	int fd;
};
#define NFILES 3

static int
handed_open(struct handed *h)
{
	h->fd = h->path != NULL ? file_memfd(h->path, h->max)
				: memfd_new("file", NULL, 0);
	if (h->fd == -1 && !h->needed && errno == ENOENT)
		h->fd = memfd_new("file", NULL, 0);
	if (h->fd == -1)
		log_warn("%s", h->path != NULL ? h->path : "memfd");
	return h->fd == -1 ? -1 : 0;
}

static int
handed_send(struct chan *c, struct handed *h)
{
	if (chan_send(c, h->type, 0, h->fd, NULL, 0) == -1)
		return -1;
	h->fd = -1;
	return 0;
}

int
fetch_ca_check(const char *path)
{
	struct handed h = { 0, path, CA_MAX, 1, -1 };

	if (path == NULL)
		return 0;
	if (handed_open(&h) == -1)
		return -1;
	close(h.fd);
	return 0;
}

/* Nothing is sent before all is there. */
int
fetch_configure(struct chan *c, const struct fetch_config *conf)
{
	const char *url = conf->api_url != NULL ? conf->api_url : "";
	const char *key = conf->key != NULL ? conf->key : "";
	struct fetch_settings s = {
		.url = url,
		.url_len = strlen(url),
		.key = key,
		.key_len = strlen(key),
		.concurrency = conf->concurrency,
		.deadline_ms = conf->deadline_ms,
		.memory = conf->memory,
	};
	int needed = conf->ca_file != NULL;
	struct handed files[NFILES] = {
		{ IMSG_PARENT_FETCH_CA,
		    needed ? conf->ca_file
			   : "/etc/ssl/certs/ca-certificates.crt",
		    CA_MAX, needed, -1 },
		{ IMSG_PARENT_FETCH_RESOLV, "/etc/resolv.conf", SMALL_MAX, 0,
		    -1 },
		{ IMSG_PARENT_FETCH_HOSTS, "/etc/hosts", SMALL_MAX, 0, -1 },
	};
	int rc = -1;
	size_t i;

	for (i = 0; i < NFILES; i++)
		if (handed_open(&files[i]) == -1)
			goto end;
	if (fetch_settings_send(c, &s) == -1)
		goto fail;
	for (i = 0; i < NFILES; i++)
		if (handed_send(c, &files[i]) == -1)
			goto fail;
	if (chan_send(c, IMSG_PARENT_FETCH_END, 0, -1, NULL, 0) == 0) {
		rc = 0;
		goto end;
	}
fail:
	log_warn("configuration of fetch");
end:
	for (i = 0; i < NFILES; i++)
		if (files[i].fd != -1)
			close(files[i].fd);
	return rc;
}
