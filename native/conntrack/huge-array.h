#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>
#include <span>
#include <utility>

namespace sluice {

// An array of a fixed size, on huge pages if the system has any. On small pages, each access to a
// table of millions of entries would miss the TLB.
//
// Shape: all bytes start as zero; no element is constructed or destroyed.
template <typename Element>
class HugeArray {
 public:
  HugeArray() = default;
  ~HugeArray() {
    if (bytes_ != 0) munmap(elements_, bytes_);
  }
  HugeArray(HugeArray&& other) noexcept
      : elements_(std::exchange(other.elements_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  HugeArray& operator=(HugeArray&& other) noexcept {
    std::swap(elements_, other.elements_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Whether there is memory for `count` elements; before that the array is empty.
  [[nodiscard]] bool create(size_t count) noexcept {
    constexpr size_t HUGE_PAGE_BYTES = 2u << 20;
    const size_t wanted = count * sizeof(Element);
    const bool large = wanted >= HUGE_PAGE_BYTES;
    const size_t bytes =
        large ? (wanted + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES : wanted;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    // The system may ignore this advice.
    if (large) (void)madvise(memory, bytes, MADV_HUGEPAGE);
    // A child process does not use it, and pages shared with a child would fault here.
    (void)madvise(memory, bytes, MADV_DONTFORK);
    elements_ = static_cast<Element*>(memory);
    bytes_ = bytes;
    return true;
  }

  // Takes memory that others share, by its descriptor, in place of memory of one's own, from its
  // element `first` on: a page starts there. Whether it has room for `count` elements.
  [[nodiscard]] bool share(int fd, size_t first, size_t count) noexcept {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = (count * sizeof(Element) + page - 1) / page * page;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                        static_cast<off_t>(first * sizeof(Element)));
    if (memory == MAP_FAILED) return false;
    (void)madvise(memory, bytes, MADV_DONTFORK);
    elements_ = static_cast<Element*>(memory);
    bytes_ = bytes;
    return true;
  }

  // Takes memory that somebody else owns and outlives this. No bytes() of it are counted.
  void borrow(Element* elements) noexcept {
    *this = HugeArray();
    elements_ = elements;
  }

  [[nodiscard]] Element* get() const noexcept { return elements_; }
  [[nodiscard]] Element& operator[](size_t index) const noexcept { return elements_[index]; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }

 private:
  Element* elements_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sluice
