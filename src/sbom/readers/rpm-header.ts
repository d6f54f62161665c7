/**
 * The header of an installed RPM package, as all of rpm's databases keep it.
 * https://rpm-software-management.github.io/rpm/manual/format_header.html
 */
import { fail } from '../../errors/index.ts';
import type { Distro, FoundPackage } from '../types.ts';

/** Tags of the fields that are read. */
const tags = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  vendor: 1011,
  license: 1014,
  url: 1020,
  arch: 1022,
  source: 1044,
} as const;
const [int32, text] = [4, 6];

/** Reads a header: its numbers of fields and of bytes, the fields, and the bytes. Throws `invalid` for a broken one. */
export function rpmPackage(header: Buffer, distro: Distro): FoundPackage | undefined {
  if (header.length < 8) throw broken();
  const count = header.readUInt32BE(0);
  const base = 8 + count * 16;
  if (base > header.length) throw broken();
  const found = new Map<number, string>();
  const wanted = new Set<number>(Object.values(tags));
  for (let i = 0; i < count; i++) {
    const at = 8 + i * 16;
    const tag = header.readUInt32BE(at);
    if (!wanted.has(tag)) continue;
    const type = header.readUInt32BE(at + 4);
    const start = base + header.readUInt32BE(at + 8);
    if (start >= header.length) throw broken();
    // A licence is one text in each language; the first is everybody's.
    if (type === int32 && start + 4 <= header.length) found.set(tag, String(header.readUInt32BE(start)));
    else if (type === text || type === 8 || type === 9) {
      const end = header.indexOf(0, start);
      found.set(tag, header.toString('utf8', start, end < 0 ? header.length : end));
    }
  }
  const value = (name: keyof typeof tags) => found.get(tags[name]);
  const name = value('name');
  const arch = value('arch');
  // Keys that rpm trusts are kept like packages, and have no architecture.
  if (name === undefined || arch === undefined || name === 'gpg-pubkey') return undefined;
  const source = value('source');
  return {
    kind: 'rpm',
    namespace: distro.id || undefined,
    name,
    version: `${value('version') ?? ''}-${value('release') ?? ''}`,
    qualifiers: { arch, epoch: value('epoch'), upstream: source === '(none)' ? undefined : source },
    license: value('license'),
    supplier: value('vendor'),
    homepage: value('url'),
  };
}

function broken(): Error {
  return fail('invalid', 'file', 'a package in it is broken');
}
