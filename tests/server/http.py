#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP floor from outside, over raw sockets, against tests/http/echo.c.

    tests/server/http.py HTTP_ECHO [WORD ...]    only the cases whose names hold the words
"""
import gzip
import json
import os
import random
import re
import resource
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ECHO, WORDS = sys.argv[1], sys.argv[2:]
failures = []


class Server:
    """http_echo with these options; at the end it must stop by itself, with nothing to complain of (a
    sanitizer's findings are an exit status too). Bounds on times are wide: machines are busy."""

    def __init__(self, *options):
        self.log = tempfile.NamedTemporaryFile("r", suffix=".log")
        self.process = subprocess.Popen([ECHO, "log=" + self.log.name, *options], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.first = self.process.stdout.readline()
        self.port = int(self.first.split()[1]) if self.first.startswith("port") else None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.stop()

    def counts(self):
        self.process.stdin.write("count\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def comes_to(self, name, value, within=10):
        until = time.time() + within
        while self.counts()[name] != value:
            assert time.time() < until, f"{name} does not come to {value}: {self.counts()}"
            time.sleep(0.01)

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, wait_ms=2000, linger_ms=0):
        """How long it took, in milliseconds."""
        self.process.stdin.write(f"stop {wait_ms}\n{linger_ms}\n")
        self.process.stdin.close()
        took = self.process.stdout.readline()
        assert self.process.wait(30) == 0, f"exit {self.process.returncode}"
        return int(took.split()[2])

    def access(self):
        time.sleep(0.05)
        return [line.split() for line in open(self.log.name)]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        return self.headers.get(name)


class Client:
    def __init__(self, server, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        self.read += data
        return bool(data)

    def until(self, mark):
        while mark not in self.read:
            if not self.more():
                raise EOFError(f"closed after {self.read[:200]!r}")
        head, self.read = self.read.split(mark, 1)
        return head

    def exactly(self, count):
        while len(self.read) < count:
            if not self.more():
                raise EOFError(f"closed {count - len(self.read)} bytes early")
        data, self.read = self.read[:count], self.read[count:]
        return data

    def answer(self, head_only=False):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            assert name.lower() not in headers, f"{name} stands twice"
            headers[name.lower()] = value
        body = b""
        if head_only or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.until(b"\r\n"), 16)
                body += self.exactly(size)
                self.exactly(2)
                if size == 0:
                    break
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            while self.more():
                pass
            body, self.read = self.read, b""
        return Answer(status, headers, body)

    def ask(self, line, *headers, body=None, head_only=False):
        text = line + " HTTP/1.1\r\nHost: a\r\n" + "".join(h + "\r\n" for h in headers)
        if body is not None:
            text += f"Content-Length: {len(body)}\r\n"
        self.send(text.encode("latin-1") + b"\r\n" + (body or b""))
        return self.answer(head_only)

    def closed(self, within=2.0):
        """Whether the server ends the connection in that time."""
        self.socket.settimeout(within)
        try:
            while self.more():
                pass
            return True
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


def same(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, not {wanted!r}")


# ---- heads: what is sent, the status, whether the connection lives on
HEADS = r"""
GET /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                              200 open
GET /repeat HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n                         200 closed
GET /repeat HTTP/1.0\r\n\r\n                                                         200 closed
GET /repeat HTTP/1.0\r\nConnection: keep-alive\r\n\r\n                               200 open
\r\nGET /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                          200 open
GET http://b/repeat HTTP/1.1\r\nHost: a\r\n\r\n                                      200 open
GET /repeat HTTP/1.1\r\nhOsT:a\r\n\r\n                                               200 open
GET /repeat HTTP/1.1\r\nHost:\r\n\r\n                                                200 open
GET /repeat HTTP/1.1\r\nHost: [::1]:80\r\n\r\n                                       200 open
GET /none HTTP/1.1\r\nHost: a\r\n\r\n                                                404 open
GET /secret HTTP/1.1\r\nHost: a\r\n\r\n                                              401 open
POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n                        401 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n                          200 open
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi                        200 open
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n        200 open
GET /repeat HTTP/1.1\r\n\r\n                                                         400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n                                   400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n                                   400 closed
GET /repeat HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n                                   400 closed
GET /repeat HTTP/1.1\r\nHost: a b\r\n\r\n                                            400 closed
GET /repeat HTTP/1.1\r\nHost: a@b\r\n\r\n                                            400 closed
GET /repeat HTTP/1.1\r\nHost: a/b\r\n\r\n                                            400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi   400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi   400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nhi                     400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi                       400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\nhi                       400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\nhi                      400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhi                          400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n       413 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n       413 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n                413 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n  400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n  400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n  400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n       400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2 \r\n\r\nhi                       400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nX: \x01\r\nContent-Length: 5000000\r\n\r\n          400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n       400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n                400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n  400 closed
POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n        400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n           400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n           400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx        400 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n     400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n      400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n                                     400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n                                  400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n                                       400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX\r\n\r\n                                         400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n                           400 closed
GET /repeat HTTP/1.1\r\n Host: a\r\n\r\n                                             400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n                                   400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n                                  400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n                                 400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n                                  400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\x00\x00Y: c\r\n\r\n                          400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX\x00Y: c\r\n\r\n                                 400 closed
GET /repeat HTTP/1.1\r\nHost: a\x00\r\n\r\n                                          400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n                                   400 closed
GET /repeat HTTP/1.1\nHost: a\r\n\r\n                                                400 closed
GET /repeat HTTP/1.1\r\nHost: a\n\r\n                                                400 closed
GET /repeat HTTP/1.1\r\nHost: a\r\n\n                                                400 closed
GET /repeat\x00 HTTP/1.1\r\nHost: a\r\n\r\n                                          400 closed
GET /rep\x00eat HTTP/1.1\r\nHost: a\r\n\r\n                                          400 closed
GET\x00 /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                          400 closed
GET /rep\x01eat HTTP/1.1\r\nHost: a\r\n\r\n                                          400 closed
GET /rep\teat HTTP/1.1\r\nHost: a\r\n\r\n                                            400 closed
GET /rep\reat HTTP/1.1\r\nHost: a\r\n\r\n                                            400 closed
GET /rep\x7feat HTTP/1.1\r\nHost: a\r\n\r\n                                          400 closed
GET /rep eat HTTP/1.1\r\nHost: a\r\n\r\n                                             400 closed
GET  /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                             400 closed
GET /repeat  HTTP/1.1\r\nHost: a\r\n\r\n                                             400 closed
GET /repeat#a HTTP/1.1\r\nHost: a\r\n\r\n                                            400 closed
GET repeat HTTP/1.1\r\nHost: a\r\n\r\n                                               400 closed
GET * HTTP/1.1\r\nHost: a\r\n\r\n                                                    400 closed
GET ftp://a/repeat HTTP/1.1\r\nHost: a\r\n\r\n                                       400 closed
GET /repeat?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n                                        400 closed
GET /repeat?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n                                        400 closed
GET /repeat?%0a=b HTTP/1.1\r\nHost: a\r\n\r\n                                        400 closed
GET /repeat?a=%ff HTTP/1.1\r\nHost: a\r\n\r\n                                        400 closed
TRACE /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                            501 closed
CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n                                             400 closed
get /repeat HTTP/1.1\r\nHost: a\r\n\r\n                                              501 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nhi  415 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\nhi  415 closed
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi  200 open
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi  400 open
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: zstd\r\nContent-Length: 4\r\n\r\nhiho  400 open
POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n  200 open
GET /nobody HTTP/1.1\r\nHost: a\r\n\r\n                                              500 open
"""
# The library answers these itself, or ends the connection without a word: either is a refusal.
GARBAGE = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET /repeat\r\n\r\n",
           b"GET /repeat HTTP/2.0\r\nHost: a\r\n\r\n", b"GET /repeat HTTP/1.1x\r\nHost: a\r\n\r\n",
           b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n", b"GET /repeat JUNK\r\n\r\n"]


def heads():
    with Server() as server:
        for row in HEADS.strip().split("\n"):
            request, status, then = re.fullmatch(r"(.*?)\s{2,}(\d+) (\w+)", row).groups()
            with Client(server) as client:
                client.send(request.encode("latin-1").decode("unicode_escape").encode("latin-1"))
                try:
                    answer = client.answer()
                    same("status", answer.status, int(status))
                    if answer.status >= 400 and answer["content-type"] == "application/problem+json":
                        problem = json.loads(answer.body)
                        same("problem", problem["status"], answer.status)
                    if then == "open":
                        same("the next status", client.ask("GET /repeat").status, 200)
                    else:
                        assert client.closed(), "still open"
                except Exception as error:
                    raise AssertionError(f"{request}: {error}") from error
    with Server("head_ms=300") as server:
        for garbage in GARBAGE:
            with Client(server) as client:
                client.send(garbage)
                client.socket.shutdown(socket.SHUT_WR)
                assert client.closed() and (not client.read or int(client.read[9:12]) >= 400), \
                    f"{garbage!r}: {client.read[:100]!r}"


def limits():
    with Server("url_bytes=1000", "head_bytes=4000", "body_bytes=100000") as server:
        def status(line, *headers, **more):
            with Client(server) as client:
                answer = client.ask(line, *headers, **more)
                if answer.status != 200:
                    assert client.closed(), "still open"
                return answer.status
        path = "/repeat?a="
        same("URL at the limit", status("GET " + path + "b" * (1000 - len(path))), 200)
        same("URL past it", status("GET " + path + "b" * (1001 - len(path))), 414)
        same("URL far past it", status("GET /" + "b" * 100000), 414)
        bare = len("GET /repeat HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n")
        same("head at the limit", status("GET /repeat", "X: " + "b" * (4000 - bare)), 200)
        same("head past it", status("GET /repeat", "X: " + "b" * (4001 - bare)), 431)
        same("head far past it", status("GET /repeat", "X: " + "b" * 65536), 431)
        same("header lines at the limit", status("GET /repeat", *(["X: y"] * 63)), 200)
        same("header lines past it", status("GET /repeat", *(["X: y"] * 64)), 431)
        same("a head without an end", status("GET /repeat", *(["X: y"] * 100000)), 431)
        names = "&".join(f"n{i}=" for i in range(64))
        same("query at the limit", status("GET /repeat?" + names), 200)
        same("query past it", status("GET /repeat?" + names + "&o="), 400)
        same("body at the limit", status("POST /echo", body=b"b" * 100000), 200)
        same("body past it", status("POST /echo", body=b"b" * 100001), 413)

        for count, wanted in ((100000, 200), (100001, 413), (5000000, 413)):
            with Client(server) as client:
                client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.send(b"%x\r\n" % count + b"b" * count + b"\r\n0\r\n\r\n")
                same(f"{count} bytes in chunks", client.answer().status, wanted)
        for pack in (gzip.compress, ):
            for count, wanted in ((100000, 200), (100001, 413), (50000000, 413)):
                with Client(server) as client:
                    answer = client.ask("POST /echo", "Content-Encoding: gzip", body=pack(bytes(count)))
                    same(f"{count} bytes packed", answer.status, wanted)
                    same("next", client.ask("GET /repeat").status, 200)


def refused_while_sending():
    """413 is seen by a client that sends all before it reads, and by one that waits for 100."""
    with Server() as server:
        with Client(server) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
            client.send(bytes(50000000))
            same("status", client.answer().status, 413)
            assert client.closed()
        with Client(server) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n"
                        b"Expect: 100-continue\r\n\r\n")
            same("status", client.answer().status, 413)
        with Client(server) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                        b"Expect: 100-continue\r\n\r\n")
            same("status", client.answer().status, 100)
            client.send(b"hello")
            same("body", client.answer().body, b"hello")


def reuse():
    with Server() as server, Client(server) as client:
        for i in range(200):
            same("body", client.ask("POST /echo", body=b"%d" % i).body, b"%d" % i)
        client.send(b"".join(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d" % i
                             for i in range(500)))
        for i in range(500):
            same("pipelined", client.answer().body, b"%03d" % i)
        client.send(b"".join(b"POST /later?ms=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d" % i
                             for i in range(50)))
        for i in range(50):
            same("pipelined, later", client.answer().body, b"%03d" % i)
        same("accepted", server.counts()["accepted"], 1)


def bodies():
    text = os.urandom(20000).hex().encode()
    member = gzip.compress(text[:100])
    with Server() as server, Client(server) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(text), 1000):
            client.send(b"%X;x=y\r\n%s\r\n" % (len(text[i:i + 1000]), text[i:i + 1000]))
        client.send(b"0\r\nTrailer: x\r\n\r\n")
        same("chunks", client.answer().body, text)
        for coding in ("gzip", "x-gzip", "GZIP"):
            answer = client.ask("POST /echo", "Content-Encoding: " + coding, body=gzip.compress(text))
            same(coding, answer.body, text)
        same("two members", client.ask("POST /echo", "Content-Encoding: gzip", body=member * 2).body,
             text[:100] * 2)
        for what, packed in (("cut", member[:-1]), ("cut in its head", member[:5]),
                             ("broken check", member[:-8] + b"\0" * 8), ("trailing", member + b"xx"),
                             ("raw", zlib.compress(text))):
            answer = client.ask("POST /echo", "Content-Encoding: gzip", body=packed)
            same(what, answer.status, 400)
        # gzip a byte at a time
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
                    % len(member))
        for i in range(len(member)):
            client.send(member[i:i + 1])
        same("byte by byte", client.answer().body, text[:100])
        # zstd: what the server packed is sent back to it
        packed = client.ask("GET /repeat?bytes=50000", "Accept-Encoding: zstd")
        same("coding", packed["content-encoding"], "zstd")
        plain = client.ask("GET /repeat?bytes=50000").body
        for body, wanted in ((packed.body, plain), (packed.body * 2, plain * 2)):
            same("zstd", client.ask("POST /echo", "Content-Encoding: zstd", body=body).body, wanted)
        for what, body in (("cut", packed.body[:-1]), ("trailing", packed.body + b"x")):
            same(what, client.ask("POST /echo", "Content-Encoding: zstd", body=body).status, 400)
        same("show", client.ask("POST /show/%C3%A4%2Fb?a=1&b=%20+%2B&a&=e&&c=d=e",
                                "Content-Type: application/JSON; charset=utf-8", body=b"{}").body.decode(),
             "/show/ä/b|2|1|a=1|b=  +|a=|=e|c=d=e")
        same("show", client.ask("GET /show/%00").body, b"malformed|0|0")


