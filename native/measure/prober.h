#pragma once

#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// Tries connections between namespaces with real packets, several hundred at a time, from one
// thread. It opens each listener once, then makes every request and waits for its end.
//
// TCP connects and has a token echoed; UDP, ICMP echo and SCTP (an INIT by raw socket, for kernels
// without SCTP) send a token, once more halfway through the timeout, and wait for it to come back.
//
// Shape:  one result for each request, in the same order.
// Cost:   blocks until all requests have ended; uses one thread meanwhile.
// Errors: Argument when the spans differ in size; System when nothing could be tried at all.
Status probe(std::span<const ProbeRequest> requests, std::span<ProbeResult> results) noexcept;

}  // namespace sluice
