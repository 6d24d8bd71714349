#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "native/conntrack/conn-table.h"
#include "native/conntrack/fragment-table.h"
#include "native/conntrack/saved-connection.h"
#include "native/conntrack/tcp-track.h"
#include "native/host/grace-periods.h"
#include "native/layout/layout.gen.h"
#include "native/packet/frame.h"
#include "native/packet/packet-view.h"
#include "native/packet/status.h"
#include "native/table/table-slot.h"

namespace sluice {

class ExemptGate;
class OwnConnections;

struct FilterOptions {
  uint32_t connectionsMax = CONNECTIONS_DEFAULT_MIN;
  uint32_t connectionsPerEndpoint = 0;        // at most; 0: an equal share
  uint32_t fragmentsMax = FRAGMENTS_DEFAULT;  // datagrams in flight in fragments
  Established established = Established::Recheck;
  bool loose = false;                       // an ACK may open a connection whose start was not seen
  std::array<uint64_t, 2> hashSecret = {};  // random: remote peers choose the keys
  const OwnConnections* own = nullptr;      // outlives the filter; nullptr: none passes unjudged
};

// Which connections to save.
enum class Saved : uint8_t {
  All,      // for a successor that continues at once
  Lasting,  // for a process started later, also after a crash: connections whose two ends are known
            // to be there, and that are not over. Their windows may be old by then: unknown.
};

// The reason of a denial, the sender's side first.
[[nodiscard]] constexpr DropReason policyReason(DeniedBy deniedBy) noexcept {
  return (deniedBy & DENIED_BY_EGRESS) != 0 ? DropReason::PolicyEgress : DropReason::PolicyIngress;
}

enum class LinkRole : uint8_t {
  Endpoint,  // one endpoint is behind it: its addresses and its MAC, nobody else's
  Uplink,    // everything beyond the node's own endpoints
  Watched,   // an interface whose frames, both ways, are only observed and never held up
};

// The link that a frame arrived on. The worker makes one context for each link, and makes it again
// after a table swap.
struct LinkContext {
  uint32_t linkId = 0;
  uint32_t endpointId = NONE;  // Endpoint: its own; Uplink of a wire: the pod; others: NONE
  LinkRole role = LinkRole::Endpoint;
  bool wire = false;    // frames leave by one other link, whatever their destination
  uint8_t zone = 0;     // of this link's connections: each wire sees a network of its own
  bool hasMac = false;  // whether `mac` is known
  MacAddress mac = {};  // Endpoint: its own; Uplink of a wire: the endpoint's behind the wire
  bool routerAdvertisements = false;   // Uplink of a wire: they may pass
  uint16_t owner = ConnTable::NOBODY;  // the owner of its connections; Uplink of a switch: NOBODY
};

enum class FrameKind : uint8_t {
  Unicast,    // IP to one address, or ARP
  Multicast,  // IP to a group or the limited broadcast
};

// The filter's verdict on one frame.
struct Judgement {
  DropReason reason = DropReason::None;  // None: pass
  FrameKind kind = FrameKind::Unicast;
  ExemptKind exempt = ExemptKind::None;  // not None: it passes and no policy judged it
  DeniedBy deniedBy = 0;                 // which sides deny, when `reason` is a policy's
  DeniedBy auditedBy = 0;   // it passes, and audited policies would have denied it: from now on.
                            // Watched: it passes, and policy denies it
  bool rejectable = false;  // a policy denies it, and its sender may get an answer
  // For a TCP segment of an unknown connection that the table allows: these ends may get a reset.
  bool resetsSender = false;
  bool resetsReceiver = false;
  bool opened = false;        // a connection was made
  bool cut = false;           // a connection was removed: the new table denies it
  uint8_t tcpFlags = 0;       // 0 when not TCP
  uint16_t icmpTypeCode = 0;  // type << 8 | code; 0 when not ICMP
  uint32_t frameBytes = 0;
  uint32_t destinationEndpoint = NONE;
  // Family 0 when there was no IP header to read; ARP: see PacketView. When a connection was cut,
  // or is audited from now on, this is the key of its first packet.
  FlowKey key = {};

