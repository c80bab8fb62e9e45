#include "trainer.h"
#include "digest.h"
#include "fault.h"

#include <ATen/Context.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <set>
#include <unordered_map>

namespace tandem {
namespace {

using Clock = Traffic::Clock;

int64_t nanoseconds(Clock::duration d) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
}

int64_t since(Clock::time_point start) { return nanoseconds(Clock::now() - start); }

// Bytes that travel at a time: so few that also a slow network moves them within
// the deadline for a peer that is silent.
constexpr int64_t kPieceBytes = 4 << 20;

// All tensors become root's, at once, when all have come.
void broadcast(Group& group, const std::vector<at::Tensor>& tensors, int root,
               const std::function<void()>& before_last = [] {}) {
  c10::NoGradGuard no_grad;
  int64_t total = 0;
  for (const auto& t : tensors) total += static_cast<int64_t>(t.nbytes());
  auto bytes = at::empty({total}, at::kByte);
  auto* at = bytes.data_ptr<uint8_t>();
  auto next = tensors.begin();
  int64_t ready = 0; // bytes that root has put together: what others wait for is never all of them
  for (int64_t from = 0; from < total; from += kPieceBytes) {
    const auto count = std::min(kPieceBytes, total - from);
    for (; group.rank() == root && ready < from + count; ++next) {
      auto t = next->detach().to(c10::kCPU).contiguous();
      if (t.nbytes()) std::memcpy(at + ready, t.data_ptr(), t.nbytes());
      ready += static_cast<int64_t>(t.nbytes());
    }
    if (from + count == total) before_last();
    auto piece = bytes.narrow(0, from, count);
    group.broadcast(piece, root);
  }
  if (group.rank() == root) return;
  for (const auto& tensor : tensors) {
    auto t = tensor.detach();
    const auto n = t.nbytes();
    if (n && t.device().is_cpu() && t.is_contiguous()) {
      std::memcpy(t.data_ptr(), at, n);
    } else if (n) {
      auto whole = at::empty(t.sizes(), t.options().device(c10::kCPU));
      std::memcpy(whole.data_ptr(), at, n);
      t.copy_(whole);
    }
    at += n;
  }
}

std::vector<at::Tensor> tensors_of(const NamedTensors& named) {
  std::vector<at::Tensor> list;
  for (const auto& t : named) list.push_back(t.second);
  return list;
}

// The parameters to train, each once.
NamedTensors trained(const torch::jit::Module& module) {
  NamedTensors list;
  std::set<const void*> tensors;
  std::map<const void*, std::string> storages;
  for (const auto& p : parameters_of(module)) {
    if (!p.second.requires_grad() || !tensors.insert(p.second.unsafeGetTensorImpl()).second)
      continue;
    auto storage = storages.emplace(p.second.data_ptr(), p.first);
    if (p.second.numel() > 0 && !storage.second)
      throw Failure(TDM_MODEL, "the parameters " + storage.first->second + " and " + p.first +
                                   " share memory: tied weights cannot be trained from a "
                                   "TorchScript file, which stores them as two");
    list.push_back(p);
  }
  if (list.empty()) throw Failure(TDM_MODEL, "the model has no parameter that can be trained");
  return list;
}

} // namespace

Trainer::Trainer(const torch::jit::Module& module, c10::Device device,
                 std::shared_ptr<Group> group, const tdm_trainer_config& config)
    : module_(module), device_(device), config_(config) {
  module_.to(device_);
  params_ = trained(module_);
  has_buffers_ = !buffers_of(module_).empty();
  optimizer_ = std::make_unique<Optimizer>(config_, tensors_of(params_));
  mode(true);
  set_group(std::move(group));
}

Trainer::~Trainer() {
  drop_average();
  drop_gradients();
}

void Trainer::drop_average() {
  auto old = std::move(average_);
  try {
    old.reset();
  } catch (...) {
    // Its destructor may throw when the group broke in the middle of a step.
  }
}

void Trainer::drop_gradients() {
  for (auto& p : params_) p.second.mutable_grad() = at::Tensor();
}

void Trainer::mode(bool training) {
  if (mode_ == int(training)) return;
  set_training(module_, training);
  mode_ = training;
}

void Trainer::set_group(std::shared_ptr<Group> group) {
  drop_average();
  drop_gradients(); // they are views of memory that ranks share
  group_ = std::move(group);
  if (!group_) return;
  if (group_->device() != device_)
    throw Failure(TDM_DEVICE, "the group is on " + group_->device().str() + ", the model on " +
                                  device_.str());
  verify_group();
  average_ = new_average(*group_, params_, config_.bucket_bytes);
}

