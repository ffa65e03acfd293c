/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * put: a commit with files of this machine, or with what comes from standard
 * input, without a mount.  In sailvolctl.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "lib/wire.h"
#include "sailvolctl/publish.h"
#include "sailvolctl/put_session.h"
#include "sailvolctl/rebuild.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/source.h"
#include "sailvolctl/upload.h"
#include "sailvolctl/volpath.h"
#include "sailvolctl/writers.h"

#define HASHES_MAX 16 /* files that are read ahead */
#define TRIES_MAX 3
#define EARLY_MAX 65536 /* chunks of a file that are sent before its end */
#define SEGMENT_SHIFT CHUNK_SHIFT_MIN
#define SEGMENT_BYTES ((size_t)8 << SEGMENT_SHIFT)

struct put {
	const struct invocation *inv;
	const char *from; /* "-": standard input */
	struct volpath to;
	struct source s;
	struct publish p;
	struct upload u;
	int contents;          /* of the directory, not it */
	uint64_t files, bytes; /* hashed, and on their way */
};

static void
tell(void *arg)
{
	struct put *p = arg;
	json_t *j;

	j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "phase", "upload",
	    "files", (json_int_t)p->files, "files_total",
	    (json_int_t)p->s.files, "bytes", (json_int_t)p->bytes,
	    "bytes_total", (json_int_t)p->s.bytes, "bytes_sent",
	    (json_int_t)p->u.sent);
	if (j != NULL)
		p->inv->out->progress(j);
	json_decref(j);
}

/* ---- files --------------------------------------------------------------------------- */

struct hashing {
	struct put *p;
	struct item *it;
	int fd, done, error;
	struct timespec ctime; /* before */
	enum writers writers;
	struct chunklist *list, *first; /* first: is it the same once more? */
	struct upload_file file;
	/* Chunks that are known before the list is, and how many are sent. */
	struct fetch_get_chunk *early;
	size_t nearly, size, sent;
	uint8_t shift;
	uint64_t counted; /* bytes of them */
};

static int
is_same_list(const struct chunklist *a, const struct chunklist *b)
{
	uint64_t slot, x, y;
	struct hash p, q;
	int more;

	if (chunklist_size(a) != chunklist_size(b) ||
	    chunklist_shift(a) != chunklist_shift(b))
		return 0;
	for (slot = 0;; slot = x + 1) {
		more = chunklist_next(a, slot, &x, &p);
		if (chunklist_next(b, slot, &y, &q) != more)
			return 0;
		if (more != 1)
			return 1;
		if (x != y || hash_cmp(&p, &q) != 0)
			return 0;
	}
}

/*
 * Where somebody may write without ctime telling it is read once more: what is
 * the same both times was so at one moment in between.
 */
static void
hash_came(void *arg, int error, struct chunklist *l)
{
	struct hashing *h = arg;
	struct failure f = { .whole = NULL };

	if (l != NULL && h->first == NULL && h->writers != WRITERS_NONE) {
		h->first = l;
		if (fetch_hash(h->fd, chunklist_shift(l), 0, NULL, hash_came, h,
			&f) == 0)
			return;
		failure_clear(&f);
		error = EPIPE;
		l = NULL;
	} else if (l != NULL && h->first != NULL &&
	    !is_same_list(h->first, l)) {
		chunklist_free(l);
		error = EAGAIN;
		l = NULL;
	}
	h->done = 1;
	h->error = error;
	h->list = l;
}

/* A small one waits for the list: it shares a pack. */
static void
hash_told(void *arg, const struct fetch_hash_chunks *m)
{
	struct hashing *h = arg;
	struct fetch_get_chunk *more;
	size_t size;
	uint16_t i;

	for (i = 0; i < m->n && h->nearly < EARLY_MAX; i++) {
		if (m->chunks[i].bytes < WIRE_PACK_CHUNK)
			continue;
		if (h->nearly == h->size) {
			size = h->size == 0 ? 64 : 2 * h->size;
			more = reallocarray(h->early, size, sizeof(*more));
			if (more == NULL)
				break; /* they go with the rest */
			h->early = more;
			h->size = size;
		}
		h->early[h->nearly++] = m->chunks[i];
		h->counted += m->chunks[i].bytes;
		h->p->bytes += m->chunks[i].bytes;
	}
	h->shift = m->shift;
	tell(h->p);
}

