import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { dockerProxies } from '../../src/session/docker-proxies.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-proxies-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const env = { DOCKER_CONFIG: dir };
const write = (config: unknown) => writeFileSync(join(dir, 'config.json'), JSON.stringify(config));

test('the proxies of docker’s config.json are build arguments in both cases', () => {
  write({
    proxies: { default: { httpProxy: 'http://p:3128', noProxy: '*.corp', other: 'x', ftpProxy: '' } },
  });
  expect(dockerProxies(env)).toEqual({
    HTTP_PROXY: 'http://p:3128',
    http_proxy: 'http://p:3128',
    NO_PROXY: '*.corp',
    no_proxy: '*.corp',
  });
});

test('those for a daemon go before the others', () => {
  write({ proxies: { default: { httpProxy: 'http://p' }, 'tcp://d:2376': { allProxy: 'socks5://s' } } });
  expect(dockerProxies(env, 'tcp://d:2376')).toEqual({ ALL_PROXY: 'socks5://s', all_proxy: 'socks5://s' });
  expect(dockerProxies(env, 'tcp://e:2376')).toMatchObject({ HTTP_PROXY: 'http://p' });
});

test('a file that is not there, or is none, has no proxies', () => {
  expect(dockerProxies({ DOCKER_CONFIG: join(dir, 'nowhere') })).toEqual({});
  writeFileSync(join(dir, 'config.json'), 'no json');
  expect(dockerProxies(env)).toEqual({});
});
