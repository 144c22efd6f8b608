// SPDX-License-Identifier: MIT
// libtorch behind the C interface of interface.hpp. scripts/bench_peers.sh builds it as a library
// of its own: libtorch's headers take half a minute to compile, and no program of ours needs them.
#include <cstring>

#include <dlfcn.h>
#include <omp.h>

#include <torch/torch.h>

#include "int8.hpp"
#include "interface.hpp"
#include "models.hpp"
#include "ops.hpp"

namespace {

using namespace adze_torch;

thread_local std::string last_error;

template <class F> auto guarded(F f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    last_error = e.what();
    last_error = last_error.substr(0, last_error.find('\n'));
  }
  if constexpr (std::is_pointer_v<decltype(f())>) {
    return nullptr;
  } else {
    return 1;
  }
}

Tensor view_of(const adze_torch_tensor& t) {
  return at::from_blob(const_cast<void*>(t.values), {t.sizes, static_cast<std::size_t>(t.rank)},
                       t.whole != 0 ? at::kLong : at::kFloat);
}

// A network with its first values, its optimizer and, once quantized, its integers.
struct model {
  weight_map weights;
  std::vector<std::pair<Tensor, Tensor>> first;  // (now, then)
  std::unique_ptr<network> net;
  std::unique_ptr<torch::optim::SGD> sgd;
  bool channels_last = false;
  eager floats;
  std::unique_ptr<integers> codes;
  scale_of_codes input;
  at::QEngine engine = at::QEngine::NoQEngine;

  std::vector<Tensor> parameters() const {
    std::vector<Tensor> list;
    for (const auto& [name, x] : weights.all())
      if (x.requires_grad()) list.push_back(x);
    return list;
  }
  Tensor input_of(const adze_torch_tensor& t) const {
    const Tensor x = view_of(t);
    return channels_last && x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
  }
  void restart() {
    const at::NoGradGuard guard;
    for (auto& [now, then] : first) now.copy_(then), now.mutable_grad().reset();
    sgd = std::make_unique<torch::optim::SGD>(parameters(),
                                              torch::optim::SGDOptions(0.01).momentum(0.9));
  }
};

}  // namespace

extern "C" const char* adze_torch_error() { return last_error.c_str(); }
extern "C" const char* adze_torch_version() { return TORCH_VERSION; }

extern "C" void adze_torch_threads(int n) {
  static const int once = at::get_num_threads();  // reads the settings of the environment, once
  static_cast<void>(once);
  omp_set_num_threads(n);
  static const auto blas =
      reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (blas != nullptr) blas(n);
}

extern "C" void* adze_torch_model(const char* kind, const adze_torch_tensor* tensors, int count,
                                  int channels_last) {
  return guarded([&]() -> void* {
    auto made = std::make_unique<model>();
    made->channels_last = channels_last != 0;
    for (int i = 0; i < count; ++i) {
      Tensor x = view_of(tensors[i]).clone();
      if (channels_last != 0 && x.dim() == 4) x = x.contiguous(at::MemoryFormat::ChannelsLast);
      if (std::strstr(tensors[i].name, "running_") == nullptr) x.set_requires_grad(true);
      made->first.emplace_back(x, x.detach().clone());
      made->weights.add(tensors[i].name, x);
    }
    made->net = make_network(kind, made->weights);
    made->weights.check_all_taken();
    made->restart();
    return made.release();
  });
}

extern "C" int adze_torch_restart(void* m) {
  return guarded([&] {
    static_cast<model*>(m)->restart();
    return 0;
  });
}

extern "C" int adze_torch_step(void* handle, const adze_torch_tensor* x, const std::int64_t* y,
                               double rate, double* loss) {
  return guarded([&] {
    model& m = *static_cast<model*>(handle);
    static_cast<torch::optim::SGDOptions&>(m.sgd->param_groups()[0].options()).lr(rate);
    for (Tensor& p : m.sgd->param_groups()[0].params()) p.mutable_grad().reset();
    m.floats.training = true;
    const Tensor logits = m.net->run(m.floats, m.input_of(*x));
    const Tensor labels = at::from_blob(const_cast<std::int64_t*>(y), {logits.size(0)}, at::kLong);
    const Tensor l = at::cross_entropy_loss(logits, labels);
    l.backward();
    m.sgd->step();
    *loss = l.item<double>();
    return 0;
  });
}

extern "C" int adze_torch_forward(void* handle, const adze_torch_tensor* x, float* out) {
  return guarded([&] {
    const c10::InferenceMode guard;
    model& m = *static_cast<model*>(handle);
    m.floats.training = false;
    Tensor y;
    if (m.codes) {
      if (at::globalContext().qEngine() != m.engine) at::globalContext().setQEngine(m.engine);
      m.codes->restart();
      y = at::quantize_per_tensor(m.input_of(*x), m.input.scale, m.input.zero, at::kQUInt8);
      y = m.net->run(*m.codes, y).dequantize();
    } else {
      y = m.net->run(m.floats, m.input_of(*x));
    }
    y = y.contiguous();
    std::memcpy(out, y.data_ptr<float>(), static_cast<std::size_t>(y.numel()) * sizeof(float));
    return 0;
  });
}

extern "C" int adze_torch_quantize(void* handle, const char* engine, const adze_torch_tensor* x) {
  return guarded([&] {
    const at::NoGradGuard guard;
    model& m = *static_cast<model*>(handle);
    const at::QEngine wanted =
        std::strcmp(engine, "onednn") == 0 ? at::QEngine::ONEDNN : at::QEngine::QNNPACK;
    at::globalContext().setQEngine(wanted);
    at::set_num_threads(1);  // the pool that QNNPACK uses, too
    observer watch;
    m.net->run(watch, m.input_of(*x));
    m.input = codes_for(view_of(*x));
    m.engine = wanted;
    m.codes = std::make_unique<integers>(watch.seen);
    return 0;
  });
}

extern "C" void* adze_torch_op(const char* name, const float* values, std::int64_t rows,
                               std::int64_t columns) {
  return guarded([&]() -> void* {
    const Tensor x = at::from_blob(const_cast<float*>(values), {rows, columns}, at::kFloat);
    return make_op(name, x).release();
  });
}
extern "C" int adze_torch_run(void* op) {
  return guarded([&] {
    const at::NoGradGuard guard;
    static_cast<row_op*>(op)->call();
    return 0;
  });
}
extern "C" float* adze_torch_result(void* op) {
  return guarded([&] { return static_cast<row_op*>(op)->y.data_ptr<float>(); });
}
extern "C" void adze_torch_free_op(void* op) { delete static_cast<row_op*>(op); }
