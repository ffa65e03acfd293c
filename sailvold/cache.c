/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache: the role that has the cache directory: gives fuse read-only files of
 * clean content, and keeps their number of bytes below a limit.  In cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/cache.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

#define LIST_MAX ((size_t)1 << 29)     /* bytes of a flat list */
#define HASHES_MAX ((uint64_t)1 << 24) /* of one file */
#define LISTS_PEER 64                  /* lists whose question has not come */
#define FOLDERS 256
#define TOUCH_S 60

struct cache_index cache_index;
uint64_t cache_fetched;
static uint64_t hits, keep_free;
static uint64_t written; /* of what is reserved */
static int have_config, started;

/* A LIST that came before its question. */
struct list {
	TAILQ_ENTRY(list) entry;
	struct chan *peer;
	uint32_t id;
	int fd;
};
static TAILQ_HEAD(, list) lists = TAILQ_HEAD_INITIALIZER(lists);

/* ---- space ---------------------------------------------------------------------- */

static void
evict(struct cache_entry *e)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(&e->key, hex);
	log_debug("cache: %s is given up", hex);
	cache_store_remove(&e->key);
	cache_index_remove(&cache_index, e);
}

/* Evicts until that many more bytes fit; -1 ENOSPC. */
static int
make_room(uint64_t need)
{
	struct cache_entry *e;
	int64_t room;
	uint64_t lack;

	for (;;) {
		room =
		    cache_store_free(keep_free) - (int64_t)cache_index.reserved;
		lack =
		    room < (int64_t)need ? (uint64_t)((int64_t)need - room) : 0;
		if (lack == 0 && cache_index_fits(&cache_index, need))
			return 0;
		e = cache_index_victim(&cache_index, need, lack);
		if (e == NULL) {
			errno = ENOSPC;
			return -1;
		}
		evict(e);
	}
}

int
cache_reserve(uint64_t bytes)
{
	if (make_room(bytes) == -1)
		return -1;
	cache_index.reserved += bytes;
	return 0;
}

void
cache_unreserve(uint64_t bytes, uint64_t done)
{
	cache_index.reserved -= bytes;
	written -= done;
}

void
cache_wrote(uint64_t bytes)
{
	written += bytes;
}

void
cache_kept(const struct hash *key, uint64_t bytes)
{
	struct cache_entry *e;

	if (cache_index_add(&cache_index, key, bytes, 1, 0) != NULL)
		return;
	if ((e = cache_index_find(&cache_index, key)) != NULL)
		e->verified = 1;
	else
		log_warn("cache: index");
}

/* ---- files from before ------------------------------------------------------------ */

struct old {
	struct hash key;
	uint64_t bytes;
	int64_t age;
};
static struct old *olds;
static size_t nolds, olds_size;
static unsigned int folder;
static struct event scan_ev;

static void
scan_found(const struct hash *h, uint64_t bytes, int64_t age)
{
	struct old *p;
	size_t size;

	if (nolds == olds_size) {
		size = olds_size == 0 ? 1024 : olds_size * 2;
		p = reallocarray(olds, size, sizeof(*p));
		if (p == NULL) {
			log_warn("cache: index");
			return;
		}
		olds = p;
		olds_size = size;
	}
	olds[nolds].key = *h;
	olds[nolds].bytes = bytes;
	olds[nolds++].age = age;
}

static int
younger_first(const void *a, const void *b)
{
	const struct old *x = a, *y = b;

	return x->age < y->age ? 1 : x->age > y->age ? -1 : 0;
}

