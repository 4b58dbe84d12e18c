#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A living `heed serve` among clients that mean harm: requests to every route of /openapi.json with something
wrong in their values, text, packing, framing or head (mutate.py), with and without keys, whole, in pieces,
pipelined, cut off, left open, never read; and crowds of connections. What must hold:

  what is framed well is answered, and not with 500; an answer is what the description says of it
  whose key does not allow a route is refused, whose key does is not
  a connection that was left open is closed in its time
  a well-behaved client is answered rightly each second: its event is taken, taken once, and read as it was
  sent, and its feed holds just what it has not seen
  memory stays where it was; at the end the server stops in peace and `heed check` finds nothing

    hostile.py HEED [OPTION OF SERVE ...]      HOSTILE_SECONDS=8 HOSTILE_CLIENTS=2 HEED_SEED=1

HEED may be a build with a sanitizer, whose complaints fail the run. The seed is printed; with the same seed each
client sends the same. Where something fails, the folder with the request and the server's log is kept.
"""
import sys

sys.path.append(sys.path.pop(0))  # http.py beside this file is not Python's own http
import collections
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import time

import mutate
from schema import Description
from serving import Serving

HEED, OPTIONS = os.path.abspath(sys.argv[1]), sys.argv[2:]
SECONDS = float(os.environ.get("HOSTILE_SECONDS", 8))
CLIENTS = int(os.environ.get("HOSTILE_CLIENTS", 2))
SEED = int(os.environ.get("HEED_SEED", time.time()))
ROLES = ("ingest", "serve", "operator")
READ_MAX = 4 << 20    # of one answer; then the client has had enough
STALLED_SECONDS = 9   # within the shortest deadline; who was held up longer may have been cut off
LEFT_MAX = 60         # connections of one client that are left open
LEFT_SECONDS = 110    # the longest deadline is a minute; machines are busy
MIB = 1 << 20


# ---- a connection

class Ended(Exception):
    """The server has closed, or the client has had enough."""


class Wire:
    def __init__(self, port, source, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read, self.used = b"", time.monotonic()

    def more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise Ended(f"closed after {self.read[:60]!r}")
        self.read += data

    def until(self, mark):
        while mark not in self.read:
            self.more()
        head, self.read = self.read.split(mark, 1)
        return head

    def exactly(self, count):
        if count > READ_MAX:
            raise Ended("enough")
        while len(self.read) < count:
            self.more()
        data, self.read = self.read[:count], self.read[count:]
        return data

    def chunks(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            body += self.exactly(size + 2)[:size]
            if size == 0:
                return body
            if len(body) > READ_MAX:
                raise Ended("enough")

    def answer(self, method):
        """(status, headers, body), after what only says that there is more to come."""
        while True:
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", lines[0])[1])
            if status >= 200:
                break
        headers = dict(line.lower().split(": ", 1) if i == 0 else (line.split(": ", 1)[0].lower(),
                                                                  line.split(": ", 1)[1])
                       for i, line in enumerate(lines[1:], 1))
        if method == "HEAD" or status in (204, 304):
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self.chunks()
        return status, headers, self.exactly(int(headers["content-length"]))

    def abort(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


# ---- those who mean harm

class Hostile:
    """One client, in a process of its own."""

    def __init__(self, number, port, document, keys, patience, reports):
        self.number, self.port, self.patience, self.reports = number, port, patience, reports
        self.rng = random.Random(f"{SEED}:{number}")
        self.maker = mutate.Maker(document, keys, self.rng)
        self.description = Description(document)
        self.source = f"127.0.0.{10 + number}"
        self.wire, self.left = None, []
        self.trail = []  # what went over the present connection
        self.counts, self.reached = collections.Counter(), set()

    def fail(self, promise, request, seen=""):
        self.reports.put(("failure", promise, self.number, sum(self.counts.values()), str(seen)[:600],
                          request.data if request else b"", b"".join(self.trail)))

    def run(self, until):
        while time.monotonic() < until:
            try:
                self.step()
            except OSError as error:  # of connecting: nobody may be kept out
                self.fail("a connection is taken", None, repr(error))
                time.sleep(1)
            except Exception as error:
                self.fail("this test works", None, repr(error))
                raise
        for wire, _ in self.left:
            wire.socket.close()
        self.reports.put(("counts", self.counts, self.reached))

    def step(self):
        rng = self.rng
        requests = [self.maker.request() for _ in range(rng.choice((1, 1, 1, 1, 2, 6)))]
        how = rng.choices(("whole", "pieces", "drips", "abort", "half", "leave", "unread"),
                          (60, 15, 3, 8, 3, 2, 4))[0]
        if not self.wire or rng.random() < 0.2:
            self.drop()
            self.wire, self.trail = Wire(self.port, self.source, self.patience), []
        data = b"".join(r.data for r in requests)
        if how in ("abort", "leave"):
            data = data[:rng.randrange(len(data) + 1)]
        self.trail.append(data)
        try:
            self.send(data, how)
        except OSError:  # refused before all was sent: the answer says why
            self.counts["refused early"] += 1
        if how in ("whole", "pieces", "drips"):
            self.hear(requests)
        elif how == "leave":
            self.leave()
        elif how == "abort":
            self.wire.abort()
            self.wire = None
        else:
            time.sleep(rng.choice((0, 0.01, 0.1)))
            self.drop()
        self.counts[how] += 1

    def send(self, data, how):
        rng, wire = self.rng, self.wire
        if how == "pieces":
            cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
            for begin, end in itertools.pairwise([0, *cuts, len(data)]):
                wire.socket.sendall(data[begin:end])
                time.sleep(rng.choice((0, 0, 0.001, 0.03)))
            return
        if how == "drips":
            for k in range(min(len(data), 300)):
                wire.socket.sendall(data[k:k + 1])
            data = data[300:]
        wire.socket.sendall(data)
        if how == "half":
            wire.socket.shutdown(socket.SHUT_WR)

    def hear(self, requests):
        """The answers, as far as they are due. After what is framed badly nothing is, nor after a wish to close;
        before it, the end of the connection may take along an answer that was not yet read."""
        due = all(request.wants for request in requests) and \
            not any(b"Connection: close" in request.data for request in requests[:-1])
        for request in requests:
            self.wire.socket.settimeout(self.patience if request.wants else 0.03)
            try:
                status, headers, body = self.wire.answer(request.method)
            except TimeoutError:
                if request.wants:
                    self.fail("what is framed well is answered", request, f"not in {self.patience} s")
                return self.drop()
            except (Ended, OSError) as error:
                if time.monotonic() - self.wire.used > STALLED_SECONDS:
                    self.counts["stalled"] += 1
                elif due and str(error) != "enough":
                    self.fail("what is framed well is answered", request, repr(error))
                return self.drop()
            except (ValueError, KeyError, TypeError) as error:
                self.fail("an answer is HTTP", request, f"{error!r} {self.wire.read[:300]}")
                return self.drop()
            self.counts[status] += 1
            self.wire.used = time.monotonic()
            self.judge(request, status, headers, body)
            if headers.get("connection", "").lower() == "close" or not request.wants:
                return self.drop()

    def judge(self, request, status, headers, body):
        seen = f"{status} {headers} {body[:300]}"
        if status >= 500 and status != 503 and not (status in (501, 505) and not request.operation):
            self.fail("no request makes the server fail", request, seen)
        media, value = headers.get("content-type", "").split(";")[0], None
        if media in ("application/json", "application/problem+json") and body and \
                "content-encoding" not in headers:
            try:
                value = json.loads(body)
            except ValueError:
                return self.fail("JSON is JSON", request, seen)
        if media == "application/problem+json" and value is not None and value.get("status") != status:
            self.fail("a problem tells its status", request, seen)
        operation = request.operation
        if not operation or not request.wants:
            return
        if status < 400:
            self.reached.add(operation["operationId"])
        is_open = operation.get("security") == []
        allowed = is_open or request.role in operation["x-roles"]
        if allowed and status in (401, 403):
            self.fail("whose key allows a route is let in", request, seen)
        if not allowed and status < 400:
            self.fail("whose key does not allow a route is refused", request, seen)
        if status == 200 and value is not None and request.method != "HEAD" and self.rng.random() < 0.1:
            for fault in self.description.answer_faults(request.method, request.path, status, media, value):
                self.fail("an answer is as it is described", request, fault)

    def leave(self):
        """The connection stays open with half a request in it; what was left long ago must be closed."""
        self.left.append((self.wire, time.monotonic()))
        self.wire = None
        if len(self.left) > LEFT_MAX or time.monotonic() - self.left[0][1] > LEFT_SECONDS:
            wire, since = self.left.pop(0)
            if time.monotonic() - since > LEFT_SECONDS:
                wire.socket.settimeout(1)
                try:
                    while wire.socket.recv(1 << 16):
                        pass
                except TimeoutError:
                    self.fail("a connection that was left open is closed", None, f"{time.monotonic() - since:.0f} s")
                except OSError:
                    pass
            wire.socket.close()

    def drop(self):
        if self.wire:
            self.wire.socket.close()
        self.wire = None


def crowd(port, until):
    """More connections of one address than it may have, now and then; some begin to ask."""
    rng = random.Random(f"{SEED}:crowd")
    while time.monotonic() < until:
        wires = []
        for k in range(600):
            try:
                wires.append(Wire(port, "127.0.0.3", 2))
                wires[-1].socket.sendall((b"", b"GET /healthz HT", b"POST /v1/events HTTP/1.1\r\n")[k % 3])
            except OSError:
                pass
        time.sleep(rng.uniform(0, 3))
        for wire in wires:
            wire.abort() if rng.random() < 0.5 else wire.socket.close()
        time.sleep(min(rng.uniform(3, 20), max(0, until - time.monotonic())))


# ---- the one who behaves

class Witness:
    """Has items that nobody else knows of, and a new name every ten rounds."""

    def __init__(self, port, key, patience):
        self.port, self.key, self.patience = port, key, patience
        self.wire = None
        self.items = [f"witness-{SEED}-item-{k}" for k in range(20)]
        self.author = f"witness-{SEED}"
        self.rounds, self.seen, self.decisions = 0, [], set()
        self.times, self.failures = collections.defaultdict(list), []

    def check(self, promise, holds, *seen):
        if not holds:
            self.failures.append((promise, " ".join(str(s)[:600] for s in seen)))
        return holds

    def ask(self, method, path, value=None, what=None):
        body = b"" if value is None else json.dumps(value).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self.key}\r\n" \
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        began = time.monotonic()
        try:
            if not self.wire:
                self.wire = Wire(self.port, "127.0.0.2", self.patience)
            self.wire.socket.sendall(head.encode() + body)
            status, _, text = self.wire.answer(method)
        except (OSError, Ended) as error:
            self.check(f"{method} {path.split('?')[0]} is answered", False, repr(error))
            self.wire = None
            return 0, {}
        if what:
            self.times[what].append(time.monotonic() - began)
        return status, json.loads(text) if text else {}

    def settle(self):
        for k, item in enumerate(self.items):
            answer = self.ask("PUT", f"/v1/items/{item}", {"title": f"Thing {k}", "author": self.author,
                                                           "created": 1767225600000 + k})
            self.check("an item is taken", answer[0] == 200, answer)

    def round(self):
        number, place = divmod(self.rounds, 10)
        self.rounds += 1
        user, item = f"witness-{SEED}-{number}", self.items[(self.rounds * 7) % 20]
        event = {"id": f"witness-{SEED}-{self.rounds}", "ts": 1767225600000 + self.rounds * 1000, "user": user,
                 "item": item, "kind": "view"}
        answer = self.ask("POST", "/v1/events", event, "event")
        self.check("an event is taken", answer[0] == 200 and answer[1].get("accepted") == 1, answer)
        self.seen.append(item)
        status, feed = self.ask("POST", "/v1/feed", {"user": user, "n": 50, "explain": place % 2 == 0,
                                                     "filter": f'author = "{self.author}"'}, "feed")
        shown = [one["item"] for one in feed.get("items", [])]
        self.check("a feed holds just what was not seen", status == 200 and
                   sorted(shown) == sorted(set(self.items) - set(self.seen)), status, feed, self.seen)
        self.check("ranks count from 1", [one["rank"] for one in feed.get("items", [])] ==
                   list(range(1, len(shown) + 1)), feed)
        self.check("a decision is new", feed.get("decision") not in self.decisions, feed)
        self.decisions.add(feed.get("decision"))
        if place == 5:
            answer = self.ask("POST", "/v1/events", event)
            self.check("twice is once", answer[1].get("duplicate") == 1, answer)
            answer = self.ask("GET", f"/v1/events/{event['id']}")
            self.check("an event reads as it was sent", answer[0] == 200 and
                       {**answer[1], "ts": event["ts"]} == event, answer)
        if place == 9:
            answer = self.ask("DELETE", f"/v1/users/{user}", what="erase")
            self.check("who leaves is erased", answer[1].get("events") == 10, answer)
            self.seen.clear()

    def train(self):
        answer = self.ask("POST", "/v1/jobs", {"kind": "train", "epochs": 1, "dim": 16, "layers": 1, "heads": 1})
        self.check("a training is asked for", answer[0] in (202, 503), answer)


# ---- the run

def heed(*words, code=0):
    done = subprocess.run([HEED, *map(str, words)], capture_output=True, text=True, timeout=600)
    if done.returncode != code:
        raise SystemExit(f"heed {' '.join(map(str, words))}: {done.returncode} {done.stderr[-2000:]}")
    return done.stdout


def prepare(folder):
    """A small town with a model; the keys by role."""
    data = folder / "data"
    heed("simulate", "--users", 40, "--items", 30, "--events", 2000, "--seed", 1, "-o", folder / "town")
    for what in ("items", "events"):
        heed("import", what, folder / f"town/{what}.ndjson", "--data", data)
    heed("train", "sequence", "--epochs", 1, "--dim", 16, "--layers", 1, "--heads", 1, "--data", data)
    return data, {role: json.loads(heed("key", "add", f"k-{role}", "--role", role, "--json", "--data",
                                        data))["key"] for role in ROLES}


class Watch:
    """The server's memory, second by second, and what it holds."""

    def __init__(self, serving, witness, data, began):
        self.serving, self.witness, self.data, self.began = serving, witness, data, began
        self.rss, self.held = [], []

    def look(self):
        if self.serving.process.poll() is None:
            self.rss.append(self.serving.memory_mib())
            ready = self.witness.ask("GET", "/readyz")[1]
            self.held.append(ready.get("items", 0) + ready.get("users", 0) if ready else self.held[-1])

    def between(self, begin, end):
        part = self.rss[int(begin * len(self.rss)):max(int(end * len(self.rss)), 1)]
        return statistics.median(part) if part else 0

    def tell(self):
        times = self.witness.times
        disk = sum(file.stat().st_size for file in self.data.glob("*") if file.is_file()) / MIB
        print(f"{time.monotonic() - self.began:6.0f} s  {self.rss[-1]:6.0f} MiB  {disk:.0f} MiB on disk  {self.held[-1]} items and users  " +
              "  ".join(f"{what} p50 {percentile(times[what], .5):.1f} max {max(times[what]) * 1e3:.1f} ms"
                        for what in ("event", "feed") if times[what]), flush=True)

    def fault(self):
        """Memory at the end against the middle, less what new items and users may cost."""
        if len(self.rss) < 60 or self.serving.is_watched():
            return self.serving.is_watched() is False and self.rss[-1] > self.rss[0] + 300
        grown = max(0, self.held[-1] - self.held[len(self.held) // 2]) * 4096 / MIB
        return self.between(.9, 1) > self.between(.4, .5) * 1.1 + 16 + grown


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(p * len(values)))] * 1e3 if values else 0


