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
constexpr time_t ANSWER_SECONDS_MAX = 10;
constexpr size_t DATAGRAM_BYTES_MAX = 1 << 16;

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

// Builds nf_tables messages. Changes go between batch marks; the kernel commits them as a whole.
class Batch {
 public:
  Batch() { mark(NFNL_MSG_BATCH_BEGIN); }

  void begin(int message, uint8_t family, uint16_t flags) {
    start(static_cast<uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message),
          static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags), family, 0);
    ++answers_;
  }
  void attribute(uint16_t type, const void* data, size_t size) {
    const nlattr head = {static_cast<uint16_t>(NLA_HDRLEN + size), type};
    append(&head, sizeof head);
    append(data, size);
    bytes_.resize(NLA_ALIGN(bytes_.size()));
  }
  void text(uint16_t type, std::string_view value) {
    const std::string ended(value);
    attribute(type, ended.c_str(), ended.size() + 1);
  }
  void number(uint16_t type, uint32_t value) {
    const uint32_t big = __builtin_bswap32(value);
    attribute(type, &big, sizeof big);
  }
  [[nodiscard]] size_t open(uint16_t type) {
    const size_t at = bytes_.size();
    attribute(static_cast<uint16_t>(type | NLA_F_NESTED), nullptr, 0);
    return at;
  }
  void close(size_t at) {
    const auto length = static_cast<uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  void end() {
    const auto length = static_cast<uint32_t>(bytes_.size() - message_);
    std::memcpy(bytes_.data() + message_, &length, sizeof length);
  }
  std::span<const uint8_t> finish() {
    mark(NFNL_MSG_BATCH_END);
    return bytes_;
  }
  [[nodiscard]] size_t answers() const noexcept { return answers_; }

 private:
  void mark(uint16_t type) {
    start(type, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    end();
  }
  void start(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource) {
    message_ = bytes_.size();
    nlmsghdr header = {};
    header.nlmsg_type = type;
    header.nlmsg_flags = flags;
    header.nlmsg_seq = ++sequence_;
    append(&header, sizeof header);
    const nfgenmsg body = {family, NFNETLINK_V0, __builtin_bswap16(resource)};
    append(&body, sizeof body);
  }
  void append(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    if (size > 0) bytes_.insert(bytes_.end(), bytes, bytes + size);
  }

  std::vector<uint8_t> bytes_;
  size_t message_ = 0;
  uint32_t sequence_ = 0;
  size_t answers_ = 0;
};

Status openLink(Descriptor* opened) noexcept {
  Descriptor link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!link.valid()) return Status::system("socket NETLINK_NETFILTER", errno);
  const timeval wait = {ANSWER_SECONDS_MAX, 0};
  if (setsockopt(link.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) {
    return Status::system("SO_RCVTIMEO", errno);
  }
  *opened = std::move(link);
  return {};
}

Status sendTo(const Descriptor& link, std::span<const uint8_t> bytes) noexcept {
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(link.get(), bytes.data(), bytes.size(), 0,
                              reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  return sent >= 0 ? Status{} : Status::system("send NETLINK_NETFILTER", errno);
}

// Receives a datagram and calls `visit(header, body)` for each of its messages.
template <typename Visit>
Status receiveFrom(const Descriptor& link, std::vector<uint8_t>* buffer, Visit&& visit) noexcept {
  buffer->resize(DATAGRAM_BYTES_MAX);
  ssize_t size = 0;
  do {
    size = recv(link.get(), buffer->data(), buffer->size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    return Status::system("receive NETLINK_NETFILTER", errno == EAGAIN ? ETIMEDOUT : errno);
  }
  std::span<const uint8_t> rest(buffer->data(), static_cast<size_t>(size));
  while (rest.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
    visit(header, rest.subspan(sizeof header, header.nlmsg_len - sizeof header));
    rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
  }
  return {};
}

// Makes the kernel commit a batch: all of it or nothing. Returns the errno of the first refusal, or
// 0.
int commit(const Descriptor& link, Batch& batch) noexcept {
  if (const Status status = sendTo(link, batch.finish()); !status.ok()) return status.error;
  std::vector<uint8_t> buffer;
  int error = 0;
  bool isWhole = false;
  size_t answers = 0;
  while (answers < batch.answers() && !isWhole) {
    const Status status = receiveFrom(link, &buffer, [&](const nlmsghdr& header, auto body) {
      int32_t code = 0;
      if (header.nlmsg_type != NLMSG_ERROR || body.size() < sizeof code) return;
      std::memcpy(&code, body.data(), sizeof code);
      ++answers;
      if (code != 0 && error == 0) error = -code;
      // The first mark gets a reply only if the kernel has no nf_tables; then it is the only reply.
      isWhole = isWhole || header.nlmsg_seq == 1;
    });
    if (!status.ok()) return error != 0 ? error : status.error;
  }
  return error;
}

template <typename Visit>
void eachAttribute(std::span<const uint8_t> bytes, Visit&& visit) noexcept {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > bytes.size()) return;
    visit(head.nla_type & NLA_TYPE_MASK, bytes.subspan(sizeof head, head.nla_len - sizeof head));
    bytes = bytes.subspan(std::min<size_t>(NLA_ALIGN(head.nla_len), bytes.size()));
  }
}

std::string textOf(std::span<const uint8_t> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return std::string(text, strnlen(text, bytes.size()));
}

// A dump request, outside of a batch: lists `message` in `family`; with `table` and `set`, the
// elements of that set.
std::vector<uint8_t> question(int message, uint8_t family, std::string_view table,
                              const char* set) {
  std::vector<uint8_t> bytes(NLMSG_LENGTH(sizeof(nfgenmsg)));
  const auto text = [&bytes](uint16_t type, std::string_view value) {
    const nlattr head = {static_cast<uint16_t>(NLA_HDRLEN + value.size() + 1), type};
    const size_t at = bytes.size();
    bytes.resize(at + NLA_ALIGN(head.nla_len));
    std::memcpy(bytes.data() + at, &head, sizeof head);
    std::memcpy(bytes.data() + at + NLA_HDRLEN, value.data(), value.size());
  };
  if (set != nullptr) {
    text(NFTA_SET_ELEM_LIST_TABLE, table);
    text(NFTA_SET_ELEM_LIST_SET, set);
  }
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<uint32_t>(bytes.size());
  header.nlmsg_type = static_cast<uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message);
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header.nlmsg_seq = 1;
  const nfgenmsg body = {family, NFNETLINK_V0, 0};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + NLMSG_HDRLEN, &body, sizeof body);
  return bytes;
}

