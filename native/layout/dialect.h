#pragma once

// What C++ and the C of eBPF programs call differently, for headers that both compile.

#ifdef __bpf__
#define SLUICE_INLINE static __attribute__((always_inline)) inline
#define SLUICE_CONSTEXPR SLUICE_INLINE
typedef _Bool SluiceBool;
#else
#define SLUICE_INLINE inline
#define SLUICE_CONSTEXPR constexpr
typedef bool SluiceBool;
#endif
