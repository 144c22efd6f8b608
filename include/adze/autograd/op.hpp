#pragma once
// SPDX-License-Identifier: MIT
// The op protocol and its table. An op is a plain struct whose members are its attributes; arity
// and results are deduced from `forward` and `backward`. One `op_info` per op, found by its
// address, is what the rest of the engine works with. docs/ops.md explains how to write one.
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <adze/autograd/node.hpp>
#include <adze/simd/arch.hpp>

namespace adze {

class axis_ties;  // autograd/axes.hpp

// Sees each tensor that an op holds as state, by a name that is its own among those of the op.
using state_visitor = std::function<void(std::string_view name, tensor& state)>;

// How an op wants its floating inputs: `low` runs in the low precision of a rule, `wide` in f32,
// `promote` in the widest type of its inputs, `any` as they come.
enum class numeric : std::uint8_t { low, wide, promote, any };

// A set of inputs and outputs of one op.
struct value_set {
  std::uint32_t bits = 0;
  constexpr value_set operator|(value_set o) const { return {bits | o.bits}; }
  constexpr bool has(value_set o) const { return (bits & o.bits) == o.bits; }
};

// What a gradient reads: `gradient_reads(values::input(1), values::input(0))`.
namespace values {
inline constexpr value_set nothing{};
constexpr value_set input(int i) { return {std::uint32_t{1} << i}; }          // i < 24
constexpr value_set output(int k) { return {std::uint32_t{1} << (24 + k)}; }  // k < 8
inline constexpr value_set inputs{0xffffff};
}  // namespace values

template <class... V> constexpr std::array<value_set, sizeof...(V)> gradient_reads(V... v) {
  return {v...};
}

namespace detail {

inline constexpr std::uint32_t is_list = 0xffffffff;  // as many as the call has

// Results of one call: a few inline, or a vector.
struct results {
  std::array<tensor, 8> few;
  std::vector<tensor> many;
  std::size_t count = 0;
  tensor* data() { return count <= few.size() ? few.data() : many.data(); }
  tensor& operator[](std::size_t i) { return data()[i]; }
  void take(tensor&& x) {
    few[0] = std::move(x);
    count = 1;
  }
  template <std::size_t N> void take(std::array<tensor, N>&& x) {
    static_assert(N <= 8, "adze op: at most 8 results; return std::vector<tensor>");
    take_few(x.data(), N);
  }
  void take(std::vector<tensor>&& x) {
    if (x.size() <= few.size()) return take_few(x.data(), x.size());
    count = x.size();
    many = std::move(x);
  }

 private:
  void take_few(tensor* x, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) few[i] = std::move(x[i]);
    count = n;
  }
};

}  // namespace detail

// What `backward` sees: saved values, shapes of wanted inputs, and which gradients are wanted.
class backward_context {
 public:
  backward_context(detail::node* n, bool create, std::uint64_t want)
      : node_(n), create_(create), want_(want) {}

  const tensor& in(std::size_t i) const;
  tensor out(std::size_t k) const {
    const tensor& plain = fetch(values::output(static_cast<int>(k)));
    if (!create_) return plain;
    tensor y = alias(plain);
    detail::attach(y, node_, static_cast<std::uint32_t>(k));
    return y;
  }
  // Whether the gradient of input j is wanted at all; if not, return an undefined tensor for it.
  bool wants(std::size_t j) const {
    const detail::node* to = node_->edges()[j].to;
    return to != nullptr && !to->frozen && (want_ == 0 || to->want_mark == want_);
  }
  // Shape and dtype of an input whose gradient is wanted, and of any result.
  const shape& in_shape(std::size_t j) const { return source(j).sizes; }
  dtype in_type(std::size_t j) const { return source(j).type; }
  const shape& out_shape(std::size_t k = 0) const { return node_->slots()[k].sizes; }
  dtype out_type(std::size_t k = 0) const { return node_->slots()[k].type; }
  std::size_t inputs() const { return node_->inputs; }
  // Gradients are being recorded: the result must be made of recorded ops.
  bool create() const { return create_; }

