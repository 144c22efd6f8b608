// SPDX-License-Identifier: MIT
// Linear layers held in 16 bits beside the same layer in f32: what the conversion costs where
// arithmetic decides, and what it gains where memory does. Problem lines:
//   gemm_16bit <name> m= n= k= type=bf16|f16     y[m,n] = x[m,k] w[n,k]^T
// The f32 layer has the same values. An error of 1 is half a step of the result's type and the
// roundings that f32 sums may have, 6 u |x||w|.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <adze/adze.hpp>
#include <adze/bench/session.hpp>
#include <adze/kernels/reference.hpp>

#include "allocation_count.hpp"

namespace {

using namespace adze;

struct layer {
  tensor x, w, y;
  void run() {
    y = {};  // its memory serves the next result
    y = linear(x, w);
  }
};

// Rows of the exact product, and of the product of sizes.
struct truth {
  std::vector<double> value, size;
  truth(const tensor& x, const tensor& w, index_t rows) {
    const index_t n = w.size(0), k = w.size(1);
    value.resize(static_cast<std::size_t>(rows * n)), size = value;
    kernels::reference::gemm<float>(
        dense_matrix<const float>(x.data_as<float>(), rows, k),
        dense_matrix<const float>(w.data_as<float>(), n, k).transposed(),
        dense_matrix(value.data(), rows, n), dense_matrix(size.data(), rows, n));
  }
  double error(const tensor& y, double half_step) const {
    if (!y.defined()) return std::nan("");
    const tensor wide = cast(y, f32);
    double worst = 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double off = std::fabs(static_cast<double>(wide.data_as<float>()[i]) - value[i]);
      const double e = off / (half_step * std::fabs(value[i]) + 6 * 0x1p-24 * size[i]);
      if (!(e <= worst)) worst = e;  // NaN as well
    }
    return worst;
  }
};

void measure(bench::session& run, const bench::problem& p) {
  const index_t m = p.size("m"), n = p.size("n"), k = p.size("k");
  const std::string name = p.word("type");
  if (name != "bf16" && name != "f16")
    raise<value_error>("gemm_16bit: type is bf16 or f16; received '", name, "'");
  const dtype type = name == "bf16" ? bf16 : f16;
  manual_seed(1);
  layer narrow{cast(rand({m, k}) - 0.5, type), cast(rand({n, k}) - 0.5, type), {}};
  layer wide{cast(narrow.x, f32), cast(narrow.w, f32), {}};
  const truth exact(wide.x, wide.w, std::min<index_t>(m, 4));
  const layer* last = nullptr;
  std::vector<bench::candidate> all;
  all.emplace_back("adze", [&] { last = &narrow, narrow.run(); });
  all.emplace_back("adze f32", [&] { last = &wide, wide.run(); });
  const double half_step = type == bf16 ? 0x1p-8 : 0x1p-11;
  run.measure({.shape = p,
               .cost = {.operations = 2.0 * double(m) * double(n) * double(k),
                        .read = 2.0 * double((m + n) * k),
                        .written = 2.0 * double(m * n)},
               .spoil = [&] { narrow.y = {}, wide.y = {}; },
               .error = [&] { return exact.error(last->y, last == &narrow ? half_step : 0); },
               .tolerance = 1},
              std::move(all));
}

}  // namespace

int main(int argc, char** argv) {
  const bench::program_facts about{
      .name = "gemm_16bit",
      .about = "linear layers held in 16 bits",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"gemm_16bit"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    const no_grad guard;
    for (const bench::problem& p : run.problems({"gemm_16bit"})) measure(run, p);
  });
}
