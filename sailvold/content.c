/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content: the chunks of clean files: their lists, the chunk files that the
 * cache has given, and those that it is asked for.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "sailvold/bundle.h"
#include "sailvold/content_impl.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/worker.h"

#define LIST_MAX ((size_t)1 << 29)      /* bytes of a flat list */
#define HASHES_MAX ((uint64_t)1 << 24)  /* of one file */
#define LISTS_BYTES ((size_t)8 << 20)   /* of lists that nobody needs now */
#define AHEAD_BEGIN ((uint64_t)1 << 20) /* bytes read on, then ahead */
#define AHEAD_MAX ((uint64_t)64 << 20)
/* Of memory that a mount holds, of chunks that the cache has no room for: what
   is read ahead, and some of what is read; and not for long. */
#define MEMORY_MAX ((off_t)(AHEAD_MAX + ((uint64_t)16 << 20)))
#define MEMORY_IDLE_MS 3000
#define NEAR ((uint64_t)2 << 20) /* reads come out of order a little */
#define AGAIN_MS 10
#define FRESH_MS 40000 /* then the kernel has written it to the disk */

/* A chunk of a file that is here, or on its way. */
struct piece {
	RB_ENTRY(piece) node;
	TAILQ_ENTRY(piece) link; /* of the open ones, or of those to come */
	struct content *content;
	uint64_t slot;
	int fd;       /* -1: on its way */
	uint32_t get; /* 0: cache is to be asked; else the question */
	int fresh;    /* not on the disk yet, so its pages stay */
	int memory;   /* the cache has no room for it */
	off_t bytes;
	int for_copy;  /* copyup_step() is to be called */
	monotime_t at; /* when it came; of memory, was used last */
	struct waitq q;
};
TAILQ_HEAD(piece_list, piece);

TAILQ_HEAD(content_lru, content);
static struct content_lru contents = TAILQ_HEAD_INITIALIZER(contents);
static size_t lists_bytes;
static struct piece_list opened = TAILQ_HEAD_INITIALIZER(opened);
static struct piece_list coming = TAILQ_HEAD_INITIALIZER(coming);
static unsigned int nopened, max_opened = 64;
static off_t memory_bytes;
static unsigned int gets; /* pieces that cache is asked for */
static uint32_t last_get;

static void send_gets(void);

static int
piece_cmp(struct piece *a, struct piece *b)
{
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

RB_PROTOTYPE(piece_tree, piece, node, piece_cmp)
RB_GENERATE(piece_tree, piece, node, piece_cmp)

/* ---- pieces --------------------------------------------------------------------- */

static struct piece *
piece_find(struct content *c, uint64_t slot)
{
	struct piece p = { .slot = slot };

	return RB_FIND(piece_tree, &c->pieces, &p);
}

/* One that is to come. */
static struct piece *
piece_new(struct content *c, uint64_t slot)
{
	struct piece *p;

	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	waitq_init(&p->q);
	p->content = c;
	p->slot = slot;
	p->fd = -1;
	RB_INSERT(piece_tree, &c->pieces, p);
	TAILQ_INSERT_TAIL(&coming, p, link);
	c->vn->coming++;
	vn_pin(c->vn);
	return p;
}

/* Closes one that is here. */
static void
piece_close(struct piece *p)
{
	TAILQ_REMOVE(&opened, p, link);
	nopened--;
	if (p->memory)
		memory_bytes -= p->bytes;
	RB_REMOVE(piece_tree, &p->content->pieces, p);
	if (!p->fresh)
		(void)posix_fadvise(p->fd, 0, 0, POSIX_FADV_DONTNEED);
	close(p->fd);
	free(p);
}

static void
piece_used(struct piece *p)
{
	if (p->memory)
		p->at = monotime_now();
	if (TAILQ_FIRST(&opened) == p)
		return;
	TAILQ_REMOVE(&opened, p, link);
	TAILQ_INSERT_HEAD(&opened, p, link);
}

/* A file that has no name any more, or never had one. */
static int
is_nameless(int fd, off_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st) == -1 || st.st_nlink > 0)
		return 0;
	*bytes = st.st_size;
	return 1;
}

