/** The built-in scanner on package databases and programs that the package managers themselves have made. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { deflateSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { scan } from '../../src/sbom/scan-task.ts';
import type { SbomFormat } from '../../src/sbom/types.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-sbom-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;
const run = (command: string, args: string[], cwd = dir, input?: string) =>
  execFileSync(command, args, {
    cwd,
    input,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, HOME: dir },
  });

/** A folder with files, and the texts that its files have. */
function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(dir, 'tree-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

function scanned(root: string | string[], format: SbomFormat = 'spdx') {
  const out = mkdtempSync(join(dir, 'out-'));
  const dirs = [root].flat();
  const targets = [{ name: 'sbom', spec: { kind: 'layers' as const, dirs } }];
  const ctx = { post() {}, aborted: () => false };
  const { packages, problems } = scan({ targets, format, createdAt: 0, version: '1', dir: out }, ctx);
  const [file = ''] = readdirSync(out);
  const document: Json = JSON.parse(readFileSync(join(out, file), 'utf8'));
  return { file, packages, problems, document };
}

/** The package URLs that a scan finds. */
const purls = (root: string | string[]): string[] =>
  scanned(root).document.packages.flatMap(({ externalRefs }: Json) =>
    (externalRefs ?? []).map(({ referenceLocator }: Json) => referenceLocator),
  );

const debian = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';
const stanza = (name: string, version: string, more = '') =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n${more}\n`;

describe('packages of operating systems', () => {
  test("dpkg: what dpkg-query says of this machine's database", () => {
    const root = tree({ 'etc/os-release': debian });
    mkdirSync(join(root, 'var/lib/dpkg'), { recursive: true });
    copyFileSync('/var/lib/dpkg/status', join(root, 'var/lib/dpkg/status'));
    const fields = ['db:Status-Status', 'Package', 'Version', 'Architecture'];
    const format = `${fields.map((field) => `\${${field}}`).join(' ')}\n`;
    const asked = run('dpkg-query', [
      '--admindir',
      join(root, 'var/lib/dpkg'),
      '-W',
      '-f',
      format,
    ]).toString();
    const wanted = asked
      .split('\n')
      .filter((line) => line.startsWith('installed '))
      .map((line) => line.split(' ').slice(1).join(' '));
    const found = purls(root).map((purl) => {
      const [, name, version, arch] =
        /^pkg:deb\/debian\/([^@]+)@([^?]+)\?arch=(\w+)&distro=debian-12/.exec(purl) ?? [];
      return [name, version, arch].map((part) => decodeURIComponent(part ?? '')).join(' ');
    });
    expect(found.sort()).toEqual(wanted.sort());
  });

  test('dpkg: the source where it has another name, and packages of which only the configuration is left', () => {
    const root = tree({
      'etc/os-release': debian,
      'var/lib/dpkg/status':
        stanza('libc6', '2.36-9', 'Source: glibc (2.36-8)\nMaintainer: A B <a@b.example>') +
        'Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n',
      // As distroless images have it.
      'var/lib/dpkg/status.d/tzdata': 'Package: tzdata\nVersion: 2026a\nArchitecture: all\n',
      'var/lib/dpkg/status.d/tzdata.md5sums': 'aa usr/share\n',
    });
    expect(purls(root)).toEqual([
      'pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc%402.36-8',
      'pkg:deb/debian/tzdata@2026a?arch=all&distro=debian-12',
    ]);
    const { document } = scanned(root);
    expect(document.packages[1]).toMatchObject({ name: 'libc6', supplier: 'Person: A B (a@b.example)' });
  });

  test('dpkg: licences, where the package declares them in a form for machines', () => {
    const format = 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n';
    const files = (glob: string, license: string) => `\nFiles: ${glob}\nCopyright: A\nLicense: ${license}\n`;
    const of = (name: string) => `usr/share/doc/${name}/copyright`;
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const root = tree({
      'etc/os-release': debian,
      'var/lib/dpkg/status': names.map((name) => stanza(name, '1')).join('\n'),
      // A part under each, and the packaging, which is in no package.
      [of('a')]:
        `${format}${files('*', 'GPL-2+')}${files('lib/*', 'Expat or LGPL-2.1')}${files('debian/*', 'ISC')}`,
      [of('b')]:
        `${format}${files('*', 'GPL-2+\n This program is free …\n .\n more')}${files('x\n y', 'public-domain')}\nLicense: unused\n text\n`,
      [of('c')]: 'This is a text for people: see /usr/share/common-licenses/GPL-2.\n',
      [of('e')]: `${format}License: bsd-3-clause\n`,
      [of('f')]: `${format}${files('debian/*', 'Artistic, and Expat')}`,
    });
    const { packages, hasExtractedLicensingInfos: texts } = scanned(root).document;
    const declared = packages.slice(1).map(({ licenseDeclared }: Json) => licenseDeclared);
    const refOf = (text: string) =>
      texts.find(({ extractedText }: Json) => extractedText === text)?.licenseId;
    expect(declared).toEqual([
      'GPL-2.0-or-later AND (MIT OR LGPL-2.1-only)',
      `GPL-2.0-or-later AND ${refOf('public-domain')}`,
      'NOASSERTION',
      'NOASSERTION',
      'BSD-3-Clause',
      refOf('Artistic, and Expat'),
    ]);
    const { components } = scanned(root, 'cyclonedx').document;
    expect(components.slice(1, 4).map(({ licenses }: Json) => licenses)).toEqual([
      [{ expression: 'GPL-2.0-or-later AND (MIT OR LGPL-2.1-only)' }],
      [{ license: { name: 'GPL-2.0-or-later' } }, { license: { name: 'public-domain' } }],
      undefined,
    ]);
  });

  test('a layer above counts: a whiteout takes the database away', () => {
    const lower = tree({ 'var/lib/dpkg/status': stanza('a', '1') });
    const upper = tree({ 'var/lib/dpkg/status': stanza('b', '2') });
    expect(purls([upper, lower])).toEqual(['pkg:deb/debian/b@2?arch=amd64']);
    rmSync(join(upper, 'var/lib/dpkg/status'));
    run('mknod', [join(upper, 'var/lib/dpkg/status'), 'c', '0', '0']);
    expect(purls([upper, lower])).toEqual([]);
  });

  test('apk', () => {
    const root = tree({
      'etc/os-release': 'ID=alpine\nVERSION_ID=3.20.1\n',
      'lib/apk/db/installed':
        'C:Q1abc\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\n\nP:ssl_client\nV:1.36-r1\nA:x86_64\nL:GPL-2.0-only\no:busybox\nF:usr\n\n',
    });
    expect(purls(root)).toEqual([
      'pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1',
      'pkg:apk/alpine/ssl_client@1.36-r1?arch=x86_64&distro=alpine-3.20.1&upstream=busybox',
    ]);
  });

  describe('rpm', () => {
    /** Two packages, installed by rpm itself into a root. */
    const installed = (): string => {
      const root = tree({ 'etc/os-release': 'ID=fedora\nVERSION_ID=41\n' });
      const top = join(dir, 'rpmbuild');
      mkdirSync(top, { recursive: true });
      const build = (name: string, epoch: string, size: number) => {
        const spec = join(top, `${name}.spec`);
        writeFileSync(
          spec,
          `Name: ${name}\n${epoch}Version: 1.2\nRelease: 3\nSummary: x\nLicense: MIT\nVendor: Acme\nBuildArch: noarch\n%description\n${'x'.repeat(size)}\n%files\n`,
        );
        run('rpmbuild', ['-bb', '--quiet', '--define', `_topdir ${top}`, spec]);
      };
      build('one', '', 9);
      build('two', 'Epoch: 7\n', 9000);
      const packages = readdirSync(join(top, 'RPMS/noarch')).map((name) => join(top, 'RPMS/noarch', name));
      const define = ['--define', '_db_backend sqlite', '--define', '_dbpath /usr/lib/sysimage/rpm'];
      run('rpm', ['--root', root, ...define, '-i', '--nodeps', '--noscripts', '--ignorearch', ...packages]);
      return root;
    };
    /** The headers of the packages that rpm has installed. */
    const headersIn = (root: string): Buffer[] => {
      const db = new DatabaseSync(join(root, 'usr/lib/sysimage/rpm/rpmdb.sqlite'), { readOnly: true });
      const rows = db.prepare('SELECT blob FROM Packages ORDER BY hnum').all();
      db.close();
      return rows.map(({ blob }) => Buffer.from(blob as Uint8Array));
    };
    const wanted = [
      'pkg:rpm/fedora/one@1.2-3?arch=noarch&distro=fedora-41&upstream=one-1.2-3.src.rpm',
      'pkg:rpm/fedora/two@1.2-3?arch=noarch&distro=fedora-41&epoch=7&upstream=two-1.2-3.src.rpm',
    ];

    test('a database of SQLite', () => {
      const root = installed();
      const { problems } = scanned(root);
      expect(problems).toEqual([]);
      expect(purls(root)).toEqual(wanted);
      const names = readdirSync(join(root, 'usr/lib/sysimage/rpm')).sort();
      expect(purls(root)).toEqual(wanted);
      // The tree is as it was: no log or lock lies beside the database.
      expect(readdirSync(join(root, 'usr/lib/sysimage/rpm')).sort()).toEqual(names);
    });

    test('a database of old: a hash of Berkeley DB, with small and large values', () => {
      const root = installed();
      const headers = headersIn(root).map((header) => header.toString('hex'));
      // One is small enough to lie in a page of the hash, the other has pages of its own.
      const dump = [
        'VERSION=3',
        'format=bytevalue',
        'type=hash',
        'db_pagesize=16384',
        'HEADER=END',
        ' 00000000',
        ' 02000000',
      ];
      for (const [i, header] of headers.entries()) dump.push(` 0${i + 1}000000`, ` ${header}`);
      const old = tree({ 'etc/os-release': 'ID=fedora\nVERSION_ID=41\n', 'var/lib/rpm/.keep': '' });
      run('db5.3_load', [join(old, 'var/lib/rpm/Packages')], dir, `${dump.join('\n')}\nDATA=END\n`);
      expect(purls(old)).toEqual(wanted);
    });

    test("SUSE's database: pages of slots, which lead to the packages", () => {
      const head = Buffer.alloc(4096);
      head.write('RpmP');
      head.writeUInt32LE(1, 12);
      for (let at = 32; at < 4096; at += 16) head.write('Slot', at);
      const blobs: Buffer[] = [];
      let block = 4096 / 16;
      for (const [i, header] of headersIn(installed()).entries()) {
        const blob = Buffer.alloc(Math.ceil((16 + header.length + 12) / 16) * 16);
        blob.write('BlbS');
        blob.writeUInt32LE(i + 1, 4);
        blob.writeUInt32LE(header.length, 12);
        header.copy(blob, 16);
        // The slots of packages that were removed lie between the others.
        [i + 1, block, blob.length / 16].forEach((n, k) => {
          head.writeUInt32LE(n, 32 + i * 32 + 4 + k * 4);
        });
        blobs.push(blob);
        block += blob.length / 16;
      }
      const root = tree({ 'etc/os-release': 'ID=fedora\nVERSION_ID=41\n', 'usr/lib/sysimage/rpm/.keep': '' });
      writeFileSync(join(root, 'usr/lib/sysimage/rpm/Packages.db'), Buffer.concat([head, ...blobs]));
      expect(purls(root)).toEqual(wanted);
    });

    test('a database that is none, or is made to keep the scanner busy, is a problem and no end', () => {
      const root = tree({
        'var/lib/rpm/rpmdb.sqlite': 'x',
        'var/lib/rpm/Packages.db': 'RpmP',
        'var/lib/rpm/Packages': 'y',
      });
      rmSync(join(root, 'var/lib/rpm/rpmdb.sqlite'));
      const made = new DatabaseSync(join(root, 'var/lib/rpm/rpmdb.sqlite'));
      made.exec(
        'CREATE VIEW Packages AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS blob FROM r',
      );
      made.close();
      const { problems, packages } = scanned(root);
      expect(packages).toBe(0);
      expect(problems).toEqual([
        expect.stringMatching(/^\/var\/lib\/rpm\/Packages: it ends too early/),
        expect.stringMatching(/^\/var\/lib\/rpm\/Packages\.db: it ends too early/),
        '/var/lib/rpm/rpmdb.sqlite: it is no database of rpm',
      ]);
    });
  });
});

describe('packages of languages', () => {
  const manifest = (name: string, version: string, more = {}) => JSON.stringify({ name, version, ...more });

  test('node: what is installed, by real names; folders inside packages are none', () => {
    const root = tree({
      'app/package.json': manifest('app', '1.0.0'),
      'app/package-lock.json': '{"lockfileVersion":3,"packages":{"node_modules/absent":{"version":"9.9.9"}}}',
      'app/node_modules/a/package.json': manifest('a', '1.0.0', { license: 'MIT', author: { name: 'Ann' } }),
      'app/node_modules/a/dist/package.json': manifest('inner', '0.0.0'),
      'app/node_modules/a/node_modules/@s/b/package.json': manifest('@s/b', '2.0.0'),
      'app/node_modules/alias/package.json': manifest('real', '3.0.0'),
      'app/node_modules/.pnpm/c@4.0.0/node_modules/c/package.json': manifest('c', '4.0.0'),
      'app/node_modules/.bin/x': '',
      'app/node_modules/broken/package.json': '{',
      'elsewhere/package.json': manifest('source', '1.0.0'),
    });
    expect(purls(root)).toEqual([
      'pkg:npm/%40s/b@2.0.0',
      'pkg:npm/a@1.0.0',
      'pkg:npm/app@1.0.0',
      'pkg:npm/c@4.0.0',
      'pkg:npm/real@3.0.0',
    ]);
    expect(scanned(root).problems).toEqual(['/app/node_modules/broken/package.json: it is no JSON']);
  });

  test('locks of applications that are not installed', () => {
    const root = tree({
      'npm/package-lock.json': JSON.stringify({
        lockfileVersion: 3,
        packages: {
          '': { name: 'root', version: '1.0.0' },
          'node_modules/@s/x': { version: '1.1.1' },
          'node_modules/y/node_modules/z': { version: '2.2.2' },
          'node_modules/linked': { link: true },
        },
      }),
      'old/package-lock.json': JSON.stringify({
        lockfileVersion: 1,
        dependencies: { q: { version: '1.0.0', dependencies: { r: { version: '0.1.0' } } } },
      }),
      'pnpm/pnpm-lock.yaml':
        "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies: {}\npackages:\n\n  '@s/p@1.0.0(peer@2.0.0)':\n    resolution: {integrity: x}\n\n  p2@2.0.0:\n    resolution: {integrity: x}\n\nsnapshots:\n\n  p3@3.0.0: {}\n",
      'pnpm5/pnpm-lock.yaml':
        'lockfileVersion: 5.4\npackages:\n\n  /@s/o/1.0.0_x@2:\n    dev: false\n\n  /o2/2.0.0:\n    dev: false\n',
      'yarn/yarn.lock':
        '# yarn lockfile v1\n\n\n"@s/w@^1.0.0", "@s/w@^1.1.0":\n  version "1.2.0"\n  resolved "https://x"\n\nw2@~2:\n  version "2.0.1"\n  dependencies:\n    version "^9"\n',
      'berry/yarn.lock':
        '__metadata:\n  version: 8\n\n"app@workspace:.":\n  version: 0.0.0-use.local\n  resolution: "app@workspace:."\n\n"v@npm:^1.0.0, v@npm:^1.2.0":\n  version: 1.3.0\n  resolution: "v@npm:1.3.0"\n',
      // What an installed package was developed with is not installed.
      'app/node_modules/theirs/yarn.lock': '# yarn lockfile v1\n\n\nmocha@^8:\n  version "8.0.0"\n',
    });
    expect(purls(root).map((purl) => purl.slice('pkg:npm/'.length))).toEqual([
      ...['%40s/o@1.0.0', '%40s/p@1.0.0', '%40s/w@1.2.0', '%40s/x@1.1.1', 'o2@2.0.0', 'p2@2.0.0', 'q@1.0.0'],
      ...['r@0.1.0', 'root@1.0.0', 'v@1.3.0', 'w2@2.0.1', 'z@2.2.2'],
    ]);
  });

  test("this project's own packages: what `npm ls` says, by their real names", () => {
    const node = realpathSync('node_modules');
    // npm's own list of what it has installed.
    const lock: Json = JSON.parse(readFileSync(join(node, '.package-lock.json'), 'utf8'));
    const wanted = Object.entries<Json>(lock.packages).flatMap(([path, { name, version, link }]) =>
      link ? [] : [`${name ?? path.slice(path.lastIndexOf('node_modules/') + 13)}@${version}`],
    );
    const { components } = scanned(dirname(node), 'cyclonedx').document;
    const found: string[] = components.flatMap(({ purl, evidence }: Json) =>
      evidence.occurrences.some(({ location }: Json) => location.startsWith('/node_modules/')) ? [purl] : [],
    );
    const npm = found.flatMap((purl) =>
      purl.startsWith('pkg:npm/') ? [decodeURIComponent(purl.slice('pkg:npm/'.length))] : [],
    );
    expect(npm.sort()).toEqual([...new Set(wanted)].sort());
    // Among them is a program that Go has built of modules.
    expect(found.some((purl) => purl.startsWith('pkg:golang/stdlib@'))).toBe(true);
    expect(found).toContainEqual(expect.stringMatching(/^pkg:golang\/google\.golang\.org\/protobuf@v/));
  });

  test('python, ruby', () => {
    const root = tree({
      'usr/lib/python3/dist-packages/Zope.Interface-6.0.dist-info/METADATA':
        'Metadata-Version: 2.1\nName: Zope.Interface\nVersion: 6.0\nLicense: ZPL-2.1\n\nName: not this\n',
      'usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO':
        'Name: six\nVersion: 1.16.0\nLicense: UNKNOWN\n',
      'usr/lib/python3/dist-packages/flat-1.egg-info': 'Name: flat\nVersion: 1\n',
      'usr/lib/ruby/gems/3.1.0/specifications/rake-13.0.6.gemspec':
        '# -*- encoding: utf-8 -*-\n# stub: rake 13.0.6 ruby lib\n\nGem::Specification.new do |s|\n  s.name = "rake".freeze\n  s.version = "13.0.6"\n  s.licenses = ["MIT".freeze]\nend\n',
      'app/mine.gemspec': 'Gem::Specification.new do |s|\n  s.name = "mine"\n  s.version = "1"\nend\n',
    });
    expect(purls(root)).toEqual([
      ...['pkg:gem/rake@13.0.6', 'pkg:pypi/flat@1', 'pkg:pypi/six@1.16.0', 'pkg:pypi/zope-interface@6.0'],
    ]);
    const { packages } = scanned(root).document;
    expect(packages.find(({ name }: Json) => name === 'rake').licenseDeclared).toBe('MIT');
    expect(packages.find(({ name }: Json) => name === 'six').licenseDeclared).toBe('NOASSERTION');
  });

  test('java: archives, archives inside them, and those that only a manifest tells of', () => {
    const work = tree({
      'lib/META-INF/maven/org.a/lib/pom.properties': '#x\ngroupId=org.a\nartifactId=lib\nversion=1.0\n',
      'old/META-INF/MANIFEST.MF':
        'Manifest-Version: 1.0\r\nImplementation-Version: 2.5\r\nImplementation-Vendor-Id: org.o\r\n ld\r\n\r\n',
      'app/META-INF/MANIFEST.MF': 'Manifest-Version: 1.0\n',
    });
    run('zip', ['-qr', '../lib-1.0.jar', '.'], join(work, 'lib'));
    run('zip', ['-qr', '../old.jar', '.'], join(work, 'old'));
    mkdirSync(join(work, 'app/BOOT-INF/lib'), { recursive: true });
    mkdirSync(join(work, 'out/opt'), { recursive: true });
    for (const name of ['lib-1.0.jar', 'old.jar'])
      copyFileSync(join(work, name), join(work, 'app/BOOT-INF/lib', name));
    // One is stored as it is, the other one compressed.
    run('zip', ['-q0', '../out/opt/app-3.0.jar', 'BOOT-INF/lib/lib-1.0.jar'], join(work, 'app'));
    run(
      'zip',
      ['-q', '../out/opt/app-3.0.jar', 'BOOT-INF/lib/old.jar', 'META-INF/MANIFEST.MF'],
      join(work, 'app'),
    );
    writeFileSync(join(work, 'out/opt/none.jar'), 'x'.repeat(100));
    const { document, problems } = scanned(join(work, 'out'));
    const found = document.packages
      .slice(1)
      .map(({ externalRefs }: Json) => externalRefs[0].referenceLocator);
    expect(found).toEqual(['pkg:maven/app/app@3.0', 'pkg:maven/org.a/lib@1.0', 'pkg:maven/org.old/old@2.5']);
    expect(problems).toEqual(['/opt/none.jar: it is no zip archive']);
  });

  test('rust: the crates in a program that cargo-auditable has noted', () => {
    const root = tree({ 'bin/.keep': '' });
    const program = join(root, 'bin/tool');
    copyFileSync('/usr/bin/busybox', program);
    const list = {
      packages: [
        { name: 'serde', version: '1.0.1', source: 'crates.io' },
        { name: 'cc', version: '1.0.9', source: 'crates.io', kind: 'build' },
        { name: 'tool', version: '0.1.0', source: 'local', root: true, dependencies: [0] },
      ],
    };
    writeFileSync(join(dir, 'deps'), deflateSync(JSON.stringify(list)));
    run('objcopy', ['--add-section', `.dep-v0=${join(dir, 'deps')}`, program]);
    chmodSync(program, 0o755);
    expect(purls(root)).toEqual(['pkg:cargo/serde@1.0.1', 'pkg:cargo/tool@0.1.0']);
    writeFileSync(join(dir, 'deps'), 'no list');
    run('objcopy', ['--update-section', `.dep-v0=${join(dir, 'deps')}`, program]);
    expect(scanned(root).problems).toEqual(['/bin/tool: its list of crates cannot be read']);
  });
});

describe('the documents', () => {
  const root = () =>
    tree({
      'etc/os-release': debian,
      'var/lib/dpkg/status': stanza('a', '1:2~3+b1'),
      'n/node_modules/m/package.json': '{"name":"m","version":"1.0.0","license":"See LICENSE"}',
    });

  test('SPDX 2.3: the tree contains the packages, and files tell of them', () => {
    const { document, file } = scanned(root());
    expect(file).toBe('sbom.spdx.json');
    expect(document).toMatchObject({
      spdxVersion: 'SPDX-2.3',
      dataLicense: 'CC0-1.0',
      SPDXID: 'SPDXRef-DOCUMENT',
      name: 'sbom',
      documentNamespace: expect.stringMatching(/^https:\/\/spdx\.org\/spdxdocs\/drydock-sbom-[0-9a-f-]{36}$/),
      creationInfo: { created: '1970-01-01T00:00:00Z', creators: ['Tool: drydock-1'] },
    });
    const [top, a, m] = document.packages;
    expect(top).toMatchObject({
      SPDXID: 'SPDXRef-Root',
      comment: 'operating system: Debian GNU/Linux 12 (bookworm)',
    });
    expect(a).toMatchObject({
      name: 'a',
      versionInfo: '1:2~3+b1',
      sourceInfo: 'found in /var/lib/dpkg/status',
    });
    expect(a.externalRefs[0].referenceLocator).toBe(
      'pkg:deb/debian/a@1:2~3%2Bb1?arch=amd64&distro=debian-12',
    );
    // A licence that is no expression of SPDX's is quoted.
    expect(document.hasExtractedLicensingInfos).toEqual([
      { licenseId: m.licenseDeclared, extractedText: 'See LICENSE', name: 'See LICENSE' },
    ]);
    const ids = new Set(
      [document, ...document.packages, ...document.files].map(({ SPDXID }: Json) => SPDXID),
    );
    expect(ids.size).toBe(1 + document.packages.length + document.files.length);
    for (const { spdxElementId, relatedSpdxElement } of document.relationships) {
      expect([ids.has(spdxElementId), ids.has(relatedSpdxElement)]).toEqual([true, true]);
    }
    const status = document.files.find(({ fileName }: Json) => fileName === '/var/lib/dpkg/status');
    expect(status.checksums).toEqual([
      { algorithm: 'SHA1', checksumValue: expect.stringMatching(/^[0-9a-f]{40}$/) },
    ]);
  });

  test('CycloneDX 1.6', () => {
    const { document, file } = scanned(root(), 'cyclonedx');
    expect(file).toBe('sbom.cdx.json');
    expect(document).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 });
    expect(document.serialNumber).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(document.components).toMatchObject([
      { type: 'operating-system', name: 'debian', version: '12' },
      {
        type: 'library',
        name: 'a',
        version: '1:2~3+b1',
        evidence: { occurrences: [{ location: '/var/lib/dpkg/status' }] },
      },
      { type: 'library', name: 'm', licenses: [{ license: { name: 'See LICENSE' } }] },
    ]);
  });

  test('the same tree at the same time is the same document, byte for byte', () => {
    const once = root();
    expect(scanned(once).document).toEqual(scanned(once).document);
    expect(scanned(root()).document).toEqual(scanned(root()).document);
  });
});
