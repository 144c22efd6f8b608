// SPDX-License-Identifier: MIT
// safetensors: what is written is read back, the bytes are the format's, damaged files are refused
// with the name of the file.
#include <algorithm>
#include <cstdio>
#include <iterator>

#include <doctest/doctest.h>

#include <adze/io/safetensors.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/sequential.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/layout.hpp>
#include <adze/quant/sensitivity.hpp>

#include "../ops/checks.hpp"

namespace adze::io {
namespace {

using namespace test;

byte_vector file_of(const std::string& header, std::size_t data) {
  byte_vector f;
  for (int i = 0; i < 8; ++i) f.push_back(static_cast<std::uint8_t>(header.size() >> 8 * i));
  f.insert(f.end(), header.begin(), header.end());
  f.resize(f.size() + data, 7);
  return f;
}
std::string refusal(const byte_vector& f) {
  return message_of([&] { read_safetensors(f, "f"); });
}
std::string refusal(const std::string& header, std::size_t data) {
  return refusal(file_of(header, data));
}

TEST_CASE("safetensors: every dtype and layout, odd names, nothing at all") {
  named_tensors all;
  const tensor x = random({3, 4}, f32) * 50.0;
  for (const dtype t : {f32, f64, f16, bf16, i8, u8, i32, i64, bool8}) {
    all.emplace_back(std::string(name_of(t)), cast(abs(x), t));
  }
  all.emplace_back("turned \"\\\n\x01 \xC3\xA9", transpose(x));
  all.emplace_back("none", zeros({0, 5}));
  all.emplace_back("number", full({}, 2.5));
  const named_tensors back = read_safetensors(write_safetensors(all), "f");
  REQUIRE(back.size() == all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(back[i].first == all[i].first);
    CHECK(back[i].second.dtype() == all[i].second.dtype());
    CHECK(back[i].second.shape() == all[i].second.shape());
    CHECK(numbers(back[i].second) == numbers(all[i].second));
  }
  CHECK(read_safetensors(write_safetensors({}), "f").empty());
  CHECK(message_of([&] {
          write_safetensors({{"a", x}, {"a", x}});
        }).starts_with("write_safetensors: names occur once"));
}

TEST_CASE("safetensors: the bytes of the format; metadata, order and white space are free") {
  const tensor x = tensor_f32{1.0f, -2.0f};
  const byte_vector f = write_safetensors({{"w", x}});
  const std::string header = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
  CHECK(std::string(f.begin() + 8, f.begin() + 8 + static_cast<long>(header.size())) == header);
  CHECK(f[0] % 8 == 0);
  CHECK(f.size() == 8u + f[0] + 8u);
  CHECK(f.back() == 0xC0);
  const std::string other = " { \"__metadata__\" : {\"format\":\"pt\"}, "
                            "\"b\\u00e9\\ud83d\\ude00\":{\"data_offsets\":[2,4],"
                            "\"shape\":[2],\"dtype\":\"U8\"} "
                            ",\"a\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]},"
                            "\"e\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]}}\n ";
  const named_tensors back = read_safetensors(file_of(other, 4), "f");
  REQUIRE(back.size() == 3);
  CHECK(back[0].first == "b\xC3\xA9\xF0\x9F\x98\x80");
  CHECK(numbers(back[0].second) == std::vector<double>{7, 7});
  CHECK(back[1].second.rank() == 0);
}

TEST_CASE("safetensors: the file of LeNet-300-100 in int8 is at most 0.27 of that in f32") {
  manual_seed(2);
  nn::sequential net{nn::linear{{.in = 784, .out = 300}}, [](const tensor& x) { return relu(x); },
                     nn::linear{{.in = 300, .out = 100}}, [](const tensor& x) { return relu(x); },
                     nn::linear{{.in = 100, .out = 10}}};
  const tensor x = random({4, 784}, f32);
  const graph floats = trace(net, x);
  const graph integers = quant::convert(quant::calibrated(floats, quant::full8(), {x}));
  const auto size = [&](const graph& g, const char* name) {
    named_tensors all = named_parameters(g);
    for (const auto& b : named_buffers(g)) all.push_back(b);
    const std::string path = text("adze_test_", name, ".safetensors");
    save_safetensors(path, all);
    const byte_vector bytes = read_file(path);
    const named_tensors back = load_safetensors(path);
    std::remove(path.c_str());
    REQUIRE(back.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(numbers(back[i].second) == numbers(all[i].second));
    }
    return static_cast<double>(bytes.size());
  };
  const double ratio = size(integers, "int8") / size(floats, "f32");
  MESSAGE("int8 over f32: " << ratio);
  CHECK(ratio <= 0.27);
}

TEST_CASE("safetensors: all escapes of names, 8 axes, empty tensors anywhere") {
  const std::string header = "{\"\\b\\f\\n\\r\\t\\/\\u20ac\\u00E9\":{\"dtype\":\"U8\",\"shape\":"
                             "[1,1,2,1,1,1,1,1],\"data_offsets\":[0,2]},"
                             "\"none\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
  const named_tensors back = read_safetensors(file_of(header, 2), "f");
  REQUIRE(back.size() == 2);
  CHECK(back[0].first == "\b\f\n\r\t/\xE2\x82\xAC\xC3\xA9");
  CHECK(back[0].second.shape() == shape{1, 1, 2, 1, 1, 1, 1, 1});
  CHECK(back[1].second.numel() == 0);
}

TEST_CASE("safetensors: damaged files") {
  const auto entry = [](const char* type, const char* sizes, const char* place) {
    return text("{\"a\":{\"dtype\":\"", type, "\",\"shape\":[", sizes, "],\"data_offsets\":[",
                place, "]}}");
  };
  CHECK(refusal(entry("U8", "2", "0,2"), 2) == "no error");
  CHECK(refusal(entry("U8", "2", "0,2"), 1).starts_with("safetensors: the file ends too early"));
  CHECK(refusal(entry("U8", "2", "0,2"), 3).starts_with("safetensors: the file goes on"));
  CHECK(refusal(entry("U8", "2", "1,3"), 3).starts_with("safetensors: tensors overlap or leave"));
  for (const char* place :
       {"0,3", "2,0", "0", "0,1,2", "-1,1", "0,1e3", "0,99999999999999999999"}) {
    CHECK(refusal(entry("U8", "2", place), 2).starts_with("safetensors: the header has"));
  }
  for (const char* sizes : {"9223372036854775807,2", "0,9223372036854775807,2", "1,1,1,1,1,1,1,1,2",
                            "2.0", "\"2\"", "2,"}) {
    CHECK(refusal(entry("U8", sizes, "0,2"), 2).starts_with("safetensors: the header has"));
  }
  CHECK(
      refusal(entry("F32", "4611686018427387904", "0,0"), 0).starts_with("safetensors: the head"));
  CHECK(
      refusal(entry("F8", "2", "0,2"), 2) ==
      "safetensors: the header has a dtype that there is not here; 'f' at 18: F8; is it damaged?");
  for (const char* header :
       {"", "{", "[]", "{}x", "{\"a\"}", "{\"a\":1}", "{\"a\":{}}", "{\"a\":{\"dtype\":\"U8\"}}",
        "{\"a\\x\":{}}", "{\"a\\u12\":{}}", "{\"\\ud800\":{}}", "{\"\\udc00\":{}}", "{\"a",
        "{\"__metadata__\":{\"a\":1}}", "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}",
        "{\"a\":{\"b\":\"c\"}}"}) {
    CHECK_MESSAGE(refusal(header, 0).starts_with("safetensors: the header has"), header);
  }
  const std::string one = entry("U8", "", "0,1");
  CHECK(refusal(one.substr(0, one.size() - 1) + "," + one.substr(1), 1)
            .starts_with("safetensors: the header has a name twice"));
  CHECK(refusal(byte_vector{1, 2, 3}).starts_with("safetensors: the file ends too early"));
  CHECK(refusal(byte_vector(8, 255)).starts_with("safetensors: the header goes beyond the file"));
  // No prefix of a good file is one.
  const byte_vector whole = write_safetensors({{"a", random({3}, f32)}, {"b", random({2}, f64)}});
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CHECK_THROWS_AS(read_safetensors(byte_span(whole).first(n), "f"), io_error);
  }
}

TEST_CASE("safetensors: bytes of BOOL are 0 or 1, or the tensor is refused by its name") {
  byte_vector f = file_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                          "\"b\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[1,4]}}",
                          4);
  for (const int bad : {2, 7, 128, 255}) {
    const std::uint8_t bytes[] = {1, 0, static_cast<std::uint8_t>(bad)};
    std::copy(std::begin(bytes), std::end(bytes), f.end() - 3);
    CHECK(refusal(f) == text("safetensors: a BOOL that is neither 0 nor 1; 'f' offset ", f.size(),
                             ": b; is it damaged?"));
    f.back() = 1;
    const named_tensors back = read_safetensors(f, "f");
    CHECK(numbers(back[0].second) == std::vector<double>{7});
    CHECK(numbers(back[1].second) == std::vector<double>{1, 0, 1});
  }
}

}  // namespace
}  // namespace adze::io
