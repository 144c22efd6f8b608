// SPDX-License-Identifier: MIT
// Products of integer codes with packed weights, to floats, against own floats and oneDNN. Problem
// lines:
//   gemm_int8 <name> m= n= k= [a=u8|u7|s8|s16] [b=s7|s8|s16]
// c[m,n] = (a[m,k] - 7) b[k,n] / 1024 with exact sums; the tolerance is 0: sampled rows are
// compared with sums of 64-bit integers, and all rows by c x = a (b x) with random signs x.
// oneDNN's bias holds what the zero point takes away. `float` is our product of floats of the same
// sizes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include <adze/bench/session.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/gemm.hpp>
#include <adze/kernels/gemm_int8.hpp>

#include "allocation_count.hpp"
#include "peers/dnnl_product.hpp"

namespace {

using namespace adze;

constexpr std::int32_t zero = 7;
constexpr float scale = 0x1p-10f;

template <class T>
void fill(bench::aligned_buffer<T>& x, std::int64_t low, std::int64_t high, std::uint64_t seed) {
  generator random(seed);
  for (T& v : std::span(x.data(), static_cast<std::size_t>(x.size())))
    v = static_cast<T>(low + random.below(high - low + 1));
}

// One problem with codes T and weights W: operands in as many sets as the cache state needs.
template <class T, class W> class integer_problem {
 public:
  integer_problem(const bench::problem& p, index_t sets)
      : m_(p.size("m")), n_(p.size("n")), k_(p.size("k")), a_(sets * m_ * k_), b_(k_ * n_),
        c_(sets * m_ * n_), left_f32_(sets * m_ * k_), right_f32_(sets * k_ * n_), sets_(sets) {
    const std::string a = p.word("a", "u8"), b = p.word("b", "s7");
    const bool words = a == "s16";
    const bool is_signed = a == "s8";
    // Words as small as bytes: a float then holds every sum exactly.
    fill(a_, words || is_signed ? -128 : 0, a == "u8" ? 255 : 127, 1);
    fill(b_, words || b == "s8" ? -128 : -64, words || b == "s8" ? 127 : 63, 2);
    left_ = words       ? kernels::left_codes::s16
            : is_signed ? kernels::left_codes::s8
            : a == "u7" ? kernels::left_codes::u7
                        : kernels::left_codes::u8;
    const auto right = dense_matrix<const W>(b_.data(), k_, n_);
    for (index_t s = 0; s < sets; ++s) {
      if constexpr (std::is_same_v<W, std::int8_t>)
        weights_.emplace_back(right, left_);
      else
        weights_.emplace_back(right);
    }
    for (index_t i = 0; i < left_f32_.size(); ++i) left_f32_.data()[i] = float(a_.data()[i] - zero);
    for (index_t i = 0; i < right_f32_.size(); ++i)  // [out, in]
      right_f32_.data()[i] = float(b_.data()[i % k_ * n_ + i / k_ % n_]) * scale;
    prepare_truth();
  }

  void run(index_t set) {
    static constexpr kernels::affine left{scale, zero};
    kernels::gemm_int8<T, float>(dense_matrix<const T>(a_.data() + set * m_ * k_, m_, k_),
                                 weights_[static_cast<std::size_t>(set)],
                                 dense_matrix(c_.data() + set * m_ * n_, m_, n_),
                                 {.left = {&left, false}});
  }
  void run_float(index_t set) {
    kernels::gemm(dense_matrix<const float>(left_f32_.data() + set * m_ * k_, m_, k_),
                  dense_matrix<const float>(right_f32_.data() + set * k_ * n_, n_, k_).transposed(),
                  dense_matrix(c_.data() + set * m_ * n_, m_, n_));
  }
  // oneDNN in one of its two ways, in as many sets; none where it has no such kernel.
  auto peer(bool as_inner_product) {
    std::vector<std::unique_ptr<peers::dnnl_product>> made;
    if constexpr (sizeof(T) == 1 && sizeof(W) == 1) {
      std::vector<float> bias;
      for (index_t j = 0; j < n_; ++j) bias.push_back(float(-zero * weights_[0].column_sums()[j]));
      for (index_t s = 0; s < sets_; ++s)
        made.push_back(std::make_unique<peers::dnnl_product>(
            peers::dnnl_product::problem{.m = m_,
                                         .n = n_,
                                         .k = k_,
                                         .type = std::is_signed_v<T>
                                                     ? peers::dnnl_product::left::s8
                                                     : peers::dnnl_product::left::u8,
                                         .scale = scale,
                                         .bias = bias.data(),
                                         .as_inner_product = as_inner_product},
            b_.data()));
    }
    return made;
  }
  void run_peer(peers::dnnl_product& p, index_t set) {
    p(a_.data() + set * m_ * k_, c_.data() + set * m_ * n_);
  }

  bench::work cost() const {
    const double m = double(m_), n = double(n_), k = double(k_);
    return {.operations = 2 * m * n * k,
            .read = double(sizeof(T)) * m * k + double(sizeof(W)) * k * n,
            .written = 4 * m * n,
            .unit = bench::arithmetic::i8};
  }
  void spoil() { std::fill_n(c_.data(), m_ * n_, std::numeric_limits<float>::quiet_NaN()); }

  double error() const {
    double worst = 0;
    const auto note = [&](double difference) {
      if (!(std::fabs(difference) <= worst)) worst = std::fabs(difference);  // NaN as well
    };
    for (std::size_t s = 0; s < rows_.size(); ++s)
      for (index_t j = 0; j < n_; ++j)
        note(double(c_.data()[rows_[s] * n_ + j]) - truth_[s * std::size_t(n_) + std::size_t(j)]);
    for (index_t i = 0; i < m_; ++i) {
      double sum = 0;
      for (index_t j = 0; j < n_; ++j)
        sum += double(c_.data()[i * n_ + j]) * signs_[static_cast<std::size_t>(j)];
      note(sum - signed_truth_[static_cast<std::size_t>(i)]);
    }
    return worst;
  }

 private:
  void prepare_truth() {
    const auto exact = [&](std::int64_t sum) { return double(sum) * double(scale); };
    const index_t count = std::min(
        m_, std::clamp<index_t>((index_t(1) << 24) / std::max<index_t>(n_ * k_, 1), 3, 64));
    for (index_t s = 0; s < count; ++s) {
      const index_t row = s * (m_ - 1) / std::max<index_t>(count - 1, 1);
      rows_.push_back(row);
      std::vector<std::int64_t> sums(static_cast<std::size_t>(n_));
      for (index_t l = 0; l < k_; ++l)
        for (index_t j = 0; j < n_; ++j)
          sums[static_cast<std::size_t>(j)] +=
              (std::int64_t(a_.data()[row * k_ + l]) - zero) * b_.data()[l * n_ + j];
      for (const std::int64_t sum : sums) truth_.push_back(exact(sum));
    }
    generator random(3);
    for (index_t j = 0; j < n_; ++j) signs_.push_back(random.below(2) == 0 ? -1 : 1);
    std::vector<std::int64_t> bx;
    for (index_t l = 0; l < k_; ++l) {
      std::int64_t sum = 0;
      for (index_t j = 0; j < n_; ++j)
        sum += b_.data()[l * n_ + j] * std::int64_t(signs_[static_cast<std::size_t>(j)]);
      bx.push_back(sum);
    }
    for (index_t i = 0; i < m_; ++i) {
      std::int64_t sum = 0;
      for (index_t l = 0; l < k_; ++l)
        sum += (std::int64_t(a_.data()[i * k_ + l]) - zero) * bx[static_cast<std::size_t>(l)];
      signed_truth_.push_back(exact(sum));
    }
  }

  index_t m_, n_, k_;
  bench::aligned_buffer<T> a_;
  bench::aligned_buffer<W> b_;
  bench::aligned_buffer<float> c_, left_f32_, right_f32_;
  index_t sets_;
  kernels::left_codes left_ = kernels::left_codes::u8;
  std::vector<kernels::integer_weights<>> weights_;
  std::vector<index_t> rows_;  // compared element by element
  std::vector<double> truth_, signs_, signed_truth_;
};

template <class T, class W> void measure(bench::session& run, const bench::problem& p) {
  const double bytes = double(p.size("m") * p.size("k") + p.size("k") * p.size("n"));
  const index_t sets = run.sets(bytes);
  integer_problem<T, W> x(p, sets);
  const auto matmul = x.peer(false), inner = x.peer(true);
  std::vector<bench::candidate> all;
  all.emplace_back("adze", [&](index_t set) { x.run(set); });
  const auto add = [&](const char* name, const auto& made) {
    if (made.empty() || !*made[0]) return;
    all.emplace_back(name,
                     [&](index_t set) { x.run_peer(*made[static_cast<std::size_t>(set)], set); });
  };
  all.emplace_back("float", [&](index_t set) { x.run_float(set); });
  add("oneDNN matmul", matmul);
  add("oneDNN inner", inner);
  const bench::task t{.shape = p,
                      .cost = x.cost(),
                      .sets = sets,
                      .spoil = [&] { x.spoil(); },
                      .error = [&] { return x.error(); },
                      .tolerance = 0};
  run.measure(t, std::move(all));
}

}  // namespace

int main(int argc, char** argv) {
  const bench::program_facts about{
      .name = "gemm_int8",
      .about = "matrix products of integer codes",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"gemm_int8"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
      .on_threads = peers::dnnl_product::set_threads,
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    peers::dnnl_product::set_threads(1);
    for (const bench::problem& p : run.problems({"gemm_int8"})) {
      const std::string a = p.word("a", "u8");
      if (a == "s16" && p.word("b") == "s16")
        measure<std::int16_t, std::int16_t>(run, p);
      else if (a == "s8")
        measure<std::int8_t, std::int8_t>(run, p);
      else
        measure<std::uint8_t, std::int8_t>(run, p);
    }
  });
}
