#include "native/table/table-slot.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace sluice {

namespace {

constexpr size_t HUGE_PAGE_BYTES = 2u << 20;

constexpr size_t roundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

void copyLines(std::span<const std::byte> from, std::span<const uint32_t> numbers,
               std::span<std::byte> into) noexcept {
  for (const uint32_t number : numbers) {
    const size_t at = size_t{number} * TABLE_ALIGNMENT_BYTES;
    std::memcpy(into.data() + at, from.data() + at, TABLE_ALIGNMENT_BYTES);
  }
}

void TableBytes::Free::operator()(std::byte* bytes) const noexcept { std::free(bytes); }

Status TableBytes::copy(std::span<const std::byte> blob, TableBytes* bytes) noexcept {
  if (bytes->bytes_ == nullptr || bytes->capacity_ < blob.size()) {
    // A walk through a large table touches many pages. Huge pages need far fewer address
    // translations. The system may ignore this advice.
    const bool large = blob.size() >= HUGE_PAGE_BYTES;
    const size_t unit = large ? HUGE_PAGE_BYTES : TABLE_ALIGNMENT_BYTES;
    const size_t capacity = std::max(roundUp(blob.size(), unit), unit);
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(unit, capacity));
    if (memory == nullptr) return {StatusCode::Limit};
    if (large) (void)madvise(memory, capacity, MADV_HUGEPAGE);
    bytes->bytes_.reset(memory);
    bytes->capacity_ = capacity;
  }
  if (!blob.empty()) std::memcpy(bytes->bytes_.get(), blob.data(), blob.size());
  bytes->size_ = blob.size();
  return {};
}

TableSlot::~TableSlot() = default;

Status TableSlot::publish(std::span<const std::byte> blob, std::span<const uint32_t> linkByEndpoint,
                          uint32_t* generation) noexcept {
  auto table = std::make_unique<TableInForce>();
  table->bytes = std::move(spare_.bytes);
  spare_ = {};
  if (const Status status = TableBytes::copy(blob, &table->bytes); !status.ok()) return status;
  if (const Status status = TableView::open(table->bytes.span(), &table->view); !status.ok()) {
    return status;
  }
  return enforce(std::move(table), linkByEndpoint, nullptr, generation);
}

Status TableSlot::publishLines(const TableLines& lines, std::span<const uint32_t> linkByEndpoint,
                               uint32_t* generation) noexcept {
  if (owned_ == nullptr) return {StatusCode::Argument};
  const std::span<const std::byte> inForce = owned_->bytes.span();
  auto table = std::make_unique<TableInForce>();
  Former former = std::move(spare_);
  spare_ = {};
  table->bytes = std::move(former.bytes);
  if (former.isOther || table->bytes.span().size() != inForce.size()) {
    const Status status = TableBytes::copy(inForce, &table->bytes);
    if (!status.ok()) return status;
  } else {
    copyLines(inForce, former.behind, table->bytes.writable());
  }
  table->view = owned_->view.ofCopy(table->bytes.span());
  const Status status = TableView::rewrite(table->bytes.writable(), lines, &table->view);
  if (!status.ok()) return status;
  return enforce(std::move(table), linkByEndpoint, &lines.numbers, generation);
}

Status TableSlot::enforce(std::unique_ptr<TableInForce> table,
                          std::span<const uint32_t> linkByEndpoint,
                          const std::span<const uint32_t>* lines, uint32_t* generation) noexcept {
  if (linkByEndpoint.size() > table->view.endpointCount()) return {StatusCode::Argument};
  for (uint32_t endpoint = 0; endpoint < linkByEndpoint.size(); ++endpoint) {
    const uint32_t link = linkByEndpoint[endpoint];
    if (link == NONE) continue;
    if (link >= LINKS_MAX) return {StatusCode::Argument};
    if (link >= table->endpointByLink.size()) table->endpointByLink.resize(link + 1, NONE);
    if (table->endpointByLink[link] != NONE) return {StatusCode::Argument};
    table->endpointByLink[link] = endpoint;
  }
  table->linkByEndpoint.assign(linkByEndpoint.begin(), linkByEndpoint.end());
  table->generation = ++generation_;

  *generation = table->generation;
  current_.store(table.get(), std::memory_order_seq_cst);
  const uint64_t epoch = epoch_.fetch_add(1, std::memory_order_seq_cst) + 1;
  std::swap(owned_, table);
  if (table != nullptr) retired_.push_back({std::move(table), {}, epoch});
  for (Retired& each : retired_) {
    Former& former = each.former;
    if (lines != nullptr) {
      former.behind.insert(former.behind.end(), lines->begin(), lines->end());
    }
    // Copying as many lines as there are would be a copy of the table.
    const size_t lineCount = owned_->bytes.span().size() / TABLE_ALIGNMENT_BYTES;
    former.isOther = former.isOther || lines == nullptr || former.behind.size() > lineCount;
    if (former.isOther) former.behind = {};
  }
  reclaim();
  return {};
}

void TableSlot::reclaim() noexcept {
  uint64_t oldest = UINT64_MAX;
  for (const Passed& worker : passed_) {
    oldest = std::min(oldest, worker.epoch.load(std::memory_order_seq_cst));
  }
  std::erase_if(retired_, [this, oldest](Retired& each) {
    if (each.epoch > oldest) return false;
    spare_ = std::move(each.former);
    spare_.bytes = std::move(each.table->bytes);
    return true;
  });
}

}  // namespace sluice
