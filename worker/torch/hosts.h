// A process group whose ranks on one host share memory; between hosts, the
// first rank of each speaks for all.
#pragma once

#include "core.h"
#include "fault.h"
#include "group.h"
#include "shared.h"

#include <algorithm>
#include <cmath>

namespace tandem {

#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif

// Makes this rank's part of a gradient no number, where a fault says so.
inline void poison(const Traffic& traffic, at::Tensor& part) {
  if (traffic.step >= 0 && faulty("reduce", traffic.step, "nan") && part.is_floating_point())
    part.detach().view({-1}).narrow(0, 0, 1).fill_(NAN);
}

// A collective that was over when it returned.
class Done : public c10d::Work {
 public:
  explicit Done(std::vector<at::Tensor> tensors)
      : tensors_(std::move(tensors)),
        future_(c10::make_intrusive<c10::ivalue::Future>(
            c10::ListType::create(c10::TensorType::get()), devices(tensors_))) {
    future_->markCompleted(c10::IValue(tensors_));
  }
  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }
  bool wait(std::chrono::milliseconds) override { return true; }
  void synchronize() override {}
  std::vector<at::Tensor> result() override { return tensors_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  // A future wants to know on which devices its tensors are, besides the CPU.
  static std::vector<c10::Device> devices(const std::vector<at::Tensor>& tensors) {
    std::vector<c10::Device> all;
    for (const auto& t : tensors)
      if (!t.device().is_cpu() && std::find(all.begin(), all.end(), t.device()) == all.end())
        all.push_back(t.device());
    return all;
  }

  std::vector<at::Tensor> tensors_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

// Its collectives return when they are done. On the CPU there is no core left
// that could move memory while backward goes on. Tensors of a device go through
// the host's memory.
class HostGroup : public Backend {
 public:
  // shared is null where this rank is alone on its host, between where it is not its host's first or there is one host.
  HostGroup(int rank, int size, std::shared_ptr<Shared> shared, c10::intrusive_ptr<Backend> between,
            std::vector<size_t> host_of, std::vector<std::vector<int>> ranks_of,
            std::shared_ptr<Traffic> traffic)
      : Backend(rank, size),
        shared_(std::move(shared)),
        between_(std::move(between)),
        host_of_(std::move(host_of)),
        ranks_of_(std::move(ranks_of)),
        traffic_(std::move(traffic)) {}

  const std::string getBackendName() const override { return "tandem"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions&) override {
    const auto start = Traffic::Clock::now();
    traffic_->wait();
    for (auto& t : tensors) {
      settle(t);
      poison(*traffic_, t);
      if (t.scalar_type() == at::kHalf || t.scalar_type() == at::kBFloat16) {
        auto wide = t.to(at::kFloat);
        sum(wide);
        t.copy_(wide);
      } else {
        sum(t);
      }
    }
    traffic_->waited();
    traffic_->blocked += Traffic::Clock::now() - start;
    return c10::make_intrusive<Done>(tensors);
  }

  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    const auto root = static_cast<size_t>(options.rootRank);
    for (auto& t : tensors) {
      if (t.device().is_cpu()) {
        give(t, root);
        continue;
      }
      auto on_host = t.cpu();
      give(on_host, root);
      t.copy_(on_host);
    }
    return c10::make_intrusive<Done>(tensors);
  }

 private:
  void give(at::Tensor& t, size_t root) {
    whole(t);
    const bool here = host_of_[root] == host_of_[rank_];
    if (here && shared_) shared_->broadcast(t.data_ptr(), t.nbytes(), place_of(root));
    if (between_) {
      std::vector<at::Tensor> list{t};
      c10d::BroadcastOptions among;
      among.rootRank = static_cast<int64_t>(host_of_[root]);
      between_->broadcast(list, among)->wait();
    }
    if (!here && shared_) shared_->broadcast(t.data_ptr(), t.nbytes(), 0);
  }

  // Moves gradients that lie one after the other, when they first come, to where
  // all ranks of this host see them. Views go with them.
  void settle(const at::Tensor& t) {
    const bool gradients = traffic_->step >= 0 && t.device().is_cpu();
    if (!shared_ || !gradients || shared_->in_place(t.data_ptr())) return;
    const auto& storage = t.storage();
    if (t.storage_offset() != 0 || storage.nbytes() != t.nbytes()) return;
    const auto memory = shared_->take(t.nbytes());
    if (!memory) return;
    std::memcpy(memory.get(), t.data_ptr(), t.nbytes());
    using Held = std::shared_ptr<uint8_t>;
    storage.set_data_ptr_noswap({memory.get(), new Held(memory),
                                 [](void* held) { delete static_cast<Held*>(held); },
                                 t.device()});
  }

  static void whole(const at::Tensor& t) {
    if (!t.is_contiguous()) throw Failure(TDM_ERROR, "ranks exchange contiguous tensors only");
  }

  size_t place_of(size_t rank) const {
    const auto& ranks = ranks_of_[host_of_[rank]];
    size_t place = 0;
    while (static_cast<size_t>(ranks[place]) != rank) place++;
    return place;
  }

  static Element element(const at::Tensor& t) {
    switch (t.scalar_type()) {
      case at::kFloat: return Element::kFloat;
      case at::kDouble: return Element::kDouble;
      case at::kInt: return Element::kInt;
      case at::kLong: return Element::kLong;
      default:
        throw Failure(TDM_ERROR, std::string("ranks cannot add up ") + at::toString(t.scalar_type()));
    }
  }

  void sum(at::Tensor& t) {
    if (!t.device().is_cpu()) {
      auto on_host = t.cpu();
      sum(on_host);
      t.copy_(on_host);
      return;
    }
    whole(t);
    const auto type = element(t);
    auto put = [this] {
      if (traffic_->step >= 0) fault("reduce", traffic_->step);
    };
    const auto n = static_cast<size_t>(t.numel());
    if (shared_ && shared_->in_place(t.data_ptr()))
      shared_->all_reduce_in_place(t.data_ptr(), n, type, put);
    else if (shared_)
      shared_->all_reduce(t.data_ptr(), n, type, put);
    if (ranks_of_.size() == 1) return;
    if (between_) {
      std::vector<at::Tensor> list{t};
      between_->allreduce(list, c10d::AllreduceOptions())->wait();
    }
    if (shared_) shared_->broadcast(t.data_ptr(), t.nbytes(), 0);
  }

  std::shared_ptr<Shared> shared_;
  c10::intrusive_ptr<Backend> between_;
  std::vector<size_t> host_of_;
  std::vector<std::vector<int>> ranks_of_;
  std::shared_ptr<Traffic> traffic_;
};

} // namespace tandem
