/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: bytes of a file.  Reading, writing, sizes,
 * holes, copies in the kernel, and mappings.
 */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "regress/posix/posix.h"

#define MIB (1024 * 1024)

/* The bytes of a file from offset on are all that byte. */
static void
all_bytes(int fd, off_t offset, size_t size, int byte)
{
	static char buf[MIB];
	size_t i;

	TRUE(size <= sizeof(buf));
	EQUAL(size, OK(pread(fd, buf, size, offset)));
	for (i = 0; i < size; i++)
		if (buf[i] != byte)
			fail("expected %d at %lld, got %d", byte,
			    (long long)(offset + (off_t)i), buf[i]);
}

/* The bytes from offset on are those that fill() makes. */
static void
filled(int fd, off_t offset, size_t size, off_t first, unsigned int seed)
{
	char *want = malloc(size), *got = malloc(size);

	TRUE(want != NULL && got != NULL);
	fill(want, size, (size_t)first, seed);
	EQUAL(size, OK(pread(fd, got, size, offset)));
	TRUE(memcmp(want, got, size) == 0);
	free(want);
	free(got);
}

/* ---- reading and writing ------------------------------------------------ */

static void
write_read(void)
{
	static char buf[3 * MIB + 17];
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	fill(buf, sizeof(buf), 0, 1);
	EQUAL(sizeof(buf), write(fd, buf, sizeof(buf)));
	EQUAL(sizeof(buf), fd_stat(fd).st_size);
	filled(fd, 0, sizeof(buf), 0, 1);
	filled(fd, MIB - 3, 100, MIB - 3, 1);
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	filled(fd, 0, sizeof(buf), 0, 1);
	TRUE(fd_stat(fd).st_blocks > 0);
}

static void
read_past_end(void)
{
	char buf[16];
	int fd;

	put("f", "abc");
	fd = OK(open("f", O_RDWR));
	EQUAL(0, pread(fd, buf, sizeof(buf), 3));
	EQUAL(0, pread(fd, buf, sizeof(buf), 1000000));
	EQUAL(1, pread(fd, buf, sizeof(buf), 2));
	FAILS(EINVAL, pread(fd, buf, sizeof(buf), -1));
	EQUAL(0, pread(fd, buf, 0, 0));
}

static void
write_past_end(void)
{
	int fd;

	put("f", "abc");
	fd = OK(open("f", O_RDWR));
	EQUAL(1, OK(pwrite(fd, "z", 1, 200000)));
	EQUAL(200001, fd_stat(fd).st_size);
	all_bytes(fd, 3, 199997, 0);
	all_bytes(fd, 200000, 1, 'z');
	EQUAL(0, OK(pwrite(fd, "z", 0, 300000)));
	EQUAL(200001, fd_stat(fd).st_size);
}

static void
write_seen_by_other(void)
{
	int a = OK(open("f", O_RDWR | O_CREAT, 0644)), b;

	b = OK(open("f", O_RDONLY));
	EQUAL(1, OK(pwrite(a, "1", 1, 0)));
	fd_content(b, "1");
	EQUAL(1, OK(pwrite(a, "2", 1, 0)));
	fd_content(b, "2");
	EQUAL(2, OK(pwrite(a, "34", 2, 1)));
	fd_content(b, "234");
	EQUAL(3, stat_of("f").st_size);
}

static void
write_vectors(void)
{
	char a[] = "ab", b[] = "cde", x[4], y[4];
	struct iovec out[2] = { { a, 2 }, { b, 3 } };
	struct iovec in[2] = { { x, 1 }, { y, 4 } };
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	EQUAL(5, writev(fd, out, 2));
	EQUAL(5, preadv(fd, in, 2, 0));
	TRUE(x[0] == 'a' && memcmp(y, "bcde", 4) == 0);
	EQUAL(5, pwritev(fd, out, 2, 3));
	fd_content(fd, "abcabcde");
}

static void
seek_positions(void)
{
	int fd;

	put("f", "0123456789");
	fd = OK(open("f", O_RDWR));
	EQUAL(10, lseek(fd, 0, SEEK_END));
	EQUAL(8, lseek(fd, -2, SEEK_CUR));
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	EQUAL(1000, lseek(fd, 1000, SEEK_SET));
	EQUAL(10, fd_stat(fd).st_size);
	EQUAL(1, write(fd, "x", 1));
	EQUAL(1001, fd_stat(fd).st_size);
}

