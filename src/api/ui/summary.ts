/** Build records in the page's words. Pure. */

import { predicateTypeKey } from '../../attest/index.ts';
import type { BuildHistoryRecord, Descriptor } from '../../pb/moby/buildkit/v1/control_pb.js';
import { isRemoteUrl, parseGitRemote } from '../../words/index.ts';
import { factsOf } from '../buildkit/history/facts.ts';
import type { OwnedRecord } from '../buildkit/history/history.ts';
import type { Attestation, BuildDetail, BuildSummary } from './types.ts';

const states = { running: 'running', completed: 'completed', error: 'failed', canceled: 'canceled' } as const;

/** The longest text of a line, in characters: lists have thousands of lines. And the most names of one kind. */
const maxText = 1000;
const mostNames = 100;

/** The line of a build in a list. `counts`: of one that runs. */
export function summaryOf({ owner, record }: OwnedRecord, counts?: BuildSummary['steps']): BuildSummary {
  const facts = factsOf(record, Date.now());
  const { total, completed, cached, warnings } = facts.steps;
  const short = (text: string | undefined) => text?.slice(0, maxText);
  return {
    ref: facts.ref,
    name: facts.name.slice(0, maxText),
    state: states[facts.status],
    who: whoOf(owner),
    startedAt: facts.createdAt,
    completedAt: facts.completedAt,
    repository: short(repositoryOf(record)),
    context: short(facts.context),
    dockerfile: facts.dockerfile.slice(0, maxText),
    target: short(facts.target),
    platforms: facts.platforms.slice(0, mostNames),
    images: facts.images.slice(0, mostNames).map((name) => name.slice(0, maxText)),
    digest: facts.digest,
    frontend: facts.frontend,
    steps: counts ?? { total, completed, cached },
    warnings,
    error: short(facts.error),
    pinned: facts.pinned,
  };
}

type RecordParts = Pick<
  BuildDetail,
  'buildArgs' | 'labels' | 'outputs' | 'response' | 'results' | 'attestations'
>;

/** What only the record of a build tells. */
export function recordParts(record: BuildHistoryRecord): RecordParts {
  const { buildArgs, labels } = factsOf(record, Date.now());
  const infos = [record.Result, ...Object.values(record.Results)].flatMap((info) => info ?? []);
  return {
    buildArgs,
    labels,
    outputs: record.Exporters.map(({ Type, Attrs }) => ({ type: Type, attrs: { ...Attrs } })),
    response: { ...record.ExporterResponse },
    results: infos.flatMap(({ Results }) =>
      Object.values(Results).map(({ digest, mediaType, size }) => ({
        digest,
        mediaType,
        size: Number(size),
      })),
    ),
    attestations: infos.flatMap(({ Attestations }) => Attestations.map(attestationOf)),
  };
}

function attestationOf({ digest, annotations, mediaType, size }: Descriptor): Attestation {
  return { digest, type: annotations[predicateTypeKey] ?? mediaType, size: Number(size) };
}

function repositoryOf({ FrontendAttrs }: BuildHistoryRecord): string | undefined {
  const context = FrontendAttrs.context ?? '';
  return FrontendAttrs['vcs:source'] || (isRemoteUrl(context) && parseGitRemote(context)?.url) || undefined;
}

/** The owner of a build (`identityKey`) in words. */
export function whoOf(owner: string): string {
  const [kind = '', ...rest] = owner.split(' ');
  const text = rest.join(' ');
  if (kind === 'peer') return `uid ${text}`;
  if (kind === 'cert') return `certificate ${text.slice(0, 12)}`;
  if (kind !== 'oidc') return owner;
  const [issuer, subject] = JSON.parse(text) as [string, string];
  return `${subject} (${issuer})`;
}