/* Of the longest unused, until as much as that is left. */
static void
close_memory(off_t left)
{
	struct piece *p, *prev;

	for (p = TAILQ_LAST(&opened, piece_list);
	     p != NULL && memory_bytes > left; p = prev) {
		prev = TAILQ_PREV(p, piece_list, link);
		if (p->memory)
			piece_close(p);
	}
}

/* A read of large chunks may need two, and the next is on its way. */
static off_t
memory_max(off_t bytes)
{
	return 3 * bytes > MEMORY_MAX ? 3 * bytes : MEMORY_MAX;
}

/* One that was on its way is here (fd), or is not to be had. */
static void
piece_came(struct piece *p, int fd, int error)
{
	struct vn *vn = p->content->vn;
	int for_copy = p->for_copy;

	TAILQ_REMOVE(&coming, p, link);
	waitq_wake(&p->q, error);
	if (fd != -1) {
		p->fd = fd;
		p->fresh = 1;
		p->for_copy = 0;
		p->at = monotime_now();
		while (nopened >= max_opened)
			piece_close(TAILQ_LAST(&opened, piece_list));
		if ((p->memory = is_nameless(fd, &p->bytes))) {
			close_memory(memory_max(p->bytes) - p->bytes);
			memory_bytes += p->bytes;
		}
		TAILQ_INSERT_HEAD(&opened, p, link);
		nopened++;
	} else {
		RB_REMOVE(piece_tree, &p->content->pieces, p);
		free(p);
	}
	vn->coming--;
	if (for_copy)
		copyup_step(vn, error);
	vn_unpin(vn);
}

/* ---- contents -------------------------------------------------------------------- */

void
content_init(unsigned int max_fds)
{
	max_opened = max_fds < 16 ? 16 : max_fds;
}

/* Who waits for one looks again where its bytes are. */
static void
piece_drop(struct piece *p)
{
	struct vn *vn = p->content->vn;

	TAILQ_REMOVE(&coming, p, link);
	RB_REMOVE(piece_tree, &p->content->pieces, p);
	waitq_wake(&p->q, 0);
	free(p);
	vn->coming--;
	vn->pins--;
}

void
content_free(struct vn *vn)
{
	struct content *c = vn->content;
	struct piece *p, *next;

	if (c == NULL)
		return;
	RB_FOREACH_SAFE (p, piece_tree, &c->pieces, next)
		if (p->fd != -1)
			piece_close(p);
		else
			piece_drop(p);
	if (c->list == NULL) {
		waitq_wake(&c->q, 0);
		vn->coming--;
		vn->pins--;
	}
	TAILQ_REMOVE(&contents, c, lru);
	lists_bytes -= c->list_bytes;
	if (c->rest == NULL)
		chunklist_free(c->list);
	rest_free(c->rest);
	if (c->rest_fd != -1)
		close(c->rest_fd);
	free(c);
	vn->content = NULL;
}

/* Lists that nobody needs at the moment go when they are many. */
static void
trim(const struct content *keep)
{
	struct content *c, *prev;

	for (c = TAILQ_LAST(&contents, content_lru);
	     c != NULL && lists_bytes > LISTS_BYTES; c = prev) {
		prev = TAILQ_PREV(c, content_lru, lru);
		if (c != keep && c->list != NULL && c->vn->coming == 0 &&
		    c->vn->copy == NULL && c->busy == 0)
			content_free(c->vn);
	}
}

void
content_have_list(struct content *c, struct chunklist *list)
{
	c->list = list;
	c->list_bytes = sizeof(*c) + chunklist_hashes(list) * HASH_LEN;
	lists_bytes += c->list_bytes;
	trim(c);
}

