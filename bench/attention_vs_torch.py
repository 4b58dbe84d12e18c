#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""heed's attention against PyTorch's fused kernel: speed on the same cores in the same run, and agreement.

    python3 bench/attention_vs_torch.py [--lib build/src/libheed.so] [--threads 2] [--json]

Speed. softmax(Q K^T / sqrt(D)) V over `SHAPES`, with and without a causal mask: forward, forward and backward, and
forward on bfloat16 inputs. The two sides take turns in one process, shape by shape, and a ratio is PyTorch's median
time over heed's. PyTorch is `torch.nn.functional.scaled_dot_product_attention` with the best of the kernels and
layouts in `torch_settings()`, found by a trial on each shape; with as many threads as heed; each side gets its inputs
in the layout it likes, and its output buffers are warm.

Agreement. `--configurations` random problems (sizes on and around the vector widths; causal or not, padded or not, a
mask of bytes, one that is added, a window with globals and dilation, ALiBi, heads that share keys, weights of
softmax or sigmoid, its own scale or the default one; alone and together), values and all three gradients, of heed in
float32 and float64 against PyTorch in float64. A configuration disagrees when any number is off by more than
`TOLERANCE` times the largest of its tensor and scale sqrt(E), since a gradient is a difference of terms of that size,
which may cancel: some twenty times what rounding gives, in float32 a thousandth of what a wrong term would.

