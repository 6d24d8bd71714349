#include "native/attach/forward-rules.h"

#include <linux/if_ether.h>
#include <linux/netfilter.h>

#include <cerrno>

#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr const char* TABLE = FORWARD_TABLE;
// The forward hook of a bridge; its header cannot be included with net/if.h.
constexpr uint32_t BRIDGE_FORWARD = 2;
// Behind rules that translate.
constexpr int32_t BRIDGE_PRIORITY = 0;
constexpr uint32_t ETHER_TYPE_OFFSET = 12;

int putTracking() noexcept {
  constexpr const char* CHAIN = "tracked";
  NfTablesBatch batch;
  replaceTable(batch, NFPROTO_INET, TABLE);
  putBaseChain(batch, {NFPROTO_INET, TABLE, CHAIN, NF_INET_PRE_ROUTING, 0});
  putRule(batch, NFPROTO_INET, TABLE, CHAIN, [&] {
    putExpression(batch, "ct", [&] {
      batch.number(NFTA_CT_DREG, NFT_REG_1);
      batch.number(NFTA_CT_KEY, NFT_CT_STATE);
    });
  });
  return change(batch);
}

// ether type != ip, != ip6, != arp: drop.
int putBridges() noexcept {
  constexpr const char* CHAIN = "forward";
  NfTablesBatch batch;
  replaceTable(batch, NFPROTO_BRIDGE, TABLE);
  putBaseChain(batch, {NFPROTO_BRIDGE, TABLE, CHAIN, BRIDGE_FORWARD, BRIDGE_PRIORITY});
  putRule(batch, NFPROTO_BRIDGE, TABLE, CHAIN, [&] {
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
    putVerdict(batch, NF_DROP);
  });
  return change(batch);
}

}  // namespace

Status putForwardRules(bool* bridges) noexcept {
  const int error = putTracking();
  if (error != 0) return Status::system("change nf_tables", error);
  *bridges = putBridges() == 0;
  return {};
}

Status removeForwardTable(uint8_t family) noexcept {
  NfTablesBatch batch;
  putTable(batch, NFT_MSG_DELTABLE, family, TABLE, 0);
  const int error = change(batch);
  const bool isAbsent = error == ENOENT || error == EOPNOTSUPP;
  return error == 0 || isAbsent ? Status{} : Status::system("change nf_tables", error);
}

Status removeForwardRules() noexcept {
  const Status status = removeForwardTable(NFPROTO_INET);
  return status.ok() ? removeForwardTable(NFPROTO_BRIDGE) : status;
}

Status haveForwardRules(bool* have) noexcept { return hasTable(NFPROTO_INET, TABLE, have); }

}  // namespace sluice
