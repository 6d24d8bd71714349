import { expect, test } from "vitest";
import { DataplaneError } from "../../src/dataplane/errors.js";

// Goal: what the kernel says in words stands beside the error's number.
test("a refused BPF program is told of in the verifier's words", () => {
  const failure = { code: "system", syscall: "BPF_PROG_LOAD", errno: 13, detail: "R0 !read_ok" };
  const error = new DataplaneError("take eth0 over", failure);
  expect(error.message).toMatch(/^take eth0 over: permission denied: R0 !read_ok/);
  expect(error.code).toBe("EACCES");
});
