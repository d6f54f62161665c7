/** What a build was asked for, what it made, what took its time. */
import { useMemo } from 'preact/hooks';
import { bytes, count, duration } from '../../data/format.ts';
import { addressOf } from '../../data/router.ts';
import { criticalPath, splitName, tookOf } from '../../data/steps.ts';
import { Facts } from '../../parts/bits.tsx';
import type { TabProps } from '../build.tsx';

const mostSlow = 8;

export function OverviewTab({ build, now }: TabProps) {
  const { ref, stepList, warningList, files } = build;
  const critical = useMemo(() => criticalPath(stepList, now), [stepList, now]);
  const slow = stepList
    .flatMap((step) => ({ step, took: tookOf(step, now) ?? 0 }))
    .filter(({ took }) => took > 0)
    .sort((a, b) => b.took - a.took)
    .slice(0, mostSlow);
  const moved = stepList.flatMap(({ transfers }) => transfers).reduce((sum, each) => sum + each.current, 0);
  const onPath = stepList
    .filter(({ digest }) => critical.has(digest))
    .reduce((sum, step) => sum + (tookOf(step, now) ?? 0), 0);
  return (
    <div class="overview">
      <Facts
        facts={[
          ['Images', build.images.join(', ')],
          ['Digest', build.digest],
          ['Repository', build.repository],
          ['Context', build.context],
          ['Dockerfile', build.dockerfile],
          ['Target', build.target],
          ['Platforms', build.platforms.join(', ')],
          ['Frontend', build.frontend],
          ['Reference', ref],
          [
            'Critical path',
            critical.size > 0 ? `${duration(onPath)} in ${count(critical.size, 'step')}` : undefined,
          ],
          ['Transferred', moved > 0 ? bytes(moved) : undefined],
        ]}
      />
      {slow.length > 0 && (
        <section aria-labelledby="slow-title">
          <h2 id="slow-title">What took the time</h2>
          <ol class="slow">
            {slow.map(({ step, took }) => (
              <li key={step.digest}>
                <a href={addressOf(['builds', ref, 'steps'], { step: step.digest })}>
                  <span class="bar" style={{ width: `${(100 * took) / (slow[0]?.took ?? 1)}%` }} />
                  <span class="took">{duration(took)}</span> {splitName(step.name).text}
                  {critical.has(step.digest) && <span class="mark"> critical path</span>}
                </a>
                {step.why !== undefined && <div class="why">not cached: {step.why}</div>}
              </li>
            ))}
          </ol>
        </section>
      )}
      {warningList.length > 0 && (
        <section aria-labelledby="warnings-title">
          <h2 id="warnings-title">Warnings</h2>
          <ul class="warnings">
            {warningList.map((warning, i) => {
              const line = warning.place?.lines[0]?.[0];
              return (
                <li key={i}>
                  {warning.short}{' '}
                  {line !== undefined && (
                    <a
                      href={addressOf(['builds', ref, 'dockerfile'], {
                        file: String(warning.place?.file),
                        line: String(line),
                      })}
                    >
                      {files[warning.place?.file ?? 0]?.name}:{line}
                    </a>
                  )}
                  {warning.detail.map((detail) => (
                    <div key={detail} class="note">
                      {detail}
                    </div>
                  ))}
                </li>
              );
            })}
          </ul>
        </section>
      )}
      <section aria-labelledby="outputs-title">
        <h2 id="outputs-title">Outputs</h2>
        {build.outputs.length === 0 && <p class="note">None: the result stays in the cache.</p>}
        {build.outputs.map(({ type, attrs }, i) => (
          <Facts key={i} facts={[['Type', type], ...Object.entries(attrs)]} />
        ))}
        <Facts facts={Object.entries(build.response).filter(([name]) => !name.endsWith('.descriptor'))} />
        {build.results.map(({ digest, mediaType, size }) => (
          <Facts
            key={digest}
            facts={[
              ['Result', digest],
              ['Media type', mediaType],
              ['Size', bytes(size)],
            ]}
          />
        ))}
      </section>
      {Object.keys(build.buildArgs).length > 0 && (
        <section aria-labelledby="args-title">
          <h2 id="args-title">Build arguments</h2>
          <Facts facts={Object.entries(build.buildArgs)} />
        </section>
      )}
      {Object.keys(build.labels).length > 0 && (
        <section aria-labelledby="labels-title">
          <h2 id="labels-title">Labels</h2>
          <Facts facts={Object.entries(build.labels)} />
        </section>
      )}
    </div>
  );
}
