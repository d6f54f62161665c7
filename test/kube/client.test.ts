/** The client of pods, part by part: addresses, kubeconfig files, frames, the choice of a pod, a project's key. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { projectKey } from '../../src/cli/remote/project-key.ts';
import { parseKubeAddress } from '../../src/kube/address.ts';
import { podsFor } from '../../src/kube/choose.ts';
import { clusterOf } from '../../src/kube/config.ts';
import { podDialer } from '../../src/kube/dialer.ts';
import { clientFrame, FrameReader } from '../../src/kube/frames.ts';
import { makeCerts } from '../kit/certs.ts';
import { startCluster } from '../kit/kube/cluster.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-kube-client-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  mkdirSync(join(dir, name, '..'), { recursive: true });
  writeFileSync(join(dir, name), text, { mode: 0o755 });
  return join(dir, name);
};

test('addresses', () => {
  expect(parseKubeAddress('kube://builds/app=drydock,tier!=old?key=web&container=c')).toMatchObject({
    namespace: 'builds',
    selector: 'app=drydock,tier!=old',
    key: 'web',
    container: 'c',
  });
  expect(parseKubeAddress('kube:///app.kubernetes.io/name=drydock')).toMatchObject({
    selector: 'app.kubernetes.io/name=drydock',
  });
  expect(parseKubeAddress('kube-pod://p-0?namespace=n&context=c')).toMatchObject({
    pod: 'p-0',
    namespace: 'n',
    context: 'c',
  });
  for (const bad of [
    'kube://x',
    'kube://N/app=x',
    'kube://n/',
    'kube-pod://../x',
    'kube-pod://p?namespace=../y',
    'kube://n/a%zz',
    'kube://n/a;b',
  ]) {
    expect(() => parseKubeAddress(bad), bad).toThrow(/invalid address/);
  }
});

describe('the choice of a pod', () => {
  const pods = Array.from({ length: 5 }, (_, i) => `drydock-${i}`);
  const keys = Array.from({ length: 1000 }, (_, i) => `github.com/you/${i}`);
  const first = (key: string, among: string[]) => podsFor(key, among)[0] as string;
  test('keys are spread evenly, whatever the order of the list', () => {
    const counts = pods.map((pod) => keys.filter((key) => first(key, pods) === pod).length);
    for (const count of counts) expect(count).toBeGreaterThan(140);
    for (const key of keys.slice(0, 50)) expect(first(key, [...pods].reverse())).toBe(first(key, pods));
  });
  test('of a pod that goes only its own keys move, to the next of their order', () => {
    const left = pods.filter((pod) => pod !== 'drydock-2');
    for (const key of keys) {
      const [own, next] = podsFor(key, pods);
      expect(first(key, left)).toBe(own === 'drydock-2' ? next : own);
    }
  });
});

test('a project has one key, however it was cloned', () => {
  const clone = (name: string, url: string) => {
    file(
      `${name}/.git/config`,
      `[core]\n\tbare = false\n[remote "fork"]\n\turl = x\n[remote "origin"]\n\turl = ${url}\n\tfetch = y\n`,
    );
    mkdirSync(join(dir, name, 'a/b'), { recursive: true });
    return projectKey(join(dir, name, 'a/b'));
  };
  const urls = [
    'git@github.com:you/web.git',
    'https://token:x@GitHub.com/you/web',
    'ssh://git@github.com:22/you/web.git/',
  ];
  for (const [i, url] of urls.entries()) expect(clone(`clone${i}`, url)).toBe('github.com/you/web');
  expect(clone('other', 'https://github.com/you/api')).toBe('github.com/you/api');
  // A worktree has the configuration of its repository; what is in no repository is its folder.
  file('clone0/.git/worktrees/w/commondir', '../..\n');
  file('w/.git', `gitdir: ${join(dir, 'clone0/.git/worktrees/w')}\n`);
  expect(projectKey(join(dir, 'w'))).toBe('github.com/you/web');
  mkdirSync(join(dir, 'none'));
  expect(projectKey(join(dir, 'none'))).toBe(join(dir, 'none'));
});

describe('frames', () => {
  /** A server's frame. */
  const frame = (opcode: number, bytes: Buffer, last: boolean) => {
    const { length } = bytes;
    const head =
      length < 126
        ? [length]
        : length < 65536
          ? [126, length >> 8, length & 255]
          : [127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 255, length & 255];
    return Buffer.concat([Buffer.from([(last ? 0x80 : 0) | opcode, ...head]), bytes]);
  };
  const read = (chunks: Buffer[]) => {
    const reader = new FrameReader();
    const messages: Buffer[] = [];
    const pings: string[] = [];
    for (const piece of chunks.flatMap((chunk) => [...reader.read(chunk)])) {
      if (piece.opcode === 9) pings.push(piece.bytes.toString());
      else if (piece.first) messages.push(piece.bytes);
      else messages.push(Buffer.concat([messages.pop() as Buffer, piece.bytes]));
    }
    return { messages, pings };
  };

  test('messages come through whole, in however many frames and chunks, with pings between', () => {
    const message = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (all, cuts) => {
          const bytes = Buffer.concat(
            all.flatMap((parts) =>
              parts.flatMap((part, i) => [
                frame(i === 0 ? 2 : 0, Buffer.from(part), i === parts.length - 1),
                frame(9, Buffer.from('ping'), true),
              ]),
            ),
          );
          const chunks: Buffer[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % cuts.length] as number;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          const { messages, pings } = read(chunks);
          expect(messages).toEqual(all.map((parts) => Buffer.concat(parts.map((part) => Buffer.from(part)))));
          expect(pings).toHaveLength(all.flat().length);
        },
      ),
      { numRuns: 200 },
    );
    const long = Buffer.alloc(70_000, 'x');
    expect(read([frame(2, long, true)]).messages).toEqual([long]);
  });
  test('what a client sends is masked, and says how long it is', () => {
    for (const length of [0, 125, 126, 65535, 65536]) {
      const sent = clientFrame(2, Buffer.of(7), Buffer.alloc(length, 'a'));
      const at = sent.length - length - 1 - 4;
      const mask = sent.subarray(at, at + 4);
      const plain = sent.subarray(at + 4).map((byte, i) => byte ^ (mask[i & 3] as number));
      expect(plain[0]).toBe(7);
      expect(plain.length).toBe(length + 1);
      expect(plain.subarray(1).every((byte) => byte === 97)).toBe(true);
      expect((sent[1] as number) & 0x80).toBe(0x80);
    }
  });
  test.each([
    ['a masked frame', [Buffer.from([0x82, 0x80])]],
    ['an extension', [Buffer.from([0xc2, 0])]],
    ['a long ping', [frame(9, Buffer.alloc(200), true)]],
    ['a message within a message', [frame(2, Buffer.of(1), false), frame(2, Buffer.of(1), true)]],
    ['a continuation of nothing', [frame(0, Buffer.of(1), true)]],
  ])('%s is refused', (_, chunks) => {
    expect(() => read(chunks)).toThrow();
  });
});

