"""Copies a run directory, with one target renamed and words changed to what each format has something against.

    hostile.py RUN_DIR COPY
"""

import json
import pathlib
import shutil
import sys

TARGET = "hybrid"
HOSTILE = "<script>alert(1)</script> ]]> & \" ' \\ | `x` [y](z) %0A ::error::, {a=\"b\"} # EOF \x1b é 🦀"


def renamed(value):
    """The same JSON with the target's name, as a key and as a value, made hostile."""
    if isinstance(value, dict):
        return {renamed(key): renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner) for inner in value]
    return HOSTILE if value == TARGET else value


source, copy = map(pathlib.Path, sys.argv[1:])
shutil.copytree(source, copy)
for name in ("run.json", "verdict.json"):
    document = renamed(json.loads((copy / name).read_text()))
    if name == "verdict.json":
        document["reason"] = HOSTILE + "\nand a second line"
        document["targets"][HOSTILE]["reason"] = HOSTILE
    else:
        document["scenario"] = HOSTILE
    (copy / name).write_text(json.dumps(document))
for name in ("samples.csv", "events.csv"):
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    text = (copy / name).read_text()
    (copy / name).write_text(text.replace(f",{TARGET},", f",{quoted},"))
