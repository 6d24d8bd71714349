import { type Cursor, quoted } from "./cursor.js";
import { readLabels } from "./metadata.js";
import { wantLabelKey, wantLabelValue } from "./names.js";
import type { LabelSelector, SelectorOperator, SelectorRequirement } from "./objects.js";

const operators: readonly SelectorOperator[] = ["In", "NotIn", "Exists", "DoesNotExist"];

/** Reads a label selector; an absent one has no requirements, and the caller knows what that means. */
export function readSelector(cursor: Cursor): LabelSelector {
  const requirements: SelectorRequirement[] = [];
  if (cursor.isMap()) {
    cursor.onlyFields(["matchLabels", "matchExpressions"]);
    const matchLabels = cursor.field("matchLabels");
    for (const [key, value] of readLabels(matchLabels)) {
      const span = matchLabels.keySpan(key);
      requirements.push({ key, operator: "In", values: [value], span });
    }
    for (const expression of cursor.field("matchExpressions").items() ?? []) {
      const requirement = readRequirement(expression);
      if (requirement !== undefined) requirements.push(requirement);
    }
  }
  return { requirements, span: cursor.span };
}

function readRequirement(cursor: Cursor): SelectorRequirement | undefined {
  if (!cursor.absent && !cursor.isMap()) return undefined;
  cursor.onlyFields(["key", "operator", "values"]);

  const keyField = cursor.field("key");
  const key = keyField.string();
  if (keyField.absent) keyField.missing("a key");
  const wantKey = key === undefined ? undefined : wantLabelKey(key);
  if (wantKey !== undefined) keyField.report("SL1203", `got key ${quoted(key!)}, want ${wantKey}`);

  const operator = readOperator(cursor.field("operator"));

  const valuesField = cursor.field("values");
  const items = valuesField.items();
  const values = items?.map((item) => item.string() ?? "") ?? [];
  const listed = valuesField.absent || items !== undefined;
  if (listed && (operator === "In" || operator === "NotIn") && values.length === 0) {
    valuesField.missing(`values, since the operator is ${operator}`);
  }
  if ((operator === "Exists" || operator === "DoesNotExist") && values.length > 0) {
    valuesField.report("SL1206", `got values beside ${operator}, want none`);
  }
  values.forEach((value, index) => {
    // Servers keep selectors with such values; no label has one.
    const want = valuesField.isStored ? undefined : wantLabelValue(value);
    if (want !== undefined)
      items?.[index]?.report("SL1203", `got value ${quoted(value)}, want ${want}`);
  });

  if (key === undefined || operator === undefined) return undefined;
  return { key, operator, values, span: cursor.span };
}

function readOperator(cursor: Cursor): SelectorOperator | undefined {
  const text = cursor.string();
  if (text === undefined && !cursor.absent) return undefined;
  const operator = operators.find((each) => each === text);
  if (operator === undefined) {
    const got = text === undefined ? "nothing" : quoted(text);
    const message = `got ${got}, not a valid selector operator, want one of ${operators.join(", ")}`;
    cursor.report("SL1205", message);
  }
  return operator;
}
