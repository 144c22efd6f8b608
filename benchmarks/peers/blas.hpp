#pragma once
// SPDX-License-Identifier: MIT
// Matrix products of the libraries that this machine has: OpenBLAS, BLIS, MKL, oneDNN, and Eigen
// built by scripts/bench_peers.sh. All row-major with natural leading dimensions.
#include <cstdint>
#include <string>
#include <vector>

#include <adze/bench/library.hpp>

namespace peers {

using adze::index_t;
using adze::bench::library;

struct product {
  bool transpose_a = false, transpose_b = false;
  index_t m = 0, n = 0, k = 0;

  int lda() const { return static_cast<int>(transpose_a ? m : k); }
  int ldb() const { return static_cast<int>(transpose_b ? k : n); }
};

struct sgemm_peer {
  std::string name;
  std::string version;
  void (*call)(const sgemm_peer&, const product&, const float* a, const float* b, float* c);
  void* function = nullptr;
  void (*set_threads)(const sgemm_peer&, int) = nullptr;
  void* threads_function = nullptr;

  void operator()(const product& p, const float* a, const float* b, float* c) const {
    call(*this, p, a, b, c);
  }
};

namespace detail {

using cblas_sgemm = void(int order, int ta, int tb, int m, int n, int k, float alpha,
                         const float* a, int lda, const float* b, int ldb, float beta, float* c,
                         int ldc);
using dnnl_sgemm = int(char ta, char tb, std::int64_t m, std::int64_t n, std::int64_t k,
                       float alpha, const float* a, std::int64_t lda, const float* b,
                       std::int64_t ldb, float beta, float* c, std::int64_t ldc);
using eigen_sgemm = void(int ta, int tb, std::int64_t m, std::int64_t n, std::int64_t k,
                         const float* a, const float* b, float* c);

inline void call_cblas(const sgemm_peer& self, const product& p, const float* a, const float* b,
                       float* c) {
  const auto transpose = [](bool t) { return t ? 112 : 111; };
  const auto n = static_cast<int>(p.n);
  reinterpret_cast<cblas_sgemm*>(self.function)(
      101, transpose(p.transpose_a), transpose(p.transpose_b), static_cast<int>(p.m), n,
      static_cast<int>(p.k), 1, a, p.lda(), b, p.ldb(), 0, c, n);
}

inline void call_dnnl(const sgemm_peer& self, const product& p, const float* a, const float* b,
                      float* c) {
  reinterpret_cast<dnnl_sgemm*>(self.function)(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N',
                                               p.m, p.n, p.k, 1, a, p.lda(), b, p.ldb(), 0, c, p.n);
}

inline void call_eigen(const sgemm_peer& self, const product& p, const float* a, const float* b,
                       float* c) {
  reinterpret_cast<eigen_sgemm*>(self.function)(p.transpose_a, p.transpose_b, p.m, p.n, p.k, a, b,
                                                c);
}

template <class Integer> void call_threads(const sgemm_peer& self, int n) {
  reinterpret_cast<void (*)(Integer)>(self.threads_function)(Integer(n));
}

template <class F> void* address(F* f) { return reinterpret_cast<void*>(f); }

}  // namespace detail

// Those that can be loaded here, in a fixed order.
inline std::vector<sgemm_peer> sgemm_peers() {
  using namespace detail;
  std::vector<sgemm_peer> found;
  const auto add = [&](const char* name, const library& l, const char* symbol, auto call) {
    void* f = address(l.find<void()>(symbol));
    if (f == nullptr) return static_cast<sgemm_peer*>(nullptr);
    found.push_back({name, l.name(), call, f});
    return &found.back();
  };
  const library openblas = library::open({"libopenblas.so.0", "libopenblas.so"});
  if (sgemm_peer* p = add("OpenBLAS", openblas, "cblas_sgemm", call_cblas)) {
    if (auto* config = openblas.find<char*()>("openblas_get_config")) p->version = config();
    p->threads_function = address(openblas.find<void(int)>("openblas_set_num_threads"));
    p->set_threads = call_threads<int>;
  }
  const library blis = library::open({"libblis.so.4", "libblis.so.3", "libblis.so"});
  if (sgemm_peer* p = add("BLIS", blis, "cblas_sgemm", call_cblas)) {
    if (auto* version = blis.find<const char*()>("bli_info_get_version_str"))
      p->version = version();
    p->threads_function = address(blis.find<void(std::int64_t)>("bli_thread_set_num_threads"));
    p->set_threads = call_threads<std::int64_t>;
  }
  const library mkl = library::open({"libmkl_rt.so.2", "libmkl_rt.so"});
  if (sgemm_peer* p = add("MKL", mkl, "cblas_sgemm", call_cblas)) {
    p->threads_function = address(mkl.find<void(int)>("MKL_Set_Num_Threads"));
    p->set_threads = call_threads<int>;
  }
  const library dnnl = library::open({"libdnnl.so.3", "libdnnl.so.2"});
  if (sgemm_peer* p = add("oneDNN", dnnl, "dnnl_sgemm", call_dnnl)) {
    static const library openmp = library::open({"libgomp.so.1", "libomp.so.5"});
    p->threads_function = address(openmp.find<void(int)>("omp_set_num_threads"));
    p->set_threads = call_threads<int>;
  }
  for (const char* compiler : {"gcc", "clang"}) {
    const std::string file = std::string("libadze_eigen_") + compiler + ".so";
    const library eigen = library::open({file.c_str()});
    if (sgemm_peer* p = add((std::string("Eigen-") + compiler).c_str(), eigen, "adze_eigen_sgemm",
                            call_eigen)) {
      if (auto* version = eigen.find<const char*()>("adze_eigen_version")) p->version = version();
    }
  }
  return found;
}

}  // namespace peers
