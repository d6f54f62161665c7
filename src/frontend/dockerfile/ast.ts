/**
 * What the parser gives: a Dockerfile as stages of typed instructions. Words are kept unexpanded (variables are
 * expanded by the converter, which knows the values); quotes and escapes are kept where expansion needs them.
 */
import type { SourceRange } from '../../errors/index.ts';

export interface Dockerfile {
  filename: string;
  /** The text as read, for excerpts. */
  text: string;
  /** The LLB that gives the file; see `SourceLocation`. */
  definition?: object;
  directives: { syntax?: string; escape: '\\' | '`'; check?: CheckDirective };
  /** ARG instructions before the first FROM. */
  globalArgs: ArgInstruction[];
  stages: Stage[];
  /** Findings of the parser itself (empty continuation lines, instruction casing, …), not yet filtered by `check`. */
  findings: Finding[];
}

export interface CheckDirective {
  skip: string[];
  skipAll: boolean;
  error: boolean;
  experimental: string[];
  experimentalAll: boolean;
}

/** A lint finding before it is given its rule's text. */
export interface Finding {
  rule: string;
  message: string;
  range: SourceRange;
}

export interface Stage {
  /** In lower case (stage names do not tell cases apart), or ''. */
  name: string;
  /** The name and the keyword `AS` as written, when there is a name. */
  nameWritten?: string;
  asKeyword?: string;
  /** Base image or stage as written (unexpanded). */
  base: string;
  /** Unexpanded `--platform`. */
  platform?: string;
  from: Base;
  instructions: Instruction[];
  /** From a comment right above FROM: `# <name> <description>`, without the name. */
  description?: string;
}

export interface Base {
  range: SourceRange;
  /** The instruction as written, continuation lines joined, whitespace trimmed: what progress and history show. */
  original: string;
  /** Keyword as written, for casing checks: `RUN`, `run`. */
  keyword: string;
  /** Comment lines right above, without `#`; absent when there are none. */
  comments?: string[];
  /** From a comment `# check=skip=…` right above: checks that do not apply to this instruction. */
  check?: CheckDirective;
}

/** `<<EOF` document: content after its own rules (`-` has stripped tabs); `expand` is false when the word was quoted. */
export interface Heredoc {
  name: string;
  content: string;
  expand: boolean;
  chomp: boolean;
  fileDescriptor: number;
}

export interface KeyValue {
  /** Unexpanded. */
  key: string;
  value: string;
  /** Written as `KEY value` instead of `KEY=value`. */
  legacy?: boolean;
}

/** Shell form or exec form. */
export interface CommandLine {
  /** Exec form: the JSON array. Shell form: one element, the line as written. */
  args: string[];
  exec: boolean;
  heredocs: Heredoc[];
}

export type MountFlag = {
  /** The flag's value as written. Expand variables with `parseMount(raw, expand)`, which checks values again. */
  raw: string;
  type: 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh';
  /** All unexpanded. */
  from?: string;
  source?: string;
  target?: string;
  /** Always set: the type's default when not written (cache and tmpfs are writable). */
  readonly?: boolean;
  sharing?: string;
  id?: string;
  uid?: string;
  gid?: string;
  mode?: string;
  size?: string;
  required?: boolean;
  /** secret: environment variable to put the value into; '' means the one named as the id. */
  env?: string;
};

export interface CopyFlags {
  from?: string;
  chown?: string;
  chmod?: string;
  link?: boolean;
  parents?: boolean;
  excludes: string[];
  /** ADD only. */
  keepGitDir?: boolean;
  checksum?: string;
  unpack?: boolean;
}

export type ArgInstruction = Base & {
  kind: 'ARG';
  args: { name: string; default?: string; description?: string; range: SourceRange }[];
};

export type Instruction =
  | ArgInstruction
  | (Base & { kind: 'ENV' | 'LABEL'; pairs: KeyValue[] })
  | (Base & { kind: 'MAINTAINER'; value: string })
  | (Base & {
      kind: 'RUN';
      command: CommandLine;
      mounts: MountFlag[];
      network?: string;
      security?: string;
      /** As written; `parseDevice` reads them. */
      devices: string[];
    })
  | (Base & { kind: 'CMD' | 'ENTRYPOINT'; command: CommandLine })
  | (Base & { kind: 'SHELL'; shell: string[] })
  | (Base & {
      kind: 'COPY' | 'ADD';
      flags: CopyFlags;
      /** Unexpanded; heredoc sources appear as `{ heredoc }`. */
      sources: (string | { heredoc: Heredoc })[];
      dest: string;
    })
  | (Base & { kind: 'WORKDIR' | 'USER' | 'STOPSIGNAL'; value: string })
  | (Base & { kind: 'EXPOSE' | 'VOLUME'; values: string[] })
  | (Base & {
      kind: 'HEALTHCHECK';
      /** undefined: NONE */
      command?: CommandLine;
      /** Durations as written (`30s`), unexpanded. */
      interval?: string;
      timeout?: string;
      startPeriod?: string;
      startInterval?: string;
      retries?: string;
    })
  | (Base & {
      kind: 'ONBUILD';
      /** The instruction text after ONBUILD, heredoc documents included. */
      expression: string;
    });

/** The instructions that may be of these kinds. */
export type InstructionOf<K extends Instruction['kind']> = Instruction extends infer I
  ? I extends { kind: infer J }
    ? [Extract<J, K>] extends [never]
      ? never
      : I
    : never
  : never;
