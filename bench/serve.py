#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""heed serve, measured: the table of docs/PERFORMANCE.md, each row by its name.

    python3 bench/serve.py [ROW ...] [--build build] [--work DIR] [--runs 3] [--seconds 5] [--json]

Rows (all but `soak`, `kill` and `million` where none is named):
  feed10k   feeds out of 10,000 items, 200 events of history: most a second over 32 connections; latency
            at half of that and at half of what is wanted
  feed1m    the same with 1,000,000 items
  bulk      events in bodies of --lines, durable before the answer
  single    events one by one, durable before the answer
  fresh     a feed, a view of its first item, the feed again: is the item gone, on the next request?
  open      kill -9 under load, then: how long until it is ready again
  idle      10,000 connections that are idle or slow: what others feel, and how much of it the load
            generator's holding takes by itself
  soak      feeds and events at half load for --soak seconds: memory and latency, by sixths
  kill      kill -9 under load --kills times; every acknowledged event is looked for in the export, once
  million   1,000,000 users, 100,000 items, 50,000,000 events (times --scale): import, disk, open, serve

What to know before believing a figure. Server and load generator (bench/load, one thread) share the
machine's processors, and so does whatever else runs there: the load average stands with each row.
`cpu_us` is the server's own processor time a request (or event), user and kernel, which a busy machine
changes far less than the wall clock. Figures are medians of --runs runs with the least and most
beside them. Readers and items are made up here and drawn uniformly, so no cache is flattered by
favourites. Models are trained for one epoch on a sample (1,000,000 items: on three readers, so the
model knows nothing): the work of an answer is the same, its quality is not measured here.
"""
import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

FEED = {"feed10k": (800, 2, 5), "feed1m": (None, None, 25)}  # answers/s, p50 at half load, p99: ms
TICKS = os.sysconf("SC_CLK_TCK")


# ---- the machine and the server

def machine(args):
    """What the figures were made on."""
    model = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": model, "processors": os.cpu_count(), "kernel": platform.release(),
            "commit": git.stdout.strip(), "load_average": round(os.getloadavg()[0], 2),
            "fdatasync_ms": fdatasync_ms(args.work)}


def fdatasync_ms(folder):
    """The floor of a durable answer: the median time to bring 4 KiB to this disk."""
    path, times = os.path.join(folder, "fdatasync"), []
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    for i in range(50):
        os.pwrite(fd, b"x" * 4096, i * 4096)
        begin = time.monotonic()
        os.fdatasync(fd)
        times.append(time.monotonic() - begin)
    os.close(fd)
    os.unlink(path)
    return round(1000 * statistics.median(times), 3)


def cpu_s(process):
    with open(f"/proc/{process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Server:
    """`heed serve` on a data folder; open_s is how long it took to get ready."""

    def __init__(self, args, data):
        self.port, self.log = args.port, open(os.path.join(args.work, "serve.log"), "ab")
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [args.heed, "serve", "--data", data, "--listen", f"127.0.0.1:{args.port}",
             "--memory", args.memory], stderr=self.log)
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - begin > 300:
                raise SystemExit(f"serve.py: the server did not get ready; see {self.log.name}")
            time.sleep(0.01)
        self.open_s = time.monotonic() - begin

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def cpu_s(self):
        return cpu_s(self.process)

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS"):
                    return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(timeout=60)
        self.log.close()


def first_feed_s(args):
    """The first answer after a start: what is read on demand is read then."""
    ask = urllib.request.Request(f"http://127.0.0.1:{args.port}/v1/feed", b'{"user":"u1"}',
                                 {"content-type": "application/json"})
    begin = time.monotonic()
    urllib.request.urlopen(ask, timeout=300).read()
    return round(time.monotonic() - begin, 3)


def start_load(args, *options, port=None):
    return subprocess.Popen([args.load, *map(str, options), "127.0.0.1", str(port or args.port)],
                            stdout=subprocess.PIPE, text=True)


def load(args, server, *options):
    """One run of the load generator, with the server's processor time a request beside it."""
    before = server.cpu_s()
    with start_load(args, *options) as process:
        said = json.loads(process.communicate()[0])
    done = said["events"]["accepted"] if "events" in said else said["requests"]
    # The warm second is the server's work too, but not among the requests: the same share is taken off.
    share = said["seconds"] / (said["seconds"] + args.warm)
    said["cpu_us"] = round(1e6 * (server.cpu_s() - before) * share / max(done, 1), 1)
    return said


