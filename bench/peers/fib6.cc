#include <rte_fib6.h>
#include <rte_memory.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "bench/peers/peer.h"
#include "native/bench/flows.h"
#include "native/bench/read-file.h"
#include "native/table/table-slot.h"

using sluice::AddressBytes;
using sluice::DeniedBy;
using sluice::FlowTuple;
using sluice::TableBytes;
using sluice::TableView;

namespace {

constexpr size_t BATCH = 64;
constexpr uint32_t TBL8_GROUPS = 65'536;

struct Prefix {
  AddressBytes address = {};
  uint8_t length = 0;
};

// Reads lines `HEX LENGTH`, the address as 32 digits.
std::vector<Prefix> readPrefixes(const char* path) {
  std::vector<Prefix> prefixes;
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return prefixes;
  char text[33];
  unsigned length;
  while (std::fscanf(file, "%32s %u", text, &length) == 2) {
    Prefix prefix;
    for (size_t at = 0; at < 16; ++at) {
      unsigned byte = 0;
      std::sscanf(text + 2 * at, "%2x", &byte);
      prefix.address[at] = static_cast<uint8_t>(byte);
    }
    prefix.length = static_cast<uint8_t>(length);
    prefixes.push_back(prefix);
  }
  std::fclose(file);
  return prefixes;
}

bool holds(const Prefix& prefix, const AddressBytes& address) {
  for (size_t bit = 0; bit < prefix.length; ++bit) {
    if (((prefix.address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

// An address whose longest prefix of the list is this one: what the table says of it, it says of
// the prefix. The prefix's own address when all that were tried lie in longer ones.
AddressBytes insideOf(const Prefix& prefix, const std::vector<Prefix>& prefixes) {
  sluice::bench::Random random;
  constexpr int TRIES = 64;
  for (int tried = 0; tried < TRIES; ++tried) {
    AddressBytes address = prefix.address;
    for (size_t bit = prefix.length; bit < 128; ++bit) {
      if (random.below(2) == 0) address[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
    }
    const bool covered = std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& other) {
      return other.length > prefix.length && holds(other, address);
    });
    if (!covered) return address;
  }
  return prefix.address;
}

}  // namespace

// rte_fib6 finds the leaves; the table's rows and port sets, which have nothing to do with it, give
// the verdict.
int runFib6(int count, char** words) {
  std::vector<std::byte> blob;
  std::vector<std::byte> records;
  TableBytes bytes;
  TableView view;
  if (count != 3 || !sluice::bench::readFile(words[0], &blob) ||
      !sluice::bench::readFile(words[2], &records) || !TableBytes::copy(blob, &bytes).ok() ||
      !TableView::open(bytes.span(), &view).ok()) {
    std::fputs("want TABLE PREFIXES TUPLES\n", stderr);
    return 2;
  }
  const uint64_t started = sluice::bench::nowNs();
  rte_fib6_conf config = {};
  config.type = RTE_FIB6_TRIE;
  config.max_routes = 1 << 20;
  config.trie.nh_sz = RTE_FIB6_TRIE_4B;
  config.trie.num_tbl8 = TBL8_GROUPS;
  rte_fib6* fib = rte_fib6_create("addresses", SOCKET_ID_ANY, &config);
  if (fib == nullptr) {
    std::fputs("rte_fib6: cannot be created\n", stderr);
    return 2;
  }
  const std::vector<Prefix> prefixes = readPrefixes(words[1]);
  for (const Prefix& prefix : prefixes) {
    const uint32_t leaf = view.leafOf(insideOf(prefix, prefixes).data(), 6);
    if (rte_fib6_add(fib, prefix.address.data(), prefix.length, leaf) != 0) {
      std::fputs("rte_fib6: full\n", stderr);
      return 2;
    }
  }
  // The fastest way that the processor has.
  if (rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512) != 0) {
    rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_SCALAR);
  }

  const size_t tuples = records.size() / sizeof(FlowTuple);
  std::vector<AddressBytes> sources(tuples);
  std::vector<AddressBytes> destinations(tuples);
  std::vector<uint32_t> ports(tuples);
  for (size_t at = 0; at < tuples; ++at) {
    FlowTuple tuple;
    std::memcpy(&tuple, &records[at * sizeof tuple], sizeof tuple);
    std::copy_n(tuple.source, 16, sources[at].begin());
    std::copy_n(tuple.destination, 16, destinations[at].begin());
    ports[at] = TableView::slotPort(tuple.protocol, tuple.port);
  }

  const auto leavesOf = [fib](const AddressBytes* addresses, size_t size, uint32_t* leaves) {
    std::array<uint64_t, BATCH> found;
    auto* bytesOf = reinterpret_cast<uint8_t (*)[16]>(const_cast<AddressBytes*>(addresses));
    rte_fib6_lookup_bulk(fib, bytesOf, found.data(), static_cast<int>(size));
    std::copy_n(found.begin(), size, leaves);
  };
  const auto look = [&](size_t first, size_t size) {
    std::array<uint32_t, BATCH> source;
    std::array<uint32_t, BATCH> destination;
    std::array<DeniedBy, BATCH> denied;
    sluice::bench::askAhead(sources.data(), tuples, first, size);
    sluice::bench::askAhead(destinations.data(), tuples, first, size);
    sluice::bench::askAhead(ports.data(), tuples, first, size);
    leavesOf(&sources[first], size, source.data());
    leavesOf(&destinations[first], size, destination.data());
    view.decideBatch(source.data(), destination.data(), &ports[first], {denied.data(), size});
    return static_cast<uint64_t>(std::count(denied.begin(), denied.begin() + size, 0));
  };
  return takeTurns(started, 0, [&] { return sluice::bench::measure(tuples, BATCH, look); });
}
