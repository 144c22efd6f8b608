// SPDX-License-Identifier: MIT
// Matrix products against the libraries found on this machine (peers/blas.hpp). Problem lines:
//   gemm <name> m= n= k= [a=t] [b=t]      c[m,n] = a[m,k] b[k,n], row-major; t: stored transposed
//   gemm_packed <name> m= n= k= [b=t]     the same with b packed before, against layers of oneDNN
//   and XNNPACK
// Of problems with the tag #cube our product on one thread is a candidate, too, for sweeps of
// threads. The error is the largest in units of u |A||B|; sampled rows are compared with double
// sums, and all rows by c x = a (b x) with random signs x.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include <adze/bench/session.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/gemm_packed.hpp>
#include <adze/kernels/reference.hpp>

#include "allocation_count.hpp"
#include "peers/blas.hpp"
#include "peers/dnnl_product.hpp"
#include "peers/xnnpack.hpp"

namespace {

using namespace adze;

// One problem: operands in as many sets as the cache state needs, and the truth about set 0.
class product_problem {
 public:
  product_problem(const bench::problem& p, index_t sets)
      : shape_{p.word("a") == "t", p.word("b") == "t", p.size("m"), p.size("n"), p.size("k")},
        a_(sets * shape_.m * shape_.k), b_(sets * shape_.k * shape_.n),
        c_(sets * shape_.m * shape_.n) {
    uniform_fill(a_.data(), 0, a_.size(), random_state{1}, -1.0f, 1.0f);
    uniform_fill(b_.data(), 0, b_.size(), random_state{2}, -1.0f, 1.0f);
    prepare_truth();
  }

  const peers::product& shape() const { return shape_; }
  matrix<const float> a(index_t set = 0) const {
    const auto [m, k] = std::pair{shape_.m, shape_.k};
    const float* data = a_.data() + set * m * k;
    return shape_.transpose_a ? dense_matrix(data, k, m).transposed() : dense_matrix(data, m, k);
  }
  matrix<const float> b(index_t set = 0) const {
    const auto [k, n] = std::pair{shape_.k, shape_.n};
    const float* data = b_.data() + set * k * n;
    return shape_.transpose_b ? dense_matrix(data, n, k).transposed() : dense_matrix(data, k, n);
  }
  matrix<float> c(index_t set = 0) const {
    return dense_matrix(c_.data() + set * shape_.m * shape_.n, shape_.m, shape_.n);
  }

  bench::work cost() const {
    const auto [m, n, k] = std::tuple{double(shape_.m), double(shape_.n), double(shape_.k)};
    return {.operations = 2 * m * n * k, .read = 4 * (m * k + k * n), .written = 4 * m * n};
  }

  void spoil() {
    std::fill_n(c_.data(), shape_.m * shape_.n, std::numeric_limits<float>::quiet_NaN());
  }

  double error() const {
    double worst = 0;
    const auto note = [&](double difference, double size) {
      const double e = std::fabs(difference) / (0x1p-24 * size + 1e-300);
      if (!(e <= worst)) worst = e;  // NaN as well
    };
    for (std::size_t s = 0; s < rows_.size(); ++s) {
      const index_t row = static_cast<index_t>(s) * shape_.n;
      for (index_t j = 0; j < shape_.n; ++j)
        note(double(c()(rows_[s], j)) - truth_[row + j], size_[row + j]);
    }
    for (index_t i = 0; i < shape_.m; ++i) {
      const auto row = static_cast<std::size_t>(i);
      double sum = 0;
      for (index_t j = 0; j < shape_.n; ++j) {
        sum += double(c()(i, j)) * signs_[static_cast<std::size_t>(j)];
      }
      note(sum - signed_truth_[row], signed_size_[row]);
    }
    return worst;
  }

 private:
  void prepare_truth() {
    const auto [m, n, k] = std::tuple{shape_.m, shape_.n, shape_.k};
    const index_t count =
        std::clamp<index_t>((index_t(1) << 24) / std::max<index_t>(n * k, 1), 3, 64);
    for (index_t s = 0; s < std::min(count, m); ++s)
      rows_.push_back(s * (m - 1) / std::max<index_t>(std::min(count, m) - 1, 1));
    const auto sampled = static_cast<index_t>(rows_.size());
    truth_ = bench::aligned_buffer<double>(sampled * n);
    size_ = bench::aligned_buffer<double>(sampled * n);
    for (index_t s = 0; s < sampled; ++s) {
      auto row = a();
      row.data += rows_[static_cast<std::size_t>(s)] * row.row_stride;
      row.rows = 1;
      kernels::reference::gemm<float>(row, b(), dense_matrix(truth_.data() + s * n, 1, n),
                                      dense_matrix(size_.data() + s * n, 1, n));
    }
    generator random(3);
    for (index_t j = 0; j < n; ++j) signs_.push_back(random.below(2) == 0 ? -1 : 1);
    std::vector<double> bx, b_size;  // b x and |b| 1
    for (index_t l = 0; l < k; ++l) {
      double sum = 0, size = 0;
      for (index_t j = 0; j < n; ++j) {
        sum += double(b()(l, j)) * signs_[static_cast<std::size_t>(j)];
        size += std::fabs(b()(l, j));
      }
      bx.push_back(sum);
      b_size.push_back(size);
    }
    for (index_t i = 0; i < m; ++i) {
      double sum = 0, size = 0;
      for (index_t l = 0; l < k; ++l) {
        sum += double(a()(i, l)) * bx[static_cast<std::size_t>(l)];
        size += std::fabs(a()(i, l)) * b_size[static_cast<std::size_t>(l)];
      }
      signed_truth_.push_back(sum);
      signed_size_.push_back(size);
    }
  }