struct content *
content_new(struct vn *vn)
{
	struct content *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->vn = vn;
	c->rest_fd = -1;
	RB_INIT(&c->pieces);
	waitq_init(&c->q);
	waitq_init(&c->idle);
	vn->content = c;
	vn_content_free = content_free;
	TAILQ_INSERT_HEAD(&contents, c, lru);
	return c;
}

/* Begins: the chunks stand in the entry, or manifest is asked. */
static int
content_begin(struct vn *vn)
{
	struct chunklist *list;
	struct content *c;
	struct hash missing;
	struct entry e;

	if (vn_entry(vn, &e) == -1)
		return EIO;
	if (e.chunk_form != CHUNKS_TREE) {
		list =
		    chunklist_from_entry(&e, NULL, CHUNK_INLINE_MAX, &missing);
		if (list == NULL)
			return errno == ENOMEM ? ENOMEM : EIO;
		if ((c = content_new(vn)) == NULL) {
			chunklist_free(list);
			return ENOMEM;
		}
		content_have_list(c, list);
		return 0;
	}
	if ((c = content_new(vn)) == NULL)
		return ENOMEM;
	vn->coming++;
	vn_pin(vn);
	if (query_chunks(vn) == 0) {
		content_free(vn);
		return ENOMEM;
	}
	return 0;
}

int
content_list(struct vn *vn, struct chunklist **list)
{
	struct content *c;
	int error;

	/* Of a request that waited this is what came of it. */
	if ((vn->content == NULL || vn->content->list == NULL) &&
	    now.error != 0)
		return now.error;
	if (vn->content == NULL && (error = content_begin(vn)) != 0)
		return error;
	c = vn->content;
	if (c->list == NULL)
		return wait_on(&c->q);
	if (TAILQ_FIRST(&contents) != c) {
		TAILQ_REMOVE(&contents, c, lru);
		TAILQ_INSERT_HEAD(&contents, c, lru);
	}
	*list = c->list;
	return 0;
}

static struct chunklist *
list_read(int fd, uint64_t size)
{
	struct memfd_view m;
	struct chunklist *l;
	struct rbuf r;

	if (memfd_map(fd, LIST_MAX, &m) == -1)
		return NULL;
	rbuf_init(&r, m.data, m.len);
	l = chunklist_decode(&r, HASHES_MAX);
	if (l != NULL && (rbuf_end(&r) == -1 || chunklist_size(l) != size)) {
		chunklist_free(l);
		l = NULL;
		errno = EBADMSG;
	}
	memfd_unmap(&m);
	return l;
}

void
content_chunks(struct vn *vn, int error, int fd)
{
	struct content *c = vn->content;
	struct chunklist *list = NULL;

	if (c == NULL || c->list != NULL) {
		if (fd != -1)
			close(fd);
		return;
	}
	if (error == 0 && (list = list_read(fd, vn->size)) == NULL)
		error = errno == ENOMEM ? ENOMEM : EIO;
	if (fd != -1)
		close(fd);
	vn_pin(vn);
	waitq_wake(&c->q, error);
	if (list != NULL) {
		content_have_list(c, list);
		vn->coming--;
		vn->pins--;
	} else
		content_free(vn);
	vn_unpin(vn);
}

/* ---- asking cache ------------------------------------------------------------- */

/* Those of a file that are to be asked for, as many as go. */
static unsigned int
fill_want(struct content *c, struct cache_want *w)
{
	struct fetch_get_chunk *k;
	struct piece *p;

	w->n = 0;
	RB_FOREACH (p, piece_tree, &c->pieces) {
		if (p->fd != -1 || p->get != 0)
			continue;
		if (w->n == CACHE_WANT_MAX || gets + w->n == CACHE_GETS_MAX)
			break;
		k = &w->chunks[w->n++];
		k->slot = p->slot;
		k->bytes = chunklist_slot_bytes(c->list, p->slot);
		(void)chunklist_get(c->list, p->slot, &k->hash);
	}
	return w->n;
}

