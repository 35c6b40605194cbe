// The helpers of team.h. There is one team in a process, shared by all that have work: each takes the helpers that are
// free, so two models at once don't have more threads than cores.

#include "team.h"

#include <pthread.h>

#include <array>
#include <chrono>
#include <system_error>
#include <thread>

#include "handful.h"

namespace handful {
namespace {

// What the compilers' `#pragma omp parallel` calls: runs a function on a thread and the workers of its pool.
using Parallel = void (*)(void (*part)(void* work), void* work, unsigned threads, unsigned flags);

std::atomic<Parallel> openmp{nullptr};
thread_local bool has_helpers = false;

constexpr int kMostHelpers = 255;
// How long to look for what comes next before going to sleep. From one layer's call to the next Python takes 20 to 50
// microseconds; waking a thread takes about as long.
constexpr std::chrono::microseconds kWatch{200};

struct Job {
  void (*part)(const void* work);
  const void* work;
};

// Each phase is one more than the one before; behind `kTaken` comes `kFree` of the next round. The numbers grow, so
// who waits for the end of a round can't take a later one for it (they begin again after a billion rounds).
enum Phase : uint32_t { kFree = 0, kClaimed = 1, kOffered = 2, kTaken = 3, kPhases = 4 };

inline uint32_t phase_of(uint32_t state) { return state & (kPhases - 1); }

inline void pause_a_little() { __builtin_ia32_pause(); }

// Waits until `state` is no longer `now`: by looking at first, then asleep.
void wait_while(const std::atomic<uint32_t>& state, uint32_t now) {
  const auto until = std::chrono::steady_clock::now() + kWatch;
  do {
    for (int look = 0; look < 32; ++look) {
      if (state.load(std::memory_order_acquire) != now) return;
      pause_a_little();
    }
  } while (std::chrono::steady_clock::now() < until);
  state.wait(now);
}

class alignas(128) Helper {
 public:
  // Offers it a job, unless it has one. Returns the number by which to end it, or 0.
  uint32_t offer(const Job& job) {
    uint32_t found = state_.load(std::memory_order_relaxed);
    if (phase_of(found) != kFree || !state_.compare_exchange_strong(found, found + kClaimed)) return 0;
    job_ = &job;
    state_.store(found + kOffered);
    state_.notify_one();
    return found + kOffered;
  }

  // Takes back what it was offered; where it has taken it up, waits until it is done.
  void end(uint32_t offered) {
    uint32_t found = offered;
    if (state_.compare_exchange_strong(found, offered - kOffered + kPhases)) return;
    wait_while(state_, offered - kOffered + kTaken);
  }

  [[noreturn]] void work() {
    for (;;) {
      uint32_t found = state_.load(std::memory_order_acquire);
      if (phase_of(found) != kOffered) {
        wait_while(state_, found);
      } else if (state_.compare_exchange_strong(found, found - kOffered + kTaken)) {
        job_->part(job_->work);
        state_.store(found - kOffered + kPhases);
        state_.notify_all();
      }
    }
  }

 private:
  std::atomic<uint32_t> state_{kPhases};  // of the first round, so that no number is 0
  const Job* job_ = nullptr;             // of who has claimed it
};

// Never destroyed: helpers may be at work while the process ends.
struct Team {
  std::array<Helper*, kMostHelpers> helpers{};
  std::atomic<int> size{0};
  std::atomic_flag is_growing = ATOMIC_FLAG_INIT;

  // Up to `wanted` helpers; fewer where the system gives no more threads, or another thread is adding some just now.
  int grown_to(int wanted) {
    int count = size.load(std::memory_order_acquire);
    if (count >= wanted || is_growing.test_and_set()) return std::min(count, wanted);
    for (count = size.load(); count < wanted; ++count) {
      Helper* helper = new Helper;
      try {
        std::thread([helper] { helper->work(); }).detach();
      } catch (const std::system_error&) {
        delete helper;
        break;
      }
      helpers[static_cast<size_t>(count)] = helper;
      size.store(count + 1, std::memory_order_release);
    }
    is_growing.clear();
    return std::min(count, wanted);
  }

  // The child of a fork has none of its parent's threads.
  void forget() {
    size.store(0);
    is_growing.clear();
  }
};

Team& team() {
  static Team* const made = [] {
    Team* const first = new Team;
    pthread_atfork(nullptr, nullptr, [] { team().forget(); });
    return first;
  }();
  return *made;
}

void work_on_openmp(Parallel parallel, const Job& job, unsigned threads) {
  Job copy = job;
  parallel([](void* it) { static_cast<Job*>(it)->part(static_cast<Job*>(it)->work); }, &copy, threads, 0);
}

}  // namespace

void work_together(int64_t threads, void (*part)(const void* work), const void* work) {
  const Job job{part, work};
  const Parallel parallel = has_helpers ? nullptr : openmp.load(std::memory_order_relaxed);
  if (parallel) return work_on_openmp(parallel, job, static_cast<unsigned>(threads));
  const int wanted = static_cast<int>(std::min<int64_t>(threads - 1, kMostHelpers)), count = team().grown_to(wanted);
  std::array<uint32_t, kMostHelpers> offered;
  for (int i = 0; i < count; ++i) offered[i] = team().helpers[i]->offer(job);
  part(work);
  for (int i = 0; i < count; ++i)
    if (offered[i]) team().helpers[i]->end(offered[i]);
}

}  // namespace handful

// The runtime that torch has brought: its GOMP_parallel.
HANDFUL_API void handful_use_openmp(void* parallel) { handful::openmp = reinterpret_cast<handful::Parallel>(parallel); }

HANDFUL_API void handful_use_helpers() { handful::has_helpers = true; }