def errors(said):
    """How many requests went wrong, whatever the way."""
    bad = sum(n for status, n in said["status"].items() if status[0] != "2")
    kinds = said["errors"]
    return bad + kinds["closed"] + kinds["unreadable"] + kinds["unanswered"] + kinds["unsent"]


def spread(values):
    return {"median": round(statistics.median(values), 3), "least": round(min(values), 3),
            "most": round(max(values), 3)}


# ---- data

def heed(args, *words):
    run = subprocess.run([args.heed, *words, "--json"], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"serve.py: heed {' '.join(words)}: {run.stderr}")
    return json.loads(run.stdout)


def write_items(path, count):
    with open(path, "w") as f:
        for i in range(count):
            f.write(f'{{"id":"i{i}","title":"Item {i}","tags":["t{i % 50}"],"author":"a{i % 500}",'
                    f'"created":"2026-01-01T00:00:00Z"}}\n')


def write_readers(path, readers, items, each):
    """Histories that stay near a place and jump now and then, so that there is something to learn."""
    rng = random.Random(1)
    with open(path, "w") as f:
        for user in readers:
            at = rng.randrange(items)
            lines = []
            for _ in range(each):
                lines.append(f"u{user} i{(at + int(rng.random() * 200)) % items}\n")
                if rng.random() < 0.05:
                    at = rng.randrange(items)
            f.write("".join(lines))


def make_data(args, name, users, items, each, sample):
    """A data folder with a model that was trained on the first `sample` readers, then all readers.
    It is made once and kept; heed's own words on the import are kept beside it."""
    data, notes = os.path.join(args.work, name), os.path.join(args.work, name + ".json")
    if os.path.exists(notes):
        with open(notes) as f:
            return data, json.load(f)
    shutil.rmtree(data, ignore_errors=True)
    text = os.path.join(args.work, name + ".text")
    print(f"making {name}: {users:,} users, {items:,} items, {users * each:,} events", file=sys.stderr)
    write_items(text, items)
    made = {"items": heed(args, "import", "items", text, "--data", data)}
    write_readers(text, range(sample), items, each)
    heed(args, "import", "interactions", text, "--data", data)
    made["train"] = heed(args, "train", "sequence", "--data", data, "--epochs", "1", "--dim", "64")
    write_readers(text, range(sample, users), items, each)
    made["events"] = heed(args, "import", "interactions", text, "--data", data)
    os.unlink(text)
    with open(notes, "w") as f:
        json.dump(made, f)
    return data, made


def data10k(args):
    return make_data(args, "data10k", 5000, 10_000, 200, 500)[0]


def scratch(args, data):
    """A copy to write into: the next row starts from the same."""
    copy = data + ".copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    return copy


# ---- rows

