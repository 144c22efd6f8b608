#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Our kernels beside the libraries that Debian has, on this machine: fetches the peers' packages
# into build/peers (no root, nothing on the system changes), builds Eigen with every compiler and a
# small library around libtorch, builds the benchmarks with g++ and clang++, runs them, and writes
# the tables: first the goals (benchmarks/goals.txt), met or not, then every row.
#   scripts/bench_peers.sh [--quick] [--output FILE] [-- arguments of the programs]
# The file is docs/benchmarks.md unless another is named; JSON, SVG and HTML stay in build/peers.
# Run it on a quiet machine: the noise line above each table says how quiet it was.
set -euo pipefail
cd "$(dirname "$0")/.."
output=docs/benchmarks.md quick=
programs=(gemm gemm_16bit conv gemm_int8 linear_int8 elementwise steps inference)
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=yes arguments+=(--filter '#shapes' --seconds 0.2) ;;
    --output) output=$2; shift ;;
    --) shift; arguments+=("$@"); break ;;
    *) sed -n '3,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
peers=$PWD/build/peers
mkdir -p "$peers/packages" "$peers/root" "$peers/lib"

# ---- libraries: what the system has not, from packages that are unpacked, not installed
fetch() {  # fetch LIBRARY PACKAGE...
  local library=$1
  shift
  # Not grep -q, which leaves at the first hit: under pipefail the listing's broken pipe would count.
  if ldconfig -p 2>/dev/null | grep "$library" >/dev/null || [ -e "$peers/lib/$library" ]; then return; fi
  command -v apt-get >/dev/null || { echo "no $library here, and no apt-get: left out"; return; }
  (cd "$peers/packages" && apt-get download -qq "$@" 2>/dev/null) ||
    { echo "cannot fetch $*: $library is left out"; return; }
  for package in "$@"; do dpkg -x "$peers/packages/${package}"_*.deb "$peers/root"; done
  find "$peers/root" -name "$library*" -exec ln -sf {} "$peers/lib/" \;
}
fetch libgfortran.so.5 libgfortran5
fetch libgomp.so.1 libgomp1
fetch libopenblas.so.0 libopenblas0-pthread
fetch libblis.so.4 libblis4-pthread
fetch libOpenCL.so.1 ocl-icd-libopencl1  # libdnnl does not load without it
fetch libdnnl.so.2 libdnnl2
fetch libcpuinfo.so.0 libcpuinfo0
fetch libpthreadpool.so.0 libpthreadpool0
fetch libXNNPACK.so.0 libxnnpack0  # after those that it loads

# libtorch with everything that apt would install for it. OpenBLAS is its BLAS.
if [ ! -e "$peers/lib/libtorch.so.1.13" ] && command -v apt-get >/dev/null; then
  mapfile -t wanted < <(apt-get install -s --no-install-recommends libtorch1.13 2>/dev/null |
    awk '/^Inst/ { print $2 }')
  wanted+=(libtorch-dev libgoogle-glog-dev libgflags-dev)
  if (cd "$peers/packages" && apt-get download -qq "${wanted[@]}" 2>/dev/null); then
    for package in "${wanted[@]}"; do dpkg -x "$peers/packages/${package}"_*.deb "$peers/root"; done
    find "$peers/root" -name '*.so*' -not -path '*/blis-*' -exec ln -sf {} "$peers/lib/" \;
  else
    echo "cannot fetch libtorch1.13: libtorch is left out"
  fi
fi
torch=$(for d in /usr/include "$peers/root/usr/include"; do
  [ -e "$d/torch/csrc/api/include/torch/torch.h" ] && echo "$d" && break; done || true)
