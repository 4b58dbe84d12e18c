#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A town of simulated readers lives on `heed serve`, through HTTP, for a while. Readers ask for pages, look at
what the town's truth says they would look at, block, change their minds about consent, and are erased; an
editor hides, ends and adds items; an operator trains anew. Every promise is checked on every answer:

  nothing seen, turned away, excluded, blocked, hidden or expired is in it; the filter holds (without consent
  to personalise what was seen is not looked at; what was turned away still is)
  each answer has a decision of its own, ranks from 1, propensities above 0 and up to 1
  an event changes the next answer; sent again it is a duplicate
  without consent to personalise the next answer is not the model's and gives no reasons
  a personalised answer gives reasons where asked, out of the reader's own history; every item says why
  an erased reader is a stranger from the next answer on, and leaves no trace
  a new model is swapped in without a request that fails
  what was acknowledged is in the export once, after the server has stopped

    town.py HEED        TOWN_SECONDS=20 TOWN_THREADS=4 HEED_SEED=1
"""
import sys

sys.path.append(sys.path.pop(0))  # http.py beside this file is not Python's own http
import collections
import json
import math
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import time

from serving import Client, Serving

HEED = os.path.abspath(sys.argv[1])
SECONDS = float(os.environ.get("TOWN_SECONDS", 20))
THREADS = int(os.environ.get("TOWN_THREADS", 4))
SEED = int(os.environ.get("HEED_SEED", 1))
USERS, ITEMS, EVENTS = 240, 500, 20000
ATTENTION = ("view", "click", "like", "share", "save", "convert")
TURNED_AWAY = ("dislike", "hide", "report")
NEVER = math.inf


def run(*words, **more):
    done = subprocess.run([HEED, *map(str, words)], capture_output=True, text=True, timeout=600, **more)
    if done.returncode != 0:
        raise SystemExit(f"heed {' '.join(map(str, words))}: {done.returncode} {done.stderr[-1000:]}")
    return done.stdout


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Report:
    """What failed and what took how long; locked."""

    def __init__(self):
        self.lock = threading.Lock()
        self.failures = collections.Counter()
        self.times = collections.defaultdict(list)
        self.checks = collections.Counter()
        self.decisions = set()

    def check(self, promise, holds, *seen):
        with self.lock:
            self.checks[promise] += 1
            if holds:
                return
            self.failures[promise] += 1
            if self.failures[promise] <= 3:
                print(f"FAILS {promise}: {' '.join(str(s)[:300] for s in seen)}", flush=True)

    def took(self, what, seconds):
        with self.lock:
            self.times[what].append(seconds)

    def is_new(self, decision):
        with self.lock:
            known = decision in self.decisions
            self.decisions.add(decision)
            return not known


class Town:
    """Items and what is known to be true of them. Items are only added, and say the same as long as they are
    there; from when to when one must not be shown is kept beside them."""

    def __init__(self, folder):
        self.lock = threading.Lock()
        self.items, self.away = {}, {}
        self.interests = {}
        self.seen, self.turned_away = collections.defaultdict(set), collections.defaultdict(set)
        truth = lines(folder / "truth.ndjson")
        self.about = {t["item"]: (t["topics"], t["quality"]) for t in truth if t["truth"] == "item"}
        for t in truth:
            if t["truth"] == "reader":
                self.interests[t["user"]] = t["interests"]
        for item in lines(folder / "items.ndjson"):
            self.items[item["id"]] = item
        for event in lines(folder / "events.ndjson"):
            kept = self.seen if event["kind"] in ATTENTION else self.turned_away
            if event["kind"] != "impression":
                kept[event["user"]].add(event["item"])

    def add(self, item, like):
        with self.lock:
            self.about[item["id"]] = self.about[like]
            self.items[item["id"]] = item

    def hide(self, item, since):
        with self.lock:
            self.away.setdefault(item, []).append([since, NEVER])

    def show(self, item, since):
        with self.lock:
            self.away[item][-1][1] = since

    def is_away(self, item, began, ended):
        """It was all the time between the two."""
        with self.lock:
            return any(a <= began and ended <= b for a, b in self.away.get(item, ()))

    def any_items(self, rng, count):
        with self.lock:
            return rng.sample(sorted(self.items), count)

    def appeal(self, interests, item):
        """How likely this reader looks at it, as the truth has it."""
        topics, quality = self.about[item]
        size = math.sqrt(sum(t * t for t in topics) * sum(i * i for i in interests)) or 1
        return 0.03 + 0.7 * quality * sum(t * i for t, i in zip(topics, interests)) / size


class Reader:
    """One reader's own state; confined to a thread."""

    def __init__(self, town, name):
        self.name = name
        self.interests = town.interests.get(name) or next(iter(town.interests.values()))
        self.seen, self.turned_away = set(town.seen[name]), set(town.turned_away[name])
        self.blocked = {"items": set(), "authors": set(), "tags": set()}
        self.personalise = True
        self.acknowledged = set()

    def away(self):
        return self.turned_away | (self.seen if self.personalise else set())

    def is_known(self):
        return bool(self.acknowledged or self.seen or self.turned_away)

    def is_forgotten(self):
        self.seen, self.turned_away, self.acknowledged = set(), set(), set()
        self.blocked = {kind: set() for kind in self.blocked}
        self.personalise = True


