#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

#include <adze/data/mnist.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data {
namespace {

// A folder with the four files of a tiny dataset: 3 training images of 2 x 2, 1 test image.
struct tiny_mnist {
  std::string path = text(P_tmpdir, "/adze_test_XXXXXX");
  std::vector<std::string> names;

  tiny_mnist() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    put("train-images-idx3-ubyte", array({3, 2, 2}));
    put("train-labels-idx1-ubyte", array({3}));
    put("t10k-images-idx3-ubyte", array({1, 2, 2}));
    put("t10k-labels-idx1-ubyte", array({1}));
  }
  tiny_mnist(const tiny_mnist&) = delete;
  tiny_mnist& operator=(const tiny_mnist&) = delete;
  ~tiny_mnist() {
    for (const auto& name : names) remove(name);
    ::rmdir(path.c_str());
  }

  static byte_vector array(const shape& sizes) {  // 0, 1, 2, ...
    tensor_of<std::uint8_t> x(sizes);
    std::uint8_t next = 0;
    for (auto& v : x) v = next++;
    return write_idx(x);
  }
  void put(const std::string& name, const byte_vector& bytes) {
    write_file(path + "/" + name, bytes);
    names.push_back(name);
  }
  void remove(const std::string& name) const { std::remove((path + "/" + name).c_str()); }
};

// Stands in for gunzip: a "packed" file is its bytes reversed.
byte_vector reversed(byte_span packed, const std::string&, index_t) {
  return {packed.rbegin(), packed.rend()};
}

TEST_CASE("mnist: pixels in [0,1], labels i64, both parts") {
  const tiny_mnist files;
  const auto [train, test] = mnist(files.path);
  CHECK(to_text(train.features()) == "f32[3,1,2,2]");
  CHECK(to_text(test.features()) == "f32[1,1,2,2]");
  CHECK(train.labels().as<std::int64_t>().to_vector() == std::vector<std::int64_t>{0, 1, 2});
  for (index_t i = 0; i < 12; ++i) {
    CHECK(train.features().data_as<float>()[i] == static_cast<float>(i) / 255.0f);
  }
}

TEST_CASE("mnist: the name with a dot, and packed files when the program can unpack") {
  tiny_mnist files;
  files.put("train-labels.idx1-ubyte", tiny_mnist::array({3}));
  files.remove("train-labels-idx1-ubyte");
  CHECK(mnist(files.path).train.size() == 3);
  const byte_vector plain = tiny_mnist::array({1, 2, 2});
  files.put("t10k-images-idx3-ubyte.gz", {plain.rbegin(), plain.rend()});
  CHECK(mnist(files.path).test.size() == 1);  // the plain file wins
  files.remove("t10k-images-idx3-ubyte");
  const std::string packed = files.path + "/t10k-images-idx3-ubyte.gz";
  CHECK_THROWS_WITH_AS(mnist(files.path),
                       ("mnist: the file is compressed; '" + packed +
                        "'; gunzip it, or link zlib and pass .unpack = data::gunzip "
                        "(data/gzip.hpp)")
                           .c_str(),
                       io_error);
  CHECK(mnist(files.path, {.unpack = reversed}).test.size() == 1);
}

TEST_CASE("mnist: files that are missing, damaged or do not fit together") {
  tiny_mnist files;
  const auto fails = [&](const std::string& message) {
    CHECK_THROWS_WITH_AS(mnist(files.path), message.c_str(), io_error);
  };
  files.put("train-labels-idx1-ubyte", tiny_mnist::array({4}));
  fails("mnist: not one label per image; train images u8[3,2,2], labels u8[4]; do the files belong "
        "together?");
  files.put("train-labels-idx1-ubyte", tiny_mnist::array({3, 1}));
  fails("mnist: arrays of another kind; train images u8[3,2,2], labels u8[3,1]; u8[n,h,w] and "
        "u8[n] are needed");
  files.put("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 10});
  fails("mnist: a label is out of range; train label 2 is 10 of 10 classes; set .classes if there "
        "are more");
  CHECK(mnist(files.path, {.classes = 11}).train.size() == 3);
  files.put("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 3, 1, 2});
  fails("idx: the file ends too early; '" + files.path +
        "/train-labels-idx1-ubyte' offset 8: the data needs 3 bytes, 2 are left; is it truncated?");
  CHECK_THROWS_AS(mnist(files.path, {.byte_limit = 5}), io_error);
  files.remove("train-images-idx3-ubyte");
  fails("mnist: a file is missing; '" + files.path +
        "' has no train-images-idx3-ubyte or .gz; put the four files of the dataset there");
}

}  // namespace
}  // namespace adze::data
