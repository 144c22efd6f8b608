// SPDX-License-Identifier: MIT
// Entries of the generic suite: views, casts, slices and joins. References go from the place of a
// result to the place of the input it comes from.
#include <numeric>

#include <doctest/doctest.h>

#include <adze/ops/concat.hpp>
#include <adze/ops/layout.hpp>
#include <adze/ops/slice.hpp>

#include "suite.hpp"

namespace adze::suite::suite_layout_test {
namespace {

using samples_of = std::function<std::vector<sample>(index_t)>;

// Where each element of the result comes from.
using origin = std::function<place(const place&)>;
sample moved(const any_op& op, const shape& from, const shape& to, const origin& f) {
  return {op,
          {{.sizes = from}},
          [to, f](const arrays& x) {
            return arrays{made(to, [&](const place& p) { return x[0].at(f(p)); })};
          },
          exact};
}
// The same order of elements under other sizes.
sample renamed(const any_op& op, const shape& from, const shape& to) {
  return {op,
          {{.sizes = from}},
          [to](const arrays& x) {
            array y = x[0];
            y.sizes = to;
            return arrays{y};
          },
          exact};
}
void entry_for(std::string name, const samples_of& samples,
               smoothness gradient = smoothness::twice) {
  entry e;
  e.name = std::move(name);
  e.samples = samples;
  e.temporaries = e.name == "flip";  // windows, whose records are as large as small results
  e.gradient = gradient;
  e.threads_n = 7000;
  add("layout", e);
}

place swapped(place p, std::size_t a, std::size_t b) {
  std::swap(p[a], p[b]);
  return p;
}
place with(place p, index_t axis, index_t value) {
  p.insert(p.begin() + axis, value);
  return p;
}
place changed(place p, std::size_t axis, index_t value) {
  p[axis] = value;
  return p;
}

sample cast_sample(dtype to, const drawn& d) {
  return {op_of(cast_op<>{to}),
          {d},
          [to](const arrays& x) {
            array y = x[0];
            for (double& v : y.v) {
              v = to == bool8 ? double(v != 0) : is_floating(to) ? v : std::trunc(v);
            }
            return arrays{std::move(y).as(to)};
          },
          exact};
}

void casts() {
  const auto to_wider = [](index_t n) {
    return std::vector<sample>{cast_sample(f64, {.sizes = {n}}),
                               cast_sample(f64, {.sizes = {2, n, 3}})};
  };
  entry_for("cast to f64", to_wider);
  const auto all = [](index_t n) {
    std::vector<sample> v;
    for (const dtype to : {f32, f16, bf16, i8, i32, i64, u8, bool8}) {
      const double low = to == u8 ? 0 : -100;
      v.push_back(cast_sample(to, {.sizes = {n, 3}, .low = low, .high = 100}));
      for (const dtype from : {i64, i8, bool8}) {
        v.push_back(cast_sample(to, {.sizes = {n}, .low = low, .high = 100, .type = from}));
      }
    }
    return v;
  };
  entry_for("cast", all, smoothness::none);
}

void same_elements() {
  const auto same = [](const any_op& op) {
    return [op](index_t n) {
      std::vector<sample> v;
      for (const shape& s : {shape{n}, shape{n, 3}, shape{2, 3, n}, shape{2, n, 3, 2}}) {
        v.push_back(renamed(op, s, s));
      }
      if (n == 1) v.push_back(renamed(op, {}, {}));
      return v;
    };
  };
  entry_for("clone", same(op_of(clone_op<>{})));
  entry_for("contiguous", same(op_of(contiguous_op<>{})));
  entry_for("detach", same(op_of(detach_op<>{})), smoothness::none);
  entry_for("reshape", [](index_t n) {
    return std::vector<sample>{
        renamed(op_of(reshape_op<>{{3, 2 * n}}), {n, 6}, {3, 2 * n}),
        renamed(op_of(reshape_op<>{{-1, 2}}), {n, 6}, {3 * n, 2}),
        renamed(op_of(reshape_op<>{{n, 1, 6}}), {2, n, 3}, {n, 1, 6}),
        renamed(op_of(reshape_op<>{{n}}), {1, n, 1}, {n}),
    };
  });
  entry_for("flatten", [](index_t n) {
    return std::vector<sample>{
        renamed(op_of(flatten_op<>{}), {2, n, 3}, {6 * n}),
        renamed(op_of(flatten_op<>{1, -1}), {2, n, 3}, {2, 3 * n}),
        renamed(op_of(flatten_op<>{0, 1}), {2, n, 3}, {2 * n, 3}),
        renamed(op_of(flatten_op<>{}), {}, {1}),
    };
  });
  entry_for("squeeze", [](index_t n) {
    return std::vector<sample>{renamed(op_of(squeeze_op<>{1}), {n, 1, 2}, {n, 2}),
                               renamed(op_of(squeeze_op<>{-1}), {3, n, 1}, {3, n}),
                               renamed(op_of(squeeze_op<>{0}), {1, n}, {n})};
  });
  entry_for("unsqueeze", [](index_t n) {
    return std::vector<sample>{renamed(op_of(unsqueeze_op<>{1}), {n, 2}, {n, 1, 2}),
                               renamed(op_of(unsqueeze_op<>{-1}), {3, n}, {3, n, 1}),
                               renamed(op_of(unsqueeze_op<>{0}), {n}, {1, n})};
  });
}

void orders() {
  entry_for("transpose", [](index_t n) {
    return std::vector<sample>{
        moved(op_of(transpose_op<>{}), {n, 3}, {3, n}, [](place p) { return swapped(p, 0, 1); }),
        moved(op_of(transpose_op<>{0, 2}), {2, 3, n}, {n, 3, 2},
              [](place p) { return swapped(p, 0, 2); }),
        moved(op_of(transpose_op<>{1, -1}), {2, n, 3, 4}, {2, 4, 3, n},
              [](place p) { return swapped(p, 1, 3); })};
  });
  entry_for("permute", [](index_t n) {
    return std::vector<sample>{
        moved(op_of(permute_op<>{{2, 0, 1}}), {2, n, 3}, {3, 2, n},
              [](place p) {
                return place{p[1], p[2], p[0]};
              }),
        moved(op_of(permute_op<>{{0, -1, 1, 2}}), {2, 3, n, 2}, {2, 2, 3, n},
              [](place p) {
                return place{p[0], p[2], p[3], p[1]};
              }),
        moved(op_of(permute_op<>{{0}}), {n}, {n}, [](place p) { return p; })};
  });
  entry_for("expand", [](index_t n) {
    return std::vector<sample>{
        moved(op_of(expand_op<>{{2, n, 3}}), {n, 1}, {2, n, 3},
              [](place p) {
                return place{p[1], 0};
              }),
        moved(op_of(expand_op<>{{4, -1}}), {1, n}, {4, n},
              [](place p) {
                return place{0, p[1]};
              }),
        moved(op_of(expand_op<>{{n, 2}}), {}, {n, 2}, [](place) { return place{}; })};
  });
  entry_for("flip", [](index_t n) {
    return std::vector<sample>{moved(op_of(flip_op<>{{0}}), {n, 3}, {n, 3},
                                     [n](place p) { return changed(p, 0, n - 1 - p[0]); }),
                               moved(op_of(flip_op<>{{0, -1}}), {2, n, 3}, {2, n, 3},
                                     [](place p) {
                                       return place{1 - p[0], p[1], 2 - p[2]};
                                     }),
                               moved(op_of(flip_op<>{{-1}}), {2, n}, {2, n},
                                     [n](place p) { return changed(p, 1, n - 1 - p[1]); })};
  });
}

void slices() {
  entry_for("slice", [](index_t n) {
    const index_t half = (n + 1) / 2;
    std::vector<sample> v{moved(op_of(slice_op<>{0, {.step = 2}}), {n, 3}, {half, 3},
                                [](place p) { return changed(p, 0, 2 * p[0]); }),
                          moved(op_of(slice_op<>{-1, {.start = -2}}), {2, n + 2}, {2, 2},
                                [n](place p) { return changed(p, 1, p[1] + n); }),
                          moved(op_of(slice_op<>{1, {.start = 1, .stop = -1}}), {2, n + 2, 3},
                                {2, n, 3}, [](place p) { return changed(p, 1, p[1] + 1); }),
                          moved(op_of(slice_op<>{0, {.start = 3, .stop = 1000000, .step = 3}}),
                                {n + 3}, {(n + 2) / 3},
                                [](place p) { return place{3 + 3 * p[0]}; })};
    return v;
  });
  // Zeros where the range does not reach.
  entry_for("unslice", [](index_t n) {
    const auto spread = [](index_t first, index_t step, const shape& to, std::size_t axis) {
      return [=](const arrays& x) {
        return arrays{made(to, [&](const place& p) {
          const index_t i = p[axis] - first;
          const bool inside =
              i >= 0 && i % step == 0 && i / step < x[0].sizes[static_cast<index_t>(axis)];
          return inside ? x[0].at(changed(p, axis, i / step)) : 0.0;
        })};
      };
    };
    return std::vector<sample>{{op_of(unslice_op<>{0, {.start = 1, .stop = 1 + n}, n + 2}),
                                {{.sizes = {n, 3}}},
                                spread(1, 1, {n + 2, 3}, 0),
                                exact},
                               {op_of(unslice_op<>{1, {.start = 0, .step = 2}, 2 * n}),
                                {{.sizes = {2, n}}},
                                spread(0, 2, {2, 2 * n}, 1),
                                exact}};
  });
  entry_for("select", [](index_t n) {
    return std::vector<sample>{
        moved(op_of(select_op<>{1, -1}), {n, 3}, {n}, [](place p) { return with(p, 1, 2); }),
        moved(op_of(select_op<>{0, n / 2}), {n + 1, 2, 3}, {2, 3},
              [n](place p) { return with(p, 0, n / 2); }),
        moved(op_of(select_op<>{-1, 0}), {2, n, 2}, {2, n}, [](place p) { return with(p, 2, 0); })};
  });
  entry_for("split", [](index_t n) {
    const auto parts = [](const shape& from, const std::vector<index_t>& sizes, index_t axis) {
      const auto a = static_cast<std::size_t>(axis);
      return sample{op_of(split_op<>{sizes, axis}),
                    {{.sizes = from}},
                    [=](const arrays& x) {
                      arrays y;
                      index_t first = 0;
                      for (const index_t m : sizes) {
                        y.push_back(made(from.with(axis, m), [&](const place& p) {
                          return x[0].at(changed(p, a, p[a] + first));
                        }));
                        first += m;
                      }
                      return y;
                    },
                    exact};
    };
    return std::vector<sample>{parts({2 * n + 1, 3}, {n, 1, 0, n}, 0), parts({2, n + 3}, {3, n}, 1),
                               parts({n, 3}, std::vector<index_t>(3, 1), 1)};
  });
}

void joins() {
  entry_for("concat", [](index_t n) {
    const auto joined = [](const std::vector<shape>& from, index_t axis) {
      sample s{op_of(concat_op<>{axis}), {}, {}, exact};
      index_t total = 0;
      for (const shape& f : from) {
        s.in.push_back({.sizes = f});
        total += f[axis];
      }
      s.expected = [from, axis, to = from[0].with(axis, total)](const arrays& x) {
        return arrays{made(to, [&](place p) {
          std::size_t j = 0;
          index_t& i = p[static_cast<std::size_t>(axis)];
          while (i >= from[j][axis]) i -= from[j++][axis];
          return x[j].at(p);
        })};
      };
      return s;
    };
    return std::vector<sample>{joined({{n, 2}, {n, 1}, {n, 3}}, 1), joined({{n, 3}, {2, 3}}, 0),
                               joined({{2, n}}, 1), joined({{2, 3, n, 2}, {2, 1, n, 2}}, 1)};
  });
  entry_for("pad", [](index_t n) {
    const auto padded = [](const shape& from, const shape& to, const std::vector<index_t>& amounts,
                           const place& before, double value) {
      return sample{op_of(pad_op<>{amounts, value}),
                    {{.sizes = from}},
                    [=](const arrays& x) {
                      return arrays{made(to, [&](place p) {
                        for (std::size_t a = 0; a < p.size(); ++a) {
                          p[a] -= before[a];
                          if (p[a] < 0 || p[a] >= from[static_cast<index_t>(a)]) return value;
                        }
                        return x[0].at(p);
                      })};
                    },
                    exact};
    };
    return std::vector<sample>{
        padded({n, 3}, {n, 6}, {1, 2}, {0, 1}, 0.0),
        padded({n, 3}, {n + 3, 4}, {1, 0, 2, 1}, {2, 1}, 0.5),
        padded({n + 2, 4}, {n + 1, 4}, {-1, 1, 0, -1}, {0, -1}, 0.0),
        padded({2, 2, n, 3}, {2, 2, n + 2, 5}, {1, 1, 1, 1}, {0, 0, 1, 1}, 0.0)};
  });
  entry_for("triangle", [](index_t n) {
    const auto part = [](const shape& s, bool upper, index_t diagonal) {
      return sample{op_of(triangle_op<>{upper, diagonal}),
                    {{.sizes = s}},
                    [=](const arrays& x) {
                      return arrays{made(s, [&](const place& p) {
                        const index_t off = p[p.size() - 1] - p[p.size() - 2];
                        return (upper ? off >= diagonal : off <= diagonal) ? x[0].at(p) : 0.0;
                      })};
                    },
                    exact};
    };
    return std::vector<sample>{part({n, 3}, false, 0), part({3, n}, true, 0),
                               part({2, n, 4}, true, 1), part({2, 3, n}, false, -1)};
  });
}

const bool registered = (casts(), same_elements(), orders(), slices(), joins(), true);

}  // namespace

TEST_CASE("suite: layout ops") {
  CHECK(registered);
  run_family("layout");
}

}  // namespace adze::suite::suite_layout_test
