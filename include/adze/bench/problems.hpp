#pragma once
// SPDX-License-Identifier: MIT
// Problem lists as plain text, one problem a line, so that the shapes of a network are data:
//   gemm  resnet18.fc  m=1 n=1000 k=512 b=t  #resnet18 #inference
// A word for the kernel, a name, sizes and letters as key=value, tags; "# " begins a comment.
// What the keys mean is the business of the program that reads them.
#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <adze/core/error.hpp>
#include <adze/core/file.hpp>
#include <adze/fwd.hpp>

namespace adze::bench {

class problem {
 public:
  std::string kernel;
  std::string name;
  std::vector<std::pair<std::string, std::string>> values{};
  std::vector<std::string> tags{};

  bool has(std::string_view key) const { return find(key) != nullptr; }

  // A size. value_error: the key is missing, or its value is no whole number of at least 0.
  index_t size(std::string_view key) const {
    const std::string* value = find(key);
    if (value == nullptr)
      raise<value_error>("problem: no ", key, "; '", text(), "'; add ", key, "=<size>");
    index_t n = 0;
    const auto end = std::from_chars(value->data(), value->data() + value->size(), n);
    if (end.ec != std::errc() || end.ptr != value->data() + value->size() || n < 0)
      raise<value_error>("problem: ", key, " is no size; '", *value, "' in '", text(), "'");
    return n;
  }
  index_t size(std::string_view key, index_t otherwise) const {
    return has(key) ? size(key) : otherwise;
  }

  // A word, such as t or n for a transpose.
  std::string word(std::string_view key, std::string otherwise = "") const {
    const std::string* value = find(key);
    return value == nullptr ? otherwise : *value;
  }

  // The sizes as they stand in the list: "m=64 n=64 k=64".
  std::string sizes() const {
    std::string out;
    for (const auto& [key, value] : values) out += (out.empty() ? "" : " ") + key + "=" + value;
    return out;
  }

  // The problem as a line of a list, without its tags: parse_problem reads it back.
  std::string text() const { return kernel + " " + name + (values.empty() ? "" : " ") + sizes(); }

 private:
  const std::string* find(std::string_view key) const {
    for (const auto& [own, value] : values)
      if (own == key) return &value;
    return nullptr;
  }
};

// One line of a list. value_error: the line has no kernel and name, or a word that is neither
// key=value nor #tag, or a key twice.
inline problem parse_problem(std::string_view line) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    if (end > at) words.emplace_back(line.substr(at, end - at));
    if (!words.empty() && words.back() == "#") {
      words.pop_back();
      break;
    }
    at = end + 1;
  }
  const auto fail = [&](const auto&... what) {
    raise<value_error>("parse_problem: ", what..., "; '", line,
                       "'; write: kernel name key=value ... #tag");
  };
  if (words.size() < 2) fail("a kernel and a name are needed");
  problem made{words[0], words[1]};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& w = words[i];
    const std::size_t equals = w.find('=');
    if (i < 2) {
      if (equals != w.npos || w[0] == '#') fail("a kernel and a name are needed first");
    } else if (w[0] == '#') {
      made.tags.push_back(w.substr(1));
    } else if (equals == 0 || equals == w.npos || equals + 1 == w.size()) {
      fail("'", w, "' is neither key=value nor a tag");
    } else if (made.has(w.substr(0, equals))) {
      fail(w.substr(0, equals), " is given twice");
    } else {
      made.values.emplace_back(w.substr(0, equals), w.substr(equals + 1));
    }
  }
  return made;
}

// All problems of a text; empty lines and lines that begin with # are left out. value_error with
// the number of the line.
inline std::vector<problem> parse_problems(std::string_view text,
                                           std::string_view source = "list") {
  std::vector<problem> found;
  index_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t first = line.find_first_not_of(" \t\r");
    at = end + 1;
    if (first == line.npos || line[first] == '#') continue;
    try {
      found.push_back(parse_problem(line));
    } catch (const value_error& e) {
      raise<value_error>(source, ":", number, ": ", e.what());
    }
  }
  return found;
}

// The problems of a file. io_error: it cannot be read or has more than 16 MiB.
inline std::vector<problem> read_problems(const std::string& path) {
  const byte_vector bytes = read_file(path, index_t(16) << 20);
  return parse_problems({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

// Whether a word of the command line chooses this problem: a part of its text, or #tag.
inline bool matches(const problem& p, std::string_view wanted) {
  if (!wanted.empty() && wanted.front() == '#')
    return std::find(p.tags.begin(), p.tags.end(), wanted.substr(1)) != p.tags.end();
  return p.text().find(wanted) != std::string::npos;
}

}  // namespace adze::bench
