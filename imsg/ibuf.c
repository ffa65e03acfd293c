/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Buffers with bounds: appended to at one end, read at the other.  Used by
 * every process to make messages and files and to take them apart.
 */

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imsg/imsg.h"

/* Place for len more bytes at wpos, or -1 with errno. */
static int
grow(struct ibuf *buf, size_t len)
{
	unsigned char *p;
	size_t need, size;

	if (buf->view) {
		errno = EINVAL;
		return -1;
	}
	if (len > buf->max - buf->wpos) {
		errno = ERANGE;
		return -1;
	}
	need = buf->wpos + len;
	if (need <= buf->size)
		return 0;
	size = buf->size > buf->max / 2 ? buf->max : buf->size * 2;
	if (size < need)
		size = need;
	/* The old memory is wiped, the new is zero. */
	p = recallocarray(buf->buf, buf->size, size, 1);
	if (p == NULL)
		return -1;
	buf->buf = p;
	buf->size = size;
	return 0;
}

static struct ibuf *
ibuf_new(size_t len, size_t max)
{
	struct ibuf *buf;

	if ((buf = calloc(1, sizeof(*buf))) == NULL)
		return NULL;
	buf->fd = -1;
	/* One byte at least, so that there always is an address. */
	if ((buf->buf = calloc(1, len > 0 ? len : 1)) == NULL) {
		free(buf);
		return NULL;
	}
	buf->size = len;
	buf->max = max;
	return buf;
}

struct ibuf *
ibuf_open(size_t len)
{
	return ibuf_new(len, len);
}

struct ibuf *
ibuf_dynamic(size_t len, size_t max)
{
	if (max == 0 || len > max) {
		errno = EINVAL;
		return NULL;
	}
	return ibuf_new(len, max);
}

void
ibuf_from_buffer(struct ibuf *view, const void *data, size_t len)
{
	memset(view, 0, sizeof(*view));
	/* Nothing writes through a view: grow and ibuf_set refuse it. */
	view->buf = (unsigned char *)(uintptr_t)data;
	view->size = view->wpos = view->max = len;
	view->fd = -1;
	view->view = 1;
}

void
ibuf_from_ibuf(struct ibuf *view, const struct ibuf *from)
{
	ibuf_from_buffer(view, ibuf_data(from), ibuf_size(from));
}

void
ibuf_free(struct ibuf *buf)
{
	int save_errno = errno;

	if (buf == NULL || buf->view)
		return;
	if (buf->fd != -1)
		close(buf->fd);
	freezero(buf->buf, buf->size);
	freezero(buf, sizeof(*buf));
	errno = save_errno;
}

void *
ibuf_reserve(struct ibuf *buf, size_t len)
{
	unsigned char *p;

	if (grow(buf, len) == -1)
		return NULL;
	p = buf->buf + buf->wpos;
	memset(p, 0, len);
	buf->wpos += len;
	return p;
}

int
ibuf_add(struct ibuf *buf, const void *data, size_t len)
{
	if (data == NULL && len > 0) {
		errno = EINVAL;
		return -1;
	}
	if (grow(buf, len) == -1)
		return -1;
	if (len > 0)
		memcpy(buf->buf + buf->wpos, data, len);
	buf->wpos += len;
	return 0;
}

int
ibuf_add_ibuf(struct ibuf *buf, const struct ibuf *from)
{
	/* The bytes would move away while they are copied. */
	if (from == buf) {
		errno = EINVAL;
		return -1;
	}
	return ibuf_add(buf, ibuf_data(from), ibuf_size(from));
}

int
ibuf_add_zero(struct ibuf *buf, size_t len)
{
	return ibuf_reserve(buf, len) == NULL ? -1 : 0;
}

static int
fits(uint64_t value, uint64_t max)
{
	if (value > max) {
		errno = EINVAL;
		return 0;
	}
	return 1;
}

int
ibuf_add_n8(struct ibuf *buf, uint64_t value)
{
	uint8_t v = (uint8_t)value;

	return fits(value, UINT8_MAX) ? ibuf_add(buf, &v, sizeof(v)) : -1;
}

int
ibuf_add_n16(struct ibuf *buf, uint64_t value)
{
	uint16_t v = htobe16((uint16_t)value);

	return fits(value, UINT16_MAX) ? ibuf_add(buf, &v, sizeof(v)) : -1;
}

int
ibuf_add_n32(struct ibuf *buf, uint64_t value)
{
	uint32_t v = htobe32((uint32_t)value);

	return fits(value, UINT32_MAX) ? ibuf_add(buf, &v, sizeof(v)) : -1;
}

int
ibuf_add_n64(struct ibuf *buf, uint64_t value)
{
	uint64_t v = htobe64(value);

	return ibuf_add(buf, &v, sizeof(v));
}

int
ibuf_add_h16(struct ibuf *buf, uint64_t value)
{
	uint16_t v = (uint16_t)value;

	return fits(value, UINT16_MAX) ? ibuf_add(buf, &v, sizeof(v)) : -1;
}

int
ibuf_add_h32(struct ibuf *buf, uint64_t value)
{
	uint32_t v = (uint32_t)value;

	return fits(value, UINT32_MAX) ? ibuf_add(buf, &v, sizeof(v)) : -1;
}

int
ibuf_add_h64(struct ibuf *buf, uint64_t value)
{
	return ibuf_add(buf, &value, sizeof(value));
}

