// Attention of one step over the token slots of a KV memory: what Python hands over (attention.py mirrors the structs).
//
// A step's rows (queries) read keys in parts, one `read` after the other, in the order of the list: a shared run, read
// by the rows of many requests, or what is one request's own. The parts are joined by one running softmax for each row
// and head, which is the log-sum-exp merge of ops/attention.py done key tile by key tile.
//
// Numbers: products and sums in float32; a row's keys are always taken in the same order and in tiles of 64 from the
// start of a read, so what a row gets depends on its reads alone and not on the rows beside it (to the bit). A layer may
// have the reads that are marked multiplied in bytes.
//
// Files: attention_kernel.h is the walk over units, reads and tiles; attention_pack.h brings keys and values into the
// order of the products; attention_tile.h (AVX-512, AVX2) and attention_tile_amx.h (AMX) are the arithmetic of one tile,
// behind attention_exact.h; attention_bytes_pack.h and attention_bytes.h are all that in bytes;
// attention_{f32,f32_avx2,bf16,amx}.cpp put them together for one element type and processor.
#pragma once

#include <cstdint>

namespace handful {

// One read: the rows [first_row, first_row + num_rows) of those that ask, whose low and high begin at `first_entry`, and
// `num_keys` entries of `key_slots` from `first_key`. Entry e sees the keys [low[e], high[e]) of the read; with
// first_word >= 0 instead those whose bits are set, in ceil(num_keys / 64) words an entry from words[first_word].
//
// `kept` is where its tiles in bytes are kept from step to step, or null: layer by layer, in each key head by key head.
// Where they are not `filled` yet, the step fills them, each layer its own.
struct Read {
  int64_t first_row, num_rows, first_entry, first_key, num_keys, first_word, in_bytes;
  uint32_t* kept;
  int64_t filled;
};

struct Plan {
  const Read* reads;
  const int64_t* low;        // first visible key of each entry
  const int64_t* high;       // behind the last visible key of each entry
  const uint64_t* words;     // visibility as bits, lowest bit first
  const int64_t* key_slots;  // where each key of each read lies in the memory
  const int64_t* new_slots;  // [num_tokens] where the step's own keys and values go
  const int64_t* asking;     // [num_rows] the tokens whose queries are read, rising; null where all are
  int64_t num_reads, num_tokens, num_rows;
};

// Elements are bfloat16 (as 16 bits) or float. Strides are in elements.
struct Call {
  const void* q;      // [num_tokens, num_heads, head_dim], rows q_stride apart
  const void* k;      // [num_tokens, num_kv_heads, head_dim], rows k_stride apart
  const void* v;      // likewise, rows v_stride apart
  void* keys;         // [slots, num_kv_heads, head_dim] of this layer
  void* values;       // likewise
  void* out;          // [num_rows, num_heads, head_dim]
  int64_t q_stride, k_stride, v_stride;
  int64_t num_heads, num_kv_heads, head_dim, num_threads;
  int64_t layer;     // its number, for what is kept of all of them
  int64_t in_bytes;  // whether reads that are marked are multiplied in bytes
  double scale;
};

constexpr int kTileKeys = 64;        // one word of a mask; four vectors of scores
constexpr int kMostDimensions = 512;  // of a head

}  // namespace handful
