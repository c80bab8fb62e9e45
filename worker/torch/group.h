// Process groups of c10d, as the C++ files of this package use them.
#pragma once

#include "core.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

namespace tandem {

// One rank's end of a process group. Collectives are called by one thread at a
// time, in the same order on every rank; abort may come from any thread.
class Group {
 public:
  Group(uintptr_t rendezvous, int rank, int size, const std::string& bind_address,
        std::chrono::milliseconds timeout, c10::Device device);

  // Wakes every waiting collective, here and, as sockets close, on the peers.
  void abort(const std::string& why);

  // Runs a collective (or what contains some). Whatever it throws ends the
  // group: its sockets are closed at once, so that no other rank waits for
  // this one, and the error tells a lost peer, a timeout and an abort apart.
  void collective(const std::function<void()>& body, tdm_code fallback = TDM_ERROR);

  const c10::intrusive_ptr<c10d::ProcessGroup>& handle() const { return pg_; }
  c10::Device device() const { return device_; }

 private:
  void signal(const std::string& why);

  c10::intrusive_ptr<c10d::ProcessGroup> pg_;
  std::function<void(const std::string&)> signal_;
  std::atomic<bool> aborted_{false};
  std::mutex mutex_; // guards why_ and signal_
  std::string why_;
  c10::Device device_;
};

} // namespace tandem

struct tdm_group {
  std::shared_ptr<tandem::Group> group;
};