The binding of heed's C calls is the class `Heed`, and nothing else here knows them.
"""
import argparse
import ctypes
import json
import math
import os
import platform
import random
import statistics
import sys
import time

SHAPES = [  # B, H, L, D
    (128, 2, 200, 32),
    (128, 1, 200, 64),
    (64, 4, 50, 32),
    (32, 8, 512, 64),
    (8, 8, 2048, 64),
    (1, 8, 8192, 64),
]
PASSES = ("forward", "forward_backward", "forward_bf16")
TOLERANCE = {"float64": 4e-14, "float32": 2e-5, "bfloat16": 1e-2}
TURN_S, GAP_S = 0.1, 0.005  # a turn repeats a call for about TURN_S; then the other side's threads may fall asleep

torch = F = None  # imported in main(), after the environment is settled


class Opts(ctypes.Structure):
    """heed_attention_opts of heed/attention.h; all zero is the ordinary case."""

    _fields_ = [
        ("score", ctypes.c_int),
        ("weight", ctypes.c_int),
        ("method", ctypes.c_int),
        ("scale", ctypes.c_double),
        ("shift", ctypes.c_double),
        ("causal", ctypes.c_bool),
        ("offsets", ctypes.c_void_p),
        ("sequences", ctypes.c_int64),
        ("lengths", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("keep_stride", ctypes.c_int64 * 4),
        ("mask", ctypes.c_void_p),
        ("mask_stride", ctypes.c_int64 * 4),
        ("window", ctypes.c_int64),
        ("globals", ctypes.c_int64),
        ("dilation", ctypes.c_void_p),
        ("alibi", ctypes.c_void_p),
        ("rotary", ctypes.c_int),
        ("rotary_base", ctypes.c_double),
        ("rotary_dims", ctypes.c_int64),
        ("key_times", ctypes.c_void_p),
        ("query_times", ctypes.c_void_p),
        ("time_bucket", ctypes.c_void_p),
        ("lsh_rounds", ctypes.c_int64),
        ("lsh_chunk", ctypes.c_int64),
        ("lsh_buckets", ctypes.c_int64),
        ("lsh_seed", ctypes.c_uint64),
        ("dropout", ctypes.c_double),
        ("reserved", ctypes.c_uint64 * 8),
    ]


class Arrays(ctypes.Structure):
    """heed_attention_arrays of heed/attention.h: 64-bit fields and pointers only."""

    _fields_ = (
        [(name, ctypes.c_int64) for name in "dtype B T S H D E kv_heads".split()]
        + [(name, ctypes.c_void_p) for name in "q k v out".split()]
        + [(name, ctypes.c_int64 * 3) for name in "q_stride k_stride v_stride out_stride".split()]
        + [(name, ctypes.c_void_p) for name in "lse weights position time theta".split()]
        + [(name, ctypes.c_int64) for name in "P W".split()]
        + [("dropout_key", ctypes.c_uint64)]
        + [(name, ctypes.c_void_p) for name in "dout dq dk dv dposition dtime dtheta".split()]
        + [("accumulate", ctypes.c_int64), ("scratch", ctypes.c_void_p), ("scratch_bytes", ctypes.c_uint64)]
        + [("reserved", ctypes.c_uint64 * 4)]
    )


class Heed:
    """heed_attention_forward() and heed_attention_backward() on contiguous arrays q (B, T, H, D), k (B, S, heads, D),
    v (B, S, heads, E), with scratch held from call to call, as PyTorch's allocator holds its own."""

    DTYPE = {"float32": 0, "float64": 1, "bfloat16": 2}

    def __init__(self, path, threads):
        self.lib = ctypes.CDLL(path)
        self.lib.heed_error_message.restype = ctypes.c_char_p
        self.lib.heed_attention_scratch_bytes.restype = ctypes.c_uint64
        self.pool = ctypes.c_void_p()
        self.check(self.lib.heed_pool_new(ctypes.c_int(threads), ctypes.byref(self.pool)))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.lib.heed_error_message().decode())

    def problem(self, q, k, v, out, causal=False, scale=0.0, lse=None, dout=None, grads=None, **options):
        """Everything a call needs, prepared once so that a timed call is only the call. Options are fields of
        heed_attention_opts, arrays of them tensors; masks are of four dimensions, expanded where one entry serves
        all."""
        (B, T, H, D), S, E = q.shape, k.shape[1], v.shape[3]
        opts = Opts(causal=causal, scale=scale)
        for name, x in options.items():
            setattr(opts, name, x.data_ptr() if isinstance(x, torch.Tensor) else x)
            if name in ("keep", "mask") and x is not None:
                setattr(opts, name + "_stride", (ctypes.c_int64 * 4)(*x.stride()))
        arrays = Arrays(dtype=self.DTYPE[str(q.dtype).split(".")[1]], B=B, T=T, S=S, H=H, D=D, E=E,
                        kv_heads=k.shape[2])
        held = {"q": q, "k": k, "v": v, "out": out, "lse": lse, "dout": dout}
        held.update(zip(("dq", "dk", "dv"), grads or ()))
        for name, x in held.items():
            if x is not None:
                setattr(arrays, name, x.data_ptr())
        call = (self.pool, ctypes.byref(opts), ctypes.byref(arrays))
        wanted = self.lib.heed_attention_scratch_bytes(*call, ctypes.c_bool(grads is not None))
        scratch = torch.zeros(int(wanted), dtype=torch.uint8)
        arrays.scratch, arrays.scratch_bytes = (scratch.data_ptr(), wanted) if wanted else (None, 0)
        return call, (held, options, scratch)  # the second, so that nothing is freed while C holds its address

    def forward(self, problem):
        self.check(self.lib.heed_attention_forward(*problem[0]))

    def backward(self, problem):
        self.check(self.lib.heed_attention_backward(*problem[0]))


def takes_bf16(heed):
    x = torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16)
    try:
        heed.forward(heed.problem(x, x, x, torch.zeros_like(x)))
    except RuntimeError:
        return False
    return True


# ---- speed


def timer(call):
    """A function that gives the milliseconds of one call, each time as the mean of a turn."""
    call()
    start = time.perf_counter()
    call()
    count = max(1, int(TURN_S / max(time.perf_counter() - start, 1e-6)))

    def turn():
        time.sleep(GAP_S)
        call()
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count * 1e3

    return turn if count > 1 else lambda: single(call)


