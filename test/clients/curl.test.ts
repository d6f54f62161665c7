/** curl and a tar: the API by hand, as docs/clients.md shows it. On both stores. */
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readBuild } from '../kit/build-answer.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('curl', (store) => {
  let daemon: TestDaemon;
  let context: string;
  const file = (name: string) => join(daemon.dir, name);
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
    context = file('context');
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY busybox /bin/sh\nRUN echo curl > /out\n');
    copyFileSync('/bin/busybox', join(context, 'busybox'));
    // Past a megabyte curl asks first whether the body is wanted: Expect: 100-continue.
    writeFileSync(join(context, 'big'), Buffer.alloc(3 << 20, 'x'));
    for (const [name, flags] of [
      ['ctx.tar', 'c'],
      ['ctx.tar.gz', 'cz'],
      ['ctx.tar.xz', 'cJ'],
    ] as const) {
      execFileSync('tar', [`-${flags}f`, file(name), '-C', context, '.']);
    }
  });
  afterAll(() => daemon.stop());

  /** The answer; the status is what curl was told. */
  const curl = (path: string, args: string[], input?: Buffer) =>
    new Promise<{ status: number; text: string; lines<T>(): T[] }>((resolve, reject) => {
      const common = ['-sS', '--unix-socket', daemon.socket, '-w', '\n%{http_code}', '-X', 'POST'];
      const child = execFile(
        'curl',
        [...common, ...args, `http://docker${path}`],
        { maxBuffer: 16 << 20 },
        (err, stdout, stderr) => {
          if (err) return reject(new Error(`${err.message}${stderr}`));
          const at = stdout.lastIndexOf('\n');
          const text = stdout.slice(0, at);
          const lines = <T>() =>
            text
              .split('\r\n')
              .filter(Boolean)
              .map((line) => JSON.parse(line) as T);
          resolve({ status: Number(stdout.slice(at + 1)), text, lines });
        },
      );
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });

  const tar = ['-H', 'Content-Type: application/x-tar'];
  const data = (name: string) => [...tar, '--data-binary', `@${file(name)}`];

  test('a tar, then the same again: from the cache, in either version', async () => {
    const first = readBuild(await curl('/build?version=2&t=curl:1', data('ctx.tar')));
    expect(first.error).toBeUndefined();
    expect(first.done).toContain('[2/2] RUN echo curl > /out');
    const second = readBuild(await curl('/build?version=2&t=curl:1', data('ctx.tar')));
    expect(second.id).toBe(first.id);
    expect(second.cached).toContain('[2/2] RUN echo curl > /out');
    const text = readBuild(await curl('/v1.41/build?t=curl:1', data('ctx.tar')));
    expect(text).toMatchObject({ id: first.id });
    expect(text.text).toContain('Step 3/3 : RUN echo curl > /out\n ---> Using cache\n');
  });

  test.each([
    ['gzipped', 'ctx.tar.gz'],
    ['packed with xz', 'ctx.tar.xz'],
  ])('a %s tar is the same context', async (_, name) => {
    const plain = readBuild(await curl('/build?version=2', data('ctx.tar')));
    const packed = readBuild(await curl('/build?version=2', data(name)));
    expect(packed.id).toBe(plain.id);
    expect(packed.cached).toContain('[1/2] COPY busybox /bin/sh');
  });

  test('an upload in chunks, of a length that nobody has said', async () => {
    const chunked = [...tar, '-H', 'Transfer-Encoding: chunked', '-T', '-'];
    const built = readBuild(await curl('/build?version=2', chunked, readFileSync(file('ctx.tar.gz'))));
    expect(built.error).toBeUndefined();
    expect(built.id).toMatch(/^sha256:/);
  });

  test('a Dockerfile alone, and a context behind a URL', async () => {
    const alone = ['-H', 'Content-Type: text/plain', '--data-binary', 'FROM scratch\nLABEL a=b\n'];
    expect(readBuild(await curl('/build', alone)).text).toMatch(/^Step 1\/2 : FROM scratch\n/);
    const refused = readBuild(await curl('/build?version=2&remote=http://127.0.0.1:1/ctx.tar', []));
    expect(refused.error).toMatch(/127\.0\.0\.1:1.*\nat hop: http/s);
  });

  test('a wrong parameter is a status with a message, though a large body is on its way', async () => {
    const { status, text } = await curl('/build?version=2&t=UPPER', data('ctx.tar'));
    expect(status).toBe(400);
    expect(JSON.parse(text).message).toMatch(/^invalid tag "UPPER"/);
  });

  test('an upload that ends too soon is told of as such', async () => {
    const half = readFileSync(file('ctx.tar')).subarray(0, 700_000);
    const chunked = [...tar, '-H', 'Transfer-Encoding: chunked', '-T', '-'];
    const { error } = readBuild(await curl('/build?version=2', chunked, half));
    expect(error).toMatch(/load build context.*\nat hop: context/s);
  });
});