newest=$(find benchmarks/peers/torch -newer "$peers/lib/libadze_torch.so" 2>/dev/null || echo none)
if [ -n "$torch" ] && [ -n "$newest" ]; then  # half a minute
  g++ -std=c++17 -O2 -fopenmp -fPIC -shared -w -isystem "$torch" \
    -isystem "$torch/torch/csrc/api/include" benchmarks/peers/torch/library.cpp \
    -o "$peers/lib/libadze_torch.so" -L"$peers/lib" -Wl,-rpath-link,"$peers/lib" \
    -ltorch -ltorch_cpu -lc10 -lglog -ldl || echo "libtorch is left out"
fi

eigen=$(for d in /usr/include/eigen3 /usr/local/include/eigen3 "$peers/root/usr/include/eigen3"; do
  [ -e "$d/Eigen/Core" ] && echo "$d" && break; done || true)
for pair in gcc:g++ clang:clang++; do
  compiler=${pair#*:}
  if [ -z "$eigen" ] || ! command -v "$compiler" >/dev/null; then continue; fi
  "$compiler" -std=c++17 -O3 -march=native -DNDEBUG -fPIC -shared -w -isystem "$eigen" -x c++ \
    benchmarks/peers/eigen_sgemm.hpp -o "$peers/lib/libadze_eigen_${pair%:*}.so"
done
export LD_LIBRARY_PATH=$peers/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# ---- our programs, by both compilers: the slower of the two is what we may claim
head_text() {
  cat <<'TEXT'
# Benchmarks

Printed by `scripts/bench_peers.sh`; only the section on what resists is written by hand. How to read it:

- Every candidate is compared with a reference before and after it is timed; a wrong one gets no number.
- All candidates of a problem run in the same process, in rounds, each once a round in an order drawn anew. *Speed over it* is
  the median of the ratios of each round (above 1: ours is faster) with an interval that holds for the whole table; a difference
  below the minimum effect or the measured noise is a tie.
- *% of roof* compares with what this machine reaches: `ops` with its multiply-add peak, `mem` with the bandwidth of the cache
  level (or memory) that holds the operands. The operations counted are those of the definition: a convolution by Winograd's
  filtering, which multiplies less, is marked where it is above 100.
- `~` marks rows during which the machine gave less than 95 % of its peak: ratios hold, rates do not.
- The lines below each table measure a row again.

TEXT
}
# measure PROGRAM OUTPUT ARGUMENT...: one run, its table on the page, its other files as OUTPUT.*
measure() {
  local program=$1 to=$peers/$2
  shift 2
  "$peers/$program-$compiler" --label "built by $compiler" --markdown "$to.md" --json "$to.json" \
    --html "$to.html" --svg "$to.svg" "$@"
  sed "s|$peers/|build/peers/|g" "$to.md" >>"$peers/page.md"
  echo >>"$peers/page.md"
}
rm -f "$peers"/*.json "$peers/page.md"
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  for program in "${programs[@]}"; do
    flags="$compiler -O3 -march=native"
    own=()
    [ "$program" = steps ] && own=(--threads 1,2)  # libtorch's better of both, against ours of both
    "$compiler" -std=c++20 -O3 -march=native -Iinclude -DADZE_FLAGS="\"$flags\"" \
      -DADZE_PROBLEMS="\"$PWD/benchmarks/problems\"" benchmarks/$program.cpp \
      -o "$peers/$program-$compiler" -pthread -ldl
    measure "$program" "$program-$compiler" ${own[@]+"${own[@]}"} ${arguments[@]+"${arguments[@]}"}
    if [ "$program" = gemm ] && [ -z "$quick" ]; then
      measure gemm "gemm-2-threads-$compiler" --threads 2 --filter '#cube' \
        ${arguments[@]+"${arguments[@]}"}
    fi
  done
done
{
  head_text
  command -v python3 >/dev/null && python3 scripts/goals.py benchmarks/goals.txt "$peers"/*.json
  cat benchmarks/attempts.md
  cat "$peers/page.md"
} >"$peers/new.md"
cp "$peers/new.md" "$output"
echo "Written: $output; pages and JSON in build/peers"