class Crowd(threading.Thread):
    """Some of the readers, one after the other."""

    def __init__(self, number, names, town, report, port, until):
        super().__init__(daemon=True)
        self.rng = random.Random(SEED * 1000 + number)
        self.number, self.town, self.report, self.until = number, town, report, until
        self.readers = [Reader(town, name) for name in names]
        self.client = Client(port)
        self.events, self.erased = 0, set()

    def run(self):
        acts = ((self.read, 76), (self.visit_unnamed, 8), (self.block, 6), (self.withdraw, 6),
                (self.be_erased, 2), (self.ask_for_similar, 2))
        while time.time() < self.until:
            reader = self.rng.choice(self.readers)
            act = self.rng.choices([a for a, _ in acts], [w for _, w in acts])[0]
            try:
                act(reader)
            except Exception as error:  # a lost connection is a failed request too
                self.report.check("no request fails", False, type(error).__name__, error)
                self.client.close()
        self.client.close()

    # ---- asking

    def ask(self, what, method, path, body, want=200, **more):
        began = time.monotonic()
        answer = self.client.ask(method, path, body, **more)
        self.report.took(what, time.monotonic() - began)
        self.report.check("no request fails", answer.status == want, method, path, body, answer)
        return answer.body if answer.status == want else None

    def feed(self, reader, **more):
        """An answer, checked for all that holds of every one."""
        body = {"n": self.rng.choice((5, 8, 12)), **more}
        if reader:
            body["user"] = reader.name
        began = time.time()
        answer = self.ask("feed", "POST", "/v1/feed", body)
        if answer is None:
            return None
        self.check_page(answer, body)
        self.check_shown(reader, answer, body, began, time.time())
        if reader:
            self.check_reasons(reader, answer, body)
        return answer

    def check_page(self, answer, body):
        check, items = self.report.check, answer["items"]
        check("a decision of its own", len(answer["decision"]) == 32
              and self.report.is_new(answer["decision"]), answer["decision"])
        check("no more than asked for", len(items) <= body["n"], len(items), body)
        check("ranks from 1", [i["rank"] for i in items] == list(range(1, len(items) + 1)), items)
        check("each item once", len({i["item"] for i in items}) == len(items), items)
        check("a propensity above 0, up to 1", all(0 < i["propensity"] <= 1 for i in items), items)
        check("a policy, and why", answer["policy"] and answer["why_policy"], answer)
        check("why, for every item where asked for and nowhere else",
              all(bool(i.get("why")) == bool(body.get("explain")) for i in items), items)

    def check_shown(self, reader, answer, body, began, ended):
        check = self.report.check
        shown = [i["item"] for i in answer["items"]]
        with self.town.lock:
            facts = [self.town.items[i] for i in shown if i in self.town.items]
        check("only items that there are", len(facts) == len(shown), shown)
        check("nothing hidden or expired",
              not any(self.town.is_away(i, began, ended) for i in shown), shown)
        check("nothing excluded", not set(body.get("exclude", ())) & set(shown), shown, body)
        check("nothing of the session", not {v["item"] for v in body.get("session", ())} & set(shown))
        if "filter" in body:
            tag = body["filter"].split('"')[1]
            check("the filter holds", all(tag in f.get("tags", ()) for f in facts), body["filter"], facts)
        if reader:
            check("nothing seen twice", not reader.away() & set(shown), reader.name,
                  reader.away() & set(shown), answer["policy"])
            blocked = reader.blocked
            check("nothing blocked", not any(
                f["id"] in blocked["items"] or f.get("author") in blocked["authors"]
                or blocked["tags"] & set(f.get("tags", ())) for f in facts), blocked, facts)

    def check_reasons(self, reader, answer, body):
        check = self.report.check
        reasons = [r for i in answer["items"] for r in i.get("reasons", ())]
        if not reader.personalise:
            check("no consent, no model", answer["policy"] != "sequence", reader.name, answer)
            check("no consent, no reasons", not reasons, reader.name, reasons)
        if not reader.seen:
            check("a stranger is none of the model's", answer["policy"] != "sequence", reader.name, answer)
        if not body.get("explain"):
            check("reasons only where asked for", not reasons, reasons)
        elif answer["policy"] == "sequence":
            # Of what the model has learned nothing of, and of what chance has drawn, there are none, and where a
            # filter left little, nothing may have spoken for it: `why` says which.
            none = ("learned nothing", "by chance", "none of which spoke")
            check("reasons where asked for, or why there are none", all(
                i["reasons"] or any(words in i["why"] for words in none) for i in answer["items"]),
                reader.name, body, answer["items"])
            check("reasons of the reader's own",
                  {r["item"] for r in reasons} <= reader.seen, reader.name, reasons)

    # ---- acting

    def read(self, reader):
        more = {"explain": True} if self.rng.random() < 0.3 else {}
        if self.rng.random() < 0.2:
            more["exclude"] = self.town.any_items(self.rng, 20)
        if self.rng.random() < 0.15:
            with self.town.lock:
                item = self.town.items[self.rng.choice(sorted(self.town.items))]
            if item.get("tags"):
                more["filter"] = f'tag = "{self.rng.choice(item["tags"])}" and (age < 900d or has url)'
        answer = self.feed(reader, **more)
        if answer and answer["items"] and self.look(reader, answer):
            after = self.feed(reader, **more, n=len(answer["items"]))
            self.report.check("an event changes the next answer", after is None
                              or not reader.personalise or [i["item"] for i in after["items"]]
                              != [i["item"] for i in answer["items"]], reader.name, answer["items"])

    def look(self, reader, answer):
        """What the reader does with a page. Whether anything was looked at."""
        events, looked = [], False
        for shown in answer["items"]:
            common = {"user": reader.name, "item": shown["item"], "decision": answer["decision"],
                      "position": shown["rank"]}
            kinds = [("impression", {})]
            if self.rng.random() < self.town.appeal(reader.interests, shown["item"]):
                kinds.append(("view", {"dwell_ms": self.rng.randrange(500, 60000)}))
                kinds += [(k, {}) for k, p in (("click", 0.4), ("like", 0.1), ("share", 0.03)) if
                          self.rng.random() < p]
            elif self.rng.random() < 0.03:
                kinds.append((self.rng.choice(("hide", "dislike", "report")), {}))
            for kind, extra in kinds:
                self.events += 1
                events.append({"id": f"town-{self.number}-{self.events}", "kind": kind, **common, **extra})
        if not self.post(events, {"accepted": len(events), "duplicate": 0}):
            return False
        for event in events:
            reader.acknowledged.add(event["id"])
            looked = looked or event["kind"] != "impression"
            if event["kind"] in ATTENTION:
                reader.seen.add(event["item"])
            elif event["kind"] in TURNED_AWAY:
                reader.turned_away.add(event["item"])
        if self.rng.random() < 0.05:
            self.post(events, {"accepted": 0, "duplicate": len(events)})
        return looked

    def post(self, events, want):
        body = "".join(json.dumps(event) + "\n" for event in events)
        got = self.ask("events", "POST", "/v1/events", body, media="application/x-ndjson")
        got = got and {key: got[key] for key in want}
        self.report.check("events are taken in, once", got == want, got, want)
        return got == want

    def visit_unnamed(self, _):
        session = [{"item": item} for item in self.town.any_items(self.rng, self.rng.randrange(1, 6))]
        answer = self.feed(None, session=session)
        self.report.check("a session is answered", answer and answer["items"], answer)

    def ask_for_similar(self, reader):
        item = self.town.any_items(self.rng, 1)[0]
        answer = self.ask("similar", "GET", f"/v1/items/{item}/similar?user={reader.name}&n=5", None)
        if answer:
            shown = {i["item"] for i in answer["items"]}
            self.report.check("nothing seen twice", not reader.away() & shown, reader.name, shown)
            self.report.check("an item is not like itself", item not in shown, item)

    def block(self, reader):
        answer = self.feed(reader)
        if not answer or not answer["items"]:
            return
        item = self.town.items[answer["items"][0]["item"]]
        kind, name = self.rng.choice([("items", item["id"])] + [("authors", item["author"])] *
                                     bool(item.get("author")))
        if kind == "authors" and len(reader.blocked["authors"]) >= 2:
            reader.blocked["authors"].clear()  # else nothing would be left to read
        reader.blocked[kind].add(name)
        self.change(reader, {"block": {k: sorted(v) for k, v in reader.blocked.items()}})
        self.feed(reader)

    def withdraw(self, reader):
        reader.personalise = not reader.personalise
        self.change(reader, {"consent": {"personalise": reader.personalise}})
        self.feed(reader, explain=True)

    def change(self, reader, what):
        method, body = ("PATCH", what) if reader.is_known() else ("PUT", {
            "consent": {"personalise": reader.personalise},
            "block": {k: sorted(v) for k, v in reader.blocked.items()}})
        self.ask("users", method, f"/v1/users/{reader.name}", body)

    def be_erased(self, reader):
        self.ask("erase", "DELETE", f"/v1/users/{reader.name}", None)
        self.erased |= reader.acknowledged
        reader.is_forgotten()
        self.ask("users", "GET", f"/v1/users/{reader.name}", None, want=404)
        self.feed(reader, explain=True)
        if self.rng.random() < 0.3 and len(self.readers) > 5:
            self.readers.remove(reader)  # and never comes back


