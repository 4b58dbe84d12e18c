#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sequence models of heed and those of bench/torch_models.py are the same: same weights in, same logits out, within
2e-6 of the largest logit (the weights come from a file that heed has written, PyTorch computes in float64). So the
benchmark of training steps compares equal work.

    tests/peers/network.py PROGRAM        the program is built from network.c. Exit 77: there is no PyTorch here.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError:
    print("skipped: no PyTorch")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import torch_models  # noqa: E402

ITEMS, DIM, LENGTH, ROWS = 30, 16, 12, 19
BOUND = 2e-6


def tensors(path):
    """Length of the header as a little-endian u64, the header in JSON, the tensors."""
    with open(path, "rb") as f:
        data = f.read()
    (n,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, about in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            first, end = about["data_offsets"]
            part = bytearray(data[8 + n + first : 8 + n + end])
            out[name] = torch.frombuffer(part, dtype=torch.float32).view(about["shape"])
    return out


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        for recipe, make in (("sasrec", torch_models.Sasrec), ("hstu", torch_models.Hstu), ("ligr", torch_models.Ligr)):
            model = make(ITEMS, DIM, 3, 2, LENGTH)
            torch_models.heed_weights(model, tensors(os.path.join(folder, recipe + ".safetensors")))
            model.eval().double()
            layout = torch_models.Layout([LENGTH, ROWS - LENGTH], LENGTH)
            ids = torch.tensor([(i * 7 + 3) % ITEMS for i in range(ROWS)])
            with torch.no_grad():
                want = model.logits(model(ids, layout.position, layout.rows, layout.B, layout.T))
            with open(os.path.join(folder, recipe + ".logits")) as f:
                got = torch.tensor([float(x) for x in f], dtype=torch.float64).view(ROWS, ITEMS)
            off = float((got - want).abs().max() / want.abs().max())
            print(f"{recipe}: off by {off:.2g} of the largest logit")
            failed += not off <= BOUND
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
