/** COPY and ADD. */
import { fail } from '../../../errors/index.ts';
import {
  absolutePath,
  type CopyOptions,
  copy,
  type FileStep,
  listExcess,
  merge,
  mkfile,
  normalPath,
  type OpOptions,
  type State,
  scratch,
} from '../../../llb/index.ts';
import { digestOf, formatPlatform } from '../../../oci/index.ts';
import { hasWildcard } from '../../../words/index.ts';
import type { CopyFlags, InstructionOf } from '../ast.ts';
import { copyIgnoredFileFinding } from '../lint/findings.ts';
import { type Conversion, expandIn, opLocation } from './conversion.ts';
import { commit } from './history.ts';
import { isHttp, remoteGit, remoteSource } from './remote-source.ts';
import type { StageCommand, StageState } from './stages.ts';
import { nextStep, stepName, stepText } from './step-names.ts';

type CopyInstruction = InstructionOf<'COPY' | 'ADD'>;

/** A COPY or ADD with its variables expanded. */
interface ExpandedCopy {
  add: boolean;
  flags: CopyFlags;
  sources: string[];
  documents: { name: string; content: string }[];
  /** The destination as written, for history. */
  dest: string;
  /** The absolute destination. */
  destPath: string;
  mode: number | string | undefined;
}

/** Converts COPY and ADD. */
export function convertCopy(
  conversion: Conversion,
  stage: StageState,
  instruction: CopyInstruction,
  sources: StageCommand['sources'],
): void {
  const [from] = sources;
  const excess = listExcess({ actions: instruction.sources.length });
  if (excess !== undefined) throw fail('invalid', 'dockerfile', `${instruction.kind} has ${excess}`);
  const source = sourceTree(conversion, stage, instruction, from);
  const copied = expand(conversion, stage, instruction);
  const { env } = stage.state.values;
  const text = stepText(conversion, instruction.original, env);
  const name = nextStep(conversion, stage, text, stage.platform, env);
  const steps = [
    ...copied.sources.map((src) => sourceStep(conversion, instruction, copied, src, source, from, name)),
    ...copied.documents.map((document) => documentStep(copied, document)),
  ];
  const options: OpOptions = {
    name,
    location: opLocation(conversion, instruction.range),
    ignoreCache: stage.ignoreCache || conversion.runAgain.has(instruction),
  };
  // A chmod may have to look at what is there, so it does not go with --link.
  if (copied.flags.link && copied.mode === undefined) {
    const group = { id: digestOf(`${name} ${instruction.range.start.line} ${platformKey(stage)}`), name };
    const layer = scratch().file(steps, { ...options, progressGroup: { ...group, weak: true } });
    const merged = merge([stage.state, layer], {
      ...options,
      name: stepName(conversion, stage, `LINK ${text}`, stage.platform, env),
      progressGroup: group,
    });
    stage.state = stage.state.withOutput(merged.output);
  } else stage.state = stage.state.file(steps, options);
  const paths = from === undefined ? stage.contextPaths : from.paths;
  for (const src of copied.sources) {
    if (!copied.add || (!isHttp(src) && remoteGit(src) === undefined)) paths.add(absolutePath('/', src));
  }
  commit(conversion, stage, historyOf(copied), { layer: true, buildkit: true });
}

function platformKey(stage: StageState): string {
  return stage.platform === undefined ? '' : formatPlatform(stage.platform);
}

function sourceTree(
  conversion: Conversion,
  stage: StageState,
  { flags }: CopyInstruction,
  from: StageState | undefined,
): State {
  if (from === undefined) return conversion.context;
  if (!from.dispatched) {
    throw fail(
      'invalid',
      'dockerfile',
      `cannot copy from stage ${JSON.stringify(flags.from)}, it needs to be defined before current stage ${JSON.stringify(stage.shownName)}`,
    );
  }
  return from.state;
}

function expand(conversion: Conversion, stage: StageState, instruction: CopyInstruction): ExpandedCopy {
  const word = (text: string) => expandIn(conversion, stage, text, instruction);
  const optional = (text: string | undefined) => (text === undefined ? undefined : word(text));
  const written = instruction.flags;
  const flags: CopyFlags = {
    ...written,
    chown: optional(written.chown),
    chmod: optional(written.chmod),
    checksum: optional(written.checksum),
    excludes: written.excludes.map(word),
  };
  const sources: string[] = [];
  const documents: ExpandedCopy['documents'] = [];
  for (const source of instruction.sources) {
    if (typeof source === 'string') sources.push(word(source));
    else {
      const { name, content, expand: expands } = source.heredoc;
      const text = expands
        ? expandIn(conversion, stage, content, instruction, { escape: '\\', skipQuotes: true })
        : content;
      documents.push({ name, content: text });
    }
  }
  const dest = word(instruction.dest);
  const result: ExpandedCopy = {
    add: instruction.kind === 'ADD',
    flags,
    sources,
    documents,
    dest,
    destPath: destinationOf(stage, dest),
    mode: flags.chmod ? parseChmod(flags.chmod) : undefined,
  };
  checkChecksum(result);
  return result;
}