// Refuses, on all ranks, models that are not of one make.
void Trainer::verify_group() {
  std::string mine;
  for (const auto& t : live())
    mine += t.first + " " + at::toString(t.second.scalar_type()) + " " +
            shape_text(t.second.sizes()) + "\n";
  auto size = at::full({}, static_cast<int64_t>(mine.size()), at::kLong);
  group_->broadcast(size, 0);
  auto bytes = at::empty({size.item<int64_t>()}, at::kByte);
  if (group_->rank() == 0) std::memcpy(bytes.data_ptr(), mine.data(), mine.size());
  group_->broadcast(bytes, 0);
  const std::string first(static_cast<const char*>(bytes.data_ptr()), bytes.numel());
  auto differing = at::full({}, mine == first ? 0.0 : 1.0, at::kDouble);
  group_->all_reduce(differing);
  if (differing.item<double>() == 0) return;
  if (mine == first)
    throw Failure(TDM_STATE, "another rank trains another model or optimizer");
  size_t from = 0;
  while (from < mine.size() && from < first.size() && mine[from] == first[from]) from++;
  from = mine.rfind('\n', from == 0 ? 0 : from - 1);
  from = from == std::string::npos ? 0 : from + 1;
  auto line = [&](const std::string& s) {
    return from >= s.size() ? std::string("nothing") : s.substr(from, s.find('\n', from) - from);
  };
  throw Failure(TDM_STATE, "this rank has " + line(mine) + " where rank 0 has " + line(first));
}

void Trainer::sync_state(int root) {
  if (!group_) return;
  if (root < 0 || root >= group_->size())
    throw Failure(TDM_ERROR, "there is no rank " + std::to_string(root));
  broadcast(*group_, tensors_of(group_->rank() == root ? state() : live()), root,
            [&] { fault("transfer", optimizer_->done()); });
  torn_ = false;
}

std::vector<at::Tensor> Trainer::buffers() const {
  if (!has_buffers_) return {};
  return tensors_of(buffers_of(module_));
}

// Forward moves running statistics, also when nothing comes of the step.
void Trainer::keep_buffers() {
  auto now = buffers();
  kept_buffers_.resize(now.size());
  for (size_t i = 0; i < now.size(); i++) {
    auto b = now[i].detach();
    auto& kept = kept_buffers_[i];
    if (kept.defined() && kept.sizes() == b.sizes() && kept.scalar_type() == b.scalar_type())
      kept.copy_(b);
    else
      kept = b.clone();
  }
}

void Trainer::restore_buffers() {
  c10::NoGradGuard no_grad;
  auto now = buffers();
  for (size_t i = 0; i < now.size(); i++) now[i].detach().copy_(kept_buffers_[i]);
}

// The batch in tensors that are kept from step to step while shapes stay.
Trainer::Input Trainer::stage(const Batch& batch) {
  auto put = [&](at::Tensor& host, at::Tensor& space, const void* data, at::IntArrayRef shape,
                 at::ScalarType type) {
    if (!host.defined() || host.sizes() != shape || host.scalar_type() != type) {
      auto options = at::TensorOptions().dtype(type);
      host = at::empty(shape, options.pinned_memory(device_.is_cuda()));
      space = device_.is_cuda() ? at::empty(shape, options.device(device_)) : host;
    }
    if (host.nbytes()) std::memcpy(host.data_ptr(), data, host.nbytes());
    if (device_.is_cuda()) space.copy_(host, /*non_blocking=*/true);
    return space;
  };
  Input in;
  in.x = put(x_host_, x_space_, batch.x, batch.x_shape, at::kFloat);
  in.y = batch.labels ? put(y_host_, y_space_, batch.labels, batch.y_shape, at::kLong)
                      : put(y_host_, y_space_, batch.targets, batch.y_shape, at::kFloat);
  if (params_[0].second.scalar_type() == at::kDouble) {
    in.x = in.x.to(at::kDouble);
    if (!batch.labels) in.y = in.y.to(at::kDouble);
  }
  return in;
}

