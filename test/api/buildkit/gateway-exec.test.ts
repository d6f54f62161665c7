/** Containers that a frontend or a client starts: NewContainer, ExecProcess, and files of running ones. */

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { probeProgram } from '../../../src/emulation/elf.ts';
import { local, marshal, mkdir, mkfile, type State, scratch } from '../../../src/llb/llb.ts';
import { type ExecMessage, ExecMessageSchema } from '../../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { MountType, NetMode, SecurityMode } from '../../../src/pb/solver/pb/ops_pb.js';
import { detailsOf } from './control-kit.ts';
import { type BuildSetup, type GatewayBuild, GatewayKit } from './gateway-kit.ts';

const kit = new GatewayKit();
const open: GatewayBuild[] = [];
let root: string;
beforeAll(async () => {
  await kit.open();
  root = kit.busybox();
});
afterAll(() => kit.close());
afterEach(async () => {
  await Promise.all(open.splice(0).map((build) => build.end()));
});

async function start(setup: BuildSetup = {}): Promise<GatewayBuild> {
  const build = await kit.build({ locals: { root }, ...setup });
  open.push(build);
  return build;
}

async function solved(build: GatewayBuild, definition = marshal(local('root'))): Promise<string> {
  const { ref } = await build.client.solve({ Definition: definition });
  return ref;
}

/** A container with busybox as its root. */
async function container(build: GatewayBuild, more: object = {}): Promise<string> {
  const ContainerID = `c${Math.random()}`;
  const Mounts = [{ dest: '/', resultID: await solved(build) }];
  await build.client.newContainer({ ContainerID, Mounts, ...more });
  return ContainerID;
}

/** The client's end of an ExecProcess stream: messages to send, and what came back by process. */
class Stream {
  readonly got: ExecMessage[] = [];
  readonly over: Promise<void>;
  readonly #queue: ExecMessage[] = [];
  #wake: () => void = () => {};
  #ended = false;
  #seen: (() => void)[] = [];

  constructor(build: GatewayBuild) {
    this.over = (async () => {
      for await (const message of build.client.execProcess(this.#messages())) {
        this.got.push(message);
        for (const look of this.#seen.splice(0)) look();
      }
    })();
    this.over.catch(() => {
      for (const look of this.#seen.splice(0)) look();
    });
  }

  async *#messages(): AsyncGenerator<ExecMessage> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  send(ProcessID: string, Input: MessageInitShape<typeof ExecMessageSchema>['Input']): void {
    this.#queue.push(create(ExecMessageSchema, { ProcessID, Input }));
    this.#wake();
  }

  run(id: string, ContainerID: string, script: string | string[], more: object = {}): void {
    const args = typeof script === 'string' ? ['/bin/sh', '-c', script] : script;
    const value = { ContainerID, Meta: { args, env: ['PATH=/bin'], cwd: '/' }, Fds: [1, 2], ...more };
    this.send(id, { case: 'Init', value });
  }

  input(id: string, text: string, EOF = false): void {
    this.send(id, { case: 'File', value: { Fd: 0, Data: Buffer.from(text), EOF } });
  }

  of(id: string): ExecMessage['Input'][] {
    return this.got.filter((message) => message.ProcessID === id).map(({ Input }) => Input);
  }

  output(id: string, fd = 1): string {
    const chunks = this.of(id).flatMap((each) =>
      each.case === 'File' && each.value.Fd === fd ? [each.value.Data] : [],
    );
    return Buffer.concat(chunks).toString();
  }

  /** Waits until what has come is as wanted, or the stream is over. */
  async until(wanted: () => boolean): Promise<void> {
    let over = false;
    const ended = () => {
      over = true;
    };
    this.over.then(ended, ended);
    while (!wanted() && !over) await new Promise<void>((resolve) => this.#seen.push(resolve));
  }

  async exit(id: string): Promise<number | undefined> {
    await this.until(() => this.of(id).some((each) => each.case === 'Done'));
    const exit = this.of(id).find((each) => each.case === 'Exit');
    return exit?.case === 'Exit' ? exit.value.Code : undefined;
  }

  async end(): Promise<void> {
    this.#ended = true;
    this.#wake();
    await this.over;
  }
}

test('a process: Started, its output, its exit code, Done', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run('p', id, 'echo out; echo err >&2; exit 7');
  expect(await stream.exit('p')).toBe(7);
  expect(stream.output('p', 1)).toBe('out\n');
  expect(stream.output('p', 2)).toBe('err\n');
  expect(stream.of('p')[0]?.case).toBe('Started');
  expect(stream.of('p').at(-1)?.case).toBe('Done');
  await stream.end();
});

test('input goes to the process, and its end too', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run('p', id, 'read line; echo got $line; cat; echo done', { Fds: [0, 1, 2] });
  stream.input('p', 'one\ntwo\n');
  await stream.until(() => stream.output('p').includes('two'));
  stream.input('p', 'three\n', true);
  expect(await stream.exit('p')).toBe(0);
  expect(stream.output('p')).toBe('got one\ntwo\nthree\ndone\n');
  await stream.end();
});

test('more processes join the first one in its container', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run(
    'init',
    id,
    'echo ready; echo here > /tmp/mark; while [ ! -e /tmp/stop ]; do sleep 0.05; done; exit 3',
  );
  await stream.until(() => stream.output('init').includes('ready'));
  stream.run('second', id, 'cat /tmp/mark; ps | wc -l; cat; exit 4', { Fds: [0, 1, 2] });
  stream.input('second', 'joined\n', true);
  expect(await stream.exit('second')).toBe(4);
  expect(stream.output('second')).toMatch(/^here\n[\s\S]*joined\n$/);
  stream.run('third', id, ['/bin/touch', '/tmp/stop']);
  expect(await stream.exit('third')).toBe(0);
  expect(await stream.exit('init')).toBe(3);
  await stream.end();
});

