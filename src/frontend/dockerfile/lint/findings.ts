/** The checks that need more than the syntax tree. The converter calls them with the facts that it knows. */
import type { SourceRange } from '../../../errors/index.ts';
import type { Dockerfile, Finding } from '../ast.ts';
import { expandWord } from '../expand/expand.ts';
import { suggest } from '../parse/suggest.ts';
import { finding } from './rules.ts';

/** The variables that are read outside of the Dockerfile's own commands and need no definition. */
const OUTSIDE = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']);

/** UndefinedVar for one name; `known` are the names that are set there. */
export function undefinedVarFinding(name: string, known: Iterable<string>, range: SourceRange): Finding {
  return finding('UndefinedVar', range, name, suggest(name, known) ?? '');
}

/**
 * The finding UndefinedVar for each variable that `expandWord` found unset, without those in `declared` (ARG without a
 * value) and those that are read from outside.
 */
export function undefinedVarFindings(
  unset: Iterable<string>,
  declared: { has(name: string): boolean },
  known: () => Iterable<string>,
  range: SourceRange,
): Finding[] {
  return [...unset]
    .filter((name) => !declared.has(name) && !OUTSIDE.has(name))
    .map((name) => undefinedVarFinding(name, known(), range));
}

/**
 * The finding UndefinedArgInFrom for variables that `expandWord` found unset in a FROM. `declared` are the global ARGs
 * and the platform args.
 */
export function undefinedArgInFromFindings(
  unset: Iterable<string>,
  declared: ReadonlySet<string>,
  range: SourceRange,
): Finding[] {
  return [...unset]
    .filter((name) => !declared.has(name))
    .map((name) => finding('UndefinedArgInFrom', range, name, suggest(name, declared) ?? ''));
}

/**
 * The finding InvalidDefaultArgInFrom for bases that are no valid reference when the build gives no args. `predefined`
 * are the platform args; `isReference` says whether a name could be an image's or a stage's.
 */
export function invalidDefaultArgFindings(
  file: Dockerfile,
  predefined: Record<string, string>,
  isReference: (name: string) => boolean,
): Finding[] {
  const { escape: esc } = file.directives;
  const values = new Map(Object.entries(predefined));
  const env = (name: string) => values.get(name);
  try {
    for (const { args } of file.globalArgs) {
      for (const arg of args) {
        if (arg.default !== undefined)
          values.set(arg.name, expandWord(arg.default, env, { escape: esc }).value);
      }
    }
    return file.stages
      .filter((stage) => !isReference(expandWord(stage.base, env, { escape: esc }).value))
      .map((stage) => finding('InvalidDefaultArgInFrom', stage.from.range, stage.base));
  } catch {
    return []; // the conversion fails at the same place, and says so
  }
}

/** WorkdirRelativePath: a stage's first WORKDIR (expanded) is relative and no stage below it set one. */
export function workdirRelativePathFinding(path: string, range: SourceRange): Finding {
  return finding('WorkdirRelativePath', range, path);
}

/** CopyIgnoredFile: a COPY or ADD source that .dockerignore excludes. */
export function copyIgnoredFileFinding(kind: 'COPY' | 'ADD', path: string, range: SourceRange): Finding {
  return finding('CopyIgnoredFile', range, kind === 'COPY' ? 'Copy' : 'Add', path);
}

/** InvalidBaseImagePlatform: the image is for another platform; platforms as `formatPlatform` writes them. */
export function invalidBaseImagePlatformFinding(
  image: string,
  expected: string,
  actual: string,
  range: SourceRange,
): Finding {
  return finding('InvalidBaseImagePlatform', range, image, expected, actual);
}
