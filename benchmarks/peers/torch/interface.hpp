#pragma once
// SPDX-License-Identifier: MIT
// What crosses the border to the library that holds libtorch (library.cpp). Plain C, so that
// neither side includes the other's headers. Functions that return a pointer return null, those
// that return an int something else than 0 when they fail; adze_torch_error() says why.
#include <cstdint>

extern "C" {

struct adze_torch_tensor {
  const char* name;    // unused for inputs
  const void* values;  // floats, or 64-bit integers
  const std::int64_t* sizes;
  int rank;
  int whole;  // whether the values are integers
};

using adze_torch_error_call = const char*();
using adze_torch_version_call = const char*();
// OpenMP's and OpenBLAS's. Cheap: may be called before each step.
using adze_torch_threads_call = void(int);

// A network by the name of ours in benchmarks/models.hpp, with its weights.
using adze_torch_model_call = void*(const char* kind, const adze_torch_tensor*, int count,
                                    int channels_last);
// One step of SGD with momentum 0.9 on a batch and its labels.
using adze_torch_step_call = int(void* model, const adze_torch_tensor* x, const std::int64_t* y,
                                 double rate, double* loss);
// The weights that the model was made with, without momentum.
using adze_torch_restart_call = int(void* model);
// Evaluation without gradients. `out` has room for what comes out.
using adze_torch_forward_call = int(void* model, const adze_torch_tensor* x, float* out);
// From now on forward() runs in int8 by that engine ("qnnpack", "onednn"), with the ranges seen on
// this batch.
using adze_torch_quantize_call = int(void* model, const char* engine, const adze_torch_tensor* x);

// An operation on rows x columns floats: "exp", "softmax", "adamw", ... see ops.hpp.
using adze_torch_op_call = void*(const char* name, const float* values, std::int64_t rows,
                                 std::int64_t columns);
using adze_torch_run_call = int(void* op);
using adze_torch_result_call = float*(void* op);
using adze_torch_free_op_call = void(void* op);

}  // extern "C"
