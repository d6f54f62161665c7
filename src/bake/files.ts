/** Reads the text of bake files, whichever of their three forms they have. */
import { DrydockError, fail } from '../errors/index.ts';
import { type BlockSchema, type Body, parseHcl, parseJsonHcl, type SourceFile } from '../hcl/index.ts';
import { mergeTargets } from './attributes.ts';
import { composeDefinitions } from './compose.ts';
import { evaluateFiles, type Surroundings } from './evaluator.ts';
import type { Definitions } from './types.ts';

/** The files that are looked for where none is named, in the order in which they are read. */
export const defaultFiles = [
  'compose.yaml',
  'compose.yml',
  'docker-compose.yml',
  'docker-compose.yaml',
  'docker-bake.json',
  'docker-bake.hcl',
  'docker-bake.override.json',
  'docker-bake.override.hcl',
] as const;

const blocks: BlockSchema = new Map([
  ['target', { labels: 1 }],
  ['group', { labels: 1 }],
  ['variable', { labels: 1, blocks: new Map([['validation', { labels: 0 }]]) }],
  ['function', { labels: 1 }],
]);

/** A bake file: its name and its text. */
export type BakeFile = SourceFile;

/** What is around bake files. */
export interface BakeSurroundings extends Surroundings {
  /** The variables that compose files see. */
  env: Readonly<Record<string, string | undefined>>;
  /** Reads a file that a compose file names (`extends`). */
  readFile(path: string): string;
}

/**
 * Everything that files define, the later ones over the earlier ones, compose files first. Throws `invalid` (hop
 * `client`), with the place in the file.
 */
export function readDefinitions(files: readonly SourceFile[], surroundings: BakeSurroundings): Definitions {
  const compose: SourceFile[] = [];
  const bodies: Body[] = [];
  for (const file of files) {
    const form = formOf(file);
    if (form.compose !== undefined) compose.push(form.compose);
    else bodies.push(form.body);
  }
  const first: Definitions =
    compose.length === 0
      ? { groups: new Map(), targets: new Map(), variables: [] }
      : composeDefinitions(compose, surroundings);
  if (bodies.length === 0) return first;
  const second = evaluateFiles(bodies, surroundings);
  return merged(first, second);
}

function formOf(file: SourceFile): { compose: SourceFile } | { compose?: undefined; body: Body } {
  const name = file.filename.toLowerCase();
  if (/\.ya?ml$/.test(name)) return { compose: file };
  if (name.endsWith('.json')) return { body: parseJsonHcl(file, blocks) };
  if (name.endsWith('.hcl')) return { body: parseHcl(file) };
  // A file with another name is what it can be read as.
  if (/^\s*\{/.test(file.text)) return { body: parseJsonHcl(file, blocks) };
  if (/^(?:services|name|version|include)\s*:/m.test(file.text)) return { compose: file };
  try {
    return { body: parseHcl(file) };
  } catch (err) {
    if (!(err instanceof DrydockError)) throw err;
    throw fail('invalid', 'client', err.message, {
      source: err.source,
      hint: 'A file whose name does not end in .hcl, .json, .yml or .yaml is read as HCL.',
    });
  }
}

function merged(first: Definitions, second: Definitions): Definitions {
  const groups = new Map(first.groups);
  for (const [name, group] of second.groups) {
    const older = groups.get(name);
    groups.set(name, older === undefined ? group : { ...older, ...group, targets: group.targets });
  }
  const targets = new Map(first.targets);
  for (const [name, target] of second.targets) {
    const older = targets.get(name);
    targets.set(name, older === undefined ? target : mergeTargets(older, target));
  }
  return { groups, targets, variables: [...first.variables, ...second.variables] };
}