static int
send_chunk(struct hashing *h, uint64_t slot, uint8_t shift, uint32_t bytes,
    const struct hash *hash, struct failure *f)
{
	h->file.fd = h->fd;
	h->file.changed = &h->it->changed;
	return upload_chunk(&h->p->u, &h->file, slot << shift, bytes, hash, f);
}

static int
send_early(struct hashing *h, struct failure *f)
{
	struct fetch_get_chunk c;

	/* While one is sent more may come, and the array move. */
	for (; h->sent < h->nearly; h->sent++) {
		c = h->early[h->sent];
		if (send_chunk(h, c.slot, h->shift, c.bytes, &c.hash, f) == -1)
			return -1;
	}
	return h->sent > 0 ? upload_idle(&h->p->u, f) : 0;
}

/* But for those that went before. */
static int
send_list(struct hashing *h, const struct chunklist *l, struct failure *f)
{
	const struct fetch_get_chunk *e = h->early, *end = e + h->sent;
	uint64_t slot, found;
	struct hash hash;

	for (slot = 0; chunklist_next(l, slot, &found, &hash) == 1;
	     slot = found + 1) {
		while (e < end && e->slot < found)
			e++;
		if (e < end && e->slot == found &&
		    h->shift == chunklist_shift(l) &&
		    hash_cmp(&e->hash, &hash) == 0)
			continue;
		if (send_chunk(h, found, chunklist_shift(l),
			chunklist_slot_bytes(l, found), &hash, f) == -1)
			return -1;
	}
	return 0;
}

/* Nobody has written to it since before its attributes were taken. */
static int
is_same(const struct hashing *h)
{
	struct stat st;

	if (h->writers == WRITERS_NONE && writers_came(h->fd))
		return 0;
	return fstat(h->fd, &st) == 0 &&
	    timens_cmp(timens_of(st.st_ctim), timens_of(h->ctime)) == 0;
}

/* Its turn: what is new of it goes up. */
static int
take_hashed(struct hashing *h, struct failure *f)
{
	struct put *p = h->p;
	struct item *it = h->it;
	int rc = 0;

	while (!h->done)
		if (send_early(h, f) == -1 || fetch_turn(f) == -1)
			return -1;
	p->bytes -= h->counted;
	/* Or an early chunk of it was. */
	if (h->error == EAGAIN || (h->list != NULL && !is_same(h)))
		it->changed = 1;
	if (h->list != NULL && !it->changed) {
		p->files++;
		p->bytes += chunklist_size(h->list);
		rc = source_hashed(it, h->list, f);
		h->list = NULL;
		if (rc == 0 && it->use == ITEM_PUT)
			rc = send_list(h, it->list, f);
		tell(p);
	} else if (!it->changed) {
		failure_set(f, "", "read", "%.*s: %s", (int)it->len,
		    (const char *)it->path, strerror(h->error));
		rc = -1;
	}
	return rc;
}

static void
hashing_end(struct hashing *h)
{
	chunklist_free(h->list);
	chunklist_free(h->first);
	h->list = h->first = NULL;
	free(h->early);
	h->early = NULL;
	h->nearly = h->size = h->sent = 0;
	close(h->fd);
	h->fd = -1;
}

static int
begin_hash(struct put *p, struct hashing *h, struct item *it, struct failure *f)
{
	memset(h, 0, sizeof(*h));
	h->p = p;
	h->it = it;
	it->changed = 0;
	if ((h->fd = source_open(&p->s, it, &h->ctime, f)) == -1)
		return -1;
	h->writers = writers_of(h->fd, &h->ctime);
	if (fetch_hash(h->fd, 0, h->writers == WRITERS_SOME, hash_told,
		hash_came, h, f) == 0)
		return 0;
	close(h->fd);
	return -1;
}

