/**
 * The facts of a step that are kept when it has run, so that a later run of it can be compared: what it is, as people
 * can read it, and what its inputs were. Values of variables that look secret are kept as a print alone. Pure.
 */
import { hash } from 'node:crypto';
import { clip, looksSecret, Masks } from '../errors/index.ts';
import { MountType, NetMode, ProxyMode, SecurityMode } from '../llb/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { FileAction, Mount, Op } from '../pb/solver/pb/ops_pb.js';
import { keptName, type Miss } from '../solver/index.ts';
import { baseOf } from './file-names.ts';

export interface StepFacts {
  /** `[build 2/4] RUN make`, without passwords. */
  name: string;
  /** Digest of the op without its inputs. */
  op: Digest;
  /** The record that it is. */
  record: Digest;
  /** What the op is told beside variables, by name. */
  settings: Record<string, string>;
  /** Variables by name. */
  variables: Record<string, Variable>;
  inputs: InputFacts[];
}

export interface Variable {
  /** Stands for the value. */
  print: string;
  /** The value, or its ends; missing where it may be a secret. */
  shown?: string;
}

export interface InputFacts {
  /** Name of the step that it comes from, without passwords. */
  name: string;
  id: Digest;
  /** Digest of the contents that stood for it. */
  content?: Digest;
  /** What of it was selected, where that is not all of it. */
  bases?: string[];
  /** It is an image: its name. */
  image?: string;
  /** The digest that it was found to have. */
  found?: string;
}

/** Longest value that is shown whole. */
const maxShown = 80;
/** Longest text of a setting that is kept. */
const maxSetting = 1000;

/** The facts of a step. `salt`: of the database that they are kept in, so that prints of secrets say nothing elsewhere. */
export function factsOf(miss: Miss, salt: string): StepFacts {
  const { vertex, op, id, inputs } = miss;
  return {
    name: keptName(vertex),
    op,
    record: id,
    settings: settingsOf(vertex.op),
    variables: variablesOf(vertex.op, salt),
    inputs: inputs.map(({ vertex: from, id: input, content, found, selectors }) => {
      const image = imageOf(from.op);
      const bases = selectors.map(baseOf);
      return {
        name: keptName(from),
        id: input,
        ...(content === undefined ? {} : { content }),
        ...(bases.every((base) => base === '/') ? {} : { bases }),
        ...(image === undefined ? {} : { image: image.name }),
        ...(found === undefined && image?.digest === undefined ? {} : { found: found ?? image?.digest }),
      };
    }),
  };
}

/** The image that a source is, by its name without a digest. */
function imageOf({ op }: Op): { name: string; digest: string | undefined } | undefined {
  if (op.case !== 'source') return undefined;
  const [, name, digest] = /^docker-image:\/\/(.*?)(?:@(sha256:[0-9a-f]+))?$/.exec(op.value.identifier) ?? [];
  return name === undefined ? undefined : { name, digest };
}

function variablesOf({ op }: Op, salt: string): StepFacts['variables'] {
  const env = op.case === 'exec' ? (op.value.meta?.env ?? []) : [];
  const pairs = env.map((entry): [string, string] => {
    const at = entry.indexOf('=');
    return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
  });
  const masks = new Masks(pairs);
  const found: StepFacts['variables'] = Object.create(null);
  for (const [name, value] of pairs) {
    const print = hash('sha256', `${salt} ${value}`, 'hex').slice(0, 24);
    // A value with a secret in it is not shown either: what is left of it need not be what has changed.
    const isShown = !looksSecret(name) && masks.text(value) === value;
    found[name] = isShown ? { print, shown: clip(value, maxShown) } : { print };
  }
  return found;
}

function settingsOf(pb: Op): StepFacts['settings'] {
  const { op, platform } = pb;
  const found: StepFacts['settings'] = Object.create(null);
  const set = (name: string, value: string) => {
    if (value !== '') found[name] = value.length > maxSetting ? digestOf(value) : value;
  };
  if (op.case === 'exec') {
    const { meta, mounts, network, security, secretenv } = op.value;
    set(
      'platform',
      platform === undefined ? '' : [platform.OS, platform.Architecture, platform.Variant].join('/'),
    );
    set('working directory', meta?.cwd ?? '');
    set('user', meta?.user ?? '');
    set('host name', meta?.hostname ?? '');
    set('network', networkName(network));
    set('security', security === SecurityMode.SANDBOX ? '' : 'insecure');
    set('extra hosts', (meta?.extraHosts ?? []).map(({ Host }) => Host).join(', '));
    set('ulimits', (meta?.ulimit ?? []).map(({ Name, Soft, Hard }) => `${Name}=${Soft}:${Hard}`).join(', '));
    set('secret variables', secretenv.map(({ name, ID }) => `${name} (${ID})`).join(', '));
    for (const mount of mounts) if (mount.dest !== '/') set(`mount at ${mount.dest}`, mountText(mount));
  }
  if (op.case === 'file') {
    for (const [i, action] of op.value.actions.entries()) set(`file action ${i + 1}`, actionText(action));
  }
  return found;
}

function mountText(mount: Mount): string {
  const type = (MountType[mount.mountType] ?? String(mount.mountType)).toLowerCase();
  const size = mount.TmpfsOpt?.size;
  return [type, mount.readonly ? 'read only' : '', size ? `size ${size}` : ''].filter(Boolean).join(', ');
}

/** What tells an action from others, but not where it copies from, as the contents stand for that. */
function actionText({ action }: FileAction): string {
  if (action.case === undefined) return '';
  const { value } = action;
  const time =
    'timestamp' in value && value.timestamp >= 0n ? `time ${value.timestamp / 1_000_000_000n}` : '';
  const mode = 'mode' in value && value.mode >= 0 ? `mode ${value.mode.toString(8)}` : '';
  switch (action.case) {
    case 'copy':
      return texts('copy to', action.value.dest, mode, time);
    case 'mkfile':
      return texts('file', action.value.path, `with ${digestOf(action.value.data).slice(0, 19)}`, mode, time);
    case 'mkdir':
      return texts('folder', action.value.path, mode, time);
    case 'symlink':
      return texts('link', action.value.newpath, 'to', action.value.oldpath, time);
    default:
      return texts('removal of', action.value.path);
  }
}

function texts(...parts: string[]): string {
  return parts.filter((part) => part !== '').join(' ');
}

/** The name of a network mode; '' for the usual one. */
function networkName(mode: number): string {
  if (mode === NetMode.UNSET) return '';
  if (mode === ProxyMode.default) return 'proxy';
  return mode === ProxyMode.host ? 'host by proxy' : (NetMode[mode] ?? String(mode)).toLowerCase();
}
