#pragma once
// SPDX-License-Identifier: MIT
// What every use of oneDNN 2 needs, found at run time and called without its headers: descriptors
// are opaque bytes, larger than the real ones. The numbers are those of its C interface.
#include <cstddef>
#include <cstdint>

#include <adze/bench/library.hpp>

namespace peers {

class dnnl {
 public:
  dnnl(const dnnl&) = delete;
  dnnl& operator=(const dnnl&) = delete;

 protected:
  using opaque = void*;
  using status = int;
  struct argument {
    int index = 0;
    opaque memory = nullptr;
  };
  struct alignas(64) descriptor {
    std::byte bytes[16384];
  };
  enum type { f32 = 3, s8 = 5, u8 = 6 };
  enum tag { any = 1, vector = 2, row_major = 3 };

  dnnl() = default;

  template <class F> bool find(F*& f, const char* name) {
    f = library_.find<F>(name);
    return f != nullptr;
  }
  bool open() {
    library_ = adze::bench::library::open({"libdnnl.so.2"});
    return library_ && find(by_tag_, "dnnl_memory_desc_init_by_tag") &&
           find(by_strides_, "dnnl_memory_desc_init_by_strides") &&
           find(describe_, "dnnl_primitive_desc_create") &&
           find(query_md_, "dnnl_primitive_desc_query_md") &&
           find(query_, "dnnl_primitive_desc_query") && find(create_, "dnnl_primitive_create") &&
           find(memory_, "dnnl_memory_create") && find(bytes_, "dnnl_memory_desc_get_size") &&
           find(reorder_, "dnnl_reorder_primitive_desc_create") &&
           find(execute_, "dnnl_primitive_execute") && find(wait_, "dnnl_stream_wait") &&
           find(engine_create_, "dnnl_engine_create") &&
           find(stream_create_, "dnnl_stream_create") && engine_create_(&engine_, 1, 0) == 0 &&
           stream_create_(&stream_, engine_, 1) == 0;
  }

  // From one layout to another.
  bool copy(const void* from, opaque source, const void* to, opaque target) const {
    opaque about = nullptr, move = nullptr;
    if (reorder_(&about, from, engine_, to, engine_, nullptr) != 0 || create_(&move, about) != 0)
      return false;
    const argument both[] = {{1, source}, {17, target}};
    return execute_(move, stream_, 2, both) == 0 && wait_(stream_) == 0;
  }

  adze::bench::library library_;
  opaque engine_ = nullptr, stream_ = nullptr;

  status (*by_tag_)(void*, int, const std::int64_t*, int, int) = nullptr;
  status (*by_strides_)(void*, int, const std::int64_t*, int, const std::int64_t*) = nullptr;
  status (*describe_)(opaque*, const void*, opaque, opaque, opaque) = nullptr;
  const void* (*query_md_)(opaque, int, int) = nullptr;
  status (*query_)(opaque, int, int, void*) = nullptr;
  status (*create_)(opaque*, opaque) = nullptr;
  status (*memory_)(opaque*, const void*, opaque, void*) = nullptr;
  std::size_t (*bytes_)(const void*) = nullptr;
  status (*reorder_)(opaque*, const void*, opaque, const void*, opaque, opaque) = nullptr;
  status (*execute_)(opaque, opaque, int, const argument*) = nullptr;
  status (*wait_)(opaque) = nullptr;
  status (*engine_create_)(opaque*, int, std::size_t) = nullptr;
  status (*stream_create_)(opaque*, opaque, unsigned) = nullptr;
};

}  // namespace peers
