/** One build: what it is, and the tabs with all that is known of it. */
import type { ComponentType } from 'preact';
import type { BuildDetail } from '../../src/api/ui/types.ts';
import { count, duration, time } from '../data/format.ts';
import { useBuild, useNow } from '../data/live.ts';
import { type Address, addressOf } from '../data/router.ts';
import { Problem, State, Tabs } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { Actions } from './build/actions.tsx';
import { AttestationsTab } from './build/attestations.tsx';
import { DockerfileTab } from './build/dockerfile.tsx';
import { FailureBox } from './build/failure.tsx';
import { GraphTab } from './build/graph.tsx';
import { OverviewTab } from './build/overview.tsx';
import { StepsTab } from './build/steps.tsx';
import { TimelineTab } from './build/timeline.tsx';

export interface TabProps {
  build: BuildDetail;
  /** ms, by the daemon's clock. */
  now: number;
  query: URLSearchParams;
}

interface BuildTab {
  name: string;
  title: string;
  note?(build: BuildDetail): string | undefined;
  Shown: ComponentType<TabProps>;
}

const tabs: readonly BuildTab[] = [
  { name: 'overview', title: 'Overview', Shown: OverviewTab },
  { name: 'steps', title: 'Steps', note: ({ stepList }) => String(stepList.length), Shown: StepsTab },
  { name: 'graph', title: 'Graph', Shown: GraphTab },
  { name: 'timeline', title: 'Timeline', Shown: TimelineTab },
  { name: 'dockerfile', title: 'Dockerfile', Shown: DockerfileTab },
  {
    name: 'attestations',
    title: 'Attestations',
    note: ({ attestations }) => (attestations.length > 0 ? String(attestations.length) : undefined),
    Shown: AttestationsTab,
  },
];

export function BuildView({ address: { path, query } }: { address: Address }) {
  const [, ref = '', chosen = 'overview'] = path;
  const { source, offset } = usePage();
  const { build, error, lost, gone, again } = useBuild(source, ref);
  const now = useNow(build?.state === 'running', offset);
  if (build === undefined)
    return error === undefined ? <p class="loading">Loading …</p> : <Problem error={error} />;
  const tab = tabs.find(({ name }) => name === chosen) ?? tabs[0]!;
  const archive = source.archiveAddress(ref);
  return (
    <section class="build" aria-labelledby="build-title">
      <header class="build-head">
        <h1 id="build-title">
          <State state={build.state} />
          <span class="name">{build.name || build.ref}</span>
        </h1>
        <p class="note">
          {duration((build.completedAt ?? now) - build.startedAt)} · {time(build.startedAt, now)} ·{' '}
          {build.who} · {count(build.steps.completed, 'step')} of {build.steps.total}
          {build.steps.cached > 0 && `, ${build.steps.cached} cached`}
          {archive !== undefined && build.state !== 'running' && !gone && (
            <>
              {' · '}
              <a href={archive} download>
                Download as an archive
              </a>
            </>
          )}
        </p>
        {gone ? (
          <p role="status">
            The daemon does not know this build any more: it was stopped while the build ran, or the record
            was removed. This is the last that it told.
          </p>
        ) : (
          <Actions build={build} changed={again} />
        )}
        {build.state === 'running' && <Progress build={build} />}
        {lost && <p role="status">The connection is lost; trying again …</p>}
      </header>
      {build.failure !== undefined && <FailureBox build={build} />}
      <Tabs
        label="Parts of the build"
        now={tab.name}
        tabs={tabs.map(({ name, title, note }) => ({
          name,
          title,
          note: note?.(build),
          href: addressOf(['builds', ref, name]),
        }))}
      />
      <div class="tab">
        <tab.Shown build={build} now={now} query={query} />
      </div>
    </section>
  );
}

function Progress({ build: { steps } }: { build: BuildDetail }) {
  return <progress aria-label="Steps that are done" max={Math.max(1, steps.total)} value={steps.completed} />;
}
