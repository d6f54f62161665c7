/** Compose files as bake files: each service with a `build` is a target (github.com/compose-spec/compose-spec, build.md). */
import { dirname, join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { fail } from '../errors/index.ts';
import { hclError, type SourceFile } from '../hcl/index.ts';
import { ramInBytes, ramText } from '../words/index.ts';
import { attestText, normalEntry, parseEntry, parseSsh } from './entries.ts';
import { interpolate } from './interpolate.ts';
import { composePath } from './paths.ts';
import type { Definitions, Entry, SshEntry, Target } from './types.ts';

type Json = Record<string, unknown>;

interface ComposeSurroundings {
  env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): string;
}

/**
 * The targets of compose files, and the group `default` of them all. Throws `invalid` (hop `client`), with the place
 * where the text is no YAML.
 */
export function composeDefinitions(
  files: readonly SourceFile[],
  surroundings: ComposeSurroundings,
): Definitions {
  let all: Json = {};
  for (const file of files) all = mergeTrees(all, new Reader(surroundings).read(file), '') as Json;
  const services = record(all.services);
  const secrets = record(all.secrets);
  const targets = new Map<string, Target>();
  for (const [name, service] of Object.entries(services)) {
    const target = targetOf(record(service), secrets, surroundings.env, name);
    if (target !== undefined) targets.set(targetName(name), target);
  }
  const groups = new Map(targets.size === 0 ? [] : [['default', { targets: [...targets.keys()] }]]);
  return { groups, targets, variables: [] };
}

/** A service's name as a target's: dots are not in those. */
function targetName(name: string): string {
  const made = name.replaceAll('.', '_');
  if (/^[a-zA-Z0-9_-]+$/.test(made)) return made;
  throw fail(
    'invalid',
    'client',
    `invalid service name ${JSON.stringify(name)}: letters, digits, - and _ only`,
  );
}

class Reader {
  readonly #surroundings: ComposeSurroundings;
  #depth = 0;

  constructor(surroundings: ComposeSurroundings) {
    this.#surroundings = surroundings;
  }

  read(file: SourceFile): Json {
    if (++this.#depth > 20)
      throw fail('invalid', 'client', `${file.filename}: services extend each other more than 20 files deep`);
    const lines = new LineCounter();
    const document = parseDocument(file.text, { lineCounter: lines, merge: true });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      const at = { line, character: col - 1 };
      throw hclError(
        { file, range: { start: at, end: at } },
        'Invalid YAML',
        error.message.split('\n')[0] ?? '',
      );
    }
    const tree = document.toJS({ maxAliasCount: 1000 }) as unknown;
    const filled = fill(tree, this.#surroundings.env, file.filename);
    const all = record(filled);
    if (all.include !== undefined) {
      throw fail('unsupported', 'client', `${file.filename}: include is not read`, {
        hint: 'Name the files with -f.',
      });
    }
    const services = record(all.services);
    for (const name of Object.keys(services)) services[name] = this.#extended(services, name, file, []);
    return { ...all, services };
  }

  #extended(services: Json, name: string, file: SourceFile, seen: readonly string[]): Json {
    const service = record(services[name]);
    if (service.extends === undefined) return service;
    if (seen.includes(name))
      throw fail(
        'invalid',
        'client',
        `${file.filename}: services extend each other in a circle: ${[...seen, name].join(' → ')}`,
      );
    const { extends: given, ...own } = service;
    const { service: from, file: path } =
      typeof given === 'string' ? { service: given, file: undefined } : record(given);
    if (typeof from !== 'string')
      throw fail('invalid', 'client', `${file.filename}: extends of ${name} names no service`);
    let base: unknown;
    if (typeof path === 'string') {
      const filename = join(dirname(file.filename), path);
      base = record(this.read({ filename, text: this.#surroundings.readFile(filename) }).services)[from];
    } else if (services[from] !== undefined) base = this.#extended(services, from, file, [...seen, name]);
    if (base === undefined)
      throw fail(
        'not-found',
        'client',
        `${file.filename}: service ${name} extends ${from}, which is not there`,
      );
    return mergeTrees(base, own, '') as Json;
  }
}

function fill(tree: unknown, env: ComposeSurroundings['env'], filename: string): unknown {
  if (typeof tree === 'string') return interpolate(tree, env, filename);
  if (Array.isArray(tree)) return tree.map((item) => fill(item, env, filename));
  if (typeof tree !== 'object' || tree === null) return tree;
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, fill(item, env, filename)]));
}

