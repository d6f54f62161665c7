/** The one-time link of `drydock ui` and `drydock build --ui`: who gets in, and who does not. */
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { LinkGuard } from '../../src/cli/ui/link-guard.ts';
import { type LinkServer, openLink } from '../../src/cli/ui/link-server.ts';

describe('the guard', () => {
  const host = '127.9.8.7:1234';
  const guard = () => new LinkGuard('127.9.8.7', 1234);
  const ask = (it: LinkGuard, path: string, headers: Record<string, string> = {}, method = 'GET') =>
    it.judge({ method, path, headers: { host, ...headers } });
  const cookieOf = (it: LinkGuard) => {
    const verdict = ask(it, it.path);
    return verdict.kind === 'welcome' ? verdict.cookie.split(';')[0]! : '';
  };

  test('the link works once, and its cookie opens the page alone', () => {
    const it = guard();
    const verdict = ask(it, it.path);
    expect(verdict).toMatchObject({
      kind: 'welcome',
      cookie: expect.stringMatching(/HttpOnly; SameSite=Strict; Path=\/ui$/),
    });
    const cookie = verdict.kind === 'welcome' ? verdict.cookie.split(';')[0]! : '';
    expect(ask(it, it.path)).toMatchObject({ kind: 'refused', status: 403 });
    expect(ask(it, '/ui/', { cookie: `a=b; ${cookie}` }).kind).toBe('pass');
    expect(ask(it, '/ui/', { cookie: `${cookie}x` })).toMatchObject({ status: 401 });
    expect(ask(it, '/ui/')).toMatchObject({ status: 401 });
    for (const path of ['/', '/build', '/uix', '/v1.41/images/json'])
      expect(ask(it, path, { cookie })).toMatchObject({ status: 404 });
  });

  test('another name, another page and another origin are refused, with the cookie as well', () => {
    const it = guard();
    const cookie = cookieOf(it);
    const others: Record<string, string>[] = [
      { host: 'evil.example:1234' },
      { host: '127.9.8.7' },
      { host: 'localhost:1234' },
      { origin: 'http://127.9.8.7:9999' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const headers of others)
      expect(ask(it, '/ui/api/v1/builds', { cookie, ...headers })).toMatchObject({
        kind: 'refused',
        status: 403,
      });
    expect(ask(it, '/ui/', { cookie, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' }).kind).toBe(
      'pass',
    );
  });

  test('a page that embeds the link does not use it up', () => {
    const it = guard();
    expect(ask(it, it.path, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }).kind).toBe(
      'refused',
    );
    expect(ask(it, `${it.path}x`).kind).toBe('refused');
    expect(ask(it, it.path, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }).kind).toBe(
      'welcome',
    );
  });

  test('through a tunnel it is localhost', () => {
    const it = new LinkGuard('127.0.0.1', 1234);
    expect(ask(it, it.path, { host: 'localhost:1234' }).kind).toBe('welcome');
  });
});

describe('the server', () => {
  let server: LinkServer | undefined;
  afterEach(() => server?.close());

  const get = (url: string, cookie = '') =>
    new Promise<{ status: number; text: string; cookie: string }>((resolve, reject) => {
      const sent = request(url, { headers: { cookie } }, async (response) => {
        let text = '';
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        const [set = ''] = response.headers['set-cookie'] ?? [];
        resolve({ status: response.statusCode ?? 0, text, cookie: set.split(';')[0] ?? '' });
      });
      sent.on('error', reject).end();
    });

  test('the link leads to the page, at an address of its own', async () => {
    server = await openLink({
      at: '#/builds',
      answer: (_request, response) => void response.end('the page'),
    });
    expect(server.link).toMatch(/^http:\/\/127\.\d+\.\d+\.\d+:\d+\/open\/[\w-]{43}$/);
    const page = new URL('/ui/', server.link).href;
    expect((await get(page)).status).toBe(401);
    expect(server.opened).toBe(false);
    const { status, text, cookie } = await get(server.link);
    expect([status, text]).toEqual([200, expect.stringContaining('url=/ui/#/builds')]);
    expect((await get(page, cookie)).text).toBe('the page');
    expect(server.opened).toBe(true);
  });

  test('a port that is taken is told', async () => {
    server = await openLink({ answer: () => {} });
    const other = await openLink({ port: 0, answer: () => {} });
    const port = Number(new URL(other.link).port);
    await expect(openLink({ port, answer: () => {} })).rejects.toMatchObject({ code: 'conflict' });
    other.close();
  });
});
