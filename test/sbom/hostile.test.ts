/** Trees that are made to keep the scanner busy, or to fill the memory: a problem each, and all else is found. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { scan } from '../../src/sbom/scan-task.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-sbom-hostile-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const good = { 'ok/node_modules/ok/package.json': '{"name":"ok","version":"1.0.0"}' };

function tree(files: Record<string, string | Buffer>): string {
  const root = mkdtempSync(join(dir, 'tree-'));
  for (const [path, text] of Object.entries({ ...good, ...files })) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

function scanned(root: string, aborted = () => false) {
  const out = mkdtempSync(join(dir, 'out-'));
  const targets = [{ name: 'sbom', spec: { kind: 'layers' as const, dirs: [root] } }];
  const args = { targets, format: 'cyclonedx' as const, createdAt: 0, version: '1', dir: out };
  const { problems } = scan(args, { post() {}, aborted });
  const { components } = JSON.parse(readFileSync(join(out, 'sbom.cdx.json'), 'utf8'));
  return { problems, components: components as Record<string, never>[] };
}

test('texts of a package that are no texts of a package are cut off', () => {
  const long = ' '.repeat(2_000_000);
  const root = tree({
    'var/lib/dpkg/status': `Package: a\nVersion: 1\nMaintainer: x${long}y\nHomepage: ${'h'.repeat(9999)}\n`,
  });
  const { components, problems } = scanned(root);
  expect(problems).toEqual([]);
  expect(components.map(({ name }) => name)).toEqual(['a', 'ok']);
  expect(JSON.stringify(components).length).toBeLessThan(10_000);
});

test('a database whose records all lead to one large record', () => {
  const [head, blob] = [Buffer.alloc(4096), Buffer.alloc(2 << 20)];
  head.write('RpmP');
  head.writeUInt32LE(1, 12);
  blob.write('BlbS');
  blob.writeUInt32LE(blob.length - 16, 12);
  for (let at = 32; at < 4096; at += 16) {
    head.write('Slot', at);
    head.writeUInt32LE(1, at + 4);
    head.writeUInt32LE(256, at + 8);
  }
  const { problems, components } = scanned(tree({ 'var/lib/rpm/Packages.db': Buffer.concat([head, blob]) }));
  expect(problems).toEqual(['/var/lib/rpm/Packages.db: it would have to be read over and over']);
  expect(components).toHaveLength(1);
});

test('archives in an archive that unpack to much more than they are', () => {
  const root = tree({ 'opt/.keep': '' });
  const files = mkdtempSync(join(dir, 'zeros-'));
  for (let i = 0; i < 4; i++) writeFileSync(join(files, `${i}.jar`), Buffer.alloc(40 << 20));
  execFileSync('zip', ['-q1r', join(root, 'opt/bomb.jar'), '.'], { cwd: files });
  expect(scanned(root).problems).toEqual([expect.stringMatching(/^\/opt\/bomb\.jar: /)]);
});

test('JSON that is deep, or has values by the million', () => {
  const { problems } = scanned(
    tree({
      'a/package-lock.json': '['.repeat(4 << 20),
      'b/package-lock.json': `{"packages":{${'"a":1,'.repeat(3_000_000)}"b":1}}`,
    }),
  );
  expect(problems.sort()).toEqual([
    '/a/package-lock.json: its JSON has more depth than any that tells of packages',
    '/b/package-lock.json: its JSON has more values than any that tells of packages',
  ]);
});

test('links that lead round, out of the tree or nowhere are not followed', () => {
  const root = tree({ 'app/.keep': '' });
  symlinkSync('.', join(root, 'app/loop'));
  symlinkSync('/var/lib', join(root, 'var'));
  symlinkSync(process.cwd(), join(root, 'app/node_modules'));
  const { problems, components } = scanned(root);
  expect([problems, components.map(({ name }) => name)]).toEqual([[], ['ok']]);
});

test('it stops in the middle of a file when nobody wants its result', () => {
  let asked = 0;
  const root = tree({ 'var/lib/dpkg/status': 'Package: a\nVersion: 1\n\n'.repeat(50_000) });
  expect(() => scanned(root, () => ++asked > 8)).toThrow('canceled');
});

test('packages that tell more than all packages of a system together', () => {
  const root = tree({});
  const status = join(root, 'var/lib/dpkg/status');
  mkdirSync(dirname(status), { recursive: true });
  const long = 'x'.repeat(990);
  for (let part = 0; part < 8; part++) {
    const packages = Array.from({ length: 4000 }, (_, i) =>
      ['Package: p', 'Version: 1', 'Maintainer: m', 'Homepage: h', 'Architecture: a']
        .map((field) => `${field}${part}.${i}${long}\n`)
        .join(''),
    );
    writeFileSync(status, `${packages.join('\n')}\n\n`, { flag: 'a' });
  }
  expect(() => scanned(root)).toThrow('more than 134217728 characters');
});
