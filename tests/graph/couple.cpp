// SPDX-License-Identifier: MIT
// Coupling: what leaves with a channel, what is pinned and why; and a graph with channels dropped
// gives what the graph gives with them set to zero.
#include <doctest/doctest.h>

#include <adze/graph/cost.hpp>
#include <adze/graph/drop.hpp>
#include <adze/graph/fold.hpp>
#include <adze/graph/fuse.hpp>
#include <adze/nn/attention.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/pool.hpp>

#include "../ops/checks.hpp"

namespace adze::couple_test {
namespace {

using namespace test;
using indices = std::vector<index_t>;

double apart(const tensor& a, const tensor& b) { return distance(numbers(a), numbers(b)); }

// The groups of some indices of an axis of a named constant.
indices groups_at(const graph& g, const coupling& c, std::string_view name, index_t axis,
                  const indices& which) {
  const indices& all = c.groups_of(value_named(g, name), axis);
  indices r;
  for (const index_t i : which) r.push_back(all[static_cast<std::size_t>(i)]);
  return r;
}
const channel_group& group_at(const graph& g, const coupling& c, std::string_view name,
                              index_t axis = 0, index_t index = 0) {
  return c.group(groups_at(g, c, name, axis, {index})[0]);
}

// "a[0]:1,2 b[1]:0": what a group holds of the constants.
std::string held(const graph& g, const channel_group& group) {
  std::string s;
  for (const axis_indices& m : group.members) {
    if (!g.at(m.value).constant.defined()) continue;
    s += text(s.empty() ? "" : " ", g.at(m.value).name, "[", m.axis, "]:");
    for (std::size_t i = 0; i < m.indices.size(); ++i) s += text(i > 0 ? "," : "", m.indices[i]);
  }
  return s;
}

// The graph with the constants of the groups set to zero, in f64.
graph zeroed(const graph& g, const coupling& c, const indices& groups) {
  graph z = clone(g);
  for (const index_t i : groups) {
    for (const axis_indices& m : c.group(i).members) {
      tensor x = z.at(m.value).constant;
      if (!x.defined()) continue;
      REQUIRE(x.is_contiguous());
      const index_t step = dense_strides(x.shape())[static_cast<std::size_t>(m.axis)];
      for (index_t k = 0; k < x.numel(); ++k) {
        const index_t at = k / step % x.size(m.axis);
        for (const index_t gone : m.indices) {
          if (gone == at) x.data_as<double>()[k] = 0.0;
        }
      }
    }
  }
  return z;
}

// Drops groups and compares with zeroed ones; returns the smaller graph.
graph check_drop(const graph& g, const indices& groups, const tensor& x) {
  const no_grad guard;
  const coupling c = couple(g);
  const graph small = drop(g, c, groups);
  const std::vector<tensor> y = small.run(list{x}), expected = zeroed(g, c, groups).run(list{x});
  for (std::size_t i = 0; i < y.size(); ++i) {
    REQUIRE(y[i].shape() == expected[i].shape());
    CHECK(apart(y[i], expected[i]) < 1e-12);
    CHECK(apart(y[i], g.run(list{x})[i]) > 1e-6);  // something has left
  }
  return small;
}
graph check_drop(const graph& g, std::string_view name, index_t axis, const indices& which,
                 const tensor& x) {
  return check_drop(g, groups_at(g, couple(g), name, axis, which), x);
}

// A model from functions and named tensors.
struct weights {
  named_tensors all{};
  const tensor& operator()(const std::string& name, const shape& sizes) {
    all.emplace_back(name, random_leaf(sizes));
    return all.back().second;
  }
};
template <class F> graph traced(const F& f, const weights& w, const tensor& x) {
  return trace(f, std::vector<tensor>{x}, {.parameters = w.all});
}

TEST_CASE("couple: linear, relu, linear: rows, bias and columns") {
  weights p;
  const tensor w = p("w", {5, 3}), b = p("b", {5}), v = p("v", {4, 5}), a = p("a", {4});
  const tensor x = random({2, 3});
  const auto f = [&](const tensor& t) { return linear(relu(linear(t, w, b)), v, a); };
  const graph g = traced(f, p, x);
  const coupling c = couple(g);
  const channel_group& one = group_at(g, c, "w", 0, 1);
  CHECK(held(g, one) == "w[0]:1 b[0]:1 v[1]:1");
  CHECK_FALSE(one.pinned);
  CHECK(one.shifts.empty());
  CHECK(parameters_of(g, one) == 3 + 1 + 4);
  CHECK(&one != &group_at(g, c, "w", 0, 2));
  CHECK(one.family == group_at(g, c, "w", 0, 2).family);
  CHECK(group_at(g, c, "w", 1).why == "input0");
  CHECK(group_at(g, c, "a").why == "output");
  CHECK(group_at(g, c, "v", 0).pinned);

  const graph small = check_drop(g, "v", 1, {0, 3}, x);
  CHECK(small.at(value_named(small, "w")).constant.shape() == shape{3, 3});
  CHECK(small.at(value_named(small, "v")).constant.shape() == shape{4, 3});
  CHECK(cost(small).parameters == cost(g).parameters - 2 * 8);
  const tensor kept = small.at(value_named(small, "b")).constant;
  CHECK(numbers(kept) == std::vector<double>{numbers(b)[1], numbers(b)[2], numbers(b)[4]});
  CHECK(kept.requires_grad());
  CHECK(small.at(value_named(small, "a")).constant.impl_or_null() == a.impl_or_null());
  check_gradients([&](tensor_list t) { return small(t[0]); }, {random_leaf({2, 3})});
  CHECK(small(random({7, 3})).shape() == shape{7, 4});
}

TEST_CASE("drop: refuses pinned groups, the last channel, and another graph's coupling") {
  weights p;
  const tensor w = p("w", {2, 3}), v = p("v", {4, 2}), x = random({5, 3});
  const graph g = traced([&](const tensor& t) { return linear(relu(linear(t, w)), v); }, p, x);
  const coupling c = couple(g);
  const indices columns = groups_at(g, c, "w", 1, {0}), rows = groups_at(g, c, "w", 0, {0, 1});
  CHECK(message_of([&] { drop(g, c, columns); }) ==
        text("drop: group ", columns[0], " is pinned by input0"));
  CHECK(message_of([&] { drop(g, c, rows); }) ==
        "drop: nothing would be left of axis 0 of w [2,3]; keep one group of the family");
  CHECK(message_of([&] { drop(g, c, {999}); }).starts_with("drop: there is no group 999"));
  const graph small = drop(g, c, {rows[0]});
  CHECK(message_of([&] { drop(small, c, {rows[1]}); }) ==
        "drop: the coupling is of another graph; call couple(g) for this one");
  CHECK(message_of([&] {
          value_named(g, "u");
        }).starts_with("value_named: the graph has no value u"));
}

struct conv_net {
  nn::conv2d one{{.in = 3, .out = 6, .kernel = 3, .padding = 1, .type = f64}};
  nn::batch_norm2d norm{{.channels = 6, .type = f64}};
  nn::conv2d two{{.in = 6, .out = 4, .kernel = 3, .type = f64}};
  nn::linear head{{.in = 4 * 2 * 3, .out = 5, .type = f64}};
  tensor operator()(const tensor& x) const {
    const tensor y = relu(two(max_pool2d(relu(norm(one(x))), {.kernel = {2, 2}})));
    return head(flatten(y, 1));
  }
  void visit(auto&& f) {
    f("one", one);
    f("norm", norm);
    f("two", two);
    f("head", head);
  }
};

TEST_CASE("couple: groups by the channels of a weight, for drop") {
  weights p;
  const tensor w = p("w", {4, 3}), v = p("v", {4, 4}), x = random({5, 3});
  const graph g = traced([&](const tensor& t) { return linear(relu(linear(t, w)), v); }, p, x);
  const coupling c = couple(g);
  const indices channels{2, 0, 2}, none{4};
  const indices groups = adze::groups_at(g, c, "w", channels);
  CHECK(groups == groups_at(g, c, "w", 0, {0, 2}));
  CHECK(value_named(g, "w") == value_named(drop(g, c, groups), "w"));
  CHECK(message_of([&] { adze::groups_at(g, c, "w", none); }) ==
        "groups_at: w [4,3] has no channel 4");
}

TEST_CASE("couple: convolution, batch norm, flatten with a block of pixels") {
  manual_seed(4);
  conv_net net;
  const tensor x = random({2, 3, 8, 10});
  static_cast<void>(net(x * 2.0 + 1.0));  // statistics other than 0 and 1
  eval(net);
  const graph g = trace(net, x);
  const coupling c = couple(g);
  CHECK(held(g, group_at(g, c, "norm.weight", 0, 2)) ==
        "one.weight[0]:2 one.bias[0]:2 norm.weight[0]:2 norm.bias[0]:2 norm.running_mean[0]:2 "
        "norm.running_var[0]:2 two.weight[1]:2");
  CHECK(held(g, group_at(g, c, "two.bias", 0, 1)) ==
        "two.weight[0]:1 two.bias[0]:1 head.weight[1]:6,7,8,9,10,11");
  // Channels are not joined with pixels, nor with each other.
  CHECK(groups_at(g, c, "head.weight", 1, {6}) != groups_at(g, c, "head.weight", 1, {0}));
  CHECK(group_at(g, c, "one.weight", 2).why == "conv2d");
  CHECK_FALSE(group_at(g, c, "two.bias").pinned);

  indices both = groups_at(g, c, "one.bias", 0, {0, 5});
  for (const index_t i : groups_at(g, c, "two.bias", 0, {1, 2})) both.push_back(i);
  const graph small = check_drop(g, both, x);
  CHECK(small(random({1, 3, 8, 10})).shape() == shape{1, 5});
  CHECK(small.at(value_named(small, "head.weight")).constant.shape() == shape{5, 12});
  // Folding, fusing and dropping again work on what came out.
  const no_grad guard;
  const graph folded = fuse(fold(small));
  CHECK(apart(folded(x), small(x)) < 1e-12);
  check_drop(folded, "two.weight", 0, {1}, x);

  train(net);  // statistics of the batch: a channel's own
  check_drop(trace(net, x), "norm.weight", 0, {1}, x);
}

TEST_CASE("couple: a residual block joins both sides, with broadcasts pinned") {
  weights p;
  const tensor stem = p("stem", {4, 3, 1, 1}), one = p("one", {5, 4, 3, 3}),
               two = p("two", {4, 5, 3, 3}), shift = p("shift", {4, 1, 1}),
               last = p("last", {2, 4});
  const tensor x = random({2, 3, 5, 5});
  const auto f = [&](const tensor& t) {
    const tensor y = relu(conv2d(t, stem));
    const tensor z =
        conv2d(relu(conv2d(y, one, {}, {.padding = {1, 1}})), two, {}, {.padding = {1, 1}});
    return linear(mean(relu(z + y + shift), {2, 3}), last);
  };
  const graph g = traced(f, p, x);
  const coupling c = couple(g);
  CHECK(held(g, group_at(g, c, "stem", 0, 3)) ==
        "stem[0]:3 one[1]:3 two[0]:3 shift[0]:3 last[1]:3");
  CHECK(held(g, group_at(g, c, "one", 0, 3)) == "one[0]:3 two[1]:3");
  CHECK(group_at(g, c, "shift", 1).why == "add");
  indices both = groups_at(g, c, "stem", 0, {1, 2});
  both.push_back(groups_at(g, c, "one", 0, {4})[0]);
  check_drop(g, both, x);
}

TEST_CASE("couple: depthwise and grouped convolutions keep groups of equal size") {
  weights p;
  const tensor x = random({2, 3, 6, 6});
  const tensor in = p("in", {6, 3, 1, 1}), depth = p("depth", {12, 1, 3, 3}),
               bias = p("bias", {12}), mid = p("mid", {8, 6, 1, 1}),
               grouped = p("grouped", {6, 4, 3, 3}), gather = p("gather", {3, 2, 1, 1}),
               out = p("out", {2, 3, 1, 1});
  const auto f = [&](const tensor& t) {
    tensor y = conv2d(relu(conv2d(t, in)), depth, bias, {.groups = 6});  // two each
    y = conv2d(y, mid, {}, {.groups = 2});                               // 2 x 6 to 2 x 4
    y = conv2d(relu(y), grouped, {}, {.groups = 2});                     // 2 x 4 to 2 x 3
    return conv2d(conv2d(y, gather, {}, {.groups = 3}), out);            // pairs to one each
  };
  const graph g = traced(f, p, x);
  const coupling c = couple(g);
  // Channel 1 of `in` is depthwise group 1; the grouped layer after it holds channels 2 and 3 of
  // its first group, so those of its second group, 8 and 9, leave with them.
  CHECK(held(g, group_at(g, c, "in", 0, 1)) ==
        "in[0]:1,4 depth[0]:2,3,8,9 bias[0]:2,3,8,9 mid[1]:2,3");
  CHECK(held(g, group_at(g, c, "mid", 0, 2)) == "mid[0]:2,6 grouped[1]:2");
  CHECK(held(g, group_at(g, c, "gather", 0, 1)) ==
        "grouped[0]:0,1,2,3,4,5 gather[0]:0,1,2 out[1]:0,1,2");
  CHECK(group_at(g, c, "depth", 1).why == "conv2d");
  indices two = groups_at(g, c, "in", 0, {1});
  two.push_back(groups_at(g, c, "mid", 0, {7})[0]);
  const graph small = check_drop(g, two, x);
  CHECK(small.at(value_named(small, "depth")).constant.shape() == shape{8, 1, 3, 3});

  const auto alone = [&](const tensor& t) {  // whole groups of pairs, to one output each
    return conv2d(conv2d(conv2d(t, in), gather, {}, {.groups = 3}), out);
  };
  const graph h = traced(alone, p, x);
  CHECK(held(h, group_at(h, couple(h), "gather", 0, 1)) == "in[0]:2,3 gather[0]:1 out[1]:1");
  check_drop(h, "gather", 0, {1}, x);
}

TEST_CASE("couple: transposed convolutions, also grouped and depthwise") {
  const tensor x = random({2, 3, 4, 4});
  for (const index_t groups : {1, 2, 4}) {
    weights p;
    const tensor in = p("in", {4, 3, 1, 1}), up = p("up", {4, 8 / groups, 2, 2}), b = p("b", {8}),
                 out = p("out", {2, 8, 1, 1});
    const auto f = [&](const tensor& t) {
      const tensor y =
          conv_transpose2d(relu(conv2d(t, in)), up, b, {.stride = {2, 2}, .groups = groups});
      return conv2d(relu(y), out);
    };
    const graph g = traced(f, p, x);
    const coupling c = couple(g);
    const std::string one = held(g, group_at(g, c, "in", 0, 1));
    if (groups == 1) CHECK(one == "in[0]:1 up[0]:1");
    if (groups == 2) CHECK(one == "in[0]:1,3 up[0]:1,3");
    if (groups == 4) CHECK(one == "in[0]:1 up[0]:1 b[0]:2,3 out[1]:2,3");
    check_drop(g, "in", 0, {1}, x);
    check_drop(g, "b", 0, {1}, x);
  }
}

TEST_CASE("couple: concat gives offsets; split, slice, select and pad take them apart") {
  weights p;
  const tensor a = p("a", {3, 4}), b = p("b", {5, 4}), last = p("last", {2, 8});
  const tensor x = random({2, 4});
  const auto joined = [&](const tensor& t) {
    const list parts{linear(t, a), relu(linear(t, b))};
    return linear(concat(parts, -1), last);
  };
  const graph g = traced(joined, p, x);
  const coupling c = couple(g);
  CHECK(held(g, group_at(g, c, "last", 1, 1)) == "a[0]:1 last[1]:1");
  CHECK(held(g, group_at(g, c, "last", 1, 4)) == "b[0]:1 last[1]:4");
  CHECK(group_at(g, c, "a").family != group_at(g, c, "b").family);
  check_drop(g, "last", 1, {1, 4, 7}, x);

  weights q;
  const tensor w = q("w", {9, 4}), u = q("u", {4, 3}), e = q("e", {4, 7}), h = q("h", {1, 4});
  const auto cut = [&](const tensor& t) {
    const tensor y = linear(t, w);
    const auto parts = split(y, {4, 3, 2}, -1);
    const tensor padded = pad(slice(parts[0], 1, {-3, -1}), {3, 2});  // y[1], y[2] at 3 and 4 of 7
    const tensor s = unsqueeze(select(parts[2], 1, -1), 1);           // y[8]
    return linear(parts[1], u) + linear(padded, e) + s * h;
  };
  const graph k = traced(cut, q, x);
  const coupling d = couple(k);
  CHECK(held(k, group_at(k, d, "w", 0, 0)) == "w[0]:0");  // no one reads it
  CHECK(held(k, group_at(k, d, "w", 0, 2)) == "w[0]:2 e[1]:4");
  CHECK(held(k, group_at(k, d, "w", 0, 5)) == "w[0]:5 u[1]:1");
  CHECK(held(k, group_at(k, d, "e", 1, 6)) == "e[1]:6");
  CHECK(group_at(k, d, "w", 0, 8).why == "select");
  CHECK_FALSE(group_at(k, d, "w", 0, 7).pinned);
  indices some = groups_at(k, d, "w", 0, {0, 2, 5, 7});
  for (const index_t i : groups_at(k, d, "e", 1, {1, 6})) some.push_back(i);
  const graph small = check_drop(k, some, x);
  CHECK(small.at(value_named(small, "w")).constant.shape() == shape{5, 4});
  CHECK(small.at(value_named(small, "e")).constant.shape() == shape{4, 4});
}

TEST_CASE("couple: orders of axes, new axes, expand, flip and matmul") {
  weights p;
  const tensor w = p("w", {6, 4}), v = p("v", {6, 5}), k = p("k", {6}), s = p("s", {3, 1, 6});
  const tensor x = random({2, 3, 4});
  const auto f = [&](const tensor& t) {
    const tensor y = linear(t, w);                             // [2, 3, 6]
    const tensor z = permute(transpose(y, 1, 2), {2, 0, 1});   // [3, 2, 6]
    const tensor wide = flip(z * expand(s, {3, 2, 6}), {-1});  // k and v see 5 - i
    const tensor one = squeeze(unsqueeze(wide, 1), 1);
    const tensor by_v = matmul(one, v);  // named: compilers evaluate operands in either order
    return by_v + unsqueeze(matmul(one, k), -1);
  };
  const graph g = traced(f, p, x);
  CHECK(held(g, group_at(g, couple(g), "w", 0, 1)) == "w[0]:1 s[2]:1 v[0]:4 k[0]:4");
  check_drop(g, "w", 0, {1, 2}, x);
  CHECK(group_at(g, couple(g), "s", 1).why == "expand");
}

TEST_CASE("couple: reshapes tie only the outermost axis") {
  const auto pinned = [](const shape& from, const index_list& to) {
    // Which axes of x and of the reshaped x are pinned by the reshape itself.
    weights p;
    const tensor w = p("w", from);
    const graph g =
        traced([&](const tensor& t) { return t * sum(reshape(w, to)); }, p, random({1}));
    const coupling c = couple(g);
    std::string s;
    for (index_t a = 0; a < from.rank(); ++a) {
      const channel_group& first = group_at(g, c, "w", a);
      s += first.pinned ? '-' : static_cast<char>('0' + first.members[0].indices.size());
    }
    return s;
  };
  CHECK(pinned({6, 4}, {24}) == "1-");         // flatten: a block of 4 for each of 6
  CHECK(pinned({24}, {6, 4}) == "4");          // heads: blocks of 4
  CHECK(pinned({3, 6, 4}, {3, 24}) == "11-");  // the axis before is one to one
  CHECK(pinned({12, 2}, {4, 6}) == "3-");      // blocks on both sides
  CHECK(pinned({4, 3}, {6, 2}) == "--");       // no whole blocks
  CHECK(pinned({1, 5, 1}, {5, 1}) == "-1-");   // size 1 stands for nothing
  CHECK(pinned({5, 4}, {4, 5}) == "--");
}

TEST_CASE("couple: layer, rms and group norm: the rest shifts, and the group says so") {
  weights p;
  const tensor w = p("w", {6, 4}), lw = p("lw", {6}), lb = p("lb", {6}), rw = p("rw", {6}),
               v = p("v", {3, 6});
  const tensor x = random({2, 4});
  const auto f = [&](const tensor& t) {
    return linear(rms_norm(layer_norm(linear(t, w), 1, lw, lb), 1, rw), v);
  };
  const graph g = traced(f, p, x);
  const coupling c = couple(g);
  const channel_group& one = group_at(g, c, "w", 0, 1);
  CHECK(held(g, one) == "w[0]:1 lw[0]:1 lb[0]:1 rw[0]:1 v[1]:1");
  CHECK(one.shifts == "layer_norm, rms_norm");
  const no_grad guard;
  const graph small = drop(g, c, groups_at(g, c, "w", 0, {1, 5}));
  const tensor left = tensor_of<index_t>{0, 2, 3, 4};
  const auto cut = [&](const tensor& t, index_t axis) { return index_select(t, axis, left); };
  const tensor y = layer_norm(linear(x, cut(w, 0)), 1, cut(lw, 0), cut(lb, 0));
  CHECK(apart(small(x), linear(rms_norm(y, 1, cut(rw, 0)), cut(v, 1))) < 1e-12);

  const tensor image = random({2, 3, 4, 4});
  for (const index_t groups : {1, 2, 6}) {
    weights q;
    const tensor k = q("k", {6, 3, 1, 1}), gw = q("gw", {6}), gb = q("gb", {6}),
                 last = q("last", {2, 6, 1, 1});
    const auto h = [&](const tensor& t) {
      return conv2d(relu(group_norm(conv2d(t, k), groups, gw, gb)), last);
    };
    const graph n = traced(h, q, image);
    const coupling d = couple(n);
    CHECK(held(n, group_at(n, d, "gw", 0, 1)) == (groups == 2
                                                      ? "k[0]:1,4 gw[0]:1,4 gb[0]:1,4 last[1]:1,4"
                                                      : "k[0]:1 gw[0]:1 gb[0]:1 last[1]:1"));
    CHECK(group_at(n, d, "gw").shifts == (groups == 6 ? "" : "group_norm"));
    if (groups == 6) {
      check_drop(n, "gw", 0, {1, 2}, image);
    } else {
      CHECK(drop(n, d, groups_at(n, d, "gw", 0, {1})).run(list{image})[0].shape() ==
            shape{2, 2, 4, 4});
    }
  }
}

TEST_CASE("couple: attention leaves head by head, the stream with its embedding") {
  manual_seed(8);
  nn::embedding table{{.rows = 11, .width = 6, .type = f64}};
  nn::multi_head_attention attend{{.embed = 6, .heads = 3, .type = f64}};
  nn::linear head{{.in = 6, .out = 11, .type = f64}};
  const auto f = [&](const tensor& t) {
    const tensor x = table(t);
    return head(x + attend(x, {.causal = true}));
  };
  const tensor tokens = cast(floor(rand({2, 5}) * 11.0), i64);
  trace_options names;
  for (auto& [n, x] : named_parameters(table)) names.parameters.emplace_back("table." + n, x);
  for (auto& [n, x] : named_parameters(attend)) names.parameters.emplace_back("attend." + n, x);
  for (auto& [n, x] : named_parameters(head)) names.parameters.emplace_back("head." + n, x);
  const graph g = trace(f, std::vector<tensor>{tokens}, names);
  const coupling c = couple(g);
  CHECK(held(g, group_at(g, c, "attend.out_proj.weight", 1, 2)) ==
        "attend.in_proj_weight[0]:2,3,8,9,14,15 attend.in_proj_bias[0]:2,3,8,9,14,15 "
        "attend.out_proj.weight[1]:2,3");
  CHECK(held(g, group_at(g, c, "table.weight", 1, 4)) ==
        "table.weight[1]:4 attend.in_proj_weight[1]:4 attend.out_proj.weight[0]:4 "
        "attend.out_proj.bias[0]:4 head.weight[1]:4");
  CHECK(group_at(g, c, "table.weight", 0).why == "embedding");
  indices both = groups_at(g, c, "attend.out_proj.weight", 1, {2});
  both.push_back(groups_at(g, c, "table.weight", 1, {4})[0]);
  const graph small = check_drop(g, both, tokens);
  CHECK(small.at(value_named(small, "attend.in_proj_weight")).constant.shape() == shape{12, 5});
  CHECK(apart(fuse(for_inference(small))(tokens), small(tokens)) == 0.0);
}

TEST_CASE("couple: hidden units of recurrent layers take their rows of every gate along") {
  manual_seed(9);
  const tensor x = random({5, 2, 4});
  const auto check = [&](auto layer, index_t gates) {
    const auto f = [&](const tensor& t) { return select(layer(t).output, 0, -1) * 1.5; };
    weights p;
    p.all = named_parameters(layer);
    const tensor v = p("v", {3, 6});
    const graph g = traced([&](const tensor& t) { return linear(f(t), v); }, p, x);
    const coupling c = couple(g);
    std::string rows;
    for (index_t i = 0; i < gates; ++i) rows += text(i > 0 ? "," : "", i * 6 + 2);
    const std::string all = held(g, group_at(g, c, "v", 1, 2));
    for (const char* name : {"weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"}) {
      CHECK(all.find(text(name, "[0]:", rows)) != std::string::npos);
    }
    CHECK(all.find("weight_hh_l1[1]:2") != std::string::npos);
    CHECK(held(g, group_at(g, c, "weight_ih_l1", 1, 3)).find("bias_hh_l0[0]:3") !=
          std::string::npos);
    indices both = groups_at(g, c, "v", 1, {2, 3});
    both.push_back(groups_at(g, c, "weight_ih_l1", 1, {0})[0]);
    const graph small = check_drop(g, both, x);
    CHECK(small.at(value_named(small, "weight_hh_l1")).constant.shape() == shape{gates * 4, 4});
    CHECK(small.at(value_named(small, "weight_hh_l0")).constant.shape() == shape{gates * 5, 5});
  };
  check(nn::lstm{{.in = 4, .hidden = 6, .layers = 2, .type = f64}}, 4);
  check(nn::gru{{.in = 4, .hidden = 6, .layers = 2, .type = f64}}, 3);
  check(nn::rnn{{.in = 4, .hidden = 6, .layers = 2, .type = f64}}, 1);

  nn::lstm both{{.in = 4, .hidden = 3, .bidirectional = true, .type = f64}};
  weights p;
  p.all = named_parameters(both);
  const tensor v = p("v", {2, 6});
  const graph g = traced([&](const tensor& t) { return linear(both(t).output, v); }, p, x);
  const std::string back = held(g, group_at(g, couple(g), "v", 1, 4));
  CHECK(back.find("weight_hh_l0_reverse[1]:1") != std::string::npos);
  CHECK(back.find("weight_hh_l0[1]:1") == std::string::npos);
  // The last states are stacked along a new axis: where they are read, unit 1 of both leaves.
  const auto last = [&](const tensor& t) {
    const nn::lstm_result y = both(t);
    return linear(y.output, v) + sum(y.h);
  };
  const graph s = traced(last, p, x);
  CHECK(held(s, group_at(s, couple(s), "v", 1, 4)).find("weight_hh_l0[1]:1") != std::string::npos);
  check_drop(g, "v", 1, {4}, x);
}

TEST_CASE("couple: softmax and means pin their axis, sums do not") {
  weights p;
  const tensor w = p("w", {6, 4}), v = p("v", {3, 6}), u = p("u", {5, 4});
  const tensor x = random({2, 4});
  const auto why = [&](const auto& f) {
    const graph g = traced(f, p, x);
    return group_at(g, couple(g), "w").why;
  };
  CHECK(why([&](const tensor& t) { return linear(softmax(linear(t, w), -1), v); }) == "softmax");
  CHECK(why([&](const tensor& t) { return mean(linear(t, w), {1}); }) == "mean");
  CHECK(why([&](const tensor& t) { return var(linear(t, w), {1}); }) == "var");
  CHECK(why([&](const tensor& t) { return std_dev(linear(t, w), {1}); }) == "std_dev");
  CHECK(why([&](const tensor& t) { return amax(linear(t, w), {1}); }) == "amax");
  CHECK(why([&](const tensor& t) { return cumsum(linear(t, w), 1); }) ==
        "cumsum (declares no axes)");
  CHECK(why([&](const tensor& t) { return softmax(linear(t, w), 0); }) == "output");
  const auto summed = [&](const tensor& t) {
    return sum(relu(linear(t, w)), {1}, true) + amax(linear(t, u), {1}, true);
  };
  const graph g = traced(summed, p, x);
  CHECK(why(summed).empty());
  check_drop(g, "w", 0, {0, 3}, x);
}

TEST_CASE("couple: tied weights leave once, as one tensor or as two over the same memory") {
  weights p;
  const tensor w = p("w", {4, 4}), v = p("v", {2, 4}), x = random({3, 2}), in = p("in", {4, 2});
  const auto f = [&](const tensor& t) {
    return linear(linear(relu(linear(linear(t, in), w)), w), v);
  };
  const graph g = traced(f, p, x);
  CHECK(held(g, group_at(g, couple(g), "w", 0, 1)) == "in[0]:1 w[0]:1 w[1]:1 v[1]:1");
  check_drop(g, "w", 0, {1}, x);

  const tensor twin = alias(w);
  p.all.emplace_back("twin", twin);
  const auto two = [&](const tensor& t) {
    return linear(linear(relu(linear(linear(t, in), w)), twin), v);
  };
  const graph h = traced(two, p, x);
  CHECK(held(h, group_at(h, couple(h), "w", 0, 1)) ==
        "in[0]:1 w[0]:1 w[1]:1 twin[0]:1 twin[1]:1 v[1]:1");
  const graph small = check_drop(h, "w", 0, {1}, x);
  CHECK(small.at(value_named(small, "w")).constant.data() ==
        small.at(value_named(small, "twin")).constant.data());

  const tensor part = slice(w, 0, {0, 2});
  p.all.emplace_back("part", part);
  const graph k =
      traced([&](const tensor& t) { return linear(linear(linear(t, in), w), part); }, p, x);
  CHECK(group_at(k, couple(k), "w").why.starts_with("memory shared with part"));
}

struct lenet {
  nn::conv2d one{{.in = 1, .out = 6, .kernel = 5, .padding = 2, .type = f64}};
  nn::conv2d two{{.in = 6, .out = 16, .kernel = 5, .type = f64}};
  nn::linear three{{.in = 400, .out = 120, .type = f64}};
  nn::linear four{{.in = 120, .out = 84, .type = f64}}, five{{.in = 84, .out = 10, .type = f64}};
  tensor operator()(const tensor& x) const {
    tensor y = max_pool2d(relu(one(x)), {.kernel = {2, 2}});
    y = avg_pool2d(relu(two(y)), {.kernel = {2, 2}});
    y = relu(three(reshape(y, {-1, 400})));
    return five(tanh(four(y)));
  }
  void visit(auto&& f) {
    f("one", one);
    f("two", two);
    f("three", three);
    f("four", four);
    f("five", five);
  }
};

TEST_CASE("drop: half of LeNet-5") {
  manual_seed(10);
  const lenet net;
  const tensor x = random({2, 1, 28, 28});
  const graph g = trace(net, x);
  const coupling c = couple(g);
  indices gone;
  for (const char* name : {"one.bias", "two.bias", "three.bias", "four.bias"}) {
    const indices& all = c.groups_of(value_named(g, name), 0);
    for (std::size_t i = 0; i < all.size(); i += 2) gone.push_back(all[i]);
  }
  const graph small = check_drop(g, gone, x);
  CHECK(cost(g).parameters == 61706);
  CHECK(cost(small).parameters ==
        (3 * 25 + 3) + (8 * 3 * 25 + 8) + (60 * 200 + 60) + (42 * 60 + 42) + (10 * 42 + 10));
  CHECK(small(random({3, 1, 28, 28})).shape() == shape{3, 10});
  const report::table t = to_table(g, c);
  CHECK(t.text().find("two.weight[0], two.bias[0], three.weight[1] x25") != std::string::npos);
  // Free: one row per layer. Pinned: the image channel, kernels, the pixels' place, classes.
  CHECK(t.rows() > 4);
}

// CIFAR's ResNet with n blocks per stage; `padded` shortcuts have no parameters (option A).
struct resnet {
  struct block {
    nn::conv2d one, two;
    nn::batch_norm2d norm_one, norm_two;
    index_t stride, grow;
    block(index_t in, index_t out, index_t by)
        : one({.in = in,
               .out = out,
               .kernel = 3,
               .stride = by,
               .padding = 1,
               .bias = false,
               .type = f64}),
          two({.in = out, .out = out, .kernel = 3, .padding = 1, .bias = false, .type = f64}),
          norm_one({.channels = out, .type = f64}), norm_two({.channels = out, .type = f64}),
          stride(by), grow((out - in) / 2) {}
    tensor operator()(const tensor& x) const {
      const tensor y = norm_two(two(relu(norm_one(one(x)))));
      if (stride == 1) return relu(y + x);
      const tensor half = slice(slice(x, 2, {.step = stride}), 3, {.step = stride});
      return relu(y + pad(half, {0, 0, 0, 0, grow, grow}));
    }
    void visit(auto&& f) {
      f("one", one);
      f("norm_one", norm_one);
      f("two", two);
      f("norm_two", norm_two);
    }
  };
  nn::conv2d stem{{.in = 3, .out = 4, .kernel = 3, .padding = 1, .bias = false, .type = f64}};
  nn::batch_norm2d norm{{.channels = 4, .type = f64}};
  std::vector<block> blocks{};
  nn::linear head{{.in = 16, .out = 10, .type = f64}};
  explicit resnet(index_t n) {
    for (const index_t out : {4, 8, 16}) {
      for (index_t i = 0; i < n; ++i) {
        const bool first = i == 0 && out > 4;
        blocks.emplace_back(first ? out / 2 : out, out, first ? 2 : 1);
      }
    }
  }
  tensor operator()(const tensor& x) const {
    tensor y = relu(norm(stem(x)));
    for (const block& b : blocks) y = b(y);
    return head(mean(y, {2, 3}));
  }
  void visit(auto&& f) {
    f("stem", stem);
    f("norm", norm);
    f("blocks", blocks);
    f("head", head);
  }
};

TEST_CASE("drop: channels of a ResNet-20, inside of blocks and across stages") {
  manual_seed(11);
  resnet net(3);
  const tensor x = random({2, 3, 12, 12});
  static_cast<void>(net(x + 1.0));
  eval(net);
  const graph g = trace(net, x);
  const coupling c = couple(g);
  // Zero-padded shortcuts: stem channel 1 is channel 3 of the second stage and 7 of the third.
  const std::string stream = held(g, group_at(g, c, "stem.weight", 0, 1));
  CHECK(stream.find("stem.weight[0]:1") != std::string::npos);
  CHECK(stream.find("blocks.3.two.weight[0]:3") != std::string::npos);
  CHECK(stream.find("blocks.8.one.weight[1]:7") != std::string::npos);
  CHECK(stream.ends_with("head.weight[1]:7"));
  const std::string late = held(g, group_at(g, c, "head.weight", 1, 0));
  CHECK(late.find("blocks.6.two.weight[0]:0") != std::string::npos);
  CHECK(late.find("blocks.3") == std::string::npos);

  indices gone = groups_at(g, c, "head.weight", 1, {0, 7, 15});
  gone.push_back(groups_at(g, c, "blocks.3.two.weight", 0, {0})[0]);
  for (index_t i = 0; i < 9; ++i) {
    gone.push_back(groups_at(g, c, text("blocks.", i, ".norm_one.weight"), 0, {2})[0]);
  }
  const graph small = check_drop(g, gone, x);
  CHECK(small.at(value_named(small, "stem.weight")).constant.shape() == shape{3, 3, 3, 3});
  CHECK(small.at(value_named(small, "blocks.3.two.weight")).constant.shape() == shape{6, 7, 3, 3});
  CHECK(small.at(value_named(small, "head.weight")).constant.shape() == shape{10, 12});
  check_drop(small, "stem.weight", 0, {0}, x);
}

// Depthwise separable blocks with ReLU6.
struct mobile_net {
  struct block {
    nn::conv2d deep, wide;
    nn::batch_norm2d deep_norm, wide_norm;
    block(index_t in, index_t out)
        : deep({.in = in,
                .out = in,
                .kernel = 3,
                .padding = 1,
                .groups = in,
                .bias = false,
                .type = f64}),
          wide({.in = in, .out = out, .kernel = 1, .bias = false, .type = f64}),
          deep_norm({.channels = in, .type = f64}), wide_norm({.channels = out, .type = f64}) {}
    tensor operator()(const tensor& x) const {
      return relu6(wide_norm(wide(relu6(deep_norm(deep(x))))));
    }
    void visit(auto&& f) {
      f("deep", deep), f("deep_norm", deep_norm), f("wide", wide), f("wide_norm", wide_norm);
    }
  };
  nn::conv2d stem{{.in = 3, .out = 6, .kernel = 3, .stride = 2, .padding = 1, .type = f64}};
  block one{6, 8}, two{8, 12};
  nn::linear head{{.in = 12, .out = 10, .type = f64}};
  tensor operator()(const tensor& x) const {
    return head(flatten(adaptive_avg_pool2d(two(one(relu6(stem(x)))), {1, 1}), 1));
  }
  void visit(auto&& f) { f("stem", stem), f("one", one), f("two", two), f("head", head); }
};

TEST_CASE("drop: channels of a MobileNet take their depthwise filters along") {
  manual_seed(12);
  mobile_net net;
  const tensor x = random({2, 3, 12, 12});
  static_cast<void>(net(x + 1.0));
  eval(net);
  const graph g = trace(net, x);
  const coupling c = couple(g);
  CHECK(held(g, group_at(g, c, "one.wide.weight", 0, 5)) ==
        "one.wide.weight[0]:5 one.wide_norm.weight[0]:5 one.wide_norm.bias[0]:5 "
        "one.wide_norm.running_mean[0]:5 one.wide_norm.running_var[0]:5 two.deep.weight[0]:5 "
        "two.deep_norm.weight[0]:5 two.deep_norm.bias[0]:5 two.deep_norm.running_mean[0]:5 "
        "two.deep_norm.running_var[0]:5 two.wide.weight[1]:5");
  indices gone = groups_at(g, c, "one.wide.weight", 0, {0, 5});
  for (const char* name : {"stem.bias", "two.wide_norm.bias"}) {
    gone.push_back(groups_at(g, c, name, 0, {3})[0]);
  }
  const graph small = check_drop(g, gone, x);
  CHECK(small.at(value_named(small, "two.deep.weight")).constant.shape() == shape{6, 1, 3, 3});
  CHECK(small.at(value_named(small, "head.weight")).constant.shape() == shape{10, 11});
}

TEST_CASE("drop: hidden units and heads of a GPT; what leaves the stream shifts its norms") {
  manual_seed(13);
  nn::gpt net({.vocabulary = 11, .context = 6, .embed = 8, .heads = 2, .layers = 2, .type = f64});
  eval(net);
  const tensor x = cast(floor(rand({2, 6}) * 11.0), i64);
  const graph g = trace(net, x);
  const coupling c = couple(g);
  const channel_group& stream = group_at(g, c, "token.weight", 1, 3);
  CHECK_FALSE(stream.pinned);
  CHECK(stream.shifts == "layer_norm");
  for (const char* part : {"position.weight[1]:3", "blocks.1.norm2.weight[0]:3",
                           "blocks.0.linear1.weight[1]:3", "head[1]:3"}) {
    CHECK_MESSAGE(held(g, stream).find(part) != std::string::npos, held(g, stream));
  }
  CHECK(group_at(g, c, "token.weight", 0).pinned);
  // Queries and keys of a head are one, its values another that the projection after it reads.
  indices gone = groups_at(g, c, "blocks.0.linear1.weight", 0, {1, 30});
  gone.push_back(groups_at(g, c, "blocks.1.self_attn.out_proj.weight", 1, {5})[0]);
  const graph small = check_drop(g, gone, x);
  CHECK(small.at(value_named(small, "blocks.0.linear2.weight")).constant.shape() == shape{8, 30});
  CHECK(small.at(value_named(small, "blocks.1.self_attn.out_proj.weight")).constant.shape() ==
        shape{8, 4});
  // A smaller stream runs too, with other statistics.
  CHECK(drop(g, c, groups_at(g, c, "token.weight", 1, {3})).run(list{x})[0].shape() ==
        shape{2, 6, 11});
}

}  // namespace
}  // namespace adze::couple_test