/* 0; or an errno: they end with that; EPIPE: cache is dying. */
static int
send_get(struct chan *chan, struct content *c)
{
	static struct cache_want w;
	uint8_t path[SAIL_PATH_MAX];
	unsigned int i;

	if (c->rest != NULL) {
		w.commit = c->rest->commit;
		w.path = c->rest->path;
		w.path_len = c->rest->path_len;
	} else {
		if (vn_origin(c->vn, &w.commit, path, &w.path_len) == -1)
			return EIO;
		w.path = path;
	}
	w.shift = chunklist_shift(c->list);
	fill_want(c, &w);
	if (++last_get == 0)
		last_get = 1;
	if (cache_want_send(chan, IMSG_FUSE_CACHE_GET, last_get, &w, -1) == -1)
		return errno;
	for (i = 0; i < w.n; i++)
		piece_find(c, w.chunks[i].slot)->get = last_get;
	gets += w.n;
	return 0;
}

static void
fail_unasked(struct content *c, int error)
{
	struct vn *vn = c->vn;
	struct piece *p, *next;

	vn_pin(vn);
	RB_FOREACH_SAFE (p, piece_tree, &c->pieces, next)
		if (p->fd == -1 && p->get == 0)
			piece_came(p, -1, error);
	vn_unpin(vn);
}

static struct event ev_gets;

static void on_gets(int, short, void *);

/* As many as cache takes at a time, those first that came first. */
static void
ask_cache(int may_fail)
{
	struct timeval tv = { 0, AGAIN_MS * 1000 };
	static int inside;
	struct chan *chan = frontend_cache();
	struct piece *p;
	int error;

	if (inside || chan == NULL)
		return;
	inside = 1;
	while (gets < CACHE_GETS_MAX) {
		TAILQ_FOREACH (p, &coming, link)
			if (p->get == 0)
				break;
		if (p == NULL)
			break;
		error = send_get(chan, p->content);
		if (error == EPIPE)
			break; /* the next one is asked */
		if (error != 0 && !may_fail) {
			if (!evtimer_initialized(&ev_gets))
				evtimer_set(&ev_gets, on_gets, NULL);
			evtimer_add(&ev_gets, &tv);
			break;
		}
		if (error != 0) {
			log_warnx("question to cache: %s", strerror(error));
			fail_unasked(p->content, error);
		}
	}
	inside = 0;
}

static void
on_gets(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	ask_cache(1);
}

/* From a request, which may be about to wait for one of them: none ends here. */
static void
send_gets(void)
{
	ask_cache(0);
}

void
content_resend(void)
{
	struct piece *p;

	TAILQ_FOREACH (p, &coming, link)
		p->get = 0;
	gets = 0;
	send_gets();
}

/* Nobody waits for it any more: nor for the others of its question? */
void
content_abandoned(struct waitq *q)
{
	struct chan *chan = frontend_cache();
	struct piece *p, *of = NULL;
	struct content *c;
	struct ibuf *b;

	TAILQ_FOREACH (p, &coming, link)
		if (&p->q == q)
			of = p;
	if (of == NULL || of->for_copy)
		return;
	if (of->get == 0) {
		piece_came(of, -1, EINTR);
		return;
	}
	c = of->content;
	RB_FOREACH (p, piece_tree, &c->pieces)
		if (p->fd == -1 && p->get == of->get &&
		    (p->for_copy || !waitq_empty(&p->q)))
			return;
	/* ECANCELED comes for each, or the chunk. */
	if (chan == NULL || (b = ibuf_dynamic(4, 64)) == NULL)
		return;
	if (ibuf_add_n32(b, of->get) == 0)
		(void)chan_send_ibuf(chan, IMSG_FUSE_CACHE_CANCEL, of->get, -1,
		    b);
	else
		ibuf_free(b);
}

/* Of what was asked; NULL: of one that died. */
static struct piece *
piece_asked(uint32_t get, uint64_t slot)
{
	struct piece *p;

	TAILQ_FOREACH (p, &coming, link)
		if (p->get == get && p->slot == slot)
			return p;
	return NULL;
}

