#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of goals: what benchmarks/goals.txt asks, beside what JSON files of benchmarks hold.

    scripts/goals.py benchmarks/goals.txt build/peers/*.json

A goal is compared with the worst of its problems, for each compiler; it is met where the slower
build reaches 97 % of it and the faster one all of it."""
import json
import os
import re
import sys


class Run:
    """The medians of one program built by one compiler, by problem and thread count."""

    def __init__(self, path):
        data = json.load(open(path))
        self.program = data["context"]["executable"]
        self.compiler = "clang" if "clang" in os.path.basename(path) else "g++"
        self.rows = {}  # (problem, threads, state) -> {candidate: (row, [seconds of each round])}
        for e in data["benchmarks"]:
            key, candidate = e["run_name"].rsplit("/", 1)
            rows = self.rows.setdefault(key, {})
            row, times = rows.setdefault(candidate, ({}, []))
            if e["run_type"] == "iteration":
                times.append(e["real_time"])
            if e.get("aggregate_name") == "median":
                row.update(e)


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def measure(goal, rows):
    """The figure of one problem, or None where a candidate is missing or wrong."""
    def times(name):
        row, found = rows.get(name, ({}, []))
        return found if row else None

    own = times(goal["own"])
    if own is None:
        return None
    if goal["what"] == "roof":
        return rows[goal["own"]][0].get("share_of_roof")
    ratios = [median([b / a for a, b in zip(own, other)]) for name in rows
              if re.fullmatch(goal["peers"], name) and name != goal["own"]
              and (other := times(name))]
    return min(ratios) if ratios else None


def read_goals(path):
    for line in open(path):
        if line.startswith("#"):
            continue
        fields = [f.strip() for f in line.split(" ; ")]
        if len(fields) != 7:
            sys.exit(f"goals.py: a goal has seven fields; got {line!r}")
        yield dict(zip(("title", "program", "problems", "own", "what", "peers", "goal"), fields))


def figure(goal, run):
    """The worst problem's figure, where, its command; and how many problems there are."""
    found = []
    for key, rows in run.rows.items():
        if re.search(goal["problems"], key):
            value = measure(goal, rows)
            if value is not None:
                command = next(iter(rows.values()))[0].get("command", "")
                found.append((value, key, command))
    return (*min(found), len(found)) if found else None


def show(goal, value):
    if value is None:
        return "-"
    return f"{100 * value:.0f} %" if goal["what"] == "roof" else f"{value:.2f}x"


def main():
    runs = [Run(path) for path in sys.argv[2:]]
    print("## Goals\n")
    print("Each figure is the lowest of the row's problems against the best of its peers (median of "
          "the ratios of rounds).\n")
    print("| workload | problems | against | goal | g++ | clang | met | the lowest again |")
    print("|---|---|---|---|---|---|---|---|")
    for goal in read_goals(sys.argv[1]):
        found = {r.compiler: f for r in runs if r.program == goal["program"]
                 and (f := figure(goal, r)) is not None}
        values = [f[0] for f in found.values()]
        wanted = float(goal["goal"])
        met = "not measured"
        if values:
            share = min(min(values) / (0.97 * wanted), max(values) / wanted)
            met = "yes" if share >= 1 else f"no ({100 * min(values) / wanted:.0f} %)"
        lowest = re.sub(r"^\S*/build/", "build/", min(found.values())[2]) if found else ""
        against = "roof" if goal["what"] == "roof" else goal["peers"].replace("|", ", ")
        count = max((f[3] for f in found.values()), default=0)
        print(f"| {goal['title']} | {count} | {against} | {show(goal, wanted)} | "
              f"{show(goal, found.get('g++', (None,))[0])} | "
              f"{show(goal, found.get('clang', (None,))[0])} | {met} | {'`' + lowest + '`' if lowest else ''} |")
    print()


main()
