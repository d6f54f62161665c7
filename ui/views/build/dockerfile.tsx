/** The Dockerfile with the states and times of its steps beside its lines, and the error at its line. */
import { useMemo } from 'preact/hooks';
import type { BuildDetail, Step } from '../../../src/api/ui/types.ts';
import { duration } from '../../data/format.ts';
import { clipped } from '../../data/plain.ts';
import { addressOf } from '../../data/router.ts';
import { criticalPath, stateOf, tookOf } from '../../data/steps.ts';
import { State } from '../../parts/bits.tsx';
import { VirtualList } from '../../parts/virtual-list.tsx';
import type { TabProps } from '../build.tsx';

const rowHeight = 22;
/** The most characters of a line that are shown. */
const mostText = 2000;

export function DockerfileTab({ build, now, query }: TabProps) {
  const { ref, files, failure } = build;
  const chosen = Math.min(
    Number(query.get('file') ?? failure?.place?.file ?? 0) || 0,
    Math.max(0, files.length - 1),
  );
  const file = files[chosen];
  const lines = useMemo(() => (file?.text ?? '').split('\n'), [file]);
  const stepsAt = useMemo(() => stepsByLine(build, chosen), [build, chosen]);
  const critical = useMemo(() => criticalPath(build.stepList, now), [build.stepList, now]);
  if (file === undefined) {
    return (
      <p class="empty">
        {build.state === 'running'
          ? 'It is not known yet.'
          : 'It is not known: the build had no Dockerfile, or it is from before these were kept.'}
      </p>
    );
  }
  const line = Number(query.get('line') ?? 0);
  const wrong = failure?.place?.file === chosen ? failure.place.lines : [];
  const warned = new Map(
    build.warningList.flatMap(({ place, short }) =>
      place?.file === chosen ? [[place.lines[0]?.[0] ?? 0, short] as const] : [],
    ),
  );
  const start = line > 0 ? line : (wrong[0]?.[0] ?? 0);
  return (
    <div class="dockerfile">
      {files.length > 1 && (
        <nav aria-label="Files" class="files">
          {files.map(({ name }, i) => (
            <a
              key={i}
              href={addressOf(['builds', ref, 'dockerfile'], { file: String(i) })}
              aria-current={i === chosen ? 'true' : undefined}
            >
              {name}
            </a>
          ))}
        </nav>
      )}
      <VirtualList
        class="code"
        label={`Lines of ${file.name}`}
        count={lines.length}
        rowHeight={rowHeight}
        show={start > 0 ? { row: start - 1, id: start } : undefined}
        row={(i) => {
          const number = i + 1;
          const isWrong = wrong.some(([from, to]) => number >= from && number <= to);
          const steps = stepsAt.get(number) ?? [];
          return (
            <li key={i} class={`code-line ${isWrong ? 'wrong' : ''} ${number === line ? 'current' : ''}`}>
              <span class="line-steps">
                {steps.map((step) => (
                  <LineStep
                    key={step.digest}
                    buildRef={ref}
                    step={step}
                    now={now}
                    critical={critical.has(step.digest)}
                  />
                ))}
              </span>
              <span class="number">{number}</span>
              <code class="text">
                {clipped(lines[i] ?? '', mostText)}
                {isWrong && number === wrong[0]?.[0] && (
                  <span class="inline-error"> ✕ {failure?.message.split('\n')[0]}</span>
                )}
                {warned.has(number) && <span class="inline-warning"> ⚠ {warned.get(number)}</span>}
              </code>
            </li>
          );
        }}
      />
    </div>
  );
}

interface LineStepProps {
  buildRef: string;
  step: Step;
  now: number;
  critical: boolean;
}

function LineStep({ buildRef, step, now, critical }: LineStepProps) {
  const took = tookOf(step, now);
  return (
    <a
      href={addressOf(['builds', buildRef, 'steps'], { step: step.digest })}
      title={step.why === undefined ? step.name : `${step.name}\nnot cached: ${step.why}`}
      class={critical ? 'critical' : ''}
    >
      <State state={stateOf(step)} short />
      {took !== undefined && !step.cached && <span class="took"> {duration(took)}</span>}
      <span class="unseen"> {step.name}</span>
    </a>
  );
}

/** The steps by the line on which their instruction begins. */
function stepsByLine({ stepList }: BuildDetail, file: number): Map<number, Step[]> {
  const found = new Map<number, Step[]>();
  for (const step of stepList) {
    const line = step.place?.lines[0]?.[0];
    if (step.place?.file !== file || line === undefined) continue;
    found.set(line, [...(found.get(line) ?? []), step]);
  }
  return found;
}
