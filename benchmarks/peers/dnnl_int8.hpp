#pragma once
// SPDX-License-Identifier: MIT
// Integer products of oneDNN 2, with weights in the layout that it prefers: as a matmul and as an
// inner product, whose kernels differ. Called without its headers: descriptors are opaque bytes,
// larger than the real ones.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <adze/bench/buffer.hpp>
#include <adze/bench/library.hpp>

namespace peers {

using adze::index_t;
using adze::bench::library;

// c[m,n] f32 = scale (a[m,k] b[k,n] + bias[n]); a of u8 or s8 codes, b of s8 codes, row-major.
class dnnl_int8 {
 public:
  struct problem {
    index_t m = 0, n = 0, k = 0;
    bool signed_left = false;
    float scale = 1;
    const float* bias = nullptr;
    bool as_inner_product = false;
  };

  // Nothing where the library or the kernel is missing: see bool.
  dnnl_int8(const problem& p, const std::int8_t* b) : p_(p), b_(b), bias_(p.bias, p.bias + p.n) {
    ready_ = find_functions() && make();
  }
  dnnl_int8(const dnnl_int8&) = delete;
  dnnl_int8& operator=(const dnnl_int8&) = delete;

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
  using opaque = void*;
  using status = int;
  struct argument {
    int index;
    opaque memory;
  };
  struct alignas(64) descriptor {
    std::byte bytes[16384];
  };
  enum type { f32 = 3, s8 = 5, u8 = 6 };
  enum tag { any = 1, vector = 2, row_major = 3 };

  template <class F> bool find(F*& f, const char* name) {
    f = library_.find<F>(name);
    return f != nullptr;
  }
  bool find_functions() {
    library_ = library::open({"libdnnl.so.2"});
    return library_ && find(by_tag_, "dnnl_memory_desc_init_by_tag") &&
           find(by_strides_, "dnnl_memory_desc_init_by_strides") &&
           find(matmul_, "dnnl_matmul_desc_init") &&
           find(inner_, "dnnl_inner_product_forward_desc_init") &&
           find(describe_, "dnnl_primitive_desc_create") &&
           find(query_md_, "dnnl_primitive_desc_query_md") &&
           find(query_, "dnnl_primitive_desc_query") && find(create_, "dnnl_primitive_create") &&
           find(memory_, "dnnl_memory_create") && find(bytes_, "dnnl_memory_desc_get_size") &&
           find(set_handle_, "dnnl_memory_set_data_handle") &&
           find(reorder_, "dnnl_reorder_primitive_desc_create") &&
           find(execute_, "dnnl_primitive_execute") && find(wait_, "dnnl_stream_wait") &&
           find(engine_create_, "dnnl_engine_create") &&
           find(stream_create_, "dnnl_stream_create") &&
           find(attributes_create_, "dnnl_primitive_attr_create") &&
           find(scales_, "dnnl_primitive_attr_set_output_scales") &&
           engine_create_(&engine_, 1, 0) == 0 && stream_create_(&stream_, engine_, 1) == 0;
  }
  bool make_primitive() {
    const bool inner = p_.as_inner_product;
    const std::int64_t a[] = {p_.m, p_.k}, c[] = {p_.m, p_.n}, one[] = {1, p_.n}, line[] = {p_.n};
    const std::int64_t b[] = {inner ? p_.n : p_.k, inner ? p_.k : p_.n};
    const std::int64_t b_steps[] = {inner ? 1 : p_.n, inner ? p_.n : 1};
    auto all = std::make_unique<descriptor[]>(6);
    descriptor &src = all[0], &wei = all[1], &bias = all[2], &dst = all[3], &op = all[4];
    opaque attributes = nullptr, about = nullptr;
    const bool made =
        by_tag_(&src, 2, a, p_.signed_left ? s8 : u8, row_major) == 0 &&
        by_tag_(&wei, 2, b, s8, any) == 0 &&
        by_tag_(&bias, inner ? 1 : 2, inner ? line : one, f32, inner ? vector : row_major) == 0 &&
        by_tag_(&dst, 2, c, f32, row_major) == 0 && by_strides_(&given_, 2, b, s8, b_steps) == 0 &&
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
    packed_ = adze::bench::aligned_buffer<std::int8_t>(static_cast<index_t>(bytes_(preferred_)));
    opaque from = nullptr, about = nullptr, copy = nullptr;
    if (memory_(&from, &given_, engine_, const_cast<std::int8_t*>(b_)) != 0 ||
        memory_(&weights_, preferred_, engine_, packed_.data()) != 0 ||
        reorder_(&about, &given_, engine_, preferred_, engine_, nullptr) != 0 ||
        create_(&copy, about) != 0)
      return false;
    const argument both[] = {{1, from}, {17, weights_}};
    return execute_(copy, stream_, 2, both) == 0 && wait_(stream_) == 0;
  }

  static inline int threads_ = 1;

  problem p_;
  const std::int8_t* b_;
  std::vector<float> bias_;
  int made_for_ = 0;
  bool ready_ = false;
  std::string kernel_;
  library library_;
  adze::bench::aligned_buffer<std::int8_t> packed_{0};
  descriptor given_{};
  const void* preferred_ = nullptr;
  opaque engine_ = nullptr, stream_ = nullptr, primitive_ = nullptr, source_ = nullptr,
         weights_ = nullptr, bias_memory_ = nullptr, result_ = nullptr;

  status (*by_tag_)(void*, int, const std::int64_t*, int, int) = nullptr;
  status (*by_strides_)(void*, int, const std::int64_t*, int, const std::int64_t*) = nullptr;
  status (*matmul_)(void*, const void*, const void*, const void*, const void*) = nullptr;
  status (*inner_)(void*, int, const void*, const void*, const void*, const void*) = nullptr;
  status (*describe_)(opaque*, const void*, opaque, opaque, opaque) = nullptr;
  const void* (*query_md_)(opaque, int, int) = nullptr;
  status (*query_)(opaque, int, int, void*) = nullptr;
  status (*create_)(opaque*, opaque) = nullptr;
  status (*memory_)(opaque*, const void*, opaque, void*) = nullptr;
  std::size_t (*bytes_)(const void*) = nullptr;
  status (*set_handle_)(opaque, void*) = nullptr;
  status (*reorder_)(opaque*, const void*, opaque, const void*, opaque, opaque) = nullptr;
  status (*execute_)(opaque, opaque, int, const argument*) = nullptr;
  status (*wait_)(opaque) = nullptr;
  status (*engine_create_)(opaque*, int, std::size_t) = nullptr;
  status (*stream_create_)(opaque*, opaque, unsigned) = nullptr;
  status (*attributes_create_)(opaque*) = nullptr;
  status (*scales_)(opaque, std::int64_t, int, const float*) = nullptr;
};

}  // namespace peers
