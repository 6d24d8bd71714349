#include "native/attach/forward-match.h"

#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables_compat.h>

#include <cerrno>

#include "native/attach/forward-rules.h"
#include "native/bpf/programs.gen.h"
#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr const char* CHAIN = "judged";
constexpr uint8_t FAMILIES[] = {NFPROTO_IPV4, NFPROTO_IPV6};
constexpr uint32_t DATA_REGISTER = NFT_REG_1;

// The bits of a connection's state, as the expression "ct" has them. The headers of an older kernel
// lack some.
constexpr uint32_t STATE_INVALID = 1 << 0;
constexpr uint32_t STATE_ESTABLISHED = 1 << 1;
constexpr uint32_t STATE_RELATED = 1 << 2;
constexpr uint32_t STATE_NEW = 1 << 3;
constexpr uint32_t STATE_UNTRACKED = 1 << 6;

constexpr uint8_t ANY_DIRECTION = 2;
struct Role {
  uint32_t states;
  uint8_t direction;
};
// By MatchRole. A packet has exactly one of them.
constexpr Role ROLES[MATCH_ROLES] = {{STATE_NEW, ANY_DIRECTION},
                                     {STATE_ESTABLISHED | STATE_RELATED, 0},
                                     {STATE_ESTABLISHED | STATE_RELATED, 1},
                                     {STATE_INVALID | STATE_UNTRACKED, ANY_DIRECTION}};

// Struct xt_bpf_info_v1 of the kernel, revision 1 of the match "bpf".
struct MatchInfo {
  uint16_t mode;
  uint16_t instructions;
  int32_t fd;
  sock_filter code[64];
  alignas(8) uint64_t kernels;
};
constexpr uint32_t MATCH_REVISION = 1;
constexpr uint16_t MODE_DESCRIPTOR = 2;
static_assert(sizeof(MatchInfo) == 528);

void putData(NfTablesBatch& batch, uint16_t type, const void* value, size_t bytes) {
  const size_t data = batch.open(type);
  batch.attribute(NFTA_DATA_VALUE, value, bytes);
  batch.close(data);
}

void putCompare(NfTablesBatch& batch, uint32_t comparison, const void* value, size_t bytes) {
  putExpression(batch, "cmp", [&] {
    batch.number(NFTA_CMP_SREG, DATA_REGISTER);
    batch.number(NFTA_CMP_OP, comparison);
    putData(batch, NFTA_CMP_DATA, value, bytes);
  });
}

void putLoad(NfTablesBatch& batch, uint32_t key) {
  putExpression(batch, "ct", [&] {
    batch.number(NFTA_CT_DREG, DATA_REGISTER);
    batch.number(NFTA_CT_KEY, key);
  });
}

// ct state STATES, and ct direction DIRECTION.
void putRole(NfTablesBatch& batch, const Role& role) {
  constexpr uint32_t none = 0;
  putLoad(batch, NFT_CT_STATE);
  putExpression(batch, "bitwise", [&] {
    batch.number(NFTA_BITWISE_SREG, DATA_REGISTER);
    batch.number(NFTA_BITWISE_DREG, DATA_REGISTER);
    batch.number(NFTA_BITWISE_LEN, sizeof role.states);
    putData(batch, NFTA_BITWISE_MASK, &role.states, sizeof role.states);
    putData(batch, NFTA_BITWISE_XOR, &none, sizeof none);
  });
  putCompare(batch, NFT_CMP_NEQ, &none, sizeof none);
  if (role.direction == ANY_DIRECTION) return;
  putLoad(batch, NFT_CT_DIRECTION);
  putCompare(batch, NFT_CMP_EQ, &role.direction, sizeof role.direction);
}

// What iptables writes as `-m bpf --object-pinned`, with a program that this process has loaded.
void putMatch(NfTablesBatch& batch, int program) {
  MatchInfo info = {};
  info.mode = MODE_DESCRIPTOR;
  info.fd = program;
  putExpression(batch, "match", [&] {
    batch.text(NFTA_MATCH_NAME, "bpf");
    batch.number(NFTA_MATCH_REV, MATCH_REVISION);
    batch.attribute(NFTA_MATCH_INFO, &info, sizeof info);
  });
  putVerdict(batch, NF_ACCEPT);
}