namespace user {

using adze::axis_ties;
using adze::backward_context;
using adze::numeric;
using adze::tensor;
namespace values = adze::values;

struct plain_op {
  static constexpr std::string_view name = "plain";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = adze::gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x * 2.0; }
  tensor backward(backward_context&, const tensor& g) const { return g * 2.0; }
};
struct lettered_op : plain_op {
  static constexpr std::string_view name = "lettered";
  static constexpr std::string_view axes = "...->...";
};
struct mislettered_op : plain_op {
  static constexpr std::string_view name = "mislettered";
  static constexpr std::string_view axes = "abc->abc";
};
struct halves_op {  // adds the halves of the last axis; `stuck` states the size it gives
  adze::index_t stuck = 0;
  static constexpr std::string_view name = "halves";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = adze::gradient_reads(values::nothing);
  tensor forward(const tensor& x) const {
    const adze::index_t n = stuck > 0 ? stuck : x.size(-1) / 2;
    return slice(x, -1, {0, n}) + slice(x, -1, {n, 2 * n});
  }
  tensor backward(backward_context&, const tensor& g) const {
    const std::vector<tensor> both{g, g};
    return concat(both, -1);
  }
  void couple(axis_ties& t) const {
    const auto out = t.output(0, -1);
    t.same(t.input(0, 0), t.output(0, 0));
    t.same(out, t.input(0, -1), {.count = out.size});
    t.same(out, t.input(0, -1), {.b = out.size});
  }
};

}  // namespace user

