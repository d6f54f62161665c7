import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cache } from '../../../src/cache/cache.ts';
import { DeviceRegistry } from '../../../src/cdi/registry.ts';
import { Emulation } from '../../../src/emulation/emulation.ts';
import { fail } from '../../../src/errors/error.ts';
import { createExecutor } from '../../../src/executor/executor.ts';
import { specOfMounts } from '../../../src/fs/view.ts';
import type { OpDeps } from '../../../src/ops/deps.ts';
import { execOp } from '../../../src/ops/exec.ts';
import {
  CacheSharingOpt,
  ExecOpSchema,
  MetaSchema,
  MountContentCache,
  MountSchema,
  MountType,
  OpMetadataSchema,
  OpSchema,
} from '../../../src/pb/solver/pb/ops_pb.js';
import { createRefs } from '../../../src/refs/refs.ts';
import type { OpContext, Vertex } from '../../../src/solver/types.ts';
import { openLocalStore } from '../../../src/store/local/open.ts';
import type { Ref } from '../../../src/store/ref.ts';
import type { Store } from '../../../src/store/store.ts';
import { busyboxRoot } from '../../kit/busybox.ts';

let dir: string;
let store: Store;
let deps: OpDeps;
let base: Ref;
const lease = 'test';

interface ExecInit {
  meta?: MessageInitShape<typeof MetaSchema>;
  mounts?: MessageInitShape<typeof MountSchema>[];
  security?: number;
  network?: number;
  secretenv?: { ID: string; name: string; optional: boolean }[];
}
const none = { session: {} as Partial<OpContext['session']>, signal: new AbortController().signal };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-execop-'));
  store = await openLocalStore(join(dir, 'root'));
  await store.leases.create(lease);
  const registry = {} as Parameters<typeof createRefs>[0]['registry'];
  const cache = new Cache(store.root);
  const refs = createRefs({ store, registry });
  const executor = createExecutor({ runDir: store.runDir, stateDir: join(store.root, 'executor') });
  const devices = new DeviceRegistry({ disabled: true });
  deps = {
    store,
    cache,
    refs,
    executor,
    devices,
    emulation: new Emulation(),
    solveNested: async () => undefined,
  };
  const mounts = await store.snapshots.prepare('base-active', undefined, { lease });
  const spec = specOfMounts(mounts);
  if (spec.kind !== 'layers') throw new Error('no folder');
  busyboxRoot(spec.dirs[0]!);
  await store.snapshots.commit('base', 'base-active', { lease });
  base = refs.snapshot('base');
});

