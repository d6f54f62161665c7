/**
 * LLB from clients: op by op what no test of the op itself has, and definitions that mean harm or are merely huge.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  image,
  imageBlob,
  local,
  marshal,
  mkfile,
  ociLayoutBlob,
  rm,
  type State,
  scratch,
  source,
} from '../../../src/llb/llb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import {
  type Definition,
  DefinitionSchema,
  OpMetadataSchema,
  OpSchema,
} from '../../../src/pb/solver/pb/ops_pb.js';
import { closePool } from '../../../src/workers/pool.ts';
import { busyboxRoot } from '../../kit/busybox.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import type { SessionClientOptions } from '../../kit/session/session-client.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, detailsOf, failure } from './control-kit.ts';

afterAll(closePool);

onStores('LLB', (store) => {
  let kit: ControlKit;
  let registry: TestRegistry;
  let root: string;
  beforeAll(async () => {
    registry = await startRegistry();
    kit = await ControlKit.start(store.options(), { entitlements: ['network.host'] });
    root = join(kit.daemon.dir, 'busybox');
    busyboxRoot(root);
  });
  afterAll(async () => {
    await kit.daemon.stop();
    await registry.stop();
  });

  const busybox = () => local('root');
  /** Solves a definition and gives the files of its tree. */
  const files = async (
    state: State | Definition,
    session: SessionClientOptions = {},
    request: { Entitlements?: string[] } = {},
  ) => {
    const dir = join(kit.daemon.dir, `out-${crypto.randomUUID()}`);
    const Definition = 'output' in state ? marshal(state) : state;
    const { status } = await kit.solve(
      { Definition, Exporters: [{ Type: 'local', Attrs: {} }], ...request },
      { ...session, dirs: { root, ...session.dirs }, outputs: { 0: { dir } } },
    );
    return {
      read: (name: string) => readFileSync(join(dir, name), 'utf8'),
      vertices: status.flatMap(({ vertexes }) => vertexes),
    };
  };
  /** Runs a shell line on busybox; what it writes to /out is the result. */
  const run = async (line: string, options: Parameters<State['run']>[1] = {}, more = {}, asked = {}) => {
    const ran = busybox().run(line, {
      ...options,
      mounts: [...(options.mounts ?? []), { target: '/out', source: scratch() }],
    });
    return files(ran.mountOutput('/out'), more, asked);
  };

  describe('exec', () => {
    test('working directory, user, hostname, extra hosts, ulimits, environment', async () => {
      const { read } = await run(
        'chmod 777 /out; pwd >/out/cwd; id -u >/out/uid; hostname >/out/host; cat /etc/hosts >/out/hosts; ' +
          'ulimit -n >/out/files; echo $A >/out/env',
        {
          cwd: '/tmp',
          hostname: 'workshop',
          extraHosts: [{ host: 'db.example', ip: '10.1.2.3' }],
          ulimits: [{ name: 'nofile', soft: 321, hard: 654 }],
          env: { A: 'b c' },
        },
      );
      expect(read('cwd')).toBe('/tmp\n');
      expect(read('uid')).toBe('0\n');
      expect(read('host')).toBe('workshop\n');
      expect(read('hosts')).toContain('10.1.2.3\tdb.example');
      expect(read('files')).toBe('321\n');
      expect(read('env')).toBe('b c\n');
    });

    test('a limit that there is not is said to be none', async () => {
      const err = await failure(run('true', { ulimits: [{ name: 'files', soft: 1, hard: 1 }] }));
      expect(err.rawMessage).toContain('invalid ulimit type: files');
      const asked = { Frontend: 'dockerfile.v0', FrontendAttrs: { ulimit: 'nofile=2:1' } };
      const option = await failure(kit.solve(asked));
      expect(option.rawMessage).toContain(
        'failed to parse ulimit: ulimit soft limit must be less than or equal',
      );
    });

    test('a tmpfs is as large as asked for', async () => {
      const { read } = await run('dd if=/dev/zero of=/t/f bs=1M count=4 2>/dev/null; echo $? >/out/code', {
        mounts: [{ type: 'tmpfs', target: '/t', size: 1 << 20 }],
      });
      expect(read('code')).toBe('1\n');
    });

    test('no network, when it is asked for', async () => {
      const { read } = await run('ls /sys/class/net >/out/net', { network: 'none' });
      expect(read('net').trim()).toBe('lo');
    });

    test('the host’s network needs the entitlement, asked for and granted', async () => {
      const err = await failure(run('true', { network: 'host' }));
      expect(err.rawMessage).toContain('entitlement network.host is not allowed');
      await run('true >/out/x', { network: 'host' }, {}, { Entitlements: ['network.host'] });
    });

    test('a device that is not there fails, unless it is optional', async () => {
      const devices = [{ name: 'vendor.com/gpu=0' }];
      expect((await failure(run('true', { devices }))).rawMessage).toContain('vendor.com/gpu=0');
      await run('true >/out/x', { devices: [{ name: 'vendor.com/gpu=0', optional: true }] });
    });

    test('exit codes that count as success', async () => {
      await run('echo x >/out/x; exit 3', { validExitCodes: [3] });
      const err = await failure(run('exit 0', { validExitCodes: [3] }));
      expect(detailsOf(err)['gatewayapi.ExitMessage+json']).toEqual({ Code: 0 });
    });

    test('secrets and an agent that are missing: told by name, or left out when optional', async () => {
      const secret = { id: 'token', target: '/run/secrets/token' };
      expect((await failure(run('true', { secrets: [secret] }))).rawMessage).toContain(
        'secret token: not found',
      );
      const optional = { secrets: [{ ...secret, optional: true }], ssh: [{ optional: true }] };
      const { read } = await run('ls /run/secrets 2>/dev/null >/out/ls; true', optional);
      expect(read('ls')).toBe('');
      expect((await failure(run('true', { ssh: [{}] }))).rawMessage).toContain('no SSH key "default"');
    });

    test('a secret in the environment; an agent’s socket', async () => {
      const agent = join(kit.daemon.dir, `agent-${store.kind}`);
      const server = createServer().listen(agent);
      const { read } = await run(
        'echo $TOKEN >/out/token; stat -c %F $SSH_AUTH_SOCK >/out/agent',
        { secrets: [{ id: 'token', env: 'TOKEN' }], ssh: [{}] },
        { secrets: { token: 'sesame' }, ssh: { default: agent } },
      );
      server.close();
      expect(read('token')).toBe('sesame\n');
      expect(read('agent')).toBe('socket\n');
    });
  });

  describe('sources', () => {
    test('a blob of a repository, as a file; by another name, with mode and owner', async () => {
      const data = Buffer.from('just bytes');
      const digest = digestOf(data);
      const name = `${registry.host}/blobs/${store.kind}`;
      const size = data.length;
      await kit.daemon.engine.registry.pushBlob(name, { digest, size }, async () => Readable.from([data]));
      const plain = await files(imageBlob(`${name}@${digest}`));
      expect(plain.read(digest.slice('sha256:'.length))).toBe('just bytes');
      const named = imageBlob(`${name}@${digest}`, {
        filename: 'f',
        chmod: 0o640,
        chown: { uid: 7, gid: 8 },
      });
      const ran = busybox().run('stat -c "%a %u %g %Y" /b/f >/out/stat', {
        mounts: [
          { target: '/b', source: named, readonly: true },
          { target: '/out', source: scratch() },
        ],
      });
      expect((await files(ran.mountOutput('/out'))).read('stat')).toBe('640 7 8 0\n');
      const other = digestOf('other');
      const err = await failure(files(imageBlob(`${name}@${other}`)));
      expect(err.rawMessage).toContain(other);
    });

    test('a blob of a layout that the client offers', async () => {
      const data = Buffer.from('of a layout');
      const digest = digestOf(data);
      const state = ociLayoutBlob(`app@${digest}`, { store: 'mine', filename: 'f' });
      const { read } = await files(state, { stores: { 'oci:mine': new Map([[digest, data]]) } });
      expect(read('f')).toBe('of a layout');
    });

    test.each([
      ['docker-image+blob://busybox', {}, 'named by a digest'],
      [`oci-layout+blob://x@${digestOf('x')}`, {}, 'oci.store'],
      ['docker-image://busybox', { 'image.checksm': 'x' }, 'unknown attribute image.checksm'],
      ['local://root', { 'local.includepattern': 'no list' }, 'local.includepattern'],
      ['git://example.com/x', { 'git.bundel': 'x' }, 'unknown attribute git.bundel'],
      ['ftp://example.com/x', {}, 'of no known kind'],
      ['constructor://x', {}, 'of no known kind'],
      ['nothing', {}, 'of no known kind'],
    ])('refused: %s %j', async (identifier, attrs, message) => {
      const err = await failure(files(source(identifier, attrs as Record<string, string>)));
      expect(err.rawMessage).toContain(message);
    });
  });

  test('a step’s name is the client’s; groups and locations come along', async () => {
    const state = scratch().file(mkfile('/x', 'x'), {
      name: 'make x',
      progressGroup: { id: 'g', name: 'all of it' },
    });
    const { vertices } = await files(state);
    const made = vertices.find(({ name }) => name === 'make x');
    expect(made?.progressGroup).toMatchObject({ id: 'g', name: 'all of it' });
    const failing = scratch().file(rm('/nothing'), {
      location: { filename: 'recipe', text: 'one\ntwo\n', ranges: [range(2)], language: 'Recipe' },
    });
    const details = detailsOf(await failure(files(failing)));
    expect(details['errdefs.Source+json']).toMatchObject({
      info: { filename: 'recipe', data: Buffer.from('one\ntwo\n').toString('base64') },
      ranges: [{ start: { line: 2 } }],
    });
    expect(details['errdefs.Vertex+json']).toEqual({ digest: expect.stringMatching(/^sha256:/) });
  });

  test('a step that ignores the cache runs each time', async () => {
    const state = (ignoreCache: boolean) =>
      busybox()
        .run('cat /proc/sys/kernel/random/uuid >/out/id', {
          ignoreCache,
          mounts: [{ target: '/out', source: scratch() }],
        })
        .mountOutput('/out');
    const first = (await files(state(false))).read('id');
    expect((await files(state(false))).read('id')).toBe(first);
    expect((await files(state(true))).read('id')).not.toBe(first);
  });

  describe('build ops', () => {
    const nested = (definition: Definition) =>
      definitionOf([{ op: { case: 'build', value: { builder: -1n, def: definition } } }]);

    test('a definition within a definition', async () => {
      const { read } = await files(nested(marshal(scratch().file(mkfile('/inner', 'yes')))));
      expect(read('inner')).toBe('yes');
    });

    test('have no more entitlements than their build', async () => {
      const hostNet = marshal(busybox().run('true', { network: 'host' }));
      const err = await failure(files(nested(hostNet)));
      expect(err.rawMessage).toContain('entitlement network.host is not allowed');
      await files(nested(hostNet), {}, { Entitlements: ['network.host'] });
    });

    test('nor have inputs that a frontend looks into', async () => {
      const state = busybox().run('true', { network: 'host' });
      const err = await failure(
        kit.solve(
          { Frontend: 'dockerfile.v0', FrontendInputs: { dockerfile: marshal(state) } },
          { dirs: { root, context: root } },
        ),
      );
      expect(err.rawMessage).toContain('entitlement network.host is not allowed');
    });
  });

  test('what an op needs and nobody knows is named', async () => {
    const definition = marshal(scratch().file(mkfile('/x', 'x'), { caps: ['file.teleport'] }));
    const err = await failure(files(definition));
    expect(err.rawMessage).toContain('unknown API capability file.teleport');
  });

  test('an op of a kind that nobody knows', async () => {
    const unknown = Buffer.from([0xfa, 0x01, 0x02, 0x08, 0x01]); // field 31
    const closing = create(OpSchema, { inputs: [{ digest: digestOf(unknown), index: 0n }] });
    const err = await failure(
      files(create(DefinitionSchema, { def: [unknown, toBinary(OpSchema, closing)] })),
    );
    expect(err.rawMessage).toContain('an op of the kind (none) is not supported');
  });

  test('an image that is not the one its checksum says', async () => {
    const Definition = marshal(scratch().file(mkfile('/f', 'x')));
    const Exporters = [{ Type: 'image', Attrs: { name: 'example.com/sum:1' } }];
    const { response } = await kit.solve({ Definition, Exporters });
    const digest = response['containerimage.digest'];
    const at = (checksum: string | undefined) => files(image('example.com/sum:1', { checksum }));
    expect((await at(digest)).read('f')).toBe('x');
    const other = digestOf('other');
    expect((await failure(at(other))).rawMessage).toContain(
      `image digest ${digest} for example.com/sum:1 does not match expected checksum ${other}`,
    );
  });

  test('an image that no registry has', async () => {
    const err = await failure(files(image(`${registry.host}/nothing:1`)));
    expect(err.rawMessage).toContain(registry.host);
  });
});

