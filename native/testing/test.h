#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

// A unit-test harness in a page: no package of C++ tests comes with a bare compiler, and these
// tests must run on a machine that has nothing else.
namespace sluice::testing {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registration {
  Registration(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

inline int& failures() {
  static int count = 0;
  return count;
}

inline void fail(const char* file, int line, const char* text) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, text);
  ++failures();
}

}  // namespace sluice::testing

#define SLUICE_JOIN_INNER(a, b) a##b
#define SLUICE_JOIN(a, b) SLUICE_JOIN_INNER(a, b)

// TEST("room: what holds") { … CHECK(condition); … }
#define TEST(name) SLUICE_TEST(name, SLUICE_JOIN(testBody, __LINE__))
#define SLUICE_TEST(name, body)                                                             \
  static void body();                                                                       \
  static const sluice::testing::Registration SLUICE_JOIN(registered, __LINE__)(name, body); \
  static void body()

// Records a failure and continues.
#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) sluice::testing::fail(__FILE__, __LINE__, #condition); \
  } while (false)

// Records a failure and leaves the test.
#define REQUIRE(condition)                                   \
  do {                                                       \
    if (!(condition)) {                                      \
      sluice::testing::fail(__FILE__, __LINE__, #condition); \
      return;                                                \
    }                                                        \
  } while (false)
