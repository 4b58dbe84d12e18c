#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A training step of heed against the same step in PyTorch: same model, batch, loss and cores, in one run.

    python3 bench/train_vs_torch.py [--recipe sasrec|hstu|all] [--threads 2] [--rounds 5] [--json]

What is timed: forward, loss over the whole catalogue at the filled positions, backward and Adam, with dropout on, on
one batch held in memory. What is not: reading data, the first two steps, compiling.

Two comparisons are made, each of equals. `float32`: all products in float32 on both sides (heed with --exact).
`bfloat16`: both may take bfloat16 with float32 sums where they gain by it; heed does so in the output layer's products,
where the machine has them, and that is its ordinary training. PyTorch then has all its float32 settings to choose from
too, so that its time there is never worse.

How it is kept fair. The two sides take turns (torch, heed, torch, heed, ...), `--rounds` times `--steps` steps each, so
that a slow spell of the machine falls on both. PyTorch gets the best of the settings that `SETTINGS` lists, chosen in
the run itself by a short trial of each; an allocator that keeps its memory, with huge pages, because that is worth a
third of its step; and packed rows, so that it computes no padding outside attention. The batch is the one of
`lengths()`: about 53 % filled, as MovieLens-1M is.

The floor printed beside both is arithmetic alone: the multiplications and additions that the filled positions need
(causal half of the attention, matrix products backward at twice their forward), at the machine's peak where known.

The settings that lost, on a 2-core Zen 4 with PyTorch 2.13: torch.compile (its code for dropout and for the softmax
over the catalogue is slower than the ready-made kernels), its max-autotune mode, linear_cross_entropy, other chunks
than 1,024 rows, MKL_ENABLE_INSTRUCTIONS, OMP_PROC_BIND.

heed's half is the program itself: `heed bench train --json --recipe R --threads N --steps K --layers Y ...`.
Needs PyTorch 2; nothing else of heed does.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

V, B, L, C = 3416, 128, 200, 64
MODELS = {  # name -> recipe, layers, heads
    "sasrec": ("sasrec", 2, 1),
    "hstu-2": ("hstu", 2, 2),
    "hstu-4": ("hstu", 4, 2),
    "ligr-2": ("ligr", 2, 2),
}
FLOAT32 = ("eager", "eager, chunked loss", "compile", "compile, chunked loss")
BFLOAT16 = ("eager, bf16 logits", "eager, chunked loss, bf16 logits", "eager, bf16 throughout")
SETTINGS = FLOAT32 + BFLOAT16

