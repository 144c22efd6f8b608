#pragma once
// SPDX-License-Identifier: MIT
// Products of oneDNN 2 with weights in the layout that it prefers: as a matmul and as an inner
// product, whose kernels differ.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <adze/bench/buffer.hpp>
#include <adze/bench/library.hpp>

#include "dnnl.hpp"

namespace peers {

using adze::index_t;
using adze::bench::library;

// c[m,n] f32 = scale (a[m,k] b[k,n] + bias[n]), row-major; a of u8 or s8 codes and b of s8 codes,
// or both of floats.
class dnnl_product : dnnl {
 public:
  enum class left { u8, s8, f32 };
  struct problem {
    index_t m = 0, n = 0, k = 0;
    left type = left::u8;
    bool b_transposed = false;  // stored [n,k]
    float scale = 1;
    const float* bias = nullptr;
    bool as_inner_product = false;
  };

  // Nothing where the library or the kernel is missing: see bool.
  dnnl_product(const problem& p, const void* b) : p_(p), b_(b) {
    bias_.assign(static_cast<std::size_t>(p.n), 0.0f);
    if (p.bias != nullptr) bias_.assign(p.bias, p.bias + p.n);
    ready_ = find_functions() && make();
  }

  explicit operator bool() const { return ready_; }
  const std::string& kernel() const { return kernel_; }
  // A primitive is made for a number of threads: all are made anew for another one.
  static void set_threads(int n) {
    threads_ = n;
    static const library openmp = library::open({"libgomp.so.1"});
    if (auto* set = openmp.find<void(int)>("omp_set_num_threads")) set(n);
  }

  void operator()(const void* a, float* c) {
    if (made_for_ != threads_) make();
    set_handle_(source_, const_cast<void*>(a));
    set_handle_(result_, c);
    const argument all[] = {{1, source_}, {33, weights_}, {41, bias_memory_}, {17, result_}};
    execute_(primitive_, stream_, 4, all);
    wait_(stream_);
  }

 private:
  bool find_functions() {
    return open() && find(matmul_, "dnnl_matmul_desc_init") &&
           find(inner_, "dnnl_inner_product_forward_desc_init") &&
           find(set_handle_, "dnnl_memory_set_data_handle") &&
           find(attributes_create_, "dnnl_primitive_attr_create") &&
           find(scales_, "dnnl_primitive_attr_set_output_scales");
  }
  bool make_primitive() {
    const bool inner = p_.as_inner_product;
    const std::int64_t a[] = {p_.m, p_.k}, c[] = {p_.m, p_.n}, one[] = {1, p_.n}, line[] = {p_.n};
    const std::int64_t b[] = {inner ? p_.n : p_.k, inner ? p_.k : p_.n};
    const std::int64_t down = p_.b_transposed ? 1 : p_.n, across = p_.b_transposed ? p_.k : 1;
    const std::int64_t b_steps[] = {inner ? across : down, inner ? down : across};
    const type codes = p_.type == left::s8 ? s8 : u8, a_type = p_.type == left::f32 ? f32 : codes;
    const type b_type = p_.type == left::f32 ? f32 : s8;
    auto all = std::make_unique<descriptor[]>(6);
    descriptor &src = all[0], &wei = all[1], &bias = all[2], &dst = all[3], &op = all[4];
    opaque attributes = nullptr, about = nullptr;
    const bool made =
        by_tag_(&src, 2, a, a_type, row_major) == 0 && by_tag_(&wei, 2, b, b_type, any) == 0 &&
        by_tag_(&bias, inner ? 1 : 2, inner ? line : one, f32, inner ? vector : row_major) == 0 &&
        by_tag_(&dst, 2, c, f32, row_major) == 0 &&
        by_strides_(&given_, 2, b, b_type, b_steps) == 0 &&
        (inner ? inner_(&op, 96, &src, &wei, &bias, &dst)
               : matmul_(&op, &src, &wei, &bias, &dst)) == 0 &&
        attributes_create_(&attributes) == 0 && scales_(attributes, 1, 0, &p_.scale) == 0 &&
        describe_(&about, &op, attributes, engine_, nullptr) == 0 &&
        create_(&primitive_, about) == 0;
    if (!made) return false;
    const char* name = nullptr;
    if (query_(about, 8, 0, &name) == 0 && name != nullptr) kernel_ = name;
    preferred_ = query_md_(about, 131, 0);
    return memory_(&source_, &src, engine_, nullptr) == 0 &&
           memory_(&result_, &dst, engine_, nullptr) == 0 &&
           memory_(&bias_memory_, &bias, engine_, bias_.data()) == 0;
  }
  bool make() {
    made_for_ = threads_;
    return make_primitive() && pack();
  }
  bool pack() {
    packed_ = adze::bench::aligned_buffer<std::byte>(static_cast<index_t>(bytes_(preferred_)));
    opaque from = nullptr;
    return memory_(&from, &given_, engine_, const_cast<void*>(b_)) == 0 &&
           memory_(&weights_, preferred_, engine_, packed_.data()) == 0 &&
           copy(&given_, from, preferred_, weights_);
  }

  static inline int threads_ = 1;

  problem p_;
  const void* b_;
  std::vector<float> bias_;
  int made_for_ = 0;
  bool ready_ = false;
  std::string kernel_;
  adze::bench::aligned_buffer<std::byte> packed_{0};
  descriptor given_{};
  const void* preferred_ = nullptr;
  opaque primitive_ = nullptr, source_ = nullptr, weights_ = nullptr, bias_memory_ = nullptr,
         result_ = nullptr;

  status (*matmul_)(void*, const void*, const void*, const void*, const void*) = nullptr;
  status (*inner_)(void*, int, const void*, const void*, const void*, const void*) = nullptr;
  status (*set_handle_)(opaque, void*) = nullptr;
  status (*attributes_create_)(opaque*) = nullptr;
  status (*scales_)(opaque, std::int64_t, int, const float*) = nullptr;
};

}  // namespace peers
