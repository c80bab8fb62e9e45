#include "group.h"
#include "store.h"

#if __has_include(<gloo/context.h>)
#define TANDEM_GLOO
#include <gloo/common/error.h>
#include <gloo/context.h>
#if __has_include(<torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>)
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#else
#include <torch/csrc/distributed/c10d/gloo/ProcessGroupGloo.hpp>
#endif
#endif

#if defined(TANDEM_CUDA) && __has_include(<nccl.h>)
#define TANDEM_NCCL
#if __has_include(<torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>)
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#else
#include <torch/csrc/distributed/c10d/nccl/ProcessGroupNCCL.hpp>
#endif
#endif

#include <dlfcn.h>

#include <system_error>

namespace tandem {
namespace {

using Signal = std::function<void(const std::string&)>;

#ifdef TANDEM_GLOO
// gloo::Context keeps its transport to itself; a derived class may name it.
struct TransportOf : gloo::Context {
  static std::shared_ptr<gloo::transport::Context>& get(gloo::Context& c) {
    return c.*(&TransportOf::transportContext_);
  }
};

// What gloo calls itself when a wait times out: every pair of the context gets
// an exception and is closed. Closing connections alone wakes nobody. Found by
// name at run time, since a libtorch with gloo inside may not export it; then
// the group's timeout is what ends a stuck collective.
void signal_exception(gloo::transport::Context* transport, const std::string& why) {
  using Function = void (*)(void*, const std::string&);
  static const auto function = reinterpret_cast<Function>(dlsym(
      RTLD_DEFAULT,
      "_ZN4gloo9transport3tcp7Context15signalExceptionERKNSt7__cxx1112basic_stringIcSt11char_"
      "traitsIcESaIcEEE"));
  if (function) function(transport, why);
}

class AbortableGloo : public c10d::ProcessGroupGloo {
 public:
  using c10d::ProcessGroupGloo::ProcessGroupGloo;
  void signal(const std::string& why) {
    for (auto& context : contexts_)
      if (auto transport = TransportOf::get(*context)) signal_exception(transport.get(), why);
  }
};

c10::intrusive_ptr<AbortableGloo> new_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                           int rank, int size,
                                           const std::string& bind_address,
                                           std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices.push_back(
      c10d::ProcessGroupGloo::createDeviceForHostname(bind_address));
  options->threads = 2;
  return c10::make_intrusive<AbortableGloo>(store, rank, size, options);
}
#endif

#ifdef TANDEM_NCCL
// ProcessGroupNCCL::abort is public from some 2.x on.
template <typename T>
auto abort_nccl(T& group, int) -> decltype(group.abort(), void()) {
  group.abort();
}
template <typename T>
void abort_nccl(T&, long) {}
#endif

#if TORCH_VERSION_MAJOR >= 2
// Since 2.0 a ProcessGroup is a front for one Backend per device type.
template <typename B>
c10::intrusive_ptr<c10d::ProcessGroup> front(const c10::intrusive_ptr<c10d::Store>& store,
                                             int rank, int size, c10::DeviceType device,
                                             c10d::ProcessGroup::BackendType type,
                                             const c10::intrusive_ptr<B>& backend) {
  using PG = c10d::ProcessGroup;
  c10::intrusive_ptr<PG> pg;
  if constexpr (std::is_constructible_v<PG, const c10::intrusive_ptr<c10d::Store>&, int, int>)
    pg = c10::make_intrusive<PG>(store, rank, size);
  else
    pg = c10::make_intrusive<PG>(store, rank, size, PG::Options::create("undefined"));
  pg->setBackend(device, type, backend);
  if constexpr (std::is_constructible_v<PG, const c10::intrusive_ptr<c10d::Store>&, int, int>)
    pg->setDefaultBackend(type);
  return pg;
}
#endif

} // namespace

