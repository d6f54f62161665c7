/** `local://NAME`: a folder of the client's, as it is (same host) or as last synchronised (a client elsewhere). */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { canceled, toDrydockError } from '../errors/error.ts';
import { tryLock } from '../linux/libc.ts';
import { digestOf, hex } from '../oci/digest.ts';
import type { OpMaker } from '../ops/deps.ts';
import { noFolder } from '../session/no-folder.ts';
import type { LocalProvider } from '../session/types.ts';
import type { OpContext } from '../solver/types.ts';
import type { Store } from '../store/store.ts';
import { attrReader, sourceOf } from './attrs.ts';

interface Selection {
  includes?: string[];
  excludes?: string[];
  followPaths?: string[];
}

export const localSource: OpMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const name = identifier.slice('local://'.length);
  const read = attrReader(attrs, identifier);
  const select: Selection = {
    includes: read.list('local.includepattern'),
    excludes: read.list('local.excludepatterns'),
    followPaths: read.list('local.followpaths'),
  };
  // Whose folder it is, the session says; how a client compares folders is its own affair.
  read.skip('local.session', 'local.unique', 'local.sharedkeyhint', 'local.differ', 'local.metadatatransfer');
  read.done();
  return {
    async cacheMap() {
      return { digest: digestOf(`local ${JSON.stringify([name, select])}`), deps: [], volatile: true };
    },
    async exec(_, ctx) {
      const provider = await ctx.session.local(name);
      if (provider === undefined) throw noFolder(name);
      const dir = await folderOf(provider, name, select, deps.store, ctx);
      // A client sends what is selected, and nothing else.
      const filter = provider.kind === 'folder' ? select : {};
      return [deps.refs.folder({ kind: 'folder', dir, rootOwned: true, cacheKey: dir, ...filter })];
    },
  };
};

async function folderOf(
  provider: LocalProvider,
  name: string,
  select: Selection,
  store: Store,
  ctx: OpContext,
): Promise<string> {
  if (provider.kind === 'folder') return provider.dir;
  const dir = claimFolder(join(store.root, 'sync', hex(digestOf(`${name} ${provider.sharedKey}`))), ctx);
  try {
    await provider.sync(dir, select, (id, state) => ctx.progress.report(id, state), ctx.signal);
  } catch (err) {
    if (ctx.signal.aborted) throw canceled(ctx.signal.reason);
    const error = toDrydockError(err, 'session');
    error.hop ??= 'session';
    throw error;
  }
  return dir;
}

/**
 * A folder under `base` that nobody else uses until the vertex is released, best the one used last: what the client
 * sent before need not be sent again. Held by a file lock, which dies with the process.
 */
function claimFolder(base: string, ctx: OpContext): string {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  for (let n = 0; ; n++) {
    const fd = openSync(join(base, `${n}.lock`), 'a', 0o600);
    if (tryLock(fd)) {
      ctx.onRelease?.(() => closeSync(fd));
      const dir = join(base, String(n));
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      return dir;
    }
    closeSync(fd);
  }
}
