/**
 * LLB's messages as the text that Go's encoding/json makes of BuildKit's structs, byte for byte: BuildKit's cache keys
 * are digests of it. Pure.
 * https://pkg.go.dev/encoding/json#Marshal
 */
import { choices, nameInJson } from './op-json.ts';
import { isMessageType, type Plain, tableOf, type Value } from './wire/messages.ts';

/**
 * The releases whose structs are meant. `old`: before 0.17, when numbers of inputs were written although they were 0,
 * and a user's number was called `byID`.
 */
export type GoForm = 'now' | 'old';

/** A value in Go's JSON. Fields that are undefined are left out; the others are written in the order they have here. */
export type GoValue =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | readonly GoValue[]
  | { readonly [name: string]: GoValue | undefined };

/** The fields that old releases write also when they are 0. */
const always: Readonly<Record<string, readonly string[]>> = {
  'pb.Mount': ['input', 'output'],
  'pb.NamedUserOpt': ['input'],
  'pb.MergeInput': ['input'],
  'pb.LowerDiffInput': ['input'],
  'pb.UpperDiffInput': ['input'],
  'pb.BuildOp': ['builder'],
  'pb.BuildInput': ['input'],
};

/** A message of LLB as Go's struct of it. Maps have their keys sorted. */
export function goMessage(message: object, form: GoForm): GoValue {
  const { $typeName: typeName, ...fields } = message as Plain & { $typeName: string };
  const json: Record<string, GoValue> = {};
  for (const { name, type, shape, oneof } of tableOf(typeName).fields) {
    if (oneof !== '') {
      const key = choices[oneof] ?? oneof;
      json[key] ??= {};
      const chosen = fields[oneof] as { case?: string; value?: Value } | undefined;
      if (chosen?.case !== name || isZero(chosen.value)) continue;
      const label = name === 'byID' && form === 'now' ? 'byId' : name;
      json[key] = { [label]: goValue(type, chosen.value, form) };
      continue;
    }
    const value = fields[name];
    if (value === undefined) continue;
    const key = nameInJson(name);
    if (shape === 'map') {
      const entries = Object.entries(value as Record<string, Value>).sort(([a], [b]) => (a < b ? -1 : 1));
      if (entries.length === 0) continue;
      json[key] = Object.fromEntries(entries.map(([k, v]) => [k, goValue(type, v, form)]));
    } else if (shape !== '') {
      const list = value as readonly Value[];
      if (list.length > 0) json[key] = list.map((each) => goValue(type, each, form));
    } else if (!isZero(value) || (form === 'old' && always[typeName]?.includes(name)))
      json[key] = goValue(type, value, form);
  }
  return json;
}

/** The text of a value. Bytes are written in base64. */
export function goJson(value: GoValue): string {
  if (typeof value === 'string') return goString(value);
  if (typeof value === 'object') {
    if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`;
    if (Array.isArray(value)) return `[${value.map((each) => goJson(each as GoValue)).join()}]`;
    const fields = Object.entries(value).filter(([, each]) => each !== undefined);
    return `{${fields.map(([name, each]) => `${goString(name)}:${goJson(each as GoValue)}`).join()}}`;
  }
  return String(value);
}

/** What Go writes by its number, besides control characters. */
const escaped = /[<>&\u2028\u2029]/g;

function goString(text: string): string {
  // A byte that is no UTF-8 is a lone surrogate here; Go writes the sign for such bytes, by its number.
  const parts = text.isWellFormed() ? [text] : text.split(/\p{Surrogate}/u);
  const written = parts.map((part) => JSON.stringify(part).slice(1, -1)).join('\\ufffd');
  return `"${written.replace(escaped, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`;
}

function goValue(type: string, value: Value, form: GoForm): GoValue {
  return isMessageType(type) ? goMessage(value as object, form) : (value as GoValue);
}

function isZero(value: Value): boolean {
  return value === '' || value === 0 || value === 0n || value === false || (value as Uint8Array).length === 0;
}
