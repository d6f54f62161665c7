/** The page's API: builds, their steps, logs and documents; who sees which; who may ask from where. */
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  BuildChange,
  BuildDetail,
  BuildSummary,
  Compared,
  LogLines,
  LogMatches,
  Me,
} from '../../../src/api/ui/types.ts';
import { createToken } from '../../../src/auth/token-hash.ts';
import { shellContext } from '../../kit/api-builds.ts';
import type { Answer } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { makePage } from '../../kit/page.ts';
import { ControlKit } from '../buildkit/control-kit.ts';

let kit: ControlKit;
const policyFile = join(tmpdir(), `drydock-ui-policy-${process.pid}.json`);
const ann = createToken();
const ben = createToken();
const api = '/ui/api/v1';

beforeAll(async () => {
  const tokens = [
    { name: 'ann', hash: ann.hash },
    { name: 'ben', hash: ben.hash },
  ];
  const rules = [
    { match: { uid: 0 }, scopes: ['*'] },
    { match: { token: '*' }, scopes: ['build'] },
  ];
  writeFileSync(policyFile, JSON.stringify({ rules, tokens }), { mode: 0o600 });
  const config = {
    imageStore: 'local',
    policyFile,
    insecureTcp: true,
    hosts: ['tcp://127.0.0.1:0'],
  } as const;
  [kit] = await Promise.all([ControlKit.start({ ...config, hosts: [...config.hosts] }), makePage()]);
});
afterAll(async () => {
  rmSync(policyFile, { force: true });
  await kit.daemon.stop();
});