  [[nodiscard]] bool passes() const noexcept { return reason == DropReason::None; }
};

// A counter with one writer. Any thread may read it at any time.
class Counter {
 public:
  void add(uint64_t amount) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

struct FilterCounters {
  Counter passed;
  std::array<Counter, DROP_REASON_COUNT> dropped;  // by DropReason
  Counter opened;
  Counter closed;  // timed out, or opened again; up to date after expire()
  Counter cut;     // denied by a newer table
  std::array<Counter, EXEMPT_KIND_COUNT> exempt;  // passed without a policy's judgement
  Counter audited;  // connections, and packets of none, that only audit mode lets pass
};

// A connection that was removed because a newer table denies it; its state at that time.
struct CutConn {
  FlowKey key;  // of its first packet
  DeniedBy deniedBy = 0;
  bool swept = false;  // found by sweep(), without a packet
  uint8_t opener = 0;  // index of the end that sent that packet
  ConnState state = ConnState::None;
  std::array<TcpEnd, 2> tcp = {};                   // TCP: what each end has sent
  std::array<uint32_t, 2> endpoint = {NONE, NONE};  // of each end, by the newer table
};

// Judges frames: whether each passes, and the reason when it is dropped. Holds the connections and
// fragments of one worker. The worker forwards.
//
// Threads: one; counters() may be read from any.
// Cost:    create() allocates all memory; after that nothing allocates, locks or calls the system.
// Source:  docs/architecture.md; RFC 1858, 4443, 4890, 5508, 5722, 5961, 6105, 8200, 9293.
class Filter {
 public:
  // Errors: what ConnTable::create and FragmentTable::create return; Limit when there is no memory.
  static Status create(const FilterOptions& options, std::unique_ptr<Filter>* filter) noexcept;
  ~Filter();

  // Judges `frame`, which arrived on `from`. A dropped frame changes no state, with one exception:
  // a connection that the table in force denies is removed.
  //
  // Watched links: every packet passes, whatever policy says. A denied connection is entered in the
  // table, and its `auditedBy` names the sides that deny it. There is no source guard.
  //
  // Units: `nowUs` never goes back.
  [[nodiscard]] Judgement judge(const Frame& frame, const LinkContext& from,
                                const TableInForce& table, uint64_t nowUs) noexcept;

  // Judges a batch from one link. The judgements and the filter's state afterwards are the same as
  // if judge() had judged the frames one after the other. A batch is faster: its cache misses and
  // mispredicted branches overlap.
  //
  // Shape: BATCH_FRAMES_MAX frames at most, as many judgements.
  void judgeBatch(std::span<const Frame> frames, const LinkContext& from, const TableInForce& table,
                  uint64_t nowUs, Judgement* judgements) noexcept;

  // With Established::Cut, looks at the next few connections and judges again those that an older
  // table judged. With offload(), admits those that it still allows. False when the sweep is
  // complete.
  bool sweep(const TableInForce& table, uint64_t nowUs) noexcept;

  // Connections cut since forgetCut(). There is room for those of one batch and one sweep().
  [[nodiscard]] std::span<const CutConn> cut() const noexcept { return {cut_.data(), cutCount_}; }
  void forgetCut() noexcept { cutCount_ = 0; }

  // Removes connections that have timed out among the next `steps` entries of the table; returns
  // how many. Call it once a batch.
  size_t expire(uint64_t nowUs, size_t steps) noexcept;

  // Connections that have ended since forgetClosed(), for any cause. There is room for those of one
  // batch and one expire() of as many steps.
  [[nodiscard]] std::span<const ClosedConn> closed() const noexcept {
    return connections_.closed();
  }
  void forgetClosed() noexcept { connections_.forgetClosed(); }

  // Lists connections from place `*place` of the table on: at most `steps` places, and as many as
  // fit in `records`. Advances `*place`; returns the number of records written.
  size_t list(uint64_t nowUs, size_t steps, std::span<ConnectionRecord> records,
              uint32_t* place) noexcept;
  // The same for saving: writes those connections that `which` selects.
  size_t save(Saved which, uint64_t nowUs, size_t steps, std::span<SavedConnection> into,
              uint32_t* place) noexcept;
  // Loads a saved connection from any bytes; false when restoreConn() refuses them.
  bool load(const SavedConnection& saved, uint32_t generationMax, uint64_t nowUs,
            const ConnCharge& charge = {}) noexcept {
    return restoreConn(saved, charge, generationMax, nowUs, &connections_);
  }
  // Adds what the connections from place `*place` of the table on have carried to their hits: at
  // most `steps` places. Advances `*place`.
  void tally(size_t steps, uint32_t* place) noexcept;
  // See HitTable. What connections carry is in it when they end, or after tally().
  size_t readHits(uint64_t nowUs, size_t steps, std::span<HitRecord> records) noexcept {
    return connections_.hits().read(nowUs, steps, records);
  }
  // Threads: any.
  [[nodiscard]] uint32_t hitsWaiting() const noexcept { return connections_.hits().waiting(); }
  // The connection of a frame that has just been judged, or nullptr.
  [[nodiscard]] const ConnEntry* connectionOf(const ConnName& name, uint64_t nowUs) noexcept {
    return find(name, connections_.hintOf(name), nowUs);
  }
  // Moves the connections to memory that eBPF programs read, see ConnTable::share(), so that
  // programs pass packets of those wires that offload() names.
  Status share(const ConnMemory& memory, GracePeriods* periods) noexcept;
  // Lets programs pass the connections of the wire with this zone. The contexts, of its two links,
  // stay where they are until it is told otherwise; nullptr: they pass none any more.
  void offload(uint8_t zone, const LinkContext* inside, const LinkContext* outside) noexcept;
  // See ConnTable.
  size_t reclaim() noexcept { return connections_.isShared() ? connections_.reclaim() : 0; }

