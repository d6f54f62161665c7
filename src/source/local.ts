/** `local://NAME`: a folder of the client's, as it is (same host) or as last synchronised (a client elsewhere). */
import { canceled, toDrydockError } from '../errors/error.ts';
import { keptUnder } from '../kept/kept.ts';
import { digestOf } from '../oci/digest.ts';
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
  const hint = read.text('local.sharedkeyhint') ?? '';
  // Files are known again by size and times, unless the definition says that these mean nothing.
  const afresh = read.text('local.differ') === 'none';
  read.skip('local.session', 'local.unique', 'local.metadatatransfer');
  read.done();
  return {
    async cacheMap() {
      return { digest: digestOf(`local ${JSON.stringify([name, select])}`), deps: [], volatile: true };
    },
    async exec(_, ctx) {
      const provider = await ctx.session.local(name);
      if (provider === undefined) throw noFolder(name);
      const dir = await folderOf(provider, name, { ...select, afresh }, hint, deps.store, ctx);
      // A client elsewhere sends what is selected, and nothing else, into a folder that is locked.
      const filter = provider.kind === 'folder' ? select : { state: 'fixed' as const };
      return [deps.refs.folder({ kind: 'folder', dir, rootOwned: true, cacheKey: dir, ...filter })];
    },
  };
};

async function folderOf(
  provider: LocalProvider,
  name: string,
  select: Selection & { afresh: boolean },
  hint: string,
  store: Store,
  ctx: OpContext,
): Promise<string> {
  if (provider.kind === 'folder') return provider.dir;
  // Clients tell apart by the hint what they select of one folder for different ends.
  const key = JSON.stringify([name, hint, provider.sharedKey]);
  const held = keptUnder(store.root).clientFolders.claim(key, name);
  ctx.onRelease?.(() => held.release());
  const dir = await held.data();
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