def single(call):
    time.sleep(GAP_S)
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def torch_settings(shape, dtype):
    """(name, kernel, whether heads lie before positions in memory)."""
    from torch.nn.attention import SDPBackend

    B, H, L, _ = shape
    yield "fused, (B, H, L, D)", SDPBackend.FLASH_ATTENTION, True
    yield "fused, (B, L, H, D)", SDPBackend.FLASH_ATTENTION, False
    if B * H * L * L <= 1 << 25:  # beyond, its score matrices cost memory and time both
        yield "unfused, (B, H, L, D)", SDPBackend.MATH, True


def torch_call(shape, causal, way, kernel, heads_first):
    from torch.nn.attention import sdpa_kernel

    B, H, L, D = shape
    dtype = torch.bfloat16 if way == "forward_bf16" else torch.float32
    size = (B, H, L, D) if heads_first else (B, L, H, D)
    q, k, v, g = (torch.randn(size).to(dtype) for _ in range(4))
    if not heads_first:
        q, k, v, g = (x.transpose(1, 2) for x in (q, k, v, g))

    def forward():
        with torch.no_grad(), sdpa_kernel(kernel):
            F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def both():
        with sdpa_kernel(kernel):
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        torch.autograd.grad(out, (q, k, v), g)

    if way != "forward_backward":
        return forward
    for x in (q, k, v):
        x.requires_grad_(True)
    return both


def heed_call(heed, shape, causal, way):
    B, H, L, D = shape
    dtype = torch.bfloat16 if way == "forward_bf16" else torch.float32
    q, k, v, g = (torch.randn(B, L, H, D).to(dtype) for _ in range(4))
    out = torch.zeros_like(q)
    if way != "forward_backward":
        problem = heed.problem(q, k, v, out, causal)
        return lambda: heed.forward(problem)
    grads = [torch.zeros_like(x) for x in (q, k, v)]
    problem = heed.problem(q, k, v, out, causal, lse=torch.zeros(H, B * L), dout=g, grads=grads)

    def both():
        heed.forward(problem)
        heed.backward(problem)

    return both


def gflop(shape, causal, way):
    """Of the pairs that count: a causal row sees half of them. Backward has five products where forward has two."""
    B, H, L, D = shape
    pairs = L * (L + 1) / 2 if causal else L * L
    return 4e-9 * B * H * pairs * D * (3.5 if way == "forward_backward" else 1)


