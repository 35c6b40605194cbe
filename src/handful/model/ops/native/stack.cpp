// The layers of a decoder one after the other in one call, so that nothing is asked of Python between two kernels: what
// `Decoder.forward` does layer by layer, to the bit. stack.py mirrors the structs and says which decoders fit.
//
//   qkv = qkv(x); q and k are turned; mixed = attention(qkv)
//   attended = x + attention_out(mixed)
//   x = attended + mlp_down(mlp_up(attended, or x where both branches start from it))
//
// Only the wanted rows go through the last layer, further than to their keys and values.

#include <cstring>

#include "attention.h"
#include "handful.h"
#include "linear.h"
#include "rotation.h"

namespace handful {

struct StackLayer {
  const Layer* qkv;
  const Layer* attention_out;
  const Layer* mlp_up;
  const Layer* mlp_down;
};

struct Stack {
  const StackLayer* layers;
  int (*attention)(const Plan*, const Call*);
  void (*rotate)(const Rotation*);
  int64_t num_layers, hidden, heads, kv_heads, head_dim;
  int32_t type;         // of everything between two kernels
  int32_t features;     // instruction sets that products may use
  int32_t is_parallel;  // whether the MLP starts from x, too
  double scale;         // of attention scores
};

// One step: `rows` tokens, of which `num_wanted` are asked for, at the rows `wanted` (null: all). Keys and values are those of the
// memory's first layer, `layer_bytes` from one to the next.
struct StackCall {
  char* x;         // [rows][hidden], becomes the last layer's
  char* qkv;       // [rows][(heads + 2 kv_heads) head_dim]
  char* mixed;     // [rows][heads head_dim]
  char* attended;  // [rows][hidden]
  char* middle;    // [rows][as many as any mlp_up has]
  char* packed;    // room for the rows as any product takes them (LinearCall)
  float* scales;   // their scales
  char* keys;
  char* values;
  const char* cos;  // null where nothing is turned
  const char* sin;
  const Plan* const* plans;  // of each layer
  const int64_t* in_bytes;   // of each layer, whether reads that are marked are multiplied in bytes
  const int64_t* wanted;
  int64_t rows, num_wanted, layer_bytes, dims, threads;
};

namespace {

struct Step {
  const Stack& stack;
  const StackCall& call;

  int64_t bytes(int64_t values) const { return values * type_bytes(stack.type); }
  int64_t qkv_heads() const { return stack.heads + 2 * stack.kv_heads; }

  void product(const Layer& layer, int64_t rows, const char* x, const char* residual, char* out) const {
    const LinearCall linear{x,    residual,   out,        call.packed,
                            call.scales, rows, bytes(layer.in), stack.type, stack.type,
                            static_cast<int32_t>(call.threads), stack.features};
    handful_linear(&layer, &linear);
  }

  void turn() const {
    const int64_t stride = qkv_heads() * stack.head_dim, heads = stack.heads + stack.kv_heads;
    const Rotation rotation{call.qkv, call.cos,   call.sin,   call.rows, stride, heads, stack.head_dim,
                            call.dims, stack.type, static_cast<int32_t>(call.threads)};
    stack.rotate(&rotation);
  }

  int attend(int64_t layer) const {
    const int64_t stride = qkv_heads() * stack.head_dim, apart = layer * call.layer_bytes;
    const char* k = call.qkv + bytes(stack.heads * stack.head_dim);
    const char* v = k + bytes(stack.kv_heads * stack.head_dim);
    const Call attention{call.qkv,     k,           v,
                         call.keys + apart, call.values + apart, call.mixed,
                         stride,       stride,      stride,
                         stack.heads,  stack.kv_heads, stack.head_dim,
                         call.threads, layer, call.in_bytes[layer], stack.scale};
    return stack.attention(call.plans[layer], &attention);
  }

  // The wanted rows [..][width], from the first on. They come in rising order, so none is overwritten before it moves.
  void keep_wanted(char* rows, int64_t width) const {
    for (int64_t i = 0; i < call.num_wanted; ++i)
      std::memmove(rows + i * bytes(width), rows + call.wanted[i] * bytes(width), static_cast<size_t>(bytes(width)));
  }

  // What follows the attention.
  void finish(const StackLayer& layer, int64_t rows) const {
    product(*layer.attention_out, rows, call.mixed, call.x, call.attended);
    product(*layer.mlp_up, rows, stack.is_parallel ? call.x : call.attended, nullptr, call.middle);
    product(*layer.mlp_down, rows, call.middle, call.attended, call.x);
  }
};

}  // namespace
}  // namespace handful

// Returns 0, or 1 when there was no memory for the attention.
HANDFUL_API int handful_stack(const handful::Stack* stack, const handful::StackCall* call) {
  using namespace handful;
  const Step step{*stack, *call};
  for (int64_t number = 0; number < stack->num_layers; ++number) {
    const StackLayer& layer = stack->layers[number];
    step.product(*layer.qkv, call->rows, call->x, nullptr, call->qkv);
    if (call->cos) step.turn();
    if (step.attend(number)) return 1;
    const bool is_last = number == stack->num_layers - 1;
    if (is_last && call->wanted) {
      if (!call->plans[number]->asking) step.keep_wanted(call->mixed, stack->heads * stack->head_dim);
      step.keep_wanted(call->x, stack->hidden);
    }
    step.finish(layer, is_last ? call->num_wanted : call->rows);
  }
  return 0;
}
