/** Policies on sources that the client's session decides, source by source, as buildx has them. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import type { Digest } from '../../../src/oci/types.ts';
import type { AttestationChain } from '../../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import {
  type CheckPolicyRequest,
  CheckPolicyRequestSchema,
  CheckPolicyResponseSchema,
} from '../../../src/pb/session/policy_pb.js';
import { closePool } from '../../../src/workers/pool.ts';
import { type CosignVersion, cosign, cosignKeys } from '../../kit/cosign.ts';
import { startServer, type TestServer } from '../../kit/http-server.ts';
import { startRegistry } from '../../kit/registry.ts';
import { ControlKit, detailsOf, failure } from './control-kit.ts';

const method = '/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy';
const [allow, deny, convert] = [0, 1, 2];

let kit: ControlKit;
let server: TestServer;
beforeAll(async () => {
  server = await startServer((request, response) => response.end(`this is ${request.url}`));
  kit = await ControlKit.start({});
});
afterAll(async () => {
  await kit.daemon.stop();
  await server.stop();
  await closePool();
});

type Answer = MessageInitShape<typeof CheckPolicyResponseSchema>['result'];

/** Builds a Dockerfile with a session that decides; gives the output and what was asked. */
async function build(dockerfile: string, decide: (request: CheckPolicyRequest) => Answer) {
  const asked: string[] = [];
  const context = kit.folder({ Dockerfile: dockerfile });
  const dir = kit.folder({});
  const session = kit.session({
    dirs: { context, dockerfile: context },
    outputs: { 0: { dir } },
    handlers: {
      [method]: async (call) => {
        for await (const message of call.messages) {
          const request = fromBinary(CheckPolicyRequestSchema, message);
          asked.push(request.Source?.Source?.identifier ?? '');
          const response = create(CheckPolicyResponseSchema, { result: decide(request) });
          await call.send(toBinary(CheckPolicyResponseSchema, response));
          return;
        }
      },
    },
  });
  try {
    await kit.control.solve({
      Ref: crypto.randomUUID(),
      Session: session.id,
      SourcePolicySession: session.id,
      Frontend: 'dockerfile.v0',
      Exporters: [{ Type: 'local', Attrs: {} }],
    });
  } finally {
    session.close();
  }
  return { asked, read: (name: string) => readFileSync(join(dir, name), 'utf8') };
}

const decision = (action: number | undefined, more = {}): Answer => ({
  case: 'decision',
  value: { action, ...more },
});

test('each source is asked about once; what is allowed is used', async () => {
  const { asked, read } = await build(
    `FROM scratch\nADD http://${server.host}/a /\nADD http://${server.host}/a /again\n`,
    () => decision(allow),
  );
  expect(read('a')).toBe('this is /a');
  expect(new Set(asked)).toEqual(
    new Set(['local://dockerfile', 'local://context', `http://${server.host}/a`]),
  );
  expect(asked.filter((name) => name.startsWith('http'))).toHaveLength(1);
});

test('what is denied is not fetched: the client reads its own words, and the line', async () => {
  const url = `http://${server.host}/secret`;
  const err = await failure(
    build(`FROM scratch\nADD ${url} /\n`, ({ Source }) =>
      Source?.Source?.identifier === url
        ? decision(deny, { denyMessages: [{ message: 'not from there' }] })
        : decision(allow),
    ),
  );
  expect(err.rawMessage).toContain(`source "${url}" not allowed by policy: action DENY: not from there`);
  const details = detailsOf(err);
  expect(details['policysession.DecisionResponse+json']).toEqual({
    action: 1,
    denyMessages: [{ message: 'not from there' }],
  });
  expect(details['errdefs.Source+json']).toMatchObject({ ranges: [{ start: { line: 2 } }] });
  expect(server.asked).not.toContain('GET /secret');
});

