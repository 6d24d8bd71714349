#include "native/io/tap-link.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace sluice {
namespace {

constexpr uint32_t FULFILLED_OFTEN = 4;

}  // namespace

TapLink::TapLink(int fd, std::shared_ptr<FrameBuffers> buffers) noexcept
    : fd_(fd), buffers_(std::move(buffers)) {}

Status TapLink::adopt(int fd, const std::string& interface, bool receives,
                      std::shared_ptr<FrameBuffers> buffers,
                      std::unique_ptr<TapLink>* link) noexcept {
  std::unique_ptr<TapLink> made(new (std::nothrow) TapLink(fd, std::move(buffers)));
  if (made == nullptr) {
    close(fd);
    return {StatusCode::Limit};
  }
  ifreq request = {};
  int headerBytes = 0;
  constexpr int FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  const bool isTap = ioctl(fd, TUNGETIFF, &request) == 0 && interface == request.ifr_name &&
                     (request.ifr_flags & (FLAGS | IFF_TUN)) == FLAGS &&
                     ioctl(fd, TUNGETVNETHDRSZ, &headerBytes) == 0 &&
                     headerBytes == sizeof(Offload) && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
  if (!isTap) return {StatusCode::Argument};
  made->receives_ = receives;
  *link = std::move(made);
  return {};
}

TapLink::~TapLink() { close(fd_); }

bool TapLink::appendHandoff(std::vector<LinkHandoff>* queues) const {
  if (receives_) queues->push_back({LinkKind::Tap, {fd_}, {}});
  return true;
}

size_t TapLink::receive(std::span<Frame> frames) noexcept {
  if (!receives_) return 0;
  const size_t wanted = std::min<size_t>(frames.size(), expected_);
  size_t count = 0;
  size_t bytes = 0;
  while (count < wanted && bytes < FrameBuffers::BATCH_BYTES) {
    std::byte* const slot = buffers_->at(count);
    const ssize_t size = read(fd_, slot, FrameBuffers::STRIDE);
    if (size <= static_cast<ssize_t>(sizeof(Offload))) {
      expected_ = std::max<size_t>(count, 1);
      fulfilled_ = 0;
      return count;
    }
    Frame& frame = frames[count++];
    frame = {};
    std::memcpy(&frame.offload, slot, sizeof(Offload));
    frame.bytes = slot + sizeof(Offload);
    frame.headroom = true;
    frame.length = static_cast<uint32_t>(static_cast<size_t>(size) - sizeof(Offload));
    // A read that fills the buffer may have lost the rest of the frame.
    frame.truncated = static_cast<size_t>(size) == FrameBuffers::STRIDE;
    bytes += FrameBuffers::batchBytesOf(frame);
  }
  if (++fulfilled_ % FULFILLED_OFTEN == 0) {
    expected_ = std::min<size_t>(expected_ * 2, BATCH_FRAMES_MAX);
  }
  return count;
}

bool TapLink::transmit(const Frame& frame) noexcept {
  if (frame.headroom) {
    std::byte* const start = frame.bytes - sizeof(Offload);
    std::memcpy(start, &frame.offload, sizeof(Offload));
    return write(fd_, start, sizeof(Offload) + frame.length) > 0;
  }
  Offload offload = frame.offload;
  const iovec parts[2] = {{&offload, sizeof offload}, {frame.bytes, frame.length}};
  return writev(fd_, parts, 2) > 0;
}

}  // namespace sluice
