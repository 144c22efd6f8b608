#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a user pays to compile: seconds and peak MB of a cold compile with -O2, the best of two, for
# every compiler given (g++ and clang++ if none is). The budgets are g++ 12's; a figure above its
# budget is marked, and then the script exits with 1.
set -uo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- g++ clang++
source=$(mktemp --suffix=.cpp)
trap 'rm -f "$source" "$source.o"' EXIT
export CCACHE_DISABLE=1
over=0

# The seconds and the peak MB of one compile, measured by the kernel for the child processes.
cost() {
  python3 - "$@" <<'PY'
import resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
seconds = time.perf_counter() - begin
print(f"{seconds:.2f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}")
sys.exit(code)
PY
}

row() {  # row COMPILER NAME FILE SECONDS-BUDGET MB-BUDGET
  local compile first second best note=
  compile="$1 -std=c++20 -O2 -Iinclude -isystem /usr/include/eigen3 -c $3 -o $source.o"
  # shellcheck disable=SC2086
  if ! first=$(cost $compile) || ! second=$(cost $compile); then
    printf '%-8s %-24s does not compile\n' "$1" "$2"
    over=1
    return
  fi
  best=$(printf '%s\n%s\n' "$first" "$second" | sort -n | head -1)
  if [ "$1" = g++ ] && ! awk -v s="$4" -v m="$5" '{ exit !($1 <= s && $2 <= m) }' <<<"$best"; then
    note="OVER its budget"
    over=1
  fi
  printf '%-8s %-24s %6s s of %5s  %5s MB of %4s  %s\n' "$1" "$2" "${best% *}" "$4" "${best#* }" \
    "$5" "$note"
}

for compiler in "$@"; do
  while read -r header seconds megabytes; do
    [ -e "include/adze/$header" ] || continue
    echo "#include <adze/$header>" >"$source"
    row "$compiler" "$header" "$source" "$seconds" "$megabytes"
  done <<'BUDGETS'
fwd.hpp 0.15 350
tensor/tensor.hpp 1 350
adze.hpp 3 350
BUDGETS
  [ -e examples/quickstart.cpp ] && row "$compiler" quickstart.cpp examples/quickstart.cpp 12 800
done
exit $over
