#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""heed's layers, losses and optimiser against PyTorch's: results and gradients on random shapes.

    tests/peers/layers.py build/src/libheed.so [rounds]

PyTorch computes in float64 from the same numbers. heed runs twice: in float64, where only a wrong formula can differ
(bound 1e-10 of the largest number), and in float32 with all its variants, where the bounds are those of rounding:

  linear                 gamma(n) times the sum of absolute products, n terms: Higham 2002, section 3.1
  attention              2e-5 of the largest number or of 1: scales keep scores and what is summed up near that
  everything else        2e-5 of the largest number; a gradient over N rows or V items, sqrt(N) or so roundings
  cross-entropy, bf16    both factors of a product are rounded to half a unit of bfloat16, 2^-9: a logit is off by up to
                         d = 2^-8 of its sum of absolute products, a probability by exp(2 d) - 1 of itself, and what
                         is summed with it by 2^-8 more

Another program's arithmetic is the best witness there is for a formula that was read from a paper. Exit 77: there is no
PyTorch here. A failure prints the seed and the round; `HEED_SEED=` replays it.
"""
import ctypes
import math
import os
import random
import sys

try:
    import torch
    from torch.func import functional_call
    from torch.nn import functional as F
    from torch.nn.utils import rnn
except ImportError:
    print("skipped: no PyTorch")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
from attention_vs_torch import Opts  # noqa: E402

I64, PTR, DOUBLE = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double
LEARNED = 3  # tables in heed_attention_learned
BOUND = {torch.float64: 1e-10, torch.float32: 2e-5}


class Tensor(ctypes.Structure):
    """heed_tensor of heed/tensor.h."""

    _fields_ = [("dtype", ctypes.c_int), ("rank", ctypes.c_int), ("dim", I64 * 4), ("stride", I64 * 4), ("data", PTR),
                ("grad", PTR), ("wants_grad", ctypes.c_bool), ("keeps_grad", ctypes.c_bool), ("base", PTR),
                ("offset", I64), ("touched", PTR), ("home", PTR)]


class LossOpts(ctypes.Structure):
    """heed_loss_opts of heed/nn.h."""

    _fields_ = [("weight", DOUBLE), ("logit_scale", DOUBLE), ("label_smoothing", DOUBLE), ("exact", ctypes.c_bool),
                ("excluded", PTR), ("excluded_count", I64), ("reserved", ctypes.c_uint64 * 4)]


class AdamOpts(ctypes.Structure):
    """heed_adam_opts of heed/nn.h."""

    _fields_ = [(name, DOUBLE) for name in "beta1 beta2 eps weight_decay clip_norm ema_decay".split()]
    _fields_ += [("reserved", ctypes.c_uint64 * 4)]


class Sequences(ctypes.Structure):
    """heed_sequences of heed/nn.h."""

    _fields_ = [("offsets", PTR), ("count", I64), ("lengths", PTR), ("reserved", ctypes.c_uint64 * 2)]


def pointers(*fields):
    """A struct of pointers to tensors under these names, filled from a dictionary; others stay NULL."""

    class Struct(ctypes.Structure):
        _fields_ = [(field, PTR) for field in fields]

    return lambda tensors: Struct(**{name: ctypes.cast(t, PTR) for name, t in tensors.items()})


PROJECTIONS = "q k v o q_bias k_bias v_bias o_bias".split()
lstm_weights = pointers("input", "hidden", "bias")
additive_weights = pointers("w", "b", "v")


class Multihead(ctypes.Structure):
    """heed_multihead_weights of heed/attention.h."""

    _fields_ = [("heads", I64)] + [(name, PTR) for name in PROJECTIONS] + [("learned", PTR * LEARNED)]

    def __init__(self, heads, tensors):
        super().__init__(heads=heads, **{name: ctypes.cast(t, PTR) for name, t in tensors.items()})


class Transformer(ctypes.Structure):
    """heed_transformer_weights of heed/attention.h."""

    _fields_ = [("norm_gain", PTR), ("norm_bias", PTR), ("attention", Multihead), ("wide_norm_gain", PTR),
                ("wide_norm_bias", PTR), ("up", PTR), ("up_bias", PTR), ("down", PTR), ("down_bias", PTR)]


class DiceOpts(ctypes.Structure):
    """heed_dice_opts of heed/nn.h."""

    _fields_ = [("eps", DOUBLE), ("momentum", DOUBLE), ("reserved", ctypes.c_uint64 * 4)]


class TargetLayer(ctypes.Structure):
    """heed_target_layer of heed/attention.h."""

    _fields_ = [(name, ctypes.POINTER(Tensor)) for name in "w b alpha mean var".split()]


class TargetWeights(ctypes.Structure):
    _fields_ = [("hidden", I64), ("layer", TargetLayer * 4), ("w", ctypes.POINTER(Tensor)), ("b", ctypes.POINTER(Tensor))]


class TargetOpts(ctypes.Structure):
    _fields_ = [("activation", ctypes.c_int), ("softmax", ctypes.c_bool), ("scale", DOUBLE), ("dice", DiceOpts),
                ("offsets", PTR), ("sequences", I64), ("lengths", PTR), ("reserved", ctypes.c_uint64 * 8)]


class RoutingOpts(ctypes.Structure):
    _fields_ = [("interests", I64), ("iterations", I64), ("adaptive", ctypes.c_bool), ("logits", PTR), ("positions", I64),
                ("deviation", DOUBLE), ("seed", ctypes.c_uint64), ("offsets", PTR), ("sequences", I64), ("lengths", PTR),
                ("reserved", ctypes.c_uint64 * 8)]


class Heed:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.heed_error_message.restype = ctypes.c_char_p
        self.pool, self.tape = PTR(), PTR()
        self("heed_pool_new", ctypes.c_int(2), ctypes.byref(self.pool))
        self("heed_tape_new", self.pool, ctypes.c_uint64(1), ctypes.byref(self.tape))

    def __call__(self, name, *args):
        if getattr(self.lib, name)(*args) != 0:
            raise RuntimeError(f"{name}: {self.lib.heed_error_message().decode()}")

    def wrap(self, x, wants=True):
        """A contiguous array of PyTorch's as a tensor on the tape; None stays NULL."""
        if x is None:
            return ctypes.POINTER(Tensor)()
        out = ctypes.POINTER(Tensor)()
        dim = (I64 * max(x.dim(), 1))(*x.shape)
        self("heed_tensor_wrap", self.tape, ctypes.c_int(int(x.dtype == torch.float64)), PTR(x.data_ptr()), dim,
             ctypes.c_int(x.dim()), ctypes.c_bool(wants), ctypes.byref(out))
        return out

    def op(self, name, *args, last=()):
        out = ctypes.POINTER(Tensor)()
        self(name, self.tape, *args, ctypes.byref(out), *last)
        return out

    def backward(self, out, dout):
        """Through sum(out * dout), which is a linear layer with one row of weights."""
        n = dout.numel()
        flat = self.op("heed_reshape", out, (I64 * 2)(1, n), ctypes.c_int(2))
        self("heed_tape_backward", self.tape, self.op("heed_linear", flat, self.wrap(dout.view(1, n), False), None))

    def reset(self):
        self.lib.heed_tape_reset(self.tape)


