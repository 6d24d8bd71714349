#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "native/conntrack/conn-entry.h"
#include "native/conntrack/siphash.h"

namespace sluice {

// Where a name is or would be stored: the start of a search for it.
struct ConnHint {
  uint64_t hash = 0;
  ConnEntry* likely = nullptr;  // an entry with the name's tag; nullptr: its bucket had none
};

// Hashes connection names with a secret. Remote peers choose the names, and cannot choose colliding
// ones without the secret.
//
// Uses AES rounds if the processor has them, otherwise SipHash-1-3; the two give different hashes.
// AES: each 16 bytes of the name go through three rounds under a key of their own, after which the
// best differential has a probability below 2^-54. The sum goes through two more rounds.
//
// Source: Aumasson and Bernstein, 2012; Keliher and Sui, "Exact maximum expected differential and
//         linear probability for two-round AES", 2007; FIPS 197.
class ConnHash {
 public:
  enum class Way : uint8_t { Sip, Aes };
  // Aes where the processor has it.
  [[nodiscard]] static Way fastestWay() noexcept;

  ConnHash() noexcept : ConnHash({}, Way::Sip) {}
  explicit ConnHash(const HashSecret& secret) noexcept : ConnHash(secret, fastestWay()) {}
  // Shape: `way` is one that the processor has.
  ConnHash(const HashSecret& secret, Way way) noexcept;

  [[nodiscard]] uint64_t one(const ConnKey& key) const noexcept {
    return way_ == Way::Aes ? oneAes(key) : oneSip(key);
  }
  // Shape: as many hints as names; each gets the hash that one() gives.
  void many(std::span<const ConnName> names, ConnHint* hints) const noexcept;

 private:
  static constexpr size_t AES_KEYS = 8;

  [[nodiscard]] uint64_t oneSip(const ConnKey& key) const noexcept;
  [[nodiscard]] uint64_t oneAes(const ConnKey& key) const noexcept;
  void manyAes(std::span<const ConnName> names, ConnHint* hints) const noexcept;

  // Two words for each round key: three keys to start with, three rounds, two rounds of the sum.
  alignas(16) std::array<uint64_t, 2 * AES_KEYS> aesKeys_ = {};
  HashSecret secret_;
  Way way_;
};

}  // namespace sluice
