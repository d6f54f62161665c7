/** Attributes of outputs: each is obeyed, or refused by its name; and what becomes of images that BuildKit's clients make. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { request as ask } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeImage } from '../../../src/images/remove.ts';
import { mkfile, scratch } from '../../../src/llb/llb.ts';
import { marshal } from '../../../src/llb/marshal.ts';
import type { Descriptor, Digest, Manifest } from '../../../src/oci/types.ts';
import { Content } from '../../../src/pb/containerd/content_pb.js';
import { prune } from '../../../src/upkeep/disk-usage.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { makeCerts } from '../../kit/certs.ts';
import { pushBase } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, detailsOf, failure, type Solved } from './control-kit.ts';

afterAll(closePool);

onStores('attributes of outputs', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const solve = (
    type: string,
    attrs: Record<string, string>,
    more: Parameters<ControlKit['solve']>[0] = {},
    outputs: Record<number, { dir: string } | { file: string }> = {},
    dockerfile = 'FROM scratch\nCOPY f /\n',
  ) => {
    const dir = kit.folder({ Dockerfile: dockerfile, f: 'f' });
    const exporters = [{ Type: type, Attrs: attrs }];
    const request = { Frontend: 'dockerfile.v0', Exporters: exporters, ...more };
    return kit.solve(request, { dirs: { context: dir, dockerfile: dir }, outputs });
  };
  const warnings = ({ status }: Solved) =>
    status.flatMap((message) => message.warnings.map(({ short }) => Buffer.from(short).toString()));
  const names = async () => (await kit.daemon.engine.store.images.list()).map(({ name }) => name);

  test('registry.insecure: a registry with a certificate of its own making is pushed to', async () => {
    const registry = await startRegistry();
    const { server, host } = await withOwnCertificate(registry, kit.daemon.dir);
    try {
      const name = `${host}/own:1`;
      const refused = await failure(solve('image', { name, push: 'true' }));
      expect(refused.rawMessage).toContain('certificate');
      const layered = { name, push: 'true', 'registry.insecure': 'true' };
      for (const more of [{}, { compression: 'uncompressed' }] as Record<string, string>[]) {
        const { response } = await solve('image', { ...layered, ...more });
        const there = await fetch(`http://${registry.host}/v2/own/manifests/1`, {
          headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
        });
        expect(there.headers.get('docker-content-digest')).toBe(response['containerimage.digest']);
      }
      // Trusting it once is not trusting it for ever.
      expect((await failure(solve('image', { name, push: 'true' }))).rawMessage).toContain('certificate');
    } finally {
      server.close();
      await registry.stop();
    }
  });

  test('an image that may lack layers has them all where it is pushed by its digest', async () => {
    const [from, to] = [await startRegistry(), await startRegistry()];
    try {
      const base = await pushBase(from.host, 'team/base:1');
      const attrs = { name: `${to.host}/app`, push: 'true', 'push-by-digest': 'true' };
      const incomplete = { ...attrs, 'unsafe-internal-store-allow-incomplete': 'true' };
      const { response } = await solve('image', incomplete, {}, {}, `FROM ${base}\nENV a=b\n`);
      const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
      const at = (path: string) => fetch(`http://${to.host}/v2/app/${path}`, { headers });
      const manifest = await at(`manifests/${response['containerimage.digest']}`);
      for (const { digest } of ((await manifest.json()) as Manifest).layers) {
        expect((await at(`blobs/${digest}`)).status).toBe(200);
      }
    } finally {
      await Promise.all([from.stop(), to.stop()]);
    }
  });

  test.each([
    ['docker', 'oci-artifact', 'true'],
    ['docker', 'attestation-inline', ''],
    ['oci', 'push', 'true'],
    ['oci', 'registry.insecure', 'true'],
    ['docker', 'unpack', 'true'],
    ['docker', 'dangling-name-prefix', 'x'],
    ['local', 'attestation-prefix', '../x-'],
    ['local', 'name', 'x'],
    ['tar', 'annotation.a', 'b'],
    ['image', 'kontext', 'x'],
  ])('type=%s,%s: refused by name', async (type, attr, value) => {
    const outputs = { 0: { dir: kit.folder({}) } };
    const err = await failure(solve(type, { [attr]: value }, {}, outputs));
    expect(err.rawMessage).toContain(attr);
  });

  test('what clients keep for themselves is not for us; what is obsolete is said to be', async () => {
    const file = join(mkdtempSync(join(kit.daemon.dir, 'out-')), 'a.tar');
    const own = { context: 'default', 'prefer-image-digest': 'true' };
    const obsolete = { buildinfo: 'false', 'buildinfo-attrs': 'true', 'oci-artifact': 'false' };
    const without = { push: 'false', store: 'false', unpack: 'false', load: 'true' };
    const solved = await solve('docker', { ...own, ...obsolete, ...without }, {}, { 0: { file } });
    expect(warnings(solved)).toEqual([
      expect.stringContaining('buildinfo is obsolete'),
      expect.stringContaining('buildinfo-attrs is obsolete'),
    ]);
  });

  test('times are not rewritten to no date, and that is said', async () => {
    const attrs = { 'rewrite-timestamp': 'true' };
    expect(warnings(await solve('image', attrs))).toEqual([
      expect.stringContaining('rewrite-timestamp has no effect'),
    ]);
    expect(warnings(await solve('image', { ...attrs, 'source-date-epoch': '1' }))).toEqual([]);
  });

  test('dangling-name-prefix names also what has a name, unless danging-name-empty-only', async () => {
    const attrs = { name: 'example.com/named:1', 'dangling-name-prefix': 'also' };
    const { response } = await solve('image', attrs, {}, {}, 'FROM scratch\nCOPY f /also\n');
    expect(await names()).toContain(`also@${response['containerimage.digest']}`);
    const only = { ...attrs, 'danging-name-empty-only': 'true' };
    const second = await solve('image', only, {}, {}, 'FROM scratch\nCOPY f /only\n');
    expect(await names()).not.toContain(`also@${second.response['containerimage.digest']}`);
  });

  test('type=docker has the OCI media types, unless the client asks for older defaults', async () => {
    const types = async (CompatibilityVersion: bigint, attrs: Record<string, string> = {}) => {
      const file = join(mkdtempSync(join(kit.daemon.dir, 'out-')), 'a.tar');
      const { response } = await solve('docker', attrs, { CompatibilityVersion }, { 0: { file } });
      const [, hex] = (response['containerimage.digest'] ?? '').split(':');
      const manifest: Manifest = JSON.parse(
        execFileSync('tar', ['xOf', file, `blobs/sha256/${hex}`], { encoding: 'utf8' }),
      );
      return [manifest.mediaType, manifest.layers[0]!.mediaType].map((type) => type?.split('.')[1]);
    };
    expect(await types(0n)).toEqual(['oci', 'oci']);
    expect(await types(20n)).toEqual(['docker', 'docker']);
    expect(await types(0n, { 'oci-mediatypes': 'false' })).toEqual(['docker', 'docker']);
  });

  test('what a version of BuildKit had not yet is refused to who asks for that version', async () => {
    const err = await failure(solve('image', { compression: 'zstd' }, { CompatibilityVersion: 10n }));
    const feature = 'image exporter compression=zstd';
    expect(err.rawMessage).toContain(`unsupported compatibility-version 10 feature ${feature}`);
    expect(detailsOf(err)['errdefs.CompatibilityFeature+json']).toEqual({
      version: 10,
      feature,
    });
    await solve('image', { compression: 'zstd' }, { CompatibilityVersion: 20n });
  });

  test('a result that is not for the platforms asked for is a warning', async () => {
    const Definition = marshal(scratch().file(mkfile('/f', 'f')));
    const asked = { Frontend: '', Definition, FrontendAttrs: { platform: 'linux/amd64,linux/arm64' } };
    expect(warnings(await kit.solve(asked))).toEqual([
      'Multiple platforms requested but result is not multi-platform',
    ]);
    expect(warnings(await kit.solve({ Definition }))).toEqual([]);
  });

  test('a record keeps the manifest and the config of its image, which may be gone, until it goes itself', async () => {
    const name = 'example.com/remembered:1';
    const { response, ref } = await solve('image', { name }, {}, {}, 'FROM scratch\nCOPY f /remembered\n');
    const digests = ['containerimage.digest', 'containerimage.config.digest'].map((key) => response[key]!);
    await removeImage(kit.daemon.engine.store, name);
    await prune(kit.daemon.engine, { all: true });
    const content = createClient(Content, kit.transport);
    for (const digest of digests) {
      expect(await kit.daemon.engine.store.content.info(digest as Digest)).toBeUndefined();
      expect((await content.info({ digest })).info?.digest).toBe(digest);
    }
    await kit.control.updateBuildHistory({ Ref: ref, Delete: true });
    for (const digest of digests) {
      expect((await failure(content.info({ digest }))).rawMessage).toContain('not found');
    }
  });

  test('after prune --all no snapshot stays for an image, unless it was asked to be unpacked or to run here', async () => {
    if (store.kind === 'local') return; // there, snapshots are what images are
    const { engine } = kit.daemon;
    const left = async (type: string, attrs: Record<string, string>) => {
      for (const name of await names()) await engine.store.images.delete(name);
      await solve(type, { name: 'example.com/kept:1', ...attrs });
      await prune(engine, { all: true });
      const target = (await engine.store.images.get('example.com/kept:1'))!.target as Descriptor;
      const { layers } = JSON.parse((await engine.store.content.bytes(target.digest)).toString()) as Manifest;
      expect(await engine.store.content.info(layers[0]!.digest)).toBeDefined();
      return (await engine.store.snapshots.list()).length;
    };
    expect(await left('image', {})).toBe(0);
    expect(await left('image', { unpack: 'true' })).toBeGreaterThan(0);
    expect(await left('moby', {})).toBeGreaterThan(0);
  });

  test('an image that goes to no registry may have any name in a containerd', async () => {
    const name = 'worker=containerd';
    if (store.kind === 'local') {
      expect((await failure(solve('image', { name }))).rawMessage).toContain('invalid reference format');
      return;
    }
    const { response } = await solve('image', { name });
    expect(response['image.name']).toBe(name);
    expect(await names()).toContain(name);
    expect((await kit.daemon.ask('GET', '/images/json')).status).toBe(200);
    const push = await failure(solve('image', { name, push: 'true' }));
    expect(push.rawMessage).toContain('invalid reference format');
  });
});

/** A server that speaks TLS with a certificate nobody knows, in front of a registry. */
async function withOwnCertificate({ host }: TestRegistry, dir: string) {
  const { cert, key } = makeCerts(dir, 'own').issue('localhost', 'DNS:localhost');
  const [hostname, port] = host.split(':');
  const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (req, res) => {
    const { method, url, headers } = req;
    const forwarded = { ...headers, 'x-forwarded-proto': 'https' };
    const on = ask({ hostname, port, method, path: url, headers: forwarded, agent: false }, (answer) => {
      res.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(res);
    });
    on.on('error', () => res.destroy());
    req.pipe(on);
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return { server, host: `localhost:${(server.address() as AddressInfo).port}` };
}