describe('kubeconfig', () => {
  const config = (user: object, cluster: object = {}, more: object = {}) =>
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u', namespace: 'mine' } }],
      clusters: [{ name: 'c', cluster: { server: 'https://kube.example:6443/base', ...cluster } }],
      users: [{ name: 'u', user }],
      ...more,
    });
  const credential = (user: object) =>
    clusterOf({}, { KUBECONFIG: file('config', config(user)) }).credential();

  test('users, by token, file, certificate, password and program', async () => {
    expect(await credential({ token: 't' })).toEqual({ headers: { authorization: 'Bearer t' } });
    file('token', 'first\n');
    expect(await credential({ tokenFile: 'token', token: 'other' })).toEqual({
      headers: { authorization: 'Bearer first' },
    });
    expect(await credential({ username: 'a', password: 'b' })).toEqual({
      headers: { authorization: 'Basic YTpi' },
    });
    file('pem', 'PEM');
    const data = Buffer.from('KEY').toString('base64');
    expect(await credential({ 'client-certificate': 'pem', 'client-key-data': data })).toEqual({
      headers: {},
      cert: 'PEM',
      key: 'KEY',
    });
    file(
      'login',
      '#!/bin/sh\necho run >> "$0.runs"\necho "{\\"status\\":{\\"token\\":\\"$WHO-$1\\",\\"expirationTimestamp\\":\\"2999-01-01T00:00:00Z\\"}}"\n',
    );
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: './login',
      args: ['x'],
      env: [{ name: 'WHO', value: 'me' }],
    };
    for (let i = 0; i < 2; i++)
      expect(await credential({ exec })).toEqual({ headers: { authorization: 'Bearer me-x' } });
    // It is asked once for as long as its answer holds.
    expect(readFileSync(join(dir, 'login.runs'), 'utf8')).toBe('run\n');
  });
  test('what is not supported is refused by name, and a program that fails is told', async () => {
    await expect(credential({ 'auth-provider': {} })).rejects.toThrow(/auth-provider is not supported/);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', installHint: 'Install it.' };
    await expect(credential({ exec: { ...exec, command: 'no-such-login' } })).rejects.toMatchObject({
      code: 'unauthenticated',
      hint: 'Install it.',
    });
    file('broken', '#!/bin/sh\necho no account >&2; exit 3\n');
    await expect(credential({ exec: { ...exec, command: './broken' } })).rejects.toThrow(
      /failed: no account/,
    );
    const proxied = file('proxied', config({}, { 'proxy-url': 'socks5://p' }));
    expect(() => clusterOf({ kubeconfig: proxied }, {})).toThrow(/proxy-url: only proxies of http/);
    const asks = { ...exec, command: './broken', interactiveMode: 'Always' };
    await expect(credential({ exec: asks })).rejects.toThrow(/wants a terminal/);
    expect(() => clusterOf({ kubeconfig: file('bad', ': [') }, {})).toThrow(/is no YAML/);
  });
  test('a user may act as another', async () => {
    const user = {
      as: 'ann',
      'as-uid': '7',
      'as-groups': ['a', 'b'],
      'as-user-extra': { 'Of/x': ['1', '2'] },
    };
    expect((await credential({ token: 't', ...user })).headers).toEqual({
      authorization: 'Bearer t',
      'impersonate-user': 'ann',
      'impersonate-uid': '7',
      'impersonate-group': ['a', 'b'],
      'impersonate-extra-of%2Fx': ['1', '2'],
    });
  });
  test('a program is told of its cluster when it asks for that', async () => {
    file(
      'tells',
      '#!/bin/sh\nprintf "%s" "$KUBERNETES_EXEC_INFO" > "$0.info"\necho "{\\"status\\":{\\"token\\":\\"t\\"}}"\n',
    );
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: './tells',
      provideClusterInfo: true,
    };
    const cluster = {
      'tls-server-name': 'api',
      'insecure-skip-tls-verify': true,
      'proxy-url': 'http://proxy:1',
      'certificate-authority-data': Buffer.from('CA').toString('base64'),
      extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'a' } }],
    };
    await clusterOf({}, { KUBECONFIG: file('config', config({ exec }, cluster)) }).credential();
    expect(JSON.parse(readFileSync(join(dir, 'tells.info'), 'utf8')).spec.cluster).toEqual({
      server: 'https://kube.example:6443/base',
      'tls-server-name': 'api',
      'insecure-skip-tls-verify': true,
      'proxy-url': 'http://proxy:1',
      'certificate-authority-data': cluster['certificate-authority-data'],
      config: { audience: 'a' },
    });
  });
  test('several files are one, and a context may be chosen', () => {
    const [one, two] = [
      file(
        'one',
        JSON.stringify({
          'current-context': 'c',
          contexts: [{ name: 'd', context: { cluster: 'c', user: 'u' } }],
        }),
      ),
      file('two', config({ token: 't' })),
    ];
    const env = { KUBECONFIG: `${one}:${join(dir, 'missing')}:${two}` };
    expect(clusterOf({}, env)).toMatchObject({
      namespace: 'mine',
      server: new URL('https://kube.example:6443/base'),
    });
    expect(clusterOf({ context: 'd' }, env).namespace).toBe('default');
  });
});

