import { sanitize } from "../diagnostics/sanitize.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { CommandError, exitCodes } from "./io.js";

/** One step from a value to those in it: a member, an element (from the end where negative), or all of either. */
type Step = { readonly member: string } | { readonly element: number } | "all";

interface Path {
  /** Whether it begins at the document, also within a range. */
  readonly isFromRoot: boolean;
  readonly steps: readonly Step[];
}

type Part =
  | { readonly text: string }
  | { readonly path: Path }
  | { readonly range: Path; readonly parts: readonly Part[] };

/** Text, or an expression in braces; braces within quotes are text. */
const piece = /\{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^{}"'])*)\}|([^{]+)/y;

const step =
  /\.\*|\[\*\]|\.((?:[^\s.*?@$:,()[\]{}'"\\]|\\.)+)|\[(-?\d+)\]|\[(?:'([^'\\]+)'|"([^"\\]+)")\]/y;

/**
 * Reads a template as `kubectl -o jsonpath=` has it: text, and in braces paths (`.a.b`, `['a.b']`, `.a\.b`, `[0]`,
 * `[-1]`, `[*]`, `.*`, from `$` or `@`), quoted text, `range PATH` and `end`.
 *
 * Shape:  a function from a document to its text. Several values of a path have a space between them, objects and
 *         lists are JSON, and a path that leads nowhere is nothing.
 * Errors: CommandError (usage) with what was not understood, such as a filter.
 */
export function readJsonPath(template: string, flag: string): (document: unknown) => string {
  const refuse = (got: string, want: string) =>
    new CommandError(exitCodes.usage, `${flag}: got "${got}" in a jsonpath, want ${want}`);
  const parts: Part[] = [];
  const open: { readonly range: Path; readonly parts: Part[] }[] = [];
  for (piece.lastIndex = 0; piece.lastIndex < template.length; ) {
    const at = piece.lastIndex;
    const found = piece.exec(template);
    if (found === null) throw refuse(template.slice(at), 'a "}" for each "{"');
    const [, expression, text = ""] = found;
    const into = open.at(-1)?.parts ?? parts;
    const words = expression?.trim();
    if (words === undefined) into.push({ text });
    else if (/^["']/.test(words)) into.push({ text: unquoted(words, refuse) });
    else if (/^range\s/.test(words)) {
      const range = { range: readPath(words.slice("range".length).trim(), refuse), parts: [] };
      into.push(range);
      open.push(range);
    } else if (words === "end") {
      if (open.pop() === undefined) throw refuse("{end}", "a {range …} before it");
    } else into.push({ path: readPath(words, refuse) });
  }
  if (open.length > 0) throw refuse("{range …}", "an {end} after it");
  // Braces that a shell took away are no template.
  if (!parts.some((part) => !("text" in part))) {
    throw refuse(template, "an expression in braces such as {.items[*].name}");
  }
  return (document) => textOf(parts, document, document);
}

type Refuse = (got: string, want: string) => CommandError;

function readPath(text: string, refuse: Refuse): Path {
  if (text === "") throw refuse("{}", "a path such as {.items[*].name}");
  const steps: Step[] = [];
  const isFromRoot = text.startsWith("$");
  // A lone dot is the whole; one before a bracket is nothing of its own.
  const rest = text.replace(/^[$@]/, "").replace(/^\.(?=\[|$)/, "");
  for (step.lastIndex = 0; step.lastIndex < rest.length; ) {
    const at = step.lastIndex;
    const found = step.exec(rest);
    if (found === null) {
      throw refuse(
        rest.slice(at),
        `a step such as .name, ['name'], [0] or [*]${didYouMean(text, ["end", "range"])}`,
      );
    }
    const [whole, member, element, ...quoted] = found;
    const name = member?.replace(/\\(.)/g, "$1") ?? quoted.find((each) => each !== undefined);
    if (element !== undefined) steps.push({ element: Number(element) });
    else steps.push(name === undefined || whole === ".*" ? "all" : { member: name });
  }
  return { isFromRoot, steps };
}

/** The text of `"…"` or `'…'`, with the escapes of kubectl's templates. */
function unquoted(text: string, refuse: Refuse): string {
  const inner = /^(["'])((?:(?!\1)[^\\]|\\.)*)\1$/s.exec(text)?.[2];
  if (inner === undefined) throw refuse(text, 'one text in quotes such as {"\\n"}');
  const short: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };
  return inner.replace(/\\(.)/gs, (_, letter: string) => short[letter] ?? letter);
}

function textOf(parts: readonly Part[], value: unknown, root: unknown): string {
  return parts
    .map((part) => {
      if ("text" in part) return part.text;
      if ("path" in part) return follow(part.path, value, root).map(valueText).join(" ");
      const each = follow(part.range, value, root);
      return each.map((item) => textOf(part.parts, item, root)).join("");
    })
    .join("");
}

function follow({ isFromRoot, steps }: Path, value: unknown, root: unknown): unknown[] {
  return steps.reduce<unknown[]>(
    (values, each) => values.flatMap((one) => stepInto(one, each)),
    [isFromRoot ? root : value],
  );
}

function stepInto(value: unknown, step: Step): readonly unknown[] {
  if (typeof value !== "object" || value === null) return [];
  if (step === "all") return Object.values(value);
  if ("element" in step) {
    const found: unknown = Array.isArray(value) ? value.at(step.element) : undefined;
    return found === undefined ? [] : [found];
  }
  if (Array.isArray(value) || !Object.hasOwn(value, step.member)) return [];
  return [(value as Readonly<Record<string, unknown>>)[step.member]];
}

function valueText(value: unknown): string {
  return typeof value === "string" ? sanitize(value) : JSON.stringify(value);
}