static void
rewrite_middle(void)
{
	char part[5000];
	int fd;

	put_filled("f", 2 * MIB, 3);
	fd = OK(open("f", O_RDWR));
	memset(part, 'm', sizeof(part));
	EQUAL(sizeof(part), OK(pwrite(fd, part, sizeof(part), MIB - 2500)));
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	EQUAL(2 * MIB, fd_stat(fd).st_size);
	filled(fd, 0, MIB - 2500, 0, 3);
	all_bytes(fd, MIB - 2500, sizeof(part), 'm');
	filled(fd, MIB + 2500, MIB - 2500, MIB + 2500, 3);
}

static void
big_offset(void)
{
	const off_t far = (off_t)6 << 30;
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	EQUAL(1, OK(pwrite(fd, "x", 1, far)));
	EQUAL(far + 1, fd_stat(fd).st_size);
	all_bytes(fd, far, 1, 'x');
	all_bytes(fd, far - 5000, 5000, 0);
	TRUE(fd_stat(fd).st_blocks < 1000000);
}

static void
direct_flag(void)
{
	void *buf = NULL;
	int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);

	if (fd == -1) {
		EQUAL(EINVAL, errno);
		unsupported();
	}
	EQUAL(0, posix_memalign(&buf, 4096, 8192));
	memset(buf, 'd', 8192);
	EQUAL(8192, OK(pwrite(fd, buf, 8192, 0)));
	memset(buf, 0, 8192);
	EQUAL(4096, OK(pread(fd, buf, 4096, 4096)));
	EQUAL('d', *(char *)buf);
	all_bytes(OK(open("f", O_RDONLY)), 0, 8192, 'd');
}

static void
copy_with_sendfile(void)
{
	off_t from = 5;
	int in, out;

	put_filled("f", 100000, 9);
	in = OK(open("f", O_RDONLY));
	out = OK(open("g", O_RDWR | O_CREAT, 0644));
	EQUAL(90000, OK(sendfile(out, in, &from, 90000)));
	EQUAL(90005, from);
	filled(out, 0, 90000, 5, 9);
}

/* ---- size --------------------------------------------------------------- */

static void
truncate_down_up(void)
{
	int fd;

	put_filled("f", 300000, 4);
	fd = OK(open("f", O_RDWR));
	OK(truncate("f", 100001));
	EQUAL(100001, fd_stat(fd).st_size);
	filled(fd, 0, 100001, 0, 4);
	OK(truncate("f", 300000));
	EQUAL(300000, stat_of("f").st_size);
	filled(fd, 0, 100001, 0, 4);
	/* What was cut away does not come back. */
	all_bytes(fd, 100001, 199999, 0);
	OK(truncate("f", 0));
	fd_content(fd, "");
}

static void
truncate_errors(void)
{
	int fd;

	put("f", "x");
	OK(mkdir("d", 0755));
	FAILS(EISDIR, truncate("d", 0));
	FAILS(ENOENT, truncate("none", 0));
	FAILS(EINVAL, truncate("f", -1));
	fd = OK(open("f", O_RDWR));
	FAILS(EINVAL, ftruncate(fd, -1));
	OK(mkfifo("p", 0600));
	FAILS(EINVAL, truncate("p", 0));
	content("f", "x");
}

static void
ftruncate_open(void)
{
	int a, b;

	put("f", "0123456789");
	a = OK(open("f", O_RDWR));
	b = OK(open("f", O_RDWR));
	EQUAL(10, lseek(b, 0, SEEK_END));
	OK(ftruncate(a, 4));
	EQUAL(4, fd_stat(b).st_size);
	EQUAL(1, write(b, "x", 1));
	EQUAL(11, fd_stat(a).st_size);
	all_bytes(a, 4, 6, 0);
	OK(ftruncate(a, 11));
	EQUAL(11, stat_of("f").st_size);
}

static void
size_limit(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	/* The largest number cannot be a size with a byte behind it. */
	errno = 0;
	TRUE(pwrite(fd, "x", 1, INT64_MAX) == -1);
	TRUE(errno == EFBIG || errno == EINVAL);
	EQUAL(0, fd_stat(fd).st_size);
}

