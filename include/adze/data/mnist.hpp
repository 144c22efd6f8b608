#pragma once
// SPDX-License-Identifier: MIT
// The four files of MNIST and of the datasets in its form (Fashion, KMNIST), as two datasets.
// The bytes are read by data/idx.hpp; unpacking .gz is lent by the program, which alone knows
// whether zlib is there.
#include <array>
#include <string>

#include <adze/core/file.hpp>
#include <adze/data/dataset.hpp>
#include <adze/data/idx.hpp>
#include <adze/simd/arch.hpp>

namespace adze::data::inline ADZE_ISA {

struct train_and_test {
  tensor_dataset train;
  tensor_dataset test;
};

struct mnist_options {
  // data::gunzip from data/gzip.hpp, where .gz files shall be read.
  byte_vector (*unpack)(byte_span packed, const std::string& file, index_t limit) = nullptr;
  index_t classes = 10;                   // labels must be below
  index_t byte_limit = index_t{1} << 32;  // of one file, unpacked
};

namespace mnist_files {

// The array of the first of the usual names that exists: NAME-idxR-ubyte, NAME.idxR-ubyte, each
// plain or with .gz.
[[gnu::cold]] inline tensor read(const std::string& folder, const std::string& name, char rank,
                                 const mnist_options& options) {
  std::string packed;
  for (const char* joint : {"-", "."}) {
    const std::string path = folder + "/" + name + joint + "idx" + rank + "-ubyte";
    if (file_exists(path)) return read_idx(read_file(path, options.byte_limit), path);
    if (packed.empty() && file_exists(path + ".gz")) packed = path + ".gz";
  }
  if (packed.empty()) {
    raise<io_error>("mnist: a file is missing; '", folder, "' has no ", name, "-idx", rank,
                    "-ubyte or .gz; put the four files of the dataset there");
  }
  if (options.unpack == nullptr) {
    raise<io_error>("mnist: the file is compressed; '", packed,
                    "'; gunzip it, or link zlib and pass .unpack = data::gunzip (data/gzip.hpp)");
  }
  const byte_vector plain =
      options.unpack(read_file(packed, options.byte_limit), packed, options.byte_limit);
  return read_idx(plain, packed);
}

inline void check(const tensor& images, const tensor& labels, const std::string& part) {
  if (images.dtype() != u8 || images.rank() != 3 || labels.dtype() != u8 || labels.rank() != 1) {
    raise<io_error>("mnist: arrays of another kind; ", part, " images ", images, ", labels ",
                    labels, "; u8[n,h,w] and u8[n] are needed");
  }
  if (images.size(0) != labels.size(0)) {
    raise<io_error>("mnist: not one label per image; ", part, " images ", images, ", labels ",
                    labels, "; do the files belong together?");
  }
}

[[gnu::cold]] inline tensor_dataset load(const std::string& folder, const std::string& part,
                                         const mnist_options& options) {
  const tensor images = read(folder, part + "-images", '3', options);
  const tensor labels = read(folder, part + "-labels", '1', options);
  check(images, labels, part);
  const index_t count = images.size(0);
  tensor x = empty({count, 1, images.size(1), images.size(2)});
  tensor y = empty({count}, i64);
  for (index_t i = 0; i < count; ++i) {
    const std::uint8_t label = labels.data_as<std::uint8_t>()[i];
    if (label >= options.classes) {
      raise<io_error>("mnist: a label is out of range; ", part, " label ", i, " is ", label, " of ",
                      options.classes, " classes; set .classes if there are more");
    }
    y.data_as<std::int64_t>()[i] = label;
  }
  const auto* from = images.data_as<std::uint8_t>();
  auto* to = x.data_as<float>();
  for (index_t i = 0; i < images.numel(); ++i) to[i] = static_cast<float>(from[i]) / 255.0f;
  return {x, y};
}

}  // namespace mnist_files

// Training and test part of the folder's four files: features f32 [n,1,h,w] in [0,1], labels i64
// [n]. io_error: a file is missing, compressed without `unpack`, damaged, or the files do not fit
// together.
inline train_and_test mnist(const std::string& folder, const mnist_options& options = {}) {
  return {mnist_files::load(folder, "train", options), mnist_files::load(folder, "t10k", options)};
}

}  // namespace adze::data::inline ADZE_ISA
