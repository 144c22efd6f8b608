# SPDX-License-Identifier: MIT
# Sourced by the other scripts: require NAME... installs what is missing on Debian-like systems
# and names it elsewhere. Nothing is asked of the network when nothing is missing.

header_found() {  # header_found COMPILER HEADER
  echo "#include <$2>" | "$1" -std=c++20 -x c++ -fsyntax-only -isystem /usr/include/eigen3 - 2>/dev/null
}

sanitizers_linked() {  # has clang++ the libraries of its sanitizers?
  local program status
  program=$(mktemp) || return
  echo 'int main() {}' | clang++ -x c++ -fsanitize=address,undefined - -o "$program"
  status=$?
  rm -f "$program"
  return $status
}

found() {  # found DEBIAN-PACKAGE: is what it brings here, from wherever?
  case $1 in
    g++ | cmake | clang | meson | python3 | pkg-config) command -v "$1" ;;
    clang-format) command -v clang-format-14 || command -v clang-format ;;
    ninja-build) command -v ninja || command -v ninja-build ;;
    libeigen3-dev) header_found "$cxx" Eigen/Core ;;
    libxsimd-dev) header_found "$cxx" xsimd/xsimd.hpp ;;
    doctest-dev) header_found "$cxx" doctest/doctest.h ;;
    zlib1g-dev) header_found "$cxx" zlib.h ;;
    libclang-rt-*-dev) sanitizers_linked ;;
    *) dpkg -s "$1" ;;
  esac >/dev/null 2>&1
}

missing() {
  local package
  for package in "$@"; do
    found "$package" || echo "$package"
  done
}

require() {
  cxx=${CXX:-g++}
  local wanted
  wanted=$(missing "$@" | tr '\n' ' ')
  if [ -z "$wanted" ]; then return; fi
  local as_root=
  [ "$(id -u)" = 0 ] || as_root=sudo
  if command -v apt-get >/dev/null && { [ -z "$as_root" ] || command -v sudo >/dev/null; }; then
    echo "Installing: $wanted"
    # shellcheck disable=SC2086
    { $as_root apt-get update -qq &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $wanted >/dev/null; } || { echo "apt-get failed; please install: $wanted" >&2; exit 1; }
  else
    echo "Please install (names as in Debian): $wanted" >&2
    echo "  a C++20 compiler (g++ >= 12 or clang >= 14), cmake >= 3.22, ninja, and the headers of" >&2
    echo "  Eigen >= 3.3, xsimd >= 8.1, doctest 2.4 and zlib; the tests also need meson >= 1.0," >&2
    echo "  python3, pkg-config and clang >= 14 with the libraries of its sanitizers and clang-format" >&2
    exit 1
  fi
}

# As many compilers at once as there are cores, but 2 GB for each.
jobs() {
  local memory
  memory=$(awk '/MemTotal/ { print int($2 / 2000000) }' /proc/meminfo 2>/dev/null || echo 2)
  local cores
  cores=$(nproc 2>/dev/null || echo 2)
  echo $((memory < 1 ? 1 : memory < cores ? memory : cores))
}
