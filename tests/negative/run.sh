#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Programs that must not compile: each file here begins with "// expect: words", and every compiler
# given (g++ and clang++ if none is) must refuse the file with these words in what it prints.
set -uo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- g++ clang++
passed=0 failed=0
for file in *.cpp; do
  [ -e "$file" ] || break
  expected=$(sed -n '1s|^// expect: ||p' "$file")
  for compiler in "$@"; do
    output=$($compiler -std=c++20 -fsyntax-only -I../../include "$file" 2>&1)
    status=$?
    if [ -n "$expected" ] && [ $status != 0 ] && grep -qF -- "$expected" <<<"$output"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      echo "$file with $compiler: expected a refusal that says: ${expected:-(no // expect: line)}"
      if [ $status = 0 ]; then echo "  it compiles"; else head -5 <<<"$output"; fi
    fi
  done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
