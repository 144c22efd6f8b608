// SPDX-License-Identifier: MIT
// The drivers of the generic suite. suite.hpp says what an entry is.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/core/parallel.hpp>
#include <adze/ops/pointwise.hpp>

#include "suite.hpp"

namespace adze::suite {

namespace {

// Counts -------------------------------------------------------------------------------------

struct counts {
  index_t checks = 0, mistrusted = 0;
  std::map<std::string, index_t> by_driver{}, failures{};
};
counts total{};

std::map<std::string, std::vector<entry>>& families() {
  static std::map<std::string, std::vector<entry>> f;
  return f;
}

// What is being tried, for the text of a failure.
struct trial {
  const entry* of = nullptr;
  const sample* at = nullptr;
  std::string_view driver{};
  std::string detail{};

  std::string text() const {
    std::string inputs;
    for (const drawn& d : at->in) inputs += d.missing ? " none" : " " + to_text(d.sizes);
    return adze::text(of->name, " (", driver, ", ", detail, ") of", inputs);
  }
  void fail(const std::string& why) const {
    if (++total.failures[of->name] <= 3) FAIL_CHECK(text() << ": " << why);
  }
  // Counts one check; an empty text is success.
  void count(const std::string& why) const {
    ++total.checks;
    ++total.by_driver[std::string(driver)];
    if (!why.empty()) fail(why);
  }
};

// Elements -----------------------------------------------------------------------------------

double loaded(dtype t, const void* p) {
  return dispatch(all_types{}, t, "suite", [&]<class T>() {
    T x;
    std::memcpy(&x, p, sizeof x);
    if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
      return static_cast<double>(static_cast<float>(x));
    } else {
      return static_cast<double>(x);
    }
  });
}
void stored(dtype t, void* p, double value) {
  dispatch(all_types{}, t, "suite", [&]<class T>() {
    const T x = static_cast<T>(value);
    std::memcpy(p, &x, sizeof x);
  });
}
double rounded(dtype t, double value) {
  double place = 0.0;
  stored(t, &place, value);
  return loaded(t, &place);
}

// Calls f(flat, offset) for every element in row-major order; offset in elements.
template <class F> void each_element(const tensor& x, F f) {
  const index_t n = x.numel();
  for (index_t i = 0; i < n; ++i) {
    index_t offset = 0, rest = i;
    for (index_t a = x.rank() - 1; a >= 0; --a) {
      offset += rest % x.shape()[a] * x.strides()[static_cast<std::size_t>(a)];
      rest /= x.shape()[a];
    }
    f(i, offset);
  }
}
array array_of(const tensor& x) {
  array a(x.shape());
  const auto* data = static_cast<const std::byte*>(x.data());
  each_element(x, [&](index_t i, index_t offset) {
    a[i] = loaded(x.dtype(), data + offset * size_of(x.dtype()));
  });
  return a;
}

// Inputs -------------------------------------------------------------------------------------

enum class layout { dense, transposed, stepped, reversed, offset, expanded, channels_last };
constexpr layout strided[] = {layout::transposed, layout::stepped,  layout::reversed,
                              layout::offset,     layout::expanded, layout::channels_last};
std::string_view name_of(layout l) {
  constexpr std::string_view names[] = {"dense",  "transposed", "stepped",      "reversed",
                                        "offset", "expanded",   "channels last"};
  return names[static_cast<std::size_t>(l)];
}
bool applies(layout l, const shape& s) {
  if (l == layout::channels_last) return s.rank() >= 3;
  if (l == layout::transposed) return s.rank() >= 2;
  return l == layout::offset || l == layout::dense || s.rank() >= 1;
}

std::uint64_t seed_of(const std::string& name, std::size_t input) {
  std::uint64_t h = 1469598103934665603u + input;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

array draw(const drawn& d, std::uint64_t seed) {
  array a(d.sizes);
  const index_t n = a.numel();
  const random_state source{seed, 0};
  std::vector<index_t> order;
  if (d.distinct) order = generator(seed).permutation(n);
  for (index_t i = 0; i < n; ++i) {
    double u = static_cast<double>(random_below(source, static_cast<std::uint64_t>(i), 1u << 30)) *
               0x1p-30;
    if (d.distinct) {
      u = (static_cast<double>(order[static_cast<std::size_t>(i)]) + 0.5) / static_cast<double>(n);
    }
    double x = d.low + (d.high - d.low) * u;
    if (d.grid > 0) x = std::round(x / d.grid) * d.grid;
    for (const double k : d.kinks) {
      if (std::abs(x - k) < 0.06) x = k + (x < k ? -0.12 : 0.12);
    }
    a[i] = d.type && !is_floating(*d.type) ? (*d.type == bool8 ? x > 0 : std::floor(x)) : x;
  }
  return a;
}

// A tensor of these sizes in a layout, in memory that is poison elsewhere.
tensor laid_out(const shape& s, dtype type, layout l) {
  dims strides = dense_strides(s);
  const auto last = static_cast<std::size_t>(std::max<index_t>(0, s.rank() - 1));
  index_t first = 0, elements = std::max<index_t>(1, s.numel());
  switch (l) {
  case layout::dense:
    break;
  case layout::offset:
    first = 3;
    break;
  case layout::transposed: {
    index_t step = 1;
    for (index_t a = 0; a < s.rank(); ++a) {
      strides[static_cast<std::size_t>(a)] = step;
      step *= std::max<index_t>(1, s[a]);
    }
    break;
  }
  case layout::channels_last:
    strides = channels_last_strides(s);
    break;
  case layout::stepped:
    for (index_t& d : strides) d *= 2;
    first = 1;
    elements *= 2;
    break;
  case layout::reversed:
    first = std::max<index_t>(0, (s[s.rank() - 1] - 1) * strides[last]);
    strides[last] = -strides[last];
    break;
  case layout::expanded: {
    index_t axis = 0;  // the first that has several elements
    while (axis + 1 < s.rank() && s[axis] <= 1) ++axis;
    strides = dense_strides(s.with(axis, 1));
    strides[static_cast<std::size_t>(axis)] = 0;
    break;
  }
  }
  tensor memory = empty({elements + 7}, type);
  auto* p = static_cast<std::byte*>(memory.data());
  const double poison = is_floating(type) ? std::numeric_limits<double>::quiet_NaN() : 113.0;
  for (index_t i = 0; i < elements + 7; ++i) stored(type, p + i * size_of(type), poison);
  return alias(memory, s, strides, first);
}

struct prepared {
  std::vector<tensor> x{};
  arrays values{};                              // as the reference sees them
  std::vector<std::vector<std::byte>> bytes{};  // whole memory of each input
};

std::vector<std::byte> memory_of(const tensor& x) {
  const detail::storage& s = *x.impl().store;
  return {s.data, s.data + s.bytes};
}

prepared prepare(const trial& t, dtype type, const std::vector<layout>& layouts) {
  prepared p;
  for (std::size_t j = 0; j < t.at->in.size(); ++j) {
    const drawn& d = t.at->in[j];
    if (d.missing) {
      p.x.emplace_back();
      p.values.emplace_back();
      p.bytes.emplace_back();
      continue;
    }
    const dtype own = d.type.value_or(type);
    const array wanted = draw(d, seed_of(t.of->name, j));
    tensor x = laid_out(d.sizes, own, layouts[j]);
    auto* data = static_cast<std::byte*>(x.data());
    each_element(x, [&](index_t i, index_t offset) {
      stored(own, data + offset * size_of(own), wanted[i]);
    });
    p.values.push_back(array_of(x));  // read back: rounded, and equal along expanded axes
    p.bytes.push_back(memory_of(x));
    p.x.push_back(std::move(x));
  }
  return p;
}

void want_gradients(const trial& t, prepared& p) {
  for (std::size_t j = 0; j < p.x.size(); ++j) {
    const drawn& d = t.at->in[j];
    if (d.missing || d.constant || !is_floating(p.x[j].dtype())) continue;
    p.x[j].set_requires_grad();
  }
}
std::vector<tensor> leaves_of(const prepared& p) {
  std::vector<tensor> v;
  for (const tensor& x : p.x) {
    if (x.requires_grad()) v.push_back(x);
  }
  return v;
}

// Outputs ------------------------------------------------------------------------------------

// Distance to the next representable number of a 16-bit type.
double spacing(dtype t, double value) {
  const int digits = t == f16 ? 10 : 7, least = t == f16 ? -24 : -133;
  if (value == 0.0 || !std::isfinite(value)) return std::ldexp(1.0, least);
  return std::ldexp(1.0, std::max(std::ilogb(value) - digits, least));
}
double unit_of(dtype t) { return t == f64 ? 0x1p-52 : 0x1p-23; }

bool same_value(double got, double want, bool signed_zero) {
  if (std::isnan(want)) return std::isnan(got);
  return got == want && (!signed_zero || want != 0 || std::signbit(got) == std::signbit(want));
}

// What a result too large for an integer type becomes: the last bits, or the truth.
double wrapped(dtype t, double value) {
  if (is_floating(t)) return value;
  if (t == bool8) return value != 0 ? 1.0 : 0.0;
  const auto bits = static_cast<std::int64_t>(value);
  return t == u8   ? static_cast<std::uint8_t>(bits)
         : t == i8 ? static_cast<std::int8_t>(bits)
                   : value;
}

std::string compare(const array& got, const array& want, dtype type, const tolerance& allowed,
                    bool signed_zero) {
  if (got.sizes != want.sizes) {
    return text("shape ", got.sizes, ", expected ", want.sizes);
  }
  for (index_t i = 0; i < got.numel(); ++i) {
    if (same_value(got[i], wrapped(type, want[i]), signed_zero && is_floating(type))) continue;
    double slack = 0.0;
    if (is_floating(type)) {
      slack =
          unit_of(type) * (allowed.relative * std::abs(want[i]) + allowed.absolute * allowed.scale);
      if (size_of(type) == 2) slack += 0.5 * spacing(type, std::abs(want[i]) + slack);
      if (same_value(got[i], rounded(type, want[i]), signed_zero)) continue;
    }
    const bool zeros = got[i] == 0 && want[i] == 0;
    if (std::abs(got[i] - want[i]) <= slack && !zeros) continue;
    return text("element ", i, ": got ", got[i], ", expected ", want[i], " within ", slack);
  }
  return {};
}

// More than nine tenths of the values are one: such a result shows little.
bool mistrusted(const array& a) {
  if (a.numel() < 8) return false;
  std::map<double, index_t> seen;
  index_t most = 0;
  for (const double x : a.v) most = std::max(most, ++seen[std::isnan(x) ? 1e300 : x]);
  return most * 10 > a.numel() * 9;
}

// The rest of the block of a result must be as it was before the op; a few blocks of its size are
// marked first, and one of them is likely to be taken. Not tried for small blocks, which serve
// records of tensors, too, nor where wider temporaries of the op may have used the block before.
constexpr auto mark = std::byte{0xa5};
void mark_free_blocks(std::size_t bytes) {
  if (detail::poisons) return;  // the address sanitizer sees it
  void* blocks[6];
  const std::size_t all = detail::class_bytes(detail::class_of(bytes));
  for (void*& b : blocks) b = std::memset(detail::pool_get(bytes), 0xa5, all);
  for (void* b : blocks) detail::pool_put(b, bytes);
}
bool written_past_end(const tensor& y) {
  if (detail::poisons) return false;
  const detail::storage& s = *y.impl().store;
  if (s.data != reinterpret_cast<const std::byte*>(&s + 1)) return false;
  const std::size_t used = sizeof(detail::storage) + s.bytes;
  const std::size_t all = detail::class_bytes(detail::class_of(used));
  const auto* p = reinterpret_cast<const std::byte*>(&s);
  if (all <= 1024 || all - used < 8 || p[all - 1] != mark || p[all - 2] != mark)
    return false;  // not marked
  return std::any_of(p + used, p + all, [](std::byte b) { return b != mark; });
}

// One call: value, dtype, shape rule, inputs left alone, nothing written past the end.
void check_call(const trial& t, dtype type, const std::vector<layout>& layouts) {
  const prepared p = prepare(t, type, layouts);
  const arrays want = t.at->expected(p.values);
  for (const array& w : want) {
    const index_t size = size_of(w.type.value_or(type));
    mark_free_blocks(sizeof(detail::storage) + static_cast<std::size_t>(w.numel() * size));
  }
  const std::vector<tensor> y = t.at->op(p.x);
  if (y.size() != want.size()) return t.fail(text(y.size(), " results, expected ", want.size()));
  bool trusted = false;
  const bool guarded_type = size_of(type) > 2 && !t.of->temporaries;
  for (std::size_t k = 0; k < y.size(); ++k) {
    const dtype expected_type = want[k].type.value_or(type);
    if (y[k].dtype() != expected_type) {
      return t.fail(text("result ", k, " is ", y[k].dtype(), ", expected ", expected_type));
    }
    const std::string why =
        compare(array_of(y[k]), want[k], expected_type, t.at->allowed, t.of->signed_zero);
    if (!why.empty()) return t.count(text("result ", k, ", ", why));
    const bool own = std::none_of(p.x.begin(), p.x.end(), [&](const tensor& x) {
      return x.defined() && x.impl().store == y[k].impl().store;
    });
    if (guarded_type && own && written_past_end(y[k])) {
      return t.count(text("result ", k, " is written past its end"));
    }
    trusted = trusted || !mistrusted(want[k]);
  }
  for (std::size_t j = 0; j < p.x.size(); ++j) {
    const bool written = (t.at->op.info().writes.bits >> j & 1) != 0;
    if (p.x[j].defined() && !written && memory_of(p.x[j]) != p.bytes[j]) {
      return t.count(text("input ", j, " was changed"));
    }
  }
  if (t.at->op.shapes()) {
    bool complete = true;
    for (const tensor& x : p.x) complete = complete && x.defined();
    if (complete && t.at->op.shapes()(p.x).at(0) != y[0].shape()) {
      return t.count("the shape rule disagrees");
    }
  }
  if (!trusted) {
    ++total.mistrusted;
    return;
  }
  t.count({});
}

// Runs f, turning an exception into a failure.
template <class F> void guarded(const trial& t, F&& f) {
  try {
    f();
  } catch (const std::exception& e) {
    t.fail(text("threw: ", e.what()));
  }
}

// Drivers ------------------------------------------------------------------------------------

constexpr dtype floats[] = {f32, f64, f16, bf16};
constexpr index_t width = simd::pack<float>::size;

std::vector<layout> all_dense(const sample& s) {
  return std::vector<layout>(s.in.size(), layout::dense);
}

void check_values(const entry& e) {
  std::vector<index_t> sizes = e.sizes;
  if (sizes.empty()) sizes = {0, 1, width - 1, width, width + 1, 2 * width + 3, 257};
  for (const index_t n : sizes) {
    for (const sample& s : e.samples(n)) {
      for (const dtype type : floats) {
        const trial t{&e, &s, "value", text("n ", n, " ", type)};
        guarded(t, [&] { check_call(t, type, all_dense(s)); });
      }
    }
  }
}

void check_integers(const entry& e) {
  if (!e.integers) return;
  for (const index_t n : {index_t{1}, width + 1, 2 * width + 3}) {
    for (const sample& original : e.samples(n)) {
      sample s = original;
      for (const dtype type : {i8, i32, i64, u8, bool8}) {
        for (drawn& d : s.in) {
          if (type == bool8 || type == u8) d.low = 0;
          if (!d.type || !is_floating(*d.type)) d.type = d.type == bool8 ? bool8 : type;
          d.kinks.clear();
        }
        const trial t{&e, &s, "integer", text("n ", n, " ", type)};
        guarded(t, [&] { check_call(t, type, all_dense(s)); });
      }
    }
  }
}

// Every input by itself, and all together, in every layout.
void check_layouts(const entry& e) {
  for (const index_t n : {index_t{5}, width + 3}) {
    for (const sample& s : e.samples(n)) {
      for (const layout l : strided) {
        for (std::size_t which = 0; which <= s.in.size(); ++which) {
          std::vector<layout> layouts = all_dense(s);
          bool any = false;
          for (std::size_t j = 0; j < s.in.size(); ++j) {
            if ((which != j && which != s.in.size()) || !applies(l, s.in[j].sizes)) continue;
            const bool written = (s.op.info().writes.bits >> j & 1) != 0;
            if (written && l == layout::expanded) continue;  // refused
            layouts[j] = l;
            any = true;
          }
          if (!any || (which == s.in.size() && s.in.size() == 1)) continue;
          for (const dtype type : {f32, f64, bf16}) {
            const trial t{&e, &s, "layout",
                          text("n ", n, " ", type, " ", name_of(l), " input ", which)};
            guarded(t, [&] { check_call(t, type, layouts); });
          }
        }
      }
    }
  }
}

// One differentiable result of the op as a function of all inputs.
tensor_function result_of(const any_op& op, std::size_t k) {
  return [&op, k](const std::vector<tensor>& x) { return op(x)[k]; };
}
std::vector<std::size_t> differentiable(const trial& t, const prepared& p) {
  std::vector<std::size_t> which;
  const std::vector<tensor> y = t.at->op(p.x);
  for (std::size_t k = 0; k < y.size(); ++k) {
    if (y[k].requires_grad() && y[k].numel() > 0) which.push_back(k);
  }
  return which;
}

void check_gradients(const entry& e) {
  if (e.gradient == smoothness::none) return;
  for (const index_t n : {index_t{1}, index_t{3}, width + 1}) {
    for (const sample& s : e.samples(n)) {
      for (const layout l : {layout::dense, layout::transposed, layout::stepped, layout::reversed,
                             layout::channels_last}) {
        std::vector<layout> layouts = all_dense(s);
        bool any = l == layout::dense;
        for (std::size_t j = 0; j < s.in.size(); ++j) {
          if (s.in[j].missing || !applies(l, s.in[j].sizes)) continue;
          layouts[j] = l;
          any = true;
        }
        if (!any) continue;
        trial t{&e, &s, "gradient", text("n ", n, " ", name_of(l))};
        guarded(t, [&] {
          prepared p = prepare(t, f64, layouts);
          want_gradients(t, p);
          for (const std::size_t k : differentiable(t, p)) {
            t.driver = "gradient";
            const gradcheck_options o{.most = 300};
            const gradcheck_result first = gradcheck(result_of(s.op, k), p.x, o);
            t.count(first.ok ? "" : text("result ", k, ": ", first.where));
            if (n > 3 || e.gradient == smoothness::once) continue;
            t.driver = "second gradient";
            const gradcheck_result second = gradgradcheck(result_of(s.op, k), p.x, o);
            t.count(second.ok ? "" : text("result ", k, ": ", second.where));
          }
        });
      }
    }
  }
}

// Gradients for a given upstream gradient, in one dtype.
std::vector<tensor> gradients(const trial& t, dtype type, layout upstream, prepared& p,
                              bool create = false) {
  p = prepare(t, type, all_dense(*t.at));
  want_gradients(t, p);
  const std::vector<tensor> leaves = leaves_of(p);
  const std::vector<tensor> y = t.at->op(p.x);
  std::vector<tensor> roots, seeds;
  for (std::size_t k = 0; k < y.size(); ++k) {
    if (!y[k].requires_grad()) continue;
    roots.push_back(y[k]);
    const bool fits = applies(upstream, y[k].shape());
    tensor g = laid_out(y[k].shape(), y[k].dtype(), fits ? upstream : layout::dense);
    const array values = draw({.sizes = y[k].shape(), .low = 0.5, .high = 1.5}, 17 + k);
    auto* data = static_cast<std::byte*>(g.data());
    each_element(g, [&](index_t i, index_t offset) {
      const double v = upstream == layout::expanded ? 0.75 : values[i];  // exact in 16 bits, too
      stored(g.dtype(), data + offset * size_of(g.dtype()), std::round(v * 64) / 64);
    });
    seeds.push_back(g);
  }
  if (roots.empty() || leaves.empty()) return {};
  return grad(roots, leaves, {.gradients = seeds, .create_graph = create});
}

// The largest difference in units of the largest value.
std::string compare_gradients(const std::vector<tensor>& got, const std::vector<tensor>& want,
                              double allowed, double least) {
  for (std::size_t j = 0; j < want.size(); ++j) {
    if (got[j].defined() != want[j].defined()) return text("gradient ", j, " is missing in one");
    if (!want[j].defined()) continue;
    const array a = array_of(got[j]), b = array_of(want[j]);
    double largest = least;
    for (const double x : b.v) largest = std::max(largest, std::abs(x));
    for (index_t i = 0; i < b.numel(); ++i) {
      if (std::abs(a[i] - b[i]) <= allowed * largest || a[i] == b[i]) continue;
      return text("gradient ", j, " element ", i, ": ", a[i], ", expected ", b[i]);
    }
  }
  return {};
}

// The same gradient for every way to ask for it: dtype, layout of the upstream gradient, recorded.
void check_gradient_forms(const entry& e) {
  if (e.gradient == smoothness::none) return;
  for (const index_t n : {index_t{2}, width + 1}) {
    for (const sample& s : e.samples(n)) {
      trial t{&e, &s, "gradient form", ""};
      const auto against = [&](std::string what, double allowed, const auto& other) {
        t.detail = text("n ", n, " ", what);
        guarded(t, [&] {
          prepared p;
          const std::vector<tensor> want = gradients(t, f64, layout::dense, p);
          if (want.empty()) return;
          t.count(compare_gradients(other(), want, allowed, 1e-3));
        });
      };
      prepared p;
      for (const layout l : {layout::transposed, layout::stepped, layout::reversed}) {
        against(text("upstream ", name_of(l)), 1e-13, [&] { return gradients(t, f64, l, p); });
      }
      if (e.gradient == smoothness::twice) {
        against("recorded", 1e-12, [&] { return gradients(t, f64, layout::dense, p, true); });
      }
      for (const dtype type : {f32, f16, bf16}) {
        t.detail = text("n ", n, " ", type);
        guarded(t, [&] {  // against f64 at the inputs as the narrow type has them
          const std::vector<tensor> narrow = gradients(t, type, layout::dense, p);
          if (narrow.empty()) return;
          std::vector<tensor> x;
          for (const tensor& v : p.x) {
            x.push_back(v.defined() && is_floating(v.dtype()) ? cast(detach(v), f64) : v);
            if (v.requires_grad()) x.back().set_requires_grad();
          }
          prepared wide{x, {}, {}};
          const std::vector<tensor> leaves = leaves_of(wide), y = s.op(x);
          std::vector<tensor> roots, seeds;
          for (std::size_t k = 0; k < y.size(); ++k) {
            if (!y[k].requires_grad()) continue;
            roots.push_back(y[k]);
            tensor g = empty(y[k].shape(), f64);
            const array values = draw({.sizes = y[k].shape(), .low = 0.5, .high = 1.5}, 17 + k);
            for (index_t i = 0; i < g.numel(); ++i) {
              g.data_as<double>()[i] = std::round(values[i] * 64) / 64;
            }
            seeds.push_back(g);
          }
          const std::vector<tensor> want = grad(roots, leaves, {.gradients = seeds});
          for (const tensor& g : narrow) {
            if (g.defined() && g.dtype() != type) return t.count(text("a gradient is ", g));
          }
          const double unit = type == f32 ? 0x1p-23 : type == f16 ? 0x1p-10 : 0x1p-7;
          // Saved results are rounded, too: an error of the size of the upstream gradient.
          t.count(compare_gradients(narrow, want, (type == f32 ? 64 : 6) * unit, 1.0));
        });
      }
    }
  }
}

std::vector<std::byte> bits_of(const std::vector<tensor>& x) {
  std::vector<std::byte> all;
  for (const tensor& t : x) {
    if (!t.defined()) continue;
    const tensor dense = detail::dense_copy(t);
    const auto* p = static_cast<const std::byte*>(dense.data());
    all.insert(all.end(), p, p + dense.numel() * size_of(dense.dtype()));
  }
  return all;
}

// The same bits for any number of threads, forward and backward.
void check_threads(const entry& e) {
  if (e.threads_n == 0) return;
  const int before = threads();
  for (const sample& s : e.samples(e.threads_n)) {
    for (const dtype type : {f32, bf16}) {
      std::vector<std::byte> forward, backward;
      for (const int count : {1, 2, 3, 7}) {
        const trial t{&e, &s, "threads", text(count, " ", type)};
        guarded(t, [&] {
          set_threads(count);
          prepared p = prepare(t, type, all_dense(s));
          const std::vector<std::byte> y = bits_of(s.op(p.x));
          std::vector<std::byte> g;
          if (e.gradient != smoothness::none) g = bits_of(gradients(t, type, layout::dense, p));
          if (count == 1) forward = y, backward = g;
          t.count(y == forward ? "" : "results differ");
          if (!g.empty()) t.count(g == backward ? "" : "gradients differ");
        });
      }
    }
  }
  set_threads(before);
}

// NaN, infinities, zeros of both signs, the smallest and the largest numbers, in every position of
// a register.
void check_special_values(const entry& e) {
  if (!e.elementwise) return;
  const double inf = std::numeric_limits<double>::infinity();
  for (const dtype type : {f32, f64}) {
    const double least = type == f32 ? 0x1p-149 : 0x1p-1074,
                 normal = type == f32 ? 0x1p-126 : 0x1p-1022;
    const double most = type == f32 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
    const double lattice[] = {0.0,
                              -0.0,
                              least,
                              -least,
                              normal - least,
                              -normal,
                              normal,
                              1.0,
                              -1.0,
                              0.5,
                              -2.5,
                              most,
                              -most,
                              inf,
                              -inf,
                              std::numeric_limits<double>::quiet_NaN()};
    constexpr index_t n = std::size(lattice);
    sample s = e.samples(n).front();
    index_t all = 1;
    for (std::size_t j = 0; j < s.in.size(); ++j) all *= n;
    for (index_t shift = 0; shift < 3; ++shift) {
      const trial t{&e, &s, "special value", text(type, " shift ", shift)};
      guarded(t, [&] {
        std::vector<tensor> x;
        arrays values;
        index_t repeat = 1;
        for (std::size_t j = 0; j < s.in.size(); ++j, repeat *= n) {
          array a({all + shift});
          for (index_t i = 0; i < a.numel(); ++i) a[i] = lattice[(i + n - shift) / repeat % n];
          tensor v = empty(a.sizes, s.in[j].type.value_or(type));
          auto* p = static_cast<std::byte*>(v.data());
          for (index_t i = 0; i < a.numel(); ++i) {
            stored(v.dtype(), p + i * size_of(v.dtype()), a[i]);
          }
          values.push_back(array_of(v));
          x.push_back(v);
        }
        const array want = s.expected(values)[0], got = array_of(s.op(x)[0]);
        tolerance allowed = s.allowed;
        if (allowed.relative > 0) {  // the smallest results may be flushed to zero
          allowed.scale = std::max(allowed.scale, 0.0);
        }
        t.count(compare(got, want, s.op(x)[0].dtype(), allowed, e.signed_zero));
      });
    }
  }
}

void run(const entry& e) {
  const index_t before = total.checks;
  check_values(e);
  check_integers(e);
  check_layouts(e);
  check_gradients(e);
  check_gradient_forms(e);
  check_threads(e);
  check_special_values(e);
  CHECK_MESSAGE(total.checks - before >= 20, e.name << ": too few checks count");
}

}  // namespace

array made(const shape& sizes, const std::function<double(const place&)>& f) {
  array y(sizes);
  place at(static_cast<std::size_t>(sizes.rank()));
  for (index_t i = 0; i < y.numel(); ++i) {
    index_t rest = i;
    for (index_t a = sizes.rank() - 1; a >= 0; --a) {
      at[static_cast<std::size_t>(a)] = rest % sizes[a];
      rest /= sizes[a];
    }
    y[i] = f(at);
  }
  return y;
}

around::around(const shape& sizes, index_t axis) {
  if (sizes.rank() == 0) return;
  const index_t at = axis < 0 ? axis + sizes.rank() : axis;
  for (index_t i = 0; i < sizes.rank(); ++i) (i < at ? outer : i == at ? n : inner) *= sizes[i];
}

// A copy of the attributes makes the call, as a recorded node may keep it. Random ops draw from the
// same seed each time.
std::vector<tensor> any_op::operator()(const std::vector<tensor>& x) const {
  manual_seed(11);
  struct copy {
    const detail::op_info& info;
    std::vector<std::max_align_t> memory;
    void* op() { return memory.data(); }
    copy(const detail::op_info& i, const void* from)
        : info(i), memory(i.bytes / sizeof(std::max_align_t) + 1) {
      detail::copy_op(info, op(), from);
    }
    ~copy() { detail::destroy_op(info, op()); }
  } own(*info_, op_.get());
  std::vector<const tensor*> in;
  for (const tensor& t : x) in.push_back(&t);
  detail::results out;
  detail::record_call(*info_, own.op(), in.data(), in.size(), out);
  return {std::make_move_iterator(out.data()), std::make_move_iterator(out.data() + out.count)};
}

bool add(const std::string& family, entry e) {
  families()[family].push_back(std::move(e));
  return true;
}

void run_family(const std::string& family) {
  const index_t nodes = live_nodes();
  const counts before = total;
  for (const entry& e : families()[family]) run(e);
  CHECK(live_nodes() == nodes);
  std::printf("op checks: %6ld in %s (%ld more showed too little), %ld so far\n",
              total.checks - before.checks, family.c_str(), total.mistrusted - before.mistrusted,
              total.checks);
}

std::map<std::string, known> known_ops() {
  std::map<std::string, known> all;
  for (const auto& [family, entries] : families()) {
    for (const entry& e : entries) {
      for (const sample& s : e.samples(3)) {
        const auto at = all.insert({std::string(s.op.info().name), {s.op, e.gradient}}).first;
        at->second.gradient = std::min(at->second.gradient, e.gradient);
      }
    }
  }
  return all;
}

example example_of(const std::string& name, dtype type) {
  for (const auto& [family, entries] : families()) {
    for (const entry& e : entries) {
      for (sample& s : e.samples(3)) {
        if (s.op.info().name != name) continue;
        example r{s.op, {}, {}};
        if (!is_floating(type) && !e.integers) return r;
        for (drawn& d : s.in) {
          r.own.push_back(d.type.has_value() && !is_floating(*d.type));
          if (!is_floating(type)) d.kinks.clear();
        }
        const trial t{&e, &s, "example", name};
        r.x = prepare(t, type, all_dense(s)).x;
        return r;
      }
    }
  }
  raise<value_error>("example_of: no entry for ", name);
}

entry elementwise(const any_op& op, std::size_t inputs, const scalar_function& f,
                  const elementwise_options& o) {
  entry e;
  e.name = op.info().name;
  e.gradient = o.gradient;
  e.threads_n = 30000;
  e.elementwise = o.special;
  e.signed_zero = o.signed_zero;
  e.integers = o.integers;
  const reference expected = [f, result = o.result](const arrays& x) {
    shape sizes;
    for (const array& a : x) sizes = broadcast(sizes, a.sizes, "suite");
    array y(sizes);
    y.type = result;
    std::vector<double> at(x.size());
    for (index_t i = 0; i < y.numel(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) {
        index_t offset = 0, rest = i, step = 1;
        const index_t shift = sizes.rank() - x[j].sizes.rank();
        for (index_t a = sizes.rank() - 1; a >= 0; --a) {
          const index_t own = a < shift ? 1 : x[j].sizes[a - shift];
          offset += own == 1 ? 0 : rest % sizes[a] * step;
          rest /= sizes[a];
          step *= own;
        }
        at[j] = x[j][offset];
      }
      y[i] = f(at);
    }
    return arrays{std::move(y)};
  };
  e.samples = [op, inputs, expected, o](index_t n) {
    // Shapes for one input, and pairs that broadcast for several.
    std::vector<std::vector<shape>> all{{{n}, {n}, {n}}, {{3, n}, {n}, {3, n}}};
    if (n < 2000) {
      all.push_back({{n, 2}, {n, 1}, {1, 2}});
      all.push_back({{2, 3, n}, {3, n}, {}});
      all.push_back({{2, n, 3, 2}, {n, 1, 2}, {2, 1, 3, 1}});
      if (inputs > 1) all.push_back({{}, {n}, {}});
      if (inputs > 1) all.push_back({{1, n}, {4, 1}, {n}});
      if (n == 1) all.push_back({{}, {}, {}});
    }
    std::vector<sample> samples;
    for (const std::vector<shape>& shapes : all) {
      sample s{op, {}, expected, o.allowed};
      for (std::size_t j = 0; j < inputs; ++j) {
        drawn d = j < o.inputs.size() ? o.inputs[j] : o.input;
        d.sizes = shapes[j];
        s.in.push_back(d);
      }
      samples.push_back(std::move(s));
    }
    return samples;
  };
  return e;
}

}  // namespace adze::suite
