#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "native/attach/forward-answers.h"
#include "native/attach/forward-match.h"
#include "native/attach/forward-queue.h"
#include "native/bpf/image.h"
#include "native/bpf/ring.h"
#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/flow-key.h"
#include "native/packet/status.h"
#include "native/table/table-view.h"

namespace sluice {

// The compiled table at the kernel's forward hook, for all that this network namespace routes or
// bridges: native/bpf/programs/forward.h judges, this class loads it, writes tables and reads what
// was counted. How the hook gets to the judge is a ForwardHook; see forward-match.h for those that
// are not a program at the hook itself.
//
// What is attached stays when the process ends, and goes on judging by its last table: it is pinned
// in a folder of a bpf file system. A later process, of another version too, finds it there, and
// exchanges the judges by one store each; the hooks themselves are detached only by remove(), and
// when another ForwardHook has taken their place. ForwardHook Nfqueue alone judges in this process:
// without one, nothing passes.
//
// Threads: publish() and settle() from one thread at a time; drain(), drainDroppedFrames(),
//          setClosed() and keepPodRanges() from one other, setClosed() not during publish(); the
//          rest from any.
class ForwardFilter {
 public:
  // Opens what is pinned in the folder, or makes it. Nothing is attached yet, and what is attached
  // already goes on as before. The kernel is asked whether it takes all that attach() and publish()
  // will want. `deny`: whether senders of what policy denies are answered, by ForwardHook Netfilter
  // alone, from the first table on and as long as this lives.
  //
  // Owner:  holds a lock on the folder as long as it lives: two processes would judge by each
  //         other's tables.
  // Errors: System: "flock" (EWOULDBLOCK: another process holds it), "mkdir", "statfs" (EINVAL: the
  // folder is in no bpf file system), "BPF_…" (EPERM
  //         without CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN), "open /sys/kernel/btf/vmlinux" where
  //         the kernel has no type information; Argument when its connection tracking has another
  //         shape. "BPF_PROG_LOAD" and putMatchRules() otherwise, where the kernel lacks the hook.
  //         As ForwardAnswers::open().
  static Status open(const std::string& folder, ForwardHook hook, Deny deny,
                     std::unique_ptr<ForwardFilter>* filter) noexcept;
  ForwardFilter(const ForwardFilter&) = delete;
  ForwardFilter& operator=(const ForwardFilter&) = delete;

  // Checks a table and puts it in force, for all packets from the next one on.
  //
  // Shape:  any alignment.
  // Cost:   a copy and a check of the blob; a grace period of the kernel (some 10 ms) before,
  //         unless settle() has been called since the last table.
  // Errors: as TableView::open() and open(); the table in force stays.
  Status publish(std::span<const std::byte> blob, uint32_t generation) noexcept;
  // The same with the table in force, but for these lines.
  //
  // Cost:   the lines, as TableView::rewrite(), where settle() has been called since the last
  //         table; else a grace period and a copy, too.
  // Errors: as publish(), and Argument before the first one.
  Status publishLines(const TableLines& lines, uint32_t generation) noexcept;
  // Waits until no program reads the table before the one in force any more, and makes that one
  // like the one in force, so that the next one does not have to wait for either.
  void settle() noexcept;

  // Attaches what is not attached yet, for IPv4 and IPv6, to this process's network namespace. What
  // the folder keeps attached to another one, which was left, is detached.
  //
  // Errors: System, "BPF_LINK_CREATE"; as putMatchRules() and ForwardQueue::open().
  Status attach() noexcept;
  // Whether both families are attached: somebody may have removed them.
  [[nodiscard]] bool isAttached() const noexcept;

  // Where an address that no local endpoint of the table has passes nothing: at most four ranges of
  // each family, as ForwardControl has them. `closesLink`: addresses for a link alone pass nothing
  // either. Kept for later tables.
  void setClosed(std::span<const uint32_t> v4, std::span<const uint32_t> v6,
                 bool closesLink) noexcept;