 private:
  const detail::slot& source(std::size_t j) const {
    const detail::edge& e = node_->edges()[j];
    return e.to->slots()[e.output];
  }
  const tensor& fetch(value_set v, std::size_t list_index = 0) const;

  detail::node* node_;
  bool create_;
  std::uint64_t want_;
};

namespace detail {

// One step of a plan: an op whose constant inputs have been put into the form its kernel reads.
// Const and shared by threads.
class prepared_step {
 public:
  std::uint32_t taken = 0;  // inputs that it holds itself: they arrive as undefined tensors
  index_t held_bytes = 0;   // of those, in the form that its kernel reads
  virtual ~prepared_step() = default;
  virtual void run(const tensor* const* in, results& out) const = 0;
};

// The address that stands for an op type; the type may be incomplete.
template <class Op> inline constexpr char op_identity = 0;

struct op_info {
  std::string_view name;
  const void* type = nullptr;  // &op_identity<Op>
  numeric precision = numeric::any;
  bool broadcasts = false;
  std::uint32_t inputs = 0, outputs = 0;
  std::size_t bytes = 0;
  value_set keeps{}, nondifferentiable{}, writes{};
  // What the gradients read: one set per input (a list: one for all), or a function of the op.
  const value_set* fixed_reads = nullptr;
  value_set (*reads)(const void* op, std::uint32_t wants) = nullptr;
  void (*forward)(void* op, const tensor* const* in, std::size_t n, results& out) = nullptr;
  void (*backward)(const void* op, backward_context& c, tensor_list g, results& out) = nullptr;
  void (*composed)(const void* op, const tensor* const* in, std::size_t n, results& out) = nullptr;
  // Null where the bytes are all there is to move, to copy and to destroy.
  void (*move)(void* to, void* from) = nullptr;
  void (*copy)(void* to, const void* from) = nullptr;
  void (*destroy)(void* op) noexcept = nullptr;
  // For a plan: `constants` are the inputs known for good, the others are undefined. May be null.
  std::unique_ptr<prepared_step> (*prepare)(const void* op, tensor_list constants) = nullptr;
  // Which axes belong together: einsum letters, or what the op says itself. Read by couple alone.
  std::string_view axes{};
  void (*couple)(const void* op, axis_ties& t) = nullptr;
  // What a graph saves of the op's attributes. May be null.
  void (*visit)(void* op, const state_visitor& f) = nullptr;
};

inline void move_op(const op_info& info, void* to, void* from) {
  if (info.move == nullptr) {
    std::memcpy(to, from, info.bytes);
  } else {
    info.move(to, from);
  }
}
inline void copy_op(const op_info& info, void* to, const void* from) {
  if (info.copy == nullptr) {
    std::memcpy(to, from, info.bytes);
  } else {
    info.copy(to, from);
  }
}
inline void destroy_op(const op_info& info, void* op) noexcept {
  if (info.destroy != nullptr) info.destroy(op);
}

// The values that the gradients of the wanted inputs read; bit i of `wants` is input i.
inline value_set reads_of(const op_info& info, const void* op, std::uint32_t wants) {
  if (info.fixed_reads == nullptr) return info.reads(op, wants);
  if (info.inputs == is_list) return wants != 0 ? *info.fixed_reads : value_set{};
  value_set r;
  for (std::uint32_t i = 0; i < info.inputs; ++i) {
    if ((wants >> i & 1) != 0) r = r | info.fixed_reads[i];
  }
  return r;
}

// Sees each recorded call, before the forward and after it, and each result that a change in place
// has put into the memory of another tensor.
struct observer {
  void (*before)(observer& self, const op_info& info, const void* op, const tensor* const* in,
                 std::size_t n) = nullptr;
  void (*after)(observer& self, const op_info& info, results& out) = nullptr;
  void (*moved)(observer& self, const tensor& value) = nullptr;
};

// Arity from the signature of forward.
template <class F> struct signature;
template <class R, class O, class... X> struct signature<R (O::*)(X...)> {
  using result = R;
  static constexpr bool list =
      sizeof...(X) == 1 && (std::is_same_v<std::remove_cvref_t<X>, tensor_list> && ...);
  static constexpr std::uint32_t inputs = list ? is_list : sizeof...(X);
};
template <class R, class O, class... X>
struct signature<R (O::*)(X...) const> : signature<R (O::*)(X...)> {};

template <class R> inline constexpr std::uint32_t result_count = is_list;  // vector
template <> inline constexpr std::uint32_t result_count<tensor> = 1;
template <std::size_t N> inline constexpr std::uint32_t result_count<std::array<tensor, N>> = N;

template <class Op>
concept has_name = requires {
  std::string_view(Op::name);
};
template <class Op>
concept has_precision = requires {
  numeric(Op::precision);
};
template <class Op>
concept has_reads = requires {
  &Op::reads;
};
template <class Op>
concept has_forward = requires {
  &Op::forward;
};
template <class Op>
concept has_backward = requires {
  &Op::backward;
};

// One sentence per way to get the protocol wrong.
template <class Op, std::size_t Inputs> consteval void check_protocol() {
  static_assert(has_name<Op>, "adze op: needs `static constexpr std::string_view name`");
  static_assert(has_precision<Op>,
                "adze op: needs `static constexpr numeric precision`: low, wide, promote or any");
  static_assert(has_reads<Op>, "adze op: needs `reads`: what each gradient reads, e.g. "
                               "gradient_reads(values::input(1), values::input(0))");
  static_assert(has_forward<Op>, "adze op: needs one `forward`, neither overloaded nor a template");
  static_assert(has_backward<Op>,
                "adze op: needs one `backward(backward_context&, const tensor& g) const`");
  if constexpr (has_forward<Op>) {
    constexpr std::uint32_t n = signature<decltype(&Op::forward)>::inputs;
    static_assert(n == is_list || n == Inputs,
                  "adze op: record() got another number of tensors than `forward` takes");
  }
}

template <class Op, std::size_t... I>
decltype(auto) call_forward(Op& op, const tensor* const* in, std::index_sequence<I...>) {
  return op.forward(*in[I]...);
}
template <class Op, std::size_t... I>
decltype(auto) call_composed(const Op& op, const tensor* const* in, std::index_sequence<I...>) {
  return op.composed(*in[I]...);
}
inline std::vector<tensor> list_of(const tensor* const* in, std::size_t n) {
  std::vector<tensor> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = *in[i];
  return v;
}

template <class Op> struct thunks {
  static constexpr std::uint32_t inputs = signature<decltype(&Op::forward)>::inputs;
  static constexpr bool list = inputs == is_list;
  using indices = std::make_index_sequence<list ? 0 : inputs>;

  // A constant, or a member function.
  static constexpr bool computed_reads = std::is_member_function_pointer_v<decltype(&Op::reads)>;

  static constexpr const value_set* fixed_reads() {
    if constexpr (list) {
      return &Op::reads;
    } else {
      static_assert(Op::reads.size() == inputs,
                    "adze op: `reads` needs one entry per input of `forward`");
      return Op::reads.data();
    }
  }
  static value_set reads(const void* p, std::uint32_t wants) {
    const auto all = static_cast<const Op*>(p)->reads();
    op_info i;
    i.inputs = inputs;
    if constexpr (list) {
      i.fixed_reads = &all;
    } else {
      static_assert(all.size() == inputs,
                    "adze op: `reads` needs one entry per input of `forward`");
      i.fixed_reads = all.data();
    }
    return reads_of(i, p, wants);
  }
  static void forward(void* p, const tensor* const* in, std::size_t n, results& out) {
    Op& op = *static_cast<Op*>(p);
    if constexpr (list) {
      const std::vector<tensor> x = list_of(in, n);
      out.take(op.forward(tensor_list(x)));
    } else {
      out.take(call_forward(op, in, indices{}));
    }
  }
  static void backward(const void* p, backward_context& c, tensor_list g, results& out) {
    const Op& op = *static_cast<const Op*>(p);
    if constexpr (requires { op.backward(c, g); }) {
      out.take(op.backward(c, g));
    } else {
      out.take(op.backward(c, g[0]));
    }
  }
  static void composed(const void* p, const tensor* const* in, std::size_t n, results& out) {
    if constexpr (requires { &Op::composed; }) {
      out.take(call_composed(*static_cast<const Op*>(p), in, indices{}));
    }
    (void)n;
  }
  static std::unique_ptr<prepared_step> prepare(const void* p, tensor_list constants) {
    return static_cast<const Op*>(p)->prepare(constants);
  }
  static void couple(const void* p, axis_ties& t) { static_cast<const Op*>(p)->couple(t); }
  static void visit(void* p, const state_visitor& f) { static_cast<Op*>(p)->visit(f); }
  static void move(void* to, void* from) { ::new (to) Op(std::move(*static_cast<Op*>(from))); }
  static void copy(void* to, const void* from) { ::new (to) Op(*static_cast<const Op*>(from)); }
  static void destroy(void* p) noexcept { static_cast<Op*>(p)->~Op(); }
};

template <class Op> constexpr op_info make_info() {
  using call = signature<decltype(&Op::forward)>;
  op_info i;
  i.name = Op::name;
  i.type = &op_identity<Op>;
  i.precision = Op::precision;
  i.inputs = call::inputs;
  i.outputs = result_count<typename call::result>;
  i.bytes = sizeof(Op);
  if constexpr (requires { Op::broadcasts; }) i.broadcasts = Op::broadcasts;
  if constexpr (requires { Op::keeps; }) i.keeps = Op::keeps;
  if constexpr (requires { Op::nondifferentiable; }) i.nondifferentiable = Op::nondifferentiable;
  if constexpr (requires { Op::writes; }) i.writes = Op::writes;
  if constexpr (thunks<Op>::computed_reads) {
    i.reads = thunks<Op>::reads;
  } else {
    i.fixed_reads = thunks<Op>::fixed_reads();
  }
  i.forward = thunks<Op>::forward;
  i.backward = thunks<Op>::backward;
  if constexpr (requires { &Op::composed; }) i.composed = thunks<Op>::composed;
  if constexpr (requires { &Op::prepare; }) i.prepare = thunks<Op>::prepare;
  if constexpr (requires { Op::axes; }) i.axes = Op::axes;
  if constexpr (requires { &Op::couple; }) i.couple = thunks<Op>::couple;
  if constexpr (requires { &Op::visit; }) i.visit = thunks<Op>::visit;
  if constexpr (!std::is_trivially_copyable_v<Op>) {
    i.move = thunks<Op>::move;
    i.copy = thunks<Op>::copy;
    i.destroy = thunks<Op>::destroy;
  }
  return i;
}

template <class Op> inline constexpr op_info info_of = make_info<Op>();

}  // namespace detail

[[gnu::noinline]] inline const tensor& backward_context::in(std::size_t i) const {
  const bool list = node_->info->inputs == detail::is_list;
  return fetch(list ? values::inputs : values::input(static_cast<int>(i)), i);
}
inline const tensor& backward_context::fetch(value_set v, std::size_t list_index) const {
  const std::uint32_t bits = node_->saved_bits;
  if ((bits & v.bits) == 0) {
    raise<state_error>(node_->info->name, ": backward reads a value that `reads` does not name");
  }
  // A list has all its inputs in front, or none.
  const std::uint32_t inputs = node_->info->inputs == detail::is_list ? values::inputs.bits : 0;
  const std::uint32_t before = bits & (v.bits - 1) & ~inputs;
  const std::size_t front = (bits & inputs) == 0     ? 0
                            : (v.bits & inputs) != 0 ? list_index
                                                     : node_->inputs;
  return node_->saved()[front + static_cast<std::size_t>(__builtin_popcount(before))].value;
}

}  // namespace adze