def read(pointer, like, field="data"):
    """A copy of a tensor's numbers, or of its gradient; zeros where none has arrived."""
    address = getattr(pointer.contents, field)
    out = torch.zeros_like(like)
    if address and out.numel():
        ctypes.memmove(out.data_ptr(), address, out.numel() * out.element_size())
    return out


def size(rng, limit):
    """Leans to the edges: 1, and each side of the powers of two."""
    if rng.random() < 0.5:
        return rng.randint(1, limit)
    return min(limit, max(1, (1 << rng.randint(0, limit.bit_length() - 1)) + rng.randint(-1, 1)))


def differ(name, got, want, bound):
    """None, or in words by how much. bound: a number, or one for each."""
    off = (got.double() - want.detach()).abs()
    if bool((off <= bound).all()):  # false for NaN too
        return None
    return f"{name} {tuple(want.shape)} is off by {float(off.max()):.3g}, bound {float(torch.as_tensor(bound).max()):.3g}"


def largest(x):
    return float(x.detach().abs().max()) if x.numel() else 0.0


# ---- what is compared: inputs (None: absent), heed's call, PyTorch's in float64


def layers(rng, dtype):
    """(name, inputs, heed's function of its tensors, PyTorch's of float64 inputs), one random case of each."""
    N, C, O = size(rng, 300), size(rng, 150), size(rng, 150)
    new = lambda *dim: torch.randn(*dim, dtype=dtype)  # noqa: E731
    maybe = lambda *dim: new(*dim) if rng.random() < 0.7 else None  # noqa: E731
    eps, e = DOUBLE(1e-5), 1e-5
    yield ("linear", [new(N, C), new(O, C), maybe(O)], lambda h, x, w, b: h.op("heed_linear", x, w, b), F.linear)
    yield ("add", [new(N, C), new(N, C)], lambda h, x, y: h.op("heed_add", x, y), torch.add)
    yield ("mul", [new(N, C), new(N, C)], lambda h, x, y: h.op("heed_mul", x, y), torch.mul)
    for name, peer in (("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu), ("sigmoid", torch.sigmoid),
                       ("tanh", torch.tanh)):
        yield (name, [4 * new(N, C)], lambda h, x, name=name: h.op("heed_" + name, x), peer)
    yield ("swiglu", [new(N, C), new(N, C)], lambda h, x, y: h.op("heed_swiglu", x, y), lambda x, y: F.silu(x) * y)
    wide = new(N, C) + rng.choice((0, 3)) if C > 8 else 9 * new(N, 8)  # of a few, near each other, the norm is all rounding
    C = wide.shape[1]
    yield ("layer_norm", [wide, maybe(C), maybe(C)], lambda h, x, g, b: h.op("heed_layer_norm", x, g, b, eps),
           lambda x, g, b: F.layer_norm(x, (C,), g, b, e))
    yield ("rms_norm", [wide, maybe(C)], lambda h, x, g: h.op("heed_rms_norm", x, g, eps),
           lambda x, g: F.rms_norm(x, (C,), g, e))
    yield ("l2_normalize", [wide], lambda h, x: h.op("heed_l2_normalize", x, eps), lambda x: F.normalize(x, dim=1, eps=e))
    V, scale = size(rng, 200), rng.choice((1.0, 8.0))
    ids = torch.randint(-1, V, (N,), dtype=torch.int32)
    yield ("embedding", [new(V, C)],
           lambda h, t: h.op("heed_embedding", t, PTR(ids.data_ptr()), I64(N), DOUBLE(scale)),
           lambda t: scale * torch.cat((t, t.new_zeros(1, C)))[ids.long()])


    yield ("softmax", [3 * new(N, C)], lambda h, x: h.op("heed_softmax", x), lambda x: x.softmax(1))
    yield ("concat", [new(N, C), new(N, O)],
           lambda h, *x: h.op("heed_concat", (ctypes.POINTER(Tensor) * 2)(*x), ctypes.c_int(2)),
           lambda *x: torch.cat(x, 1))


class Batch:
    """Random sequences of at least one row, ragged or padded, for heed; and as (B, T, ...) for PyTorch."""

    def __init__(self, rng, longest):
        self.lengths = [size(rng, longest) for _ in range(size(rng, 40))]
        self.ragged, self.T = rng.random() < 0.5, max(self.lengths)
        self.B, self.rows = len(self.lengths), sum(self.lengths)
        self.numbers = torch.tensor([sum(self.lengths[:b]) for b in range(self.B + 1)] if self.ragged else self.lengths)
        self.by = Sequences(**({"offsets": self.numbers.data_ptr(), "count": self.B} if self.ragged
                               else {"lengths": self.numbers.data_ptr()}))
        self.seen = torch.arange(self.T) < torch.tensor(self.lengths)[:, None]

    def new(self, C, dtype):
        return torch.randn(*((self.rows, C) if self.ragged else (self.B, self.T, C)), dtype=dtype)

    def opts(self, causal):
        if self.ragged:
            return Opts(causal=causal, offsets=self.numbers.data_ptr(), sequences=self.B)
        return Opts(causal=causal, lengths=self.numbers.data_ptr())

    def padded(self, x):
        return rnn.pad_sequence(x.split(self.lengths), batch_first=True) if self.ragged else x

    def back(self, y):
        return y[self.seen] if self.ragged else y


def lstm(rng, dtype):
    """One direction, or two beside each other; PyTorch's second bias is zero."""
    batch, C, H, ways = Batch(rng, 20), size(rng, 40), size(rng, 40), rng.choice((1, 2))
    inputs = [batch.new(C, dtype)]
    for _ in range(ways):
        inputs += [torch.randn(*dim, dtype=dtype) / math.sqrt(H) for dim in ((4 * H, C), (4 * H, H), (4 * H,))]

    def ours(heed, x, *w):
        out = [heed.op("heed_lstm", x, ctypes.byref(lstm_weights(dict(zip(("input", "hidden", "bias"), w[3 * i :])))),
                       ctypes.byref(batch.by), ctypes.c_bool(i == 1)) for i in range(ways)]
        return out[0] if ways == 1 else heed.op("heed_concat", (ctypes.POINTER(Tensor) * 2)(*out), ctypes.c_int(2))

    def theirs(x, *w):
        layer = torch.nn.LSTM(C, H, batch_first=True, bidirectional=ways == 2, dtype=torch.float64)
        zero = torch.zeros(4 * H, dtype=torch.float64)
        layer._flat_weights = [t for i in range(ways) for t in (*w[3 * i : 3 * i + 3], zero)]
        packed = rnn.pack_padded_sequence(batch.padded(x), batch.lengths, batch_first=True, enforce_sorted=False)
        return batch.back(rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0])

    return f"lstm, {ways} directions", inputs, ours, theirs


