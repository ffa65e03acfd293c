/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The libraries that the roles are built on do their work inside the filters
 * of those roles.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <linux/fs.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <event.h>
#include <event2/dns.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tls.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/sandbox.h"

#define UID 54321
#define GID 54322

#define CHECK(cond)                                            \
	do {                                                   \
		if (!(cond))                                   \
			fatal("line %d: %s", __LINE__, #cond); \
	} while (0)

static char dir[64];
static int listen_fd;
static uint16_t port;

static int
setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	(void)state;
	strlcpy(dir, "/tmp/test_libs.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL || chown(dir, UID, GID) == -1)
		return -1;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listen_fd, (struct sockaddr *)&sin, sizeof(sin)) == -1 ||
	    listen(listen_fd, 5) == -1 ||
	    getsockname(listen_fd, (struct sockaddr *)&sin, &len) == -1)
		return -1;
	port = ntohs(sin.sin_port);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	close(listen_fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* Runs f in a child that is that role. */
static pid_t
start(uint8_t role, unsigned int flags, void (*before)(void), void (*f)(void))
{
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (before != NULL)
		before();
	sandbox_enter(role, fd, UID, GID, flags);
	f();
	_exit(0);
}

static void
finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- every role ---------------------------------------------------------- */

static int
cmp(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void
common_work(void)
{
	uint8_t hash[32], key[32] = { 0 };
	unsigned int n = sizeof(hash);
	static int numbers[300000];
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *ai;
	char text[64];
	time_t now = time(NULL);
	struct tm tm;
	json_t *json;
	size_t size;
	char *dump;
	FILE *f;
	int i;

	CHECK(RAND_bytes(key, sizeof(key)) == 1);
	CHECK(EVP_Digest("x", 1, hash, &n, EVP_sha256(), NULL) == 1);
	CHECK(HMAC(EVP_sha256(), key, 32, hash, 32, hash, &n) != NULL);
	for (i = 0; i < 300000; i++)
		numbers[i] = (i * 719) % 300007;
	qsort(numbers, 300000, sizeof(int), cmp);
	CHECK(gmtime_r(&now, &tm) != NULL);
	CHECK(localtime_r(&now, &tm) != NULL);
	CHECK(strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm) > 0);
	CHECK(getaddrinfo("127.0.0.1", "80", &hints, &ai) == 0);
	freeaddrinfo(ai);
	json = json_pack("{s:i,s:s,s:f}", "a", 1, "b", "c", "d", 1.5);
	CHECK((dump = json_dumps(json, JSON_COMPACT)) != NULL);
	free(dump);
	json_decref(json);
	CHECK((f = open_memstream(&dump, &size)) != NULL);
	CHECK(fprintf(f, "%s %.3f %d", strerror(ENOENT), 1.5, errno) > 0);
	CHECK(fclose(f) == 0);
	free(dump);
	fprintf(stderr, "%s", "");
	CHECK(arc4random_uniform(10) < 10);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
	CHECK(sysconf(_SC_OPEN_MAX) > 0);
	(void)usleep(1);
	(void)isatty(2);
}

static void
before_common(void)
{
	CHECK(EVP_Digest("x", 1, (uint8_t[32]){ 0 }, NULL, EVP_sha256(),
		  NULL) == 1);
	CHECK(RAND_bytes((uint8_t[4]){ 0 }, 4) == 1);
}

static void
test_common(void **state)
{
	uint8_t role;

	(void)state;
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++)
		finish(start(role, 0, before_common, common_work));
}

/* ---- SQLite: manifest and meta ------------------------------------------- */

static void
sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fatalx("%s: %s", text, why);
}

static void
sqlite_work(void)
{
	sqlite3 *db;

	CHECK(sqlite3_open("/db", &db) == SQLITE_OK);
	sql(db,
	    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	    "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 1000000");
	sql(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)");
	sql(db,
	    "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
	    "SELECT i + 1 FROM n WHERE i < 20000) "
	    "INSERT INTO t SELECT i, randomblob(200) FROM n; COMMIT");
	sql(db, "SELECT * FROM t ORDER BY b LIMIT 5");
	sql(db, "DELETE FROM t WHERE a % 2; PRAGMA wal_checkpoint(TRUNCATE)");
	sql(db, "PRAGMA integrity_check; PRAGMA incremental_vacuum; VACUUM");
	sql(db, "PRAGMA journal_mode = DELETE; INSERT INTO t VALUES(1, 2)");
	CHECK(sqlite3_close(db) == SQLITE_OK);
}

static void
test_sqlite(void **state)
{
	char path[128];

	(void)state;
	finish(start(ROLE_META, 0, NULL, sqlite_work));
	snprintf(path, sizeof(path), "%s/db", dir);
	assert_int_equal(unlink(path), 0);
	finish(start(ROLE_MANIFEST, SANDBOX_THREADS, NULL, sqlite_work));
}