test('signals reach the process', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run('p', id, 'trap "echo told; exit 5" USR1; echo ready; while :; do sleep 0.05; done');
  await stream.until(() => stream.output('p').includes('ready'));
  stream.send('p', { case: 'Signal', value: { Name: 'USR1' } });
  expect(await stream.exit('p')).toBe(5);
  expect(stream.output('p')).toBe('ready\ntold\n');
  stream.run('q', await container(build), 'echo ready; sleep 1000');
  await stream.until(() => stream.output('q').includes('ready'));
  stream.send('q', { case: 'Signal', value: { Name: 'SIGKILL' } });
  expect(await stream.exit('q')).toBe(137);
  await stream.end();
});

test('a terminal has a size that can be changed', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  const script = [
    'trap "stty size; exit 6" WINCH',
    'test -t 0 && test -t 1 && echo terminal $TERM',
    'read line; echo got $line; while :; do sleep 0.05; done',
  ];
  stream.run('p', id, script.join('\n'), { Fds: [0, 1], Tty: true });
  await stream.until(() => stream.output('p').includes('terminal'));
  stream.input('p', 'typed\n');
  await stream.until(() => stream.output('p').includes('got'));
  stream.send('p', { case: 'Resize', value: { Rows: 33, Cols: 99 } });
  expect(await stream.exit('p')).toBe(6);
  expect(stream.output('p')).toMatch(/terminal xterm\r\n/);
  expect(stream.output('p')).toMatch(/got typed\r\n/);
  expect(stream.output('p')).toMatch(/33 99\r\n/);
  await stream.end();
});

test('much output comes whole, however slowly it is read', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run('p', id, 'dd if=/dev/zero bs=65536 count=200 2>/dev/null');
  expect(await stream.exit('p')).toBe(0);
  expect(stream.output('p').length).toBe(200 * 65536);
  await stream.end();
});