class Editor(threading.Thread):
    """Hides, ends and adds items."""

    def __init__(self, town, report, port, until):
        super().__init__(daemon=True)
        self.rng, self.town, self.report, self.until = random.Random(SEED), town, report, until
        self.client, self.hidden, self.added = Client(port), [], 0

    def ask(self, method, path, body):
        answer = self.client.ask(method, path, body)
        self.report.check("no request fails", answer.status == 200, method, path, body, answer)

    def run(self):
        while time.time() < self.until:
            self.rng.choice((self.hide, self.hide, self.show, self.end, self.add, self.add))()
            time.sleep(0.05)
        self.client.close()

    def free_item(self):
        while True:
            item = self.town.any_items(self.rng, 1)[0]
            if item not in self.town.away:
                return item

    def hide(self):
        if len(self.hidden) < ITEMS // 10:
            item = self.free_item()
            self.ask("PATCH", f"/v1/items/{item}", {"hidden": True})
            self.town.hide(item, time.time())
            self.hidden.append(item)

    def show(self):
        if self.hidden:
            item = self.hidden.pop(0)
            self.town.show(item, time.time())
            self.ask("PATCH", f"/v1/items/{item}", {"hidden": False})

    def end(self):
        if self.rng.random() < 0.2:
            item, at = self.free_item(), int((time.time() + self.rng.random()) * 1000)
            self.ask("PATCH", f"/v1/items/{item}", {"expires": at})
            self.town.hide(item, max(at / 1000, time.time()))

    def add(self):
        like = self.town.any_items(self.rng, 1)[0]
        self.added += 1
        item = {**self.town.items[like], "id": f"new{self.added}", "title": f"News of the day {self.added}",
                "created": int(time.time() * 1000) - 1000}
        item.pop("expires", None)
        self.town.add(item, like)  # before it is there, so that every answer knows it
        self.ask("POST", "/v1/items", item)