  // Removes the connection of this name; false when it is not there.
  bool forget(const ConnKey& key, uint64_t nowUs) noexcept;

  // Makes the endpoint behind a link an owner of connections. Returns the number for
  // LinkContext::owner.
  uint16_t attachOwner(uint32_t linkId) noexcept;
  // Ends that. Of a link without a number, it forgets the unfinished datagrams that are nobody's.
  void detachOwner(uint32_t linkId, uint64_t nowUs) noexcept;
  // Threads: any.
  [[nodiscard]] OwnerUse useOf(uint16_t owner) const noexcept { return connections_.use(owner); }
  [[nodiscard]] FragmentUse fragmentUseOf(uint16_t owner) const noexcept {
    return fragments_.use(owner);
  }
  [[nodiscard]] uint32_t quota() const noexcept { return connections_.quota(); }
  [[nodiscard]] uint64_t evicted(ConnClass each) const noexcept {
    return connections_.evicted(each);
  }
  // Datagrams that gave way to new ones before they were whole. Threads: any.
  [[nodiscard]] uint64_t fragmentsEvicted() const noexcept { return fragments_.evicted(); }

  // Places of the table that have ever been used: list(), save() and sweep() go so far.
  [[nodiscard]] uint32_t placesUsed() const noexcept { return connections_.placesUsed(); }
  [[nodiscard]] uint32_t connectionsMax() const noexcept { return connections_.entriesMax(); }
  [[nodiscard]] uint32_t connectionCount() const noexcept { return connections_.size(); }
  [[nodiscard]] const FilterCounters& counters() const noexcept { return counters_; }
  // Packets of unknown connections so far: a measure of work, not of verdicts. Threads: the
  // filter's.
  [[nodiscard]] uint64_t lookedUp() const noexcept { return lookedUp_; }

 private:
  static constexpr size_t SWEEP_STEPS = 512;
  static constexpr size_t SWEEP_CUTS = 64;
  static constexpr size_t CUTS_MAX = BATCH_FRAMES_MAX + SWEEP_CUTS;

  struct Ends;
  struct Foreseen;
  struct Batch;
  // The links of a wire whose connections programs may pass.
  struct Offloaded {
    const LinkContext* inside = nullptr;
    const LinkContext* outside = nullptr;
  };

  // The step that a frame needs after it has been read.
  enum class Next : uint8_t {
    Unread,    // it could not be read as a packet: it has no key either
    Nothing,   // the judgement is final
    Fragment,  // a later fragment: follows its datagram's first
    First,     // a first fragment: if it passes, later ones may follow
    Related,   // an ICMP error about another packet
    Exempt,    // a link-local control message; policy judges it only when it is out of place
    Tracked,   // a packet of a connection
  };

  Filter(const FilterOptions& options, ConnTable&& connections, FragmentTable&& fragments,
         std::unique_ptr<Batch> batch, std::unique_ptr<ExemptGate> exempt) noexcept;

  // Reading depends on the frame, its link and the table, never on the state that earlier frames
  // left. So a whole batch may be read before any frame of it is finished.
  static Next read(const Frame& frame, const LinkContext& from, const TableInForce& table,
                   PacketView& view, Judgement& judgement) noexcept;
  static Next readIp(const Frame& frame, const LinkContext& from, const TableInForce& table,
                     PacketView& view, Judgement& judgement) noexcept;
  static Next judgeMessage(const PacketView& view, DropReason found, bool guarded,
                           const LinkContext& from, const TableInForce& table,
                           Judgement& judgement) noexcept;
  void foresee(size_t tracked, const TableInForce& table) noexcept;
  // The connection of this name, or nullptr.
  [[nodiscard]] ConnEntry* find(const ConnName& name, const ConnHint& hint,
                                uint64_t nowUs) noexcept {
    ConnEntry* const entry = connections_.find(name, hint, nowUs);
    if (entry == nullptr || entry->shared == 0) [[likely]]
      return entry;
    if (connections_.renew(*entry, nowUs)) return entry;
    connections_.removeOver(*entry);
    return nullptr;
  }
  void finish(Next next, const Frame& frame, const PacketView& view, const Foreseen& foreseen,
              const LinkContext& from, const TableInForce& table, uint64_t nowUs,
              Judgement& judgement) noexcept;

