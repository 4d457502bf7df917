// cuDNN's recurrent networks as PyTorch uses them: descriptors, the layout of the packed weights, temporary sizes.
#include <cstdint>
#include <cstring>

#include "ledger.h"

namespace {
struct Rnn { int cell, type, directions, input, hidden, projection, layers; };  // calls put these in one buffer
struct Tensor { int type, num_dims, sizes[8]; };
struct Batch { int steps, samples; };  // the data descriptor's longest sequence and number of sequences

// cudnnRNNMode_t, cudnnDirectionMode_t and cudnnDataType_t
enum { LSTM = 2, GRU = 3, BIDIRECTIONAL = 1, DOUBLE = 1, HALF = 2, BFLOAT16 = 9, TRAINING = 1 };

long item_bytes(int type) { return type == DOUBLE ? 8 : type == HALF || type == BFLOAT16 ? 2 : 4; }
long gates(const Rnn& rnn) { return rnn.cell == LSTM ? 4 : rnn.cell == GRU ? 3 : 1; }
bool projects(const Rnn& rnn) { return rnn.projection != rnn.hidden; }
long inputs(const Rnn& rnn, int layer) {
  return layer < rnn.directions ? rnn.input : rnn.projection * rnn.directions;
}

// Numbers of a layer's matrices: of its input for every gate, of its state for every gate, and a projection.
long matrices(const Rnn& rnn, int layer) {
  long of_gates = gates(rnn) * rnn.hidden * (inputs(rnn, layer) + rnn.projection);
  return of_gates + (projects(rnn) ? rnn.projection * rnn.hidden : 0);
}
long biases(const Rnn& rnn) { return 2 * gates(rnn) * rnn.hidden; }

// Where a layer's matrices begin; past the last layer the biases do.
long matrices_before(const Rnn& rnn, int layer) {
  long total = 0;
  for (int i = 0; i < layer; i++) total += matrices(rnn, i);
  return total;
}

template <typename T>
int make(void** out) { *out = calloc(1, sizeof(T)); return SUCCESS; }
int shape(void* descriptor, int type, int rows, int columns) {
  *(Tensor*)descriptor = {type, 3, {1, rows, columns}};
  return SUCCESS;
}
}  // namespace

API(cudnnCreateTensorDescriptor, void** out) { return make<Tensor>(out); }
API(cudnnDestroyTensorDescriptor, void* p) { free(p); return SUCCESS; }
API(cudnnCreateRNNDescriptor, void** out) { return make<Rnn>(out); }
API(cudnnDestroyRNNDescriptor, void* p) { free(p); return SUCCESS; }
API(cudnnCreateRNNDataDescriptor, void** out) { return make<Batch>(out); }
API(cudnnDestroyRNNDataDescriptor, void* p) { free(p); return SUCCESS; }
API(cudnnSetTensorNdDescriptor, void* descriptor, int type, int num_dims, const int* sizes, const int*) {
  auto& tensor = *(Tensor*)descriptor;
  tensor = {type, num_dims};
  memcpy(tensor.sizes, sizes, num_dims * sizeof(int));
  return SUCCESS;
}
API(cudnnGetTensorNdDescriptor, void* descriptor, int most, int* type, int* num_dims, int* sizes, int* strides) {
  auto& tensor = *(Tensor*)descriptor;
  *type = tensor.type;
  *num_dims = tensor.num_dims;
  int stride = 1;
  for (int i = tensor.num_dims - 1; i >= 0; stride *= tensor.sizes[i--])
    if (i < most) sizes[i] = tensor.sizes[i], strides[i] = stride;
  return SUCCESS;
}
API(cudnnSetRNNDescriptor_v8, void* rnn, int, int cell, int, int direction, int, int type, int, int, int input, int hidden,
    int projection, int layers, void*, unsigned) {
  *(Rnn*)rnn = {cell, type, direction == BIDIRECTIONAL ? 2 : 1, input, hidden, projection, layers};
  return SUCCESS;
}
API(cudnnSetRNNDataDescriptor, void* batch, int, int, int steps, int samples, int, const int*, void*) {
  *(Batch*)batch = {steps, samples};
  return SUCCESS;
}
API(cudnnGetRNNWeightSpaceSize, void*, void* descriptor, size_t* bytes) {
  auto& rnn = *(Rnn*)descriptor;
  int layers = rnn.layers * rnn.directions;
  *bytes = (matrices_before(rnn, layers) + layers * biases(rnn)) * item_bytes(rnn.type);
  return SUCCESS;
}
// Matrix and bias `number` of a layer: first those of the input, a gate each, then those of the state, then the projection.
API(cudnnGetRNNWeightParams, void*, void* descriptor, int layer, size_t, char* space, int number, void* matrix, void** matrix_at,
    void* bias, void** bias_at) {
  auto& rnn = *(Rnn*)descriptor;
  long count = gates(rnn), of_input = rnn.hidden * inputs(rnn, layer), of_state = rnn.hidden * rnn.projection;
  bool is_input = number < count, is_projection = number == 2 * count;
  if (matrix) {
    long before = is_input ? number * of_input : count * of_input + (number - count) * of_state;
    *matrix_at = space + (matrices_before(rnn, layer) + before) * item_bytes(rnn.type);
    int columns = is_input ? inputs(rnn, layer) : is_projection ? rnn.hidden : rnn.projection;
    shape(matrix, rnn.type, is_projection ? rnn.projection : rnn.hidden, columns);
  }
  if (bias) {
    long before = matrices_before(rnn, rnn.layers * rnn.directions) + layer * biases(rnn) + number * rnn.hidden;
    *bias_at = space + before * item_bytes(rnn.type);
    shape(bias, rnn.type, rnn.hidden, 1);
  }
  return SUCCESS;
}
// An estimate: cuDNN does not publish it. Kept for backward are each step's gates and state; work holds one layer's gates.
API(cudnnGetRNNTempSpaceSizes, void*, void* descriptor, int mode, void* data, size_t* work, size_t* reserve) {
  auto& rnn = *(Rnn*)descriptor;
  auto& batch = *(Batch*)data;
  size_t of_layer = (size_t)batch.steps * batch.samples * rnn.hidden * rnn.directions * item_bytes(rnn.type);
  *work = gates(rnn) * of_layer;
  if (reserve) *reserve = mode == TRAINING ? (gates(rnn) + (rnn.cell == LSTM ? 2 : 1)) * of_layer * rnn.layers : 0;
  return SUCCESS;
}
API(cudnnDropoutGetStatesSize, void*, size_t* bytes) { *bytes = MIB; return SUCCESS; }  // of its generators: an estimate
API(cudnnRNNForward) { return launch(nullptr, "cudnnRNNForward"); }
API(cudnnRNNBackwardData_v8) { return launch(nullptr, "cudnnRNNBackwardData"); }
API(cudnnRNNBackwardWeights_v8) { return launch(nullptr, "cudnnRNNBackwardWeights"); }
