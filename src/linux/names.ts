/**
 * Names of files (also symlinks' targets and names of extended attributes) are bytes to Linux and strings here. UTF-8
 * becomes its text. Each byte that is not part of UTF-8 becomes a lone surrogate, U+DC80 to U+DCFF for bytes 80 to FF,
 * which no UTF-8 encodes (https://peps.python.org/pep-0383/). Such strings can be compared, split at slashes and
 * joined, and passed to threads and through JSON like others. Every conversion to bytes goes through this file. Pure.
 *
 *     nameOf(Buffer.from([0x61, 0xe9])) // 'a\udce9'
 */

/** Turns bytes, or a part of them, into a name. */
export function nameOf(bytes: Buffer, from = 0, to = bytes.length): string {
  const text = bytes.toString('utf8', from, to);
  // U+FFFD was in the name, or replaces bytes that are not UTF-8.
  return text.includes('\ufffd') ? escaped(bytes.subarray(from, to)) : text;
}

/** Turns a name into its bytes. */
export function bytesOf(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name);
  const parts = name.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    parts.map((part, i) => (i % 2 === 0 ? Buffer.from(part) : Buffer.of(part.charCodeAt(0) & 0xff))),
  );
}

/** Turns a text with URL escapes into a name. Throws URIError for a malformed escape. */
export function nameOfEscaped(text: string): string {
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new URIError(`malformed escape in ${JSON.stringify(text)}`);
  const bytes = bytesOf(text).toString('latin1');
  const plain = bytes.replace(/%(..)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  return nameOf(Buffer.from(plain, 'latin1'));
}

/**
 * The form of a name for Node's own functions: the string itself if Node makes the right bytes of it (nearly always),
 * else its bytes.
 */
export function rawName(name: string): string | Buffer {
  return name.isWellFormed() ? name : bytesOf(name);
}

/** The number of bytes of a name. */
export function nameLength(name: string): number {
  return name.isWellFormed() ? Buffer.byteLength(name) : bytesOf(name).length;
}

/** Orders names by their bytes. (JavaScript orders by UTF-16 units, which differs past U+FFFF.) */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (isSurrogate(x) || isSurrogate(y)) return Buffer.compare(bytesOf(a), bytesOf(b));
    return x < y ? -1 : 1;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

function escaped(bytes: Buffer): string {
  let out = '';
  let from = 0;
  let at = 0;
  while (at < bytes.length) {
    const length = characterAt(bytes, at);
    if (length > 0) {
      at += length;
      continue;
    }
    out += bytes.toString('utf8', from, at) + String.fromCharCode(0xdc00 | (bytes[at] as number));
    from = ++at;
  }
  return out + bytes.toString('utf8', from);
}

/**
 * The length in bytes of the UTF-8 character at a place; 0 when there is none.
 * https://www.rfc-editor.org/rfc/rfc3629#section-4
 */
function characterAt(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (let i = 1; i < length; i++) {
    // A byte beyond the end counts as 0.
    const byte = bytes[at + i] ?? 0;
    const least = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const most = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (byte < least || byte > most) return 0;
  }
  return length;
}
