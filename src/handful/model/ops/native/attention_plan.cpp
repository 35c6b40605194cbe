// Whether a plan may be handed to the kernels: that nothing in it points outside of what it comes with.

#include "attention.h"
#include "handful.h"

namespace handful {

// How long a plan's arrays are, and how many slots the memory has.
struct PlanSizes {
  int64_t low, high, words, key_slots, slots;
};

// As _FAULTS in attention.py, counted from 1.
enum PlanFault : int32_t {
  kSound = 0,
  kNegative,
  kOutsideStep,
  kEntries,
  kKeys,
  kWords,
  kKeySlots,
  kNewSlots,
  kAsking,
  kOutsideRead,
};

namespace {

bool all_within(const int64_t* values, int64_t count, int64_t end) {
  bool within = true;
  for (int64_t i = 0; i < count; ++i) within &= values[i] >= 0 && values[i] < end;
  return within;
}

// Gives every read its entries and keys, one behind the other.
PlanFault number_reads(const Plan& plan, Read* reads, const PlanSizes& sizes) {
  int64_t entries = 0, keys = 0;
  for (int64_t number = 0; number < plan.num_reads; ++number) {
    Read& read = reads[number];
    if (read.num_rows < 0 || read.num_keys < 0) return kNegative;
    read.first_entry = entries, read.first_key = keys;
    entries += read.num_rows, keys += read.num_keys;
  }
  if (entries != sizes.low || entries != sizes.high) return kEntries;
  return keys == sizes.key_slots ? kSound : kKeys;
}

PlanFault check_reads(const Plan& plan, const PlanSizes& sizes) {
  for (int64_t number = 0; number < plan.num_reads; ++number) {
    const Read& read = plan.reads[number];
    if (read.first_row < 0 || read.first_row + read.num_rows > plan.num_rows) return kOutsideStep;
    const int64_t words = (read.num_keys + kTileKeys - 1) / kTileKeys * read.num_rows;
    if (read.first_word >= 0 && read.first_word + words > sizes.words) return kWords;
    for (int64_t entry = read.first_entry; entry < read.first_entry + read.num_rows; ++entry)
      if (plan.low[entry] < 0 || plan.high[entry] > read.num_keys) return kOutsideRead;
  }
  return kSound;
}

}  // namespace
}  // namespace handful

HANDFUL_API int handful_plan_fault(handful::Plan* plan, handful::Read* reads, const handful::PlanSizes* sizes) {
  using namespace handful;
  const PlanFault numbered = number_reads(*plan, reads, *sizes);
  if (numbered != kSound) return numbered;
  const PlanFault read = check_reads(*plan, *sizes);
  if (read != kSound) return read;
  if (!all_within(plan->key_slots, sizes->key_slots, sizes->slots)) return kKeySlots;
  if (!all_within(plan->new_slots, plan->num_tokens, sizes->slots)) return kNewSlots;
  if (plan->asking && !all_within(plan->asking, plan->num_rows, plan->num_tokens)) return kAsking;
  return kSound;
}