def speed(heed, rounds, passes, shapes, say):
    rows = []
    for shape in shapes:
        for causal in (False, True):
            for way in passes:
                dtype = torch.bfloat16 if way == "forward_bf16" else torch.float32
                trials = {}
                for name, kernel, heads_first in torch_settings(shape, dtype):
                    turn = timer(torch_call(shape, causal, way, kernel, heads_first))
                    trials[name] = (min(turn() for _ in range(2)), turn)
                setting = min(trials, key=lambda name: trials[name][0])
                peer, trial_ms = trials[setting][1], {name: t[0] for name, t in trials.items()}
                del trials
                ours = timer(heed_call(heed, shape, causal, way)) if heed else None
                count = rounds if trial_ms[setting] < 500 else max(3, rounds // 3)
                a, b = [], []
                for _ in range(count):
                    a.append(peer())
                    if ours:
                        b.append(ours())
                work = gflop(shape, causal, way)
                row = dict(zip("BHLD", shape), causal=causal, dtype=str(dtype).split(".")[1], work_gflop=work)
                row["pass"] = way
                row.update(torch_setting=setting, torch_tried_ms=trial_ms, torch_ms=statistics.median(a),
                           torch_ms_min=min(a), torch_ms_max=max(a))
                row["torch_gflops"] = work / row["torch_ms"] * 1e3
                if b:
                    row.update(heed_ms=statistics.median(b), heed_ms_min=min(b), heed_ms_max=max(b))
                    row["heed_gflops"] = work / row["heed_ms"] * 1e3
                    row["ratio"] = row["torch_ms"] / row["heed_ms"]
                rows.append(row)
                say(line(row))
    return rows


def line(r):
    text = (f"({r['B']},{r['H']},{r['L']},{r['D']}) {'causal' if r['causal'] else 'full  '} {r['pass']:<16} "
            f"torch {r['torch_ms']:9.2f} ms ({r['torch_ms_min']:.2f} to {r['torch_ms_max']:.2f}, "
            f"{r['torch_gflops']:.0f} GF/s, {r['torch_setting']})")
    if "ratio" in r:
        text += (f"  heed {r['heed_ms']:9.2f} ms ({r['heed_ms_min']:.2f} to {r['heed_ms_max']:.2f}, "
                 f"{r['heed_gflops']:.0f} GF/s)  {r['ratio']:.2f}")
    return text


# ---- agreement


def scale_of(c):
    return c["scale"] or (1 / math.sqrt(c["D"]) if c["weight"] == "softmax" else 1.0)


def hidden(c, lengths, keep):
    """(B, H, T, S): which pairs are not seen, or None where all are. The query at t stands at t + S - T."""
    T, S = c["T"], c["S"]
    at, key = torch.arange(T)[:, None] + S - T, torch.arange(S)[None, :]
    unseen = torch.zeros(c["B"], c["H"], T, S, dtype=torch.bool)
    if c["causal"]:
        unseen |= key > at
    if lengths is not None:
        unseen |= key >= lengths[:, None, None, None]
    if keep is not None:
        unseen |= keep == 0
    if c["window"]:
        far, dilation = (at - key).abs(), torch.tensor(c["dilation"] or [1] * c["H"])[:, None, None]
        band = (far <= c["window"] * dilation) & (far % dilation == 0)
        unseen |= ~(band | (key < c["globals"]) | ((at >= 0) & (at < c["globals"])))
    return unseen if bool(unseen.any()) else None


def reference(q, k, v, c, unseen, bias):
    """PyTorch in float64; a row that may see nothing gives zeros."""
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    shared = k.shape[1] != q.shape[1]
    if c["weight"] == "softmax" and not c["padded"]:  # what the fused kernel can express is asked of it as it is
        ask = {"scale": c["scale"] or None, "enable_gqa": shared}
        if unseen is None and bias is None:
            return F.scaled_dot_product_attention(q, k, v, **ask).transpose(1, 2)
        plain = bias is None and not c["window"] and not c["keep"]
        if plain and c["causal"] and c["T"] == c["S"]:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, **ask).transpose(1, 2)
        if unseen is None or not bool(unseen.all(3).any()):
            mask = ~unseen if bias is None else bias if unseen is None else bias.masked_fill(unseen, -math.inf)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **ask).transpose(1, 2)
    if shared:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    s = (q @ k.transpose(2, 3)) * scale_of(c) + c["shift"]
    s = s if bias is None else s + bias
    s = s if unseen is None else s.masked_fill(unseen, -1e300)
    p = s.softmax(3) if c["weight"] == "softmax" else s.sigmoid()
    p = p if unseen is None else p.masked_fill(unseen, 0.0)
    return (p @ v).transpose(1, 2)


