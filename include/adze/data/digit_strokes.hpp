#pragma once
// SPDX-License-Identifier: MIT
// How the ten digits are written by hand, as pen strokes in the unit square (y downwards), with the
// usual variants of each. Plain data; `data/synthetic.hpp` bends, moves and inks them.
#include <array>
#include <span>

#include <adze/fwd.hpp>

namespace adze::data::digits {

enum class pen : std::uint8_t {
  down,    // begins a stroke
  smooth,  // the curve goes through here without a kink
  corner,  // the curve may turn sharply here
};

struct knot {
  double x;
  double y;
  pen how = pen::smooth;
};

using glyph = std::span<const knot>;

inline constexpr knot zero_oval[]{{.52, .05, pen::down},
                                  {.27, .16},
                                  {.15, .50},
                                  {.26, .85},
                                  {.50, .96},
                                  {.74, .84},
                                  {.85, .50},
                                  {.74, .16},
                                  {.50, .05}};
inline constexpr knot zero_open[]{{.62, .09, pen::down},
                                  {.30, .14},
                                  {.14, .52},
                                  {.28, .88},
                                  {.54, .95},
                                  {.82, .72},
                                  {.82, .34},
                                  {.64, .10},
                                  {.44, .12}};
inline constexpr knot one_plain[]{{.52, .04, pen::down}, {.50, .50}, {.48, .96}};
inline constexpr knot one_flag[]{
    {.30, .26, pen::down}, {.45, .16}, {.56, .04, pen::corner}, {.55, .50}, {.54, .96}};
inline constexpr knot one_serif[]{
    {.34, .22, pen::down}, {.54, .05, pen::corner}, {.52, .95}, {.30, .95, pen::down}, {.74, .95}};
inline constexpr knot two_plain[]{
    {.20, .28, pen::down},   {.30, .10}, {.56, .04}, {.78, .20}, {.70, .46}, {.44, .72},
    {.17, .95, pen::corner}, {.52, .94}, {.86, .93}};
inline constexpr knot two_loop[]{{.22, .24, pen::down},
                                 {.40, .06},
                                 {.68, .10},
                                 {.76, .32},
                                 {.58, .62},
                                 {.32, .88},
                                 {.17, .88},
                                 {.22, .74},
                                 {.42, .78},
                                 {.64, .94},
                                 {.86, .86}};
inline constexpr knot three_round[]{{.20, .16, pen::down},
                                    {.44, .04},
                                    {.74, .15},
                                    {.70, .38},
                                    {.44, .48, pen::corner},
                                    {.72, .56},
                                    {.82, .76},
                                    {.62, .94},
                                    {.34, .95},
                                    {.16, .83}};
inline constexpr knot three_flat[]{{.20, .07, pen::down},
                                   {.50, .06},
                                   {.78, .06, pen::corner},
                                   {.46, .42, pen::corner},
                                   {.72, .50},
                                   {.82, .72},
                                   {.64, .93},
                                   {.36, .96},
                                   {.17, .86}};
inline constexpr knot four_open[]{{.28, .06, pen::down},
                                  {.24, .32},
                                  {.18, .58, pen::corner},
                                  {.52, .58},
                                  {.86, .55},
                                  {.70, .08, pen::down},
                                  {.66, .50},
                                  {.62, .96}};
inline constexpr knot four_closed[]{{.62, .96, pen::down},
                                    {.63, .50},
                                    {.64, .05, pen::corner},
                                    {.38, .36},
                                    {.13, .66, pen::corner},
                                    {.50, .66},
                                    {.88, .65}};
inline constexpr knot five_plain[]{{.80, .06, pen::down},
                                   {.54, .06},
                                   {.30, .07, pen::corner},
                                   {.24, .44, pen::corner},
                                   {.54, .38},
                                   {.80, .55},
                                   {.76, .82},
                                   {.48, .96},
                                   {.17, .86}};
inline constexpr knot five_hat[]{{.32, .10, pen::down},
                                 {.28, .28},
                                 {.25, .46, pen::corner},
                                 {.56, .42},
                                 {.78, .62},
                                 {.68, .88},
                                 {.42, .96},
                                 {.18, .88},
                                 {.32, .10, pen::down},
                                 {.56, .08},
                                 {.82, .05}};
inline constexpr knot six_plain[]{{.72, .06, pen::down},
                                  {.40, .22},
                                  {.20, .58},
                                  {.28, .88},
                                  {.54, .96},
                                  {.79, .78},
                                  {.70, .55},
                                  {.44, .53},
                                  {.23, .70}};
inline constexpr knot six_round[]{{.78, .16, pen::down},
                                  {.56, .05},
                                  {.28, .24},
                                  {.17, .60},
                                  {.32, .92},
                                  {.64, .94},
                                  {.80, .70},
                                  {.60, .50},
                                  {.32, .58},
                                  {.22, .76}};
inline constexpr knot seven_plain[]{
    {.15, .10, pen::down}, {.50, .09}, {.84, .07, pen::corner}, {.60, .46}, {.42, .96}};
inline constexpr knot seven_bar[]{{.16, .12, pen::down},
                                  {.50, .08},
                                  {.82, .07, pen::corner},
                                  {.62, .46},
                                  {.46, .96},
                                  {.34, .50, pen::down},
                                  {.56, .49},
                                  {.78, .48}};
inline constexpr knot seven_hook[]{{.18, .26, pen::down},
                                   {.19, .09, pen::corner},
                                   {.50, .10},
                                   {.80, .06, pen::corner},
                                   {.64, .40},
                                   {.50, .96}};
inline constexpr knot eight_crossed[]{{.74, .16, pen::down},
                                      {.50, .04},
                                      {.27, .15},
                                      {.31, .36},
                                      {.54, .49},
                                      {.77, .66},
                                      {.74, .88},
                                      {.48, .96},
                                      {.23, .86},
                                      {.26, .66},
                                      {.52, .48},
                                      {.72, .34},
                                      {.75, .18}};
inline constexpr knot eight_circles[]{
    {.52, .04, pen::down}, {.29, .16}, {.32, .38}, {.52, .46}, {.72, .36}, {.74, .14}, {.50, .04},
    {.52, .46, pen::down}, {.22, .62}, {.24, .88}, {.50, .96}, {.78, .88}, {.80, .62}, {.50, .46}};
inline constexpr knot nine_straight[]{
    {.77, .26, pen::down},   {.60, .06}, {.32, .10}, {.20, .32}, {.36, .51}, {.62, .46},
    {.78, .20, pen::corner}, {.74, .56}, {.66, .96}};
inline constexpr knot nine_curved[]{{.74, .16, pen::down},
                                    {.46, .05},
                                    {.22, .20},
                                    {.26, .45},
                                    {.54, .52},
                                    {.75, .34},
                                    {.76, .16},
                                    {.80, .48},
                                    {.70, .84},
                                    {.44, .96},
                                    {.22, .88}};

// Three variants per digit; a common one may stand twice.
inline constexpr std::array<std::array<glyph, 3>, 10> glyphs{{
    {zero_oval, zero_oval, zero_open},
    {one_plain, one_flag, one_serif},
    {two_plain, two_plain, two_loop},
    {three_round, three_round, three_flat},
    {four_open, four_open, four_closed},
    {five_plain, five_plain, five_hat},
    {six_plain, six_plain, six_round},
    {seven_plain, seven_bar, seven_hook},
    {eight_crossed, eight_crossed, eight_circles},
    {nine_straight, nine_straight, nine_curved},
}};
inline constexpr std::size_t longest_glyph = [] {
  std::size_t most = 0;
  for (const auto& variants : glyphs) {
    for (const glyph& g : variants) most = g.size() > most ? g.size() : most;
  }
  return most;
}();

}  // namespace adze::data::digits
