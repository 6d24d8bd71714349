#include "native/attach/name-guard.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr std::string_view TABLE_START = "sluice-guard-";
constexpr const char* NAMES_SET = "held";
constexpr const char* EXEMPT_SET = "exempt";
// nft's numbers for the types of the sets' keys, so that nft can list them.
constexpr uint32_t TYPE_INTERFACE_INDEX = 20;
constexpr uint32_t TYPE_INTERFACE_NAME = 41;
// Defined here since the headers of an older kernel lack it; the running kernel may know it.
constexpr uint32_t TABLE_PERSISTS = 0x4;
// The hooks of ARP and of bridges; the headers that define them cannot be included with net/if.h.
constexpr uint32_t ARP_IN = 0;
constexpr uint32_t ARP_OUT = 1;
constexpr uint32_t BRIDGE_PRE_ROUTING = 0;
constexpr uint32_t BRIDGE_LOCAL_IN = 1;
constexpr uint32_t BRIDGE_LOCAL_OUT = 3;
constexpr uint32_t BRIDGE_POST_ROUTING = 4;
constexpr size_t ELEMENTS_MAX = 1'024;  // added by one message

struct Hook {
  const char* chain;
  uint32_t number;
  bool incoming;
};
struct Family {
  uint8_t number;
  std::span<const Hook> hooks;
};
// Routed and local packets pass the first and the last hook of IP. A bridge also has frames for
// itself that pass neither of its first and last hook.
constexpr Hook INET_HOOKS[] = {{"in", NF_INET_PRE_ROUTING, true},
                               {"out", NF_INET_POST_ROUTING, false}};
constexpr Hook ARP_HOOKS[] = {{"in", ARP_IN, true}, {"out", ARP_OUT, false}};
constexpr Hook BRIDGE_HOOKS[] = {{"in", BRIDGE_PRE_ROUTING, true},
                                 {"in-own", BRIDGE_LOCAL_IN, true},
                                 {"out-own", BRIDGE_LOCAL_OUT, false},
                                 {"out", BRIDGE_POST_ROUTING, false}};
constexpr Family FAMILIES[] = {
    {NFPROTO_INET, INET_HOOKS}, {NFPROTO_ARP, ARP_HOOKS}, {NFPROTO_BRIDGE, BRIDGE_HOOKS}};

void putSet(NfTablesBatch& batch, uint8_t family, std::string_view table, const char* set,
            uint32_t type, uint32_t keyBytes, uint32_t id) {
  batch.begin(NFT_MSG_NEWSET, family, NLM_F_CREATE);
  batch.text(NFTA_SET_TABLE, table);
  batch.text(NFTA_SET_NAME, set);
  batch.number(NFTA_SET_FLAGS, 0);
  batch.number(NFTA_SET_KEY_TYPE, type);
  batch.number(NFTA_SET_KEY_LEN, keyBytes);
  batch.number(NFTA_SET_ID, id);
  // For nft, which otherwise shows the keys wrongly: type, length, and "host byte order".
  const uint8_t order[] = {0, 4, 1, 0, 0, 0};
  batch.attribute(NFTA_SET_USERDATA, order, sizeof order);
  batch.end();
}

using Key = std::vector<uint8_t>;

Key keyOf(const std::string& name) {
  Key key(IFNAMSIZ);
  std::memcpy(key.data(), name.data(), std::min<size_t>(name.size(), IFNAMSIZ - 1));
  return key;
}

Key keyOf(uint32_t index) {
  Key key(sizeof index);
  std::memcpy(key.data(), &index, sizeof index);
  return key;
}

