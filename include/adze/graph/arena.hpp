#pragma once
// SPDX-License-Identifier: MIT
// One block of memory for everything that a fixed sequence of work allocates. A first run writes
// down which storages are made and when they die; the layout overlaps those that never live at
// once; later runs, which ask for the same sizes in the same order, get the same places. A run that
// departs from the script, or keeps a storage longer than the first did, gets pool memory instead:
// slower, never wrong.
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <adze/tensor/storage.hpp>

namespace adze::detail {

// The storages of the first run in the order in which they were made.
struct arena_script {
  struct entry {
    std::size_t bytes = 0;                // of header and data, in whole cache lines
    index_t end = 0;                      // when it died, counted in storages made
    std::size_t offset = 0;               // in the arena
    std::vector<std::uint32_t> others{};  // in the same place: must be dead, earlier runs' too
  };
  std::vector<entry> entries{};
  std::size_t bytes = 0;

  static std::size_t block_bytes(std::size_t data) {
    return (sizeof(storage) + data + 63) / 64 * 64;
  }
  bool alive_together(std::size_t i, std::size_t j) const {  // i made before j
    return entries[i].end > static_cast<index_t>(j);
  }

  // Largest first, each at the lowest place that is free for as long as it lives.
  template <class = void> void lay_out() {
    std::vector<std::size_t> order(entries.size()), placed;
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return entries[a].bytes > entries[b].bytes;
    });
    for (const std::size_t i : order) {
      std::vector<std::pair<std::size_t, std::size_t>> taken;  // begin, end
      for (const std::size_t j : placed) {
        if (!alive_together(std::min(i, j), std::max(i, j))) continue;
        taken.emplace_back(entries[j].offset, entries[j].offset + entries[j].bytes);
      }
      std::sort(taken.begin(), taken.end());
      std::size_t at = 0;
      for (const auto& [begin, end] : taken) {
        if (at + entries[i].bytes <= begin) break;
        at = std::max(at, end);
      }
      entries[i].offset = at;
      bytes = std::max(bytes, at + entries[i].bytes);
      placed.push_back(i);
    }
    for (std::size_t j = 0; j < entries.size(); ++j) {
      for (std::size_t i = 0; i < j; ++i) {
        entry &a = entries[i], &b = entries[j];
        if (a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes) {
          b.others.push_back(static_cast<std::uint32_t>(i));
          a.others.push_back(static_cast<std::uint32_t>(j));
        }
      }
    }
  }
};

// Writes the script while the first run takes its memory from the pool.
class arena_writer : public storage_source {
 public:
  arena_writer()
      : storage_source{[](storage_source& self, std::size_t bytes) {
          return static_cast<arena_writer&>(self).take(bytes);
        }} {}
  template <class = void> arena_script finish() {
    script_->lay_out();
    return *script_;
  }

 private:
  struct note {  // behind the data of a storage; keeps the script alive
    std::shared_ptr<arena_script> script;
    storage* block;
    std::size_t index;
    static void died(note* n) {
      const note last = std::move(*n);
      n->~note();
      arena_script::entry& e = last.script->entries[last.index];
      e.end = static_cast<index_t>(last.script->entries.size());
      pool_put(last.block, e.bytes + sizeof(note));
    }
  };
  storage* take(std::size_t bytes) {
    const std::size_t block = arena_script::block_bytes(bytes);
    auto* s = ::new (pool_get(block + sizeof(note))) storage;
    auto* n =
        ::new (reinterpret_cast<std::byte*>(s) + block) note{script_, s, script_->entries.size()};
    s->bytes = bytes;
    s->data = reinterpret_cast<std::byte*>(s + 1);
    s->placed = true;
    s->deleter = [](void* context) { note::died(static_cast<note*>(context)); };
    s->context = n;
    script_->entries.push_back({block, std::numeric_limits<index_t>::max()});
    return s;
  }

  std::shared_ptr<arena_script> script_ = std::make_shared<arena_script>();
};

// The memory of one run at a time.
class arena : public storage_source {
 public:
  explicit arena(const arena_script& script)
      : storage_source{[](storage_source& self, std::size_t bytes) {
          return static_cast<arena&>(self).take(bytes);
        }},
        script_(&script), bytes_(std::max<std::size_t>(script.bytes, 64)),
        memory_(static_cast<std::byte*>(pool_get(bytes_))), slots_(script.entries.size()) {}
  ~arena() { pool_put(memory_, bytes_); }
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  // Before each run.
  void rewind() { next_ = 0; }
  // Storages of this run, or of an earlier one, that are still in use.
  index_t live() const { return live_; }

 private:
  struct slot {
    arena* owner = nullptr;
    bool live = false;
  };
  storage* take(std::size_t bytes) {
    const std::size_t i = next_++;
    if (i >= slots_.size()) return nullptr;
    const arena_script::entry& e = script_->entries[i];
    bool free = e.bytes == arena_script::block_bytes(bytes) && !slots_[i].live;
    for (const std::uint32_t j : e.others) free = free && !slots_[j].live;
    if (!free) return nullptr;
    auto* s = ::new (memory_ + e.offset) storage;
    s->bytes = bytes;
    s->data = reinterpret_cast<std::byte*>(s + 1);
    s->placed = true;
    slots_[i] = {this, true};
    ++live_;
    s->deleter = [](void* context) {
      auto* at = static_cast<slot*>(context);
      at->live = false;
      --at->owner->live_;
    };
    s->context = &slots_[i];
    return s;
  }

  const arena_script* script_;
  std::size_t bytes_;
  std::byte* memory_;
  std::vector<slot> slots_;
  std::size_t next_ = 0;
  index_t live_ = 0;
};

// Installs a source for this thread.
class use_storage_source {
 public:
  [[nodiscard]] explicit use_storage_source(storage_source* s)
      : before_(std::exchange(storage_from, s)) {}
  ~use_storage_source() { storage_from = before_; }
  use_storage_source(const use_storage_source&) = delete;
  use_storage_source& operator=(const use_storage_source&) = delete;

 private:
  storage_source* before_;
};

}  // namespace adze::detail
