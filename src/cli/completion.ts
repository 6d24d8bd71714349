import type { ArgumentSpec, CommandSpec, Completes, OptionSpec } from "./command-spec.js";
import type { CompletionOptions } from "./completion-spec.js";
import type { Io } from "./io.js";
import { commonOptions } from "./shared-options.js";

/** Prints the completion script of a shell. */
export async function runCompletion(
  options: CompletionOptions,
  io: Io,
  tree: CommandSpec,
): Promise<number> {
  io.stdout.write(completionScript(options.shell, tree));
  return 0;
}

/** Writes a shell's completion script from the command tree: it needs no call of sluice to answer. */
export function completionScript(shell: CompletionOptions["shell"], tree: CommandSpec): string {
  const commands = listCommands(tree, []);
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](commands);
}

/** A command as the scripts see it. */
interface Entry {
  /** Words after `sluice`; empty for the root. */
  readonly path: readonly string[];
  readonly spec: CommandSpec;
  readonly flags: readonly Flag[];
}

interface Flag {
  /** Without their dashes. */
  readonly short: string | undefined;
  readonly long: string;
  readonly description: string;
  readonly takes: "nothing" | "one" | "several";
  /** It may be given several times, with one value each. */
  readonly repeats: boolean;
  readonly values: readonly string[] | undefined;
  readonly completes: Completes | undefined;
}

function listCommands(spec: CommandSpec, path: readonly string[]): Entry[] {
  const own = spec.run === undefined ? [] : [...(spec.options ?? []), ...commonOptions];
  const flags = [...own.map((option) => toFlag(option, spec)), helpFlag];
  const children = (spec.commands ?? []).flatMap((child) =>
    listCommands(child, [...path, child.name]),
  );
  return [{ path, spec, flags }, ...children];
}

const helpFlag: Flag = {
  short: "h",
  long: "help",
  description: "print the help",
  takes: "nothing",
  repeats: false,
  values: undefined,
  completes: undefined,
};

function toFlag(option: OptionSpec, { arguments: own }: CommandSpec): Flag {
  const repeats = option.repeatable === true;
  const [, short, long = "", value] =
    /^(?:-(\w), )?--([\w-]+)(?: <([^>]+)>)?$/.exec(option.flags) ?? [];
  // As the parser has it: a command without arguments takes further words as values.
  const takesWords = (text: string) => text.endsWith("...") || (repeats && own === undefined);
  return {
    short,
    long,
    description: option.description,
    takes: value === undefined ? "nothing" : takesWords(value) ? "several" : "one",
    repeats,
    values: option.values,
    completes: option.completes,
  };
}

function spellings(flag: Flag): string[] {
  return flag.short === undefined ? [`--${flag.long}`] : [`-${flag.short}`, `--${flag.long}`];
}

const interfaces = "command ls /sys/class/net";

// --- bash ---------------------------------------------------------------------------------------

function bashScript(entries: readonly Entry[]): string {
  const takes: string[] = [];
  const known: string[] = [];
  const flags: string[] = [];
  const words: string[] = [];
  for (const { path, spec, flags: own } of entries) {
    const line = ["sluice", ...path].join(" ");
    known.push(quoteSh(line));
    flags.push(`    ${quoteSh(line)}) words=${quoteSh(own.flatMap(spellings).join(" "))} ;;`);
    for (const flag of own.filter((each) => each.takes !== "nothing")) {
      const patterns = spellings(flag).map((each) => quoteSh(`${line} ${each}`));
      takes.push(
        `    ${patterns.join(" | ")}) takes=${quoteSh(`${flag.takes} ${bashKind(flag)}`)} ;;`,
      );
    }
    const children = (spec.commands ?? []).map((child) => child.name);
    const first = spec.arguments?.[0];
    const kind = children.length > 0 ? `words ${children.join(" ")}` : first && bashKind(first);
    if (kind) {
      words.push(`    ${quoteSh(line)}) kind=${quoteSh(kind)} ;;`);
    }
  }
  return `# bash completion of sluice, made by \`sluice completion bash\`
_sluice() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" line="sluice" takes="" kind="" words="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      =) continue ;;
      --)
        mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
        return ;;
      -?*)
        takes=""
        _sluice_takes "$line $word"
        continue ;;
    esac
    case "$takes" in
      several*) ;;
      one*) takes="" ;;
      *) _sluice_known "$line $word" && line="$line $word" ;;
    esac
  done
  [[ $cur == "=" ]] && cur=""
  if [[ $cur == -* ]]; then
    _sluice_flags "$line"
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    return
  fi
  if [[ -n $takes ]]; then kind="\${takes#* }"; else _sluice_words "$line"; fi
  case "$kind" in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    interface) mapfile -t COMPREPLY < <(compgen -W "$(${interfaces})" -- "$cur") ;;
    command) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
    words*) mapfile -t COMPREPLY < <(compgen -W "\${kind#words }" -- "$cur") ;;
  esac
}
_sluice_known() {
  case "$1" in
    ${known.join(" | ")}) return 0 ;;
  esac
  return 1
}
_sluice_takes() {
  case "$1" in
${takes.join("\n")}
  esac
}
_sluice_flags() {
  case "$1" in
${flags.join("\n")}
  esac
}
_sluice_words() {
  case "$1" in
${words.join("\n")}
  esac
}
complete -F _sluice sluice
`;
}

