#include "native/conntrack/conn-hash.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define SLUICE_AES __attribute__((target("aes")))
#endif

namespace sluice {

ConnHash::ConnHash(const HashSecret& secret, Way way) noexcept : secret_(secret), way_(way) {
  for (uint64_t word = 0; word < aesKeys_.size(); ++word) {
    aesKeys_[word] = sipHash13(std::array<uint64_t, 1>{word}, secret);
  }
}

uint64_t ConnHash::oneSip(const ConnKey& key) const noexcept {
  const auto& words = key.words;
  if (static_cast<uint8_t>(words[4] >> 40) == 4) {
    return sipHash13(std::array<uint64_t, 2>{words[0] | words[2] << 32, words[4]}, secret_);
  }
  return sipHash13(words, secret_);
}

void ConnHash::many(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  if (way_ == Way::Aes) {
    manyAes(names, hints);
    return;
  }
  for (size_t at = 0; at < names.size(); ++at) hints[at].hash = oneSip(names[at].key);
}

#if defined(__x86_64__)

namespace {

SLUICE_AES inline uint64_t hashAes(const ConnKey& key, const __m128i* keys) {
  const auto* blocks = reinterpret_cast<const __m128i*>(key.words.data());
  __m128i lower = _mm_xor_si128(_mm_loadu_si128(blocks), keys[0]);
  __m128i higher = _mm_xor_si128(_mm_loadu_si128(blocks + 1), keys[1]);
  __m128i rest = _mm_xor_si128(_mm_loadl_epi64(blocks + 2), keys[2]);
  for (size_t round = 3; round < 6; ++round) {
    lower = _mm_aesenc_si128(lower, keys[round]);
    higher = _mm_aesenc_si128(higher, keys[round]);
    rest = _mm_aesenc_si128(rest, keys[round]);
  }
  __m128i sum = _mm_xor_si128(_mm_xor_si128(lower, higher), rest);
  sum = _mm_aesenc_si128(sum, keys[6]);
  sum = _mm_aesenc_si128(sum, keys[7]);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(sum));
}

}  // namespace

ConnHash::Way ConnHash::fastestWay() noexcept {
  return __builtin_cpu_supports("aes") ? Way::Aes : Way::Sip;
}

SLUICE_AES uint64_t ConnHash::oneAes(const ConnKey& key) const noexcept {
  return hashAes(key, reinterpret_cast<const __m128i*>(aesKeys_.data()));
}

SLUICE_AES void ConnHash::manyAes(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  const auto* keys = reinterpret_cast<const __m128i*>(aesKeys_.data());
  for (size_t at = 0; at < names.size(); ++at) hints[at].hash = hashAes(names[at].key, keys);
}

#else

ConnHash::Way ConnHash::fastestWay() noexcept { return Way::Sip; }

uint64_t ConnHash::oneAes(const ConnKey& key) const noexcept { return oneSip(key); }

void ConnHash::manyAes(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  for (size_t at = 0; at < names.size(); ++at) hints[at].hash = oneSip(names[at].key);
}

#endif

}  // namespace sluice
