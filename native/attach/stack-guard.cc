#include "native/attach/stack-guard.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include "native/attach/packet-socket.h"
#include "native/bpf/assembler.h"
#include "native/bpf/link.h"
#include "native/bpf/program.h"
#include "native/host/namespaces.h"

namespace sluice {
namespace {

constexpr int TCX_NEXT = -1;
constexpr int TCX_DROP = TC_ACT_SHOT;

// Attaches a program in front of all others of a hook.
Status attachFirst(uint32_t interfaceIndex, BpfHook hook, Assembler& code,
                   Descriptor* attached) noexcept {
  Descriptor program;
  const Status status = loadProgram(BPF_PROG_TYPE_SCHED_CLS, code.finish(), &program);
  if (!status.ok()) return status;
  return attachProgram(program.get(), interfaceIndex, hook, BPF_LINK_FIRST, attached);
}

// Attaches "drop everything" to an interface's ingress, and to its egress "drop what is not
// marked"; the mark is removed, so that later readers of marks do not see it.
Status attachPrograms(uint32_t interfaceIndex, Descriptor* ingress, Descriptor* egress) noexcept {
  constexpr int16_t MARK = offsetof(__sk_buff, mark);
  Assembler dropAll;
  dropAll.set(R0, TCX_DROP);
  dropAll.exit();
  Assembler dropUnmarked;
  const BpfLabel end = dropUnmarked.label();
  dropUnmarked.load(BPF_W, R2, R1, MARK);
  dropUnmarked.set(R0, TCX_DROP);
  dropUnmarked.jumpIf32(BPF_JNE, R2, FRAME_MARK, end);
  dropUnmarked.set(R2, 0);
  dropUnmarked.store(BPF_W, R1, MARK, R2);
  dropUnmarked.set(R0, TCX_NEXT);
  dropUnmarked.place(end);
  dropUnmarked.exit();
  const Status status = attachFirst(interfaceIndex, BpfHook::TcxIngress, dropAll, ingress);
  if (!status.ok()) return status;
  return attachFirst(interfaceIndex, BpfHook::TcxEgress, dropUnmarked, egress);
}

// Counts the guards of this process that rely on an interface's filters. While an interface moves
// from one link to another there are two guards, and only the last one removes the filters.
class FilterHolders {
 public:
  static void add(uint64_t namespaceNumber, uint32_t index) {
    const std::lock_guard<std::mutex> lock(mutex());
    ++counts()[{namespaceNumber, index}];
  }
  // Returns whether it was the last one.
  static bool remove(uint64_t namespaceNumber, uint32_t index) {
    const std::lock_guard<std::mutex> lock(mutex());
    const auto found = counts().find({namespaceNumber, index});
    if (found == counts().end() || --found->second > 0) return false;
    counts().erase(found);
    return true;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex only;
    return only;
  }
  static std::map<std::pair<uint64_t, uint32_t>, unsigned>& counts() {
    static std::map<std::pair<uint64_t, uint32_t>, unsigned> only;
    return only;
  }
};

// The number in "net:[4026531840]", the text of that link; 0 when it cannot be read. Not by stat():
// with it the addon would need a C library of 2.33 or later.
uint64_t ownNamespaceNumber() noexcept {
  constexpr std::string_view START = "net:[";
  char text[64];
  const ssize_t length = readlink("/proc/thread-self/ns/net", text, sizeof text);
  const std::string_view link(text, length > 0 ? static_cast<size_t>(length) : 0);
  uint64_t number = 0;
  if (link.starts_with(START)) {
    std::from_chars(link.data() + START.size(), link.data() + link.size(), number);
  }
  return number;
}

Status addLastingFilters(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd, [&] {
    std::optional<StackFilters> filters = findStackFilters(interfaceIndex);
    return addStackFilters(interfaceIndex, FRAME_MARK, &filters);
  });
}

Status removeWireFilter(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd,
                     [&] { return removeProgramFilter(ProgramFilter::Wire, interfaceIndex); });
}

}  // namespace

