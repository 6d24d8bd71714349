#include "native/worker/filter.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "native/conntrack/tcp-track.h"
#include "native/packet/neighbor.h"
#include "native/packet/quote.h"
#include "native/packet/reject.h"
#include "native/worker/exempt-gate.h"
#include "native/worker/own-connections.h"
#include "native/worker/source-guard.h"

namespace sluice {
namespace {

static_assert(ESTABLISHED_COUNT == 3, "recheck() and sweep() have an answer for each mode");

// Frames whose headers are prefetched while one is read.
constexpr size_t FRAMES_AHEAD = 8;

// Whether both ends of a connection may still send after a pause.
bool isLasting(const ConnEntry& entry) {
  if ((entry.flags & ConnEntry::UNREPLIED) != 0) return false;
  switch (entry.protocol()) {
    case PROTOCOL_TCP:
      return entry.state == ConnState::Established || entry.state == ConnState::FinWait ||
             entry.state == ConnState::CloseWait;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
      return false;
    default:
      return true;
  }
}

void deny(DeniedBy deniedBy, Judgement& judgement) {
  judgement.deniedBy = deniedBy;
  judgement.reason = policyReason(deniedBy);
}

// Whether the sender of a packet that policy denies may get an answer.
bool isRejectable(const PacketView& view, const Judgement& judgement) {
  return judgement.kind == FrameKind::Unicast && isAnswerable(view);
}

// Reports a connection that a newer table audits, on its first packet that passes. A dropped packet
// is reported as a drop, and a sweep has no packet. A watched connection is reported on every
// packet.
void noteAudit(ConnEntry& entry, const LinkContext& from, Judgement& judgement) {
  if ((entry.flags & ConnEntry::AUDIT_UNREPORTED) == 0) return;
  if (from.role != LinkRole::Watched) entry.changeFlags(ConnEntry::AUDIT_UNREPORTED, 0);
  judgement.auditedBy = entry.auditedBy;
  judgement.key = originalKeyOf(entry);
}

// Gives a connection its time, from a packet of an end on.
void keepAlive(ConnEntry& entry, uint8_t sender, uint64_t nowUs) {
  entry.expiresUs = nowUs + timeoutOf(entry);
  if (entry.shared != 0) [[unlikely]] {
    __atomic_store_n(&entry.ends[sender].seenUs, nowUs, __ATOMIC_RELAXED);
  }
}

// Whether programs know what moves a connection on, and have its numbers.
bool isOffloadable(const ConnEntry& entry) {
  switch (entry.protocol()) {
    case PROTOCOL_TCP:
      return entry.state != ConnState::Close && isHeard(entry);
    case PROTOCOL_UDP:
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
    case PROTOCOL_SCTP:
      return true;
    default:
      return false;
  }
}

// The ICMP errors that report the fate of a packet to its sender. Redirects and source quench would
// steer the sender instead, and nobody sends them any more (RFC 6633, RFC 1812 section 5.2.7.2).
bool reportsFate(const PacketView& view) {
  if (view.key.family == 6) return view.icmpType >= 1 && view.icmpType <= 4;
  return view.icmpType == 3 || view.icmpType == 11 || view.icmpType == 12;
}

}  // namespace

// The table's leaves and endpoints for both ends of a packet.
struct Filter::Ends {
  uint32_t sourceLeaf;
  uint32_t destinationLeaf;
  uint32_t source;       // local endpoint, or NONE
  uint32_t destination;  // the same

  Ends(uint32_t sourceLeaf_, uint32_t destinationLeaf_, const TableView& view) noexcept
      : sourceLeaf(sourceLeaf_),
        destinationLeaf(destinationLeaf_),
        source(view.leaf(sourceLeaf_).endpointId),
        destination(view.leaf(destinationLeaf_).endpointId) {}

  Ends(const FlowKey& key, const TableView& view) noexcept
      : Ends(view.leafOf(key.source.data(), key.family),
             view.leafOf(key.destination.data(), key.family), view) {}

  // The sides that only audited policies deny: the packet passes.
  [[nodiscard]] DeniedBy auditedBy(const TableView& view, uint8_t protocol,
                                   uint16_t port) const noexcept {
    return view.hasAudit() ? view.audit(sourceLeaf, destinationLeaf, protocol, port) : DeniedBy{0};
  }

  // What decides a packet of this key. Where no rule denies, a denial does not depend on the port.
  [[nodiscard]] HitKey hitKey(const FlowKey& key, DeniedBy deniedBy, DeniedBy auditedBy,
                              const TableInForce& table) const noexcept {
    const bool byDefault = deniedBy != 0 && !table.view.hasDenyRules();
    const uint32_t port = byDefault ? TableView::slotPort(0, 0)
                                    : TableView::slotPort(key.protocol, key.destinationPort);
    return {table.generation, sourceLeaf, destinationLeaf,
            port | uint32_t{deniedBy} << HitKey::DENIED_SHIFT |
                uint32_t{auditedBy} << HitKey::AUDITED_SHIFT};
  }

  // The sides that deny a datagram between these ends, when no fragment of it has the transport
  // header.
  [[nodiscard]] DeniedBy denyDatagram(const TableView& view,
                                      const FragmentQuestion& question) const noexcept {
    const uint32_t from = question.isReply ? destinationLeaf : sourceLeaf;
    const uint32_t to = question.isReply ? sourceLeaf : destinationLeaf;
    return view.decide(from, to, question.protocol, question.port);
  }

  // Drops a packet from a link that cannot have this destination.
  void checkDestination(const LinkContext& from, const TableInForce& table,
                        Judgement& judgement) const noexcept {
    if (from.role == LinkRole::Endpoint) {
      // An endpoint's traffic to itself never reaches a link: here it is forged.
      if (destination == from.endpointId) judgement.reason = DropReason::MartianSource;
    } else if (from.role == LinkRole::Uplink && !isHere(destination, from, table)) {
      if (from.wire) {
        deny(DENIED_BY_INGRESS, judgement);
      } else {
        judgement.reason = DropReason::NoDestination;
      }
    }
  }
};

// What can be computed for a packet before its turn: nothing that an earlier packet could change.
struct Filter::Foreseen {
  const ConnName* name;
  ConnHint hint;
  bool hasLeaves;  // the leaves have been looked up
  uint32_t sourceLeaf;
  uint32_t destinationLeaf;
};

struct Filter::Batch {
  template <typename Element>
  using PerFrame = std::array<Element, BATCH_FRAMES_MAX>;

