/** Whether labels of Hubble's form (`k8s:app=web`, `reserved:world`) are selected. */
export type LabelsMatch = (labels: readonly string[]) => boolean;

const key = String.raw`([^\s=!,()]+)`;
const value = String.raw`([^\s=!,()]*)`;
const forms = {
  absent: new RegExp(String.raw`^!\s*${key}$`),
  present: new RegExp(`^${key}$`),
  equal: new RegExp(String.raw`^${key}\s*(==|=|!=)\s*${value}$`),
  among: new RegExp(String.raw`^${key}\s+(in|notin)\s*\(([^()]*)\)$`),
};

/**
 * Reads a selector as kubectl has it: `app=web,tier in (a, b),!old`. A key may begin with the origin of its label
 * (`k8s:app`); without one it means any.
 *
 * Errors: undefined for what is none.
 */
export function readLabelSelector(text: string): LabelsMatch | undefined {
  const requirements = partsOf(text).map((each) => readRequirement(each.trim()));
  const read = requirements.filter((each) => each !== undefined);
  if (read.length < requirements.length) return undefined;
  return (labels) => read.every((each) => each(labels));
}

/** What is between commas, but those in parentheses. */
function partsOf(text: string): readonly string[] {
  const parts: string[] = [];
  let from = 0;
  let isWithin = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") isWithin = true;
    else if (text[at] === ")") isWithin = false;
    else if (text[at] === "," && !isWithin) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  return [...parts, text.slice(from)];
}

function readRequirement(text: string): LabelsMatch | undefined {
  const absent = forms.absent.exec(text)?.[1];
  if (absent !== undefined) return (labels) => textOf(labels, absent) === undefined;
  const present = forms.present.exec(text)?.[1];
  if (present !== undefined) return (labels) => textOf(labels, present) !== undefined;
  const [, name = "", operator, right = ""] =
    forms.equal.exec(text) ?? forms.among.exec(text) ?? [];
  if (operator === undefined) return undefined;
  const values = new Set(right.split(",").map((each) => each.trim()));
  const isWithin = (labels: readonly string[]) => {
    const found = textOf(labels, name);
    return found !== undefined && values.has(found);
  };
  // As in Kubernetes, a label that is not there has no such value.
  return operator === "!=" || operator === "notin" ? (labels) => !isWithin(labels) : isWithin;
}

/** The value of a label; empty when it has none. */
function textOf(labels: readonly string[], name: string): string | undefined {
  for (const label of labels) {
    const at = label.indexOf("=");
    const full = at < 0 ? label : label.slice(0, at);
    if (full === name || full.slice(full.indexOf(":") + 1) === name) {
      return at < 0 ? "" : label.slice(at + 1);
    }
  }
  return undefined;
}
