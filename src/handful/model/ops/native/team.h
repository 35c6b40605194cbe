// Work that several threads do together: the one that has it, and helpers that are kept from call to call. (Or, on
// threads that didn't ask for helpers, OpenMP's workers: threads.py says when.)
//
// Nobody waits for a helper to come. Who has the work goes on until none is left, takes back what no helper has taken
// up, and waits only for those that are in the middle of it. Where other processes keep the cores busy, the system may
// let a helper in milliseconds late, which is longer than a layer takes: then the work is done without it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace handful {

// Calls part(work) here and on up to threads - 1 others at once. Comes back when all that began have ended.
void work_together(int64_t threads, void (*part)(const void* work), const void* work);

template <class Work>
void together(int64_t threads, const Work& work) {
  if (threads < 2) return work();
  work_together(threads, [](const void* mine) { (*static_cast<const Work*>(mine))(); }, &work);
}

// Numbers from 0, each given out once.
class Turns {
 public:
  explicit Turns(int64_t count) : count_(count) {}
  // The next, or -1 when all are given out.
  int64_t take() {
    const int64_t turn = next_.fetch_add(1, std::memory_order_relaxed);
    return turn < count_ ? turn : -1;
  }

 private:
  const int64_t count_;
  std::atomic<int64_t> next_{0};
};

// Calls unit(number) for each of [0, count), on as many threads.
template <class Unit>
void share_out(int64_t count, int64_t threads, const Unit& unit) {
  Turns turns(count);
  together(std::min(count, threads), [&] {
    for (int64_t number = turns.take(); number >= 0; number = turns.take()) unit(number);
  });
}

// The same for whole stretches of rows: call(first, end).
template <class Rows>
void share_out_rows(int64_t rows, int64_t at_a_time, int64_t threads, const Rows& call) {
  share_out((rows + at_a_time - 1) / at_a_time, threads,
            [&](int64_t part) { call(part * at_a_time, std::min(rows, (part + 1) * at_a_time)); });
}

}  // namespace handful
