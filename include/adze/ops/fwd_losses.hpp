#pragma once
// SPDX-License-Identifier: MIT
// Losses, declared, with their options; see fwd.hpp.
#include <cstdint>

#include <adze/autograd/fwd.hpp>

namespace adze {

enum class reduction : std::uint8_t { mean, sum, none };

}  // namespace adze

namespace adze::inline ADZE_ISA {

// cross_entropy.hpp, nll_loss.hpp, loss.hpp, margin_loss.hpp
struct cross_entropy_options {
  tensor weight{};  // per class
  index_t ignore_index = -100;
  double label_smoothing = 0.0;
  reduction reduce = reduction::mean;
};
template <class = void>
[[nodiscard]] tensor cross_entropy(const tensor& logits, const tensor& target,
                                   const cross_entropy_options& o = {});
template <class = void>
[[nodiscard]] tensor nll_loss(const tensor& log_probabilities, const tensor& target,
                              const cross_entropy_options& o = {});
template <class = void>
[[nodiscard]] tensor mse_loss(const tensor& x, const tensor& target,
                              reduction reduce = reduction::mean);
template <class = void>
[[nodiscard]] tensor l1_loss(const tensor& x, const tensor& target,
                             reduction reduce = reduction::mean);
template <class = void>
[[nodiscard]] tensor smooth_l1_loss(const tensor& x, const tensor& target, double beta = 1.0,
                                    reduction reduce = reduction::mean);
template <class = void>
[[nodiscard]] tensor huber_loss(const tensor& x, const tensor& target, double delta = 1.0,
                                reduction reduce = reduction::mean);
struct bce_options {
  tensor weight{};
  tensor positive_weight{};
  reduction reduce = reduction::mean;
};
template <class = void>
[[nodiscard]] tensor binary_cross_entropy(const tensor& p, const tensor& target,
                                          const bce_options& o = {});
template <class = void>
[[nodiscard]] tensor binary_cross_entropy_with_logits(const tensor& x, const tensor& target,
                                                      const bce_options& o = {});
struct kl_options {
  bool log_target = false;
  bool batch_mean = false;  // the sum divided by the batch, as the definition says
  reduction reduce = reduction::mean;
};
template <class = void>
[[nodiscard]] tensor kl_div(const tensor& log_p, const tensor& target, const kl_options& o = {});
template <class = void>
[[nodiscard]] tensor cosine_similarity(const tensor& a, const tensor& b, index_t axis = 1,
                                       double eps = 1e-8);
struct margin_options {
  double margin = 0.0;
  reduction reduce = reduction::mean;
};
struct hinge_options {
  double margin = 1.0;
  reduction reduce = reduction::mean;
};
struct triplet_options {
  double margin = 1.0;
  double p = 2.0;  // norm of the distance
  reduction reduce = reduction::mean;
};
template <class = void>
[[nodiscard]] tensor cosine_embedding_loss(const tensor& a, const tensor& b, const tensor& target,
                                           const margin_options& o = {});
template <class = void>
[[nodiscard]] tensor triplet_margin_loss(const tensor& anchor, const tensor& positive,
                                         const tensor& negative, const triplet_options& o = {});
template <class = void>
[[nodiscard]] tensor hinge_embedding_loss(const tensor& x, const tensor& target,
                                          const hinge_options& o = {});
template <class = void>
[[nodiscard]] tensor margin_ranking_loss(const tensor& a, const tensor& b, const tensor& target,
                                         const margin_options& o = {});

}  // namespace adze::inline ADZE_ISA