def train(port, report, number):
    """A training beside the town. Whether it came to its end."""
    client = Client(port)
    before = client.ask("GET", "/v1/models").body["models"]
    asked = client.ask("POST", "/v1/jobs", {"kind": "train", "epochs": 2, "dim": 32, "layers": 1,
                                            "seed": number})
    report.check("a training is taken on", asked.status == 202, asked)
    for _ in range(3000):
        job = client.ask("GET", f"/v1/jobs/{asked.body['id']}").body
        if job["state"] in ("done", "failed", "cancelled"):
            break
        time.sleep(0.1)
    after = client.ask("GET", "/v1/models").body["models"]
    report.check("a training ends well", job["state"] == "done", job)
    report.check("there is a new model", before != after, before, after)
    client.close()


def check_export(crowds, data, report):
    """After the server has stopped: what was acknowledged is there once, what was erased is not."""
    ids = collections.Counter(e.get("id") for e in map(json.loads, run("export", "events", "--data",
                                                                      data).splitlines()))
    for crowd in crowds:
        for reader in crowd.readers:
            report.check("what was acknowledged is there once",
                         all(ids[i] == 1 for i in reader.acknowledged), reader.name)
        report.check("what was erased is not", not any(ids[i] for i in crowd.erased))


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(p * len(values)))] * 1e3