namespace adze::couple_test {
namespace {

TEST_CASE("couple: custom ops by letters, by a member, and undeclared") {
  weights p;
  const tensor w = p("w", {6, 4}), v = p("v", {3, 6}), u = p("u", {2, 3}), x = random({2, 4});
  const auto through = [&](auto op) {
    return traced([&, op](const tensor& t) { return linear(record(op, linear(t, w)), v); }, p, x);
  };
  const auto why = [&](const graph& g) { return group_at(g, couple(g), "w").why; };
  CHECK(why(through(user::plain_op{})) == "plain (declares no axes)");
  CHECK(why(through(user::mislettered_op{})) == "mislettered (declares no axes)");
  CHECK(why(through(user::lettered_op{})).empty());
  check_drop(through(user::lettered_op{}), "w", 0, {2}, x);

  const auto halved = [&](index_t stuck) {
    return traced(
        [&, stuck](const tensor& t) {
          return linear(record(user::halves_op{stuck}, linear(t, w)), u);
        },
        p, x);
  };
  const graph g = halved(0);
  CHECK(held(g, group_at(g, couple(g), "u", 1, 1)) == "w[0]:1,4 u[1]:1");
  check_drop(g, "u", 1, {1}, x);
  const graph h = halved(3);
  const coupling c = couple(h);
  CHECK(message_of([&] {
          drop(h, c, groups_at(h, c, "u", 1, {1}));
        }).starts_with("drop: step 1 (halves) does not follow its inputs; "));
}

TEST_CASE("axis_ties: letters that do not fit are refused whole; runs are checked") {
  const shape a{2, 3}, b{3, 4}, y{2, 4};
  axis_ties t({&a, &b, &y}, 2);
  for (const char* wrong :
       {"mk,kn", "mk->mn", "mk,kn,q->mn", "mk,kn->mn,mn", "m,kn->mn", "mkj,kn->mn", "mk,nk->mn"}) {
    CHECK_FALSE(t.letters(wrong));
    CHECK(t.ties().empty());
  }
  CHECK(t.letters("mk,kn->mn"));
  CHECK(t.ties().size() == 3);
  CHECK(t.pins().empty());
  CHECK(t.letters("mk,jn->mn"));  // k and j once each
  CHECK(t.pins().size() == 2);
  CHECK(message_of([&] { t.same(t.input(0, 0), t.input(0, 1)); }) ==
        "couple: axes of 2 and 3 indices cannot be the same");
  CHECK(message_of([&] { t.same(t.input(0, 0), t.input(1, 1), {.b = 1, .block = 2}); }) ==
        "couple: 2 indices from 0 on of 2 do not match blocks of 2 from 1 on of 4");
  CHECK(message_of([&] { t.input(0, 2); }).starts_with("couple: axis 2 is out of range"));
}

TEST_CASE("value_named: a tied tensor has all its names") {
  weights p;
  const tensor w = p("first.weight", {4, 4}), x = random({2, 4});
  p.all.emplace_back("second.weight", w);
  const graph g = traced([&](const tensor& t) { return linear(relu(linear(t, w)), w); }, p, x);
  CHECK(value_named(g, "second.weight") == value_named(g, "first.weight"));
  CHECK_THROWS_AS(static_cast<void>(value_named(g, "third.weight")), value_error);
}

}  // namespace
}  // namespace adze::couple_test