def crowded_bodies():
    """All bodies together are bounded, and what they held is given back."""
    with Server("bodies_bytes=1000000", "body_bytes=900000") as server:
        holders = [Client(server) for _ in range(2)]
        for client in holders:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 800001\r\n\r\n" + bytes(700000))
        time.sleep(0.3)
        for client in holders:
            client.send(bytes(100001))
        statuses = sorted(client.answer().status for client in holders)
        same("statuses", statuses, [200, 503])
        with Client(server) as client:
            for _ in range(10):
                same("after", client.ask("POST /echo", body=bytes(800000)).status, 200)
        for client in holders:
            client.socket.close()


def answers():
    with Server() as server, Client(server) as client:
        plain = client.ask("GET /repeat?bytes=5000")
        for name, value in (("content-encoding", None), ("cache-control", "no-store"), ("server", "heed"),
                            ("x-content-type-options", "nosniff"), ("vary", "Accept-Encoding"),
                            ("content-length", "5000"), ("x-bad", None), ("injected", None)):
            same(name, plain[name], value)
        assert re.fullmatch('"[0-9a-f]{16}"', plain["etag"]), plain["etag"]
        same("Cache-Control of above", client.ask("GET /repeat?cache=max-age%3D5")["cache-control"],
             "max-age=5")
        for accept, coding in (("gzip", "gzip"), ("gzip, zstd", "zstd"), ("zstd;q=0.5, gzip;q=0.6", "gzip"),
                               ("*", "zstd"), ("identity", None), ("gzip;q=0", None), ("br", None),
                               ("gzip;q=0, *", "zstd"), ("identity, gzip;q=0.1", None), ("", None)):
            answer = client.ask("GET /repeat?bytes=5000", "Accept-Encoding: " + accept)
            same(accept, answer["content-encoding"], coding)
            if coding == "gzip":
                same("unpacked", gzip.decompress(answer.body), plain.body)
            etag = plain["etag"] if not coding else plain["etag"][:-1] + f'-{coding}"'
            same("ETag", answer["etag"], etag)
            for known, status in ((etag, 304), ("W/" + etag, 304), ('"x", ' + etag, 304), ("*", 304),
                                  (plain["etag"], 304), ('"x"', 200), (etag[1:-1], 200)):
                again = client.ask("GET /repeat?bytes=5000", "Accept-Encoding: " + accept,
                                   "If-None-Match: " + known)
                same(f"If-None-Match: {known}", again.status, status)
                if status == 304 and known == etag:
                    same("ETag of 304", again["etag"], etag)
                    same("Vary of 304", again["vary"], "Accept-Encoding")
        short = client.ask("GET /repeat?bytes=1023", "Accept-Encoding: gzip")
        same("short", short["content-encoding"], None)
        same("at the limit", client.ask("GET /repeat?bytes=1024", "Accept-Encoding: gzip")
             ["content-encoding"], "gzip")
        noise = os.urandom(2000)
        same("what does not pack", client.ask("POST /echo", "Accept-Encoding: gzip", body=noise).body, noise)
        head = client.ask("HEAD /repeat?bytes=5000", head_only=True)
        same("HEAD", (head.status, head["content-length"], head["etag"]), (200, "5000", plain["etag"]))
        same("HEAD, known", client.ask("HEAD /repeat?bytes=5000", "If-None-Match: " + plain["etag"],
                                       head_only=True).status, 304)
        posted = client.ask("POST /echo", "If-None-Match: *", body=b"hi")
        same("POST has no tag", (posted.status, posted["etag"]), (200, None))
        same("404 has no tag", client.ask("GET /none")["etag"], None)
        gone = client.ask("POST /echo?status=204", body=b"hi")
        same("204", (gone.status, gone["content-length"], gone["content-type"]), (204, None, None))
        ids = {client.ask("GET /repeat")["x-request-id"] for _ in range(20)}
        same("ids of its own", (len(ids), {len(i) for i in ids}), (20, {16}))
        for sent, kept in (("abc.DEF_0-9", True), ("x" * 64, True), ("x" * 65, False), ("a b", False),
                           ("a<b", False), ("", False)):
            got = client.ask("GET /repeat", "X-Request-ID: " + sent)["x-request-id"]
            same(f"id {sent}", got == sent, kept)
        same("no CORS", client.ask("GET /repeat", "Origin: http://o")["access-control-allow-origin"], None)


