// SPDX-License-Identifier: MIT
// The test program's main, and what holds for every test: it leaves no node of a graph behind, and
// in the end no tensor's memory is in use. The cases stand in the files that sources.txt lists.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include <adze/autograd/node.hpp>
#include <adze/core/parallel.hpp>

namespace {

int leaks = 0;

struct leak_listener : doctest::IReporter {
  explicit leak_listener(const doctest::ContextOptions&) {}
  void test_case_start(const doctest::TestCaseData& test) override {
    name_ = test.m_name;
    nodes_ = adze::live_nodes();
  }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    const adze::index_t left = adze::live_nodes() - nodes_;
    if (left == 0) return;
    ++leaks;
    std::printf("ERROR: %s: leaves %lld nodes behind\n", name_, static_cast<long long>(left));
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  const char* name_ = "";
  adze::index_t nodes_ = 0;
};
REGISTER_LISTENER("leaks", 1, leak_listener);

// Threads count what they hold by themselves until they end; pools of other sizes end those of the
// last one, and then the number is exact.
adze::index_t bytes_in_use() {
  for (const int n : {2, 3}) {
    adze::set_threads(n);
    adze::parallel_for(2, 1, [](adze::index_t, adze::index_t) {});
  }
  return adze::memory().live_bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const int status = doctest::Context(argc, argv).run();
  if (const adze::index_t bytes = bytes_in_use(); bytes != 0) {
    ++leaks;
    std::printf("ERROR: %lld bytes of tensors are still in use\n", static_cast<long long>(bytes));
  }
  return status != 0 || leaks != 0 ? 1 : 0;
}
