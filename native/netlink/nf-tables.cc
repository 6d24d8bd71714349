#include "native/netlink/nf-tables.h"

#include <linux/netfilter.h>
#include <sys/time.h>

#include <utility>

namespace sluice {
namespace {

constexpr time_t ANSWER_SECONDS_MAX = 10;

}  // namespace

Status openNfTables(Descriptor* opened) noexcept {
  Descriptor link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!link.valid()) return Status::system("socket NETLINK_NETFILTER", errno);
  const timeval wait = {ANSWER_SECONDS_MAX, 0};
  if (setsockopt(link.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) {
    return Status::system("SO_RCVTIMEO", errno);
  }
  *opened = std::move(link);
  return {};
}

Status sendNfTables(const Descriptor& link, std::span<const uint8_t> bytes) noexcept {
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(link.get(), bytes.data(), bytes.size(), 0,
                              reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  return sent >= 0 ? Status{} : Status::system("send NETLINK_NETFILTER", errno);
}

int commit(const Descriptor& link, NfTablesBatch& batch) noexcept {
  if (const Status status = sendNfTables(link, batch.finish()); !status.ok()) return status.error;
  std::vector<uint8_t> buffer;
  int error = 0;
  bool isWhole = false;
  size_t answers = 0;
  while (answers < batch.answers() && !isWhole) {
    const Status status = receiveNfTables(link, &buffer, [&](const nlmsghdr& header, auto body) {
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

std::string textOf(std::span<const uint8_t> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return std::string(text, strnlen(text, bytes.size()));
}

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

void putTable(NfTablesBatch& batch, int message, uint8_t family, std::string_view table,
              uint32_t flags) {
  const bool makes = message == NFT_MSG_NEWTABLE;
  batch.begin(message, family, makes ? NLM_F_CREATE : 0);
  batch.text(NFTA_TABLE_NAME, table);
  if (makes) batch.number(NFTA_TABLE_FLAGS, flags);
  batch.end();
}

void replaceTable(NfTablesBatch& batch, uint8_t family, std::string_view table) {
  for (const int message : {NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE}) {
    putTable(batch, message, family, table, 0);
  }
}

int change(NfTablesBatch& batch) noexcept {
  Descriptor link;
  const Status status = openNfTables(&link);
  return status.ok() ? commit(link, batch) : status.error;
}

Status hasTable(uint8_t family, std::string_view table, bool* has) noexcept {
  *has = false;
  Descriptor link;
  const Status status = openNfTables(&link);
  if (!status.ok()) return status;
  return ask(link, question(NFT_MSG_GETTABLE, family, {}, nullptr),
             [&](uint8_t of, std::span<const uint8_t> attributes) {
               eachAttribute(attributes, [&](int type, std::span<const uint8_t> value) {
                 const bool isNamed = type == NFTA_TABLE_NAME && textOf(value) == table;
                 if (of == family && isNamed) *has = true;
               });
             });
}

void putVerdict(NfTablesBatch& batch, uint32_t code) {
  putExpression(batch, "immediate", [&] {
    batch.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    const size_t data = batch.open(NFTA_IMMEDIATE_DATA);
    const size_t verdict = batch.open(NFTA_DATA_VERDICT);
    batch.number(NFTA_VERDICT_CODE, code);
    batch.close(verdict);
    batch.close(data);
  });
}

void putBaseChain(NfTablesBatch& batch, const NfTablesChain& chain) {
  batch.begin(NFT_MSG_NEWCHAIN, chain.family, NLM_F_CREATE);
  batch.text(NFTA_CHAIN_TABLE, chain.table);
  batch.text(NFTA_CHAIN_NAME, chain.name);
  batch.text(NFTA_CHAIN_TYPE, "filter");
  const size_t place = batch.open(NFTA_CHAIN_HOOK);
  batch.number(NFTA_HOOK_HOOKNUM, chain.hook);
  batch.number(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain.priority));
  batch.close(place);
  batch.number(NFTA_CHAIN_POLICY, chain.policy);
  batch.end();
}

void putChain(NfTablesBatch& batch, uint8_t family, std::string_view table, const char* name) {
  batch.begin(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE);
  batch.text(NFTA_CHAIN_TABLE, table);
  batch.text(NFTA_CHAIN_NAME, name);
  batch.end();
}

}  // namespace sluice
