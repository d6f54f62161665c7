/** The filesystem of a store's lazy layers, and what its threads need of the main thread. */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type DrydockError, errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { lazyLayers } from '../fs/index.ts';
import { MNT_DETACH, MNT_FORCE, MS_RDONLY, mount, umount } from '../linux/index.ts';
import type { CredentialSource, RegistryCredentials, TokenSource } from '../oci/index.ts';
import type { RegistryClientOptions } from '../registry/index.ts';
import { packError, runTask, taskError } from '../workers/index.ts';
import type { FetcherMessage, LazyFailure, MainMessage, PlainCredentials } from './messages.ts';
import { repositoryOf } from './place.ts';

/** A mounted filesystem. */
interface Served {
  main: MessagePort;
  /** Unmounts and ends the threads. */
  end(): void;
  /** Resolves when both threads have ended. */
  over: Promise<unknown>;
}

/** Failures that are remembered, for the errors of steps. */
const mostFailures = 100;
/** Repositories whose credentials are lent, and clients that may be asked for tokens: the latest ones. */
const mostLent = 1000;

/**
 * Serves the lazy layers of a store's folder, as soon as one is needed. Its mount and its threads belong to this
 * process; other processes with the same store have their own.
 */
export class LazyFiles {
  readonly #folder: string;
  readonly #dir: string;
  readonly #sources = new Map<string, CredentialSource>();
  readonly #tokens = new Map<number, TokenSource>();
  readonly #failures: LazyFailure[] = [];
  #settings: RegistryClientOptions = { userAgent: 'drydock' };
  #served: Promise<Served> | undefined;
  /** How often it was mounted. */
  #turn = 0;

  /** `folder`: that of all layers. `runDir`: the run folder of this process, in which the mount is made. */
  constructor(folder: string, runDir: string) {
    this.#folder = folder;
    this.#dir = join(runDir, lazyLayers);
  }

  /** The folder of a layer. It is there after `ready`. */
  layerFolder(layer: number): string {
    return `${this.#dir}/${layer}`;
  }

  /** Has contents fetched by a client with these settings from now on. */
  connect(settings: RegistryClientOptions): void {
    this.#settings = settings;
    void this.#tell({ settings });
  }

  /** Lends the credentials with which an image (a reference) was resolved, until others are lent for its repository. */
  lend(source: string, credentials: CredentialSource): void {
    const repository = repositoryOf(source);
    putLatest(this.#sources, repository, credentials);
    void this.#tell({ lent: repository });
  }

  /** The newest failed read of some layers (the names of their folders) since a time (ms since the epoch). */
  failureSince(since: number, layers: ReadonlySet<string>): DrydockError | undefined {
    const found = this.#failures.findLast(({ at, layer }) => at >= since && layers.has(layer));
    return found && taskError(found.error);
  }

  /** Mounts the filesystem unless it is. Throws `unsupported` where FUSE does not work. */
  async ready(): Promise<void> {
    this.#served ??= awake(this.#serve());
    try {
      await this.#served;
    } catch (err) {
      this.#served = undefined;
      throw err;
    }
  }

  /** Why the filesystem cannot be mounted here; undefined when it is mounted. */
  async problem(): Promise<DrydockError | undefined> {
    return this.ready().then(() => undefined, toDrydockError);
  }

  /** Unmounts. What still reads gets errors. */
  async close(): Promise<void> {
    const served = await this.#served?.catch(() => undefined);
    this.#served = undefined;
    if (served === undefined) return;
    served.end();
    await awake(served.over);
  }

  async #tell(message: MainMessage): Promise<void> {
    const served = await this.#served?.catch(() => undefined);
    served?.main.postMessage(message);
  }

  async #serve(): Promise<Served> {
    const turn = ++this.#turn;
    const fd = this.#mount();
    const folder = this.#folder;
    const kernel = new MessageChannel();
    const main = new MessageChannel();
    const up = Promise.withResolvers<void>();
    const serving = runTask(
      'lazy.serve',
      { fd, folder, contents: kernel.port1 },
      { alone: true, background: true, transfer: [kernel.port1], onMessage: () => up.resolve() },
    );
    const fetching = runTask(
      'lazy.fetch',
      { fd, folder, settings: this.#settings, kernel: kernel.port2, main: main.port2 },
      { alone: true, background: true, transfer: [kernel.port2, main.port2] },
    );
    main.port1.on('message', (message: FetcherMessage) => void this.#hear(message, main.port1));
    main.port1.unref();
    const unmount = () => {
      try {
        // By force: requests end at once, and the thread that waits for the next one.
        umount(this.#dir, MNT_FORCE | MNT_DETACH);
      } catch (err) {
        if (errnoCode(err) !== 'EINVAL' && errnoCode(err) !== 'ENOENT') throw err;
      }
    };
    // Node waits for its threads when it exits, and one of them waits for the kernel.
    process.once('exit', unmount);
    const end = () => {
      process.off('exit', unmount);
      unmount();
      main.port1.postMessage({ stop: true } satisfies MainMessage);
    };
    // Neither thread is of use without the other; the next reader gets new ones.
    for (const thread of [serving, fetching]) {
      thread.catch(up.reject).finally(() => {
        end();
        if (this.#turn === turn) this.#served = undefined;
      });
    }
    const over = Promise.allSettled([serving, fetching]).then(() => closeSync(fd));
    await up.promise;
    return { main: main.port1, over, end };
  }

  #mount(): number {
    let fd: number;
    try {
      fd = openSync('/dev/fuse', 'r+');
    } catch (err) {
      throw notHere(err);
    }
    try {
      mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
      const options = `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions`;
      mount('drydock', this.#dir, 'fuse.drydock', MS_RDONLY, options);
      return fd;
    } catch (err) {
      closeSync(fd);
      throw notHere(err);
    }
  }

  async #hear(message: FetcherMessage, port: MessagePort): Promise<void> {
    if ('failure' in message) {
      this.#failures.push(message.failure);
      if (this.#failures.length > mostFailures) this.#failures.shift();
      return;
    }
    let reply: MainMessage;
    try {
      reply = { answer: message.ask, value: await this.#answer(message) };
    } catch (err) {
      reply = { answer: message.ask, error: packError(err) };
    }
    port.postMessage(reply);
  }

  async #answer(question: Extract<FetcherMessage, { ask: number }>): Promise<unknown> {
    if ('token' in question) return this.#tokens.get(question.token)?.fetch(question.request);
    const found = await this.#sources.get(question.repository)?.(question.host);
    return found && this.#plain(found);
  }

  #plain({ tokens, login: _, ...rest }: RegistryCredentials): PlainCredentials {
    if (tokens === undefined) return rest;
    for (const [number, known] of this.#tokens) {
      if (known.identity === tokens.identity) this.#tokens.delete(number);
    }
    const number = ++lastToken;
    putLatest(this.#tokens, number, tokens);
    return { ...rest, tokens: { identity: tokens.identity, number } };
  }
}

/** Puts a value into a map, and drops the oldest one when there are too many. */
function putLatest<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= mostLent) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

let lastToken = 0;

function notHere(cause: unknown): DrydockError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return fail('unsupported', 'store', `lazy layers need FUSE, which does not work here: ${why}`, {
    hint: 'Give the daemon /dev/fuse (docker run --device /dev/fuse), or use --snapshotter=overlayfs with a root without lazy layers.',
    cause,
  });
}

/** Keeps the process from ending before work is done of which Node knows nothing. */
async function awake<T>(work: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 60_000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}
