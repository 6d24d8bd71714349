import type { Reporter, TestCase, TestModule } from "vitest/node";

/**
 * Ends a run with one plain line, `Tests: N passed, N failed, N skipped`, and names every test that
 * did not run. In CI a skipped test is a failure: CI has what all of them need.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    const skipped: TestCase[] = [];
    let broken = 0;
    for (const module of modules) {
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) broken++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed" || state === "failed") count[state]++;
        else skipped.push(test);
      }
    }
    count.failed += broken;
    count.skipped = skipped.length;
    for (const test of skipped) process.stdout.write(`did not run: ${test.fullName}\n`);
    if (skipped.length > 0 && process.env["CI"] === "true") {
      process.stdout.write("in CI every test has to run\n");
      process.exitCode = 1;
    }
    process.stdout.write(
      `Tests: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    );
  }
}
