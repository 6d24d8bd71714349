import type { LabelSelector, SelectorRequirement } from "../manifest/objects.js";

/** Reports whether `labels` meet every requirement of `selector`; an empty one matches all. */
export function matchesSelector(
  selector: LabelSelector,
  labels: ReadonlyMap<string, string>,
): boolean {
  return selector.requirements.every((requirement) => meetsRequirement(requirement, labels));
}

/**
 * Reports whether `labels` meet one requirement. NotIn and DoesNotExist hold where the key is absent.
 *
 * Source: conformance rule 7 (apimachinery's labels.Requirement).
 */
export function meetsRequirement(
  requirement: SelectorRequirement,
  labels: ReadonlyMap<string, string>,
): boolean {
  const value = labels.get(requirement.key);
  switch (requirement.operator) {
    case "In":
      return value !== undefined && requirement.values.includes(value);
    case "NotIn":
      return value === undefined || !requirement.values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Returns a text that is equal for selectors with equal requirements, in kubectl's notation. */
export function selectorText(selector: LabelSelector): string {
  if (selector.requirements.length === 0) return "*";
  return [...new Set(selector.requirements.map(requirementText))].sort().join(",");
}

/** Returns one requirement in kubectl's notation. */
export function requirementText({ key, operator, values }: SelectorRequirement): string {
  switch (operator) {
    case "In":
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${sortedList(values)})`;
    case "NotIn":
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${sortedList(values)})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

function sortedList(values: readonly string[]): string {
  return [...new Set(values)].sort().join(",");
}