/** Attributes that a later file replaces, though they are lists. */
const replaced = new Set(['command', 'entrypoint', 'platforms']);

function mergeTrees(older: unknown, newer: unknown, key: string): unknown {
  if (newer === undefined || newer === null) return older;
  if (isRecord(older) && isRecord(newer)) {
    const all: Json = { ...older };
    for (const [name, value] of Object.entries(newer)) all[name] = mergeTrees(older[name], value, name);
    return all;
  }
  // `build: .` is short for `build: { context: . }`, and lists of NAME=VALUE for maps.
  if (key === 'build' && (isRecord(older) || isRecord(newer))) {
    const full = (value: unknown) => (typeof value === 'string' ? { context: value } : value);
    return mergeTrees(full(older), full(newer), '');
  }
  if (['args', 'labels', 'environment'].includes(key) && older !== undefined) {
    return { ...pairs(older), ...pairs(newer) };
  }
  if (Array.isArray(older) && Array.isArray(newer) && !replaced.has(key)) {
    const seen = new Set<string>();
    return [...older, ...newer].filter((item) => {
      const text = JSON.stringify(item);
      return !seen.has(text) && seen.add(text) !== undefined;
    });
  }
  return newer;
}

function targetOf(
  service: Json,
  secrets: Json,
  env: ComposeSurroundings['env'],
  name: string,
): Target | undefined {
  if (service.build === undefined || service.build === null) return undefined;
  const build: Json = typeof service.build === 'string' ? { context: service.build } : record(service.build);
  const environment = pairs(service.environment);
  const args = Object.entries(pairs(build.args)).flatMap(([key, value]) => {
    const found = value ?? environment[key] ?? env[key];
    return found === undefined || found === null ? [] : [[key, found] as const];
  });
  const attest = (['sbom', 'provenance'] as const).flatMap((type) =>
    build[type] === undefined ? [] : [parseEntry('attest', attestText(type, String(build[type])))],
  );
  const image = text(service.image);
  const given: Record<string, unknown> = {
    context: path(build.context),
    contexts: contexts(build.additional_contexts),
    dockerfile: text(build.dockerfile),
    'dockerfile-inline': text(build.dockerfile_inline),
    tags: texts(build.tags) ?? (image === undefined ? undefined : [image]),
    labels: build.labels === undefined ? undefined : pairs(build.labels),
    args: args.length === 0 ? undefined : Object.fromEntries(args),
    'cache-from': texts(build.cache_from)?.map((item) => parseEntry('cache-from', item)),
    'cache-to': texts(build.cache_to)?.map((item) => parseEntry('cache-to', item)),
    network: text(build.network),
    platforms: texts(build.platforms),
    ssh: sshOf(build.ssh),
    secret: secretsOf(build.secrets, secrets, name),
    'shm-size': build.shm_size === undefined ? undefined : sizeOf(String(build.shm_size)),
    ulimits: ulimitsOf(build.ulimits),
    'extra-hosts': hostsOf(build.extra_hosts),
    entitlements: texts(build.entitlements),
    attest: attest.length === 0 ? undefined : attest,
    'no-cache': build.no_cache ? true : undefined,
    pull: build.pull ? true : undefined,
    target: text(build.target),
  };
  const target = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Target;
  return extended(target, build['x-bake']);
}

/** `x-bake`: what compose files have no attribute of their own for. */
function extended(target: Target, given: unknown): Target {
  if (given === undefined || given === null) return target;
  const ext = record(given);
  const list = (name: string) =>
    typeof ext[name] === 'string'
      ? (ext[name] as string).split(/\s+/).filter((word) => word !== '')
      : texts(ext[name]);
  const known = [
    'tags',
    'cache-from',
    'cache-to',
    'secret',
    'ssh',
    'platforms',
    'output',
    'pull',
    'no-cache',
    'no-cache-filter',
    'contexts',
  ];
  for (const name of Object.keys(ext)) {
    if (!known.includes(name))
      throw fail('invalid', 'client', `x-bake has no attribute ${name}`, {
        hint: `Attributes: ${known.join(', ')}.`,
      });
  }
  const more: Record<string, unknown> = { ...target };
  for (const name of ['tags', 'platforms', 'no-cache-filter'] as const) {
    const added = list(name);
    if (added !== undefined) more[name] = [...new Set([...(target[name] ?? []), ...added])];
  }
  for (const name of ['cache-from', 'cache-to', 'output', 'secret'] as const) {
    const added = list(name);
    if (added !== undefined)
      more[name] = [...(target[name] ?? []), ...added.map((item) => parseEntry(name, item))];
  }
  const ssh = list('ssh');
  if (ssh !== undefined) more.ssh = [...(target.ssh ?? []), ...ssh.map(parseSsh)];
  for (const name of ['pull', 'no-cache'] as const)
    if (typeof ext[name] === 'boolean') more[name] = ext[name];
  if (ext.contexts !== undefined) more.contexts = { ...contexts(ext.contexts), ...target.contexts };
  return more as Target;
}

