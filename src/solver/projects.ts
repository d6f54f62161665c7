/** What builds are for: the folder or URL that they are made from, and the names of their images. */
import type { MadeFor } from '../cache/index.ts';
import { maskUrls } from '../errors/index.ts';
import { normalizeName } from '../oci/index.ts';
import type { Job } from './job.ts';
import type { Vertex } from './types.ts';

/** Finds out once for each build what it is for. */
export class Projects {
  readonly #folders = new WeakMap<object, Promise<string | undefined>>();

  /** The client's folder, or what stands for it where the client sends it; undefined: the build has none. */
  folderOf(job: Job): Promise<string | undefined> {
    let folder = this.#folders.get(job.about);
    if (folder === undefined) {
      folder = findFolder(job);
      this.#folders.set(job.about, folder);
    }
    return folder;
  }

  /** What the records of a build are made for. Never rejects. */
  async madeFor(job: Job): Promise<MadeFor> {
    const { context, names = [] } = job.about.origin;
    const folder = await this.folderOf(job).catch(() => undefined);
    return {
      project: folder || (context === undefined ? undefined : maskUrls(context)),
      images: names.flatMap((list) => list.split(',')).flatMap(fullName),
    };
  }
}

/** All vertices that a build holds. */
export function verticesOf(job: Job): Vertex[] {
  return [...job.holds].flatMap((hold) => [...hold.states]).map(({ vertex }) => vertex);
}

/** How many they are, without looking at each. */
export function sizeOf(job: Job): number {
  let size = 0;
  for (const { states } of job.holds) size += states.size;
  return size;
}

async function findFolder(job: Job): Promise<string | undefined> {
  const folders = verticesOf(job).flatMap(({ op: { op } }) => {
    const [, name] = (op.case === 'source' && /^local:\/\/(.*)$/.exec(op.value.identifier)) || [];
    return name === undefined ? [] : [name];
  });
  const name = folders.includes('context') ? 'context' : folders.sort()[0];
  const provider = name === undefined ? undefined : await job.session.local(name).catch(() => undefined);
  return provider?.kind === 'folder' ? provider.dir : provider?.sharedKey;
}

function fullName(name: string): string[] {
  try {
    return [normalizeName(name)];
  } catch {
    return [];
  }
}
