/** Names of files as strings: any bytes can be a name, and come back as they were. */
import { array, assert, constantFrom, oneof, property, string, uint8Array } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printable } from '../../src/errors/printable.ts';
import { bytesOf, compareNames, nameLength, nameOf, nameOfEscaped, rawName } from '../../src/linux/names.ts';

/** Bytes with many that begin, go on with or break off a character. */
const byte = constantFrom(
  ...Buffer.from('a/'),
  0x7f,
  0x80,
  0xa0,
  0xbf,
  0xc0,
  0xc2,
  0xe0,
  0xe9,
  0xed,
  0xef,
  0xf0,
  0xf4,
  0xff,
);
const bytes = oneof(
  uint8Array({ maxLength: 24 }),
  array(byte, { maxLength: 12 }),
  string({ unit: 'binary', maxLength: 8 }).map((text) => [...Buffer.from(text)]),
).map((list) => Buffer.from(list));

describe('a name', () => {
  test('is the bytes it came from', () => {
    assert(property(bytes, (raw) => void expect(bytesOf(nameOf(raw))).toEqual(raw)));
  });

  test('of other bytes is another name', () => {
    assert(property(bytes, bytes, (a, b) => void expect(nameOf(a) === nameOf(b)).toBe(a.equals(b))));
  });

  test('is its text where it is UTF-8, U+FFFD and the mark of byte orders too', () => {
    for (const text of ['', 'café', '𝄞', '\ufffd', '\ufeffa']) expect(nameOf(Buffer.from(text))).toBe(text);
    assert(property(string({ unit: 'binary' }), (text) => void expect(nameOf(Buffer.from(text))).toBe(text)));
  });

  test('has one unit for each byte that is part of no character', () => {
    const name = (...raw: number[]) => nameOf(Buffer.from(raw));
    expect(name(0x63, 0xe9)).toBe('c\udce9');
    expect(name(0xc3, 0xa9, 0xc3)).toBe('é\udcc3');
    expect(name(0xe2, 0x82, 0x41)).toBe('\udce2\udc82A');
    expect(name(0xc0, 0xaf)).toBe('\udcc0\udcaf'); // longer than need be
    expect(name(0xed, 0xa0, 0x80)).toBe('\udced\udca0\udc80'); // half of a pair
    expect(name(0xf4, 0x90, 0x80, 0x80)).toBe('\udcf4\udc90\udc80\udc80'); // beyond U+10FFFF
    expect(name(0xff, 0xf0, 0x9d, 0x84, 0x9e)).toBe('\udcff𝄞');
  });

  test('can be a part of the bytes', () => {
    expect(nameOf(Buffer.from([0x61, 0xff, 0x62, 0x63]), 1, 3)).toBe('\udcffb');
  });

  test('can be written with escapes', () => {
    expect(nameOfEscaped('a%20caf%E9/%c3%A9é')).toBe('a caf\udce9/éé');
    expect(() => nameOfEscaped('100%')).toThrow(URIError);
  });

  test('splits at slashes as its bytes do', () => {
    assert(
      property(
        array(
          bytes.filter((raw) => !raw.includes(0x2f)),
          { minLength: 1 },
        ),
        (parts) => {
          const path = Buffer.concat(parts.flatMap((part) => [Buffer.from('/'), part]));
          expect(nameOf(path).split('/').slice(1)).toEqual(parts.map((part) => nameOf(part)));
          expect(parts.map((part) => `/${nameOf(part)}`).join('')).toBe(nameOf(path));
        },
      ),
    );
  });

  test('has a length in bytes, and goes to the system as text where that is the same', () => {
    assert(
      property(bytes, (raw) => {
        const name = nameOf(raw);
        expect(nameLength(name)).toBe(raw.length);
        expect(Buffer.from(rawName(name) as string)).toEqual(raw);
        expect(typeof rawName(name)).toBe(raw.equals(Buffer.from(raw.toString())) ? 'string' : 'object');
      }),
    );
  });

  test('is in order where its bytes are', () => {
    const sign = (n: number) => Math.sign(n);
    assert(
      property(bytes, bytes, (a, b) => {
        expect(sign(compareNames(nameOf(a), nameOf(b)))).toBe(sign(Buffer.compare(a, b)));
      }),
    );
  });
});

test('a message shows such a byte by its number, also one that JSON has escaped', () => {
  expect(printable('open /c\udce9: no such file')).toBe('open /c\\xe9: no such file');
  expect(printable(`"${JSON.stringify('\udc80é')}"`)).toBe('""\\x80é""');
  expect(printable('a\\b')).toBe('a\\b');
  expect(printable(JSON.stringify('\\udce9'))).toBe('"\\\\udce9"');
  expect(printable('half \ud83d')).toBe('half \ufffd');
});