  PerFrame<PacketView> views;
  PerFrame<Next> next;
  PerFrame<Foreseen> foreseen;
  // For tracked packets only: the frame, its connection's name, and where that is stored.
  PerFrame<uint8_t> frameOf;
  PerFrame<ConnName> names;
  PerFrame<ConnHint> hints;
  // For packets of unknown connections: the frame, IPv4 from the front and IPv6 from the back; and
  // the addresses of one family, sources first.
  PerFrame<uint8_t> unknown;
  std::array<uint32_t, 2 * BATCH_FRAMES_MAX> addressesV4;
  std::array<AddressBytes, 2 * BATCH_FRAMES_MAX> addressesV6;
  std::array<uint32_t, 2 * BATCH_FRAMES_MAX> leaves;
};

Filter::Filter(const FilterOptions& options, ConnTable&& connections, FragmentTable&& fragments,
               std::unique_ptr<Batch> batch, std::unique_ptr<ExemptGate> exempt) noexcept
    : options_(options),
      connections_(std::move(connections)),
      fragments_(std::move(fragments)),
      batch_(std::move(batch)),
      exempt_(std::move(exempt)) {}

Filter::~Filter() = default;

Status Filter::create(const FilterOptions& options, std::unique_ptr<Filter>* filter) noexcept {
  ConnTable connections;
  Status status = ConnTable::create(options.connectionsMax, options.hashSecret, &connections,
                                    options.connectionsPerEndpoint);
  if (!status.ok()) return status;
  FragmentTable fragments;
  status = FragmentTable::create(options.fragmentsMax, options.hashSecret, &fragments);
  if (!status.ok()) return status;
  std::unique_ptr<Batch> batch(new (std::nothrow) Batch);
  if (batch == nullptr) return {StatusCode::Limit};
  std::unique_ptr<ExemptGate> exempt;
  status = ExemptGate::create(options.hashSecret, &exempt);
  if (!status.ok()) return status;
  filter->reset(new (std::nothrow) Filter(options, std::move(connections), std::move(fragments),
                                          std::move(batch), std::move(exempt)));
  return *filter != nullptr ? Status{} : Status{StatusCode::Limit};
}

Judgement Filter::judge(const Frame& frame, const LinkContext& from, const TableInForce& table,
                        uint64_t nowUs) noexcept {
  Judgement judgement;
  PacketView view;
  const Next next = read(frame, from, table, view, judgement);
  Foreseen foreseen;
  ConnName name;
  if (next == Next::Tracked) {
    nameConn(view.key, view.icmpRole, view.icmpType, from.zone, &name);
    foreseen.name = &name;
    foreseen.hint = connections_.hintOf(name);
    foreseen.hasLeaves = false;
  }
  finish(next, frame, view, foreseen, from, table, nowUs, judgement);
  return judgement;
}

void Filter::judgeBatch(std::span<const Frame> frames, const LinkContext& from,
                        const TableInForce& table, uint64_t nowUs, Judgement* judgements) noexcept {
  Batch& batch = *batch_;
  size_t tracked = 0;
  for (size_t at = 0; at < frames.size(); ++at) {
    if (at + FRAMES_AHEAD < frames.size()) __builtin_prefetch(frames[at + FRAMES_AHEAD].bytes);
    Judgement& judgement = *new (&judgements[at]) Judgement;
    PacketView& view = batch.views[at];
    batch.next[at] = read(frames[at], from, table, view, judgement);
    if (batch.next[at] != Next::Tracked) continue;
    nameConn(view.key, view.icmpRole, view.icmpType, from.zone, &batch.names[tracked]);
    batch.frameOf[tracked] = static_cast<uint8_t>(at);
    ++tracked;
  }
  foresee(tracked, table);
  for (size_t at = 0; at < frames.size(); ++at) {
    finish(batch.next[at], frames[at], batch.views[at], batch.foreseen[at], from, table, nowUs,
           judgements[at]);
  }
}

// Prefetches the connections of a batch's tracked packets, and looks up the addresses of those that
// have none.
void Filter::foresee(size_t tracked, const TableInForce& table) noexcept {
  Batch& batch = *batch_;
  connections_.prepare({batch.names.data(), tracked}, batch.hints.data());
  // Unknown connections: IPv4 from the front of the list, IPv6 from its back.
  size_t countV4 = 0;
  size_t countV6 = 0;
  for (size_t at = 0; at < tracked; ++at) {
    const uint8_t frame = batch.frameOf[at];
    Foreseen& foreseen = batch.foreseen[frame];
    foreseen.name = &batch.names[at];
    foreseen.hint = batch.hints[at];
    foreseen.hasLeaves = false;
    if (foreseen.hint.likely != nullptr) {
      // What the ends have sent is in cache lines of their own.
      __builtin_prefetch(&foreseen.hint.likely->ends[0]);
      __builtin_prefetch(&foreseen.hint.likely->ends[1]);
    } else if (batch.views[frame].key.family == 4) {
      batch.unknown[countV4++] = frame;
    } else {
      batch.unknown[batch.unknown.size() - ++countV6] = frame;
    }
  }
  lookedUp_ += countV4 + countV6;
  const size_t firstV6 = batch.unknown.size() - countV6;
  for (size_t at = 0; at < countV4; ++at) {
    const FlowKey& key = batch.views[batch.unknown[at]].key;
    batch.addressesV4[at] = load32(key.source.data());
    batch.addressesV4[countV4 + at] = load32(key.destination.data());
  }
  for (size_t at = 0; at < countV6; ++at) {
    const FlowKey& key = batch.views[batch.unknown[firstV6 + at]].key;
    batch.addressesV6[at] = key.source;
    batch.addressesV6[countV6 + at] = key.destination;
  }
  const auto keep = [&batch](size_t first, size_t count) {
    for (size_t at = 0; at < count; ++at) {
      Foreseen& foreseen = batch.foreseen[batch.unknown[first + at]];
      foreseen.sourceLeaf = batch.leaves[at];
      foreseen.destinationLeaf = batch.leaves[count + at];
      foreseen.hasLeaves = true;
    }
  };
  table.view.leavesOfV4({batch.addressesV4.data(), 2 * countV4}, batch.leaves.data());
  keep(0, countV4);
  table.view.leavesOfV6({batch.addressesV6.data(), 2 * countV6}, batch.leaves.data());
  keep(firstV6, countV6);
}

Filter::Next Filter::read(const Frame& frame, const LinkContext& from, const TableInForce& table,
                          PacketView& view, Judgement& judgement) noexcept {
  judgement.reason = parsePacket(frame, &view);
  if (!judgement.passes()) return Next::Unread;
  judgement.frameBytes = frame.length;
  judgement.reason = guardEthernet(view, from);
  if (!judgement.passes()) return Next::Nothing;
  if (view.kind != PacketKind::Arp) return readIp(frame, from, table, view, judgement);
  judgement.reason = guardArp(view, from, table);
  if (judgement.passes() && isMisdirected(view, from)) judgement.reason = DropReason::L2Protocol;
  if (judgement.passes()) judgement.reason = checkOffload(frame, view);
  if (!judgement.passes()) return Next::Nothing;
  judgement.exempt = ExemptKind::Arp;
  return Next::Exempt;
}

Filter::Next Filter::readIp(const Frame& frame, const LinkContext& from, const TableInForce& table,
                            PacketView& view, Judgement& judgement) noexcept {
  if (isGroupAddress(view.key.destination, view.key.family)) {
    judgement.kind = FrameKind::Multicast;
  }
  if (isMisdirected(view, from)) {
    const Ends ends(view.key, table.view);
    judgement.reason = guardSource(view.key.source, view.key.family, ends.source, from, table);
    if (judgement.passes()) judgement.reason = DropReason::L2Protocol;
    return Next::Nothing;
  }
  if (view.laterFragment()) {
    const Ends ends(view.key, table.view);
    judgement.destinationEndpoint = ends.destination;
    judgement.reason = guardSource(view.key.source, view.key.family, ends.source, from, table);
    return judgement.passes() ? Next::Fragment : Next::Nothing;
  }

  bool guarded = false;
  const bool icmpV6 = view.key.protocol == PROTOCOL_ICMPV6;
  if (icmpV6 && (isNeighborDiscovery(view) || isListenerMessage(view))) {
    ExemptKind exempt = ExemptKind::None;
    judgement.reason = guardNeighbor(frame, view, from, table, &exempt);
    if (judgement.reason == DropReason::PolicyEgress) judgement.deniedBy = DENIED_BY_EGRESS;
    if (!judgement.passes()) return Next::Nothing;
    if (exempt != ExemptKind::None) {
      judgement.reason = parseTransport(&view);
      if (judgement.passes()) judgement.reason = checkOffload(frame, view);
      judgement.icmpTypeCode = static_cast<uint16_t>(view.icmpType << 8 | view.icmpCode);
      if (!judgement.passes()) return Next::Nothing;
      judgement.exempt = exempt;
      return Next::Exempt;
    }
    guarded = true;
  }

  DropReason transport = parseTransport(&view);
  if (transport == DropReason::None) transport = checkOffload(frame, view);
  judgement.icmpTypeCode = static_cast<uint16_t>(view.icmpType << 8 | view.icmpCode);
  if (view.key.protocol == PROTOCOL_TCP) judgement.tcpFlags = view.tcp.flags;
  const bool stateless = view.icmpRole == IcmpRole::Other || view.icmpRole == IcmpRole::Error;
  if (transport == DropReason::None && !stateless) return Next::Tracked;
  return judgeMessage(view, transport, guarded, from, table, judgement);
}

// Judges a message that leaves no entry; `found` is the drop reason from its transport header.
Filter::Next Filter::judgeMessage(const PacketView& view, DropReason found, bool guarded,
                                  const LinkContext& from, const TableInForce& table,
                                  Judgement& judgement) noexcept {
  const Ends ends(view.key, table.view);
  if (!guarded) {
    judgement.reason = guardSource(view.key.source, view.key.family, ends.source, from, table);
  }
  if (judgement.passes()) judgement.reason = found;
  if (judgement.passes()) ends.checkDestination(from, table, judgement);
  if (!judgement.passes()) return Next::Nothing;
  judgement.destinationEndpoint = ends.destination;
  if (view.icmpRole == IcmpRole::Error) return Next::Related;
  // The message is no request, reply or error: each one is judged as if it were the first.
  const DeniedBy denied =
      table.view.decide(ends.sourceLeaf, ends.destinationLeaf, view.key.protocol, 0);
  if (denied != 0) deny(denied, judgement);
  if (denied == 0) judgement.auditedBy = ends.auditedBy(table.view, view.key.protocol, 0);
  return judgement.passes() && view.fragmented ? Next::First : Next::Nothing;
}

void Filter::finish(Next next, const Frame& frame, const PacketView& view, const Foreseen& foreseen,
                    const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                    Judgement& judgement) noexcept {
  // Copied late, when the parser's narrow stores have reached the cache: a wide copy right after
  // them would wait for each store.
  if (next != Next::Unread) judgement.key = view.key;
  switch (next) {
    case Next::Tracked:
      judgeTracked(view, foreseen, from, table, nowUs, judgement);
      break;
    case Next::Related:
      ++lookedUp_;
      judgeRelated(view, from, table, nowUs, judgement);
      break;
    case Next::Exempt:
      judgeExempt(view, from, table, nowUs, judgement);
      break;
    case Next::Fragment:
      ++lookedUp_;
      // Before the packet is tracked: a dropped packet leaves no state.
      judgement.reason = checkOffload(frame, view);
      if (judgement.passes()) judgeLaterFragment(view, from, table, nowUs, judgement);
      break;
    case Next::First:
      admitFirst(view, from, table, nowUs,
                 {.generation = table.generation, .question = {.protocol = view.key.protocol}},
                 judgement);
      break;
    case Next::Nothing:
    case Next::Unread:
      break;
  }
  if (!judgement.passes() && next == Next::Tracked) letOwnPass(view, judgement);
  if (judgement.passes()) {
    counters_.passed.add(1);
    if (judgement.auditedBy != 0) counters_.audited.add(1);
    if (next != Next::Tracked) countMessage(next, judgement, table, nowUs);
  } else {
    counters_.dropped[static_cast<size_t>(judgement.reason)].add(1);
    if (judgement.deniedBy != 0) countDenied(next, foreseen, judgement, table, nowUs);
  }
}

// Counts a packet that no connection counts: it is dropped, or leaves none.
void Filter::countStateless(const Ends& ends, const Judgement& judgement, const TableInForce& table,
                            uint64_t nowUs) noexcept {
  HitTable& hits = connections_.hits();
  const HitKey key = ends.hitKey(judgement.key, judgement.deniedBy, judgement.auditedBy, table);
  hits.add(hits.find(key), 1, judgement.frameBytes, nowUs);
}

[[gnu::noinline]] void Filter::countMessage(Next next, const Judgement& judgement,
                                            const TableInForce& table, uint64_t nowUs) noexcept {
  const bool isJudged = next == Next::Nothing || next == Next::First ||
                        (next == Next::Exempt && judgement.exempt == ExemptKind::None);
  if (isJudged) countStateless(Ends(judgement.key, table.view), judgement, table, nowUs);
}

[[gnu::noinline]] void Filter::countDenied(Next next, const Foreseen& foreseen,
                                           const Judgement& judgement, const TableInForce& table,
                                           uint64_t nowUs) noexcept {
  const bool known = next == Next::Tracked && foreseen.hasLeaves && !judgement.cut;
  const Ends ends = known ? Ends(foreseen.sourceLeaf, foreseen.destinationLeaf, table.view)
                          : Ends(judgement.key, table.view);
  countStateless(ends, judgement, table, nowUs);
}

// From now on, the connection's packets count for what decides it in this table.
[[gnu::noinline]] void Filter::countFor(ConnEntry& entry, const Ends& ends, const FlowKey& key,
                                        const TableInForce& table) noexcept {
  connections_.countFor(entry,
                        connections_.hits().find(ends.hitKey(key, 0, entry.auditedBy, table)));
}

bool Filter::isOwn(const FlowKey& key) const noexcept {
  return options_.own != nullptr && options_.own->has(key);
}

// What policy denies passes if it is this process's own. Nothing remembers that it did: the next
// packet is asked again. What the parser or the source guard drops stays dropped.
void Filter::letOwnPass(const PacketView& view, Judgement& judgement) const noexcept {
  const bool byPolicy = judgement.reason == DropReason::PolicyEgress ||
                        judgement.reason == DropReason::PolicyIngress ||
                        judgement.reason == DropReason::NoConnection;
  if (!byPolicy || view.fragmented || !isOwn(view.key)) return;
  judgement.reason = DropReason::None;
  judgement.deniedBy = 0;
  judgement.rejectable = false;
  judgement.resetsSender = false;
  judgement.resetsReceiver = false;
}

void Filter::judgeExempt(const PacketView& view, const LinkContext& from, const TableInForce& table,
                         uint64_t nowUs, Judgement& judgement) noexcept {
  // A switch forwards none of them: its gateway answers.
  const auto passage =
      from.wire ? exempt_->admit(judgement.exempt, view, from, nowUs) : ExemptGate::Passage::Open;
  if (passage == ExemptGate::Passage::Open) {
    counters_.exempt[static_cast<size_t>(judgement.exempt)].add(1);
    return;
  }
  judgement.exempt = ExemptKind::None;
  if (passage == ExemptGate::Passage::Spent) {
    judgement.reason = DropReason::ExemptLimit;
  } else if (from.role == LinkRole::Endpoint && isLinkLocal(view.key.source)) {
    // Its own address, as the source guard has checked; no policy has a rule for it.
    deny(DENIED_BY_EGRESS, judgement);
  } else {
    (void)judgeMessage(view, DropReason::None, false, from, table, judgement);
  }
}

void Filter::judgeRelated(const PacketView& view, const LinkContext& from,
                          const TableInForce& table, uint64_t nowUs,
                          Judgement& judgement) noexcept {
  if (!reportsFate(view)) {
    judgement.reason = DropReason::RelatedUnknown;
    return;
  }
  Quote quote;
  judgement.reason = parseQuote(view, &quote);
  if (!judgement.passes()) return;
  if (quote.key.source != view.key.destination) {
    judgement.reason = DropReason::RelatedMismatch;
    return;
  }
  // An error about an error, or about an untracked packet, belongs to no connection.
  if (quote.icmpRole == IcmpRole::Error || quote.icmpRole == IcmpRole::Other) {
    judgement.reason = DropReason::RelatedUnknown;
    return;
  }
  const ConnName name = connNameOf(quote.key, quote.icmpRole, quote.icmpType, from.zone);
  ConnEntry* const found = find(name, connections_.hintOf(name), nowUs);
  if (found == nullptr) {
    judgement.reason = DropReason::RelatedUnknown;
    return;
  }
  ConnEntry& entry = *found;
  if (entry.generation != table.generation && !recheck(entry, table, judgement)) return;

  // An endpoint may report only packets that were sent to it. From the uplink, any router on the
  // way may report packets that were sent there.
  const uint32_t quotedPeer = entry.ends[1 - name.sender].endpoint;
  const bool placed = from.role == LinkRole::Endpoint ? quotedPeer == from.endpointId
                                                      : !isHere(quotedPeer, from, table);
  if (!placed) {
    judgement.reason = DropReason::RelatedMismatch;
    return;
  }
  if (quote.key.protocol == PROTOCOL_TCP &&
      !quotedSequenceFits(entry, name.sender, quote.sequence)) {
    judgement.reason = DropReason::OutOfWindow;
    return;
  }
  if (view.fragmented && !(from.role == LinkRole::Watched && entry.auditedBy != 0)) {
    admitFirst(view, from, table, nowUs,
               {.generation = table.generation, .question = {}, .once = true}, judgement);
  }
  if (judgement.passes()) noteAudit(entry, from, judgement);
}

// Lets the later fragments of a datagram follow when its first one passes.
void Filter::admitFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                        uint64_t nowUs, const FragmentVerdict& verdict,
                        Judgement& judgement) noexcept {
  checkFirst(view, from, table, nowUs, judgement);
  if (judgement.passes()) noteFirst(view, from, table, nowUs, verdict, judgement);
}