/* A folder each time, so that questions are answered in between. */
static void
on_scan(int fd, short ev, void *arg)
{
	struct timeval now = { 0, 0 };
	size_t i;

	(void)fd;
	(void)ev;
	(void)arg;
	cache_store_scan(folder++, scan_found);
	if (folder < FOLDERS) {
		evtimer_add(&scan_ev, &now);
		return;
	}
	if (nolds > 0)
		qsort(olds, nolds, sizeof(*olds), younger_first);
	/* Behind all that was used since; what was, is there already. */
	for (i = 0; i < nolds; i++)
		if (cache_index_find(&cache_index, &olds[i].key) == NULL &&
		    cache_index_add(&cache_index, &olds[i].key, olds[i].bytes,
			0, 1) == NULL)
			log_warn("cache: index");
	free(olds);
	olds = NULL;
	nolds = olds_size = 0;
	log_info("cache: %llu files of %llu bytes",
	    (unsigned long long)cache_index.files,
	    (unsigned long long)cache_index.used);
	(void)make_room(0);
}

/* Also of a folder that was not scanned yet. */
static struct cache_entry *
find(const struct hash *key)
{
	struct cache_entry *e;
	uint64_t size = 0;
	int fd;

	e = cache_index_find(&cache_index, key);
	if (e != NULL || folder >= FOLDERS)
		return e;
	if ((fd = cache_store_open(key, &size)) == -1)
		return NULL;
	close(fd);
	return cache_index_add(&cache_index, key, size, 0, 0);
}

/* ---- answers -------------------------------------------------------------------------- */

static int
answer(struct waiter *w, int error, const char *what, int fd)
{
	struct ibuf *b;
	size_t len = strlen(what);

	if ((b = ibuf_dynamic(64, PROC_MAX_BODY)) == NULL)
		return -1;
	if (ibuf_add_n32(b, (uint64_t)error) == -1 ||
	    (!w->put && ibuf_add_n16(b, len) == -1) ||
	    (!w->put && len > 0 && ibuf_add(b, what, len) == -1)) {
		ibuf_free(b);
		return -1;
	}
	return chan_send_ibuf(w->peer,
	    w->put ? IMSG_CACHE_FUSE_PUT_RES : IMSG_CACHE_FUSE_GET_RES, w->id,
	    fd, b);
}

void
cache_answer_error(struct waiter *w, int error, const char *what)
{
	if (answer(w, error, what, -1) == -1)
		log_warn("cache: answer");
}

int
cache_answer_file(struct waiter *w, const struct hash *key)
{
	struct cache_entry *e;
	monotime_t now = monotime_now();
	int fd, saved;

	if ((fd = cache_store_open(key, NULL)) == -1)
		return errno;
	if ((e = cache_index_find(&cache_index, key)) != NULL) {
		cache_index_touch(&cache_index, e);
		if (e->touched == 0 ||
		    now.ns / 1000000000 - e->touched > TOUCH_S) {
			e->touched = now.ns / 1000000000;
			cache_store_touch(key);
		}
	}
	if (answer(w, 0, "", fd) == -1) {
		saved = errno;
		close(fd);
		return saved;
	}
	return 0;
}

/* ---- questions of fuse ---------------------------------------------------------------- */

static struct list *
list_find(struct chan *c, uint32_t id, unsigned int *n)
{
	struct list *l, *found = NULL;

	*n = 0;
	TAILQ_FOREACH (l, &lists, entry) {
		*n += l->peer == c;
		if (l->peer == c && l->id == id)
			found = l;
	}
	return found;
}

static void
list_drop(struct list *l)
{
	TAILQ_REMOVE(&lists, l, entry);
	close(l->fd);
	free(l);
}

static int
on_list(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct list *l;
	unsigned int n;

	if (ibuf_size(body) != 0 || list_find(c, id, &n) != NULL ||
	    n >= LISTS_PEER)
		return -1;
	if ((l = calloc(1, sizeof(*l))) == NULL)
		fatal("cache: list");
	l->peer = c;
	l->id = id;
	l->fd = imsg_get_fd(imsg);
	TAILQ_INSERT_TAIL(&lists, l, entry);
	return 0;
}

