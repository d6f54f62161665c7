/** A fleet's cache says what was made before its layers are there. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { type ObjectStore, openObjectStore } from '../../src/object-store/index.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { VertexEvent } from '../../src/progress/events.ts';
import { build } from '../../src/sdk/build.ts';
import { arrival } from '../../src/shared-cache/arrival.ts';
import { type Coming, type Entry, encodeEntry, mayCome, parseEntry } from '../../src/shared-cache/entry.ts';
import { parseSharedCache } from '../../src/shared-cache/spec.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { startFaultProxy } from '../kit/fault-proxy.ts';
import {
  azureAccount,
  azureKey,
  azureSpec,
  startAzurite,
  type TestObjectServer,
} from '../kit/object-stores.ts';

const top = mkdtempSync(join(tmpdir(), 'drydock-coming-'));
const baseFolder = join(top, 'base');
let azurite: TestObjectServer;
let container: ObjectStore;
beforeAll(async () => {
  busyboxRoot(baseFolder);
  azurite = await startAzurite();
  container = await openObjectStore({ ...azureSpec(azurite.host), container: 'fleet' });
  await container.put('made', Buffer.from('made'));
});
afterAll(async () => {
  container.close();
  await azurite.stop();
  rmSync(top, { recursive: true, force: true });
  await closePool();
});

/** A builder of the fleet; `host`: where it takes the service to be. */
async function builder(prefix: string, host: string, wait: number): Promise<Builds> {
  const builds = new Builds();
  const place = `azblob://${azureAccount}/fleet/${prefix}?account_url=http://${host}/${azureAccount}&timeout=30s`;
  const spec = parseSharedCache(place, { AZURE_STORAGE_KEY: azureKey });
  const rest = { credentials: async () => undefined, say: () => {}, wait };
  builds.engine = await openEngine({ root: join(builds.dir, 'root'), sharedCache: { spec, ...rest } });
  return builds;
}

function contextOf(builds: Builds): string {
  const context = builds.context({});
  cpSync(baseFolder, join(context, 'base'), { recursive: true, verbatimSymlinks: true });
  return context;
}

const textOf = (step: string) =>
  `FROM scratch\nCOPY base /\nENV PATH=/bin\nRUN ${step} cat /proc/sys/kernel/random/uuid > /f`;

async function run(builds: Builds, step: string): Promise<{ file: string; ran: number }> {
  const warnings: string[] = [];
  const built = await builds.build(
    textOf(step),
    {},
    {
      context: contextOf(builds),
      progress: {
        vertex: (event) => void builds.steps.set(event.name, event),
        warning: ({ short }) => void warnings.push(short),
      },
    },
  );
  expect(warnings).toEqual([]);
  const ran = [...builds.steps.values()].filter(({ name, cached }) => /\] (RUN|COPY) /.test(name) && !cached);
  return { file: built.read('/f'), ran: ran.length };
}

/** The entries that are filed below a prefix. */
async function entries(prefix: string): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const page of container.list(`${prefix}/keys/`, {})) {
    for (const { key } of page) {
      const { stream } = await container.get(key, {});
      found.push(parseEntry(Buffer.concat(await stream.toArray())));
    }
  }
  return found;
}

test.each([
  ['are waited for', 'sleep 8;', true],
  ['of a writer that does not get them there are not waited for much longer than the step took', '', false],
])('layers on their way %s', async (_, step, arrive) => {
  const prefix = arrive ? 'slow' : 'stuck';
  const proxy = await startFaultProxy(azurite.host);
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  proxy.fault = ({ method, url }) => (method === 'PUT' && url?.includes('/blobs/') ? { until } : undefined);
  const one = await builder(prefix, proxy.host, arrive ? 60_000 : 0);
  const two = await builder(prefix, azurite.host, 0);
  const open = new Set([one, two]);
  try {
    const first = await run(one, step);
    // What is said of both steps comes before their layers, of which none is there.
    let said: Entry[] = [];
    while (said.length < 2) {
      await delay(20);
      said = await entries(prefix);
    }
    expect(said.every(({ coming, outputs }) => coming?.outputs === 1 && outputs.length === 0)).toBe(true);
    const building = run(two, step);
    if (arrive) release();
    const second = await building;
    expect(second.file === first.file).toBe(arrive);
    expect(second.ran).toBe(arrive ? 0 : 2);
    if (!arrive) return;
    open.delete(one);
    await one.close();
    expect((await entries(prefix)).map(({ coming, outputs }) => [coming, outputs.length])).toEqual([
      [undefined, 1],
      [undefined, 1],
    ]);
  } finally {
    release();
    await Promise.all([...open].map((each) => each.close()));
    await proxy.stop();
  }
});

