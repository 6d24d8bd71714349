#pragma once

#include <memory>

#include "native/netlink/nf-queue.h"
#include "native/packet/status.h"

namespace sluice {

// A queue of netfilter whose packets all pass: what it costs to have first packets judged by a
// program, without the judging. Copies as much of each packet as such programs do.
//
// Errors: as NfQueues::open().
Status openAcceptQueue(int namespaceFd, uint16_t queue, std::unique_ptr<NfQueues>* opened) noexcept;

}  // namespace sluice
