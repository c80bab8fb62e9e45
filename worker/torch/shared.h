// What the ranks of one host share: a segment of memory through which they
// add up and pass on values.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tandem {

enum class Element { kFloat, kDouble, kInt, kLong };
constexpr size_t kMaxSharing = 64;

// Names the host: ranks with the same name can share. Empty, with a reason, where this process cannot.
std::string host_name(std::string* reason);

// A segment that lies in no folder: it is behind a file descriptor that the others
// get opened, so nothing is left over when the processes are gone.
int new_segment(const char* name);

// One rank's hold on a segment. Collectives are called by one thread at a time
// in the same order on every rank; leave may come from any thread.
class Shared {
 public:
  struct Member {
    int rank;
    pid_t pid;
    int fd; // of its segment; the first member's is the one that is used
  };

  // Opens a member's segment, or throws.
  using Open = std::function<int(const Member&)>;

  // index is this rank's place in members, which go by rank. Throws
  // TDM_PEER_LOST when a member is gone, another error when it cannot share.
  Shared(std::vector<Member> members, size_t index, std::chrono::milliseconds timeout,
         const Open& open);
  ~Shared();
  Shared(const Shared&) = delete;

  // Sums over the members, added in the order of their ranks: the same bits on
  // each. put is called when this rank's part can be seen and no result is there.
  void all_reduce(void* data, size_t n, Element type, const std::function<void()>& put);
  // Gives each member so many bytes of memory that all of them see; all ask for
  // the same. Where one asks for none, or cannot have them, nobody gets any. What
  // was taken before stays as it is, and is no longer in place. Collective.
  void lay_out(size_t bytes);
  // The next of this member's bytes, null where they do not suffice. Members
  // that take the same sizes in the same order get the same places.
  std::shared_ptr<uint8_t> take(size_t bytes);
  size_t taken() const;
  // Whether data is of what this member took.
  bool in_place(const void* data) const;
  // all_reduce where data is in place on every member, without a copy.
  void all_reduce_in_place(void* data, size_t n, Element type, const std::function<void()>& put);
  // Everyone gets the bytes of the member at place from.
  void broadcast(void* data, size_t bytes, size_t from);

  // Ends the waiting of this rank, now and later, and that of the others.
  void leave();

 private:
  struct Line;
  struct Space;
  uint8_t* slot(size_t member) const;
  void meet();
  Line& line(size_t member) const;
  void wait_for(size_t member);
  void look_after(std::chrono::steady_clock::time_point since);

  std::vector<Member> members_;
  std::vector<int> watches_; // a pidfd each
  size_t index_;
  std::chrono::milliseconds timeout_;
  int fd_ = -1;
  size_t bytes_ = 0; // of the lines and slots
  uint8_t* base_ = nullptr;
  size_t file_bytes_ = 0; // of the whole segment
  std::shared_ptr<Space> space_; // null where no memory was laid out
  std::chrono::microseconds spin_;
  uint32_t round_ = 0; // meetings so far, modulo 2^32
  uint64_t turn_ = 0;  // slots used so far
  std::atomic<bool> left_{false};
};

} // namespace tandem
