#pragma once
// SPDX-License-Identifier: MIT
// The matrices of Winograd's minimal filtering, F(m, 3), m = 2 or 4, as arithmetic on packs: the
// transforms of winograd_transforms.hpp are two passes of these. Lavin & Gray 2016.
#include <adze/simd/pack.hpp>

namespace adze::kernels::inline ADZE_ISA {

// The transforms of one line: input b = B^T d, weight u = G g, output y = A^T v; for gradients of
// the weight, where m is 4, v = A y and g = G^T u.
template <int m> struct winograd_lines;

template <> struct winograd_lines<2> {
  template <class P> static void input(const P* d, P* b) {
    b[0] = d[0] - d[2];
    b[1] = d[1] + d[2];
    b[2] = d[2] - d[1];
    b[3] = d[1] - d[3];
  }
  template <class P> static void weight(const P* g, P* u) {
    const P half(0.5f), sum = half * (g[0] + g[2]), odd = half * g[1];
    u[0] = g[0];
    u[1] = sum + odd;
    u[2] = sum - odd;
    u[3] = g[2];
  }
  template <class P> static void output(const P* v, P* y) {
    y[0] = v[0] + v[1] + v[2];
    y[1] = v[1] - v[2] - v[3];
  }
};

template <> struct winograd_lines<4> {
  template <class P> static void input(const P* d, P* b) {
    const P two(2.0f), four(4.0f), five(5.0f);
    b[0] = fma(four, d[0], d[4]) - five * d[2];
    const P even = d[4] - four * d[2], odd = d[3] - four * d[1];
    b[1] = even + odd;
    b[2] = even - odd;
    const P near = d[4] - d[2], far = two * (d[3] - d[1]);
    b[3] = near + far;
    b[4] = near - far;
    b[5] = fma(four, d[1], d[5]) - five * d[3];
  }
  template <class P> static void weight(const P* g, P* u) {
    const P sixth(1.0f / 6), small(1.0f / 24), twelfth(1.0f / 12);
    u[0] = P(0.25f) * g[0];
    const P sum = sixth * (g[0] + g[2]), odd = sixth * g[1];
    u[1] = P(0.0f) - sum - odd;
    u[2] = odd - sum;
    const P wide = fma(small, g[0], sixth * g[2]), mid = twelfth * g[1];
    u[3] = wide + mid;
    u[4] = wide - mid;
    u[5] = g[2];
  }
  // The transposes of `output` and `weight`: what a weight's gradient is made with.
  template <class P> static void gradient(const P* y, P* v) {
    const P two(2.0f), four(4.0f), eight(8.0f);
    v[0] = y[0];
    const P near = y[0] + y[2], near_odd = y[1] + y[3];
    v[1] = near + near_odd;
    v[2] = near - near_odd;
    const P far = fma(four, y[2], y[0]), far_odd = fma(eight, y[3], two * y[1]);
    v[3] = far + far_odd;
    v[4] = far - far_odd;
    v[5] = y[3];
  }
  template <class P> static void weight_gradient(const P* u, P* g) {
    const P sixth(1.0f / 6), small(1.0f / 24), twelfth(1.0f / 12);
    const P near = sixth * (u[1] + u[2]), near_odd = sixth * (u[2] - u[1]);
    const P far = u[3] + u[4], far_odd = u[3] - u[4];
    g[0] = fma(P(0.25f), u[0], small * far) - near;
    g[1] = fma(twelfth, far_odd, near_odd);
    g[2] = fma(sixth, far, u[5]) - near;
  }
  template <class P> static void output(const P* v, P* y) {
    const P two(2.0f), four(4.0f), eight(8.0f);
    const P near = v[1] + v[2], near_odd = v[1] - v[2];
    const P far = v[3] + v[4], far_odd = v[3] - v[4];
    y[0] = v[0] + near + far;
    y[1] = fma(two, far_odd, near_odd);
    y[2] = fma(four, far, near);
    y[3] = fma(eight, far_odd, near_odd) + v[5];
  }
};

}  // namespace adze::kernels::inline ADZE_ISA
