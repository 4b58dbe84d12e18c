# SPDX-License-Identifier: Apache-2.0
"""The sequence models of heed written in plain PyTorch, as a peer for benchmarks and tests.

Three recipes, all trained to name the next item at every position of a user's history:

  sasrec  SASRec with a softmax over the whole catalogue (Kang and McAuley 2018; Klenitskiy and Vasilev 2023)
  hstu    HSTU without time stamps (Zhai et al. 2024): pointwise SiLU attention with a bias per head and distance,
          divided by the number of keys a query sees, and a cosine softmax with temperature
  ligr    gated residuals (Borisyuk et al. 2025) around softmax attention with HSTU's position bias and SwiGLU
          (Shazeer 2020)

They are the formulas of heed's src/models/sequence_net.c, parameter for parameter; heed_weights() reads a model that
heed has saved.

All work on *packed* rows: only the filled positions of a batch pass through the dense layers and the loss, and the
padded (B, T) rectangle exists only inside attention. That is how PyTorch is fastest here. Sequences are laid out from
the left, so that a causal mask alone keeps every filled position away from the padding.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


class Layout:
    """Where the filled positions of a batch lie. `rows` (M) indexes the flattened (B, T) rectangle."""

    def __init__(self, lengths, T, align="start"):
        lengths = torch.as_tensor(lengths, dtype=torch.int64)
        column = torch.arange(T)
        filled = column[None, :] < lengths[:, None]
        shift = T - lengths if align == "end" else torch.zeros_like(lengths)
        self.B, self.T, self.lengths = len(lengths), T, lengths
        self.rows = filled.flatten().nonzero().flatten()
        self.position = (column[None, :] + shift[:, None])[filled]  # (M), index of the position embedding
        self.M = self.rows.numel()


def spread(x, rows, B, T):
    """(M, C) -> (B, T, C), zeros where nothing is filled."""
    return x.new_zeros(B * T, x.shape[1]).index_copy(0, rows, x).view(B, T, -1)


class SasrecBlock(nn.Module):
    def __init__(self, C, H, dropout):
        super().__init__()
        self.H, self.dropout = H, dropout
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-8), nn.LayerNorm(C, eps=1e-8)
        self.q, self.kv = nn.Linear(C, C, bias=False), nn.Linear(C, 2 * C, bias=False)
        self.o = nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, C), nn.Linear(C, C)

    def forward(self, x, rows, B, T):
        M, C = x.shape
        q = self.norm1(x)
        qkv = spread(torch.cat((self.q(q), self.kv(x)), 1), rows, B, T)
        a, b, c = qkv.view(B, T, 3, self.H, C // self.H).permute(2, 0, 3, 1, 4).unbind(0)
        a = F.scaled_dot_product_attention(a, b, c, is_causal=True, dropout_p=self.dropout if self.training else 0.0)
        a = a.transpose(1, 2).reshape(B * T, C).index_select(0, rows)
        h = self.norm2(q + self.o(a))
        y = F.dropout(self.up(h), self.dropout, self.training).relu()
        return h + F.dropout(self.down(y), self.dropout, self.training)


class Sasrec(nn.Module):
    """Logits are the dot products with the item embeddings; no bias, no temperature."""

    def __init__(self, V, C=64, layers=2, H=1, T=200, dropout=0.1):
        super().__init__()
        self.V, self.C, self.T, self.dropout = V, C, T, dropout
        self.item, self.place = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(SasrecBlock(C, H, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(C, eps=1e-8)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
            elif "bias" in name:
                nn.init.zeros_(p)

    def forward(self, ids, position, rows, B, T):
        x = self.item(ids) * math.sqrt(self.C) + self.place(position)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, rows, B, T)
        return self.norm(x)

    def head(self, h):
        """States and item vectors whose dot products are the logits."""
        return h, self.item.weight

    def logits(self, h):
        return h @ self.item.weight.T


class HstuBlock(nn.Module):
    def __init__(self, C, H, T, dropout):
        super().__init__()
        self.C, self.H, self.T, self.dropout = C, H, T, dropout
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-8), nn.LayerNorm(C, eps=1e-8)
        self.uvqk, self.o = nn.Linear(C, 4 * C, bias=False), nn.Linear(C, C)
        self.bias = nn.Parameter(torch.empty(H, T).normal_(std=0.02))  # one per distance i - j
        nn.init.normal_(self.uvqk.weight, std=0.02)
        nn.init.xavier_uniform_(self.o.weight)
        nn.init.zeros_(self.o.bias)

    def forward(self, x, rows, B, T, distance, scale):
        # distance (T, T): i - j, 0 where j > i;  scale (T, T): 1 / keys seen, 0 where j > i
        C, H = self.C, self.H
        uvqk = F.silu(self.uvqk(self.norm1(x)))
        u, vqk = uvqk.split((C, 3 * C), 1)
        v, q, k = spread(vqk, rows, B, T).view(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4).unbind(0)
        a = F.silu(q @ k.transpose(-1, -2) + self.bias[:, distance]) * scale
        a = (a @ v).transpose(1, 2).reshape(B * T, C).index_select(0, rows)
        y = F.dropout(u * self.norm2(a), self.dropout, self.training)
        return x + self.o(y)


class Hstu(nn.Module):
    """Logits are cosines over the temperature 0.05."""

    def __init__(self, V, C=64, layers=4, H=2, T=200, dropout=0.2, tau=0.05):
        super().__init__()
        self.V, self.C, self.T, self.dropout, self.tau = V, C, T, dropout, tau
        self.item = nn.Embedding(V, C)
        self.blocks = nn.ModuleList(HstuBlock(C, H, T, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(C, eps=1e-8)
        nn.init.normal_(self.item.weight, std=0.02)
        i = torch.arange(T)
        self.register_buffer("distance", (i[:, None] - i[None, :]).clamp(min=0), persistent=False)
        self.register_buffer("scale", torch.ones(T, T).tril() / (i[:, None] + 1), persistent=False)

    def forward(self, ids, position, rows, B, T):
        x = F.dropout(self.item(ids) * math.sqrt(self.C), self.dropout, self.training)
        for block in self.blocks:
            x = block(x, rows, B, T, self.distance[:T, :T], self.scale[:T, :T])
        return self.norm(x)

    def head(self, h):
        """States and item vectors whose dot products are the logits."""
        return F.normalize(h, dim=1) / self.tau, F.normalize(self.item.weight, dim=1)

    def logits(self, h):
        h, e = self.head(h)
        return h @ e.T


class LigrBlock(nn.Module):
    def __init__(self, C, H, T, dropout):
        super().__init__()
        self.H, self.dropout = H, dropout
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-8), nn.LayerNorm(C, eps=1e-8)
        self.qkv, self.o, self.attention_gate = nn.Linear(C, 3 * C, bias=False), nn.Linear(C, C), nn.Linear(C, C, bias=False)
        self.bias = nn.Parameter(torch.empty(H, T).normal_(std=0.02))  # one per distance i - j
        # one product for both, which heed makes apart
        self.gate_up, self.down, self.ff_gate = nn.Linear(C, 2 * C, bias=False), nn.Linear(C, C), nn.Linear(C, C, bias=False)

    def forward(self, x, rows, B, T, distance, future):
        # distance (T, T): i - j, 0 where j > i;  future (T, T): -inf where j > i, else 0
        M, C = x.shape
        p = self.dropout if self.training else 0.0
        qkv = spread(self.qkv(self.norm1(x)), rows, B, T)
        q, k, v = qkv.view(B, T, 3, self.H, C // self.H).permute(2, 0, 3, 1, 4).unbind(0)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[:, distance] + future, dropout_p=p)
        a = a.transpose(1, 2).reshape(B * T, C).index_select(0, rows)
        x = x + F.dropout(self.attention_gate(x).sigmoid() * self.o(a), p)
        gate, up = self.gate_up(self.norm2(x)).split(C, 1)
        return x + F.dropout(self.ff_gate(x).sigmoid() * self.down(F.silu(gate) * up), p)


class Ligr(nn.Module):
    """Logits are the dot products with the item embeddings."""

    def __init__(self, V, C=64, layers=2, H=2, T=200, dropout=0.2):
        super().__init__()
        self.V, self.C, self.T, self.dropout = V, C, T, dropout
        self.item, self.place = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(LigrBlock(C, H, T, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(C, eps=1e-8)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        i = torch.arange(T)
        self.register_buffer("distance", (i[:, None] - i[None, :]).clamp(min=0), persistent=False)
        self.register_buffer("future", torch.full((T, T), -math.inf).triu(1), persistent=False)

    def forward(self, ids, position, rows, B, T):
        x = self.item(ids) * math.sqrt(self.C) + self.place(position)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, rows, B, T, self.distance[:T, :T], self.future[:T, :T])
        return self.norm(x)

    def head(self, h):
        return h, self.item.weight

    def logits(self, h):
        return h @ self.item.weight.T


def loss(model, ids, labels, position, rows, B, T):
    """Mean cross-entropy over the filled positions and the whole catalogue."""
    return F.cross_entropy(model.logits(model(ids, position, rows, B, T)), labels)


class ChunkedLoss(torch.autograd.Function):
    """The same mean cross-entropy, `chunk` rows of logits at a time: they never leave the cache for memory, and the
    gradients are made while they are there. bf16: the products take bfloat16 and sum in float32."""

    @staticmethod
    def forward(ctx, h, e, labels, chunk, bf16):
        M, dh, de, total = len(labels), torch.empty_like(h), torch.zeros_like(e), h.new_zeros(())
        cast = (lambda x: x.bfloat16()) if bf16 else (lambda x: x)
        h16, e16 = cast(h), cast(e)
        for i in range(0, M, chunk):
            part, y = h16[i : i + chunk], labels[i : i + chunk]
            p = F.log_softmax((part @ e16.T).float(), 1)
            total += F.nll_loss(p, y, reduction="sum")
            p.exp_()[torch.arange(len(y)), y] -= 1
            p = cast(p)
            dh[i : i + chunk] = p @ e16
            if bf16:
                de += p.T @ part
            else:
                de.addmm_(p.T, part)
        ctx.save_for_backward(dh.div_(M), de.div_(M))
        return total / M

    @staticmethod
    def backward(ctx, scale):
        dh, de = ctx.saved_tensors
        return dh * scale, de * scale, None, None, None


def chunked_loss(h, e, labels, chunk=1024, bf16=False):
    return ChunkedLoss.apply(h, e, labels, chunk, bf16)


def heed_weights(model, tensors):
    """Takes over the tensors of a model file of heed's, a dict of name -> tensor."""
    names = {"item": "item.weight", "position": "place.weight", "final.gain": "norm.weight", "final.bias": "norm.bias"}
    parts = {"norm.gain": "norm1.weight", "norm.bias": "norm1.bias", "o": "o.weight", "o.bias": "o.bias",
             "ff_norm.gain": "norm2.weight", "ff_norm.bias": "norm2.bias", "q": "q.weight", "up": "up.weight",
             "up.bias": "up.bias", "down": "down.weight", "down.bias": "down.bias", "uvqk": "uvqk.weight",
             "qkv": "qkv.weight", "attention_gate": "attention_gate.weight", "ff_gate": "ff_gate.weight",
             "out_norm.gain": "norm2.weight", "out_norm.bias": "norm2.bias"}
    state = {}
    for name, x in tensors.items():
        if name in names:
            state[names[name]] = x
            continue
        _, layer, part = name.split(".", 2)
        if part == "gate":
            state[f"blocks.{layer}.gate_up.weight"] = torch.cat((x, tensors[f"block.{layer}.up"]))
        elif part == "up" and f"block.{layer}.gate" in tensors:
            pass
        elif part == "position_bias":  # heed keeps the same position last
            state[f"blocks.{layer}.bias"] = x.flip(1)
        elif part == "k":
            state[f"blocks.{layer}.kv.weight"] = torch.cat((x, tensors[f"block.{layer}.v"]))
        elif part != "v":
            state[f"blocks.{layer}.{parts[part]}"] = x
    model.load_state_dict(state)
