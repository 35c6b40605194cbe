// What every kernel file shares: the exported C interface, instruction sets and types of elements.
#pragma once

#include <cstdint>

#define HANDFUL_API extern "C" __attribute__((visibility("default")))
#define HANDFUL_AVX2 __attribute__((target("avx2,fma")))
#define HANDFUL_AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))
#define HANDFUL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define HANDFUL_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16")))
#define HANDFUL_AVX512_BF16_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16,avx512vnni")))
#define HANDFUL_AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512vnni")))

namespace handful {

// As bits, as in loading.py.
enum Feature : int32_t { kAvx512 = 1, kAvx512Bf16 = 2, kAvx512Vnni = 4, kAmx = 8, kAvx2 = 16, kAvxVnni = 32 };

enum Type : int32_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2 };

inline int64_t type_bytes(int32_t type) { return type == kFloat32 ? 4 : type == kBFloat16 ? 2 : 1; }

}  // namespace handful
