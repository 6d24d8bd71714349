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

// Decides which of the messages that no policy judges may pass a wire: those that answer or follow
// what was seen before, and only so many.
//
// It remembers, for each wire and each of its sides, who has solicited whom, and who has shown
// itself to be a neighbour. An entry is a keyed hash of the addresses. The memory is fixed and each
// side of a wire has its own part: whoever fills it forgets only what came by the same side.
//
// Threads: one.
// Cost:    create() allocates; admit() computes at most three hashes.
// Source:  RFC 4861 section 7.2, RFC 6583.
class ExemptGate {
 public:
  enum class Passage : uint8_t {
    Open,
    Unasked,  // nobody has asked for it, or its receiver is not known to be on the link
    Spent,    // the link has sent too much
  };

  // Errors: Limit when there is no memory.
  static Status create(const std::array<uint64_t, 2>& secret,
                       std::unique_ptr<ExemptGate>* gate) noexcept;

  // Says whether a message may pass that has the form of its kind, and remembers one that may.
  //
  // Units: `nowUs` never goes back.
  [[nodiscard]] Passage admit(ExemptKind kind, const PacketView& view, const LinkContext& from,
                              uint64_t nowUs) noexcept;

 private:
  // What an entry says, and of whom: the endpoint behind the wire, or somebody of the network.
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
  // When what each link has sent will have been made up for.
  std::array<uint64_t, LINKS_MAX> evenAtUs_ = {};
  std::unique_ptr<Entry[], Free> entries_;  // zone, fact, set, way
};

}  // namespace sluice
