#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

namespace sluice {

// The kernel's own paths through an interface that a guard closes: routed and local IP, ARP,
// bridges.
enum class GuardFamily : uint8_t { Inet, Arp, Bridge, Count };

// The errno of each family, 0 where the guard is in force.
using GuardErrors = std::array<int, static_cast<size_t>(GuardFamily::Count)>;

// Blocks the kernel stack on interfaces by name. So an interface that is created again under a
// guarded name is closed from its first frame on, before a data plane has opened it.
//
// One nftables table in each family, in this process's own network namespace: it drops packets that
// enter or leave by an interface with one of the names. Packet sockets, AF_XDP, tc and XDP programs
// are not affected: they run earlier or bypass nftables. If the kernel supports it, only this
// process can change the tables while it lives (so `nft flush ruleset` leaves them).
//
// Owner: the tables stay when this process ends, whatever ended it, until remove() or, later,
//        another process's releaseGuardedNames(). A lock shows others that the tables are in use:
//        an abstract Unix socket in the same namespace, which ends with the process.
class NameGuard {
 public:
  // Makes no table yet. Errors: System.
  static Status create(std::unique_ptr<NameGuard>* guard) noexcept;

  // Guards exactly these names. Interfaces with the indexes `exempt` pass whatever their name. A
  // change takes effect as a whole or not at all.
  [[nodiscard]] GuardErrors hold(std::span<const std::string> names,
                                 std::span<const uint32_t> exempt) noexcept;

  // Removes the tables.
  void remove() noexcept;

  [[nodiscard]] const std::string& table() const noexcept { return table_; }

 private:
  NameGuard(std::string table, Descriptor lock, Descriptor link) noexcept;

  std::string table_;
  Descriptor lock_;
  Descriptor listener_;  // of the lock's name: whoever connects sees whose it is
  Descriptor link_;      // owns the tables
  std::array<bool, static_cast<size_t>(GuardFamily::Count)> made_ = {};
  bool owns_ = true;  // the kernel supports owned tables that outlive their owner
};

struct FoundGuard {
  std::string table;
  std::vector<std::string> names;
  bool live = false;  // its process is running
};

// The guards of this process's own network namespace. Errors: System.
Status listNameGuards(std::vector<FoundGuard>* guards) noexcept;

// The process that holds a guard's lock, as this process's PID namespace numbers it; 0 when that is
// not known: it has ended, is of an earlier version, or of another PID namespace.
[[nodiscard]] int ownerOfGuard(const std::string& table) noexcept;

// Removes these names from the guards of processes that have ended; a guard without names is
// removed as a whole. Errors: System.
Status releaseGuardedNames(std::span<const std::string> names) noexcept;

}  // namespace sluice
