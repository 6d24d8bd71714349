#pragma once

#include <span>
#include <string_view>

namespace sluice::cni {

// A member of a JSON object.
struct JsonMember {
  std::string_view name;
  // Its text as it stands there, without the space around it; empty: there is none.
  std::string_view value;
};

// Finds members of the object that a text is, byte for byte as they stand there.
//
// Shape:  of members with one name the last counts, as other readers have it.
// Errors: false when the text is no JSON object, is nested deeper than 64 levels, or has an escape
// in the name of a
//         member of its own: another reader might take that for one of those that are wanted.
// Source: RFC 8259.
[[nodiscard]] bool findMembers(std::string_view text, std::span<JsonMember> wanted) noexcept;

// The characters of a JSON string; false when it is none, or has an escape.
[[nodiscard]] bool plainString(std::string_view value, std::string_view* characters) noexcept;

}  // namespace sluice::cni
