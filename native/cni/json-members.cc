#include "native/cni/json-members.h"

#include <cstddef>

namespace sluice::cni {
namespace {

constexpr int DEPTH_MAX = 64;

// Reads a text from its beginning; each step moves on and returns true, or returns false.
class Reader {
 public:
  explicit Reader(std::string_view text) noexcept : text_(text) {}

  bool object(std::span<JsonMember> wanted, int depth) noexcept {
    return list('}', [this, wanted, depth] {
      const size_t start = at_;
      if (!string()) return false;
      std::string_view name = text_.substr(start + 1, at_ - start - 2);
      if (!wanted.empty() && name.find('\\') != std::string_view::npos) return false;
      space();
      if (!take(':')) return false;
      space();
      const size_t from = at_;
      if (!value(depth)) return false;
      for (JsonMember& each : wanted) {
        if (each.name == name) each.value = text_.substr(from, at_ - from);
      }
      return true;
    });
  }

  void space() noexcept {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  bool take(char wanted) noexcept {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] bool isAtEnd() const noexcept { return at_ == text_.size(); }

 private:
  // The rest of a list of items after its opening bracket.
  template <typename Item>
  bool list(char end, Item item) noexcept {
    space();
    if (take(end)) return true;
    for (;;) {
      space();
      if (!item()) return false;
      space();
      if (take(end)) return true;
      if (!take(',')) return false;
    }
  }

  bool value(int depth) noexcept {
    if (at_ >= text_.size() || depth > DEPTH_MAX) return false;
    if (text_[at_] == '"') return string();
    if (take('{')) return object({}, depth + 1);
    if (take('[')) return list(']', [this, depth] { return value(depth + 1); });
    return word("true") || word("false") || word("null") || number();
  }

  bool word(std::string_view wanted) noexcept {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  bool string() noexcept {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char each = text_[at_++];
      if (each == '"') return true;
      if (static_cast<unsigned char>(each) < 0x20) return false;
      if (each == '\\' && !escape()) return false;
    }
    return false;
  }

  bool escape() noexcept {
    if (!take('u')) {
      if (at_ >= text_.size()) return false;
      return std::string_view("\"\\/bfnrt").find(text_[at_++]) != std::string_view::npos;
    }
    for (int digit = 0; digit < 4; ++digit) {
      if (at_ >= text_.size()) return false;
      const char each = text_[at_++];
      if (std::string_view("0123456789abcdefABCDEF").find(each) == std::string_view::npos)
        return false;
    }
    return true;
  }

  bool number() noexcept {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (!take('e') && !take('E')) return true;
    if (!take('+')) take('-');
    return digits();
  }

  bool digits() noexcept {
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > start;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool findMembers(std::string_view text, std::span<JsonMember> wanted) noexcept {
  Reader reader(text);
  reader.space();
  if (!reader.take('{') || !reader.object(wanted, 1)) return false;
  reader.space();
  return reader.isAtEnd();
}

bool plainString(std::string_view value, std::string_view* characters) noexcept {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return false;
  *characters = value.substr(1, value.size() - 2);
  return characters->find('\\') == std::string_view::npos;
}

}  // namespace sluice::cni