test('mounts: trees, memory, secrets, caches; secret variables', async () => {
  const build = await start({ secrets: [{ id: 'word', env: 'DRYDOCK_TEST_WORD' }] });
  process.env.DRYDOCK_TEST_WORD = 'hush';
  const tree = await solved(build, marshal(scratch().file(mkfile('/data', 'mounted'))));
  const Mounts = [
    { dest: '/', resultID: await solved(build) },
    { dest: '/ro', resultID: tree, readonly: true },
    { dest: '/rw', resultID: tree },
    { dest: '/mem', mountType: MountType.TMPFS },
    { dest: '/run/word', mountType: MountType.SECRET, secretOpt: { ID: 'word', mode: 0o400 } },
    { dest: '/cache', mountType: MountType.CACHE, cacheOpt: { ID: 'gateway-test' } },
  ];
  await build.client.newContainer({ ContainerID: 'c', Mounts, hostname: 'boxy' });
  const stream = new Stream(build);
  const script =
    'cat /ro/data /run/word; echo " $WORD"; touch /mem/x /cache/x && echo new > /rw/new; touch /ro/x; hostname; sleep 1000';
  stream.run('p', 'c', script, { secretenv: [{ ID: 'word', name: 'WORD' }] });
  await stream.until(() => stream.output('p').includes('boxy') && stream.output('p', 2) !== '');
  expect(stream.output('p')).toBe('mountedhush hush\nboxy\n');
  expect(stream.output('p', 2)).toMatch(/\/ro\/x: Read-only file system/);

  // Files of the running container, by the index of the mount.
  const read = async (MountIndex: number, FilePath: string) =>
    Buffer.from((await build.client.readFileContainer({ Ref: 'c', FilePath, MountIndex })).Data).toString();
  expect(await read(1, '/data')).toBe('mounted');
  expect(await read(2, '/new')).toBe('new\n');
  const { entries } = await build.client.readDirContainer({ Ref: 'c', DirPath: '/', MountIndex: 2 });
  expect(entries.map(({ path }) => path)).toEqual(['data', 'new']);
  const { stat } = await build.client.statFileContainer({ Ref: 'c', Path: '/etc/passwd' });
  expect(stat?.size).toBeGreaterThan(0n);

  // The release of a container in which something still ran tells so, as BuildKit's does.
  const released = build.client.releaseContainer({ ContainerID: 'c' });
  await expect(released).rejects.toMatchObject({ code: Code.Canceled });
  expect(await stream.exit('p')).not.toBe(0);
  // What a container did to a tree is gone with it.
  expect(await read(2, '/new').catch((err: ConnectError) => err.code)).toBe(Code.NotFound);
  await stream.end();
});

test('what cannot be is refused', async () => {
  const build = await start();
  const refused = async (work: Promise<unknown>) => {
    const err = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return err instanceof ConnectError ? [err.code, err.rawMessage.split('\n')[0]] : err;
  };
  const resultID = await solved(build);
  const make = (ContainerID: string, Mounts: object[], more: object = {}) =>
    refused(build.client.newContainer({ ContainerID, Mounts, ...more }));
  expect(await make('a', [])).toEqual([Code.Unknown, 'a container needs one root mount']);
  expect(await make('a', [{ dest: '/', resultID: 'none' }])).toEqual([Code.NotFound, 'no such ref: none']);
  expect(await make('a', [{ dest: '/', resultID }])).toBeUndefined();
  expect(await make('a', [{ dest: '/', resultID }])).toEqual([
    Code.AlreadyExists,
    'Container a already exists',
  ]);
  expect(await refused(build.client.releaseContainer({ ContainerID: 'b' }))).toMatchObject([
    Code.NotFound,
    {},
  ]);
  const lost = new Stream(build);
  lost.run('p', 'b', 'true');
  expect(await refused(lost.over)).toMatchObject([Code.NotFound, expect.stringContaining('"b"')]);
  const stray = new Stream(build);
  stray.input('nobody', 'x');
  expect(await refused(stray.over)).toMatchObject([Code.NotFound, expect.stringContaining('nobody')]);
  // What a process may not is asked for when it is to run. Clients wait for `Started`, and for nothing else.
  expect(await make('networked', [{ dest: '/', resultID }], { Network: NetMode.HOST })).toBeUndefined();
  const streams = new Stream(build);
  const never = async (id: string, ...how: [string, object?]) => {
    streams.run(id, how[0], 'true', how[1]);
    expect(await streams.exit(id)).toBe(255);
    const [first, exit] = streams.of(id);
    expect(first?.case).toBe('Started');
    return exit?.case === 'Exit' ? [exit.value.Error?.code, exit.value.Error?.message.split('\n')[0]] : exit;
  };
  const denied = (what: string) => [Code.PermissionDenied, `entitlement ${what} is not allowed`];
  expect(await never('p', 'a', { Security: SecurityMode.INSECURE })).toEqual(denied('security.insecure'));
  expect(await never('q', 'a', { Security: 2 })).toEqual([Code.Unknown, 'invalid security mode 2']);
  expect(await never('r', 'networked')).toEqual(denied('network.host'));
  await streams.end();
  const missing = new Stream(build);
  missing.run('p', 'a', ['/bin/no-such-program']);
  expect(await missing.exit('p')).toBe(127);
  await missing.end();
});

