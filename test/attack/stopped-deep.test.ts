/** A build of the deepest and widest trees that there can be ends when it is told to, and leaves nothing behind. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endOfArchive, header } from '../../src/tar/writer.ts';
import { Cli, outputOf } from '../kit/cli.ts';

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli.close());

const common = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, size: 0 } as const;

/** An archive of so many paths of `parts` folders, which have nothing but the last folder in common with each other. */
function deepTar(paths: number, parts: number): Buffer {
  const dockerfile = Buffer.alloc(512, '\n').fill('FROM scratch\nCOPY . /\n', 0, 22);
  const blocks = [header({ ...common, path: 'Dockerfile', size: 512 }), dockerfile];
  const below = '/a'.repeat(parts);
  for (let i = 0; i < paths; i++) blocks.push(header({ ...common, path: `${i}${below}` }));
  return Buffer.concat([...blocks, endOfArchive]);
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s in the middle of 2,000 paths of 1,900 parts',
  async (signal) => {
    const build = cli.start(['build', '--progress', 'plain', '-']);
    const output = outputOf(build);
    build.stdin?.on('error', () => {});
    build.stdin?.end(deepTar(200, 1900));
    // It is unpacking by then, and would for minutes.
    await sleep(1500);
    const running = build.exitCode === null;
    const told = performance.now();
    build.kill(signal);
    const ended = await output;
    expect([running, ended.code]).toEqual([true, 130]);
    // Against minutes: the bound is for a busy machine.
    expect(performance.now() - told).toBeLessThan(30_000);
    await cli.ok(['prune', '-af']);
    expect(readdirSync(join(cli.root, 'run'))).toEqual([]);
  },
);
