#include "group.h"
#include "fault.h"
#include "hosts.h"
#include "store.h"

#if __has_include(<gloo/context.h>)
#define TANDEM_GLOO
#include <gloo/common/error.h>
#include <gloo/context.h>
#ifndef TANDEM_GLOO_FOREIGN
#include <gloo/transport/tcp/pair.h>
#endif
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

#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <system_error>
#include <thread>

namespace tandem {
namespace {

#ifdef TANDEM_GLOO
// What gloo's classes keep to themselves; a derived class may name it.
struct TransportOf : gloo::Context {
  static std::shared_ptr<gloo::transport::Context>& get(gloo::Context& c) {
    return c.*(&TransportOf::transportContext_);
  }
};

// Found by name at run time, since a libtorch with gloo inside may not export it.
template <typename Function>
Function* exported(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

#ifdef TANDEM_GLOO_FOREIGN
// What pairs look like inside is not known: who waits for a message that is under
// way waits for the group's timeout.
void wake_under_way(gloo::transport::Context*, const std::string&) {}
#else
struct PairsOf : gloo::transport::Context {
  static std::vector<std::unique_ptr<gloo::transport::Pair>>& get(gloo::transport::Context& c) {
    return c.*(&PairsOf::pairs_);
  }
};
struct PairOf : gloo::transport::tcp::Pair {
  using Buffer = gloo::transport::tcp::UnboundBuffer;

  // Calls f for the buffer of each message that has been sent or received in part.
  template <typename F>
  static void under_way(gloo::transport::tcp::Pair& pair, F f) {
    auto call = [&](const gloo::transport::tcp::Op& op) {
      // A class around a weak_ptr, whose name depends on which header stands for it.
      using Weak = std::weak_ptr<Buffer>;
      static_assert(sizeof(op.ubuf) == sizeof(Weak), "gloo refers to buffers in another way");
      if (auto buffer = reinterpret_cast<const Weak&>(op.ubuf).lock()) f(buffer.get());
    };
    std::lock_guard<std::mutex> lock(pair.*(&PairOf::m_));
    call(pair.*(&PairOf::rx_));
    for (const auto& op : pair.*(&PairOf::tx_)) call(op);
  }
};

// Wakes who waits for a message that was under way, on either side, when its pair
// was closed. gloo does not, whether this rank closed it or an error before.
void wake_under_way(gloo::transport::Context* transport, const std::string& why) {
  static const auto wake = exported<void(void*, std::exception_ptr)>(
      "_ZN4gloo9transport3tcp13UnboundBuffer15signalExceptionENSt15__exception_ptr13exception_"
      "ptrE");
  if (!wake) return;
  const auto error = std::make_exception_ptr(gloo::IoException(why));
  for (auto& pair : PairsOf::get(*transport))
    if (pair)
      PairOf::under_way(static_cast<gloo::transport::tcp::Pair&>(*pair),
                        [&](PairOf::Buffer* buffer) { wake(buffer, error); });
}
#endif

// What gloo calls itself when a wait times out: every pair of the context gets
// an exception and is closed. Closing connections alone wakes nobody. Where it
// is not exported, the group's timeout is what ends a stuck collective.
void signal_exception(gloo::transport::Context* transport, const std::string& why) {
  static const auto close_pairs = exported<void(void*, const std::string&)>(
      "_ZN4gloo9transport3tcp7Context15signalExceptionERKNSt7__cxx1112basic_stringIcSt11char_"
      "traitsIcESaIcEEE");
  if (!close_pairs) return;
  close_pairs(transport, why);
  wake_under_way(transport, why);
}

class AbortableGloo : public c10d::ProcessGroupGloo {
 public:
  using c10d::ProcessGroupGloo::ProcessGroupGloo;
  std::shared_ptr<Traffic> traffic = std::make_shared<Traffic>();

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    traffic->launched = Traffic::Clock::now();
    traffic->wait();
    poison(*traffic, tensors[0]);
    auto work = c10d::ProcessGroupGloo::allreduce(tensors, options);
    if (traffic->step >= 0) fault("reduce", traffic->step);
    return work;
  }
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
// Since 2.0 a ProcessGroup is a front for one Backend per device type. PG is always c10d's: as a parameter, for the options that
// its constructor wanted at first are gone from later headers.
template <typename B, typename PG = c10d::ProcessGroup>
c10::intrusive_ptr<c10d::ProcessGroup> front(const c10::intrusive_ptr<c10d::Store>& store,
                                             int rank, int size, c10::DeviceType device,
                                             c10d::ProcessGroup::BackendType type,
                                             const c10::intrusive_ptr<B>& backend) {
  c10::intrusive_ptr<PG> pg;
  if constexpr (std::is_constructible_v<PG, const c10::intrusive_ptr<c10d::Store>&, int, int>) {
    pg = c10::make_intrusive<PG>(store, rank, size);
    pg->setBackend(device, type, backend);
    pg->setDefaultBackend(type);
  } else {
    pg = c10::make_intrusive<PG>(store, rank, size, PG::Options::create("undefined"));
    pg->setBackend(device, type, backend);
  }
  return pg;
}
#endif

} // namespace

template <typename Connect>
auto Group::connected(Connect connect) -> decltype(connect()) {
  using Value = decltype(connect());
  struct Outcome {
    Value value;
    std::exception_ptr error;
    bool done = false;
  };
  auto gate = std::make_shared<Gate>();
  auto outcome = std::make_shared<Outcome>();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (aborted_) throw Failure(TDM_ABORTED, why_);
    gate_ = gate;
  }
  std::thread([gate, outcome, connect] {
    Value value;
    std::exception_ptr error;
    try {
      value = connect();
    } catch (...) {
      error = std::current_exception();
    }
    std::lock_guard<std::mutex> lock(gate->mutex);
    outcome->value = std::move(value);
    outcome->error = error;
    outcome->done = gate->open = true;
    gate->changed.notify_all();
  }).detach();
  {
    std::unique_lock<std::mutex> lock(gate->mutex);
    gate->changed.wait(lock, [&] { return gate->open; });
    std::lock_guard<std::mutex> own(mutex_);
    gate_.reset();
    if (!outcome->done) throw Failure(TDM_ABORTED, why_);
  }
  if (outcome->error) std::rethrow_exception(outcome->error);
  return std::move(outcome->value);
}

// Where the ranks are.
struct Group::Place {
  std::vector<std::string> hosts; // in the order of their lowest ranks
  std::vector<size_t> host_of;    // of each rank
  std::vector<std::vector<int>> ranks_of;
  bool sharing = false; // ranks of one host share memory

