#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every header compiles alone, without a warning, with each compiler given (g++ and clang++ if
# none is). Prints what failed and closes with "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
export flags="-std=c++20 -fsyntax-only -march=native -Iinclude -isystem /usr/include/eigen3
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"

check() {  # check COMPILER HEADER
  # Through standard input, because a header as the main file warns about its #pragma once.
  if echo "#include <${2#include/}>" | $1 $flags -x c++ - 2>"$3"; then
    echo passed
  else
    echo "$2 does not compile alone with $1:" >&2
    head -5 "$3" >&2
    echo failed
  fi
  rm -f "$3"
}
export -f check

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for compiler in "${@:-g++ clang++}"; do
  for one in $compiler; do
    find include -name '*.hpp' | sort | awk -v c="$one" '{ print c, $1, NR }'
  done
done | xargs -P "$(jobs)" -L 1 bash -c 'check "$0" "$1" '"$scratch"'/"$0$2"' >"$scratch/results"
passed=$(grep -c passed "$scratch/results")
failed=$(grep -c failed "$scratch/results")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
