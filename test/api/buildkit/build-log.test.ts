/** How one build's progress reaches many: all get all of it, once, and one that is slow holds up nobody. */
import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { BuildLog, type Follower } from '../../../src/api/buildkit/jobs/build-log.ts';
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
