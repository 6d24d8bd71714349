#include "native/table/classify.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "native/packet/bytes.h"

namespace sluice {
namespace {

constexpr size_t BLOCK = BATCH_FRAMES_MAX;

// Finds the leaves of a block's tuples, which are all of one family.
void leavesOf(const TableView& view, std::span<const FlowTuple> block, uint32_t* sources,
              uint32_t* destinations) noexcept {
  const size_t count = block.size();
  if (block[0].family == 4) {
    std::array<uint32_t, 2 * BLOCK> addresses;
    for (size_t at = 0; at < count; ++at) {
      addresses[at] = load32(block[at].source);
      addresses[count + at] = load32(block[at].destination);
    }
    view.leavesOfV4({addresses.data(), count}, sources);
    view.leavesOfV4({addresses.data() + count, count}, destinations);
  } else {
    std::array<AddressBytes, 2 * BLOCK> addresses;
    for (size_t at = 0; at < count; ++at) {
      std::memcpy(addresses[at].data(), block[at].source, 16);
      std::memcpy(addresses[count + at].data(), block[at].destination, 16);
    }
    view.leavesOfV6({addresses.data(), count}, sources);
    view.leavesOfV6({addresses.data() + count, count}, destinations);
  }
}

}  // namespace

void classify(const TableView& view, std::span<const FlowTuple> tuples,
              DeniedBy* verdicts) noexcept {
  std::array<uint32_t, BLOCK> sources;
  std::array<uint32_t, BLOCK> destinations;
  std::array<uint32_t, BLOCK> ports;
  while (!tuples.empty()) {
    // Runs of one family: usually all tuples are of one.
    const bool isV4 = tuples[0].family == 4;
    size_t count = 0;
    while (count < std::min(BLOCK, tuples.size()) && (tuples[count].family == 4) == isV4) {
      ports[count] = TableView::slotPort(tuples[count].protocol, tuples[count].port);
      ++count;
    }
    leavesOf(view, tuples.first(count), sources.data(), destinations.data());
    view.decideBatch(sources.data(), destinations.data(), ports.data(), {verdicts, count});
    verdicts += count;
    tuples = tuples.subspan(count);
  }
}

void audit(const TableView& view, std::span<const FlowTuple> tuples, DeniedBy* verdicts) noexcept {
  for (const FlowTuple& tuple : tuples) {
    *verdicts++ =
        view.audit(view.leafOf(tuple.source, tuple.family),
                   view.leafOf(tuple.destination, tuple.family), tuple.protocol, tuple.port);
  }
}

}  // namespace sluice
