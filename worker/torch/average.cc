#include "average.h"
#include "reducer.h"

#include <ATen/ScalarOps.h>

#include <algorithm>
#include <map>

namespace tandem {
namespace {

// c10d's Reducer: a bucket of gradients is on its way as soon as it is full.
class Overlapped : public Average {
 public:
  Overlapped(Group& group, const NamedTensors& params, int64_t bucket_bytes) {
    if (bucket_bytes == 0) bucket_bytes = group.device().is_cuda() ? 25 << 20 : 1 << 20;
    // Gradients come from the last layer back.
    std::vector<at::Tensor> list;
    std::vector<std::string> names;
    for (auto p = params.rbegin(); p != params.rend(); ++p) {
      names.push_back(p->first);
      list.push_back(p->second);
    }
    group.collective([&] {
      reducer_ = new_reducer(list, names, group.handle(),
                             std::min<int64_t>(bucket_bytes, 1 << 20), bucket_bytes);
    });
  }
  void before_forward() override { reducer_->prepare_for_forward(); }
  void before_backward() override { reducer_->prepare_for_backward({}); }

 private:
  std::shared_ptr<c10d::Reducer> reducer_;
};

// All gradients in one sum, after backward: where an all-reduce is over when it
// returns, an early one hides no time, and is one more meeting at which the
// slower rank keeps the others waiting.
class AtOnce : public Average {
 public:
  AtOnce(Group& group, const NamedTensors& params) : group_(group), params_(params) {
    std::map<at::ScalarType, int64_t> sizes;
    for (const auto& p : params_) sizes[p.second.scalar_type()] += p.second.numel();
    for (const auto& s : sizes)
      flat_[s.first] =
          at::empty({s.second}, at::TensorOptions().dtype(s.first).device(group.device()));
    std::map<at::ScalarType, int64_t> used;
    for (const auto& p : params_) {
      const auto& t = p.second;
      auto& from = used[t.scalar_type()];
      const auto& flat = flat_[t.scalar_type()];
      // As the parameter lies in memory, so that an optimizer can go through both.
      parts_.push_back(t.is_non_overlapping_and_dense()
                           ? flat.as_strided(t.sizes(), t.strides(), from)
                           : flat.narrow(0, from, t.numel()).view(t.sizes()));
      from += t.numel();
    }
    std::vector<at::Tensor> all;
    for (const auto& f : flat_) all.push_back(f.second);
    group_.make_room(all);
  }

  void after_backward() override {
    c10::NoGradGuard no_grad;
    const auto share = at::native::wrapped_scalar_tensor(1.0 / group_.size());
    for (size_t i = 0; i < parts_.size(); i++) {
      const auto& grad = params_[i].second.grad();
      if (!grad.defined()) throw untrained(params_[i].first);
      at::mul_out(parts_[i], grad, share);
    }
    for (auto& f : flat_) {
      std::vector<at::Tensor> list{f.second};
      group_.handle()->allreduce(list)->wait();
    }
    for (size_t i = 0; i < parts_.size(); i++) params_[i].second.mutable_grad() = parts_[i];
  }

 private:
  Group& group_;
  NamedTensors params_;
  std::map<at::ScalarType, at::Tensor> flat_;
  std::vector<at::Tensor> parts_; // of flat_, one for each parameter
};

} // namespace

std::unique_ptr<Average> new_average(Group& group, const NamedTensors& params,
                                     int64_t bucket_bytes) {
  if (group.at_once()) return std::make_unique<AtOnce>(group, params);
  return std::make_unique<Overlapped>(group, params, bucket_bytes);
}

} // namespace tandem