afterAll(async () => {
  deps.cache.close();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const rootMount = { input: 0n, dest: '/', output: 0n };

function vertexOf(exec: ExecInit): Vertex {
  const mounts = exec.mounts ?? [rootMount];
  const meta = create(MetaSchema, {
    ...{ cwd: '/', env: ['PATH=/bin'], removeMountStubsRecursive: true },
    ...(exec.meta as object),
  });
  const value = create(ExecOpSchema, {
    meta,
    mounts: mounts.map((mount) => create(MountSchema, mount)),
    secretenv: exec.secretenv,
    security: exec.security,
    network: exec.network,
  });
  const op = create(OpSchema, { op: { case: 'exec', value } });
  const inputs = Math.max(0, ...mounts.map((m) => Number(m.input ?? 0n) + 1));
  return {
    digest: `sha256:${'0'.repeat(64)}`,
    op,
    inputs: Array.from({ length: inputs }, () => ({ vertex: undefined as never, index: 0 })),
    metadata: undefined,
    name: 'RUN it',
    source: undefined,
  };
}

async function run(
  script: string,
  exec: ExecInit = {},
  inputs: Ref[] = [base],
  more: Partial<typeof none> = {},
) {
  const vertex = vertexOf({ ...exec, meta: { args: ['/bin/sh', '-c', script], ...(exec.meta as object) } });
  const logs: string[] = [];
  const progress = {
    log: (_: number, data: Buffer | string) => void logs.push(data.toString()),
    report() {},
    warn() {},
  };
  const session = { secret: async () => undefined, ssh: async () => undefined, ...more.session };
  const ctx = {
    vertex,
    lease,
    progress,
    signal: more.signal ?? none.signal,
    session,
  } as unknown as OpContext;
  const outcome = execOp(vertex, deps).exec(inputs, ctx);
  return { outcome, logs };
}

async function done(...args: Parameters<typeof run>) {
  const { outcome, logs } = await run(...args);
  const refs = await outcome;
  return { refs, log: logs.join('') };
}

/** Own files of an output's layer. */
async function layerOf(ref: Ref | undefined): Promise<string[]> {
  const key = await ref!.snapshot({ lease });
  const view = await store.snapshots.view(key);
  const spec = specOfMounts(view.mounts);
  await view.release();
  return spec.kind === 'layers' ? readdirSync(spec.dirs[0]!, { recursive: true }).map(String).sort() : [];
}

const actives = async () =>
  (await store.snapshots.list()).filter((s) => s.kind === 'active').map((s) => s.key);

describe('exec', () => {
  test('makes a layer on its input, also an empty one', async () => {
    const { refs, log } = await done('echo hi; echo x >/x');
    expect(log).toBe('hi\n');
    expect(await layerOf(refs[0])).toEqual(['x']);
    const again = await done('cat /x', {}, [refs[0]!]);
    expect(again.log).toBe('x\n');
    expect(again.refs[0]!.id).not.toBe(refs[0]!.id);
    expect(await layerOf(again.refs[0])).toEqual([]);
  });

  test("fails in BuildKit's words, with exit code and log tail, and leaves nothing", async () => {
    const { outcome } = await run('seq 1 60; exit 3');
    await expect(outcome).rejects.toMatchObject({
      code: 'failed',
      hop: 'exec',
      message: 'process "/bin/sh -c seq 1 60; exit 3" did not complete successfully: exit code: 3',
      exitCode: 3,
      step: 'RUN it',
      logTail: Array.from({ length: 50 }, (_, i) => String(i + 11)),
    });
    expect(await actives()).toEqual([]);
    const missing = (await run('nope')).outcome;
    await expect(missing).rejects.toMatchObject({
      exitCode: 127,
      hint: expect.stringContaining('not found'),
    });
  });

  test('takes other exit codes as success when told so', async () => {
    await done('exit 9', { meta: { validExitCodes: [0, 9] } });
  });

  test('shows all of its output', async () => {
    const { log } = await done('head -c 3000000 /dev/zero');
    expect(log).toHaveLength(3_000_000);
  });

  test('is canceled at once', async () => {
    const abort = new AbortController();
    const { outcome } = await run('sleep 600', {}, [base], { signal: abort.signal });
    setTimeout(() => abort.abort(), 150);
    await expect(outcome).rejects.toMatchObject({ code: 'canceled' });
    expect(await actives()).toEqual([]);
  });

  test('runs with the proxy environment, which is no part of the key', async () => {
    const proxyEnv = { httpProxy: 'http://p' };
    expect((await done('echo $HTTP_PROXY $http_proxy', { meta: { proxyEnv } })).log).toBe(
      'http://p http://p\n',
    );
    const key = (meta: ExecInit['meta']) =>
      execOp(vertexOf({ meta: { args: ['x'], ...(meta as object) } }), deps).cacheMap({} as OpContext);
    expect((await key({ proxyEnv })).digest).toBe((await key({})).digest);
    expect((await key({ env: ['A=1'] })).digest).not.toBe((await key({})).digest);
  });

  test('in a network that is named for it, which its key does not say: the result is for one identity alone', async () => {
    const vertex = vertexOf({ meta: { args: ['x'] } });
    const usual = await execOp(vertex, deps).cacheMap({} as OpContext);
    const metadata = create(OpMetadataSchema, { description: { 'drydock.network': 'lab' } });
    const named = await execOp({ ...vertex, metadata }, deps).cacheMap({} as OpContext);
    expect(named.digest).toBe(usual.digest);
    expect([usual.unnamed, named.unnamed]).toEqual([undefined, 'things']);
  });
});

describe('mounts', () => {
  test('read-only binds with a selector; writable ones without an output are thrown away', async () => {
    const { refs } = await done('mkdir /src; echo a >/src/a');
    const mount = { input: 1n, selector: '/src', dest: '/in', output: -1n };
    const inputs = [base, refs[0]!];
    const ro = await done(
      'cat /in/a; echo b >/in/a || echo ro',
      { mounts: [rootMount, { ...mount, readonly: true }] },
      inputs,
    );
    expect(ro.log).toContain('a\n');
    expect(ro.log).toContain('ro\n');
    await done('echo b >/in/a', { mounts: [rootMount, mount] }, inputs);
    expect((await done('cat /src/a', {}, [refs[0]!])).log).toBe('a\n');
    expect(await actives()).toEqual([]);
  });

  test('a writable bind may be an output of its own', async () => {
    const mounts = [
      { ...rootMount, readonly: true, output: -1n },
      { input: -1n, dest: '/out', output: 0n },
    ];
    const { refs, log } = await done('echo x >/out/x; echo y >/y || echo ro', { mounts });
    expect(log).toContain('ro\n');
    expect(await layerOf(refs[0])).toEqual(['x']);
  });

  test('content stands for what is only read', async () => {
    const bind = { input: 1n, dest: '/in', output: -1n, readonly: true, selector: 'src' };
    const deps1 = async (more: object) =>
      (
        await execOp(
          vertexOf({ meta: { args: ['x'] }, mounts: [rootMount, { ...bind, ...more }] }),
          deps,
        ).cacheMap({} as OpContext)
      ).deps;
    const byContent = await deps1({});
    expect(byContent[0]).toEqual({});
    expect(byContent[1]).toMatchObject({ content: [{ path: '/src', followLinks: true }] });
    expect((await deps1({ contentCache: MountContentCache.OFF }))[1]?.content).toBeUndefined();
    const unsafe = deps1({ readonly: false, output: 1n, contentCache: MountContentCache.ON });
    await expect(unsafe).rejects.toMatchObject({ code: 'invalid' });
  });

  test('tmpfs', async () => {
    const mounts = [rootMount, { input: -1n, dest: '/t', output: -1n, mountType: MountType.TMPFS }];
    const { refs, log } = await done('echo x >/t/x; ls /t', { mounts });
    expect(log).toBe('x\n');
    expect(await layerOf(refs[0])).toEqual([]);
  });

  test('secrets: as a file and in the environment, never in a layer or on the disk', async () => {
    const session = { secret: async (id: string) => (id === 'tok' ? Buffer.from('hush-hush') : undefined) };
    const mount = (optional: boolean, ID = 'tok') => ({
      input: -1n,
      dest: `/run/secrets/${ID}`,
      output: -1n,
      mountType: MountType.SECRET,
      secretOpt: { ID, uid: 0, gid: 0, mode: 0o400, optional },
    });
    const exec = {
      mounts: [rootMount, mount(false), mount(true, 'other')],
      secretenv: [{ ID: 'tok', name: 'TOK', optional: false }],
    };
    const { refs, log } = await done(
      'wc -c </run/secrets/tok; test -n "$TOK" && ls /run/secrets',
      exec,
      [base],
      { session },
    );
    expect(log).toBe('9\ntok\n');
    expect(await layerOf(refs[0])).toEqual([]);
    const { outcome } = await run('true', { mounts: [rootMount, mount(false, 'other')] }, [base], {
      session,
    });
    await expect(outcome).rejects.toMatchObject({
      code: 'not-found',
      message: 'secret other: not found',
      hint: expect.stringContaining('--secret id=other,src='),
    });
    expect(await actives()).toEqual([]);
  });

  test('ssh: an agent that the client does not forward is an error unless it is optional', async () => {
    const ssh = async (id: string) => {
      if (id === 'unset') throw fail('not-found', 'session', 'unset ssh forward key unset');
      return undefined;
    };
    const withAgent = (ID: string, optional: boolean) => ({
      mounts: [
        rootMount,
        {
          input: -1n,
          dest: '/run/agent.sock',
          output: -1n,
          mountType: MountType.SSH,
          SSHOpt: { ID, uid: 0, gid: 0, mode: 0o600, optional },
        },
      ],
    });
    const outcome = async (ID: string, optional = false) =>
      (await run('true', withAgent(ID, optional), [base], { session: { ssh } })).outcome;
    await expect(outcome('')).rejects.toThrow('no SSH key "default" forwarded from the client');
    await expect(outcome('unset')).rejects.toMatchObject({
      code: 'not-found',
      message: 'no SSH key "unset" forwarded from the client: unset ssh forward key unset',
      hint: 'Give one with --ssh unset=PATH.',
    });
    await outcome('unset', true);
    await outcome('', true);
  });

  test('ssh: the step talks to the client’s agent', async () => {
    const dial = async (): Promise<Duplex> => {
      const [client, agent] = duplexPair();
      agent.on('data', (data) => agent.write(`agent got ${data}`));
      return client;
    };
    const mount = {
      input: -1n,
      dest: '/run/agent.sock',
      output: -1n,
      mountType: MountType.SSH,
      SSHOpt: { ID: 'default', uid: 0, gid: 0, mode: 0o600, optional: false },
    };
    const exec = { mounts: [rootMount, mount] };
    const script = 'stat -c %F:%a /run/agent.sock; sleep 0.6363';
    const running = done(script, exec, [base], { session: { ssh: async () => dial } });
    // busybox has no client for unix sockets, so the test speaks through the container's view of the socket.
    const pid = await processOf('sleep\u00000.6363\u0000');
    const answer = await new Promise((resolve, reject) => {
      const socket = connect(`/proc/${pid}/root/run/agent.sock`, () => socket.write('hello'));
      socket.once('error', reject).once('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
    });
    expect(answer).toBe('agent got hello');
    const { log, refs } = await running;
    expect(log).toBe('socket:600\n');
    expect(await layerOf(refs[0])).toEqual([]);
    await expect((await run('true', exec)).outcome).rejects.toThrow(
      'no SSH key "default" forwarded from the client',
    );
    expect(readdirSync(store.runDir).filter((name) => name.startsWith('ssh-'))).toEqual([]);
  });

  test('caches keep their files between steps, and can start from a tree', async () => {
    const cache = (more: object = {}) => ({
      mounts: [
        rootMount,
        { input: -1n, dest: '/c', output: -1n, mountType: MountType.CACHE, cacheOpt: { ID: 'c1' }, ...more },
      ],
    });
    const { refs } = await done('echo 1 >/c/f', cache());
    expect(await layerOf(refs[0])).toEqual([]);
    expect((await done('cat /c/f', cache())).log).toBe('1\n');
    const seed = (await done('mkdir -m 700 /seed; chown 5:6 /seed; echo s >/seed/s')).refs[0]!;
    const seeded = cache({ input: 1n, selector: '/seed' });
    expect((await done('stat -c "%u %g %a" /c; cat /c/s; echo t >/c/t', seeded, [base, seed])).log).toBe(
      '5 6 700\ns\n',
    );
    expect((await done('ls /c', seeded, [base, seed])).log).toBe('s\nt\n');
  });

  const locked = (dest: string, ID: string) => ({
    ...{ input: -1n, dest, output: -1n, mountType: MountType.CACHE },
    cacheOpt: { ID, sharing: CacheSharingOpt.LOCKED },
  });

  test('a cache that a step mounts twice is one, also a locked one', async () => {
    const mounts = [rootMount, locked('/m1', 'twice'), locked('/m2', 'twice')];
    expect((await done('touch /m1/f; ls /m2', { mounts })).log).toBe('f\n');
  });

  test('steps that lock the same caches in another order do not wait for each other', async () => {
    const mounts = [rootMount, locked('/1', 'x'), locked('/2', 'y')];
    const turned = [rootMount, locked('/1', 'y'), locked('/2', 'x')];
    const both = [mounts, turned, mounts, turned].map((each) => done('true', { mounts: each }));
    expect(await Promise.all(both)).toHaveLength(4);
  });

  test('a relative destination is below the working directory', async () => {
    const mounts = [rootMount, { input: -1n, dest: 'rel/path', output: 1n }];
    const { refs } = await done('echo x >/tmp/rel/path/f', { mounts, meta: { cwd: '/tmp' } });
    expect(await layerOf(refs[1])).toEqual(['f']);
  });
});

test('malformed ops are refused', () => {
  expect(() => execOp(vertexOf({ meta: { args: [] } }), deps)).toThrow('no args');
  expect(() => execOp(vertexOf({ meta: { args: ['x'] }, mounts: [] }), deps)).toThrow('root mount');
  expect(() => execOp(vertexOf({ meta: { args: ['x'], cwd: 'rel' } }), deps)).toThrow('not absolute');
  const mode = (more: ExecInit) => () => execOp(vertexOf({ meta: { args: ['x'] }, ...more }), deps);
  expect(mode({ security: 2 })).toThrow('invalid security mode 2');
  expect(mode({ network: 7 })).toThrow('unknown network mode 7');
});

async function processOf(cmdline: string): Promise<string> {
  for (let i = 0; i < 100; i++) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        if (readFileSync(`/proc/${pid}/cmdline`, 'latin1') === cmdline) return pid;
      } catch {
        // It ended meanwhile.
      }
    }
    await sleep(5);
  }
  throw new Error(`no process ${JSON.stringify(cmdline)}`);
}