test('a program of a platform that does not run here is refused with the remedy', async () => {
  const foreign = (await kit.engine.emulation.support()).find(
    ({ runs, handler }) => !runs && handler === undefined,
  );
  // A machine with an emulator for each.
  if (foreign === undefined) return;
  const { machine } = foreign;
  const build = await start();
  const app = mkfile('/app', probeProgram(machine), { mode: 0o755 });
  const resultID = await solved(build, marshal(local('root').file(app)));
  const platform = { OS: 'linux', Architecture: machine.architecture };
  await build.client.newContainer({ ContainerID: 'c', Mounts: [{ dest: '/', resultID }], platform });
  const stream = new Stream(build);
  stream.run('own', 'c', 'echo ran');
  expect(await stream.exit('own')).toBe(0);
  stream.run('p', 'c', ['/app']);
  expect(await stream.exit('p')).toBe(255);
  const exit = stream.of('p').find((each) => each.case === 'Exit');
  const message = exit?.case === 'Exit' ? exit.value.Error?.message : '';
  expect(message).toContain(`cannot run programs for linux/${machine.architecture}`);
  expect(message).toContain('drydock binfmt install');
  await stream.end();
});

test('the end of the build ends its containers', async () => {
  const build = await start();
  const id = await container(build);
  const stream = new Stream(build);
  stream.run('p', id, 'echo ready; sleep 1000');
  await stream.until(() => stream.output('p').includes('ready'));
  await Promise.all(open.splice(0).map((each) => each.end()));
  expect(await stream.exit('p')).not.toBe(0);
  await stream.end();
  const left = await kit.engine.store.snapshots.list();
  expect(left.filter(({ key }) => key.startsWith('exec-active'))).toEqual([]);
});

