#include "native/conntrack/conn-hash.h"

#include "native/conntrack/conn-name.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define SLUICE_AES __attribute__((target("aes")))
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#define SLUICE_AES __attribute__((target("+crypto")))
#endif

namespace sluice {

ConnHash::ConnHash(const HashSecret& secret, Way way) noexcept : secret_(secret), way_(way) {
  for (uint64_t word = 0; word < aesKeys_.size(); ++word) {
    aesKeys_[word] = sipHash13(std::array<uint64_t, 1>{word}, secret);
  }
}

uint64_t ConnHash::oneSip(const ConnKey& key) const noexcept {
  return sluiceHashConn(&key, secret_[0], secret_[1]);
}

void ConnHash::many(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  if (way_ == Way::Aes) {
    manyAes(names, hints);
    return;
  }
  for (size_t at = 0; at < names.size(); ++at) hints[at].hash = oneSip(names[at].key);
}

#if defined(SLUICE_AES)

namespace {

// What differs between the processors. A round is x86's: shift, substitute and mix, then the key.
#if defined(__x86_64__)

using Block = __m128i;

bool hasAes() noexcept { return __builtin_cpu_supports("aes"); }

// On a boundary of 16 bytes, which lets a round take its key from memory.
SLUICE_AES inline Block keyAt(const uint64_t* words) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(words));
}
SLUICE_AES inline Block blockAt(const uint64_t* words) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
}
SLUICE_AES inline Block halfBlockAt(const uint64_t* words) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(words));
}
SLUICE_AES inline Block sumOf(Block one, Block other) { return _mm_xor_si128(one, other); }
SLUICE_AES inline Block roundOf(Block block, Block key) { return _mm_aesenc_si128(block, key); }
SLUICE_AES inline uint64_t lowWordOf(Block block) {
  return static_cast<uint64_t>(_mm_cvtsi128_si64(block));
}

#else

using Block = uint8x16_t;

bool hasAes() noexcept { return (getauxval(AT_HWCAP) & HWCAP_AES) != 0; }

SLUICE_AES inline Block blockAt(const uint64_t* words) {
  return vreinterpretq_u8_u64(vld1q_u64(words));
}
SLUICE_AES inline Block keyAt(const uint64_t* words) { return blockAt(words); }
SLUICE_AES inline Block halfBlockAt(const uint64_t* words) {
  return vreinterpretq_u8_u64(vcombine_u64(vld1_u64(words), vdup_n_u64(0)));
}
SLUICE_AES inline Block sumOf(Block one, Block other) { return veorq_u8(one, other); }
// This processor adds its key before the substitution: it gets none, and the key comes after.
SLUICE_AES inline Block roundOf(Block block, Block key) {
  return sumOf(vaesmcq_u8(vaeseq_u8(block, vdupq_n_u8(0))), key);
}
SLUICE_AES inline uint64_t lowWordOf(Block block) {
  return vgetq_lane_u64(vreinterpretq_u64_u8(block), 0);
}

#endif

SLUICE_AES inline uint64_t hashAes(const ConnKey& key, const uint64_t* keys) {
  const uint64_t* words = key.words.data();
  Block lower = sumOf(blockAt(words), keyAt(keys));
  Block higher = sumOf(blockAt(words + 2), keyAt(keys + 2));
  Block rest = sumOf(halfBlockAt(words + 4), keyAt(keys + 4));
  for (size_t round = 3; round < 6; ++round) {
    const Block roundKey = keyAt(keys + 2 * round);
    lower = roundOf(lower, roundKey);
    higher = roundOf(higher, roundKey);
    rest = roundOf(rest, roundKey);
  }
  Block sum = sumOf(sumOf(lower, higher), rest);
  sum = roundOf(sum, keyAt(keys + 12));
  sum = roundOf(sum, keyAt(keys + 14));
  return lowWordOf(sum);
}

}  // namespace

ConnHash::Way ConnHash::fastestWay() noexcept { return hasAes() ? Way::Aes : Way::Sip; }

SLUICE_AES uint64_t ConnHash::oneAes(const ConnKey& key) const noexcept {
  return hashAes(key, aesKeys_.data());
}

SLUICE_AES void ConnHash::manyAes(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  for (size_t at = 0; at < names.size(); ++at) {
    hints[at].hash = hashAes(names[at].key, aesKeys_.data());
  }
}

#else

ConnHash::Way ConnHash::fastestWay() noexcept { return Way::Sip; }

uint64_t ConnHash::oneAes(const ConnKey& key) const noexcept { return oneSip(key); }

void ConnHash::manyAes(std::span<const ConnName> names, ConnHint* hints) const noexcept {
  for (size_t at = 0; at < names.size(); ++at) hints[at].hash = oneSip(names[at].key);
}

#endif

}  // namespace sluice
