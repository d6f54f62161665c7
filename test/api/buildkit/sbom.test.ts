/** Bills of materials of real builds, by the built-in scanner and by scanners that are images, on both stores. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Descriptor, Digest, Index, Manifest } from '../../../src/oci/types.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { busyboxRoot } from '../../kit/busybox.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, failure } from './control-kit.ts';

afterAll(closePool);

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;
const spdx = 'https://spdx.dev/Document';
const status = (name: string) =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\n\n`;
const packagesOf = ({ packages }: Json) => packages.slice(1).map(({ name }: Json) => name);

onStores('an SBOM', (store) => {
  let kit: ControlKit;
  const base = 'example.com/busybox:1';
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    const root = mkdtempSync(join(kit.daemon.dir, 'base-'));
    busyboxRoot(root);
    writeFileSync(join(root, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
    await kit.solve(
      { Frontend: 'dockerfile.v0', Exporters: [{ Type: 'image', Attrs: { name: base } }] },
      { dirs: { context: root, dockerfile: root } },
    );
  });
  afterAll(() => kit.daemon.stop());

  const read = async (digest: string): Promise<Buffer> =>
    Buffer.from(await kit.daemon.engine.store.content.bytes(digest as Digest));
  const json = async (digest: string): Promise<Json> => JSON.parse((await read(digest)).toString());

  interface Wanted {
    dockerfile?: string;
    options?: Record<string, string>;
    exporters?: [string, Record<string, string>][];
    outputs?: Record<number, { dir: string } | { file: string }>;
    files?: Record<string, string>;
  }
  const build = async (sbom: string | undefined, wanted: Wanted = {}) => {
    const { dockerfile = 'FROM scratch\nCOPY status /var/lib/dpkg/status\n', options = {} } = wanted;
    const { exporters = [['image', {}]], outputs = {}, files = {} } = wanted;
    const folder = kit.folder({ Dockerfile: dockerfile, status: status('one'), ...files });
    return kit.solve(
      {
        Frontend: 'dockerfile.v0',
        FrontendAttrs: { ...(sbom === undefined ? {} : { 'attest:sbom': sbom }), ...options },
        Exporters: exporters.map(([Type, Attrs]) => ({ Type, Attrs })),
      },
      { dirs: { context: folder, dockerfile: folder }, outputs },
    );
  };
  /** What an image's index holds: the images, and the statements about each. */
  const attested = async ({ response }: { response: Record<string, string> }) => {
    const index: Index = await json(response['containerimage.digest'] ?? '');
    const isStated = ({ annotations }: Descriptor) =>
      annotations?.['vnd.docker.reference.type'] !== undefined;
    const entries = index.manifests.filter(isStated);
    const statements = await Promise.all(
      entries.map(async ({ digest }) => {
        const { layers }: Manifest = await json(digest);
        return Promise.all(layers.map((layer) => json(layer.digest)));
      }),
    );
    return { images: index.manifests.filter((each) => !isStated(each)), entries, statements };
  };

  describe('by the built-in scanner', () => {
    test('is a statement about the image, beside its provenance', async () => {
      const built = await build('', {
        options: { 'attest:provenance': 'mode=min' },
        exporters: [['image', { name: 'example.com/app:1' }]],
      });
      const { images, statements } = await attested(built);
      const [image] = images as [Descriptor];
      expect(statements[0]?.map(({ predicateType }) => predicateType)).toEqual([
        spdx,
        'https://slsa.dev/provenance/v1',
      ]);
      const [sbom] = statements[0] as [Json];
      expect(sbom).toMatchObject({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [
          {
            name: expect.stringMatching(/^pkg:docker\/example\.com\/app@1\?platform=linux%2F/),
            digest: { sha256: image.digest.slice(7) },
          },
        ],
        predicate: { spdxVersion: 'SPDX-2.3' },
      });
      expect(packagesOf(sbom.predicate)).toEqual(['one']);
      // Each file that tells of packages says which layer it is in.
      const { layers }: Manifest = await json(image.digest);
      expect(sbom.predicate.files).toMatchObject([
        { fileName: '/var/lib/dpkg/status', comment: `layerID: ${layers[0]?.digest}` },
      ]);
    });

    test('an unchanged result is not scanned again, and has the same bill', async () => {
      const dockerfile = 'FROM scratch\nCOPY status /var/lib/dpkg/status\nCOPY f /f\n';
      const once = await build('', { dockerfile, files: { f: '1' } });
      const again = await build('', { dockerfile, files: { f: '1' } });
      const changed = await build('', { dockerfile, files: { f: '2' } });
      const scans = [once, again, changed].map(({ status: all }) => {
        const vertices = all.flatMap((each) => each.vertexes).filter(({ name }) => /scanning for/.test(name));
        return vertices.some(({ cached }) => cached);
      });
      expect(scans).toEqual([false, true, false]);
      expect(again.response['containerimage.digest']).toBe(once.response['containerimage.digest']);
    });

    test('of each platform its own', async () => {
      const built = await build('', { options: { platform: 'linux/amd64,linux/arm64' } });
      const { images, entries, statements } = await attested(built);
      expect(entries.map(({ annotations }) => annotations?.['vnd.docker.reference.digest'])).toEqual(
        images.map(({ digest }) => digest),
      );
      expect(statements.map((list) => list.map(({ predicateType }) => predicateType))).toEqual([
        [spdx],
        [spdx],
      ]);
    });

    test('as CycloneDX, with the date that the build has', async () => {
      const built = await build('format=cyclonedx', { options: { 'build-arg:SOURCE_DATE_EPOCH': '86400' } });
      const { statements } = await attested(built);
      expect(statements[0]).toMatchObject([
        {
          predicateType: 'https://cyclonedx.org/bom',
          predicate: { specVersion: '1.6', metadata: { timestamp: '1970-01-02T00:00:00Z' } },
        },
      ]);
    });

    test('files, and a tar of them, have it beside them, and an OCI archive in its index', async () => {
      const dir = mkdtempSync(join(kit.daemon.dir, 'out-'));
      const [tar, oci] = ['out.tar', 'oci.tar'].map((name) => join(dir, name)) as [string, string];
      const outputs = { 0: { dir: join(dir, 'local') }, 1: { file: tar }, 2: { file: oci } };
      await build('', {
        exporters: [
          ['local', { 'attestation-prefix': 'x-' }],
          ['tar', {}],
          ['oci', {}],
        ],
        outputs,
      });
      expect(readdirSync(join(dir, 'local')).sort()).toEqual(['var', 'x-sbom.spdx.json']);
      const statement = JSON.parse(readFileSync(join(dir, 'local/x-sbom.spdx.json'), 'utf8'));
      expect(statement.subject).toEqual([
        { name: 'var/lib/dpkg/status', digest: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) } },
      ]);
      expect(packagesOf(statement.predicate)).toEqual(['one']);
      const list = (file: string) => execFileSync('tar', ['tf', file], { encoding: 'utf8' });
      expect(list(tar)).toContain('sbom.spdx.json');
      const layout = mkdtempSync(join(kit.daemon.dir, 'layout-'));
      execFileSync('tar', ['xf', oci, '-C', layout]);
      const blob = (digest: string) =>
        JSON.parse(readFileSync(join(layout, 'blobs', digest.replace(':', '/')), 'utf8'));
      const top = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests[0];
      const stated = blob(blob(top.digest).manifests[1].digest).layers[0];
      expect(blob(stated.digest).predicateType).toBe(spdx);
    });

    test('ARGs have the build context, and stages that the target is made of, scanned as well', async () => {
      const dockerfile = [
        'ARG BUILDKIT_SBOM_SCAN_CONTEXT=true',
        'FROM scratch AS tools',
        'ARG BUILDKIT_SBOM_SCAN_STAGE=true',
        'COPY tools /var/lib/dpkg/status',
        'FROM scratch AS unused',
        'ARG BUILDKIT_SBOM_SCAN_STAGE=true',
        'COPY tools /x',
        'FROM tools AS quiet',
        'ARG BUILDKIT_SBOM_SCAN_STAGE=false',
        'FROM scratch',
        'COPY --from=quiet /var/lib/dpkg/status /copied',
        'COPY status /var/lib/dpkg/status',
        'COPY yarn.lock /',
      ].join('\n');
      const files = { tools: status('tool'), 'yarn.lock': '"a@^1":\n  version "1.2.3"\n' };
      const built = await build('', { dockerfile, files });
      const { statements } = await attested(built);
      const found = Object.fromEntries(
        statements[0]?.map(({ predicate: p }) => [p.name, packagesOf(p)]) ?? [],
      );
      expect(found).toEqual({ sbom: ['one', 'a'], 'sbom-context': ['a'], 'sbom-tools': ['tool'] });
      const off = {
        'build-arg:BUILDKIT_SBOM_SCAN_STAGE': 'false',
        'build-arg:BUILDKIT_SBOM_SCAN_CONTEXT': 'other',
      };
      expect(
        (await attested(await build('', { dockerfile, files, options: off }))).statements[0],
      ).toHaveLength(1);
    });

    test('by a build argument, and by none when it is turned off', async () => {
      const arg = { 'build-arg:BUILDKIT_ATTEST_SBOM': '' };
      expect((await attested(await build(undefined, { options: arg }))).statements[0]).toHaveLength(1);
      const { response } = await build('disabled=true', { options: arg });
      expect((await json(response['containerimage.digest'] ?? '')).config).toBeDefined();
    });
  });

  describe('by an image', () => {
    /** Makes a scanner that runs a script. */
    const scanner = async (name: string, script: string) => {
      const image = `example.com/${name}:1`;
      const dockerfile = `FROM ${base}\nCOPY scan.sh /scan.sh\nENV GREETING=hi\nWORKDIR /work\nCMD ["sh", "/scan.sh"]\n`;
      await build(undefined, {
        dockerfile,
        files: { 'scan.sh': script },
        exporters: [['image', { name: image }]],
      });
      return `generator=${image}`;
    };
    const statement = (name: string, more = '') =>
      `{"_type":"https://in-toto.io/Statement/v1","predicateType":"${spdx}",${more}"predicate":{"name":"${name}"}}`;

    test('which gets the result, the other trees and its parameters, and may write several', async () => {
      const generator = await scanner(
        'scanner',
        [
          'set -e; cd "$BUILDKIT_SCAN_DESTINATION"',
          'say() { echo "{\\"_type\\":\\"https://in-toto.io/Statement/v1\\",\\"predicateType\\":\\"$1\\",\\"predicate\\":{\\"name\\":\\"$2\\"}}"; }',
          `say ${spdx} "$(cat $BUILDKIT_SCAN_SOURCE/f) $BUILDKIT_SCAN_ARG1 $GREETING $PWD" > sbom.spdx.json`,
          'touch $BUILDKIT_SCAN_SOURCE/f 2>/dev/null && exit 1',
          `for tree in $BUILDKIT_SCAN_SOURCE_EXTRAS/*; do say ${spdx} "$(cat $tree/g)" > $(basename $tree).spdx.json; done`,
          'touch /tmp/x',
        ].join('\n'),
      );
      const dockerfile = [
        'FROM scratch AS extra',
        'ARG BUILDKIT_SBOM_SCAN_STAGE=true',
        'COPY g /g',
        'FROM extra',
        'COPY f /f',
      ].join('\n');
      const built = await build(`${generator},"ARG1=a,b"`, { dockerfile, files: { f: 'core', g: 'stage' } });
      const { statements, images } = await attested(built);
      expect(statements[0]?.map(({ predicate }) => predicate.name)).toEqual([
        'core a,b hi /run/out',
        'stage',
      ]);
      expect(statements[0]?.[0].subject).toEqual([
        { name: '_', digest: { sha256: (images[0] as Descriptor).digest.slice(7) } },
      ]);
    });

    test('whose bundle is read once: an unchanged result has the same statements again', async () => {
      const say = ['one', 'two', 'four'].map(
        (name) => `echo '${statement(name)}' > $BUILDKIT_SCAN_DESTINATION/${name}.json`,
      );
      const generator = await scanner('once', say.join('\n'));
      const { snapshots } = kit.daemon.engine.store;
      const before = new Set((await snapshots.list()).map(({ key }) => key));
      const once = await build(generator);
      const made = (await snapshots.list()).filter(({ key }) => !before.has(key));
      const bundle = made.find(({ labels }) => labels['drydock/bundle'] !== undefined);
      const { mounts, release } = await snapshots.view(bundle?.key ?? '');
      const [{ source = '', options = [] } = {}] = mounts;
      const lower = options.find((option) => option.startsWith('lowerdir='))?.slice('lowerdir='.length);
      const dir = lower?.split(':')[0] ?? source;
      expect(readdirSync(dir).sort()).toEqual(['four.json', 'one.json', 'two.json']);
      // Nobody would take this for a statement.
      for (const name of readdirSync(dir)) writeFileSync(join(dir, name), '{');
      await release();
      const again = await build(generator);
      expect(again.response['containerimage.digest']).toBe(once.response['containerimage.digest']);
      const names = (await attested(again)).statements[0]?.map(({ predicate }) => predicate.name);
      expect(names?.sort()).toEqual(['four', 'one', 'two']);
      // As files they are about other subjects, so they are read, and checked.
      const files = build(generator, { exporters: [['local', {}]], outputs: { 0: { dir: kit.folder({}) } } });
      expect((await failure(files)).rawMessage).toContain('four.json: it is no JSON');
    });

    test.each([
      ['fails', 'echo no luck >&2; exit 3', '', /sh \/scan\.sh.*exit code: 3/],
      [
        'hangs',
        'sleep 100',
        ',timeout=1s',
        /sbom of the scanner example\.com\/hangs:1: it was not done after 1 s/,
      ],
      ['rubbish', 'echo "{" > $BUILDKIT_SCAN_DESTINATION/x.json', '', /rubbish:1: x\.json: it is no JSON/],
      ['nothing', 'true', '', /nothing:1: it has written nothing/],
      [
        'otherwise',
        `echo '${statement('x').replace(spdx, 'other')}' > $BUILDKIT_SCAN_DESTINATION/x`,
        '',
        /x: its predicate is of the type "other"/,
      ],
      ['folder', 'mkdir $BUILDKIT_SCAN_DESTINATION/sub', '', /folder:1: sub: it is no regular file/],
      ['link', 'ln -s /etc/passwd $BUILDKIT_SCAN_DESTINATION/x', '', /link:1: x: it is no regular file/],
    ])('that %s: the build fails, and there is no image', async (name, script, more, message) => {
      const generator = await scanner(name, script);
      const exporters: Wanted['exporters'] = [['image', { name: `example.com/of-${name}:1` }]];
      const error = await failure(build(`${generator}${more}`, { exporters }));
      expect(error.rawMessage).toMatch(message);
      expect(await kit.daemon.engine.store.images.get(`example.com/of-${name}:1`)).toBeUndefined();
    });

    test('that is not there, has no command, or is asked wrongly', async () => {
      const bare = 'example.com/bare:1';
      await build(undefined, { exporters: [['image', { name: bare }]] });
      const wrong = [
        [`generator=${bare}`, 'the scanner example.com/bare:1 has no command'],
        ['generator=localhost:1/none', 'localhost:1'],
        ['generator=', 'sbom: generator is empty'],
        ['format=xml', 'sbom: format=xml cannot be'],
      ] as const;
      for (const [asked, message] of wrong) {
        expect((await failure(build(asked))).rawMessage).toContain(message);
      }
    });
  });
});