def print_figures(report, seconds, rss):
    answers = len(report.times["feed"]) + len(report.times["similar"])
    print(f"{answers} answers, {answers / seconds:.0f}/s, {len(report.times['events'])} posts of events, "
          f"{THREADS} clients in one Python, {seconds:.0f} s")
    for what, times in sorted(report.times.items()):
        print(f"  {what:8} {len(times):7} p50 {percentile(times, .5):7.2f} p95 {percentile(times, .95):7.2f} "
              f"p99 {percentile(times, .99):7.2f} max {max(times) * 1e3:8.2f} ms")
    print(f"  resident memory {rss[0]:.0f} MiB after two seconds, {rss[1]:.0f} MiB at the end")
    print(f"  {sum(report.checks.values())} checks of {len(report.checks)} promises, "
          f"{sum(report.failures.values())} failed (HEED_SEED={SEED})")


def live(serving, town, report):
    until = time.time() + SECONDS
    names = [f"u{k}" for k in range(1, USERS + 1)]
    crowds = [Crowd(n, names[n::THREADS], town, report, serving.port, until) for n in range(THREADS)]
    editor = Editor(town, report, serving.port, until)
    for thread in (*crowds, editor):
        thread.start()
    time.sleep(min(2, SECONDS / 4))
    rss, watched, number = serving.memory_mib(), serving.is_watched(), 1
    while time.time() < until - SECONDS / 3:
        train(serving.port, report, number)
        number += 1
        time.sleep(max(0, min(60, until - time.time())))
    for thread in (*crowds, editor):
        thread.join(SECONDS + 120)
        report.check("nobody waits for ever", not thread.is_alive())
    rss = rss, serving.memory_mib()
    report.check("memory is bounded", watched or rss[1] < rss[0] + 200, rss)
    return crowds, rss


def main():
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "data"
        run("simulate", "--users", USERS, "--items", ITEMS, "--events", EVENTS, "--seed", SEED, "-o", folder)
        run("import", "items", folder / "items.ndjson", "--data", data)
        run("import", "events", folder / "events.ndjson", "--data", data)
        run("train", "sequence", "--epochs", 2, "--seed", SEED, "--data", data)
        town = Town(folder)
        serving = Serving(HEED, data, "--explore", "0.1", "--access-log", str(folder / "access.log"))
        client = Client(serving.port)
        for k in range(1, USERS + 1):
            report.check("a reader is taken in",
                         client.ask("PUT", f"/v1/users/u{k}", {"attributes": {}}).status == 200)
        client.close()
        began = time.monotonic()
        try:
            crowds, rss = live(serving, town, report)
        finally:
            code = serving.stop()
        report.check("the server ends in peace", code == 0, code, serving.log()[-2000:])
        check_export(crowds, data, report)
        print_figures(report, min(SECONDS, time.monotonic() - began), rss)
    sys.exit(1 if report.failures else 0)


main()
