#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "native/layout/layout.gen.h"

namespace sluice::testing {

// A blob that starts on a 64-byte boundary and can be damaged.
class Blob {
 public:
  explicit Blob(size_t bytes) : words_(bytes / 64) {}

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(words_));
  }
  uint32_t& word(size_t offset) { return words_[offset / 64].words[offset % 64 / 4]; }
  // Where a section starts.
  size_t at(SectionId id);
  void mendChecksum();

 private:
  struct alignas(64) Line {
    std::array<uint32_t, 16> words = {};
  };
  std::vector<Line> words_;
};

// Builds small tables by hand, for tests of what reads them: exact addresses over one default leaf.
class BlobBuilder {
 public:
  struct Ports {
    ProtocolSlot slot;
    uint16_t first;
    uint16_t last;
  };

  // Each call returns the number of the element that it added.
  uint32_t addPortSet(const std::vector<Ports>& ports);
  uint32_t addLeaf(Leaf leaf);
  uint32_t addEndpoint(EndpointRow endpoint);
  // One for each endpoint, or none at all.
  void addAuditRow(EndpointRow row) { auditRows_.push_back(row); }
  // rows × classes port-set numbers, row by row.
  void setCells(uint32_t rows, uint32_t classes, const std::vector<uint32_t>& cells);
  // The leaf of every address that is not mapped.
  void setDefaultLeaf(uint32_t leaf) { defaultLeaf_ = leaf; }
  void mapV4(std::array<uint8_t, 4> address, uint32_t leaf) { v4_[address] = leaf; }
  void mapV6(std::array<uint8_t, 16> address, uint32_t leaf) { v6_[address] = leaf; }

  // The cold sections. Without this no endpoint has a name and no row a policy.
  struct Provenance {
    std::string strings;
    std::vector<EndpointInfo> endpoints;
    std::vector<PolicyInfo> policies;
    std::vector<RuleInfo> rules;
    std::vector<RowInfo> rows;
    std::vector<uint32_t> rowLists;
    std::vector<uint32_t> originSets;
  };
  void setProvenance(Provenance provenance) { provenance_ = std::move(provenance); }

  [[nodiscard]] Blob build() const;

 private:
  std::map<std::array<uint8_t, 4>, uint32_t> v4_;
  std::map<std::array<uint8_t, 16>, uint32_t> v6_;
  std::vector<Leaf> leaves_;
  std::vector<EndpointRow> endpoints_;
  std::vector<EndpointRow> auditRows_;
  std::vector<uint16_t> cells_;
  std::vector<PortSet> portSets_;
  std::vector<uint16_t> pageIndexes_;
  std::vector<uint32_t> pages_;
  uint32_t rows_ = 0;
  uint32_t classes_ = 0;
  uint32_t defaultLeaf_ = 0;
  Provenance provenance_;
};

}  // namespace sluice::testing
