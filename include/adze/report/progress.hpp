#pragma once
// SPDX-License-Identifier: MIT
// Progress of a training run on a terminal (one line redrawn at most ten times a second) or in a
// log file (a plain line now and then). It reads the clock and writes text; it changes no result.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

#include <adze/core/error.hpp>
#include <adze/core/format.hpp>
#include <adze/fwd.hpp>
#include <adze/report/smooth.hpp>

namespace adze::report {

enum class progress_style {
  automatic,  // a bar on a terminal, plain lines elsewhere
  bar,
  lines,
  silent,
};

struct progress_options {
  index_t epochs = 1;
  index_t steps = 0;  // of one epoch
  std::string_view unit = "samples";
  progress_style style = progress_style::automatic;
  double percent_per_line = 25;  // plain lines: one each time an epoch has come this far ...
  double seconds_per_line = 30;  // ... and one whenever this much time has passed
  std::FILE* output = stderr;
  double (*clock)() = steady_seconds;
};

// progress bar({.epochs = 5, .steps = loader.batches()});
// for (epochs) { for (batches) { ...; bar.step(loss, batch); } bar.end_epoch("test 98.1 %"); }
class progress {
 public:
  [[gnu::cold, gnu::noinline]] explicit progress(const progress_options& options)
      : options_(options) {
    if (options.epochs < 1 || options.steps < 0) {
      raise<value_error>("progress: counts out of range; epochs ", options.epochs, ", steps ",
                         options.steps, "; epochs >= 1 and steps >= 0");
    }
    if (options_.style == progress_style::automatic) {
      options_.style = is_terminal(options_.output) ? progress_style::bar : progress_style::lines;
    }
    unicode_ = locale_is_utf8();
    start_ = epoch_start_ = last_print_ = options_.clock();
  }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  // An exception in the middle of an epoch must not glue its message to the bar.
  [[gnu::cold]] ~progress() {
    if (bar_drawn_) write("\n");
  }

  // One training step of `items` samples ended with this loss.
  void step(double loss, index_t items) {
    ++step_;
    items_ += items;
    last_loss_ = loss;
    mean_loss_.add(loss);
    if (options_.style == progress_style::silent) return;
    const double now = options_.clock();
    if (options_.style == progress_style::bar) {
      if (now - last_print_ >= 0.1 || !bar_drawn_) draw_bar(now);
    } else if (line_is_due(now)) {
      write(status(now));
      last_print_ = now;
      last_percent_ = percent();
    }
  }

  // Closes the epoch with a line that stays; `note` (accuracy, for instance) ends it.
  [[gnu::cold]] void end_epoch(std::string_view note = "") {
    const double now = options_.clock();
    const double spent = now - epoch_start_;
    const bool long_one = spent >= 60;
    if (options_.style != progress_style::silent) {
      write(text(options_.style == progress_style::bar ? clear_line : "", epoch_text(), "  ",
                 long_one ? format_duration(spent) : format_fixed(spent, 1), long_one ? "" : " s",
                 loss_text(), "  ", rate_text(now), note.empty() ? "" : "  ", note, "\n"));
    }
    bar_drawn_ = false;
    ++epoch_;
    step_ = items_ = 0;
    last_percent_ = 0;
    epoch_start_ = last_print_ = options_.clock();
  }

  double seconds() const { return options_.clock() - start_; }
  // The mean that the lines show; NaN before the first finite loss.
  double smoothed_loss() const { return mean_loss_.value(); }

 private:
  static constexpr const char* clear_line = "\r\x1b[K";

  double fraction() const {
    if (options_.steps == 0) return 0;
    return std::min(1.0, static_cast<double>(step_) / static_cast<double>(options_.steps));
  }
  double percent() const { return 100 * fraction(); }

  bool line_is_due(double now) const {
    if (step_ >= options_.steps && options_.steps > 0) return false;  // end_epoch's line follows
    return percent() >= last_percent_ + options_.percent_per_line ||
           now - last_print_ >= options_.seconds_per_line;
  }

