/**
 * Reads a `hosts.toml`, in which containerd's and docker's users say which servers have a registry's repositories.
 * https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
import { dirname, resolve } from 'node:path';
import { parse, type TomlTable, type TomlValue } from 'smol-toml';
import { type DrydockError, fail, nearest } from '../errors/index.ts';
import type { HostCertificates } from './certificates.ts';
import { endpointOf, isLocalHost } from './hosts.ts';

/** What a server may be asked for: manifests by tag, what has a digest, and to take something. */
export type Capability = 'resolve' | 'pull' | 'push';

/** A server of a registry's repositories, as a file describes it. */
export interface HostServer {
  /** The name by which it is told and found: its URL, as it was written. */
  name: string;
  /** `https://mirror.example:5000` */
  origin: string;
  /** The path before repositories' names, without a slash at its end: `/v2`. */
  base: string;
  capabilities: readonly Capability[];
  /** Headers of requests to it, and to it alone. */
  headers: Readonly<Record<string, string>>;
  certificates: HostCertificates;
  skipVerify: boolean;
}

const keys = ['server', 'host', 'capabilities', 'ca', 'client', 'skip_verify', 'header', 'override_path'];
const allCapabilities: readonly Capability[] = ['pull', 'resolve', 'push'];

/**
 * The servers of a file, in the order in which they are asked; the registry itself is the last. `file` is its path, from
 * which the paths in it begin; `domain` is the registry. Throws `invalid`, with the file's name. Pure.
 */
export function parseHostsFile(text: string, file: string, domain: string): HostServer[] {
  let table: TomlTable;
  try {
    table = parse(text);
  } catch (cause) {
    const first = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw fail('invalid', 'registry', `${file} is no TOML: ${first}`, { cause });
  }
  const hosts = table.host ?? {};
  if (!isTable(hosts)) throw wrong(file, 'host', 'a table of servers');
  const servers = Object.entries(hosts).map(([url, entry]) => {
    if (!isTable(entry)) throw wrong(file, `host.${JSON.stringify(url)}`, 'a table');
    return serverOf(url, entry, file, `host.${JSON.stringify(url)}.`);
  });
  const { server } = table;
  if (server !== undefined && typeof server !== 'string') throw wrong(file, 'server', 'a URL');
  servers.push(serverOf(server || endpointOf(domain).host, table, file, ''));
  return servers;
}

function serverOf(url: string, entry: TomlTable, file: string, at: string): HostServer {
  for (const key of Object.keys(entry)) {
    if (keys.includes(key) && (at === '' || (key !== 'server' && key !== 'host'))) continue;
    if (key === 'dial_timeout') {
      throw fail('unsupported', 'registry', `${file}: ${at}dial_timeout is not supported`, {
        hint: 'Leave it out: a server that does not answer is given up after 60 s.',
      });
    }
    const like = nearest(key, keys);
    throw fail('invalid', 'registry', `${file}: there is no setting ${at}${key}`, {
      hint: like === undefined ? `Settings are ${keys.join(', ')}.` : `Did you mean ${like}?`,
    });
  }
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(url)
    ? ''
    : isLocalHost(url.replace(/\/.*$/s, ''))
      ? 'http://'
      : 'https://';
  const parsed = URL.parse(`${scheme}${url}`);
  const isServer =
    parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.username + parsed.password === '';
  if (!isServer || parsed.search !== '' || parsed.hash !== '') {
    throw fail('invalid', 'registry', `${file}: ${JSON.stringify(url)} is no URL of a server`, {
      hint: 'Write it as https://mirror.example:5000/prefix.',
    });
  }
  const path = parsed.pathname.replace(/\/+$/, '');
  const overrides = bool(entry, 'override_path', file, at);
  return {
    name: `${scheme}${url}`.replace(/\/+$/, ''),
    origin: parsed.origin,
    base: overrides || path.endsWith('/v2') ? path : `${path}/v2`,
    capabilities: capabilitiesOf(entry, file, at),
    headers: headersOf(entry.header ?? {}, file, at),
    certificates: certificatesOf(entry, file, at),
    skipVerify: bool(entry, 'skip_verify', file, at),
  };
}

function capabilitiesOf(entry: TomlTable, file: string, at: string): readonly Capability[] {
  if (entry.capabilities === undefined) return allCapabilities;
  const words = texts(entry.capabilities, file, `${at}capabilities`);
  return words.map((word) => {
    const known = allCapabilities.find((each) => each === word);
    if (known === undefined)
      throw wrong(file, `${at}capabilities`, `a list of ${allCapabilities.join(', ')}`);
    return known;
  });
}

function headersOf(value: TomlValue, file: string, at: string): Record<string, string> {
  if (!isTable(value)) throw wrong(file, `${at}header`, 'a table of texts');
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => {
      const all = texts(each, file, `${at}header.${name}`);
      const isSound =
        /^[\w!#$%&'*+.^`|~-]+$/.test(name) && all.every((text) => /^[\t\x20-\x7e\x80-\xff]*$/.test(text));
      if (!isSound) throw wrong(file, `${at}header.${name}`, 'a header of HTTP');
      return [name.toLowerCase(), all.join(', ')];
    }),
  );
}

/** `ca` is a file or several; `client` a file with a certificate and its key, or several, or pairs of two files. */
function certificatesOf({ ca, client }: TomlTable, file: string, at: string): HostCertificates {
  const found = (path: string) => resolve(dirname(file), path);
  const pairs = client === undefined ? [] : Array.isArray(client) ? client : [client];
  const keypairs = pairs.map((pair) => {
    const files = texts(pair, file, `${at}client`);
    const [cert, key = cert, ...more] = files;
    if (cert === undefined || key === undefined || more.length > 0)
      throw wrong(file, `${at}client`, 'a certificate, or pairs of a certificate and its key');
    return { cert: found(cert), key: found(key === '' ? cert : key) };
  });
  return { ca: ca === undefined ? [] : texts(ca, file, `${at}ca`).map(found), keypairs };
}

function bool(entry: TomlTable, name: string, file: string, at: string): boolean {
  const value = entry[name] ?? false;
  if (typeof value !== 'boolean') throw wrong(file, `${at}${name}`, 'true or false');
  return value;
}

function texts(value: TomlValue, file: string, name: string): string[] {
  const list = Array.isArray(value) ? value : [value];
  if (!list.every((each) => typeof each === 'string')) throw wrong(file, name, 'a text or a list of texts');
  return list as string[];
}

function isTable(value: TomlValue): value is TomlTable {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
}

function wrong(file: string, name: string, wanted: string): DrydockError {
  return fail('invalid', 'registry', `${file}: ${name} must be ${wanted}`);
}
