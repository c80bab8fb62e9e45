// TorchScript modules, as the C++ files of this package use them.
#pragma once

#include "core.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>

namespace tandem {

inline torch::jit::Module& as_module(tdm_module m) {
  return *static_cast<torch::jit::Module*>(m);
}

// By name, in the module's order.
NamedTensors parameters_of(const torch::jit::Module& m);
NamedTensors buffers_of(const torch::jit::Module& m);

void set_training(torch::jit::Module& m, bool on);

// One tensor in, one tensor out, by the plain interpreter.
at::Tensor forward(torch::jit::Module& m, const at::Tensor& x);

// Refuses a tensor that shows what is outside of its storage: nothing but what a file says of it has told its place.
void lies_in_its_storage(const at::Tensor& t, const std::string& name);

// Refuses a module of which libtorch has compiled what is not on the list.
void audit_unit(const torch::jit::Module& m, const char* allowed);

// TorchScript's plain interpreter with ordinary autograd: as fast as the
// profiling executor here, steadier, and the first steps are like all others,
// so that a resumed training computes the same bits. The switch is per thread.
class PlainExecutor {
 public:
  PlainExecutor() : before_(torch::jit::getGraphExecutorOptimize()) {
    torch::jit::setGraphExecutorOptimize(false);
  }
  ~PlainExecutor() { torch::jit::setGraphExecutorOptimize(before_); }

 private:
  bool before_;
};

} // namespace tandem
