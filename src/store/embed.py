#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the numbered migrations as one C file: embed.py OUT SQL...

The numbers must be 1, 2, 3 ... without a gap, since the store's version is the last one applied."""
import os
import re
import sys

out, paths = sys.argv[1], sorted(sys.argv[2:])
for want, path in enumerate(paths, 1):
    found = re.match(r"(\d{4})_\w+\.sql$", os.path.basename(path))
    if not found or int(found.group(1)) != want:
        sys.exit(f"{path}: migration {want} was expected here, named {want:04d}_WHAT.sql")

with open(out, "w", encoding="utf-8") as f:
    f.write("/* Made from sql/ by src/store/embed.py. */\n#include \"store/migrations.h\"\n\n")
    f.write("const struct hd_migration hd_migrations[] = {\n")
    for path in paths:
        f.write(f'    {{"{os.path.basename(path)}",\n')
        with open(path, encoding="utf-8") as sql:
            for line in sql:
                text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
                f.write(f'     "{text}\\n"\n')
        f.write("    },\n")
    f.write(f"}};\nconst int hd_migration_count = {len(paths)};\n")
