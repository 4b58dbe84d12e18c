#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`heed serve` as a stranger sees it: every route is asked, and each request and answer is held to what
/openapi.json says of it.

    api.py HEED [PAGE]      PAGE: docs/API.md, whose examples are run too
"""
import sys

sys.path.append(sys.path.pop(0))  # http.py beside this file is not Python's own http
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from schema import Description

HEED = os.path.abspath(sys.argv[1])
PAGE = sys.argv[2] if len(sys.argv) > 2 else None
ROLES = ("ingest", "serve", "advertiser", "operator")
failures = []


def check(what, holds, *seen):
    if not holds:
        failures.append(what)
        print(f"FAILS {what}: {' '.join(str(s)[:400] for s in seen)}", flush=True)


def heed(*words, data=None, code=0):
    run = subprocess.run([HEED, *words, *(["--data", data] if data else [])], text=True,
                         capture_output=True, timeout=300)
    check(f"heed {' '.join(words)} ends with {code}", run.returncode == code, run.returncode, run.stderr)
    return run


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        self.media = response.headers.get("content-type")
        is_json = self.text and self.media and re.match(r"application/(problem\+)?json", self.media)
        self.body = json.loads(self.text) if is_json else self.text

    def __repr__(self):
        return f"{self.status} {self.text}"


class Server:
    """One `heed serve` on a port of its own."""
    all = []

    def __init__(self, data, *options, expect=True):
        self.log_path = data + f".log{time.monotonic_ns()}"
        self.log = open(self.log_path, "w+")
        Server.all.append(self)
        self.process = subprocess.Popen([HEED, "serve", "--data", data, "--listen", "127.0.0.1:0",
                                         *options], stderr=self.log)
        self.port, self.description, self.driven = None, None, set()
        for _ in range(200):
            found = re.search(r"listening .*port=(\d+)", self.lines())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.05)
        check("serve listens", bool(found) == expect, self.lines())
        if found:
            self.port = int(found[1])
            self.description = Description(self.ask("GET", "/openapi.json").body)

    def lines(self):
        return pathlib.Path(self.log_path).read_text()

    def ask(self, method, path, body=None, media="application/json", key=None, headers=None,
            timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = dict(headers or {})
        if key:
            sent["Authorization"] = "Bearer " + key
        if body is not None:
            sent["Content-Type"] = media
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request(method, path, body, sent)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def call(self, method, path, body=None, media="application/json", want=200, **more):
        """A request that is well formed: it and its answer are as the description says."""
        answer = self.ask(method, path, body, media, **more)
        check(f"{method} {path} is {want}", answer.status == want, answer)
        pattern = self.description.pattern(method, path)
        check(f"{method} {path} is described", pattern is not None)
        if pattern is None:
            return answer
        self.driven.add((method, pattern))
        for fault in [*self.description.request_faults(method, path, body, media),
                      *self.description.answer_faults(method, path, answer.status, answer.media,
                                                      answer.body)]:
            check(fault, False, answer)
        return answer

    def refuses(self, what, status, method, path, body=None, media="application/json", detail="",
                field=None, **more):
        """A request that is turned away, with a problem document."""
        answer = self.ask(method, path, body, media, **more)
        check(f"{what}: {status}", answer.status == status, answer)
        check(f"{what}: a problem document", answer.media == "application/problem+json", answer.media)
        if isinstance(answer.body, dict):
            schema = {"$ref": "#/components/schemas/Problem"}
            for fault in self.description.checker.faults(answer.body, schema):
                check(f"{what}: {fault}", False)
            check(f"{what}: says why", detail in answer.body.get("detail", ""), answer)
            check(f"{what}: its status", answer.body["status"] == status, answer)
            if field:
                check(f"{what}: names {field}", answer.body.get("field") == field, answer)
        return answer

    def stop(self, sent=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sent)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        check("serve ends in peace", code == 0, code, self.lines()[-2000:])
        check("the log is told of it", " stopped" in self.lines())


# ---- the cases, each on a running server of the town

def test_watch(server):
    check("alive", server.call("GET", "/healthz").body == {"status": "alive"})
    ready = server.call("GET", "/readyz").body
    check("ready", ready["items"] == 200 and ready["model"] and ready["missing"] == [], ready)
    metrics = server.call("GET", "/metrics").text
    for name in ("heed_http_requests_total", "heed_http_request_seconds_bucket", "heed_connections",
                 "heed_connections_waiting", "heed_intake_waiting", "process_resident_memory_bytes", "heed_events_total"):
        check(f"metrics have {name}", name in metrics)
    for line in metrics.splitlines():
        check(f"metrics: {line}", re.fullmatch(
            r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"\\\n]*",?)+\})? [-+0-9.e]+(Inf)?', line))


def test_feeds(server):
    answer = server.call("POST", "/v1/feed", {"user": "u1", "n": 5, "explain": True})
    feed = answer.body
    check("five items", [i["rank"] for i in feed["items"]] == [1, 2, 3, 4, 5], feed)
    check("a personal one", feed["policy"] == "sequence", feed)
    check("with reasons", any(i["reasons"] for i in feed["items"]), feed)
    check("and why for each", all(i["why"] for i in feed["items"]), feed)
    for asked in ({"kind": "popular"}, {"kind": "trending"}, {"kind": "fresh"}, {"user": "nobody"},
                  {"kind": "similar", "item": "i3"}, {"session": [{"item": "i3"}], "explore": 1}):
        listed = server.call("POST", "/v1/feed", {**asked, "n": 7, "explain": True}).body["items"]
        check(f"why for each: {asked}", listed and all(i["why"] for i in listed), listed)
    first = feed["items"][0]["item"]
    rest = server.call("POST", "/v1/feed", {"user": "u1", "n": 5, "exclude": [first, "no such"]}).body
    check("what is excluded stays away", first not in [i["item"] for i in rest["items"]], rest)
    server.call("POST", "/v1/feed", {"user": "u1", "filter": 'author = "nobody at all"'})
    server.call("POST", "/v1/feed", {"user": "nobody", "context": {"device": "phone"}, "placement": "top"})
    then = server.call("POST", "/v1/feed", {"user": "nobody", "at": "2026-01-01T00:00:00Z"}).body
    check("no chart of the past", then["policy"] == "fresh" and "not kept" in then["why_policy"], then)
    session = {"session": [{"item": first}, {"item": "i3", "ts": 1767225600000}], "n": 3}
    check("an anonymous reader", len(server.call("POST", "/v1/feed", session).body["items"]) == 3)
    server.call("GET", f"/v1/feed?user=u1&n=2&exclude={first}&exclude=i2&explain=true")
    for kind in ("popular", "trending", "fresh"):
        listed = server.call("GET", f"/v1/{kind}?n=4").body
        check(f"{kind}: four", len(listed["items"]) == 4, listed)
        server.call("POST", "/v1/feed", {"user": "u1", "kind": kind, "n": 2})
    similar = server.call("GET", f"/v1/items/{first}/similar?n=3").body
    check("similar items are others", first not in [i["item"] for i in similar["items"]], similar)
    server.call("POST", "/v1/feed", {"kind": "similar", "item": first, "n": 2})
    why = server.call("POST", "/v1/explain", {"user": "u1", "item": first}).body
    check("an explanation has reasons", len(why["reasons"]) > 0, why)
    server.call("POST", "/v1/explain", {"user": "u1", "item": first, "exact": True})
    metrics = server.ask("GET", "/metrics").text
    check("feeds are counted by policy", 'heed_feeds_total{policy="sequence"}' in metrics)
    check("steps are timed", 'heed_feed_step_seconds_count{step="' in metrics)


def test_refused_feeds(server):
    said = [
        ("broken JSON", '{', "body", None), ("no JSON at all", 'user=u1', "body", None),
        ("an array", '[]', "not an object", None), ("nobody", {"n": 3}, "user: missing", "user"),
        ("an unknown field", {"user": "u1", "nn": 3}, "nn: there is no such", "nn"),
        ("no items", {"user": "u1", "n": 0}, "n: 0", "n"),
        ("too many items", {"user": "u1", "n": 1001}, "n: 1001", "n"),
        ("a text for a number", {"user": "u1", "n": "3"}, "n: ", "n"),
        ("an unknown kind", {"user": "u1", "kind": "worst"}, "kind: ", "kind"),
        ("similar to nothing", {"user": "u1", "kind": "similar"}, "item: missing", "item"),
        ("a chart of the past", {"kind": "popular", "at": "2026-01-01T00:00:00Z"}, "at: ", "at"),
        ("what moved in the past", {"kind": "trending", "at": 1767225600000}, "at: ", "at"),
        ("a bad filter", {"user": "u1", "filter": "tag ="}, "byte", None),
        ("a bad visit", {"session": [{"thing": 1}]}, "session[0].thing", "session"),
        ("chance above 1", {"user": "u1", "explore": 2}, "explore", "explore"),
        ("an id with a NUL", '{"user":"a\\u0000b"}', "user", "user"),
    ]
    for what, body, detail, field in said:
        server.refuses(what, 400, "POST", "/v1/feed", body, detail=detail, field=field)
    server.call("POST", "/v1/feed", {"user": "u1", "exclude": ["x"] * 100000})
    server.refuses("too many excluded", 400, "POST", "/v1/feed", {"user": "u1", "exclude": ["x"] * 100001},
                   field="exclude")
    server.call("POST", "/v1/feed", {"session": [{"item": "i1"}] * 10000})
    server.refuses("too long a session", 400, "POST", "/v1/feed", {"session": [{"item": "i1"}] * 10001},
                   field="session")
    server.call("POST", "/v1/feed", {"user": "u1", "filter": "age < 9d".ljust(1 << 18)})
    server.refuses("too long a filter", 400, "POST", "/v1/feed",
                   {"user": "u1", "filter": "age < 9d".ljust((1 << 18) + 1)}, field="filter")
    server.refuses("n at its limit and past it", 400, "GET", "/v1/feed?user=u1&n=1001", field="n")
    server.call("GET", "/v1/feed?user=u1&n=1000")
    server.refuses("a misspelt parameter", 400, "GET", "/v1/feed?user=u1&fliter=x", field="fliter")
    server.refuses("n that is no number", 400, "GET", "/v1/feed?user=u1&n=1e1", field="n")
    server.refuses("an unknown item", 404, "GET", "/v1/items/no%20such/similar")
    server.refuses("an unknown user's reasons", 404, "POST", "/v1/explain", {"user": "?", "item": "i1"})
    server.refuses("nothing there", 404, "GET", "/v1/nothing")
    wrong = server.refuses("another method", 405, "DELETE", "/v1/feed")
    check("405 says which", wrong.headers["allow"] == "GET, HEAD, POST", wrong.headers["allow"])
    server.refuses("another type", 415, "POST", "/v1/feed", "<user/>", media="text/xml")
    server.refuses("another answer", 406, "GET", "/v1/popular", headers={"Accept": "text/html"})
    server.refuses("a body past its limit", 413, "POST", "/v1/feed", b"\0" * (17 << 20))
    server.refuses("an escape that is none", 400, "GET", "/v1/items/%zz")
    page = server.refuses("a page from elsewhere", 403, "GET", "/v1/popular",
                          headers={"Origin": "https://evil.example"})
    check("and no browser takes it for its own", "access-control-allow-origin" not in page.headers)
    server.refuses("a name that points here", 403, "GET", "/v1/popular",
                   headers={"Host": "evil.example"})
    quoted = server.refuses("what is sent is not reflected as a page", 400, "POST", "/v1/feed",
                            {"user": "u1", "<script>alert(1)</script>": 1})
    check("and stays JSON", quoted.headers["x-content-type-options"] == "nosniff")


def event(number, **more):
    return {"id": f"api{number}", "ts": 1767225600000 + number, "user": "api-reader", "item": "i1",
            "kind": "view", **more}


def test_events(server):
    taken = server.call("POST", "/v1/events", event(1, dwell_ms=900, context={"hour": 9})).body
    check("one is accepted", taken == {"accepted": 1, "duplicate": 0, "rejected": 0, "errors": []}, taken)
    check("twice is once", server.call("POST", "/v1/events", event(1, dwell_ms=900, context={"hour": 9})
                                       ).body["duplicate"] == 1)
    taken = server.call("POST", "/v1/events", [event(2), event(3)]).body
    check("an array", taken["accepted"] == 2, taken)
    lines = "\n".join(json.dumps(event(n, item=f"i{n}")) for n in range(4, 8))
    taken = server.call("POST", "/v1/events", lines, media="application/x-ndjson").body
    check("lines", taken["accepted"] == 4, taken)
    bad = json.dumps(event(8)) + "\nnot json\n" + json.dumps(event(9, kind="sneeze"))
    taken = server.call("POST", "/v1/events", bad, media="application/x-ndjson").body
    check("bad lines are named", taken["accepted"] == 1 and taken["rejected"] == 2 and
          [e["line"] for e in taken["errors"]] == [2, 3] and "sneeze" in taken["errors"][1]["reason"], taken)
    none = server.refuses("only bad ones", 400, "POST", "/v1/events", "not json\n",
                          media="application/x-ndjson")
    check("are counted too", none.body.get("rejected") == 1 and none.body["errors"][0]["line"] == 1, none)
    many = server.call("POST", "/v1/events", "\n".join(["x"] * 150 + [json.dumps(event(10))]),
                       media="application/x-ndjson").body
    check("a hundred are listed, all are counted", many["rejected"] == 150 and
          len(many["errors"]) == 100, many["rejected"])
    for media, text in (("application/x-www-form-urlencoded", json.dumps(event(11))),
                        ("application/x-www-form-urlencoded", json.dumps([event(12)])),
                        ("application/x-www-form-urlencoded", json.dumps(event(13), indent=2)),
                        ("application/x-www-form-urlencoded", lines)):
        answer = server.ask("POST", "/v1/events", text, media=media)
        check("as curl -d sends it", answer.status == 200 and answer.body["rejected"] == 0, text, answer)
    check("nothing is fine", server.ask("POST", "/v1/events", "", media="application/x-ndjson").status == 200)
    seen = [i["item"] for i in server.call("POST", "/v1/feed", {"user": "api-reader", "n": 200}).body["items"]]
    check("the next feed knows them", not {"i1", "i4", "i5", "i6", "i7"} & set(seen), seen[:10])
    one = server.call("GET", "/v1/events/api1").body
    check("one event", one["user"] == "api-reader" and one["context"] == {"hour": 9}, one)
    page = server.call("GET", "/v1/events?user=api-reader&n=3").body
    check("a page", len(page["events"]) == 3 and page["cursor"], page)
    listed = [e["id"] for e in page["events"]]
    while page["cursor"]:
        page = server.call("GET", f"/v1/events?user=api-reader&n=3&cursor={page['cursor']}").body
        listed += [e["id"] for e in page["events"]]
    check("pages have each once", len(listed) == len(set(listed)) == 12, listed)
    server.call("GET", "/v1/events?item=i4&kind=view")
    for path, headers in (("/v1/events?user=api-reader&format=ndjson", {}),
                          ("/v1/events?user=api-reader", {"Accept": "application/x-ndjson"})):
        lines = server.call("GET", path, headers=headers).text.splitlines()
        check("as lines", [json.loads(line)["id"] for line in lines] == listed, lines[:3])
    everything = server.call("GET", "/v1/events?format=ndjson").text
    count = server.ask("GET", "/readyz").body["events"]
    check("all as lines", everything.count("\n") == count, everything.count("\n"), count)
    server.refuses("lines of an unknown user", 404, "GET", "/v1/events?user=nobody&format=ndjson")
    server.refuses("a cursor that is none", 400, "GET", "/v1/events?cursor=zzz")
    server.call("DELETE", "/v1/events/api1", want=204)
    server.refuses("a forgotten event", 404, "GET", "/v1/events/api1")
    server.refuses("forgotten twice", 404, "DELETE", "/v1/events/api1")


def test_items(server):
    taken = server.call("POST", "/v1/items", {"id": "new/1", "title": "New", "tags": ["a"], "hidden": True})
    check("an item", taken.body["accepted"] == 1, taken)
    item = server.call("GET", "/v1/items/new%2F1").body
    check("its id holds a slash", item["id"] == "new/1" and item["title"] == "New", item)
    item = server.call("PATCH", "/v1/items/new%2F1", {"author": "ann"}).body
    check("changed in part", item["title"] == "New" and item["author"] == "ann", item)
    item = server.call("PUT", "/v1/items/new%2F1", {"id": "new/1", "title": "Newer"}).body
    check("put anew", item["title"] == "Newer" and not item.get("author"), item)
    server.refuses("another id than the path's", 400, "PUT", "/v1/items/new%2F1", {"id": "x"}, field="id")
    server.refuses("a bad field", 400, "PUT", "/v1/items/new%2F1", {"titel": "x"}, detail="titel")
    server.refuses("part of nothing", 404, "PATCH", "/v1/items/nothing", {"title": "x"})
    page = server.call("GET", "/v1/items?n=150").body
    check("a page of items", len(page["items"]) == 150 and page["cursor"])
    server.call("GET", f"/v1/items?cursor={page['cursor']}")
    server.call("DELETE", "/v1/items/new%2F1", want=204)
    server.refuses("an item that is gone", 404, "DELETE", "/v1/items/never-was")


def test_users(server):
    who = {"id": "api-user", "attributes": {"city": "Bergen"}, "block": {"authors": ["ann"]},
           "consent": {"sell": False}}
    check("a user", server.call("POST", "/v1/users", who).body["accepted"] == 1)
    check("as it was put", server.call("GET", "/v1/users/api-user").body["attributes"] == {"city": "Bergen"})
    changed = server.call("PATCH", "/v1/users/api-user", {"follow": {"tags": ["sport"]}}).body
    check("changed in part", changed["follow"]["tags"] == ["sport"] and changed["attributes"], changed)
    server.call("PUT", "/v1/users/api-user", {"attributes": {"city": "Oslo"}})
    server.call("GET", "/v1/users?n=2")
    server.call("POST", "/v1/events", event(99, user="api-user"))
    everything = server.call("GET", "/v1/users/api-user/export").text
    check("everything about a user", "Oslo" in everything and "api99" in everything, everything)
    erased = server.call("DELETE", "/v1/users/api-user").body
    check("erased", erased["known"] and erased["events"] == 1, erased)
    server.refuses("a user who is gone", 404, "GET", "/v1/users/api-user")
    check("erasing nobody is fine", not server.call("DELETE", "/v1/users/api-user").body["known"])
    audit = server.call("GET", "/v1/audit?n=10").body["audit"]
    check("the audit log knows, and not of whom", audit[0]["action"] == "erase user" and
          "api-user" not in json.dumps(audit), audit)


def test_reports(server):
    for by in ("tag", "author", "item", "kind", "day", "hour"):
        report = server.call("GET", f"/v1/reports?by={by}&n=5").body
        lines = report["groups"] + ([report["other"]] if "other" in report else [])
        check(f"a report by {by}", report["by"] == by and 0 < len(report["groups"]) <= 5, report)
        check("no line of fewer than ten", all(line["readers"] >= 10 for line in lines), report)
        check("shares of what is shown", abs(sum(line["share"] for line in lines) - 1) < 1e-4, report)
    report = server.call("GET", "/v1/reports?by=tag&k=1000000&from=2020-01-01").body
    check("nobody has so many", report["groups"] == [] and "other" not in report and report["withheld"], report)
    server.refuses("a small k", 400, "GET", "/v1/reports?by=tag&k=9", detail="k: 9", field="k")
    server.refuses("many groups", 400, "GET", "/v1/reports?by=tag&n=1001", field="n")
    server.refuses("by nothing", 400, "GET", "/v1/reports", field="by")
    server.refuses("by user", 400, "GET", "/v1/reports?by=user", field="by")
    server.refuses("a range backwards", 400, "GET", "/v1/reports?by=tag&from=2&to=1", detail="to: is not")


def wait_for_job(server, id, seconds=60):
    for _ in range(seconds * 20):
        job = server.call("GET", f"/v1/jobs/{id}").body
        if job["state"] not in ("waiting", "running"):
            return job
        time.sleep(0.05)
    check(f"job {id} ends", False, job)
    return job


def test_jobs(server, data):
    asked = server.call("POST", "/v1/jobs", {"kind": "evaluate"}, want=202)
    check("where it is told of", asked.headers["location"] == f"/v1/jobs/{asked.body['id']}")
    done = wait_for_job(server, asked.body["id"])
    check("an evaluation", done["state"] == "done" and done["result"]["ndcg10"] > 0, done)
    order = {"kind": "train", "epochs": 1, "dim": 8, "layers": 1, "heads": 1, "seed": 3, "only_better": True}
    done = wait_for_job(server, server.call("POST", "/v1/jobs", order, want=202).body["id"])
    check("a worse model is kept out", done["state"] == "done" and done["result"]["kept_out"], done)
    long = server.call("POST", "/v1/jobs", {"kind": "train", "epochs": 5000, "seed": 1}, want=202).body["id"]
    waiting = server.call("POST", "/v1/jobs", {"kind": "evaluate"}, want=202).body["id"]
    check("one at a time", server.call("GET", f"/v1/jobs/{waiting}").body["state"] == "waiting")
    for _ in range(200):
        if "progress" in server.call("GET", f"/v1/jobs/{long}").body:
            break
        time.sleep(0.05)
    check("progress", "progress" in server.call("GET", f"/v1/jobs/{long}").body)
    more = [server.call("POST", "/v1/jobs", {"kind": "evaluate"}, want=202).body["id"] for _ in range(15)]
    server.refuses("a seventeenth that waits", 503, "POST", "/v1/jobs", {"kind": "evaluate"})
    for id in more:
        server.call("DELETE", f"/v1/jobs/{id}", want=202)
    server.call("DELETE", f"/v1/jobs/{waiting}", want=202)
    server.call("DELETE", f"/v1/jobs/{long}", want=202)
    check("cancelled", wait_for_job(server, long)["state"] == "cancelled")
    check("before it began", wait_for_job(server, waiting)["state"] == "cancelled")
    server.refuses("a job that has ended", 409, "DELETE", f"/v1/jobs/{waiting}")
    for what in ("items", "model"):
        done = wait_for_job(server, server.call("POST", "/v1/jobs", {"kind": "export", "what": what},
                                                want=202).body["id"])
        path = pathlib.Path(data) / done.get("result", {}).get("file", "none")
        check(f"export of {what}", done["state"] == "done" and path.stat().st_size > 0, done)
    listed = server.call("GET", "/v1/jobs").body["jobs"]
    check("newest first", [j["id"] for j in listed] == [str(i) for i in range(len(listed), 0, -1)], listed)
    models = server.call("GET", "/v1/models").body["models"]
    check("the model", models[0]["name"] == "sequence" and models[0]["description"], models)
    server.refuses("an unknown job", 404, "GET", "/v1/jobs/999")
    server.refuses("a job that is no number", 404, "GET", "/v1/jobs/x")
    server.refuses("an unknown kind of job", 400, "POST", "/v1/jobs", {"kind": "dance"}, field="kind")
    server.refuses("an export of nothing", 400, "POST", "/v1/jobs", {"kind": "export"}, field="what")
    server.refuses("a recipe that is none", 400, "POST", "/v1/jobs", {"kind": "train", "recipe": "x"},
                   field="recipe")


def test_http(server):
    first = server.ask("GET", "/openapi.json")
    again = server.ask("GET", "/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    check("unchanged", again.status == 304 and not again.text, again)
    check("HEAD", server.ask("HEAD", "/healthz").status == 200)
    options = server.ask("OPTIONS", "/v1/items/x")
    check("OPTIONS says what there is", options.status == 204 and
          options.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE", options.headers.items())
    check("a request's id comes back",
          server.ask("GET", "/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1")


def test_many_writers(server):
    """Bodies of many clients share commits; each is answered for itself."""
    wrong = []

    def write(worker):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for i in range(50):
            body = json.dumps(event(0, id=f"w{worker}-{i}", user=f"w{worker}")) + ("\nbad" if i % 7 == 0 else "")
            connection.request("POST", "/v1/events", body, {"Content-Type": "application/x-ndjson"})
            answer = Answer(connection.getresponse())
            if answer.status != 200 or answer.body["accepted"] != 1 or \
                    answer.body["rejected"] != (1 if i % 7 == 0 else 0):
                wrong.append(answer)

    threads = [threading.Thread(target=write, args=(w,)) for w in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("each is answered for itself", not wrong, wrong[:1])
    stored = sum(server.ask("GET", f"/v1/events?user=w{w}&format=ndjson").text.count("\n") for w in range(16))
    check("and all is there", stored == 800, stored)


def test_gorse(server):
    """The compatible routes, where they are built in: asked for in their own test."""
    for method, pattern in server.description.operations:
        if pattern.startswith("/api/"):
            server.driven.add((method, pattern))


def test_page(server):
    """The examples of docs/API.md: each curl succeeds."""
    blocks = re.findall(r"```sh\n(.*?)```", pathlib.Path(PAGE).read_text(), re.S)
    check("the page has examples", len(blocks) > 5)
    for block in blocks:
        if "heed " in block:
            continue
        script = block.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}") \
                      .replace("curl ", "curl -sS --fail-with-body ")
        run = subprocess.run(["bash", "-e", "-c", script], text=True, capture_output=True, timeout=60)
        check(f"example: {block}", run.returncode == 0, run.stdout, run.stderr)


# ---- servers of their own

def test_roles(data):
    """Each route for each role, and without a key."""
    keys = {role: json.loads(heed("key", "add", f"k-{role}", "--role", role, "--json",
                                  *(["--account", "acme"] if role == "advertiser" else []),
                                  data=data).stdout)["key"] for role in ROLES}
    server = Server(data)
    for (method, pattern), operation in server.description.operations.items():
        path = re.sub(r"\{[^}]*\}", "none", pattern)
        if pattern.startswith("/api/"):
            continue
        body = "{}" if "requestBody" in operation else None
        media = "application/json"
        roles = operation["x-roles"]
        open_to_all = operation.get("security") == []
        answer = server.ask(method, path, body, media)
        check(f"{method} {pattern} without a key", (answer.status == 401) != open_to_all, answer)
        if not open_to_all:
            check("says how", answer.headers["www-authenticate"].startswith("Bearer"))
        answer = server.ask(method, path, body, media, key="heed_" + "A" * 43)
        check(f"{method} {pattern} with a wrong key", (answer.status == 401) != open_to_all, answer)
        for role in ROLES:
            answer = server.ask(method, path, body, media, key=keys[role])
            allowed = open_to_all or role in roles
            check(f"{method} {pattern} as {role}", (answer.status not in (401, 403)) == allowed, answer)
    check("the other header", server.ask("GET", "/v1/popular", headers={"X-API-Key": keys["serve"]}).status == 200)
    check("with a key from any page", server.ask("GET", "/v1/popular", key=keys["serve"], headers={
        "Origin": "https://a.example", "Host": "b.example"}).status == 200)
    heed("key", "revoke", "k-serve", data=data)
    for _ in range(50):
        if server.ask("GET", "/v1/popular", key=keys["serve"]).status == 401:
            break
        time.sleep(0.1)
    check("a revoked key", server.ask("GET", "/v1/popular", key=keys["serve"]).status == 401)
    audit = server.ask("GET", "/v1/audit", key=keys["operator"]).body["audit"]
    check("the audit log knows", {"key add", "key revoke"} <= {line["action"] for line in audit}, audit)
    server.stop()
    log = server.lines()
    check("the log names who", "who=k-operator" in log)
    check("and holds no secret", not any(secret in log for secret in keys.values()))
    shown = heed("key", "list", "--json", data=data).stdout
    check("nor does the list", not any(secret[5:] in shown for secret in keys.values()))
    for kept in pathlib.Path(data).glob("heed.db*"):
        check("nor the store", not any(secret.encode() in kept.read_bytes() for secret in keys.values()))


def test_rates(data):
    slow = json.loads(heed("key", "add", "slow", "--role", "serve", "--per-second", "2", "--json",
                           data=data).stdout)["key"]
    daily = json.loads(heed("key", "add", "daily", "--role", "serve", "--per-day", "3", "--json",
                            data=data).stdout)["key"]
    plain = json.loads(heed("key", "add", "plain", "--role", "serve", "--json", data=data).stdout)["key"]
    server = Server(data, "--rate", "5")
    got = [server.ask("GET", "/v1/popular", key=slow) for _ in range(8)]
    late = [a for a in got if a.status == 429]
    check("a key's own rate", 3 <= len(late) <= 6 and late[0].headers["retry-after"] == "1", got)
    time.sleep(1.1)
    check("a second later", server.ask("GET", "/v1/popular", key=slow).status == 200)
    got = [server.ask("GET", "/v1/popular", key=daily).status for _ in range(5)]
    check("a day's quota", got == [200, 200, 200, 429, 429], got)
    got = [server.ask("GET", "/v1/popular", key=plain).status for _ in range(20)]
    check("the server's rate", 429 in got and 5 <= got.count(200) <= 12, got)
    check("health is nobody's to use up", all(server.ask("GET", "/healthz").status == 200 for _ in range(30)))
    server.stop()
    server = Server(data)
    check("a quota outlives a restart", server.ask("GET", "/v1/popular", key=daily).status == 429)
    server.stop(signal.SIGINT)
    check("and is written down", len(pathlib.Path(data, "quotas.txt").read_text().splitlines()) == 1)


def test_listening(data):
    run = subprocess.run([HEED, "serve", "--data", data, "--listen", "0.0.0.0:0"], text=True,
                         capture_output=True, timeout=30)
    check("not for all the world without a key", run.returncode == 2 and "heed key add" in run.stderr,
          run.returncode, run.stderr)
    for words, word in ((["--memory", "5"], "--memory"), (["--train", "6h"], "--train"),
                        (["--retain", "view"], "--retain"), (["--explore", "2"], "--explore"),
                        (["--tls-cert", "x"], "--tls-cert"), (["--listen", "nowhere"], "listen")):
        run = subprocess.run([HEED, "serve", "--data", data, *words], text=True, capture_output=True, timeout=30)
        check(f"serve {words} is refused", run.returncode in (1, 2) and word in run.stderr, run.stderr)


def test_signals(data):
    log = data + ".access"
    server = Server(data, "--access-log", log)
    server.ask("GET", "/healthz")
    for _ in range(100):  # the line comes after the answer
        if "path=/healthz" in pathlib.Path(log).read_text():
            break
        time.sleep(0.05)
    os.rename(log, log + ".1")
    server.process.send_signal(signal.SIGHUP)
    for _ in range(100):
        if "reloaded" in server.lines() and os.path.exists(log):
            break
        time.sleep(0.05)
    server.ask("GET", "/readyz")
    time.sleep(0.2)
    check("the old log has the first", "path=/healthz" in pathlib.Path(log + ".1").read_text())
    check("the new one the second", "path=/readyz" in pathlib.Path(log).read_text())
    check("the answer goes on", server.ask("GET", "/healthz").status == 200)
    # Answers under way are finished: every request that was sent before the end gets its answer.
    results, told = [], threading.Event()

    def load():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not told.is_set():
            try:
                connection.request("POST", "/v1/events", json.dumps(event(0, id=f"s{time.monotonic_ns()}")),
                                   {"Content-Type": "application/json"})
                answer = Answer(connection.getresponse())
                results.append(answer.status)
                if answer.headers.get("connection") == "close":
                    return
            except (ConnectionError, http.client.RemoteDisconnected, socket.timeout):
                return

    threads = [threading.Thread(target=load) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    server.stop(signal.SIGINT)
    told.set()
    for t in threads:
        t.join()
    check("answers under load", len(results) > 50 and set(results) <= {200, 503}, len(results), set(results))
    count = heed("export", "events", data=data).stdout.count('"id":"s') if has_export() else len(results)
    check("what was answered is there", count >= results.count(200), count, results.count(200))


def has_export():
    return subprocess.run([HEED, "help", "export", "events"], capture_output=True).returncode == 0


def test_cold(folder):
    """A folder with nothing in it is served too, and training begins once there is something."""
    server = Server(folder + "/cold", "--memory", "64M", "--train", "every=1h", "--retain",
                    "impression=30d,all=2y", "--cors", "https://shop.example")
    ready = server.call("GET", "/readyz").body
    check("it says what is missing", ready["missing"] == ["items", "events", "model"], ready)
    feed = server.call("POST", "/v1/feed", {"user": "u", "n": 5}).body
    check("an empty feed, and why", feed["items"] == [] and feed["why_policy"], feed)
    check("no model", server.call("GET", "/v1/models").body == {"models": []})
    allowed = server.ask("GET", "/v1/popular", headers={"Origin": "https://shop.example"})
    check("the shop's pages may ask", allowed.status == 200 and
          allowed.headers["access-control-allow-origin"] == "https://shop.example", allowed)
    server.refuses("others may not", 403, "GET", "/v1/popular", headers={"Origin": "https://other.example"})
    server.stop()


def test_schedule(folder):
    """What has events and no model is trained at once; what comes too late to be kept is forgotten."""
    heed("simulate", "-o", folder + "/hamlet", "--users", "60", "--items", "40", "--events", "2500", "--json")
    heed("import", "events", folder + "/hamlet/events.ndjson", "--json", data=folder + "/warm")
    server = Server(folder + "/warm", "--train", "every=1h", "--retain", "impression=1s")
    for _ in range(900):
        if server.ask("GET", "/readyz").body["model"]:
            break
        time.sleep(0.1)
    check("a model by itself", server.ask("GET", "/readyz").body["model"], server.lines()[-1000:])
    job = wait_for_job(server, 1)
    check("by the schedule", job["by"] == "schedule" and job["kind"] == "train", job)
    check("and once", len(server.call("GET", "/v1/jobs").body["jobs"]) == 1)
    left = server.call("GET", "/v1/events?kind=impression").body["events"]
    check("impressions are forgotten", left == [] and server.ask("GET", "/readyz").body["events"] > 0, left[:1])
    server.stop()


def main():
    folder = tempfile.mkdtemp(prefix="heed-api-")
    data = folder + "/data"
    try:
        heed("simulate", "-o", folder + "/town", "--json")
        heed("import", "events", folder + "/town/events.ndjson", "--json", data=data)
        heed("import", "items", folder + "/town/items.ndjson", "--json", data=data)
        heed("train", "sequence", "--epochs", "3", "--seed", "1", "--json", data=data)
        server = Server(data)
        for test in (test_watch, test_feeds, test_refused_feeds, test_events, test_items, test_users, test_reports,
                     test_http, test_many_writers, test_gorse):
            test(server)
        test_jobs(server, data)
        if PAGE:
            test_page(server)
        left = set(server.description.operations) - server.driven
        check("every route was asked", left <= {("GET", "/openapi.json")}, left)
        server.stop()
        test_listening(data)
        test_signals(data)
        test_roles(data)
        test_rates(data)
        test_cold(folder)
        test_schedule(folder)
    finally:
        for server in Server.all:
            if server.process.poll() is None:  # a case broke before it could stop it
                server.process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print("failures:", len(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
