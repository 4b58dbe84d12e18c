# SPDX-License-Identifier: Apache-2.0
"""A `heed serve` of its own for a test, and a client that keeps its connection."""
import http.client
import json
import pathlib
import re
import signal
import subprocess
import time


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        media = response.headers.get("content-type") or ""
        self.body = json.loads(self.text) if "json" in media and "ndjson" not in media else self.text

    def __repr__(self):
        return f"{self.status} {self.text[:400]}"


class Client:
    """One connection; confined to its thread."""

    def __init__(self, port, timeout=30):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, method, path, body=None, media="application/json", headers=None):
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = media
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, body, sent)
        return Answer(self.connection.getresponse())

    def close(self):
        self.connection.close()


class Serving:
    """One `heed serve` on a port of its own; its log is a file beside its data."""

    def __init__(self, heed, data, *options):
        self.log_path = pathlib.Path(str(data) + f".log{time.monotonic_ns()}")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([heed, "serve", "--data", str(data), "--listen",
                                             "127.0.0.1:0", *options], stderr=log)
        found = None
        for _ in range(400):
            found = re.search(r"listening .*port=(\d+)", self.log())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.05)
        if not found:
            self.process.kill()
            raise SystemExit(f"heed serve does not listen: {self.log()[-2000:]}")
        self.port = int(found[1])

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def memory_mib(self, what="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(what + r":\s+(\d+)", status)[1]) / 1024

    def is_watched(self):
        """By a sanitizer, which maps terabytes for its shadow and keeps what was freed for a while."""
        return self.memory_mib("VmSize") > 1 << 20

    def stop(self):
        """The exit status, None where it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
