// What every kernel file shares: the exported C interface and the target of each instruction set.
#pragma once

#include <cstdint>

#define HANDFUL_API extern "C" __attribute__((visibility("default")))
#define HANDFUL_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define HANDFUL_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16")))
#define HANDFUL_AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512vnni")))