int
ibuf_add_strbuf(struct ibuf *buf, const char *str, size_t len)
{
	size_t n = strnlen(str, len);
	char *p;

	if (n == len) {
		errno = EOVERFLOW;
		return -1;
	}
	if ((p = ibuf_reserve(buf, len)) == NULL)
		return -1;
	memcpy(p, str, n);
	return 0;
}

void *
ibuf_seek(struct ibuf *buf, size_t pos, size_t len)
{
	size_t size = ibuf_size(buf);

	if (pos > size || len > size - pos) {
		errno = ERANGE;
		return NULL;
	}
	return buf->buf + buf->rpos + pos;
}

int
ibuf_set(struct ibuf *buf, size_t pos, const void *data, size_t len)
{
	void *p;

	if (buf->view || (data == NULL && len > 0)) {
		errno = EINVAL;
		return -1;
	}
	if ((p = ibuf_seek(buf, pos, len)) == NULL)
		return -1;
	if (len > 0)
		memcpy(p, data, len);
	return 0;
}

int
ibuf_truncate(struct ibuf *buf, size_t len)
{
	size_t size = ibuf_size(buf);

	if (len <= size) {
		buf->wpos = buf->rpos + len;
		return 0;
	}
	if (buf->view) {
		errno = ERANGE;
		return -1;
	}
	return ibuf_add_zero(buf, len - size);
}

int
ibuf_skip(struct ibuf *buf, size_t len)
{
	if (len > ibuf_size(buf)) {
		errno = EBADMSG;
		return -1;
	}
	buf->rpos += len;
	return 0;
}

void
ibuf_rewind(struct ibuf *buf)
{
	buf->rpos = 0;
}

int
ibuf_get(struct ibuf *buf, void *data, size_t len)
{
	const void *p = ibuf_data(buf);

	if (ibuf_skip(buf, len) == -1)
		return -1;
	if (len > 0)
		memcpy(data, p, len);
	return 0;
}

int
ibuf_get_ibuf(struct ibuf *buf, size_t len, struct ibuf *view)
{
	const void *p = ibuf_data(buf);

	if (ibuf_skip(buf, len) == -1)
		return -1;
	ibuf_from_buffer(view, p, len);
	return 0;
}

int
ibuf_get_n8(struct ibuf *buf, uint8_t *value)
{
	return ibuf_get(buf, value, sizeof(*value));
}

int
ibuf_get_n16(struct ibuf *buf, uint16_t *value)
{
	if (ibuf_get(buf, value, sizeof(*value)) == -1)
		return -1;
	*value = be16toh(*value);
	return 0;
}

int
ibuf_get_n32(struct ibuf *buf, uint32_t *value)
{
	if (ibuf_get(buf, value, sizeof(*value)) == -1)
		return -1;
	*value = be32toh(*value);
	return 0;
}

int
ibuf_get_n64(struct ibuf *buf, uint64_t *value)
{
	if (ibuf_get(buf, value, sizeof(*value)) == -1)
		return -1;
	*value = be64toh(*value);
	return 0;
}

int
ibuf_get_h16(struct ibuf *buf, uint16_t *value)
{
	return ibuf_get(buf, value, sizeof(*value));
}

int
ibuf_get_h32(struct ibuf *buf, uint32_t *value)
{
	return ibuf_get(buf, value, sizeof(*value));
}

int
ibuf_get_h64(struct ibuf *buf, uint64_t *value)
{
	return ibuf_get(buf, value, sizeof(*value));
}

char *
ibuf_get_string(struct ibuf *buf, size_t len)
{
	const char *p = ibuf_data(buf);
	char *str;

	/* A shorter string than announced would have two encodings. */
	if (len > ibuf_size(buf) || (len > 0 && memchr(p, '\0', len))) {
		errno = EBADMSG;
		return NULL;
	}
	if ((str = malloc(len + 1)) == NULL)
		return NULL;
	if (len > 0)
		memcpy(str, p, len);
	str[len] = '\0';
	buf->rpos += len;
	return str;
}

int
ibuf_get_strbuf(struct ibuf *buf, char *str, size_t len)
{
	size_t n;

	if (len == 0) {
		errno = EINVAL;
		return -1;
	}
	if (ibuf_get(buf, str, len) == -1)
		return -1;
	n = strnlen(str, len);
	if (n == len) {
		str[len - 1] = '\0';
		errno = EOVERFLOW;
		return -1;
	}
	memset(str + n, 0, len - n);
	return 0;
}

void *
ibuf_data(const struct ibuf *buf)
{
	return buf->buf == NULL ? NULL : buf->buf + buf->rpos;
}

size_t
ibuf_size(const struct ibuf *buf)
{
	return buf->wpos - buf->rpos;
}

size_t
ibuf_left(const struct ibuf *buf)
{
	return buf->view ? 0 : buf->max - buf->wpos;
}

int
ibuf_fd_set(struct ibuf *buf, int fd)
{
	if (buf->view || fd < -1) {
		errno = EINVAL;
		return -1;
	}
	if (buf->fd != -1)
		close(buf->fd);
	buf->fd = fd;
	return 0;
}

int
ibuf_fd_get(struct ibuf *buf)
{
	int fd = buf->fd;

	buf->fd = -1;
	return fd;
}

int
ibuf_fd_avail(const struct ibuf *buf)
{
	return buf->fd != -1;
}