test('over TLS, with a certificate; without it the API server’s own words', async () => {
  const certs = makeCerts(dir);
  const [server, me] = [certs.issue('api', 'IP:127.0.0.1'), certs.issue('me')];
  const read = (path: string) => readFileSync(path);
  const cluster = await startCluster({
    tls: { cert: read(server.cert), key: read(server.key), ca: read(certs.ca) },
    admit: ({ socket }) => (socket as TLSSocket).authorized,
  });
  try {
    const ca = { cluster: { 'certificate-authority': certs.ca } };
    const at = (user: object, more: object = ca) =>
      podDialer(
        'kube://default/a=b',
        () => '',
        { KUBECONFIG: cluster.kubeconfig(user, more) },
        new AbortController().signal,
      );
    await expect(at({ 'client-certificate': me.cert, 'client-key': me.key })).rejects.toThrow(
      /there is no pod with the labels a=b/,
    );
    await expect(at({})).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('Unauthorized'),
    });
    await expect(at({}, {})).rejects.toThrow(/cannot reach the API server 127.0.0.1:\d+ \(.*certificate/);
  } finally {
    await cluster.stop();
  }
});

test('by the proxy that the kubeconfig names, whatever the environment has', async () => {
  const certs = makeCerts(dir);
  const server = certs.issue('proxied', 'DNS:kube.internal');
  const cluster = await startCluster({
    tls: { cert: readFileSync(server.cert), key: readFileSync(server.key), ca: readFileSync(certs.ca) },
  });
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, client) => {
    asked.push(request.url ?? '');
    const way = connect(Number(new URL(cluster.url).port), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      way.pipe(client).pipe(way);
    });
    for (const each of [way, client]) each.on('error', () => {});
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  try {
    const { port } = proxy.address() as AddressInfo;
    const fields = {
      server: 'https://cluster.invalid:6443',
      'tls-server-name': 'kube.internal',
      'certificate-authority': certs.ca,
      'proxy-url': `http://127.0.0.1:${port}`,
    };
    const env = {
      KUBECONFIG: cluster.kubeconfig({}, { cluster: fields }),
      HTTPS_PROXY: 'http://127.0.0.1:1',
      NO_PROXY: '*',
    };
    const { signal } = new AbortController();
    await expect(podDialer('kube://default/a=b', () => '', env, signal)).rejects.toThrow(/there is no pod/);
    expect(asked).toEqual(['cluster.invalid:6443']);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
    await cluster.stop();
  }
});

test.each([
  ['an answer that is none', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'],
  [
    'a kubelet that sees no upgrade',
    'HTTP/1.1 400 Bad Request\r\nContent-Length: 20\r\n\r\nno upgrade was asked',
  ],
  [
    'another protocol',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n',
  ],
])('a way that passes no WebSockets on is told: %s', async (_, said) => {
  const server = createTcpServer(
    (socket) => void socket.on('error', () => {}).once('data', () => socket.end(said)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const named = { clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }] };
    const contexts = [{ name: 'c', context: { cluster: 'c' } }];
    const KUBECONFIG = file('plain', JSON.stringify({ 'current-context': 'c', contexts, ...named }));
    const dialing = podDialer('kube-pod://p', () => '', { KUBECONFIG }, new AbortController().signal);
    await expect(dialing).rejects.toMatchObject({
      message: expect.stringContaining('does not speak exec over a WebSocket'),
      hint: expect.stringContaining('must pass WebSockets on'),
    });
  } finally {
    server.close();
  }
});
