/** The page of the builds that run in this process, without a daemon. */
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { RecordBuild } from '../../api/index.ts';
import type { Authority } from '../../auth/index.ts';
import { type LinkServer, openLink } from './link-server.ts';

interface BuildPage extends LinkServer {
  /** Begins the record of a build, which the page shows. */
  record: RecordBuild;
  /** Is told by a build how it is cancelled from the page. */
  runs(ref: string, cancel: () => void): void;
}

/** The one who runs the command sees its builds, and nothing else is behind the page. */
const owner = `peer ${userInfo().uid}`;

/** Opens the page, of one build or of several. `folder` is removed with the process; the records lie there. */
export async function openBuildPage(folder: string, several: boolean): Promise<BuildPage> {
  const [{ History }, { Jobs }, { recordBuild }, { uiApi }] = await Promise.all([
    import('../../api/buildkit/history/history.ts'),
    import('../../api/buildkit/jobs/jobs.ts'),
    import('../../api/buildkit/jobs/record-build.ts'),
    import('../../api/ui/server.ts'),
  ]);
  const jobs = new Jobs(folder);
  const history = new History(join(folder, 'ui-history.db'));
  const { uid, gid } = userInfo();
  const authority: Authority = {
    identity: { kind: 'peer', uid, gid, pid: process.pid, groups: [] },
    scopes: new Set(['build']),
    allow: new Set(),
  };
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
  const server = await openLink({ at: several ? '#/builds' : '#/builds?open=newest', answer: ui.handle });
  const record = recordBuild({ jobs, history });
  return {
    link: server.link,
    get opened() {
      return server.opened;
    },
    record: (asked) => record({ ...asked, owner }),
    runs: (ref, stop) => void running.set(ref, stop),
    close() {
      ui.close();
      server.close();
      void history.close();
    },
  };
}