/* ---- holes -------------------------------------------------------------- */

static void
holes_are_zero(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	OK(ftruncate(fd, 5 * MIB));
	all_bytes(fd, 4 * MIB, MIB, 0);
	EQUAL(1, OK(pwrite(fd, "x", 1, 2 * MIB)));
	all_bytes(fd, 2 * MIB - 10, 10, 0);
	all_bytes(fd, 2 * MIB, 1, 'x');
	all_bytes(fd, 2 * MIB + 1, MIB, 0);
	TRUE(fd_stat(fd).st_blocks < 5 * MIB / 512);
}

static void
seek_hole_data(void)
{
	static char block[65536];
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	off_t at;

	memset(block, 'd', sizeof(block));
	OK(ftruncate(fd, 4 * MIB));
	EQUAL(sizeof(block), OK(pwrite(fd, block, sizeof(block), 2 * MIB)));
	at = OK(lseek(fd, 0, SEEK_DATA));
	TRUE(at <= 2 * MIB);
	at = OK(lseek(fd, 2 * MIB, SEEK_HOLE));
	TRUE(at >= (off_t)(2 * MIB + sizeof(block)) && at <= 4 * MIB);
	EQUAL(2 * MIB, lseek(fd, 2 * MIB, SEEK_DATA));
	at = OK(lseek(fd, 4 * MIB - 1, SEEK_HOLE));
	TRUE(at >= 4 * MIB - 1 && at <= 4 * MIB);
	FAILS(ENXIO, lseek(fd, 4 * MIB, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, 5 * MIB, SEEK_HOLE));
	put("g", "x");
	fd = OK(open("g", O_RDONLY));
	EQUAL(0, lseek(fd, 0, SEEK_DATA));
	EQUAL(1, lseek(fd, 0, SEEK_HOLE));
}

static void
allocate(int fd, int mode, off_t offset, off_t len)
{
	if (fallocate(fd, mode, offset, len) == -1) {
		EQUAL(EOPNOTSUPP, errno);
		unsupported();
	}
}

static void
fallocate_extend(void)
{
	int fd;

	put("f", "abc");
	fd = OK(open("f", O_RDWR));
	allocate(fd, 0, 0, 100000);
	EQUAL(100000, fd_stat(fd).st_size);
	all_bytes(fd, 3, 99997, 0);
	allocate(fd, 0, 0, 10);
	EQUAL(100000, fd_stat(fd).st_size);
	FAILS(EINVAL, fallocate(fd, 0, 0, 0));
	FAILS(EINVAL, fallocate(fd, 0, -1, 10));
	FAILS(EBADF, fallocate(OK(open("f", O_RDONLY)), 0, 0, 10));
	EQUAL(0, posix_fallocate(fd, 0, 200000));
	EQUAL(200000, stat_of("f").st_size);
}

static void
fallocate_keep_size(void)
{
	int fd;

	put("f", "abc");
	fd = OK(open("f", O_RDWR));
	allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000);
	EQUAL(3, fd_stat(fd).st_size);
	fd_content(fd, "abc");
	EQUAL(3, stat_of("f").st_size);
}

static void
fallocate_punch(void)
{
	int fd;

	put_filled("f", 200000, 5);
	fd = OK(open("f", O_RDWR));
	allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50000, 100001);
	EQUAL(200000, fd_stat(fd).st_size);
	filled(fd, 0, 50000, 0, 5);
	all_bytes(fd, 50000, 100001, 0);
	filled(fd, 150001, 49999, 150001, 5);
	FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
}

static void
fallocate_zero(void)
{
	int fd;

	put_filled("f", 100000, 6);
	fd = OK(open("f", O_RDWR));
	allocate(fd, FALLOC_FL_ZERO_RANGE, 90000, 20000);
	EQUAL(110000, fd_stat(fd).st_size);
	filled(fd, 0, 90000, 0, 6);
	all_bytes(fd, 90000, 20000, 0);
}

/* ---- copies in the kernel ----------------------------------------------- */

