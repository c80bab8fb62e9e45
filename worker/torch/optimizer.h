// SGD, Adam and AdamW with PyTorch's arithmetic and state that can be saved.
#pragma once

#include "core.h"

namespace tandem {

class Optimizer {
 public:
  // params are the leaves, in a fixed order; state starts at zero.
  Optimizer(const tdm_trainer_config& config, std::vector<at::Tensor> params);

  // One update with learning rate lr; every gradient is first multiplied by
  // scale. Gradients may be changed.
  void step(const std::vector<at::Tensor>& grads, double scale, double lr);

  // The names of the state slots a parameter has, e.g. exp_avg.
  const std::vector<std::string>& slots() const { return slots_; }
  // State of a slot, in the order of the parameters.
  const std::vector<at::Tensor>& state(size_t slot) const { return state_[slot]; }
  // Steps taken so far: an int64 scalar.
  const at::Tensor& steps() const { return steps_; }
  int64_t done() const { return *steps_.data_ptr<int64_t>(); }

 private:
  struct Coefficients;
  void step_loop(size_t i, const at::Tensor& grad, const Coefficients& c);
  void step_foreach(std::vector<at::Tensor> params, std::vector<at::Tensor> grads,
                    const std::vector<size_t>& which, const Coefficients& c);

  tdm_trainer_config config_;
  std::vector<at::Tensor> params_;
  std::vector<std::string> slots_;
  std::vector<std::vector<at::Tensor>> state_; // [slot][parameter]
  at::Tensor steps_;
};

// The Euclidean norm over all gradients; not finite if any gradient is not.
double gradient_norm(const std::vector<at::Tensor>& grads);

} // namespace tandem
