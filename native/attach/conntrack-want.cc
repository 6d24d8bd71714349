#include "native/attach/conntrack-want.h"

#include <linux/netfilter.h>

#include "native/netlink/nf-tables.h"

namespace sluice {
namespace {

constexpr const char* TABLE = "sluice-conntrack";
constexpr const char* CHAIN = "wanted";

Status changeBy(NfTablesBatch& batch) noexcept {
  Descriptor link;
  const Status status = openNfTables(&link);
  if (!status.ok()) return status;
  const int error = commit(link, batch);
  return error == 0 ? Status{} : Status::system("change nf_tables", error);
}

}  // namespace

Status wantConntrack() noexcept {
  NfTablesBatch batch;
  // Replaces a table of an earlier process.
  for (const int message : {NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE}) {
    putTable(batch, message, NFPROTO_INET, TABLE, 0);
  }
  putBaseChain(batch, {NFPROTO_INET, TABLE, CHAIN, NF_INET_PRE_ROUTING, 0});
  batch.begin(NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND);
  batch.text(NFTA_RULE_TABLE, TABLE);
  batch.text(NFTA_RULE_CHAIN, CHAIN);
  const size_t expressions = batch.open(NFTA_RULE_EXPRESSIONS);
  putExpression(batch, "ct", [&] {
    batch.number(NFTA_CT_DREG, NFT_REG_1);
    batch.number(NFTA_CT_KEY, NFT_CT_STATE);
  });
  batch.close(expressions);
  batch.end();
  return changeBy(batch);
}

Status unwantConntrack() noexcept {
  NfTablesBatch batch;
  putTable(batch, NFT_MSG_DELTABLE, NFPROTO_INET, TABLE, 0);
  const Status status = changeBy(batch);
  return status.error == ENOENT ? Status{} : status;
}

}  // namespace sluice