// Sends a request and calls `visit(family, attributes)` for each entry of the reply.
template <typename Visit>
Status ask(const Descriptor& link, std::span<const uint8_t> asked, Visit&& visit) noexcept {
  if (const Status status = sendTo(link, asked); !status.ok()) return status;
  std::vector<uint8_t> buffer;
  int error = 0;
  for (bool ended = false; !ended;) {
    const Status status = receiveFrom(link, &buffer, [&](const nlmsghdr& header, auto body) {
      if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
        int32_t code = 0;
        if (body.size() >= sizeof code) std::memcpy(&code, body.data(), sizeof code);
        error = -code;
        ended = true;
      } else if (body.size() >= sizeof(nfgenmsg)) {
        visit(body[0], body.subspan(sizeof(nfgenmsg)));
      }
    });
    if (!status.ok()) return status;
  }
  return error == 0 ? Status{} : Status::system("list nf_tables", error);
}

void putTable(Batch& batch, int message, uint8_t family, std::string_view table, uint32_t flags) {
  const bool makes = message == NFT_MSG_NEWTABLE;
  batch.begin(message, family, makes ? NLM_F_CREATE : 0);
  batch.text(NFTA_TABLE_NAME, table);
  if (makes) batch.number(NFTA_TABLE_FLAGS, flags);
  batch.end();
}

