import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { MessageChannel } from 'node:worker_threads';
import { afterAll, expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import { closePool, runTask } from '../../src/workers/pool.ts';
import { receiveFromTask } from '../../src/workers/port-stream.ts';

afterAll(closePool);

test('a task runs on another thread, posts messages and gives its result', async () => {
  const messages: unknown[] = [];
  const result = await runTask('test.echo', { text: 'hi' }, { onMessage: (m) => messages.push(m) });
  expect(result).toBe('hi');
  expect(messages).toEqual([{ said: 'hi' }]);
});

test('more tasks than threads are queued and all answered', async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `n${i}`);
  expect(await Promise.all(texts.map((text) => runTask('test.echo', { text, spinMs: 2 })))).toEqual(texts);
});

test('an error crosses with all of its fields', async () => {
  const err = await runTask('test.echo', { text: 'bad bytes', error: true }).catch((e: unknown) => e);
  expect(err).toBeInstanceOf(DrydockError);
  expect(err).toMatchObject({
    code: 'corrupt',
    hop: 'store',
    message: 'bad bytes',
    hint: 'Say it again.',
    details: { times: 1 },
    cause: { message: 'why' },
  });
});

test('an abort stops a running task and takes a queued one off the queue', async () => {
  const stop = new AbortController();
  const runs = Array.from({ length: 8 }, () =>
    runTask('test.echo', { text: 'long', spinMs: 20_000 }, { signal: stop.signal }),
  );
  setTimeout(() => stop.abort(), 20);
  const results = await Promise.allSettled(runs);
  for (const result of results) expect(result).toMatchObject({ reason: { code: 'canceled' } });
});

test('a task that waits for others never queues behind busy threads', async () => {
  const stop = new AbortController();
  const busy = Array.from({ length: 8 }, () =>
    runTask('test.echo', { text: 'long', spinMs: 20_000 }, { signal: stop.signal }),
  );
  expect(await runTask('test.echo', { text: 'now' }, { waits: true })).toBe('now');
  stop.abort();
  await Promise.allSettled(busy);
});

test('any number of tasks that wait for others share a few threads, and end in any order', async () => {
  const threadsOfProcess = () => readdirSync('/proc/self/task').length;
  const before = threadsOfProcess();
  const ended: string[] = [];
  const waiting = Array.from({ length: 50 }, (_, i) => {
    const { port1, port2 } = new MessageChannel();
    const done = runTask('test.echo', { text: `n${i}`, after: port2 }, { waits: true, transfer: [port2] });
    void done.then((text) => ended.push(text));
    return { port1, done };
  });
  // What computes is not kept waiting by them.
  expect(await runTask('test.echo', { text: 'computed', spinMs: 2 })).toBe('computed');
  expect(threadsOfProcess() - before).toBeLessThan(10);
  for (const { port1, done } of waiting.reverse()) {
    port1.postMessage('go on');
    await done;
    port1.close();
  }
  expect(ended).toEqual(Array.from({ length: 50 }, (_, i) => `n${49 - i}`));
});

test('a thread that dies fails its task, and the pool goes on', async () => {
  await expect(runTask('test.echo', { text: '', exit: true })).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('code 3'),
  });
  expect(await runTask('test.echo', { text: 'still here' })).toBe('still here');
});

test('a stream from a task ends when the task is given up before it began, or fails before its first word', async () => {
  const gone = new AbortController();
  const read = async (signal: AbortSignal) => {
    const { port1, port2 } = new MessageChannel();
    const lower = { kind: 'empty' } as const;
    const task = runTask(
      'layer.pack',
      {
        layer: { kind: 'difference', lower, upper: { kind: 'nonsense' } as never },
        compression: { type: 'uncompressed' },
        sink: { kind: 'port', port: port2 },
      },
      { signal, transfer: [port2], waits: true },
    );
    for await (const _ of receiveFromTask(port1, task));
  };
  await expect(read(gone.signal)).rejects.toMatchObject({ code: 'internal' });
  gone.abort();
  await expect(read(gone.signal)).rejects.toMatchObject({ code: 'canceled' });
});

test.each([
  ['still loads code', "['fs.checksum', 'fs.apply']"],
  ['looks ahead at a folder', "['fs.checksum'], { name: 'fs.glance', args: { dir: '/usr' } }"],
])('a process that ends while a thread %s waits for that, and ends as it meant to', (_, args) => {
  const pool = new URL('../../src/workers/pool.ts', import.meta.url).href;
  const program = `
    const { poolLoaded, warmPool } = await import(${JSON.stringify(pool)});
    warmPool(${args});
    await poolLoaded();
    process.exit(7);`;
  for (let i = 0; i < 3; i++) {
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(status).toBe(7);
  }
});
