#pragma once

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "native/host/descriptor.h"
#include "native/packet/status.h"

// Changes to the kernel's nf_tables, and questions about them.
//
// Source: include/uapi/linux/netfilter/nf_tables.h of the kernel.

namespace sluice {

constexpr size_t NF_TABLES_DATAGRAM_BYTES_MAX = 1 << 16;

// Builds nf_tables messages. Changes go between batch marks; the kernel commits them as a whole.
class NfTablesBatch {
 public:
  NfTablesBatch() { mark(NFNL_MSG_BATCH_BEGIN); }

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
  // Not inlined: GCC 12 then warns of an overflow that cannot be.
  [[gnu::noinline]] void append(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    if (size > 0) bytes_.insert(bytes_.end(), bytes, bytes + size);
  }

  std::vector<uint8_t> bytes_;
  size_t message_ = 0;
  uint32_t sequence_ = 0;
  size_t answers_ = 0;
};

// Opens a socket for batches and questions. Errors: System.
Status openNfTables(Descriptor* opened) noexcept;

Status sendNfTables(const Descriptor& link, std::span<const uint8_t> bytes) noexcept;

// Calls `visit(header, body)` for each message of a datagram.
template <typename Visit>
void eachMessage(std::span<const uint8_t> rest, Visit&& visit) noexcept {
  while (rest.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, rest.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) return;
    visit(header, rest.subspan(sizeof header, header.nlmsg_len - sizeof header));
    rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
  }
}

// Receives a datagram and calls `visit(header, body)` for each of its messages.
template <typename Visit>
Status receiveNfTables(const Descriptor& link, std::vector<uint8_t>* buffer,
                       Visit&& visit) noexcept {
  buffer->resize(NF_TABLES_DATAGRAM_BYTES_MAX);
  ssize_t size = 0;
  do {
    size = recv(link.get(), buffer->data(), buffer->size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    return Status::system("receive NETLINK_NETFILTER", errno == EAGAIN ? ETIMEDOUT : errno);
  }
  eachMessage({buffer->data(), static_cast<size_t>(size)}, std::forward<Visit>(visit));
  return {};
}

// Makes the kernel commit a batch: all of it or nothing. Returns the errno of the first refusal, or
// 0.
int commit(const Descriptor& link, NfTablesBatch& batch) noexcept;

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

[[nodiscard]] std::string textOf(std::span<const uint8_t> bytes);

// A dump request, outside of a batch: lists `message` in `family`; with `table` and `set`, the
// elements of that set.
[[nodiscard]] std::vector<uint8_t> question(int message, uint8_t family, std::string_view table,
                                            const char* set);

// Sends a request and calls `visit(family, attributes)` for each entry of the reply.
template <typename Visit>
Status ask(const Descriptor& link, std::span<const uint8_t> asked, Visit&& visit) noexcept {
  if (const Status status = sendNfTables(link, asked); !status.ok()) return status;
  std::vector<uint8_t> buffer;
  int error = 0;
  for (bool ended = false; !ended;) {
    const Status status = receiveNfTables(link, &buffer, [&](const nlmsghdr& header, auto body) {
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

void putTable(NfTablesBatch& batch, int message, uint8_t family, std::string_view table,
              uint32_t flags);

// Begins a table that replaces an earlier one of its name.
void replaceTable(NfTablesBatch& batch, uint8_t family, std::string_view table);

// Makes the kernel commit a batch. Returns the errno of the first refusal, or 0.
int change(NfTablesBatch& batch) noexcept;

// Whether there is a table. Errors: System.
Status hasTable(uint8_t family, std::string_view table, bool* has) noexcept;

struct NfTablesChain {
  uint8_t family;
  std::string_view table;
  const char* name;
  uint32_t hook;
  int32_t priority;
  uint32_t policy = 1;  // what happens to what no rule decides: NF_ACCEPT, NF_DROP
};

// A chain at a hook, of the type "filter".
void putBaseChain(NfTablesBatch& batch, const NfTablesChain& chain);
// A chain that nothing runs through.
void putChain(NfTablesBatch& batch, uint8_t family, std::string_view table, const char* name);

// Appends a rule; `put` appends its expressions.
template <typename Put>
void putRule(NfTablesBatch& batch, uint8_t family, std::string_view table, const char* chain,
             Put&& put) {
  batch.begin(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND);
  batch.text(NFTA_RULE_TABLE, table);
  batch.text(NFTA_RULE_CHAIN, chain);
  const size_t expressions = batch.open(NFTA_RULE_EXPRESSIONS);
  put();
  batch.close(expressions);
  batch.end();
}

// Appends an expression of a rule; `put` appends the expression's own attributes.
template <typename Put>
void putExpression(NfTablesBatch& batch, const char* name, Put&& put) {
  const size_t element = batch.open(NFTA_LIST_ELEM);
  batch.text(NFTA_EXPR_NAME, name);
  const size_t data = batch.open(NFTA_EXPR_DATA);
  put();
  batch.close(data);
  batch.close(element);
}

// The last expression of a rule: NF_DROP or NF_ACCEPT.
void putVerdict(NfTablesBatch& batch, uint32_t verdict);

}  // namespace sluice