void putSet(Batch& batch, uint8_t family, std::string_view table, const char* set, uint32_t type,
            uint32_t keyBytes, uint32_t id) {
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
void putElements(Batch& batch, int message, uint8_t family, std::string_view table, const char* set,
                 std::span<const Value> values) {
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

// Appends an expression of a rule; `put` appends the expression's own attributes.
template <typename Put>
void putExpression(Batch& batch, const char* name, Put&& put) {
  const size_t element = batch.open(NFTA_LIST_ELEM);
  batch.text(NFTA_EXPR_NAME, name);
  const size_t data = batch.open(NFTA_EXPR_DATA);
  put();
  batch.close(data);
  batch.close(element);
}

void putMatch(Batch& batch, uint32_t meta, const char* set, uint32_t flags) {
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
void putChain(Batch& batch, uint8_t family, std::string_view table, const Hook& hook) {
  batch.begin(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE);
  batch.text(NFTA_CHAIN_TABLE, table);
  batch.text(NFTA_CHAIN_NAME, hook.chain);
  batch.text(NFTA_CHAIN_TYPE, "filter");
  const size_t place = batch.open(NFTA_CHAIN_HOOK);
  batch.number(NFTA_HOOK_HOOKNUM, hook.number);
  batch.number(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(INT_MIN));
  batch.close(place);
  batch.number(NFTA_CHAIN_POLICY, NF_ACCEPT);
  batch.end();

  batch.begin(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND);
  batch.text(NFTA_RULE_TABLE, table);
  batch.text(NFTA_RULE_CHAIN, hook.chain);
  const size_t expressions = batch.open(NFTA_RULE_EXPRESSIONS);
  putMatch(batch, hook.incoming ? NFT_META_IIFNAME : NFT_META_OIFNAME, NAMES_SET, 0);
  putMatch(batch, hook.incoming ? NFT_META_IIF : NFT_META_OIF, EXEMPT_SET, NFT_LOOKUP_F_INV);
  putExpression(batch, "immediate", [&] {
    batch.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    const size_t data = batch.open(NFTA_IMMEDIATE_DATA);
    const size_t verdict = batch.open(NFTA_DATA_VERDICT);
    batch.number(NFTA_VERDICT_CODE, NF_DROP);
    batch.close(verdict);
    batch.close(data);
  });
  batch.close(expressions);
  batch.end();
}

// A whole table, which replaces any table of that name.
void putGuard(Batch& batch, const Family& family, std::string_view table, uint32_t flags,
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

// A lock: a socket whose name no other process in this namespace can bind while it is open. Errors:
// EADDRINUSE.
Status lockTable(std::string_view table, Descriptor* lock) noexcept {
  Descriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!made.valid()) return Status::system("socket AF_UNIX", errno);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::min(table.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path + 1, table.data(), length);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (bind(made.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return Status::system("bind AF_UNIX", errno);
  }
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
  if (status.ok()) status = openLink(&link);
  if (!status.ok()) return status;
  guard->reset(new (std::nothrow) NameGuard(std::move(table), std::move(lock), std::move(link)));
  return *guard != nullptr ? Status{} : Status{StatusCode::Limit};
}

GuardErrors NameGuard::hold(std::span<const std::string> names,
                            std::span<const uint32_t> exempt) noexcept {
  GuardErrors errors = {};
  for (size_t each = 0; each < errors.size(); ++each) {
    const auto put = [&](uint32_t flags) {
      Batch batch;
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
  for (size_t each = 0; each < made_.size(); ++each) {
    if (!made_[each]) continue;
    Batch batch;
    putTable(batch, NFT_MSG_DELTABLE, FAMILIES[each].number, table_, 0);
    (void)commit(link_, batch);
    made_[each] = false;
  }
}

Status listNameGuards(std::vector<FoundGuard>* guards) noexcept {
  Descriptor link;
  std::vector<Placed> placed;
  Status status = openLink(&link);
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

Status releaseGuardedNames(std::span<const std::string> names) noexcept {
  Descriptor link;
  std::vector<Placed> placed;
  Status status = openLink(&link);
  if (status.ok()) status = findTables(link, &placed);
  if (!status.ok()) return status;
  for (const Placed& each : placed) {
    // The lock keeps other processes from doing the same at the same time.
    Descriptor lock;
    if (!lockTable(each.table, &lock).ok()) continue;
    Batch batch;
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
