#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/table/table-slot.h"
#include "native/testing/blob-builder.h"
#include "native/testing/slow-packet.h"
#include "native/worker/filter.h"

namespace sluice::testing {

// The hosts of the packet target, by the last byte of their addresses (those of OnePod). Pod 10 is
// local always, 11 where there is a switch.
inline constexpr uint8_t POD_A = 10;
inline constexpr uint8_t POD_B = 11;

inline constexpr uint32_t POLICY_COUNT = 4;

// Both settings of the packet target, a wire with one pod and a switch with two and an uplink, each
// with four policies, as tables and as a list of rules. A table may audit the next policy.
class World {
 public:
  explicit World(bool isSwitch);

  [[nodiscard]] bool isSwitch() const { return switch_; }
  // A frame's way in: 0 from pod A, 1 from pod B where there is a switch, any other the uplink.
  [[nodiscard]] const LinkContext& link(uint32_t number) const;
  // Gives each pod its part of a new filter's connections; returns how many pods there are. Their
  // numbers are those of `owner` in link().
  uint32_t attachOwners(Filter& filter) const;
  // Puts a policy into force, as a table of a new generation, which may have audit rows.
  [[nodiscard]] TableInForce table(uint32_t policy, uint32_t generation,
                                   bool audited = false) const;

  // The local pod that owns an address, or -1.
  [[nodiscard]] int podOf(const AddressBytes& address, int family) const;
  // Whether the rules let a first packet through, read one by one.
  [[nodiscard]] bool allows(uint32_t policy, const SlowFlow& flow) const {
    return onePods(flow) && deniedBy(policy, flow) == 0;
  }
  // Whose rules do not let it through.
  [[nodiscard]] DeniedBy deniedBy(uint32_t policy, const SlowFlow& flow) const;
  // Who would deny it, were what `policy`'s table audits enforced.
  [[nodiscard]] DeniedBy auditedBy(uint32_t policy, const SlowFlow& flow) const;

 private:
  // Whether an end of it is a local pod.
  [[nodiscard]] bool onePods(const SlowFlow& flow) const;

  struct Policy {
    std::array<Blob, 2> blobs{Blob(0), Blob(0)};  // without audit rows, and with
    std::array<TableView, 2> views;
  };
  bool switch_;
  std::array<LinkContext, 3> links_;
  std::vector<Policy> policies_;
};

}  // namespace sluice::testing