def row_feed(args, data, users, wanted):
    answers, p50_half, p99 = wanted
    server = Server(args, scratch(args, data))
    first = first_feed_s(args)
    ask = ["--mode", "feed", "--users", users, "--warm", args.warm]
    full = [load(args, server, *ask, "--seconds", args.seconds) for _ in range(args.runs)]
    rate = statistics.median(run["rate"] for run in full)
    half = [load(args, server, *ask, "--seconds", args.seconds, "--rate", rate / 2)
            for _ in range(args.runs)]
    row = {"answers_per_second": spread([run["rate"] for run in full]),
           "cpu_us": spread([run["cpu_us"] for run in full]),
           "half_load_p50_ms": spread([run["feed_ms"]["p50"] for run in half]),
           "half_load_p99_ms": spread([run["feed_ms"]["p99"] for run in half]),
           "errors": sum(errors(run) for run in full + half), "rss_mib": server.rss_mib(),
           "open_s": round(server.open_s, 3), "first_feed_s": first,
           "wanted": {"answers_per_second": answers, "half_load_p50_ms": p50_half,
                      "half_load_p99_ms": p99}}
    if answers:
        fixed = [load(args, server, *ask, "--seconds", args.seconds, "--rate", answers / 2)
                 for _ in range(args.runs)]
        row["at_half_of_wanted_p50_ms"] = spread([run["feed_ms"]["p50"] for run in fixed])
        row["at_half_of_wanted_p99_ms"] = spread([run["feed_ms"]["p99"] for run in fixed])
    server.end()
    return row


def row_feed10k(args):
    return row_feed(args, data10k(args), 5000, FEED["feed10k"])


def row_feed1m(args):
    data = make_data(args, "data1m", 1000, 1_000_000, 200, 3)[0]
    return row_feed(args, data, 1000, FEED["feed1m"])


def row_events(args, mode, wanted, *options):
    server = Server(args, scratch(args, data10k(args)))
    runs = [load(args, server, "--mode", mode, "--users", 5000, "--items", 10_000, "--warm", args.warm,
                 "--seconds", args.seconds, *options) for _ in range(args.runs)]
    row = {"events_per_second": spread([run["events"]["rate"] for run in runs]),
           "cpu_us": spread([run["cpu_us"] for run in runs]),
           "p50_ms": spread([run["event_ms"]["p50"] for run in runs]),
           "p99_ms": spread([run["event_ms"]["p99"] for run in runs]),
           "events": sum(run["events"]["accepted"] for run in runs),  # besides the first million
           "errors": sum(errors(run) + run["events"]["rejected"] for run in runs),
           "rss_mib": server.rss_mib(), "wanted": {"events_per_second": wanted}}
    server.end()
    return row


def row_bulk(args):
    return row_events(args, "bulk", 100_000, "--lines", args.lines, "--connections", 32)


def row_single(args):
    return row_events(args, "event", 10_000, "--connections", args.writers)


def row_fresh(args):
    server = Server(args, scratch(args, data10k(args)))
    run = load(args, server, "--mode", "fresh", "--users", 5000, "--warm", args.warm,
               "--seconds", args.seconds)
    server.end()
    return {"checked": run["checked"], "stale": run["stale"], "errors": errors(run),
            "feed_ms": run["feed_ms"], "event_ms": run["event_ms"], "wanted": {"stale": 0}}


def kill_under_load(args, data, seconds, acked, mode):
    """Starts, loads, kills; returns how long the start took and the load generator's last words."""
    server = Server(args, data)
    options = ["--lines", "50", "--connections", 4] if mode == "bulk" else ["--connections", 32]
    process = start_load(args, "--mode", mode, "--users", 5000, "--items", 10_000, "--warm", 0,
                         "--seconds", 60, "--acked", acked, *options)
    time.sleep(seconds)
    server.end(signal.SIGKILL)
    return server.open_s, json.loads(process.communicate()[0])


def row_open(args):
    data, opened = scratch(args, data10k(args)), []
    for _ in range(args.runs):
        kill_under_load(args, data, args.seconds, os.devnull, "bulk")
        server = Server(args, data)
        opened.append(server.open_s)
        server.end(signal.SIGKILL)
    return {"open_s": spread(opened), "wanted": {"open_s": 2}}