def draw(rng):
    """One random problem. Sizes lean to the edges: 1, and each side of the powers of two."""

    def size(limit):
        if rng.random() < 0.5:
            return rng.randint(1, limit)
        return min(limit, max(1, (1 << rng.randint(0, limit.bit_length() - 1)) + rng.randint(-1, 1)))

    def maybe(share):
        return rng.random() < share

    T = size(160)
    S = T if maybe(0.6) else T + size(64) - 1
    D, heads = size(96), rng.randint(1, 4)
    H = heads * rng.choice((1, 1, 1, 2, 3))
    c = {"B": rng.randint(1, 3), "H": H, "heads": heads, "T": T, "S": S, "D": D, "E": D if maybe(0.7) else size(96),
         "causal": maybe(0.5), "padded": maybe(0.2), "keep": maybe(0.2), "mask": maybe(0.2),
         "window": size(40) if maybe(0.25) else 0, "globals": 0, "dilation": None, "alibi": maybe(0.2),
         "weight": "softmax" if maybe(0.8) else "sigmoid", "shift": 0.0 if maybe(0.8) else rng.uniform(-4, 1),
         "scale": 0.0 if maybe(0.7) else rng.uniform(0.05, 1.0),
         "dtype": rng.choice(("float32",) * 11 + ("float64",) * 6 + ("bfloat16",) * 3)}
    if c["window"]:
        c["globals"] = rng.choice((0, 0, 1, 5, size(40)))
        c["dilation"] = [rng.randint(1, 4) for _ in range(H)] if maybe(0.4) else None
    return c


def mask_of(c, make):
    """One entry of some dimensions for all: a mask per head, say, or one for the whole batch."""
    size = (c["B"], c["H"], c["T"], c["S"])
    kept = [n if random.Random(str((c, i))).random() < 0.6 else 1 for i, n in enumerate(size[:2])]
    return make((*kept, c["T"], c["S"])).expand(size)


def agrees(heed, c, rng):
    """None, or in words what is off."""
    torch.manual_seed(rng.getrandbits(31))
    dtype = getattr(torch, c["dtype"])
    wide = torch.float32 if dtype == torch.bfloat16 else dtype
    q = torch.randn(c["B"], c["T"], c["H"], c["D"]).to(dtype)
    k = torch.randn(c["B"], c["S"], c["heads"], c["D"]).to(dtype)
    v = torch.randn(c["B"], c["S"], c["heads"], c["E"]).to(dtype)
    options = {"window": c["window"], "globals": c["globals"], "shift": c["shift"],
               "weight": {"softmax": 0, "sigmoid": 2}[c["weight"]]}
    lengths = keep = bias = None
    if c["padded"]:
        lengths = options["lengths"] = torch.randint(0, c["S"] + 1, (c["B"],))
    if c["keep"]:
        keep = options["keep"] = mask_of(c, lambda n: (torch.rand(n) < 0.7).to(torch.uint8))
    if c["dilation"]:
        options["dilation"] = torch.tensor(c["dilation"])
    if c["mask"]:
        bias = options["mask"] = mask_of(c, lambda n: torch.randn(n, dtype=wide))
        bias = bias.double()
    if c["alibi"]:
        slopes = options["alibi"] = torch.zeros(c["H"], dtype=torch.float64)
        heed.lib.heed_alibi_slopes(ctypes.c_int64(c["H"]), ctypes.c_void_p(slopes.data_ptr()))
        far = (torch.arange(c["T"])[:, None] + c["S"] - c["T"] - torch.arange(c["S"])[None, :]).abs()
        bias = (0 if bias is None else bias) - (slopes[:, None, None] * far).expand(c["B"], -1, -1, -1)
    out = q.new_full((c["B"], c["T"], c["H"], c["E"]), math.nan)
    lse, g = torch.zeros(c["H"], c["B"] * c["T"], dtype=wide), torch.randn(out.shape, dtype=wide)
    grads = [torch.full_like(x, math.nan) for x in (q, k, v)] if dtype != torch.bfloat16 else None
    problem = heed.problem(q, k, v, out, c["causal"], c["scale"], lse, g if grads else None, grads, **options)
    heed.forward(problem)
    leaves = [x.double().requires_grad_(True) for x in (q, k, v)]
    want = reference(*leaves, c, hidden(c, lengths, keep), bias)
    pairs = [("out", out, want)]
    if grads:
        heed.backward(problem)
        pairs += zip(("dq", "dk", "dv"), grads, torch.autograd.grad(want, leaves, g.double()))
    terms = scale_of(c) * math.sqrt(c["E"])
    for name, got, ref in pairs:
        off = float((got.double() - ref.detach()).abs().max())
        bound = TOLERANCE[c["dtype"]] * (float(ref.detach().abs().max()) + terms)
        if not off <= bound:  # so that NaN is caught too
            return f"{name} is off by {off:.3g}, bound {bound:.3g}"
    return None