  [[gnu::cold]] std::string epoch_text() const {
    const std::string total = std::to_string(options_.epochs);
    std::string now = std::to_string(epoch_ + 1);
    if (now.size() < total.size()) now.insert(0, total.size() - now.size(), ' ');
    return text("epoch ", now, "/", total);
  }

  // The mean, but a loss that is not finite shows at once.
  [[gnu::cold]] std::string loss_text() const {
    const double shown = std::isfinite(last_loss_) ? smoothed_loss() : last_loss_;
    if (step_ == 0 && std::isnan(shown)) return "";
    const bool fits = std::fabs(shown) < 1e6;  // else 2.5e+08, inf or nan
    return text("  loss ", fits ? format_fixed(shown, 4) : to_text(shown));
  }

  [[gnu::cold]] std::string rate_text(double now) const {
    const double spent = now - epoch_start_;
    const double rate = spent > 0 ? static_cast<double>(items_) / spent : 0;
    return text(format_rate(rate), " ", options_.unit, "/s");
  }

  // Time left of the whole run, at the mean pace so far.
  [[gnu::cold]] std::string eta_text(double now) const {
    const double done = static_cast<double>(epoch_) + fraction();
    const double left = static_cast<double>(options_.epochs) - done;
    return text("  eta ", format_duration(done > 0 ? (now - start_) / done * left : -1));
  }

  [[gnu::cold]] std::string status(double now) const {
    std::array<char, 32> part{};
    std::snprintf(part.data(), part.size(), "  %3.0f %%", percent());
    return text(epoch_text(), part.data(), loss_text(), "  ", rate_text(now), eta_text(now), "\n");
  }

  [[gnu::cold]] void draw_bar(double now) {
    std::array<char, 32> part{};
    std::snprintf(part.data(), part.size(), " %3.0f %%", percent());
    const std::string before = text(epoch_text(), " ");
    std::string after = text(part.data(), loss_text(), "  ", rate_text(now), eta_text(now));
    // The last column stays free: some terminals wrap when it is written.
    const index_t room =
        terminal_columns(options_.output) - 1 - display_width(before) - display_width(after);
    const std::string bar = room >= 8 ? bar_text(std::min<index_t>(40, room)) : "";
    if (room < 0)
      after.resize(after.size() - std::min(after.size(), static_cast<std::size_t>(-room)));
    write(text(clear_line, before, bar, after));
    last_print_ = now;
    bar_drawn_ = true;
  }

  [[gnu::cold]] std::string bar_text(index_t width) const {
    const auto filled = static_cast<index_t>(fraction() * static_cast<double>(width));
    std::string bar;
    if (!unicode_) bar += '[';
    for (index_t i = 0; i < width - (unicode_ ? 0 : 2); ++i) {
      const bool on = i < filled;
      bar += unicode_ ? (on ? "\u2501" : "\u2500") : (on ? "=" : ".");
    }
    if (!unicode_) bar += ']';
    return bar;
  }

  [[gnu::cold]] void write(std::string_view words) const {
    std::fwrite(words.data(), 1, words.size(), options_.output);
    std::fflush(options_.output);
  }

  [[gnu::cold]] static bool is_terminal(std::FILE* file) {
    const char* kind = std::getenv("TERM");
    return ::isatty(::fileno(file)) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
  }

  static index_t terminal_columns(std::FILE* file) {
    struct winsize size {};
    const bool known = ::ioctl(::fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
  }

  // From the variables that name the locale, because the program may not have called setlocale.
  [[gnu::cold]] static bool locale_is_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
      const char* value = std::getenv(name);
      if (value == nullptr || *value == '\0') continue;
      const std::string_view locale(value);
      for (const char* form : {"UTF-8", "utf-8", "UTF8", "utf8"}) {
        if (locale.find(form) != locale.npos) return true;
      }
      return false;
    }
    return false;
  }

  progress_options options_;
  bool unicode_ = false;
  bool bar_drawn_ = false;
  index_t epoch_ = 0;
  index_t step_ = 0;
  index_t items_ = 0;
  smooth_mean mean_loss_;
  double last_loss_ = 0;
  double start_ = 0;
  double epoch_start_ = 0;
  double last_print_ = 0;
  double last_percent_ = 0;
};

}  // namespace adze::report