test('a policy may want to know what a source is before it decides', async () => {
  const url = `http://${server.host}/known`;
  const seen: string[] = [];
  const { read } = await build(`FROM scratch\nADD ${url} /\n`, ({ Source }) => {
    if (Source?.Source?.identifier !== url) return decision(allow);
    seen.push(Source.HTTP?.Checksum ?? '');
    return Source.HTTP === undefined
      ? { case: 'request', value: { Source: Source.Source } }
      : decision(allow);
  });
  expect(read('known')).toBe('this is /known');
  expect(seen).toEqual(['', expect.stringMatching(/^sha256:/)]);
});

test('a policy may want a digest of a file and a suffix, as its signature is of', async () => {
  const url = `http://${server.host}/signed`;
  const text = 'this is /signed';
  const ask = async (Algo: number, Suffix: Uint8Array<ArrayBuffer>, checksum = '') => {
    let told: unknown;
    const attrs = checksum === '' ? '' : `--checksum=${checksum} `;
    const { read } = await build(`FROM scratch\nADD ${attrs}${url} /\n`, ({ Source }) => {
      if (Source?.Source?.identifier !== url) return decision(allow);
      if (Source.HTTP === undefined) {
        const HTTP = { ChecksumRequest: { Algo, Suffix } };
        return { case: 'request', value: { Source: Source.Source, HTTP } };
      }
      told = Source.HTTP.ChecksumResponse;
      return decision(allow);
    });
    expect(read('signed')).toBe(text);
    return told;
  };
  const suffix = Uint8Array.of(4, 0, 255);
  for (const [algo, name] of ['sha256', 'sha384', 'sha512'].entries()) {
    const Digest = `${name}:${createHash(name).update(text).update(suffix).digest('hex')}`;
    expect(await ask(algo, suffix)).toMatchObject({ Digest, Suffix: Buffer.from(suffix) });
  }
  expect(await ask(0, new Uint8Array(), digestOf(text))).toMatchObject({ Digest: digestOf(text) });
  const sha512 = (of: string) => `sha512:${createHash('sha512').update(of).digest('hex')}`;
  expect(await ask(0, new Uint8Array(), sha512(text))).toMatchObject({ Digest: digestOf(text) });
  expect((await failure(ask(0, new Uint8Array(4097)))).rawMessage).toContain('suffix exceeds max size 4096');
  expect((await failure(ask(99, suffix))).rawMessage).toContain('unsupported checksum algorithm 99');
  expect((await failure(ask(0, suffix, digestOf('other')))).rawMessage).toContain('digest mismatch');
  expect((await failure(ask(0, suffix, sha512('other')))).rawMessage).toContain(
    `digest mismatch ${sha512(text)}: ${sha512('other')}`,
  );
});

test('a policy hears the checksum by the algorithm that the Dockerfile names', async () => {
  const url = `http://${server.host}/long`;
  const wanted = `sha512:${createHash('sha512').update('this is /long').digest('hex')}`;
  const seen: string[] = [];
  const { read } = await build(`FROM scratch\nADD --checksum=${wanted} ${url} /\n`, ({ Source }) => {
    if (Source?.Source?.identifier !== url) return decision(allow);
    seen.push(Source.HTTP?.Checksum ?? '', Source.Source.attrs['http.checksum'] ?? '');
    return Source.HTTP === undefined
      ? { case: 'request', value: { Source: Source.Source } }
      : decision(allow);
  });
  expect(read('long')).toBe('this is /long');
  expect(seen).toEqual(['', wanted, wanted, wanted]);
});

test('a policy that puts another source in the place of one, which is judged as well', async () => {
  const from = `http://${server.host}/old`;
  const to = `http://${server.host}/new`;
  const { asked, read } = await build(`FROM scratch\nADD ${from} /file\n`, ({ Source }) => {
    const { identifier = '', attrs = {} } = Source?.Source ?? {};
    return identifier === from ? decision(convert, { update: { identifier: to, attrs } }) : decision(allow);
  });
  expect(read('file')).toBe('this is /new');
  expect(asked).toContain(to);
});