/* 1: a bundle that is here has it. */
static int
in_bundle(struct content *c, uint64_t slot)
{
	struct hash h;

	return chunklist_get(c->list, slot, &h) == 1 &&
	    bundle_has(&h, chunklist_slot_bytes(c->list, slot));
}

int
content_rules_bundle(struct chan *chan, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	static struct fetch_bundle list;
	int fd = imsg_get_fd(imsg);

	(void)chan;
	(void)id;
	if (fetch_bundle_recv(body, &list) == -1) {
		close(fd);
		return -1;
	}
	if (bundle_take(&list, fd) == 0)
		return 0;
	log_warn("cache: a bundle");
	return errno == EBADMSG ? -1 : 0;
}

int
content_rules_get(struct chan *chan, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct piece *p;
	struct stat st;
	uint64_t slot;
	uint32_t error;
	uint16_t len;
	int fd;

	(void)chan;
	if (ibuf_get_n64(body, &slot) == -1 ||
	    ibuf_get_n32(body, &error) == -1 ||
	    ibuf_get_n16(body, &len) == -1 || ibuf_size(body) != len)
		return -1;
	fd = imsg_get_fd(imsg);
	gets -= gets > 0;
	if ((p = piece_asked(id, slot)) == NULL) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	if (error == ECANCELED && (p->for_copy || !waitq_empty(&p->q))) {
		/* Somebody came since. */
		p->get = 0;
		send_gets();
		return 0;
	}
	if (error != 0)
		log_debug("chunk %llu of node %u: %.*s",
		    (unsigned long long)slot, p->content->vn->slot, (int)len,
		    (const char *)ibuf_data(body));
	else if (fd == -1 && in_bundle(p->content, slot))
		; /* who waits finds it there */
	else if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_size != (off_t)chunklist_slot_bytes(p->content->list, slot)) {
		log_warnx("cache: a file that is not what was asked for");
		error = EIO;
	}
	if (error != 0 && fd != -1) {
		close(fd);
		fd = -1;
	}
	piece_came(p, fd, (int)error);
	send_gets();
	return 0;
}

/* ---- reading -------------------------------------------------------------------------- */

/* The piece of a slot that has a hash; it may be on its way. */
static struct piece *
piece_get(struct content *c, uint64_t slot)
{
	struct piece *p = piece_find(c, slot);

	if (p == NULL)
		return piece_new(c, slot);
	if (p->fd != -1)
		piece_used(p);
	return p;
}

/*
 * The kernel has its bytes as those of the file.  In a thread, and not before
 * they are on the disk: that would begin their writing, and wait for it.
 */
static void
give_up(struct piece *p)
{
	int fd;

	if ((fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0)) != -1)
		worker_give_up(fd);
}

void
content_tidy(void)
{
	struct piece *p, *next;

	bundle_tidy();
	TAILQ_FOREACH_SAFE (p, &opened, link, next)
		if (p->memory) {
			if (monotime_diff_ms(monotime_now(), p->at) >
			    MEMORY_IDLE_MS)
				piece_close(p);
		} else if (p->fresh &&
		    monotime_diff_ms(monotime_now(), p->at) > FRESH_MS) {
			p->fresh = 0;
			give_up(p);
		}
}

int
content_rules_let_go(struct chan *chan, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct piece *p, *next;
	off_t bytes;

	(void)chan;
	(void)id;
	(void)imsg;
	(void)body;
	bundle_let_go();
	TAILQ_FOREACH_SAFE (p, &opened, link, next)
		if (!p->memory && is_nameless(p->fd, &bytes))
			piece_close(p);
	return 0;
}

void
content_bad(const struct hash *h, int fd)
{
	struct chan *chan = frontend_cache();
	struct piece *p, *next;
	struct stat bad, st;

	if (fstat(fd, &bad) == -1)
		return;
	TAILQ_FOREACH_SAFE (p, &opened, link, next)
		if (fstat(p->fd, &st) == 0 && st.st_ino == bad.st_ino &&
		    st.st_dev == bad.st_dev)
			piece_close(p);
	bundle_bad(&bad);
	/* A new one looks at all anyway. */
	if (chan != NULL &&
	    chan_send(chan, IMSG_FUSE_CACHE_BAD, 0, -1, h->b, HASH_LEN) == -1)
		log_warn("cache: a bad chunk");
}

