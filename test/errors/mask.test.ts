/** Passwords, taken out of what is kept. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { looksSecret, Masks, maskUrls } from '../../src/errors/mask.ts';
import { threadMs } from '../kit/thread-time.ts';

test('names that look like a secret’s', () => {
  const secret = [
    'NPM_TOKEN',
    'token',
    'DB_PASSWORD',
    'PASSWD',
    'AWS_SECRET_ACCESS_KEY',
    'KEY',
    'apiKey',
    'SSH_KEYS',
  ];
  const also = ['MY_AUTH', 'db-pass', 'build-arg:GITHUB_TOKEN', 'CREDENTIALS'];
  const plain = ['VERSION', 'AUTHOR', 'KEYBOARD', 'PASSENGERS', 'HTTP_PROXY', 'COMPASS', 'context', 'PATH'];
  expect([...secret, ...also].filter((name) => !looksSecret(name))).toEqual([]);
  expect(plain.filter(looksSecret)).toEqual([]);
});

test.each([
  ['http://me:secret@proxy:3128', 'http://xxxxx:xxxxx@proxy:3128'],
  ['https://token@github.com/a/b.git#main', 'https://xxxxx@github.com/a/b.git#main'],
  ['http://me:pa@ss@proxy', 'http://xxxxx:xxxxx@proxy'],
  ['socks5://:secret@proxy', 'socks5://:xxxxx@proxy'],
  // A name alone is no secret where keys are.
  ['ssh://git@github.com/a', 'ssh://git@github.com/a'],
  ['ssh://git:secret@github.com/a', 'ssh://xxxxx:xxxxx@github.com/a'],
  ['https://a.example/?page=2&access_token=abc#x', 'https://a.example/?page=2&access_token=xxxxx#x'],
  [
    'https://a.example/f?X-Amz-Signature=ab12&sv=1&sig=c%2F',
    'https://a.example/f?X-Amz-Signature=xxxxx&sv=1&sig=xxxxx',
  ],
  ['https://a.example/?design=1&signature_version=4', 'https://a.example/?design=1&signature_version=4'],
  ['see https://a.example/@scope/name and b@c.example', 'see https://a.example/@scope/name and b@c.example'],
  ['a@b:c', 'a@b:c'],
])('%s is kept as %s', (text, kept) => {
  expect(maskUrls(text)).toBe(kept);
});

describe('the secrets of a build', () => {
  const masks = new Masks([
    ['build-arg:TOKEN', 'hunter2'],
    ['build-arg:TOKEN_LONGER', 'hunter2-and-more'],
    ['HTTP_PROXY', 'http://me:p%40ss-word@proxy'],
    ['SSH_KEY', '-----BEGIN-----\nline-of-key\n'],
    ['PIN_KEY', '12'],
    ['VERSION', '1.2'],
  ]);

  test('are masked wherever they come up', () => {
    expect(masks.text('a hunter2-and-more b hunter2c')).toBe('a xxxxx b xxxxxc');
    // As the proxy's client decodes it, and line by line.
    expect(masks.text('login p@ss-word failed: line-of-key')).toBe('login xxxxx failed: xxxxx');
    expect(masks.text('version 1.2 of 12')).toBe('version 1.2 of 12');
  });

  test('but not inside of a digest', () => {
    const digest = `sha256:${'cafe'.repeat(16)}`;
    expect(new Masks([['TOKEN', 'cafe']]).text(`cafe ${digest}`)).toBe(`xxxxx ${digest}`);
  });

  test('attributes of such names are masked whole, however short', () => {
    const attrs = { PIN_KEY: '12', VERSION: '1.2', EMPTY_TOKEN: '', url: 'http://a:b@c' };
    const kept = { PIN_KEY: 'xxxxx', VERSION: '1.2', EMPTY_TOKEN: '', url: 'http://xxxxx:xxxxx@c' };
    expect(masks.attrs(attrs)).toEqual(kept);
  });

  test('output keeps its length', () => {
    const output = Buffer.from('größe hunter2 http://me:secret@proxy');
    expect(Buffer.from(masks.bytes(output)).toString()).toBe('größe xxxxxxx http://xx:xxxxxx@proxy');
  });

  test('of a build with very many, texts are masked whole', () => {
    const many = new Masks(Array.from({ length: 1000 }, (_, i) => ['TOKEN', `secret-${i}`]));
    expect(many.text('harmless')).toBe('xxxxx');
    expect(Buffer.from(many.bytes(Buffer.from('ab'))).toString()).toBe('xx');
  });

  test('whatever stands around a secret, nothing of it is left', () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ minLength: 4 }), fc.string(), (before, secret, after) => {
        const text = `${before} ${secret} ${after}`;
        const masks = new Masks([['TOKEN', secret]]);
        const x = /^[x ]*$/.test(secret);
        expect(x || !masks.text(text).includes(secret) || /sha256:/.test(text)).toBe(true);
        expect(masks.bytes(Buffer.from(text))).toHaveLength(Buffer.byteLength(text));
      }),
    );
  });

  test('hostile text costs no more than its length', () => {
    const texts = [
      '://'.repeat(1 << 18),
      `://${'a'.repeat(1 << 20)}`,
      '?a='.repeat(1 << 18),
      '?'.repeat(1 << 20),
    ];
    const took = threadMs(() => {
      for (const text of texts) masks.text(`://${text}`);
    });
    expect(took).toBeLessThan(5_000);
  });
});
