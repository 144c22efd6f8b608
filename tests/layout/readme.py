#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The README's first C++ block is a program of the repository, word for word.

The program is the last examples/<name>.cpp named before the block. Given the path of a folder of
built examples, runs it as well and compares its output with the ```text block that follows.
"""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parents[2]
readme = (root / "README.md").read_text()
block = re.search(r"```cpp\n(.*?)```(?:\s*```text\n(.*?)```)?", readme, re.DOTALL)
if not block:
    sys.exit("README.md: no C++ block")
named = re.findall(r"examples/(\w+)\.cpp", readme[:block.start()])
name = named[-1] if named else "quickstart"
program = (root / "examples" / f"{name}.cpp").read_text()
# The licence line and the comment at the head of the file are not for the README.
program = re.sub(r"\A(//.*\n)+\n*", "", program)
if block[1] != program:
    sys.exit(f"README.md: the first C++ block is not examples/{name}.cpp")
if len(sys.argv) > 1 and block[2]:
    run = subprocess.run([pathlib.Path(sys.argv[1]) / name], capture_output=True, text=True,
                         check=True)
    if run.stdout != block[2]:
        sys.exit(f"README.md: the output shown is not that of {name}, which is\n{run.stdout}")
print(f"README.md shows examples/{name}.cpp")
