#pragma once

#include <span>

#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// Tries connections between namespaces with real packets, several hundred at a time, from one
// thread: listeners are opened first, each once, then every request is made and waited for.
//
// TCP connects and has a token echoed; UDP, ICMP echo and SCTP (an INIT by raw socket, for kernels
// without SCTP) send a token, once more halfway through the timeout, and wait for it to come back.
//
// Shape:  one result a request, in order.
// Cost:   blocks until all have ended; a thread for that time.
// Errors: Argument for sizes that differ; System when nothing could be tried at all.
Status probe(std::span<const ProbeRequest> requests, std::span<ProbeResult> results) noexcept;

}  // namespace sluice
