#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gorse's published client library, unchanged, against heed serve. It is installed from the package index
into a folder of its own; where that is not possible the test is skipped, and says why.

    gorse_client.py HEED
"""
import sys

sys.path.append(sys.path.pop(0))  # http.py beside this file is not Python's own http
import os
import subprocess
import tempfile

from serving import Serving

CLIENT = "PyGorse==0.5.1"
SKIPPED = 77


def install(folder):
    try:
        run = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--retries", "0",
                              "--disable-pip-version-check", "--target", folder, CLIENT],
                             capture_output=True, text=True, timeout=240)
        problem = run.returncode != 0 and " ".join(run.stderr.split()[-30:])
    except subprocess.TimeoutExpired:
        problem = "it takes too long"
    if problem:
        print(f"skipped: {CLIENT} cannot be installed: {problem}")
        sys.exit(SKIPPED)
    sys.path.insert(0, folder)


def drive(client, error):
    """The calls of the client's own documentation."""
    for k in range(12):
        got = client.insert_item({"ItemId": f"i{k}", "IsHidden": False, "Categories": ["even"[k % 2:]],
                                  "Timestamp": "2026-01-01T00:00:00Z", "Labels": {"tags": ["x"]},
                                  "Comment": f"title {k}"})
        assert got == {"RowAffected": 1}, got
    assert client.insert_users([{"UserId": "bob", "Labels": ["a"]}, {"UserId": "ann"}])["RowAffected"] == 2
    assert client.insert_user({"UserId": "cy", "Comment": "c"})["RowAffected"] == 1
    assert client.get_user("bob") == {"UserId": "bob", "Labels": ["a"], "Comment": ""}
    feedbacks = [{"FeedbackType": "star", "UserId": "bob", "ItemId": f"i{k}", "Value": 1.0,
                  "Timestamp": "2026-02-24", "Labels": None, "Comment": ""} for k in range(3)]
    assert client.insert_feedbacks(feedbacks)["RowAffected"] == 3
    assert client.insert_feedback("read", "bob", "i3", "2026-02-25 10:00:00")["RowAffected"] == 1
    assert [f["ItemId"] for f in client.list_feedbacks("star", "bob")] == ["i0", "i1", "i2"]
    rows, cursor = client.get_feedbacks(2)
    more, cursor = client.get_feedbacks(100, cursor)
    assert len(rows) == 2 and len(rows) + len(more) == 4 and cursor == "", (rows, more, cursor)

    scores = client.get_recommend("bob", n=5)
    ids = [one.id for one in scores]
    assert len(ids) == 5 and not set(ids) & {"i0", "i1", "i2", "i3"}, ids
    assert all(isinstance(one.score, (int, float)) for one in scores)
    assert client.get_recommend("bob", category="ven") and not client.get_recommend("bob", category="no")
    given = [one.id for one in client.get_recommend("ann", n=3, write_back_type="read",
                                                    write_back_delay="0s")]
    after = [one.id for one in client.get_recommend("ann", n=12)]
    assert len(given) == 3 and not set(given) & set(after), (given, after)
    session = client.session_recommend([{"FeedbackType": "read", "ItemId": "i1", "UserId": "",
                                         "Timestamp": "2026-02-24"}], n=3)
    assert len(session) == 3 and set(session[0]) == {"Id", "Score"}, session
    near = client.get_neighbors("i0", n=3)
    assert near and all(one["Id"] != "i0" for one in near), near

    items, cursor = client.get_items(5)
    rest, cursor = client.get_items(100, cursor)
    assert len(items) == 5 and len(rest) == 7 and cursor == "", (items, rest)
    assert client.update_item("i5", comment="new title", is_hidden=True)["RowAffected"] == 1
    item = client.get_item("i5")
    assert item["Comment"] == "new title" and item["IsHidden"] and "x" in item["Categories"], item
    assert "i5" not in [one.id for one in client.get_recommend("bob", n=12)]
    assert [one["ItemId"] for one in client.search_items("title 1")] != []
    users, cursor = client.get_users(100)
    assert {user["UserId"] for user in users} == {"bob", "ann", "cy"} and cursor == "", users

    assert client.delete_feedback("bob", "i3")["RowAffected"] == 1
    assert client.delete_item("i6")["RowAffected"] == 1
    assert client.delete_user("bob")["RowAffected"] == 1
    for gone in (lambda: client.get_item("i6"), lambda: client.get_user("bob")):
        try:
            gone()
        except error as problem:
            assert problem.status_code == 404, problem.status_code
        else:
            raise AssertionError("what was deleted is still there")


def main():
    with tempfile.TemporaryDirectory() as folder:
        install(os.path.join(folder, "client"))
        from gorse import Gorse, GorseException
        serving = Serving(os.path.abspath(sys.argv[1]), os.path.join(folder, "data"), "--explore", "0")
        try:
            drive(Gorse(f"http://127.0.0.1:{serving.port}", "none"), GorseException)
        finally:
            code = serving.stop()
        assert code == 0, serving.log()[-2000:]
    print(f"{CLIENT}: works")


main()
