/**
 * Names of files (and symlinks' targets, and names of extended attributes) are bytes to Linux, and strings here. What is
 * UTF-8 is the text it stands for; each byte that is not part of any is a lone surrogate, U+DC80 to U+DCFF for the bytes
 * 80 to FF, which no UTF-8 stands for (https://peps.python.org/pep-0383/). Such strings can be compared, split at
 * slashes and joined as others can, cross to threads and into JSON and back; wherever one becomes bytes, it goes through
 * here. Pure.
 */

/** The name that bytes are, or a part of them. */
export function nameOf(bytes: Buffer, from = 0, to = bytes.length): string {
  const text = bytes.toString('utf8', from, to);
  // Either it was in there, or it stands for bytes that are no UTF-8.
  return text.includes('\ufffd') ? escaped(bytes.subarray(from, to)) : text;
}

/** The bytes that a name is. */
export function bytesOf(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name);
  const parts = name.split(/([\udc80-\udcff])/u);
  return Buffer.concat(
    parts.map((part, i) => (i % 2 === 0 ? Buffer.from(part) : Buffer.of(part.charCodeAt(0) & 0xff))),
  );
}

/** The name that a text with escapes, as URLs have them, stands for. Throws URIError for what is no escape. */
export function nameOfEscaped(text: string): string {
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new URIError(`malformed escape in ${JSON.stringify(text)}`);
  const bytes = bytesOf(text).toString('latin1');
  const plain = bytes.replace(/%(..)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  return nameOf(Buffer.from(plain, 'latin1'));
}

/** A name as Node's own functions take it: itself when they make the right bytes of it, as of nearly all, else its bytes. */
export function rawName(name: string): string | Buffer {
  return name.isWellFormed() ? name : bytesOf(name);
}

/** How many bytes a name is. */
export function nameLength(name: string): number {
  return name.isWellFormed() ? Buffer.byteLength(name) : bytesOf(name).length;
}

/** Orders names as their bytes are ordered (JavaScript orders by UTF-16 units, which differs past U+FFFF). */
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

/** Bytes of the UTF-8 character at a place; 0 when there is none. https://www.rfc-editor.org/rfc/rfc3629#section-4 */
function characterAt(bytes: Buffer, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (let i = 1; i < length; i++) {
    // Beyond the end it is 0.
    const byte = bytes[at + i] ?? 0;
    const least = i > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const most = i > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (byte < least || byte > most) return 0;
  }
  return length;
}
