#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From a fresh clone to a trained network: installs what is missing, builds examples/quickstart.cpp
# for this machine and runs it, then examples/quantize.cpp: a network in f32, bf16, int8 and int4.
#   scripts/quickstart.sh                trains on digits that the program draws itself
#   scripts/quickstart.sh --data DIR     trains on MNIST-format files (.gz too, where zlib is found)
# Everything else after the name goes to the first program as well.
set -euo pipefail
arguments=() data=()
while [ $# -gt 0 ]; do
  if [ "$1" = --data ] && [ $# -gt 1 ]; then
    data=(--data "$(realpath -- "$2")")
    arguments+=("${data[@]}")
    shift
  else
    arguments+=("$1")
  fi
  shift
done
cd "$(dirname "$0")/.."
. scripts/packages.sh
require g++ cmake ninja-build libeigen3-dev libxsimd-dev zlib1g-dev

build=build/quickstart
mkdir -p build
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DADZE_NATIVE=ON -DADZE_BUILD_TESTS=OFF \
  -DADZE_BUILD_BENCHMARKS=OFF >$build.log 2>&1 || { cat $build.log >&2; exit 1; }
build_and_run() {  # build_and_run PROGRAM ARGUMENTS...
  local program=$1
  shift
  echo "Compiling examples/$program.cpp ..."
  cmake --build $build --target "$program" -j "$(jobs)" >$build.log 2>&1 ||
    { cat $build.log >&2; exit 1; }
  $build/examples/"$program" "$@"
}
build_and_run quickstart "${arguments[@]}"
# What the library is for: the same kind of network in floats and in integers, side by side.
build_and_run quantize "${data[@]}"