static void
copy_range(void)
{
	loff_t from = 1000, to = 10;
	ssize_t n, done;
	int in, out;

	put_filled("f", 500000, 7);
	in = OK(open("f", O_RDONLY));
	out = OK(open("g", O_RDWR | O_CREAT, 0644));
	for (done = 0; done < 400000; done += n) {
		n = OK(copy_file_range(in, &from, out, &to,
		    (size_t)(400000 - done), 0));
		TRUE(n > 0);
	}
	EQUAL(400010, fd_stat(out).st_size);
	filled(out, 10, 400000, 1000, 7);
	all_bytes(out, 0, 10, 0);
	from = 500000;
	EQUAL(0, copy_file_range(in, &from, out, &to, 10, 0));
	from = 499990;
	EQUAL(10, copy_file_range(in, &from, out, &to, 100, 0));
	FAILS(EBADF, copy_file_range(out, NULL, in, NULL, 10, 0));
}

static void
copy_range_same_file(void)
{
	loff_t from = 0, to = 100000;
	ssize_t n, done;
	int fd;

	put_filled("f", 100000, 8);
	fd = OK(open("f", O_RDWR));
	for (done = 0; done < 100000; done += n) {
		n = OK(copy_file_range(fd, &from, fd, &to,
		    (size_t)(100000 - done), 0));
		TRUE(n > 0);
	}
	filled(fd, 0, 100000, 0, 8);
	filled(fd, 100000, 100000, 0, 8);
	from = 0;
	to = 10;
	FAILS(EINVAL, copy_file_range(fd, &from, fd, &to, 1000, 0));
}

/* ---- mappings ----------------------------------------------------------- */

static char *
map(int fd, size_t size, int prot, int flags)
{
	char *p = mmap(NULL, size, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		fail("expected a mapping, got %s", errno_name(errno));
	return p;
}

static void
mmap_shared_write(void)
{
	int fd;
	char *p;

	put_filled("f", 20000, 2);
	fd = OK(open("f", O_RDWR));
	p = map(fd, 20000, PROT_READ | PROT_WRITE, MAP_SHARED);
	memcpy(p + 10000, "mapped", 6);
	/* Seen by read(2) at once, through any descriptor. */
	TRUE(memcmp(p + 10000, "mapped", 6) == 0);
	all_bytes(OK(open("f", O_RDONLY)), 10000, 1, 'm');
	EQUAL(4, OK(pwrite(fd, "file", 4, 5000)));
	TRUE(memcmp(p + 5000, "file", 4) == 0);
	OK(msync(p, 20000, MS_SYNC));
	OK(munmap(p, 20000));
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	all_bytes(fd, 10005, 1, 'd');
	filled(fd, 0, 5000, 0, 2);
}

static void
mmap_after_close(void)
{
	int fd;
	char *p;

	put_filled("f", 9000, 2);
	fd = OK(open("f", O_RDWR));
	p = map(fd, 9000, PROT_READ | PROT_WRITE, MAP_SHARED);
	OK(close(fd));
	OK(unlink("f"));
	p[8192] = 'x';
	OK(msync(p, 9000, MS_SYNC));
	EQUAL('x', p[8192]);
	put("f", "another");
	EQUAL('x', p[8192]);
	OK(munmap(p, 9000));
	content("f", "another");
}

static void
mmap_store(void)
{
	int fd = OK(open("f", O_RDWR));
	char *p = map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[7] = 'c';
}

/*
 * A mapping whose descriptor is closed, and who opens the file then in one of
 * those ways: both see what the other stores.
 */
static void
mapped_then_opened(int flags)
{
	char *p, buf[16];
	int fd = OK(open("f", O_RDWR | O_CREAT | O_TRUNC, 0644));

	EQUAL(8, write(fd, "12345678", 8));
	p = map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	OK(close(fd));
	p[0] = 'a';
	fd = OK(open("f", O_RDWR | flags));
	EQUAL(8, OK(pread(fd, buf, sizeof(buf), 0)));
	TRUE(memcmp(buf, "a2345678", 8) == 0);
	p[1] = 'b';
	EQUAL(8, OK(pread(fd, buf, sizeof(buf), 0)));
	TRUE(memcmp(buf, "ab345678", 8) == 0);
	if (flags & O_APPEND)
		EQUAL(1, OK(write(fd, "9", 1)));
	else
		EQUAL(1, OK(pwrite(fd, "9", 1, 8)));
	EQUAL('9', p[8]);
	p[2] = 'c';
	OK(close(fd));
	OK(munmap(p, 4096));
	content("f", "abc456789");
}

static void
mmap_then_append_open(void)
{
	mapped_then_opened(O_APPEND);
}

static void
mmap_then_dsync_open(void)
{
	mapped_then_opened(O_DSYNC);
}

/* Nor do its bits keep them apart. */
static void
mmap_then_setuid(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	char *p, c;

	EQUAL(1, write(fd, "x", 1));
	p = map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);
	OK(close(fd));
	OK(chmod("f", 04755));
	fd = OK(open("f", O_RDONLY));
	p[0] = 'a';
	EQUAL(1, OK(pread(fd, &c, 1, 0)));
	EQUAL('a', c);
	p[0] = 'b';
	EQUAL(1, OK(pread(fd, &c, 1, 0)));
	EQUAL('b', c);
}

