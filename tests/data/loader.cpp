#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <adze/data/loader.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data::loader_test {
namespace {

using labels = std::vector<std::int64_t>;

tensor_dataset numbered(index_t n) {
  tensor_of<float> x(shape{n, 2});
  tensor_of<std::int64_t> y(shape{n});
  for (index_t i = 0; i < n; ++i) {
    x(i, 0) = x(i, 1) = static_cast<float>(i);
    y(i) = i;
  }
  return {x, y};
}

// The labels of each batch; checks that the features belong to them.
std::vector<labels> walk(const loader<tensor_dataset>& l, index_t epoch) {
  std::vector<labels> seen;
  for (auto& [x, y] : l.epoch(epoch)) {
    seen.push_back(y.as<std::int64_t>().to_vector());
    const auto features = x.as<float>();
    REQUIRE(x.size(0) == y.size(0));
    for (index_t i = 0; i < x.size(0); ++i) {
      CHECK(features(i, 0) == static_cast<float>(seen.back()[static_cast<std::size_t>(i)]));
    }
  }
  return seen;
}

labels flat(const std::vector<labels>& batches) {
  labels out;
  for (const auto& b : batches) out.insert(out.end(), b.begin(), b.end());
  return out;
}

TEST_CASE("loader: plain order, the last batch short or left out") {
  const loader all(numbered(7), {.batch_size = 3});
  CHECK(all.batches() == 3);
  CHECK(all.size() == 7);
  CHECK(walk(all, 0) == std::vector<labels>{{0, 1, 2}, {3, 4, 5}, {6}});
  const loader full(numbered(7), {.batch_size = 3, .drop_last = true});
  CHECK(full.batches() == 2);
  CHECK(full.size() == 6);
  CHECK(walk(full, 0) == std::vector<labels>{{0, 1, 2}, {3, 4, 5}});
  const loader one(numbered(2), {.batch_size = 3, .drop_last = true});
  CHECK(walk(one, 0).empty());
  const loader none(numbered(0), {.batch_size = 3, .workers = 2});
  CHECK(walk(none, 0).empty());
}

TEST_CASE("loader: unshuffled batches are views, shuffled or transformed ones are copies") {
  const tensor_dataset d = numbered(4);
  const auto inside = [&](loader_options options) {
    options.batch_size = 2;
    const loader l(d, options);
    auto epoch = l.epoch(0);
    const auto* at = epoch.begin()->x.data_as<float>();
    const auto* from = d.features().data_as<float>();
    return at >= from && at < from + d.features().numel();
  };
  CHECK(inside({}));
  CHECK(inside({.workers = 1}));
  CHECK_FALSE(inside({.shuffle = true}));
  CHECK_FALSE(inside({.transforms = {[](batch& b, const batch_place&) {
                        b.x.data_as<float>()[0] = -1;  // must not reach the dataset
                      }}}));
  CHECK(d.features().data_as<float>()[0] == 0);
}

TEST_CASE("loader: every example exactly once per epoch; orders differ by epoch and by seed") {
  const loader l(numbered(101), {.batch_size = 8, .shuffle = true, .seed = 5});
  labels expected(101);
  std::iota(expected.begin(), expected.end(), 0);
  std::vector<labels> orders;
  for (index_t e = 0; e < 5; ++e) {
    orders.push_back(flat(walk(l, e)));
    labels sorted = orders.back();
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == expected);
    CHECK(orders.back() == l.order(e));
    for (std::size_t before = 0; before + 1 < orders.size(); ++before) {
      CHECK(orders[before] != orders.back());
    }
  }
  CHECK(flat(walk(l, 3)) == orders[3]);  // an epoch can be repeated
  const loader other(numbered(101), {.batch_size = 8, .shuffle = true, .seed = 6});
  CHECK(flat(walk(other, 0)) != orders[0]);
}

TEST_CASE("loader: the order of every epoch is the one that (seed, epoch) names, and its own") {
  const loader l(numbered(32), {.shuffle = true, .seed = 21});
  std::vector<index_t> epochs(64);
  std::iota(epochs.begin(), epochs.end(), 0);
  for (int bit = 6; bit < 24; ++bit) epochs.push_back(index_t{1} << bit);
  std::vector<std::vector<index_t>> orders;
  for (const index_t e : epochs) {
    const random_state at{21, static_cast<std::uint64_t>(e) << 40};
    orders.push_back(l.order(e));
    CHECK(orders.back() == generator(at).permutation(32));
  }
  std::sort(orders.begin(), orders.end());
  CHECK(std::adjacent_find(orders.begin(), orders.end()) == orders.end());
}

