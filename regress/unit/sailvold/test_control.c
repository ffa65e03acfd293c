/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a request through ctl or the control socket is answered once, the same
 * when it comes again; who may not is refused; nonsense ends in an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/memfd.h"
#include "regress/unit/sailvold/fake_mount.h"
#include "regress/unit/sailvold/fake_rows.h"
#include "sailvold/control.h"
#include "sailvold/turns.h"

static struct chan *fuse_end, *fuse_peer, *parent_end, *parent_peer;
static char ctl_text[8192];
static unsigned int ctl_last, ctl_busy, parent_asked;
static uint32_t parent_id;
static const struct hash ticket = { { 1, 2, 3 } };
static char parent_line[8192]; /* that it found in the client's socket */
static int parent_refuses;     /* and takes no line */

struct chan *
role_parent(void)
{
	return parent_end;
}

static int
on_line(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct memfd_view line;
	uint64_t session;
	uint8_t last;
	int fd = imsg_get_fd(im);

	(void)ch;
	(void)id;
	assert_int_equal(ibuf_get_n64(body, &session), 0);
	assert_int_equal(ibuf_get_n8(body, &last), 0);
	assert_int_equal(memfd_map(fd, sizeof(ctl_text) - 1, &line), 0);
	close(fd);
	if (last) {
		memcpy(ctl_text, line.data, line.len);
		ctl_text[line.len] = '\0';
		ctl_last++;
		ctl_busy += strstr(ctl_text, "\"busy\"") != NULL;
	}
	memfd_unmap(&line);
	return 0;
}

static int
on_parent(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct parent_req req;
	int fd = imsg_get_fd(im);
	ssize_t n;

	(void)ch;
	parent_asked++;
	parent_id = id;
	if (fd == -1)
		return 0; /* status */
	assert_int_equal(parent_req_recv(body, &req), 0);
	assert_memory_equal(&req.ticket, &ticket, sizeof(ticket));
	if (!parent_refuses) {
		n = recv(fd, parent_line, req.line, MSG_DONTWAIT);
		parent_line[n > 0 ? n : 0] = '\0';
		assert_int_equal(strlen(parent_line), req.line);
	}
	close(fd);
	mount_req_free(&req.mount);
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_MANIFEST_FUSE_CTL_LINE, ROLE_MANIFEST, CHAN_FD, 9, 9, on_line,
	    "ctl line" },
	{ IMSG_MANIFEST_PARENT_DO, ROLE_MANIFEST, CHAN_FD, 0, 65536, on_parent,
	    "do" },
	{ IMSG_MANIFEST_PARENT_STATUS, ROLE_MANIFEST, CHAN_NOFD, 0, 65536,
	    on_parent, "status" },
};
static const struct chan_ops ops = { rules, 3, NULL, NULL };

