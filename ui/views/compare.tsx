/** Two builds side by side: their steps in pairs, what each took, and why it ran; arguments that differ. */
import { useEffect, useState } from 'preact/hooks';
import type { BuildDetail, Step } from '../../src/api/ui/types.ts';
import { duration, time } from '../data/format.ts';
import { useBuild, useNow } from '../data/live.ts';
import { type Address, addressOf, setQuery } from '../data/router.ts';
import { partners, splitName, stateOf, tookOf } from '../data/steps.ts';
import { Problem, State } from '../parts/bits.tsx';
import { usePage } from '../parts/context.ts';
import { VirtualList } from '../parts/virtual-list.tsx';

const rowHeight = 64;
/** Differences below this are noise, in ms. */
const noise = 20;

export function CompareView({ address: { path, query } }: { address: Address }) {
  const { source, offset } = usePage();
  const [, one = '', other = ''] = path;
  const before = useBuild(source, one);
  const after = useBuild(source, other);
  const now = useNow(
    [before, after].some(({ build }) => build?.state === 'running'),
    offset,
  );
  const explained = useExplained(one, other, [before, after].map(({ build }) => build?.state).join());
  const error = before.error ?? after.error;
  if (error !== undefined) return <Problem error={error} />;
  if (before.build === undefined || after.build === undefined) return <p class="loading">Loading …</p>;
  const onlyChanged = query.get('changed') === '1';
  const pairs = partners(before.build.stepList, after.build.stepList)
    .filter(([a, b]) => !onlyChanged || differ(a, b, now))
    .sort(([a, b], [c, d]) => (tookMost(c, d, now) ?? 0) - (tookMost(a, b, now) ?? 0));
  return (
    <section class="compare" aria-labelledby="compare-title">
      <h1 id="compare-title">Two builds</h1>
      <div class="compare-heads">
        <Head build={before.build} now={now} title="First" />
        <Head build={after.build} now={now} title="Second" />
      </div>
      <a class="button" href={addressOf(['compare', other, one])}>
        Swap them
      </a>
      <Differences before={before.build} after={after.build} />
      <h2 id="pairs">Steps</h2>
      <label class="choice">
        <input
          type="checkbox"
          checked={onlyChanged}
          onChange={(event) => setQuery({ changed: event.currentTarget.checked ? '1' : undefined })}
        />{' '}
        only those that differ
      </label>
      <VirtualList
        label="Steps of both builds"
        count={pairs.length}
        rowHeight={rowHeight}
        row={(i) => {
          const [a, b] = pairs[i] as [Step | undefined, Step | undefined];
          const name = (b ?? a)?.name ?? '';
          const delta = a && b && difference(a, b, now);
          return (
            <li key={`${a?.digest} ${b?.digest}`} class="pair">
              <span class="pair-name">
                {splitName(name).text}
                {(explained.get(name) ?? whyOf(b)).map((line) => (
                  <span key={line} class="note">
                    {' '}
                    {line}
                  </span>
                ))}
              </span>
              <Side step={a} buildRef={one} now={now} />
              <Side step={b} buildRef={other} now={now} />
              <span
                class={`delta ${delta === undefined ? '' : delta > noise ? 'slower' : delta < -noise ? 'faster' : ''}`}
              >
                {delta === undefined
                  ? a === undefined
                    ? 'only in the second'
                    : 'only in the first'
                  : `${delta < 0 ? '−' : '+'}${duration(Math.abs(delta))}`}
              </span>
            </li>
          );
        }}
      />
    </section>
  );
}

/** What explain tells of the steps of two builds, by their names: the same as `drydock explain` of the two. */
function useExplained(one: string, other: string, states: string): ReadonlyMap<string, string[]> {
  const { source } = usePage();
  const [lines, setLines] = useState<ReadonlyMap<string, string[]>>(new Map());
  useEffect(() => {
    let over = false;
    source.compare?.(one, other).then(
      ({ steps }) => !over && setLines(new Map(steps.map(({ step, lines }) => [step, lines]))),
      // The times are worth seeing without it.
      () => {},
    );
    return () => {
      over = true;
    };
  }, [source, one, other, states]);
  return lines;
}

