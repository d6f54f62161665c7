/** Functions that write values in other forms, hash them, and read them back. */
import { createHash, constants as crypto, privateDecrypt, randomUUID } from 'node:crypto';
import { hashSync } from 'bcryptjs';
import { satisfies, valid, validRange } from 'semver';
import { homeFolder } from '../../linux/index.ts';
import type { HclFunction, Value } from '../types.ts';
import { fromJson, plain } from '../values.ts';
import { fn } from './arguments.ts';

function decodeBase64(text: string): string {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
    throw new Error(`failed to decode base64 data ${JSON.stringify(text.slice(0, 100))}`);
  }
  const bytes = Buffer.from(text, 'base64');
  const decoded = bytes.toString('utf8');
  if (!Buffer.from(decoded).equals(bytes))
    throw new Error('the result of decoding the provided string is not valid UTF-8');
  return decoded;
}

function decodeJson(text: string): Value {
  try {
    return fromJson(JSON.parse(text));
  } catch (err) {
    throw new Error(`it is not JSON: ${err instanceof Error ? err.message : err}`);
  }
}

/** JSON as Go writes it: with the characters of HTML as escapes. */
function encodeJson(value: Value): string {
  return JSON.stringify(plain(value)).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The rows of a CSV text, after the head, as objects. */
function decodeCsv(text: string): Value {
  const [head, ...rows] = csvRows(text);
  if (head === undefined) throw new Error('missing header line');
  return rows.map((row, i) => {
    if (row.length !== head.length)
      throw new Error(`record ${i + 2} has ${row.length} fields, not ${head.length}`);
    return new Map(head.map((name, column) => [name, row[column] as string]));
  });
}

function csvRows(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (match === null) throw new Error('a quote stands in a field without quotes, or has no end');
    const [, quoted, bare = '', end] = match;
    row.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end === ',') {
      if (field.lastIndex === text.length) row.push('');
      else continue;
    }
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  }
  return rows;
}

const namespaces: Record<string, string> = {
  dns: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  url: '6ba7b811-9dad-11d1-80b4-00c04fd430c8',
  oid: '6ba7b812-9dad-11d1-80b4-00c04fd430c8',
  x500: '6ba7b814-9dad-11d1-80b4-00c04fd430c8',
};

/** A UUID of version 5: of a name in a namespace (RFC 9562). */
function uuidOf(namespace: string, name: string): string {
  const space = namespaces[namespace] ?? namespace;
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(space)) {
    throw new Error(`the namespace must be dns, url, oid, x500 or a UUID, not ${JSON.stringify(namespace)}`);
  }
  const bytes = createHash('sha1')
    .update(Buffer.from(space.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest()
    .subarray(0, 16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function decryptRsa(cipher: string, key: string): string {
  return privateDecrypt({ key, padding: crypto.RSA_PKCS1_PADDING }, Buffer.from(cipher, 'base64')).toString(
    'utf8',
  );
}

function inRange(version: string, constraint: string): boolean {
  const parsed =
    valid(version, { loose: true }) ??
    valid(version.replace(/^v?(\d+)(\.\d+)?$/, (_, a, b = '.0') => `${a}${b}.0`));
  if (parsed === null) throw new Error(`invalid semantic version ${JSON.stringify(version)}`);
  // A comma between constraints is a space there.
  const range = constraint.replaceAll(',', ' ');
  if (validRange(range) === null) throw new Error(`improper constraint ${JSON.stringify(constraint)}`);
  return satisfies(parsed, range);
}

const hash = (algorithm: string) => fn('str', (a) => createHash(algorithm).update(a.text(0)).digest('hex'));

export const encodingFunctions: Record<string, HclFunction> = {
  base64decode: fn('str', (a) => decodeBase64(a.text(0))),
  base64encode: fn('str', (a) => Buffer.from(a.text(0)).toString('base64')),
  bcrypt: fn('str, cost…', (a) => {
    const cost = a.all.length > 1 ? a.whole(1) : 10;
    if (cost < 4 || cost > 16) throw new Error('the cost must be from 4 to 16');
    return hashSync(a.text(0), cost);
  }),
  csvdecode: fn('str', (a) => decodeCsv(a.text(0))),
  homedir: fn('', () => homeFolder()),
  jsondecode: fn('str', (a) => decodeJson(a.text(0))),
  jsonencode: fn('val', (a) => encodeJson(a.at(0))),
  md5: hash('md5'),
  rsadecrypt: fn('ciphertext, privatekey', (a) => decryptRsa(a.text(0), a.text(1))),
  semvercmp: fn('version, constraint', (a) => inRange(a.text(0), a.text(1))),
  sha1: hash('sha1'),
  sha256: hash('sha256'),
  sha512: hash('sha512'),
  urlencode: fn('str', (a) =>
    encodeURIComponent(a.text(0))
      .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
      .replaceAll('%20', '+'),
  ),
  uuidv4: fn('', () => randomUUID()),
  uuidv5: fn('namespace, name', (a) => uuidOf(a.text(0), a.text(1))),
};
