/** Control's ListenBuildHistory and UpdateBuildHistory. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { type Reach, reachOf } from '../../../auth/index.ts';
import { fail } from '../../../errors/index.ts';
import {
  type BuildHistoryEventSchema,
  BuildHistoryEventType,
  type BuildHistoryRecord,
  type BuildHistoryRequest,
  type Control,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import { callerOf } from '../caller.ts';
import { type RecordFilter, recordFilter } from './filter.ts';
import type { History, HistoryEvent } from './history.ts';

type Message = MessageInitShape<typeof BuildHistoryEventSchema>;
type Methods = Pick<ServiceImpl<typeof Control>, 'listenBuildHistory' | 'updateBuildHistory'>;

/** The most events that wait for a listener. A slower listener is ended. */
const maxWaiting = 10_000;

/** Makes the methods. Listening ends when `closing` fires. */
export function historyService(history: History, closing: AbortSignal): Methods {
  return {
    async *listenBuildHistory(request, context) {
      const { signal, responseHeader } = context;
      const reach = reachOf(callerOf(context));
      // Clients count ages from our clock.
      responseHeader.set('buildkit-current-timestamp', new Date().toISOString());
      if (request.Limit < 0) throw fail('invalid', 'client', `invalid limit ${request.Limit}`);
      const fits = recordFilter(request.Filter);
      const over = AbortSignal.any([signal, closing]);
      const waiting: Message[] = [];
      let wake = () => {};
      await history.settled();
      const stop = history.listen(reach, (event) => {
        if (request.Ref !== '' && request.Ref !== event.record.Ref) return;
        waiting.push(messageOf(event));
        wake();
      });
      over.addEventListener('abort', () => wake(), { once: true });
      try {
        yield* past(history, reach, request, fits);
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
    async updateBuildHistory({ Ref, Pinned, Delete, Finalize }, context) {
      const reach = reachOf(callerOf(context));
      await history.settled();
      const done = Delete
        ? history.delete(reach, Ref)
        : Finalize
          ? history.has(reach, Ref)
          : history.pin(reach, Ref, Pinned);
      if (!done) throw fail('not-found', 'client', `failed to retrieve ref ${Ref}: no such build`);
      return {};
    },
  };
}

/**
 * The running builds, all of them, and the ended ones; filters and the limit are for the ended ones, as in BuildKit.
 */
async function* past(
  history: History,
  reach: Reach,
  { Ref, ActiveOnly, Limit }: BuildHistoryRequest,
  fits: RecordFilter,
): AsyncGenerator<Message> {
  const wanted = (record: BuildHistoryRecord) => Ref === '' || Ref === record.Ref;
  for (const record of history.active(reach)) {
    if (wanted(record)) yield { type: BuildHistoryEventType.STARTED, record };
  }
  if (ActiveOnly) return;
  let told = 0;
  for await (const record of history.list(reach)) {
    if (!wanted(record) || !fits(record)) continue;
    yield { type: BuildHistoryEventType.COMPLETE, record };
    if (++told === Limit) return;
  }
}

const types = {
  started: BuildHistoryEventType.STARTED,
  complete: BuildHistoryEventType.COMPLETE,
  deleted: BuildHistoryEventType.DELETED,
} as const;

function messageOf({ type, record }: HistoryEvent): Message {
  return { type: types[type], record };
}