def keep_house(serving, log, data):
    """What an operator's machine does: the access log is turned over, old exports go."""
    os.replace(log, str(log) + ".1")
    serving.process.send_signal(signal.SIGHUP)
    for old in (data / "exports").glob("*"):
        if time.time() - old.stat().st_mtime > 30:
            old.unlink(missing_ok=True)


def take_reports(reports, folder, failures, counts, reached):
    while True:
        try:
            report = reports.get(timeout=0.01)
        except multiprocessing.queues.Empty:
            return
        if report[0] == "counts":
            counts.update(report[1])
            reached.update(report[2])
            continue
        _, promise, number, at, seen, data, trail = report
        failures[promise] += 1
        if failures[promise] <= 3:
            path = folder / f"request-{number}-{at}"
            path.write_bytes(trail)
            print(f"FAILS {promise}: client {number} after {at} deliveries: {seen}\n      {data[:300]!r}\n"
                  f"      {path} has all that went over this connection", flush=True)


def live(serving, folder, data, keys, failures, counts):
    """Returns the witness, the watch, and the routes that nobody came through to."""
    patience = 300 if serving.is_watched() else 60
    witness = Witness(serving.port, keys["operator"], patience)
    witness.settle()
    document = witness.ask("GET", "/openapi.json")[1]
    began = time.monotonic()
    until, reports, reached = began + SECONDS, multiprocessing.Queue(), set()
    watch = Watch(serving, witness, data, began)
    others = [multiprocessing.Process(target=Hostile(n, serving.port, document, keys, patience, reports).run,
                                      args=(until,), daemon=True) for n in range(CLIENTS)]
    others.append(multiprocessing.Process(target=crowd, args=(serving.port, until), daemon=True))
    for other in others:
        other.start()
    for second in itertools.count():
        if time.monotonic() >= until or serving.process.poll() is not None:
            break
        witness.round()
        watch.look()
        take_reports(reports, folder, failures, counts, reached)
        if second % 60 == 5:
            watch.tell()
            witness.train()
            keep_house(serving, folder / "access.log", data)
        time.sleep(max(0, min(began + second + 1, until) - time.monotonic()))
    for other in others:
        deadline = time.monotonic() + patience + 60
        while other.is_alive() and time.monotonic() < deadline:
            take_reports(reports, folder, failures, counts, reached)
            other.join(0.1)
        failures["a client comes to its end"] += other.is_alive() or other.exitcode != 0
        other.kill()
    take_reports(reports, folder, failures, counts, reached)
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    return witness, watch, sorted(operations - reached)


