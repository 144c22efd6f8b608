#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <adze/report/progress.hpp>

namespace adze::report {
namespace {

double fake_time = 0;
double fake_clock() { return fake_time; }

// What a progress object wrote, read back from a temporary file.
struct capture {
  std::FILE* file = std::tmpfile();
  capture() { fake_time = 0; }
  capture(const capture&) = delete;
  capture& operator=(const capture&) = delete;
  ~capture() { std::fclose(file); }

  std::string text() const {
    std::string out;
    std::rewind(file);
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) out += static_cast<char>(c);
    return out;
  }
  progress_options options(progress_style style) const {
    return {.epochs = 2, .steps = 10, .style = style, .output = file, .clock = fake_clock};
  }
};

// Sets LC_ALL for a while.
struct locale_guard {
  std::string old = std::getenv("LC_ALL") == nullptr ? "" : std::getenv("LC_ALL");
  explicit locale_guard(const char* value) { ::setenv("LC_ALL", value, 1); }
  locale_guard(const locale_guard&) = delete;
  locale_guard& operator=(const locale_guard&) = delete;
  ~locale_guard() { ::setenv("LC_ALL", old.c_str(), 1); }
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST_CASE("progress: a file gets plain lines, one per quarter of an epoch") {
  const capture out;
  progress bar(out.options(progress_style::automatic));
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (int i = 0; i < 10; ++i) {
      fake_time += 1;
      bar.step(0.5, 64);
    }
    bar.end_epoch(epoch == 1 ? "test 98.1 %" : "");
  }
  CHECK(out.text() == "epoch 1/2   30 %  loss 0.5000  64.0 samples/s  eta 0:17\n"
                      "epoch 1/2   60 %  loss 0.5000  64.0 samples/s  eta 0:14\n"
                      "epoch 1/2   90 %  loss 0.5000  64.0 samples/s  eta 0:11\n"
                      "epoch 1/2  10.0 s  loss 0.5000  64.0 samples/s\n"
                      "epoch 2/2   30 %  loss 0.5000  64.0 samples/s  eta 0:07\n"
                      "epoch 2/2   60 %  loss 0.5000  64.0 samples/s  eta 0:04\n"
                      "epoch 2/2   90 %  loss 0.5000  64.0 samples/s  eta 0:01\n"
                      "epoch 2/2  10.0 s  loss 0.5000  64.0 samples/s  test 98.1 %\n");
  CHECK(bar.seconds() == 20);
}

TEST_CASE("progress: slow steps give a line when the time is up") {
  const capture out;
  auto options = out.options(progress_style::lines);
  options.steps = 1000;
  progress bar(options);
  for (int i = 0; i < 5; ++i) {
    fake_time += 20;
    bar.step(1, 1);
  }
  CHECK(count(out.text(), "\n") == 2);  // at 40 s and at 80 s
}

TEST_CASE("progress: the bar is redrawn at most ten times a second and in the locale's letters") {
  for (const bool unicode : {false, true}) {
    const locale_guard guard(unicode ? "en_US.UTF-8" : "C");
    const capture out;
    {
      progress bar(out.options(progress_style::bar));
      for (int i = 0; i < 10; ++i) {
        fake_time += 0.03125;  // exact, so that the count below is
        bar.step(1, 1);
      }
    }
    const std::string text = out.text();
    CHECK(count(text, "\r") == 3);  // steps 1, 5, 9: at least 0.1 s apart
    CHECK((count(text, "\u2501") > 0) == unicode);
    CHECK((count(text, "=") > 0) == !unicode);
    CHECK(text.back() == '\n');  // left in the middle of an epoch: the line is closed
  }
}

TEST_CASE("progress: the mean loss is unbiased at the start and survives a NaN") {
  const capture out;
  progress bar(out.options(progress_style::lines));
  CHECK(std::isnan(bar.smoothed_loss()));
  bar.step(4, 1);
  CHECK(bar.smoothed_loss() == doctest::Approx(4));
  bar.step(2, 1);
  CHECK(bar.smoothed_loss() == doctest::Approx((0.98 * 4 + 2) / 1.98));
  fake_time = 100;
  bar.step(std::nan(""), 1);
  CHECK(out.text().find("loss nan") != std::string::npos);
  CHECK(bar.smoothed_loss() == doctest::Approx((0.98 * 4 + 2) / 1.98));
}

TEST_CASE("progress: a loss beyond a million is written with an exponent") {
  const auto line = [](double loss) {
    const capture out;
    progress bar(out.options(progress_style::lines));
    fake_time = 100;
    bar.step(loss, 1);
    return out.text();
  };
  CHECK(line(999999).find("  loss 999999.0000  ") != std::string::npos);
  CHECK(line(12345678).find("  loss 1.23457e+07  ") != std::string::npos);
  CHECK(line(-1e300).find("  loss -1e+300  ") != std::string::npos);
}

TEST_CASE("progress: silent writes nothing, bad counts are refused") {
  const capture out;
  progress bar(out.options(progress_style::silent));
  bar.step(1, 1);
  bar.end_epoch();
  CHECK(out.text().empty());
  CHECK_THROWS_WITH_AS(
      progress({.epochs = 0}),
      "progress: counts out of range; epochs 0, steps 0; epochs >= 1 and steps >= 0", value_error);
}

}  // namespace
}  // namespace adze::report
