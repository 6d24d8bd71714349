#include "native/attach/source-guards.h"

#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <new>
#include <string_view>

#include "native/attach/pin-folder.h"
#include "native/bpf/image.h"
#include "native/bpf/link.h"
#include "native/bpf/map.h"
#include "native/bpf/programs.gen.h"
#include "native/netlink/tc-filters.h"

namespace sluice {
namespace {

// More than a node has pods.
constexpr uint32_t GUARDS_MAX = 4096;
constexpr BpfMapShape GUARDED_SHAPE = {BPF_MAP_TYPE_HASH, 4, sizeof(GuardedInterface), GUARDS_MAX,
                                       0};
constexpr BpfMapShape COUNTS_SHAPE = {BPF_MAP_TYPE_HASH, 4, sizeof(GuardCounts), GUARDS_MAX, 0};
constexpr std::string_view LINKS = "source-guard-";

}  // namespace

Status SourceGuards::open(const std::string& folder,
                          std::unique_ptr<SourceGuards>* guards) noexcept {
  std::unique_ptr<SourceGuards> made(new (std::nothrow) SourceGuards(folder));
  if (made == nullptr) return {StatusCode::Limit};
  const Status status = made->prepare();
  if (status.ok()) *guards = std::move(made);
  return status;
}

Status SourceGuards::prepare() noexcept {
  uint64_t number = 0;
  Status status = networkNamespaceNumber(&number);
  if (!status.ok()) return status;
  prefix_ = std::string(LINKS) + std::to_string(number) + "-";
  status = removePins(folder_, [this](std::string_view name) {
    return name.starts_with(LINKS) && !name.starts_with(prefix_);
  });
  if (status.ok()) status = keepMap(folder_ + "/guarded", GUARDED_SHAPE, &guarded_);
  if (status.ok()) status = keepMap(folder_ + "/guard-counts", COUNTS_SHAPE, &counts_);
  return status.ok() ? load() : status;
}

Status SourceGuards::load() noexcept {
  // Those of the forward hook, which is open before.
  constexpr struct {
    const char* symbol;
    const char* pin;
  } shared[] = {{"counters", "/counters"},
                {"events", "/events"},
                {"droppedFrames", "/dropped-frames"},
                {"framesWanted", "/frames-wanted"}};
  Descriptor opened[std::size(shared)];
  const auto map = [](const char* name, const Descriptor& of) {
    return BpfSymbol{name, BpfSymbol::Kind::Map, static_cast<uint64_t>(of.get())};
  };
  std::vector<BpfSymbol> symbols = {map("guarded", guarded_), map("guardCounts", counts_)};
  for (size_t index = 0; index < std::size(shared); ++index) {
    const Status status = openPinned((folder_ + shared[index].pin).c_str(), &opened[index]);
    if (!status.ok()) return status;
    symbols.push_back(map(shared[index].symbol, opened[index]));
  }
  return loadImage(GUARD_SOURCE, BPF_PROG_TYPE_SCHED_CLS, 0, symbols, &program_);
}

std::string SourceGuards::placeOf(uint32_t interfaceIndex) const {
  return folder_ + "/" + prefix_ + std::to_string(interfaceIndex);
}

bool SourceGuards::openAttached(uint32_t interfaceIndex, Descriptor* link) const noexcept {
  return openPinned(placeOf(interfaceIndex).c_str(), link).ok() &&
         isAttached(link->get(), interfaceIndex, BpfHook::TcxIngress);
}

Status SourceGuards::guard(uint32_t interfaceIndex, const GuardedInterface& own) noexcept {
  const std::lock_guard held(change_);
  const GuardCounts none = {};
  Status status = putInMap(counts_.get(), &interfaceIndex, &none, BPF_NOEXIST);
  if (!status.ok() && status.error != EEXIST) return status;
  status = putInMap(guarded_.get(), &interfaceIndex, &own, BPF_ANY);
  if (!status.ok()) return status;

  Descriptor link;
  if (openAttached(interfaceIndex, &link)) {
    if (current_.contains(interfaceIndex)) return {};
    status = exchangeProgram(link.get(), program_.get());
  } else {
    status = attach(interfaceIndex);
  }
  if (status.ok()) current_.insert(interfaceIndex);
  return status;
}

Status SourceGuards::attach(uint32_t interfaceIndex) noexcept {
  Descriptor link;
  const Status status =
      attachProgram(program_.get(), interfaceIndex, BpfHook::TcxIngress, BPF_LINK_FIRST, &link);
  // The kernel does not know the hook.
  if (status.error == EINVAL) {
    return putProgramFilter(ProgramFilter::Guard, interfaceIndex, program_.get());
  }
  if (!status.ok()) return status;
  const std::string place = placeOf(interfaceIndex);
  if (unlink(place.c_str()) != 0 && errno != ENOENT) return Status::system("unlink", errno);
  return pin(link.get(), place.c_str());
}

Status SourceGuards::unguard(uint32_t interfaceIndex) noexcept {
  const std::lock_guard held(change_);
  current_.erase(interfaceIndex);
  // The program first: without its entry it would let nothing pass.
  if (unlink(placeOf(interfaceIndex).c_str()) != 0 && errno != ENOENT) {
    return Status::system("unlink", errno);
  }
  Status status = removeProgramFilter(ProgramFilter::Guard, interfaceIndex);
  if (status.ok()) status = removeFromMap(guarded_.get(), &interfaceIndex);
  return status.ok() ? removeFromMap(counts_.get(), &interfaceIndex) : status;
}

Status SourceGuards::list(std::vector<GuardState>* states) const noexcept {
  states->clear();
  uint32_t index = 0;
  for (bool more = nextInMap(guarded_.get(), nullptr, &index); more && states->size() < GUARDS_MAX;
       more = nextInMap(guarded_.get(), &index, &index)) {
    GuardedInterface own = {};
    GuardCounts counts = {};
    if (!readFromMap(guarded_.get(), &index, &own).ok()) continue;
    (void)readFromMap(counts_.get(), &index, &counts);  // none: nothing was counted
    Descriptor link;
    GuardState state = {};
    state.interfaceIndex = index;
    state.attached =
        openAttached(index, &link) || hasProgramFilter(ProgramFilter::Guard, index) ? 1 : 0;
    state.drops = counts.drops;
    state.linkId = own.linkId;
    std::copy(std::begin(own.v4), std::end(own.v4), std::begin(state.v4));
    std::copy(std::begin(own.v6), std::end(own.v6), std::begin(state.v6));
    states->push_back(state);
  }
  return {};
}

Status SourceGuards::removeFilters(const std::string& folder) noexcept {
  Descriptor guarded;
  Status status = openPinned((folder + "/guarded").c_str(), &guarded);
  if (!status.ok()) return status.error == ENOENT ? Status{} : status;
  uint32_t index = 0;
  for (bool more = nextInMap(guarded.get(), nullptr, &index); more && status.ok();
       more = nextInMap(guarded.get(), &index, &index)) {
    status = removeProgramFilter(ProgramFilter::Guard, index);
  }
  return status;
}

}  // namespace sluice
