#pragma once
// SPDX-License-Identifier: MIT
// Convolutions of oneDNN 2, forward and both gradients, with all operands in the layouts that it
// prefers: reorders are made once and not timed.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <adze/bench/buffer.hpp>
#include <adze/bench/library.hpp>
#include <adze/kernels/conv_plan.hpp>

#include "dnnl.hpp"

namespace peers {

using adze::index_t;

enum class direction { forward, data, weight };

class dnnl_conv : dnnl {
 public:
  // Plain operands: x [n, c, h, w], w [o, c / groups, kh, kw], y [n, o, oh, ow]. Two of them are
  // read and the third is the result. Nothing where the library or the kernel is missing: see bool.
  dnnl_conv(const adze::kernels::conv_shape& s, direction d, const float* x, const float* w,
            const float* y)
      : direction_(d) {
    const index_t groups = s.groups;
    const std::int64_t xs[] = {s.n, s.c, s.h, s.w}, ys[] = {s.n, s.o, s.out_h(), s.out_w()};
    const std::int64_t ws[] = {s.o, s.c / groups, s.kh, s.kw};
    const std::int64_t gs[] = {groups, s.o / groups, s.c / groups, s.kh, s.kw};
    ready_ = find_functions() && describe(operands_[0], x, 4, xs) &&
             (groups == 1 ? describe(operands_[1], w, 4, ws) : describe(operands_[1], w, 5, gs)) &&
             describe(operands_[2], y, 4, ys) && make_primitive(s) && move_in();
  }

  explicit operator bool() const { return ready_; }
  const std::string& kernel() const { return kernel_; }

  void operator()() const {
    execute_(primitive_, stream_, 3, arguments_.data());
    wait_(stream_);
  }

  // The result, back in its plain layout.
  void read_result(float* to) const {
    const operand& o = operands_[static_cast<std::size_t>(result())];
    opaque plain = nullptr;
    memory_(&plain, o.plain.get(), engine_, to);
    copy(o.preferred, o.memory, o.plain.get(), plain);
  }
  // Wrong until the next call.
  void spoil() {
    adze::bench::aligned_buffer<float>& b = operands_[static_cast<std::size_t>(result())].packed;
    std::fill_n(b.data(), b.size(), std::numeric_limits<float>::quiet_NaN());
  }

 private:
  struct operand {
    const float* data = nullptr;
    std::unique_ptr<descriptor> plain = std::make_unique<descriptor>();
    std::unique_ptr<descriptor> any = std::make_unique<descriptor>();
    const void* preferred = nullptr;
    adze::bench::aligned_buffer<float> packed{0};
    opaque memory = nullptr;
  };
  static constexpr int direct = 1, forward_inference = 96;

  int result() const {
    return direction_ == direction::forward ? 2 : direction_ == direction::data ? 0 : 1;
  }

  bool find_functions() {
    return open() && find(forward_, "dnnl_convolution_forward_desc_init") &&
           find(data_, "dnnl_convolution_backward_data_desc_init") &&
           find(weight_, "dnnl_convolution_backward_weights_desc_init");
  }

  bool describe(operand& o, const float* data, int rank, const std::int64_t* sizes) {
    o.data = data;
    std::int64_t steps[5], step = 1;
    for (int i = rank; i-- > 0; step *= sizes[i]) steps[i] = step;
    return by_strides_(o.plain.get(), rank, sizes, f32, steps) == 0 &&
           by_tag_(o.any.get(), rank, sizes, f32, 1) == 0;
  }

  bool make_primitive(const adze::kernels::conv_shape& s) {
    const std::int64_t strides[] = {s.stride_h, s.stride_w}, pads[] = {s.pad_h, s.pad_w};
    const auto& [x, w, y] = operands_;
    auto op = std::make_unique<descriptor>(), hint_op = std::make_unique<descriptor>();
    opaque hint = nullptr, about = nullptr;
    if (forward_(hint_op.get(), forward_inference + (direction_ == direction::forward ? 0 : -32),
                 direct, x.any.get(), w.any.get(), nullptr, y.any.get(), strides, pads,
                 pads) != 0 ||
        describe_(&hint, hint_op.get(), nullptr, engine_, nullptr) != 0)
      return false;
    std::array<int, 3> queries{129, 131, 133}, indices{1, 33, 17};
    about = hint;
    if (direction_ == direction::data) {
      queries = {130, 131, 134}, indices = {129, 33, 145};
      if (data_(op.get(), direct, x.any.get(), w.any.get(), y.any.get(), strides, pads, pads) !=
              0 ||
          describe_(&about, op.get(), nullptr, engine_, hint) != 0)
        return false;
    } else if (direction_ == direction::weight) {
      queries = {129, 132, 134}, indices = {1, 161, 145};
      if (weight_(op.get(), direct, x.any.get(), w.any.get(), nullptr, y.any.get(), strides, pads,
                  pads) != 0 ||
          describe_(&about, op.get(), nullptr, engine_, hint) != 0)
        return false;
    }
    if (create_(&primitive_, about) != 0) return false;
    const char* name = nullptr;
    if (query_(about, 8, 0, &name) == 0 && name != nullptr) kernel_ = name;
    for (std::size_t i = 0; i < 3; ++i) {
      operands_[i].preferred = query_md_(about, queries[i], 0);
      arguments_[i].index = indices[i];
    }
    return true;
  }

  bool move_in() {
    for (std::size_t i = 0; i < 3; ++i) {
      operand& o = operands_[i];
      o.packed = adze::bench::aligned_buffer<float>(static_cast<index_t>(bytes_(o.preferred) / 4));
      std::fill_n(o.packed.data(), o.packed.size(), 0.0f);
      opaque plain = nullptr;
      if (memory_(&o.memory, o.preferred, engine_, o.packed.data()) != 0 ||
          memory_(&plain, o.plain.get(), engine_, const_cast<float*>(o.data)) != 0)
        return false;
      if (static_cast<int>(i) != result() && !copy(o.plain.get(), plain, o.preferred, o.memory))
        return false;
      arguments_[i].memory = o.memory;
    }
    return true;
  }

  direction direction_;
  bool ready_ = false;
  std::string kernel_;
  std::array<operand, 3> operands_{};
  std::array<argument, 3> arguments_{};
  opaque primitive_ = nullptr;

  status (*forward_)(void*, int, int, const void*, const void*, const void*, const void*,
                     const std::int64_t*, const std::int64_t*, const std::int64_t*) = nullptr;
  status (*data_)(void*, int, const void*, const void*, const void*, const std::int64_t*,
                  const std::int64_t*, const std::int64_t*) = nullptr;
  status (*weight_)(void*, int, const void*, const void*, const void*, const void*,
                    const std::int64_t*, const std::int64_t*, const std::int64_t*) = nullptr;
};

}  // namespace peers
