#pragma once
// SPDX-License-Identifier: MIT
// Whole files as bytes: reading with a limit, and writing that never leaves half a file behind.
// What the bytes mean is the business of the readers; nothing here parses.
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <adze/core/error.hpp>
#include <adze/fwd.hpp>

namespace adze {

using byte_vector = std::vector<std::uint8_t>;
using byte_span = std::span<const std::uint8_t>;

namespace detail {

// An open file descriptor that closes itself.
class descriptor {
 public:
  explicit descriptor(int value) : value_(value) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { close(); }

  int get() const { return value_; }
  bool close() {
    const int value = std::exchange(value_, -1);
    return value < 0 || ::close(value) == 0;
  }

 private:
  int value_;
};

}  // namespace detail

inline bool file_exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The bytes of a file. io_error: it cannot be opened or read, or holds more than `limit` bytes.
// Grows with what is really read, so that a pipe or a changing file is read correctly as well.
[[gnu::cold]] inline byte_vector read_file(const std::string& path,
                                           index_t limit = std::numeric_limits<index_t>::max()) {
  const auto fail = [&](const char* what) {
    raise<io_error>("read_file: cannot ", what, " the file; '", path, "': ", std::strerror(errno),
                    "; check the path");
  };
  const detail::descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail("open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail("inspect");
  const auto check = [&](index_t size) {
    if (size > limit) {
      raise<io_error>("read_file: the file is too large; '", path, "' has at least ", size,
                      " bytes, the limit is ", limit, "; pass a higher limit if it is trusted");
    }
  };
  check(static_cast<index_t>(status.st_size));

  byte_vector bytes;
  std::size_t used = 0;
  // One byte more than expected, so that the end is seen without growing.
  std::size_t room = static_cast<std::size_t>(status.st_size) + 1;
  for (;;) {
    bytes.resize(used + room);
    const ssize_t count = ::read(file.get(), bytes.data() + used, room);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read");
    if (count == 0) break;
    used += static_cast<std::size_t>(count);
    check(static_cast<index_t>(used));
    room = bytes.size() > used ? bytes.size() - used : std::size_t{1} << 16;
  }
  bytes.resize(used);
  return bytes;
}

namespace detail {

// Where a path leads by way of symbolic links at its end; the file itself need not exist.
[[gnu::cold]] inline std::string followed(std::string path) {
  std::vector<char> to(4096);
  for (int links = 0; links < 40; ++links) {
    const ssize_t size = ::readlink(path.c_str(), to.data(), to.size());
    if (size <= 0) break;
    const std::size_t folder = to[0] == '/' ? 0 : path.rfind('/') + 1;
    path.replace(folder, path.npos, to.data(), static_cast<std::size_t>(size));
  }
  return path;
}

// Numbers the temporary files of this process.
inline std::atomic<std::uint64_t> parts_begun{0};

}  // namespace detail

// Writes a file by way of a temporary beside it, synced and renamed: a reader sees the old bytes or
// the new ones, of one writer. Links are followed and permissions stay. What is no regular file (a
// device, a pipe) is written as it is. io_error: any step failed; the old file is then untouched.
[[gnu::cold]] inline void write_file(const std::string& path, byte_span bytes) {
  std::string temporary;  // once it is ours to remove
  const auto fail = [&](const char* what) {
    const int reason = errno;
    if (!temporary.empty()) ::unlink(temporary.c_str());
    raise<io_error>("write_file: cannot ", what, "; '", path, "': ", std::strerror(reason),
                    "; check that the folder exists, is writable and not full");
  };
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) fail("inspect the file");
  const std::string target = detail::followed(path);
  const bool direct = exists && !file_exists(target);
  const mode_t mode = exists ? old.st_mode & 0777 : 0666;
  int opened = -1;
  if (direct) {
    opened = ::open(path.c_str(), O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
    if (opened < 0) fail("open the file");
  } else {
    std::string name;
    do {  // a name may be taken by a process of this number that was stopped, or on another host
      name = text(target.substr(0, target.rfind('/') + 1), ".adze-", ::getpid(), "-",
                  ++detail::parts_begun, ".part");
      opened = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    } while (opened < 0 && errno == EEXIST);
    if (opened < 0) fail("create the file");
    temporary = std::move(name);
  }
  detail::descriptor file(opened);
  // The mask of new files took from the mode; where it cannot be given back, less is safe.
  if (exists && !direct) ::fchmod(file.get(), mode);
  while (!bytes.empty()) {
    const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  if (!direct && ::fsync(file.get()) != 0) fail("sync");
  if (!file.close()) fail("close");
  if (!direct && std::rename(temporary.c_str(), target.c_str()) != 0) fail("rename");
}

[[gnu::cold]] inline void write_file(const std::string& path, std::string_view text) {
  write_file(path, byte_span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

}  // namespace adze
