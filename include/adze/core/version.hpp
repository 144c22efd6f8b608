#pragma once
// SPDX-License-Identifier: MIT
// The version of the library, and a line on how this program was built, for reports.
// The file VERSION at the root says the same number; the layout test compares the two.
#include <string>
#include <string_view>

namespace adze {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;
inline constexpr std::string_view version_text = "0.1.0";

// "adze 0.1.0, compiler 12.2.0, C++ 202002": what a benchmark's figures need beside the machine.
inline std::string build_info() {
  return "adze " + std::string(version_text) + ", compiler " __VERSION__ ", C++ " +
         std::to_string(__cplusplus);
}

}  // namespace adze
