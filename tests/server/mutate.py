# SPDX-License-Identifier: Apache-2.0
"""Requests that are nearly right: what /openapi.json describes, with something done to the values, the text,
the packing, the framing or the head. All chance comes from the random.Random that is handed in."""
import gzip
import json
import struct
import urllib.parse

# Ids are few, so that a long run works on a store that stays as large as it was.
IDS = [f"u{k}" for k in range(1, 41)] + [f"i{k}" for k in range(1, 31)] + [
    "1", "17", "none", "a" * 256, "a" * 257, "", " ", "ü", "日本語", "e\u0301", "\u0000", "a\u0000b", "\ud800",
    "\U0001f600" * 64, "../../etc/passwd", "x' OR '1'='1", "%00", "%", "null", "-1", "1e309", "a\nb", "a\r\nB: c"]
TIMES = [0, 1, -1, 1767225600000, 1767225600, "2026-01-01T00:00:00Z", "2026-01-01", "2026-02-30T00:00:00Z",
         "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", 253402300799999, 253402300800000, 1 << 63, "now", "",
         1.5, -62135596800000, -62135596800001]
FILTERS = ['tag = "t1"', 'age < 3650d', 'author = "a1" and not tag in ["x", "y"]', 'id in [1, 2, "i3"]',
           'created > 2026-01-01', 'title contains "the"', "(" * 32 + "age < 9d" + ")" * 32,
           "(" * 33 + "age < 9d" + ")" * 33, "(" * 5000, "not " * 5000 + "age < 1d", 'tag = "', "tag =", "age < 1e999d",
           "age < 99999999999999999999d", " or ".join(["age < 1d"] * 64), " or ".join(["age < 1d"] * 65), "\x00", ""]
TEXTS = ["", "a", "tea", "ü" * 100, "a" * 5000, "<script>", "\u202e", "\ufeff", "a\tb", "zz"]
# What stands in a JSON text where a value should: bytes, so that it may be no UTF-8 and no JSON.
RAW = [b"1e999", b"-1e999", b"1e-999", b"-0", b"-0.0", b"1" + b"0" * 400, b"9223372036854775807", b"9223372036854775808",
       b"-9223372036854775809", b"18446744073709551616", b"0." + b"3" * 2000, b"NaN", b"Infinity", b"01", b"+1", b"1.",
       b".5", b"0x10", b"'x'", b"tru", b"nulll", b"", b",", b"[", b"{", b"]", b"}", b'"', b'"\\u12"', b'"\\ud800"',
       b'"\\udc00\\ud800"', b'"\\x"', b'"\xff\xfe"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"',
       b'"\x01"', b'"a\nb"', b"\xef\xbb\xbf1", b"/**/1", b'{"a":1,"a":2}', b'"' + b"a" * 70000 + b'"']
NESTED = (8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 100000)


def any_raw(rng):
    if rng.random() < 0.2:
        deep = rng.choice(NESTED)
        opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return opening * deep + b"1" + closing * (deep if rng.random() < 0.7 else rng.randrange(deep + 2))
    return rng.choice(RAW)


