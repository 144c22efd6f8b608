#pragma once
// SPDX-License-Identifier: MIT
// What each layer loses when it alone is quantized, and a conversion that keeps the worst layers in
// floats until the whole loses no more than it may.
#include <cmath>

#include <adze/core/table.hpp>
#include <adze/quant/convert.hpp>

namespace adze::quant::inline ADZE_ISA {

// How a graph is judged: `batches` are what observers see, the first of them also measures errors;
// a larger score is better, such as accuracy in percent.
struct evaluation {
  std::vector<tensor> batches{};
  std::function<double(const graph&)> score{};
};

struct layer_loss {
  std::string name{}, op{};  // of the weight, "conv1.weight"
  double sqnr = 0;           // of the layer's result, in dB: signal over the quantization's error
  double score = 0;          // of the whole graph with this layer alone in codes
};

struct sensitivity_report {
  double float_score = 0;
  std::vector<layer_loss> layers{};  // the lowest score first, then the lowest ratio
};

// The prepared graph after it has seen all batches, without gradients.
template <class = void>
graph calibrated(const graph& floats, const config& c, const std::vector<tensor>& batches) {
  const no_grad guard;
  const graph g = prepare(floats, c);
  for (const tensor& x : batches) static_cast<void>(g.run(std::vector<tensor>{x}));
  return g;
}

}  // namespace adze::quant::inline ADZE_ISA

namespace adze::quant::detail::inline ADZE_ISA {

// The value that the layer with this weight gives; a sum in whole steps where they are simulated.
template <class = void> value_id result_of_layer(const graph& g, std::string_view weight) {
  const std::vector<index_t> by = adze::detail::producers(g);
  for (const graph_step& s : g.steps) {
    if (s.op.template as<linear_op<>>() == nullptr && s.op.template as<conv2d_op<>>() == nullptr) {
      continue;
    }
    const index_t made = by[static_cast<std::size_t>(s.inputs[1])];
    const graph_step* fake = made < 0 ? nullptr : &g.steps[static_cast<std::size_t>(made)];
    if (g.at(fake != nullptr ? fake->inputs[0] : s.inputs[1]).name != weight) continue;
    for (const graph_step& next : g.steps) {
      const bool snaps = next.op.template as<snap_op<>>() != nullptr;
      if (snaps && next.inputs[0] == s.outputs[0]) return next.outputs[0];
    }
    return s.outputs[0];
  }
  return no_value;
}

template <class = void> double decibels(const tensor& exact, const tensor& found) {
  const tensor a = adze::detail::dense_as(exact, f64), b = adze::detail::dense_as(found, f64);
  double signal = 0, error = 0;
  for (index_t i = 0; i < a.numel(); ++i) {
    const double x = a.data_as<double>()[i], d = x - b.data_as<double>()[i];
    signal += x * x, error += d * d;
  }
  if (error == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(signal / error);
}

// The result of one layer in a run of the whole.
template <class = void> tensor run_to_layer(graph g, std::string_view weight, const tensor& x) {
  const value_id id = result_of_layer(g, weight);
  if (id == no_value) {
    raise<value_error>("quant::sensitivity: no layer has the weight ", weight,
                       "; weights need names of their own");
  }
  g.outputs = {id};
  adze::detail::sweep(g);
  return g(x);
}

// The layers that c quantizes, in their order.
template <class = void>
std::vector<layer_loss> quantized_layers(const graph& folded, const config& c) {
  std::vector<layer_loss> all;
  for (const graph_step& s : folded.steps) {
    if (kind_of(folded, s) != step_kind::layer) continue;
    const layer_description d = description_of(folded, s, step_kind::layer);
    if (c.of(d).quantize) all.push_back({std::string(d.name), std::string(d.op)});
  }
  return all;
}

template <class = void> void check_evaluation(std::string_view op, const evaluation& e) {
  if (!e.batches.empty() && e.score) return;
  raise<value_error>(op, ": needs batches to observe and a score; got ", e.batches.size(),
                     " batches, ", e.score ? "a score" : "no score");
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// Quantizes each layer of the float graph alone (everything else stays in floats) and scores the
// converted graph: one calibration and one score per layer. Errors: value_error without batches or
// a score.
template <class = void>
sensitivity_report sensitivity(const graph& floats, const config& c, const evaluation& e) {
  detail::check_evaluation("quant::sensitivity", e);
  const no_grad guard;
  const graph folded = fuse(fold(floats));
  sensitivity_report r{e.score(folded), detail::quantized_layers(folded, c)};
  for (layer_loss& l : r.layers) {
    const config alone = c.keeping([&l](const layer_description& d) { return d.name != l.name; });
    const graph prepared = calibrated(floats, alone, e.batches);
    l.score = e.score(convert(prepared));
    l.sqnr = detail::decibels(detail::run_to_layer(folded, l.name, e.batches[0]),
                              detail::run_to_layer(simulate(prepared), l.name, e.batches[0]));
  }
  std::stable_sort(r.layers.begin(), r.layers.end(), [](const auto& a, const auto& b) {
    return a.score != b.score ? a.score < b.score : a.sqnr < b.sqnr;
  });
  return r;
}

template <class = void> report::table to_table(const sensitivity_report& r) {
  report::table t({"quantized alone", "op", "SQNR dB", "score", "drop"});
  for (const layer_loss& l : r.layers) {
    t.add(l.name, l.op, report::fixed(l.sqnr, 1), report::fixed(l.score, 2),
          report::fixed(r.float_score - l.score, 2));
  }
  return t;
}

struct bounded_conversion {
  graph g{};                          // the converted graph
  std::vector<std::string> floats{};  // weights of the layers that stayed in floats
  double float_score = 0, score = 0;
  bool within = false;  // the bound was kept; false where it is not even with all layers in floats
};

// convert() of the calibrated graph if that scores no more than `drop` below the float graph; else
// the layer that loses most alone is kept in floats, then the next, until it does.
template <class = void>
bounded_conversion convert_within(const graph& floats, const config& c, const evaluation& e,
                                  double drop) {
  detail::check_evaluation("quant::convert_within", e);
  const no_grad guard;
  bounded_conversion r{.float_score = e.score(fuse(fold(floats)))};
  std::vector<layer_loss> order;
  for (std::size_t kept = 0;; ++kept) {
    const config now = c.keeping([&r](const layer_description& d) {
      return std::find(r.floats.begin(), r.floats.end(), d.name) != r.floats.end();
    });
    r.g = detail::converted(calibrated(floats, now, e.batches)).g;
    r.score = e.score(r.g);
    r.within = r.float_score - r.score <= drop;
    if (r.within) return r;
    if (kept == 0) order = sensitivity(floats, c, e).layers;
    if (kept == order.size()) return r;
    r.floats.push_back(order[kept].name);
  }
}

}  // namespace adze::quant::inline ADZE_ISA