const as = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` });

function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return kit.daemon.ask('GET', path, { headers });
}

async function build(dockerfile: string, headers: Record<string, string> = {}, query = ''): Promise<Answer> {
  const body = tarOf(shellContext(dockerfile, {}, ['sleep']));
  return kit.daemon.ask('POST', `/build?version=2&${query}`, { body, headers });
}

async function newest(headers?: Record<string, string>): Promise<BuildSummary> {
  const { builds } = (await get(`${api}/builds`, headers)).json<{ builds: BuildSummary[] }>();
  return builds[0]!;
}

const detailOf = async (ref: string) => (await get(`${api}/builds/${ref}`)).json<BuildDetail>();

describe('a build that ended', () => {
  let detail: BuildDetail;
  beforeAll(async () => {
    await build(
      'RUN echo one; echo Two >&2; printf three\nRUN echo $WHO',
      {},
      't=app:1&buildargs={"WHO":"me"}',
    );
    detail = await detailOf((await newest()).ref);
  });
  const step = (text: string) => detail.stepList.find(({ name }) => name.includes(text))!;

  test('its line in the list, and its steps', () => {
    expect(detail).toMatchObject({
      state: 'completed',
      who: 'uid 0',
      images: ['docker.io/library/app:1'],
      buildArgs: { WHO: 'me' },
      warnings: expect.any(Number),
      digest: expect.stringMatching(/^sha256:/),
    });
    expect(detail.steps.completed).toBe(detail.stepList.length);
    const run = step('RUN echo one');
    expect(run.inputs).toEqual([step('COPY rootfs').digest]);
    expect(run.completedAt).toBeGreaterThanOrEqual(run.startedAt!);
    expect(run.why).toContain('never built here');
    expect(run.use?.memoryPeak ?? 1).toBeGreaterThan(0);
  });

  test('its Dockerfile, with the line of each step', () => {
    const { place } = step('RUN echo $WHO');
    expect(detail.files[place!.file]?.text.split('\n')[place!.lines[0]![0] - 1]).toBe('RUN echo $WHO');
  });

  test('the log of a step, by ranges, by a search, and as a file', async () => {
    const log = `${api}/builds/${detail.ref}/steps/${step('RUN echo one').digest}/log`;
    const all = (await get(log)).json<LogLines>();
    expect(all.total).toBe(3);
    expect(all.lines.map(({ text }) => text).sort()).toEqual(['Two', 'one', 'three']);
    expect(all.lines.find(({ text }) => text === 'Two')?.stream).toBe(2);
    const second = (await get(`${log}?from=1&count=1`)).json<LogLines>();
    expect(second.lines).toEqual([all.lines[1]]);
    const found = (await get(`${log}?search=tWO`)).json<LogMatches>();
    expect(found).toEqual({ lines: [all.lines.findIndex(({ text }) => text === 'Two')], more: false });
    const file = await get(`${log}?format=text`);
    // Its bytes as they came, of both streams.
    expect(file.text).toHaveLength('one\nTwo\nthree'.length);
    expect(file.headers['content-disposition']).toContain('attachment');
    expect((await get(`${log}?from=-1`)).status).toBe(400);
    expect((await get(log.replace(/sha256:\w+/, 'sha256:0'))).status).toBe(404);
  });

  test('its provenance, and no other document', async () => {
    const [provenance] = detail.attestations;
    expect(provenance?.type).toMatch(/^https:\/\/slsa.dev\/provenance/);
    const path = `${api}/builds/${detail.ref}/documents/`;
    expect((await get(path + provenance?.digest)).json()).toHaveProperty('buildDefinition');
    expect((await get(`${path}${detail.digest}`)).status).toBe(404);
  });

  test('as an archive: one document with all of it, which asks nobody for anything', async () => {
    const { text, headers } = await get(`${api}/builds/${detail.ref}/archive`);
    expect(headers['content-disposition']).toContain('attachment');
    const data = /<script type="application\/json" id="archive">(.*?)<\/script>/s.exec(text)?.[1] ?? '';
    const { build, logs, documents } = JSON.parse(data);
    expect(build.ref).toBe(detail.ref);
    expect(logs[step('RUN echo one').digest].map(([line]: [string]) => line)).toContain('Two');
    expect(Object.keys(documents)).toEqual(detail.attestations.map(({ digest }) => digest));
    expect(text).toContain("default-src 'none'");
    expect(text).not.toMatch(/(src|href)="(?!data:)/);
  });

  test('as a stream of events: everything, and the end', async () => {
    const { text } = await get(`${api}/builds/${detail.ref}/events`);
    const [whole, end] = eventsIn(text);
    expect(whole).toMatchObject({ event: 'build', data: { ref: detail.ref, state: 'completed' } });
    expect(end?.event).toBe('end');
  });

  test('a list is filtered in the words of `drydock history ls`', async () => {
    const list = async (filter: string) => {
      const answer = await get(`${api}/builds?filter=${encodeURIComponent(filter)}`);
      return answer.json<{ builds: BuildSummary[] }>().builds.map(({ ref }) => ref);
    };
    expect(await list('status==completed')).toContain(detail.ref);
    expect(await list('status==error')).not.toContain(detail.ref);
    expect((await get(`${api}/builds?filter=~`)).status).toBe(400);
    expect((await get(`${api}/builds?limit=none`)).status).toBe(400);
  });
});

test('a build that failed: the message, the line, the step, the exit code', async () => {
  await build('RUN echo about to fail; exit 7');
  const { state, failure, files, stepList } = await detailOf((await newest()).ref);
  expect(state).toBe('failed');
  expect(failure).toMatchObject({ exitCode: 7, message: expect.stringContaining('exit code: 7') });
  const line = failure!.place!.lines[0]![0];
  expect(files[failure!.place!.file]?.text.split('\n')[line - 1]).toContain('exit 7');
  expect(stepList.find(({ digest }) => digest === failure!.step)?.name).toContain('exit 7');
});

test('two builds are compared in the words of `drydock explain A B`', async () => {
  const refs: string[] = [];
  for (const word of ['this', 'that']) {
    await build('RUN echo $WORD', {}, `t=compared:1&nocache=1&buildargs={"WORD":"${word}"}`);
    refs.push((await newest()).ref);
  }
  const { steps } = (await get(`${api}/builds/${refs[0]}/compare/${refs[1]}`)).json<Compared>();
  const { builds } = (await get('/build/explain?list=1')).json<{ builds: { id: string }[] }>();
  const [second, first] = builds.map(({ id }) => id);
  const told = (await get(`/build/explain?build=${first}&build=${second}`)).json<Compared>();
  expect(steps.length).toBeGreaterThan(0);
  expect(steps).toEqual(told.steps);
  expect((await get(`${api}/builds/${refs[0]}/compare/none`)).status).toBe(404);
  expect((await get(`${api}/builds/${refs[0]}/compare/${refs[1]}`, as(ben))).status).toBe(404);
});

test('secrets are nowhere in a build, nor in its Dockerfile', async () => {
  await build('ARG TOKEN=not-to-be-seen\nRUN echo $TOKEN', {}, 'buildargs={"TOKEN":"very-secret-word"}');
  const { ref } = await newest();
  const { text } = await get(`${api}/builds/${ref}`);
  expect(text).not.toContain('very-secret-word');
  expect((await get(`${api}/builds/${ref}/archive`)).text).not.toContain('very-secret-word');
});

test('a build that runs is followed from its middle to its end', async () => {
  const building = build('RUN echo begun; sleep 1; echo over');
  const list = kit.daemon.ask('GET', `${api}/builds?filter=status==running`);
  let running: BuildSummary | undefined = (await list).json<{ builds: BuildSummary[] }>().builds[0];
  while (running === undefined)
    running = await newest().then((it) => (it.state === 'running' ? it : undefined));
  const events = eventsIn((await get(`${api}/builds/${running.ref}/events`)).text);
  await building;
  expect(events[0]).toMatchObject({ event: 'build', data: { ref: running.ref, state: 'running' } });
  expect(events.at(-1)?.event).toBe('end');
  const changes = events.filter(({ event }) => event === 'change').map(({ data }) => data as BuildChange);
  const told = changes.flatMap(({ steps = [] }) => steps).filter(({ name }) => name.includes('echo begun'));
  expect(told.at(-1)).toMatchObject({ lines: 2, completedAt: expect.any(Number) });
  expect((await detailOf(running.ref)).state).toBe('completed');
});

describe('what is done to builds from the page', () => {
  const act = (method: string, path: string, as: Record<string, string> = {}, body?: object) =>
    kit.daemon.ask(method, `${api}/builds/${path}`, {
      headers: { ...as, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: Buffer.from(JSON.stringify(body)) }),
    });

  test('a build that runs is cancelled by whom it belongs to; its record is not removed meanwhile', async () => {
    const building = build('RUN echo begun; sleep 1000', as(ann));
    let running: BuildSummary | undefined;
    while (running?.state !== 'running') running = await newest(as(ann));
    const { ref } = running;
    expect((await act('POST', `${ref}/cancel`, as(ben))).status).toBe(404);
    expect((await act('DELETE', ref, as(ann))).json()).toMatchObject({ error: { code: 'conflict' } });
    expect((await act('POST', `${ref}/cancel`, as(ann))).status).toBe(200);
    expect((await building).text).toContain('cancel');
    expect((await detailOf(ref)).state).toBe('canceled');
    expect((await act('POST', `${ref}/cancel`, as(ann))).json()).toMatchObject({
      error: { code: 'conflict' },
    });
    expect((await act('POST', 'none/cancel', as(ann))).status).toBe(404);
  });

  test('a record is pinned, unpinned and removed', async () => {
    await build('RUN echo to pin', as(ann));
    const { ref } = await newest(as(ann));
    const pin = (pinned: unknown, who = ann) => act('POST', `${ref}/pin`, as(who), { pinned });
    expect((await pin(true, ben)).status).toBe(404);
    expect((await pin('yes')).status).toBe(400);
    for (const pinned of [true, false]) {
      expect((await pin(pinned)).status).toBe(200);
      expect((await newest(as(ann))).pinned).toBe(pinned);
    }
    expect((await act('DELETE', ref, as(ben))).status).toBe(404);
    expect((await act('DELETE', ref, as(ann))).status).toBe(200);
    expect((await act('DELETE', ref, as(ann))).status).toBe(404);
    expect((await get(`${api}/builds/${ref}`, as(ann))).status).toBe(404);
  });

  test('no other page does it', async () => {
    const { ref } = await newest();
    const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    expect((await act('DELETE', ref, evil)).status).toBe(403);
    expect((await act('POST', `${ref}/pin`, evil, { pinned: true })).status).toBe(403);
    expect((await act('POST', `${ref}/cancel`, evil)).status).toBe(403);
    expect((await newest()).ref).toBe(ref);
  });
});

describe('who sees what', () => {
  test("a token's builds are its own; root sees all", async () => {
    await build('RUN echo of ann', as(ann));
    const { ref, who } = await newest(as(ann));
    expect(who).toBe('token ann');
    for (const path of ['', '/events', '/archive']) {
      expect((await get(`${api}/builds/${ref}${path}`, as(ben))).status).toBe(404);
      expect((await get(`${api}/builds/${ref}${path}`)).status).toBe(200);
    }
    const list = (await get(`${api}/builds`, as(ben))).json<{ builds: BuildSummary[] }>();
    expect(list.builds).toEqual([]);
    const detail = await detailOf(ref);
    const step = detail.stepList.find(({ name }) => name.includes('of ann'))?.digest;
    expect((await get(`${api}/builds/${ref}/steps/${step}/log`, as(ben))).status).toBe(404);
    const document = `${api}/builds/${ref}/documents/${detail.attestations[0]?.digest}`;
    expect((await get(document, as(ben))).status).toBe(404);
    expect((await get(document, as(ann))).status).toBe(200);
  });

  test('the page says who one is; nobody in particular is asked for a password', async () => {
    const me = (await get(`${api}/me`, as(ben))).json<Me>();
    expect(me).toMatchObject({ who: 'token ben', scopes: ['build'] });
    expect(me.version).toBeUndefined();
    const stranger = await overTcp('/ui/');
    expect(stranger.status).toBe(401);
    expect(stranger.headers).toContain('Basic realm=');
    const known = Buffer.from(`ben:${ben.token}`).toString('base64');
    expect((await overTcp('/ui/', { authorization: `Basic ${known}` })).status).toBe(200);
  });
});

describe('where from', () => {
  const browser = (site: string, more: Record<string, string> = {}) => ({
    ...as(ann),
    'sec-fetch-site': site,
    'sec-fetch-mode': 'cors',
    ...more,
  });

  test('the page itself may ask, a page of another origin may not, whatever it knows', async () => {
    expect((await overTcp(`${api}/builds`, browser('same-origin'))).status).toBe(200);
    expect((await overTcp(`${api}/builds`, browser('cross-site'))).status).toBe(403);
    expect((await overTcp(`${api}/builds`, browser('same-site'))).status).toBe(403);
    const origin = { origin: 'http://evil.example' };
    expect((await overTcp(`${api}/builds`, { ...as(ann), ...origin })).status).toBe(403);
    // The other APIs neither: a browser sends certificates and passwords along.
    expect((await overTcp('/build?remote=x', { ...browser('cross-site'), ...origin }, 'POST')).status).toBe(
      403,
    );
  });

  test('a name that another page has given to this address is refused', async () => {
    const foreign = { ...as(ann), host: 'evil.example' };
    for (const path of ['/ui/', `${api}/me`, `${api}/builds`])
      expect((await overTcp(path, foreign)).status).toBe(403);
    expect((await overTcp(`${api}/me`, { ...as(ann), host: 'localhost:1' })).status).toBe(200);
  });

  test('a link on another page leads to the document, not to data', async () => {
    const link = browser('cross-site', { 'sec-fetch-mode': 'navigate' });
    expect((await overTcp('/ui/', link)).status).toBe(200);
    expect((await overTcp(`${api}/builds`, link)).status).toBe(403);
  });
});

describe('the files of the page', () => {
  test('the document loads only what is here, and changes with its files', async () => {
    const { text, headers } = await get('/ui/');
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'; script-src 'self'");
    // The style and the beginning of the first data's way are in the document, each allowed by its hash.
    for (const part of ['script', 'style']) {
      const [, inline = ''] = new RegExp(`<${part}>([^<]+)</${part}>`).exec(text) ?? [];
      const hash = createHash('sha256').update(inline).digest('base64');
      expect(policy).toContain(`${part}-src 'self' 'sha256-${hash}'`);
    }
    const named = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name]) => name!);
    const files = named.filter((name) => !/^(?:data:|#)/.test(name));
    expect(files).toEqual([expect.stringMatching(/^\/ui\/app-[0-9a-f]+\.js$/)]);
    for (const file of files) {
      const answer = await get(file, { 'accept-encoding': 'gzip' });
      expect(answer.headers).toMatchObject({
        'content-encoding': 'gzip',
        'cache-control': expect.stringContaining('immutable'),
      });
      expect(Number(answer.headers['content-length'])).toBeLessThan(250_000);
    }
    const again = await get('/ui/', { 'if-none-match': String(headers.etag) });
    expect(again.status).toBe(304);
    expect((await get('/ui')).headers.location).toBe('/ui/');
  });

  test('no other file is given out', async () => {
    for (const path of ['/ui/../api', '/ui/%2e%2e/index.js', '/ui/manifest.json', '/ui/none.js'])
      expect((await get(path)).status).toBe(404);
    expect((await kit.daemon.ask('POST', '/ui/')).status).toBe(501);
  });
});

/** A request over TCP whose headers are sent as they are, `Host` among them. */
function overTcp(
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<{ status: number; headers: string }> {
  const port = Number(/tcp:.*:(\d+)$/.exec(kit.daemon.addresses.join(' '))?.[1]);
  const lines = Object.entries({ host: `127.0.0.1:${port}`, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('latin1');
    socket.on('error', reject);
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.on('close', () => {
      const [head = ''] = text.split('\r\n\r\n');
      resolve({ status: Number(head.split(' ')[1]), headers: head });
    });
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}connection: close\r\n\r\n`);
  });
}

function eventsIn(text: string): { event: string; data: unknown }[] {
  return [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, event = '', data = '']) => ({
    event,
    data: JSON.parse(data),
  }));
}
