#pragma once

// What eBPF programs use of the kernel: helpers by number, and names that the loader resolves.
// Source: include/uapi/linux/bpf.h and include/linux/bpf.h of the kernel.

#include "native/layout/shared.gen.h"

#define PROGRAM(name) __attribute__((section("program/" #name), used)) int name
#define INLINE static __attribute__((always_inline)) inline

// A number that the loader knows: clang leaves a hole for the address of something undefined.
#define LOADED(name) ((SluiceU64)(name))

static void* (*const mapLookup)(const void* map, const void* key) = (void*)1;
static SluiceU64 (*const monotonicNs)(void) = (void*)5;
static long (*const tailCall)(void* context, const void* map, SluiceU32 index) = (void*)12;
static long (*const loadPacketBytes)(const void* skb, SluiceU32 offset, void* into,
                                     SluiceU32 bytes) = (void*)26;
static void* (*const ringReserve)(const void* ring, SluiceU64 bytes, SluiceU64 flags) = (void*)131;
static void (*const ringSubmit)(void* record, SluiceU64 flags) = (void*)132;
static void (*const ringDiscard)(void* record, SluiceU64 flags) = (void*)133;

INLINE SluiceU16 swap16(SluiceU16 value) { return __builtin_bswap16(value); }
INLINE SluiceU32 swap32(SluiceU32 value) { return __builtin_bswap32(value); }
