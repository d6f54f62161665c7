/** The containers of one frontend. */
import { canceled, fail } from '../../errors/index.ts';
import type { NewContainerRequest } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Bridge } from '../bridge/bridge.ts';
import { Container } from './container.ts';
import type { RefTable } from './results.ts';

/** The containers of one frontend, by the ids that the frontend gives them. */
export class Containers {
  readonly #bridge: Bridge;
  readonly #refs: RefTable;
  readonly #byId = new Map<string, Container>();
  #isClosed = false;

  constructor(bridge: Bridge, refs: RefTable) {
    this.#bridge = bridge;
    this.#refs = refs;
  }

  /** Makes a container; nothing runs in it yet. Throws `exists`, and the errors of its mounts. */
  async add(request: NewContainerRequest): Promise<void> {
    const id = request.ContainerID;
    const taken = () => fail('exists', 'exec', `Container ${id} already exists`);
    if (id === '') throw fail('invalid', 'exec', 'a container needs an ID');
    if (this.#byId.has(id)) throw taken();
    const container = new Container(this.#bridge, request);
    this.#byId.set(id, container);
    try {
      await container.prepare((ref) => this.#refs.get(ref));
      if (this.#isClosed) throw fail('unavailable', 'exec', 'the build is over');
    } catch (err) {
      this.#byId.delete(id);
      await container.release();
      throw err;
    }
  }

  /** The container of an id. Throws `not-found`. */
  get(id: string): Container {
    const container = this.#byId.get(id);
    if (container === undefined) {
      throw fail('not-found', 'exec', `container ${JSON.stringify(id)} previously released or not created`);
    }
    return container;
  }

  /**
   * Kills the processes of a container and lets go of its files. Throws `not-found`, and `canceled` when a process
   * still ran.
   */
  async release(id: string): Promise<void> {
    const container = this.get(id);
    this.#byId.delete(id);
    // Clients take the end of a process that they ended so for the container's error, as BuildKit says it.
    if (await container.release()) throw canceled('the container was released while processes ran in it');
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const left = [...this.#byId.values()];
    this.#byId.clear();
    await Promise.all(left.map((container) => container.release()));
  }
}
