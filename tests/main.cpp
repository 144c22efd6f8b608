// SPDX-License-Identifier: MIT
// The test program's main. The cases stand in the files that sources.txt lists.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