  struct PodRanges {
    std::array<uint32_t, std::size(ForwardControl{}.podRangesV4)> v4;
    std::array<uint32_t, std::size(ForwardControl{}.podRangesV6)> v6;
    bool operator==(const PodRanges&) const = default;
  };
  // Keeps the node's ranges for later processes, whether they are closed or not. Shape: as
  // setClosed(). Errors: System of the map.
  Status keepPodRanges(std::span<const uint32_t> v4, std::span<const uint32_t> v6) noexcept;
  // Those that were kept last, by an earlier process too.
  [[nodiscard]] const PodRanges& podRanges() const noexcept { return podRanges_; }

  // From now on, unless this is called again within `forNs`, nothing passes to and from local
  // endpoints, whether this process lives or not; those of setOpenPods() pass everything. 0: the
  // table goes on judging.
  void renewLease(uint64_t forNs) noexcept;

  // An address as a key of the programs: its family and its words in the order of memory.
  using OpenPod = std::array<uint32_t, 5>;
  // The addresses that are open when the lease is over; others are closed, and so are those beyond
  // some thousands. Errors: System, "BPF_MAP_…"; less may then be open than wanted, and never more.
  Status setOpenPods(std::span<const OpenPod> pods) noexcept;

  // The sum over all processors, also from before this process.
  Status readCounters(ForwardCounters* counters) const noexcept;

  // Copies the oldest events out and frees their places; returns how many.
  size_t drain(std::span<FlowEvent> into) noexcept;

  // Whether the first bytes of what is dropped, here and by SourceGuards, are kept from now on, as
  // FrameRing::ask(). An earlier process's wish ends with open().
  void askForDroppedFrames(bool wanted) noexcept;
  // As drain(). At the hook a packet has no Ethernet header: it is zero but for the protocol.
  size_t drainDroppedFrames(std::span<DroppedFrame> into) noexcept;
  // Bytes that all events so far have taken: it changes when there is something to drain.
  [[nodiscard]] uint64_t pushed() const noexcept { return eventRing_.pushed(); }

  // Answers that were sent.
  [[nodiscard]] uint64_t rejects() const noexcept {
    return answers_ == nullptr ? 0 : answers_->sent();
  }

  // What the table in force says of a connection.
  struct Standing {
    uint32_t generation = 0;
    DeniedBy audited = 0;  // the sides that would deny it if audited policies were enforced
  };
  // False when neither end is a local endpoint, and before the first table.
  [[nodiscard]] bool findStanding(const FlowKey& connection, Standing* standing) const noexcept;

  // Runs the judge once on a packet, from its IP header on, that belongs to no connection.
  // Errors: Argument before the first table; System, "BPF_PROG_TEST_RUN".
  Status judgeOnce(std::span<const std::byte> packet, bool* passes) noexcept;

  // Leaves the folder, with what it keeps attached, to another process: nothing is published from
  // now on.
  void leave() noexcept {
    queue_.reset();  // the next process takes the queues; until then nothing passes them
    answers_.reset();
    lock_.reset();
  }

  // Detaches what is pinned in a folder and removes the folder; it may be absent.
  // Errors: System, "flock" as open(), "unlink", "rmdir".
  static Status remove(const std::string& folder) noexcept;

 private:
  // Two tables of one size, which of them is in force, and the programs that read them.
  struct Tables {
    Descriptor tables;
    Descriptor control;
    Descriptor judges[2];
    MappedMemory tableMemory;
    MappedMemory controlMemory;
    TableView views[2];  // of what was written last
    size_t bytes = 0;    // of one table
    size_t written = 0;  // of the one in force
    // Where the idle one differs from it.
    std::vector<uint32_t> behind;
    bool isOther = true;  // in any number of lines

