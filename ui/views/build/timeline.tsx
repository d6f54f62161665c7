/** When each step ran, how long it waited for what, and how many ran beside each other. */
import { useMemo } from 'preact/hooks';
import type { Step } from '../../../src/api/ui/types.ts';
import { duration } from '../../data/format.ts';
import { addressOf } from '../../data/router.ts';
import { criticalPath, lastInput, splitName, stateOf, stateWords } from '../../data/steps.ts';
import { VirtualList } from '../../parts/virtual-list.tsx';
import type { TabProps } from '../build.tsx';

const rowHeight = 30;
const slots = 200;

export function TimelineTab({ build, now }: TabProps) {
  const { ref, stepList } = build;
  const begun = useMemo(
    () =>
      stepList
        .filter(({ startedAt }) => startedAt !== undefined)
        .sort((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0)),
    [stepList],
  );
  const byDigest = useMemo(() => new Map(stepList.map((step) => [step.digest, step])), [stepList]);
  const critical = useMemo(() => criticalPath(stepList, now), [stepList, now]);
  if (begun.length === 0) return <p class="empty">No step has begun yet.</p>;
  const from = Math.min(build.startedAt, begun[0]?.startedAt ?? 0);
  const to = build.completedAt ?? now;
  const span = Math.max(1, to - from);
  const at = (ms: number) => (100 * (ms - from)) / span;
  const beside = parallelOf(begun, from, span, now);
  const most = Math.max(1, ...beside);
  const busy = begun.reduce(
    (sum, { startedAt = 0, completedAt = now, cached }) => sum + (cached ? 0 : completedAt - startedAt),
    0,
  );
  return (
    <div class="timeline">
      <p class="note">
        {duration(span)} in all; steps ran for {duration(busy)} together, {(busy / span).toFixed(1)} beside
        each other in the mean and {most} at most.
      </p>
      <svg
        class="parallel"
        viewBox={`0 0 ${slots} 20`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`At most ${most} steps beside each other`}
      >
        {beside.map((many, i) =>
          many === 0 ? null : (
            <rect key={i} x={i} width={1} y={20 - (20 * many) / most} height={(20 * many) / most} />
          ),
        )}
      </svg>
      <div class="axis" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75, 1].map((part) => (
          <span key={part}>{duration(span * part)}</span>
        ))}
      </div>
      <VirtualList
        label="Timeline of the steps"
        count={begun.length}
        rowHeight={rowHeight}
        row={(i) => {
          const step = begun[i] as Step;
          const { startedAt = 0 } = step;
          const end = step.completedAt ?? now;
          const waited = lastInput(step, byDigest);
          const ready = waited?.completedAt ?? from;
          const state = stateOf(step);
          const wait = Math.max(0, startedAt - ready);
          const { text } = splitName(step.name);
          const words = `${duration(end - startedAt)}, ${stateWords[state]}${wait > 1 ? `; waited ${duration(wait)}` : ''}${waited === undefined ? '' : `; after ${splitName(waited.name).text}`}`;
          return (
            <li key={step.digest} class="time-row">
              <a
                href={addressOf(['builds', ref, 'steps'], { step: step.digest })}
                title={`${step.name}\n${words}`}
              >
                <span class="time-name">
                  {critical.has(step.digest) && (
                    <span class="mark">
                      <span aria-hidden="true">◆</span>
                      <span class="unseen">critical path</span>
                    </span>
                  )}{' '}
                  {text}
                </span>
                <span class="time-track">
                  {wait > 0 && ready >= from && (
                    <span
                      class="time-wait"
                      style={{ left: `${at(ready)}%`, width: `${Math.max(0, at(startedAt) - at(ready))}%` }}
                    />
                  )}
                  <span
                    class={`time-bar ${state}`}
                    style={{ left: `${at(startedAt)}%`, width: `max(2px, ${at(end) - at(startedAt)}%)` }}
                  />
                </span>
                <span class="unseen">{words}</span>
                <span class="took" aria-hidden="true">
                  {step.cached ? 'cached' : duration(end - startedAt)}
                </span>
              </a>
            </li>
          );
        }}
      />
    </div>
  );
}

/** How many steps ran in each slot of the time. */
function parallelOf(steps: readonly Step[], from: number, span: number, now: number): number[] {
  const many = new Array<number>(slots).fill(0);
  const slotOf = (ms: number) => Math.min(slots - 1, Math.max(0, Math.floor((slots * (ms - from)) / span)));
  for (const { startedAt = 0, completedAt = now, cached } of steps) {
    if (cached) continue;
    for (let slot = slotOf(startedAt); slot <= slotOf(completedAt); slot++)
      many[slot] = (many[slot] ?? 0) + 1;
  }
  return many;
}