template <typename Value>
void putElements(NfTablesBatch& batch, int message, uint8_t family, std::string_view table,
                 const char* set, std::span<const Value> values) {
  // An attribute holds at most 64 KiB.
  if (values.size() > ELEMENTS_MAX) {
    putElements(batch, message, family, table, set, values.first(ELEMENTS_MAX));
    putElements(batch, message, family, table, set, values.subspan(ELEMENTS_MAX));
    return;
  }
  if (values.empty()) return;
  batch.begin(message, family, message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
  batch.text(NFTA_SET_ELEM_LIST_TABLE, table);
  batch.text(NFTA_SET_ELEM_LIST_SET, set);
  const size_t elements = batch.open(NFTA_SET_ELEM_LIST_ELEMENTS);
  for (const Value& value : values) {
    const size_t element = batch.open(NFTA_LIST_ELEM);
    const size_t key = batch.open(NFTA_SET_ELEM_KEY);
    const Key bytes = keyOf(value);
    batch.attribute(NFTA_DATA_VALUE, bytes.data(), bytes.size());
    batch.close(key);
    batch.close(element);
  }
  batch.close(elements);
  batch.end();
}

void putMatch(NfTablesBatch& batch, uint32_t meta, const char* set, uint32_t flags) {
  putExpression(batch, "meta", [&] {
    batch.number(NFTA_META_DREG, NFT_REG_1);
    batch.number(NFTA_META_KEY, meta);
  });
  putExpression(batch, "lookup", [&] {
    batch.text(NFTA_LOOKUP_SET, set);
    batch.number(NFTA_LOOKUP_SREG, NFT_REG_1);
    if (flags != 0) batch.number(NFTA_LOOKUP_FLAGS, flags);
  });
}

// A chain that runs before all others at its hook, and its one rule: `iifname @held iif != @exempt
// drop`.
void putChain(NfTablesBatch& batch, uint8_t family, std::string_view table, const Hook& hook) {
  putBaseChain(batch, {family, table, hook.chain, hook.number, INT_MIN});
  putRule(batch, family, table, hook.chain, [&] {
    putMatch(batch, hook.incoming ? NFT_META_IIFNAME : NFT_META_OIFNAME, NAMES_SET, 0);
    putMatch(batch, hook.incoming ? NFT_META_IIF : NFT_META_OIF, EXEMPT_SET, NFT_LOOKUP_F_INV);
    putVerdict(batch, NF_DROP);
  });
}

// A whole table, which replaces any table of that name.
void putGuard(NfTablesBatch& batch, const Family& family, std::string_view table, uint32_t flags,
              std::span<const std::string> names, std::span<const uint32_t> exempt) {
  putTable(batch, NFT_MSG_NEWTABLE, family.number, table, flags);
  putTable(batch, NFT_MSG_DELTABLE, family.number, table, flags);
  putTable(batch, NFT_MSG_NEWTABLE, family.number, table, flags);
  putSet(batch, family.number, table, NAMES_SET, TYPE_INTERFACE_NAME, IFNAMSIZ, 1);
  putSet(batch, family.number, table, EXEMPT_SET, TYPE_INTERFACE_INDEX, sizeof(uint32_t), 2);
  putElements(batch, NFT_MSG_NEWSETELEM, family.number, table, NAMES_SET, names);
  putElements(batch, NFT_MSG_NEWSETELEM, family.number, table, EXEMPT_SET, exempt);
  for (const Hook& hook : family.hooks) putChain(batch, family.number, table, hook);
}

// The abstract address of a table's lock.
struct LockAddress {
  explicit LockAddress(std::string_view table) noexcept {
    address.sun_family = AF_UNIX;
    const size_t length = std::min(table.size(), sizeof address.sun_path - 1);
    std::memcpy(address.sun_path + 1, table.data(), length);
    bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  }
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&address);
  }
  sockaddr_un address = {};
  socklen_t bytes = 0;
};

// Listens at a lock's address. Nobody is answered: the kernel tells who connects whose it is.
Descriptor listenAtLock(std::string_view table) noexcept {
  constexpr int BACKLOG = 64;  // as many may ask
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const LockAddress at(table);
  const bool listens = listener.valid() && bind(listener.get(), at.get(), at.bytes) == 0 &&
                       listen(listener.get(), BACKLOG) == 0;
  return listens ? std::move(listener) : Descriptor();
}

// A lock: a socket whose name no other process in this namespace can bind while it is open. Errors:
// EADDRINUSE.
Status lockTable(std::string_view table, Descriptor* lock) noexcept {
  Descriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  const LockAddress at(table);
  if (bind(made.get(), at.get(), at.bytes) != 0) return Status::system("bind AF_UNIX", errno);
  *lock = std::move(made);
  return {};
}

// The tables of the guards, with the families of each.
struct Placed {
  std::string table;
  std::vector<uint8_t> families;
};

Status findTables(const Descriptor& link, std::vector<Placed>* placed) noexcept {
  return ask(link, question(NFT_MSG_GETTABLE, AF_UNSPEC, {}, nullptr),
             [placed](uint8_t family, std::span<const uint8_t> attributes) {
               eachAttribute(attributes, [&](int type, std::span<const uint8_t> value) {
                 if (type != NFTA_TABLE_NAME) return;
                 std::string name = textOf(value);
                 if (!name.starts_with(TABLE_START)) return;
                 const auto same = [&name](const Placed& each) { return each.table == name; };
                 const auto found = std::find_if(placed->begin(), placed->end(), same);
                 if (found == placed->end()) {
                   placed->push_back({std::move(name), {family}});
                 } else {
                   found->families.push_back(family);
                 }
               });
             });
}

Status readNames(const Descriptor& link, uint8_t family, std::string_view table,
                 std::vector<std::string>* names) noexcept {
  return ask(link, question(NFT_MSG_GETSETELEM, family, table, NAMES_SET),
             [names](uint8_t, std::span<const uint8_t> attributes) {
               eachAttribute(attributes, [&](int list, std::span<const uint8_t> elements) {
                 if (list != NFTA_SET_ELEM_LIST_ELEMENTS) return;
                 eachAttribute(elements, [&](int, std::span<const uint8_t> element) {
                   eachAttribute(element, [&](int part, std::span<const uint8_t> key) {
                     if (part != NFTA_SET_ELEM_KEY) return;
                     eachAttribute(key, [&](int, std::span<const uint8_t> value) {
                       names->push_back(textOf(value));
                     });
                   });
                 });
               });
             });
}

}  // namespace