TEST_CASE("loader: without a seed the order is named by manual_seed, and no number is drawn") {
  const random_state before = default_generator().state();
  const auto order_after = [](std::uint64_t seed) {
    manual_seed(seed);
    const loader l(numbered(32), {.shuffle = true});
    CHECK(default_generator().state() == random_state{seed, 0});
    default_generator().uniform();
    CHECK(loader(numbered(32), {.shuffle = true}).order(0) == l.order(0));
    return l.order(0);
  };
  CHECK(order_after(1) == order_after(1));
  CHECK(order_after(1) != order_after(2));
  manual_seed(1);
  const loader fixed(numbered(32), {.shuffle = true, .seed = 7});
  CHECK(fixed.order(3) == loader(numbered(32), {.shuffle = true, .seed = 7}).order(3));
  CHECK(fixed.order(0) != order_after(1));
  default_generator().set_state(before);
}

TEST_CASE("loader: the same batches and the same random numbers for 0, 1, 2, 3 workers") {
  // Slow and fast batches mix, so that workers overtake each other.
  const transform noisy = [](batch& b, const batch_place& place) {
    generator pause = place.random(0);
    std::this_thread::sleep_for(std::chrono::microseconds(pause.below(300)));
    for (index_t i = 0; i < b.x.size(0); ++i) {
      generator g = place.random(i);
      for (index_t c = 0; c < 2; ++c)
        b.x.data_as<float>()[2 * i + c] += static_cast<float>(g.uniform());
    }
  };
  std::vector<std::vector<float>> results;
  for (index_t workers = 0; workers <= 3; ++workers) {
    for (const index_t ahead : {1, 4}) {
      const loader l(numbered(97), {.batch_size = 4,
                                    .shuffle = true,
                                    .workers = workers,
                                    .ahead = ahead,
                                    .seed = 9,
                                    .transforms = {noisy, noisy}});
      std::vector<float> seen;
      for (index_t e = 0; e < 3; ++e) {
        for (auto& [x, y] : l.epoch(e)) {
          const auto values = x.as<float>().to_vector();
          seen.insert(seen.end(), values.begin(), values.end());
        }
      }
      results.push_back(seen);
    }
  }
  CHECK(results.front().size() == 3 * 97 * 2);
  for (const auto& r : results) CHECK(r == results.front());
}

TEST_CASE("loader: an epoch goes on at any batch, and makes none before it") {
  std::atomic<int> made{0};
  const transform noisy = [&](batch& b, const batch_place& place) {
    ++made;
    b.x.data_as<float>()[0] = static_cast<float>(place.random(0).uniform());
  };
  for (const index_t workers : {0, 1, 3}) {
    const loader l(
        numbered(23),
        {.batch_size = 4, .shuffle = true, .workers = workers, .seed = 9, .transforms = {noisy}});
    std::vector<std::vector<float>> whole;
    for (auto& [x, y] : l.epoch(2)) whole.push_back(x.as<float>().to_vector());
    for (index_t first = 0; first <= l.batches(); ++first) {
      made = 0;
      auto rest = l.epoch(2, first);
      CHECK(rest.batches() == l.batches() - first);
      auto expected = whole.begin() + first;
      for (auto& [x, y] : rest) CHECK(x.as<float>().to_vector() == *expected++);
      CHECK(expected == whole.end());
      CHECK(made == l.batches() - first);
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(l.epoch(2, 7)),
                         "loader.epoch: first_batch out of range; got 7; an epoch has 6 batches",
                         value_error);
    CHECK_THROWS_AS(static_cast<void>(l.epoch(2, -1)), value_error);
  }
}

