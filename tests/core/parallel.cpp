// parallel_for: chunks, nesting, exceptions, several callers, fork, exit.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>

namespace adze {
namespace {

struct thread_count {  // for one scope
  explicit thread_count(int n) : before(threads()) { set_threads(n); }
  ~thread_count() { set_threads(before); }
  int before;
};

// How often each of n elements is visited, and whether each chunk is one of the promised ones.
bool covers_once(index_t n, index_t chunk) {
  std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
  std::atomic<int> bad{0};
  parallel_for(n, chunk, [&](index_t begin, index_t end) {
    if (begin % chunk != 0 || (end - begin != chunk && end != n) || end <= begin) ++bad;
    for (index_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  for (const auto& v : visits) bad += v.load() != 1;
  return bad == 0;
}

// Sum of 1/i in a fixed tree: partial sums by chunk, then in order.
float chunked_sum(index_t n, index_t chunk) {
  std::vector<float> part(static_cast<std::size_t>(chunk_count(n, chunk)));
  parallel_for(n, chunk, [&](index_t begin, index_t end) {
    float s = 0;
    for (index_t i = begin; i < end; ++i) s += 1.0f / static_cast<float>(i + 1);
    part[static_cast<std::size_t>(begin / chunk)] = s;
  });
  float s = 0;
  for (const float p : part) s += p;
  return s;
}

// Ends with true only if n threads are inside together.
bool meet(int n) {
  std::atomic<int> arrived{0};
  parallel_for(n, 1, [&](index_t, index_t) {
    ++arrived;
    while (arrived < n) std::this_thread::yield();
  });
  return arrived == n;
}

int exit_code_of_child(int (*body)()) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(20);  // a child that waits for threads it does not have must fail, not hang
    _exit(body());
  }
  int status = -1;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

// Constructed before the pool and destroyed after it: parallel_for must still work then.
struct uses_pool_at_exit {
  ~uses_pool_at_exit() {
    std::atomic<int> n{0};
    parallel_for(100, 10, [&](index_t begin, index_t end) { n += static_cast<int>(end - begin); });
    if (n != 100) _exit(3);
  }
};
const uses_pool_at_exit at_exit;

}  // namespace

TEST_CASE("parallel_for visits every element once, in the promised chunks") {
  for (const int n : {1, 2, 3, 8}) {
    const thread_count use(n);
    for (const index_t count : {0, 1, 2, 7, 64, 1000})
      for (const index_t chunk : {1, 3, 64, 1000, 5000}) CHECK(covers_once(count, chunk));
  }
  CHECK(chunk_count(0, 4) == 0);
  CHECK(chunk_count(8, 4) == 2);
  CHECK(chunk_count(9, 4) == 3);
  CHECK(chunk_count(INT64_MAX, INT64_MAX) == 1);
}

TEST_CASE("parallel_for really uses other threads") {
  const thread_count use(3);
  CHECK(meet(3));
}

TEST_CASE("sums are the same for every number of threads") {
  float expected = 0;
  {
    const thread_count use(1);
    expected = chunked_sum(100'003, 256);
  }
  for (const int n : {2, 3, 4, 7}) {
    const thread_count use(n);
    for (int repeat = 0; repeat < 20; ++repeat) CHECK(chunked_sum(100'003, 256) == expected);
  }
}

TEST_CASE("a nested parallel_for runs inline") {
  const thread_count use(4);
  std::atomic<int> total{0}, moved{0};
  parallel_for(8, 1, [&](index_t, index_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(100, 7, [&](index_t begin, index_t end) {
      total += static_cast<int>(end - begin);
      moved += std::this_thread::get_id() != self;
    });
    CHECK_THROWS_AS(set_threads(2), state_error);
  });
  CHECK(total == 800);
  CHECK(moved == 0);
}

TEST_CASE("the exception of the lowest chunk reaches the caller and the pool goes on") {
  for (const int n : {1, 2, 4}) {
    const thread_count use(n);
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::string text;
      try {
        parallel_for(1000, 1, [&](index_t begin, index_t) {
          if (begin % 100 == 37) throw std::runtime_error(std::to_string(begin));
        });
      } catch (const std::runtime_error& e) {
        text = e.what();
      }
      CHECK(text == "37");
      CHECK(covers_once(50, 1));
    }
  }
}

TEST_CASE("of two exceptions the one of the lower chunk wins, whichever comes first") {
  const thread_count use(2);
  for (const index_t early : {0, 1}) {
    std::atomic<int> inside{0};
    std::string text;
    try {
      parallel_for(2, 1, [&](index_t begin, index_t) {
        ++inside;
        while (inside < 2) std::this_thread::yield();
        if (begin != early) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        throw std::runtime_error(begin == 0 ? "lower" : "upper");
      });
    } catch (const std::runtime_error& e) {
      text = e.what();
    }
    CHECK(text == "lower");
  }
}

TEST_CASE("after an exception no further chunk begins") {
  for (const int n : {1, 2}) {
    const thread_count use(n);
    std::atomic<int> begun{0};
    CHECK_THROWS_AS(parallel_for(1000, 1,
                                 [&](index_t begin, index_t) {
                                   if (begin == 0) throw std::runtime_error("stop");
                                   ++begun;
                                   std::this_thread::sleep_for(std::chrono::milliseconds(1));
                                 }),
                    std::runtime_error);
    CHECK(begun < 500);
  }
}

TEST_CASE("several threads may call parallel_for together") {
  const thread_count use(3);
  std::atomic<int> bad{0};
  {
    std::vector<std::jthread> callers;
    for (int t = 0; t < 4; ++t)
      callers.emplace_back([&] {
        for (int i = 0; i < 200; ++i) bad += !covers_once(257, 16);
      });
  }
  CHECK(bad == 0);
}

TEST_CASE("the number of threads can change between calls and is checked") {
  const thread_count use(2);
  for (int i = 0; i < 100; ++i) {
    set_threads(1 + i % 5);
    CHECK(threads() == 1 + i % 5);
    CHECK(covers_once(20, 1));
  }
  CHECK_THROWS_WITH_AS(set_threads(0),
                       "set_threads: the number of threads must be 1 to 1024; got 0", value_error);
  CHECK_THROWS_AS(set_threads(1025), value_error);
  CHECK_THROWS_AS(parallel_for(4, 0, [](index_t, index_t) {}), value_error);
}

// Both fork when all threads have begun: while one begins, the address sanitizer of clang 14 has
// taken a lock of its own, which nobody gives back in the child.
TEST_CASE("a forked child gets a pool of its own") {
  const thread_count use(3);
  CHECK(meet(3));
  CHECK(covers_once(1000, 10));
  for (int repeat = 0; repeat < 20; ++repeat) {
    CHECK(exit_code_of_child([] {
            for (int i = 0; i < 20; ++i)
              if (!covers_once(1000, 10)) return 1;
            return meet(3) ? 0 : 1;
          }) == 0);
    CHECK(covers_once(1000, 10));
  }
}

TEST_CASE("a child may be forked while another thread keeps the pool busy") {
  const thread_count use(2);
  CHECK(meet(2));
  std::atomic<bool> stop{false};
  std::atomic<int> jobs{0};
  std::jthread busy([&] {
    for (; !stop; ++jobs) parallel_for(64, 1, [](index_t, index_t) {});
  });
  // Not while threads are being started: the address sanitizer of clang 14 then forks with a lock
  // of its own taken, which nobody gives back in the child.
  while (jobs < 100) std::this_thread::yield();
  for (int repeat = 0; repeat < 20; ++repeat)
    CHECK(exit_code_of_child([] { return covers_once(100, 1) && meet(2) ? 0 : 1; }) == 0);
  stop = true;
}

}  // namespace adze
