#pragma once
// SPDX-License-Identifier: MIT
// From a dataset to the batches of an epoch: order, batching, transforms, work ahead in threads.
// Everything random depends on (seed, epoch, example) only: the same bits for any worker count.
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <adze/core/random.hpp>
#include <adze/data/dataset.hpp>
#include <adze/data/prefetch.hpp>
#include <adze/fwd.hpp>

namespace adze::data {

// Where a batch stands, for transforms: which examples it holds, and their random numbers.
struct batch_place {
  std::uint64_t seed = 0;
  index_t epoch = 0;
  std::span<const index_t> indices;  // of the examples, in the order of the batch
  index_t stage = 0;                 // position of the transform in the list

  // The random numbers of one example (by its position in the batch) in this epoch and stage. At
  // most 16 blocks of 128 bits belong to it.
  generator random(index_t position) const {
    const auto e = static_cast<std::uint64_t>(epoch);
    const auto i = static_cast<std::uint64_t>(indices[static_cast<std::size_t>(position)]);
    const std::uint64_t own = seed ^ (static_cast<std::uint64_t>(stage) + 1) * 0x9E3779B97F4A7C15;
    return generator(random_state{own, (e << 40) + i * 16});
  }
};

// Changes a batch, which is its own copy, in place. Called from the worker threads, several at once
// for different batches.
using transform = std::function<void(batch&, const batch_place&)>;

struct loader_options {
  index_t batch_size = 64;
  bool shuffle = false;
  bool drop_last = false;  // leave out a last batch that is not full
  index_t workers = 0;     // threads that work ahead; 0 makes each batch when it is asked for
  index_t ahead = 4;       // batches at most that wait or are in work
  // None: one that the seed of the calling thread's default generator names when the loader is
  // made, so that manual_seed(s) fixes the order too; no number is drawn.
  std::optional<std::uint64_t> seed{};
  std::vector<transform> transforms{};
};

// data::loader train(dataset, {.batch_size = 64, .shuffle = true, .workers = 1});
// for (auto& [x, y] : train.epoch(e)) ...     from batch k on: train.epoch(e, k)
// Unshuffled batches without transforms are views of the dataset. Copies of a loader share threads.
template <dataset D> class loader {
 public:
  // value_error: a batch size or `ahead` below 1, workers not in 0..256.
  explicit loader(D data, loader_options options = {})
      : shared_(std::make_shared<state>(std::move(data), std::move(options))) {}

  const D& data() const { return shared_->data; }
  // Examples and batches of one epoch.
  index_t size() const {
    return options().drop_last ? batches() * options().batch_size : data().size();
  }
  index_t batches() const {
    const index_t n = data().size();
    const index_t size = options().batch_size;
    return options().drop_last ? n / size : n / size + (n % size != 0 ? 1 : 0);
  }

  // The examples' order in epoch e: 0, 1, 2, ... or the shuffle that (seed, e) names.
  std::vector<index_t> order(index_t epoch) const {
    check_epoch(epoch);
    if (options().shuffle) {
      const random_state at{*options().seed, static_cast<std::uint64_t>(epoch) << 40};
      return generator(at).permutation(data().size());
    }
    std::vector<index_t> plain(static_cast<std::size_t>(data().size()));
    std::iota(plain.begin(), plain.end(), index_t{0});
    return plain;
  }

  // Begins epoch e, at a later batch to go on where training was stopped; the batches before it are
  // not made. Each call begins anew. value_error: not in 0 .. 2^24 - 1, or a batch beyond the last.
  [[gnu::cold]] epoch_range epoch(index_t epoch, index_t first_batch = 0) const {
    if (first_batch < 0 || first_batch > batches()) {
      raise<value_error>("loader.epoch: first_batch out of range; got ", first_batch,
                         "; an epoch has ", batches(), " batches");
    }
    const state* shared = shared_.get();
    detail::batch_maker make = [shared, epoch, first_batch, order = order(epoch)](index_t k) {
      return shared->make(order, epoch, first_batch + k);
    };
    detail::prefetcher* threads = shared_->threads ? &*shared_->threads : nullptr;
    const index_t ahead = std::max(options().ahead, options().workers);
    return {shared_, threads, std::move(make), batches() - first_batch, ahead};
  }

 private:
  struct state {
    state(D d, loader_options o) : data(std::move(d)), options(std::move(o)) {
      if (options.batch_size < 1 || options.ahead < 1) {
        raise<value_error>("loader: sizes out of range; batch_size ", options.batch_size,
                           ", ahead ", options.ahead, "; both must be at least 1");
      }
      if (options.workers < 0 || options.workers > 256) {
        raise<value_error>("loader: workers out of range; got ", options.workers,
                           "; 0 to 256 are allowed");
      }
      if (!options.seed) {  // from the stream's far end, which no generator reaches
        const random_state end{default_generator().state().seed, ~std::uint64_t{0}};
        options.seed = generator(end).bits();
      }
      if (options.workers > 0) threads.emplace(options.workers);
    }

    batch make(std::span<const index_t> order, index_t epoch, index_t k) const {
      const index_t first = k * options.batch_size;
      const index_t count = std::min(options.batch_size, data.size() - first);
      const auto indices =
          order.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
      if constexpr (requires { data.slice(first, count); }) {
        if (!options.shuffle && options.transforms.empty()) return data.slice(first, count);
      }
      batch made = data.gather(indices);
      batch_place place{*options.seed, epoch, indices, 0};
      for (const transform& change : options.transforms) {
        change(made, place);
        ++place.stage;
      }
      return made;
    }

    D data;
    loader_options options;
    mutable std::optional<detail::prefetcher> threads;  // last: joined before the rest goes
  };

  static void check_epoch(index_t epoch) {
    if (epoch < 0 || epoch >= index_t{1} << 24) {
      raise<value_error>("loader.epoch: epoch out of range; got ", epoch,
                         "; 0 to 2^24 - 1 are allowed");
    }
  }
  const loader_options& options() const { return shared_->options; }

  std::shared_ptr<state> shared_;
};

}  // namespace adze::data
