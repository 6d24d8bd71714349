#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "native/layout/layout.gen.h"
#include "native/packet/packet-view.h"
#include "native/packet/status.h"
#include "native/worker/filter.h"

namespace sluice {

// Decides which messages that no policy judges may pass a wire: those that answer or follow an
// earlier message, within a rate limit.
//
// For each wire and each of its sides, the gate remembers who has solicited whom, and who has
// proved to be a neighbour. An entry is a keyed hash of the addresses. The memory is fixed, and
// each side of a wire has its own part: a sender that fills it displaces only entries of its own
// side.
//
// Threads: one.
// Cost:    create() allocates; admit() computes at most three hashes.
// Source:  RFC 4861 section 7.2, RFC 6583.
class ExemptGate {
 public:
  enum class Passage : uint8_t {
    Open,
    Unasked,  // unsolicited, or its receiver is not known to be on the link
    Spent,    // the link is over its rate limit
  };

  // Errors: Limit when there is no memory.
  static Status create(const std::array<uint64_t, 2>& secret,
                       std::unique_ptr<ExemptGate>* gate) noexcept;

  // Decides whether a message that has the form of its kind may pass, and remembers a message that
  // passes.
  //
  // Units: `nowUs` never goes back.
  [[nodiscard]] Passage admit(ExemptKind kind, const PacketView& view, const LinkContext& from,
                              uint64_t nowUs) noexcept;

 private:
  // What an entry records, and about whom: the endpoint behind the wire, or a host of the network.
  enum class Fact : uint8_t { PodAsks, NetworkAsks, NetworkNeighbor };
  static constexpr size_t FACTS = 3;
  static constexpr size_t ZONES = 256;
  static constexpr size_t SETS = 64;
  static constexpr size_t WAYS = 4;

  struct Entry {
    uint64_t name;
    uint64_t untilUs;
  };
  struct Free {
    void operator()(Entry* entries) const noexcept { std::free(entries); }
  };

  explicit ExemptGate(const std::array<uint64_t, 2>& secret) noexcept : secret_(secret) {}

  [[nodiscard]] bool isPlaced(const PacketView& view, const LinkContext& from,
                              uint64_t nowUs) const noexcept;
  [[nodiscard]] bool take(uint32_t bytes, const LinkContext& from, uint64_t nowUs) noexcept;
  void remember(const PacketView& view, const LinkContext& from, uint64_t nowUs) noexcept;

  [[nodiscard]] uint64_t nameOf(Fact fact, uint8_t zone, const AddressBytes& who,
                                const AddressBytes& whom) const noexcept;
  [[nodiscard]] Entry* setOf(Fact fact, uint8_t zone, uint64_t name) const noexcept;
  [[nodiscard]] bool holds(Fact fact, uint8_t zone, const AddressBytes& who,
                           const AddressBytes& whom, uint64_t nowUs) const noexcept;
  void note(Fact fact, uint8_t zone, const AddressBytes& who, const AddressBytes& whom,
            uint64_t untilUs) noexcept;

  std::array<uint64_t, 2> secret_;
  // When each link's rate limit is fully restored.
  std::array<uint64_t, LINKS_MAX> evenAtUs_ = {};
  std::unique_ptr<Entry[], Free> entries_;  // zone, fact, set, way
};

}  // namespace sluice
