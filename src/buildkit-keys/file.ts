/** The keys of BuildKit's file ops. */
import type { ContentSelector } from '../fs/index.ts';
import { clone, FileActionSchema, type GoForm, goJson, goMessage } from '../llb/index.ts';
import { digestOf } from '../oci/index.ts';
import type { ChownOpt, FileAction, FileOp } from '../pb/solver/pb/ops_pb.js';
import type { OtherKeys } from '../solver/index.ts';
import { hasWildcard } from '../words/index.ts';
import { digestsOf } from './forms.ts';
import { byBytes, topPaths } from './paths.ts';

/**
 * The keys of a file op: the digest over the JSON of its actions. The place that a file is copied from is left out of
 * it, but not the file's name; the input that it is copied from is keyed by the paths or by their contents.
 */
export function fileKeys(op: FileOp, inputs: number): OtherKeys {
  const selected: ContentSelector[][] = Array.from({ length: inputs }, () => []);
  const built = new Set<number>();
  const select = (input: bigint, selector: ContentSelector) => selected[Number(input)]?.push(selector);
  for (const { action, input, secondaryInput } of op.actions) {
    built.add(Number(input));
    // A link's owner is not looked up by the key.
    const owner = action.case === 'rm' || action.case === 'symlink' ? undefined : action.value?.owner;
    for (const { input: named, path } of namedIn(owner)) select(named, { path, followLinks: true });
    if (action.case !== 'copy') continue;
    const { src, allowWildcard, followSymlink, includePatterns, excludePatterns, requiredPaths } =
      action.value;
    select(secondaryInput, {
      path: src,
      followLinks: followSymlink,
      wildcard: allowWildcard && hasWildcard(src),
      includes: includePatterns,
      excludes: excludePatterns,
      required: requiredPaths,
    });
  }
  const indexes = op.actions.map((action) =>
    [action.input, action.secondaryInput, action.output].map((index) => Number(index)),
  );
  const ops = digestsOf((form) => ({
    Type: 'buildkit.file.v0',
    Actions: op.actions.map((action) => Buffer.from(goJson(actionJson(action, inputs, form)))),
    indexes: isUsual(indexes) ? undefined : indexes,
  }));
  const deps = selected.map((selectors, i) => {
    if (selectors.length === 0 || built.has(i)) return { selector: '' };
    const paths = selectors.map(({ path }) => path).sort(byBytes);
    return { selector: digestOf(paths.reverse().join('\0')), content: deduped(selectors) };
  });
  return { ops, deps };
}

function actionJson(action: FileAction, inputs: number, form: GoForm) {
  const named = clone(FileActionSchema, action);
  const { action: what, secondaryInput } = named;
  if (what.case === undefined) return {};
  if (what.case === 'copy' && secondaryInput !== -1n && secondaryInput < inputs) {
    what.value.src = lastOf(what.value.src);
  }
  return goMessage(what.value, form);
}

/** The trees in which an owner's names are looked up, with the files in them. */
function namedIn(owner: ChownOpt | undefined): { input: bigint; path: string }[] {
  const found: { input: bigint; path: string }[] = [];
  if (owner?.user?.user.case === 'byName')
    found.push({ input: owner.user.user.value.input, path: '/etc/passwd' });
  if (owner?.group?.user.case === 'byName')
    found.push({ input: owner.group.user.value.input, path: '/etc/group' });
  return found;
}

/** Go's path.Base. */
function lastOf(path: string): string {
  if (path === '') return '.';
  const trimmed = path.replace(/\/+$/, '');
  return trimmed === '' ? '/' : trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

/** Whether the actions stand on each other in order, from the first input on, and read the second one: not written. */
function isUsual(indexes: readonly (readonly number[])[]): boolean {
  const last = indexes.length - 1;
  return indexes.every(
    ([input, secondary, output], i) =>
      input === (i === 0 ? 0 : last + i) &&
      (secondary === -1 || secondary === 1) &&
      output === (i === last ? 0 : -1),
  );
}

function deduped(selectors: readonly ContentSelector[]): ContentSelector[] {
  const isFiltered = ({ wildcard, includes, excludes }: ContentSelector) =>
    wildcard === true || (includes?.length ?? 0) > 0 || (excludes?.length ?? 0) > 0;
  const plain = selectors.filter((selector) => !isFiltered(selector));
  const paths = (follow: boolean) =>
    topPaths(plain.filter(({ followLinks }) => followLinks === follow).map(({ path }) => path));
  const all: ContentSelector[] = [
    ...paths(false).map((path) => ({ path })),
    ...paths(true).map((path) => ({ path, followLinks: true })),
    ...selectors.filter(isFiltered),
  ];
  return all.sort((a, b) => byBytes(a.path, b.path));
}