  peers::product shape_;
  bench::aligned_buffer<float> a_, b_, c_;
  std::vector<index_t> rows_;  // compared element by element
  bench::aligned_buffer<double> truth_{0}, size_{0};
  std::vector<double> signs_, signed_truth_, signed_size_;
};

void measure(bench::session& run, const bench::problem& p, product_problem& x, index_t sets,
             std::vector<bench::candidate> all) {
  run.measure({.shape = p,
               .cost = x.cost(),
               .sets = sets,
               .spoil = [&] { x.spoil(); },
               .error = [&] { return x.error(); },
               .tolerance = 6},
              std::move(all));
}

void measure_product(bench::session& run, const bench::problem& p, index_t sets,
                     const std::vector<peers::sgemm_peer>& found) {
  product_problem x(p, sets);
  const auto own = [&](index_t set) { kernels::gemm(x.a(set), x.b(set), x.c(set)); };
  std::vector<bench::candidate> all{{"adze", own}};
  if (std::find(p.tags.begin(), p.tags.end(), "cube") != p.tags.end())
    all.emplace_back("adze on one", [&](index_t set) {
      const int n = threads();  // as the sweep has set it by now
      set_threads(1);
      own(set);
      set_threads(n);
    });
  for (const peers::sgemm_peer& peer : found)
    all.emplace_back(peer.name, [&](index_t set) {
      peer(x.shape(), x.a(set).data, x.b(set).data, x.c(set).data);
    });
  measure(run, p, x, sets, std::move(all));
}

void measure_packed(bench::session& run, const bench::problem& p, index_t sets) {
  product_problem x(p, sets);
  std::vector<kernels::packed_right<float>> own;
  std::vector<std::unique_ptr<peers::dnnl_product>> layers[2];
  for (index_t i = 0; i < sets; ++i) {
    own.emplace_back(x.b(i));
    for (const bool inner : {false, true})
      layers[inner].push_back(std::make_unique<peers::dnnl_product>(
          peers::dnnl_product::problem{.m = p.size("m"),
                                       .n = p.size("n"),
                                       .k = p.size("k"),
                                       .type = peers::dnnl_product::left::f32,
                                       .b_transposed = p.word("b") == "t",
                                       .as_inner_product = inner},
          x.b(i).data));
  }
  const auto at = [](auto& list, index_t i) -> auto& { return list[static_cast<std::size_t>(i)]; };
  std::vector<bench::candidate> all;
  all.emplace_back("adze", [&](index_t i) { kernels::gemm<float>(x.a(i), at(own, i), x.c(i)); });
  all.emplace_back("adze unpacked", [&](index_t i) { kernels::gemm(x.a(i), x.b(i), x.c(i)); });
  for (const bool inner : {false, true}) {
    if (!*layers[inner][0]) continue;
    all.emplace_back(inner ? "oneDNN inner product" : "oneDNN matmul",
                     [&, inner](index_t i) { (*at(layers[inner], i))(x.a(i).data, x.c(i).data); });
  }
  // XNNPACK's layers belong to their operands too.
  peers::xnnpack& xnnpack = peers::xnnpack::found();
  std::vector<void*> dense;
  for (index_t i = 0; i < sets && xnnpack && run.wants("XNNPACK"); ++i) {
    const peers::xnnpack::dense_layer l{p.size("m"), p.size("n"), p.size("k"), p.word("b") == "t",
                                        x.b(i).data};
    void* const layer = xnnpack.make(l);
    if (layer && xnnpack.prepare(layer, l, x.a(i).data, x.c(i).data, 1)) dense.push_back(layer);
  }
  if (sets > 0 && std::ssize(dense) == sets)
    all.emplace_back("XNNPACK", [&](index_t i) {
      if (!xnnpack.run(at(dense, i), 1)) x.spoil();  // no result, no number
    });
  measure(run, p, x, sets, std::move(all));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<peers::sgemm_peer> found;
  const bench::program_facts about{
      .name = "gemm",
      .about = "matrix products of floats",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"gemm"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
      .on_threads =
          [&](int n) {
            for (const peers::sgemm_peer& p : found)
              if (p.threads_function != nullptr) p.set_threads(p, n);
            peers::dnnl_product::set_threads(n);
          },
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    found = peers::sgemm_peers();
    for (const peers::sgemm_peer& p : found) run.add_fact(p.name, p.version);
    for (const bench::problem& p : run.problems({"gemm", "gemm_packed"})) {
      const index_t sets = run.sets(
          4.0 * static_cast<double>(p.size("m") * p.size("k") + p.size("k") * p.size("n")));
      if (p.kernel == "gemm_packed")
        measure_packed(run, p, sets);
      else
        measure_product(run, p, sets, found);
    }
  });
}
