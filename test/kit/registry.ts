/** A real registry (Debian's docker-registry) on a free port of localhost, with storage that goes away with it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createPrivateKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestRegistry {
  /** `127.0.0.1:41234` */
  readonly host: string;
  /** What the registry has logged so far. */
  log(): string;
  /** Requests that its token server has answered (with `token`). */
  readonly tokenRequests: TokenRequest[];
  stop(): Promise<void>;
}

export interface TokenRequest {
  method: string;
  /** Parameters, from the query or from the form. */
  params: URLSearchParams;
  username?: string;
}

export interface RegistryOptions {
  /** Asks for this user and password by basic auth. */
  basic?: { username: string; password: string };
  /** Asks for a bearer token of a token server that knows this user; without one it lets anyone pull. */
  token?: { username: string; password: string; refreshToken?: string };
}

/** Starts a registry and waits until it answers. Call `stop` in `afterAll`. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-registry-'));
  const tokenRequests: TokenRequest[] = [];
  let tokens: Server | undefined;
  const lines = [
    'version: 0.1',
    'log: { level: info, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${dir}/data }, delete: { enabled: true } }`,
    'http: { addr: "127.0.0.1:0" }',
    // Foreign layers may be anywhere.
    'validation: { manifests: { urls: { allow: [".*"] } } }',
  ];
  if (options.basic !== undefined) {
    const { username, password } = options.basic;
    writeFileSync(`${dir}/htpasswd`, execFileSync('htpasswd', ['-Bbn', '-C', '4', username, password]));
    lines.push(`auth: { htpasswd: { realm: drydock-test, path: ${dir}/htpasswd } }`);
  } else if (options.token !== undefined) {
    tokens = await startTokenServer(dir, options.token, tokenRequests);
    const { port } = tokens.address() as AddressInfo;
    lines.push(
      `auth: { token: { realm: "http://127.0.0.1:${port}/token", service: drydock-test, issuer: drydock-test, rootcertbundle: ${dir}/cert.pem } }`,
    );
  }
  // The port is the kernel's choice, told by the log: no race for a "free" one.
  writeFileSync(`${dir}/config.yml`, `${lines.join('\n')}\n`);
  const child = spawn('docker-registry', ['serve', `${dir}/config.yml`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  let log = '';
  const killer = () => child.kill('SIGKILL');
  process.once('exit', killer);
  try {
    const port = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`docker-registry is not up after 20 s:\n${log}`)),
        20_000,
      );
      const read = (data: Buffer) => {
        log += data;
        const found = /listening on 127\.0\.0\.1:(\d+)/.exec(log)?.[1];
        if (found !== undefined) {
          clearTimeout(timer);
          resolve(found);
        }
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`docker-registry ended with ${code}:\n${log}`)));
    });
    return {
      host: `127.0.0.1:${port}`,
      log: () => log,
      tokenRequests,
      async stop() {
        process.off('exit', killer);
        await ended(child);
        tokens?.closeAllConnections();
        tokens?.close();
        rmSync(dir, { recursive: true, force: true });
      },
    };
  } catch (err) {
    process.off('exit', killer);
    await ended(child);
    tokens?.close();
    rmSync(dir, { recursive: true, force: true });
    throw err;
  }
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
    return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

/** A token server as https://distribution.github.io/distribution/spec/auth/token/ describes it. */
async function startTokenServer(
  dir: string,
  user: NonNullable<RegistryOptions['token']>,
  seen: TokenRequest[],
): Promise<Server> {
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=drydock-test -keyout ${dir}/key.pem -out ${dir}/cert.pem`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  const key = createPrivateKey(readFileSync(`${dir}/key.pem`));
  const chain = [
    readFileSync(`${dir}/cert.pem`, 'utf8')
      .replace(/-----[A-Z ]+-----/g, '')
      .replace(/\s/g, ''),
  ];
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    let params = new URL(req.url ?? '/', 'http://x').searchParams;
    let username: string | undefined;
    let known = false;
    if (req.method === 'POST') {
      let body = '';
      for await (const part of req) body += part;
      params = new URLSearchParams(body);
      username = params.get('username') ?? undefined;
      known =
        params.get('grant_type') === 'refresh_token'
          ? user.refreshToken !== undefined && params.get('refresh_token') === user.refreshToken
          : username === user.username && params.get('password') === user.password;
    } else if (req.headers.authorization !== undefined) {
      const [name, ...rest] = Buffer.from(req.headers.authorization.replace('Basic ', ''), 'base64')
        .toString()
        .split(':');
      username = name;
      known = name === user.username && rest.join(':') === user.password;
    }
    seen.push({ method: req.method ?? '', params, username });
    const anonymous = req.method === 'GET' && req.headers.authorization === undefined;
    res.setHeader('content-type', 'application/json');
    if (!known && !anonymous) {
      res.writeHead(401);
      res.end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'wrong user or password' }] }));
      return;
    }
    const scopes = params.getAll('scope').flatMap((scope) => scope.split(' '));
    const access = scopes.flatMap((scope) => {
      const [type, name, actions] = scope.split(/:(?=[^:]*:)|:(?=[^:]*$)/);
      if (type === undefined || name === undefined || actions === undefined) return [];
      return [{ type, name, actions: actions.split(',').filter((verb) => known || verb === 'pull') }];
    });
    const token = jwt(key, chain, params.get('service') ?? '', access);
    res.end(
      JSON.stringify({ token, access_token: token, expires_in: 300, issued_at: new Date().toISOString() }),
    );
  };
  const server = createServer((req, res) => void answer(req, res).catch(() => res.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  return server;
}

function jwt(key: KeyObject, x5c: string[], audience: string, access: unknown[]): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { iss: 'drydock-test', sub: 'test', aud: audience, exp: now + 300, nbf: now - 10, iat: now };
  const text = `${part({ typ: 'JWT', alg: 'ES256', x5c })}.${part({ ...claims, jti: randomUUID(), access })}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
