# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""Certificates of a test's own, made by openssl(1), and TLS around a socket."""

import os
import select
import socket
import ssl
import threading

# The names that servers and proxies of tests have.
NAMES = "IP:127.0.0.1,IP:127.0.0.2,IP:::1,DNS:localhost"


class Authority:
    """Who signs; its own certificate is the file ca."""

    def __init__(self, t, name="ca"):
        self.t, self.dir = t, t.path(name)
        os.mkdir(self.dir, 0o700)
        self.ca, self._key = self._path("ca.pem"), self._path("ca.key")
        self._openssl("req", "-x509", *self._new_key(self._key), "-out",
                      self.ca, "-days", "3", "-subj", "/CN=%s of a test" % name)
        self._count = 0

    def _path(self, name):
        return os.path.join(self.dir, name)

    def _openssl(self, *args):
        return self.t.run(["openssl"] + list(args))

    @staticmethod
    def _new_key(path, rsa=False):
        kind = (["rsa:2048"] if rsa else
                ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        return ["-newkey"] + kind + ["-nodes", "-keyout", path]

    def issue(self, names=NAMES, start=None, end=None, rsa=False):
        """(certificate, key): files; start and end as YYYYMMDDHHMMSSZ."""
        self._count += 1
        base = self._path("%d" % self._count)
        request, ext, cert = base + ".csr", base + ".ext", base + ".pem"
        self._openssl("req", "-new", *self._new_key(base + ".key", rsa),
                      "-out", request, "-subj", "/CN=%d" % self._count)
        with open(ext, "w", encoding="ascii") as f:
            f.write("subjectAltName=%s\n" % names)
        if start is None:
            self._openssl("x509", "-req", "-in", request, "-CA", self.ca,
                          "-CAkey", self._key, "-set_serial",
                          str(self._count), "-days", "2", "-extfile", ext,
                          "-out", cert)
        else:
            self._sign_when(request, ext, cert, start, end)
        os.chmod(base + ".key", 0o600)
        return cert, base + ".key"

    def _sign_when(self, request, ext, cert, start, end):
        """openssl x509 knows no dates, only openssl ca does."""
        conf = self._path("ca.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write("[ca]\ndefault_ca=x\n[x]\ndatabase=%s\n"
                    "new_certs_dir=%s\nserial=%s\ndefault_md=sha256\n"
                    "policy=p\n[p]\ncommonName=supplied\n" % (
                        self._path("index"), self.dir, self._path("serial")))
        with open(self._path("index"), "w", encoding="ascii"):
            pass
        with open(self._path("serial"), "w", encoding="ascii") as f:
            f.write("%04X\n" % (0x1000 + self._count))
        self._openssl("ca", "-batch", "-notext", "-config", conf, "-cert",
                      self.ca, "-keyfile", self._key, "-in", request,
                      "-startdate", start, "-enddate", end, "-extfile", ext,
                      "-out", cert)

    def context(self):
        """Of a client that believes it."""
        return ssl.create_default_context(cafile=self.ca)

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue())
        return context


def plain_end(sock):
    """A plain socket whose bytes go through that of TLS, both ways at a time,
    which ssl.SSLSocket cannot do in two threads."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_pump, args=(sock, ours), daemon=True).start()
    return theirs


def _pump(sock, plain):
    try:
        sock.setblocking(False)
        plain.setblocking(False)
        ways = [_Way(sock, plain), _Way(plain, sock)]
        # Whoever has no more to send is not waited for by the other side.
        while not all(w.over for w in ways):
            if not any([w.move() for w in ways]):
                select.select([w.source for w in ways if w.reads],
                              [w.sink for w in ways if w.data], [])
    except (OSError, ValueError):
        pass
    finally:
        sock.close()
        plain.close()


class _Way:
    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.data, self.end, self.over = b"", False, False

    @property
    def reads(self):
        return not self.end and not self.data

    def move(self):
        """Whether anything went."""
        try:
            if self.reads:
                self.data = self.source.recv(65536)
                self.end = not self.data
            if self.data:
                self.data = self.data[self.sink.send(self.data):]
            elif self.end and not self.over:
                self.over = True
                _say_end(self.sink)
            else:
                return False
            return True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError,
                BlockingIOError):
            return False


def _say_end(sink):
    """TLS has an end each way too: what still comes is not lost by it."""
    if not isinstance(sink, ssl.SSLSocket):
        return sink.shutdown(socket.SHUT_WR)
    try:
        sink.unwrap()
    except (OSError, ValueError):
        pass