void Trainer::check_labels(const Batch& batch, int64_t classes) const {
  int64_t n = 1;
  for (auto d : batch.y_shape) n *= d;
  for (int64_t i = 0; i < n; i++) {
    const int64_t label = batch.labels[i];
    if (label < 0 || label >= classes)
      throw Failure(TDM_LABEL, "label " + std::to_string(label) + " is out of range: the model has " +
                                   std::to_string(classes) + " outputs, so labels go from 0 to " +
                                   std::to_string(classes - 1));
  }
}

// The sum over rows of each row's mean loss.
at::Tensor Trainer::row_losses_sum(const at::Tensor& out, const at::Tensor& y) const {
  const int64_t rows = y.size(0);
  auto mismatch = [&](const std::string& wanted) {
    return Failure(TDM_SHAPE, "the model returned shape " + shape_text(out.sizes()) + ", expected " +
                                  wanted);
  };
  if (!out.is_floating_point())
    throw Failure(TDM_SHAPE, std::string("the model returned ") + at::toString(out.scalar_type()) +
                                 " values, expected floating point");
  if (config_.loss == TDM_CROSS_ENTROPY) {
    bool fits = out.dim() == y.dim() + 1 && out.size(0) == rows;
    for (int64_t d = 1; fits && d < y.dim(); d++) fits = out.size(d + 1) == y.size(d);
    if (!fits) {
      auto wanted = y.sizes().vec();
      std::string text = "[" + std::to_string(rows) + ", classes";
      for (size_t d = 1; d < wanted.size(); d++) text += ", " + std::to_string(wanted[d]);
      throw mismatch(text + "] for cross-entropy with labels of shape " + shape_text(y.sizes()));
    }
    // A row of classes for each label: what a model of sequences has in memory before it
    // puts the classes second, and a loss that is deterministic on CUDA too.
    auto flat = out.dim() > 2 ? out.movedim(1, -1).reshape({-1, out.size(1)}) : out;
    auto sum = at::cross_entropy_loss(flat, y.reshape({-1}), {}, at::Reduction::Sum);
    return y.numel() > rows ? sum * (double(rows) / y.numel()) : sum;
  }
  // A column is as good as a vector; anything else that broadcasts is a mistake.
  const bool column = out.numel() == rows && y.numel() == rows && out.size(0) == rows;
  if (out.sizes() != y.sizes() && !column)
    throw mismatch(shape_text(y.sizes()) + ", the shape of the targets");
  auto sum = at::mse_loss(out.reshape(y.sizes()), y, at::Reduction::Sum);
  return y.numel() > rows ? sum * (double(rows) / y.numel()) : sum;
}

void Trainer::backward(const at::Tensor& loss, double scale, bool reduce, tdm_step_result& out) {
  auto grad = at::full({}, scale, loss.options());
  auto run = [&] { torch::autograd::backward({loss}, {grad}); };
  const auto start = Clock::now();
  if (!average_ || !reduce) {
    as(TDM_MODEL, run);
    out.backward_ns += since(start);
    return;
  }
  auto& traffic = group_->traffic();
  traffic.begin(optimizer_->done());
  average_->before_backward();
  group_->collective(
      [&] {
        run();
        average_->after_backward();
      },
      TDM_MODEL);
  traffic.step = -1;
  int64_t exposed = nanoseconds(traffic.blocked);
  if (traffic.launched > start) exposed += since(traffic.launched);
  out.backward_ns += since(start) - exposed;
  out.exposed_ns += exposed;
}

double Trainer::forward_backward(const Batch& batch, double loss_scale, int64_t micro_batches,
                                 tdm_step_result& result) {
  const int64_t rows = batch.x_shape[0];
  if (rows == 0) {
    // A rank without rows still takes part in the reduction, with zeros.
    auto nothing = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device_));
    for (const auto& p : params_) nothing = nothing + p.second.sum() * 0;
    backward(nothing, 0, true, result);
    return 0;
  }
  auto in = stage(batch);
  micro_batches = std::min(std::max<int64_t>(micro_batches, 1), rows);
  at::Tensor pending; // on CUDA the sum is read once, at the end
  for (int64_t i = 0; i < micro_batches; i++) {
    const int64_t from = rows * i / micro_batches, to = rows * (i + 1) / micro_batches;
    auto x = micro_batches == 1 ? in.x : in.x.narrow(0, from, to - from);
    auto y = micro_batches == 1 ? in.y : in.y.narrow(0, from, to - from);
    fault("forward", optimizer_->done());
    const auto start = Clock::now();
    auto out = forward(module_, x);
    if (config_.loss == TDM_CROSS_ENTROPY && i == 0 && out.dim() > 1)
      check_labels(batch, out.size(1));
    auto loss = row_losses_sum(out, y);
    result.forward_ns += since(start);
    fault("backward", optimizer_->done());
    backward(loss, loss_scale, i + 1 == micro_batches, result);
    auto value = loss.detach();
    pending = pending.defined() ? pending + value : value;
  }
  return pending.item<double>();
}

