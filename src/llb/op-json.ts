/**
 * LLB's messages in JSON as BuildKit writes them: fields have their names in ops.proto, defaults are left out, a oneof is
 * an object under its capitalized name, and 64-bit numbers are numbers.
 * https://github.com/moby/buildkit/blob/master/solver/pb/json.go
 */
import type { Locations, Op } from '../pb/solver/pb/ops_pb.js';
import { isMessageType, type Plain, tableOf, type Value } from './wire/messages.ts';

/** Our names of fields → their names in ops.proto, where the two differ. */
const asWritten: Readonly<Record<string, string>> = {
  proxyEnv: 'proxy_env',
  httpProxy: 'http_proxy',
  httpsProxy: 'https_proxy',
  ftpProxy: 'ftp_proxy',
  noProxy: 'no_proxy',
  allProxy: 'all_proxy',
  includePatterns: 'include_patterns',
  excludePatterns: 'exclude_patterns',
  requiredPaths: 'required_paths',
};

/** The oneofs, and the fields that are written also with their defaults. */
export const choices: Readonly<Record<string, string>> = { op: 'Op', action: 'Action', user: 'User' };
const always: Readonly<Record<string, readonly string[]>> = {
  'pb.FileAction': ['input', 'secondaryInput', 'output'],
};

/** The name of a field in JSON. */
export function nameInJson(field: string): string {
  return asWritten[field] ?? field;
}

/** Writes an op without its inputs. */
export function opJson(op: Op): Record<string, unknown> {
  const { inputs: _, ...json } = jsonOf('pb.Op', op as unknown as Plain);
  return json;
}

/** Writes a vertex's places in sources. */
export function locationsJson(locations: Locations): Record<string, unknown> {
  return jsonOf('pb.Locations', locations as unknown as Plain);
}

function jsonOf(typeName: string, message: Plain): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const { name, type, shape, oneof } of tableOf(typeName).fields) {
    if (oneof !== '') {
      const key = choices[oneof] ?? oneof;
      json[key] ??= {};
      const chosen = message[oneof] as { case?: string; value?: Value } | undefined;
      // The one choice that BuildKit's JSON names otherwise.
      const label = name === 'byID' ? 'byId' : name;
      if (chosen?.case === name) json[key] = { [label]: jsonValue(type, chosen.value) };
      continue;
    }
    const value = message[name];
    if (value === undefined) continue;
    const key = nameInJson(name);
    if (shape === 'list' || shape === 'packed') {
      const list = value as readonly Value[];
      if (list.length > 0) json[key] = list.map((each) => jsonValue(type, each));
    } else if (shape === 'map') {
      const entries = Object.entries(value as Record<string, Value>);
      if (entries.length > 0) json[key] = Object.fromEntries(entries.map(([k, v]) => [k, mapped(v)]));
    } else if (!isDefault(value) || always[typeName]?.includes(name)) json[key] = jsonValue(type, value);
  }
  return json;
}

function isDefault(value: Value): boolean {
  return value === '' || value === 0 || value === 0n || value === false || (value as Uint8Array).length === 0;
}

function jsonValue(type: string, value: Value): unknown {
  if (isMessageType(type)) return jsonOf(type, value as Plain);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Writes a value of a map: a message, a text or a truth value. */
function mapped(value: Value): unknown {
  const { $typeName } = value as { $typeName?: string };
  return $typeName === undefined ? value : jsonOf($typeName, value as Plain);
}
