// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <adze/core/file.hpp>

namespace adze {
namespace {

// A new folder under the system's temporary one, removed with the files in it.
struct folder {
  std::string path = text(P_tmpdir, "/adze_test_XXXXXX");
  folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { std::filesystem::remove_all(path); }

  std::string operator/(const char* name) const { return path + "/" + name; }
  std::size_t entries() const {
    const std::filesystem::directory_iterator all(path);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
};

std::string content(const std::string& path) {
  const byte_vector bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

struct stat status_of(const std::string& path) {
  struct stat s {};
  REQUIRE(::lstat(path.c_str(), &s) == 0);
  return s;
}

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
  CHECK(here.entries() == 1);
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
  CHECK_THROWS_AS(write_file(here.path, std::string_view("x")), io_error);
  CHECK(here.entries() == 0);

  const std::string path = here / "a";
  write_file(path, std::string_view("old"));
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const struct rlimit small { 1000, before.rlim_max };
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  CHECK_THROWS_AS(write_file(path, std::string(2000, 'x')), io_error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(content(path) == "old");
  CHECK(here.entries() == 1);
}

TEST_CASE("file: writers of one path do not mix their bytes") {
  const folder here;
  const std::string path = here / "a";
  std::atomic<int> failures{0};
  std::vector<std::thread> writers;
  for (const char c : {'x', 'y', 'z'}) {
    writers.emplace_back([&, whole = std::string(100000, c)] {
      for (int i = 0; i < 20; ++i) {
        try {
          write_file(path, whole);
          const std::string seen = content(path);
          failures += seen != std::string(100000, seen.at(0));
        } catch (const std::exception&) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& t : writers) t.join();
  CHECK(failures == 0);
  CHECK(here.entries() == 1);
}

TEST_CASE("file: a link is followed, also to a file that is not there yet") {
  const folder here;
  REQUIRE(::mkdir((here / "in").c_str(), 0777) == 0);
  REQUIRE(::symlink("in/link", (here / "a").c_str()) == 0);
  REQUIRE(::symlink("../b", (here / "in/link").c_str()) == 0);
  for (const std::string_view what : {"new", "old"}) {
    write_file(here / "a", what);
    CHECK(content(here / "b") == what);
    CHECK(S_ISLNK(status_of(here / "a").st_mode));
    CHECK(S_ISLNK(status_of(here / "in/link").st_mode));
    CHECK(here.entries() == 3);
  }
  REQUIRE(::symlink("loop", (here / "loop").c_str()) == 0);
  CHECK_THROWS_AS(write_file(here / "loop", std::string_view("x")), io_error);
}

TEST_CASE("file: permissions stay, whatever the mask of new files is") {
  const folder here;
  const std::string path = here / "a";
  for (const mode_t mode : {0600U, 0666U, 0755U}) {
    write_file(path, std::string_view("old"));
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    write_file(path, std::string_view("new"));
    CHECK((status_of(path).st_mode & 07777) == mode);
    CHECK(content(path) == "new");
  }
}

TEST_CASE("file: what is no regular file is written as it is") {
  const folder here;
  const std::string path = here / "a";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  REQUIRE(::symlink("a", (here / "link").c_str()) == 0);
  const detail::descriptor reader(::open(path.c_str(), O_RDWR | O_NONBLOCK));
  for (const std::string& name : {path, here / "link"}) {
    write_file(name, std::string_view("text"));
    char got[8] = {};
    CHECK(::read(reader.get(), got, sizeof got) == 4);
    CHECK(std::string(got) == "text");
    CHECK(S_ISFIFO(status_of(path).st_mode));
    CHECK(here.entries() == 2);
  }
}

TEST_CASE("file: the files of others beside it stay") {
  const folder here;
  write_file(here / "b", std::string_view("mine"));
  const std::string next =
      text(here.path, "/.adze-", ::getpid(), "-", detail::parts_begun + 1, ".part");
  for (const std::string& name : {here / "a.part", next}) {
    std::remove(name.c_str());
    REQUIRE(::symlink("b", name.c_str()) == 0);
  }
  write_file(here / "a", std::string_view("text"));
  CHECK(content(here / "a") == "text");
  CHECK(content(here / "b") == "mine");
  CHECK(here.entries() == 4);
}

}  // namespace
}  // namespace adze