/* Those whose content is not known, or was another. */
static int
send_some(struct put *p, struct failure *f)
{
	static struct hashing ring[HASHES_MAX]; /* may be answered late */
	size_t begun = 0, taken = 0, i;
	struct item *it;
	int rc = 0;

	for (i = 0; rc == 0 && i < p->s.n; i++) {
		it = &p->s.items[i];
		if (it->entry->type != ENTRY_FILE ||
		    (it->list != NULL && !it->changed))
			continue;
		if (begun - taken == HASHES_MAX) {
			rc = take_hashed(&ring[taken % HASHES_MAX], f);
			hashing_end(&ring[taken++ % HASHES_MAX]);
		}
		if (rc == 0 &&
		    (rc = begin_hash(p, &ring[begun % HASHES_MAX], it, f)) == 0)
			begun++;
	}
	for (; taken < begun; taken++) {
		if (rc == 0)
			rc = take_hashed(&ring[taken % HASHES_MAX], f);
		hashing_end(&ring[taken % HASHES_MAX]);
	}
	return rc == -1 ? -1 : upload_end(&p->u, f);
}

static const struct item *
first_changed(const struct put *p)
{
	size_t i;

	for (i = 0; i < p->s.n; i++)
		if (p->s.items[i].changed)
			return &p->s.items[i];
	return NULL;
}

static int
send_files(struct put *p, struct failure *f)
{
	const struct item *it = NULL;
	int tries;

	for (tries = 0; tries < TRIES_MAX; tries++) {
		if (send_some(p, f) == -1)
			return -1;
		if ((it = first_changed(p)) == NULL)
			return 0;
	}
	failure_set(f, "conflict", "changes",
	    "%.*s: it changes while it is read: do it again when nobody "
	    "writes to it",
	    (int)it->len, (const char *)it->path);
	return -1;
}

/* ---- a stream ---------------------------------------------------------------------------- */

static void
on_readable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(int *)arg = 1;
}

/* What is under way goes on, and an interrupt is heard. */
static int
wait_input(struct failure *f)
{
	static int ready;
	struct stat st;

	if (fstat(STDIN_FILENO, &st) == -1 || S_ISREG(st.st_mode) ||
	    S_ISBLK(st.st_mode))
		return 0;
	ready = 0;
	if (event_once(STDIN_FILENO, EV_READ, on_readable, &ready, NULL) == -1)
		return 0; /* of a kind that never lets wait */
	while (!ready)
		if (fetch_turn(f) == -1)
			return -1;
	return 0;
}

/* A piece of standard input as a file; *len 0: it has ended. */
static int
read_segment(size_t *len, struct failure *f)
{
	uint8_t *p = MAP_FAILED;
	ssize_t n = 1;
	int fd;

	*len = 0;
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd == -1 || ftruncate(fd, (off_t)SEGMENT_BYTES) == -1 ||
	    (p = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0)) == MAP_FAILED)
		goto fail;
	while (n != 0 && *len < SEGMENT_BYTES) {
		if (wait_input(f) == -1)
			goto out;
		n = read(STDIN_FILENO, p + *len, SEGMENT_BYTES - *len);
		if (n == -1 && errno != EINTR && errno != EAGAIN)
			goto fail;
		if (n > 0)
			*len += (size_t)n;
	}
	if (ftruncate(fd, (off_t)*len) == -1)
		goto fail;
	munmap(p, SEGMENT_BYTES);
	return fd;
fail:
	failure_set(f, "", "read", "standard input: %s", strerror(errno));
out:
	if (p != MAP_FAILED)
		munmap(p, SEGMENT_BYTES);
	if (fd != -1)
		close(fd);
	return -1;
}

/* The hashes of all segments, one behind the other; zero: a hole. */
struct slots {
	struct hash *v;
	size_t n, size;
};

static int
slots_add(struct slots *s, const struct chunklist *l, struct failure *f)
{
	uint64_t i;
	struct hash *more;
	size_t size;

	for (i = 0; i < chunklist_slots(l); i++) {
		if (s->n == s->size) {
			size = s->size == 0 ? 64 : 2 * s->size;
			more = reallocarray(s->v, size, sizeof(*more));
			if (more == NULL)
				return failure_memory(f);
			s->v = more;
			s->size = size;
		}
		memset(&s->v[s->n], 0, sizeof(s->v[0]));
		(void)chunklist_get(l, i, &s->v[s->n++]);
	}
	return 0;
}