/* ---- files: fuse, cache, store ------------------------------------------- */

static void
file_work(void)
{
	char big[65536] = { 1 };
	struct stat st;
	struct statx stx;
	int fd, fd2, d;
	DIR *dp;

	CHECK(mkdir("/d", 0700) == 0);
	CHECK((d = open("/d", O_RDONLY | O_DIRECTORY)) != -1);
	CHECK((fd = openat(d, "f", O_RDWR | O_CREAT | O_EXCL, 0600)) != -1);
	CHECK(pwrite(fd, big, sizeof(big), 0) == sizeof(big));
	CHECK(fallocate(fd, 0, 0, 1 << 20) == 0);
	(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
	    4096);
	CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	CHECK(fdatasync(fd) == 0 && fsync(d) == 0 && syncfs(d) == 0);
	CHECK((fd2 = openat(d, "g", O_RDWR | O_CREAT, 0600)) != -1);
	if (ioctl(fd2, FICLONE, fd) == -1)
		CHECK(copy_file_range(fd, NULL, fd2, NULL, 4096, 0) == 4096);
	CHECK(ftruncate(fd2, 10) == 0 && lseek(fd2, 0, SEEK_DATA) != -2);
	CHECK(flock(fd2, LOCK_EX | LOCK_NB) == 0);
	CHECK(fchmod(fd2, 0400) == 0);
	CHECK(futimens(fd2, NULL) == 0);
	CHECK(linkat(d, "g", d, "h", 0) == 0);
	CHECK(renameat2(d, "h", d, "i", RENAME_NOREPLACE) == 0);
	CHECK(rename("/d/i", "/i") == 0);
	CHECK(statx(d, "g", 0, STATX_BASIC_STATS, &stx) == 0);
	CHECK(stat("/d/g", &st) == 0 && lstat("/d/g", &st) == 0);
	CHECK(fstatat(d, "g", &st, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK((dp = opendir("/d")) != NULL && readdir(dp) != NULL);
	CHECK(closedir(dp) == 0);
	CHECK(unlinkat(d, "g", 0) == 0 && unlink("/i") == 0);
	CHECK(unlink("/d/f") == 0 && rmdir("/d") == 0);
	CHECK(open("/../etc/passwd", O_RDONLY) == -1);
}

static void
test_files(void **state)
{
	(void)state;
	finish(start(ROLE_FUSE, SANDBOX_THREADS, NULL, file_work));
	finish(start(ROLE_CACHE, 0, NULL, file_work));
	finish(start(ROLE_STORE, 0, NULL, file_work));
}

/* What the cache gives out: read-only whatever the receiver does with it. */
static int tree_fd = -1;

static void
before_tree(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/clean", dir);
	CHECK((fd = open(path, O_WRONLY | O_CREAT, 0600)) != -1);
	CHECK(fchown(fd, UID, GID) == 0);
	close(fd);
	tree_fd = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	CHECK(tree_fd != -1);
	CHECK(mount_setattr(tree_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) ==
	    0);
}

static void
tree_work(void)
{
	CHECK(openat(tree_fd, "clean", O_RDWR) == -1 && errno == EROFS);
	CHECK(openat(tree_fd, "clean", O_RDONLY) != -1);
	CHECK(open("/clean", O_RDWR) != -1);
}

static void
test_read_only_tree(void **state)
{
	(void)state;
	finish(start(ROLE_CACHE, 0, before_tree, tree_work));
}

/* ---- curl, evdns, TLS: fetch --------------------------------------------- */

static struct event_base *base;

static void
on_dns(int result, char type, int count, int ttl, void *addresses, void *arg)
{
	(void)result;
	(void)type;
	(void)count;
	(void)ttl;
	(void)addresses;
	*(int *)arg = 1;
	event_loopbreak();
}

static void
before_fetch(void)
{
	before_common();
	CHECK(curl_global_init(CURL_GLOBAL_ALL) == 0);
	CHECK((base = event_init()) != NULL);
}

static size_t
swallow(char *data, size_t size, size_t n, void *arg)
{
	(void)data;
	*(size_t *)arg += size * n;
	return size * n;
}

static void
fetch_work(void)
{
	struct evdns_base *dns;
	struct timeval tv = { 5, 0 };
	char url[64], ns[64];
	size_t got = 0;
	int answered = 0, running;
	SSL_CTX *tls;
	CURLM *multi;
	CURL *easy;

	/* A refused question is an answer too: nobody listens there. */
	CHECK((dns = evdns_base_new(base, 0)) != NULL);
	snprintf(ns, sizeof(ns), "127.0.0.1:%u", port);
	CHECK(evdns_base_nameserver_ip_add(dns, ns) == 0);
	evdns_base_set_option(dns, "timeout", "0.2");
	evdns_base_set_option(dns, "attempts", "1");
	CHECK(evdns_base_resolve_ipv4(dns, "sail.example.org",
		  DNS_QUERY_NO_SEARCH, on_dns, &answered) != NULL);
	event_loopexit(&tv);
	event_dispatch();
	CHECK(answered);
	evdns_base_free(dns, 1);

	CHECK((tls = SSL_CTX_new(TLS_client_method())) != NULL);
	CHECK(SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1);
	SSL_CTX_free(tls);

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", port);
	CHECK((multi = curl_multi_init()) != NULL);
	CHECK((easy = curl_easy_init()) != NULL);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &got);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_multi_add_handle(multi, easy);
	do {
		CHECK(curl_multi_perform(multi, &running) == 0);
		CHECK(curl_multi_poll(multi, NULL, 0, 100, NULL) == 0);
	} while (running);
	CHECK(got == 5);
	curl_multi_remove_handle(multi, easy);
	curl_easy_cleanup(easy);
	curl_multi_cleanup(multi);
}

static void
test_fetch(void **state)
{
	static const char answer[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	struct pollfd pfd = { .fd = listen_fd, .events = POLLIN };
	char request[1024];
	pid_t pid;
	int fd;

	(void)state;
	pid = start(ROLE_FETCH, 0, before_fetch, fetch_work);
	if (poll(&pfd, 1, 20000) == 1) {
		fd = accept(listen_fd, NULL, NULL);
		assert_true(read(fd, request, sizeof(request)) > 0);
		assert_int_equal(write(fd, answer, sizeof(answer) - 1),
		    sizeof(answer) - 1);
		close(fd);
	}
	finish(pid);
}

/* ---- libmicrohttpd: api and store ---------------------------------------- */

static int requests;
static unsigned int mhd_flags;

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *size,
    void **con)
{
	struct MHD_Response *r;
	enum MHD_Result ret;
	static char body[] = "hello";
	int fd = -1;

	(void)url;
	(void)method;
	(void)version;
	(void)data;
	(void)size;
	if (*con == NULL) {
		*con = c;
		return MHD_YES;
	}
	/* The store sends files; the api what it has in memory. */
	if (cls != NULL) {
		fd = open("/body", O_RDWR | O_CREAT, 0600);
		CHECK(write(fd, body, 5) == 5);
		r = MHD_create_response_from_fd(5, fd);
	} else
		r = MHD_create_response_from_buffer(5, body,
		    MHD_RESPMEM_PERSISTENT);
	CHECK(r != NULL);
	ret = MHD_queue_response(c, 200, r);
	MHD_destroy_response(r);
	return ret;
}

static void
on_done(void *cls, struct MHD_Connection *c, void **con,
    enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)c;
	(void)con;
	(void)code;
	__atomic_fetch_add(&requests, 1, __ATOMIC_SEQ_CST);
}

