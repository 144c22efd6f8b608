#pragma once
// SPDX-License-Identifier: MIT
// Line charts as SVG: several named curves on linear or logarithmic axes, in colours that read on
// light and on dark pages. Values that cannot be shown (NaN, infinities, and numbers <= 0 on a
// logarithmic axis) leave a gap.
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <adze/core/axis.hpp>
#include <adze/core/error.hpp>
#include <adze/core/svg.hpp>
#include <adze/fwd.hpp>

namespace adze::report {

enum class line_style {
  solid,
  dashed,
  faint,  // thin and pale: the raw values behind a smoothed curve; not in the legend
  dots,   // no line: single measurements
};

struct axis_options {
  std::string label{};
  bool logarithmic = false;
};

struct chart_options {
  std::string title{};
  axis_options x{};
  axis_options y{};
  index_t width = 720;
  index_t height = 420;
};

// line_chart chart({.title = "Training", .x = {"epoch"}, .y = {"loss", true}});
// chart.add("train", epochs, losses); write_file("loss.svg", chart.svg_text());
class line_chart {
 public:
  [[gnu::cold, gnu::noinline]] explicit line_chart(chart_options options)
      : options_(std::move(options)) {
    if (options_.width < 200 || options_.height < 150 || options_.width > 10000 ||
        options_.height > 10000) {
      raise<value_error>("line_chart: size out of range; ", options_.width, " x ", options_.height,
                         "; width 200 to 10000, height 150 to 10000");
    }
  }

  // Adds a curve. A faint one takes the colour of the curve added next.
  [[gnu::cold]] line_chart& add(std::string name, std::span<const double> x,
                                std::span<const double> y, line_style style = line_style::solid) {
    if (x.size() != y.size()) {
      raise<shape_error>("line_chart: a curve needs one y per x; ", x.size(), " x and ", y.size(),
                         " y in '", name, "'; pass equal lengths");
    }
    series made{std::move(name), style, {}, next_colour_};
    made.points.reserve(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) made.points.push_back({x[i], y[i]});
    if (style != line_style::faint) next_colour_ = (next_colour_ + 1) % colours;
    curves_.push_back(std::move(made));
    return *this;
  }

  // The whole document.
  template <class = void> [[gnu::cold]] std::string svg_text() const {
    const auto width = static_cast<double>(options_.width);
    const auto height = static_cast<double>(options_.height);
    axis x({.logarithmic = options_.x.logarithmic, .ticks = options_.width / 90});
    axis y({.logarithmic = options_.y.logarithmic, .snap = true, .ticks = options_.height / 70});
    for (const auto& curve : curves_) {
      for (const point& p : curve.points) {
        if (x.shows(p.x) && y.shows(p.y)) x.include(p.x), y.include(p.y);
      }
    }
    x.finish();
    y.finish();

    svg page(width, height, sheet());
    page.rectangle({0, 0}, width, height, "page");
    const frame inside = lay_out(y);
    draw_axes(page, inside, x, y);
    for (const auto& curve : curves_) draw_curve(page, inside, x, y, curve);
    draw_legend(page, inside);
    return page.str();
  }

 private:
  static constexpr std::size_t colours = 6;

  struct series {
    std::string name;
    line_style style = line_style::solid;
    std::vector<point> points;
    std::size_t colour = 0;

    std::string css() const {
      return text("curve c", colour,
                  style == line_style::dashed  ? " dashed"
                  : style == line_style::faint ? " faint"
                                               : "");
    }
  };

  struct frame {
    double left = 0;
    double top = 0;
    double right = 0;
    double bottom = 0;

    point at(double x, double y) const {
      return {left + x * (right - left), bottom - y * (bottom - top)};
    }
  };

  // Mean advance of a proportional font; good enough to keep words apart.
  static double text_width(std::string_view words, double size) {
    return 0.56 * size * static_cast<double>(display_width(words));
  }

  bool has_legend() const {
    const auto named = [](const series& s) { return s.style != line_style::faint; };
    return std::count_if(curves_.begin(), curves_.end(), named) > 1;
  }

  frame lay_out(const axis& y) const {
    double widest = 0;
    for (const tick& t : y.ticks()) widest = std::max(widest, text_width(t.label, 12));
    frame inside;
    inside.left = 18 + widest + (options_.y.label.empty() ? 10 : 30);
    inside.right = static_cast<double>(options_.width) - 24;
    inside.top = 20 + (options_.title.empty() ? 0 : 26) + (has_legend() ? 24 : 0);
    inside.bottom = static_cast<double>(options_.height) - (options_.x.label.empty() ? 36 : 56);
    return inside;
  }

