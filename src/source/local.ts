/**
 * `local://NAME`: a folder of the client, as it is (on the same host), or as it was last synchronised (of a client
 * elsewhere).
 */
import { canceled, toDrydockError } from '../errors/index.ts';
import { keptUnder } from '../kept/index.ts';
import { digestOf } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import { folderSync, type LocalProvider, noFolder } from '../session/index.ts';
import type { OpContext } from '../solver/index.ts';
import type { Store } from '../store/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';

interface Selection {
  includes?: string[];
  excludes?: string[];
  followPaths?: string[];
  metadataOnly?: string[];
}

export const localSource: SourceMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const name = identifier.slice('local://'.length);
  const read = attrReader(attrs, identifier);
  const allBut = read.list('local.metadatatransferexclude') ?? [];
  const select: Selection = {
    includes: read.list('local.includepattern'),
    excludes: read.list('local.excludepatterns'),
    followPaths: read.list('local.followpaths'),
    ...(read.flag('local.metadatatransfer') && { metadataOnly: allBut }),
  };
  // Whose folder it is, the session says; how a client compares folders is its own affair.
  const hint = read.text('local.sharedkeyhint') ?? '';
  // Files are known again by size and times, unless the definition says that these mean nothing.
  const afresh = read.text('local.differ') === 'none';
  const sessionId = read.text('local.session');
  read.skip('local.unique');
  read.done();
  return {
    async cacheMap({ session }) {
      // Clients name their own session, which is another one each time.
      const other = sessionId === undefined || sessionId === session.id ? [] : [sessionId];
      return {
        digest: digestOf(`local ${JSON.stringify([name, select, ...other])}`),
        deps: [],
        volatile: true,
        used: { kind: 'local', name },
      };
    },
    async exec(_, ctx) {
      const provider = await ctx.session.local(name, sessionId);
      if (provider === undefined) throw noFolder(name);
      const folder = { kind: 'folder', rootOwned: true } as const;
      if (provider.kind === 'folder' && select.metadataOnly === undefined) {
        const { dir } = provider;
        return [deps.refs.folder({ ...folder, dir, cacheKey: dir, ...select })];
      }
      const sender = provider.kind === 'folder' ? folderSync(provider.dir) : provider;
      // A client elsewhere sends what is selected, and nothing else, into a folder that is locked.
      const { dir, stamp } = await synced(sender, name, { ...select, afresh }, hint, deps.store, ctx);
      // Only of a listed state is it known what files hold, once their links have changed their ctimes.
      const state = stamp === undefined ? 'fixed' : 'kept';
      return [deps.refs.folder({ ...folder, dir, cacheKey: dir, state, stamp })];
    },
  };
};

async function synced(
  provider: Extract<LocalProvider, { kind: 'sync' }>,
  name: string,
  select: Selection & { afresh: boolean },
  hint: string,
  store: Store,
  ctx: OpContext,
): Promise<{ dir: string; stamp: string | undefined }> {
  // Clients tell apart by the hint what they select of one folder for different ends.
  const { metadataOnly } = select;
  const key = JSON.stringify([name, hint, provider.sharedKey, ...(metadataOnly ? [metadataOnly] : [])]);
  const held = keptUnder(store.root).clientFolders.claim({ key, name, owner: ctx.session.tenant?.id });
  ctx.onRelease?.(() => held.release());
  const dir = await held.data();
  const listing = `${dir}.list`;
  try {
    const report: ReportStatus = (id, state) => ctx.progress.report(id, state);
    return { dir, stamp: await provider.sync(dir, { ...select, listing }, report, ctx.signal) };
  } catch (err) {
    if (ctx.signal.aborted) throw canceled(ctx.signal.reason);
    const error = toDrydockError(err, 'session');
    error.hop ??= 'session';
    throw error;
  }
}
