{
  # core: everything a packet waits for. dataplane: core and the door to Node. native_test and
  # native_bench: core with its unit tests or its benchmarks, linked without Node, so that sanitizers,
  # fuzzers and profilers run alone. sluice_cni: the program that container runtimes start.
  "target_defaults": {
    "include_dirs": ["."],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20", "-fno-rtti"],
    "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror=switch", "-Werror=missing-field-initializers", "-fvisibility=hidden"],
    "cflags": ["-fPIC"],
    "conditions": [["target_arch=='x64'", {"cflags": ["-march=x86-64-v2"]}]],
    "configurations": {
      "Release": {"cflags": ["-O3"], "defines": ["NDEBUG"]},
      "Debug": {
        # node-gyp adds -O0 and -g at the end. Less of the latter: it is the gate's longest build.
        "cflags!": ["-g"],
        "cflags": ["-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        "ldflags": ["-fsanitize=address,undefined"]
      }
    }
  },
  "targets": [
    {
      "target_name": "core",
      "type": "static_library",
      "sources": ["<!@(node scripts/native-sources.mjs core)"]
    },
    {
      "target_name": "dataplane",
      "dependencies": ["core"],
      "sources": ["<!@(node scripts/native-sources.mjs binding)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "ldflags": ["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"],
      "conditions": [
        # See native/binding/glibc-floor.cc.
        ["target_arch=='x64' or target_arch=='arm64'", {
          "ldflags": [
            "-Wl,--wrap=pthread_create,--wrap=pthread_join,--wrap=pthread_once",
            "-Wl,--wrap=__pthread_key_create,--wrap=pthread_setname_np",
            "-Wl,--wrap=pthread_attr_setaffinity_np,--wrap=pthread_getcpuclockid"
          ]
        }]
      ]
    },
    {
      "target_name": "sluice_cni",
      "type": "executable",
      "sources": ["<!@(node scripts/native-sources.mjs cni)"],
      # It runs on the host, whatever libraries that has.
      "ldflags": ["-static"]
    },
    {
      "target_name": "native_test",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(node scripts/native-sources.mjs testing)"],
      "libraries": ["-lpthread"]
    },
    {
      "target_name": "native_bench",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(node scripts/native-sources.mjs bench)"],
      "libraries": ["-lpthread"]
    }
  ]
}