  // Takes each rank for one on a host of its own.
  void alone(int size) {
    host_of.clear();
    ranks_of.clear();
    for (int rank = 0; rank < size; rank++) {
      host_of.push_back(rank);
      ranks_of.push_back({rank});
    }
  }
};

#ifdef TANDEM_NCCL
// Whether each rank has a device of its own; NCCL refuses two ranks on one. It cannot encrypt: where values would leave a host and
// may not do so in clear, that is an error, and not a slower way that nobody would notice.
bool Group::own_devices(c10d::Store& store, bool plain) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::string reason, host = host_name(&reason);
  if (host.empty()) host = "rank " + std::to_string(rank_); // alone
  const std::string mine = host + "\n" + (visible ? visible : "") + " " +
                           std::to_string(static_cast<int>(device_.index()));
  store.set("device/" + std::to_string(rank_), std::vector<uint8_t>(mine.begin(), mine.end()));
  std::set<std::string> devices, hosts;
  for (int rank = 0; rank < size_; rank++) {
    const auto value = store.get("device/" + std::to_string(rank));
    const std::string device(value.begin(), value.end());
    if (!devices.insert(device).second) return false;
    hosts.insert(device.substr(0, device.find('\n')));
  }
  if (hosts.size() > 1 && !plain)
    throw Failure(TDM_DEVICE,
                  "NCCL does not encrypt what ranks of different hosts say to each other: start all "
                  "workers with --plain-data-plane where the network is trusted, or train on the "
                  "GPUs of one host");
  return true;
}
#endif