def judge_end(serving, watch, data, failures):
    alive = serving.process.poll() is None
    failures["the server is alive"] += not alive
    failures["memory stays where it was"] += bool(alive and watch.fault())
    code, log = serving.stop(), serving.log()
    failures["the server stops in peace"] += code != 0
    complaint = re.search(r"(==\d+==ERROR|runtime error:|WARNING: ThreadSanitizer|Assertion).*", log)
    failures["no sanitizer and no assertion complains"] += complaint is not None
    if code != 0 or complaint:
        print(f"exit {code}: {complaint[0] if complaint else ''}\n{log[-3000:]}")
    check = subprocess.run([HEED, "check", "--data", data], capture_output=True, text=True, timeout=600)
    failures["heed check finds nothing"] += check.returncode != 0
    if check.returncode != 0:
        print(check.stdout, check.stderr)


def main():
    print(f"HEED_SEED={SEED} HOSTILE_SECONDS={SECONDS:.0f} HOSTILE_CLIENTS={CLIENTS}", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="heed-hostile-"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    failures, counts = collections.Counter(), collections.Counter()
    data, keys = prepare(folder)
    serving = Serving(HEED, data, "--access-log", str(folder / "access.log"), *OPTIONS)
    try:
        witness, watch, unreached = live(serving, folder, data, keys, failures, counts)
        judge_end(serving, watch, data, failures)
    finally:
        serving.stop()
    for promise, seen in witness.failures[:5]:
        print(f"FAILS for the well-behaved: {promise}: {seen}")
    failures.update(promise for promise, _ in witness.failures)
    sent = {k: v for k, v in counts.items() if isinstance(k, str)}
    statuses = {k: v for k, v in sorted((k, v) for k, v in counts.items() if isinstance(k, int))}
    print(f"{sum(sent.values())} deliveries: {sent}\nanswers: {statuses}")
    print(f"routes that never let a client of theirs through: {unreached}")
    for what, times in witness.times.items():
        print(f"well-behaved: {len(times)} of {what}: p50 {percentile(times, .5):.1f} p99 {percentile(times, .99):.1f} "
              f"max {max(times) * 1e3:.1f} ms")
    print("resident, medians of tenths of the run, MiB: " +
          " ".join(f"{watch.between(k / 10, (k + 1) / 10):.0f}" for k in range(10)) +
          f"; items and users {watch.held[0]} to {watch.held[-1]}")
    failed = {promise: count for promise, count in failures.items() if count}
    print("failures:", failed or 0, f"(HEED_SEED={SEED}; kept: {folder})" if failed else "")
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
