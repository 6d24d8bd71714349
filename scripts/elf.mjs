// Reads 64-bit little-endian ELF: what a shared object wants of the machine that loads it, and the programs
// of an eBPF object.
//
// Source: System V ABI, "Object files" and "Dynamic linking"; LSB, "Symbol versioning".

const SECTION_DYNAMIC = 6;
const SECTION_RELOCATIONS = 9;
const SECTION_VERSIONS_NEEDED = 0x6ffffffe;
const TAG_NEEDED = 1n;

/** The sections of an object, and readers of its numbers and names. */
function open(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    throw new Error("not a 64-bit little-endian ELF object");
  }
  const u16 = (at) => view.getUint16(at, true);
  const u32 = (at) => view.getUint32(at, true);
  const u64 = (at) => Number(view.getBigUint64(at, true));
  const sections = Array.from({ length: u16(0x3c) }, (_, index) => {
    const at = u64(0x28) + index * u16(0x3a);
    return {
      name: u32(at),
      type: u32(at + 4),
      offset: u64(at + 24),
      size: u64(at + 32),
      link: u32(at + 40),
      info: u32(at + 44),
    };
  });
  const textOf = (section, at) => {
    const start = sections[section.link].offset + at;
    return bytes.toString("latin1", start, bytes.indexOf(0, start));
  };
  return { view, u16, u32, u64, sections, textOf };
}

/**
 * Lists the eBPF programs of an object, each of which has a section `program/NAME`.
 *
 * Shape: `[{ name, code: Buffer, holes: [{ instruction, symbol }] }]`; a hole is filled when the program is
 *        loaded.
 * Errors: throws when a program refers to another section, such as constants of its own.
 */
export function programsOf(bytes) {
  const { u32, u64, u16, sections, textOf } = open(bytes);
  const names = { link: u16(0x3e) };
  return sections.flatMap((section, index) => {
    const [, name] = /^program\/(.+)$/.exec(textOf(names, section.name)) ?? [];
    if (name === undefined) return [];
    const relocations = sections.find(
      ({ type, info }) => type === SECTION_RELOCATIONS && info === index,
    );
    const count = relocations === undefined ? 0 : relocations.size / 16;
    const holes = Array.from({ length: count }, (_, entry) => {
      const at = relocations.offset + entry * 16;
      const table = sections[relocations.link];
      const symbol = table.offset + u32(at + 12) * 24;
      const text = textOf(table, u32(symbol));
      if (u16(symbol + 6) !== 0) throw new Error(`${name} refers to data of its own: ${text}`);
      return { instruction: u64(at) / 8, symbol: text };
    });
    const code = bytes.subarray(section.offset, section.offset + section.size);
    return [{ name, code, holes }];
  });
}

/**
 * Lists the libraries and the symbol versions that a 64-bit little-endian object needs.
 *
 * Shape: `{ libraries: ["libc.so.6"], versions: ["GLIBC_2.17"] }`, in the file's order.
 */
export function requirementsOf(bytes) {
  const { view, u16, u32, u64, sections, textOf } = open(bytes);
  const libraries = [];
  const versions = [];
  for (const section of sections) {
    if (section.type === SECTION_DYNAMIC) {
      for (let at = section.offset; at < section.offset + section.size; at += 16) {
        if (view.getBigUint64(at, true) === TAG_NEEDED)
          libraries.push(textOf(section, u64(at + 8)));
      }
    }
    if (section.type === SECTION_VERSIONS_NEEDED) {
      for (let file = section.offset, more = true; more; file += u32(file + 12)) {
        let at = file + u32(file + 8);
        for (let left = u16(file + 2); left > 0; left--, at += u32(at + 12)) {
          versions.push(textOf(section, u32(at + 8)));
        }
        more = u32(file + 12) !== 0;
      }
    }
  }
  return { libraries, versions };
}

/** What the addon may need: the libraries of every glibc system, in the versions of glibc 2.31. */
const librariesAllowed = /^(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-[\w-]+\.so\.\d)$/;
const glibcNewest = [2, 31];

/** Lists what stands in the way of loading an object on glibc 2.31; empty when nothing does. */
export function obstaclesOf(bytes) {
  const { libraries, versions } = requirementsOf(bytes);
  const isOld = (version) => {
    const [, major, minor] = /^GLIBC_(\d+)\.(\d+)/.exec(version) ?? [];
    return Number(major) === glibcNewest[0] && Number(minor) <= glibcNewest[1];
  };
  return [
    ...libraries.filter((name) => !librariesAllowed.test(name)).map((name) => `needs ${name}`),
    ...versions.filter((version) => !isOld(version)).map((version) => `needs ${version}`),
  ];
}
