#pragma once
// SPDX-License-Identifier: MIT
// Random bits by counter: Philox4x32-10 (Salmon et al. 2011), and places in its streams.
#include <array>
#include <cstddef>
#include <cstdint>

namespace adze {

// Ten rounds of Philox: 128 random bits for each counter, by a bijection chosen by the key.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t even = std::uint64_t{0xd2511f53} * counter[0];
    const std::uint64_t odd = std::uint64_t{0xcd9e8d57} * counter[2];
    counter = {static_cast<std::uint32_t>(odd >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(odd),
               static_cast<std::uint32_t>(even >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(even)};
    key = {key[0] + 0x9e3779b9u, key[1] + 0xbb67ae85u};
  }
  return counter;
}

// A place in the stream of a seed, in blocks of 128 bits. All the state that a generator has.
struct random_state {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;

  // The words of the block `index` places further on, for the `attempt`-th try at it.
  [[gnu::noinline]] constexpr std::array<std::uint32_t, 4> block(std::uint64_t index,
                                                                 std::uint32_t attempt = 0) const {
    const std::uint64_t at = offset + index;
    return philox4x32(
        {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at >> 32), attempt, 0},
        {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  }
  // So many blocks in a row, the i-th word of all of them side by side: compilers make vectors of
  // this, two to seven times as fast as one block after the other.
  static constexpr std::size_t group = 32;
  using word_group = std::array<std::array<std::uint32_t, group>, 4>;
  [[gnu::noinline]] void blocks(std::uint64_t index, word_group& w) const {
    const std::uint64_t first = offset + index;
    for (std::size_t i = 0; i < group; ++i) {
      w[0][i] = static_cast<std::uint32_t>(first + i);
      w[1][i] = static_cast<std::uint32_t>((first + i) >> 32);
      w[2][i] = w[3][i] = 0;
    }
    auto key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
      for (std::size_t i = 0; i < group; ++i) {
        const std::uint64_t even = std::uint64_t{0xd2511f53} * w[0][i];
        const std::uint64_t odd = std::uint64_t{0xcd9e8d57} * w[2][i];
        w[0][i] = static_cast<std::uint32_t>(odd >> 32) ^ w[1][i] ^ key0;
        w[2][i] = static_cast<std::uint32_t>(even >> 32) ^ w[3][i] ^ key1;
        w[1][i] = static_cast<std::uint32_t>(odd);
        w[3][i] = static_cast<std::uint32_t>(even);
      }
    }
  }
  friend constexpr bool operator==(const random_state&, const random_state&) = default;
};

}  // namespace adze