/** The absolute destination. A trailing slash, which means a folder, is kept. */
function destinationOf(stage: StageState, dest: string): string {
  const written = dest === '' || dest === '.' ? './' : dest;
  const path = absolutePath(stage.state.values.dir, written);
  if (written.endsWith('/.')) return path === '/' ? '/.' : `${path}/.`;
  return written.endsWith('/') && path !== '/' ? `${path}/` : path;
}

/** Octal permission bits, or a symbolic mode such as `u+x,go=r`. */
function parseChmod(text: string): number | string {
  if (/^[0-7]+$/.test(text) && Number.parseInt(text, 8) <= 0o7777) return Number.parseInt(text, 8);
  if (/^[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*$/.test(text)) return text;
  throw fail(
    'invalid',
    'dockerfile',
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`,
    { hint: 'Write --chmod=755, or a symbolic mode such as --chmod=u=rwX,go=rX.' },
  );
}

function checkChecksum({ add, flags, sources }: ExpandedCopy): void {
  if (!flags.checksum) return;
  const bad = (why: string) => fail('invalid', 'dockerfile', why);
  if (!add) throw bad("checksum can't be specified for COPY");
  const [first] = sources;
  if (sources.length !== 1 || first === undefined)
    throw bad("checksum can't be specified for multiple sources");
  if (!isHttp(first) && remoteGit(first) === undefined) throw bad('checksum requires HTTP(S) or Git sources');
}

function sourceStep(
  conversion: Conversion,
  instruction: CopyInstruction,
  copied: ExpandedCopy,
  src: string,
  source: State,
  from: StageState | undefined,
  name: string,
): FileStep {
  const { add, flags } = copied;
  const location = opLocation(conversion, instruction.range);
  const common: CopyOptions = {
    mode: copied.mode,
    createDestPath: true,
    chown: flags.chown,
    excludes: flags.excludes,
  };
  if (!add && (isHttp(src) || remoteGit(src) !== undefined)) {
    const what = isHttp(src) ? 'URL' : 'git ref';
    throw fail('invalid', 'dockerfile', `source can't be a ${what} for COPY`, { hint: 'Use ADD.' });
  }
  const remote = remoteSource(src, flags, { name, location });
  if (remote?.file !== undefined)
    return copy(remote.state, remote.file, copied.destPath, { ...common, unpack: flags.unpack ?? false });
  if (remote !== undefined) return copy(remote.state, '/', copied.destPath, common);
  // A longer path is no file's.
  if (from === undefined && src.length < 4096 && conversion.isIgnored(src)) {
    const path = normalPath(src).replace(/\/$/, '') || '/';
    conversion.findings.add(copyIgnoredFileFinding(add ? 'ADD' : 'COPY', path, instruction.range));
  }
  const options: CopyOptions = {
    ...common,
    followSymlinks: true,
    contentsOnly: true,
    unpack: flags.unpack ?? add,
    wildcard: true,
    // docker's builder of old wants something to copy. A plain path is the same step in either version.
    allowEmptyWildcard: !(conversion.request.classic && copied.sources.length === 1 && hasWildcard(src)),
  };
  if (!flags.parents) return copy(source, normalPath(`/${src}`), copied.destPath, options);
  // `/a/./b/c` keeps b/c, other paths are kept whole.
  const pivot = src.indexOf('/./');
  const root = pivot < 0 ? '/' : normalPath(`/${src.slice(0, pivot)}`);
  const pattern = normalPath(`/${pivot < 0 ? src : src.slice(pivot + 3)}`);
  const exact = !hasWildcard(root) && !hasWildcard(pattern);
  return copy(source, root, copied.destPath, {
    ...options,
    includes: [pattern.slice(1)],
    requiredPaths: exact ? [normalPath(`${root}/${pattern}`)] : [],
  });
}

/** Makes the file of a heredoc, with its name and content. */
function documentStep(copied: ExpandedCopy, { name, content }: { name: string; content: string }): FileStep {
  const tree = scratch().file(mkfile(normalPath(`/${name}`), content, { mode: 0o644 }), {
    name: '[internal] preparing inline document',
  });
  return copy(tree, name, copied.destPath, {
    mode: copied.mode,
    createDestPath: true,
    chown: copied.flags.chown,
    excludes: copied.flags.excludes,
  });
}

function historyOf({ add, flags, sources, documents, dest }: ExpandedCopy): string {
  const parts = [add ? 'ADD' : 'COPY'];
  if (flags.parents) parts.push('--parents');
  if (flags.chown) parts.push(`--chown=${flags.chown}`);
  if (flags.chmod) parts.push(`--chmod=${flags.chmod}`);
  return [...parts, ...sources, ...documents.map(({ name }) => `<<${name}`), dest].join(' ');
}