function bashKind(of: Flag | ArgumentSpec): string {
  return of.values ? `words ${of.values.join(" ")}` : (of.completes ?? "none");
}

/** Quotes for sh, bash and zsh. */
function quoteSh(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// --- zsh ----------------------------------------------------------------------------------------

function zshScript(entries: readonly Entry[]): string {
  const functions = entries.map((entry) => zshFunction(entry)).join("\n");
  return `#compdef sluice
# zsh completion of sluice, made by \`sluice completion zsh\`
${functions}
if [[ \${funcstack[1]} == _sluice ]]; then
  _sluice "$@"
else
  compdef _sluice sluice
fi
`;
}

function zshFunction({ path, spec, flags }: Entry): string {
  const name = zshName(path);
  const specs = flags.flatMap((flag) =>
    spellings(flag).map((spelling) => quoteSh(zshFlag(flag, spelling))),
  );
  if (spec.commands === undefined) {
    const operands = (spec.arguments ?? []).map((argument) => {
      const kind = `${zshText(argument.name)}:${zshAction(argument)}`;
      return quoteSh(argument.several ? `*:${kind}` : `:${kind}`);
    });
    return `${name}() {\n  _arguments -s \\\n    ${[...specs, ...operands].join(" \\\n    ")}\n}`;
  }
  const described = spec.commands.map((child) =>
    quoteSh(`${child.name}:${child.summary.replaceAll(":", "\\:")}`),
  );
  const cases = spec.commands.map(
    (child) => `        ${child.name}) ${zshName([...path, child.name])} ;;`,
  );
  return `${name}() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C \\
    ${specs.join(" \\\n    ")} \\
    '1: :->command' '*:: :->rest'
  case $state in
    command)
      local -a commands=(
        ${described.join("\n        ")}
      )
      _describe command commands ;;
    rest)
      case $line[1] in
${cases.join("\n")}
      esac ;;
  esac
}`;
}

function zshName(path: readonly string[]): string {
  return ["_sluice", ...path].join("_");
}

function zshFlag(flag: Flag, spelling: string): string {
  const text = `[${zshText(flag.description)}]`;
  const value = `${flag.long}:${zshAction(flag)}`;
  switch (flag.takes) {
    case "nothing":
      return `${spelling}${text}`;
    case "one":
      return `${flag.repeats ? "*" : ""}${spelling}${text}:${value}`;
    case "several":
      return `*${spelling}${text}:${value}`;
  }
}

function zshAction(of: Flag | ArgumentSpec): string {
  if (of.values !== undefined) {
    return `(${of.values.join(" ")})`;
  }
  switch (of.completes) {
    case "file":
      return "_files";
    case "folder":
      return "_files -/";
    case "interface":
      return "_net_interfaces";
    case "command":
      return "_command_names -e";
    default:
      return " ";
  }
}

/** Escapes what would end a description, or start an action, in an `_arguments` line. */
function zshText(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}

// --- fish ---------------------------------------------------------------------------------------

function fishScript(entries: readonly Entry[]): string {
  const lines: string[] = [];
  for (const { path, spec, flags } of entries) {
    const at = quoteFish(["__sluice_at", ...path].join(" "));
    for (const child of spec.commands ?? []) {
      const summary = quoteFish(child.summary);
      lines.push(`complete -c sluice -n ${at} -f -a ${child.name} -d ${summary}`);
    }
    const under = quoteFish(["__sluice_under", ...path].join(" "));
    for (const argument of spec.arguments ?? []) {
      const values = fishValues(argument);
      lines.push(`complete -c sluice -n ${under} ${values} -d ${quoteFish(argument.description)}`);
    }
    for (const flag of path.length === 0 ? [] : flags) {
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      const value = flag.takes === "nothing" ? "" : ` -r ${fishValues(flag)}`;
      const description = quoteFish(flag.description);
      lines.push(
        `complete -c sluice -n ${under}${short} -l ${flag.long}${value} -d ${description}`,
      );
    }
  }
  return `# fish completion of sluice, made by \`sluice completion fish\`
# Whether the words so far start with these commands.
function __sluice_under
    set -l words (commandline -opc)
    set -e words[1]
    set -l depth (count $argv)
    test (count $words) -ge $depth; or return 1
    test $depth -eq 0; and return 0
    test "$words[1..$depth]" = "$argv"
end
# Whether they are these commands and no more.
function __sluice_at
    set -l words (commandline -opc)
    test (count $words) -eq (math (count $argv) + 1); and __sluice_under $argv
end
complete -c sluice -f
${lines.join("\n")}
`;
}

function fishValues(of: Flag | ArgumentSpec): string {
  if (of.values !== undefined) {
    return `-f -a ${quoteFish(of.values.join(" "))}`;
  }
  switch (of.completes) {
    case "file":
      return "-F";
    case "folder":
      return "-f -a '(__fish_complete_directories)'";
    case "interface":
      return `-f -a '(${interfaces})'`;
    case "command":
      return "-f -a '(__fish_complete_command)'";
    default:
      return "-f";
  }
}

function quoteFish(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