Group::Group(uintptr_t rendezvous, int rank, int size, const std::string& bind_address,
             std::chrono::milliseconds timeout, c10::Device device)
    : device_(device) {
  c10::intrusive_ptr<c10d::Store> store =
      c10::make_intrusive<RendezvousStore>(rendezvous, timeout);
  if (device.is_cuda()) {
#ifdef TANDEM_NCCL
    c10::DeviceGuard guard(device);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
    signal_ = [nccl](const std::string&) { abort_nccl(*nccl, 0); };
#if TORCH_VERSION_MAJOR >= 2
    pg_ = front(store, rank, size, c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
#else
    pg_ = nccl;
#endif
    return;
#else
    throw Failure(TDM_DEVICE, "training on CUDA devices with several ranks needs a build with "
                              "NCCL: install libnccl-dev, run tandem-setup and build again");
#endif
  }
#ifdef TANDEM_GLOO
  auto gloo = new_gloo(store, rank, size, bind_address, timeout);
  signal_ = [gloo](const std::string& why) { gloo->signal(why); };
#if TORCH_VERSION_MAJOR >= 2
  pg_ = front(store, rank, size, c10::kCPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
#else
  pg_ = gloo;
#endif
#else
  throw Failure(TDM_DEVICE, "training with several ranks needs a build with Gloo: install "
                            "libgloo-dev, run tandem-setup and build again");
#endif
}

void Group::signal(const std::string& why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (signal_) signal_(why);
}

void Group::abort(const std::string& why) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!aborted_) why_ = why;
  }
  aborted_ = true;
  signal("aborted: " + why);
}

void Group::collective(const std::function<void()>& body, tdm_code fallback) {
  std::string text;
  bool lost = false;
  try {
    if (!aborted_) return body();
  } catch (const Failure& e) {
    signal(e.what());
    throw;
#ifdef TANDEM_GLOO
  } catch (const gloo::Exception& e) {
    text = e.what();
    lost = true;
#endif
  } catch (const std::system_error& e) {
    text = e.what();
    lost = true;
  } catch (const c10::Error& e) {
    text = plain_message(e.what_without_backtrace());
    lost = text.find("NCCL") != std::string::npos;
  } catch (const std::exception& e) {
    text = plain_message(e.what());
  }
  if (aborted_) {
    std::lock_guard<std::mutex> lock(mutex_);
    throw Failure(TDM_ABORTED, why_);
  }
  signal(text);
  if (text.find("Timed out") != std::string::npos || text.find("timed out") != std::string::npos)
    throw Failure(TDM_TIMEOUT, plain_message(text));
  throw Failure(lost ? TDM_PEER_LOST : fallback, plain_message(text));
}

} // namespace tandem

using namespace tandem;

namespace {

void all_reduce(Group& group, at::Tensor& t) {
  group.collective([&] {
    std::vector<at::Tensor> list{t};
    group.handle()->allreduce(list)->wait();
  });
}

} // namespace

tdm_status tdm_group_new(uintptr_t rendezvous, int32_t rank, int32_t size,
                         const char* bind_address, int64_t timeout_ms, tdm_device device,
                         tdm_group** out) {
  return guarded(
      [&] {
        *out = new tdm_group{std::make_shared<Group>(rendezvous, rank, size, bind_address,
                                                     std::chrono::milliseconds(timeout_ms),
                                                     device_of(device))};
      },
      TDM_PEER_LOST);
}

void tdm_group_abort(tdm_group* group, const char* why) { group->group->abort(why); }

void tdm_group_free(tdm_group* group) {
  try {
    delete group;
  } catch (...) {
    // A group whose peers are gone may complain; it is gone all the same.
  }
}

tdm_status tdm_group_all_reduce(tdm_group* group, double* values, size_t n) {
  return guarded([&] {
    auto& g = *group->group;
    auto host = at::from_blob(values, {static_cast<int64_t>(n)}, at::kDouble);
    c10::OptionalDeviceGuard guard(g.device());
    // A copy: no collective may touch the caller's memory after this returns.
    auto t = host.clone().to(g.device());
    all_reduce(g, t);
    host.copy_(t);
  });
}