describe('huge and hostile definitions', () => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start({});
  });
  afterAll(() => kit.daemon.stop());
  const size = 2_000;
  const pass = (id: number, inputs: readonly number[]): Draft => ({
    op: { case: 'passthrough', value: { id: String(id), outputs: inputs.map((_, i) => BigInt(i)) } },
    from: inputs,
  });
  const empty: Draft = {
    op: { case: 'build', value: { builder: -1n, def: marshal(scratch().file(mkfile('/x', 'x'))) } },
  };

  test('a chain of thousands of ops', async () => {
    const chain = Array.from({ length: size - 1 }, (_, i) => pass(i, [i]));
    const { status } = await kit.solve({ Definition: definitionOf([empty, ...chain]) });
    const done = new Set(status.flatMap(({ vertexes }) => vertexes.map(({ digest }) => digest)));
    expect(done.size).toBeGreaterThanOrEqual(size);
  }, 180_000);

  test('thousands of ops side by side, in one that takes them all', async () => {
    const wide = Array.from({ length: size - 2 }, (_, i) => pass(i, [0]));
    const all = pass(
      -1,
      Array.from(wide, (_, i) => i + 1),
    );
    await kit.solve({ Definition: definitionOf([empty, ...wide, all]) });
  }, 180_000);

  test.each([
    ['a chain', (i: number) => [i]],
    ['all on one', () => [0]],
    ['diamonds on diamonds', (i: number) => [i, Math.max(0, i - 1)]],
  ])('50,000 ops, %s, are read and refused for the one that may not be', async (_, inputsOf) => {
    const host = { args: ['true'], cwd: '/' };
    const bad: Draft = { op: { case: 'exec', value: { meta: host, mounts: [{ dest: '/' }], network: 1 } } };
    const rest = Array.from({ length: 49_997 }, (_, i) => pass(i, inputsOf(i)));
    const last = pass(-1, [49_997, 49_996]);
    const err = await failure(kit.solve({ Definition: definitionOf([bad, ...rest, last]) }));
    expect(err.rawMessage).toContain('entitlement network.host is not allowed');
  });

  test('a tree merged with itself again and again is refused before it fills the disk', async () => {
    const file = marshal(scratch().file(mkfile('/x', 'x')));
    const tree: Draft = { op: { case: 'build', value: { builder: -1n, def: file } } };
    const twice = { case: 'merge', value: { inputs: [{ input: 0n }, { input: 1n }] } };
    const merges = Array.from({ length: 60 }, (_, i): Draft => ({ op: twice, from: [i, i] }));
    const err = await failure(kit.solve({ Definition: definitionOf([tree, ...merges]) }));
    expect(err.rawMessage).toContain('a merge has more than 2048 layers');
  });

  test('a build op whose definition, a file, holds that very op', async () => {
    const definition = definitionOf([
      { op: { case: 'source', value: { identifier: 'local://defs', attrs: {} } } },
      {
        op: {
          case: 'build',
          value: {
            builder: -1n,
            inputs: { 'buildkit.llb.definition': { input: 0n } },
            attrs: { 'llbbuild.filename': 'self.llb' },
          },
        },
        from: [0],
      },
    ]);
    const defs = kit.folder({});
    writeFileSync(join(defs, 'self.llb'), toBinary(DefinitionSchema, definition));
    const err = await failure(kit.solve({ Definition: definition }, { dirs: { defs } }));
    expect(err.rawMessage).toContain('holds that step itself');
  });

  test('texts of megabytes come back short', async () => {
    const long = 'x'.repeat(5 << 20);
    const closing = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest: long, index: 0n }] }));
    const missing = await failure(
      kit.control.solve({ Ref: '', Definition: create(DefinitionSchema, { def: [closing] }) }),
    );
    expect(missing.rawMessage).toMatch(/^invalid missing input digest x+ \[…\] x+/);
    expect(missing.rawMessage.length).toBeLessThan(64 << 10);
    const named = scratch().file(mkfile('/x', 'x'), { name: long });
    const { status } = await kit.solve({ Definition: marshal(named) });
    const [vertex] = status.flatMap(({ vertexes }) => vertexes);
    expect(vertex?.name).toMatch(/^x+ \[…\] x+$/);
  });

  test('more ops than a definition may hold, unused ones too', async () => {
    const def = Array.from({ length: 100_001 }, () => Buffer.from([0x12, 0]));
    const err = await failure(kit.control.solve({ Ref: '', Definition: create(DefinitionSchema, { def }) }));
    expect(err.rawMessage).toContain('more than 100000');
  });

  test('messages nested in messages, deeper than anything reads', async () => {
    // A build op whose definition's source info has a definition, and so on.
    let bytes: Uint8Array = Buffer.alloc(0);
    const wrap = (field: number, inner: Uint8Array) =>
      Buffer.concat([varint((field << 3) | 2), varint(inner.length), inner]);
    for (let i = 0; i < 2_000; i++) bytes = wrap(3, wrap(2, wrap(3, bytes)));
    const op = wrap(5, wrap(3, bytes));
    const err = await failure(
      kit.control.solve({ Ref: '', Definition: create(DefinitionSchema, { def: [op] }) }),
    );
    expect(err.rawMessage).toContain('failed to parse llb proto op');
  });

  test('indices, counts and sizes out of this world', async () => {
    const cases: Draft[][] = [
      [{ op: { case: 'merge', value: { inputs: [{ input: 9_000_000_000_000_000_000n }, { input: 1n }] } } }],
      [{ op: { case: 'diff', value: { lower: { input: -5n }, upper: { input: 7n } } } }],
      [{ op: { case: 'passthrough', value: { outputs: [9_000_000_000_000_000_000n] } } }],
      [
        {
          op: {
            case: 'file',
            value: { actions: [{ output: 1n << 60n, action: { case: 'rm', value: {} } }] },
          },
        },
      ],
      [
        {
          op: {
            case: 'exec',
            value: { meta: { args: ['x'], cwd: '/' }, mounts: [{ dest: '/', input: 99n }] },
          },
        },
      ],
      [{ op: { case: 'exec', value: { mounts: [{ dest: '/' }] } } }],
      [{ op: { case: 'build', value: { builder: 4n } } }],
    ];
    for (const drafts of cases) {
      const err = await failure(kit.control.solve({ Ref: '', Definition: definitionOf(drafts) }));
      expect(err.rawMessage, JSON.stringify(drafts[0]?.op.case)).toMatch(
        /invalid|at least|needs|not supported/,
      );
    }
    expect((await failure(kit.control.solve({ Ref: '', Definition: outputAt(1n << 62n) }))).code).toBe(
      Code.Unknown,
    );
    expect((await kit.control.listWorkers({})).record).toHaveLength(1);
  });

  const outputAt = (index: bigint) => {
    const definition = marshal(scratch().file(mkfile('/x', 'x')));
    const [op] = definition.def;
    const closing = create(OpSchema, { inputs: [{ digest: digestOf(op ?? ''), index }] });
    return create(DefinitionSchema, { def: [op ?? new Uint8Array(), toBinary(OpSchema, closing)] });
  };
});

interface Draft {
  // biome-ignore lint/suspicious/noExplicitAny: tests write messages that no type allows
  op: { case: string; value: any };
  /** Ops before it, by index, that are its inputs. */
  from?: readonly number[];
}

/** A definition of ops of which later ones name earlier ones; the last is the output. */
function definitionOf(drafts: readonly Draft[]): Definition {
  const def: Uint8Array[] = [];
  const digests: string[] = [];
  for (const { op, from = [] } of drafts) {
    const inputs = from.map((i) => ({ digest: digests[i] ?? '', index: 0n }));
    const bytes = toBinary(OpSchema, create(OpSchema, { op, inputs } as never));
    def.push(bytes);
    digests.push(digestOf(bytes));
  }
  const closing = create(OpSchema, { inputs: [{ digest: digests.at(-1) ?? '', index: 0n }] });
  const bytes = toBinary(OpSchema, closing);
  const metadata = { [digestOf(bytes)]: create(OpMetadataSchema, {}) };
  return create(DefinitionSchema, { def: [...def, bytes], metadata });
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

const range = (line: number) => ({ start: { line, character: 0 }, end: { line, character: 3 } });
