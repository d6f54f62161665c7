/** Pages that follow a running build: they share what they are told, and who reads nothing is let go of. */
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Jobs } from '../../../src/api/buildkit/jobs/jobs.ts';
import { liveBuild } from '../../../src/api/ui/live-build.ts';
import type { BuildDetail } from '../../../src/api/ui/types.ts';
import type { Digest } from '../../../src/oci/types.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
afterEach(() => void vi.useRealTimers());

/** A page's connection, which is read or not. */
class Connection extends Writable {
  readonly got: Buffer[] = [];
  #reads: boolean;
  #go: () => void = () => {};

  constructor(reads: boolean) {
    super({ highWaterMark: 16 << 10 });
    this.#reads = reads;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.got.push(chunk);
    if (this.#reads) done();
    else this.#go = done;
  }

  /** Begins to read. */
  read(): void {
    this.#reads = true;
    this.#go();
  }

  get response(): ServerResponse {
    return this as unknown as ServerResponse;
  }
}

const digest: Digest = `sha256:${'a'.repeat(64)}`;

function running() {
  const { log, end } = new Jobs().start('me', 'ref');
  log.vertex({ digest, name: 'RUN x', inputs: [], started: 1 });
  const live = liveBuild(log);
  let asked = 0;
  const state = () => {
    asked++;
    return { ref: 'ref', filler: 'x'.repeat(2 << 20), ...live.parts } as unknown as BuildDetail;
  };
  return { log, live, end, state, asked: () => asked };
}

const turns = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('the whole state is put into words once for all pages', async () => {
  const { live, state, asked, end } = running();
  await live.caughtUp();
  const pages = Array.from({ length: 50 }, () => new Connection(true));
  for (const each of pages) live.follow(each.response, state);
  await turns();
  expect(asked()).toBe(1);
  expect(new Set(pages.map(({ got }) => got[0])).size).toBe(1);
  end();
});

test('a page that reads slowly gets the whole state again, one that reads nothing is let go of', async () => {
  const { log, live, state, end } = running();
  await live.caughtUp();
  const [slow, dead] = [new Connection(false), new Connection(false)];
  live.follow(slow.response, state);
  live.follow(dead.response, state);
  for (let i = 2; i < 6; i++) {
    log.vertex({ digest, name: `RUN ${i}`, inputs: [], started: 1 });
    await turns();
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(slow.got).toHaveLength(1);
  slow.read();
  await turns();
  expect(slow.got).toHaveLength(2);
  expect(String(slow.got[1])).toContain('RUN 5');
  for (let i = 0; i < 70; i++) {
    log.vertex({ digest, name: `RUN again ${i}`, inputs: [], started: 1 });
    await turns();
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect([slow.destroyed, dead.destroyed]).toEqual([false, true]);
  end();
});