/*
 * Who reads on gets the next chunks before they are asked for: four times as
 * much as was read so far, within bounds, and a question at most for each half
 * of it.
 */
static void
read_ahead(struct content *c, uint64_t off, uint64_t end, uint64_t last)
{
	uint8_t shift = chunklist_shift(c->list);
	uint64_t slot, to, window;
	struct hash h;

	if (off + NEAR < c->next || off > c->next + NEAR) {
		c->run = 0;
		c->next = end;
		return;
	}
	if (end > c->next) {
		c->run += end - c->next;
		c->next = end;
	}
	if (c->run < AHEAD_BEGIN)
		return;
	window = (c->run < AHEAD_MAX / 4 ? c->run * 4 : AHEAD_MAX) >> shift;
	if (window == 0)
		window = 1;
	to = last + window;
	if (to >= chunklist_slots(c->list))
		to = chunklist_slots(c->list) - 1;
	if (last >= to)
		return;
	for (slot = last + 1; slot <= to && piece_find(c, slot) != NULL; slot++)
		;
	if (slot > last + 1 && slot > last + window / 2)
		return;
	for (; slot <= to; slot++)
		if (chunklist_get(c->list, slot, &h) == 1 &&
		    (c->rest == NULL || rest_absent(c->rest, slot)) &&
		    piece_find(c, slot) == NULL)
			(void)piece_new(c, slot);
}

/* The part in one slot; 0, 1: it is on its way, or an errno. */
static int
slot_extent(struct content *c, uint64_t slot, uint64_t off, size_t len,
    struct extent *x, struct piece **wait)
{
	uint32_t bytes = chunklist_slot_bytes(c->list, slot);
	struct piece *p;
	off_t at;

	x->fd = -1;
	x->at = (off_t)(off - (slot << chunklist_shift(c->list)));
	x->len = len;
	x->give_up = x->memory = x->clean = x->whole = 0;
	if (c->rest != NULL && !rest_absent(c->rest, slot)) {
		x->at = (off_t)off;
		x->fd = overlay_fd(c->vn);
		return x->fd == -1 ? errno : 0;
	}
	if (chunklist_get(c->list, slot, &x->hash) != 1)
		return 0;
	/* The last is not full, and the kernel asks for whole pages. */
	if (x->at >= (off_t)bytes) {
		x->len = 0;
		return 0;
	}
	if (x->len > bytes - (size_t)x->at)
		x->len = bytes - (size_t)x->at;
	x->clean = 1;
	x->whole = x->len == bytes;
	if (bundle_find(&x->hash, bytes, &x->fd, &at, &x->memory)) {
		x->at += at;
		return 0;
	}
	if ((p = piece_get(c, slot)) == NULL)
		return ENOMEM;
	x->fd = p->fd;
	x->give_up = !p->fresh;
	if (p->fd == -1 && *wait == NULL)
		*wait = p;
	return 0;
}

static int
clean_extents(struct vn *vn, uint64_t off, size_t size, struct extent *x,
    int *n)
{
	struct piece *wait = NULL;
	struct chunklist *list;
	uint64_t slot, end, to;
	uint8_t shift;
	int error = 0;

	if (size == 0 || (!(vn->flags & VN_LOCAL) && off >= vn->size))
		return 0;
	if (!(vn->flags & VN_LOCAL) && size > vn->size - off)
		size = (size_t)(vn->size - off);
	if ((error = content_list(vn, &list)) != 0)
		return error;
	if (now.error != 0)
		return now.error;
	shift = chunklist_shift(list);
	end = off + size;
	for (slot = off >> shift; off < end && *n < EXTENTS_MAX && error == 0;
	     slot++, off = to) {
		to = (slot + 1) << shift < end ? (slot + 1) << shift : end;
		error = slot_extent(vn->content, slot, off, (size_t)(to - off),
		    &x[(*n)++], &wait);
	}
	if (error == 0 && !now.woken)
		read_ahead(vn->content, end - size, end, slot - 1);
	if (error == 0 && wait != NULL)
		error = wait_on(&wait->q);
	send_gets();
	return error;
}

