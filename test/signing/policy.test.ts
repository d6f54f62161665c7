/** An image policy: builds stand on, and pulls bring, only images that the right ones have signed. */
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { build } from '../../src/sdk/build.ts';
import { readPrivateKey } from '../../src/signing/keys.ts';
import { signImage } from '../../src/signing/sign-image.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('an image policy', (store) => {
  const client = new RegistryClient({ userAgent: 'test', retries: 0 });
  let dir: string;
  let file: string;
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let at: string;

  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signedBy = async (ref: string, { privateKey }: typeof pair) => {
    const text = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const key = await readPrivateKey(text, 'test', async () => Buffer.alloc(0));
    const services = { fulcioUrl: 'http://127.0.0.1:9', rekorVersion: 1 as const };
    await signImage(client, ref, { signer: { key }, services });
  };
  const policy = (images: object[]) => {
    writeFileSync(file, JSON.stringify({ images }));
    chmodSync(file, 0o600);
  };
  const signed = () => ({ name: `${registry.host}/*`, signedBy: [{ key: 'team.pub' }] });
  const run = async (dockerfileText: string, options = {}) => {
    const context = mkdtempSync(join(dir, 'context-'));
    return build({ context, dockerfileText, engine: daemon.engine, ...options });
  };
  const put = async (name: string, text: string) => {
    policy([]);
    const outputs = [{ type: 'image' as const, attrs: { push: 'true', store: 'false' } }];
    const dockerfile = `FROM scratch\nLABEL text=${text}\nCOPY <<EOF /f\n${text}\nEOF\n`;
    await run(dockerfile, { tags: [`${at}${name}`], outputs });
    policy([signed()]);
  };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'drydock-policy-'));
    file = join(dir, 'images.json');
    registry = await startRegistry();
    at = `${registry.host}/`;
    writeFileSync(join(dir, 'team.pub'), pair.publicKey.export({ type: 'spki', format: 'pem' }));
    policy([]);
    daemon = await startTestDaemon({
      ...store.options(),
      imagePolicy: file,
      grpc: (host) => buildkitApi(host),
    });
    await put('good:1', 'good');
    await put('bad:1', 'bad');
    await put('theirs:1', 'theirs');
    await signedBy(`${at}good:1`, pair);
    await signedBy(`${at}theirs:1`, other);
  });
  afterAll(async () => {
    await daemon?.stop();
    await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('holds for FROM, COPY --from and frontends, and says which signers there are and which are wanted', async () => {
    await run(`FROM ${at}good:1\nCOPY --from=${at}good:1 /f /g\n`, { tags: ['built'] });
    const denied = {
      code: 'denied',
      hop: 'registry',
      hint: expect.stringContaining(`${file} asks for a signature`),
    };
    await expect(run(`FROM ${at}bad:1\n`)).rejects.toMatchObject({
      ...denied,
      message: expect.stringMatching(/bad:1 \(sha256:\w{64}\) is not signed; wanted: the key team\.pub/),
    });
    await expect(run(`FROM scratch\nCOPY --from=${at}theirs:1 /f /f\n`)).rejects.toMatchObject({
      ...denied,
      message: expect.stringMatching(
        /its signature is not the wanted one: sha256:\w+ by the key \S+: it is by none of the keys; wanted: the key team\.pub/,
      ),
    });
    await expect(run(`# syntax=${at}bad:1\nFROM scratch\n`)).rejects.toMatchObject({
      message: expect.stringContaining('is not signed'),
    });
    const mount = `RUN --mount=from=${at}bad:1,target=/m true\n`;
    await expect(run(`FROM ${at}good:1\n${mount}`)).rejects.toMatchObject({
      message: expect.stringContaining('is not signed'),
    });
  });

  test('holds for pulls, before a layer is fetched', async () => {
    const pull = (name: string) =>
      daemon.ask('POST', `/images/create?fromImage=${encodeURIComponent(`${at}${name}`)}&tag=1`);
    expect((await pull('bad')).text).toContain('is not signed; wanted: the key team.pub');
    expect((await pull('good')).text).toContain('Downloaded newer image');
    expect((await daemon.ask('GET', `/images/${at}bad:1/json`)).status).toBe(404);
  });

  test('holds for images of the store, whoever has given them their name', async () => {
    await run('FROM scratch\nLABEL made=here\n', { tags: [`${at}good:2`] });
    await expect(run(`FROM ${at}good:2\n`)).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('good:2'),
    });
    await run('FROM scratch\nLABEL made=here\n', { tags: ['built'] });
    // A name that no rule is for may be used: a policy that closes with "*" refuses the rest.
    await run('FROM built\nLABEL x=y\n');
    policy([signed(), { name: '*', refuse: true }]);
    await expect(run('FROM built\nLABEL x=z\n')).rejects.toMatchObject({
      message: expect.stringContaining('built:latest: the image policy lets no build use this image'),
    });
    policy([{ name: 'docker.io/library/built', any: true }, signed(), { name: '*', refuse: true }]);
    await run('FROM built\nLABEL x=z\n');
    policy([signed()]);
  });

  test('what was found to be signed needs no registry again; another policy asks anew', async () => {
    const text = `FROM ${at}good:1\nLABEL again=1\n`;
    await run(text);
    policy([{ ...signed(), annotations: { stage: 'release' } }]);
    await expect(run(text)).rejects.toMatchObject({
      message: expect.stringContaining('its annotation stage is missing'),
    });
    policy([signed()]);
    await run(text);
    writeFileSync(join(dir, 'team.pub'), other.publicKey.export({ type: 'spki', format: 'pem' }));
    await expect(run(text)).rejects.toMatchObject({
      message: expect.stringContaining('by none of the keys'),
    });
    writeFileSync(join(dir, 'team.pub'), pair.publicKey.export({ type: 'spki', format: 'pem' }));
    await run(text);
  });

  test('a policy that cannot be read lets nothing through, and keeps a daemon from starting', async () => {
    const text = `FROM ${at}good:1\n`;
    for (const [broken, message] of [
      ['{"images":[{"name":"*","signedBy":[]}]}', 'images.json:1:35: "signedBy" names nobody'],
      ['{"images":[{"name":"*","signedBy":[{"identity":"x"}]}]}', 'an "identity" with its "issuer"'],
      ['{"images":[{"nam":"*"}]}', 'did you mean name?'],
      ['{"images":[{"name":"*","signedBy":[{"key":"nowhere.pub"}]}]}', 'nowhere.pub is not there'],
      ['{', 'images.json:1:'],
    ] as const) {
      writeFileSync(file, broken);
      await expect(run(text), broken).rejects.toMatchObject({ message: expect.stringContaining(message) });
    }
    const config = { ...store.options(), imagePolicy: file };
    await expect(startTestDaemon(config)).rejects.toMatchObject({ code: 'invalid' });
    policy([signed()]);
    await run(text);
  });
});
