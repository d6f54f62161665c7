import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { loadGraph } from '../../src/llb/graph.ts';
import * as llb from '../../src/llb/llb.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { DefinitionSchema, type Op, OpSchema } from '../../src/pb/solver/pb/ops_pb.js';

const platform = { os: 'linux', architecture: 'amd64' };
const marshal = (state: llb.State | llb.State[]) => llb.marshal(state, { platform });
const ops = (state: llb.State): Op[] => marshal(state).def.map((bytes) => fromBinary(OpSchema, bytes));
const value = <K extends NonNullable<Op['op']['case']>>(op: Op | undefined, kind: K) => {
  if (op?.op.case !== kind) throw new Error(`want ${kind}, got ${op?.op.case}`);
  return op.op.value as Extract<Op['op'], { case: K }>['value'];
};

describe('marshal', () => {
  it('gives an op the digest of its bytes; the bytes are what the wire format says', () => {
    const definition = marshal(llb.image('alpine:3'));
    const text = (field: number, s: string) => Buffer.from([(field << 3) | 2, s.length, ...Buffer.from(s)]);
    const message = (field: number, b: Buffer) =>
      Buffer.concat([Buffer.from([(field << 3) | 2, b.length]), b]);
    const bytes = Buffer.concat([
      message(3, text(1, 'docker-image://docker.io/library/alpine:3')),
      message(10, Buffer.concat([text(1, 'amd64'), text(2, 'linux')])),
      message(11, Buffer.alloc(0)),
    ]);
    expect(Buffer.from(definition.def[0] ?? []).toString('hex')).toBe(bytes.toString('hex'));
    const closing = fromBinary(OpSchema, definition.def[1] ?? new Uint8Array());
    expect(closing.inputs[0]).toMatchObject({ digest: digestOf(bytes), index: 0n });
    expect(definition.metadata[digestOf(bytes)]?.caps).toEqual({ 'source.image': true });
  });

  it('is deterministic: attributes are sorted, however they were given', () => {
    const a = llb.local('context', { excludes: ['b'], followPaths: ['a'], sharedKeyHint: 'k' });
    const b = llb.local('context', { sharedKeyHint: 'k', followPaths: ['a'], excludes: ['b'] });
    expect(toBinary(DefinitionSchema, marshal(a))).toEqual(toBinary(DefinitionSchema, marshal(b)));
    expect(value(ops(a)[0], 'source').attrs).toEqual({
      'local.excludepatterns': '["b"]',
      'local.followpaths': '["a"]',
      'local.sharedkeyhint': 'k',
    });
  });

  it('writes equal ops once, with what every one of them said', () => {
    const one = llb.image('alpine', { name: 'first', ignoreCache: true });
    const two = llb.image('alpine:latest', { description: { more: 'x' } });
    const definition = marshal(llb.scratch().copy(one, '/a', '/a').copy(two, '/b', '/b'));
    expect(definition.def).toHaveLength(4);
    const digest = digestOf(definition.def[0] ?? '');
    expect(definition.metadata[digest]).toMatchObject({
      ignoreCache: true,
      description: { 'llb.customname': 'first', more: 'x' },
    });
  });

  it('of scratch is empty; of several states names all outputs', () => {
    expect(marshal(llb.scratch()).def).toHaveLength(0);
    const both = marshal([llb.image('a'), llb.image('b')]);
    expect(fromBinary(OpSchema, both.def.at(-1) ?? new Uint8Array()).inputs).toHaveLength(2);
  });

  it('round-trips through loadGraph with names and source locations', () => {
    const text = 'FROM alpine\nRUN make\n';
    const range = { start: { line: 2, character: 0 }, end: { line: 2, character: 8 } };
    const state = llb
      .image('alpine')
      .run('make', { name: '[2/2] RUN make', location: { filename: 'Dockerfile', text, ranges: [range] } })
      .root();
    const graph = loadGraph(marshal(state));
    expect(graph.vertices.map((v) => v.name)).toEqual([
      'docker-image://docker.io/library/alpine:latest',
      '[2/2] RUN make',
    ]);
    expect(graph.output?.vertex.source).toEqual({ filename: 'Dockerfile', text, ranges: [range] });
  });

  it('takes chains of 50,000 ops without recursion', () => {
    const base = llb.image('alpine');
    let state = base;
    // Each looks into the one before; on top of each other they could not be stacked.
    for (let i = 0; i < 50_000; i++) {
      state = base.run(`${i}`, { mounts: [{ target: '/m', source: state, readonly: true }] }).root();
    }
    const definition = marshal(state);
    expect(definition.def).toHaveLength(50_002);
    expect(loadGraph(definition).vertices).toHaveLength(50_001);
  });
});

