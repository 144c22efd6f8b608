#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every header compiles alone, without a warning, with each compiler given (g++ and clang++ if
# none is). Prints what failed and closes with "N passed, N failed".
#
# A header that includes one of the `bases`, itself or by another header, starts from that base,
# precompiled: includes stand before all code, so it sees what it would see alone, in a third of
# the time.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
bases="graph/fuse ops/matmul ops/layout simd/pack"  # the largest first
export flags="-std=c++20 -fsyntax-only -march=native -Iinclude -isystem /usr/include/eigen3
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Winvalid-pch"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export scratch

precompile() {  # precompile COMPILER BASE
  mkdir -p "$scratch/$1/${2%/*}"
  echo "#include <adze/$2.hpp>" >"$scratch/$1/$2.hpp"
  # shellcheck disable=SC2086
  $1 ${flags/-fsyntax-only/} -x c++-header "$scratch/$1/$2.hpp" -o "$scratch/$1/$2.hpp.gch" ||
    rm "$scratch/$1/$2.hpp"
}

check() {  # check COMPILER NUMBER HEADER [BASE]
  local start=
  [ -e "$scratch/$1/${4:-none}.hpp" ] && start="-include $scratch/$1/$4.hpp"
  # Through standard input, because a header as the main file warns about its #pragma once.
  # shellcheck disable=SC2086
  if echo "#include <adze/$3>" | $1 $flags $start -x c++ - 2>"$scratch/$1/$2"; then
    echo passed
  else
    echo "include/adze/$3 does not compile alone with $1:" >&2
    head -5 "$scratch/$1/$2" >&2
    echo failed
  fi
}
export -f precompile check

# "NUMBER HEADER BASE" for every header; a base itself has none.
plan() {
  python3 - $bases <<'PY'
import pathlib, re, sys
root = pathlib.Path("include/adze")
text = {p.relative_to(root).as_posix(): p.read_text() for p in sorted(root.rglob("*.hpp"))}
direct = {p: re.findall(r"^\s*#\s*include <adze/([^>]+)>", t, re.M) for p, t in text.items()}
for number, header in enumerate(text):
    reached, open_ = set(), [header]
    while open_:
        new = [p for p in direct.get(open_.pop(), []) if p not in reached]
        reached.update(new)
        open_ += new
    base = [b for b in sys.argv[1:] if f"{b}.hpp" in reached]
    print(number, header, *base[:1])
PY
}

for compiler in "${@:-g++ clang++}"; do
  for one in $compiler; do
    printf "$one %s\n" $bases | xargs -P "$(jobs)" -L 1 bash -c 'precompile "$@"' - >&2
    plan | sed "s/^/$one /"
  done
done | xargs -P "$(jobs)" -L 1 bash -c 'check "$@"' - >"$scratch/results"
passed=$(grep -c passed "$scratch/results")
failed=$(grep -c failed "$scratch/results")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
