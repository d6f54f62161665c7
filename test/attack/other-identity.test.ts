/**
 * What one identity gets at of another's. Alice builds; Bob, who may build too, tries every way in: by the references,
 * IDs and digests of hers, all of which he is taken to know. Boss has `builds:all`.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildIdHeader } from '../../src/api/buildkit/gateway/service.ts';
import { createToken } from '../../src/auth/token-hash.ts';
import {
  git as gitState,
  http,
  image,
  local,
  mkfile,
  ociLayout,
  ociLayoutBlob,
  type State,
  scratch,
} from '../../src/llb/llb.ts';
import { marshal } from '../../src/llb/marshal.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { Content } from '../../src/pb/containerd/content_pb.js';
import type { BuildHistoryRecord } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { LLBBridge } from '../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { StatusResponse } from '../../src/pb/moby/buildkit/v1/status_pb.js';
import { ControlKit, failure } from '../api/buildkit/control-kit.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import type { AskOptions } from '../kit/daemon.ts';
import { startServer } from '../kit/http-server.ts';
import { pushBase, tarOf } from '../kit/images.ts';
import { startRegistry } from '../kit/registry.ts';
import type { SessionClient, SessionClientOptions } from '../kit/session/session-client.ts';
import { onStores } from '../kit/stores.ts';

const tokens = { alice: createToken(), bob: createToken(), boss: createToken() };
type Who = keyof typeof tokens;

onStores('another identity', (store) => {
  let dir: string;
  let policyFile: string;
  let kit: ControlKit;
  let root: string;
  const kits = {} as Record<Who, ControlKit>;

  const setPolicy = (more: object = {}) => {
    const scopes = ['build', 'images:read', 'cache:read', 'cache:prune', 'system:read'];
    const policy = {
      rules: [
        { match: { token: 'alice' }, scopes },
        { match: { token: 'bob' }, scopes },
        { match: { token: 'boss' }, scopes: ['*'] },
      ],
      tokens: Object.entries(tokens).map(([name, { hash }]) => ({ name, hash })),
      ...more,
    };
    writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o600 });
    kit?.daemon.reload();
  };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'drydock-other-'));
    policyFile = join(dir, 'policy.json');
    setPolicy();
    kit = await ControlKit.start({ ...store.options(), policyFile });
    for (const who of Object.keys(tokens) as Who[]) kits[who] = kit.as(tokens[who].token);
    root = join(dir, 'busybox');
    busyboxRoot(root);
  });
  afterAll(async () => {
    await kit?.daemon.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const ask = (who: Who, method: string, path: string, options: AskOptions = {}) => {
    const headers = { ...options.headers, authorization: `Bearer ${tokens[who].token}` };
    return kit.daemon.ask(method, path, { ...options, headers });
  };

  /** Waits until something holds. */
  const until = async (holds: () => boolean | Promise<boolean>) => {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  /** A step on busybox that gets the secret `token`; what it writes to /out is the result. */
  const step = (line: string, options: Parameters<State['run']>[1] = {}) =>
    local('root')
      .run(line, {
        ...options,
        mounts: [...(options.mounts ?? []), { target: '/out', source: scratch() }],
      })
      .mountOutput('/out');
  const secretStep = (line: string, options: Parameters<State['run']>[1] = {}) =>
    step(line, { ...options, secrets: [{ id: 'token' }] });

  /** Solves a definition; gives its files and what its steps printed. */
  const outputTo = (out: string) => {
    mkdirSync(out);
    return { outputs: { 0: { dir: out } } };
  };
  const solve = async (who: Who, state: State, session: SessionClientOptions = {}, request = {}) => {
    const out = mkdtempSync(join(dir, 'out-'));
    const { status, ref } = await kits[who].solve(
      { Definition: marshal(state), Exporters: [{ Type: 'local', Attrs: {} }], ...request },
      { ...session, dirs: { root, ...session.dirs }, outputs: { 0: { dir: out } } },
    );
    return {
      ref,
      printed: printed(status),
      cached: status.flatMap(({ vertexes }) => vertexes).filter((vertex) => vertex.cached).length,
      read: (name: string) => readFileSync(join(out, name), 'utf8'),
    };
  };
  const printed = (status: readonly StatusResponse[]) =>
    status.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join('');

  const bridge = (who: Who, ref: string) => {
    const client = createClient(LLBBridge, kits[who].transport);
    const headers = { [buildIdHeader]: ref };
    return {
      ping: () => client.ping({}, { headers }),
      solve: (state: State) => client.solve({ Definition: marshal(state), Evaluate: true }, { headers }),
      newContainer: () => client.newContainer({ ContainerID: 'c' }, { headers }),
      giveUp: () => client.return({ error: { code: 1, message: 'over' } }, { headers }),
      read: async (state: State, name: string) => {
        const { result } = await client.solve(
          { Definition: marshal(state), allowResultReturn: true, allowResultArrayRef: true },
          { headers },
        );
        const Ref = result?.result.case === 'ref' ? result.result.value.id : '';
        const { Data } = await client.readFile({ Ref, FilePath: name }, { headers });
        return Buffer.from(Data).toString();
      },
    };
  };

  const records = async (who: Who, request: object = {}): Promise<BuildHistoryRecord[]> => {
    const found: BuildHistoryRecord[] = [];
    for await (const { record } of kits[who].control.listenBuildHistory({ EarlyExit: true, ...request })) {
      if (record !== undefined) found.push(record);
    }
    return found;
  };

  // What has nothing to do with the store is tried on one.
  if (store.kind === 'local') {
    describe('a build that runs', () => {
      const ref = 'alices-build';
      let session: SessionClient;
      let running: Promise<unknown>;
      beforeAll(async () => {
        session = kits.alice.session({ dirs: { root }, secrets: { token: 'alices secret' } });
        running = failure(kits.alice.control.solve({ Ref: ref, Session: session.id }));
        await until(async () => (await records('alice', { ActiveOnly: true })).length > 0);
      });
      afterAll(async () => {
        await bridge('alice', ref).giveUp();
        await running;
        session.close();
      });

      test('is listed for its owner and for builds:all', async () => {
        const listed = async (who: Who) => (await records(who)).map(({ Ref }) => Ref);
        expect(await listed('alice')).toContain(ref);
        expect(await listed('boss')).toContain(ref);
        expect(await listed('bob')).toEqual([]);
        expect(await records('bob', { Ref: ref })).toEqual([]);
      });

      test('its gateway gives nobody else its secrets, nor does anything else for them', async () => {
        const steal = secretStep('cp /run/secrets/token /out/stolen');
        const bob = bridge('bob', ref);
        const tried = [bob.solve(steal), bob.ping(), bob.newContainer(), bob.giveUp()].map(failure);
        for (const error of await Promise.all(tried)) {
          expect(error.code).toBe(Code.NotFound);
          expect(error.rawMessage).toContain(`no such job ${ref}`);
        }
        expect(session.calls.map(({ method }) => method)).not.toContain(
          '/moby.buildkit.secrets.v1.Secrets/GetSecret',
        );
        expect(await bridge('alice', ref).read(steal, '/stolen')).toBe('alices secret');
        expect((await bridge('boss', ref).ping()).Workers).toHaveLength(1);
      });

      test('nobody else follows its progress', async () => {
        await bridge('alice', ref).solve(step('echo something to tell'));
        const follow = async (who: Who) => {
          for await (const _ of kits[who].control.status({ Ref: ref })) return 'told';
          return 'nothing';
        };
        expect((await failure(follow('bob'))).code).toBe(Code.NotFound);
        expect(await follow('boss')).toBe('told');
      });

      test('nobody else cancels it', async () => {
        expect((await ask('bob', 'POST', `/build/cancel?id=${ref}`)).status).toBe(204);
        expect((await bridge('alice', ref).ping()).Workers).toHaveLength(1);
      });

      test('its session is of no use to who names its ID', async () => {
        const before = session.calls.length;
        // Each of them waits for a session to come.
        const attempts: Parameters<ControlKit['solve']>[0][] = [
          { Definition: marshal(secretStep('cat /run/secrets/token')) },
          { Definition: marshal(local('root').file([mkfile('/x', 'x')])) },
          { Frontend: 'dockerfile.v0' },
        ];
        const policy = { Definition: marshal(local('root')), SourcePolicySession: session.id };
        const refused = Promise.all([
          ...attempts.map((attempt) => failure(kits.bob.solve({ Session: session.id, ...attempt }))),
          failure(kits.bob.solve(policy, { dirs: { root } })),
        ]);
        const path = `/build?version=2&remote=client-session&session=${session.id}`;
        expect((await ask('bob', 'POST', path)).text).toContain('is not connected (any more)');
        for (const { rawMessage } of await refused)
          expect(rawMessage).toContain('is not connected (any more)');
        expect(session.calls).toHaveLength(before);
      });

      test('a session of the same ID is another one', async () => {
        const own = { id: session.id, secrets: { token: 'bobs own' } };
        expect((await solve('bob', secretStep('cat /run/secrets/token'), own)).printed).toContain('bobs own');
        const steal = secretStep('cat /run/secrets/token >/out/still');
        expect(await bridge('alice', ref).read(steal, '/still')).toBe('alices secret');
      });

      test('a build of the same reference is another one', async () => {
        const { printed } = await solve('bob', step('echo bobs'), {}, { Ref: ref });
        expect(printed).toContain('bobs');
        expect((await bridge('alice', ref).ping()).Workers).toHaveLength(1);
        expect(await records('bob', { Ref: ref })).toMatchObject([{ Ref: ref, CompletedAt: {} }]);
        const running = (await records('alice')).find(({ Ref }) => Ref === ref);
        expect(running?.CompletedAt).toBeUndefined();
      });
    });

    test('events of builds are told to their owners', async () => {
      const stop = new AbortController();
      const heard: Record<string, string[]> = { alice: [], bob: [], boss: [] };
      const listening = (Object.keys(tokens) as Who[]).map(async (who) => {
        try {
          const events = kits[who].control.listenBuildHistory({}, { signal: stop.signal });
          for await (const { record } of events) heard[who]?.push(record?.Ref ?? '');
        } catch {
          // It was stopped.
        }
      });
      const { ref } = await solve('alice', scratch().file([mkfile('/a', randomUUID())]));
      await until(() => heard.alice!.includes(ref) && heard.boss!.includes(ref));
      // Bob hears of his own, which came later, and so would have heard of hers.
      const own = await solve('bob', scratch().file([mkfile('/b', randomUUID())]));
      await until(() => heard.bob!.includes(own.ref));
      expect(heard.bob).not.toContain(ref);
      stop.abort();
      await Promise.all(listening);

      const image = tarOf({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
      const built = await ask('alice', 'POST', '/build?t=alices:image', { body: image });
      expect(built.text).toContain('Successfully tagged');
      const told = async (who: Who) => (await ask(who, 'GET', '/events?since=1&until=0s')).text;
      expect(await told('alice')).toContain('alices:image');
      expect(await told('boss')).toContain('alices:image');
      expect(await told('bob')).not.toContain('alices:image');
    });

    test('records, their logs and traces are out of reach, and of removal', async () => {
      const { ref } = await solve('alice', step(`echo her output ${randomUUID()}`));
      const [record] = await records('alice', { Ref: ref });
      const blobs = [record?.logs, record?.trace].map((blob) => blob!.digest);
      const content = (who: Who) => createClient(Content, kits[who].transport);
      const listed = async (who: Who) => {
        const digests: string[] = [];
        for await (const { info } of content(who).list({})) digests.push(...info.map(({ digest }) => digest));
        return digests;
      };
      const read = async (who: Who, digest: string) => {
        const parts: Uint8Array[] = [];
        for await (const { data } of content(who).read({ digest })) parts.push(data);
        return Buffer.concat(parts).toString();
      };
      expect(await read('alice', blobs[0]!)).toContain('her output');
      expect(await read('boss', blobs[0]!)).toContain('her output');
      expect(await listed('alice')).toEqual(expect.arrayContaining(blobs));
      const bobs = await listed('bob');
      for (const digest of blobs) {
        expect(bobs).not.toContain(digest);
        expect((await failure(content('bob').info({ digest }))).code).toBe(Code.NotFound);
        expect((await failure(read('bob', digest))).code).toBe(Code.NotFound);
      }
      for (const change of [{ Delete: true }, { Pinned: true }, { Finalize: true }]) {
        const error = await failure(kits.bob.control.updateBuildHistory({ Ref: ref, ...change }));
        expect(error.code).toBe(Code.NotFound);
      }
      expect(await records('alice', { Ref: ref })).toMatchObject([{ pinned: false }]);
      await kits.boss.control.updateBuildHistory({ Ref: ref, Delete: true });
      expect(await records('alice', { Ref: ref })).toEqual([]);
    });

    test('an upload goes to who left it', async () => {
      const id = randomUUID();
      const body = (text: string) =>
        tarOf({ Dockerfile: `FROM scratch\nLABEL of=${text}\nCOPY Dockerfile /\n` });
      const leave = (who: Who) =>
        ask(who, 'POST', `/build?version=2&buildid=upload-request:${id}`, { body: body(who) });
      const take = (who: Who, tag: string) =>
        ask(who, 'POST', `/build?version=2&remote=upload-request&buildid=${id}&t=${tag}`);
      const left = [leave('bob'), leave('alice')];
      expect((await take('alice', 'hers')).text).not.toContain('"error"');
      const labels = (await ask('alice', 'GET', '/images/hers/json')).json<{ Config: { Labels: object } }>();
      expect(labels.Config.Labels).toEqual({ of: 'alice' });
      expect((await take('bob', 'his')).text).not.toContain('"error"');
      expect((await Promise.all(left)).map(({ status }) => status)).toEqual([200, 200]);
      // One that only she has left is not there for him.
      const hers = leave('alice');
      const stolen = await take('bob', 'stolen');
      expect(stolen.text).toContain('has not come');
      await hers;
    });
  }

  test('steps that run are nobody else’s: neither their output nor their secrets', async () => {
    const secret = Promise.withResolvers<string>();
    const line = `cat /run/secrets/token; echo ${randomUUID()} >/out/x`;
    const asked = { times: 0 };
    const hers = {
      get token() {
        asked.times++;
        return secret.promise;
      },
    };
    const building = solve('alice', secretStep(line), { secrets: hers });
    await until(() => asked.times > 0);
    // The very same step, and one that is equal for the cache but would send things elsewhere.
    const own = { secrets: { token: 'bobs secret' } };
    expect((await solve('bob', secretStep(line), own)).printed).toContain('bobs secret');
    const error = await failure(solve('bob', secretStep(`${line} `)));
    expect(error.rawMessage).toContain('secret token: not found');
    secret.resolve('alices secret');
    expect((await building).printed).toContain('alices secret');
    expect(asked.times).toBe(1);
  });

  test('a step that equals hers is not lent her secrets, nor her output', async () => {
    const line = `cat /run/secrets/token; echo ${randomUUID()} >/out/x`;
    const secrets = [{ id: 'a-slow' }, { id: 'token' }];
    const slow = Promise.withResolvers<string>();
    let asked = false;
    const his = {
      get 'a-slow'() {
        asked = true;
        return slow.promise;
      },
    };
    // Its proxy is no part of what a step is cached by: hers, which comes while his waits, is the same to the cache.
    const proxied = step(line, { secrets, proxy: { httpProxy: 'http://bobs.example' } });
    const attack = failure(solve('bob', proxied, { secrets: his }));
    await until(() => asked);
    const own = { secrets: { 'a-slow': 'x', token: 'alices secret' } };
    const ref = randomUUID();
    const building = solve('alice', step(line, { secrets }), own, { Ref: ref });
    let started = false;
    const watching = (async () => {
      for await (const { vertexes } of kits.alice.control.status({ Ref: ref })) {
        started ||= vertexes.some((vertex) => vertex.name.includes(line) && vertex.started !== undefined);
      }
    })();
    await until(() => started);
    slow.resolve('x');
    expect((await attack).rawMessage).toContain('secret token: not found');
    expect((await building).printed).toContain('alices secret');
    await watching;
  });

  test('a cache that he names, with whatever it says a step makes, is his alone', async () => {
    const registry = await startRegistry();
    // His own machine, where the very same step has made something else.
    const his = await ControlKit.start(store.options());
    try {
      const base = await pushBase(registry.host);
      const made = image(base).run('cat /proc/sys/kernel/random/uuid >/made').root();
      const used = made.run('cp /made /used').root();
      const spec = { Type: 'registry', Attrs: { ref: `${registry.host}/his/cache`, mode: 'max' } };
      const forge = { Definition: marshal(used), Cache: { Exports: [spec] } };
      await his.solve({ ...forge, Exporters: [{ Type: 'local', Attrs: {} }] }, outputTo(join(dir, 'forged')));
      const forged = readFileSync(join(dir, 'forged/made'), 'utf8');

      const bobs = await solve('bob', used, {}, { Cache: { Imports: [spec] } });
      expect(bobs.read('made')).toBe(forged);
      // What he builds on it is his, too.
      const further = used.run('cp /used /further').root();
      await solve('bob', further, {}, { Cache: { Imports: [spec] } });
      // It is there for him without the registry.
      const again = await solve('bob', used);
      expect(again.cached).toBeGreaterThan(0);
      expect([again.read('made'), again.read('used')]).toEqual([forged, forged]);
      for (const who of ['alice', 'boss'] as const) {
        const hers = await solve(who, further);
        expect(hers.read('made')).not.toBe(forged);
        expect(hers.read('further')).toBe(hers.read('made'));
      }
    } finally {
      await his.daemon.stop();
      await registry.stop();
    }
  });

  test.each<[string, (whose: string) => [Parameters<State['run']>[1], SessionClientOptions]]>([
    ['secret', (whose) => [{ secrets: [{ id: 'token' }] }, { secrets: { token: whose } }]],
    ['proxy', (whose) => [{ proxy: { httpProxy: `http://${whose}.example` } }, {}]],
    [
      'host',
      (whose) => [{ extraHosts: [{ host: 'mirror', ip: whose === 'bob' ? '10.0.0.66' : '10.0.0.1' }] }, {}],
    ],
  ])('what a step made of his %s is not given to her', async (_, given) => {
    const [asHis, withHis] = given('bob');
    const [asHers, withHers] = given('alice');
    const line = `: ${randomUUID()}; (cat /run/secrets/token; echo $HTTP_PROXY; cat /etc/hosts) >/out/x 2>&1; true`;
    const his = (await solve('bob', step(line, asHis), withHis)).read('x');
    const hers = (await solve('alice', step(line, asHers), withHers)).read('x');
    expect(hers).not.toBe(his);
    expect(hers).toMatch(/alice|10\.0\.0\.1\b/);
    expect((await solve('alice', step(line, asHers), withHers)).cached).toBeGreaterThan(0);
  });

  test('cache mounts are each one’s own, unless the policy shares them', async () => {
    const mounts = [{ target: '/c', type: 'cache' as const, id: 'packages' }];
    const look = (ignoreCache = false) =>
      step(`ls /c; echo ${randomUUID()} >/out/x`, { mounts, ignoreCache });
    await solve('alice', step('echo planted >/c/hers; echo done >/out/x', { mounts }));
    expect((await solve('bob', look())).printed).not.toContain('hers');
    // Nor does he empty hers: a step that must not be cached begins with an empty one.
    await solve('bob', look(true));
    expect((await solve('alice', look())).printed).toContain('hers');
    setPolicy({ cacheMounts: 'shared' });
    try {
      await solve('alice', step('echo open >/c/everybodys; echo again >/out/x', { mounts }));
      expect((await solve('bob', look())).printed).toContain('everybodys');
    } finally {
      setPolicy();
    }
  });

  test('what was got with credentials is got with them again', async () => {
    const text = `private ${randomUUID()}`;
    const server = await startServer((request, response) => {
      if (request.headers.authorization !== 'Bearer hers') response.writeHead(401);
      else response.setHeader('etag', '"1"');
      response.end(request.headers.authorization === 'Bearer hers' ? text : 'no');
    });
    try {
      const checksum = digestOf(text);
      const file = (authHeaderSecret?: string) =>
        http(`http://${server.host}/file`, { filename: 'f', checksum, authHeaderSecret });
      const hers = await solve('alice', file('auth'), { secrets: { auth: 'Bearer hers' } });
      expect(hers.read('f')).toBe(text);
      // He knows its digest, by which it is in the cache.
      expect((await failure(solve('bob', file()))).rawMessage).toContain('401');
      const guessed = solve('bob', file('auth'), { secrets: { auth: 'Bearer his' } });
      expect((await failure(guessed)).rawMessage).toContain('401');
      // The same with a secret that only the client knows it has.
      const id = 'HTTP_AUTH_TOKEN_127.0.0.1';
      expect((await solve('alice', file(), { secrets: { [id]: 'hers' } })).read('f')).toBe(text);
      expect((await failure(solve('bob', file()))).rawMessage).toContain('401');
      const wrong = solve('bob', file(), { secrets: { [id]: 'his' } });
      expect((await failure(wrong)).rawMessage).toContain('401');
    } finally {
      await server.stop();
    }
  });

  test('a blob of her layout is not for who knows its digest', async () => {
    const data = Buffer.from(`hers ${randomUUID()}`);
    const digest = digestOf(data);
    const blob = ociLayoutBlob(`any@${digest}`, { store: 'any', filename: 'f' });
    const stores = { 'oci:any': new Map([[digest, data]]) };
    expect((await solve('alice', blob, { stores })).read('f')).toBe(data.toString());
    const without = { stores: { 'oci:any': new Map() } };
    expect((await failure(solve('bob', blob, without))).rawMessage).toContain(digest);
    // A manifest that is none is an error that says so.
    const none = Buffer.from('null');
    const image = ociLayout(`any@${digestOf(none)}`, { store: 'any' });
    const broken = failure(solve('bob', image, { stores: { 'oci:any': new Map([[digestOf(none), none]]) } }));
    expect((await broken).rawMessage).toContain('is not a JSON object');
  });

  test('what was got out of a git bundle is not for who cannot get at the bundle', async () => {
    const repo = join(dir, 'repo');
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', '-C', repo, ...args])
        .toString()
        .trim();
    mkdirSync(repo);
    git('init', '-q', '-b', 'main');
    writeFileSync(join(repo, 'file'), 'hers');
    git('add', 'file');
    git('commit', '-qm', 'one');
    const checksum = git('rev-parse', 'HEAD');
    git('bundle', 'create', '-q', join(dir, 'b'), 'main');
    const data = readFileSync(join(dir, 'b'));
    const digest = digestOf(data);
    const bundle = `oci-layout+blob://any@${digest}`;
    const state = gitState('https://gone.invalid/app', checksum, { checksum, bundle });
    const stores = { 'oci:any': new Map([[digest, data]]) };
    expect((await solve('alice', state, { stores })).read('file')).toBe('hers');
    // By the commit's name alone, neither from the cache nor from what is kept of the bundle.
    const { rawMessage } = await failure(solve('bob', state, { stores: { 'oci:any': new Map() } }));
    expect(rawMessage).toContain(digest);
    expect((await solve('bob', state, { stores })).read('file')).toBe('hers');
  });

  test('du and prune are about one’s own', async () => {
    const mounts = [{ target: '/c', type: 'cache' as const, id: `of-${randomUUID()}` }];
    const line = `echo ${randomUUID()} >/out/x; echo x >/c/x`;
    await solve('alice', step(line, { mounts, name: 'her step' }));
    const listed = async (who: Who) => {
      const { record } = await kits[who].control.diskUsage({});
      const df = (await ask(who, 'GET', '/system/df?type=build-cache&verbose=1')).text;
      const all = record.map(({ Description }) => Description).join('\n');
      // Both APIs say the same.
      expect([all.includes('her step'), all.includes(mounts[0]!.id)]).toEqual([
        df.includes('her step'),
        df.includes(mounts[0]!.id),
      ]);
      return all;
    };
    for (const who of ['alice', 'boss'] as const) {
      expect(await listed(who)).toContain('her step');
      expect(await listed(who)).toContain(mounts[0]!.id);
    }
    expect(await listed('bob')).not.toContain('her step');
    expect(await listed('bob')).not.toContain(mounts[0]!.id);
    for await (const _ of kits.bob.control.prune({ all: true })) {
      // What is removed is told one by one.
    }
    expect((await ask('bob', 'POST', '/build/prune?all=1')).status).toBe(200);
    expect(await listed('alice')).toContain(mounts[0]!.id);
    expect((await solve('alice', step(line, { mounts, name: 'her step' }))).cached).toBeGreaterThan(0);
    expect((await ask('boss', 'POST', '/build/prune?all=1')).status).toBe(200);
    expect(await listed('alice')).not.toContain('her step');
    expect(await listed('alice')).not.toContain(mounts[0]!.id);
  });
});