class Values:
    """Values that a schema allows, as a rule."""

    def __init__(self, document, rng):
        self.document, self.rng = document, rng

    def resolve(self, reference):
        found = self.document
        for piece in reference.removeprefix("#/").split("/"):
            found = found[piece]
        return found

    def text(self, name):
        rng = self.rng
        if name in ("ts", "at", "from", "to", "created", "expires", "Timestamp", "begin", "end"):
            return rng.choice(TIMES)
        if name == "filter":
            return rng.choice(FILTERS)
        if name == "id" and rng.random() < 0.7:
            return f"h{rng.randrange(300)}"
        if name in ("title", "text", "url", "description", "Comment") or rng.random() < 0.05:
            return rng.choice(TEXTS)
        return rng.choice(IDS[:70]) if rng.random() < 0.8 else rng.choice(IDS)

    def number(self, schema, whole):
        rng, least, most = self.rng, schema.get("minimum", -10), schema.get("maximum", 1000)
        value = rng.choice((least, most, least + 1, most - 1, least - 1, most + 1)) if rng.random() < 0.2 else \
            rng.uniform(least, min(most, least + 30))
        return int(value) if whole else value

    def object(self, schema):
        rng, needed = self.rng, schema.get("required", [])
        value = {name: self.value(inner, name) for name, inner in schema.get("properties", {}).items()
                 if rng.random() < (0.95 if name in needed else 0.3)}
        if not schema.get("properties"):
            value = {rng.choice(TEXTS): rng.choice((1, "x", None, [1, [2]], {"y": {}})) for _ in range(rng.randrange(4))}
        return value

    def value(self, schema, name=""):
        rng = self.rng
        if "$ref" in schema:
            if schema["$ref"].endswith("/JobRequest"):  # a training of any size would be an operator's own mistake
                return {"kind": rng.choice(("evaluate", "export")), "what": rng.choice(("items", "users", "model"))}
            return self.value(self.resolve(schema["$ref"]), name)
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return self.value(rng.choice(schema[word]), name)
        if "enum" in schema:
            return rng.choice(schema["enum"])
        kinds = schema.get("type", "string")
        kind = rng.choice(kinds) if isinstance(kinds, list) else kinds
        if kind == "null" and rng.random() < 0.8:
            kind = kinds[0]
        if kind == "object":
            return self.object(schema)
        if kind == "array":
            many = rng.choice((0, 1, 1, 2, 3, 3, schema.get("maxItems", 5) if rng.random() < 0.01 else 5))
            return [self.value(schema.get("items", {}), name) for _ in range(min(many, 1001))]
        if kind in ("integer", "number"):
            return self.number(schema, kind == "integer")
        return {"boolean": rng.random() < 0.5, "null": None}[kind] if kind in ("boolean", "null") else self.text(name)


# ---- what is done to a value, to a text, to bytes

