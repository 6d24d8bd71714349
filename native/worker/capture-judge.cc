#include "native/worker/capture-judge.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "native/packet/neighbor.h"
#include "native/packet/quote.h"

namespace sluice {
namespace {

constexpr uint32_t INSIDE = 0;
constexpr uint32_t OUTSIDE = 1;

bool framesFit(std::span<std::byte> bytes, std::span<const CapturedFrame> frames) {
  return std::all_of(frames.begin(), frames.end(), [&](const CapturedFrame& frame) {
    return frame.offset <= bytes.size() && frame.frameBytes <= bytes.size() - frame.offset;
  });
}

// The Ethernet source; nothing when the frame ends before it.
std::optional<MacAddress> sourceMacOf(std::span<std::byte> bytes, const CapturedFrame& frame) {
  constexpr size_t SOURCE = 6;
  MacAddress mac;
  if (frame.bareIp != 0 || frame.frameBytes < SOURCE + mac.size()) return std::nullopt;
  std::copy_n(reinterpret_cast<const uint8_t*>(bytes.data()) + frame.offset + SOURCE, mac.size(),
              mac.begin());
  return mac;
}

// Copies what parsePacket() has read to `judged`. Returns whether layer 4 was read, too.
bool tellHeaders(PacketView& view, JudgedFrame& judged) {
  std::copy(view.key.source.begin(), view.key.source.end(), judged.source);
  std::copy(view.key.destination.begin(), view.key.destination.end(), judged.destination);
  judged.family = view.key.family;
  judged.protocol = view.key.protocol;
  judged.payloadBytes = view.l4Bytes;
  if (view.kind == PacketKind::Arp) {
    judged.typeCode = readArp(view).reply ? 2 : 1;
    return false;
  }
  if (view.laterFragment()) {
    judged.laterFragment = 1;
    return false;
  }
  if (parseTransport(&view) != DropReason::None) return false;
  judged.transport = 1;
  judged.sourcePort = view.key.sourcePort;
  judged.destinationPort = view.key.destinationPort;
  judged.typeCode = static_cast<uint16_t>(view.icmpType << 8 | view.icmpCode);
  if (view.key.protocol == PROTOCOL_TCP) {
    judged.tcpFlags = view.tcp.flags;
    judged.payloadBytes = view.tcp.payloadBytes;
  }
  constexpr uint32_t UDP_HEADER_BYTES = 8;
  if (view.key.protocol == PROTOCOL_UDP) judged.payloadBytes -= UDP_HEADER_BYTES;
  return true;
}

}  // namespace

Status CaptureJudge::create(const CaptureJudgeOptions& options,
                            std::unique_ptr<CaptureJudge>* judge) noexcept {
  const bool watching = options.endpointId == NONE;
  LinkContext inside;
  inside.linkId = INSIDE;
  inside.endpointId = options.endpointId;
  inside.role = watching ? LinkRole::Watched : LinkRole::Endpoint;
  inside.wire = !watching;
  inside.hasMac = !options.podMac.empty();
  if (inside.hasMac && options.podMac.size() != inside.mac.size()) return {StatusCode::Argument};
  std::copy(options.podMac.begin(), options.podMac.end(), inside.mac.begin());
  LinkContext outside = inside;
  if (!watching) {
    outside.linkId = OUTSIDE;
    outside.role = LinkRole::Uplink;
    outside.routerAdvertisements = true;
  }

  TableView view;
  TableBytes copy;
  Status status = TableBytes::copy(options.blob, &copy);
  if (status.ok()) status = TableView::open(copy.span(), &view);
  if (!status.ok()) return status;
  if (!watching && options.endpointId >= view.endpointCount()) return {StatusCode::Argument};
  std::vector<uint32_t> linkByEndpoint(view.endpointCount(), NONE);
  if (!watching) linkByEndpoint[options.endpointId] = INSIDE;

  std::unique_ptr<Filter> filter;
  status = Filter::create({.connectionsMax = options.connectionsMax,
                           .loose = watching,
                           .hashSecret = options.hashSecret},
                          &filter);
  if (!status.ok()) return status;
  std::unique_ptr<CaptureJudge> made(new (std::nothrow)
                                         CaptureJudge(std::move(filter), inside, outside));
  if (made == nullptr) return {StatusCode::Limit};
  uint32_t generation = 0;
  status = made->slot_.publish(options.blob, linkByEndpoint, &generation);
  if (!status.ok()) return status;
  made->table_ = made->slot_.read(0);
  *judge = std::move(made);
  return {};
}

Status CaptureJudge::findSides(std::span<std::byte> bytes,
                               std::span<CapturedFrame> frames) const noexcept {
  if (!framesFit(bytes, frames)) return {StatusCode::Argument};
  std::optional<MacAddress> mac;
  if (inside_.hasMac) mac = inside_.mac;
  for (CapturedFrame& captured : frames) {
    const Frame frame = {.bytes = bytes.data() + captured.offset, .length = captured.frameBytes};
    PacketView view;
    const bool read = parsePacket(frame, &view) == DropReason::None;
    const TableView& table = table_->view;
    const bool own =
        read && table.leaf(table.leafOf(view.key.source.data(), view.key.family)).endpointId ==
                    inside_.endpointId;
    captured.fromOutside = own ? 0 : 1;
    if (own && !mac) mac = sourceMacOf(bytes, captured);
  }
  if (!mac) return {};
  for (CapturedFrame& captured : frames) {
    if (sourceMacOf(bytes, captured) == mac) captured.fromOutside = 0;
  }
  return {};
}

Status CaptureJudge::judge(std::span<std::byte> bytes, std::span<const CapturedFrame> frames,
                           std::span<JudgedFrame> judged) noexcept {
  if (!framesFit(bytes, frames) || frames.size() != judged.size()) return {StatusCode::Argument};
  for (size_t index = 0; index < frames.size(); ++index) {
    const CapturedFrame& captured = frames[index];
    nowUs_ = std::max(nowUs_, captured.timeUs);
    const Frame frame = frameOf(bytes, captured);
    JudgedFrame& told = judged[index] = {};
    if (captured.bareIp == 0 && captured.frameBytes >= ETHERNET_HEADER_BYTES) {
      const auto* header = reinterpret_cast<const uint8_t*>(frame.bytes);
      std::copy_n(header, sizeof told.destinationMac, told.destinationMac);
      std::copy_n(header + 6, sizeof told.sourceMac, told.sourceMac);
      told.etherType = load16(header + 12);
    }
    judgeFrame(frame, captured.fromOutside != 0 ? outside_ : inside_, told);
    if (frames_++ % BATCH_FRAMES_MAX == 0) filter_->expire(nowUs_, BATCH_FRAMES_MAX);
  }
  return {};
}

Frame CaptureJudge::frameOf(std::span<std::byte> bytes, const CapturedFrame& captured) noexcept {
  std::byte* const start = bytes.data() + captured.offset;
  const bool cut = captured.truncated != 0;
  if (captured.bareIp == 0 && !(cut && isWatching())) {
    return {.bytes = start, .length = captured.frameBytes, .truncated = cut};
  }
  // Zeros for the parts that are not copied: the MACs, and the end of a truncated frame.
  std::fill(scratch_.begin(), cut ? scratch_.end() : scratch_.begin() + 12, std::byte{0});
  size_t head = 0;
  if (captured.bareIp != 0) {
    // An Ethernet header as the sender's driver would have made it, with no addresses.
    constexpr std::byte VERSION_6{0x60};
    constexpr std::byte VERSION_BITS{0xf0};
    head = ETHERNET_HEADER_BYTES;
    const bool ipv6 = captured.frameBytes > 0 && (*start & VERSION_BITS) == VERSION_6;
    scratch_[12] = std::byte{static_cast<uint8_t>(ipv6 ? 0x86 : 0x08)};
    scratch_[13] = std::byte{static_cast<uint8_t>(ipv6 ? 0xdd : 0x00)};
  }
  const size_t copied = std::min<size_t>(captured.frameBytes, scratch_.size() - head);
  std::copy_n(start, copied, scratch_.begin() + static_cast<ptrdiff_t>(head));
  const size_t length = cut ? scratch_.size() : head + copied;
  return {.bytes = scratch_.data(),
          .length = static_cast<uint32_t>(length),
          .truncated = cut && !isWatching()};
}

void CaptureJudge::judgeFrame(const Frame& frame, const LinkContext& from,
                              JudgedFrame& judged) noexcept {
  const Judgement judgement = filter_->judge(frame, from, *table_, nowUs_);
  const bool denied = isWatching() && judgement.passes() && judgement.auditedBy != 0;
  judged.deniedBy = denied ? judgement.auditedBy : judgement.deniedBy;
  judged.reason =
      static_cast<uint8_t>(denied ? policyReason(judgement.auditedBy) : judgement.reason);
  judged.exempt = static_cast<uint8_t>(judgement.exempt);

  PacketView view;
  if (parsePacket(frame, &view) != DropReason::None) return;
  if (tellHeaders(view, judged)) tellConnection(view, judged);
}

void CaptureJudge::tellConnection(const PacketView& view, JudgedFrame& judged) noexcept {
  FlowKey first = view.key;
  const bool tcp = view.key.protocol == PROTOCOL_TCP;
  const bool starts = (view.tcp.flags & TCP_SYN) != 0;
  // A side that denies a segment of an unknown connection has judged it as a first packet.
  bool joined = tcp && !starts && judged.deniedBy != 0;
  ConnName name;
  Quote quote;
  bool named = true;
  if (view.icmpRole == IcmpRole::Error) {
    named = parseQuote(view, &quote) == DropReason::None;
    if (named) name = connNameOf(quote.key, quote.icmpRole, quote.icmpType, inside_.zone);
  } else {
    name = connNameOf(view.key, view.icmpRole, view.icmpType, inside_.zone);
  }
  const ConnEntry* entry = named ? filter_->connectionOf(name, nowUs_) : nullptr;
  if (entry != nullptr) {
    first = originalKeyOf(*entry);
    const bool sentByOpener = name.sender == entry->opener();
    const bool quoted = view.icmpRole == IcmpRole::Error;
    // The quoted packet went the other way than the error itself.
    if (sentByOpener == quoted) judged.reply = 1;
    if (quoted) judged.quoted = 1;
    joined = (entry->flags & ConnEntry::NO_WINDOW) != 0;
  }
  if (joined && isWatching()) judged.joined = 1;
  const TableView& table = table_->view;
  judged.leaves[0] = table.leafOf(first.source.data(), first.family);
  judged.leaves[1] = table.leafOf(first.destination.data(), first.family);
  judged.firstPort = first.destinationPort;
  judged.firstProtocol = first.protocol;
}

}  // namespace sluice