NameGuard::NameGuard(std::string table, Descriptor lock, Descriptor link) noexcept
    : table_(std::move(table)), lock_(std::move(lock)), link_(std::move(link)) {}

Status NameGuard::create(std::unique_ptr<NameGuard>* guard) noexcept {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) {
    return Status::system("getrandom", errno);
  }
  std::string table(TABLE_START);
  for (int shift = 60; shift >= 0; shift -= 4) {
    table += "0123456789abcdef"[(number >> shift) & 0xf];
  }
  Descriptor lock;
  Descriptor link;
  Status status = lockTable(table, &lock);
  if (status.ok()) status = openNfTables(&link);
  if (!status.ok()) return status;
  guard->reset(new (std::nothrow) NameGuard(std::move(table), std::move(lock), std::move(link)));
  if (*guard == nullptr) return {StatusCode::Limit};
  (*guard)->listener_ = listenAtLock((*guard)->table_);
  return {};
}

// IP comes last here and in remove(): each family is a change of its own, which takes the kernel a
// while. Where packets pass before ARP does, the kernel asks for a neighbour in vain, and asks
// again a second later.
GuardErrors NameGuard::hold(std::span<const std::string> names,
                            std::span<const uint32_t> exempt) noexcept {
  GuardErrors errors = {};
  for (size_t each = errors.size(); each-- > 0;) {
    const auto put = [&](uint32_t flags) {
      NfTablesBatch batch;
      putGuard(batch, FAMILIES[each], table_, flags, names, exempt);
      return commit(link_, batch);
    };
    constexpr uint32_t OWNED = NFT_TABLE_F_OWNER | TABLE_PERSISTS;
    errors[each] = put(owns_ ? OWNED : 0);
    if (owns_ && !made_[each] && (errors[each] == EOPNOTSUPP || errors[each] == EINVAL)) {
      errors[each] = put(0);
      owns_ = errors[each] != 0;
    }
    made_[each] = made_[each] || errors[each] == 0;
  }
  return errors;
}

void NameGuard::remove() noexcept {
  for (size_t each = made_.size(); each-- > 0;) {
    if (!made_[each]) continue;
    NfTablesBatch batch;
    putTable(batch, NFT_MSG_DELTABLE, FAMILIES[each].number, table_, 0);
    (void)commit(link_, batch);
    made_[each] = false;
  }
}

Status listNameGuards(std::vector<FoundGuard>* guards) noexcept {
  Descriptor link;
  std::vector<Placed> placed;
  Status status = openNfTables(&link);
  if (status.ok()) status = findTables(link, &placed);
  for (Placed& each : placed) {
    FoundGuard found;
    if (status.ok()) status = readNames(link, each.families.front(), each.table, &found.names);
    Descriptor lock;
    found.live = lockTable(each.table, &lock).error == EADDRINUSE;
    found.table = std::move(each.table);
    std::sort(found.names.begin(), found.names.end());
    guards->push_back(std::move(found));
  }
  return status;
}

int ownerOfGuard(const std::string& table) noexcept {
  const Descriptor asks(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const LockAddress at(table);
  ucred owner = {};
  socklen_t bytes = sizeof owner;
  const bool isKnown = asks.valid() && connect(asks.get(), at.get(), at.bytes) == 0 &&
                       getsockopt(asks.get(), SOL_SOCKET, SO_PEERCRED, &owner, &bytes) == 0;
  return isKnown ? owner.pid : 0;
}

Status releaseGuardedNames(std::span<const std::string> names) noexcept {
  Descriptor link;
  std::vector<Placed> placed;
  Status status = openNfTables(&link);
  if (status.ok()) status = findTables(link, &placed);
  if (!status.ok()) return status;
  for (const Placed& each : placed) {
    // The lock keeps other processes from doing the same at the same time.
    Descriptor lock;
    if (!lockTable(each.table, &lock).ok()) continue;
    NfTablesBatch batch;
    bool changes = false;
    for (const uint8_t family : each.families) {
      std::vector<std::string> held;
      if (!readNames(link, family, each.table, &held).ok()) continue;
      std::vector<std::string> gone;
      for (const std::string& name : held) {
        if (std::find(names.begin(), names.end(), name) != names.end()) gone.push_back(name);
      }
      if (gone.size() == held.size()) {
        putTable(batch, NFT_MSG_DELTABLE, family, each.table, 0);
      } else {
        putElements<std::string>(batch, NFT_MSG_DELSETELEM, family, each.table, NAMES_SET, gone);
      }
      changes = changes || !gone.empty() || held.empty();
    }
    if (!changes) continue;
    if (const int error = commit(link, batch); error != 0 && status.ok()) {
      status = Status::system("change nf_tables", error);
    }
  }
  return status;
}

}  // namespace sluice
