#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Programs that must not compile: each file here begins with "// expect: words", and every compiler
# given (g++ and clang++ if none is) must refuse the file with these words in what it prints.
set -uo pipefail
cd "$(dirname "$0")"
. ../../scripts/packages.sh
[ $# -gt 0 ] || set -- g++ clang++

check() {  # check FILE COMPILER
  local expected output status
  expected=$(sed -n '1s|^// expect: ||p' "$1")
  output=$("$2" -std=c++20 -fsyntax-only -I../../include "$1" 2>&1)
  status=$?
  if [ -n "$expected" ] && [ $status != 0 ] && grep -F -- "$expected" <<<"$output" >/dev/null; then
    echo passed
  else
    echo failed
    echo "$1 with $2: expected a refusal that says: ${expected:-(no // expect: line)}" >&2
    if [ $status = 0 ]; then echo "  it compiles" >&2; else head -5 <<<"$output" >&2; fi
  fi
}
export -f check

results=$(for file in *.cpp; do
  [ -e "$file" ] && printf "$file %s\n" "$@"
done | xargs -P "$(jobs)" -L 1 bash -c 'check "$@"' -)
passed=$(grep -c passed <<<"$results")
failed=$(grep -c failed <<<"$results")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