std::vector<at::Tensor> Trainer::gradients() {
  std::vector<at::Tensor> grads;
  for (auto& p : params_) {
    if (!p.second.grad().defined()) throw untrained(p.first);
    grads.push_back(p.second.grad());
  }
  return grads;
}

// Nothing is changed until the last collective of the step is over, so a step
// that throws has not been applied.
void Trainer::step(const Batch& batch, double loss_scale, int64_t micro_batches, double lr,
                   int64_t seed, tdm_step_result& out) {
  if (group_ && !average_)
    throw Failure(TDM_PEER_LOST, "the process group broke in an earlier step");
  if (torn_) state(); // throws
  c10::AutoGradMode grad_mode(true);
  c10::OptionalDeviceGuard guard(device_);
  mode(true);
  at::manual_seed(static_cast<uint64_t>(seed));
  keep_buffers();
  drop_gradients();
  if (average_) average_->before_forward();

  out.rows = batch.x_shape[0];
  const int64_t done = optimizer_->done();
  std::vector<at::Tensor> grads;
  Clock::time_point start;
  try {
    out.loss_sum = forward_backward(batch, loss_scale, micro_batches, out);
    start = Clock::now();
    grads = gradients();
    if (fault("agreed", done) == Fault::kNaN) grads[0].detach().fill_(NAN);
    out.grad_norm = gradient_norm(grads);
    out.finite = std::isfinite(out.grad_norm);
    if (out.finite && group_) {
      // DDP does this before each forward. Here the state of any rank is the
      // state of all after each step, and an evaluation needs no collective.
      const auto begin = Clock::now();
      broadcast(*group_, buffers(), 0);
      out.exposed_ns += since(begin);
      start += Clock::now() - begin;
    }
  } catch (...) {
    drop_average(); // it may wait for gradients that will never come
    drop_gradients();
    restore_buffers();
    throw;
  }
  if (!out.finite) return restore_buffers();
  const double ratio = config_.clip_norm > 0 ? config_.clip_norm / (out.grad_norm + 1e-6) : 1;
  update(grads, std::min(ratio, 1.0), lr);
  out.applied = true;
  out.optimizer_ns = since(start);
  if (fault("applied", done) == Fault::kFlip) {
    auto bits = params_[0].second.detach().reshape({-1}).narrow(0, 0, 1).view(at::kInt);
    bits.bitwise_xor_(1);
  }
}

void Trainer::update(const std::vector<at::Tensor>& grads, double scale, double lr) {
  try {
    optimizer_->step(grads, scale, lr);
  } catch (...) {
    torn_ = true; // only for want of memory; some parameters may have moved
    throw;
  }
}

tdm_eval_result Trainer::evaluate(const Batch& batch) {
  c10::NoGradGuard no_grad;
  c10::OptionalDeviceGuard guard(device_);
  tdm_eval_result result{};
  result.rows = batch.x_shape[0];
  if (result.rows == 0) return result;
  mode(false);
  auto in = stage(batch);
  auto out = forward(module_, in.x);
  if (config_.loss == TDM_CROSS_ENTROPY && out.dim() > 1) check_labels(batch, out.size(1));
  result.loss_sum = row_losses_sum(out, in.y).item<double>();
  result.elements = in.y.numel();
  if (config_.loss == TDM_CROSS_ENTROPY) {
    result.correct = out.argmax(1).eq(in.y).sum().item<int64_t>();
  } else {
    auto error = (out.reshape(in.y.sizes()) - in.y).to(at::kDouble);
    result.squared_error_sum = error.square().sum().item<double>();
    result.abs_error_sum = error.abs().sum().item<double>();
  }
  return result;
}

NamedTensors Trainer::state() const {
  if (torn_) throw Failure(TDM_TORN, "an update failed half way");
  return live();
}

void Trainer::load_state(const NamedTensors& from) {
  load_strict(live(), from);
  torn_ = false;
}