describe('what a failed step leaves can be looked into', () => {
  interface SolveDetail {
    mountIDs: string[];
    inputIDs: string[];
    op: { exec?: { mounts: { dest: string }[] }; file?: { actions: object[] } };
    file?: { index: number };
    cache?: { index: number };
  }

  async function failed(build: GatewayBuild, state: State): Promise<SolveDetail> {
    const error = await build.client
      .solve({ Definition: marshal(state), Evaluate: true })
      .catch((err) => err);
    return detailsOf(ConnectError.from(error))['errdefs.Solve+json'] as SolveDetail;
  }

  /** What `cat` shows of trees, by their mount points, in a container. */
  async function cat(build: GatewayBuild, trees: Record<string, string | undefined>, files: string) {
    const Mounts = Object.entries(trees).map(([dest, resultID]) => ({ dest, resultID }));
    await build.client.newContainer({ ContainerID: 'look', Mounts });
    const stream = new Stream(build);
    stream.run('p', 'look', `cat ${files}`);
    expect(await stream.exit('p')).toBe(0);
    const text = stream.output('p');
    await stream.end();
    return text;
  }

  /** Whether all is let go of once the builds are over. */
  async function isClean(): Promise<boolean> {
    await Promise.all(open.splice(0).map((each) => each.end()));
    const { store } = kit.engine;
    const leases = await store.leases.list();
    await store.gc();
    const names = [...leases.map(({ id }) => id), ...(await store.snapshots.list()).map(({ key }) => key)];
    return names.every((name) => !name.startsWith('failed-'));
  }

  test('a process: its mounts as they were in the end', async () => {
    const build = await start();
    const state = local('root').run('echo root > /left; echo mount > /rw/left; exit 3', {
      mounts: [{ target: '/rw', source: scratch().file(mkfile('/given', 'given')) }],
    });
    const { op, inputIDs, mountIDs } = await failed(build, state);
    const dests = op.exec?.mounts.map(({ dest }) => dest) ?? [];
    expect(dests).toEqual(['/', '/rw']);
    expect(inputIDs).toHaveLength(2);
    const trees = Object.fromEntries(dests.map((dest, i) => [dest, mountIDs[i]]));
    expect(await cat(build, trees, '/left /rw/left /rw/given')).toBe('root\nmount\ngiven');
    expect(await isClean()).toBe(true);
  });

  test('file actions: which failed, and the trees before it', async () => {
    const build = await start();
    const steps = [mkdir('/found'), mkfile('/found/foo', 'foo'), mkfile('/none/foo', 'bar')];
    const detail = await failed(build, scratch().file(steps));
    const { op, file, mountIDs, inputIDs } = detail;
    expect([op.file?.actions.length, file?.index, mountIDs.length, inputIDs]).toEqual([3, 2, 3, []]);
    // Older clients refuse a detail with a field that they do not know.
    expect(detail).not.toHaveProperty('description');
    const from = scratch().file(mkfile('/from', 'from'));
    const copied = await failed(
      build,
      local('root').copy(from, '/from', '/none/to', { createDestPath: false }),
    );
    const trees = { '/': await solved(build), '/in': mountIDs[2], '/second': copied.inputIDs[1] };
    expect(await cat(build, trees, '/in/found/foo /second/from')).toBe('foofrom');
    expect(await isClean()).toBe(true);
  });

  test('the reading of an input for the cache: that input', async () => {
    const build = await start();
    const source = scratch().file(mkfile('/data', 'data'));
    const state = local('root').run('true', {
      mounts: [{ target: '/src', source, selector: '/none', readonly: true }],
    });
    const { op, cache, mountIDs, inputIDs } = await failed(build, state);
    expect([op.exec?.mounts.length, cache?.index, mountIDs]).toEqual([2, 1, []]);
    const base = await solved(build);
    expect(await cat(build, { '/': base, '/in': inputIDs[0] }, '/in/data')).toBe('data');
    expect(await isClean()).toBe(true);
  });
});

test('containers, and what joins them, run no longer than steps may', async () => {
  const timed = new GatewayKit();
  await timed.open({ stepTimeout: 1000 });
  const build = await timed.build({ locals: { root: timed.busybox() } });
  try {
    const id = await container(build);
    const stream = new Stream(build);
    stream.run('short', id, 'sleep 30');
    await stream.until(() => stream.got.some(({ Input }) => Input.case === 'Started'));
    stream.run('joined', id, 'sleep 30');
    for (const process of ['short', 'joined']) await stream.exit(process);
    const errors = stream.got.flatMap(({ Input }) =>
      Input.case === 'Exit' ? [Input.value.Error?.message ?? ''] : [],
    );
    expect(errors[0]).toContain('it ran longer than a step may here (1 s)');
    expect(errors[1]).toContain('it ran longer than a step may here (1 s)');
    await stream.end();
  } finally {
    await build.end();
    await timed.close();
  }
});
