/* What the processor can do at most: one line of JSON. Compiled where it runs, by roofline.py:
 *
 *     cc -O3 -march=native -pthread limits.c -o limits && ./limits THREADS
 *
 * Arithmetic is measured with operands in registers or the first-level cache, reading with far more memory than caches
 * hold in a thread's share. Each figure is the best of several tries of all threads at once. */
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 7, MAX_THREADS = 256, ROUNDS = 400000 };
static const size_t READ_BYTES = (size_t)1 << 30; /* of all threads together */

typedef double (*Work)(int thread, int threads); /* does its share and returns how much it did */
static Work work;
static int num_threads;
static double done[MAX_THREADS];
static pthread_barrier_t barrier;
static char *memory;
static volatile float sink;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *run(void *number) {
  pthread_barrier_wait(&barrier);
  done[(long)number] = work((int)(long)number, num_threads);
  pthread_barrier_wait(&barrier);
  return 0;
}

/* The best rate of `TRIES`, in work a second. */
static double best(Work what) {
  double found = 0;
  work = what;
  for (int i = 0; i < TRIES; i++) {
    pthread_t threads[MAX_THREADS];
    pthread_barrier_init(&barrier, 0, (unsigned)num_threads + 1);
    for (long t = 0; t < num_threads; t++) pthread_create(&threads[t], 0, run, (void *)t);
    double start = now(); /* before they start: afterwards this thread may have to wait for a core */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    double seconds = now() - start, total = 0;
    for (int t = 0; t < num_threads; t++) {
      pthread_join(threads[t], 0);
      total += done[t];
    }
    if (total / seconds > found) found = total / seconds;
  }
  return found;
}

#if defined(__AVX512F__)
typedef __m512 Floats;
#define FMA(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#define SPREAD(x) _mm512_set1_ps(x)
#elif defined(__FMA__)
typedef __m256 Floats;
#define FMA(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#define SPREAD(x) _mm256_set1_ps(x)
#endif

#if defined(__FMA__)
static double floats(int thread, int threads) {
  (void)thread, (void)threads;
  Floats sums[12], a = SPREAD(0.5f), b = SPREAD(1e-3f);
  for (int i = 0; i < 12; i++) sums[i] = SPREAD((float)i);
  for (int r = 0; r < 10 * ROUNDS; r++)
    for (int i = 0; i < 12; i++) sums[i] = FMA(b, sums[i], a);
  float out[16] = {0}, total = 0;
  for (int i = 0; i < 12; i++) {
    memcpy(out, &sums[i], sizeof sums[i]);
    total += out[0];
  }
  sink = total;
  return 10.0 * ROUNDS * 12 * 2 * (double)(sizeof(Floats) / 4);
}
#endif

#if defined(__AVX512VNNI__)
static double vnni(int thread, int threads) {
  (void)thread, (void)threads;
  __m512i sums[12], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (int i = 0; i < 12; i++) sums[i] = _mm512_set1_epi32(i);
  for (int r = 0; r < 10 * ROUNDS; r++)
    for (int i = 0; i < 12; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  __m512i total = sums[0];
  for (int i = 1; i < 12; i++) total = _mm512_add_epi32(total, sums[i]);
  sink = (float)_mm512_reduce_add_epi32(total);
  return 10.0 * ROUNDS * 12 * 2 * 64;
}
#endif

#if defined(__AVX512BF16__)
static double bfloat16(int thread, int threads) {
  (void)thread, (void)threads;
  __m512 sums[12];
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3c003f00), b = (__m512bh)_mm512_set1_epi32(0x3b803f80);
  for (int i = 0; i < 12; i++) sums[i] = _mm512_set1_ps((float)i);
  for (int r = 0; r < 10 * ROUNDS; r++)
    for (int i = 0; i < 12; i++) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  __m512 total = sums[0];
  for (int i = 1; i < 12; i++) total = _mm512_add_ps(total, sums[i]);
  sink = _mm512_reduce_add_ps(total);
  return 10.0 * ROUNDS * 12 * 2 * 32;
}
#endif

