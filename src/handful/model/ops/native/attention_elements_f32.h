// float32 for the attention: one element a lane, fused multiply-add. For the lanes that were included before it.
#pragma once

#include "handful.h"
#define HANDFUL_TARGET HANDFUL_LANES

namespace {

struct Elements {
  using Type = float;
  using Floats = handful::HANDFUL_LEVEL::Floats;
  using Ints = handful::HANDFUL_LEVEL::Ints;
  static constexpr int kPerLane = 1;

  HANDFUL_TARGET static inline Ints load(const Type* from, int count) {
    return handful::HANDFUL_LEVEL::load_ints(from, handful::HANDFUL_LEVEL::first16(count));
  }
  HANDFUL_TARGET static inline Ints zip(const Type* first, const Type*, int count) { return load(first, count); }
  HANDFUL_TARGET static inline Floats multiply_add(Floats sum, Ints a, Ints b) {
    using namespace handful::HANDFUL_LEVEL;
    return handful::HANDFUL_LEVEL::multiply_add(as_floats(a), as_floats(b), sum);
  }
  HANDFUL_TARGET static inline void put_pair(uint32_t* to, Floats first, Floats second) {
    handful::HANDFUL_LEVEL::store(reinterpret_cast<float*>(to), first);
    handful::HANDFUL_LEVEL::store(reinterpret_cast<float*>(to) + 16, second);
  }
  HANDFUL_TARGET static inline void put(Type* to, Floats x, int count) {
    handful::HANDFUL_LEVEL::store(to, x, handful::HANDFUL_LEVEL::first16(count));
  }

  // 2^f for |f| <= 1/2 to 2e-9 before rounding, and exactly 1 at 0: least largest relative error, by our own fit.
  HANDFUL_TARGET static inline Floats exp2_fraction(Floats f) {
    using namespace handful::HANDFUL_LEVEL;
    using handful::HANDFUL_LEVEL::multiply_add;
    Floats y = multiply_add(all(1.5353362e-4f), f, all(1.3398874e-3f));
    y = multiply_add(y, f, all(9.618437e-3f));
    y = multiply_add(y, f, all(5.5503324e-2f));
    y = multiply_add(y, f, all(2.4022648e-1f));
    y = multiply_add(y, f, all(6.9314718e-1f));
    return multiply_add(y, f, all(1.0f));
  }
};

}  // namespace