describe('run', () => {
  it('mounts the root as input 0, output 0, and carries the state of the process', () => {
    const exec = value(
      ops(
        llb
          .image('alpine')
          .env('A', '1')
          .env('B', '2')
          .env('A', '3')
          .dir('/srv')
          .dir('app')
          .user('me')
          .run(['make', 'all'], { env: { C: '4' }, network: 'none' })
          .root(),
      )[1],
      'exec',
    );
    expect(exec.meta).toMatchObject({
      args: ['make', 'all'],
      env: ['B=2', 'A=3', 'C=4'],
      cwd: '/srv/app',
      user: 'me',
      removeMountStubsRecursive: true,
    });
    expect(exec.network).toBe(2);
    expect(exec.mounts).toMatchObject([{ dest: '/', input: 0n, output: 0n, readonly: false }]);
  });

  it('sorts mounts, shares inputs, and gives only writable binds an output', () => {
    const base = llb.image('alpine');
    const run = base.run('x', {
      mounts: [
        { target: '/w', source: llb.scratch() },
        { target: '/same', source: base, readonly: true, selector: '/etc' },
        { type: 'cache', target: '/c', id: 'go', sharing: 'locked' },
        { type: 'tmpfs', target: '/t', size: 1024 },
        { target: '/dropped', source: base, output: false },
      ],
      secrets: [
        { id: 'tok', env: 'TOKEN' },
        { id: 'key', optional: true },
      ],
      ssh: [{}],
    });
    const [, op] = ops(run.root());
    const exec = value(op, 'exec');
    expect(op?.inputs).toHaveLength(1);
    expect(exec.mounts.map((m) => [m.dest, m.input, m.output])).toEqual([
      ['/', 0n, 0n],
      ['/c', -1n, -1n],
      ['/dropped', 0n, -1n],
      ['/same', 0n, -1n],
      ['/t', -1n, -1n],
      ['/w', -1n, 1n],
      ['/run/secrets/key', -1n, 0n],
      ['/run/buildkit/ssh_agent.0', -1n, 0n],
    ]);
    expect(exec.secretenv).toMatchObject([{ ID: 'tok', name: 'TOKEN', optional: false }]);
    expect(exec.meta?.env).toEqual(['SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0']);
    expect(exec.mounts[1]?.cacheOpt).toMatchObject({ ID: 'go', sharing: 2 });
    const after = ops(llb.scratch().copy(run.mountOutput('/w'), '/', '/'));
    expect(after.at(-2)?.inputs[0]?.index).toBe(1n);
    expect(run.mountOutput('/same').output).toBe(base.output);
    expect(marshal(run)).toEqual(marshal(run.root()));
    expect(() => run.mountOutput('/t')).toThrow('has no output');
    expect(() => base.run('x', { mounts: [{ target: '/', source: base }] })).toThrow('two mounts at /');
  });
});