#if defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define HAS_AMX 1
struct Shape {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_of_a_row[16];
  uint8_t rows[16];
};

static void configure(void) {
  struct Shape shape __attribute__((aligned(64)));
  memset(&shape, 0, sizeof shape);
  shape.palette = 1;
  for (int i = 0; i < 8; i++) shape.bytes_of_a_row[i] = 64, shape.rows[i] = 16;
  __asm__ volatile("ldtilecfg %0" ::"m"(shape));
}

/* Two by two tiles: four loads from the first-level cache for four products. */
#define PRODUCTS(NAME, MULTIPLY, PER_TILE)                                  \
  static double NAME(int thread, int threads) {                             \
    (void)thread, (void)threads;                                            \
    static const char tiles[8][1024] __attribute__((aligned(64)));          \
    configure();                                                            \
    for (int r = 0; r < ROUNDS; r++) {                                      \
      _tile_loadd(4, tiles[r % 2], 64);                                     \
      _tile_loadd(5, tiles[2 + r % 2], 64);                                 \
      _tile_loadd(6, tiles[4 + r % 2], 64);                                 \
      _tile_loadd(7, tiles[6 + r % 2], 64);                                 \
      MULTIPLY(0, 4, 6);                                                    \
      MULTIPLY(1, 4, 7);                                                    \
      MULTIPLY(2, 5, 6);                                                    \
      MULTIPLY(3, 5, 7);                                                    \
    }                                                                       \
    _tile_release();                                                        \
    return (double)ROUNDS * 4 * 2 * (PER_TILE);                             \
  }
PRODUCTS(amx_bfloat16, _tile_dpbf16ps, 16 * 16 * 32)
PRODUCTS(amx_int8, _tile_dpbssd, 16 * 16 * 64)
#endif

static double reading(int thread, int threads) {
  size_t share = READ_BYTES / (size_t)threads / 4096 * 4096;
  const uint64_t *from = (const uint64_t *)(memory + (size_t)thread * share);
  uint64_t sums[8] = {0};
  for (size_t i = 0; i < share / 8; i += 8)
    for (int j = 0; j < 8; j++) sums[j] += from[i + (size_t)j];
  sink = (float)(sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7]);
  return (double)share;
}

/* No two pages alike: a virtual machine's host may keep one of those that are, and it then lies in a cache. */
static void fill(void) {
  uint64_t *to = (uint64_t *)memory, x = 1;
  for (size_t i = 0; i < READ_BYTES / 8; i++) to[i] = x = x * 6364136223846793005u + 1442695040888963407u;
}

int main(int count, char **arguments) {
  num_threads = count > 1 ? atoi(arguments[1]) : 1;
  if (num_threads < 1 || num_threads > MAX_THREADS) return 2;
  memory = malloc(READ_BYTES);
  if (!memory) return 1;
  fill();
  printf("{");
#if defined(__AVX512F__)
  printf("\"avx512_float32_gflops\": %.0f, ", best(floats) / 1e9);
#elif defined(__FMA__)
  printf("\"avx2_float32_gflops\": %.0f, ", best(floats) / 1e9);
#endif
#if defined(__AVX512BF16__)
  printf("\"avx512_bfloat16_gflops\": %.0f, ", best(bfloat16) / 1e9);
#endif
#if defined(__AVX512VNNI__)
  printf("\"avx512_vnni_int8_gops\": %.0f, ", best(vnni) / 1e9);
#endif
#if defined(HAS_AMX)
  if (syscall(SYS_arch_prctl, 0x1023, 18) == 0) { /* the kernel grants the tile registers */
    printf("\"amx_bfloat16_gflops\": %.0f, ", best(amx_bfloat16) / 1e9);
    printf("\"amx_int8_gops\": %.0f, ", best(amx_int8) / 1e9);
  }
#endif
  printf("\"memory_read_gb_per_s\": %.1f}\n", best(reading) / 1e9);
  return 0;
}
