/**
 * The worker task `lazy.fetch`: brings the contents of lazy files and answers the kernel's reads of them. It has a
 * thread and a registry client of its own, since the main thread may be the one that reads.
 */
import { join } from 'node:path';
import type { MessagePort } from 'node:worker_threads';
import { type DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import { type CredentialSource, familiarName, type RegistryCredentials } from '../oci/index.ts';
import { RegistryClient, type RegistryClientOptions } from '../registry/index.ts';
import { packError, taskError } from '../workers/index.ts';
import { answerHead, errno, failed, putAnswerHead } from './fuse-protocol.ts';
import { isKilled } from './killed.ts';
import { LayerContents } from './layer-contents.ts';
import type { LazyBlob } from './layer-table.ts';
import type { FetcherMessage, KernelMessage, MainMessage, PlainCredentials } from './messages.ts';
import { lazyFolder, repositoryOf } from './place.ts';
import { send } from './serve-task.ts';
import type { ContentRead } from './skeleton.ts';

interface FetchArgs {
  fd: number;
  folder: string;
  settings: RegistryClientOptions;
  /** From the thread that hears the kernel. */
  kernel: MessagePort;
  main: MessagePort;
}

/** Requests to registries at one time. */
const atOnce = 8;
/** Layers whose tables are in memory. */
const mostLayers = 64;
/** How long the main thread may take to answer: it may be waiting for this very read. */
const patienceMs = 20_000;
/** How often a thread that has got a signal is looked at. */
const signalsMs = 100;

/** Runs until the main thread says stop. */
export function fetchContents(args: FetchArgs): Promise<void> {
  const fetcher = new Fetcher(args);
  return fetcher.run();
}

class Fetcher {
  readonly #args: FetchArgs;
  readonly #layers = new Map<string, LayerContents>();
  readonly #limit = new Limiter(atOnce);
  /** Reads that the kernel waits for, with their threads. */
  readonly #open = new Map<bigint, number>();
  readonly #asked = new Map<number, { resolve(value: unknown): void; reject(err: Error): void }>();
  /** Repository → registry host → its credentials. */
  readonly #credentials = new Map<string, Map<string, Promise<RegistryCredentials | undefined>>>();
  #client: RegistryClient;
  #lastAsk = 0;

  constructor(args: FetchArgs) {
    this.#args = args;
    this.#client = new RegistryClient(args.settings);
  }

  async run(): Promise<void> {
    const { kernel, main } = this.#args;
    kernel.on('message', (message: KernelMessage) => {
      if ('read' in message) void this.#read(message.read);
      else this.#interrupt(message.interrupt);
    });
    await new Promise<void>((resolve) => {
      main.on('message', (message: MainMessage) => {
        if ('stop' in message) resolve();
        else this.#hear(message);
      });
    });
    kernel.close();
    main.close();
    this.#client.close();
  }

  #hear(message: Exclude<MainMessage, { stop: true }>): void {
    if ('settings' in message) this.#client = new RegistryClient(message.settings);
    else if ('lent' in message) this.#credentials.delete(message.lent);
    else {
      const waiting = this.#asked.get(message.answer);
      if (message.error === undefined) waiting?.resolve(message.value);
      else waiting?.reject(taskError(message.error));
    }
  }

  async #read(read: ContentRead): Promise<void> {
    const { unique, length } = read;
    const { fd } = this.#args;
    this.#open.set(unique, read.thread);
    const out = Buffer.allocUnsafe(answerHead + length);
    try {
      await this.#layer(read.layer).read(read.file, read.offset, out.subarray(answerHead));
      putAnswerHead(out, unique);
      if (this.#open.delete(unique)) send(fd, out);
    } catch (err) {
      this.#tell({
        failure: {
          layer: read.layer,
          path: read.path,
          error: packError(this.#explained(err, read)),
          at: Date.now(),
        },
      });
      if (this.#open.delete(unique)) send(fd, failed(unique, errno.EIO));
    }
  }

  /**
   * The read's thread has got a signal. One that is killed must not wait for the registry. Any other signal is nothing
   * to a file's reader; but the kernel tells of the first signal alone, so a later one is looked for.
   */
  #interrupt(unique: bigint): void {
    const thread = this.#open.get(unique);
    if (thread === undefined) return;
    if (!isKilled(thread)) {
      setTimeout(() => this.#interrupt(unique), signalsMs).unref();
      return;
    }
    this.#open.delete(unique);
    send(this.#args.fd, failed(unique, errno.EINTR));
  }

  #layer(name: string): LayerContents {
    const known = this.#layers.get(name);
    const folder = join(this.#args.folder, name, lazyFolder);
    const layer = known ?? new LayerContents(folder, (blob, range) => this.#fetch(blob, range), this.#limit);
    // The one that was read last is at the end, and the first one goes.
    this.#layers.delete(name);
    this.#layers.set(name, layer);
    const [first = name] = this.#layers.keys();
    if (this.#layers.size > mostLayers) this.#layers.delete(first);
    return layer;
  }

  #fetch({ source, blob }: LazyBlob, range: { offset: number; length: number }): Promise<Buffer> {
    const repository = repositoryOf(source);
    const credentials: CredentialSource = (host) => this.#credentialsFor(repository, host);
    return this.#client.range(source, blob.digest, range, { credentials });
  }

  #explained(err: unknown, { layer, path }: ContentRead): DrydockError {
    const error = toDrydockError(err, 'registry');
    const known = this.#layers.get(layer)?.blob;
    const where =
      known === undefined
        ? `layer ${layer}`
        : `the layer ${known.blob.digest} of ${familiarName(known.source)}`;
    const isRefused = error.code === 'unauthenticated' || error.code === 'denied';
    if (known !== undefined && isRefused) this.#credentials.delete(repositoryOf(known.source));
    return fail(
      error.code,
      error.hop ?? 'registry',
      `${path} of ${where} could not be fetched: ${error.message}`,
      {
        hint: isRefused
          ? 'The credentials with which the image was pulled do not hold any more. Log in, and build again.'
          : (error.hint ?? 'The layer is lazy: its files are fetched when they are read. Build again.'),
        details: { ...error.details, path },
        cause: error,
      },
    );
  }

  #credentialsFor(repository: string, host: string): Promise<RegistryCredentials | undefined> {
    let hosts = this.#credentials.get(repository);
    if (hosts === undefined) {
      hosts = new Map();
      this.#credentials.set(repository, hosts);
    }
    let known = hosts.get(host);
    if (known === undefined) {
      known = this.#ask({ repository, host }).then((plain) => this.#withTokens(plain as PlainCredentials));
      known.catch(() => hosts.delete(host));
      hosts.set(host, known);
    }
    return known;
  }

  #withTokens(plain: PlainCredentials | undefined): RegistryCredentials | undefined {
    if (plain?.tokens === undefined) return plain as RegistryCredentials | undefined;
    const { identity, number } = plain.tokens;
    return {
      ...plain,
      tokens: {
        identity,
        fetch: ({ realm, service, scopes }) =>
          this.#ask({ token: number, request: { realm, service, scopes } }) as Promise<{ token: string }>,
      },
    };
  }

  /** Asks the main thread. Throws its error, and `unavailable` when it does not answer in time. */
  async #ask(
    question:
      | { repository: string; host: string }
      | { token: number; request: { realm: string; service?: string; scopes: readonly string[] } },
  ): Promise<unknown> {
    const ask = ++this.#lastAsk;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#asked.set(ask, { resolve, reject });
    const late = setTimeout(
      () => reject(fail('unavailable', 'session', 'the client did not give its credentials in time')),
      patienceMs,
    );
    try {
      this.#tell({ ask, ...question });
      return await promise;
    } finally {
      clearTimeout(late);
      this.#asked.delete(ask);
    }
  }

  #tell(message: FetcherMessage): void {
    this.#args.main.postMessage(message);
  }
}