# glibc gives large blocks back to the system at every free; then each step pays for zeroing its 200 MB of logits again.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def lengths(batch, length):
    """Filled positions of each sequence; the same formula as in src/cli's `bench train`."""
    return [length if i % 4 == 0 else 1 + (i * 7919 + 13) % (length - length // 4) for i in range(batch)]


def item(i, t):
    return (i * 104729 + t * 7919 + 17) % V


def flop(recipe, layers, heads):
    """Multiplications and additions of a step's matrix products, forward and backward, filled positions only."""
    n = lengths(B, L)
    rows, pairs = sum(n), sum(k * (k + 1) // 2 for k in n)
    dense = {"sasrec": 6, "hstu": 5, "ligr": 9}[recipe] * C * C  # q k v o up down; u v q k o; q k v o, three, two gates
    block = 3 * 2 * rows * dense + 3.5 * 2 * 2 * pairs * C  # attention backward: 5 products where forward has 2
    return layers * block + 3 * 2 * rows * C * V


class Torch:
    """PyTorch's half: one model, one batch, one setting."""

    def __init__(self, recipe, layers, heads, setting, chunk=1024):
        import torch
        from torch.nn import functional as F

        import torch_models

        self.torch = torch
        torch.manual_seed(1)
        self.model = {"sasrec": torch_models.Sasrec, "hstu": torch_models.Hstu, "ligr": torch_models.Ligr}[recipe](V, C, layers, heads, L)
        self.optimiser = torch.optim.Adam(self.model.parameters(), fused=True)
        n = lengths(B, L)
        layout = torch_models.Layout(n, L)
        self.labels = torch.tensor([item(i, t + 1) for i in range(B) for t in range(n[i])])
        self.batch = (torch.tensor([item(i, t) for i in range(B) for t in range(n[i])]), layout.position, layout.rows,
                      layout.B, layout.T)
        bf16 = "bf16" in setting

        def full(h):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = self.model.logits(h)
            return F.cross_entropy(logits.float(), self.labels)

        self.throughout = "throughout" in setting
        if "chunked" in setting:
            self.loss = lambda h: torch_models.chunked_loss(*self.model.head(h), self.labels, chunk, bf16)
        else:
            self.loss = torch.compile(full) if "compile" in setting else full
        self.encoder = torch.compile(self.model) if "compile" in setting else self.model

    def step(self):
        self.optimiser.zero_grad(set_to_none=True)
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.throughout):
            h = self.encoder(*self.batch)
        self.loss(h.float()).backward()
        self.optimiser.step()

    def times(self, steps):
        out = []
        for _ in range(steps):
            start = time.perf_counter()
            self.step()
            out.append((time.perf_counter() - start) * 1e3)
        return out


def best_torch(recipe, layers, heads, settings, say):
    """The fastest setting by a short trial, among those in float32 and among all; and what each trial gave."""
    best, tried = {}, {}
    for setting in settings:
        try:
            peer = Torch(recipe, layers, heads, setting)
            peer.times(2)
            tried[setting] = min(peer.times(4))
        except Exception as e:  # a machine without a C++ compiler cannot compile; that is no reason to stop
            say(f"  {setting}: not possible here ({type(e).__name__})")
            continue
        say(f"  torch, {setting}: {tried[setting]:.0f} ms")
        for precision in ("float32", "bfloat16") if setting in FLOAT32 else ("bfloat16",):
            if precision not in best or tried[setting] < tried[best[precision][0]]:
                best[precision] = (setting, peer)
    return best, tried


def heed_row(program, recipe, layers, heads, threads, steps, exact):
    """heed's row, refused where it is not of the same work."""
    command = [program, "bench", "train", "--json", "--recipe", recipe, "--layers", str(layers), "--threads",
               str(threads), "--steps", str(steps), "--batch", str(B), "--length", str(L), "--dim", str(C),
               "--heads", str(heads)] + (["--exact"] if exact else [])
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rows = [r for r in answer["rows"] if r["recipe"] == recipe and r["layers"] == layers and r["threads"] == threads]
    if len(rows) != 1:
        raise SystemExit(f"{' '.join(command)}: {len(rows)} rows match")
    want = {"batch": B, "length": L, "dim": C, "heads": heads, "positions": sum(lengths(B, L))}
    for key, value in want.items():
        if rows[0][key] != value:
            raise SystemExit(f"heed timed {key} {rows[0][key]}, this run {value}: not the same work")
    return rows[0], answer.get("machine")


def machine():
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": name, "processors": os.cpu_count(), "system": platform.system(), "load": os.getloadavg()[0]}


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--recipe", choices=("sasrec", "hstu", "ligr", "all"), default="all")
    ap.add_argument("--heed", default=os.environ.get("HEED", os.path.join(root, "build", "heed")))
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--rounds", type=int, default=5, help="turns of each side")
    ap.add_argument("--steps", type=int, default=5, help="steps a turn")
    ap.add_argument("--settings", help="comma separated numbers into: " + "; ".join(SETTINGS))
    ap.add_argument("--peak", type=float, help="the machine's float32 peak with these threads, GF/s")
    ap.add_argument("--torch-only", action="store_true", help="time PyTorch alone")
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    missing = {k: v for k, v in ALLOCATOR.items() if k not in os.environ}
    if missing and sys.platform == "linux":  # read by the C library when a program starts, so start again
        os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **missing})
    import torch

    torch.set_num_threads(a.threads)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    settings = [SETTINGS[int(i)] for i in a.settings.split(",")] if a.settings else SETTINGS
    out = {"machine": machine(), "torch": torch.__version__, "threads": a.threads, "rows": []}
    for name, (recipe, layers, heads) in MODELS.items():
        if a.recipe not in ("all", recipe):
            continue
        say(f"{name}: batch {B} x {L}, {sum(lengths(B, L))} filled positions, {a.threads} threads")
        best, tried = best_torch(recipe, layers, heads, settings, say)
        work = flop(recipe, layers, heads) / 1e9
        ours, theirs = {k: [] for k in best}, {k: [] for k in best}
        for _ in range(a.rounds):
            for precision, (_, peer) in best.items():
                theirs[precision] += peer.times(a.steps)
                if not a.torch_only:
                    row, about = heed_row(a.heed, recipe, layers, heads, a.threads, a.steps, precision == "float32")
                    ours[precision].append(row)
                    a.peak = a.peak or (about or {}).get("peak_gflops")
        for precision, (setting, _) in best.items():
            t, h = theirs[precision], ours[precision]
            row = {"model": name, "recipe": recipe, "layers": layers, "heads": heads, "dim": C, "batch": B, "length": L,
                   "positions": sum(lengths(B, L)), "precision": precision, "torch_setting": setting,
                   "torch_tried_ms": tried, "torch_ms": statistics.median(t), "torch_ms_min": min(t),
                   "torch_ms_max": max(t), "gflop": work, "floor_ms": work / a.peak * 1e3 if a.peak else None}
            if h:
                row.update(heed_ms=statistics.median(r["ms"] for r in h), heed_ms_min=min(r["ms_min"] for r in h),
                           heed_ms_max=max(r["ms_max"] for r in h))
                row["ratio"] = row["torch_ms"] / row["heed_ms"]
            out["rows"].append(row)
            if not a.json:
                show(row)
        best = None
    if a.json:
        json.dump(out, sys.stdout, indent=1)
        print()
    else:
        print(f"{out['machine']['cpu']}, {a.threads} threads, torch {out['torch']}")


def show(r):
    spread = lambda who: f"{r[who + '_ms']:.1f} ms ({r[who + '_ms_min']:.1f} to {r[who + '_ms_max']:.1f})"  # noqa: E731
    text = f"{r['model']} {r['precision']}: torch [{r['torch_setting']}] {spread('torch')}"
    if "ratio" in r:
        text += f", heed {spread('heed')}: {r['ratio']:.2f} times as fast"
    floor = f", {r['floor_ms']:.1f} ms at the float32 peak" if r["floor_ms"] else ""
    print(text + f"; work {r['gflop']:.1f} Gflop{floor}", flush=True)


if __name__ == "__main__":
    main()
