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

/* path NULL, or an optional file that is not there: an empty one. */
static int
send_file(struct chan *c, uint32_t type, const char *path, size_t max,
    int needed)
{
	int fd, saved;

	fd = path != NULL ? file_memfd(path, max) : memfd_new("file", NULL, 0);
	if (fd == -1 && !needed && errno == ENOENT)
		fd = memfd_new("file", NULL, 0);
	if (fd == -1) {
		log_warn("%s", path != NULL ? path : "memfd");
		return -1;
	}
	if (chan_send(c, type, 0, fd, NULL, 0) == -1) {
		saved = errno;
		log_warn("configuration of fetch");
		close(fd);
		errno = saved;
		return -1;
	}
	return 0;
}

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
	};
	int needed = conf->ca_file != NULL;

	if (fetch_settings_send(c, &s) == -1) {
		log_warn("configuration of fetch");
		return -1;
	}
	if (send_file(c, IMSG_PARENT_FETCH_CA,
		needed ? conf->ca_file : "/etc/ssl/certs/ca-certificates.crt",
		CA_MAX, needed) == -1 ||
	    send_file(c, IMSG_PARENT_FETCH_RESOLV, "/etc/resolv.conf",
		SMALL_MAX, 0) == -1 ||
	    send_file(c, IMSG_PARENT_FETCH_HOSTS, "/etc/hosts", SMALL_MAX, 0) ==
		-1)
		return -1;
	if (chan_send(c, IMSG_PARENT_FETCH_END, 0, -1, NULL, 0) == -1) {
		log_warn("configuration of fetch");
		return -1;
	}
	return 0;
}
