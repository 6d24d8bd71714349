#include "native/attach/forward-rules.h"

#include <linux/if_ether.h>
#include <linux/netfilter.h>

#include <cerrno>

#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr const char* TABLE = "sluice-forward";
// The forward hook of a bridge; its header cannot be included with net/if.h.
constexpr uint32_t BRIDGE_FORWARD = 2;
// Behind rules that translate.
constexpr int32_t BRIDGE_PRIORITY = 0;
constexpr uint32_t ETHER_TYPE_OFFSET = 12;

int changeBy(NfTablesBatch& batch) noexcept {
  Descriptor link;
  const Status status = openNfTables(&link);
  return status.ok() ? commit(link, batch) : status.error;
}

// Begins a table that replaces an earlier process's.
void beginTable(NfTablesBatch& batch, uint8_t family) {
  for (const int message : {NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE}) {
    putTable(batch, message, family, TABLE, 0);
  }
}

template <typename Put>
void putRule(NfTablesBatch& batch, uint8_t family, const char* chain, Put&& put) {
  batch.begin(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND);
  batch.text(NFTA_RULE_TABLE, TABLE);
  batch.text(NFTA_RULE_CHAIN, chain);
  const size_t expressions = batch.open(NFTA_RULE_EXPRESSIONS);
  put();
  batch.close(expressions);
  batch.end();
}

int putTracking() noexcept {
  constexpr const char* CHAIN = "tracked";
  NfTablesBatch batch;
  beginTable(batch, NFPROTO_INET);
  putBaseChain(batch, {NFPROTO_INET, TABLE, CHAIN, NF_INET_PRE_ROUTING, 0});
  putRule(batch, NFPROTO_INET, CHAIN, [&] {
    putExpression(batch, "ct", [&] {
      batch.number(NFTA_CT_DREG, NFT_REG_1);
      batch.number(NFTA_CT_KEY, NFT_CT_STATE);
    });
  });
  return changeBy(batch);
}

// ether type != ip, != ip6, != arp: drop.
int putBridges() noexcept {
  constexpr const char* CHAIN = "forward";
  NfTablesBatch batch;
  beginTable(batch, NFPROTO_BRIDGE);
  putBaseChain(batch, {NFPROTO_BRIDGE, TABLE, CHAIN, BRIDGE_FORWARD, BRIDGE_PRIORITY});
  putRule(batch, NFPROTO_BRIDGE, CHAIN, [&] {
    putExpression(batch, "payload", [&] {
      batch.number(NFTA_PAYLOAD_DREG, NFT_REG_1);
      batch.number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_LL_HEADER);
      batch.number(NFTA_PAYLOAD_OFFSET, ETHER_TYPE_OFFSET);
      batch.number(NFTA_PAYLOAD_LEN, sizeof(uint16_t));
    });
    for (const uint16_t type : {ETH_P_IP, ETH_P_IPV6, ETH_P_ARP}) {
      putExpression(batch, "cmp", [&] {
        batch.number(NFTA_CMP_SREG, NFT_REG_1);
        batch.number(NFTA_CMP_OP, NFT_CMP_NEQ);
        const size_t data = batch.open(NFTA_CMP_DATA);
        const uint16_t big = __builtin_bswap16(type);
        batch.attribute(NFTA_DATA_VALUE, &big, sizeof big);
        batch.close(data);
      });
    }
    putDrop(batch);
  });
  return changeBy(batch);
}

}  // namespace

Status putForwardRules(bool* bridges) noexcept {
  const int error = putTracking();
  if (error != 0) return Status::system("change nf_tables", error);
  *bridges = putBridges() == 0;
  return {};
}

Status removeForwardRules() noexcept {
  for (const uint8_t family : {NFPROTO_INET, NFPROTO_BRIDGE}) {
    NfTablesBatch batch;
    putTable(batch, NFT_MSG_DELTABLE, family, TABLE, 0);
    const int error = changeBy(batch);
    const bool isAbsent = error == ENOENT || error == EOPNOTSUPP;
    if (error != 0 && !isAbsent) return Status::system("change nf_tables", error);
  }
  return {};
}

Status haveForwardRules(bool* have) noexcept {
  *have = false;
  Descriptor link;
  const Status status = openNfTables(&link);
  if (!status.ok()) return status;
  return ask(link, question(NFT_MSG_GETTABLE, NFPROTO_INET, {}, nullptr),
             [have](uint8_t family, std::span<const uint8_t> attributes) {
               eachAttribute(attributes, [&](int type, std::span<const uint8_t> value) {
                 const bool isOurs = type == NFTA_TABLE_NAME && textOf(value) == TABLE;
                 if (family == NFPROTO_INET && isOurs) *have = true;
               });
             });
}

}  // namespace sluice