  void judgeExempt(const PacketView& view, const LinkContext& from, const TableInForce& table,
                   uint64_t nowUs, Judgement& judgement) noexcept;
  void judgeRelated(const PacketView& view, const LinkContext& from, const TableInForce& table,
                    uint64_t nowUs, Judgement& judgement) noexcept;
  void admitFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                  uint64_t nowUs, const FragmentVerdict& verdict, Judgement& judgement) noexcept;
  void checkFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                  uint64_t nowUs, Judgement& judgement) noexcept;
  void noteFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                 uint64_t nowUs, const FragmentVerdict& verdict,
                 const Judgement& judgement) noexcept;
  [[nodiscard]] bool allowsForgotten(const PacketView& view, const TableInForce& table,
                                     uint64_t nowUs) const noexcept;
  void judgeTracked(const PacketView& view, const Foreseen& foreseen, const LinkContext& from,
                    const TableInForce& table, uint64_t nowUs, Judgement& judgement) noexcept;
  void judgeTcp(const PacketView& view, const Foreseen& foreseen, ConnEntry& entry,
                const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                Judgement& judgement) noexcept;
  [[nodiscard]] TcpOutcome trackShared(ConnEntry& entry, uint8_t sender,
                                       const TcpSegment& segment) noexcept;
  [[nodiscard]] bool isAlive(ConnEntry& entry, uint64_t nowUs) noexcept;
  void admit(ConnEntry& entry, const TableInForce& table, uint64_t nowUs) noexcept;
  void admitAgain(ConnEntry& entry, const TableInForce& table, uint64_t nowUs) noexcept;
  void judgeUntracked(const PacketView& view, const Foreseen& foreseen, const Ends& ends,
                      const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                      Judgement& judgement) noexcept;
  static void resetEnds(const PacketView& view, const Ends& ends, const LinkContext& from,
                        const TableInForce& table, Judgement& judgement) noexcept;
  void judgeNew(const PacketView& view, const Foreseen& foreseen, ConnEntry* old, const Ends& ends,
                const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                Judgement& judgement) noexcept;
  void judgeLaterFragment(const PacketView& view, const LinkContext& from,
                          const TableInForce& table, uint64_t nowUs, Judgement& judgement) noexcept;
  [[nodiscard]] bool keepsVerdict(const ConnEntry& entry) const noexcept;
  bool recheck(ConnEntry& entry, const TableInForce& table, Judgement& judgement) noexcept;
  void allowBy(ConnEntry& entry, const Ends& ends, const FlowKey& key,
               const TableInForce& table) noexcept;
  void countFor(ConnEntry& entry, const Ends& ends, const FlowKey& key,
                const TableInForce& table) noexcept;
  void countMessage(Next next, const Judgement& judgement, const TableInForce& table,
                    uint64_t nowUs) noexcept;
  void countDenied(Next next, const Foreseen& foreseen, const Judgement& judgement,
                   const TableInForce& table, uint64_t nowUs) noexcept;
  void countStateless(const Ends& ends, const Judgement& judgement, const TableInForce& table,
                      uint64_t nowUs) noexcept;
  [[nodiscard]] bool isOwn(const FlowKey& key) const noexcept;
  void letOwnPass(const PacketView& view, Judgement& judgement) const noexcept;
  [[nodiscard]] ConnCharge chargeOf(const LinkContext& from, uint32_t destination, uint8_t sender,
                                    const TableInForce& table) const noexcept;
  [[nodiscard]] uint16_t ownerOf(const LinkContext& from, uint32_t destination,
                                 const TableInForce& table) const noexcept;

  FilterOptions options_;
  ConnTable connections_;
  FragmentTable fragments_;
  FilterCounters counters_;
  uint64_t lookedUp_ = 0;
  uint64_t timedOutSeen_ = 0;
  uint32_t sweptGeneration_ = 0;  // of the table whose sweep is running or done
  uint32_t sweepPlace_ = 0;
  size_t cutCount_ = 0;
  std::array<CutConn, CUTS_MAX> cut_ = {};
  std::array<uint16_t, LINKS_MAX> ownerByLink_ = {};
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<ExemptGate> exempt_;
  std::unique_ptr<std::array<Offloaded, 256>> offloaded_;  // by zone; nullptr: there are none
};

}  // namespace sluice