void Filter::checkFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                        uint64_t nowUs, Judgement& judgement) noexcept {
  judgement.reason = fragments_.checkFirst(view, from.zone, nowUs);
  if (judgement.passes() && !allowsForgotten(view, table, nowUs)) {
    judgement.reason = DropReason::FragmentOverlap;
  }
}

void Filter::noteFirst(const PacketView& view, const LinkContext& from, const TableInForce& table,
                       uint64_t nowUs, const FragmentVerdict& verdict,
                       const Judgement& judgement) noexcept {
  fragments_.admit(view, from.zone, nowUs,
                   {.owner = ownerOf(from, judgement.destinationEndpoint, table),
                    .localSends = from.role == LinkRole::Endpoint},
                   verdict);
}

// Whether this fragment cannot complete a datagram that is denied now: its receiver may hold the
// start of another datagram of the same name.
bool Filter::allowsForgotten(const PacketView& view, const TableInForce& table,
                             uint64_t nowUs) const noexcept {
  if (options_.established == Established::Keep) return true;
  return fragments_.allowsForgotten(
      view, table.generation, nowUs, [&](const FragmentQuestion& question) {
        return Ends(view.key, table.view).denyDatagram(table.view, question) == 0;
      });
}

// The datagram's first fragment was judged when it came, perhaps by a table that is no longer in
// force.
void Filter::judgeLaterFragment(const PacketView& view, const LinkContext& from,
                                const TableInForce& table, uint64_t nowUs,
                                Judgement& judgement) noexcept {
  FragmentTable::Datagram* datagram = fragments_.find(view, from.zone, nowUs);
  if (datagram != nullptr && options_.established != Established::Keep) {
    FragmentVerdict& verdict = FragmentTable::verdictOf(*datagram);
    if (verdict.generation != table.generation) {
      const Ends ends(view.key, table.view);
      ends.checkDestination(from, table, judgement);
      const DeniedBy denied = ends.denyDatagram(table.view, verdict.question);
      if (judgement.passes() && denied != 0) deny(denied, judgement);
      if (judgement.passes() && verdict.once) judgement.reason = DropReason::FragmentOrphan;
      if (judgement.passes() && !allowsForgotten(view, table, nowUs)) {
        judgement.reason = DropReason::FragmentOverlap;
      }
      if (!judgement.passes()) {
        FragmentTable::seal(*datagram);
        return;
      }
      verdict.generation = table.generation;
    }
  }
  judgement.reason = fragments_.follow(view, datagram, nowUs);
}

