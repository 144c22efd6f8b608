// SPDX-License-Identifier: MIT
// The generic suite of the ops. An op is one entry: how to draw valid inputs and what the result
// is, by plain loops over doubles that share nothing with the kernels. Drivers (suite.cpp) multiply
// entries by sizes, dtypes, layouts, threads and special values, and take gradients of both orders.
// Nothing here but `op_of` is a template, so an entry costs little to compile.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <adze/autograd/record.hpp>

namespace adze::suite {

using place = std::vector<index_t>;  // one index per axis

// Numbers in row-major order: what references read and write.
struct array {
  shape sizes{};
  std::vector<double> v{};
  std::optional<dtype> type{};  // of a result whose dtype is not that of the case

  array() = default;
  explicit array(const shape& s, double fill = 0.0)
      : sizes(s), v(static_cast<std::size_t>(s.numel()), fill) {}
  bool defined() const { return !v.empty() || sizes.rank() > 0; }
  index_t numel() const { return sizes.numel(); }
  index_t size(index_t axis) const { return sizes[axis < 0 ? axis + sizes.rank() : axis]; }
  double& operator[](index_t i) { return v[static_cast<std::size_t>(i)]; }
  double operator[](index_t i) const { return v[static_cast<std::size_t>(i)]; }
  // By one index per axis.
  template <class... I> double& operator()(I... i) {
    return v[flat(std::array<index_t, sizeof...(I)>{static_cast<index_t>(i)...})];
  }
  template <class... I> double operator()(I... i) const {
    return v[flat(std::array<index_t, sizeof...(I)>{static_cast<index_t>(i)...})];
  }
  double at(const place& p) const { return v[flat(p)]; }
  double& at(const place& p) { return v[flat(p)]; }
  array as(dtype t) && {
    type = t;
    return std::move(*this);
  }

 private:
  template <class P> std::size_t flat(const P& p) const {
    index_t sum = 0, axis = 0;
    for (const index_t i : p) sum = sum * sizes[axis++] + i;
    return static_cast<std::size_t>(sum);
  }
};
using arrays = std::vector<array>;
using reference = std::function<arrays(const arrays&)>;
// An array of the given sizes, each element from its place.
array made(const shape& sizes, const std::function<double(const place&)>& f);

// The axes of `sizes` before, at and after one: x[outer][n][inner].
struct around {
  index_t outer = 1, n = 1, inner = 1;
  around(const shape& sizes, index_t axis);
};

// How one input is drawn. Sizes and dtype; values in [low, high) away from the kinks.
struct drawn {
  shape sizes{};
  double low = -2.0, high = 2.0;
  std::vector<double> kinks{};
  double grid = 0.0;            // above 0: multiples of it only, so that values repeat
  std::optional<dtype> type{};  // unset: the floating dtype of the case
  bool constant = false;        // no gradient is asked for
  bool distinct = false;        // no two values are equal
  bool missing = false;         // an optional input that is not given
};
inline drawn no_input() { return {.missing = true}; }
inline drawn whole_numbers(const shape& s, index_t below) {
  return {.sizes = s, .low = 0, .high = static_cast<double>(below), .type = i64};
}

// An op with its attributes, erased, and its shape rule where it has one.
class any_op {
 public:
  using rule = std::function<std::vector<shape>(const std::vector<tensor>&)>;
  any_op(const detail::op_info& info, std::shared_ptr<const void> op, rule shapes)
      : info_(&info), op_(std::move(op)), shapes_(std::move(shapes)) {}

  const detail::op_info& info() const { return *info_; }
  const void* attributes() const { return op_.get(); }
  const rule& shapes() const { return shapes_; }
  std::vector<tensor> operator()(const std::vector<tensor>& x) const;

 private:
  const detail::op_info* info_;
  std::shared_ptr<const void> op_;
  rule shapes_;
};

template <class Op, std::size_t... I>
auto shapes_by_rule(const Op& op, const std::vector<tensor>& x, std::index_sequence<I...>) {
  return op.result((x[I].defined() ? x[I].shape() : shape())...);
}
template <class Op> any_op op_of(Op op = {}) {
  any_op::rule rule;
  constexpr bool list = detail::thunks<Op>::list;
  if constexpr (requires { &Op::result; }) {
    rule = [op](const std::vector<tensor>& x) {
      if constexpr (list) {
        return std::vector<shape>{op.result(tensor_list(x))};
      } else {
        using count = std::make_index_sequence<detail::thunks<Op>::inputs>;
        return std::vector<shape>{shapes_by_rule(op, x, count{})};
      }
    };
  }
  return {detail::info_of<Op>, std::make_shared<const Op>(op), std::move(rule)};
}

// Allowed error in units of the last place of the computing type: of the value, and of `scale`.
// Results in 16 bits are allowed their one rounding on top.
struct tolerance {
  double relative = 4.0, absolute = 4.0;
  double scale = 1.0;
};
inline constexpr tolerance exact{0.0, 0.0, 0.0};

struct sample {
  any_op op;
  std::vector<drawn> in;
  reference expected;
  tolerance allowed{};
};

enum class smoothness { twice, once, none };

struct entry {
  std::string name;
  std::function<std::vector<sample>(index_t n)> samples;  // of a size that grows with n
  smoothness gradient = smoothness::twice;
  index_t threads_n = 0;         // a size at which several threads work; 0: no such test
  std::vector<index_t> sizes{};  // tried for values; empty: around the width of a register
  bool elementwise = false;      // special values are tried
  bool signed_zero = false;      // the sign of a zero result counts
  bool integers = false;         // whole numbers are taken, too
  bool temporaries = false;      // uses blocks larger than its results
};

// Adds an entry to a family; families are run file by file, in parallel.
bool add(const std::string& family, entry e);
void run_family(const std::string& family);
// What is known of each op that has an entry, by name.
struct known {
  any_op op;
  smoothness gradient;
};
std::map<std::string, known> known_ops();
// A small call of that op with inputs drawn in one dtype; without inputs where the op does not take
// it. `own` are inputs of a dtype of their own: indices, masks.
struct example {
  any_op op;
  std::vector<tensor> x{};
  std::vector<bool> own{};
};
example example_of(const std::string& name, dtype type);

// Entries for functions of the elements; inputs broadcast.
using scalar_function = std::function<double(const std::vector<double>&)>;
struct elementwise_options {
  drawn input{};                // of every input; sizes are the suite's
  std::vector<drawn> inputs{};  // or one by one
  tolerance allowed{};
  smoothness gradient = smoothness::twice;
  bool special = true, signed_zero = false, integers = false;
  std::optional<dtype> result{};  // when not that of the case
};
entry elementwise(const any_op& op, std::size_t inputs, const scalar_function& f,
                  const elementwise_options& o);

}  // namespace adze::suite
