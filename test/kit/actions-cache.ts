/**
 * A server of GitHub's cache of Actions, in both versions of its protocol, with the blobs in its memory. It refuses what
 * the service refuses: other tokens, keys that are there, scopes that the token may only read.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { startServer, type TestServer } from './http-server.ts';

interface Entry {
  key: string;
  scope: string;
  version: string;
  bytes: Buffer;
}

interface Upload {
  key: string;
  version: string;
  blocks: Map<string, Buffer>;
  blob?: Buffer;
  id: number;
}

export interface ActionsServer extends TestServer {
  readonly entries: Entry[];
  /** A token for a job on this branch; `readOnly`: as the jobs of forks have. */
  token(branch: string, options?: { readOnly?: boolean; endsIn?: number }): string;
  /** Answers in the server's place, when it returns true. */
  fault: (request: IncomingMessage, response: ServerResponse) => boolean;
}

export async function startActionsCache(): Promise<ActionsServer> {
  const entries: Entry[] = [];
  const uploads = new Map<string, Upload>();
  const signed = new Map<string, Entry>();
  const secret = randomUUID();
  // A test may set this process's own clock back or forward: the server has another.
  const began = Date.now() - performance.now();
  const clock = () => began + performance.now();

  const token: ActionsServer['token'] = (branch, { readOnly = false, endsIn = 3600 } = {}) => {
    const now = Math.floor(Date.now() / 1000);
    const scopes = [
      { Scope: branch, Permission: readOnly ? 1 : 3 },
      ...(branch === 'refs/heads/main' ? [] : [{ Scope: 'refs/heads/main', Permission: 1 }]),
    ];
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ ac: JSON.stringify(scopes), nbf: now - 60, exp: now + endsIn })}`;
    return `${text}.${createHash('sha256').update(text).update(secret).digest('base64url')}`;
  };
  const scopesOf = (request: IncomingMessage) => {
    const [, given = ''] = (request.headers.authorization ?? '').split(' ');
    const [head, body, sum] = given.split('.');
    const right = createHash('sha256').update(`${head}.${body}`).update(secret).digest('base64url');
    if (sum !== right) return undefined;
    const { ac, exp } = JSON.parse(Buffer.from(body ?? '', 'base64url').toString()) as {
      ac: string;
      exp: number;
    };
    if (exp * 1000 < clock()) return undefined;
    return JSON.parse(ac) as { Scope: string; Permission: number }[];
  };
  /** The newest entry of the first scope that has one: with the key, else with a key that begins so. */
  const find = (scopes: { Scope: string }[], key: string, version: string) => {
    for (const { Scope } of scopes) {
      const there = entries.filter((each) => each.scope === Scope && each.version === version).reverse();
      const found = there.find((each) => each.key === key) ?? there.find((each) => each.key.startsWith(key));
      if (found !== undefined) return found;
    }
    return undefined;
  };

  const server = await startServer(async (request, response) => {
    const url = new URL(request.url ?? '/', `http://${request.headers.host}`);
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(value));
    };
    if (made.fault(request, response)) return void request.resume();
    const body = Buffer.concat(await request.toArray());

    // The blobs: whoever has the URL may, and no token comes along.
    const blob = /^\/(up|down)\/([\w-]+)$/.exec(url.pathname);
    if (blob !== null) {
      if (request.headers.authorization !== undefined)
        return json(400, { error: 'a token was sent to the blobs' });
      const id = blob[2] as string;
      // Azure's, which holds the blobs, has it in each answer; other clients need it.
      response.setHeader('x-ms-request-id', randomUUID());
      if (blob[1] === 'down') {
        const entry = signed.get(id);
        if (entry === undefined) return response.writeHead(403).end();
        const range = /^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
        const from = Number(range ?? 0);
        const bytes = entry.bytes.subarray(from);
        const { length } = entry.bytes;
        response.writeHead(range === undefined ? 200 : 206, {
          'content-length': bytes.length,
          ...(range !== undefined && { 'content-range': `bytes ${from}-${length - 1}/${length}` }),
        });
        return response.end(bytes);
      }
      const upload = uploads.get(id);
      if (upload === undefined) return response.writeHead(403).end();
      const comp = url.searchParams.get('comp');
      if (comp === 'block') upload.blocks.set(url.searchParams.get('blockid') ?? '', body);
      else if (comp === 'blocklist') {
        const ids = [...body.toString().matchAll(/<Latest>([^<]*)<\/Latest>/g)].map(([, each]) => each ?? '');
        upload.blob = Buffer.concat(ids.map((each) => upload.blocks.get(each) as Buffer));
      } else upload.blob = body;
      return response.writeHead(201).end();
    }

    const scopes = scopesOf(request);
    if (scopes === undefined) return json(401, { code: 'unauthenticated', msg: 'bad token' });
    const own = scopes.find(({ Permission }) => (Permission & 2) !== 0)?.Scope;
    const begin = ({ key, version }: { key: string; version: string }) => {
      const isThere = entries.some(
        (each) => each.key === key && each.version === version && each.scope === own,
      );
      if (own === undefined || isThere) return undefined;
      const id = randomUUID();
      const upload = { key, version, blocks: new Map<string, Buffer>(), id: uploads.size + 1 };
      uploads.set(id, upload);
      return { id, upload };
    };
    const end = ({ key, version, blob: bytes }: Upload, size: number) => {
      if (bytes === undefined || bytes.length !== size) return false;
      entries.push({ key, version, scope: own ?? '', bytes });
      return true;
    };
    const sign = (entry: Entry) => {
      const id = randomUUID();
      signed.set(id, entry);
      return `http://${request.headers.host}/down/${id}?sig=x`;
    };

    const twirp = /CacheService\/(\w+)$/.exec(url.pathname)?.[1];
    if (twirp !== undefined) {
      const asked = JSON.parse(body.toString()) as {
        key: string;
        version: string;
        restore_keys?: string[];
        size_bytes?: string;
      };
      if (twirp === 'GetCacheEntryDownloadURL') {
        const found = find(scopes, asked.key, asked.version);
        if (found === undefined) return json(200, { ok: false });
        return json(200, { ok: true, signed_download_url: sign(found), matched_key: found.key });
      }
      if (twirp === 'CreateCacheEntry') {
        const begun = begin(asked);
        if (begun === undefined && own === undefined) return json(200, { ok: false });
        if (begun === undefined)
          return json(409, { code: 'already_exists', msg: 'cache entry already exists' });
        return json(200, {
          ok: true,
          signed_upload_url: `http://${request.headers.host}/up/${begun.id}?sig=x`,
        });
      }
      const upload = [...uploads.values()].findLast(({ key }) => key === asked.key);
      const ok = upload !== undefined && end(upload, Number(asked.size_bytes));
      return json(200, { ok, entry_id: '1' });
    }

    const path = url.pathname.replace('/_apis/artifactcache/', '');
    if (path === 'cache') {
      const { keys = '', version = '' } = Object.fromEntries(url.searchParams);
      const found = find(scopes, keys, version);
      if (found === undefined) return response.writeHead(204).end();
      return json(200, { cacheKey: found.key, scope: found.scope, archiveLocation: sign(found) });
    }
    if (path === 'caches') {
      const begun = begin(JSON.parse(body.toString()) as { key: string; version: string });
      if (begun === undefined) return json(409, { typeKey: 'ArtifactCacheItemAlreadyExistsException' });
      return json(201, { cacheId: begun.upload.id });
    }
    const upload = [...uploads.values()].find(({ id }) => path === `caches/${id}`);
    if (upload === undefined) return response.writeHead(404).end();
    if (request.method === 'PATCH') {
      const start = Number(/bytes (\d+)-/.exec(request.headers['content-range'] ?? '')?.[1]);
      upload.blocks.set(String(start), body);
      return response.writeHead(204).end();
    }
    const inOrder = [...upload.blocks].sort(([a], [b]) => Number(a) - Number(b));
    upload.blob = Buffer.concat(inOrder.map(([, bytes]) => bytes));
    const { size } = JSON.parse(body.toString()) as { size: number };
    return response.writeHead(end(upload, size) ? 204 : 400).end();
  });
  const made: ActionsServer = Object.assign(server, { entries, token, fault: () => false });
  return made;
}
