#pragma once
// SPDX-License-Identifier: MIT
// A trainer in plain loops over doubles that shares no line with the library: dense and convolution
// layers, ReLU, max pooling, cross entropy, SGD with momentum. What the library is held to.
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace plain {

using array = std::vector<double>;

struct parameter {
  array value, gradient, buffer;
};

// Rows are examples. `backward` follows its `forward`, and leaves gradients in the parameters.
struct layer {
  virtual ~layer() = default;
  virtual array forward(const array& x, std::size_t batch) = 0;
  virtual array backward(const array& dy, std::size_t batch) = 0;
  std::vector<parameter> parameters;  // weight, bias
};

// y[n][o] = sum_i x[n][i] w[o][i] + b[o]
struct dense : layer {
  std::size_t in, out;
  array x;
  dense(std::size_t in_size, std::size_t out_size) : in(in_size), out(out_size) {
    parameters = {{array(out * in), {}, {}}, {array(out), {}, {}}};
  }
  array forward(const array& input, std::size_t batch) override {
    x = input;
    array y(batch * out);
    for (std::size_t n = 0; n < batch; ++n) {
      for (std::size_t o = 0; o < out; ++o) {
        double sum = parameters[1].value[o];
        for (std::size_t i = 0; i < in; ++i) sum += x[n * in + i] * parameters[0].value[o * in + i];
        y[n * out + o] = sum;
      }
    }
    return y;
  }
  array backward(const array& dy, std::size_t batch) override {
    array dx(batch * in);
    parameters[0].gradient.assign(out * in, 0.0);
    parameters[1].gradient.assign(out, 0.0);
    for (std::size_t n = 0; n < batch; ++n) {
      for (std::size_t o = 0; o < out; ++o) {
        const double g = dy[n * out + o];
        parameters[1].gradient[o] += g;
        for (std::size_t i = 0; i < in; ++i) {
          parameters[0].gradient[o * in + i] += g * x[n * in + i];
          dx[n * in + i] += g * parameters[0].value[o * in + i];
        }
      }
    }
    return dx;
  }
};

struct relu : layer {
  array x;
  array forward(const array& input, std::size_t) override {
    x = input;
    array y = x;
    for (double& v : y) v = v > 0.0 ? v : 0.0;
    return y;
  }
  array backward(const array& dy, std::size_t) override {
    array dx = dy;
    for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = x[i] > 0.0 ? dx[i] : 0.0;
    return dx;
  }
};

// y[n][o][r][c] = b[o] + sum_{i,u,v} x[n][i][r+u][c+v] w[o][i][u][v], without padding.
struct conv : layer {
  std::size_t in, out, kernel, side;  // side: of the square input
  array x;
  conv(std::size_t in_channels, std::size_t out_channels, std::size_t kernel_side,
       std::size_t input_side)
      : in(in_channels), out(out_channels), kernel(kernel_side), side(input_side) {
    parameters = {{array(out * in * kernel * kernel), {}, {}}, {array(out), {}, {}}};
  }
  // f(index of y, index of x, index of w) for every product.
  template <class F> void products(std::size_t batch, F f) const {
    const std::size_t to = side - kernel + 1;
    for (std::size_t n = 0; n < batch; ++n)
      for (std::size_t o = 0; o < out; ++o)
        for (std::size_t r = 0; r < to; ++r)
          for (std::size_t c = 0; c < to; ++c)
            for (std::size_t i = 0; i < in; ++i)
              for (std::size_t u = 0; u < kernel; ++u)
                for (std::size_t v = 0; v < kernel; ++v)
                  f(((n * out + o) * to + r) * to + c, ((n * in + i) * side + r + u) * side + c + v,
                    ((o * in + i) * kernel + u) * kernel + v);
  }
  array forward(const array& input, std::size_t batch) override {
    x = input;
    const std::size_t area = (side - kernel + 1) * (side - kernel + 1);
    array y(batch * out * area);
    for (std::size_t k = 0; k < y.size(); ++k) y[k] = parameters[1].value[k / area % out];
    products(batch, [&](std::size_t at, std::size_t from, std::size_t weight) {
      y[at] += x[from] * parameters[0].value[weight];
    });
    return y;
  }
  array backward(const array& dy, std::size_t batch) override {
    const std::size_t area = (side - kernel + 1) * (side - kernel + 1);
    array dx(x.size());
    parameters[0].gradient.assign(parameters[0].value.size(), 0.0);
    parameters[1].gradient.assign(out, 0.0);
    for (std::size_t k = 0; k < dy.size(); ++k) parameters[1].gradient[k / area % out] += dy[k];
    products(batch, [&](std::size_t at, std::size_t from, std::size_t weight) {
      dx[from] += dy[at] * parameters[0].value[weight];
      parameters[0].gradient[weight] += dy[at] * x[from];
    });
    return dx;
  }
};

// The largest of each 2 x 2 pixels; the gradient goes to the first that is.
struct max_pool : layer {
  std::size_t channels, side;
  std::vector<std::size_t> chosen;
  std::size_t inputs = 0;
  max_pool(std::size_t channel_count, std::size_t input_side)
      : channels(channel_count), side(input_side) {}
  array forward(const array& x, std::size_t batch) override {
    const std::size_t to = side / 2;
    inputs = x.size();
    chosen.clear();
    array y;
    for (std::size_t plane = 0; plane < batch * channels; ++plane) {
      for (std::size_t r = 0; r < to; ++r) {
        for (std::size_t c = 0; c < to; ++c) {
          std::size_t best = (plane * side + 2 * r) * side + 2 * c;
          for (const std::size_t step : {std::size_t{1}, side, side + 1}) {
            const std::size_t other = (plane * side + 2 * r) * side + 2 * c + step;
            if (x[other] > x[best]) best = other;
          }
          chosen.push_back(best);
          y.push_back(x[best]);
        }
      }
    }
    return y;
  }
  array backward(const array& dy, std::size_t) override {
    array dx(inputs);
    for (std::size_t k = 0; k < dy.size(); ++k) dx[chosen[k]] += dy[k];
    return dx;
  }
};

struct sgd {
  double lr, momentum, weight_decay;
};

struct network {
  std::vector<std::unique_ptr<layer>> layers;

  template <class L> void add(L l) { layers.push_back(std::make_unique<L>(std::move(l))); }

  // One step of training; the mean cross entropy before it.
  double train(array x, const std::vector<std::size_t>& labels, const sgd& o) {
    const std::size_t batch = labels.size();
    for (auto& l : layers) x = l->forward(x, batch);
    const std::size_t classes = x.size() / batch;
    double loss = 0.0;
    for (std::size_t n = 0; n < batch; ++n) {
      double* row = x.data() + n * classes;
      double top = row[0], sum = 0.0;
      for (std::size_t c = 1; c < classes; ++c) top = row[c] > top ? row[c] : top;
      for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - top);
      loss += (std::log(sum) + top - row[labels[n]]) / static_cast<double>(batch);
      for (std::size_t c = 0; c < classes; ++c) {
        const double p = std::exp(row[c] - top) / sum;
        row[c] = (p - (c == labels[n] ? 1.0 : 0.0)) / static_cast<double>(batch);
      }
    }
    for (std::size_t i = layers.size(); i-- > 0;) x = layers[i]->backward(x, batch);
    for (auto& l : layers) {
      for (parameter& p : l->parameters) update(p, o);
    }
    return loss;
  }

  static void update(parameter& p, const sgd& o) {
    const bool first = p.buffer.empty();
    if (first) p.buffer.resize(p.value.size());
    for (std::size_t i = 0; i < p.value.size(); ++i) {
      const double g = p.gradient[i] + o.weight_decay * p.value[i];
      p.buffer[i] = first ? g : o.momentum * p.buffer[i] + g;
      p.value[i] -= o.lr * p.buffer[i];
    }
  }
};

}  // namespace plain
