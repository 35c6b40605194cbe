// Which instruction sets the kernels may use on this processor (as bits; see loading.py).

#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "handful.h"

using namespace handful;

namespace {

// vpdpbusd without AVX-512, in 256 bits.
bool has_avx_vnni() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

// The system keeps tile registers only for processes that have asked for them.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Tiles, and their products of bfloat16 and of bytes.
bool has_tiles() {
  unsigned a, b, c, d;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTile | kInt8;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAll) == kAll;
}

}  // namespace

HANDFUL_API int handful_features() {
  __builtin_cpu_init();
  int found = 0;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) found |= kAvx2;
  if (avx2 && has_avx_vnni()) found |= kAvxVnni;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512) found |= kAvx512;
  if (avx512 && __builtin_cpu_supports("avx512bf16")) found |= kAvx512Bf16;
  if (avx512 && __builtin_cpu_supports("avx512vnni")) found |= kAvx512Vnni;
  const int wanted = kAvx512 | kAvx512Bf16 | kAvx512Vnni;
  if ((found & wanted) == wanted && has_tiles() && may_use_tiles()) found |= kAmx;
  return found;
}

// Raised with every change of a function's arguments, here and in loading.py: an older build is then not used.
HANDFUL_API int handful_interface() { return 13; }
