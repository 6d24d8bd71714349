const mark = " (rendered)";

/** Names a text that was rendered from a file: its lines are those that the renderer printed. */
export function renderedName(file: string): string {
  return `${file}${mark}`;
}

/** Returns the file that a text was rendered from; undefined where the name is that of a file itself. */
export function renderedFrom(name: string): string | undefined {
  return name.endsWith(mark) ? name.slice(0, -mark.length) : undefined;
}
