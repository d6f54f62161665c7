/** Stands in front of a Docker engine: requests about containers, volumes and networks go to it, after the one check. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { toDrydockError } from '../../../errors/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { jsonObject, readBody } from '../http/body.ts';
import { readPlatform } from '../http/platform.ts';
import type { Call, Route } from '../http/route.ts';
import { parseTarget } from '../http/target.ts';
import { isBefore, newestVersion } from '../http/version.ts';
import { refuseUpgrade } from '../routes/upgrades.ts';
import type { Behind } from './behind.ts';
import { handBack } from './hand-back.ts';
import { HandOver } from './hand-over.ts';
import { bringHere, lookThere, seenBehind } from './images-there.ts';
import { ask, passBack, passOn } from './pass-on.ts';
import { engineScope, givesAway, runtimePart, shownPath } from './paths.ts';
import { splice } from './splice.ts';

/** The front of an engine. */
export class Front {
  readonly #host: ApiHost;
  readonly #behind: Behind;
  readonly #handOver: HandOver;

  constructor(host: ApiHost, behind: Behind) {
    this.#host = host;
    this.#behind = behind;
    this.#handOver = new HandOver(host, behind);
  }

  /** The newest API version that both speak: clients take it from the answers' heads. */
  async version(): Promise<string> {
    const theirs = await this.#behind.version();
    return theirs !== undefined && isBefore(theirs, newestVersion) ? theirs : newestVersion;
  }

  /** Whether a path is the engine's. */
  takes(path: string): boolean {
    return runtimePart(path) !== undefined;
  }

  /** Answers a request with the engine's answer. Throws `denied`, `unauthenticated` and `unavailable`. */
  async answer(call: Omit<Call, 'name' | 'authority'>, path: string): Promise<void> {
    const { request, response, signal, query } = call;
    await this.#admit(request, path);
    if (request.method === 'POST' && path === '/commit') return this.#commit(call);
    if (request.method !== 'POST' || path !== '/containers/create') {
      return passOn(this.#behind, request, response, signal);
    }
    const body = await readBody(request);
    const { Image } = jsonObject(body);
    if (typeof Image === 'string' && Image !== '') {
      await this.#handOver.ensure(Image, readPlatform(query.text('platform')), signal);
    }
    await passOn(this.#behind, request, response, signal, body);
  }

  /**
   * Sees to an image that the engine alone has, before its route does: a look at it is answered by the engine, which is
   * told by true; to be tagged, pushed or saved it is taken over. Callers who may not look at the engine see none.
   */
  async takesImage(call: Call, { path, suffix = '' }: Route): Promise<boolean> {
    const { authority, name, query, request, response, signal } = call;
    const behind = seenBehind(this.#host, authority);
    if (behind === undefined) return false;
    const bring = (its: string) => bringHere(this.#host, behind, its, signal);
    if (path === '/images/get') for (const each of query.all('names')) await bring(each);
    if (path !== '/images/*') return false;
    if (['/json', '/history'].includes(suffix)) {
      if ((await lookThere(this.#host, behind, name, signal)) === undefined) return false;
      await passOn(behind, request, response, signal);
      return true;
    }
    const tag = suffix === '/push' ? query.text('tag') : '';
    if (['/tag', '/push', '/get'].includes(suffix)) await bring(tag === '' ? name : `${name}:${tag}`);
    return false;
  }

  /** Has the engine commit a container, and takes the image over before the client hears of it. */
  async #commit({ request, response, signal, query }: Omit<Call, 'name' | 'authority'>): Promise<void> {
    const answer = await ask(this.#behind, request, signal);
    if (answer.statusCode !== 201) return passBack(answer, response);
    const body = await buffer(answer);
    const { Id } = jsonObject(body);
    const [repo, tag] = [query.text('repo'), query.text('tag')];
    const name = repo === '' || tag === '' ? repo : `${repo}:${tag}`;
    if (typeof Id === 'string') await handBack(this.#host, this.#behind, Id, name || undefined, signal);
    await passBack(answer, response, body);
  }

  /** Whether a request wants another protocol of the engine (attach, exec). */
  wantsUpgrade({ method = '', url = '' }: IncomingMessage): boolean {
    try {
      return givesAway(method, parseTarget(url).path);
    } catch {
      return false;
    }
  }

  /** Admits such a request and joins the connections. Never throws: a refusal is a plain answer. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // Until somebody listens, an error of the connection has no other place to go.
    socket.on('error', () => {});
    try {
      const { path } = parseTarget(request.url ?? '');
      await this.#admit(request, path, true);
      const body = await readBody(request);
      if (!socket.destroyed) splice(this.#behind, request, body, socket, head);
    } catch (err) {
      refuseUpgrade(socket, toDrydockError(err));
    }
  }

  async #admit(request: IncomingMessage, path: string, speaks = false): Promise<void> {
    const { method = 'GET' } = request;
    const scope = speaks ? 'engine:write' : engineScope(method, path);
    await this.#host.admit(request, {
      endpoint: `${method} ${shownPath(path)}`,
      scopes: [scope],
      reads: scope === 'engine:read',
    });
  }
}
