// SPDX-License-Identifier: MIT
// Convolutions, forward and both gradients, against oneDNN, and forward against XNNPACK, where they
// are found. Problem lines:
//   conv <name> n= c= h= w= o= k= [stride=] [pad=] [groups=] [direction=forward|data|weight]
// Our images are channels-last and our weights plain; oneDNN has every operand in the layout it
// prefers; `direct` is ours without Winograd, `packed` ours with weights made ready before. `by`
// says which of our kernels the shape went to, and by what property of it. The error is relative to
// the largest output.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <adze/bench/session.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/conv.hpp>

#include "allocation_count.hpp"
#include "peers/dnnl_conv.hpp"
#include "peers/xnnpack.hpp"

namespace {

using namespace adze;
using kernels::conv_shape;
using peers::direction;

conv_shape shape_of(const bench::problem& p) {
  const index_t k = p.size("k"), stride = p.size("stride", 1), pad = p.size("pad", 0);
  return {.n = p.size("n"),
          .c = p.size("c"),
          .h = p.size("h"),
          .w = p.size("w"),
          .o = p.size("o"),
          .kh = k,
          .kw = k,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad,
          .groups = p.size("groups", 1)};
}

template <class T> using buffer = bench::aligned_buffer<T>;

// [n, c, area] as [n, area, c].
template <class To, class From>
buffer<To> channels_last(const buffer<From>& from, index_t n, index_t c, index_t area) {
  buffer<To> to(n * c * area);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < c; ++j)
      for (index_t k = 0; k < area; ++k)
        to.data()[(i * area + k) * c + j] = To(from.data()[(i * c + j) * area + k]);
  return to;
}

// One problem: plain operands, ours, and the true result as we hold it.
class conv_problem {
 public:
  conv_problem(const conv_shape& s, direction d)
      : s_(s), d_(d), x(s.n * s.c * s.h * s.w), w(s.o * s.c / s.groups * s.kh * s.kw),
        y(s.n * s.o * s.out_h() * s.out_w()) {
    uniform_fill(x.data(), 0, x.size(), random_state{1}, -1.0f, 1.0f);
    uniform_fill(w.data(), 0, w.size(), random_state{2}, -1.0f, 1.0f);
    uniform_fill(y.data(), 0, y.size(), random_state{3}, -1.0f, 1.0f);
    x_ = channels_last<float>(x, s.n, s.c, s.h * s.w);
    y_ = channels_last<float>(y, s.n, s.o, s.out_h() * s.out_w());
    w_ = buffer<float>(w.size());
    std::copy_n(w.data(), w.size(), w_.data());
    truth_ = in_double();
    for (index_t i = 0; i < truth_.size(); ++i)
      largest_ = std::max(largest_, std::fabs(truth_.data()[i]));
  }

  using filter = kernels::packed_filter<float>;
  filter packed() const { return d_ == direction::forward ? filter(s_, w_.data()) : filter(); }

  void run(const filter* ready = nullptr) {
    if (d_ == direction::forward) {
      kernels::conv_forward<float>(s_, image(x_, false), w_.data(), image(y_, true), {}, ready);
    } else if (d_ == direction::data) {
      kernels::conv_backward_data<float>(s_, image(y_, true), w_.data(), image(x_, false));
    } else {
      kernels::conv_backward_weight<float>(s_, image(x_, false), image(y_, true), w_.data());
    }
  }

  void spoil() {
    buffer<float>& r = d_ == direction::forward ? y_ : d_ == direction::data ? x_ : w_;
    std::fill_n(r.data(), r.size(), std::numeric_limits<float>::quiet_NaN());
  }

  double error() { return worst(d_ == direction::forward ? y_ : d_ == direction::data ? x_ : w_); }
  // The same of a plain result.
  double plain_error(const buffer<float>& r) {
    if (d_ == direction::weight) return worst(r);
    return worst(d_ == direction::forward
                     ? channels_last<float>(r, s_.n, s_.o, s_.out_h() * s_.out_w())
                     : channels_last<float>(r, s_.n, s_.c, s_.h * s_.w));
  }
  const char* method() {
    const auto in = image(x_, false), out = image(y_, true);
    return kernels::conv_method_name(
        d_ == direction::forward ? kernels::forward_method<float>(s_, in, out)
        : d_ == direction::data  ? kernels::data_method<float>(s_, in, out)
                                 : kernels::weight_method<float>(s_, in, out));
  }
  index_t result_size() const { return truth_.size(); }
  // Input and result of a forward convolution, channels-last.
  const float* input() const { return x_.data(); }
  float* output() { return y_.data(); }

  bench::work cost() const {
    const auto [a, b, c] = std::tuple{double(x.size()), double(w.size()), double(y.size())};
    const double written = d_ == direction::forward ? c : d_ == direction::data ? a : b;
    return {.operations = 2 * double(s_.work()),
            .read = 4 * (a + b + c - written),
            .written = 4 * written};
  }

 private:
  template <class T> kernels::image<T> image(buffer<T>& b, bool output) const {
    return output ? kernels::channels_last(b.data(), s_.o, s_.out_h(), s_.out_w())
                  : kernels::channels_last(b.data(), s_.c, s_.h, s_.w);
  }

