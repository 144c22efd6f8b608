// Every lane operation of pack equals the same operation on one number, for all instruction sets
// that this build has; partial loads and stores touch what they should.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/simd/pack.hpp>

namespace adze {
namespace {

template <class T> struct specials {
  using limits = std::numeric_limits<T>;
  static constexpr T inf = limits::infinity(), nan = limits::quiet_NaN();
  // Around zero, halves for rounding, the edges of the integers and of the range.
  std::vector<T> values{
      T(0),   T(-0.0), T(0.5),  T(-0.5),          T(1),          T(-1),
      T(1.5), T(2.5),  T(-2.5), T(3.75),          T(-7.25),      T(1e9),
      inf,    -inf,    nan,     limits::max(),    limits::min(), limits::denorm_min(),
      -nan,   T(1e-3), T(-1e5), limits::lowest(), T(8388609),    T(-4503599627370497)};
};

template <class T> bool same(T a, T b) {  // all bits, but any NaN will do
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

// f of packs against g of numbers for all pairs of special values.
template <class V, class F, class G> void compare(F f, G g) {
  using T = typename V::value_type;
  const auto s = specials<T>().values;
  int wrong = 0;
  for (const T b : s) {
    for (std::size_t i = 0; i < s.size(); i += V::width) {
      T in[V::width] = {}, out[V::width];
      for (std::size_t l = 0; l < V::width; ++l) in[l] = s[(i + l) % s.size()];
      f(V::load(in), V(b)).store(out);
      for (std::size_t l = 0; l < V::width; ++l) wrong += !same<T>(out[l], g(in[l], b));
    }
  }
  CHECK(wrong == 0);
}

template <class T> T larger(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? a + b : a > b ? a : b;
}

}  // namespace

using scalar_f32 = simd::pack<float, simd::scalar>;
using scalar_f64 = simd::pack<double, simd::scalar>;
using odd_f32 = simd::pack<float, simd::odd>;
using sse2_f32 = simd::pack<float, simd::sse2>;
using sse2_f64 = simd::pack<double, simd::sse2>;
using native_f32 = simd::pack<float, simd::native>;
using row_f32 = simd::pack<float>;
using native_f64 = simd::pack<double>;
using tile_f32 = simd::pack<float, simd::tile_tag<simd::native>>;
using tile_f64 = simd::pack<double, simd::tile_tag<simd::native>>;

TEST_CASE_TEMPLATE("lane operations equal those of single numbers", V, scalar_f32, scalar_f64,
                   odd_f32, sse2_f32, sse2_f64, native_f32, row_f32, native_f64) {
  using T = typename V::value_type;
  compare<V>([](V a, V b) { return a + b; }, [](T a, T b) { return a + b; });
  compare<V>([](V a, V b) { return a - b; }, [](T a, T b) { return a - b; });
  compare<V>([](V a, V b) { return a * b; }, [](T a, T b) { return a * b; });
  compare<V>([](V a, V b) { return a / b; }, [](T a, T b) { return a / b; });
  compare<V>([](V a, V) { return -a; }, [](T a, T) { return -a; });
  compare<V>([](V a, V) { return abs(a); }, [](T a, T) { return std::abs(a); });
  compare<V>([](V a, V) { return sqrt(a); }, [](T a, T) { return std::sqrt(a); });
  compare<V>([](V a, V) { return round(a); }, [](T a, T) { return std::nearbyint(a); });
  compare<V>([](V a, V) { return floor(a); }, [](T a, T) { return std::floor(a); });
  compare<V>([](V a, V) { return ceil(a); }, [](T a, T) { return std::ceil(a); });
  compare<V>([](V a, V b) { return maximum(a, b); }, larger<T>);
  compare<V>([](V a, V b) { return -minimum(a, b); }, [](T a, T b) { return larger(-a, -b); });
  compare<V>([](V a, V b) { return copysign(a, b); }, [](T a, T b) { return std::copysign(a, b); });
  compare<V>([](V a, V) { return step(a); }, [](T a, T) { return T(a > 0 ? 1 : 0); });
  compare<V>([](V a, V) { return sign(a); },
             [](T a, T) { return a > 0   ? T(1)
                                 : a < 0 ? T(-1)
                                         : a; });
  compare<V>([](V a, V b) { return where(a < b, 1.0, a); }, [](T a, T b) { return a < b ? 1 : a; });
  compare<V>([](V a, V b) { return where(a <= b, b, 2); }, [](T a, T b) { return a <= b ? b : 2; });
  compare<V>([](V a, V b) { return where(a > b, 1, 0.0); }, [](T a, T b) { return T(a > b); });
  compare<V>([](V a, V b) { return where(a >= b, 1, 0); }, [](T a, T b) { return T(a >= b); });
  compare<V>([](V a, V b) { return where(a == b, 1, 0); }, [](T a, T b) { return T(a == b); });
  compare<V>([](V a, V b) { return where(a != b, 1, 0); }, [](T a, T b) { return T(a != b); });
  compare<V>([](V a, V b) { return where((!isnan(a)) & (a < b), 1, 0); },
             [](T a, T b) { return T(a < b); });
  compare<V>([](V a, V b) { return where((a < b) | isnan(b), 1, 0); },
             [](T a, T b) { return T(a < b || std::isnan(b)); });
}

TEST_CASE_TEMPLATE("numbers mix with packs on either side", V, scalar_f32, odd_f32, sse2_f64,
                   native_f32, row_f32, native_f64) {
  using T = typename V::value_type;
  const auto value = [](V x) { return reduce_max(x); };
  const V x(3);
  CHECK(value(1.0 - x * x) == T(-8));
  CHECK(value(0.5 + x / 2 - 1) == T(1));
  CHECK(value(where(x > 0.0, x, 0.01 * x)) == T(3));
  CHECK(value(maximum(x, 0.0) * minimum(2.5f, x)) == T(7.5));
  CHECK(value(fma(x, 2.0, 1)) == T(7));
  CHECK(value(clamp(x, -1, 1.5)) == T(1.5));
  V y = x;
  y += 1;
  y *= x;
  y -= 2.0;
  y /= 5;
  CHECK(value(y) == T(2));
  CHECK(any(x > 2));
  CHECK_FALSE(any(x > 3));
}

TEST_CASE_TEMPLATE("partial loads and stores stop at n, reductions see every lane", V, scalar_f32,
                   sse2_f32, sse2_f64, native_f32, row_f32, native_f64) {
  using T = typename V::value_type;
  for (index_t n = 0; n <= V::size; ++n) {
    const auto count = static_cast<std::size_t>(n);
    std::vector<T> in(count);  // exactly n, so that a sanitizer sees a read too far
    for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<T>(i + 1);
    const V x = V::load_partial(in.data(), n);
    T all[V::width], out[V::width + 1];
    x.store(all);
    for (std::size_t i = 0; i < V::width; ++i) CHECK(all[i] == (i < count ? T(i + 1) : T(0)));
    V::load_partial(in.data(), n, V(T(7))).store(all);
    for (std::size_t i = 0; i < V::width; ++i) CHECK(all[i] == (i < count ? T(i + 1) : T(7)));
    for (T& o : out) o = -1;
    x.store_partial(out, n);
    for (std::size_t i = 0; i <= V::width; ++i) CHECK(out[i] == (i < count ? T(i + 1) : T(-1)));
  }
  T in[V::width];
  for (std::size_t at = 0; at < V::width; ++at) {
    for (std::size_t i = 0; i < V::width; ++i) in[i] = T(i == at ? 9 : -2);
    const V x = V::load(in);
    CHECK(reduce_add(x) == T(9 - 2 * (static_cast<int>(V::width) - 1)));
    CHECK(reduce_max(x) == 9);
    CHECK(reduce_min(-x) == -9);
    CHECK(std::isnan(reduce_max(where(x > 0.0, std::nan(""), x))));
    CHECK(std::isnan(reduce_min(where(x > 0.0, std::nan(""), x))));
  }
}

TEST_CASE("fused multiply-add rounds once where the build has it, in tiles as well") {
  const float e = 0x1p-12f;  // (1 + e)^2 - 1 - 2e is e^2 only without the rounding in between
  const float fused = reduce_max(fma(native_f32(1 + e), 1 + e, -1 - 2 * e));
  const float in_tiles = reduce_max(fma(tile_f32(1 + e), tile_f32(1 + e), tile_f32(-1 - 2 * e)));
  if constexpr (std::is_same_v<simd::native, simd::avx2> && native_f32::size > 1)
    CHECK(fused == e * e);
  CHECK((fused == e * e || fused == 0.0f));
  CHECK(in_tiles == fused);
}

TEST_CASE_TEMPLATE("streamed loads and stores move what others do", V, scalar_f32, sse2_f32,
                   native_f32, row_f32, native_f64) {
  using T = typename V::value_type;
  alignas(64) T in[4 * V::width], out[4 * V::width] = {};
  for (std::size_t i = 0; i < 4 * V::width; ++i) in[i] = static_cast<T>(i + 1);
  for (std::size_t i = 0; i < 4 * V::width; i += V::width)
    V::load(in + i, simd::flow::streamed).store(out + i, simd::flow::streamed);
  simd::finish_streamed();
  for (std::size_t i = 0; i < 4 * V::width; ++i) CHECK(out[i] == in[i]);
}

// What register tiles do with their packs, which may be wider.
TEST_CASE_TEMPLATE("packs of tiles: partial loads and stores stop at n", V, tile_f32, tile_f64) {
  using T = typename V::value_type;
  for (index_t n = 0; n <= V::size; ++n) {
    const auto count = static_cast<std::size_t>(n);
    std::vector<T> in(count);  // its end is the end of the memory
    for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<T>(i + 1);
    T all[V::width], out[V::width + 1];
    fma(V::load_partial(in.data(), n), V(T(2)), V(T(1))).store(all);
    for (std::size_t i = 0; i < V::width; ++i) CHECK(all[i] == (i < count ? T(2 * i + 3) : T(1)));
    for (T& o : out) o = -1;
    V::load(all).store_partial(out, n);
    for (std::size_t i = 0; i <= V::width; ++i) CHECK(out[i] == (i < count ? all[i] : T(-1)));
  }
}

}  // namespace adze