// Finds the ranks of this host and shares memory with them. Null where this
// rank is alone on its host, or where any rank of the group cannot share.
std::shared_ptr<Shared> Group::share(RendezvousStore& store, const tdm_group_config& config,
                                     Place& place) {
  auto text = [](const std::vector<uint8_t>& bytes) {
    return std::string(bytes.begin(), bytes.end());
  };
  auto set = [&](const std::string& key, const std::string& value) {
    store.set(key + std::to_string(rank_), std::vector<uint8_t>(value.begin(), value.end()));
  };
  struct Descriptor {
    int fd = -1;
    ~Descriptor() {
      if (fd >= 0) close(fd);
    }
  } own;
  std::string reason, host = host_name(&reason);
  if (host.empty()) host = "rank " + std::to_string(rank_); // alone
  host += config.host;
  own.fd = new_segment(config.segment);
  set("host/", std::to_string(getpid()) + " " +
                   std::to_string(config.no_segment ? -1 : own.fd) + " " + host);

  std::vector<Shared::Member> members;
  size_t index = 0;
  for (int rank = 0; rank < size_; rank++) {
    std::istringstream in(text(store.get("host/" + std::to_string(rank))));
    Shared::Member member{rank, 0, -1};
    std::string name;
    in >> member.pid >> member.fd >> std::ws;
    std::getline(in, name);
    auto known = std::find(place.hosts.begin(), place.hosts.end(), name);
    place.host_of.push_back(known - place.hosts.begin());
    if (known == place.hosts.end()) {
      place.hosts.push_back(name);
      place.ranks_of.emplace_back();
    }
    place.ranks_of[place.host_of.back()].push_back(rank);
    if (name != host) continue;
    if (rank == rank_) index = members.size();
    members.push_back(member);
  }
  if (size_ == 1) { // a host like any other
    place.sharing = true;
    transport_ = "none";
    return nullptr;
  }
  if (place.hosts.size() == static_cast<size_t>(size_)) {
    transport_ = reason.empty() ? "gloo" : "gloo (" + reason + ")";
    return nullptr;
  }
  std::shared_ptr<Shared> shared;
  try {
    if (members.size() > 1)
      shared = std::make_shared<Shared>(
          members, index, store.getTimeout(),
          [&](const Shared::Member& m) { return store.open_segment(m.pid, m.fd); });
  } catch (const Failure& e) {
    if (e.code == TDM_PEER_LOST) throw;
    reason = e.what();
  }
  // All or none; and once all have said so, all have opened the segment.
  set("shared/", reason.empty() ? "ok" : reason);
  transport_ = place.hosts.size() == 1 ? "shared memory" : "shared memory and gloo";
  for (int rank = 0; rank < size_; rank++) {
    reason = text(store.get("shared/" + std::to_string(rank)));
    if (reason == "ok") continue;
    transport_ = "gloo (rank " + std::to_string(rank) + " shares no memory: " + reason + ")";
    return nullptr;
  }
  place.sharing = true;
  return shared;
}

void Group::join(uintptr_t rendezvous, const tdm_group_config& config) {
  const auto timeout = std::chrono::milliseconds(config.timeout_ms);
  auto store = c10::make_intrusive<RendezvousStore>(rendezvous, timeout);
  const int rank = rank_, size = size_;
  const bool cuda = device_.is_cuda();
#ifdef TANDEM_NCCL
  if (cuda && own_devices(*store, config.plain)) {
    c10::DeviceGuard guard(device_);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
    transport_ = "nccl";
    connect([nccl](const std::string&) { abort_nccl(*nccl, 0); });
#if TORCH_VERSION_MAJOR >= 2
    pg_ = front(store, rank, size, c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
#else
    pg_ = nccl;
#endif
    return;
  }
#endif
  Place place;
  auto shared = shared_ = share(*store, config, place);
  no_room_ = config.no_room;
  if (cuda) {
    transport_ += ", through the host's memory";
    // Gloo between all ranks is that between hosts of one rank each: whose tensors go through memory is then one place.
    if (!place.sharing) place.alone(size);
  }
  std::function<void(const std::string&)> close_gloo = [](const std::string&) {};
  c10::intrusive_ptr<Backend> gloo_backend;
  // Gloo between all ranks, or between the first ranks of the hosts.
  const bool flat = !place.sharing && !cuda;
  at_once_ = !flat;
  const auto& mine = place.ranks_of[place.host_of[rank]];
  const int places = flat ? size : static_cast<int>(place.hosts.size());
  const int my_place = flat ? rank : static_cast<int>(place.host_of[rank]);
  if (places > 1 && (flat || mine[0] == rank)) {
#ifdef TANDEM_GLOO
    const std::string address = config.bind_address;
    auto gloo = connected([=] { return new_gloo(store, my_place, places, address, timeout); });
    if (flat) gloo->traffic = traffic_;
    close_gloo = [gloo](const std::string& why) { gloo->signal(why); };
    gloo_backend = gloo;
#else
    throw Failure(TDM_DEVICE, "training with several ranks needs a build with Gloo: install "
                              "libgloo-dev, run tandem-setup and build again");
#endif
  }
  connect([shared, close_gloo](const std::string& why) {
    if (shared) shared->leave();
    close_gloo(why);
  });
  auto backend = gloo_backend;
  if (!flat)
    backend = c10::make_intrusive<HostGroup>(rank, size, shared, gloo_backend, place.host_of,
                                             place.ranks_of, traffic_);
#if TORCH_VERSION_MAJOR >= 2
  pg_ = front(store, rank, size, device_.type(), c10d::ProcessGroup::BackendType::GLOO, backend);
#else
  pg_ = backend;
#endif
}

void Group::connect(std::function<void(const std::string&)> signal) {
  std::lock_guard<std::mutex> lock(mutex_);
  signal_ = std::move(signal);
  if (aborted_) throw Failure(TDM_ABORTED, why_);
}

void Group::signal(const std::string& why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (signal_) signal_(why);
}

void Group::abort(const std::string& why) {
  std::shared_ptr<Gate> gate;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!aborted_) why_ = why;
    aborted_ = true;
    gate = gate_;
  }
  if (gate) {
    std::lock_guard<std::mutex> lock(gate->mutex);
    gate->open = true;
    gate->changed.notify_all();
  }
  signal("aborted: " + why);
}