static int
setup_control(void **state)
{
	int sv[2];

	setup(state);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	fuse_end = chan_new(sv[0], ROLE_MANIFEST, 1, PROC_MAX_BODY, &ops, NULL);
	fuse_peer =
	    chan_new(sv[1], ROLE_MANIFEST, 1, PROC_MAX_BODY, &ops, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	parent_end =
	    chan_new(sv[0], ROLE_MANIFEST, 0, PROC_MAX_BODY, &ops, NULL);
	parent_peer =
	    chan_new(sv[1], ROLE_MANIFEST, 0, PROC_MAX_BODY, &ops, NULL);
	mnt.fuse = fuse_end;
	ctl_last = ctl_busy = parent_asked = 0;
	return 0;
}

static int
teardown_control(void **state)
{
	teardown(state);
	chan_free(fuse_end);
	chan_free(fuse_peer);
	chan_free(parent_end);
	chan_free(parent_peer);
	return 0;
}

static void
turn(void)
{
	unsigned int i;

	for (i = 0; i < 30; i++) {
		while (one_step())
			;
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
}

static void
ctl(uint64_t session, const char *line)
{
	control_ctl(&mnt, session, 0, 0, offset, line, strlen(line));
	turn();
}

/* A client of that user: its end of the connection. */
static int
client(uint32_t uid)
{
	const struct control_peer p = { .uid = uid,
		.gid = uid,
		.pid = 1,
		.ticket = ticket };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	control_client(sv[0], &p);
	return sv[1];
}

/* The last line of what came. */
static const char *
hear(int fd)
{
	static char buf[65536];
	char *nl;
	ssize_t n;

	n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	if (n <= 0)
		return n == 0 ? "(closed)" : "(nothing)";
	buf[n] = '\0';
	assert_int_equal(buf[n - 1], '\n');
	buf[n - 1] = '\0';
	nl = strrchr(buf, '\n');
	return nl != NULL ? nl + 1 : buf;
}

/* The last line that a request is answered with. */
static const char *
say(int fd, const char *line)
{
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	turn();
	return hear(fd);
}

static void
expect(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("expected %s in: %s", part, text);
}

static void
sql(const char *text)
{
	sqlite3 *db = *(sqlite3 **)(void *)manifest_db;

	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

static void
ctl_answers_once(void **state)
{
	char first[8192];

	(void)state;
	make_file(2, "f", "hello");
	remove_name("b");
	ctl(7, "{\"request\":\"commit\"}");
	assert_int_equal(ctl_last, 1);
	expect(ctl_text, "\"result\"");
	snprintf(first, sizeof(first), "%s", ctl_text);
	/* A fuse that was started anew asks for the same line. */
	control_fuse_down(&mnt);
	ctl(7, "{\"request\":\"commit\"}");
	assert_int_equal(ctl_last, 2);
	assert_string_equal(first, ctl_text);
	/* Nor when the database cannot say. */
	sql("ALTER TABLE job RENAME TO gone");
	ctl(7, "{\"request\":\"commit\"}");
	expect(ctl_text, "\"unavailable\"");
	sql("ALTER TABLE gone RENAME TO job");
	ctl(7, "{\"request\":\"commit\"}");
	assert_string_equal(first, ctl_text);
	ctl_last = 2;
	assert_int_equal(published_count, 1);
	ctl(8, "{\"request\":\"mount\",\"volume\":\"v\",\"path\":\"/x\"}");
	expect(ctl_text, "unknown_request");
	ctl(9, "nonsense");
	expect(ctl_text, "bad_json");
	ctl(10, "{\"request\":\"status\"}");
	expect(ctl_text, "\"volume\":\"v\"");
	ctl(11, "{\"request\":\"diff\"}");
	expect(ctl_text, "\"count\":0");
	ctl(12, "{\"request\":\"attach\",\"job\":1}");
	assert_string_equal(first, ctl_text);
	ctl(13, "{\"request\":\"stash\",\"action\":\"show\",\"id\":99}");
	expect(ctl_text, "not_found");
}

/* Of a mount, one at a time; who has gone holds up nobody; not too many. */
static void
diffs_in_turn(void **state)
{
	static const char line[] = "{\"request\":\"diff\"}";
	unsigned int i, most = 0;

	(void)state;
	make_file(2, "f", "hello");
	remove_name("b");
	turn_ms = 0; /* each step is a slice */
	for (i = 0; i < 4; i++)
		control_ctl(&mnt, 20 + i, 0, 0, offset, line, strlen(line));
	control_ctl_close(&mnt, 22);
	while (mnt.held == 0)
		assert_true(one_step());
	control_ctl_close(&mnt, 20); /* the one that goes on */
	for (i = 0; i < 300 && ctl_last < 2; i++) {
		if (mnt.held > most)
			most = mnt.held;
		one_step();
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(ctl_last, 2);
	expect(ctl_text, "\"count\":2");
	assert_int_equal(most, 1);
	assert_int_equal(mnt.held, 0);
	for (i = 0; i < 65; i++)
		control_ctl(&mnt, 30 + i, 0, 0, offset, line, strlen(line));
	turn_ms = 5;
	for (i = 0; i < 10000 && ctl_last < 2 + 65; i++)
		turn();
	assert_int_equal(ctl_last, 2 + 65);
	assert_int_equal(ctl_busy, 1);
	/* Those whose askers went make room. */
	for (i = 0; i < 200; i++) {
		control_ctl(&mnt, 200 + i, 0, 0, offset, line, strlen(line));
		control_ctl_close(&mnt, 200 + i);
	}
	ctl_text[0] = '\0';
	ctl(500, line);
	for (i = 0; i < 10000 && ctl_text[0] == '\0'; i++)
		turn();
	expect(ctl_text, "\"count\":2");
}

/* Who has gone is put aside by one who is refused, too: the next has its turn. */
static void
diffs_after_gone(void **state)
{
	static const char line[] = "{\"request\":\"diff\"}";
	static const char bad[] = "{\"request\":\"diff\",\"after\":\"/\"}";
	unsigned int i;

	(void)state;
	make_file(2, "f", "hello");
	turn_ms = 0;
	control_ctl(&mnt, 20, 0, 0, offset, line, strlen(line));
	control_ctl(&mnt, 21, 0, 0, offset, line, strlen(line));
	while (mnt.held == 0)
		assert_true(one_step());
	control_ctl_close(&mnt, 20);
	control_ctl(&mnt, 22, 0, 0, offset, bad, strlen(bad));
	turn_ms = 5;
	for (i = 0; i < 10000 && ctl_last < 2; i++)
		turn();
	assert_int_equal(ctl_last, 2);
	expect(ctl_text, "\"count\":1");
}

static void
ctl_closed_job_goes_on(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	control_ctl(&mnt, 7, 0, 0, offset, "{\"request\":\"commit\"}", 20);
	control_ctl_close(&mnt, 7);
	run_all();
	assert_int_equal(ctl_last, 0);
	assert_int_equal(published_count, 1);
}

static void
clients_and_rights(void **state)
{
	int root = client(0), other = client(1000);

	(void)state;
	make_file(2, "f", "hello");
	expect(say(other, "{\"request\":\"commit\",\"path\":\"/mnt\"}\n"),
	    "permission");
	expect(say(other,
		   "{\"request\":\"api\",\"method\":\"GET\","
		   "\"target\":\"/v1/keys\"}\n"),
	    "permission");
	expect(say(other, "{\"request\":\"status\",\"path\":\"/mnt\"}\n"),
	    "\"objects\"");
	expect(say(root, "{\"request\":\"diff\",\"path\":\"/nowhere\"}\n"),
	    "not_mounted");
	/* Of what is not hers she does not hear that it is dirty. */
	mnt.uid = 1001;
	expect(say(other, "{\"request\":\"umount\",\"path\":\"/mnt\"}\n"),
	    "permission");
	expect(say(other,
		   "{\"request\":\"umount\",\"path\":\"/mnt\","
		   "\"commit\":true}\n"),
	    "permission");
	mnt.uid = 1000;
	expect(say(other, "{\"request\":\"umount\",\"path\":\"/mnt\"}\n"),
	    "refused");
	mnt.uid = 0;
	expect(say(root, "{\"request\":\"umount\",\"path\":\"/mnt\"}\n"),
	    "refused");
	assert_int_equal(parent_asked, 0);
	expect(say(root,
		   "{\"request\":\"umount\",\"path\":\"/mnt\","
		   "\"commit\":true}\n"),
	    "progress");
	assert_int_equal(published_count, 1);
	assert_int_equal(parent_asked, 1);
	control_parent_done(parent_id, 0, "", "", 0);
	expect(say(root,
		   "{\"request\":\"api\",\"method\":\"GET\",\"target\":"
		   "\"/v1/whoami\"}\n"),
	    "\"status\":200");
	expect(say(root,
		   "{\"request\":\"mount\",\"volume\":\"v\",\"path\":"
		   "\"x\"}\n"),
	    "invalid_request");
	close(root);
	close(other);
	turn();
}

#define UMOUNT "{\"request\":\"umount\",\"path\":\"/nowhere\"}\n"
#define STATUS "{\"request\":\"nothing\"}\n"

/* What root asks of the parent is for the parent to read, whatever stands before
   and behind it; but for what comes in pieces.  Of others nothing is. */
static void
parents_line(void **state)
{
	int root = client(0), other = client(1000);
	size_t i;

	(void)state;
	expect(say(root, STATUS STATUS UMOUNT STATUS UMOUNT STATUS),
	    "unknown_request");
	assert_int_equal(parent_asked, 1);
	assert_string_equal(parent_line, UMOUNT);
	parent_line[0] = '\0';
	control_parent_done(parent_id, 0, "", "", 0);
	turn();
	assert_int_equal(parent_asked, 2);
	assert_string_equal(parent_line, UMOUNT);
	control_parent_done(parent_id, EPERM, "no", "", 0);
	expect(say(root, STATUS), "unknown_request");
	/* Looks like one. */
	expect(say(root,
		   "{\"request\":\"nothing\",\"path\":\"mount\"}\n" STATUS),
	    "unknown_request");
	assert_int_equal(parent_asked, 2);
	/* The rest of it is waited for. */
	for (i = 0; i < sizeof(UMOUNT) - 1; i++) {
		assert_int_equal(write(root, &UMOUNT[i], 1), 1);
		turn();
	}
	assert_int_equal(parent_asked, 3);
	assert_string_equal(parent_line, UMOUNT);
	control_parent_done(parent_id, 0, "", "", 0);
	expect(say(root, STATUS), "unknown_request");
	assert_string_equal(say(root, "{\"request\":\"umo"), "(nothing)");
	assert_string_equal(say(root, "unt\",\"path\":\"/nowhere\"}\n"),
	    "(nothing)");
	assert_int_equal(parent_asked, 4);
	assert_string_equal(parent_line, UMOUNT);
	control_parent_done(parent_id, 0, "", "", 0);
	turn();
	expect(say(other, STATUS UMOUNT), "unknown_request");
	assert_int_equal(parent_asked, 5);
	assert_string_equal(parent_line, "");
	control_parent_done(parent_id, 0, "", "", 0);
	close(root);
	close(other);
	turn();
}

/* A line that the parent does not take is not asked again and again; nor is one
   of root's who has left asked at all. */
static void
refused_line(void **state)
{
	int root = client(0), other = client(1000);
	char c;

	(void)state;
	parent_refuses = 1;
	assert_string_equal(say(root, UMOUNT STATUS), "(nothing)");
	assert_int_equal(parent_asked, 1);
	control_parent_done(parent_id, PARENT_REFUSED, "no", "", 0);
	expect(say(other, STATUS), "unknown_request");
	assert_int_equal(parent_asked, 1);
	expect(hear(root), "permission");
	assert_true(recv(root, &c, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
	close(root);
	/* Others have no line there. */
	assert_string_equal(say(other, UMOUNT), "(nothing)");
	assert_int_equal(parent_asked, 2);
	control_parent_done(parent_id, PARENT_REFUSED, "no", "", 0);
	expect(say(other, STATUS), "unknown_request");
	close(other);
	parent_refuses = 0;
	root = client(0);
	assert_int_equal(write(root, UMOUNT, strlen(UMOUNT)), strlen(UMOUNT));
	close(root);
	turn();
	assert_int_equal(parent_asked, 2);
	other = client(1000);
	assert_int_equal(write(other, UMOUNT, strlen(UMOUNT)), strlen(UMOUNT));
	close(other);
	turn();
	assert_int_equal(parent_asked, 3);
}

static struct event *idle_event;

static int
find_idle(const struct event_base *b, const struct event *ev, void *arg)
{
	(void)b;
	(void)arg;
	if (event_get_events(ev) & EV_ET)
		idle_event = (struct event *)(uintptr_t)ev;
	return 0;
}

/* When the one client that there is has been idle for too long, in ms. */
static int64_t
idle_at(void)
{
	struct timeval tv;

	idle_event = NULL;
	event_base_foreach_event(base, find_idle, NULL);
	assert_non_null(idle_event);
	assert_true(event_pending(idle_event, EV_TIMEOUT, &tv));
	return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

static void
idle_now(void)
{
	(void)idle_at();
	event_active(idle_event, EV_TIMEOUT, 1);
	turn();
}

/* Who waits for an answer, or reads one, is not idle; after it, from then on. */
static void
idle_clients(void **state)
{
	static char buf[65536];
	unsigned int answers = 0, i;
	int fd = client(1000);
	int64_t before;
	ssize_t n, at;

	(void)state;
	assert_string_equal(say(fd, UMOUNT), "(nothing)");
	before = idle_at();
	usleep(50 * 1000);
	control_parent_done(parent_id, 0, "", "", 0);
	turn();
	assert_true(idle_at() >= before + 40);
	expect(hear(fd), "result");
	assert_string_equal(say(fd, UMOUNT), "(nothing)");
	idle_now();
	control_parent_done(parent_id, 0, "", "", 0);
	turn();
	expect(hear(fd), "result");
	memset(buf, '\n', 5000);
	assert_int_equal(write(fd, buf, 5000), 5000);
	turn();
	idle_now(); /* much is unread */
	for (i = 0; i < 10000 && answers < 5000; i++) {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		assert_int_not_equal(n, 0);
		for (at = 0; at < n; at++)
			answers += buf[at] == '\n';
		turn();
	}
	assert_int_equal(answers, 5000);
	idle_now();
	assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), 0);
	close(fd);
}

/* One that sends no more is answered all the same, and only then let go. */
static void
half_closed(void **state)
{
	static const char two[] = "{\"request\":\"commit\",\"path\":\"/mnt\"}\n"
				  "{\"request\":\"nothing\"}\nhalf a line";
	int fd = client(0), gone = client(0);
	char buf[8192];
	ssize_t n;

	(void)state;
	make_file(2, "f", "hello");
	assert_int_equal(write(fd, two, sizeof(two) - 1), sizeof(two) - 1);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(write(gone, two, sizeof(two) - 1), sizeof(two) - 1);
	close(gone);
	turn();
	n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT | MSG_PEEK);
	assert_true(n > 0);
	n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	buf[n] = '\0';
	expect(buf, "\"result\"");
	expect(buf, "unknown_request");
	assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void
hostile_clients(void **state)
{
	static char junk[80 * 1024];
	int fds[70], i;

	(void)state;
	for (i = 0; i < 70; i++)
		fds[i] = client(1000);
	turn();
	expect(say(fds[0], "{\"request\":\"nothing\"}\n"), "unknown_request");
	assert_int_equal(recv(fds[69], junk, 1, MSG_DONTWAIT), 0);
	for (i = 0; i < 70; i++)
		close(fds[i]);
	turn();
	fds[0] = client(1000);
	memset(junk, 'x', sizeof(junk));
	(void)!send(fds[0], junk, sizeof(junk), MSG_DONTWAIT);
	turn();
	/* Closed with bytes that nobody read: the end, or a reset. */
	assert_true(
	    recv(fds[0], junk, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
	close(fds[0]);
	/* Leaves in the middle of a line, and of a job. */
	fds[0] = client(0);
	make_file(2, "f", "hello");
	assert_true(
	    send(fds[0], "{\"request\":\"commit\",\"path\":\"/mnt\"}\n{\"requ",
		41, 0) > 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	close(fds[0]);
	turn();
	turn();
	assert_int_equal(published_count, 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_control, teardown_control)
	const struct CMUnitTest tests[] = {
		T(ctl_answers_once),
		T(diffs_in_turn),
		T(diffs_after_gone),
		T(ctl_closed_job_goes_on),
		T(clients_and_rights),
		T(parents_line),
		T(refused_line),
		T(idle_clients),
		T(half_closed),
		T(clients_and_rights),
		T(parents_line),
		T(hostile_clients),
	};

	signal(SIGPIPE, SIG_IGN); /* as every role does */
	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
