/**
 * The result of the parser: a Dockerfile as stages of typed instructions. Words are kept unexpanded, because the
 * converter alone knows the values of variables. Quotes and escapes are kept where expansion needs them.
 */
import type { SourceRange } from '../../errors/index.ts';

/** A parsed Dockerfile. */
export interface Dockerfile {
  filename: string;
  /** The text as it was read, for excerpts. */
  text: string;
  /** The LLB that gives the file; see `SourceLocation`. */
  definition?: object;
  directives: { syntax?: string; escape: '\\' | '`'; check?: CheckDirective };
  /** ARG instructions before the first FROM. */
  globalArgs: ArgInstruction[];
  stages: Stage[];
  /** The parser's own findings (empty continuation lines, instruction casing, …), not yet filtered by `check`. */
  findings: Finding[];
}

export interface CheckDirective {
  skip: string[];
  skipAll: boolean;
  error: boolean;
  experimental: string[];
  experimentalAll: boolean;
}

/** A finding of a build check, before its rule's text is added. */
export interface Finding {
  rule: string;
  message: string;
  range: SourceRange;
}

/** A FROM with the instructions after it. */
export interface Stage {
  /** The name in lower case, in which stages are compared; '' when there is none. */
  name: string;
  /** The name and the keyword `AS` as written, when there is a name. */
  nameWritten?: string;
  asKeyword?: string;
  /** The base image or stage as written, unexpanded. */
  base: string;
  /** The value of `--platform`, unexpanded. */
  platform?: string;
  from: Base;
  instructions: Instruction[];
  /** The text of a comment `# <name> <description>` right above FROM, without the name. */
  description?: string;
}

/** The parts that every instruction has. */
export interface Base {
  range: SourceRange;
  /**
   * The instruction as written, with continuation lines joined and whitespace trimmed, as progress and history show it.
   */
  original: string;
  /** The keyword as written, for casing checks: `RUN`, `run`. */
  keyword: string;
  /** The comment lines right above, without `#`; undefined when there are none. */
  comments?: string[];
  /** The options in a comment `# check=skip=…` right above: checks that do not apply to this instruction. */
  check?: CheckDirective;
}

/**
 * A document `<<EOF`, with its content after its own rules (`-` has stripped tabs). `expand` is false when the word was
 * quoted.
 */
export interface Heredoc {
  name: string;
  content: string;
  expand: boolean;
  chomp: boolean;
  fileDescriptor: number;
}

export interface KeyValue {
  /** The key, unexpanded. */
  key: string;
  value: string;
  /** Whether it is written as `KEY value` instead of `KEY=value`. */
  legacy?: boolean;
}

/** A command in shell form or exec form. */
export interface CommandLine {
  /** In exec form the members of the JSON array; in shell form one element, the line as written. */
  args: string[];
  exec: boolean;
  heredocs: Heredoc[];
}

export type MountFlag = {
  /**
   * The flag's value as written. To expand its variables, call `parseMount(raw, expand)`, which checks the values
   * again.
   */
  raw: string;
  type: 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh';
  /** The values below are unexpanded. */
  from?: string;
  source?: string;
  target?: string;
  /** Always set. When it is not written, it is the type's default (cache and tmpfs are writable). */
  readonly?: boolean;
  sharing?: string;
  id?: string;
  uid?: string;
  gid?: string;
  mode?: string;
  size?: string;
  required?: boolean;
  /**
   * For a secret: the environment variable that gets the value; '' means the variable with the secret's id as its name.
   */
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
      /** The values as written; `parseDevice` reads them. */
      devices: string[];
    })
  | (Base & { kind: 'CMD' | 'ENTRYPOINT'; command: CommandLine })
  | (Base & { kind: 'SHELL'; shell: string[] })
  | (Base & {
      kind: 'COPY' | 'ADD';
      flags: CopyFlags;
      /** The sources, unexpanded. A heredoc is `{ heredoc }`. */
      sources: (string | { heredoc: Heredoc })[];
      dest: string;
    })
  | (Base & { kind: 'WORKDIR' | 'USER' | 'STOPSIGNAL'; value: string })
  | (Base & { kind: 'EXPOSE' | 'VOLUME'; values: string[] })
  | (Base & {
      kind: 'HEALTHCHECK';
      /** The command; undefined for NONE. */
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
      /** The text of the instruction after ONBUILD, with its heredoc documents. */
      expression: string;
    });

/** The instructions of these kinds. */
export type InstructionOf<K extends Instruction['kind']> = Instruction extends infer I
  ? I extends { kind: infer J }
    ? [Extract<J, K>] extends [never]
      ? never
      : I
    : never
  : never;