test('one that never decides, or asks about something else, ends the build', async () => {
  const dockerfile = 'FROM scratch\nCOPY Dockerfile /\n';
  const again = build(dockerfile, ({ Source }) => ({ case: 'request', value: { Source: Source?.Source } }));
  expect((await failure(again)).rawMessage).toContain('too many policy requests');
  const other = build(dockerfile, () => ({
    case: 'request',
    value: { Source: { identifier: 'local://x' } },
  }));
  expect((await failure(other)).rawMessage).toContain('asks about another source');
  const silent = build(dockerfile, () => ({ case: undefined }));
  expect((await failure(silent)).rawMessage).toContain('no decision in policy response');
});

test('a session that decides nothing is no way round its policy', async () => {
  const context = kit.folder({ Dockerfile: 'FROM scratch\n' });
  const session = kit.session({ dirs: { context, dockerfile: context } });
  const solving = kit.control.solve({
    Ref: crypto.randomUUID(),
    Session: session.id,
    SourcePolicySession: session.id,
    Frontend: 'dockerfile.v0',
  });
  expect((await failure(solving)).rawMessage).toContain('its policy on local://dockerfile');
  session.close();
});

test('the signature that the real cosign has made is in the chain, in each form that refers to what it signs', async () => {
  const registry = await startRegistry();
  const dir = kit.folder({});
  try {
    await cosignKeys(dir);
    const folder = kit.folder({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    const stated = async (name: string) => {
      const { response } = await kit.solve(
        {
          Frontend: 'dockerfile.v0',
          FrontendAttrs: { 'attest:provenance': 'mode=min' },
          Exporters: [{ Type: 'image', Attrs: { name: `${registry.host}/${name}`, push: 'true' } }],
        },
        { dirs: { context: folder, dockerfile: folder } },
      );
      const index = await kit.daemon.engine.store.content.bytes(response['containerimage.digest'] as Digest);
      return `${registry.host}/${name}@${JSON.parse(index.toString()).manifests[1].digest}`;
    };
    const chainOf = async (name: string) => {
      let chain: AttestationChain | undefined;
      await build(`FROM ${registry.host}/${name}\n`, ({ Source }) => {
        if (!Source?.Source?.identifier.startsWith('docker-image:')) return decision(allow);
        chain = Source.Image?.AttestationChain;
        if (chain !== undefined) return decision(allow);
        const Image = { NoConfig: true, AttestationChain: true };
        return { case: 'request', value: { Source: Source.Source, Image, ResolveMode: 'pull' } };
      });
      const [signature] = chain?.SignatureManifests ?? [];
      if (chain === undefined || signature === undefined) return undefined;
      const { layers } = JSON.parse(Buffer.from(chain.Blobs[signature]?.data ?? '').toString());
      for (const { digest } of layers) expect(chain.Blobs[digest]?.data.length).toBeGreaterThan(100);
      return layers[0].mediaType;
    };
    const signed = async (version: CosignVersion, ...args: string[]) =>
      expect(await cosign(version, dir, 'sign', '--key', 'cosign.key', ...args)).toMatchObject({ code: 0 });
    await signed('sid', '--signing-config', 'nowhere.json', await stated('bundle'));
    expect(await chainOf('bundle')).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
    const mode = ['--tlog-upload=false', '--registry-referrers-mode', 'oci-1-1'];
    await signed('trixie', ...mode, await stated('referring'));
    expect(await chainOf('referring')).toBe('application/vnd.dev.cosign.simplesigning.v1+json');
    // A signature under a tag has no subject: buildx would refuse the image for it.
    await signed('trixie', '--tlog-upload=false', await stated('tagged'));
    expect(await chainOf('tagged')).toBeUndefined();
  } finally {
    await registry.stop();
  }
});

test('a policy may want what is stated of an image, and who has signed that', async () => {
  const registry = await startRegistry();
  const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
  try {
    const name = `${registry.host}/stated:1`;
    const folder = kit.folder({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    const { response } = await kit.solve(
      {
        Frontend: 'dockerfile.v0',
        FrontendAttrs: { 'attest:sbom': '', 'attest:provenance': 'mode=min' },
        Exporters: [{ Type: 'image', Attrs: { name, push: 'true' } }],
      },
      { dirs: { context: folder, dockerfile: folder } },
    );
    const root = response['containerimage.digest'] as Digest;
    const { engine } = kit.daemon;
    const [image, entry] = JSON.parse((await engine.store.content.bytes(root)).toString()).manifests;
    // A registry without a list of referrers has it under a tag.
    const put = async (bytes: string, mediaType: string, at?: string) => {
      const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
      const ref = `${registry.host}/stated${at === undefined ? `@${descriptor.digest}` : `:${at}`}`;
      if (mediaType.endsWith('+json') && !/manifest|index/.test(mediaType)) {
        await engine.registry.pushBlob(ref, descriptor, async () => Readable.from([bytes]));
      } else await engine.registry.pushManifest(ref, descriptor, Buffer.from(bytes));
      return descriptor;
    };
    const bundle = await put('{"bundle":1}', type);
    const config = await put('{}', 'application/vnd.oci.empty.v1+json');
    const manifestType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = {
      schemaVersion: 2,
      mediaType: manifestType,
      artifactType: type,
      config,
      layers: [bundle],
    };
    const signature = await put(JSON.stringify(manifest), manifestType);
    const indexType = 'application/vnd.oci.image.index.v1+json';
    const index = {
      schemaVersion: 2,
      mediaType: indexType,
      manifests: [{ ...signature, artifactType: type }],
    };
    await put(JSON.stringify(index), indexType, entry.digest.replace(':', '-'));

    const chains: AttestationChain[] = [];
    const ask = (ResolveMode: string) =>
      build(`FROM ${name}\n`, ({ Source }) => {
        if (!Source?.Source?.identifier.startsWith('docker-image:')) return decision(allow);
        if (Source.Image?.AttestationChain === undefined) {
          const Image = { NoConfig: true, ResolveAttestations: ['https://spdx.dev/Document'] };
          return { case: 'request', value: { Source: Source.Source, Image, ResolveMode } };
        }
        chains.push(Source.Image.AttestationChain);
        return decision(allow);
      });
    await ask('pull');
    const [chain] = chains as [AttestationChain];
    expect(chain).toMatchObject({
      Root: root,
      ImageManifest: image.digest,
      AttestationManifest: entry.digest,
      SignatureManifests: [signature.digest],
    });
    const blobs = Object.entries(chain.Blobs).map(([digest, { descriptor, data }]) => {
      expect([descriptor?.digest, digestOf(Buffer.from(data))]).toEqual([digest, digest]);
      return { digest, text: Buffer.from(data).toString() };
    });
    const found = new Set(blobs.map(({ digest }) => digest));
    for (const digest of [root, entry.digest, signature.digest, bundle.digest])
      expect(found).toContain(digest);
    const statements = blobs.filter(({ text }) => text.includes('"predicateType"'));
    expect(statements.map(({ text }) => JSON.parse(text).predicateType)).toEqual([
      'https://spdx.dev/Document',
    ]);
    // As cosign itself writes it: its entry in the list under the tag does not say what it is.
    for (const list of [
      { ...index, manifests: [{ ...signature, artifactType: config.mediaType }] },
      { ...index, manifests: [{ ...signature }, { ...entry, artifactType: config.mediaType }] },
    ]) {
      await put(JSON.stringify(list), indexType, entry.digest.replace(':', '-'));
      await ask('pull');
      expect(chains.at(-1)?.SignatureManifests).toEqual([signature.digest]);
    }
    // The image as this store has it: no registry is asked who has signed it.
    await ask('local');
    expect(chains.at(-1)).toMatchObject({ AttestationManifest: entry.digest, SignatureManifests: [] });
  } finally {
    await registry.stop();
  }
});
