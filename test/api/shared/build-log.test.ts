/** How one build's progress reaches many: all get all of it, once, and one that is slow holds up nobody. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BuildLog, type Follower } from '../../../src/api/shared/build-log.ts';
import { Deframer } from '../../../src/grpc/frame.ts';
import { StatusResponseSchema } from '../../../src/pb/moby/buildkit/v1/status_pb.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Follows; `room` says whether it takes more after each write. */
class Client implements Follower {
  readonly batches: Uint8Array[] = [];
  room = true;
  ended = false;

  write(frames: Uint8Array): boolean {
    this.batches.push(frames);
    return this.room;
  }

  end(): void {
    this.ended = true;
  }

  get #messages() {
    return this.batches.flatMap((batch) =>
      new Deframer().push(batch).map((message) => fromBinary(StatusResponseSchema, message)),
    );
  }

  get lines(): string {
    return this.#messages.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join(' ');
  }

  get vertices(): string {
    return this.#messages.flatMap(({ vertexes }) => vertexes.map(({ name }) => name)).join(' ');
  }
}

/** What a descriptor of this process is. */
function target(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

const say = (log: BuildLog, line: string) =>
  log.log({ vertex: 'sha256:a', timestamp: 1, stream: 1, data: Buffer.from(line) });
const vertex = (log: BuildLog, name: string) => log.vertex({ digest: 'sha256:a', name, inputs: [] });

test('messages are made once for all who follow, and the late get what was', () => {
  const log = new BuildLog();
  const [first, second, late] = [new Client(), new Client(), new Client()];
  log.follow(first);
  log.follow(second);
  vertex(log, 'RUN');
  say(log, 'one');
  say(log, 'two');
  expect(first.batches).toEqual([]);
  vi.runAllTimers();
  expect(first.batches).toHaveLength(1);
  expect(second.batches[0]).toBe(first.batches[0]);
  // It waits for the others when the late one comes, who has it from what was.
  say(log, 'three');
  log.follow(late);
  say(log, 'four');
  log.end();
  for (const client of [first, second, late]) {
    expect(client.lines).toBe('one two three four');
    expect(client.vertices).toBe('RUN');
    expect(client.ended).toBe(true);
  }
  expect(late.batches[1]).toBe(first.batches[2]);
});

test('one that is slow is told the rest once it can take it, and how things are by then', () => {
  const log = new BuildLog();
  const [quick, slow] = [new Client(), new Client()];
  slow.room = false;
  log.follow(quick);
  const following = log.follow(slow);
  say(log, 'one');
  vi.runAllTimers();
  for (const name of ['first', 'second', 'third']) {
    vertex(log, name);
    say(log, name);
    vi.runAllTimers();
  }
  expect(quick.vertices).toBe('first second third');
  expect(slow.lines).toBe('one');
  slow.room = true;
  following.ready();
  expect(slow.vertices).toBe('third');
  expect(slow.lines).toBe('one first second third');
  // In step again.
  say(log, 'last');
  vi.runAllTimers();
  expect(slow.batches.at(-1)).toBe(quick.batches.at(-1));
  // The end waits for what could not be taken before it.
  slow.room = false;
  say(log, 'more');
  vi.runAllTimers();
  say(log, 'end');
  log.end();
  expect([quick.ended, slow.ended]).toEqual([true, false]);
  following.ready();
  following.ready();
  expect(slow.ended).toBe(true);
  expect(slow.lines).toBe(quick.lines);
});

test('one that stopped hears nothing more; output that comes fast does not wait', () => {
  const log = new BuildLog();
  const [stays, goes] = [new Client(), new Client()];
  log.follow(stays);
  log.follow(goes).stop();
  for (let i = 0; i < 3; i++) say(log, String(i).repeat(600 << 10));
  expect(stays.batches).toHaveLength(2);
  log.end();
  expect(stays.lines).toHaveLength(3 * (600 << 10) + 2);
  expect(goes.batches).toEqual([]);
  expect(goes.ended).toBe(false);
});

describe('much output', () => {
  const mark = (i: number) => `${i} `.padEnd(100_000, '.');
  const folder = mkdtempSync(join(tmpdir(), 'drydock-log-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const open = () => readdirSync('/proc/self/fd').filter((fd) => target(fd).startsWith(folder)).length;

  test('is all there for those who are slow or late, in a file without a name', () => {
    const log = new BuildLog({ folder });
    const [quick, slow, late] = [new Client(), new Client(), new Client()];
    slow.room = false;
    log.follow(quick);
    const following = log.follow(slow);
    vertex(log, 'RUN');
    for (let i = 0; i < 200; i++) say(log, mark(i));
    vi.runAllTimers();
    expect([readdirSync(folder), open()]).toEqual([[], 1]);
    slow.room = true;
    following.ready();
    log.follow(late);
    log.end();
    vi.runAllTimers();
    const all = Array.from({ length: 200 }, (_, i) => mark(i)).join(' ');
    for (const client of [quick, slow, late]) {
      expect(client.lines === all).toBe(true);
      expect(client.ended).toBe(true);
    }
    expect(open()).toBe(0);
  });

  test('is there for its record, after the end', () => {
    const log = new BuildLog({ folder });
    const read = log.keep();
    for (let i = 0; i < 20; i++) say(log, mark(i));
    log.end();
    const logs = [...log.messages()].flatMap((message) => message.logs);
    expect(logs.map(({ msg }) => Buffer.from(msg).toString())).toEqual(
      Array.from({ length: 20 }, (_, i) => mark(i)),
    );
    expect(open()).toBe(1);
    read();
    expect(open()).toBe(0);
  });

  test('that is more than is kept goes to those who read it, and the others are told', () => {
    const log = new BuildLog({ folder, most: 1 << 20 });
    const [quick, late] = [new Client(), new Client()];
    log.follow(quick);
    for (let i = 0; i < 30; i++) {
      say(log, mark(i));
      vi.runAllTimers();
    }
    log.follow(late);
    log.end();
    vi.runAllTimers();
    expect(quick.lines).toContain('29 ');
    expect(late.lines).toContain('9 ');
    expect(late.lines).not.toContain('29 ');
    expect(late.lines).toMatch(/\n\[output left out: [^\n]*\]\n$/);
  });
});
