#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include <adze/bench/peaks.hpp>

namespace adze::bench {
namespace {

const machine host{.name = "test", .processor = "p", .caches = {{1, "Data", 32768}}};

TEST_CASE("peaks: kept text is read back") {
  const peaks p{
      .threads = 2,
      .f32 = 1.5e11,
      .f64 = 7.5e10,
      .i8 = 3e11,
      .levels = {{32768, 2e11, 1e11}, {std::numeric_limits<double>::infinity(), 2e10, 1e10}}};
  const peaks again = detail::peaks_from(detail::peaks_text(p));
  CHECK(again.threads == 2);
  CHECK(again.f32 == 1.5e11);
  CHECK(again.operations(arithmetic::f64) == 7.5e10);
  CHECK(again.operations(arithmetic::i8) == 3e11);
  REQUIRE(again.levels.size() == 2);
  CHECK(again.levels[0].copy == 1e11);
  CHECK(std::isinf(again.levels[1].capacity));
}

TEST_CASE("peaks: a damaged file is none") {
  const std::string good = "adze-peaks 1\nthreads 1\nf32 1e11\nlevel 1000 1e10 1e10\n";
  CHECK(detail::peaks_from(good).threads == 1);
  for (const char* bad :
       {"", "adze-peaks 2\nthreads 1\nf32 1e11\nlevel 1 1 1\n",
        "adze-peaks 1\nthreads 1\nf32 1e11\n", "adze-peaks 1\nthreads 0\nf32 1e11\nlevel 1 1 1\n",
        "adze-peaks 1\nthreads 1e9\nf32 1e11\nlevel 1 1 1\n",
        "adze-peaks 1\nthreads 1\nf32 -1\nlevel 1 1 1\n",
        "adze-peaks 1\nthreads 1\nf32 nan\nlevel 1 1 1\n",
        "adze-peaks 1\nthreads 1\nf32 1e11\nlevel 1 1\n",
        "adze-peaks 1\nthreads 1\nf32 1e11\nlevel 1 1 x\n",
        "adze-peaks 1\nthreads 1\nf32 1e11\nlevel 1 1 1\nsurprise 1\n"}) {
    CHECK(detail::peaks_from(bad).threads == 0);
  }
}

TEST_CASE("peaks: kept where the user's cache is, each host and thread count its own") {
  char folder[] = "/tmp/adze_peaks_XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  const char* old = std::getenv("XDG_CACHE_HOME");
  const std::string before = old == nullptr ? "" : old;
  ::setenv("XDG_CACHE_HOME", folder, 1);
  const std::string path = peaks_path(host, 1);
  CHECK(path.starts_with(std::string(folder) + "/adze/peaks-"));
  CHECK(path != peaks_path(host, 2));
  machine other = host;
  other.processor = "q";
  CHECK(path != peaks_path(other, 1));
  const peaks p{.threads = 1, .f32 = 1e15, .levels = {{1, 2, 3}, {2, 1e15, 1e15}}};
  CHECK(keep_peaks(p, path));
  const peaks again = peaks_of(host, 1);
  CHECK(again.f32 == 1e15);  // kept: nothing seen is more
  CHECK(again.levels[0].read == 2);
  keep_peaks({.threads = 1, .f32 = 1, .levels = {{1, 2, 3}}}, path);
  CHECK(peaks_of(host, 1).f32 > 1e6);  // raised, and kept
  CHECK(detail::peaks_from(detail::system_text(path)).f32 > 1e6);
  CHECK(!keep_peaks(p, "/no/such/folder/file"));
  CHECK(!keep_peaks(p, ""));
  ::unlink(path.c_str());
  ::rmdir((std::string(folder) + "/adze").c_str());
  ::rmdir(folder);
  old == nullptr ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

TEST_CASE("peaks: every loop of this machine runs and touches what it says") {
  const detail::probe_loops loops = detail::machine_loops();
  REQUIRE(bool(loops.f32.run));
  CHECK(loops.f32.operations > 0);
  loops.f32.run(3);
  if (loops.i8.run != nullptr) loops.i8.run(3);
  const aligned_buffer<char> from(2048), to(2048);
  for (index_t i = 0; i < 2048; ++i) from[i] = static_cast<char>(i % 127);
  loops.read.run(from.data(), to.data(), 2048);
  CHECK(to[7] == 0);
  for (const auto& loop : {loops.copy, loops.stream}) {
    std::fill_n(to.data(), 2048, char(0));
    loop.run(from.data() + 512, to.data() + 512, 1024);
    bool inside = true, outside = true;
    for (index_t i = 0; i < 2048; ++i) {
      const bool copied = i >= 512 && i < 1536;
      inside &= !copied || to[i] == from[i];
      outside &= copied || to[i] == 0;
    }
    CHECK(inside);
    CHECK(outside);
  }
}

TEST_CASE("peaks: of a cache that is shared, the part counts that is faster than the rest") {
  // What fits in `held` is read at 60, the rest at 20, above which come noise and 1 MiB of L2.
  const auto share = [](index_t bytes, index_t held) {
    return detail::share_of_cache(bytes, 1 << 20, [=](index_t n) {
      return (n <= held ? 60.0 : 20.0) * (n % 3 == 0 ? 1.1 : 1.0);
    });
  };
  CHECK(share(480 << 20, 480 << 20) == 480 << 20);
  CHECK(share(480 << 20, 70 << 20) == 120 << 20);
  CHECK(share(480 << 20, 16 << 20) == 30 << 20);
  CHECK(share(480 << 20, 0) == 480 << 20);
  CHECK(share(32 << 20, 6 << 20) == 8 << 20);
  CHECK(share(8 << 20, 1 << 20) == 8 << 20);
}

TEST_CASE("peaks: the machine describes itself without privileges") {
  const machine m = this_machine();
  CHECK(!m.processor.empty());
  CHECK(!m.caches.empty());
  CHECK(m.last_level() >= 1024);
  const facts block = environment(m, "-O2");
  CHECK(block.front().first == "date");
  CHECK(block.front().second.size() == 25);
  CHECK(block.back().first == "counters");
  for (const auto& [key, value] : block) CHECK(!value.empty());
  CHECK(detail::field("a b\t: x y\nmodel : z\n", "model") == "z");
  CHECK(detail::field("model name\t: x\nmodel : z\n", "model") == "z");
  CHECK(detail::field(": x\n", "model") == "");
  CHECK(detail::known_instructions("avx512fx avx2 sse4_2") == "sse4_2 avx2");
}

}  // namespace
}  // namespace adze::bench