describe('file', () => {
  it('numbers inputs first, then the results of earlier actions', () => {
    const base = llb.image('alpine').dir('/srv');
    const src = llb.local('context');
    const [, , op] = ops(
      base.file([
        llb.mkdir('logs', { parents: true, chown: 'www:33' }),
        llb.copy(src, 'app', 'app/', { mode: 'u=rwX', unpack: true }),
        llb.rm('/tmp/*', { wildcard: true }),
        llb.symlink('app', 'current'),
        llb.mkfile('f', 'hi', { mode: 0o600, timestampNs: 5n }),
      ]),
    );
    const { actions } = value(op, 'file');
    expect(op?.inputs).toHaveLength(2);
    expect(op?.platform).toBeUndefined();
    expect(actions.map((a) => [a.input, a.secondaryInput, a.output])).toEqual([
      [0n, -1n, -1n],
      [2n, 1n, -1n],
      [3n, -1n, -1n],
      [4n, -1n, -1n],
      [5n, -1n, 0n],
    ]);
    expect(actions[0]?.action.value).toMatchObject({
      path: '/srv/logs',
      owner: {
        user: { user: { case: 'byName', value: { name: 'www', input: 0n } } },
        group: { user: { case: 'byID', value: 33 } },
      },
    });
    expect(actions[1]?.action.value).toMatchObject({
      src: '/app',
      dest: '/srv/app/',
      mode: 0,
      modeStr: 'u=rwX',
      timestamp: -1n,
    });
    expect(actions[3]?.action.value).toMatchObject({ oldpath: 'app', newpath: '/srv/current' });
    expect(actions[4]?.action.value).toMatchObject({ mode: 0o600, timestamp: 5n });
  });
});

describe('merge and diff', () => {
  it('drop scratch and keep one input per layer', () => {
    const a = llb.image('a');
    expect(llb.merge([llb.scratch(), a])).toBe(a);
    expect(llb.diff(llb.scratch(), a)).toBe(a);
    const merged = ops(llb.merge([a, a, llb.image('b')]));
    expect(merged.at(-2)?.inputs).toHaveLength(3);
    const difference = value(ops(llb.diff(a, llb.scratch()))[1], 'diff');
    expect(difference).toMatchObject({ lower: { input: 0n }, upper: { input: -1n } });
  });
});

describe('sources', () => {
  const source = (state: llb.State) => value(ops(state)[0], 'source');

  it('git: one identifier for a repository, the full URL as an attribute', () => {
    expect(
      source(llb.git('https://github.com/moby/buildkit.git', 'v1', { subdir: 'docs', keepGitDir: true })),
    ).toMatchObject({
      identifier: 'git://github.com/moby/buildkit.git#v1:docs',
      attrs: {
        'git.fullurl': 'https://github.com/moby/buildkit.git',
        'git.keepgitdir': 'true',
        'git.authtokensecret': 'GIT_AUTH_TOKEN',
        'git.authheadersecret': 'GIT_AUTH_HEADER',
      },
    });
    expect(source(llb.git('git@github.com:moby/buildkit.git'))).toMatchObject({
      identifier: 'git://github.com/moby/buildkit.git',
      attrs: { 'git.fullurl': 'git@github.com:moby/buildkit.git', 'git.mountsshsock': 'default' },
    });
    expect(() => llb.git('ftp://x/y')).toThrow('invalid protocol ftp');
  });

  it('http, upload, image, OCI layout', () => {
    expect(
      source(llb.http('https://h/f.tgz', { filename: 'f', chmod: 0o755, chown: { uid: 1, gid: 2 } })),
    ).toMatchObject({
      identifier: 'https://h/f.tgz',
      attrs: { 'http.filename': 'f', 'http.perm': '0755', 'http.uid': '1', 'http.gid': '2' },
    });
    expect(source(llb.upload('u1'))).toMatchObject({ identifier: 'upload://u1', attrs: {} });
    expect(source(llb.image('a', { resolveMode: 'pull' })).attrs).toEqual({ 'image.resolvemode': 'pull' });
    expect(() => llb.image('UPPER')).toThrow('invalid reference format');
    expect(() => llb.ociLayout('x:1')).toThrow('has no digest');
  });
});