// Without "bypass": while nobody listens, nothing passes.
void putQueue(NfTablesBatch& batch, uint16_t number) {
  putExpression(batch, "queue", [&] {
    constexpr uint16_t one = __builtin_bswap16(1);
    const uint16_t big = __builtin_bswap16(number);
    batch.attribute(NFTA_QUEUE_NUM, &big, sizeof big);
    batch.attribute(NFTA_QUEUE_TOTAL, &one, sizeof one);
  });
}

// The same for kernels that lack the expression: the target of iptables.
void putQueueTarget(NfTablesBatch& batch, uint16_t number) {
  putExpression(batch, "target", [&] {
    batch.text(NFTA_TARGET_NAME, "NFQUEUE");
    batch.number(NFTA_TARGET_REV, 0);
    batch.attribute(NFTA_TARGET_INFO, &number, sizeof number);
  });
}

enum class Form : uint8_t { Match, Queue, QueueTarget };

int putRules(Form form, std::span<const Descriptor> roots, bool isTry) noexcept {
  // Under a name of its own: the rules that are there go on.
  const char* const table = isTry ? "sluice-try" : FORWARD_TABLE;
  NfTablesBatch batch;
  for (size_t family = 0; family < std::size(FAMILIES); ++family) {
    const uint8_t number = FAMILIES[family];
    replaceTable(batch, number, table);
    if (isTry) {
      putChain(batch, number, table, CHAIN);
    } else {
      putBaseChain(batch, {number, table, CHAIN, NF_INET_FORWARD, FORWARD_PRIORITY, NF_DROP});
    }
    for (size_t role = 0; role < MATCH_ROLES; ++role) {
      putRule(batch, number, table, CHAIN, [&] {
        const auto queue = static_cast<uint16_t>(QUEUE_FIRST + role);
        putRole(batch, ROLES[role]);
        if (form == Form::Match) putMatch(batch, roots[family * MATCH_ROLES + role].get());
        if (form == Form::Queue) putQueue(batch, queue);
        if (form == Form::QueueTarget) putQueueTarget(batch, queue);
      });
    }
    if (isTry) putTable(batch, NFT_MSG_DELTABLE, number, table, 0);
  }
  return change(batch);
}

Status put(ForwardHook hook, std::span<const Descriptor> roots, bool isTry) noexcept {
  const bool isMatch = hook == ForwardHook::Iptables;
  int error = putRules(isMatch ? Form::Match : Form::Queue, roots, isTry);
  if (!isMatch && (error == ENOENT || error == EOPNOTSUPP)) {
    error = putRules(Form::QueueTarget, roots, isTry);
  }
  return error == 0 ? Status{} : Status::system("change nf_tables", error);
}

}  // namespace

Status loadMatchRoots(int judges, std::span<Descriptor> roots) noexcept {
  for (size_t index = 0; index < MATCH_ROOTS; ++index) {
    using Kind = BpfSymbol::Kind;
    const BpfSymbol symbols[] = {{"judges", Kind::Map, static_cast<uint64_t>(judges)},
                                 {"slot", Kind::Number, index / MATCH_ROLES},
                                 {"role", Kind::Number, index % MATCH_ROLES}};
    const Status status =
        loadImage(ROOT_MATCH, BPF_PROG_TYPE_SOCKET_FILTER, 0, symbols, &roots[index]);
    if (!status.ok()) return status;
  }
  return {};
}

Status putMatchRules(ForwardHook hook, std::span<const Descriptor> roots) noexcept {
  return put(hook, roots, false);
}

Status tryMatchRules(ForwardHook hook, std::span<const Descriptor> roots) noexcept {
  return put(hook, roots, true);
}

Status removeMatchRules() noexcept {
  for (const uint8_t family : FAMILIES) {
    const Status status = removeForwardTable(family);
    if (!status.ok()) return status;
  }
  return {};
}

Status haveMatchRules(bool* have) noexcept {
  for (const uint8_t family : FAMILIES) {
    const Status status = hasTable(family, FORWARD_TABLE, have);
    if (!status.ok() || !*have) return status;
  }
  return {};
}

}  // namespace sluice