static struct chunklist *
slots_list(const struct slots *s, uint64_t size)
{
	struct chunklist *l = chunklist_new(size, SEGMENT_SHIFT);
	size_t i;
	int rc = 0;

	for (i = 0; l != NULL && rc == 0 && i < s->n; i++)
		rc = hash_is_zero(&s->v[i]) ? chunklist_add_hole(l, 1)
					    : chunklist_add(l, &s->v[i]);
	if (rc == 0)
		return l;
	chunklist_free(l);
	return NULL;
}

static int
send_segment(struct put *p, int fd, struct slots *s, struct failure *f)
{
	/* Nobody else writes to it. */
	static int changed;
	struct chunklist *l = fetch_hash_now(fd, SEGMENT_SHIFT, f);
	int rc = -1;

	if (l != NULL && slots_add(s, l, f) == 0)
		rc = upload_add(&p->u, fd, l, &changed, f);
	chunklist_free(l);
	return rc;
}

static int
send_stream(struct put *p, struct failure *f)
{
	struct slots s = { NULL, 0, 0 };
	struct chunklist *l;
	size_t len = 0;
	int fd, rc = 0;

	do {
		if ((fd = read_segment(&len, f)) == -1) {
			rc = -1;
			break;
		}
		p->bytes += len;
		if (p->bytes > SAIL_SIZE_MAX) {
			failure_set(f, "", "too_large", "%s: too large",
			    p->to.path);
			rc = -1;
		} else if (len > 0)
			rc = send_segment(p, fd, &s, f);
		close(fd);
		tell(p);
	} while (rc == 0 && len == SEGMENT_BYTES);
	if (rc == 0)
		rc = upload_end(&p->u, f);
	if (rc == 0 && (l = slots_list(&s, p->bytes)) == NULL)
		rc = failure_memory(f);
	else if (rc == 0)
		rc = source_hashed(&p->s.items[p->s.n - 1], l, f);
	free(s.v);
	return rc;
}

/* ---- where from, and where to -------------------------------------------------------------- */

static int
is_stream(const struct put *p)
{
	return p->s.root == -1;
}

/* The last name of the source, in its own words; "": its contents are meant. */
static int
source_name(const char *from, char *out, size_t size, struct failure *f)
{
	size_t len = strlen(from), n = 0;

	while (len > 0 && from[len - 1] == '/')
		len--;
	while (n < len && from[len - n - 1] != '/')
		n++;
	if (n >= size) {
		failure_set(f, "", "bad_path", "%s: %s", from,
		    strerror(ENAMETOOLONG));
		return -1;
	}
	memcpy(out, from + len - n, n);
	out[n] = '\0';
	if (strcmp(out, ".") == 0 || strcmp(out, "..") == 0)
		*out = '\0';
	return 0;
}

