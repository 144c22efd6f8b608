#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the tests need, builds and runs every test, and closes with the line
# "N passed, N failed" (test cases and checks together).
#   scripts/test.sh           everything
#   scripts/test.sh --quick   format, layers and the g++ build; for the time between two edits
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
quick=${1:-}
needed="g++ cmake ninja-build pkg-config libeigen3-dev libxsimd-dev doctest-dev zlib1g-dev python3
  clang-format"
[ "$quick" = --quick ] || needed="$needed clang libclang-rt-14-dev meson"
# shellcheck disable=SC2086
require $needed
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache
  # so that it sees through precompiled headers
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
fi
export CTEST_PARALLEL_LEVEL ASAN_OPTIONS=detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
CTEST_PARALLEL_LEVEL=$(jobs)
logs=build/logs
mkdir -p $logs
passed=0 failed=0

clock() { printf '[%2d:%02d]' $((SECONDS / 60)) $((SECONDS % 60)); }

# run NAME COMMAND...: one step. Counts what it reports ("[doctest] test cases: ..." lines of the
# file in $report, or a closing "N passed, N failed"), else the step itself as one check.
run() {
  local name=$1 log=$logs/${1// /_}.log status ticker good bad
  shift
  echo "$(clock) $name"
  (while sleep 60 </dev/null >/dev/null 2>&1; do echo "$(clock) $name ... $(tail -n 1 "$log" | cut -c 1-80)"; done) &
  ticker=$!
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  kill $ticker 2>/dev/null
  wait $ticker 2>/dev/null
  read -r good bad <<<"$(awk -F'[:|]' '
    /\[doctest\] test cases:/ { good += $3; bad += $4; counted = 1 }
    /^[0-9]+ passed, [0-9]+ failed$/ { split($0, n, " "); good += n[1]; bad += n[3]; counted = 1 }
    END { if (counted) print good, bad }' "$log" "${report:-/dev/null}")"
  if [ -z "$good" ]; then good=$((status == 0)) bad=$((status != 0)); fi
  if [ $status != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
  passed=$((passed + good)) failed=$((failed + bad))
  echo "$(clock) $name: $good passed, $bad failed"
  if [ "$bad" != 0 ]; then
    grep -nE 'error|ERROR|warning:|FAILED|\*\*\*' "$log" | head -20
    echo "  ... the end of $log:"
    tail -n 30 "$log"
  fi
  [ "$bad" = 0 ]
}

# build_and_test PRESET: the build is a check; what the tests report is counted. CTest entries
# whose label matches $skip are left out ("house": layers and README, which run once, here).
build_and_test() {
  run "$1 configure" cmake --preset "$1" &&
    run "$1 build" cmake --build --preset "$1" -j "$(jobs)" &&
    report=build/$1/Testing/Temporary/LastTest.log run "$1 tests" ctest --preset "$1" -LE "${skip:-house}"
}

format_check() {
  "$clang_format" --version | grep 'version 14' || { echo "install clang-format-14"; return 1; }
  # Compared with its own output: with --dry-run, version 14 objects to comments it leaves alone.
  # Sixteen files at once, since most of its time is the start.
  find include tests benchmarks examples -name '*.[hc]pp' | xargs -P "$(jobs)" -n 16 bash -c '
    "$clang_format" "$@" | cmp -s - <(cat "$@") || for file; do
      "$clang_format" "$file" | cmp -s - "$file" || echo "$file is not formatted"
    done' - | grep . && return 1
  return 0
}

meson_check() {
  rm -rf build/meson
  # Compiled without optimisation: CMake's build has shown the speed, this one shows the build,
  # and what clang says of benchmarks and examples, which g++ has built above.
  CXX=clang++ meson setup build/meson --buildtype=plain -Dwerror=true -Dtest_folders=core,simd,tensor &&
    meson compile -C build/meson
}

# Other versions format otherwise; where there is no package of 14, nothing is said of the format.
export clang_format
clang_format=$(command -v clang-format-14 || command -v clang-format)
if "$clang_format" --version | grep 'version 14' >/dev/null || grep -qs bookworm /etc/os-release ||
  apt-cache show clang-format-14 >/dev/null 2>&1; then
  run "format" format_check
else
  echo "$(clock) format: not checked; needs version 14, here is $("$clang_format" --version)"
fi
run "layers" python3 tests/layout/check.py
if [ "$quick" != --quick ]; then run "headers alone" scripts/check_headers.sh g++; fi
build_and_test gcc
run "readme" python3 tests/layout/readme.py build/gcc/examples
if [ "$quick" != --quick ]; then
  run "refusals" tests/negative/run.sh
  build_and_test clang
  skip='house|slow' build_and_test sanitize
  run "consumers" tests/consumers/run.sh
  run "meson build" meson_check &&
    report=build/meson/meson-logs/testlog.txt run "meson tests" meson test -C build/meson --no-rebuild --no-suite slow
fi
echo "$(clock) done"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
