/** Control's ListenBuildHistory and UpdateBuildHistory. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { fail } from '../../../errors/error.ts';
import {
  type BuildHistoryEventSchema,
  BuildHistoryEventType,
  type BuildHistoryRecord,
  type BuildHistoryRequest,
  type Control,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import { type Fields, matches } from '../control/filter.ts';
import type { History, HistoryEvent } from './history.ts';

type Message = MessageInitShape<typeof BuildHistoryEventSchema>;
type Methods = Pick<ServiceImpl<typeof Control>, 'listenBuildHistory' | 'updateBuildHistory'>;

/** Events that may wait for a listener; one that is slower is ended. */
const maxWaiting = 10_000;

/** Listening ends when `closing` fires. */
export function historyService(history: History, closing: AbortSignal): Methods {
  return {
    async *listenBuildHistory(request, { signal }) {
      const over = AbortSignal.any([signal, closing]);
      const waiting: Message[] = [];
      let wake = () => {};
      const stop = history.listen((event) => {
        if (!wants(request, event)) return;
        waiting.push(messageOf(event));
        wake();
      });
      over.addEventListener('abort', () => wake(), { once: true });
      try {
        yield* past(history, request);
        if (request.EarlyExit) return;
        while (!over.aborted) {
          if (waiting.length > maxWaiting) {
            throw fail('exhausted', 'client', 'events came faster than they were read');
          }
          yield* waiting.splice(0);
          if (over.aborted || waiting.length > 0) continue;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        stop();
      }
    },
    updateBuildHistory({ Ref, Pinned, Delete, Finalize }) {
      const done = Delete ? history.delete(Ref) : Finalize ? history.has(Ref) : history.pin(Ref, Pinned);
      if (!done) throw fail('not-found', 'client', `failed to retrieve ref ${Ref}: no such build`);
      return {};
    },
  };
}

function* past(history: History, request: BuildHistoryRequest): Generator<Message> {
  const limit = request.Limit > 0 ? request.Limit : Number.POSITIVE_INFINITY;
  let count = 0;
  for (const record of history.active()) {
    if (!fits(request, record) || count++ >= limit) continue;
    yield { type: BuildHistoryEventType.STARTED, record };
  }
  if (request.ActiveOnly) return;
  for (const record of history.list()) {
    if (!fits(request, record) || count++ >= limit) continue;
    yield { type: BuildHistoryEventType.COMPLETE, record };
  }
}

function wants(request: BuildHistoryRequest, { type, record }: HistoryEvent): boolean {
  if (type === 'deleted') return request.Ref === '' || request.Ref === record.Ref;
  return fits(request, record);
}

function fits(request: BuildHistoryRequest, record: BuildHistoryRecord): boolean {
  if (request.Ref !== '' && request.Ref !== record.Ref) return false;
  return matches(request.Filter, fieldsOf(record));
}

function fieldsOf(record: BuildHistoryRecord): Fields {
  const failed = record.error !== undefined;
  const status =
    record.CompletedAt === undefined
      ? 'running'
      : !failed
        ? 'completed'
        : record.error?.code === 1
          ? 'canceled'
          : 'error';
  return { ref: record.Ref, status, frontend: record.Frontend, pinned: record.pinned };
}

const types = {
  started: BuildHistoryEventType.STARTED,
  complete: BuildHistoryEventType.COMPLETE,
  deleted: BuildHistoryEventType.DELETED,
} as const;

function messageOf({ type, record }: HistoryEvent): Message {
  return { type: types[type], record };
}
