#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/bpf/image.h"
#include "native/host/descriptor.h"
#include "native/layout/layout.gen.h"
#include "native/packet/status.h"

namespace sluice {

// The judge for kernels that attach no programs at netfilter's forward hook: rules of nftables
// there find out what a packet is to its connection, and leave it to one of MATCH_ROOTS programs,
// or to a queue for each role. native/bpf/programs/match.bpf.c judges.
//
// The rules are in the table "sluice-forward" of the families ip and ip6, in this process's own
// network namespace, and stay until removeMatchRules(). What no program lets pass is dropped there.

constexpr size_t MATCH_ROLES = 4;
constexpr size_t MATCH_ROOTS = 2 * MATCH_ROLES;  // those of IPv4 by role, then those of IPv6

// The queues, by role, from here on.
constexpr uint16_t QUEUE_FIRST = 21'320;

// Loads what the rules run: each calls the judge of its family in a PROG_ARRAY.
// Errors: as loadImage().
Status loadMatchRoots(int judges, std::span<Descriptor> roots) noexcept;

// Puts the rules of ForwardHook Iptables or Nfqueue, in the place of earlier ones, in one step.
//
// Errors: System, "change nf_tables": ENOENT or EOPNOTSUPP when the kernel lacks the module xt_bpf
//         or nft_compat; or nft_queue, and nft_compat as well.
Status putMatchRules(ForwardHook hook, std::span<const Descriptor> roots) noexcept;
// Whether the kernel would take them: nothing is changed. Errors: as putMatchRules().
Status tryMatchRules(ForwardHook hook, std::span<const Descriptor> roots) noexcept;

Status removeMatchRules() noexcept;

// Whether the rules are there: somebody may have flushed them. Errors: System.
Status haveMatchRules(bool* have) noexcept;

}  // namespace sluice