void Filter::judgeTracked(const PacketView& view, const Foreseen& foreseen, const LinkContext& from,
                          const TableInForce& table, uint64_t nowUs,
                          Judgement& judgement) noexcept {
  ConnEntry* entry = find(*foreseen.name, foreseen.hint, nowUs);
  const uint8_t sender = foreseen.name->sender;

  // An entry of this generation has the endpoints of its addresses.
  const bool current = entry != nullptr && entry->generation == table.generation;
  std::optional<Ends> ends;
  if (current) {
    judgement.destinationEndpoint = entry->ends[1 - sender].endpoint;
    judgement.reason =
        guardSource(view.key.source, view.key.family, entry->ends[sender].endpoint, from, table);
  } else {
    if (foreseen.hasLeaves) {
      ends.emplace(foreseen.sourceLeaf, foreseen.destinationLeaf, table.view);
    } else {
      ends.emplace(view.key, table.view);
    }
    judgement.destinationEndpoint = ends->destination;
    judgement.reason = guardSource(view.key.source, view.key.family, ends->source, from, table);
    if (judgement.passes()) ends->checkDestination(from, table, judgement);
  }
  if (!judgement.passes()) return;

  if (view.fragmented) {
    checkFirst(view, from, table, nowUs, judgement);
    if (!judgement.passes()) return;
  }
  const bool isReply = entry != nullptr && sender != entry->opener();
  if (entry != nullptr && !current && !recheck(*entry, table, judgement)) {
    judgement.rejectable = isRejectable(view, judgement);
    return;
  }

  if (entry == nullptr) {
    judgeUntracked(view, foreseen, *ends, from, table, nowUs, judgement);
  } else if (view.key.protocol == PROTOCOL_TCP) {
    judgeTcp(view, foreseen, *entry, from, table, nowUs, judgement);
  } else {
    if ((entry->flags & ConnEntry::ASSURED) == 0) connections_.settleOther(*entry, sender, nowUs);
    keepAlive(*entry, sender, nowUs);
  }
  // A connection that was just opened has counted this packet already.
  if (entry != nullptr && judgement.passes() && !judgement.opened) {
    entry->count(sender, judgement.frameBytes);
    noteAudit(*entry, from, judgement);
    if (offloaded_ != nullptr) admit(*entry, table, nowUs);
  }
  if (view.fragmented && judgement.passes() &&
      !(from.role == LinkRole::Watched && judgement.auditedBy != 0)) {
    const bool answers = isReply && !judgement.opened;
    const uint16_t port = answers ? view.key.sourcePort : view.key.destinationPort;
    const FragmentQuestion question = {
        static_cast<uint16_t>(TableView::slotPort(view.key.protocol, port)), view.key.protocol,
        answers};
    noteFirst(view, from, table, nowUs, {.generation = table.generation, .question = question},
              judgement);
  }
}

