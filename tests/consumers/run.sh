#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Users' projects: adze by find_package from an installed and then moved folder, by
# add_subdirectory, as a Meson subproject and by pkg-config with a plain compiler call. Each links
# two translation units built for different instruction sets, in both orders, and runs.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cxx=${CXX:-g++}
wide=
[ "$(uname -m)" = x86_64 ] && wide="-mavx2 -mfma -mf16c"
unset CXXFLAGS CPPFLAGS LDFLAGS
passed=0 failed=0

check() {  # check NAME FUNCTION: builds in $scratch/NAME, where both programs must then agree
  mkdir -p "$scratch/$1"
  cp "$here"/* "$scratch/$1/"
  if (cd "$scratch/$1" && "$2" && cd build && ./baseline_first >one && ./wide_first >two &&
    diff one two) >"$scratch/log" 2>&1; then
    passed=$((passed + 1))
    echo "$1: passed"
  else
    failed=$((failed + 1))
    echo "$1: failed"
    tail -30 "$scratch/log"
  fi
}

with_cmake() {
  cmake -S . -B build -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_CXX_FLAGS=-O1 \
    "-DWIDE_FLAGS=${wide// /;}" "$@" && cmake --build build
}

install_cmake() {
  cmake -S "$root" -B library -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DADZE_BUILD_TESTS=OFF \
    -DADZE_BUILD_BENCHMARKS=OFF -DADZE_BUILD_EXAMPLES=OFF "$@" &&
    cmake --install library --prefix "$PWD/installed" && mv installed moved
}

install_meson() {
  CXX=$cxx meson setup library "$root" --prefix "$PWD/installed" -Dtests=disabled \
    -Dbenchmarks=disabled -Dexamples=disabled && meson install -C library && mv installed moved
}

package() { install_cmake && with_cmake -DCMAKE_PREFIX_PATH="$PWD/moved"; }
package_of_meson() { install_meson && with_cmake -DCMAKE_PREFIX_PATH="$PWD/moved"; }
package_and_headers_apart() {
  install_cmake -DCMAKE_INSTALL_INCLUDEDIR="$PWD/headers" &&
    [ "$(PKG_CONFIG_PATH=moved/share/pkgconfig pkg-config --variable=includedir adze)" = "$PWD/headers" ] &&
    with_cmake -DCMAKE_PREFIX_PATH="$PWD/moved"
}
subdirectory() { with_cmake -DADZE_SOURCE="$root"; }

meson_subproject() {
  mkdir subprojects && ln -s "$root" subprojects/adze &&
    CXX=$cxx meson setup build "-Dwide_flags=${wide// /,}" && meson compile -C build
}

pkg_config() {
  install_cmake && mkdir build && export PKG_CONFIG_PATH=$PWD/moved/share/pkgconfig &&
    pkg-config --validate adze || return
  local flags libraries
  flags="-std=c++20 -O1 $(pkg-config --cflags adze)"
  libraries=$(pkg-config --libs adze)
  $cxx $flags -c main.cpp -o main.o && $cxx $flags -c baseline.cpp -o baseline.o &&
    $cxx $flags $wide -c wide.cpp -o wide.o &&
    $cxx main.o baseline.o wide.o -o build/baseline_first $libraries &&
    $cxx main.o wide.o baseline.o -o build/wide_first $libraries
}

check find_package package
check find_package_and_headers_apart package_and_headers_apart
check add_subdirectory subdirectory
check pkg_config pkg_config
if command -v meson >/dev/null; then
  check meson_subproject meson_subproject
  check find_package_of_meson package_of_meson
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
