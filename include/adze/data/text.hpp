#pragma once
// SPDX-License-Identifier: MIT
// Text for next-character models: a vocabulary of the bytes that occur, encoding both ways, and a
// dataset of windows whose targets are the windows one character later.
// Bytes, not code points: UTF-8 text works and round-trips, its letters may be several tokens.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <adze/data/dataset.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::data {

// A byte as a message shows it: 'a' or byte 10.
template <class = void> std::string describe_byte(char c) {
  const auto value = static_cast<unsigned char>(c);
  if (value > 32 && value < 127) return text("'", std::string_view(&c, 1), "'");
  return text("byte ", static_cast<int>(value));
}

// The distinct bytes of a text in rising order; the position of each is its token.
class char_vocabulary {
 public:
  explicit char_vocabulary(std::string_view sample) {
    token_of_.fill(-1);
    std::array<bool, 256> seen{};
    for (const char c : sample) seen[static_cast<unsigned char>(c)] = true;
    for (std::size_t byte = 0; byte < seen.size(); ++byte) {
      if (!seen[byte]) continue;
      token_of_[byte] = static_cast<std::int16_t>(letters_.size());
      letters_ += static_cast<char>(byte);
    }
  }

  index_t size() const { return static_cast<index_t>(letters_.size()); }
  const std::string& letters() const { return letters_; }

  // Tokens of a text, i64 [n]. value_error: a byte that is not in the vocabulary.
  tensor encode(std::string_view words) const {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (token_of_[static_cast<unsigned char>(words[i])] < 0) {
        raise<value_error>("encode: a character is not in the vocabulary; ",
                           describe_byte(words[i]), " at ", i, ", vocabulary of ", size(),
                           "; build it from a text that has all of them");
      }
    }
    tensor out = empty({static_cast<index_t>(words.size())}, i64);
    auto* to = out.data_as<std::int64_t>();
    for (const char c : words) *to++ = token_of_[static_cast<unsigned char>(c)];
    return out;
  }

  // The text of tokens i64 [n]. dtype_error, shape_error; value_error: no such token.
  std::string decode(const tensor& tokens) const {
    if (tokens.dtype() != i64) {
      raise<dtype_error>("decode: tokens are i64; got ", tokens, "; cast(x, i64) converts");
    }
    if (tokens.rank() != 1) {
      raise<shape_error>("decode: one row of tokens at a time; got ", tokens, "; pass i64[n]");
    }
    std::string out;
    for (index_t i = 0; i < tokens.numel(); ++i) {
      const std::int64_t token = tokens.data_as<std::int64_t>()[i * tokens.stride(0)];
      if (token < 0 || token >= size()) {
        raise<value_error>("decode: no such token; got ", token, " at ", i, ", vocabulary of ",
                           size(), "; was it made by another vocabulary?");
      }
      out += letters_[static_cast<std::size_t>(token)];
    }
    return out;
  }

 private:
  std::string letters_;
  std::array<std::int16_t, 256> token_of_{};
};

struct window_options {
  index_t length = 64;  // tokens of one window
  index_t stride = 0;   // from one window's start to the next one's; 0: the length, no overlap
};

// Windows of a row of tokens: batches x i64 [b, length], y i64 [b, length] with y[i] the token
// after x[i]. Example k starts at k * stride. For a loader.
class text_windows {
 public:
  // dtype_error, shape_error: not i64 [n]; value_error: lengths out of range, or not contiguous.
  text_windows(tensor tokens, const window_options& options)
      : tokens_(std::move(tokens)), length_(options.length),
        stride_(options.stride == 0 ? options.length : options.stride) {
    if (tokens_.dtype() != i64) {
      raise<dtype_error>("text_windows: tokens are i64; got ", tokens_, "; cast(x, i64) converts");
    }
    if (tokens_.rank() != 1) {
      raise<shape_error>("text_windows: one row of tokens is needed; got ", tokens_,
                         "; reshape it to [n]");
    }
    if (!tokens_.is_contiguous()) {
      raise<value_error>("text_windows: the tokens are not contiguous; got ", tokens_,
                         "; contiguous(x) makes a dense copy");
    }
    if (options.length < 1 || options.stride < 0) {
      raise<value_error>("text_windows: lengths out of range; length ", options.length, ", stride ",
                         options.stride, "; length >= 1 and stride >= 0");
    }
    if (options.length >= tokens_.numel()) {
      raise<value_error>("text_windows: the text is too short; ", tokens_.numel(),
                         " tokens for windows of ", options.length,
                         "; one more token than a window is needed");
    }
  }

  index_t size() const { return (tokens_.numel() - 1 - length_) / stride_ + 1; }

  batch gather(std::span<const index_t> indices) const {
    for (const index_t i : indices) {
      if (i < 0 || i >= size()) {
        raise<value_error>("text_windows.gather: index out of range; got ", i, " of ", size(),
                           " windows; 0 to size - 1 are allowed");
      }
    }
    const adze::shape sizes{static_cast<index_t>(indices.size()), length_};
    batch out{empty(sizes, i64), empty(sizes, i64)};
    const auto* from = tokens_.data_as<std::int64_t>();
    auto* x = out.x.data_as<std::int64_t>();
    auto* y = out.y.data_as<std::int64_t>();
    for (const index_t i : indices) {
      const auto* start = from + i * stride_;
      x = std::copy(start, start + length_, x);
      y = std::copy(start + 1, start + 1 + length_, y);
    }
    return out;
  }

 private:
  tensor tokens_;
  index_t length_;
  index_t stride_;
};

}  // namespace adze::data
