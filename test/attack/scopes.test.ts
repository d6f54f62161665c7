/**
 * Every route of docker's API and every method of BuildKit's, asked for by callers who lack its scope, in every way a
 * path can be written: nothing is done, and the audit log has the decision under the one name that the route has. The
 * tables are made of the routes and of what the server says of its own services.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { methodRules } from '../../src/api/buildkit/caller.ts';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { routes } from '../../src/api/docker/routes.ts';
import { createToken } from '../../src/auth/token-hash.ts';
import { type Scope, scopes as scopeTexts } from '../../src/auth/types.ts';
import { ServerReflection } from '../../src/pb/grpc/reflection_pb.js';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

const allScopes = Object.keys(scopeTexts) as Scope[];
/** Callers: one with nothing, one for each scope alone, one with all. */
const callers = new Map<string, Scope[]>([
  ['nothing', []],
  ...allScopes.map((scope): [string, Scope[]] => [scope, [scope]]),
  ['everything', allScopes],
]);
const tokens = new Map([...callers.keys()].map((name) => [name, createToken()]));

let dir: string;
let auditFile: string;
let daemon: TestDaemon;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-scopes-'));
  const policyFile = join(dir, 'policy.json');
  auditFile = join(dir, 'audit.log');
  const nameOf = (caller: string) => caller.replace(':', '-');
  const policy = {
    rules: [...callers].map(([caller, scopes]) => ({ match: { token: nameOf(caller) }, scopes })),
    tokens: [...tokens].map(([caller, { hash }]) => ({ name: nameOf(caller), hash })),
  };
  writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o600 });
  daemon = await startTestDaemon({ policyFile, auditFile, grpc: (host) => buildkitApi(host) });
});

afterAll(async () => {
  await daemon.stop();
  rmSync(dir, { recursive: true, force: true });
});

const bearer = (caller: string) => `Bearer ${tokens.get(caller)!.token}`;
const lacks = (caller: string, needed: readonly Scope[]) =>
  needed.some((scope) => !callers.get(caller)!.includes(scope));

/** Lines written to the audit log while `work` goes on. */
async function audited(work: () => Promise<void>) {
  const before = readFileSync(auditFile, 'utf8').length;
  await work();
  const text = readFileSync(auditFile, 'utf8').slice(before).trim();
  return text === ''
    ? []
    : text
        .split('\n')
        .map((line) => JSON.parse(line) as { requestId: string; endpoint: string; decision: string });
}

interface Told {
  status: number;
  /** Under which its decision is in the audit log. */
  id: string;
}

/** Sends one request, written out byte for byte; the connection is closed at once. */
function raw(method: string, target: string, caller: string, headers: string[] = []): Promise<Told> {
  return new Promise((resolve, reject) => {
    const socket = connect(daemon.socket);
    const lines = [`${method} ${target} HTTP/1.1`, 'Host: localhost', `Authorization: ${bearer(caller)}`];
    socket.write(`${[...lines, 'Content-Length: 0', ...headers].join('\r\n')}\r\n\r\n`);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.includes('\r\n\r\n')) return;
      socket.destroy();
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
      resolve({ status, id: /^x-request-id: (\S+)/im.exec(text)?.[1] ?? '' });
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error(`no answer to ${method} ${target}`)));
  });
}

