#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <adze/data/loader.hpp>
#include <adze/data/text.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data {
namespace {

using tokens = std::vector<std::int64_t>;

TEST_CASE("text: the vocabulary is the sorted bytes that occur; both ways round") {
  const char_vocabulary v("banana\n");
  CHECK(v.letters() == "\nabn");
  CHECK(v.size() == 4);
  const tensor t = v.encode("nab\n");
  CHECK(t.as<std::int64_t>().to_vector() == tokens{3, 1, 2, 0});
  CHECK(v.decode(t) == "nab\n");
  CHECK(v.decode(v.encode("")).empty());
  CHECK(v.decode(alias(t, {2}, {2})) == "nb");  // a strided view
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const char_vocabulary bytes(all + all);
  CHECK(bytes.size() == 256);
  CHECK(bytes.decode(bytes.encode(all)) == all);
}

TEST_CASE("text: what is not in the vocabulary") {
  const char_vocabulary v("ab");
  CHECK_THROWS_WITH_AS(v.encode("abc"),
                       "encode: a character is not in the vocabulary; 'c' at 2, vocabulary of 2; "
                       "build it from a text that has all of them",
                       value_error);
  CHECK_THROWS_WITH_AS(v.encode("\xC3"),
                       "encode: a character is not in the vocabulary; byte 195 at 0, vocabulary of "
                       "2; build it from a text that has all of them",
                       value_error);
  CHECK_THROWS_WITH_AS(v.decode(tensor_i64{0, 2}),
                       "decode: no such token; got 2 at 1, vocabulary of 2; was it made by another "
                       "vocabulary?",
                       value_error);
  CHECK_THROWS_AS(v.decode(tensor_i64{-1}), value_error);
  CHECK_THROWS_WITH_AS(v.decode(tensor_f32{0}),
                       "decode: tokens are i64; got f32[1]; cast(x, i64) converts", dtype_error);
  CHECK_THROWS_WITH_AS(v.decode(tensor_i64{{0, 1}}),
                       "decode: one row of tokens at a time; got i64[1,2]; pass i64[n]",
                       shape_error);
}

TEST_CASE("text: windows and their targets, one character later") {
  const tensor_i64 ten{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const text_windows w(ten, {.length = 3});
  CHECK(w.size() == 3);  // 0-2, 3-5, 6-8: the target of 8 is 9
  const std::array<index_t, 2> order{2, 0};
  const batch b = w.gather(order);
  CHECK(to_text(b.x) == "i64[2,3]");
  CHECK(b.x.as<std::int64_t>().to_vector() == tokens{6, 7, 8, 0, 1, 2});
  CHECK(b.y.as<std::int64_t>().to_vector() == tokens{7, 8, 9, 1, 2, 3});
  CHECK(text_windows(ten, {.length = 3, .stride = 1}).size() == 7);
  CHECK(text_windows(ten, {.length = 4}).size() == 2);
  CHECK(text_windows(ten, {.length = 9}).size() == 1);
  CHECK(text_windows(ten, {.length = 1, .stride = 100}).size() == 1);
}

TEST_CASE("text: windows through a loader cover the text once") {
  std::string story;
  for (int i = 0; i < 500; ++i) story += static_cast<char>('a' + i * i % 26);
  const char_vocabulary v(story);
  const loader l(text_windows(v.encode(story), {.length = 7}),
                 {.batch_size = 4, .shuffle = true, .workers = 2, .seed = 3});
  std::string again(497, '?');
  const std::vector<index_t> order = l.order(0);
  std::size_t at = 0;
  for (auto& [x, y] : l.epoch(0)) {
    for (index_t i = 0; i < x.size(0); ++i) {
      const tensor row = alias(x, {7}, {1}, i * 7);
      again.replace(static_cast<std::size_t>(order[at++]) * 7, 7, v.decode(row));
      CHECK(v.decode(alias(y, {6}, {1}, i * 7)) == v.decode(row).substr(1));
    }
  }
  CHECK(again == story.substr(0, 497));
}

TEST_CASE("text: wrong windows") {
  const tensor_i64 three{0, 1, 2};
  CHECK_THROWS_WITH_AS(text_windows(three, {.length = 3}),
                       "text_windows: the text is too short; 3 tokens for windows of 3; one more "
                       "token than a window is needed",
                       value_error);
  CHECK_THROWS_WITH_AS(text_windows(three, {.length = 0}),
                       "text_windows: lengths out of range; length 0, stride 0; length >= 1 and "
                       "stride >= 0",
                       value_error);
  CHECK_THROWS_AS(text_windows(three, {.length = 1, .stride = -1}), value_error);
  CHECK_THROWS_AS(text_windows(tensor_f32{0, 1, 2}, {.length = 1}), dtype_error);
  CHECK_THROWS_AS(text_windows(tensor_i64{{0, 1, 2}}, {.length = 1}), shape_error);
  CHECK_THROWS_AS(text_windows(alias(three, {2}, {2}), {.length = 1}), value_error);
  const std::array<index_t, 1> beyond{2};
  CHECK_THROWS_WITH_AS(text_windows(three, {.length = 1}).gather(beyond),
                       "text_windows.gather: index out of range; got 2 of 2 windows; 0 to size - 1 "
                       "are allowed",
                       value_error);
}

}  // namespace
}  // namespace adze::data