def projections(rng, C, X, biased, dtype):
    """Those of PROJECTIONS: with biases, or without."""
    w = [torch.randn(C, n, dtype=dtype) / math.sqrt(n) for n in (C, X, X, C)]
    return w + ([torch.randn(C, dtype=dtype) for _ in range(4)] if biased else [None] * 4)


def module_weights(w, same, prefix=""):
    """What nn.MultiheadAttention calls them."""
    q, k, v, o, *bias = w
    out = {"out_proj.weight": o}
    if same:
        out["in_proj_weight"] = torch.cat((q, k, v))
    else:
        out.update(q_proj_weight=q, k_proj_weight=k, v_proj_weight=v)
    if bias[0] is not None:
        out.update({"in_proj_bias": torch.cat(bias[:3]), "out_proj.bias": bias[3]})
    return {prefix + name: x for name, x in out.items()}


def there(names, tensors):
    """A NULL tensor is left out."""
    return {name: t for name, t in zip(names, tensors) if t}


def multihead(rng, dtype):
    """nn.MultiheadAttention: self, ragged or padded; or cross over another width."""
    H, D, biased, cross = rng.choice((1, 2, 4)), size(rng, 16), rng.random() < 0.5, rng.random() < 0.4
    C, B = H * D, size(rng, 6)
    if cross:
        X, T, S = size(rng, 40), size(rng, 30), size(rng, 30)
        inputs = [torch.randn(B, T, C, dtype=dtype), torch.randn(B, S, X, dtype=dtype)]
        lengths = torch.tensor([rng.randint(1, S) for _ in range(B)])
        opts, hidden, mask = Opts(lengths=lengths.data_ptr()), torch.arange(S) >= lengths[:, None], None
        opts.numbers = lengths  # lives as long as what points to it
    else:
        batch, causal, X = Batch(rng, 30), rng.random() < 0.5, C
        inputs, opts, hidden = [batch.new(C, dtype)], batch.opts(causal), ~batch.seen
        mask = torch.ones(batch.T, batch.T, dtype=torch.bool).triu(1) if causal else None

    def ours(heed, *t):
        x, context, w = (t[0], t[1], t[2:]) if cross else (t[0], None, t[1:])
        return heed.op("heed_multihead", x, context, ctypes.byref(Multihead(H, there(PROJECTIONS, w))),
                       ctypes.byref(opts), last=(None,))

    def theirs(*t):
        x, context, w = (t[0], t[1], t[2:]) if cross else (batch.padded(t[0]),) * 2 + (t[1:],)
        layer = torch.nn.MultiheadAttention(C, H, bias=biased, kdim=X, vdim=X, batch_first=True, dtype=torch.float64)
        out, _ = functional_call(layer, module_weights(w, X == C), (x, context, context),
                                 {"key_padding_mask": hidden, "attn_mask": mask, "need_weights": False})
        return out if cross else batch.back(out)

    return "multihead", inputs + projections(rng, C, X, biased, dtype), ours, theirs


