/** The page of the builds of a root, without a daemon: of those that run in this process, and of the ended ones. */

import { ownAuthority } from '../../auth/index.ts';
import type { Engine } from '../../engine/index.ts';
import { both } from '../../progress/index.ts';
import { type RecordBuild, showBuild } from '../../records/index.ts';
import { type LinkServer, openLink } from './link-server.ts';

interface BuildPage extends LinkServer {
  /** Begins the record of a build, which the page shows. */
  record: RecordBuild;
  /** Is told by a build how it is cancelled from the page. */
  runs(ref: string, cancel: () => void): void;
}

/** Where the page begins, and the port that it is at. */
interface PageOptions {
  at?: string;
  port?: number;
}

/** Opens the page. The one who runs the command sees their own builds, and nothing else is behind it. */
export async function openBuildPage(
  { root, runDir }: Pick<Engine['store'], 'root' | 'runDir'>,
  { at, port }: PageOptions,
): Promise<BuildPage> {
  const [{ openHistory }, { Jobs }, { recordBuild }, { uiApi }] = await Promise.all([
    import('../../api/buildkit/history/open.ts'),
    import('../../api/buildkit/jobs/jobs.ts'),
    import('../../api/buildkit/jobs/record-build.ts'),
    import('../../api/ui/server.ts'),
  ]);
  const jobs = new Jobs(runDir);
  const history = openHistory(root, { jobs });
  const authority = ownAuthority();
  const running = new Map<string, () => void>();
  const cancel = (_: unknown, ref: string) => {
    running.get(ref)?.();
    return Number(running.delete(ref));
  };
  const ui = uiApi({
    ...{ observed: { jobs, history }, builds: { cancel } },
    log: () => {},
    admit: async () => authority,
  });
  const server = await openLink({ at, port, answer: ui.handle });
  return {
    link: server.link,
    get opened() {
      return server.opened;
    },
    record: (asked) => {
      const kept = recordBuild({ jobs, history })(asked);
      const shown = showBuild(root)({ ...asked, ref: kept.ref });
      return {
        ref: kept.ref,
        sink: both(kept.sink, shown.sink),
        async ended(built) {
          await kept.ended(built);
          // Others are told that it runs until its record is there.
          await history.settled();
          await shown.ended(built);
        },
        async failed(error) {
          await kept.failed(error);
          await history.settled();
          await shown.failed(error);
        },
      };
    },
    runs: (ref, stop) => void running.set(ref, stop),
    async close() {
      ui.close();
      server.close();
      await history.close();
    },
  };
}
