/** The log and the record of a build that another API has been asked for. */
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { recordStatus } from '../../../engine/index.ts';
import { toDrydockError } from '../../../errors/index.ts';
import { SolveRequestSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { RecordBuild } from '../../shared/recording.ts';
import { exporterResponse } from '../control/response.ts';
import type { History } from '../history/history.ts';
import type { Jobs } from './jobs.ts';

/** Makes the function that begins them: Status follows these builds, and the history has them. */
export function recordBuild({ jobs, history }: { jobs: Jobs; history: History }): RecordBuild {
  return ({ owner, options, outputs, log: given }) => {
    const ref = randomUUID();
    const { log, end } = jobs.start(owner, ref, given);
    const record = history.started(
      owner,
      ref,
      create(SolveRequestSchema, {
        Ref: ref,
        Frontend: 'dockerfile.v0',
        FrontendAttrs: { ...options },
        Exporters: outputs.map(({ type, attrs }) => ({ Type: type, Attrs: { ...attrs } })),
      }),
    );
    return {
      ref,
      sink: log,
      ended({ metadata, result, descriptors, documents, predicates }) {
        const response = exporterResponse(metadata, result.metadata ?? {});
        record.completed(log, { response, results: descriptors, documents, predicates });
        end();
      },
      failed(error) {
        record.completed(log, { error: recordStatus(toDrydockError(error)) });
        end();
      },
    };
  };
}