  template <class = void>
  [[gnu::cold]] void draw_axes(svg& page, const frame& inside, const axis& x, const axis& y) const {
    if (!options_.title.empty()) page.text({inside.left, 30}, options_.title, "title");
    for (const tick& t : y.ticks()) {
      const point at = inside.at(0, y.position(t.value));
      page.line(at, {inside.right, at.y}, "grid");
      page.text({at.x - 8, at.y + 4}, t.label, "label end");
    }
    page.line({inside.left, inside.bottom}, {inside.right, inside.bottom}, "base");
    for (const tick& t : x.ticks()) {
      const point at = inside.at(x.position(t.value), 0);
      page.line(at, {at.x, at.y + 5}, "base");
      page.text({at.x, at.y + 19}, t.label, "label middle");
    }
    const double middle_x = (inside.left + inside.right) / 2;
    const double middle_y = (inside.top + inside.bottom) / 2;
    if (!options_.x.label.empty()) {
      page.text({middle_x, inside.bottom + 42}, options_.x.label, "name middle");
    }
    if (!options_.y.label.empty()) page.text({20, middle_y}, options_.y.label, "name middle", -90);
  }

  template <class = void>
  void draw_curve(svg& page, const frame& inside, const axis& x, const axis& y,
                  const series& curve) const {
    const std::string css = curve.css();
    std::vector<point> run;
    const auto flush = [&] {
      if (curve.style != line_style::dots) page.polyline(thinned(run), css);
      run.clear();
    };
    for (const point& p : curve.points) {
      if (x.shows(p.x) && y.shows(p.y)) {
        run.push_back(inside.at(x.position(p.x), y.position(p.y)));
      } else {
        flush();
      }
    }
    const bool mark = curve.style == line_style::dots ||
                      (curve.points.size() <= 30 && curve.style != line_style::faint);
    flush();
    if (!mark) return;
    for (const point& p : curve.points) {
      if (!x.shows(p.x) || !y.shows(p.y)) continue;
      page.circle(inside.at(x.position(p.x), y.position(p.y)), 3, text("dot f", curve.colour));
    }
  }

  // At most four points per pixel column (first, lowest, highest, last), in the order of the data:
  // the picture stays the same and a curve of a million steps stays a small file.
  template <class = void>
  [[gnu::cold]] static std::vector<point> thinned(const std::vector<point>& run) {
    bool sorted = run.size() >= 2000;
    for (std::size_t i = 1; sorted && i < run.size(); ++i) sorted = !(run[i].x < run[i - 1].x);
    if (!sorted) return run;
    std::vector<point> kept;
    for (std::size_t begin = 0; begin < run.size();) {
      std::size_t end = begin, low = begin, high = begin;
      for (; end < run.size() && std::floor(run[end].x) == std::floor(run[begin].x); ++end) {
        if (run[end].y < run[low].y) low = end;
        if (run[end].y >= run[high].y) high = end;
      }
      std::size_t before = end;
      for (const std::size_t i : {begin, std::min(low, high), std::max(low, high), end - 1}) {
        if (i != before) kept.push_back(point(run[i]));
        before = i;
      }
      begin = end;
    }
    return kept;
  }

  template <class = void> [[gnu::cold]] void draw_legend(svg& page, const frame& inside) const {
    if (!has_legend()) return;
    double at = inside.left;
    const double row = inside.top - 18;
    for (const auto& curve : curves_) {
      if (curve.style == line_style::faint) continue;
      if (curve.style == line_style::dots) {
        page.circle({at + 11, row}, 3, text("dot f", curve.colour));
      } else {
        const std::array<point, 2> stroke{point{at + 1, row}, point{at + 21, row}};
        page.polyline(stroke, curve.css());
      }
      page.text({at + 28, row + 4}, curve.name, "label");
      at += 28 + text_width(curve.name, 12) + 22;
    }
  }

  [[gnu::cold]] static std::string sheet() {
    static constexpr std::array<std::string_view, colours> hues{"#2f74d0", "#e0703a", "#2a9d78",
                                                                "#b0479a", "#c79a1e", "#6f7bd8"};
    std::string out = ".page{fill:#ffffff}.grid{stroke:#e4e6ea}.base{stroke:#8a9099}"
                      ".title{fill:#1d2126;font-size:16px;font-weight:bold}"
                      ".name{fill:#454b54;font-size:13px}.label{fill:#5c636d;font-size:12px}"
                      ".end{text-anchor:end}.middle{text-anchor:middle}\n"
                      ".curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
                      ".dashed{stroke-dasharray:6 5}.faint{stroke-width:1;stroke-opacity:0.3}\n";
    for (std::size_t i = 0; i < colours; ++i) {
      out += text(".c", i, "{stroke:", hues[i], "}.f", i, "{fill:", hues[i], "}");
    }
    out += "\n@media (prefers-color-scheme: dark){.page{fill:#14171c}.grid{stroke:#2b3038}"
           ".base{stroke:#7a828d}.title{fill:#f0f2f5}.name{fill:#c3c8cf}"
           ".label{fill:#a4abb5}}\n";
    return out;
  }

  chart_options options_;
  std::vector<series> curves_;
  std::size_t next_colour_ = 0;
};

}  // namespace adze::report