NamedTensors Trainer::live() const {
  NamedTensors all;
  for (const auto& p : parameters_of(module_)) all.emplace_back("model." + p.first, p.second);
  for (const auto& b : buffers_of(module_)) all.emplace_back("model." + b.first, b.second);
  for (size_t i = 0; i < params_.size(); i++)
    for (size_t s = 0; s < optimizer_->slots().size(); s++)
      all.emplace_back("optim." + params_[i].first + "." + optimizer_->slots()[s],
                       optimizer_->state(s)[i]);
  all.emplace_back("optim.step", optimizer_->steps());
  return all;
}

} // namespace tandem

using namespace tandem;

tdm_status tdm_trainer_new(tdm_module m, tdm_device device, tdm_group* group,
                           const tdm_trainer_config* config, tdm_trainer** out) {
  return guarded([&] {
    *out = new tdm_trainer{std::make_unique<Trainer>(as_module(m), device_of(device),
                                                     group ? group->group : nullptr, *config)};
  });
}

void tdm_trainer_free(tdm_trainer* trainer) {
  try {
    delete trainer;
  } catch (...) {
    // See ~Trainer.
  }
}

tdm_status tdm_trainer_set_group(tdm_trainer* trainer, tdm_group* group) {
  return guarded([&] { trainer->trainer->set_group(group ? group->group : nullptr); });
}

tdm_status tdm_trainer_sync_state(tdm_trainer* trainer, int32_t root) {
  return guarded([&] { trainer->trainer->sync_state(root); });
}

tdm_status tdm_trainer_step(tdm_trainer* trainer, const float* x, const int64_t* x_shape,
                            int32_t x_dims, const int64_t* labels, const float* targets,
                            const int64_t* y_shape, int32_t y_dims, double loss_scale,
                            int32_t micro_batches, double lr, int64_t seed,
                            tdm_step_result* out) {
  return guarded([&] {
    Batch batch{x, {x_shape, size_t(x_dims)}, labels, targets, {y_shape, size_t(y_dims)}};
    *out = {};
    trainer->trainer->step(batch, loss_scale, micro_batches, lr, seed, *out);
  });
}

tdm_status tdm_trainer_evaluate(tdm_trainer* trainer, const float* x, const int64_t* x_shape,
                                int32_t x_dims, const int64_t* labels, const float* targets,
                                const int64_t* y_shape, int32_t y_dims, tdm_eval_result* out) {
  return guarded([&] {
    Batch batch{x, {x_shape, size_t(x_dims)}, labels, targets, {y_shape, size_t(y_dims)}};
    *out = trainer->trainer->evaluate(batch);
  });
}

tdm_status tdm_trainer_state(tdm_trainer* trainer, tdm_tensors** out) {
  return guarded([&] {
    auto list = std::make_unique<tdm_tensors>();
    for (const auto& t : trainer->trainer->state()) {
      dtype_name(t.second.scalar_type());
      list->add(t.first, t.second);
    }
    *out = list.release();
  });
}

tdm_status tdm_trainer_state_of(tdm_trainer* trainer, const char** names, size_t n,
                                tdm_tensors** out) {
  return guarded([&] {
    std::unordered_map<std::string, at::Tensor> all;
    for (const auto& t : trainer->trainer->state()) all.insert(t);
    auto list = std::make_unique<tdm_tensors>();
    for (size_t i = 0; i < n; i++) {
      const auto t = all.find(names[i]);
      if (t == all.end()) throw Failure(TDM_STATE, std::string(names[i]) + " is not known here");
      dtype_name(t->second.scalar_type());
      list->add(t->first, t->second);
    }
    *out = list.release();
  });
}

tdm_status tdm_trainer_state_sizes(tdm_trainer* trainer, tdm_tensors** out) {
  return guarded([&] {
    auto list = std::make_unique<tdm_tensors>();
    list->list = trainer->trainer->state();
    for (const auto& t : list->list) dtype_name(t.second.scalar_type());
    *out = list.release();
  });
}

tdm_status tdm_trainer_load_state(tdm_trainer* trainer, const tdm_tensors* list) {
  return guarded([&] { trainer->trainer->load_state(list->list); });
}

tdm_status tdm_trainer_fingerprint(tdm_trainer* trainer, uint64_t* out) {
  return guarded([&] { *out = digest(trainer->trainer->state()); });
}

tdm_status tdm_trainer_finite(tdm_trainer* trainer, int32_t* out) {
  return guarded([&] { *out = all_finite(trainer->trainer->state()); });
}