void Filter::judgeTcp(const PacketView& view, const Foreseen& foreseen, ConnEntry& entry,
                      const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                      Judgement& judgement) noexcept {
  const ConnState before = entry.state;
  const uint8_t sender = foreseen.name->sender;
  const TcpOutcome outcome =
      entry.shared == 0 ? trackTcp(entry, sender, view.tcp) : trackShared(entry, sender, view.tcp);
  switch (outcome.fate) {
    case TcpFate::Accepted:
      if (entry.state != before || (entry.flags & ConnEntry::ASSURED) == 0) {
        connections_.settleTcp(entry, sender);
      }
      keepAlive(entry, sender, nowUs);
      return;
    case TcpFate::Ignored:
      return;
    case TcpFate::Reopens:
      judgeNew(view, foreseen, &entry, Ends(view.key, table.view), from, table, nowUs, judgement);
      return;
    case TcpFate::Dropped:
      judgement.reason = outcome.reason;
      return;
  }
}

void Filter::judgeUntracked(const PacketView& view, const Foreseen& foreseen, const Ends& ends,
                            const LinkContext& from, const TableInForce& table, uint64_t nowUs,
                            Judgement& judgement) noexcept {
  const bool isTcp = view.key.protocol == PROTOCOL_TCP;
  const TcpEvent event = isTcp ? tcpEventOf(view.tcp.flags) : TcpEvent::Syn;
  const bool opens = isTcp ? event == TcpEvent::Syn || (options_.loose && event == TcpEvent::Ack)
                           : view.icmpRole != IcmpRole::Reply;
  if (!opens) {
    judgement.reason = DropReason::NoConnection;
    // A handshake goes on by itself when its opener sends the SYN again; a reset would end it.
    if (isTcp && event != TcpEvent::SynAck) resetEnds(view, ends, from, table, judgement);
    return;
  }
  judgeNew(view, foreseen, nullptr, ends, from, table, nowUs, judgement);
}