/** Why a step ran, where explain cannot tell what it was before. */
function whyOf(step: Step | undefined): string[] {
  return step?.why === undefined ? [] : [`not cached: ${step.why}`];
}

function tookMost(a: Step | undefined, b: Step | undefined, now: number): number {
  return Math.max(a === undefined ? 0 : (tookOf(a, now) ?? 0), b === undefined ? 0 : (tookOf(b, now) ?? 0));
}

function difference(a: Step, b: Step, now: number): number {
  const took = (step: Step) => (step.cached ? 0 : (tookOf(step, now) ?? 0));
  return took(b) - took(a);
}

function differ(a: Step | undefined, b: Step | undefined, now: number): boolean {
  if (a === undefined || b === undefined) return true;
  return a.digest !== b.digest || stateOf(a) !== stateOf(b) || Math.abs(difference(a, b, now)) > noise;
}

function Head({ build, now, title }: { build: BuildDetail; now: number; title: string }) {
  return (
    <div class="compare-head">
      <h2>
        {title}: <State state={build.state} />{' '}
        <a href={addressOf(['builds', build.ref])}>{build.name || build.ref}</a>
      </h2>
      <p class="note">
        {time(build.startedAt, now)} · {duration((build.completedAt ?? now) - build.startedAt)} ·{' '}
        {build.steps.cached} of {build.steps.total} steps cached
      </p>
    </div>
  );
}

function Side({ step, buildRef, now }: { step: Step | undefined; buildRef: string; now: number }) {
  if (step === undefined) return <span class="side note">–</span>;
  const took = tookOf(step, now);
  return (
    <a class="side" href={addressOf(['builds', buildRef, 'steps'], { step: step.digest })}>
      <State state={stateOf(step)} short />
      <span class="took"> {step.cached || took === undefined ? '' : duration(took)}</span>
      <span class="unseen"> {step.name}</span>
    </a>
  );
}

/** Arguments, targets and files that differ. */
function Differences({ before, after }: { before: BuildDetail; after: BuildDetail }) {
  const rows: [string, string, string][] = [];
  const put = (name: string, a = '', b = '') => {
    if (a !== b) rows.push([name, a, b]);
  };
  put('context', before.context, after.context);
  put('target', before.target, after.target);
  put('platforms', before.platforms.join(', '), after.platforms.join(', '));
  put('digest', before.digest, after.digest);
  for (const name of new Set([...Object.keys(before.buildArgs), ...Object.keys(after.buildArgs)]))
    put(`argument ${name}`, before.buildArgs[name], after.buildArgs[name]);
  for (const line of linesThatDiffer(before, after)) rows.push(line);
  if (rows.length === 0) return null;
  return (
    <table class="differences">
      <caption>What differs</caption>
      <thead>
        <tr>
          <th scope="col">What</th>
          <th scope="col">First</th>
          <th scope="col">Second</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, a, b], i) => (
          <tr key={i}>
            <th scope="row">{name}</th>
            <td>{a}</td>
            <td>{b}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const mostLines = 20;

/** Lines of the first file that only one of the builds has. */
function linesThatDiffer(before: BuildDetail, after: BuildDetail): [string, string, string][] {
  const [a = '', b = ''] = [before.files[0]?.text, after.files[0]?.text];
  if (a === b) return [];
  const [first, second] = [a.split('\n'), b.split('\n')];
  const [inFirst, inSecond] = [new Set(first), new Set(second)];
  const name = after.files[0]?.name ?? before.files[0]?.name ?? '';
  const gone = first.flatMap((line, i): [string, string, string][] =>
    inSecond.has(line) ? [] : [[`${name}:${i + 1}`, line, '']],
  );
  const come = second.flatMap((line, i): [string, string, string][] =>
    inFirst.has(line) ? [] : [[`${name}:${i + 1}`, '', line]],
  );
  return [...gone, ...come].slice(0, mostLines);
}