describe('docker’s API', () => {
  const table = routes.map(({ method, path, suffix = '', scopes }) => ({
    method,
    path: `${path.replace('*', '127.0.0.1:1/nobody/has:it')}${suffix}`,
    endpoint: `${method} ${path.replace('*', '{name}')}${suffix}`,
    scopes,
  }));
  const ofScope = (scope: Scope | undefined) =>
    table.filter(({ scopes }) => (scope === undefined ? scopes.length === 0 : scopes.includes(scope)));

  interface Asked {
    caller: string;
    method: string;
    target: string;
    endpoint: string;
  }

  /** Asks for all at once; each with its status and what the audit log has of it: `denied POST /build`. */
  async function askAll(list: readonly Asked[]) {
    let told: (Asked & Told)[] = [];
    const lines = await audited(async () => {
      told = await Promise.all(
        list.map(async (each) => ({ ...each, ...(await raw(each.method, each.target, each.caller)) })),
      );
    });
    const decisions = new Map(
      lines.map(({ requestId, decision, endpoint }) => [requestId, `${decision} ${endpoint}`]),
    );
    return told.map((each) => ({ ...each, decision: decisions.get(each.id) }));
  }

  test.each(allScopes)('what needs %s is refused without it, and the refusal is audited', async (scope) => {
    const list = [...callers.keys()].flatMap((caller) =>
      ofScope(scope)
        .filter(({ scopes }) => lacks(caller, scopes))
        .map(({ method, path, endpoint }) => ({ caller, method, target: path, endpoint })),
    );
    for (const asked of await askAll(list)) {
      const { endpoint } = asked;
      expect(asked).toMatchObject({ status: 403, decision: `denied ${endpoint}` });
    }
  });

  test('with its scope alone each route is let in', async () => {
    for (const { method, path, endpoint, scopes } of table) {
      const { status } = await raw(method, path, scopes[0] ?? 'nothing');
      expect([endpoint, status]).not.toEqual([endpoint, 403]);
    }
  });

  const escaped = (path: string) =>
    path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
  const ways: [string, (path: string) => string][] = [
    ['a version in front', (path) => `/v1.41${path}`],
    ['a version in escapes', (path) => `/v1%2e41${path}`],
    ['two versions', (path) => `/v1.41/v1.41${path}`],
    ['a slash at the end', (path) => `${path}/`],
    ['two slashes at the end', (path) => `${path}//`],
    ['two slashes in front', (path) => `/${path}`],
    ['slashes doubled inside', (path) => path.replace(/(?<=.)\//g, '//')],
    ['a dot', (path) => `/.${path}`],
    ['a way back', (path) => `/_ping/..${path}`],
    ['a way back in escapes', (path) => `/_ping/%2e%2e${path}`],
    ['a way back in one escaped piece', (path) => `/_ping%2f..${path}`],
    ['an escaped letter', escaped],
    ['a letter escaped twice', (path) => escaped(path).replace('%', '%25')],
    ['escaped slashes', (path) => path.replace(/(?<=.)\//g, '%2F')],
    ['backslashes', (path) => path.replaceAll('/', '\\')],
    ['an empty query', (path) => `${path}?`],
    ['a query', (path) => `${path}?x=/_ping`],
    ['a fragment', (path) => `${path}#/_ping`],
    ['parameters of a segment', (path) => `${path};x=1`],
    ['a zero byte in escapes', (path) => `${path}%00`],
    ['a broken escape', (path) => `${path}%zz`],
    ['capitals', (path) => path.toUpperCase()],
    ['a whole URL', (path) => `http://localhost${path}`],
    ['a whole URL with somebody else’s name', (path) => `HTTPS://_ping@example.com:1${path}`],
    ['nothing but a name', (path) => `localhost:80${path}`],
    ['a star', () => '*'],
  ];

  test.each(ways)('%s: never done without the scope, and never under another name', async (_, write) => {
    const list = (caller: string) =>
      table
        .filter(({ scopes }) => scopes.length > 0)
        .map(({ method, path, endpoint }) => ({ caller, method, target: write(path), endpoint }));
    for (const asked of await askAll(list('nothing'))) {
      expect(asked).toSatisfy(({ status }) => [400, 403, 404, 501].includes(status));
      if (asked.status === 403) expect(asked).toMatchObject({ decision: `denied ${asked.endpoint}` });
      else expect(asked).toMatchObject({ decision: undefined });
    }
    for (const asked of await askAll(list('everything'))) {
      expect([undefined, `allowed ${asked.endpoint}`]).toContain(asked.decision);
    }
  });

  test('another method, or a header that names one, reaches nothing', async () => {
    const override = ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'];
    for (const { method, path, endpoint, scopes } of table) {
      if (scopes.length === 0) continue;
      const headers = override.map((name) => `${name}: ${method}`);
      // OPTIONS gets a yes, whatever it asks about, and does nothing.
      const told = await audited(async () => {
        expect(await raw('OPTIONS', path, 'nothing', headers)).toMatchObject({ status: 200 });
      });
      expect(told).toEqual([]);
      for (const other of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'QUERY', 'TRACE']) {
        if (other === method) continue;
        const { status } = await raw(other, path, 'nothing', headers);
        expect([endpoint, other, status, [403, 404, 501].includes(status)]).toEqual([
          endpoint,
          other,
          status,
          true,
        ]);
      }
    }
  });

  test.each(['/grpc', '/session'])('%s gives no connection away without the scope build', async (path) => {
    const upgrade = ['Connection: Upgrade', 'Upgrade: h2c'];
    for (const target of [path, `/v1.41${path}`, `${path}/`, `${path}?x`, `http://localhost${path}`]) {
      const lines = await audited(async () => {
        expect(await raw('POST', target, 'nothing', upgrade)).toMatchObject({ status: 403 });
      });
      expect(lines).toMatchObject([{ endpoint: `POST ${path}`, decision: 'denied' }]);
    }
    for (const target of [`/${path}`, `${path}#`, `/x/..${path}`, `/v9.9${path}`, `/v1.41/v1.41${path}`]) {
      const { status } = await raw('POST', target, 'everything', upgrade);
      expect([target, status, [400, 404].includes(status)]).toEqual([target, status, true]);
    }
  });
});

describe('BuildKit’s API', () => {
  let rules: ReturnType<typeof methodRules>;
  beforeAll(async () => {
    rules = methodRules(await methodsOf());
    expect(rules.size).toBeGreaterThan(30);
  });

  /** The paths of all methods, as the server itself describes them. */
  async function methodsOf(): Promise<string[]> {
    const transport = createGrpcTransport({
      baseUrl: 'http://localhost',
      nodeOptions: { createConnection: () => connect(daemon.socket) },
    });
    const client = createClient(ServerReflection, transport);
    const ask = async (messageRequest: { case: 'listServices' | 'fileContainingSymbol'; value: string }) => {
      for await (const { messageResponse } of client.serverReflectionInfo(
        (async function* () {
          yield { host: '', messageRequest };
        })(),
      )) {
        return messageResponse;
      }
      throw new Error('no answer');
    };
    const list = await ask({ case: 'listServices', value: '' });
    if (list.case !== 'listServicesResponse') throw new Error('no list of services');
    const paths: string[] = [];
    for (const { name } of list.value.service) {
      const file = await ask({ case: 'fileContainingSymbol', value: name });
      if (file.case !== 'fileDescriptorResponse') throw new Error(`no description of ${name}`);
      for (const bytes of file.value.fileDescriptorProto) {
        const described = fromBinary(FileDescriptorProtoSchema, bytes);
        for (const { name: service, method } of described.service) {
          if (`${described.package}.${service}` !== name) continue;
          paths.push(...method.map((each) => `/${name}/${each.name}`));
        }
      }
    }
    return paths;
  }

  /** `grpc-status` of a call with an empty message, or `open` for one that is let in and goes on for so long (ms). */
  function status(
    session: ClientHttp2Session,
    path: string,
    headers: IncomingHttpHeaders,
    patience = 300,
  ): Promise<string> {
    return new Promise((resolve) => {
      const asking = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request(
        { ...asking, ...headers },
        { endStream: headers[':method'] !== undefined },
      );
      const read = (found: IncomingHttpHeaders) => {
        const code = found['grpc-status'];
        if (code !== undefined) resolve(String(code));
      };
      stream.on('response', read);
      stream.on('trailers', read);
      stream.on('error', () => {}); // Node's own client refuses some paths, others nghttp2 does
      stream.on('close', () => resolve('closed'));
      const timer = setTimeout(() => resolve('open'), patience);
      stream.once('close', () => clearTimeout(timer));
      stream.on('data', () => {});
      if (!stream.writableEnded) stream.end(Buffer.alloc(5));
    });
  }

  const prior = () => connectHttp2('http://localhost', { createConnection: () => connect(daemon.socket) });

  /** The same service on a connection that `POST /grpc` gave away to `caller`. */
  async function upgraded(caller: string): Promise<ClientHttp2Session> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const asking = connect(daemon.socket);
      const lines = ['POST /v1.47/grpc HTTP/1.1', 'Host: localhost', `Authorization: ${bearer(caller)}`];
      asking.write(`${[...lines, 'Connection: Upgrade', 'Upgrade: h2c'].join('\r\n')}\r\n\r\n`);
      asking.once('data', (chunk: Buffer) => {
        const end = chunk.indexOf('\r\n\r\n') + 4;
        if (!/^HTTP\/1\.1 101 /.test(String(chunk))) return reject(new Error(String(chunk)));
        asking.pause();
        if (chunk.length > end) asking.unshift(chunk.subarray(end));
        resolve(asking);
      });
    });
    return connectHttp2('http://localhost', { createConnection: () => socket });
  }

  async function over<T>(session: ClientHttp2Session, work: (it: ClientHttp2Session) => Promise<T>) {
    session.on('error', () => {});
    try {
      return await work(session);
    } finally {
      session.destroy();
    }
  }

  test('every method is refused to whoever lacks its scope, and the refusal is audited', async () => {
    for (const caller of callers.keys()) {
      await over(prior(), async (session) => {
        for (const { path, scopes } of rules.values()) {
          if (!lacks(caller, scopes)) continue;
          const lines = await audited(async () => {
            const got = await status(session, path, { authorization: bearer(caller) }, 30_000);
            expect([caller, path, got]).toEqual([caller, path, '7']);
          });
          expect(lines).toMatchObject([{ endpoint: path, decision: 'denied' }]);
        }
      });
    }
  });

  test('with its scope alone each method is let in', async () => {
    await over(prior(), async (session) => {
      const asked = [...rules.values()].map(async ({ path, scopes }) => {
        const got = await status(session, path, { authorization: bearer(scopes[0] ?? 'nothing') });
        expect([path, got, ['7', '16'].includes(got)]).toEqual([path, got, false]);
      });
      await Promise.all(asked);
    });
  });

  test('over POST /grpc who opened the connection decides, whatever a call says of itself', async () => {
    await over(await upgraded('build'), async (session) => {
      for (const { path, scopes } of rules.values()) {
        if (!lacks('build', scopes)) continue;
        for (const headers of [{}, { authorization: bearer('everything') }]) {
          expect([path, await status(session, path, headers)]).toEqual([path, '7']);
        }
      }
    });
  });

  const ways: [string, (path: string) => string][] = [
    ['an empty query', (path) => `${path}?`],
    ['a query', (path) => `${path}?x=1`],
    ['a fragment', (path) => `${path}#`],
    ['a slash at the end', (path) => `${path}/`],
    ['two slashes in front', (path) => `/${path}`],
    ['two slashes inside', (path) => path.replace(/(?<=.)\//, '//')],
    ['a way back', (path) => `/grpc.health.v1.Health/..${path}`],
    ['a way back in escapes', (path) => `/grpc.health.v1.Health/%2e%2e${path}`],
    ['an open service in front', (path) => `/grpc.health.v1.Health${path}`],
    ['an escaped letter', (path) => path.replace(/[a-z]$/, (end) => `%${end.charCodeAt(0).toString(16)}`)],
    ['small letters', (path) => path.toLowerCase()],
    ['a whole URL', (path) => `http://localhost${path}`],
    ['no slash in front', (path) => path.slice(1)],
    ['a space at the end', (path) => `${path} `],
    ['a parameter', (path) => `${path};x`],
  ];

  test.each(ways)('%s makes an unknown method of it, for everyone', async (_, write) => {
    for (const open of [async () => prior(), () => upgraded('everything')]) {
      await over(await open(), async (session) => {
        const lines = await audited(async () => {
          const asked = [...rules.keys()].map(async (path) => {
            const target = write(path);
            const got = await status(session, target, { authorization: bearer('everything') });
            // Some are no path that HTTP/2 takes.
            expect([target, got, ['12', 'closed'].includes(got)]).toEqual([target, got, true]);
          });
          await Promise.all(asked);
        });
        expect(lines).toEqual([]);
      });
    }
  });

  test('a method is called by POST alone', async () => {
    await over(prior(), async (session) => {
      for (const method of ['GET', 'PUT', 'DELETE', 'HEAD', 'OPTIONS']) {
        const lines = await audited(async () => {
          for (const path of rules.keys()) {
            const headers = { ':method': method, authorization: bearer('everything') };
            expect([method, path, await status(session, path, headers)]).toEqual([method, path, '12']);
          }
        });
        expect(lines).toEqual([]);
      }
    });
  });
});
