/** Which servers are asked for a repository: the registry's mirrors, and the servers of its `hosts.toml`. */
import { DrydockError, fail } from '../errors/index.ts';
import type { Reference } from '../oci/index.ts';
import { endpointOf } from './hosts.ts';
import type { Capability } from './hosts-file.ts';
import type { HostsFiles } from './hosts-folder.ts';
import { type Mirror, parseMirror, placesOf, type RepositoryPlace } from './mirrors.ts';
import type { Transport } from './transport.ts';

/** A domain and the repository's name there. */
type Repository = Pick<Reference, 'domain' | 'path'>;

/** The places of repositories. All methods throw `denied` when a `hosts.toml` names no server that may do the work. */
export class Places {
  readonly #mirrors: ReadonlyMap<string, readonly Mirror[]>;
  readonly #hosts: HostsFiles;
  readonly #transport: Transport;

  /**
   * `mirrors` has the form of `RegistryClientOptions`. The transport learns how the servers of a `hosts.toml` are spoken
   * to. Throws `invalid` for a mirror that is no host.
   */
  constructor(mirrors: Readonly<Record<string, readonly string[]>>, hosts: HostsFiles, transport: Transport) {
    this.#mirrors = new Map(Object.entries(mirrors).map(([domain, list]) => [domain, list.map(parseMirror)]));
    this.#hosts = hosts;
    this.#transport = transport;
  }

  /** Asks the domain's mirrors, then the domain itself; throws the last one's error. */
  async ask<T>(
    repository: Repository,
    capability: Capability,
    ask: (place: RepositoryPlace, isLast: boolean) => Promise<T>,
  ): Promise<T> {
    const mirrors = placesOf(repository, this.#mirrors.get(repository.domain)).slice(0, -1);
    const places = [...mirrors, ...(await this.#at(repository, capability))];
    for (const place of places.slice(0, -1)) {
      try {
        return await ask(place, false);
      } catch (err) {
        if (err instanceof DrydockError && err.code === 'canceled') throw err;
      }
    }
    return ask(places.at(-1) as RepositoryPlace, true);
  }

  /** The last of the places that can do something: the registry itself, or what stands for it. */
  async last(repository: Repository, capability: Capability): Promise<RepositoryPlace> {
    const places = await this.#at(repository, capability);
    return places.at(-1) ?? places[0];
  }

  /** The place that a repository is written to. */
  async written(repository: Repository): Promise<RepositoryPlace> {
    return (await this.#at(repository, 'push'))[0];
  }

  /** The places that can do something, as the `hosts.toml` says; the registry itself without one. */
  async #at(
    { domain, path }: Repository,
    capability: Capability,
  ): Promise<[RepositoryPlace, ...RepositoryPlace[]]> {
    const servers = await this.#hosts.of(domain);
    if (servers === undefined) return [{ domain, path }];
    const [first, ...others] = servers.filter(({ capabilities }) => capabilities.includes(capability));
    if (first === undefined) {
      throw fail(
        'denied',
        'registry',
        `no server of ${domain} may be asked to ${capability}, says its hosts.toml`,
        { hint: `Add "${capability}" to the capabilities of one.` },
      );
    }
    const own = endpointOf(domain).host;
    const placeOf = (server: typeof first): RepositoryPlace => {
      this.#transport.learn(server);
      const namespace = new URL(server.origin).host === own ? undefined : domain;
      return { domain: server.name, path, namespace };
    };
    return [placeOf(first), ...others.map(placeOf)];
  }
}