static void
mhd_work(void *cls)
{
	struct MHD_Daemon *d;
	int i;

	d = MHD_start_daemon(mhd_flags, 0, NULL, NULL, on_request, cls,
	    MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED,
	    on_done, NULL, MHD_OPTION_CONNECTION_TIMEOUT, 10U, MHD_OPTION_END);
	CHECK(d != NULL);
	for (i = 0;
	     i < 2000 && __atomic_load_n(&requests, __ATOMIC_SEQ_CST) == 0;
	     i++) {
		if (!(mhd_flags & MHD_USE_INTERNAL_POLLING_THREAD))
			CHECK(MHD_run(d) == MHD_YES);
		usleep(5000);
	}
	CHECK(requests == 1);
	MHD_stop_daemon(d);
}

static void
api_work(void)
{
	mhd_work(NULL);
}

static void
store_work(void)
{
	mhd_work(dir);
}

/* Whether it has ended; its status is left for finish(). */
static int
ended(pid_t pid)
{
	siginfo_t si = { .si_pid = 0 };

	assert_int_equal(waitid(P_PID, (id_t)pid, &si,
			     WEXITED | WNOHANG | WNOWAIT),
	    0);
	return si.si_pid != 0;
}

static void
ask(pid_t pid)
{
	static const char request[] =
	    "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct timeval tv = { 20, 0 };
	char answer[2048];
	size_t used = 0;
	ssize_t n;
	int fd;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(write(fd, request, sizeof(request) - 1),
	    sizeof(request) - 1);
	/* The listening socket is open here too: a dead server is silent. */
	while (used < sizeof(answer) - 1 && !ended(pid) &&
	    (n = read(fd, answer + used, sizeof(answer) - 1 - used)) > 0)
		used += (size_t)n;
	answer[used] = '\0';
	close(fd);
	assert_non_null(strstr(answer, "\r\n\r\nhello"));
}

