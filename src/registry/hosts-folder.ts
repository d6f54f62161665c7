/** Finds the `hosts.toml` of a registry in the folders where containerd and docker have them. */
import { readFileSync, statSync } from 'node:fs';
import { errnoCode, fail } from '../errors/index.ts';
import type { HostServer } from './hosts-file.ts';

/** The folders that containerd 2 and dockerd look into. */
const usual: readonly string[] = ['/etc/containerd/certs.d', '/etc/docker/certs.d'];
const largest = 1 << 20;

/** The folders that DRYDOCK_REGISTRY_CONFIG_PATH names, separated by colons; without it, containerd's and docker's. */
export function hostsFolders(env: NodeJS.ProcessEnv = process.env): readonly string[] {
  const named = env.DRYDOCK_REGISTRY_CONFIG_PATH;
  return named === undefined ? usual : named.split(':').filter((dir) => dir !== '');
}

/** The files of registries. A file is read again when it has changed. */
export class HostsFiles {
  readonly #folders: readonly string[];
  readonly #read = new Map<string, { stamp: string; servers: readonly HostServer[] }>();

  constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  /**
   * The servers of a registry, as the first file says that there is for it: `DIR/HOST/hosts.toml`, or
   * `DIR/_default/hosts.toml` for all others; undefined without a file. Throws `invalid` for a file that cannot be read.
   */
  async of(domain: string): Promise<readonly HostServer[] | undefined> {
    // A name that leads to another folder is no host's.
    if (domain.includes('/') || domain.startsWith('.')) return undefined;
    const underscored = domain.replace(/:(\d+)$/, '_$1_');
    for (const name of new Set([underscored, domain, '_default'])) {
      for (const folder of this.#folders) {
        const file = `${folder}/${name}/hosts.toml`;
        const stats = statSync(file, { throwIfNoEntry: false });
        if (stats?.isFile())
          return this.#servers(file, domain, `${stats.mtimeMs} ${stats.ino} ${stats.size}`, stats.size);
      }
    }
    return undefined;
  }

  async #servers(file: string, domain: string, stamp: string, size: number): Promise<readonly HostServer[]> {
    const key = `${file} ${domain}`;
    const before = this.#read.get(key);
    if (before?.stamp === stamp) return before.servers;
    if (size > largest)
      throw fail('exhausted', 'registry', `${file} has ${size} bytes, more than ${largest}`);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (cause) {
      throw fail('invalid', 'registry', `${file} cannot be read (${errnoCode(cause)})`, { cause });
    }
    // Loaded only when there is a file: most machines have none.
    const { parseHostsFile } = await import('./hosts-file.ts');
    const servers = parseHostsFile(text, file, domain);
    this.#read.set(key, { stamp, servers });
    return servers;
  }
}
