/** A client is handed a piece of another build's graph: what that one has found in a cache, this one need not make either. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copy, http, local, marshal, merge, type State, scratch } from '../../src/llb/llb.ts';
import { buildState } from '../../src/sdk/build.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { type GatewayBuild, GatewayKit } from '../api/buildkit/gateway-kit.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

const login = { username: 'me', password: 'secret' };

onStores('a graph that is handed on', (store) => {
  const kit = new GatewayKit();
  let registry: TestRegistry;
  let server: TestServer;
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  beforeAll(async () => {
    await kit.open(store.options());
    registry = await startRegistry({ basic: login });
    server = await startServer(async (_, response) => {
      asked.resolve();
      await answer.promise;
      response.end('late');
    });
  });
  afterAll(async () => {
    await kit.close();
    await server.stop();
    await registry.stop();
    await closePool();
  });

  const solve = ({ client }: GatewayBuild, state: State, ref?: string) =>
    client.solve({
      Definition: marshal(state),
      Evaluate: true,
      allowResultReturn: true,
      allowResultArrayRef: true,
      CacheImports: ref === undefined ? [] : [{ Type: 'registry', Attrs: { ref } }],
    });
  const isCached = ({ vertices }: GatewayBuild, name: string) =>
    [...vertices.values()].find((vertex) => vertex.name === name)?.cached === true;

  test('a step on a client’s folder comes from the first build’s cache, with the second’s credentials', async () => {
    const context = join(kit.dir, 'context');
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, 'payload'), 'in the cache');
    const state = scratch().file(copy(local('context'), '/payload', '/payload'), { name: 'step' });
    const ref = `${registry.host}/cache:1`;
    await buildState(state, {
      engine: kit.engine,
      locals: { context },
      cacheTo: [{ type: 'registry', attrs: { ref, mode: 'max' } }],
      outputs: [{ type: 'local', attrs: {}, sink: { files: join(kit.dir, 'out') } }],
      credentials: async () => login,
    });
    await prune(kit.engine, { all: true });

    const first = await kit.build({ locals: { context }, credentials: async () => login });
    await solve(first, state, ref);
    expect(isCached(first, 'step')).toBe(true);
    let lent = 0;
    const second = await kit.build({
      credentials: async () => {
        lent++;
        return login;
      },
    });
    const late = http(`http://${server.host}/late`, { filename: 'late' });
    const all = scratch().file(copy(merge([state, late]), '/payload', '/copied'));
    const solving = solve(second, all);
    await asked.promise;
    // Nothing of the layer is here yet when the first build is over.
    await first.end();
    expect(lent).toBe(0);
    answer.resolve();
    const { result } = await solving;
    expect(isCached(second, 'step')).toBe(true);
    expect(lent).toBeGreaterThan(0);
    expect(second.warnings).toEqual([]);
    const Ref = result?.result.case === 'ref' ? result.result.value.id : '';
    const { Data } = await second.client.readFile({ Ref, FilePath: '/copied' });
    expect(Buffer.from(Data).toString()).toBe('in the cache');
    await second.end();
    // Who was handed nothing makes the step: the cache was not named.
    await prune(kit.engine, { all: true });
    const third = await kit.build({ locals: { context } });
    await solve(third, state);
    expect(isCached(third, 'step')).toBe(false);
    await third.end();
  });
});
