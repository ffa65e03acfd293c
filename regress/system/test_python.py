# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""The Python package: volumes, apps, commit and reload, and all errors are
sail.SailError."""

import http.server
import json
import os
import sys
import threading
import time

from sailtest import raises, stack

BOTH_STORES = ("test_notebook",)

NOTEBOOK = {"cells": [{"cell_type": "code", "execution_count": None,
                       "metadata": {}, "outputs": [],
                       "source": ["print('hello')\n"]}],
            "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def load(t):
    path = os.path.join(t.repo, "python")
    if path not in sys.path:
        sys.path.insert(0, path)
    import sail
    return sail


class Fake:
    """An API server that answers what it is told, and keeps what it was
    asked."""

    def __init__(self):
        self.answers, self.asked, self.at = [], [], []
        self.numbers = []   # of the requests: Sail-Request
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_all(self):
                n = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(n)
                fake.at.append(time.monotonic())
                fake.numbers.append(self.headers.get("Sail-Request"))
                fake.asked.append((self.command, self.path,
                                   self.headers.get("Authorization"),
                                   json.loads(body) if body else None))
                status, answer, *more = fake.answers.pop(0)
                headers = {"Sail-Request": fake.numbers[-1]}
                headers.update(*more)
                if callable(answer):
                    answer(self.wfile)
                    status, answer = None, None
                if status is None:
                    self.wfile.write(answer or b"")
                    self.close_connection = True
                    return
                data = (answer if isinstance(answer, bytes)
                        else json.dumps(answer).encode())
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name in headers:
                    if headers[name] is not None:
                        self.send_header(name, headers[name])
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = handle_all

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.http.server_address[1]


def error(kind, code="c"):
    return {"error": {"message": "words", "type": kind, "code": code}}


VOLUME = {"id": "vol_" + "0" * 32, "name": "v", "org": {"id": "o", "name": "x"}}


def test_client(t):
    """Volume.get asks for what it should, tries again only what may be, and
    each type of error has its class."""
    sail = load(t)
    fake = Fake()
    os.environ["SAIL_API_URL"], os.environ["SAIL_API_KEY"] = fake.url, "sk_1"
    fake.answers = [(200, VOLUME), (201, VOLUME)]
    v = sail.Volume.get("v")
    t.equal((VOLUME["id"], "v", "x"), (v.id, v.name, v.org), "attributes")
    sail.Volume.get("v", mint_if_missing=True)
    t.equal([("GET", "/v1/volumes/v", "Bearer sk_1", None),
             ("POST", "/v1/volumes", "Bearer sk_1",
              {"name": "v", "mint_if_missing": True})], fake.asked, "asked")
    for kind, cls in (("authentication", sail.AuthError),
                      ("permission", sail.AuthError),
                      ("not_found", sail.NotFoundError),
                      ("conflict", sail.ConflictError),
                      ("refused", sail.RefusedError),
                      ("internal", sail.SailError)):
        fake.answers = [(400, error(kind))]
        e = raises(t, sail.SailError, sail.Volume.get, "v")
        t.equal((cls, "words", kind, "c"), (type(e), e.message, e.type, e.code),
                kind)
    del fake.asked[:]
    fake.answers = [(503, error("unavailable")), (None, None), (200, b"half {"),
                    (200, VOLUME)]
    t.equal("v", sail.Volume.get("v").name, "after three failures")
    t.equal(4, len(fake.asked), "tries")
    for half in b"HTTP/1.1 200 OK\r\nContent-Ty", b"HTTP/1.1 404 No\r\n":
        fake.answers = [(None, half), (200, VOLUME)]
        t.equal("v", sail.Volume.get("v").name, "after half a head")
    fake.answers = [(503, error("unavailable"))] * 9
    raises(t, sail.UnavailableError, sail.Volume.get, "v")
    for bad in ("", "a/b", "a\0b", ".hidden", "x" * 129):
        e = raises(t, sail.SailError, sail.Volume.get, bad)
        t.equal("bad_name", e.code, repr(bad))
    e = raises(t, sail.MountError, v.commit)
    t.equal("no_mount", e.code, "commit without a mount")
    os.environ["SAIL_API_URL"] = "http://192.0.2.1/"
    t.equal("bad_url", raises(t, sail.SailError, sail.Volume.get, "v").code,
            "plain HTTP to elsewhere")
    del os.environ["SAIL_API_KEY"]
    os.environ["SAIL_API_URL"] = fake.url
    raises(t, sail.AuthError, sail.Volume.get, "v")
    del os.environ["SAIL_API_URL"]
    raises(t, sail.SailError, sail.Volume.get, "v")


def trickle(begin):
    """A byte each tenth of a second, for ever, behind that."""
    def answer(out):
        out.write(begin)
        try:
            while True:
                out.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass
    return answer


def test_patience(t):
    """A request has its end, however slowly its answers come; the pause that a
    server asks for is kept, within reason; and an answer that is not that to the
    request is a lost one."""
    sail = load(t)
    from sail import api
    fake = Fake()
    client = api.Client(fake.url, "sk_1")

    def get():
        return client.request("GET", "/v1/volumes/v")

    before = api.DEADLINE_S
    try:
        api.DEADLINE_S = 1.5
        for begin in (b"HTTP/1.1 200 OK\r\nX-Long: ",
                      b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"):
            fake.answers = [(200, trickle(begin))] * 9
            began = time.monotonic()
            e = raises(t, sail.UnavailableError, get)
            t.equal("no_answer", e.code, str(e))
            t.true(1 < time.monotonic() - began < 10, "the end of slow ones")
        # Nor is it worth while to wait for what comes behind the end.
        fake.answers = [(503, error("unavailable"), {"Retry-After": "3600"}),
                        (200, VOLUME)]
        began = time.monotonic()
        raises(t, sail.UnavailableError, get)
        t.true(time.monotonic() - began < 1.5, "no vain wait")
    finally:
        api.DEADLINE_S = before
    fake.answers = [(503, error("unavailable"), {"Retry-After": "1"}),
                    (429, b"slowly", {"Retry-After": "1"}), (200, VOLUME)]
    del fake.at[:]
    t.equal("v", get()["name"], "after two pauses")
    pauses = [y - x for x, y in zip(fake.at, fake.at[1:])]
    t.true(len(pauses) == 2 and min(pauses) >= 1, "as asked for: %s" % pauses)
    fake.answers = [(503, error("unavailable", "store_unusable"))]
    t.equal("store_unusable", raises(t, sail.UnavailableError, get).code,
            "once is enough")
    del fake.numbers[:]
    for number in None, "0123456789abcdef":
        fake.answers = [(200, VOLUME, {"Sail-Request": number}),
                        (200, dict(VOLUME, name="w"))]
        t.equal("w", get()["name"], "to another request: %s" % number)
    # What is between may refuse by itself.
    fake.answers = [(404, error("not_found"), {"Sail-Request": None})]
    raises(t, sail.NotFoundError, get)
    fake.answers = [(404, error("not_found"), {"Sail-Request": "another"}),
                    (200, VOLUME)]
    t.equal("v", get()["name"], "an error to another request")
    t.equal(7, len({n for n in fake.numbers if len(n) == 16}), "numbers")


def test_app(t):
    """An app is found once it was made, by everybody the same."""
    sail = load(t)
    os.environ["XDG_STATE_HOME"] = t.path("state")
    raises(t, sail.NotFoundError, sail.App.find, "lab")
    app = sail.App.find(name="lab", mint_if_missing=True)
    t.equal(app.id, sail.App.find("lab").id, "found again")
    other = sail.App.find("other", mint_if_missing=True)
    t.true(other.id != app.id, "ids differ")
    t.equal(app.id, sail.App.find("lab", mint_if_missing=True).id, "kept")
    raises(t, sail.SailError, sail.App.find, "a/b", mint_if_missing=True)


def test_settings(t):
    """A URL, a key, a path or a file of apps that cannot be right is a
    SailError, before anybody is asked."""
    sail = load(t)
    from sail.api import Client
    for url in ("http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[::1",
                "http://127.0.0.1/\u00fc", "ftp://x", "http://"):
        t.equal("bad_url", raises(t, sail.SailError, Client, url,
                                  "sk_x").code, url)
    for key in ("sk_x\n", "sk_\u00fc"):
        raises(t, sail.AuthError, Client, "http://127.0.0.1:1", key)
    # Not the current directory.
    for path in ("", "a\0b"):
        error = raises(t, sail.MountError, sail.Volume.from_mount, path)
        t.true("No such file" in str(error), str(error))
    os.makedirs(t.path("state", "sail"))
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = t.path("state")
    try:
        for text in ('{"a":1}', '{"a":{}}', '{"a":{"id":"i","created":"x"}}'):
            t.write("state/sail/apps.json", text)
            raises(t, sail.SailError, sail.App.find, "a")
    finally:
        del os.environ["XDG_STATE_HOME"]
        if before is not None:
            os.environ["XDG_STATE_HOME"] = before


def test_no_mount(t):
    """A path outside, and a forged .sailvol, are no mounts."""
    sail = load(t)
    raises(t, sail.MountError, sail.Volume.from_mount, t.dir)
    raises(t, sail.MountError, sail.Volume.from_mount, t.path("missing"))
    os.mkdir(t.path(".sailvol"))
    t.write(".sailvol/volume.json", json.dumps(VOLUME))
    t.write(".sailvol/ctl", "")
    e = raises(t, sail.MountError, sail.Volume.from_mount, t.dir)
    t.equal("not_a_mount", e.code, "forged")


def test_notebook(t):
    """A notebook written in one mount, committed, is read in another after
    reload."""
    sail = load(t)
    s = stack.Stack(t)
    os.environ["SAIL_API_URL"] = s.server.url
    os.environ["SAIL_API_KEY"] = s.server.key
    raises(t, sail.NotFoundError, sail.Volume.get, "lab")
    made = sail.Volume.get("lab", mint_if_missing=True)
    a, b = s.mount("lab", "a"), s.mount("lab", "b")
    os.mkdir(os.path.join(a, "notebooks"))
    path = os.path.join("notebooks", "first.ipynb")
    with open(os.path.join(a, path), "w", encoding="utf-8") as f:
        json.dump(NOTEBOOK, f)
    va = sail.Volume.from_mount(os.path.join(a, path))
    vb = sail.Volume.from_mount(b)
    t.equal((made.id, "lab", made.org), (va.id, va.name, va.org), "attributes")
    ident = va.commit(message="a notebook")
    t.true(len(ident) == 64, ident)
    t.true(not os.path.exists(os.path.join(b, path)), "before the reload")
    t.equal(ident, vb.reload(), "reload")
    with open(os.path.join(b, path), encoding="utf-8") as f:
        t.equal(NOTEBOOK, json.load(f), "the notebook")
    log = s.server.call("GET", "/v1/volumes/lab/commits")[1]["commits"]
    t.equal("a notebook", log[0]["message"], "message")
    # A change of the same file on both sides.
    for where, text in ((a, "1"), (b, "2")):
        with open(os.path.join(where, path), "w", encoding="utf-8") as f:
            f.write(text)
    va.commit()
    e = raises(t, sail.RefusedError, vb.commit, if_unchanged=True)
    t.equal("overwritten", e.code, "code")
    raises(t, sail.RefusedError, vb.reload, if_clean=True)
    t.equal(1, va.status() is not None, "status")
    vb.reload(keep=True)
    with open(os.path.join(b, path), encoding="utf-8") as f:
        t.equal("2", f.read(), "kept")
    vb.reload()
    with open(os.path.join(b, path), encoding="utf-8") as f:
        t.equal("1", f.read(), "reloaded")
    t.equal(1, vb.last_result["stash"]["files"], "files in the stash")