def row_kill(args):
    data, acked = scratch(args, data10k(args)), os.path.join(args.work, "acked")
    opened, wanted, rng = [], set(), random.Random(1)
    for i in range(args.kills):
        open_s, said = kill_under_load(args, data, 0.2 + rng.random(), acked, ("event", "bulk")[i % 2])
        opened.append(open_s)
        with open(acked) as f:
            for line in f:
                first, count = map(int, line.split())
                wanted.update(said["events"]["prefix"] + str(first + n) for n in range(count))
    found, twice = set(), 0
    export = subprocess.Popen([args.heed, "export", "events", "--data", data], stdout=subprocess.PIPE)
    for line in export.stdout:
        if b'"id":"load-' in line:
            name = json.loads(line)["id"]
            twice += name in found
            found.add(name)
    check = subprocess.run([args.heed, "check", "--data", data], capture_output=True, text=True)
    return {"kills": args.kills, "acknowledged": len(wanted), "lost": len(wanted - found), "twice": twice,
            "open_s": spread(opened), "export_exit": export.wait(), "check_exit": check.returncode,
            "wanted": {"lost": 0, "twice": 0, "open_s": 2}}


def ask_beside(args, server, ask, port):
    """Feeds while args.idle connections are held against a port: the server's own, or a wall's beside
    it, for the share that the holder and the kernel under it have in what others feel."""
    seconds = args.idle_seconds + args.warm + 10
    wall = start_load(args, "--mode", "wall", "--connections", args.idle, "--seconds", seconds + 1,
                      port=port) if port != args.port else None
    time.sleep(0.2)
    holder = start_load(args, "--mode", "hold", "--connections", args.idle, "--seconds", seconds,
                        port=port)
    time.sleep(8)  # to open them all
    before = {"server": server.cpu_s(), "holder": cpu_s(holder)}
    said = load(args, server, *ask)
    took = args.idle_seconds + args.warm
    share = {"server": round((server.cpu_s() - before["server"]) / took, 3),
             "holder": round((cpu_s(holder) - before["holder"]) / took, 3)}
    rss = server.rss_mib()
    held = json.loads(holder.communicate()[0])
    if wall:
        wall.communicate()
    return {"ms": said["feed_ms"], "processors": share, "rss_mib": rss, "errors": errors(said),
            "held": {name: held[name] for name in ("open_max", "closed_by_server", "refused")}}


def row_idle(args):
    """`control` is the same feeds while the same connections stand against another process: the
    server's doing is what `beside` has more. processors: how many each was using."""
    server = Server(args, scratch(args, data10k(args)))
    ask = ["--mode", "feed", "--users", 500, "--connections", 8, "--rate", args.idle_rate,
           "--warm", args.warm, "--seconds", args.idle_seconds]
    load(args, server, *ask)  # so that all of them are kept, and memory's growth is the connections'
    before = server.cpu_s()
    alone = load(args, server, *ask)
    alone_cpu = round((server.cpu_s() - before) / (args.idle_seconds + args.warm), 3)
    rss = server.rss_mib()
    control = ask_beside(args, server, ask, args.port + 1)
    beside = ask_beside(args, server, ask, args.port)
    after = load(args, server, *ask)
    server.end()
    return {"alone": {"ms": alone["feed_ms"], "processors": {"server": alone_cpu}, "rss_mib": rss},
            "control": control, "beside": beside, "after_ms": after["feed_ms"],
            "errors": errors(alone) + errors(after) + control.pop("errors") + beside.pop("errors"),
            "wanted": {"errors": 0, "beside_p99_ms": "2 x alone"}}


def row_soak(args):
    server = Server(args, scratch(args, data10k(args)))
    slices, seconds = [], args.soak / 6
    # What is kept of readers fills first, so that what grows afterwards is growth.
    load(args, server, "--mode", "feed", "--users", 5000, "--warm", args.warm, "--seconds", 10)
    for _ in range(6):
        events = start_load(args, "--mode", "event", "--users", 5000, "--items", 10_000, "--warm", 0,
                            "--connections", 8, "--rate", args.soak_rate, "--seconds", seconds)
        feeds = load(args, server, "--mode", "feed", "--users", 5000, "--rate", args.soak_rate,
                     "--warm", 0, "--seconds", seconds)
        said = json.loads(events.communicate()[0])
        slices.append({"rss_mib": server.rss_mib(), "errors": errors(feeds) + errors(said),
                       "feed_p50_ms": feeds["feed_ms"]["p50"], "feed_p99_ms": feeds["feed_ms"]["p99"],
                       "event_p99_ms": said["event_ms"]["p99"]})
    server.end()
    return {"seconds": args.soak, "feeds_and_events_per_second": args.soak_rate, "memory": args.memory,
            "slices": slices, "errors": sum(part["errors"] for part in slices),
            "grown_mib": round(slices[-1]["rss_mib"] - slices[0]["rss_mib"], 1),
            "wanted": {"errors": 0, "grown_mib": 0}}


