// Process groups of c10d, as the C++ files of this package use them.
#pragma once

#include "core.h"
#include "shared.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

namespace tandem {

class RendezvousStore;

// What the all-reduces of a backward have cost the thread that waits for them,
// and since when it waits now.
struct Traffic {
  using Clock = std::chrono::steady_clock;
  int64_t step = -1;            // optimizer steps done, during a backward
  Clock::duration blocked{};    // in all-reduces that return when they are done
  Clock::time_point launched{}; // of the last one that goes on by itself
  // When the collective that is under way began, as nanoseconds of the clock; 0: none is.
  std::atomic<int64_t> waits{0};

  void begin(int64_t done) {
    step = done;
    blocked = {};
    launched = {};
  }
  void wait() { waits = Clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }
  void waited() { waits = 0; }
};

// One rank's end of a process group. Collectives are called by one thread at a
// time, in the same order on every rank; abort may come from any thread.
class Group {
 public:
  Group(int rank, int size, c10::Device device) : device_(device), rank_(rank), size_(size) {}

  // Meets the other ranks. An abort ends the wait.
  void join(uintptr_t rendezvous, const tdm_group_config& config);

  // Wakes every waiting collective, here and, as sockets close, on the peers.
  void abort(const std::string& why);

  // Runs a collective (or what contains some). Whatever it throws ends the
  // group: its sockets are closed at once, so that no other rank waits for
  // this one, and the error tells a lost peer, a timeout and an abort apart.
  void collective(const std::function<void()>& body, tdm_code fallback = TDM_ERROR);

  // Sums over the ranks, the same bits on each. The tensor is on the host.
  void all_reduce(at::Tensor& values);
  // Makes room for gradients where all ranks of this host see them: one tensor
  // for each of these, of as many bytes. Collective.
  void make_room(const std::vector<at::Tensor>& like);
  // Everyone gets root's values. The tensor is on the host.
  void broadcast(at::Tensor& values, int root);

  const c10::intrusive_ptr<c10d::ProcessGroup>& handle() const { return pg_; }
  c10::Device device() const { return device_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  Traffic& traffic() { return *traffic_; }
  // How long this rank has been waiting for the others now; 0: it is not.
  std::chrono::nanoseconds waiting() const;
  // Bytes of gradients that are reduced where they lie, without a copy.
  size_t in_place() const { return shared_ ? shared_->taken() : 0; }
  // Whether an all-reduce is over when it returns.
  bool at_once() const { return at_once_; }
  // How values travel, and why not through shared memory.
  const std::string& transport() const { return transport_; }

 private:
  // Where the joining thread and an abort meet.
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
  };
  struct Place;
  std::shared_ptr<Shared> share(RendezvousStore& store, const tdm_group_config& config, Place& place);
  bool own_devices(c10d::Store& store, bool plain);
  // Keeps what an abort has to call; throws where one came already.
  void connect(std::function<void(const std::string&)> signal);
  void signal(const std::string& why);
  std::string why();
  // Runs connect, which may hang at a peer that is gone, on a thread of its
  // own. An abort leaves it behind: it ends with its own timeout.
  template <typename Connect>
  auto connected(Connect connect) -> decltype(connect());

  c10::intrusive_ptr<c10d::ProcessGroup> pg_;
  std::function<void(const std::string&)> signal_;
  std::shared_ptr<Gate> gate_; // while joining
  std::atomic<bool> aborted_{false};
  std::mutex mutex_; // guards why_, signal_ and gate_
  std::string why_, transport_;
  std::shared_ptr<Shared> shared_; // null where this rank shares no memory
  std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();
  c10::Device device_;
  int rank_, size_;
  bool at_once_ = false;
  bool no_room_ = false; // for tests
};

} // namespace tandem

struct tdm_group {
  std::shared_ptr<tandem::Group> group;
};