def transformer(rng, dtype):
    """nn.TransformerEncoderLayer with norm_first."""
    batch, H, wide = Batch(rng, 30), rng.choice((1, 2, 4)), size(rng, 60)
    C = H * (2 + size(rng, 14))
    new = lambda *dim: torch.randn(*dim, dtype=dtype) / math.sqrt(dim[-1])  # noqa: E731
    names = "norm_gain norm_bias wide_norm_gain wide_norm_bias up up_bias down down_bias".split()
    peers = "norm1.weight norm1.bias norm2.weight norm2.bias linear1.weight linear1.bias linear2.weight linear2.bias".split()
    inputs = [batch.new(C, dtype), new(C), new(C), new(C), new(C), new(wide, C), new(wide), new(C, wide), new(C)]
    inputs += projections(rng, C, C, True, dtype)

    def ours(heed, x, *w):
        weights = Transformer(attention=Multihead(H, there(PROJECTIONS, w[8:])),
                              **{name: ctypes.cast(t, PTR) for name, t in zip(names, w)})
        return heed.op("heed_transformer_block", x, ctypes.byref(weights), ctypes.byref(batch.opts(False)), DOUBLE(0),
                       last=(None,))

    def theirs(x, *w):
        layer = torch.nn.TransformerEncoderLayer(C, H, wide, 0.0, "gelu", batch_first=True, norm_first=True,
                                                 dtype=torch.float64)
        state = dict(zip(peers, w)) | module_weights(w[8:], True, "self_attn.")
        return batch.back(functional_call(layer, state, (batch.padded(x),), {"src_key_padding_mask": ~batch.seen}))

    return "transformer block", inputs, ours, theirs


def additive_pool(rng, dtype):
    """No module of PyTorch's, but its softmax over what is masked."""
    batch, C, A = Batch(rng, 60), size(rng, 60), size(rng, 60)

    def ours(heed, x, *w):
        return heed.op("heed_additive_pool", x, ctypes.byref(additive_weights(dict(zip("wbv", w)))),
                       ctypes.byref(batch.by), last=(None,))

    def theirs(x, w, b, v):
        x = batch.padded(x)
        score = (torch.tanh(F.linear(x, w, b)) @ v).masked_fill(~batch.seen, -math.inf)
        return (score.softmax(1)[..., None] * x).sum(1)

    return "additive_pool", [batch.new(C, dtype)] + [torch.randn(*d, dtype=dtype) for d in ((A, C), (A,), (A,))], ours, theirs


# ---- attention's scores and positions


class Learned(ctypes.Structure):
    """heed_attention_learned of heed/attention.h."""

    _fields_ = [(name, ctypes.POINTER(Tensor)) for name in "position time theta".split()]


SCORES = ("dot", "cosine", "euclid", "bilinear", "additive", "features")