// Decides which ends of an unknown connection get a reset, so that neither waits for the other. The
// connection began before this process did, or it has timed out here. No end gets a reset for a
// packet that policy denies. A packet that policy allows only as a reply could come from a
// stranger: its receiver gets no reset, and its sender gets one only if its address has been
// checked.
void Filter::resetEnds(const PacketView& view, const Ends& ends, const LinkContext& from,
                       const TableInForce& table, Judgement& judgement) noexcept {
  if (!isRejectable(view, judgement)) return;
  const FlowKey& key = view.key;
  const auto allows = [&](uint32_t source, uint32_t destination, uint16_t port) {
    return table.view.decide(source, destination, PROTOCOL_TCP, port) == 0;
  };
  judgement.resetsReceiver = allows(ends.sourceLeaf, ends.destinationLeaf, key.destinationPort);
  judgement.resetsSender =
      judgement.resetsReceiver || (from.role == LinkRole::Endpoint &&
                                   allows(ends.destinationLeaf, ends.sourceLeaf, key.sourcePort));
}

void Filter::judgeNew(const PacketView& view, const Foreseen& foreseen, ConnEntry* old,
                      const Ends& ends, const LinkContext& from, const TableInForce& table,
                      uint64_t nowUs, Judgement& judgement) noexcept {
  const DeniedBy denied = table.view.decide(ends.sourceLeaf, ends.destinationLeaf,
                                            view.key.protocol, view.key.destinationPort);
  const bool watched = from.role == LinkRole::Watched;
  // Later packets of a denied connection on a watched link belong to it. If its start was not seen,
  // the other end may have opened it: that end is judged, too, when it sends.
  const bool begins = view.key.protocol != PROTOCOL_TCP || (view.tcp.flags & TCP_SYN) != 0;
  if (denied != 0 && !(watched && begins)) {
    deny(denied, judgement);
    judgement.rejectable = isRejectable(view, judgement);
    return;
  }
  judgement.auditedBy =
      watched ? denied : ends.auditedBy(table.view, view.key.protocol, view.key.destinationPort);
  // An answer to a group packet comes from another address: there is nothing to track.
  if (judgement.kind == FrameKind::Multicast) {
    countStateless(ends, judgement, table, nowUs);
    return;
  }

  if (old != nullptr) {
    connections_.remove(*old);
    counters_.closed.add(1);
  }
  ConnEntry* const entry = connections_.insert(
      *foreseen.name, foreseen.hint, chargeOf(from, ends.destination, foreseen.name->sender, table),
      nowUs, &judgement.reason);
  if (entry == nullptr) {
    // No room here does not mean that the watched host has none: the packet passes.
    if (watched) judgement.reason = DropReason::None;
    return;
  }
  const uint8_t sender = foreseen.name->sender;
  entry->generation = table.generation;
  entry->ends[sender].endpoint = ends.source;
  entry->ends[1 - sender].endpoint = ends.destination;
  entry->state = ConnState::Unreplied;
  if (view.key.protocol == PROTOCOL_TCP) {
    openTcp(*entry, sender, view.tcp);
  } else {
    entry->noteOpening(nowUs);
  }
  entry->expiresUs = nowUs + timeoutOf(*entry);
  entry->auditedBy = judgement.auditedBy;
  if (watched && denied != 0) entry->flags |= ConnEntry::AUDIT_UNREPORTED;
  countFor(*entry, ends, judgement.key, table);
  connections_.hits().addConnection(entry->ends[0].hits, nowUs);
  entry->count(sender, judgement.frameBytes);
  judgement.opened = true;
  counters_.opened.add(1);
  if (offloaded_ != nullptr) admit(*entry, table, nowUs);
}

// The numbers of an admitted connection are not set back while programs may read them. A SYN that
// would begins another connection, in another place. The answer to a SYN that was let through is
// dropped: its sender sends it again, and the connection is this worker's alone by then.
TcpOutcome Filter::trackShared(ConnEntry& entry, uint8_t sender,
                               const TcpSegment& segment) noexcept {
  bool restarts = false;
  const TcpOutcome outcome = trackSharedTcp(entry, sender, segment, &restarts);
  if (!restarts) return outcome;
  if (tcpEventOf(segment.flags) == TcpEvent::Syn) return {TcpFate::Reopens};
  connections_.takeBack(entry);
  return {TcpFate::Dropped, DropReason::InvalidTcpState};
}

