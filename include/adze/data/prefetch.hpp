#pragma once
// SPDX-License-Identifier: MIT
// Batches made ahead of time: persistent threads, a bounded ring per epoch, delivery in order.
// The consumer sees the same batches, and the same exception at the same place, for any number of
// threads, none included. What a batch is made of is decided in data/loader.hpp.
#include <condition_variable>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <adze/data/dataset.hpp>
#include <adze/fwd.hpp>

namespace adze::data::detail {

using batch_maker = std::function<batch(index_t)>;  // batch k of an epoch; any order, any thread

// Threads that live as long as this object and serve every epoch begun in the meantime.
class prefetcher {
 public:
  // One epoch under way. Guarded by the prefetcher's mutex.
  class job {
   private:
    friend class prefetcher;
    struct slot {
      bool ready = false;
      batch value;
      std::exception_ptr failure;
    };
    job(batch_maker make, index_t count, index_t ahead)
        : make_(std::move(make)), count_(count), ahead_(ahead),
          ring_(std::make_unique<slot[]>(static_cast<std::size_t>(ahead))) {}

    bool claimable() const { return claimed_ < count_ && claimed_ - taken_ < ahead_; }
    slot& at(index_t k) { return ring_[static_cast<std::size_t>(k % ahead_)]; }

    batch_maker make_;
    index_t count_;
    index_t claimed_ = 0;  // batches given to threads
    index_t taken_ = 0;    // batches given to the consumer
    index_t ahead_;
    std::unique_ptr<slot[]> ring_;
    std::shared_ptr<job> next_;  // begun after this one
  };

  [[gnu::cold]] explicit prefetcher(index_t workers) {
    try {
      threads_.reserve(static_cast<std::size_t>(workers));  // nothing throws once one runs
      for (index_t i = 0; i < workers; ++i) threads_.push_back(std::thread([this] { work(); }));
    } catch (...) {
      stop();
      throw;
    }
  }
  prefetcher(const prefetcher&) = delete;
  prefetcher& operator=(const prefetcher&) = delete;
  [[gnu::cold]] ~prefetcher() { stop(); }

  // Begins to make batches 0 .. count - 1, at most `ahead` of them beyond those taken.
  [[gnu::cold]] std::shared_ptr<job> start(batch_maker make, index_t count, index_t ahead) {
    std::shared_ptr<job> made(new job(std::move(make), count, ahead));
    {
      const std::lock_guard lock(mutex_);
      std::shared_ptr<job>* end = &jobs_;
      while (*end != nullptr) end = &(*end)->next_;
      *end = made;
    }
    work_.notify_all();
    return made;
  }

  // The next batch in order, or the exception that making it threw. Not more often than `count`.
  batch take(job& j) {
    job::slot got;
    {
      std::unique_lock lock(mutex_);
      job::slot& next = j.at(j.taken_);
      ready_.wait(lock, [&] { return next.ready; });
      got = std::exchange(next, {});
      ++j.taken_;
    }
    work_.notify_one();
    if (got.failure) std::rethrow_exception(got.failure);
    return std::move(got.value);
  }

  // No thread begins another batch of this epoch; those under way are dropped when done.
  void finish(const std::shared_ptr<job>& j) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<job>* at = &jobs_;
    while (*at != j) at = &(*at)->next_;
    *at = std::move(j->next_);
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (stopping_) return;
      std::shared_ptr<job> mine = jobs_;
      while (mine != nullptr && !mine->claimable()) mine = mine->next_;
      if (mine == nullptr) {
        work_.wait(lock);
        continue;
      }
      const index_t k = mine->claimed_++;
      lock.unlock();
      job::slot made;
      try {
        made.value = mine->make_(k);
      } catch (...) {
        made.failure = std::current_exception();
      }
      made.ready = true;
      lock.lock();
      mine->at(k) = std::move(made);
      ready_.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  std::mutex mutex_;
  std::condition_variable work_;   // a batch may be begun, or it is time to stop
  std::condition_variable ready_;  // a batch is done
  std::shared_ptr<job> jobs_;      // a list, first begun first
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace adze::data::detail

namespace adze::data {

// The batches of one epoch, to be walked once: for (auto& [x, y] : loader.epoch(e)). Leaving the
// loop early stops the work ahead. A batch whose making throws is passed over: the exception comes
// from begin() or ++, the batch there is empty, and the next ++ or begin() goes on behind it.
class epoch_range {
 public:
  class iterator {
   public:
    explicit iterator(epoch_range* range) : range_(range) {}
    batch& operator*() const { return range_->current_; }
    batch* operator->() const { return &range_->current_; }
    iterator& operator++() {
      range_->advance();
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return range_->next_ > range_->count_; }

   private:
    epoch_range* range_;
  };

  // `owner` keeps alive what `make` and `threads` (may be null) refer to.
  epoch_range(std::shared_ptr<const void> owner, detail::prefetcher* threads,
              detail::batch_maker make, index_t count, index_t ahead)
      : owner_(std::move(owner)), threads_(threads), count_(count) {
    if (threads_ != nullptr) {
      job_ = threads_->start(std::move(make), count, ahead);
    } else {
      make_ = std::move(make);
    }
  }
  epoch_range(const epoch_range&) = delete;
  epoch_range& operator=(const epoch_range&) = delete;
  ~epoch_range() {
    if (job_ != nullptr) threads_->finish(job_);
  }

  index_t batches() const { return count_; }

  iterator begin() {
    if (!arrived_) advance();
    return iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  // Counts one further than there are batches when all were seen, and counts a batch before it is
  // made, for that may throw.
  void advance() {
    current_ = {};  // its memory is free for the next one
    arrived_ = false;
    const index_t k = next_++;
    if (k < count_) current_ = job_ != nullptr ? threads_->take(*job_) : make_(k);
    arrived_ = true;
  }

  std::shared_ptr<const void> owner_;
  detail::prefetcher* threads_;
  detail::batch_maker make_;
  std::shared_ptr<detail::prefetcher::job> job_;
  index_t count_;
  index_t next_ = 0;
  bool arrived_ = false;  // at a batch or the end; not before the first one, nor where making threw
  batch current_;
};

}  // namespace adze::data