def rotate(x, positions, way, dims, base):
    """RoFormer's (Su 2021) over neighbours, GPT-NeoX's over halves; x (B, L, H, D)."""
    angle = positions[:, None].double() * base ** (-torch.arange(0, dims, 2).double() / dims)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    a, b = (x[..., 0:dims:2], x[..., 1:dims:2]) if way == 1 else (x[..., : dims // 2], x[..., dims // 2 : dims])
    a, b = a * c - b * s, b * c + a * s
    turned = torch.stack((a, b), -1).flatten(-2) if way == 1 else torch.cat((a, b), -1)
    return torch.cat((turned, x[..., dims:]), -1)


def similarity(score, q, k, theta):
    """(B, H, T, S) of q (B, T, H, D) and k (B, S, H, D)."""
    q, k = q.transpose(1, 2), k.transpose(1, 2)
    if score == "dot":
        return q @ k.mT
    if score == "cosine":
        return F.normalize(q, dim=-1, eps=0) @ F.normalize(k, dim=-1, eps=0).mT
    if score == "euclid":
        return -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1)
    if score == "bilinear":
        return q @ theta @ k.mT
    q, k = torch.broadcast_tensors(q[..., :, None, :], k[..., None, :, :])
    if score == "additive":
        return (torch.tanh(q + k) * theta[:, None, None, :]).sum(-1)
    return (torch.cat((q, k, q - k, q * k), -1) * theta[:, None, None, :]).sum(-1)


def attentions(rng, dtype):
    """One random case of each score, as layers() gives them."""
    B, H, D, E = rng.randint(1, 3), rng.randint(1, 3), size(rng, 40), size(rng, 20)
    T, S = size(rng, 70), size(rng, 70)
    way, dims = (rng.choice((0, 1, 2)), 2 * rng.randint(1, D // 2)) if D > 1 else (0, 0)
    base, silu = rng.choice((10000.0, 77.0)), rng.random() < 0.3
    for score in SCORES:
        new = lambda *dim: torch.randn(*dim, dtype=dtype)  # noqa: E731
        theta = {"bilinear": (H, D, D), "additive": (H, D), "features": (H, 4 * D)}.get(score)
        scale = {"cosine": 3.0, "euclid": 0.5 / D, "features": 0.7}.get(score, 0.0)
        opts = Opts(score=SCORES.index(score), weight=int(silu), scale=scale, rotary=way, rotary_dims=dims if way else 0,
                    rotary_base=base if way else 0)

        def ours(h, q, k, v, theta, opts=opts):
            out = ctypes.POINTER(Tensor)()
            h("heed_attention", h.tape, q, k, v, ctypes.byref(Learned(theta=theta)), ctypes.byref(opts), ctypes.byref(out),
              None)
            return out

        def theirs(q, k, v, theta, score=score, scale=scale or (1 if silu or score == "additive" else D**-0.5)):
            if way:
                q, k = rotate(q, torch.arange(T) + S - T, way, dims, base), rotate(k, torch.arange(S), way, dims, base)
            s = similarity(score, q, k, theta) * scale
            w = F.silu(s) / S if silu else s.softmax(-1)
            return (w @ v.transpose(1, 2)).transpose(1, 2)

        q, k = new(B, T, H, D), new(B, S, H, D)
        if score == "cosine":  # one over the length is in the gradient
            q, k = (F.normalize(x, dim=-1) * (0.5 + torch.rand(*x.shape[:3], 1, dtype=dtype)) for x in (q, k))
        yield f"attention, {score}", [q, k, new(B, S, H, E), new(*theta) / D**0.5 if theta else None], ours, theirs


def linear_attention(rng, dtype):
    """phi = elu + 1, all pairs at once (Katharopoulos 2020, eq. 4)."""
    B, H, T, D, E = rng.randint(1, 3), rng.randint(1, 3), size(rng, 150), size(rng, 40), size(rng, 40)
    causal = rng.random() < 0.5
    opts = Opts(method=1, causal=causal)

    def ours(h, q, k, v):
        out = ctypes.POINTER(Tensor)()
        h("heed_attention", h.tape, q, k, v, None, ctypes.byref(opts), ctypes.byref(out), None)
        return out

    def theirs(q, k, v):
        pairs = torch.einsum("bthd,bshd->bhts", F.elu(q) + 1, F.elu(k) + 1)
        if causal:
            pairs = pairs.tril()
        return torch.einsum("bhts,bshe->bthe", pairs / pairs.sum(-1, keepdim=True), v)

    return "linear attention", [torch.randn(B, T, H, n, dtype=dtype) for n in (D, D, E)], ours, theirs


# ---- forms that look at a history from outside, written as their papers have them


def dice(x, alpha, eps):
    p = torch.sigmoid(F.batch_norm(x, None, None, training=True, eps=eps))
    return p * x + (1 - p) * alpha * x


def slopes(rng, dtype):
    """Dice with the batch's moments, and PReLU."""
    N, C, eps = size(rng, 300) + 1, size(rng, 90), 1e-3
    x, alpha = torch.randn(N, C, dtype=dtype), torch.randn(C, dtype=dtype)
    opts = DiceOpts(eps=eps)
    yield ("dice", [x, alpha], lambda h, x, a: h.op("heed_dice", x, a, None, None, ctypes.byref(opts)),
           lambda x, a: dice(x, a, eps))
    yield ("prelu", [x, alpha], lambda h, x, a: h.op("heed_prelu", x, a), F.prelu)


def target(rng, dtype):
    """DIN's attention over padded histories: the features in one row, the network over every pair that counts."""
    B, K, S, C, eps = size(rng, 12), size(rng, 4), size(rng, 40), size(rng, 40), 1e-3
    widths = [size(rng, 90) for _ in range(rng.randint(1, 3))]
    activation, softmax = rng.randint(0, 2), rng.random() < 0.5
    new = lambda *dim: torch.randn(*dim, dtype=dtype)  # noqa: E731
    lengths = torch.randint(0, S + 1, (B,))
    lengths[0] = S
    opts = TargetOpts(activation=activation, softmax=softmax, lengths=lengths.data_ptr(), dice=DiceOpts(eps=eps))
    opts.borrowed = lengths  # as long as the options live
    keep = (torch.arange(S) < lengths[:, None])[:, None].expand(B, K, S)
    inputs, width = [new(B, K, C), new(B, S, C)], 4 * C
    for O in widths:
        inputs += [new(O, width) / math.sqrt(width), new(O)] + ([new(O)] if activation < 2 else [])
        width = O
    inputs += [new(1, width) / math.sqrt(width), new(1)]
    each = 3 if activation < 2 else 2

    def ours(h, a, e, *w):
        weights = TargetWeights(hidden=len(widths), w=w[-2], b=w[-1])
        for i in range(len(widths)):
            for name, t in zip(("w", "b", "alpha"), w[each * i: each * i + each]):
                setattr(weights.layer[i], name, t)
        out = ctypes.POINTER(Tensor)()
        h("heed_target", h.tape, a, e, ctypes.byref(weights), ctypes.byref(opts), ctypes.byref(out), None)
        return out

    def theirs(a, e, *w):
        q, k = a[:, :, None].expand(B, K, S, C), e[:, None].expand(B, K, S, C)
        x = torch.cat([q, k, q - k, q * k], -1)[keep]
        for i in range(len(widths)):
            x = F.linear(x, w[each * i], w[each * i + 1])
            x = torch.sigmoid(x) if activation == 2 else F.prelu(x, w[each * i + 2]) if activation else dice(
                x, w[each * i + 2], eps)
        score = F.linear(x, w[-2], w[-1])[:, 0]
        full = torch.zeros(B, K, S, dtype=e.dtype).masked_scatter(keep, score)
        if softmax:
            full = (full / math.sqrt(C)).masked_fill(~keep, -1e300).softmax(-1) * keep
        return full @ e

    if int(keep.sum()) > 1:  # PyTorch's batch norm refuses one row
        yield ("target", inputs, ours, theirs)


def routing(rng, dtype):
    """MIND's and ComiRec's dynamic routing: capsules made, logits on a stopped gradient, the last pass on the true one."""
    B, K, S, C, O = size(rng, 40), size(rng, 5), size(rng, 30), size(rng, 40), size(rng, 40)
    rank, passes = rng.randint(2, 4), rng.randint(1, 4)
    lengths = torch.randint(0, S + 1, (B,))
    keep = (torch.arange(S) < lengths[:, None])[:, None]
    logits = torch.randn(K, S, dtype=dtype)
    maps = {2: (O, C), 3: (K, O, C), 4: (S, K, O, C)}[rank]
    formula = {2: "oc,bsc->bso", 3: "koc,bsc->bkso", 4: "skoc,bsc->bkso"}[rank]
    opts = RoutingOpts(interests=K, iterations=passes, logits=logits.data_ptr(), positions=S, lengths=lengths.data_ptr())
    opts.borrowed = lengths, logits  # as long as the options live

    def ours(h, e, w):
        out = ctypes.POINTER(Tensor)()
        h("heed_routing", h.tape, e, w, ctypes.byref(opts), ctypes.byref(out), None)
        return out

    def squash(z):
        q = (z * z).sum(-1, keepdim=True)
        return q / (1 + q) / torch.sqrt(q + 1e-9) * z

    def theirs(e, w):
        u = torch.einsum(formula, w, e)
        u = u[:, None].expand(B, K, S, O) if rank == 2 else u
        stopped, b = u.detach(), logits.double().expand(B, K, S)
        for i in range(passes):
            c = b.softmax(1) * keep
            if i + 1 < passes:
                v = squash((c[..., None] * stopped).sum(2))
                b = b + (v[:, :, None] * stopped).sum(-1)
        return squash((c[..., None] * u).sum(2))

    yield ("routing", [torch.randn(B, S, C, dtype=dtype), torch.randn(*maps, dtype=dtype) / math.sqrt(C)], ours, theirs)
    p = rng.choice((1.0, 2.0, 3.0))
    v, e = torch.randn(B, K, C, dtype=dtype), torch.randn(B, C, dtype=dtype) / C

    def label(h, v, e):
        out = ctypes.POINTER(Tensor)()
        h("heed_label_attention", h.tape, v, e, DOUBLE(p), None, ctypes.byref(out), None)
        return out

    def label_peer(v, e):
        s = torch.einsum("bkc,bc->bk", v, e)
        return torch.einsum("bk,bkc->bc", (s.sign() * s.abs() ** p).softmax(1), v)

    yield ("label_attention", [v, e], label, label_peer)


def check_layer(heed, name, inputs, ours, theirs, dtype):
    tensors = [heed.wrap(x) for x in inputs]
    out = ours(heed, *tensors)
    leaves = [x.double().requires_grad_(True) if x is not None else None for x in inputs]
    want = theirs(*leaves)
    dout = torch.randn(want.shape, dtype=dtype)
    bad = differ("result", read(out, dout), want, bound(name, "y", inputs, dout, want, dtype))
    heed.backward(out, dout)
    present = [i for i, x in enumerate(leaves) if x is not None]
    grads = torch.autograd.grad(want, [leaves[i] for i in present], dout.double())
    # The slopes of softmax's scores add up to zero, so the gradient of a bias before it is what is left of sums that
    # cancel (all of it, where the bias is that of keys): there gradients are measured by the largest of them.
    most = max(map(largest, grads)) if name in ("multihead", "transformer block", "additive_pool", "target") else 0.0
    for i, grad in zip(present, grads):
        got, limit = read(tensors[i], inputs[i], "grad"), bound(name, i, inputs, dout, grad, dtype)
        bad = bad or differ(f"gradient of input {i}", got, grad, limit if most == 0 else BOUND[dtype] * (most + 1e-3))
    heed.reset()
    return bad


def bound(name, what, inputs, dout, want, dtype):
    """The linear layer's is derived; the others' are shares of the largest number, here or on the way."""
    if name.startswith("attention"):  # its gradients are differences of numbers near 1: all rounding for one key
        return BOUND[dtype] * (largest(want) + 1)
    if name == "linear attention" and what != "y":
        # dq is a mean of |dout . v - dout . out| over keys, or less; dk and dv are sums over queries of such or of dout
        T, largest_v = dout.shape[1], largest(inputs[2])
        return BOUND[dtype] * (2 * largest(dout.abs().sum(-1)) * max(largest_v, 1) * (1 if what == 0 else T) + 1e-3)
    if name != "linear":
        return BOUND[dtype] * (largest(want) + 1e-3)
    x, w, b, g = (t.double().abs() if t is not None else None for t in (*inputs, dout))
    unit = torch.finfo(dtype).eps / 2
    if what == 2:
        mass, n = g.sum(0), len(g)
    else:
        mass, n = {"y": (lambda: x @ w.T + (0 if b is None else b), x.shape[1]), 0: (lambda: g @ w, w.shape[0]),
                   1: (lambda: g.T @ x, len(x))}[what]
        mass = mass()
    return (n + 2) * unit / (1 - (n + 2) * unit) * mass + 1e-30


# ---- losses


def bf16_bounds(x, table, scale, labels, p):
    """Of the loss's sum, and of each element of its gradients, all factors absolute: see above."""
    keep = labels >= 0
    d = 2**-8 * scale * (x @ table.T).max()
    share = torch.expm1(2 * d) + 2**-8
    q = p * keep[:, None]
    return 2 * d * keep.sum() + 1e-6, share * scale * (q @ table) + 1e-6, share * scale * (q.T @ x) + 1e-6


def check_losses(heed, rng, dtype):
    N, V, C = size(rng, 200), max(4, size(rng, 700)), size(rng, 100)
    labels = torch.randint(0, V - 2, (N,), dtype=torch.int32)
    labels[torch.rand(N) < 0.2] = -1
    smoothing, scale = rng.choice((0.0, 0.1)), rng.choice((1.0, 20.0))
    excluded = torch.tensor([V - 1, V - 2], dtype=torch.int32) if rng.random() < 0.5 else None
    opts = LossOpts(weight=1 / N, logit_scale=scale, label_smoothing=smoothing)
    if excluded is not None:
        opts.excluded, opts.excluded_count = excluded.data_ptr(), 2
    x, table = torch.randn(N, C, dtype=dtype), torch.randn(V, C, dtype=dtype)
    x, table = (F.normalize(x), F.normalize(table)) if scale > 1 else (0.5 * x, 0.5 * table)
    keep = labels >= 0

    def peer(x, table):
        logits = scale * x @ table.T
        if excluded is not None:
            logits = logits[:, : V - 2]
        return F.cross_entropy(logits[keep], labels[keep].long(), reduction="sum", label_smoothing=smoothing) / N

    def peer_p(x, table):
        logits = scale * x.detach() @ table.detach().T
        if excluded is not None:
            logits[:, V - 2 :] = -math.inf
        return logits.softmax(1)

    for exact in (True, False):
        opts.exact = exact
        a, b = heed.wrap(x), heed.wrap(table)
        loss = heed.op("heed_cross_entropy", a, b, PTR(labels.data_ptr()), ctypes.byref(opts))
        leaves = [x.double().requires_grad_(True), table.double().requires_grad_(True)]
        want = peer(*leaves)
        rounding = BOUND[dtype] * (largest(want) + 1e-3)
        fast = bf16_bounds(*(t.double().abs() for t in (x, table)), scale, labels, peer_p(*leaves)) if not exact else None
        if dtype == torch.float64:
            fast = None
        bad = differ("loss", read(loss, x.new_zeros(())), want, rounding + (fast[0] / N if fast else 0))
        if bool(keep.any()):
            heed("heed_tape_backward", heed.tape, loss)
            for i, grad in enumerate(torch.autograd.grad(want, leaves)):
                got = read((a, b)[i], (x, table)[i], "grad")
                rounding = BOUND[dtype] * (largest(grad) + 1e-6)
                bad = bad or differ(("dx", "dtable")[i], got, grad, rounding + (fast[1 + i] / N if fast else 0))
        heed.reset()
        if bad:
            return ("exact: " if exact else "fast: ") + bad
    return check_softmax_loss(heed, labels, V, dtype)


def check_softmax_loss(heed, labels, V, dtype):
    logits = 3 * torch.randn(len(labels), V, dtype=dtype)
    opts = LossOpts(weight=1 / len(labels))
    if not bool((labels >= 0).any()):
        return None
    t = heed.wrap(logits)
    loss = heed.op("heed_softmax_loss", t, PTR(labels.data_ptr()), ctypes.byref(opts))
    leaf = logits.double().requires_grad_(True)
    want = F.cross_entropy(leaf, labels.long(), ignore_index=-1, reduction="sum") / len(labels)
    heed("heed_tape_backward", heed.tape, loss)
    bad = differ("softmax loss", read(loss, logits.new_zeros(())), want, BOUND[dtype] * largest(want))
    (grad,) = torch.autograd.grad(want, leaf)
    bad = bad or differ("dlogits", read(t, logits, "grad"), grad, BOUND[dtype] * largest(grad))
    heed.reset()
    return bad


# ---- the optimiser


def check_adam(heed, rng, dtype):
    """Five steps of AdamW with a loss whose gradient is known: sum(w * g). A vector is spared the decay."""
    shape = (size(rng, 60), size(rng, 60))
    decay, clip = rng.choice((0.0, 0.1)), rng.choice((0.0, 1.0))
    params, adam = PTR(), PTR()
    heed("heed_params_new", ctypes.c_int(int(dtype == torch.float64)), ctypes.c_uint64(1), ctypes.byref(params))
    ours, theirs = [], []
    for name, dim in ((b"w", shape), (b"b", shape[1:])):
        t = ctypes.POINTER(Tensor)()
        heed("heed_params_add", params, name, (I64 * len(dim))(*dim), ctypes.c_int(len(dim)), ctypes.c_int(2),
             DOUBLE(1.0), ctypes.byref(t))
        ours.append(t)
        theirs.append(read(t, torch.zeros(dim, dtype=dtype)).double().requires_grad_(True))
    peer = torch.optim.AdamW([{"params": theirs[:1], "weight_decay": decay}, {"params": theirs[1:], "weight_decay": 0.0}],
                             lr=0.01, eps=1e-8)
    heed("heed_adam_new", params, ctypes.byref(AdamOpts(weight_decay=decay, clip_norm=clip)), ctypes.byref(adam))
    for _ in range(5):
        grads = [torch.randn(p.shape, dtype=dtype) for p in theirs]
        flat = [heed.op("heed_reshape", t, (I64 * 2)(1, g.numel()), ctypes.c_int(2)) for t, g in zip(ours, grads)]
        parts = [heed.op("heed_linear", x, heed.wrap(g.view(1, -1), False), None) for x, g in zip(flat, grads)]
        heed("heed_tape_backward", heed.tape, heed.op("heed_add", *parts))
        heed("heed_adam_step", adam, DOUBLE(0.01), heed.pool, None)
        heed.lib.heed_params_zero_grad(params)
        heed.reset()
        for p, g in zip(theirs, grads):
            p.grad = g.double()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs, clip)
        peer.step()
    bad = None
    for t, p in zip(ours, theirs):
        # eps stands beside sqrt(v) before the correction here, after it there: 1e-8 of a step, seen in float64
        far = max(largest(p), 0.05)  # five steps of 0.01 may end near zero
        bad = bad or differ("weights", read(t, p.detach().to(dtype)), p, (1e-5 if clip else 2e-6) * far)
    heed.lib.heed_adam_free(adam)
    heed.lib.heed_params_free(params)
    return bad


def main():
    path = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    seed = int(os.environ.get("HEED_SEED", random.randrange(1 << 30)))
    heed, failed, done = Heed(path), 0, 0
    heed.lib.heed_adam_free.argtypes = heed.lib.heed_params_free.argtypes = [PTR]
    heed.lib.heed_tape_reset.argtypes = heed.lib.heed_params_zero_grad.argtypes = [PTR]
    torch.set_num_threads(1)
    for i in range(rounds):
        for dtype in (torch.float64, torch.float32):
            rng = random.Random(seed + i)
            torch.manual_seed(seed + i)
            cases = [*layers(rng, dtype), *attentions(rng, dtype), *slopes(rng, dtype), *target(rng, dtype),
                     *routing(rng, dtype),
                     *(make(rng, dtype) for make in (lstm, multihead, transformer, additive_pool, linear_attention))]
            results = [(name, check_layer(heed, name, *case, dtype)) for name, *case in cases]
            results += [("loss", check_losses(heed, rng, dtype)), ("adam", check_adam(heed, rng, dtype))]
            for name, bad in results:
                done += 1
                if bad:
                    failed += 1
                    print(f"HEED_SEED={seed} round {i}, {str(dtype).split('.')[1]}, {name}: {bad}")
    print(f"{done} comparisons with PyTorch {torch.__version__}, {failed} disagree (HEED_SEED={seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