    [[nodiscard]] std::span<std::byte> table(uint32_t which) const noexcept {
      return {tableMemory.data() + which * bytes, written};
    }
    [[nodiscard]] uint32_t idle() const noexcept {
      return (static_cast<uint32_t>(inForce().load()) & 1) ^ 1;
    }
    [[nodiscard]] ForwardControl* settings() const noexcept {
      return reinterpret_cast<ForwardControl*>(controlMemory.data());
    }
    [[nodiscard]] std::atomic_ref<uint64_t> leaseEndNs() const noexcept {
      return std::atomic_ref<uint64_t>(settings()->leaseEndNs);
    }
    [[nodiscard]] std::atomic_ref<uint64_t> inForce() const noexcept {
      return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(controlMemory.data()));
    }
  };

  [[nodiscard]] uint64_t leaseEndNs() const noexcept;
  // Kernel structures as the programs want them.
  struct Shapes {
    uint32_t skbConntrack;
    uint32_t skbLength;
    uint32_t skbKind;
    uint32_t conntrackType;
    uint32_t conntrackStatus;
    uint32_t originalTuple;
    uint32_t replyTuple;
    uint32_t castFunction;
    uint32_t dynptrFunction;
    uint32_t sliceFunction;
  };

  ForwardFilter(std::string folder, ForwardHook hook) : folder_(std::move(folder)), hook_(hook) {}
  Status prepare(Deny deny) noexcept;
  // Loads the programs for tables of the least size, and shows the kernel the rules.
  Status tryHook() noexcept;
  [[nodiscard]] const char* judgesName() const noexcept {
    return hook_ == ForwardHook::Netfilter ? "judges" : "match-judges";
  }
  Status loadJudges(std::span<const BpfSymbol> symbols, Tables* tables) noexcept;
  Status attachLinks() noexcept;
  Status attachMatch() noexcept;
  Status readShapes() noexcept;
  Status makeAnswers(Deny deny) noexcept;
  Status makeTables(size_t bytes, std::unique_ptr<Tables>* tables) noexcept;
  static Status writeTable(Tables& tables, uint32_t which,
                           std::span<const std::byte> blob) noexcept;
  // Makes the idle table like the one in force.
  static void catchUp(Tables& tables) noexcept;
  // The names of the links' pins, by family.
  static Status linkNames(std::vector<std::string>* names) noexcept;
  [[nodiscard]] std::string path(const char* name) const { return folder_ + "/" + name; }

  std::string folder_;
  ForwardHook hook_;
  Descriptor lock_;
  size_t processors_ = 0;   // that the machine could have: so many values of each counter
  bool isSettled_ = true;   // nobody reads the idle table
  bool isNewSlot_ = false;  // links that are pinned already have another one
  Shapes shapes_ = {};
  Descriptor counters_;
  Descriptor events_;
  Descriptor frames_;        // the ring of DroppedFrames
  Descriptor framesWanted_;  // whether there is who wants to see them
  Descriptor judges_;
  Descriptor roots_[MATCH_ROOTS];        // what rules or the queue run
  bool isAlone_ = false;                 // what another hook had attached is gone
  std::unique_ptr<ForwardQueue> queue_;  // judges by roots_
  BpfRing eventRing_;
  BpfRing frameRing_;
  Descriptor refused_;       // the ring of RefusedPackets: of this process alone
  Descriptor answerShares_;  // what each pod has had of it
  std::unique_ptr<ForwardAnswers> answers_;
  Descriptor podRangesMap_;
  PodRanges podRanges_ = {};  // what that map has
  Descriptor openPods_;
  std::set<OpenPod> isOpenPod_;        // what that map has
  std::atomic<uint64_t> leaseNs_ = 0;  // 0: there is none
  ForwardControl settings_ = {};       // what a later set of tables begins with
  std::unique_ptr<Tables> tables_;
  std::unique_ptr<Tables> spare_;  // loaded to see whether the kernel takes them: for a first table
  // Held by findStanding() while it reads, and by publish() while it changes which table that is.
  mutable std::mutex swap_;
};

}  // namespace sluice
