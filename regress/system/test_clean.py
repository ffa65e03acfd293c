# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What was committed and is shown from the base of a mount behaves as on a
local file system: each change is made to a clean tree in a mount and to a copy
beside it, both are compared, then committed and compared in another mount."""

import ctypes
import errno
import mmap
import os
import shutil
import stat
import subprocess
import sys
import threading

from sailtest import stack

BOTH_STORES = True

# The mtime of everything that was prepared; later ones are "now".
OLD = 10 ** 18
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(a, b, flags=2):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), a)


def put(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(OLD, OLD))


def get(path):
    with open(path, "rb") as f:
        return f.read()


def old(path, follow=True):
    os.utime(path, ns=(OLD, OLD), follow_symlinks=follow)


def text(n, size=10000):
    return (b"%d line\n" % n * (size // 6))[:size]


def prepare(d, sparse=False):
    """The tree that each case gets, in an empty directory."""
    for name, size in (("f", 10000), ("g", 5000), ("empty", 0), ("one", 1),
                       ("page", 4096), ("odd", 70001)):
        put(d + "/" + name, text(len(name), size))
    put(d + "/suid", text(3), 0o6755)
    put(d + "/attrs", text(4))
    os.setxattr(d + "/attrs", "user.small", b"s")
    os.setxattr(d + "/attrs", "user.big", b"B" * 3000)
    os.setxattr(d + "/attrs", "user.empty", b"")
    os.symlink("f", d + "/link")
    os.symlink("../nowhere" * 100, d + "/dangling")
    os.mkfifo(d + "/fifo", 0o640)
    for name in ("link", "dangling", "fifo"):
        old(d + "/" + name, False)
    for top in ("t", "u"):
        os.makedirs(d + "/%s/x/y" % top)
        for n, sub in enumerate(("", "/x", "/x/y")):
            put(d + "/%s%s/file" % (top, sub), text(n + ord(top)))
        os.symlink("x/file", d + "/%s/l" % top)
        old(d + "/%s/l" % top, False)
    os.mkdir(d + "/void", 0o751)
    if not sparse:
        return
    with open(d + "/sparse", "wb") as f:
        f.write(b"begin")
        f.seek(20 * MIB)
        f.write(b"end")
        f.truncate(40 * MIB)
    old(d + "/sparse")


def look(top, nlink=False):
    """stack.look(), the time of what was prepared apart, with xattrs."""
    found = stack.look(top, fields=("mode", "uid", "gid", "mtime"))
    for rel, item in found.items():
        path = os.path.join(os.fsencode(top), rel)
        if item.get("mtime", 0) > OLD + 10 ** 17:
            item["mtime"] = "now"
        if stat.S_ISREG(item["type"]) or stat.S_ISDIR(item["type"]):
            item["xattrs"] = {n: os.getxattr(path, n)
                              for n in sorted(os.listxattr(path))}
        if nlink and stat.S_ISREG(item["type"]):
            item["nlink"] = os.lstat(path).st_nlink
    return found


# ---- cases: each works in a prepared directory d; what it returns is compared

def write_in_place(d):
    with open(d + "/f", "r+b") as f:
        f.seek(4000)
        f.write(b"changed")
    return get(d + "/f")


def write_past_end(d):
    with open(d + "/f", "r+b") as f:
        f.seek(50000)
        f.write(b"far")
    with open(d + "/empty", "r+b") as f:
        f.seek(3)
        f.write(b"x")
    return get(d + "/f")


def append(d):
    for name in ("f", "empty", "page", "odd"):
        with open(d + "/" + name, "ab") as f:
            f.write(b"tail " + name.encode())
    return get(d + "/odd")


def two_appenders(d):
    fds = [os.open(d + "/f", os.O_WRONLY | os.O_APPEND) for _ in range(2)]
    for n in range(20):
        os.write(fds[n % 2], b"%d," % n)
    for fd in fds:
        os.close(fd)
    return get(d + "/f")[10000:]


def truncate_path(d):
    os.truncate(d + "/f", 0)
    os.truncate(d + "/g", 1234)
    os.truncate(d + "/odd", 100000)
    os.truncate(d + "/empty", 5000)
    os.truncate(d + "/page", 4096)
    return get(d + "/odd")


def truncate_fd(d):
    with open(d + "/f", "r+b") as f:
        f.truncate(100)
        first = os.fstat(f.fileno()).st_size
        f.truncate(9000)
        return first, get(d + "/f")


def open_trunc(d):
    for n, flags in (("f", os.O_WRONLY), ("g", os.O_RDWR), ("odd", os.O_RDONLY)):
        os.close(os.open(d + "/" + n, flags | os.O_TRUNC))
    put(d + "/page", b"page")


def trunc_while_read(d):
    with open(d + "/f", "rb", buffering=0) as f:
        head = f.read(10)
        os.truncate(d + "/f", 20)
        rest = f.read(100)
        with open(d + "/f", "ab") as g:
            g.write(b"more")
        return head, rest, f.read(100)


def seen_by_reader(d):
    """A reader that was opened while the file was clean sees the writes."""
    with open(d + "/f", "rb", buffering=0) as r:
        r.read(100)
        m = mmap.mmap(r.fileno(), 10000, mmap.MAP_SHARED, mmap.PROT_READ)
        first = m[5000:5010]
        with open(d + "/f", "r+b", buffering=0) as w:
            w.seek(5000)
            w.write(b"NEWNEWNEWN")
            after = m[5000:5010]
            r.seek(5000)
            out = first, after, r.read(10)
        m.close()
        return out


def mapped_store(d):
    fd = os.open(d + "/odd", os.O_RDWR)
    m = mmap.mmap(fd, 70001)
    os.close(fd)
    was = m[0:5], m[69990:70001]
    m[0:5] = b"STORE"
    m[69990:70001] = b"Z" * 11
    m.flush()
    m.close()
    return was, get(d + "/odd")


def mapped_private(d):
    fd = os.open(d + "/odd", os.O_RDWR)
    m = mmap.mmap(fd, 70001, mmap.MAP_PRIVATE)
    os.close(fd)
    m[0:5] = b"STORE"
    m.close()
    return get(d + "/odd")


def attributes(d):
    os.chmod(d + "/f", 0o600)
    os.chown(d + "/g", 1234, 4321)
    os.utime(d + "/odd", ns=(123456789, 987654321))
    os.utime(d + "/page")
    os.chmod(d + "/t", 0o700)
    os.chown(d + "/t/x", 5, 6)
    os.chown(d + "/link", 7, 8, follow_symlinks=False)
    os.utime(d + "/link", ns=(5, 6), follow_symlinks=False)
    os.chmod(d + "/fifo", 0o600)
    return os.stat(d + "/odd").st_mtime_ns


def attributes_of_handle(d):
    fd = os.open(d + "/f", os.O_RDONLY)
    os.fchmod(fd, 0o611)
    os.fchown(fd, 11, 12)
    os.utime(fd, ns=(1, 2))
    st = os.fstat(fd)
    os.close(fd)
    return stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns


def xattrs(d):
    os.setxattr(d + "/f", "user.new", b"n" * 2000)
    os.removexattr(d + "/attrs", "user.small")
    os.setxattr(d + "/attrs", "user.big", b"C" * 3500)
    os.setxattr(d + "/t/x", "user.dir", b"dir")
    try:
        os.setxattr(d + "/attrs", "user.big", b"", os.XATTR_CREATE)
    except OSError as e:
        return e.errno
    return 0


def write_with_attrs(d):
    """The content changes; the attributes stay."""
    with open(d + "/attrs", "ab") as f:
        f.write(b"x")
    os.chmod(d + "/attrs", 0o640)
    return os.getxattr(d + "/attrs", "user.big")


def suid_write(d):
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65534",
                    "--clear-groups", "true"], check=True)
    os.chmod(d + "/suid", 0o6777)
    old(d + "/suid")
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65534",
                    "--clear-groups", sys.executable, "-c",
                    "open(%r, 'r+b').write(b'x')" % (d + "/suid")], check=True)


def suid_kept_by_root(d):
    with open(d + "/suid", "r+b") as f:
        f.write(b"x")


def suid_truncate(d):
    os.chmod(d + "/suid", 0o6777)
    subprocess.run(["setpriv", "--reuid=65534", "--regid=65534",
                    "--clear-groups", sys.executable, "-c",
                    "import os; os.truncate(%r, 5)" % (d + "/suid")],
                   check=True)


def suid_chown(d):
    os.chown(d + "/suid", 99, 99)


def rename_files(d):
    os.rename(d + "/f", d + "/f2")
    os.rename(d + "/g", d + "/odd")
    os.rename(d + "/link", d + "/t/link")
    os.rename(d + "/fifo", d + "/t/x/fifo")
    os.rename(d + "/attrs", d + "/suid")
    os.rename(d + "/t/x/file", d + "/t/x/y/file")
    return get(d + "/f2"), sorted(os.listdir(d))


def rename_and_write(d):
    os.rename(d + "/f", d + "/t/new")
    with open(d + "/t/new", "ab") as f:
        f.write(b"after")
    put(d + "/f", b"another")
    os.rename(d + "/t/new", d + "/u/new")
    return get(d + "/u/new")


def rename_noreplace(d):
    try:
        exchange(d + "/f", d + "/g", 1)
    except OSError as e:
        return e.errno
    return 0


def exchange_files(d):
    exchange(d + "/f", d + "/g")
    exchange(d + "/t/file", d + "/u/x/file")
    with open(d + "/f", "ab") as f:
        f.write(b"was g")
    return get(d + "/f"), get(d + "/g")


def exchange_dirs(d):
    exchange(d + "/t", d + "/u")
    put(d + "/t/x/y/new", b"in what was u")
    os.unlink(d + "/u/x/file")
    return sorted(os.listdir(d + "/t/x/y")), get(d + "/t/file")


def exchange_nested(d):
    exchange(d + "/t/x", d + "/u/x/y")
    with open(d + "/u/x/y/y/file", "ab") as f:
        f.write(b"deep")
    return sorted(os.listdir(d + "/t/x")), get(d + "/u/x/y/file")


def exchange_file_dir(d):
    exchange(d + "/f", d + "/t")
    put(d + "/f/x/more", b"more")
    return sorted(os.listdir(d + "/f")), get(d + "/t")


def exchange_own_child(d):
    try:
        exchange(d + "/t", d + "/t/x/y")
    except OSError as e:
        return e.errno
    return 0


def move_dir(d):
    os.rename(d + "/t", d + "/moved")
    with open(d + "/moved/x/file", "r+b") as f:
        f.write(b"inside")
    os.unlink(d + "/moved/x/y/file")
    put(d + "/moved/x/y/other", b"other")
    os.chmod(d + "/moved/x", 0o700)
    return sorted(os.listdir(d + "/moved/x/y"))


def move_dir_chain(d):
    os.rename(d + "/t/x", d + "/u/z")
    os.rename(d + "/u", d + "/t/u")
    os.rename(d + "/t", d + "/w")
    put(d + "/w/u/z/y/new", b"new")
    os.rename(d + "/w/u/z/y", d + "/y")
    os.mkdir(d + "/w/u/z/y")
    put(d + "/w/u/z/y/file", b"a new y")
    return get(d + "/y/file")


def move_dir_onto_empty(d):
    os.rename(d + "/t", d + "/void")
    os.mkdir(d + "/t")
    put(d + "/t/file", b"another t")
    return sorted(os.listdir(d + "/void"))


def move_dir_onto_full(d):
    try:
        os.rename(d + "/t", d + "/u")
    except OSError as e:
        return e.errno
    return 0


def move_dir_and_back(d):
    os.rename(d + "/t", d + "/tmp")
    get(d + "/tmp/x/file")
    os.rename(d + "/tmp", d + "/t")
    return sorted(os.listdir(d + "/t"))


def move_into_itself(d):
    try:
        os.rename(d + "/t", d + "/t/x/y/t")
    except OSError as e:
        return e.errno
    return 0


def move_then_delete(d):
    os.rename(d + "/t", d + "/moved")
    shutil.rmtree(d + "/moved/x")
    os.makedirs(d + "/moved/x/new")
    put(d + "/moved/x/new/file", b"1")
    shutil.rmtree(d + "/u")


def hard_links(d):
    os.link(d + "/f", d + "/f.hard")
    os.link(d + "/f", d + "/t/f.hard")
    with open(d + "/f.hard", "ab") as f:
        f.write(b"linked")
    os.unlink(d + "/f")
    os.link(d + "/attrs", d + "/attrs.hard")
    os.chmod(d + "/attrs.hard", 0o600)
    os.link(d + "/fifo", d + "/fifo2")
    os.link(d + "/link", d + "/link2", follow_symlinks=False)
    return (get(d + "/t/f.hard"), os.stat(d + "/t/f.hard").st_nlink,
            stat.S_IMODE(os.stat(d + "/attrs").st_mode),
            os.stat(d + "/attrs").st_ino == os.stat(d + "/attrs.hard").st_ino,
            os.lstat(d + "/link2").st_nlink)


def hard_link_of_open(d):
    with open(d + "/f", "r+b", buffering=0) as f:
        os.link(d + "/f", d + "/u/h")
        f.write(b"through")
        os.rename(d + "/u/h", d + "/f")     # the same file: nothing happens
        return get(d + "/u/h"), os.fstat(f.fileno()).st_nlink


def unlink_open(d):
    with open(d + "/f", "rb", buffering=0) as r, \
            open(d + "/odd", "r+b", buffering=0) as w:
        os.unlink(d + "/f")
        os.unlink(d + "/odd")
        w.write(b"written")
        w.seek(0)
        put(d + "/odd", b"another odd")
        return (r.read(), w.read(), os.fstat(r.fileno()).st_nlink,
                os.fstat(r.fileno()).st_size, os.path.exists(d + "/f"))


def unlink_open_write_first(d):
    """The first write of a clean file comes when its name is gone."""
    fd = os.open(d + "/f", os.O_RDWR)
    os.unlink(d + "/f")
    os.pwrite(fd, b"after the name", 100)
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, 200)
    st = os.fstat(fd)
    out = os.pread(fd, 1000, 0), st.st_size, stat.S_IMODE(st.st_mode)
    os.close(fd)
    return out


def replaced_open(d):
    with open(d + "/f", "rb", buffering=0) as f:
        os.rename(d + "/g", d + "/f")
        return f.read(), get(d + "/f"), os.fstat(f.fileno()).st_nlink


def rm_tree(d):
    shutil.rmtree(d + "/t")
    return os.path.exists(d + "/t/x"), sorted(os.listdir(d))


def rm_tree_again(d):
    shutil.rmtree(d + "/t")
    os.makedirs(d + "/t/x")
    before = os.listdir(d + "/t/x")
    put(d + "/t/x/file", b"made again")
    return before, sorted(os.listdir(d + "/t"))


def rm_tree_thrice(d):
    for n in range(3):
        shutil.rmtree(d + "/t")
        os.makedirs(d + "/t/x/y")
        put(d + "/t/x/y/n%d" % n, b"%d" % n)
    shutil.rmtree(d + "/t/x")
    return os.listdir(d + "/t")


def rmdir_not_empty(d):
    try:
        os.rmdir(d + "/t/x")
    except OSError as e:
        one = e.errno
    os.rmdir(d + "/void")
    os.mkdir(d + "/void")
    return one, os.listdir(d + "/void")


def rmdir_emptied(d):
    os.unlink(d + "/t/x/y/file")
    os.rmdir(d + "/t/x/y")
    os.unlink(d + "/t/x/file")
    os.rmdir(d + "/t/x")
    put(d + "/t/x", b"a file now")


def dir_to_file(d):
    shutil.rmtree(d + "/t")
    put(d + "/t", b"a file")
    os.unlink(d + "/f")
    os.mkdir(d + "/f")
    put(d + "/f/in", b"in")


def dir_to_file_and_back(d):
    shutil.rmtree(d + "/t")
    put(d + "/t", b"a file")
    os.unlink(d + "/t")
    os.mkdir(d + "/t")
    os.symlink("x", d + "/t/x")
    os.unlink(d + "/link")
    put(d + "/link", b"no link")
    os.unlink(d + "/fifo")
    os.symlink("f", d + "/fifo")
    return os.readlink(d + "/t/x")


def file_again(d):
    os.unlink(d + "/f")
    there = os.path.exists(d + "/f")
    put(d + "/f", text(1))
    os.unlink(d + "/g")
    put(d + "/g", b"other")
    return there


def save_like_an_editor(d):
    put(d + "/f.tmp", b"edited")
    os.rename(d + "/f", d + "/f~")
    os.rename(d + "/f.tmp", d + "/f")
    return get(d + "/f~")


def fifos(d):
    out = []
    th = threading.Thread(target=lambda: out.append(get(d + "/fifo")))
    th.start()
    with open(d + "/fifo", "wb") as f:
        f.write(b"through the fifo")
    th.join(10)
    old(d + "/fifo")        # the kernel tells nobody that it was written to
    return out


def links(d):
    return (os.readlink(d + "/dangling"), get(d + "/link"),
            os.path.exists(d + "/dangling"), get(d + "/t/l"))


def read_sparse(d):
    with open(d + "/sparse", "rb", buffering=0) as f:
        head = os.pread(f.fileno(), 10, 0)
        mid = os.pread(f.fileno(), 10, 20 * MIB - 3)
        return head, mid, os.pread(f.fileno(), 99, 40 * MIB - 5)


def write_sparse(d):
    with open(d + "/sparse", "r+b") as f:
        f.seek(30 * MIB)
        f.write(b"middle")
    return os.stat(d + "/sparse").st_size, stack.sha256(d + "/sparse")


def extend_sparse(d):
    os.truncate(d + "/sparse", 10 * MIB)
    os.truncate(d + "/sparse", 60 * MIB)
    return stack.sha256(d + "/sparse")


def allocate(d):
    fd = os.open(d + "/f", os.O_RDWR)
    os.posix_fallocate(fd, 0, 20000)
    one = os.fstat(fd).st_size
    keep_size, punch = 1, 2
    LIBC.fallocate(fd, keep_size | punch, ctypes.c_long(4096),
                   ctypes.c_long(4096))
    os.close(fd)
    return one, get(d + "/f")


def copy_range(d):
    src = os.open(d + "/odd", os.O_RDONLY)
    dst = os.open(d + "/f", os.O_RDWR)
    n = os.copy_file_range(src, dst, 5000, 100, 3000)
    os.close(src)
    os.close(dst)
    return n, get(d + "/f")


def cwd_inside(d):
    fd = os.open(d + "/t/x", os.O_RDONLY)
    os.rename(d + "/t", d + "/moved")
    inner = os.open("y/file", os.O_RDWR, dir_fd=fd)
    os.write(inner, b"by descriptor")
    os.close(inner)
    names = sorted(os.listdir(fd))
    os.unlink("file", dir_fd=fd)
    os.close(fd)
    return names


def removed_cwd(d):
    fd = os.open(d + "/void", os.O_RDONLY)
    os.rmdir(d + "/void")
    names = os.listdir(fd)
    try:
        os.close(os.open("x", os.O_CREAT | os.O_RDWR, dir_fd=fd))
        e = 0
    except OSError as error:
        e = error.errno
    os.close(fd)
    return names, e


def long_names(d):
    os.rename(d + "/f", d + "/" + "n" * 255)
    try:
        os.rename(d + "/g", d + "/" + "n" * 256)
    except OSError as e:
        return e.errno
    return 0


def nothing(d):
    return sorted(os.listdir(d)), get(d + "/f"), os.stat(d + "/f").st_nlink


CASES = [f for n, f in list(globals().items())
         if callable(f) and getattr(f, "__code__", None)
         and f.__code__.co_varnames[:1] == ("d",)
         and f.__name__ != "prepare"]


def attempt(case, d):
    try:
        return case(d)
    except OSError as e:
        return "error %s (line %d)" % (errno.errorcode[e.errno],
                                       e.__traceback__.tb_next.tb_lineno)


def differences(want, got):
    return ["%.200r: expected %.300s, actual %.300s" % (
        p, want.get(p), got.get(p)) for p in sorted(set(want) | set(got))
            if want.get(p) != got.get(p)]


def run_cases(t, cases, warm=False):
    """Each on a clean tree of its own; all committed at once."""
    s = stack.Stack(t, daemons=2)
    a = s.mount("v", "a", create=True)
    twin = t.path("twin")
    for top in (a, twin):
        for case in cases:
            d = os.path.join(top, case.__name__)
            os.makedirs(d)
            os.chmod(d, 0o777)
            prepare(d, "sparse" in case.__name__)
    os.chmod(t.dir, 0o711)
    s.commit(a)
    b = s.daemons[1].mount("v", "b")
    wrong = []
    if warm:
        stack.same(t, look(twin), look(b), "the prepared tree")
    for case in cases:
        mine, other = (os.path.join(x, case.__name__) for x in (b, twin))
        want, got = attempt(case, other), attempt(case, mine)
        if want != got:
            wrong.append("%s: expected %.300r, actual %.300r" % (
                case.__name__, want, got))
        wrong += ["%s: in the mount: %s" % (case.__name__, line) for line in
                  differences(look(other, True), look(mine, True))]
    first = s.commit(b)
    t.equal(first, s.commit(b), "a second commit without a change")
    t.equal(first, s.reload(a), "reload")
    wrong += ["committed, in the other mount: " + line
              for line in differences(look(twin), look(a))]
    t.equal(first, s.reload(b), "reload of the first")
    wrong += ["committed, after a reload: " + line
              for line in differences(look(twin), look(b))]
    t.equal(first, s.commit(b), "a commit after the reload")
    if wrong:
        t.fail("%d differences\n%s" % (len(wrong), "\n".join(wrong[:40])))


def test_cases_cold_1(t):
    """Changes to a clean tree of which the machine has no bytes yet."""
    run_cases(t, CASES[0::2])


def test_cases_cold_2(t):
    run_cases(t, CASES[1::2])


def test_cases_warm_1(t):
    """The same when all of it was read before."""
    run_cases(t, CASES[0::2], True)


def test_cases_warm_2(t):
    run_cases(t, CASES[1::2], True)


def test_twice(t):
    """The cases in turn, a commit after each, all in the same directory tree:
    what the last one published is what the next one changes."""
    s = stack.Stack(t)
    a = s.mount("v", "a", create=True)
    b = s.mount("v", "b")
    twin = t.path("twin")
    os.mkdir(twin)
    for top in (a, twin):
        prepare(top)
    wrong = []
    s.share(a, b)
    for case in (move_dir, write_in_place, exchange_files, append):
        for top in (b, twin):
            if not os.path.exists(top + "/t"):
                os.rename(top + "/moved", top + "/t")
        for top in (b, twin):
            attempt(case, top)
        s.commit(b)     # and no reload: above the published
        wrong += ["%s: %s" % (case.__name__, line) for line in
                  differences(look(twin), look(b))]
        s.reload(a)
        wrong += ["%s: other: %s" % (case.__name__, line) for line in
                  differences(look(twin), look(a))]
    if wrong:
        t.fail("\n".join(wrong[:30]))


def test_reload_choices(t):
    """reload --if-clean and --keep, on changes of clean files, moves and
    deletions."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    prepare(a)
    s.share(a, b)
    move_dir(b)
    write_in_place(b)
    os.unlink(b + "/g")
    os.chmod(b + "/odd", 0o600)
    want = look(b)
    put(a + "/t/x/new", b"by A")
    put(a + "/page", b"page of A")
    s.commit(a)
    s.ctl("reload", "--if-clean", b, ok=3)
    stack.same(t, want, look(b), "after a refusal")
    s.reload(b, "--keep")
    want[b"./page" if b"./page" in want else b"page"] = look(a)[
        b"./page" if b"./page" in want else b"page"]
    got = look(b)
    for key in [k for k in got if b"moved" not in k and k not in want]:
        t.true(key.endswith((b"t", b"t/x", b"t/x/new")), "extra %r" % key)
    for key, item in want.items():
        t.equal(item, got.get(key), "kept %r" % key)
    kept = look(b)
    ident = s.commit(b)
    t.equal(ident, s.reload(a), "reload of A")
    got = look(a)
    for key, item in kept.items():
        t.equal(item, got.get(key), "published %r" % key)
    t.equal(ident, s.reload(b, "--if-clean"), "clean now")
    stack.same(t, look(a), look(b), "A and B")


def test_stash_of_clean(t):
    """Changes of clean files and trees go to the stash and come back: moves,
    deletions, attributes, copy-ups."""
    s = stack.Stack(t)
    a, b = s.mount("v", "a", create=True), s.mount("v", "b")
    prepare(a)
    s.share(a, b)
    move_dir(b)
    append(b)
    os.unlink(b + "/g")
    os.chmod(b + "/attrs", 0o600)
    shutil.rmtree(b + "/u")
    want = look(b)
    ident = str(s.reload_json(b)["stash"]["id"])
    stack.same(t, look(a), look(b), "after the reload")
    t.true("moved" in s.ctl("stash", "show", b, ident).stdout, "show")
    s.ctl("stash", "restore", b, ident)
    stack.same(t, want, look(b), "restored")
    s.share(b, a)
    stack.same(t, want, look(a), "published")