/* The bytes of the list, wherever they are; NULL and errno. */
static uint8_t *
list_bytes(struct chan *c, uint32_t id, const struct cache_get *g,
    const struct cache_mount *mount, int put, size_t *len)
{
	struct memfd_view m;
	struct list *l;
	uint8_t *p = NULL;
	unsigned int n;
	int saved;

	l = list_find(c, id, &n);
	if ((l != NULL) == (g->list_len > 0) || (l != NULL && put)) {
		errno = EBADMSG;
		return NULL;
	}
	if (l != NULL) {
		n = (unsigned int)memfd_map(l->fd, LIST_MAX, &m);
		list_drop(l);
		if (n != 0)
			return NULL;
	} else {
		memset(&m, 0, sizeof(m));
		m.data = g->list;
		m.len = g->list_len;
	}
	*len = m.len;
	if (cache_mount_room(mount, put, m.len) == -1)
		errno = EBADMSG;
	else if ((p = malloc(m.len + 1)) != NULL)
		memcpy(p, m.data, m.len);
	saved = errno;
	if (l != NULL)
		memfd_unmap(&m);
	errno = saved;
	return p;
}

static int
put_nowhere(void *ctx, const struct hash *h, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)h;
	(void)data;
	(void)len;
	return 0;
}

/* A list of another content would give one mount's bytes to others. */
static int
list_is_of(const struct chunklist *list, const struct hash *content)
{
	const struct node_store store = { .put = put_nowhere };
	struct entry e;
	struct wbuf w;
	struct hash h;
	int same = 0;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FILE;
	wbuf_init(&w, 64 * 1024);
	if (chunklist_to_entry(list, &store, &e, &w) == 0) {
		entry_content_hash(&e, &h);
		same = hash_cmp(&h, content) == 0;
	}
	wbuf_free(&w);
	return same;
}

static struct chunklist *
list_decode(const uint8_t *flat, size_t len, const struct cache_get *g)
{
	struct chunklist *list;
	struct rbuf r;

	rbuf_init(&r, flat, len);
	if ((list = chunklist_decode(&r, HASHES_MAX)) == NULL)
		return NULL;
	if (rbuf_end(&r) == 0 && chunklist_size(list) == g->size &&
	    list_is_of(list, &g->content))
		return list;
	chunklist_free(list);
	errno = EBADMSG;
	return NULL;
}

/* 1: answered from what is there. */
static int
served(struct chan *c, uint32_t id, const struct hash *key, int put)
{
	struct waiter w = { .peer = c, .id = id, .put = put };
	struct cache_entry *e = find(key);

	if (e == NULL || !e->verified)
		return 0;
	if (put)
		cache_answer_error(&w, 0, "");
	else if (cache_answer_file(&w, key) != 0) {
		/* Somebody has taken the file away. */
		cache_index_remove(&cache_index, e);
		return 0;
	}
	hits += !put;
	return 1;
}

/* GET, and PUT with its file.  -1: malformed. */
static int
want(struct chan *c, uint32_t id, struct ibuf *body, int source)
{
	struct waiter w = { .peer = c, .id = id, .put = source != -1 };
	struct cache_mount *m = cache_mount_find(chan_instance(c));
	struct chunklist *list = NULL;
	struct cache_get g;
	struct hash key;
	uint8_t *flat = NULL;
	size_t len = 0;
	int error;

	if (m == NULL || cache_get_recv(body, &g) == -1)
		goto bad;
	cache_mount_key(m, &g.content, &key);
	if ((flat = list_bytes(c, id, &g, m, source != -1, &len)) == NULL)
		goto fail;
	if (served(c, id, &key, source != -1)) {
		free(flat);
		if (source != -1)
			close(source);
		return 0;
	}
	if ((list = list_decode(flat, len, &g)) == NULL)
		goto fail;
	if (job_want(c, id, m, &g, list, flat, len, source) == -1)
		goto fail;
	return 0;

fail:
	error = errno;
	if (error != EBADMSG) {
		cache_answer_error(&w, error, strerror(error));
		chunklist_free(list);
		free(flat);
		if (source != -1)
			close(source);
		return 0;
	}
bad:
	free(flat);
	if (source != -1)
		close(source);
	return -1;
}

static int
on_get(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)imsg;
	return want(c, id, body, -1);
}