def cors():
    ask = ("Origin: http://o", "Access-Control-Request-Method: POST")
    for origin, sent, allowed in (("*", "http://o", "*"), ("http://o", "http://o", "http://o"),
                                  ("http://o", "http://p", None)):
        with Server("cors=" + origin) as server, Client(server) as client:
            answer = client.ask("GET /repeat", "Origin: " + sent)
            same("origin", answer["access-control-allow-origin"], allowed)
            same("vary", answer["vary"], "Accept-Encoding" if origin == "*" else "Accept-Encoding, Origin")
            flight = client.ask("OPTIONS /secret", "Origin: " + sent, *ask[1:])
            same("preflight", (flight.status, flight["access-control-allow-origin"]), (204, allowed))
            assert "POST" in flight["access-control-allow-methods"]
            assert "Authorization" in flight["access-control-allow-headers"]
            same("refusals too", client.ask("GET /repeat?%zz", "Origin: " + sent)
                 ["access-control-allow-origin"], allowed)
    with Server() as server, Client(server) as client:
        same("OPTIONS without CORS", client.ask("OPTIONS /none", *ask).status, 404)


def streams():
    text = b"".join(b'{"line":%d}\n' % i for i in range(20000))
    with Server() as server, Client(server) as client:
        answer = client.ask("GET /stream?lines=20000")
        same("stream", (answer["transfer-encoding"], answer.body == text), ("chunked", True))
        packed = client.ask("GET /stream?lines=20000", "Accept-Encoding: gzip")
        same("packed", gzip.decompress(packed.body) == text, True)
        zipped = client.ask("GET /stream?lines=20000", "Accept-Encoding: zstd")
        same("zstd", client.ask("POST /echo", "Content-Encoding: zstd", body=zipped.body).body == text, True)
        same("empty", client.ask("GET /stream?lines=0").body, b"")
        same("empty, packed", gzip.decompress(client.ask("GET /stream?lines=0", "Accept-Encoding: gzip").body),
             b"")
        with Client(server) as header:
            same("HEAD", header.ask("HEAD /stream", head_only=True).status, 200)
            assert header.closed() and header.read == b"", f"after HEAD: {header.read}"
        with Client(server) as old:
            old.send(b"GET /stream?lines=20000 HTTP/1.0\r\n\r\n")
            same("for HTTP/1.0", old.answer().body == text, True)
        with Client(server) as broken:
            try:
                broken.ask("GET /stream?lines=90000&fail=50000")
                raise AssertionError("a broken stream looks whole")
            except EOFError:
                pass
        with Client(server) as leaver:  # goes away in the middle
            leaver.send(b"GET /stream?lines=10000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            leaver.until(b"\r\n\r\n")
        deadline = time.time() + 5
        while server.counts()["streams"] < 9 and time.time() < deadline:
            time.sleep(0.02)
        same("each ended once", server.counts()["streams"], 9)


def access_log():
    with Server() as server:
        with Client(server) as client:
            client.ask("GET /repeat", "X-Request-ID: r1")
            client.ask("POST /echo", "X-Request-ID: r2", body=b"hello")
            client.ask("POST /later?secret=1", "X-Request-ID: r3", body=b"hello")
            client.ask("GET /stream?lines=2", "X-Request-ID: r4")
            client.ask("GET /none", "X-Request-ID: r5")
            client.ask("POST /echo", "X-Request-ID: r6", "Content-Encoding: gzip",
                       body=gzip.compress(b"hello", mtime=0))
            client.ask("GET /re\x01peat", "X-Request-ID: r7")
        with Client(server) as client:
            client.send(b"POST /later?ms=300 HTTP/1.1\r\nHost: a\r\nX-Request-ID: r8\r\n"
                        b"Content-Length: 2\r\n\r\nhi")
            time.sleep(0.1)
        with Client(server) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-ID: r9\r\nContent-Length: 9\r\n\r\nhi")
            time.sleep(0.1)
        time.sleep(0.5)
        server.stop()
        lines = server.access()
        wanted = {"r1": "GET /repeat 200 /repeat tester r1 0 10 0", "r2": "POST /echo 200 /echo tester r2 5 5 0",
                  "r3": "POST /later 200 /later tester r3 5 5 0",
                  "r4": "GET /stream 200 /stream tester r4 0 22 0", "r5": "GET /none 404 - - r5 0 4 0",
                  "r6": "POST /echo 200 /echo tester r6 25 5 0"}
        by_id = {line[5]: " ".join(line) for line in lines}
        for key, value in wanted.items():
            same(key, by_id.get(key), value)
        same("a target that was refused", by_id["r7"].split()[:3], ["-", "-", "400"])
        same("who left before the answer", by_id["r8"].split()[:3], ["POST", "/later", "200"])
        same("who left in the body", by_id["r9"].split()[:3] + by_id["r9"].split()[-1:],
             ["POST", "/echo", "0", "1"])
        same("lines", len(lines), 9)


def drip(server, data, every, seconds):
    """How long the server lets somebody send so slowly."""
    with Client(server) as client:
        began = time.time()
        try:
            for byte in data:
                client.send(bytes([byte]))
                if select.select([client.socket], [], [], every)[0] and not client.more():
                    break
                if time.time() - began > seconds:
                    return None
        except (ConnectionError, BrokenPipeError):
            pass
        return time.time() - began


def between(what, seconds, low, high):
    assert seconds is not None and low <= seconds <= high, f"{what}: {seconds}, not {low} to {high} s"


def noise(rounds=1500):
    """Requests with bytes changed, doubled, left out, in pieces: others get their answers as before."""
    seed = int(os.environ.get("HEED_SEED", time.time()))
    rng = random.Random(seed)
    rows = [row.rsplit(None, 2)[0].encode("latin-1").decode("unicode_escape").encode("latin-1")
            for row in HEADS.strip().split("\n")]
    rows.append(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n" +
                gzip.compress(bytes(99)))
    with Server("head_ms=200", "body_ms=200", "idle_ms=100") as server, Client(server) as other:
        for i in range(rounds):
            data = bytearray(rng.choice(rows))
            for _ in range(rng.choice((0, 1, 1, 2, 5))):
                at, what = rng.randrange(len(data) + 1), rng.randrange(4)
                if what == 0 and data:
                    del data[at:at + rng.randrange(1, 5)]
                elif what == 1:
                    data[at:at] = bytes(rng.choice(b"\0\r\n :;,%?#/\x7f\xff0") for _ in range(rng.randrange(1, 4)))
                elif what == 2:
                    data[at:at] = data[max(0, at - 40):at]
                elif data:
                    data[at % len(data)] = rng.randrange(256)
            with Client(server) as client:
                try:
                    cut = rng.randrange(len(data) + 1)
                    client.send(bytes(data[:cut]))
                    client.send(bytes(data[cut:]))
                    if rng.random() < 0.02:
                        client.closed(1)
                except OSError:
                    pass
            if i % 20 == 0:
                try:
                    same(f"among noise (HEED_SEED={seed})", other.ask("GET /repeat").status, 200)
                except (OSError, EOFError):  # its idle time is short here too
                    other.socket.close()
                    other.__init__(server)


def deadlines():
    with Server("head_ms=600", "body_ms=600", "answer_ms=600", "idle_ms=400") as server:
        between("a head in drips", drip(server, b"GET /repeat HTTP/1.1\r\nX: " + b"y" * 200, 0.05, 8), 0.5, 4)
        with Client(server) as client:
            began = time.time()
            assert client.closed(4)
            between("silence", time.time() - began, 0.5, 4)
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
        between("a body in drips", drip(server, head + b"b" * 990, 0.01, 9), 0.5, 4)
        chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        with Client(server) as client:
            client.send(chunked)
            began = time.time()
            try:
                while time.time() - began < 4:
                    client.send(b"1\r\nb\r\n")
                    time.sleep(0.03)
            except (ConnectionError, BrokenPipeError):
                pass
            between("chunks without end", time.time() - began, 0.5, 3.9)
        with Client(server) as client:  # idle after an answer: its own, longer allowance
            client.ask("GET /repeat")
            began = time.time()
            assert client.closed(4)
            between("idle", time.time() - began, 0.8, 4)
        with Client(server) as client:  # asks much, reads nothing
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.send(b"GET /repeat?bytes=30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(1.5)
            try:
                client.answer()
                raise AssertionError("an answer that nobody reads is kept")
            except (EOFError, ConnectionError):
                pass
        with Client(server) as client:  # no deadline while somebody works on the answer
            same("slow answer", client.ask("POST /later?ms=1500", body=b"hi").body, b"hi")
        with Client(server) as client:  # a stream is not cut off for being long
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(b"GET /stream?lines=400000 HTTP/1.1\r\nHost: a\r\n\r\n")
            got, began = 0, time.time()
            while time.time() - began < 2:
                got += len(client.socket.recv(65536))
                time.sleep(0.05)
            while not client.read.endswith(b"0\r\n\r\n"):
                assert client.more(), "a stream was cut off"
                client.read = client.read[-16:]
        assert server.counts()["cut_off"] >= 3, server.counts()


def anteroom():
    """Whose head is not whole is known to the door alone."""
    start = b"GET /repeat HTTP/1.1\r\nHost: a\r\nX: "
    with Server() as server:
        halves = [Client(server) for _ in range(20)]
        for client in halves[10:]:
            client.send(start)
        server.comes_to("waiting", 20)
        with Client(server) as other:
            same("beside them", other.ask("GET /repeat").status, 200)
            same("nobody else came in", server.counts()["waiting"], 20)
            halves[0].send(start)
            for client in halves[:1] + halves[19:]:
                client.send(b"y\r\n\r\n")
                same("a head in two pieces", client.answer().status, 200)
            server.comes_to("waiting", 18)
            halves[1].socket.close()
            halves[18].socket.close()
            server.comes_to("waiting", 16)
            same("open", server.counts()["open"], 19)
        with Client(server) as client:
            for byte in b"\r\n" + start + b"y\r\n\r\n":
                client.send(bytes([byte]))
            same("byte by byte", client.answer().status, 200)
        with Client(server) as client:
            client.send(start + b"y\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            same("who says no more", client.answer().status, 200)
        with Client(server) as client:
            client.send(start)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.closed() and not client.read, client.read
        for bytes_sent, waits, status in ((8191, 17, 200), (8192, 16, 431)):
            with Client(server) as client:
                client.send(start + b"y" * (bytes_sent - len(start) - 3) + b"\r\n\r")
                server.comes_to("waiting", waits)
                client.send(b"\n")
                same(f"a head of {bytes_sent} bytes and one", client.answer().status, status)
        same("cut off", server.counts()["cut_off"], 0)
        assert server.stop(5000) < 4000, "waits for halves of heads"
    with Server("head_ms=500") as server:
        halves = [Client(server) for _ in range(20)]
        for client in halves[10:]:
            client.send(start)
        server.comes_to("cut_off", 10)
        server.comes_to("open", 0)
        same("silence is not counted, half a head is", server.counts()["cut_off"], 10)
    with Server() as server:
        count, before = allow_files(5000), server.resident()
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        for s in slow:
            s.send(start)
        server.comes_to("waiting", count)
        each = (server.resident() - before) / count
        assert each < 4096, f"a slow connection takes {each} bytes"
        for s in slow:
            s.close()
        server.comes_to("open", 0)


def due_together():
    """Thousands whose time is up at once go one after another; others notice nothing."""
    with Server("head_ms=1000", "idle_ms=1000") as server:
        count = allow_files(3000)
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        for i, s in enumerate(idle):
            if i % 2:
                s.send(b"GET /repeat HTTP/1.1\r\nHost: a\r\n\r\n")
        began, worst = time.time(), 0.0
        with Client(server) as client:
            while server.counts()["open"] > 1:
                asked = time.time()
                same("among them", client.ask("POST /echo", body=b"hi").body, b"hi")
                worst = max(worst, time.time() - asked)
                assert time.time() - began < 15, server.counts()
        assert worst < 3.0, f"an answer took {worst} s"
        for s in idle:
            s.close()


def allow_files(count):
    """How many of so many connections can be opened here."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(count, most // 2)


def crowds():
    with Server("per_address=5") as server:
        clients = [Client(server) for _ in range(5)]
        for client in clients:
            same("within", client.ask("GET /repeat").status, 200)
        with Client(server) as sixth:
            answer = sixth.answer()
            same("past it", (answer.status, json.loads(answer.body)["status"]), (503, 503))
        clients[0].socket.close()
        time.sleep(0.1)
        with Client(server) as client:
            same("a place is free again", client.ask("GET /repeat").status, 200)
        same("refused", server.counts()["refused"], 1)
    for asked in (2, 5):
        with Server("connections=5") as server:
            clients = [Client(server) for _ in range(5)]
            for client in clients[:asked]:
                same("within", client.ask("GET /repeat").status, 200)
            clients[4].send(b"GET /repeat HTTP/1.1\r\n"[:12 if asked < 5 else 0])
            with Client(server) as sixth:
                same("all", sixth.answer().status, 503)
            time.sleep(2.5)  # they have been silent too long for so full a house
            with Client(server) as sixth:
                same("when they are gone", sixth.ask("GET /repeat").status, 200)
            assert server.counts()["cut_off"] >= 1, server.counts()
            if asked == 2:  # the others made room
                same("who has asked stays", clients[0].ask("GET /repeat").status, 200)
    count = allow_files(2000)
    with Server() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        for i, s in enumerate(idle):
            s.send(b"GET /repeat HTTP/1.1\r\nHost: a\r\nX: "[:i % 40])
        with Client(server) as client:
            worst = 0.0
            for _ in range(500):
                began = time.time()
                same("among them", client.ask("POST /echo", body=b"hi").body, b"hi")
                worst = max(worst, time.time() - began)
            assert worst < 3.0, f"an answer took {worst} s"
        same("open", server.counts()["open"] >= count, True)
        for s in idle:
            s.close()


def leavers():
    """Clients that go away while their answer is worked on, by the hundred."""
    with Server() as server:
        for _ in range(200):
            with Client(server) as client:
                client.send(b"POST /later?ms=20 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        time.sleep(0.3)
        with Client(server) as client:
            same("after them", client.ask("POST /later?ms=1", body=b"hi").body, b"hi")
        deadline = time.time() + 5
        while server.counts()["open"] > 1 and time.time() < deadline:
            time.sleep(0.02)
        assert server.counts()["open"] <= 1, "connections of those who left are kept"


def stopping():
    with Server() as server, Client(server) as client:
        client.ask("GET /repeat")
        assert server.stop(5000) < 4000, "waits for somebody idle"
        assert client.closed()
    with Server() as server, Client(server) as client:  # waits for an answer under way
        client.send(b"POST /later?ms=600 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        time.sleep(0.1)
        took = server.stop(5000)
        answer = client.answer()
        same("answer", (answer.status, answer.body, answer["connection"]), (200, b"hi", "close"))
        assert 300 < took < 4500, took
    with Server() as server:  # but not for ever; who answers too late does no harm
        clients = [Client(server) for _ in range(20)]
        for client in clients:
            client.send(b"POST /later?ms=4000 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        time.sleep(0.2)
        took = server.stop(300, 4500)
        assert took < 3500, took
        for client in clients:
            same("status", client.answer().status, 503)
    with Server() as server:  # somebody in the middle of a head, of a body, of an answer
        halves = [Client(server) for _ in range(3)]
        halves[0].send(b"GET /rep")
        halves[1].send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi")
        halves[2].send(b"GET /repeat?bytes=30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        took = server.stop(300)
        assert took < 5000, took
    with Server() as server:  # under load
        halt = threading.Event()

        def load():
            while not halt.is_set():
                try:
                    with Client(server) as client:
                        for _ in range(50):
                            client.ask("POST /later?ms=1", body=b"hi")
                except (OSError, EOFError):
                    pass
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        took = server.stop(1000)
        halt.set()
        for thread in threads:
            thread.join()
        assert took < 5000, took


def tls():
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = folder + "/key.pem", folder + "/certificate.pem"
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                               "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                              capture_output=True)
        if made.returncode != 0:
            print("tls: no openssl here, not tried")
            return
        os.chmod(key, 0o600)
        with Server("certificate=" + certificate, "key=" + key, "head_ms=800") as server:
            context = ssl.create_default_context(cafile=certificate)
            with Client(server) as client:
                client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
                same("body", client.ask("POST /echo", body=b"hi").body, b"hi")
                same("later", client.ask("POST /later", body=b"hi").body, b"hi")
                same("long", len(client.ask("GET /repeat?bytes=3000000").body), 3000000)
                same("refused", client.ask("POST /echo", "Content-Encoding: br", body=b"hi").status, 415)
            with Client(server) as client:
                began = time.time()
                assert client.closed(4)
                between("no handshake", time.time() - began, 0.6, 4)
            with Client(server) as client:
                client.send(b"GET /repeat HTTP/1.1\r\nHost: a\r\n\r\n")
                assert client.closed()
            with Client(server) as client:
                hello = ssl.MemoryBIO()
                try:
                    context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
                except ssl.SSLWantReadError:
                    pass
                hello = hello.read()
                for i in range(len(hello)):
                    client.send(hello[i:i + 1])
                    if i == len(hello) - 2:
                        server.comes_to("waiting", 1)
                same("a first record in pieces, answered by a record", client.exactly(1), b"\x16")
        os.chmod(key, 0o644)
        for options, word in (((f"certificate={certificate}", f"key={key}"), "open to everybody"),
                              ((f"certificate={certificate}",), "a certificate and its key"),
                              ((f"certificate={certificate}", f"key={folder}/none"), "No such file")):
            with Server(*options) as server:
                assert word in server.first, server.first
                server.process.wait()


def where():
    for listen, loopback, word in (("127.0.0.1:0", 1, "port"), ("localhost:0", 1, "port"),
                                   (":0", 0, "port"), ("0.0.0.0:0", 0, "port"),
                                   ("here:x", 0, "the port of"), ("127.0.0.1", 0, "is not HOST:PORT"),
                                   ("::1:80", 0, "write an IPv6 address"), ("127.0.0.1:65536", 0, "0 to 65535"),
                                   ("no.such.host.invalid:80", 0, "listen: `no.such.host.invalid:80`")):
        with Server("listen=" + listen) as server:
            assert word in server.first, f"{listen}: {server.first}"
            if server.port:
                same(listen, server.first.split()[3], str(loopback))
            else:
                server.process.wait()
    with Server() as server, Server(f"listen=127.0.0.1:{server.port}") as second:
        assert "Address already in use" in second.first, second.first
        second.process.wait()


for case in (heads, limits, refused_while_sending, reuse, bodies, crowded_bodies, answers, cors, streams,
             access_log, noise, deadlines, anteroom, due_together, crowds, leavers, stopping, tls, where):
    if WORDS and case.__name__ not in WORDS:
        continue
    began = time.time()
    try:
        case()
        print(f"ok   {case.__name__} ({time.time() - began:.1f} s)", flush=True)
    except Exception as error:  # the next case may tell more
        failures.append(case.__name__)
        print(f"FAIL {case.__name__}: {type(error).__name__}: {error}", flush=True)
sys.exit(1 if failures else 0)
