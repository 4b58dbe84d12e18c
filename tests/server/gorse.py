#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every route of the Gorse subset (docs/GORSE.md) by plain HTTP: each answer is as /openapi.json says, what
becomes of records under /v1, and what is refused.

    gorse.py HEED
"""
import sys

sys.path.append(sys.path.pop(0))  # http.py beside this file is not Python's own http
import os
import tempfile

from schema import Description
from serving import Client, Serving

failures = []


def check(what, holds, *seen):
    if not holds:
        failures.append(what)
        print(f"FAILS {what}: {' '.join(str(s)[:400] for s in seen)}", flush=True)


class Gorse:
    def __init__(self, port):
        self.client = Client(port)
        self.description = Description(self.client.ask("GET", "/openapi.json").body)
        self.driven = set()

    def call(self, method, path, body=None, want=200, **more):
        answer = self.client.ask(method, path, body, **more)
        check(f"{method} {path} is {want}", answer.status == want, answer)
        pattern = self.description.pattern(method, path)
        if pattern:
            self.driven.add((method, pattern))
            for fault in self.description.answer_faults(method, path, answer.status,
                                                        answer.headers.get("content-type"), answer.body):
                check(fault, False, answer)
        return answer.body

    def affected(self, method, path, rows, body=None):
        got = self.call(method, path, body)
        check(f"{method} {path} says {rows}", got == {"RowAffected": rows}, got)

    def refused(self, method, path, body, field=None, detail="", want=400):
        got = self.call(method, path, body, want)
        check(f"{path}: a problem document", isinstance(got, dict) and got.get("status") == want, got)
        if isinstance(got, dict):
            check(f"{path}: names {field}", got.get("field") == field, got)
            check(f"{path}: says {detail}", detail in got.get("detail", ""), got)


def feedback(kind, user, item, **more):
    return {"FeedbackType": kind, "UserId": user, "ItemId": item, "Timestamp": "2026-03-01", **more}


def test_items(g):
    g.affected("POST", "/api/item", 1, {
        "ItemId": "i0", "IsHidden": False, "Categories": ["a"], "Timestamp": "2026-01-01T00:00:00Z",
        "Labels": {"tags": ["x"], "embedding": [0.5, 0.25]}, "Comment": "the title"})
    g.affected("POST", "/api/items", 20, [
        {"ItemId": f"i{k}", "Categories": ["a" if k % 2 else "b"], "Timestamp": f"2026-01-{k:02}",
         "Labels": ["x"] if k % 3 == 0 else None, "Comment": f"title {k}"} for k in range(1, 21)])
    item = g.call("GET", "/api/item/i0")
    check("an item comes back", item == {
        "ItemId": "i0", "IsHidden": False, "Categories": ["a", "x"], "Timestamp": "2026-01-01T00:00:00Z",
        "Labels": {"tags": ["a", "x"], "embedding": [0.5, 0.25]}, "Comment": "the title"}, item)
    native = g.call("GET", "/v1/items/i0")
    check("it is an item of heed's", native["title"] == "the title" and native["tags"] == ["a", "x"]
          and native["features"] == {"embedding": [0.5, 0.25]}, native)

    g.call("PATCH", "/v1/items/i0", {"author": "ann"})
    g.affected("PATCH", "/api/item/i0", 1, {"Comment": "another", "IsHidden": None, "Labels": None,
                                            "Categories": None, "Timestamp": None})
    native = g.call("GET", "/v1/items/i0")
    check("a change changes what it says", native["title"] == "another" and native["tags"] == ["a", "x"]
          and native["author"] == "ann", native)
    g.affected("POST", "/api/item", 1, {"ItemId": "i0", "Comment": "whole"})
    native = g.call("GET", "/v1/items/i0")
    check("a whole item keeps what Gorse has no word for", native.get("author") == "ann"
          and "tags" not in native and native["title"] == "whole", native)
    g.affected("PUT", "/api/item/i0/category/new", 1)
    g.affected("PUT", "/api/item/i0/category/b%2Fc", 1)
    check("categories are added", g.call("GET", "/api/item/i0")["Categories"] == ["new", "b/c"])
    g.affected("PUT", "/api/item/i0/category/new", 1)
    g.affected("DELETE", "/api/item/i0/category/new", 1)
    check("and taken away", g.call("GET", "/api/item/i0")["Categories"] == ["b/c"])

    seen, cursor = [], ""
    for _ in range(20):
        page = g.call("GET", f"/api/items?n=8&cursor={cursor}")
        check("a page of items", set(page) == {"Cursor", "Items"} and len(page["Items"]) <= 8, page)
        seen += [item["ItemId"] for item in page["Items"]]
        cursor = page["Cursor"]
        if not cursor:
            break
    check("pages hold each item once", sorted(seen) == sorted(f"i{k}" for k in range(21)), seen)
    found = g.call("GET", "/api/items?q=title%201&n=5")["Items"]
    check("search finds titles", found and all("title 1" in item["Comment"] for item in found), found)
    check("no page, no search", g.call("GET", "/api/items?q=nowhere")["Items"] == [])

    g.affected("DELETE", "/api/item/i20", 1)
    g.call("GET", "/api/item/i20", want=404)
    g.affected("DELETE", "/api/item/nobody", 0)
    g.call("GET", "/api/item/nobody", want=404)
    g.refused("PATCH", "/api/item/nobody", {"Comment": "x"}, want=404)
    g.refused("POST", "/api/items", [{"ItemId": "ok"}, {"Comment": "x"}], "ItemId", "record 2: ItemId: missing")
    g.call("GET", "/api/item/ok", want=404)
    g.refused("POST", "/api/item", {"ItemId": "x", "Timestamp": "soon"}, "Timestamp", "not a time")
    g.refused("POST", "/api/item", {"ItemId": "x", "IsHidden": 1}, "IsHidden")
    g.refused("POST", "/api/item", "{", detail="body")
    g.refused("POST", "/api/items", [7], detail="not an object")
    g.affected("POST", "/api/items", 0, [])


def test_users(g):
    g.affected("POST", "/api/user", 1, {"UserId": "bob", "Labels": {"city": ["Oslo", 1]}, "Comment": "hm"})
    g.affected("POST", "/api/users", 2, [{"UserId": "ann", "Labels": ["a"]}, {"UserId": "cy"}])
    user = g.call("GET", "/api/user/bob")
    check("a user comes back", user == {"UserId": "bob", "Labels": {"city": ["Oslo", 1]}, "Comment": "hm"},
          user)
    g.call("PATCH", "/v1/users/bob", {"consent": {"learn": False}, "block": {"tags": ["zzz"]}})
    g.affected("PATCH", "/api/user/bob", 1, {"Comment": "well"})
    g.affected("POST", "/api/user", 1, {"UserId": "bob", "Labels": None})
    native = g.call("GET", "/v1/users/bob")
    check("consent and blocks stay", native["consent"]["learn"] is False
          and native["block"] == {"tags": ["zzz"]}, native)
    page = g.call("GET", "/api/users?n=2")
    check("a page of users", len(page["Users"]) == 2 and page["Cursor"], page)
    rest = g.call("GET", f"/api/users?n=100&cursor={page['Cursor']}")
    ids = [user["UserId"] for user in page["Users"] + rest["Users"]]
    check("each once", sorted(ids) == ["ann", "bob", "cy"] and rest["Cursor"] == "", ids)
    g.affected("DELETE", "/api/user/cy", 1)
    g.affected("DELETE", "/api/user/cy", 0)
    g.call("GET", "/api/user/cy", want=404)
    g.refused("POST", "/api/user", {"Labels": 1}, "UserId", "missing")
    g.refused("PATCH", "/api/user/nobody", {"Comment": "x"}, want=404)


def test_feedback(g):
    first = feedback("star", "bob", "i1", Value=2.5, Comment="good", Labels={"a": 1})
    g.affected("POST", "/api/feedback", 2, [first, feedback("read", "dan", "new-item", Timestamp="")])
    g.affected("POST", "/api/feedback", 1, [first])
    got = g.call("GET", "/api/feedback/bob/i1")
    want = {**first, "Timestamp": "2026-03-01T00:00:00Z"}
    check("it is there once, as it was", got == [want], got)
    check("and alone", g.call("GET", "/api/feedback/star/bob/i1") == want)
    g.call("GET", "/api/feedback/read/bob/i1", want=404)
    check("users and items come of it", g.call("GET", "/api/user/dan")["UserId"] == "dan"
          and g.call("GET", "/api/item/new-item")["ItemId"] == "new-item")
    event = g.call("GET", "/v1/events?user=bob")["events"]
    check("it is an event", len(event) == 1 and event[0]["kind"] == "like" and event[0]["value"] == 2.5,
          event)

    g.affected("PUT", "/api/feedback", 1, [{**first, "Value": 4, "Comment": ""}])
    got = g.call("GET", "/api/feedback/star/bob/i1")
    check("PUT replaces", got["Value"] == 4 and got["Comment"] == "", got)
    g.call("POST", "/v1/events", {"user": "bob", "item": "i2", "kind": "share", "ts": "2026-03-02T00:00:00Z"})
    g.affected("POST", "/api/feedback", 1, feedback("yodel", "bob", "i3"))
    types = {f["FeedbackType"] for f in g.call("GET", "/api/user/bob/feedback")}
    check("all of a user's", types == {"star", "share", "yodel"}, types)
    check("of one type", [f["ItemId"] for f in g.call("GET", "/api/user/bob/feedback/yodel")] == ["i3"])
    check("no other type of the same kind", g.call("GET", "/api/user/bob/feedback/view") == [])
    check("of an item", [f["UserId"] for f in g.call("GET", "/api/item/i1/feedback/")] == ["bob"])
    check("with a stroke or without", g.call("GET", "/api/item/i1/feedback") ==
          g.call("GET", "/api/item/i1/feedback/"))
    check("of an item, of a type", g.call("GET", "/api/item/i1/feedback/read") == [])
    check("of nobody", g.call("GET", "/api/user/nobody/feedback") == [])
    page = g.call("GET", "/api/feedback?n=3")
    check("a page of feedback", len(page["Feedback"]) == 3 and page["Cursor"], page)
    rest = g.call("GET", f"/api/feedback?n=100&cursor={page['Cursor']}")
    check("and the rest", len(rest["Feedback"]) == 1 and rest["Cursor"] == "", rest)
    check("of a type", len(g.call("GET", "/api/feedback/star")["Feedback"]) == 1)

    g.affected("DELETE", "/api/feedback/yodel/bob/i3", 1)
    g.affected("DELETE", "/api/feedback/bob/i3", 0)
    g.affected("DELETE", "/api/feedback/bob/i1", 1)
    check("it is gone", g.call("GET", "/api/feedback/bob/i1") == [])
    g.refused("POST", "/api/feedback", [first, feedback("", "a", "b")], "FeedbackType", "record 2")
    g.refused("POST", "/api/feedback", [{**first, "Value": "x"}], "Value")
    g.refused("PUT", "/api/feedback", [first, {**first, "Timestamp": "x"}], "Timestamp", "record 2")
    check("nothing of a refused body is kept", g.call("GET", "/api/feedback/bob/i1") == [])


def scores(name, got, ids=None):
    check(f"{name}: scores", isinstance(got, list) and all(
        set(one) == {"Id", "Score"} and isinstance(one["Id"], str)
        and isinstance(one["Score"], (int, float)) for one in got), got)
    if ids is not None:
        check(f"{name}: these", [one["Id"] for one in got] == ids, got)
    return [one["Id"] for one in got]


def test_recommend(g):
    g.affected("POST", "/api/feedback", 40, [feedback("read", f"u{k}", f"i{k % 10 + 1}") for k in range(40)])
    got = g.call("GET", "/api/recommend/u1?n=5")
    check("ids", len(got) == 5 and all(isinstance(one, str) for one in got), got)
    check("not what was read", "i2" not in got, got)
    check("ten where not said", len(g.call("GET", "/api/recommend/u1")) == 10)
    v2 = scores("version 2", g.call("GET", "/api/recommend/u1/?n=5", headers={"X-API-Version": "2"}))
    check("the same in version 2", v2 == got or len(v2) == 5, v2, got)
    check("an offset passes over", len(g.call("GET", "/api/recommend/u1?n=3&offset=2")) == 3)
    check("past the end", g.call("GET", "/api/recommend/u1?n=3&offset=999999") == [])
    check("more than there is", len(g.call("GET", "/api/recommend/u1?n=999999")) > 5)
    for path in ("/api/recommend/u1/b?n=20", "/api/recommend/u1?n=20&category=b"):
        got = g.call("GET", path)
        check("of a category", got and all(int(one[1:]) % 2 == 0 for one in got), path, got)
    check("of two at once", g.call("GET", "/api/recommend/u1?category=a&category=b") == [])
    check("with marks in it", g.call("GET", "/api/recommend/u1?category=%22%5C") == [])
    check("somebody new", len(g.call("GET", "/api/recommend/stranger?n=4")) == 4)

    got = g.call("GET", "/api/recommend/u2?n=4&write-back-type=read")
    read = {f["ItemId"] for f in g.call("GET", "/api/user/u2/feedback/read")}
    check("write-back puts in", len(got) == 4 and set(got) <= read, got, read)
    again = g.call("GET", "/api/recommend/u2?n=4&write-back-type=read&write-back-delay=0h10m0s")
    check("and the next are others", not set(got) & set(again), got, again)
    g.refused("GET", "/api/recommend/u2?write-back-type=read&write-back-delay=soon", None,
              detail="write-back-delay")
    g.refused("GET", "/api/recommend/u2?n=x", None, "n")

    session = [feedback("read", "", "i3", Timestamp="2026-03-01T10:00:00Z"),
               feedback("read", "", "i5", Timestamp="2026-03-01T09:00:00Z")]
    got = scores("session", g.call("POST", "/api/session/recommend?n=3", session))
    check("a session knows its own", len(got) == 3 and not {"i3", "i5"} & set(got), got)
    got = scores("session of a category", g.call("POST", "/api/session/recommend/b?n=30", session))
    check("of a category too", got and all(int(one[1:]) % 2 == 0 for one in got), got)
    g.refused("POST", "/api/session/recommend", [{"UserId": "x"}], "ItemId")
    g.refused("POST", "/api/session/recommend", [], detail="not 1 to")
    g.refused("POST", "/api/session/recommend", [session[0]] * 10001, detail="not 1 to 10000")
    scores("as long as a session may be", g.call("POST", "/api/session/recommend?n=3", [session[0]] * 10000))

    scores("latest", g.call("GET", "/api/latest?n=3"), ["i19", "i18", "i17"])
    scores("latest of a category", g.call("GET", "/api/latest?n=2&category=b"), ["i18", "i16"])
    scores("latest of a category of the path", g.call("GET", "/api/latest/b?n=2"), ["i18", "i16"])
    scores("latest after an offset", g.call("GET", "/api/latest?n=2&offset=1"), ["i18", "i17"])
    check("latest for a user", "i2" not in scores("of u1", g.call("GET", "/api/latest?n=50&user-id=u1")))
    for name in ("popular", "most_starred", "trending_now", "latest"):
        scores(name, g.call("GET", f"/api/non-personalized/{name}?n=3"))
    got = scores("popular", g.call("GET", "/api/non-personalized/popular?n=3"))
    check("popular is what is read", set(got) <= {f"i{k}" for k in range(1, 11)} | {"new-item"}, got)
    for path in ("/api/non-personalized/popular/b?n=30", "/api/item/i2/neighbors/b?n=30"):
        got = scores(path, g.call("GET", path))
        check("of a category of the path", got and all(int(one[1:]) % 2 == 0 for one in got), path, got)
    scores("nothing of b is like one of a", g.call("GET", "/api/item/i1/neighbors/b?n=30"), [])
    for path in ("/api/item/i1/neighbors", "/api/item/i1/neighbors/", "/api/item-to-item/any/i1"):
        got = scores(path, g.call("GET", f"{path}?n=3"))
        check("neighbours are others", got and "i1" not in got, got)
    g.call("GET", "/api/item/nobody/neighbors", want=404)
    scores("collaborative", g.call("GET", "/api/collaborative-filtering/u1?n=3"))

    g.affected("PATCH", "/api/item/i19", 1, {"IsHidden": True})
    check("hidden at once", "i19" not in scores("latest", g.call("GET", "/api/latest?n=50")))
    for path in ("live", "ready"):
        got = g.call("GET", f"/api/health/{path}")
        check("health", got == {"Ready": True, "DataStoreError": None, "CacheStoreError": None,
                                "DataStoreConnected": True, "CacheStoreConnected": True}, got)
    g.call("GET", "/api/nothing", want=404)
    g.call("DELETE", "/api/recommend/u1", want=405)


def main():
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(os.path.abspath(sys.argv[1]), os.path.join(folder, "data"), "--explore", "0")
        g = Gorse(serving.port)
        for test in (test_items, test_users, test_feedback, test_recommend):
            try:
                test(g)
            except Exception as error:
                check(test.__name__, False, repr(error))
        left = {(method, pattern) for method, pattern in g.description.operations
                if pattern.startswith("/api/")} - g.driven
        check("every route was asked", not left, left)
        g.client.close()
        check("serve ends in peace", serving.stop() == 0, serving.log()[-2000:])
    print(f"gorse: {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
