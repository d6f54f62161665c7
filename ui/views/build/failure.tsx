/** Why a build failed: the message, where, what to do next, and the last lines of the step. */
import { useEffect, useState } from 'preact/hooks';
import type { BuildDetail, LogLine } from '../../../src/api/ui/types.ts';
import { addressOf } from '../../data/router.ts';
import { usePage } from '../../parts/context.ts';
import { LogText } from './log.tsx';

const lastLines = 12;

export function FailureBox({ build }: { build: BuildDetail }) {
  const { ref, failure, files, stepList } = build;
  const lines = useLastLines(build);
  if (failure === undefined) return null;
  const { message, hop, hint, place, exitCode } = failure;
  const step = stepList.find(({ digest }) => digest === failure.step);
  const file = place && files[place.file];
  const [from, to] = place?.lines[0] ?? [];
  return (
    <div class="problem" role="alert">
      <strong class="message">{message}</strong>
      {lines.length > 0 && (
        <pre class="excerpt">
          {lines.map((line, i) => (
            <LogText key={i} line={line} />
          ))}
        </pre>
      )}
      <p>
        {hop !== undefined && <span>at hop: {hop} </span>}
        {exitCode !== undefined && <span>exit code {exitCode} </span>}
        {file !== undefined && from !== undefined && (
          <a
            href={addressOf(['builds', ref, 'dockerfile'], { file: String(place?.file), line: String(from) })}
          >
            {file.name}:{from}
            {to !== undefined && to > from && `–${to}`}
          </a>
        )}{' '}
        {step !== undefined && (
          <a href={addressOf(['builds', ref, 'steps'], { step: step.digest })}>the step and its log</a>
        )}
      </p>
      {hint !== undefined && <p class="hint">{hint}</p>}
    </div>
  );
}

function useLastLines({ ref, failure, stepList }: BuildDetail): LogLine[] {
  const { source } = usePage();
  const [lines, setLines] = useState<LogLine[]>([]);
  const step = stepList.find(({ digest }) => digest === failure?.step);
  useEffect(() => {
    if (step === undefined || step.lines === 0) return;
    const from = Math.max(0, step.lines - lastLines);
    source.log(ref, step.digest, from, lastLines).then(
      (found) => setLines(found.lines),
      () => {},
    );
  }, [ref, step?.digest, step?.lines]);
  return lines;
}
