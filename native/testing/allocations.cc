#include "native/testing/allocations.h"

#include <cstdlib>
#include <new>

// Replaces the global operators new and delete for the whole test program; the sanitizers still see
// malloc and free.
namespace {

thread_local uint64_t allocations = 0;
thread_local uint64_t mayFailLeft = UINT64_MAX;  // calls until there is no memory

bool isOut() noexcept { return mayFailLeft == 0 || (--mayFailLeft, false); }

void* counted(std::size_t size) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}

void* countedAligned(std::size_t size, std::align_val_t alignment) noexcept {
  ++allocations;
  const auto unit = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
}

void* orAbort(void* memory) noexcept {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return orAbort(counted(size)); }
void* operator new[](std::size_t size) { return orAbort(counted(size)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return isOut() ? nullptr : counted(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return isOut() ? nullptr : counted(size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return orAbort(countedAligned(size, alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return orAbort(countedAligned(size, alignment));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return isOut() ? nullptr : countedAligned(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return isOut() ? nullptr : countedAligned(size, alignment);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace sluice::testing {

uint64_t allocationsOfThread() noexcept { return allocations; }

OutOfMemory::OutOfMemory(uint64_t number) noexcept { mayFailLeft = number; }
OutOfMemory::~OutOfMemory() { mayFailLeft = UINT64_MAX; }

}  // namespace sluice::testing
