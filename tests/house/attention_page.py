#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the calls of docs/ATTENTION.md and holds the page's pictures against the weights they give.

    attention_page.py ROOT LIBRARY

Each block of C belongs to the picture above it, img/attention/NAME.svg, and stands in a function with
what attention_page.h names. HEED_GOLDEN=write draws the pictures anew.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
PICTURE = re.compile(r"!\[[^\]]+\]\(img/attention/([a-z_]+)\.svg\)")
NEAR = 0.011  # what is drawn has two decimals; instruction sets differ by less

FUNCTION = """
static void show_{name}(const char *folder)
{{
    heed_attention_arrays a = {{.dtype = HEED_F32, .B = 1, .T = T, .S = T, .H = 1, .D = D, .E = D,
                               .q = queries, .k = keys, .v = values, .out = out, .weights = weights}};
    heed_attention_opts opts = {{0}};
    struct stage stage;
    fill_words();
    stage_init(&stage);
    heed_tape *tape = stage.tape;
    heed_params *params = stage.params;
    heed_tensor *q = stage.q, *k = stage.k, *v = stage.v, *x = stage.x, *y;
    (void)a, (void)opts, (void)params, (void)tape, (void)q, (void)k, (void)v, (void)x, (void)y;
    {{
#line {line} "docs/ATTENTION.md"
{code}
        draw(folder, "{name}", {drawn});
    }}
    stage_clear(&stage);
}}
"""


def blocks(text):
    """(name, first line, code) of each block of C."""
    name, code = None, None
    for number, line in enumerate(text.splitlines(), 1):
        picture = PICTURE.match(line)
        if picture:
            name = picture[1]
        if code is None and line == "```c":
            first, code = number + 1, []
        elif code is not None and line == "```":
            yield name, first, "\n".join(code)
            name, code = None, None
        elif code is not None:
            code.append(line)


def same(left, right):
    """The same drawing, but for numbers that differ by less than can be seen."""
    if NUMBER.split(left) != NUMBER.split(right):
        return False
    pairs = zip(NUMBER.findall(left), NUMBER.findall(right))
    return all(abs(float(a) - float(b)) <= NEAR for a, b in pairs)


def program(found):
    parts = ['#include "attention_page.h"\n']
    for name, line, code in found:
        drawn = "map->data" if re.search(r"\*map\b", code) else "weights"
        parts.append(FUNCTION.format(name=name, line=line, code=code, drawn=drawn))
    calls = "".join(f"    show_{name}(argv[1]);\n" for name, _, _ in found)
    parts.append(f"int main(int argc, char **argv)\n{{\n    (void)argc;\n{calls}    return 0;\n}}\n")
    return "".join(parts)


def main():
    root, library = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    page = (root / "docs/ATTENTION.md").read_text(encoding="utf-8")
    pictures = root / "docs/img/attention"
    found = list(blocks(page))
    faults = []
    for name, line, _ in found:
        if name is None:
            sys.exit(f"docs/ATTENTION.md:{line}: a block of C without a picture above it")
    with tempfile.TemporaryDirectory() as work:
        source, drawn = pathlib.Path(work, "page.c"), pathlib.Path(work, "drawn")
        drawn.mkdir()
        source.write_text(program(found), encoding="utf-8")
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run(compiler + ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{root}/include",
                                   f"-I{root}/tests/house", "-o", f"{work}/page", str(source),
                                   str(library), "-lm", f"-Wl,-rpath,{library.parent}"], check=True)
        subprocess.run([f"{work}/page", str(drawn)], check=True)
        for name, _, _ in found:
            fresh, kept = (drawn / f"{name}.svg").read_text(), pictures / f"{name}.svg"
            if os.environ.get("HEED_GOLDEN") == "write":
                kept.write_text(fresh)
            elif not kept.exists() or not same(kept.read_text(), fresh):
                faults.append(f"{kept.relative_to(root)} is not what its call gives")
    known = {name for name, _, _ in found}
    faults += [f"{path.relative_to(root)}: no call of the page makes it"
               for path in pictures.glob("*.svg") if path.stem not in known]
    print("\n".join(faults))
    return 1 if faults or not found else 0


if __name__ == "__main__":
    sys.exit(main())
