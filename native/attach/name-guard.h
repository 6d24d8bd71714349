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

// The kernel's own ways past an interface that a guard closes: routed and local IP, ARP, bridges.
enum class GuardFamily : uint8_t { Inet, Arp, Bridge, Count };

// The errno of each family, 0 where the guard is in force.
using GuardErrors = std::array<int, static_cast<size_t>(GuardFamily::Count)>;

// Keeps the kernel's own stack off interfaces by their names, so that one which is made anew under
// a name is closed from its first frame on, before anybody has taken it.
//
// One nftables table in each family, in this process's own network namespace: it drops what comes
// in or goes out by an interface of one of the names. Packet sockets, AF_XDP, tc and XDP programs
// are not concerned: they come before, or go around. Where the kernel knows how, nobody but this
// process can change the tables while it lives (so that `nft flush ruleset` leaves them).
//
// Owner: the tables stay when this process ends, whatever ended it, until remove() or, later,
//        releaseGuardedNames() of another process. A lock that goes with the process, an abstract
//        Unix socket in the same namespace, tells others that the tables are in use.
class NameGuard {
 public:
  // Makes no table yet. Errors: System.
  static Status create(std::unique_ptr<NameGuard>* guard) noexcept;

  // Guards these names and no others; interfaces with the indexes `exempt` are let through whatever
  // they are called. A change is in force as a whole, or not at all.
  [[nodiscard]] GuardErrors hold(std::span<const std::string> names,
                                 std::span<const uint32_t> exempt) noexcept;

  // Takes the tables away.
  void remove() noexcept;

  [[nodiscard]] const std::string& table() const noexcept { return table_; }

 private:
  NameGuard(std::string table, Descriptor lock, Descriptor link) noexcept;

  std::string table_;
  Descriptor lock_;
  Descriptor link_;  // owns the tables
  std::array<bool, static_cast<size_t>(GuardFamily::Count)> made_ = {};
  bool owns_ = true;  // the kernel knows of tables that have an owner and outlive it
};

struct FoundGuard {
  std::string table;
  std::vector<std::string> names;
  bool live = false;  // its process is there
};

// The guards of this process's own network namespace. Errors: System.
Status listNameGuards(std::vector<FoundGuard>* guards) noexcept;

// Takes these names off the guards of processes that are gone; a guard without names goes as a
// whole. Errors: System.
Status releaseGuardedNames(std::span<const std::string> names) noexcept;

}  // namespace sluice