void Group::collective(const std::function<void()>& body, tdm_code fallback) {
  std::string text;
  bool lost = false;
  // Whatever is waited for in the body is over with it.
  struct Over {
    Traffic& traffic;
    ~Over() { traffic.waited(); }
  } over{*traffic_};
  try {
    if (!aborted_) return body();
  } catch (const Failure& e) {
    if (aborted_) throw Failure(TDM_ABORTED, why());
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
  if (aborted_) throw Failure(TDM_ABORTED, why());
  signal(text);
  if (text.find("Timed out") != std::string::npos || text.find("timed out") != std::string::npos)
    throw Failure(TDM_TIMEOUT, plain_message(text));
  throw Failure(lost ? TDM_PEER_LOST : fallback, plain_message(text));
}

std::chrono::nanoseconds Group::waiting() const {
  const int64_t since = traffic_->waits;
  if (since == 0) return {};
  return std::max(Traffic::Clock::now().time_since_epoch() - std::chrono::nanoseconds(since),
                  std::chrono::nanoseconds(1));
}

std::string Group::why() {
  std::lock_guard<std::mutex> lock(mutex_);
  return why_;
}

void Group::all_reduce(at::Tensor& values) {
  c10::OptionalDeviceGuard guard(device_);
  // A copy: no collective may touch the caller's memory after this returns.
  std::vector<at::Tensor> list{values.to(device_, values.scalar_type(), false, true)};
  traffic_->wait();
  collective([&] { pg_->allreduce(list)->wait(); });
  values.copy_(list[0]);
}

void Group::make_room(const std::vector<at::Tensor>& like) {
  if (!shared_ || device_.is_cuda()) return;
  size_t bytes = 0;
  for (const auto& t : like) bytes += t.nbytes() + 64;
  traffic_->wait();
  collective([&] { shared_->lay_out(no_room_ ? 0 : bytes); });
}

void Group::broadcast(at::Tensor& values, int root) {
  if (values.numel() == 0) return;
  c10::OptionalDeviceGuard guard(device_);
  std::vector<at::Tensor> list{values.to(device_, values.scalar_type(), false, true)};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  traffic_->wait();
  collective([&] { pg_->broadcast(list, options)->wait(); });
  if (rank_ != root) values.copy_(list[0]);
}

} // namespace tandem

using namespace tandem;

tdm_group* tdm_group_new(int32_t rank, int32_t size, tdm_device device) {
  return new tdm_group{std::make_shared<Group>(rank, size, device_of(device))};
}

tdm_status tdm_group_join(tdm_group* group, uintptr_t rendezvous,
                          const tdm_group_config* config) {
  return guarded([&] { group->group->join(rendezvous, *config); }, TDM_PEER_LOST);
}

const char* tdm_group_transport(const tdm_group* group) {
  return group->group->transport().c_str();
}

int64_t tdm_group_waiting_ns(const tdm_group* group) { return group->group->waiting().count(); }

int64_t tdm_group_in_place(const tdm_group* group) {
  return static_cast<int64_t>(group->group->in_place());
}

void tdm_group_abort(tdm_group* group, const char* why) { group->group->abort(why); }

int32_t tdm_wakes_under_way(void) {
#if defined(TANDEM_GLOO) && !defined(TANDEM_GLOO_FOREIGN)
  return 1;
#else
  return 0;
#endif
}

void tdm_group_free(tdm_group* group) {
  try {
    delete group;
  } catch (...) {
    // A group whose peers are gone may complain; it is gone all the same.
  }
}

tdm_status tdm_group_all_reduce(tdm_group* group, double* values, size_t n) {
  return guarded([&] {
    auto t = at::from_blob(values, {static_cast<int64_t>(n)}, at::kDouble);
    group->group->all_reduce(t);
  });
}

tdm_status tdm_group_broadcast(tdm_group* group, int32_t root, const uint8_t* data, size_t n,
                               uint8_t** out, size_t* out_n) {
  return guarded([&] {
    auto& g = *group->group;
    auto size = at::full({}, static_cast<int64_t>(n), at::kLong);
    g.broadcast(size, root);
    *out_n = static_cast<size_t>(size.item<int64_t>());
    auto bytes = at::empty({static_cast<int64_t>(*out_n)}, at::kByte);
    if (g.rank() == root && n) std::memcpy(bytes.data_ptr(), data, n);
    g.broadcast(bytes, root);
    *out = static_cast<uint8_t*>(std::malloc(*out_n + 1));
    if (!*out) throw std::bad_alloc();
    if (*out_n) std::memcpy(*out, bytes.data_ptr(), *out_n);
  });
}
