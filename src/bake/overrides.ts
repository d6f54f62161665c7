/** `--set PATTERN.KEY[+]=VALUE`: attributes of targets from the command line. */
import { fail } from '../errors/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { parseBool } from '../words/index.ts';
import { mergeTargets } from './attributes.ts';
import { type EntryKind, normalEntry, parseEntry, parseSsh } from './entries.ts';
import type { Entry, Target } from './types.ts';

/** One override: for which targets, and of what. */
interface Override {
  /** The whole flag, for errors. */
  text: string;
  key: string;
  /** The part behind the second dot: the name of a build argument, a label … */
  name?: string;
  isAdded: boolean;
  value?: string;
}

/** The overrides of a command line, by the names of targets. */
export type Overrides = ReadonlyMap<string, readonly Override[]>;

/**
 * Reads overrides. `names` are the targets that there are; `env` gives the values of `args` that have none. Throws
 * `invalid`, and `not-found` for a pattern that no target matches.
 */
export function readOverrides(
  texts: readonly string[],
  names: readonly string[],
  env: (name: string) => string | undefined,
): Overrides {
  const all = new Map<string, Override[]>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const left = at < 0 ? text : text.slice(0, at);
    const isAdded = left.endsWith('+');
    const [pattern = '', key = '', ...rest] = (isAdded ? left.slice(0, -1) : left).split('.');
    if (key === '') throw invalid(text, `invalid override key ${left}, expected target.name`);
    const name = rest.length === 0 ? undefined : rest.join('.');
    let value = at < 0 ? undefined : text.slice(at + 1);
    if (value === undefined) {
      if (key !== 'args' || name === undefined)
        throw invalid(text, `invalid override ${text}, expected target.name=value`);
      value = env(name);
      if (value === undefined) continue;
    }
    for (const target of expand(pattern, names)) {
      all.set(target, [...(all.get(target) ?? []), { text, key, name, isAdded, value }]);
    }
  }
  return all;
}

/** The names that a pattern stands for. Throws `not-found` when there is none. */
function expand(pattern: string, names: readonly string[]): readonly string[] {
  if (names.includes(pattern)) return [pattern];
  const glob = compileGlob(pattern);
  const found = names.filter((name) => glob(name));
  if (found.length > 0) return found;
  throw fail('not-found', 'client', `could not find any target matching '${pattern}'`, {
    hint: `Targets: ${names.join(', ') || 'none'}.`,
  });
}

const lists = new Set(['tags', 'platform', 'no-cache-filter', 'ulimits']);
const added = new Set(['entitlements', 'annotations']);
const entryKinds = new Set(['cache-from', 'cache-to', 'output', 'policy']);
const maps = new Set(['args', 'contexts', 'labels', 'extra-hosts', 'resources']);
const simple = new Set(['context', 'dockerfile', 'target', 'call', 'network', 'shm-size']);

/** A target with its overrides. Throws `invalid`. */
export function overridden(target: Target, overrides: readonly Override[] = []): Target {
  const out: Record<string, unknown> = { ...target };
  const begun = new Set<string>();
  const appended = new Set(overrides.flatMap(({ key, isAdded }) => (isAdded ? [key] : [])));
  // The first of several values of a list takes the place of what was there, the others are added; with one += all are.
  const before = (key: string, attribute = key): readonly unknown[] => {
    const fresh = !begun.has(key) && !appended.has(key);
    begun.add(key);
    return fresh ? [] : ((out[attribute] as unknown[]) ?? []);
  };
  for (const { text, key, name, isAdded, value = '' } of overrides) {
    if (lists.has(key)) {
      const attribute = key === 'platform' ? 'platforms' : key;
      out[attribute] = [...before(key, attribute), value];
    } else if (added.has(key)) out[key] = [...((out[key] as string[]) ?? []), value];
    else if (entryKinds.has(key)) out[key] = [...before(key), parseEntry(key as EntryKind, value)];
    else if (key === 'attest')
      Object.assign(out, mergeTargets(out, { attest: [parseEntry('attest', value)] }));
    else if (key === 'secrets') out.secret = [...before(key, 'secret'), parseEntry('secret', value)];
    else if (key === 'ssh') out.ssh = [...before(key), parseSsh(value)];
    else if (key === 'secret') {
      if (name === undefined) throw invalid(text, `invalid key ${key}, secret requires name`);
      out.secret = changedSecret((out.secret as Entry[]) ?? [], name, value);
    } else if (maps.has(key)) {
      if (name === undefined) throw invalid(text, `invalid key ${key}, ${key} requires name`);
      if (isAdded && key === 'resources')
        throw invalid(text, `invalid key ${key}, ${key} does not support append`);
      out[key] = { ...(out[key] as object), [name]: value };
    } else if (simple.has(key)) out[key] = value;
    else if (key === 'pull' || key === 'no-cache') out[key] = truth(key, value);
    else if (key === 'push') out.output = pushed((out.output as Entry[]) ?? [], truth(key, value));
    else if (key === 'load') out.output = loaded((out.output as Entry[]) ?? [], truth(key, value));
    else throw invalid(text, `unknown key: ${key}`);
  }
  return out as Target;
}

function changedSecret(secrets: readonly Entry[], id: string, value: string): Entry[] {
  if (!secrets.some((secret) => secret.id === id)) {
    throw invalid(value, `secret "${id}" must be declared before it can be overridden`);
  }
  const next = normalEntry('secret', parseEntry('secret', value));
  if (next.id !== undefined && next.id !== id)
    throw invalid(value, `secret override id "${next.id}" does not match declared secret "${id}"`);
  return secrets.map((secret) => (secret.id === id ? { ...next, id } : secret));
}

/** `--push` for outputs: images are pushed, and one that is pushed is added where no output is of another kind. */
function pushed(outputs: readonly Entry[], isOn: boolean): Entry[] {
  if (!isOn) {
    return outputs
      .filter(({ type }) => type !== 'registry')
      .map((output) => (output.type === 'image' ? { ...output, push: 'false' } : output));
  }
  const all = outputs.map((output) => (output.type === 'image' ? { ...output, push: 'true' } : output));
  return outputs.every(({ type }) => type === 'docker') ? [...all, { type: 'image', push: 'true' }] : all;
}

/** `--load` for outputs: one to the store is added where outputs are images only. */
function loaded(outputs: readonly Entry[], isOn: boolean): readonly Entry[] {
  if (!isOn || outputs.some(({ type, dest }) => type === 'docker' && dest === undefined)) return outputs;
  const areImages = outputs.every(({ type }) =>
    ['docker', 'image', 'registry', 'oci'].includes(String(type)),
  );
  return areImages ? [...outputs, { type: 'docker' }] : outputs;
}

function truth(key: string, value: string): boolean {
  const found = parseBool(value);
  if (found === undefined) throw invalid(value, `invalid value ${value} for boolean key ${key}`);
  return found;
}

function invalid(text: string, message: string) {
  return fail('invalid', 'client', message, { details: { flag: text } });
}
