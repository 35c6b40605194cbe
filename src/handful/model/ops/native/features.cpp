// Which instruction sets the kernels may use on this processor (as bits; see library.py).

#include "handful.h"

enum : int { kAvx512 = 1, kAvx512Bf16 = 2, kAvx512Vnni = 4 };

HANDFUL_API int handful_features() {
  __builtin_cpu_init();
  int found = 0;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512) found |= kAvx512;
  if (avx512 && __builtin_cpu_supports("avx512bf16")) found |= kAvx512Bf16;
  if (avx512 && __builtin_cpu_supports("avx512vnni")) found |= kAvx512Vnni;
  return found;
}

// Raised with every change of a function's arguments, here and in library.py: an older build is then not used.
HANDFUL_API int handful_interface() { return 1; }
