// SPDX-License-Identifier: MIT
// The dynamically quantized linear layer against layers of floats. Problem lines:
//   linear_int8 <name> m= n= k=             y[m,n] = x[m,k] w[n,k]^T + bias[n], all floats
//   linear_int4 <name> m= n= k= [group=64]  the same with weights of four bits
// x and w are drawn from few enough numbers that quantizing them loses nothing and all sums are
// exact, so that every candidate must give the same floats: the tolerance is 0. The float layers
// have the weights [out, in] and, but for ours, no bias to add.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <adze/bench/session.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/gemm_int4.hpp>
#include <adze/kernels/gemm_int8_linear.hpp>

#include "allocation_count.hpp"
#include "peers/blas.hpp"

namespace {

using namespace adze;

class linear_problem {
 public:
  linear_problem(const bench::problem& p, index_t sets)
      : m_(p.size("m")), n_(p.size("n")), k_(p.size("k")), x_(sets * m_ * k_), w_(sets * n_ * k_),
        y_(sets * m_ * n_), bias_(n_), scales_(n_) {
    // Codes of x: 0..255 less 128, or -127..127; each row has both ends. Of w: -63..63 with 63 in
    // each column, or -8..7.
    const bool four = p.kernel == "linear_int4";
    const std::int32_t low = four ? -127 : -128, unit = four ? 8 : 64;
    generator random(1);
    for (index_t i = 0; i < x_.size(); ++i)
      x_.data()[i] = static_cast<float>(low + random.below(128 - low)) / 32;
    for (index_t i = 0; i < sets * m_; ++i) {
      x_.data()[i * k_] = static_cast<float>(low) / 32;
      x_.data()[i * k_ + k_ / 2] = 127.0f / 32;
    }
    std::vector<std::int8_t> codes(static_cast<std::size_t>(n_ * k_));
    for (index_t i = 0; i < n_ * k_; ++i)
      codes[static_cast<std::size_t>(i)] =
          static_cast<std::int8_t>(four          ? random.below(16) - 8
                                   : i % k_ == 3 ? 63
                                                 : random.below(127) - 63);
    for (index_t i = 0; i < w_.size(); ++i)
      w_.data()[i] = static_cast<float>(codes[static_cast<std::size_t>(i % (n_ * k_))]) /
                     static_cast<float>(unit);
    std::fill_n(bias_.data(), n_, 0.0f);
    const auto view = dense_matrix(codes.data(), n_, k_).transposed();
    const index_t group = p.size("group", 64);
    const std::vector<float> groups(static_cast<std::size_t>((k_ + group - 1) / group * n_),
                                    0.125f);
    if (!four)
      kernels::quantize_columns(dense_matrix<const float>(w_.data(), n_, k_).transposed(), view,
                                scales_.data(), 63);
    for (index_t s = 0; s < sets; ++s) {
      if (four)
        packed4_.emplace_back(view, groups.data(), group);
      else
        packed_.emplace_back(matrix<const std::int8_t>(view), kernels::left_codes::u8);
    }
    weight_bytes_ = four ? 0.5 + 4.0 / double(group) : 1.0;
    for (index_t i = 0; i < m_; ++i)
      for (index_t j = 0; j < n_; ++j) {
        std::int64_t sum = 0;
        for (index_t q = 0; q < k_; ++q)
          sum += static_cast<std::int64_t>(x_.data()[i * k_ + q] * 32) *
                 codes[static_cast<std::size_t>(j * k_ + q)];
        truth_.push_back(static_cast<double>(sum) / (32 * unit));
      }
  }

  void run(index_t set, bool per_row) {
    kernels::dynamic_linear(x(set), packed_[static_cast<std::size_t>(set)], scales_.data(), y(set),
                            {.bias = bias_.data(), .per_row = per_row});
  }
  void run_int4(index_t set) {
    kernels::int4_linear(x(set), packed4_[static_cast<std::size_t>(set)], y(set),
                         {.bias = bias_.data()});
  }
  void run_float(index_t set) {
    kernels::gemm(x(set), dense_matrix<const float>(w(set), n_, k_).transposed(), y(set),
                  {.bias = bias_.data()});
  }
  void run_peer(const peers::sgemm_peer& peer, index_t set) {
    peer({false, true, m_, n_, k_}, x(set).data, w(set), y(set).data);
  }

  bench::work cost() const {
    const double m = double(m_), n = double(n_), k = double(k_);
    return {.operations = 2 * m * n * k,
            .read = 4 * m * k + weight_bytes_ * n * k,
            .written = 4 * m * n,
            .unit = bench::arithmetic::i8};
  }
  void spoil() { std::fill_n(y_.data(), m_ * n_, std::numeric_limits<float>::quiet_NaN()); }
  double error() const {
    double worst = 0;
    for (std::size_t i = 0; i < truth_.size(); ++i) {
      const double e = std::fabs(double(y_.data()[i]) - truth_[i]);
      if (!(e <= worst)) worst = e;  // NaN as well
    }
    return worst;
  }

 private:
  matrix<const float> x(index_t set) const {
    return dense_matrix<const float>(x_.data() + set * m_ * k_, m_, k_);
  }
  const float* w(index_t set) const { return w_.data() + set * n_ * k_; }
  matrix<float> y(index_t set) { return dense_matrix(y_.data() + set * m_ * n_, m_, n_); }

  index_t m_, n_, k_;
  bench::aligned_buffer<float> x_, w_, y_, bias_, scales_;
  std::vector<kernels::integer_weights<>> packed_;
  std::vector<kernels::int4_weights<>> packed4_;
  double weight_bytes_ = 1;
  std::vector<double> truth_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<peers::sgemm_peer> found;
  const bench::program_facts about{
      .name = "linear_int8",
      .about = "dynamically quantized linear layers",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"linear_int8"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
      .on_threads =
          [&](int n) {
            for (const peers::sgemm_peer& p : found)
              if (p.threads_function != nullptr) p.set_threads(p, n);
          },
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    found = peers::sgemm_peers();
    for (const peers::sgemm_peer& p : found) run.add_fact(p.name, p.version);
    for (const bench::problem& p : run.problems({"linear_int8", "linear_int4"})) {
      const index_t sets = run.sets(4.0 * static_cast<double>(p.size("n") * p.size("k")));
      linear_problem x(p, sets);
      std::vector<bench::candidate> all;
      if (p.kernel == "linear_int4") {
        all.emplace_back("adze", [&](index_t set) { x.run_int4(set); });
      } else {
        all.emplace_back("adze", [&](index_t set) { x.run(set, false); });
        all.emplace_back("adze per row", [&](index_t set) { x.run(set, true); });
      }
      all.emplace_back("adze float", [&](index_t set) { x.run_float(set); });
      for (const peers::sgemm_peer& peer : found)
        all.emplace_back(peer.name, [&](index_t set) { x.run_peer(peer, set); });
      const bench::task t{.shape = p,
                          .cost = x.cost(),
                          .sets = sets,
                          .spoil = [&] { x.spoil(); },
                          .error = [&] { return x.error(); },
                          .tolerance = 0};
      run.measure(t, std::move(all));
    }
  });
}