def agreement(heed, count, seed, say, bf16=True):
    rng, disagree = random.Random(seed), []
    for i in range(count):
        c = draw(rng)
        if not bf16 and c["dtype"] == "bfloat16":
            c["dtype"] = "float32"
        wrong = agrees(heed, c, rng)
        if wrong:
            disagree.append({"number": i, **c, "what": wrong})
            if len(disagree) <= 10:
                say(f"configuration {i} {c}: {wrong}")
    return {"configurations": count, "disagree": len(disagree), "seed": seed, "first": disagree[:10]}


def summary(rows):
    out = {"geomean": {}, "worst": {}}
    for way in PASSES:
        ratios = [r["ratio"] for r in rows if r["pass"] == way and "ratio" in r]
        if ratios:
            out["geomean"][way] = math.exp(sum(map(math.log, ratios)) / len(ratios))
            out["worst"][way] = min(ratios)
    return out


def machine():
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(row.split(":", 1)[1].strip() for row in f if row.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": name, "processors": os.cpu_count(), "system": platform.system(), "load": os.getloadavg()[0]}


# The C library's allocator gives large blocks back at every free, and each call then pays for zeroed pages again.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def main():
    global torch, F
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--lib", default=os.path.join(root, "build", "src", "libheed.so"))
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--rounds", type=int, default=9, help="turns of each side per row")
    ap.add_argument("--passes", default=",".join(PASSES))
    ap.add_argument("--shapes", help="comma separated numbers into the list, from 0")
    ap.add_argument("--configurations", type=int, default=1500)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--agree", action="store_true", help="compare numbers alone; exit 77 where PyTorch is absent")
    ap.add_argument("--torch-only", action="store_true", help="time PyTorch alone")
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    missing = {k: v for k, v in ALLOCATOR.items() if k not in os.environ}
    if missing and sys.platform == "linux":  # read when a program starts, so start again
        os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **missing})
    try:
        import torch as torch_module
    except ImportError:
        print("skipped: no PyTorch")
        return 77
    torch, F = torch_module, torch_module.nn.functional
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    say = lambda text: print(text, file=sys.stderr if a.json else sys.stdout, flush=True)  # noqa: E731
    heed = None if a.torch_only else Heed(a.lib, a.threads)
    passes, bf16 = a.passes.split(","), True
    if heed and not takes_bf16(heed):
        say("this build of heed takes no bfloat16: its rows and configurations are left out")
        passes, bf16 = [p for p in passes if p != "forward_bf16"], False
    out = {"machine": machine(), "torch": torch.__version__, "threads": a.threads}
    say(f"{out['machine']['cpu']}, {a.threads} threads, torch {out['torch']}")
    if heed:
        out["agree"] = agreement(heed, a.configurations, a.seed, say, bf16)
        say(f"{a.configurations} configurations, {out['agree']['disagree']} disagree (seed {a.seed})")
    if a.agree:
        return 1 if not heed or out["agree"]["disagree"] else 0
    shapes = [SHAPES[int(i)] for i in a.shapes.split(",")] if a.shapes else SHAPES
    out["rows"] = speed(heed, a.rounds, passes, shapes, say)
    out.update(summary(out["rows"]))
    if a.json:
        json.dump(out, sys.stdout, indent=1)
        print()
    else:
        for way, mean in out["geomean"].items():
            say(f"{way}: heed {mean:.2f} times as fast, {out['worst'][way]:.2f} on its worst shape")
    return 0


if __name__ == "__main__":
    sys.exit(main())