int
content_at_hand(struct vn *vn, struct extent *x)
{
	struct chunklist *list;
	struct piece *p;
	struct hash h;

	if ((vn->flags & VN_LOCAL) || content_list(vn, &list) != 0 ||
	    chunklist_slots(list) != 1 || chunklist_get(list, 0, &h) != 1)
		return 0;
	memset(x, 0, sizeof(*x));
	x->len = chunklist_slot_bytes(list, 0);
	if (bundle_find(&h, (uint32_t)x->len, &x->fd, &x->at, &x->memory))
		return 1;
	if ((p = piece_find(vn->content, 0)) == NULL || p->fd == -1)
		return 0;
	piece_used(p);
	x->fd = p->fd;
	return 1;
}

int
content_bring_small(struct vn *vn)
{
	struct chunklist *list;
	struct hash h;

	if ((vn->flags & VN_LOCAL) || vn->size == 0 ||
	    vn->size >= FETCH_BUNDLE_CHUNK || vn->copy != NULL ||
	    content_list(vn, &list) != 0 || chunklist_get(list, 0, &h) != 1 ||
	    bundle_has(&h, chunklist_slot_bytes(list, 0)))
		return 0;
	if (piece_find(vn->content, 0) != NULL)
		return 1;
	if (piece_new(vn->content, 0) == NULL)
		return 0;
	send_gets();
	return 1;
}

int
content_extents(struct vn *vn, uint64_t off, size_t size, struct extent *x,
    int *n)
{
	struct rest *rest = NULL;
	int error, fd;

	*n = 0;
	if ((error = content_rest(vn, &rest, &fd)) != 0)
		return error;
	if (!(vn->flags & VN_LOCAL) || rest != NULL)
		return clean_extents(vn, off, size, x, n);
	if ((x->fd = overlay_fd(vn)) == -1)
		return errno;
	x->at = (off_t)off;
	x->len = size;
	x->give_up = x->memory = x->clean = x->whole = 0;
	*n = 1;
	return 0;
}

int
content_chunk(struct vn *vn, uint64_t slot, int *fd, off_t *at)
{
	struct content *c = vn->content;
	struct piece *p;
	struct hash h;
	int memory;

	*at = 0;
	if (chunklist_get(c->list, slot, &h) == 1 &&
	    bundle_find(&h, chunklist_slot_bytes(c->list, slot), fd, at,
		&memory))
		return 0;
	if ((p = piece_get(vn->content, slot)) == NULL)
		return ENOMEM;
	if ((*fd = p->fd) != -1)
		return 0;
	p->for_copy = 1;
	send_gets();
	return E_WAIT;
}

int
content_seek(struct vn *vn, uint64_t off, int data, uint64_t *at)
{
	struct chunklist *list;
	uint64_t slot, slots;
	struct rest *r;
	struct hash h;
	int error, is, fd;

	if ((error = content_rest(vn, &r, &fd)) != 0)
		return error;
	if (r != NULL)
		return partial_seek(vn, r, off, data, at);
	if ((error = content_list(vn, &list)) != 0)
		return error;
	slots = chunklist_slots(list);
	for (slot = off >> chunklist_shift(list); slot < slots; slot++) {
		is = chunklist_get(list, slot, &h) == 1;
		if (is == data)
			break;
		if (data && !chunklist_next(list, slot, &slot, &h))
			return ENXIO;
		slot -= data;
	}
	*at = slot << chunklist_shift(list);
	if (*at < off)
		*at = off;
	if (*at > vn->size)
		*at = vn->size;
	return data && slot >= slots ? ENXIO : 0;
}
