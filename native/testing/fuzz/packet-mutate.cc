// Changes packet scripts as scripts: records come, go and change places, frames are answered,
// quoted by an error, cut into fragments; and bytes change at random.
#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "native/testing/fuzz/fuzz.h"
#include "native/testing/fuzz/packet-script.h"

namespace sluice::testing {
namespace {

constexpr uint16_t PORTS[] = {53, 80, 443, 5432, 8000, 8080, 8999, 36'412, 0, 65'535};
constexpr uint8_t FLAGS[] = {0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x22};

class Mutator {
 public:
  Mutator(uint32_t seed, MutateBytes mutateBytes) : random_(seed), mutateBytes_(mutateBytes) {}

  void change(PacketScript& script) {
    std::vector<PacketRecord>& records = script.records;
    if (records.empty()) records.emplace_back();
    const size_t at = below(records.size());
    PacketRecord copy = records[at];
    switch (below(14)) {
      case 0:
        records.insert(records.begin() + static_cast<ptrdiff_t>(at), std::move(copy));
        break;
      case 1:
        records.erase(records.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 2:
        std::swap(records[at], records[below(records.size())]);
        break;
      case 3:
        insertOther(records, at);
        break;
      case 4:
        records.push_back(answer(std::move(copy)));
        break;
      case 5:
        records.push_back(quote(std::move(copy)));
        break;
      case 6:
        cutUp(records, at);
        break;
      case 7:
        records[at].link = static_cast<uint32_t>(below(3));
        break;
      case 8:
        changeOptions(script);
        break;
      case 9:
        changeTransport(records[at]);
        break;
      case 10:
        offload(records[at]);
        break;
      default:
        changeBytes(records[at]);
        break;
    }
  }

 private:
  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  static bool isV4(const PacketRecord& record) {
    return record.bytes.size() >= 34 && record.bytes[12] == 8 && record.bytes[13] == 0;
  }
  static bool isV6(const PacketRecord& record) {
    return record.bytes.size() >= 54 && record.bytes[12] == 0x86 && record.bytes[13] == 0xdd;
  }
  // Where layer 4 starts, extension headers aside; 0 where there is none.
  static size_t l4Of(const PacketRecord& record) {
    const size_t at = isV4(record) ? 14 + (record.bytes[14] & 15) * 4u : isV6(record) ? 54 : 0;
    return at >= 34 && at + 20 <= record.bytes.size() ? at : 0;
  }

  void insertOther(std::vector<PacketRecord>& records, size_t at) {
    PacketRecord record;
    constexpr PacketRecord::Kind KINDS[] = {PacketRecord::Kind::Time, PacketRecord::Kind::Swap,
                                            PacketRecord::Kind::Maintain};
    record.kind = KINDS[below(3)];
    record.policy = static_cast<uint32_t>(below(4));
    record.audited = below(2) == 0;
    record.seconds = below(2) == 0;
    record.pause = static_cast<uint16_t>(below(3) == 0 ? random_() : below(130));
    records.insert(records.begin() + static_cast<ptrdiff_t>(at), std::move(record));
  }

  // The same frame on its way back.
  PacketRecord answer(PacketRecord record) {
    std::vector<uint8_t>& bytes = record.bytes;
    if (record.kind != PacketRecord::Kind::Frame || bytes.size() < 34) return record;
    record.link = record.link == 0 ? 1 + static_cast<uint32_t>(below(2)) : 0;
    std::swap_ranges(bytes.begin(), bytes.begin() + 6, bytes.begin() + 6);
    const size_t l4 = l4Of(record);
    if (isV4(record)) std::swap_ranges(bytes.begin() + 26, bytes.begin() + 30, bytes.begin() + 30);
    if (isV6(record)) std::swap_ranges(bytes.begin() + 22, bytes.begin() + 38, bytes.begin() + 38);
    if (l4 == 0) return record;
    uint8_t* at = bytes.data() + l4;
    const uint8_t protocol = bytes[isV4(record) ? 23 : 20];
    if (protocol == 1) {
      at[0] = at[0] == 8 ? 0 : at[0];
    } else if (protocol == 58) {
      at[0] = at[0] == 128 ? 129 : at[0];
    } else {
      std::swap_ranges(at, at + 2, at + 2);
    }
    if (protocol == 6) {
      std::swap_ranges(at + 4, at + 8, at + 8);
      uint32_t number = at[8] << 24 | at[9] << 16 | at[10] << 8 | at[11];
      if ((at[13] & 3) != 0) ++number;
      for (int byte = 0; byte < 4; ++byte)
        at[8 + byte] = static_cast<uint8_t>(number >> (24 - 8 * byte));
      at[13] = at[13] == 2 ? 0x12 : FLAGS[below(std::size(FLAGS))];
    }
    return record;
  }

  // An error about the frame, from where it went.
  PacketRecord quote(PacketRecord record) {
    if (!isV4(record) && !isV6(record)) return record;
    const bool v4 = isV4(record);
    const std::vector<uint8_t> quoted(record.bytes.begin() + 14, record.bytes.end());
    const size_t header = v4 ? 34 : 54;
    PacketRecord error = answer(std::move(record));
    error.bytes.resize(header);
    if (v4) error.bytes[14] = 0x45;
    error.bytes[v4 ? 23 : 20] = v4 ? 1 : 58;
    if (v4) error.bytes[20] = error.bytes[21] = 0;
    constexpr uint8_t TYPES_V4[] = {3, 11, 12, 4, 5};
    const uint8_t type = v4 ? TYPES_V4[below(5)] : static_cast<uint8_t>(1 + below(4));
    error.bytes.insert(error.bytes.end(), {type, static_cast<uint8_t>(below(5)), 0, 0, 0, 0, 5, 0});
    error.bytes.insert(error.bytes.end(), quoted.begin(), quoted.end());
    error.mendChecksum = error.mendLength = true;
    return error;
  }

  // A frame in two fragments, the second right behind it.
  void cutUp(std::vector<PacketRecord>& records, size_t at) {
    const size_t l4 = l4Of(records[at]);
    if (l4 == 0 || records[at].bytes.size() < l4 + 32) return;
    PacketRecord second = records[at];
    const bool v4 = isV4(second);
    const size_t place = 8 * (1 + below((second.bytes.size() - l4) / 8 - 1));
    const auto cut = static_cast<ptrdiff_t>(l4 + place);
    std::vector<uint8_t>& first = records[at].bytes;
    first.resize(l4 + place);
    second.bytes.erase(second.bytes.begin() + static_cast<ptrdiff_t>(l4),
                       second.bytes.begin() + cut);
    if (v4) {
      first[20] = 0x20;
      first[21] = 0;
      second.bytes[20] = static_cast<uint8_t>(place / 8 >> 8);
      second.bytes[21] = static_cast<uint8_t>(place / 8);
    } else {
      for (const bool last : {false, true}) {
        std::vector<uint8_t>& bytes = last ? second.bytes : first;
        const auto field = static_cast<uint16_t>(last ? place : 1);
        const uint8_t next = bytes[20];
        bytes[20] = 44;
        bytes.insert(bytes.begin() + 54, {next, 0, static_cast<uint8_t>(field >> 8),
                                          static_cast<uint8_t>(field), 0, 0, 0, 7});
      }
    }
    for (PacketRecord* record : {&records[at], &second}) {
      record->mendChecksum = record->mendLength = true;
    }
    records.insert(records.begin() + static_cast<ptrdiff_t>(at) + 1, std::move(second));
  }

  void changeOptions(PacketScript& script) {
    switch (below(6)) {
      case 0:
        script.loose = !script.loose;
        break;
      case 1:
        script.established = static_cast<Established>(below(3));
        break;
      case 2:
        script.isSwitch = !script.isSwitch;
        break;
      case 3:
        script.small = !script.small;
        break;
      case 4:
        script.audited = !script.audited;
        break;
      default:
        script.policy = static_cast<uint32_t>(below(4));
        break;
    }
  }

  void changeTransport(PacketRecord& record) {
    const size_t l4 = l4Of(record);
    if (l4 == 0) return;
    uint8_t* at = record.bytes.data() + l4;
    switch (below(4)) {
      case 0: {
        const uint16_t port = PORTS[below(std::size(PORTS))];
        const size_t side = 2 * below(2);
        at[side] = static_cast<uint8_t>(port >> 8);
        at[side + 1] = static_cast<uint8_t>(port);
        break;
      }
      case 1:
        at[13] = FLAGS[below(std::size(FLAGS))];
        break;
      case 2:
        at[4 + 4 * below(2) + 3] += static_cast<uint8_t>(below(3)) - 1;
        break;
      default:  // another host
        record.bytes[isV4(record) ? 29 + 4 * below(2) : 37 + 16 * below(2)] =
            static_cast<uint8_t>((isV4(record) ? 10 : 16) + below(5));
        break;
    }
  }

  void offload(PacketRecord& record) {
    const size_t l4 = l4Of(record);
    record.hasOffload = true;
    const uint8_t protocol = l4 == 0 ? 0 : record.bytes[isV4(record) ? 23 : 20];
    const auto type = static_cast<uint8_t>(protocol == 17 ? 5 : isV4(record) ? 1 : 4);
    record.offload = {1,
                      static_cast<uint8_t>(below(3) == 0 ? 0 : type),
                      0,
                      static_cast<uint16_t>(1 + below(64)),
                      static_cast<uint16_t>(l4),
                      static_cast<uint16_t>(protocol == 17 ? 6 : 16)};
    if (below(4) == 0) {
      auto* bytes = reinterpret_cast<uint8_t*>(&record.offload);
      bytes[below(sizeof record.offload)] = static_cast<uint8_t>(random_());
    }
  }

  void changeBytes(PacketRecord& record) {
    if (record.kind != PacketRecord::Kind::Frame) return;
    constexpr size_t GROWTH_MAX = 64;
    const size_t length = record.bytes.size();
    // From some place on, so that headers are hit as often as what is behind them.
    const size_t from = below(std::min<size_t>(length, 60) + 1);
    record.bytes.resize(length + GROWTH_MAX);
    const size_t changed =
        mutateBytes_(record.bytes.data() + from, length - from, length - from + GROWTH_MAX);
    record.bytes.resize(from + changed);
  }

  std::minstd_rand random_;
  MutateBytes mutateBytes_;
};

}  // namespace

size_t mutatePackets(uint8_t* bytes, size_t length, size_t lengthMax, uint32_t seed,
                     MutateBytes mutateBytes) {
  if (seed % 8 == 0) return mutateBytes(bytes, length, lengthMax);
  PacketScript script = parsePacketScript({bytes, length});
  Mutator mutator(seed, mutateBytes);
  for (uint32_t change = 0; change <= seed / 8 % 3; ++change) mutator.change(script);
  const std::vector<uint8_t> written = writePacketScript(script);
  const size_t kept = std::min(written.size(), lengthMax);
  std::memcpy(bytes, written.data(), kept);
  return kept;
}

}  // namespace sluice::testing