// Lets programs pass a connection's packets, if no check is left that depends on more than its
// name, its state and its ends' sides. Those are made here, for both ends.
void Filter::admit(ConnEntry& entry, const TableInForce& table, uint64_t nowUs) noexcept {
  const auto& [inside, outside] = (*offloaded_)[entry.key.zone()];
  if (inside == nullptr || entry.leaving != 0 || entry.isAdmitted(table.generation)) return;
  if (entry.generation != table.generation || inside->endpointId == NONE) return;
  if ((entry.flags & ConnEntry::AUDIT_UNREPORTED) != 0 || !isOffloadable(entry)) return;
  const uint8_t pod = entry.ends[0].endpoint == inside->endpointId ? 0 : 1;
  const uint32_t other = entry.ends[1 - pod].endpoint;
  if (entry.ends[pod].endpoint != inside->endpointId || other == inside->endpointId) return;
  const FlowKey key = originalKeyOf(entry.key, pod);
  if (guardSource(key.source, key.family, inside->endpointId, *inside, table) != DropReason::None ||
      guardSource(key.destination, key.family, other, *outside, table) != DropReason::None) {
    return;
  }
  if (entry.shared == 0) {
    entry.ends[pod].isOutside = 0;
    entry.ends[1 - pod].isOutside = 1;
    for (SluiceConnEnd& end : entry.ends) end.seenUs = nowUs;
  } else if (entry.ends[pod].isOutside != 0) {
    // The pod has its peer's address now: programs must not read the sides while they change.
    connections_.takeBack(entry);
    return;
  }
  entry.admit(table.generation);
}

// Judges an admitted connection by a newer table, and admits it again if that allows it. What it
// denies is cut by its next packet.
void Filter::admitAgain(ConnEntry& entry, const TableInForce& table, uint64_t nowUs) noexcept {
  if (entry.shared == 0 || entry.leaving != 0) return;
  const FlowKey key = originalKeyOf(entry);
  const Ends ends(key, table.view);
  if (!keepsVerdict(entry) && table.view.decide(ends.sourceLeaf, ends.destinationLeaf, key.protocol,
                                                key.destinationPort) != 0) {
    return;
  }
  allowBy(entry, ends, key, table);
  admit(entry, table, nowUs);
}

Status Filter::share(const ConnMemory& memory, GracePeriods* periods) noexcept {
  if (offloaded_ == nullptr) offloaded_.reset(new (std::nothrow) std::array<Offloaded, 256>);
  if (offloaded_ == nullptr) return {StatusCode::Limit};
  const Status status = connections_.share(memory, periods);
  if (!status.ok()) offloaded_.reset();
  return status;
}

void Filter::offload(uint8_t zone, const LinkContext* inside, const LinkContext* outside) noexcept {
  Offloaded& wire = (*offloaded_)[zone];
  const bool ends = wire.inside != nullptr && inside == nullptr;
  wire = {inside, outside};
  if (!ends) return;
  for (uint32_t place = 0; place < connections_.placesUsed(); ++place) {
    ConnEntry* const entry = connections_.at(place);
    if (entry == nullptr || entry->shared == 0 || entry->key.zone() != zone) continue;
    connections_.takeBack(*entry);
  }
}

// Keep does not apply to a connection that no table of this process has judged.
bool Filter::keepsVerdict(const ConnEntry& entry) const noexcept {
  return options_.established == Established::Keep && entry.generation != 0;
}

bool Filter::recheck(ConnEntry& entry, const TableInForce& table, Judgement& judgement) noexcept {
  const FlowKey key = originalKeyOf(entry);
  const Ends ends(key, table.view);
  if (!keepsVerdict(entry)) {
    const DeniedBy denied =
        table.view.decide(ends.sourceLeaf, ends.destinationLeaf, key.protocol, key.destinationPort);
    if (denied != 0) {
      deny(denied, judgement);
      if (isOwn(key)) {
        // It goes on without an entry, and nobody is told that it was cut.
        connections_.remove(entry);
        counters_.closed.add(1);
        return false;
      }
      if (cutCount_ < cut_.size()) {
        CutConn& cut = cut_[cutCount_++];
        cut = {
            key, denied, false, entry.opener(), entry.state, {entry.ends[0].tcp, entry.ends[1].tcp},
            {}};
        cut.endpoint[cut.opener] = ends.source;
        cut.endpoint[1 - cut.opener] = ends.destination;
      }
      connections_.remove(entry);
      judgement.cut = true;
      judgement.key = key;
      counters_.cut.add(1);
      return false;
    }
  }
  allowBy(entry, ends, key, table);
  return true;
}

// The table lets a connection go on that an older one has judged.
void Filter::allowBy(ConnEntry& entry, const Ends& ends, const FlowKey& key,
                     const TableInForce& table) noexcept {
  if (!keepsVerdict(entry)) {
    const DeniedBy audited = ends.auditedBy(table.view, key.protocol, key.destinationPort);
    if (audited == 0) {
      entry.changeFlags(ConnEntry::AUDIT_UNREPORTED, 0);
    } else if (audited != entry.auditedBy) {
      entry.changeFlags(0, ConnEntry::AUDIT_UNREPORTED);
    }
    entry.auditedBy = audited;
  }
  // A connection that is kept goes on counting for what allowed it.
  if (options_.established != Established::Keep || entry.ends[0].hits == HitTable::NOBODYS_PASSED) {
    connections_.tally(entry);
    const HitKey hitKey = ends.hitKey(key, 0, entry.auditedBy, table);
    connections_.countFor(entry, connections_.hits().findAfter(entry.ends[0].hits, hitKey));
  }
  entry.generation = table.generation;
  entry.ends[entry.opener()].endpoint = ends.source;
  entry.ends[1 - entry.opener()].endpoint = ends.destination;
}

