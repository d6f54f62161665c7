/** The list of builds: running ones first, then those of the past, with filters that are in the address. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { BuildSummary } from '../../src/api/ui/types.ts';
import { ago, count, duration, time } from '../data/format.ts';
import { useNow } from '../data/live.ts';
import { type Address, addressOf, go, setQuery } from '../data/router.ts';
import { Problem, SearchBox, State } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { VirtualList } from '../parts/virtual-list.tsx';

const states = ['running', 'completed', 'failed', 'canceled'] as const;
const rowHeight = 44;

export function BuildsView({ address: { query } }: { address: Address }) {
  const { offset } = usePage();
  const { builds, error, more, lost } = useBuilds();
  const [chosen, setChosen] = useState<string>();
  const text = query.get('q') ?? '';
  const state = query.get('state') ?? '';
  const repository = query.get('repository') ?? '';
  const who = query.get('who') ?? '';
  const sort = query.get('sort') ?? 'begun';
  // The references of builds that a command has begun together.
  const only = query.get('only') ?? '';
  const shown = useMemo(
    () => sorted((builds ?? []).filter(fitting({ text, state, repository, who, only })), sort),
    [builds, text, state, repository, who, only, sort],
  );
  // The page of one build leads to it, once it is there.
  const open = query.get('open');
  const opened = builds?.find(({ ref }) => ref === open);
  useEffect(() => {
    if (opened !== undefined) go(addressOf(['builds', opened.ref]), true);
  }, [opened?.ref]);
  const now = useNow(
    shown.some((build) => build.state === 'running'),
    offset,
  );
  if (error !== undefined && builds === undefined) return <Problem error={error} />;
  const repositories = unique(builds, ({ repository }) => repository);
  const people = unique(builds, (build) => build.who);
  return (
    <section class="builds" aria-labelledby="builds-title">
      <h1 id="builds-title">Builds</h1>
      <search class="filters">
        <SearchBox
          label="Search"
          placeholder="Search: name, image, reference, error"
          value={text}
          onChange={(words) => setQuery({ q: words })}
        />
        <Choice name="state" all="Any state" value={state} values={states} />
        {repositories.length > 0 && (
          <Choice name="repository" all="Any repository" value={repository} values={repositories} />
        )}
        {people.length > 1 && <Choice name="who" all="Anybody" value={who} values={people} />}
        <label class="choice">
          <span class="unseen">Order</span>
          <select value={sort} onChange={(event) => setQuery({ sort: event.currentTarget.value })}>
            <option value="begun">newest first</option>
            <option value="longest">longest first</option>
          </select>
        </label>
        <span class="note" role="status">
          {lost
            ? 'The connection is lost; trying again …'
            : builds === undefined
              ? 'Loading …'
              : `${count(shown.length, 'build')}${more ? ', and older ones' : ''}`}
        </span>
        {only !== '' && (
          <button type="button" onClick={() => setQuery({ only: undefined })}>
            Show all builds
          </button>
        )}
        {chosen !== undefined && <span class="note">Choose another build to compare with.</span>}
      </search>
      {builds !== undefined && shown.length === 0 ? (
        <p class="empty">
          {builds.length === 0
            ? 'No build is known yet. Builds appear here when they begin, by whatever client.'
            : 'No build fits.'}
        </p>
      ) : (
        <VirtualList
          class="rows"
          label="List of builds"
          count={shown.length}
          rowHeight={rowHeight}
          row={(i) => {
            const build = shown[i] as BuildSummary;
            return (
              <Row
                key={`${build.who} ${build.ref}`}
                build={build}
                now={now}
                chosen={chosen}
                choose={setChosen}
              />
            );
          }}
        />
      )}
    </section>
  );
}

interface RowProps {
  build: BuildSummary;
  now: number;
  chosen: string | undefined;
  choose(ref: string | undefined): void;
}

function Row({ build, now, chosen, choose }: RowProps) {
  const { ref, name, state, steps, who, startedAt, completedAt, error, warnings, pinned } = build;
  const isChosen = chosen === ref;
  return (
    <li class="build-row">
      <a class="build-link" href={addressOf(['builds', ref])}>
        <State state={state} short />
        <span class="build-name">
          <span class="name">{name || ref}</span>
          <span class="note">{error === undefined ? `${ref.slice(0, 13)} · ${who}` : error}</span>
        </span>
        <span class="build-steps">
          {steps.completed}/{steps.total}
          <span class="unseen"> steps</span>
          {steps.cached > 0 && <span class="note"> {steps.cached} cached</span>}
          {pinned && <span class="note"> pinned</span>}
          {warnings > 0 && <span class="warn"> {count(warnings, 'warning')}</span>}
        </span>
        <span class="build-time">{duration((completedAt ?? now) - startedAt)}</span>
        <time class="build-ago" dateTime={new Date(startedAt).toISOString()} title={time(startedAt, 0)}>
          {ago(startedAt, now)}
        </time>
      </a>
      {chosen === undefined || isChosen ? (
        <button type="button" aria-pressed={isChosen} onClick={() => choose(isChosen ? undefined : ref)}>
          Compare<span class="unseen"> {name || ref}</span>
        </button>
      ) : (
        <a class="button" href={addressOf(['compare', chosen, ref])}>
          with this<span class="unseen"> {name || ref}</span>
        </a>
      )}
    </li>
  );
}

interface ChoiceProps {
  name: string;
  all: string;
  value: string;
  values: readonly string[];
}

function Choice({ name, all, value, values }: ChoiceProps) {
  return (
    <label class="choice">
      <span class="unseen">{name}</span>
      <select value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
        <option value="">{all}</option>
        {values.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
    </label>
  );
}

interface Filter {
  text: string;
  state: string;
  repository: string;
  who: string;
  only: string;
}

function fitting({ text, state, repository, who, only }: Filter): (build: BuildSummary) => boolean {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const refs = new Set(only === '' ? [] : only.split('.'));
  return (build) => {
    if (refs.size > 0 && !refs.has(build.ref)) return false;
    if (state !== '' && build.state !== state) return false;
    if (repository !== '' && build.repository !== repository) return false;
    if (who !== '' && build.who !== who) return false;
    if (words.length === 0) return true;
    const { name, ref, context, target, error, images, digest } = build;
    const all = [name, ref, context, target, error, digest, build.who, ...images].join(' ').toLowerCase();
    return words.every((word) => all.includes(word));
  };
}

function sorted(builds: BuildSummary[], order: string): BuildSummary[] {
  if (order !== 'longest') return builds;
  const took = ({ completedAt, startedAt }: BuildSummary) => (completedAt ?? Date.now()) - startedAt;
  return builds.sort((a, b) => took(b) - took(a));
}

function unique(
  builds: readonly BuildSummary[] | undefined,
  of: (build: BuildSummary) => string | undefined,
): string[] {
  return [...new Set((builds ?? []).flatMap((build) => of(build) ?? []))].sort();
}

/** The builds, kept up to date. */
function useBuilds() {
  const { source } = usePage();
  const [state, setState] = useState<{
    builds?: BuildSummary[];
    more?: boolean;
    error?: Error;
    lost?: boolean;
  }>({});
  useEffect(() => {
    const load = (which: 'newest' | 'all') =>
      source.builds(which).then(
        ({ builds, more }) => setState({ builds, more }),
        (error: Error) => setState((old) => ({ ...old, error })),
      );
    // The newest are in sight at once. What has come before the stream began is in the list that is asked for then.
    void load('newest');
    return source.followBuilds({
      open: () => void load('all'),
      lost() {
        setState((old) => ({ ...old, lost: true }));
        void load('all');
      },
      build: (build) =>
        setState((old) => ({ ...old, builds: old.builds && withBuild(old.builds, build), lost: false })),
      gone: (ref) => setState((old) => ({ ...old, builds: old.builds?.filter((each) => each.ref !== ref) })),
    });
  }, [source]);
  return state;
}

function withBuild(builds: readonly BuildSummary[], build: BuildSummary): BuildSummary[] {
  const place = builds.findIndex(({ ref, who }) => ref === build.ref && who === build.who);
  return place < 0 ? [build, ...builds] : builds.with(place, build);
}
