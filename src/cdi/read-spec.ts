/** Reads a CDI file, in YAML or JSON. */
import { parse } from 'yaml';
import { fail } from '../errors/index.ts';
import {
  type CdiDevice,
  type CdiHook,
  type CdiMount,
  type CdiSpec,
  type ContainerEdits,
  type DeviceNode,
  type HookName,
  hookNames,
} from './types.ts';

/** The versions of the specification that there are. */
const versions = ['0.1.0', '0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];
const kindPattern = /^[A-Za-z](?:[\w.-]*[A-Za-z0-9])?\/[A-Za-z](?:[\w.-]*[A-Za-z0-9])?$/;
const namePattern = /^[A-Za-z0-9](?:[\w.:-]*[A-Za-z0-9])?$/;

/**
 * Reads the text of a file. Throws `invalid` (hop `exec`) with the place in it: for text that is neither YAML nor JSON,
 * a member that the specification does not have, and a value that cannot be.
 */
export function readSpec(text: string): CdiSpec {
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    throw fail('invalid', 'exec', `it is no YAML: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
  return specIn(new Reader(document, ''));
}

function specIn(at: Reader): CdiSpec {
  at.only(['cdiVersion', 'kind', 'annotations', 'devices', 'containerEdits']);
  const version = at.text('cdiVersion').replace(/^v/, '');
  if (!versions.includes(version)) throw at.wrong('cdiVersion', `the version ${version} is not known`);
  const kind = at.text('kind');
  if (!kindPattern.test(kind))
    throw at.wrong('kind', `${JSON.stringify(kind)} is not of the form vendor/class`);
  const devices = at.list('devices').map(deviceIn);
  const names = devices.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw at.wrong('devices', `${twice} is there twice`);
  if (devices.length === 0) throw at.wrong('devices', 'there are none');
  return { kind, annotations: at.map('annotations'), devices, edits: editsIn(at.member('containerEdits')) };
}

function deviceIn(at: Reader): CdiDevice {
  at.only(['name', 'annotations', 'containerEdits']);
  const name = at.text('name');
  if (!namePattern.test(name)) throw at.wrong('name', `${JSON.stringify(name)} cannot be a name`);
  return { name, annotations: at.map('annotations'), edits: editsIn(at.member('containerEdits')) };
}

function editsIn(at: Reader): ContainerEdits {
  at.only(['env', 'deviceNodes', 'netDevices', 'hooks', 'mounts', 'intelRdt', 'additionalGids']);
  const env = at.texts('env') ?? [];
  const bad = env.find((entry) => entry.indexOf('=') <= 0);
  if (bad !== undefined) throw at.wrong('env', `${JSON.stringify(bad)} is no NAME=VALUE`);
  const rdt = at.optional('intelRdt');
  return {
    env,
    deviceNodes: at.list('deviceNodes').map(nodeIn),
    mounts: at.list('mounts').map(mountIn),
    hooks: at.list('hooks').map(hookIn),
    additionalGids: (at.numbers('additionalGids') ?? []).filter((gid) => gid !== 0),
    netDevices: at.list('netDevices').map((each) => {
      each.only(['hostInterfaceName', 'name']);
      return { hostInterfaceName: each.text('hostInterfaceName'), name: each.text('name') };
    }),
    ...(rdt === undefined ? {} : { intelRdt: rdtIn(rdt) }),
  };
}

function rdtIn(at: Reader): Record<string, unknown> {
  at.only(['closID', 'l3CacheSchema', 'memBwSchema', 'schemata', 'enableMonitoring']);
  const closID = at.maybeText('closID');
  if (closID !== undefined && (/[/\n]/.test(closID) || ['.', '..', ''].includes(closID))) {
    throw at.wrong('closID', `${JSON.stringify(closID)} cannot be an ID`);
  }
  return at.value as Record<string, unknown>;
}

function nodeIn(at: Reader): DeviceNode {
  at.only(['path', 'hostPath', 'type', 'major', 'minor', 'fileMode', 'permissions', 'uid', 'gid']);
  const type = at.maybeText('type') || undefined;
  if (type !== undefined && !['b', 'c', 'u', 'p'].includes(type)) {
    throw at.wrong('type', `${JSON.stringify(type)} is no type of a device`);
  }
  const permissions = at.maybeText('permissions') || undefined;
  if (permissions !== undefined && !/^[rwm]+$/.test(permissions)) {
    throw at.wrong('permissions', `${JSON.stringify(permissions)} has other letters than r, w and m`);
  }
  return {
    path: at.path('path'),
    hostPath: at.maybeText('hostPath') || undefined,
    type,
    major: at.number('major'),
    minor: at.number('minor'),
    fileMode: at.number('fileMode'),
    permissions,
    uid: at.number('uid'),
    gid: at.number('gid'),
  };
}

function mountIn(at: Reader): CdiMount {
  at.only(['hostPath', 'containerPath', 'options', 'type']);
  return {
    hostPath: at.text('hostPath'),
    containerPath: at.path('containerPath'),
    options: at.texts('options') ?? [],
    type: at.maybeText('type') || undefined,
  };
}

function hookIn(at: Reader): CdiHook {
  at.only(['hookName', 'path', 'args', 'env', 'timeout']);
  const hookName = at.text('hookName') as HookName;
  if (!hookNames.includes(hookName))
    throw at.wrong('hookName', `there is no hook ${JSON.stringify(hookName)}`);
  return {
    hookName,
    path: at.path('path'),
    args: at.texts('args'),
    env: at.texts('env'),
    timeout: at.number('timeout'),
  };
}

/** A value of the document, with its place in words. */
class Reader {
  readonly value: unknown;
  readonly #place: string;

  constructor(value: unknown, place: string) {
    this.value = value;
    this.#place = place;
  }

  wrong(name: string, why: string): Error {
    return fail('invalid', 'exec', `${this.#at(name)}: ${why}`);
  }

  /** Throws `invalid` unless it is an object with no other members than these. */
  only(names: readonly string[]): void {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw fail('invalid', 'exec', `${this.#place === '' ? 'it' : this.#place} is no object`);
    }
    const other = Object.keys(value).find((name) => !names.includes(name));
    if (other !== undefined) throw this.wrong(other, 'there is no such member');
  }

  member(name: string): Reader {
    return new Reader(this.#get(name) ?? {}, this.#at(name));
  }

  optional(name: string): Reader | undefined {
    return this.#get(name) === undefined ? undefined : this.member(name);
  }

  text(name: string): string {
    const text = this.maybeText(name);
    if (text === undefined || text === '') throw this.wrong(name, 'it is missing');
    return text;
  }

  maybeText(name: string): string | undefined {
    return this.#of(name, 'text', (value): value is string => typeof value === 'string');
  }

  /** An absolute path. */
  path(name: string): string {
    const path = this.text(name);
    if (!path.startsWith('/') || path.includes('\0')) {
      throw this.wrong(name, `${JSON.stringify(path)} is no absolute path`);
    }
    return path;
  }

  number(name: string): number | undefined {
    return this.#of(
      name,
      'a whole number',
      (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0,
    );
  }

  numbers(name: string): number[] | undefined {
    return this.#of(
      name,
      'a list of numbers',
      (value): value is number[] => Array.isArray(value) && value.every((each) => Number.isSafeInteger(each)),
    );
  }

  texts(name: string): string[] | undefined {
    return this.#of(
      name,
      'a list of texts',
      (value): value is string[] => Array.isArray(value) && value.every((each) => typeof each === 'string'),
    );
  }

  list(name: string): Reader[] {
    const list = this.#of(name, 'a list', (value): value is unknown[] => Array.isArray(value)) ?? [];
    return list.map((value, i) => new Reader(value, `${this.#at(name)}[${i}]`));
  }

  /** An object of texts. */
  map(name: string): Record<string, string> {
    const map = this.#of(
      name,
      'an object of texts',
      (value): value is Record<string, string> =>
        typeof value === 'object' &&
        value !== null &&
        Object.values(value).every((each) => typeof each === 'string'),
    );
    return { ...map };
  }

  #get(name: string): unknown {
    const value = this.value as Record<string, unknown>;
    return Object.hasOwn(value, name) ? (value[name] ?? undefined) : undefined;
  }

  #of<T>(name: string, want: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.#get(name);
    if (value === undefined || is(value)) return value;
    throw this.wrong(name, `it is not ${want}`);
  }

  #at(name: string): string {
    return this.#place === '' ? name : `${this.#place}.${name}`;
  }
}
