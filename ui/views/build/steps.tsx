/** The steps of a build, and of the chosen one its log and all that is known of it. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { BuildDetail, Step } from '../../../src/api/ui/types.ts';
import { bytes, duration } from '../../data/format.ts';
import { addressOf } from '../../data/router.ts';
import { criticalPath, lastInput, splitName, stateOf, tookOf } from '../../data/steps.ts';
import { Facts, SearchBox, State } from '../../parts/bits.tsx';
import { VirtualList } from '../../parts/virtual-list.tsx';
import type { TabProps } from '../build.tsx';
import { Log } from './log.tsx';

const rowHeight = 36;

export function StepsTab({ build, now, query }: TabProps) {
  const { ref, stepList } = build;
  const [text, setText] = useState('');
  const critical = useMemo(() => criticalPath(stepList, now), [stepList, now]);
  const words = text.toLowerCase();
  const shown = stepList.filter(({ name }) => name.toLowerCase().includes(words));
  const chosen = stepList.find(({ digest }) => digest === query.get('step')) ?? firstToShow(build);
  const place = shown.findIndex(({ digest }) => digest === chosen?.digest);
  const [show, setShow] = useState({ row: Math.max(0, place), id: 0 });
  useEffect(() => {
    if (place >= 0) setShow(({ id }) => ({ row: place, id: id + 1 }));
  }, [query.get('step')]);
  return (
    <div class="steps">
      <div class="step-list">
        <SearchBox label="Search steps" value={text} onChange={(words) => setText(words)} />
        <VirtualList
          label="List of steps"
          count={shown.length}
          rowHeight={rowHeight}
          show={show.id > 0 ? show : undefined}
          row={(i) => {
            const step = shown[i] as Step;
            const took = tookOf(step, now);
            const { place, text } = splitName(step.name);
            return (
              <li key={step.digest} class="step-row">
                <a
                  href={addressOf(['builds', ref, 'steps'], { step: step.digest })}
                  aria-current={step.digest === chosen?.digest ? 'true' : undefined}
                >
                  <State state={stateOf(step)} short />
                  <span class="step-name">
                    {place !== '' && <span class="place">{place}</span>} {text}
                  </span>
                  {critical.has(step.digest) && (
                    <span class="mark" title="On the critical path">
                      <span aria-hidden="true">◆</span>
                      <span class="unseen">critical path</span>
                    </span>
                  )}
                  <span class="took">{took === undefined || step.cached ? '' : duration(took)}</span>
                </a>
              </li>
            );
          }}
        />
      </div>
      {chosen === undefined ? (
        <p class="empty">No step has begun yet.</p>
      ) : (
        <StepDetail
          key={chosen.digest}
          build={build}
          step={chosen}
          now={now}
          query={query}
          critical={critical.has(chosen.digest)}
        />
      )}
    </div>
  );
}

/** The step that failed, else the first that runs, else the one that printed most. */
function firstToShow({ stepList, failure }: BuildDetail): Step | undefined {
  return (
    stepList.find(({ digest }) => digest === failure?.step) ??
    stepList.find((step) => stateOf(step) === 'failed') ??
    stepList.find((step) => stateOf(step) === 'running') ??
    stepList.reduce<Step | undefined>(
      (most, step) => (step.lines > (most?.lines ?? 0) ? step : most),
      undefined,
    ) ??
    stepList[0]
  );
}

interface DetailProps {
  build: BuildDetail;
  step: Step;
  now: number;
  query: URLSearchParams;
  critical: boolean;
}

function StepDetail({ build, step, now, query, critical }: DetailProps) {
  const { ref, files, stepList } = build;
  const state = stateOf(step);
  const took = tookOf(step, now);
  const byDigest = useMemo(() => new Map(stepList.map((each) => [each.digest, each])), [stepList]);
  const waited = lastInput(step, byDigest);
  const file = step.place && files[step.place.file];
  const line = step.place?.lines[0]?.[0];
  const { use } = step;
  return (
    <section class="step-detail" aria-labelledby="step-title">
      <h2 id="step-title">{step.name}</h2>
      <Facts
        facts={[
          ['State', <State key="state" state={state} />],
          ['Took', took === undefined || step.cached ? undefined : duration(took)],
          ['Why it ran', step.why],
          [
            'Waited for',
            waited && (
              <a href={addressOf(['builds', ref, 'steps'], { step: waited.digest })}>
                {splitName(waited.name).text}
              </a>
            ),
          ],
          ['Critical path', critical ? 'yes' : undefined],
          [
            'Source',
            file && line !== undefined && (
              <a
                href={addressOf(['builds', ref, 'dockerfile'], {
                  file: String(step.place?.file),
                  line: String(line),
                })}
              >
                {file.name}:{line}
              </a>
            ),
          ],
          ['CPU', use?.cpuMs === undefined ? undefined : duration(use.cpuMs)],
          ['Memory', use?.memoryPeak === undefined ? undefined : bytes(use.memoryPeak)],
          ['Read', use?.readBytes ? bytes(use.readBytes) : undefined],
          ['Written', use?.writeBytes ? bytes(use.writeBytes) : undefined],
        ]}
      />
      {step.error !== undefined && (
        <div class="problem">
          <strong class="message">{step.error}</strong>
        </div>
      )}
      {step.transfers.length > 0 && <Transfers step={step} now={now} />}
      <Log buildRef={ref} step={step} running={state === 'running'} query={query} />
    </section>
  );
}

function Transfers({ step: { transfers }, now }: { step: Step; now: number }) {
  return (
    <table class="transfers">
      <caption>Transfers</caption>
      <thead>
        <tr>
          <th scope="col">What</th>
          <th scope="col">Size</th>
          <th scope="col">Took</th>
        </tr>
      </thead>
      <tbody>
        {transfers.map(({ id, current, total, startedAt, completedAt }) => (
          <tr key={id}>
            <td>{id}</td>
            <td>
              {bytes(current)}
              {total > current && ` of ${bytes(total)}`}
            </td>
            <td>{startedAt === undefined ? '' : duration((completedAt ?? now) - startedAt)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