bool Filter::sweep(const TableInForce& table, uint64_t nowUs) noexcept {
  const bool cuts = options_.established == Established::Cut;
  if (!cuts && offloaded_ == nullptr) return false;
  if (sweptGeneration_ != table.generation) {
    sweptGeneration_ = table.generation;
    sweepPlace_ = 0;
  }
  if (connections_.size() == 0) sweepPlace_ = connections_.placesUsed();
  const size_t cutsMax = std::min(cutCount_ + SWEEP_CUTS, cut_.size());
  for (size_t step = 0; step < SWEEP_STEPS && cutCount_ < cutsMax; ++step) {
    if (sweepPlace_ >= connections_.placesUsed()) return false;
    ConnEntry* entry = connections_.at(sweepPlace_++);
    if (entry == nullptr || (entry->expiresUs <= nowUs && entry->shared == 0)) continue;
    if (entry->generation == table.generation) continue;
    if (!cuts) {
      admitAgain(*entry, table, nowUs);
      continue;
    }
    Judgement judgement;
    const bool passes = recheck(*entry, table, judgement);
    if (!passes && judgement.cut) cut_[cutCount_ - 1].swept = true;
    if (passes && offloaded_ != nullptr) admit(*entry, table, nowUs);
  }
  return true;
}

uint16_t Filter::attachOwner(uint32_t linkId) noexcept {
  ownerByLink_[linkId] = connections_.attach();
  fragments_.attach(ownerByLink_[linkId]);
  return ownerByLink_[linkId];
}

void Filter::detachOwner(uint32_t linkId, uint64_t nowUs) noexcept {
  connections_.detach(ownerByLink_[linkId]);
  fragments_.detach(ownerByLink_[linkId], nowUs);
  ownerByLink_[linkId] = ConnTable::NOBODY;
}

// The opener is charged; for packets from an uplink, the destination is.
ConnCharge Filter::chargeOf(const LinkContext& from, uint32_t destination, uint8_t sender,
                            const TableInForce& table) const noexcept {
  const bool opens = from.role == LinkRole::Endpoint;
  return {ownerOf(from, destination, table), static_cast<uint8_t>(opens ? 1 - sender : sender)};
}

uint16_t Filter::ownerOf(const LinkContext& from, uint32_t destination,
                         const TableInForce& table) const noexcept {
  if (from.role == LinkRole::Endpoint || from.wire) return from.owner;
  const uint32_t link = table.linkOfEndpoint(destination);
  return link < LINKS_MAX ? ownerByLink_[link] : ConnTable::NOBODY;
}

size_t Filter::expire(uint64_t nowUs, size_t steps) noexcept {
  const size_t count = connections_.expire(nowUs, steps);
  counters_.closed.add(connections_.timedOut() - timedOutSeen_);
  timedOutSeen_ = connections_.timedOut();
  return count;
}

size_t Filter::list(uint64_t nowUs, size_t steps, std::span<ConnectionRecord> records,
                    uint32_t* place) noexcept {
  size_t count = 0;
  for (size_t step = 0; step < steps && *place < connections_.placesUsed(); ++step) {
    if (count == records.size()) break;
    ConnEntry* const entry = connections_.at((*place)++);
    if (entry == nullptr || !isAlive(*entry, nowUs)) continue;
    const FlowKey key = originalKeyOf(*entry);
    ConnectionRecord& record = records[count++];
    record = {};
    std::copy(key.source.begin(), key.source.end(), record.source);
    std::copy(key.destination.begin(), key.destination.end(), record.destination);
    static_assert(sizeof record.key == sizeof entry->key);
    std::memcpy(record.key, &entry->key, sizeof record.key);
    record.totalPackets = static_cast<uint32_t>(entry->packets());
    record.totalBytes = entry->bytes();
    record.expiresInMs = static_cast<uint32_t>((entry->expiresUs - nowUs) / 1'000);
    record.generation = entry->generation;
    record.sourcePort = key.sourcePort;
    record.destinationPort = key.destinationPort;
    record.protocol = key.protocol;
    record.family = key.family;
    record.state = static_cast<uint8_t>(entry->state);
    record.zone = entry->key.zone();
    record.assured = (entry->flags & ConnEntry::UNREPLIED) == 0 ? 1 : 0;
    record.auditedBy = entry->auditedBy;
    record.inKernel = entry->isAdmitted(entry->generation) ? 1 : 0;
  }
  return count;
}

void Filter::tally(size_t steps, uint32_t* place) noexcept {
  for (size_t step = 0; step < steps && *place < connections_.placesUsed(); ++step) {
    ConnEntry* const entry = connections_.at((*place)++);
    if (entry != nullptr) connections_.tally(*entry);
  }
}

bool Filter::isAlive(ConnEntry& entry, uint64_t nowUs) noexcept {
  return entry.shared == 0 ? entry.expiresUs > nowUs : connections_.renew(entry, nowUs);
}

size_t Filter::save(Saved which, uint64_t nowUs, size_t steps, std::span<SavedConnection> into,
                    uint32_t* place) noexcept {
  size_t count = 0;
  for (size_t step = 0; step < steps && *place < connections_.placesUsed(); ++step) {
    if (count == into.size()) break;
    ConnEntry* const entry = connections_.at((*place)++);
    if (entry == nullptr || !isAlive(*entry, nowUs)) continue;
    if (which == Saved::Lasting && !isLasting(*entry)) continue;
    SavedConnection& saved = into[count++];
    saveConn(*entry, nowUs, &saved);
    if (which == Saved::Lasting && saved.protocol == PROTOCOL_TCP) saved.flags |= SAVED_NO_WINDOW;
  }
  return count;
}

bool Filter::forget(const ConnKey& key, uint64_t nowUs) noexcept {
  const ConnName name = {key, 0};
  ConnEntry* entry = connections_.find(name, connections_.hintOf(name), nowUs);
  if (entry == nullptr) return false;
  connections_.remove(*entry);
  counters_.closed.add(1);
  return true;
}

}  // namespace sluice
