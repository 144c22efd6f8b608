// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include <adze/core/file.hpp>

namespace adze {
namespace {

// A new folder under the system's temporary one, removed with the files named in it.
struct folder {
  std::string path = text(P_tmpdir, "/adze_test_XXXXXX");
  folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() {
    for (const char* name : {"a", "a.part"}) std::remove((path + "/" + name).c_str());
    ::rmdir(path.c_str());
  }
};

TEST_CASE("file: what is written is read, empty files and zero bytes too") {
  const folder here;
  const std::string path = here.path + "/a";
  CHECK_FALSE(file_exists(path));
  for (const std::size_t size : {0u, 1u, 4096u, 300001u}) {
    byte_vector bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
    write_file(path, bytes);
    CHECK(file_exists(path));
    CHECK(read_file(path) == bytes);
    CHECK(read_file(path, static_cast<index_t>(size)) == bytes);
  }
  write_file(path, std::string_view("text"));
  CHECK(read_file(path) == byte_vector{'t', 'e', 'x', 't'});
  CHECK_FALSE(file_exists(path + ".part"));
  CHECK_FALSE(file_exists(here.path));
}

TEST_CASE("file: sizes that the system does not tell are read to the end") {
  CHECK(read_file("/proc/self/cmdline").size() > 2);
}

TEST_CASE("file: what cannot be read says why") {
  const folder here;
  const std::string path = here.path + "/a";
  CHECK_THROWS_WITH_AS(
      read_file(path),
      ("read_file: cannot open the file; '" + path + "': No such file or directory; check the path")
          .c_str(),
      io_error);
  CHECK_THROWS_WITH_AS(
      read_file(here.path),
      ("read_file: cannot read the file; '" + here.path + "': Is a directory; check the path")
          .c_str(),
      io_error);
  write_file(path, std::string_view("12345"));
  CHECK_THROWS_WITH_AS(read_file(path, 4),
                       ("read_file: the file is too large; '" + path +
                        "' has at least 5 bytes, the limit is 4; pass a higher limit if it is "
                        "trusted")
                           .c_str(),
                       io_error);
}

TEST_CASE("file: a write that fails says why and keeps the old file") {
  const folder here;
  CHECK_THROWS_WITH_AS(write_file(here.path + "/no/a", std::string_view("x")),
                       ("write_file: cannot create the file; '" + here.path +
                        "/no/a': No such file or directory; check that the folder exists, is "
                        "writable and not full")
                           .c_str(),
                       io_error);
  // The target is a folder: the rename fails after the temporary was written, and that is gone.
  CHECK_THROWS_AS(write_file(here.path, std::string_view("x")), io_error);
  CHECK_FALSE(file_exists(here.path + ".part"));
}

}  // namespace
}  // namespace adze
