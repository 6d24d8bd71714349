#include "native/measure/accept-queue.h"

#include <utility>

#include "native/host/namespaces.h"

namespace sluice {

Status openAcceptQueue(int namespaceFd, uint16_t queue,
                       std::unique_ptr<NfQueues>* opened) noexcept {
  NfQueues::Options options;
  options.first = queue;
  options.packetBytes = 128;
  options.packetsMax = 1'024;
  const auto accept = [](size_t, std::span<const uint8_t>, uint32_t) { return true; };
  // The thread inherits the namespace of the one that starts it.
  return inNamespace(namespaceFd, [&] { return NfQueues::open(options, accept, opened); });
}

}  // namespace sluice