TEST_CASE("loader: random numbers differ by example, epoch, stage and seed, not by place") {
  const std::vector<index_t> first{3, 4};
  const std::vector<index_t> second{9, 3};
  const auto draw = [](std::uint64_t seed, index_t epoch, const std::vector<index_t>& indices,
                       index_t stage, index_t position) {
    return batch_place{seed, epoch, indices, stage}.random(position).bits();
  };
  const auto base = draw(1, 0, first, 0, 0);
  CHECK(draw(1, 0, second, 0, 1) == base);
  CHECK(draw(1, 0, first, 0, 1) != base);
  CHECK(draw(1, 1, first, 0, 0) != base);
  CHECK(draw(1, 0, first, 1, 0) != base);
  CHECK(draw(2, 0, first, 0, 0) != base);
}

TEST_CASE("loader: the 16 blocks of an example in an epoch and a stage belong to no other") {
  const std::vector<index_t> indices{0, 1, 2, 3, 1000};
  std::vector<std::uint64_t> draws;
  for (const index_t epoch : {0, 1, 4, 8, 9, 100, 1 << 23}) {
    for (index_t stage = 0; stage < 4; ++stage) {
      for (index_t i = 0; i < 5; ++i) {
        generator g = batch_place{1, epoch, indices, stage}.random(i);
        for (int k = 0; k < 16; ++k) draws.push_back(g.bits());
      }
    }
  }
  std::sort(draws.begin(), draws.end());
  CHECK(std::adjacent_find(draws.begin(), draws.end()) == draws.end());
}

TEST_CASE("loader: transforms run in order and know their stage and their batch") {
  std::vector<index_t> stages;
  const transform record = [&](batch& b, const batch_place& place) {
    stages.push_back(place.stage);
    CHECK(place.seed == 4);
    CHECK(place.epoch == 2);
    CHECK(std::equal(place.indices.begin(), place.indices.end(), b.y.data_as<std::int64_t>()));
  };
  const loader l(numbered(5), {.batch_size = 3, .seed = 4, .transforms = {record, record, record}});
  CHECK(walk(l, 2).size() == 2);
  CHECK(stages == std::vector<index_t>{0, 1, 2, 0, 1, 2});
}

TEST_CASE("loader: an exception in a transform reaches the consumer at its own batch") {
  for (index_t workers = 0; workers <= 3; ++workers) {
    const transform fails = [](batch&, const batch_place& place) {
      if (place.epoch == 1 && place.indices[0] == 12) throw std::runtime_error("batch 3 is bad");
    };
    const loader l(numbered(40), {.batch_size = 4, .workers = workers, .transforms = {fails}});
    for (int repeat = 0; repeat < 3; ++repeat) {
      int seen = 0;
      const auto consume = [&] {
        for (auto& [x, y] : l.epoch(1)) {
          CHECK(y.as<std::int64_t>()(0) == 4 * seen);
          ++seen;
        }
      };
      CHECK_THROWS_WITH_AS(consume(), "batch 3 is bad", std::runtime_error);
      CHECK(seen == 3);
      CHECK(walk(l, 0).size() == 10);  // the loader goes on
    }
  }
}

TEST_CASE("loader: exceptions in the first and in the last batch, which is short") {
  for (index_t workers = 0; workers <= 2; ++workers) {
    for (const index_t bad : {0, 2}) {
      const transform fails = [bad](batch&, const batch_place& place) {
        if (place.indices[0] == 3 * bad) throw std::runtime_error("bad");
      };
      const loader l(numbered(7), {.batch_size = 3, .workers = workers, .transforms = {fails}});
      index_t seen = 0;
      const auto consume = [&] {
        for (const batch& b : l.epoch(0)) seen += b.y.numel();
      };
      CHECK_THROWS_AS(consume(), std::runtime_error);
      CHECK(seen == 3 * bad);
    }
  }
}