def places(value, found):
    """Every (container, key) in it."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        found.append((value, key))
        places(inner, found)
    return found


def write_json(value, rng, harm):
    """As bytes; with harm, some of its values are something else."""
    raws = []
    if harm:
        found = places(value, [])
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if not found:
                break
            holder, key = rng.choice(found)
            what = rng.randrange(6)
            if what <= 2:
                holder[key] = f"@@RAW{len(raws)}@@"
                raws.append(any_raw(rng))
            elif what == 3 and isinstance(holder, dict):
                holder.pop(key, None)
                found = places(value, [])
            elif what == 4 and isinstance(holder, dict):
                holder[rng.choice(IDS + ["user", "kind", "n", "__proto__"])] = rng.choice(IDS)
            else:
                holder[key] = rng.choice((None, True, 0, -1, 1.5, "x", [], {}, [[]], {"a": {"b": {}}}, 1 << 70))
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    for k, raw in enumerate(raws):
        text = text.replace(b'"@@RAW%d@@"' % k, raw)
    return text


def harm_bytes(data, rng, rounds=(1, 1, 2, 5)):
    data = bytearray(data)
    for _ in range(rng.choice(rounds)):
        at, what = rng.randrange(len(data) + 1), rng.randrange(6)
        if what == 0:
            del data[at:at + rng.randrange(1, 5)]
        elif what == 1:
            data[at:at] = bytes(rng.choice(b"\0\r\n :;,%?#/{}[]\"\\\x7f\xff0") for _ in range(rng.randrange(1, 4)))
        elif what == 2:
            data[at:at] = data[max(0, at - 40):at]
        elif what == 3 and data:
            data[at % len(data)] = rng.randrange(256)
        elif what == 4 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        else:
            del data[at:]
    return bytes(data)


def zstd_frame(blocks, size):
    """Magic, one segment with a size of four bytes, blocks of (kind, size, bytes): RFC 8878, 3.1.1."""
    frame = struct.pack("<IBI", 0xFD2FB528, 0xA0, size)
    for k, (kind, bytes_, data) in enumerate(blocks):
        frame += struct.pack("<I", bytes_ << 3 | kind << 1 | (k == len(blocks) - 1))[:3] + data
    return frame


def zstd_plain(data):
    cuts = [data[k:k + 100000] for k in range(0, len(data), 100000)] or [b""]
    return zstd_frame([(0, len(cut), cut) for cut in cuts], len(data))


BOMB_GZIP = gzip.compress(bytes(40 << 20))
BOMB_ZSTD = zstd_frame([(1, 131072, b"0")] * 2000, 2000 * 131072)


def pack(body, rng):
    """The body in a coding, and what says which."""
    coding = rng.choice(("gzip", "gzip", "zstd", "deflate", "br", "identity", "gzip, gzip", "x-gzip"))
    packed = zstd_plain(body) if coding == "zstd" else gzip.compress(body, 1) if "gzip" in coding else body
    fate = rng.random()
    if fate < 0.02:
        packed = BOMB_ZSTD if coding == "zstd" else BOMB_GZIP
    elif fate < 0.3:
        packed = harm_bytes(packed, rng)
    elif fate < 0.4:
        packed = packed + packed
    return packed, coding


# ---- requests

class Request:
    """data: its bytes. wants: whether it is framed as it should be, so that an answer is due. role: whose key it
    shows, operation: of the description; both None where the head may say something else."""

    def __init__(self, data, wants, method, path, role, operation):
        self.data, self.wants, self.method, self.path = data, wants, method, path
        self.role, self.operation = role, operation


class Maker:
    def __init__(self, document, keys, rng):
        self.rng, self.keys = rng, {**keys, None: None, "wrong": "heed_" + "A" * 43}
        self.values = Values(document, rng)
        self.operations = [(method.upper(), pattern, operation) for pattern, path in document["paths"].items()
                           for method, operation in path.items()]
        # Erasing somebody reads all that was ever decided; exporting streams everything; a job is long.
        self.weights = [0.1 if "/jobs" in pattern or "/export" in pattern or "/reports" in pattern or
                        (method == "DELETE" and "user" in pattern) else 1 for method, pattern, _ in self.operations]

    def target(self, pattern, operation):
        rng, query = self.rng, []
        for p in operation.get("parameters", []):
            value = self.values.value(p["schema"], p["name"])
            if p["in"] == "query":
                if rng.random() < 0.4:
                    query.append((p["name"], value))
                continue
            if "/jobs/" in pattern:
                value = rng.randrange(1, 15)
            text = str(value).encode("utf-8", "surrogatepass")
            pattern = pattern.replace("{%s}" % p["name"], urllib.parse.quote(text, safe="") or "x")
        if rng.random() < 0.05:
            query += rng.choice(([("n", "-1")], [("zz", "1")], [("n", "9" * 30)], [("a", "b")] * 65))
        text = "&".join(f"{name}={urllib.parse.quote(str(value).encode('utf-8', 'surrogatepass'), safe='')}"
                        for name, value in query)
        target = pattern + ("?" + text if text else "")
        return target if len(target) < 4000 else pattern

    def body(self, operation):
        """Its bytes and what it is said to be; None where the operation takes none."""
        rng, content = self.rng, operation.get("requestBody", {}).get("content")
        if not content:
            return (b"{}", "application/json") if rng.random() < 0.05 else (None, None)
        media, schema = rng.choice(list(content)), next(iter(content.values()))["schema"]
        count = rng.choice((0, 1, 2, 5, 30)) if media == "application/x-ndjson" else 1
        lines = []
        for _ in range(count):
            value = self.values.value(schema)
            if media == "application/x-ndjson" and isinstance(value, list):
                value = value[0] if value else {}
            line = write_json(value, rng, rng.random() < 0.4)
            lines.append(harm_bytes(line, rng) if rng.random() < 0.15 else line)
        body = b"\n".join(lines)
        if rng.random() < 0.002:
            body = body + b" " * rng.choice(((16 << 20) - len(body), (16 << 20) + 1 - len(body), 17 << 20))
        if rng.random() < 0.05:
            media = rng.choice(("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
                                "", "a/b/c", "APPLICATION/JSON", "multipart/form-data"))
        return body, media

    def headers(self, role):
        rng, lines = self.rng, []
        if self.keys[role]:
            lines.append(rng.choice((b"Authorization: Bearer %s", b"authorization:bearer %s", b"X-API-Key: %s"))
                         % self.keys[role].encode())
        if rng.random() < 0.3:
            lines.append(rng.choice((b"Accept-Encoding: gzip", b"Accept-Encoding: zstd, gzip;q=0", b"Accept: */*",
                                     b"Accept: text/html", b"Origin: http://a", b"If-None-Match: *", b"X-Request-ID: a b",
                                     b"X-Request-ID: " + b"r" * 500, b"Connection: close", b"Cookie: " + b"c" * 3000,
                                     b"Accept-Encoding: " + b"gzip," * 300, b"Content-Language: \xff",
                                     b"Upgrade: h2c", b"Range: bytes=0-1")))
        return lines

    def frame(self, body, media, lines):
        """The header lines that a body brings, the body as it goes out, and whether it is framed well."""
        rng, good = self.rng, True
        if body is None:
            return lines, b"", True
        if rng.random() < 0.15:
            body, coding = pack(body, rng)
            lines.append(b"Content-Encoding: " + coding.encode())
        lines.append(b"Content-Type: " + media.encode())
        if body and rng.random() < 0.03:  # without a body no client may send it (RFC 9110, 10.1.1), and the library trips
            lines.append(b"Expect: 100-continue")
        how = rng.random()
        if how < 0.25:
            chunks, at = b"", 0
            while at < len(body):
                size = rng.choice((1, 7, 100, 5000, 1 << 17)) if len(body) < 20000 else 1 << 17
                piece = body[at:at + size]
                chunks += rng.choice((b"%x\r\n%s\r\n", b"%X;a=b\r\n%s\r\n", b"00%x\r\n%s\r\n")) % (len(piece), piece)
                at += size
            body = chunks + rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n"))
            lines.append(b"Transfer-Encoding: chunked")
            if rng.random() < 0.2:
                body, good = harm_bytes(body, rng), False
        elif how < 0.9:
            lines.append(b"Content-Length: %d" % len(body))
        else:
            good = False
            lines.append(rng.choice((b"Content-Length: %d" % (len(body) + rng.choice((-1, 1, 1000))), b"Content-Length: -1",
                                     b"Content-Length: 18446744073709551616", b"Content-Length: 1e3", b"X: y",
                                     b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(body),
                                     b"Content-Length: 1\r\nContent-Length: 2", b"Transfer-Encoding: gzip, chunked")))
        return lines, body, good

    def request(self):
        rng = self.rng
        method, pattern, operation = rng.choices(self.operations, self.weights)[0]
        role = rng.choice((None, "wrong", "ingest", "serve", *["operator"] * 6))
        path = self.target(pattern, operation)
        lines, body, good = self.frame(*self.body(operation), self.headers(role))
        if method == "GET" and rng.random() < 0.05:
            method = "HEAD"
        if rng.random() < 0.03:
            method, operation = rng.choice(("OPTIONS", "TRACE", "CONNECT", "BREW", "PATCH", "get", "A" * 300)), None
        head = b"%s %s HTTP/1.1\r\nHost: a\r\n" % (method.encode(), path.encode("latin-1"))
        head += b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        fate = rng.random()
        if fate < 0.1:
            head, operation, good = harm_bytes(head, rng), None, False
        elif fate < 0.12:
            extra = rng.choice((b"X: y\r\n" * 80, b"X: " + b"z" * 9000 + b"\r\n", b"X: " + b"z" * 100000 + b"\r\n"))
            head, operation, good = head[:-2] + extra + b"\r\n", None, False
        return Request(head + body, good, method, path, role, operation)
