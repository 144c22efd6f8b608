#pragma once
// SPDX-License-Identifier: MIT
// Named tensors in a file of the safetensors format: the size of a JSON header, the header (names,
// dtypes, shapes, places), the bytes of all tensors. Files are untrusted: every size is checked
// before it is used, and the places must cover the data exactly.
#include <algorithm>
#include <set>

#include <adze/core/byte_reader.hpp>
#include <adze/io/json_scanner.hpp>
#include <adze/nn/module.hpp>

namespace adze::io::detail {

struct safetensors_type {
  std::string_view name;
  dtype type;
};
inline constexpr safetensors_type safetensors_types[] = {
    {"F64", f64}, {"F32", f32}, {"F16", f16}, {"BF16", bf16}, {"I64", i64},
    {"I32", i32}, {"I8", i8},   {"U8", u8},   {"BOOL", bool8}};

struct placed_tensor {
  std::string name{};
  dtype type = f32;
  shape sizes{};
  index_t begin = 0, end = 0;
};

inline std::uint64_t little_endian(byte_span bytes) {
  std::uint64_t n = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) n = n << 8 | bytes[i];
  return n;
}

// The dtype, shape and place of one tensor.
inline placed_tensor read_entry(json_scanner& in, std::string name) {
  placed_tensor t{.name = std::move(name)};
  bool typed = false, sized = false, placed = false;
  in.object([&](const std::string& key) {
    const bool again =
        (key == "dtype" && typed) || (key == "shape" && sized) || (key == "data_offsets" && placed);
    if (again) in.fail("a key twice", key);
    if (key == "dtype") {
      const std::string said = in.string();
      const auto found = std::find_if(std::begin(safetensors_types), std::end(safetensors_types),
                                      [&](const safetensors_type& s) { return s.name == said; });
      if (found == std::end(safetensors_types)) in.fail("a dtype that there is not here", said);
      t.type = found->type, typed = true;
    } else if (key == "shape") {
      const std::vector<index_t> n = in.numbers();
      if (n.size() > static_cast<std::size_t>(max_rank)) in.fail("more than 8 axes", t.name);
      index_t all = 1;
      for (const index_t size : n) {
        if (!multiply_sizes(all, std::max<index_t>(1, size), all))
          in.fail("sizes beyond 64 bits", t.name);
      }
      t.sizes = shape(std::span<const index_t>(n)), sized = true;
    } else if (key == "data_offsets") {
      const std::vector<index_t> n = in.numbers();
      if (n.size() != 2) in.fail("data_offsets that are not two numbers", t.name);
      t.begin = n[0], t.end = n[1], placed = true;
    } else {
      in.fail("a key that the format does not have", key);
    }
  });
  if (!typed || !sized || !placed) in.fail("an entry without dtype, shape or data_offsets", t.name);
  index_t bytes = 0;
  if (!multiply_sizes(t.sizes.numel(), size_of(t.type), bytes) || t.begin > t.end ||
      t.end - t.begin != bytes) {
    in.fail("a place of another size than the tensor's", text(t.name, " ", t.type, t.sizes));
  }
  return t;
}

inline std::vector<placed_tensor> read_header(byte_span header, const std::string& file) {
  json_scanner in(header, "safetensors", file);
  std::vector<placed_tensor> all;
  std::set<std::string> seen;
  in.object([&](const std::string& name) {
    if (!seen.insert(name).second) in.fail("a name twice", name);
    if (name == "__metadata__") {
      in.object([&](const std::string&) { static_cast<void>(in.string()); });
    } else {
      all.push_back(read_entry(in, name));
    }
  });
  in.finish();
  return all;
}

}  // namespace adze::io::detail

namespace adze::io::inline ADZE_ISA {

// The bytes of a file with these tensors, in their order. value_error for a name twice or
// undefined tensors. Any layout; the file has dense ones.
inline byte_vector write_safetensors(const named_tensors& all) {
  std::string header = "{";
  index_t at = 0;
  std::set<std::string_view> seen;
  for (const auto& [name, x] : all) {
    if (!x.defined() || name == "__metadata__" || !seen.insert(name).second) {
      raise<value_error>("write_safetensors: names occur once and their tensors are defined; got ",
                         name, " ", x);
    }
    const auto found =
        std::find_if(std::begin(detail::safetensors_types), std::end(detail::safetensors_types),
                     [type = x.dtype()](const auto& t) { return t.type == type; });
    const auto bytes = static_cast<index_t>(adze::detail::checked_bytes(x.shape(), x.dtype()));
    std::string sizes;
    for (const index_t n : x.shape()) sizes += text(sizes.empty() ? "" : ",", n);
    header +=
        text(header.size() > 1 ? "," : "", detail::json_string(name), ":{\"dtype\":\"", found->name,
             "\",\"shape\":[", sizes, "],\"data_offsets\":[", at, ",", at + bytes, "]}");
    at += bytes;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  byte_vector file;
  file.reserve(8 + header.size() + static_cast<std::size_t>(at));
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(header.size()) >> 8 * i));
  }
  file.insert(file.end(), header.begin(), header.end());
  for (const auto& [name, x] : all) {
    const tensor d = adze::detail::dense_copy(x);
    const auto* from = static_cast<const std::uint8_t*>(d.data());
    file.insert(file.end(), from, from + adze::detail::checked_bytes(x.shape(), x.dtype()));
  }
  return file;
}

// The tensors of such bytes, in the order of the header. io_error, with the name of the file, for
// anything that does not hold together.
inline named_tensors read_safetensors(byte_span bytes, const std::string& file) {
  byte_reader in(bytes, "safetensors", file);
  const std::uint64_t size = detail::little_endian(in.take(8, "the size of the header"));
  if (size > static_cast<std::uint64_t>(in.remaining())) {
    in.fail("the header goes beyond the file", text(size, " bytes"), "is it truncated?");
  }
  const auto all = detail::read_header(in.take(static_cast<index_t>(size), "the header"), file);
  std::vector<const detail::placed_tensor*> order;
  for (const detail::placed_tensor& t : all) order.push_back(&t);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  index_t at = 0;
  for (const detail::placed_tensor* t : order) {
    if (t->begin != at) in.fail("tensors overlap or leave a gap", t->name, "is it damaged?");
    at = t->end;
  }
  const byte_span data = in.take(at, "the data");
  in.finish();
  named_tensors r;
  for (const detail::placed_tensor& t : all) {
    const byte_span own =
        data.subspan(static_cast<std::size_t>(t.begin), static_cast<std::size_t>(t.end - t.begin));
    // Other bytes are no value of bool: reading them as one is undefined.
    if (t.type == bool8 && std::any_of(own.begin(), own.end(), [](auto byte) { return byte > 1; }))
      in.fail("a BOOL that is neither 0 nor 1", t.name, "is it damaged?");
    tensor x = empty(t.sizes, t.type);
    if (!own.empty()) std::memcpy(x.data(), own.data(), own.size());
    r.emplace_back(t.name, x);
  }
  return r;
}

// Throws as write_safetensors does, and io_error where the file cannot be written.
inline void save_safetensors(const std::string& path, const named_tensors& all) {
  write_file(path, byte_span(write_safetensors(all)));
}
// Row-major tensors in the order of the file's header; metadata is skipped. io_error for a file
// that cannot be read or does not hold together.
inline named_tensors load_safetensors(const std::string& path) {
  return read_safetensors(read_file(path), path);
}

}  // namespace adze::io::inline ADZE_ISA