static int
on_put(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	return want(c, id, body, imsg_get_fd(imsg));
}

static int
on_cancel(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t which;

	(void)id;
	(void)imsg;
	if (ibuf_get_n32(body, &which) == -1)
		return -1;
	cache_cancel(c, which);
	return 0;
}

/* ---- the parent ---------------------------------------------------------------------------- */

static int
on_volume(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	return cache_mount_tell(body);
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t limit, keep;

	(void)c;
	(void)id;
	(void)imsg;
	if (ibuf_get_n64(body, &limit) == -1 || ibuf_get_n64(body, &keep) == -1)
		return -1;
	if (!have_config)
		cache_index_init(&cache_index, limit);
	have_config = 1;
	cache_index.limit = limit;
	keep_free = keep;
	if (started)
		(void)make_room(0);
	return 0;
}

static int
on_status(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ibuf *b;

	(void)imsg;
	(void)body;
	if (!have_config)
		return -1;
	if ((b = ibuf_open(40)) == NULL)
		fatal("cache: status");
	if (ibuf_add_n64(b, cache_index.used) == -1 ||
	    ibuf_add_n64(b, cache_index.limit) == -1 ||
	    ibuf_add_n64(b, cache_index.files) == -1 ||
	    ibuf_add_n64(b, hits) == -1 || ibuf_add_n64(b, cache_fetched) == -1)
		fatal("cache: status");
	if (chan_send_ibuf(c, IMSG_CACHE_PARENT_STATUS_RES, id, -1, b) == -1)
		log_warn("cache: status");
	return 0;
}

/* ---- the role -------------------------------------------------------------------------------- */

static int
configured(void)
{
	return have_config;
}

static int
prepare(void)
{
	hash_init();
	return cache_store_prepare(role_dirfd());
}

static int
start(void)
{
	struct timeval now = { 0, 0 };

	if (cache_store_start() == -1)
		return -1;
	evtimer_set(&scan_ev, on_scan, NULL);
	evtimer_add(&scan_ev, &now);
	started = 1;
	return 0;
}

static void
peer_up(struct chan *c)
{
	if (chan_role(c) == ROLE_FETCH)
		ask_fetch_up();
}

static void
peer_down(struct chan *c)
{
	struct list *l, *next;

	if (chan_role(c) == ROLE_FETCH) {
		ask_fetch_down(c);
		return;
	}
	for (l = TAILQ_FIRST(&lists); l != NULL; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (l->peer == c)
			list_drop(l);
	}
	job_peer_down(c);
	cache_mount_down(chan_instance(c));
}

#define BODY_MAX PROC_MAX_BODY
#define RULE(m, from, fd, min, max, f)                            \
	{                                                         \
		IMSG_##m, ROLE_##from, CHAN_##fd, min, max, f, #m \
	}
static const struct msg_rule rules[] = {
	RULE(PARENT_CACHE_CONFIG, PARENT, NOFD, 16, 16, on_config),
	RULE(PARENT_CACHE_STATUS, PARENT, NOFD, 0, 0, on_status),
	RULE(PARENT_CACHE_VOLUME, PARENT, NOFD, 6, 69, on_volume),
	RULE(FUSE_CACHE_LIST, FUSE, FD, 0, 0, on_list),
	RULE(FUSE_CACHE_GET, FUSE, NOFD, 40, BODY_MAX, on_get),
	RULE(FUSE_CACHE_PUT, FUSE, FD, 40, BODY_MAX, on_put),
	RULE(FUSE_CACHE_CANCEL, FUSE, NOFD, 4, 4, on_cancel),
	RULE(FETCH_GET_DONE, FETCH, NOFD, 8, 8, ask_get_done),
	RULE(FETCH_GET_RES, FETCH, NOFD, 6, 2048, ask_get_res),
	RULE(FETCH_VERIFY_RES, FETCH, NOFD, 4, 4, ask_verify_res),
};

const struct role_def cache_role = {
	.role = ROLE_CACHE,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
	.peer_up = peer_up,
	.peer_down = peer_down,
};