static void
serve(uint8_t role, unsigned int flags, unsigned int sandbox_flags,
    void (*work)(void))
{
	pid_t pid;

	mhd_flags = flags;
	pid = start(role, sandbox_flags, before_common, work);
	ask(pid);
	finish(pid);
}

static void
test_http_api(void **state)
{
	(void)state;
	serve(ROLE_API, MHD_USE_EPOLL, 0, api_work);
}

static void
test_http_metrics(void **state)
{
	(void)state;
	serve(ROLE_METRICS, MHD_USE_EPOLL, 0, api_work);
}

static void
test_http_api_thread(void **state)
{
	(void)state;
	serve(ROLE_API, MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC,
	    SANDBOX_THREADS, api_work);
}

static void
test_http_store(void **state)
{
	(void)state;
	serve(ROLE_STORE, MHD_USE_EPOLL, 0, store_work);
}

static void
test_http_store_thread(void **state)
{
	(void)state;
	serve(ROLE_STORE, MHD_USE_EPOLL_INTERNAL_THREAD, SANDBOX_THREADS,
	    store_work);
}

/* ---- libtls: tls --------------------------------------------------------- */

static char *pem; /* a certificate and its key */
static size_t pem_len;

static void
before_tls(void)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;

	before_common();
	CHECK(tls_init() == 0);
	CHECK(x != NULL && key != NULL && bio != NULL);
	CHECK(X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL);
	CHECK(X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL);
	CHECK(X509_set_pubkey(x, key) == 1);
	CHECK(X509_sign(x, key, EVP_sha256()) > 0);
	CHECK(PEM_write_bio_X509(bio, x) == 1);
	CHECK(
	    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
	pem_len = (size_t)BIO_get_mem_data(bio, &data);
	pem = strndup(data, pem_len);
}

static void
tls_work(void)
{
	struct tls_config *config;
	struct tls *server, *one;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *client = SSL_new(ctx);
	int sv[2], pair[2], a = TLS_WANT_POLLIN, b = -1, i;
	char buf[8];

	/* In the sandbox, as a renewed certificate comes. */
	CHECK((config = tls_config_new()) != NULL);
	CHECK(tls_config_set_keypair_mem(config, (uint8_t *)pem, pem_len,
		  (uint8_t *)pem, pem_len) == 0);
	CHECK((server = tls_server()) != NULL);
	CHECK(tls_configure(server, config) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		  sv) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(tls_accept_fds(server, &one, sv[0], sv[0]) == 0);
	CHECK(client != NULL && SSL_set_fd(client, sv[1]) == 1);
	for (i = 0; i < 100 && (a != 0 || b != 1); i++) {
		if (b != 1)
			b = SSL_connect(client);
		if (a != 0)
			a = tls_handshake(one);
	}
	CHECK(a == 0 && b == 1);
	CHECK(SSL_write(client, "hello", 5) == 5);
	CHECK(tls_read(one, buf, sizeof(buf)) == 5);
	CHECK(tls_write(one, buf, 5) == 5);
	CHECK(SSL_read(client, buf, sizeof(buf)) == 5);
	CHECK(tls_close(one) == 0);
	tls_free(one);
	tls_free(server);
	tls_config_free(config);
}

static void
test_tls(void **state)
{
	(void)state;
	finish(start(ROLE_TLS, 0, before_tls, tls_work));
}

static void
other_pair(void)
{
	int sv[2];

	(void)socketpair(AF_INET, SOCK_STREAM, 0, sv);
}

static void
test_pairs(void **state)
{
	int status;

	(void)state;
	assert_true(
	    waitpid(start(ROLE_TLS, 0, NULL, other_pair), &status, 0) != -1);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- signals ------------------------------------------------------------- */

/*
 * A descriptor's owner is sent a signal of one's choice when there is something
 * to be read: kill(2) by another name, for processes of the same user.
 */
static void
own_signal(void)
{
	int sv[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	(void)fcntl(sv[0], F_SETSIG, SIGKILL);
}

static void
own_descriptor(void)
{
	(void)fcntl(listen_fd, F_SETOWN, getppid());
}

static void
test_no_signals(void **state)
{
	uint8_t role;
	int status;

	(void)state;
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++) {
		assert_true(waitpid(start(role, 0, NULL, own_descriptor),
				&status, 0) != -1);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
	assert_true(
	    waitpid(start(ROLE_FETCH, 0, NULL, own_signal), &status, 0) != -1);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_common),
		T(test_sqlite),
		T(test_files),
		T(test_read_only_tree),
		T(test_fetch),
		T(test_http_api),
		T(test_http_metrics),
		T(test_http_api_thread),
		T(test_http_store),
		T(test_http_store_thread),
		T(test_tls),
		T(test_pairs),
		T(test_no_signals),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: must be root\n");
		return 0;
	}
	log_init("test", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