Status StackGuard::hold(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                        std::unique_ptr<StackGuard>* guard) noexcept {
  const Status status = StackGuard::guard(namespaceFd, interfaceIndex, lasting, guard);
  return status.ok() ? removeWireFilter(namespaceFd, interfaceIndex) : status;
}

Status StackGuard::guard(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                         std::unique_ptr<StackGuard>* guard) noexcept {
  std::unique_ptr<StackGuard> made(new (std::nothrow) StackGuard(interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  if (namespaceFd != OWN_NAMESPACE) {
    made->namespace_.reset(fcntl(namespaceFd, F_DUPFD_CLOEXEC, 0));
    if (!made->namespace_.valid()) return Status::system("dup", errno);
  }
  if (lasting) {
    const Status held = addLastingFilters(namespaceFd, interfaceIndex);
    if (held.ok()) *guard = std::move(made);
    return held;
  }
  const Status status = inNamespace(namespaceFd, [&]() -> Status {
    std::optional<StackFilters> filters = findStackFilters(interfaceIndex);
    if (!filters.has_value() &&
        attachPrograms(interfaceIndex, &made->ingress_, &made->egress_).ok()) {
      return {};
    }
    made->ingress_.reset();
    const Status filtered = addStackFilters(interfaceIndex, FRAME_MARK, &filters);
    if (!filtered.ok()) return filtered;
    made->filters_ = filters;
    made->namespaceNumber_ = ownNamespaceNumber();
    FilterHolders::add(made->namespaceNumber_, interfaceIndex);
    return {};
  });
  if (status.ok()) *guard = std::move(made);
  return status;
}

Status StackGuard::adopt(int namespaceFd, uint32_t interfaceIndex, bool lasting,
                         std::vector<Descriptor> descriptors,
                         std::unique_ptr<StackGuard>* guard) noexcept {
  if (lasting || descriptors.size() != 2 ||
      !isAttached(descriptors[0].get(), interfaceIndex, BpfHook::TcxIngress) ||
      !isAttached(descriptors[1].get(), interfaceIndex, BpfHook::TcxEgress)) {
    return StackGuard::guard(namespaceFd, interfaceIndex, lasting, guard);
  }
  std::unique_ptr<StackGuard> made(new (std::nothrow) StackGuard(interfaceIndex));
  if (made == nullptr) return {StatusCode::Limit};
  made->ingress_ = std::move(descriptors[0]);
  made->egress_ = std::move(descriptors[1]);
  *guard = std::move(made);
  return {};
}

std::vector<int> StackGuard::descriptors() const {
  if (!ingress_.valid() || !egress_.valid()) return {};
  return {ingress_.get(), egress_.get()};
}

StackGuard::~StackGuard() {
  if (!filters_.has_value()) return;
  if (!FilterHolders::remove(namespaceNumber_, interfaceIndex_) || !owned_) return;
  (void)inNamespace(namespace_.get(),
                    [this] { return removeStackFilters(interfaceIndex_, *filters_); });
}

Status holdStack(int namespaceFd, uint32_t interfaceIndex) noexcept {
  const Status status = addLastingFilters(namespaceFd, interfaceIndex);
  return status.ok() ? removeWireFilter(namespaceFd, interfaceIndex) : status;
}

Status isStackHeld(int namespaceFd, uint32_t interfaceIndex, bool* held) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    *held = findStackFilters(interfaceIndex).has_value();
    return {};
  });
}

Status releaseStack(int namespaceFd, uint32_t interfaceIndex) noexcept {
  return inNamespace(namespaceFd, [&]() -> Status {
    const std::optional<StackFilters> filters = findStackFilters(interfaceIndex);
    return filters.has_value() ? removeStackFilters(interfaceIndex, *filters) : Status{};
  });
}

}  // namespace sluice