static void
mmap_processes(void)
{
	char *p;
	int fd;

	put_filled("f", 4096, 2);
	fd = OK(open("f", O_RDWR));
	p = map(fd, 4096, PROT_READ, MAP_SHARED);
	end_child(start_child(mmap_store));
	EQUAL('c', p[7]);
	all_bytes(fd, 7, 1, 'c');
}

static void
mmap_private(void)
{
	int fd;
	char *p;

	put("f", "original");
	fd = OK(open("f", O_RDONLY));
	p = map(fd, 8, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	TRUE(memcmp(p, "original", 8) == 0);
	memcpy(p, "changed!", 8);
	fd_content(fd, "original");
	OK(munmap(p, 8));
	content("f", "original");
}

static void
mmap_errors(void)
{
	char *p;
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDONLY));
	p = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TRUE(p == MAP_FAILED);
	EQUAL(EACCES, errno);
	fd = OK(open("f", O_WRONLY));
	p = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
	TRUE(p == MAP_FAILED);
	EQUAL(EACCES, errno);
}

static void
mmap_grow(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	char *p;

	OK(ftruncate(fd, 8192));
	p = map(fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);
	EQUAL(0, p[5000]);
	p[0] = 'a';
	p[8191] = 'z';
	OK(msync(p, 8192, MS_ASYNC));
	OK(ftruncate(fd, 4096));
	OK(ftruncate(fd, 8192));
	/* What was cut away is zero in the mapping too. */
	EQUAL(0, p[8191]);
	EQUAL('a', p[0]);
	all_bytes(fd, 8191, 1, 0);
}

const struct posix_case cases_io[] = {
	{ "write_read", write_read, 0 },
	{ "read_past_end", read_past_end, 0 },
	{ "write_past_end", write_past_end, 0 },
	{ "write_seen_by_other", write_seen_by_other, 0 },
	{ "write_vectors", write_vectors, 0 },
	{ "seek_positions", seek_positions, 0 },
	{ "rewrite_middle", rewrite_middle, 0 },
	{ "big_offset", big_offset, 0 },
	{ "direct_flag", direct_flag, 0 },
	{ "sendfile", copy_with_sendfile, 0 },
	{ "truncate_down_up", truncate_down_up, 0 },
	{ "truncate_errors", truncate_errors, 0 },
	{ "ftruncate_open", ftruncate_open, 0 },
	{ "size_limit", size_limit, 0 },
	{ "holes_are_zero", holes_are_zero, 0 },
	{ "seek_hole_data", seek_hole_data, 0 },
	{ "fallocate_extend", fallocate_extend, 0 },
	{ "fallocate_keep_size", fallocate_keep_size, 0 },
	{ "fallocate_punch", fallocate_punch, 0 },
	{ "fallocate_zero", fallocate_zero, 0 },
	{ "copy_range", copy_range, 0 },
	{ "copy_range_same_file", copy_range_same_file, 0 },
	{ "mmap_shared_write", mmap_shared_write, 0 },
	{ "mmap_after_close", mmap_after_close, 0 },
	{ "mmap_then_append_open", mmap_then_append_open, 0 },
	{ "mmap_then_dsync_open", mmap_then_dsync_open, 0 },
	{ "mmap_then_setuid", mmap_then_setuid, 0 },
	{ "mmap_processes", mmap_processes, 0 },
	{ "mmap_private", mmap_private, 0 },
	{ "mmap_errors", mmap_errors, 0 },
	{ "mmap_grow", mmap_grow, 0 },
	{ NULL, NULL, 0 },
};