def row_million(args):
    users, items = int(1_000_000 * args.scale), int(100_000 * args.scale)
    data, made = make_data(args, f"million{args.scale:g}", users, items, 50, 200)
    size = sum(os.path.getsize(os.path.join(data, name)) for name in os.listdir(data)
               if name.startswith("heed.db"))
    server = Server(args, data)
    first = first_feed_s(args)
    run = load(args, server, "--mode", "feed", "--users", users, "--rate", args.idle_rate,
               "--warm", args.warm, "--seconds", args.seconds)
    used = server.rss_mib()
    server.end()
    again = Server(args, data)
    row = {"users": users, "items": items, "events": made["events"]["accepted"],
           "import_per_second": made["events"]["per_second"],
           "disk_bytes_per_event": round(size / max(made["events"]["accepted"], 1), 1),
           "first_open_s": round(server.open_s, 2), "open_s": round(again.open_s, 2), "first_feed_s": first,
           "feed_ms": run["feed_ms"], "errors": errors(run), "rss_mib": used,
           "memory": args.memory, "wanted": {"open_s": 10}}
    again.end()
    return row


ROWS = {"feed10k": row_feed10k, "feed1m": row_feed1m, "bulk": row_bulk, "single": row_single,
        "fresh": row_fresh, "open": row_open, "idle": row_idle, "soak": row_soak, "kill": row_kill,
        "million": row_million}
ORDINARY = [name for name in ROWS if name not in ("soak", "kill", "million")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--build", default="build", help="where heed and bench/load were built")
    parser.add_argument("--work", default="serve-bench", help="folder for data; made data is kept there")
    parser.add_argument("--port", type=int, default=18399)
    parser.add_argument("--memory", default="512M", help="given to heed serve")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="a run's")
    parser.add_argument("--warm", type=float, default=1, help="before each, not counted")
    parser.add_argument("--lines", type=int, default=10_000, help="events in a body of bulk")
    parser.add_argument("--writers", type=int, default=64, help="connections of single")
    parser.add_argument("--soak", type=float, default=60, help="seconds; 1800 is the real one")
    parser.add_argument("--soak-rate", type=float, default=200, help="feeds, and as many events, a second")
    parser.add_argument("--idle", type=int, default=10_000, help="connections")
    parser.add_argument("--idle-seconds", type=float, default=20,
                        help="of idle: two rounds of the ten seconds that a slow head is given")
    parser.add_argument("--idle-rate", type=float, default=100, help="feeds a second of idle and million")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--scale", type=float, default=1, help="of million")
    parser.add_argument("--json", action="store_true", help="one object a row, on a line of its own")
    args = parser.parse_args()
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row is called {', '.join(sorted(unknown))}")
    os.makedirs(args.work, exist_ok=True)
    args.heed, args.load = os.path.join(args.build, "heed"), os.path.join(args.build, "bench", "load")
    print(json.dumps({"machine": machine(args)}), flush=True)
    for name in args.rows or ORDINARY:
        row = ROWS[name](args)
        row["load_average"] = round(os.getloadavg()[0], 2)
        if args.json:
            print(json.dumps({"row": name, **row}), flush=True)
            continue
        print(name)
        for key, value in row.items():
            print(f"  {key:28} {json.dumps(value)}", flush=True)


if __name__ == "__main__":
    main()
