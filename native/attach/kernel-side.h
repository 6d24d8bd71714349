#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/attach/kernel-path.h"
#include "native/attach/stack-guard.h"
#include "native/host/descriptor.h"
#include "native/io/wire-side.h"
#include "native/packet/status.h"

namespace sluice {

// An interface that a program of a KernelPath takes frames from, with its TAP. Both are guarded,
// the TAP too: what the kernel's own stack would send into it would pass for a frame of the wire.
//
// Until join(), an interface that was opened carries nothing, and one that was adopted goes on as
// its predecessor left it.
//
// The programs are attached by descriptors. Before Linux 6.6 they are tc filters, which stay when
// the process dies: they pass what it had admitted until its lease ends, and nothing from then on.
//
// Owner: the destructor detaches the programs, unless another process uses them too.
class KernelSide final : public WireSide {
 public:
  // As many as handOn() returns.
  static constexpr size_t DESCRIPTORS = 4;

  // The name of the TAP of an interface.
  [[nodiscard]] static std::string tapOf(uint32_t interfaceIndex);

  // Opens an interface whose TAP has been made.
  //
  // Errors: System; Argument when the path has sides in another namespace.
  static Status open(std::shared_ptr<KernelPath> path, int namespaceFd,
                     const std::string& interface, uint32_t interfaceIndex,
                     std::shared_ptr<KernelSide>* side) noexcept;
  // Continues, in this process's own namespace, with what a predecessor's handOn() keeps
  // attached. Errors: Argument when they are something else; System.
  static Status adopt(std::shared_ptr<KernelPath> path, const std::string& interface,
                      uint32_t interfaceIndex, std::vector<Descriptor> descriptors,
                      std::shared_ptr<KernelSide>* side) noexcept;
  ~KernelSide() override;

  Status join(const WirePartner& partner) noexcept override;
  [[nodiscard]] KernelCounts counts() const noexcept override;
  // Puts filters back that somebody else has removed.
  [[nodiscard]] uint32_t interfaceIndex() const noexcept override;

  // Puts the programs of this process in the place of another's, unless they are there. What that
  // other has sent up, and still waits, is not overtaken by what passes from now on.
  Status resume() noexcept;
  // Of the attached programs and of the TAP's guard, for a successor, which may put its programs
  // there. Empty when they are filters.
  [[nodiscard]] std::vector<int> handOn();
  // Until own(), the destructor leaves filters in place: another process uses the interface, too.
  void leave() noexcept;
  void own() noexcept;
  [[nodiscard]] SluiceWireWay* way(uint32_t worker) const noexcept {
    return path_->way(number_, worker);
  }

 private:
  KernelSide(std::shared_ptr<KernelPath> path, uint32_t interfaceIndex) noexcept
      : path_(std::move(path)), interfaceIndex_(interfaceIndex) {}
  Status prepare(int namespaceFd, const std::string& interface) noexcept;
  Status attach() noexcept;
  [[nodiscard]] bool hasFilters() const noexcept;
  Status putFilters() const noexcept;
  Status exchangePrograms() const noexcept;

  std::shared_ptr<KernelPath> path_;
  uint32_t interfaceIndex_;
  uint32_t tapIndex_ = 0;
  uint32_t number_ = NONE;
  Descriptor promiscuous_;  // a socket that keeps the interface so
  Descriptor namespace_;    // our own copy; invalid for the process's own namespace
  Descriptor wire_;         // the attached programs' links
  Descriptor down_;
  bool byFilters_ = false;  // in place of the links
  bool owned_ = true;       // the destructor removes the filters
  std::unique_ptr<StackGuard> tapGuard_;
  bool inPlace_ = false;  // the attached programs are this process's
};

}  // namespace sluice