test('a build that needs no files of them does not wait', async () => {
  const prefix = 'unneeded';
  const proxy = await startFaultProxy(azurite.host);
  proxy.fault = ({ method, url }) => (method === 'PUT' && url?.includes('/blobs/') ? 'silence' : undefined);
  const [one, two] = await Promise.all([builder(prefix, proxy.host, 0), builder(prefix, azurite.host, 0)]);
  try {
    await run(one, 'echo unneeded;');
    while ((await entries(prefix)).length < 2) await delay(20);
    const steps = new Map<string, VertexEvent>();
    await build({
      context: contextOf(two),
      dockerfileText: textOf('echo unneeded;'),
      engine: two.engine,
      outputs: [{ type: 'cacheonly', attrs: {} }],
      progress: { vertex: (event) => void steps.set(event.name, event) },
    });
    const own = [...steps.values()].filter(({ name }) => /\] (RUN|COPY) /.test(name));
    expect(own.map(({ cached }) => cached)).toEqual([true, true]);
    expect((await entries(prefix)).every(({ coming }) => coming !== undefined)).toBe(true);
  } finally {
    await Promise.all([one.close(), two.close()]);
    await proxy.stop();
  }
});

describe('what is waited for', () => {
  const coming: Coming = { writer: 'w', beat: 0, at: 1_000_000, took: 0, outputs: 1 };
  const entry: Entry = { id: digestOf('x'), description: 'x', outputs: [], coming };
  const { signal } = new AbortController();
  const waits = { silence: 100, least: 60_000 };

  test('a writer whose last word is old is dead, by the service’s clock or by its own', () => {
    expect(mayCome(coming, undefined, 1_030_000)).toBe(true);
    expect(mayCome(coming, undefined, 1_061_000)).toBe(false);
    expect(mayCome(coming, 1_050_000, 1_061_000)).toBe(true);
    expect(mayCome(coming, undefined, 900_000)).toBe(false);
  });
  test('a writer that says nothing any more is not waited for', async () => {
    expect(await arrival(coming, async () => entry, signal, waits)).toBeUndefined();
  });
  test('one that goes on saying that it is at it is', async () => {
    let beat = 0;
    const looks = async () => {
      if (beat++ > 4) return { ...entry, coming: undefined };
      return { ...entry, coming: { ...coming, beat } };
    };
    expect(await arrival(coming, looks, signal, { ...waits, silence: 20_000 })).toMatchObject({
      id: entry.id,
    });
    expect(beat).toBe(6);
  });
  test('an entry that is gone is none, and who gives up is heard', async () => {
    expect(await arrival(coming, async () => undefined, signal, waits)).toBeUndefined();
    const gone = arrival(coming, async () => entry, AbortSignal.abort(), waits);
    await expect(gone).rejects.toMatchObject({ code: 'canceled' });
  });
  test('what is said is read again, and what is not sound is refused', () => {
    expect(parseEntry(encodeEntry(entry))).toEqual(entry);
    const bad = { ...entry, coming: { ...coming, outputs: 1e6 } };
    expect(() => parseEntry(encodeEntry(bad))).toThrow('too many outputs');
    const none = { ...entry, coming: { ...coming, writer: 1 as never } };
    expect(() => parseEntry(encodeEntry(none))).toThrow('what comes');
  });
});