TEST_CASE("loader: an epoch goes on behind the batches that throw, to its end") {
  for (const labels& bad :
       {labels{0}, labels{3}, labels{9}, labels{2, 3, 9}, labels{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}) {
    const transform fails = [&bad](batch&, const batch_place& place) {
      if (std::count(bad.begin(), bad.end(), place.indices[0] / 4) != 0)
        throw std::runtime_error("bad");
    };
    labels expected;  // -1 for an exception
    for (index_t k = 0; k < 10; ++k)
      expected.push_back(std::count(bad.begin(), bad.end(), k) != 0 ? -1 : 4 * k);
    for (index_t workers = 0; workers <= 3; ++workers) {
      const loader l(numbered(40),
                     {.batch_size = 4, .workers = workers, .ahead = 2, .transforms = {fails}});
      for (const bool by_begin : {false, true}) {
        auto epoch = l.epoch(0);
        epoch_range::iterator it(&epoch);
        labels seen;
        const auto step = [&](auto&& move) {
          try {
            move();
            if (it != epoch.end()) seen.push_back(it->y.as<std::int64_t>()(0));
          } catch (const std::runtime_error&) {
            seen.push_back(-1);
            CHECK(!it->x.defined());
          }
        };
        step([&] { static_cast<void>(epoch.begin()); });
        while (it != epoch.end() && seen.size() < 20) {
          const bool again = by_begin && seen.back() == -1;
          step([&] { static_cast<void>(again ? epoch.begin() : ++it); });
        }
        CHECK(seen == expected);
        CHECK(epoch.begin() == epoch.end());
      }
    }
  }
}

TEST_CASE("loader: leaving an epoch early leaves nothing behind, and work ahead is bounded") {
  for (index_t workers = 1; workers <= 3; ++workers) {
    std::atomic<int> made{0};
    const transform counts = [&](batch&, const batch_place&) { ++made; };
    {
      const loader l(numbered(1000),
                     {.batch_size = 2, .workers = workers, .ahead = 5, .transforms = {counts}});
      for (int repeat = 0; repeat < 20; ++repeat) {
        made = 0;
        int seen = 0;
        for (const batch& b : l.epoch(0)) {
          CHECK(b.x.size(0) == 2);
          if (++seen == 3) break;
        }
        CHECK(seen == 3);
        // Three taken, five ahead of them; batches of the epoch before may still have been in work.
        CHECK(made <= 3 + 5 + workers);
      }
      { const auto unused = l.epoch(0); }
    }
    const int after = made;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    CHECK(made == after);  // the threads are gone
  }
}

TEST_CASE("loader: epochs may overlap, and a range keeps its loader alive") {
  const loader l(numbered(12), {.batch_size = 3, .shuffle = true, .workers = 1, .ahead = 1});
  std::vector<labels> outer;
  for (auto& [x, y] : l.epoch(0)) {
    outer.push_back(y.as<std::int64_t>().to_vector());
    CHECK(flat(walk(l, 1)) == l.order(1));
  }
  CHECK(flat(outer) == l.order(0));
  index_t seen = 0;
  for (auto& [x, y] : loader(numbered(12), {.batch_size = 3, .workers = 2}).epoch(0))
    seen += y.numel();
  CHECK(seen == 12);
}

// A dataset of the user's own: no storage, no slices.
struct squares {
  index_t size() const { return 10; }
  batch gather(std::span<const index_t> indices) const {
    tensor_of<float> x(shape{static_cast<index_t>(indices.size())});
    index_t at = 0;
    for (const index_t i : indices) x(at++) = static_cast<float>(i * i);
    return {x, x};
  }
};

TEST_CASE("loader: any type with size and gather is a dataset") {
  const loader l(squares{}, {.batch_size = 4, .workers = 2});
  std::vector<float> seen;
  for (auto& [x, y] : l.epoch(0)) {
    for (const float v : x.as<float>()) seen.push_back(v);
  }
  CHECK(seen == std::vector<float>{0, 1, 4, 9, 16, 25, 36, 49, 64, 81});
}

TEST_CASE("loader: wrong options") {
  CHECK_THROWS_WITH_AS(loader(numbered(3), {.batch_size = 0}),
                       "loader: sizes out of range; batch_size 0, ahead 4; both must be at least 1",
                       value_error);
  CHECK_THROWS_AS(loader(numbered(3), {.ahead = 0}), value_error);
  CHECK_THROWS_WITH_AS(loader(numbered(3), {.workers = -1}),
                       "loader: workers out of range; got -1; 0 to 256 are allowed", value_error);
  CHECK_THROWS_AS(loader(numbered(3), {.workers = 1000}), value_error);
  const loader l(numbered(3));
  CHECK_THROWS_WITH_AS(l.epoch(-1),
                       "loader.epoch: epoch out of range; got -1; 0 to 2^24 - 1 are allowed",
                       value_error);
  CHECK_THROWS_AS(l.epoch(index_t{1} << 24), value_error);
}

}  // namespace
}  // namespace adze::data::loader_test
