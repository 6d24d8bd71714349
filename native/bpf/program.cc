#include "native/bpf/program.h"

#include <linux/if_ether.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "native/bpf/call.h"

namespace sluice {
namespace {

constexpr size_t LOG_BYTES = 64 << 10;
constexpr size_t DETAIL_LINES = 2;
constexpr size_t DETAIL_BYTES_MAX = 300;
constexpr size_t DETAILS_MAX = 16;
// The kernel wants them, and more, in one page.
constexpr size_t SOCKET_FILTER_BYTES_MAX = 1'024;

// Retries on EAGAIN: the kernel stops verifying a program when a signal is pending for the thread.
// A child that ends, a reload or a profiler can cause that at any moment, and must not cost us an
// interface.
int load(bpf_attr* attributes) noexcept {
  constexpr int TRIES_MAX = 100;
  for (int tries = 1;; ++tries) {
    const int made = callBpf(BPF_PROG_LOAD, attributes);
    if (made >= 0 || errno != EAGAIN || tries == TRIES_MAX) return made;
  }
}

// The last lines of a log, without the verifier's statistics: the reason why it refused the
// program.
std::string endOf(std::string_view log) {
  std::string end;
  for (size_t lines = 0; lines < DETAIL_LINES && !log.empty();) {
    while (!log.empty() && log.back() == '\n') log.remove_suffix(1);
    const size_t start = log.find_last_of('\n') + 1;  // 0 when there is no other
    const std::string_view line = log.substr(start);
    log.remove_suffix(line.size());
    if (line.empty() || line.starts_with("processed ") || line.starts_with("verification time ")) {
      continue;
    }
    end = end.empty() ? std::string(line) : std::string(line) + "; " + end;
    ++lines;
  }
  return end.size() > DETAIL_BYTES_MAX ? end.substr(end.size() - DETAIL_BYTES_MAX) : end;
}

// Keeps a text until the process ends: a Status only points to it. Each refused program adds at
// most one text, since its words are always the same.
const char* kept(std::string text) {
  static std::mutex mutex;
  static auto* const texts = new std::set<std::string>;
  const std::lock_guard<std::mutex> lock(mutex);
  if (texts->size() >= DETAILS_MAX && !texts->contains(text)) return "";
  return texts->insert(std::move(text)).first->c_str();
}

}  // namespace

Status loadProgram(bpf_prog_type type, std::span<const bpf_insn> instructions, Descriptor* program,
                   const BpfProgramTraits& traits) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.prog_type = type;
  attributes.insn_cnt = static_cast<uint32_t>(instructions.size());
  attributes.insns = reinterpret_cast<uint64_t>(instructions.data());
  attributes.license = reinterpret_cast<uint64_t>(traits.license);
  attributes.expected_attach_type = type == BPF_PROG_TYPE_XDP ? BPF_XDP : traits.attachType;
  program->reset(load(&attributes));
  if (program->valid()) return {};

  Status refused = Status::system("BPF_PROG_LOAD", errno);
  // Loads the program again with a log buffer. The first attempt has none, since most programs need
  // no log.
  std::vector<char> log(LOG_BYTES);
  attributes.log_level = 1;
  attributes.log_buf = reinterpret_cast<uint64_t>(log.data());
  attributes.log_size = LOG_BYTES;
  const Descriptor logged(load(&attributes));
  refused.detail = kept(endOf(std::string_view(log.data(), strnlen(log.data(), log.size()))));
  return refused;
}

Status runOnce(int program, std::span<const std::byte> packet, uint32_t* result) noexcept {
  bpf_attr attributes = noAttributes();
  attributes.test.prog_fd = static_cast<uint32_t>(program);
  attributes.test.data_in = reinterpret_cast<uint64_t>(packet.data());
  attributes.test.data_size_in = static_cast<uint32_t>(packet.size());
  attributes.test.repeat = 1;
  if (callBpf(BPF_PROG_TEST_RUN, &attributes) != 0) {
    return Status::system("BPF_PROG_TEST_RUN", errno);
  }
  *result = attributes.test.retval;
  return {};
}

Status runFrame(int program, std::span<const std::byte> frame, uint32_t* mark,
                uint32_t* result) noexcept {
  bpf_attr attributes = noAttributes();
  __sk_buff before = {};
  __sk_buff after = {};
  before.mark = *mark;
  attributes.test.prog_fd = static_cast<uint32_t>(program);
  attributes.test.data_in = reinterpret_cast<uint64_t>(frame.data());
  attributes.test.data_size_in = static_cast<uint32_t>(frame.size());
  attributes.test.ctx_in = reinterpret_cast<uint64_t>(&before);
  attributes.test.ctx_size_in = sizeof before;
  attributes.test.ctx_out = reinterpret_cast<uint64_t>(&after);
  attributes.test.ctx_size_out = sizeof after;
  attributes.test.repeat = 1;
  if (callBpf(BPF_PROG_TEST_RUN, &attributes) != 0) {
    return Status::system("BPF_PROG_TEST_RUN", errno);
  }
  *mark = after.mark;
  *result = attributes.test.retval;
  return {};
}

Status runSocketFilter(int program, std::span<const std::byte> packet,
                       std::span<const uint32_t> control, uint32_t* result) noexcept {
  // The kernel takes a frame, and its Ethernet header away.
  std::array<std::byte, ETH_HLEN + SOCKET_FILTER_BYTES_MAX> frame = {};
  const size_t used = std::min(packet.size(), SOCKET_FILTER_BYTES_MAX);
  if (used == 0) return {StatusCode::Argument};
  const bool isV6 = (static_cast<uint8_t>(packet[0]) >> 4) == 6;
  const uint16_t type = __builtin_bswap16(isV6 ? ETH_P_IPV6 : ETH_P_IP);
  std::memcpy(frame.data() + ETH_HLEN - sizeof type, &type, sizeof type);
  std::memcpy(frame.data() + ETH_HLEN, packet.data(), used);
  __sk_buff context = {};
  std::copy_n(control.begin(), std::min(control.size(), std::size(context.cb)), context.cb);
  bpf_attr attributes = noAttributes();
  attributes.test.prog_fd = static_cast<uint32_t>(program);
  attributes.test.data_in = reinterpret_cast<uint64_t>(frame.data());
  attributes.test.data_size_in = static_cast<uint32_t>(ETH_HLEN + used);
  attributes.test.ctx_in = reinterpret_cast<uint64_t>(&context);
  attributes.test.ctx_size_in = offsetof(__sk_buff, cb) + sizeof context.cb;
  attributes.test.repeat = 1;
  if (callBpf(BPF_PROG_TEST_RUN, &attributes) != 0) {
    return Status::system("BPF_PROG_TEST_RUN", errno);
  }
  *result = attributes.test.retval;
  return {};
}

}  // namespace sluice