static int
open_source(struct put *p, struct failure *f)
{
	struct stat st;

	p->from = p->inv->operand[0];
	if (strcmp(p->from, "-") == 0)
		return 0;
	p->s.root = open(p->from, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (p->s.root == -1 || fstat(p->s.root, &st) == -1) {
		failure_set(f, "", "open", "%s: %s", p->from, strerror(errno));
		return -1;
	}
	p->s.is_dir = S_ISDIR(st.st_mode);
	if (p->s.is_dir || S_ISREG(st.st_mode))
		return 0;
	failure_set(f, "", "not_a_file",
	    "%s: neither a file nor a directory: - takes standard input",
	    p->from);
	return -1;
}

/* Into a directory that is there, or as what was typed. */
static int
find_place(struct put *p, struct failure *f)
{
	char name[SAIL_NAME_MAX + 1] = "";
	struct blob *keep = NULL;
	const char *why;
	struct entry e;
	int is_dir = 0;
	char *path;

	if (remote_find(p->s.remote, p->to.path, p->to.len, &e, &keep, f) ==
	    0) {
		is_dir = e.type == ENTRY_DIR;
		blob_unref(keep);
	} else if (strcmp(f->code, "path_not_found") != 0)
		return -1;
	failure_clear(f);
	if (is_stream(p) && (is_dir || p->to.slash)) {
		failure_set(f, "", "is_a_directory",
		    "%s: a directory: what comes from standard input needs a "
		    "name",
		    p->inv->operand[1]);
		return -1;
	}
	if (!is_stream(p) && source_name(p->from, name, sizeof(name), f) == -1)
		return -1;
	p->contents = p->s.is_dir && *name == '\0';
	if (p->contents || is_stream(p) ||
	    (!is_dir && !(p->to.slash && !p->s.is_dir)))
		return 0;
	if (asprintf(&path, "%s%s%s", p->to.path, p->to.len > 0 ? "/" : "",
		name) == -1)
		return failure_memory(f);
	free(p->to.path);
	p->to.path = path;
	p->to.len = strlen(path);
	if ((why = path_problem(path, p->to.len)) == NULL)
		return 0;
	failure_set(f, "invalid_request", "bad_path", "%s: %s", path, why);
	return -1;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int
walk(struct put *p, struct failure *f)
{
	if (find_place(p, f) == -1 ||
	    source_above(&p->s, p->to.path, p->to.len, f) == -1)
		return -1;
	return is_stream(p)
	    ? source_stream(&p->s, p->to.path, p->to.len, f)
	    : source_walk(&p->s, p->to.path, p->to.len, p->contents, f);
}

/* The server does not have what it was told, or has forgotten the session. */
static int
may_repeat(const struct put *p, const struct failure *f)
{
	return !is_stream(p) &&
	    (strcmp(f->code, "missing_chunks") == 0 ||
		strcmp(f->code, "session_not_found") == 0);
}

static json_t *
send_and_publish(struct put *p, struct failure *f)
{
	char hex[HASH_HEX_LEN + 1];
	int fd;

	if ((is_stream(p) ? send_stream(p, f) : send_files(p, f)) == -1)
		return NULL;
	if (source_count(&p->s) == 0) {
		hash_hex(remote_id(p->s.remote), hex);
		return json_pack("{s:s, s:b}", "commit", hex, "changed", 0);
	}
	if ((fd = source_delta(&p->s, f)) == -1)
		return NULL;
	return publish_delta(&p->p, fd, f);
}

static void
forget_lists(struct put *p)
{
	size_t i;

	for (i = 0; i < p->s.n; i++) {
		chunklist_free(p->s.items[i].list);
		p->s.items[i].list = NULL;
		p->s.items[i].needed = 0;
	}
	p->files = p->bytes = 0;
}

static json_t *
put(struct put *p, struct put_session *session, struct failure *f)
{
	json_t *result = NULL;
	int tries, rc;

	p->s.remote = volpath_open(p->inv, &p->to, f);
	if (p->s.remote == NULL || fetch_interrupts(f) == -1 ||
	    walk(p, f) == -1)
		return NULL;
	put_session_find(session, &p->p, p->from, p->to.path);
	for (tries = 0; tries < TRIES_MAX; tries++) {
		/* What was published by it was another put. */
		if ((rc = publish_begin(&p->p, f)) == 1) {
			put_session_renew(session, &p->p);
			rc = publish_begin(&p->p, f);
		}
		if (rc == -1)
			return NULL;
		p->u.volume = p->p.volume;
		p->u.session = p->p.session;
		result = send_and_publish(p, f);
		if (result != NULL || !may_repeat(p, f) ||
		    tries == TRIES_MAX - 1)
			break;
		failure_clear(f);
		forget_lists(p);
		put_session_renew(session, &p->p);
	}
	if (result != NULL) {
		put_session_end(session);
		json_object_set_new(result, "bytes_uploaded",
		    json_integer((json_int_t)p->u.sent));
		if (p->s.not_kept == NULL)
			p->s.not_kept = json_array();
		json_object_set(result, "not_kept", p->s.not_kept);
	}
	return result;
}

int
run_put(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	struct put p = { .inv = inv, .s.root = -1 };
	struct put_session session = { .fd = -1 };
	json_t *result = NULL;
	int status;

	if (volpath_parse(&p.to, inv->operand[1], &f) == -1 ||
	    volpath_writable(&p.to, &f) == -1) {
		volpath_free(&p.to);
		return misused(inv, &f);
	}
	rebuild_more_files();
	p.p.inv = inv;
	p.p.volume = p.to.volume;
	p.u.tell = tell;
	p.u.arg = &p;
	if (open_source(&p, &f) == 0)
		result = put(&p, &session, &f);
	status = api_finish(inv, result, &f);
	put_session_close(&session);
	upload_free(&p.u);
	remote_free(p.s.remote);
	source_free(&p.s);
	volpath_free(&p.to);
	return status;
}