  buffer<double> in_double() {
    const auto wide = [](const buffer<float>& from) {
      buffer<double> to(from.size());
      std::copy_n(from.data(), from.size(), to.data());
      return to;
    };
    buffer<double> a = wide(x_), b = wide(w_), c = wide(y_);
    if (d_ == direction::forward) {
      kernels::conv_forward<double>(s_, image(a, false), b.data(), image(c, true));
      return c;
    }
    if (d_ == direction::data) {
      kernels::conv_backward_data<double>(s_, image(c, true), b.data(), image(a, false));
      return a;
    }
    kernels::conv_backward_weight<double>(s_, image(a, false), image(c, true), b.data());
    return b;
  }

  double worst(const buffer<float>& r) const {
    double found = 0;
    for (index_t i = 0; i < r.size(); ++i) {
      const double e = std::fabs(double(r.data()[i]) - truth_.data()[i]) / largest_;
      if (!(e <= found)) found = e;
    }
    return found;
  }

  conv_shape s_;
  direction d_;

 public:
  buffer<float> x, w, y;  // plain

 private:
  buffer<float> x_{0}, w_{0}, y_{0};
  buffer<double> truth_{0};
  double largest_ = 0;
};

// oneDNN splits its work when a primitive is made: made again for another number of threads.
struct peer_conv {
  conv_problem& p;
  conv_shape s;
  direction d;
  std::unique_ptr<peers::dnnl_conv> made{};
  int threads = 0;

  peers::dnnl_conv& get(int wanted) {
    if (threads != wanted) {
      made = std::make_unique<peers::dnnl_conv>(s, d, p.x.data(), p.w.data(), p.y.data());
      threads = wanted;
    }
    return *made;
  }
};

// XNNPACK's layer, null where it has none, made ready again for another number of threads.
struct channels_last_peer {
  conv_problem& p;
  conv_shape s;
  void* layer = nullptr;
  int threads = 0;

  void run(int wanted) {
    peers::xnnpack& library = peers::xnnpack::found();
    const bool ready =
        threads == wanted || library.prepare(layer, s, p.input(), p.output(), wanted);
    threads = wanted;
    if (!ready || !library.run(layer, wanted)) p.spoil();  // no result, no number
  }
};

void measure(bench::session& run, bench::problem p, direction d, const char* name,
             const int& threads) {
  const conv_shape s = shape_of(p);
  conv_problem ours(s, d);
  if (!p.has("direction")) p.values.emplace_back("direction", name);
  const std::string method = ours.method();
  std::erase_if(p.values, [](const auto& v) { return v.first == "by"; });
  p.values.emplace_back("by", method);
  std::vector<bench::candidate> all;
  all.emplace_back("adze", [&](index_t) { ours.run(); });
  if (method.starts_with("winograd")) {
    all.emplace_back("direct", [&](index_t) {
      kernels::winograd_allowed = false;
      ours.run();
      kernels::winograd_allowed = true;
    });
  }
  const auto packed = ours.packed();
  if (packed.bytes() > 0) all.emplace_back("packed", [&](index_t) { ours.run(&packed); });
  peer_conv peer{ours, s, d};
  bool by_peer = false;  // whose result is proved
  const bool found = run.wants("oneDNN") && bool(peer.get(threads));
  if (found) {
    all.emplace_back("oneDNN", [&](index_t) {
      peer.get(threads)();
      by_peer = true;
    });
  }
  channels_last_peer xnnpack{ours, s};
  if (d == direction::forward && run.wants("XNNPACK") && peers::xnnpack::found())
    xnnpack.layer = peers::xnnpack::found().make(s, ours.w.data());
  if (xnnpack.layer) all.emplace_back("XNNPACK", [&](index_t) { xnnpack.run(threads); });
  const auto spoil = [&] {
    by_peer = false;
    ours.spoil();
    if (found) peer.get(threads).spoil();
  };
  const auto error = [&] {
    if (!by_peer) return ours.error();
    buffer<float> plain(ours.result_size());
    peer.get(threads).read_result(plain.data());
    return ours.plain_error(plain);
  };
  run.measure({.shape = p, .cost = ours.cost(), .spoil = spoil, .error = error, .tolerance = 5e-5},
              std::move(all));
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 1;  // of the peer
  bench::library openmp;
  const auto on_threads = [&](int n) {
    threads = n;
    if (auto* set = openmp.find<void(int)>("omp_set_num_threads")) set(n);
  };
  const bench::program_facts about{
      .name = "conv",
      .about = "convolutions of floats, forward and both gradients",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"resnet18", "resnet20", "mobilenet_v2", "lenet"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
      .on_threads = on_threads,
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    openmp = bench::library::open({"libgomp.so.1", "libomp.so.5"});
    on_threads(1);
    for (const bench::problem& p : run.problems({"conv"})) {
      const std::string only = p.word("direction");
      const std::pair<direction, const char*> ways[] = {{direction::forward, "forward"},
                                                        {direction::data, "data"},
                                                        {direction::weight, "weight"}};
      for (const auto& [d, name] : ways)
        if (only.empty() || only == name) measure(run, p, d, name, threads);
    }
  });
}