function path(value: unknown): string | undefined {
  const given = text(value);
  return given === undefined ? undefined : composePath(given);
}

/** A size as compose files are printed: in the unit of its magnitude, where nothing is lost by that. */
function sizeOf(given: string): string {
  const bytes = ramInBytes(given);
  const short = bytes === undefined ? given : ramText(bytes);
  return ramInBytes(short) === bytes ? short : given;
}

function contexts(given: unknown): Record<string, string> | undefined {
  if (given === undefined || given === null) return undefined;
  return Object.fromEntries(
    Object.entries(pairs(given)).map(([name, value]) => {
      const service = /^(?:service|target):(.*)$/.exec(value ?? '')?.[1];
      return [name, service === undefined ? composePath(value ?? '') : `target:${targetName(service)}`];
    }),
  );
}

function secretsOf(given: unknown, all: Json, service: string): Entry[] | undefined {
  if (!Array.isArray(given)) return undefined;
  return given.map((item) => {
    const source = typeof item === 'string' ? item : text(record(item).source);
    if (source === undefined) throw fail('invalid', 'client', `a secret of service ${service} has no source`);
    const { external, file, environment } = record(all[source]);
    if (external) throw fail('unsupported', 'client', `unsupported external secret ${source}`);
    return normalEntry('secret', {
      id: source,
      ...(file === undefined ? {} : { src: composePath(String(file)) }),
      ...(environment === undefined ? {} : { env: String(environment) }),
    });
  });
}

function sshOf(given: unknown): SshEntry[] | undefined {
  if (given === undefined || given === null) return undefined;
  const list = Array.isArray(given)
    ? given.map(String)
    : Object.entries(pairs(given)).map(([id, path]) => (path ? `${id}=${path}` : id));
  return list.map(parseSsh).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function ulimitsOf(given: unknown): string[] | undefined {
  if (given === undefined || given === null) return undefined;
  return Object.entries(record(given)).map(([name, value]) => {
    if (!isRecord(value)) return `${name}=${value}:${value}`;
    return `${name}=${value.soft}:${value.hard}`;
  });
}

function hostsOf(given: unknown): Record<string, string> | undefined {
  if (given === undefined || given === null) return undefined;
  if (!Array.isArray(given))
    return Object.fromEntries(
      Object.entries(record(given)).map(([host, ip]) => [host, [ip].flat().join(',')]),
    );
  return Object.fromEntries(
    given.map((item) => {
      const match = /^([^:=]+)[:=](.+)$/.exec(String(item));
      if (match === null)
        throw fail('invalid', 'client', `invalid extra_hosts entry ${JSON.stringify(item)}`);
      return [match[1], match[2]];
    }),
  );
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function record(value: unknown): Json {
  if (value === undefined || value === null) return {};
  if (isRecord(value)) return value;
  throw fail(
    'invalid',
    'client',
    `a compose file has ${JSON.stringify(value).slice(0, 100)} where a map is needed`,
  );
}

function text(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (isRecord(value) || Array.isArray(value))
    throw fail(
      'invalid',
      'client',
      `a compose file has ${JSON.stringify(value).slice(0, 100)} where a text is needed`,
    );
  return String(value);
}

function texts(value: unknown): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  return [value].flat().map((item) => text(item) ?? '');
}

/** A map, or a list of `NAME=VALUE`; a bare NAME has no value. */
function pairs(given: unknown): Record<string, string | null> {
  if (!Array.isArray(given))
    return Object.fromEntries(
      Object.entries(record(given)).map(([key, value]) => [key, text(value) ?? null]),
    );
  return Object.fromEntries(
    given.map((item) => {
      const line = String(item);
      const at = line.indexOf('=');
      return at < 0 ? [line, null] : [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}
