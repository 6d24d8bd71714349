// Writes what a kernel unpacks as its first file system.
//
// Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

const executable = 0o100755;

const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

/** An archive of files: `[[name, content: Buffer]]`; all of them may be executed. */
export function cpioOf(files) {
  const entries = [...files, ["TRAILER!!!", Buffer.alloc(0)]].map(([name, content], at) => {
    const fields = [at + 1, executable, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
    const numbers = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    return Buffer.concat([padded(Buffer.from(`070701${numbers}${name}\0`)), padded(content)]);
  });
  return Buffer.concat(entries);
}
