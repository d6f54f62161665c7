/** Builds of the history as text. Pure. */

import type { BuildFacts } from '../../api/index.ts';
import { inert } from '../../words/index.ts';
import { seconds } from '../progress/model.ts';
import { ago } from '../units.ts';

/** The fields of a row, by the names that `--format` takes. */
export const rowFields = ['Ref', 'Name', 'Status', 'CreatedAt', 'CompletedAt', 'Duration', 'Steps'] as const;

/** A build as a row of a list. */
export function rowOf(build: BuildFacts, now: number): Record<(typeof rowFields)[number], string> {
  const { total, cached } = build.steps;
  return {
    Ref: build.ref,
    Name: build.name,
    Status: { running: 'Running', completed: 'Completed', error: 'Error', canceled: 'Canceled' }[
      build.status
    ],
    CreatedAt: ago(build.createdAt, now),
    CompletedAt: build.completedAt === undefined ? '' : new Date(build.completedAt).toISOString(),
    Duration: seconds(build.duration),
    Steps: build.status === 'running' ? '' : `${total} (${cached} cached)`,
  };
}

/** All that is known of a build, a fact a line. */
export function details(build: BuildFacts): string {
  const { steps } = build;
  const lines: [string, string | undefined][] = [
    ['Name', build.name || undefined],
    ['Build', build.ref],
    ['Status', build.status + (build.pinned ? ', pinned' : '')],
    ['Context', build.context],
    ['Dockerfile', build.frontend === '' ? undefined : build.dockerfile],
    ['Target', build.target],
    ['Platforms', build.platforms.join(', ') || undefined],
    ['Started', new Date(build.createdAt).toISOString()],
    ['Duration', seconds(build.duration)],
    [
      'Steps',
      build.status === 'running'
        ? undefined
        : `${steps.completed} of ${steps.total} done, ${steps.cached} from the cache, ${count(steps.warnings, 'warning')}`,
    ],
    ['Images', build.images.join(', ') || undefined],
    ['Digest', build.digest],
    ['Error', build.error],
  ];
  const known = lines.filter((line): line is [string, string] => line[1] !== undefined);
  return (
    known.map(([name, value]) => `${`${name}:`.padEnd(13)}${inert(value)}\n`).join('') +
    listed('Build arguments', build.buildArgs) +
    listed('Labels', build.labels) +
    listed('Attachments', Object.fromEntries(build.attachments.map(({ digest, type }) => [digest, type])))
  );
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function listed(title: string, values: Readonly<Record<string, string>>): string {
  const entries = Object.entries(values);
  if (entries.length === 0) return '';
  return `\n${title}\n${entries.map(([name, value]) => `  ${inert(name)}: ${inert(value)}\n`).join('')}`;
}
