/** Platforms as users write them, in containerd's form and words. */
import { describe, expect, test } from 'vitest';
import {
  defaultEnv,
  defaultPath,
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformMatches,
} from '../../src/oci/platform.ts';

describe('a platform as it is written', () => {
  test.each<[string, object, string?]>([
    ['linux/amd64', { os: 'linux', architecture: 'amd64' }],
    ['linux/arm64/v8', { os: 'linux', architecture: 'arm64' }, 'linux/arm64'],
    ['linux/arm', { os: 'linux', architecture: 'arm', variant: 'v7' }, 'linux/arm/v7'],
    ['macOS/x86_64', { os: 'darwin', architecture: 'amd64' }, 'darwin/amd64'],
    ['linux/made-up', { os: 'linux', architecture: 'made-up' }],
    [
      'windows(10.0.20348.1006)/amd64',
      { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.1006' },
    ],
    [
      'windows(10.0.17763+win32k)/amd64',
      { os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763', 'os.features': ['win32k'] },
    ],
    [
      'linux(+b+a+a)/amd64',
      { os: 'linux', architecture: 'amd64', 'os.features': ['a', 'b'] },
      'linux(+a+b)/amd64',
    ],
    ['linux(1%2B2)/amd64', { os: 'linux', architecture: 'amd64', 'os.version': '1+2' }],
  ])('%s', (text, platform, again = text) => {
    expect(parsePlatform(text)).toEqual(platform);
    expect(formatPlatform(parsePlatform(text))).toBe(again);
  });

  test('one word is a system or an architecture; the rest is as on this machine', () => {
    expect(parsePlatform('windows').architecture).toBe(hostPlatform().architecture);
    expect(parsePlatform('windows(1.2.3)')).toMatchObject({ os: 'windows', 'os.version': '1.2.3' });
    expect(parsePlatform('riscv64')).toEqual({ os: 'linux', architecture: 'riscv64' });
  });

  test.each([
    ['foobar', '"foobar": unknown operating system or architecture: invalid argument'],
    ['nintendo64', '"nintendo64": unknown operating system or architecture: invalid argument'],
    ['', '"" is an invalid OS component of ""'],
    ['   ', '"   " is an invalid OS component of "   "'],
    ['linux(1/amd64', '"linux(1" is an invalid OS component of "linux(1/amd64"'],
    [
      'linux/',
      '"" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument',
    ],
    ['linux/a/b/c', '"linux/a/b/c": cannot parse platform specifier: invalid argument'],
    ['linux(%zz)/amd64', 'is an invalid OS component'],
  ])('%j is refused', (text, message) => {
    expect(() => parsePlatform(text)).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.stringContaining(message) }),
    );
  });
});

test('a process has a search path; an image of Windows has none of ours', () => {
  expect(defaultPath('windows')).toBe(
    'c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0',
  );
  expect(defaultEnv('linux')).toEqual([`PATH=${defaultPath('linux')}`]);
  expect(defaultEnv('windows')).toBeUndefined();
});

test('Windows runs what was made for its own build, of any revision; features an image needs must be there', () => {
  const matches = (want: string, have: string) => platformMatches(parsePlatform(want), parsePlatform(have));
  expect(matches('windows(10.0.1.5)/amd64', 'windows(10.0.1.9)/amd64')).toBe(true);
  expect(matches('windows(10.0.1)/amd64', 'windows(10.0.2)/amd64')).toBe(false);
  expect(matches('windows/amd64', 'windows(10.0.2)/amd64')).toBe(true);
  expect(matches('windows(10.0.2)/amd64', 'windows/amd64')).toBe(true);
  expect(matches('linux/amd64', 'linux(+sse)/amd64')).toBe(false);
  expect(matches('linux(+sse+avx)/amd64', 'linux(+sse)/amd64')).toBe(true);
});
