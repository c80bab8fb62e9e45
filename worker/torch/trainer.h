// One rank's training of one module.
#pragma once

#include "average.h"
#include "group.h"
#include "module.h"
#include "optimizer.h"

namespace tandem {

// A batch on the host, rows first.
struct Batch {
  const float* x;
  at::IntArrayRef x_shape;
  const int64_t* labels; // or
  const float* targets;
  at::IntArrayRef y_shape;
};

class Trainer {
 public:
  Trainer(const torch::jit::Module& module, c10::Device device, std::shared_ptr<Group> group,
          const tdm_trainer_config& config);
  ~Trainer();

  // Leaves the present group and joins the given one (none: trains alone). The
  // state stays as it is. Collective. Leaving works whatever went wrong before.
  void set_group(std::shared_ptr<Group> group);
  // Makes parameters, buffers and optimizer state equal to root's. Collective.
  // Nothing is changed on this rank until all of it is there.
  void sync_state(int root);

  // Writes to out as it goes: out.applied is right also when this throws.
  void step(const Batch& batch, double loss_scale, int64_t micro_batches, double lr, int64_t seed,
            tdm_step_result& out);
  tdm_eval_result evaluate(const Batch& batch);

  // Model and optimizer by name, aliasing the live tensors. TDM_TORN where an
  // update failed half way and no state was loaded since.
  NamedTensors state() const;
  void load_state(const NamedTensors& from);

 private:
  NamedTensors live() const;
  struct Input {
    at::Tensor x, y;
  };
  Input stage(const Batch& batch);
  at::Tensor row_losses_sum(const at::Tensor& out, const at::Tensor& y) const;
  void check_labels(const Batch& batch, int64_t classes) const;
  double forward_backward(const Batch& batch, double loss_scale, int64_t micro_batches,
                          tdm_step_result& out);
  void backward(const at::Tensor& loss, double scale, bool reduce, tdm_step_result& out);
  std::vector<at::Tensor> gradients();
  // Asked anew each time: a model's source may put another tensor in a buffer's place.
  std::vector<at::Tensor> buffers() const;
  void keep_buffers();
  void restore_buffers();
  void update(const std::vector<at::Tensor>& grads, double scale, double lr);
  void verify_group();
  void drop_average();
  void drop_gradients();
  void mode(bool training);

  torch::jit::Module module_;
  c10::Device device_;
  tdm_trainer_config config_;
  NamedTensors params_; // those that are trained
  bool has_buffers_;
  std::unique_ptr<Optimizer> optimizer_;
  std::shared_ptr<Group> group_;
  std::unique_ptr<Average> average_;
  at::Tensor x_space_, y_space_, x_host_, y_host_; // reused from step to step
  std::vector<at::Tensor> kept_buffers_;           // as they were before the step
  bool torn_ = false;                              // the state is of no step
  int mode_ = -1; // 1 training, 0 evaluation, -1 not yet set
};

} // namespace tandem

struct tdm_trainer {
  std::unique_ptr<tandem::Trainer> trainer;
};
