#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rules of the house that a compiler does not see. Prints the folders, then each breach."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADERS = ROOT / "include" / "adze"

# A header includes from its own folder and from those in rows above it. Folders in one row never
# include each other.
ROWS = ["core", "simd bench", "kernels", "tensor", "autograd", "ops", "nn", "graph",
        "optim amp quant prune distill lowrank privacy federated dist data io report"]
RANK = {folder: rank for rank, row in enumerate(ROWS) for folder in row.split()}
ONLY_IN = [  # what matches on the left is included only by headers that match on the right
    (r"xsimd/", r"simd/registers\.hpp"),
    (r".*intrin\.h|arm_neon\.h", r"simd/.*"),
    (r"Eigen/", r"kernels/linalg\.hpp"),
    (r"adze/kernels/reference", r"kernels/reference.*"),
    (r"adze/bench/", r"bench/.*"),
    (r"adze/adze\.hpp", r"nowhere"),
    (r"(iostream|sstream|fstream|iomanip|ostream|istream)$", r"report/.*|tensor/print\.hpp"),
    (r"(regex|filesystem|random|format|ranges|source_location)$", r"nowhere"),
]
# #if and the like: the probe asks what the machine is, poison whether there is a sanitizer.
CONDITIONS_IN = r"simd/.*|bench/probe\.hpp|core/poison\.hpp"
breaches = []


def complain(path, line, text):
    breaches.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def check_include(path, number, target):
    name = path.relative_to(HEADERS).as_posix()
    for pattern, place in ONLY_IN:
        if re.match(pattern, target) and not re.fullmatch(place, name):
            complain(path, number, f"<{target}> does not belong here")
    own, other = name.rpartition("/")[0].split("/")[0], re.match(r"adze/(\w+)/", target)
    if other and own and other[1] != own and RANK.get(other[1], 99) >= RANK.get(own, -1):
        complain(path, number, f"{own}/ includes {other[1]}/, which is not to its left")


def check_header(path, lines):
    if lines[:2] != ["#pragma once", "// SPDX-License-Identifier: MIT"]:
        complain(path, 1, "does not begin with '#pragma once' and the SPDX line")
    if len(lines) > 400:
        complain(path, len(lines), "more than 400 lines: split it")
    for number, line in enumerate(lines, 1):
        directive = re.match(r"\s*#\s*(\w+)\s*(.*)", line)
        if directive and directive[1] == "include":
            if directive[2].startswith('"'):
                complain(path, number, "include with <adze/...>, not with quotes")
            check_include(path, number, directive[2].split(">")[0].lstrip("<"))
        elif directive and directive[1] != "pragma" and not re.fullmatch(
                CONDITIONS_IN, path.relative_to(HEADERS).as_posix()):
            complain(path, number, f"#{directive[1]} outside simd/")


def check_list(path, found):
    """The list that the builds read and the files on disk are the same."""
    lines = path.read_text().splitlines()
    for name in sorted({line for line in lines if line and line[0] != "#"} ^ found):
        complain(path, 1, f"{name} is {'not listed' if name in found else 'listed, but missing'}")


def check_tree():
    for path in sorted(HEADERS.rglob("*.hpp")):
        check_header(path, path.read_text().splitlines())
    for folder in ("include", "tests", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.[hc]pp")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if len(line) > 100:
                    complain(path, number, "longer than 100 columns")
    tests = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").glob("*/**/*.cpp")}
    check_list(ROOT / "tests/sources.txt", {path.as_posix() for path in tests
               if path.parts[0] not in ("consumers", "negative", "layout")})
    for folder in (ROOT / "benchmarks", ROOT / "examples"):
        check_list(folder / "programs.txt", {path.stem for path in folder.glob("*.cpp")})
    version = (ROOT / "VERSION").read_text().strip()
    header = HEADERS / "core/version.hpp"
    numbers = re.findall(r"int version_\w+ = (\d+)|version_text = \"(.*)\"", header.read_text())
    if ".".join(n for n, _ in numbers[:3]) != version or numbers[3][1] != version:
        complain(header, 1, f"does not say {version}, as VERSION does")


def print_folders():
    """The picture for the README, and the headers that should be split soon."""
    for row in ROWS:
        for folder in row.split():
            sizes = [len(path.read_text().splitlines()) for path in (HEADERS / folder).glob("*.hpp")]
            if sizes:
                print(f"  {folder:10} {len(sizes):3} headers {sum(sizes):6} lines")
    for path in sorted(HEADERS.rglob("*.hpp")):
        if len(path.read_text().splitlines()) > 250:
            print(f"  over 250 lines: {path.relative_to(ROOT)}")


print_folders()
check_tree()
print("\n".join(breaches) if breaches else "layout: every rule is kept")
sys.exit(1 if breaches else 0)
