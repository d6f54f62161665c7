/** What may be done to builds from the page: running ones are cancelled, records are pinned and removed. */
import { reachOf } from '../../auth/index.ts';
import { fail } from '../../errors/index.ts';
import { readJsonBody } from '../docker/http/body.ts';
import type { UiCall, UiRoute } from './route.ts';

export const buildActions: readonly UiRoute[] = [
  { method: 'POST', path: '/builds/*/cancel', scopes: ['build'], handle: cancel },
  { method: 'POST', path: '/builds/*/pin', scopes: ['build'], handle: pin },
  { method: 'DELETE', path: '/builds/*', scopes: ['build'], handle: remove },
];

/** Cancels a running build. Its end comes with the events of the build. */
async function cancel({ host, builds, authority, names: [ref = ''] }: UiCall) {
  const reach = reachOf(authority);
  if (!builds.runs(reach, ref)) {
    await builds.find(reach, ref);
    throw fail('conflict', 'client', `the build ${ref} has ended`);
  }
  if ((host.builds?.cancel(reach, ref) ?? 0) === 0 && builds.isElsewhere(reach, ref)) {
    throw fail('conflict', 'client', `the build ${ref} runs in another process, without a daemon`, {
      hint: 'End it there, with Ctrl-C.',
    });
  }
  return { json: {} };
}

/** Pins a record, so that it is kept beyond all limits, or unpins it. */
async function pin({ builds, authority, request, names: [ref = ''] }: UiCall) {
  const body = await readJsonBody(request);
  const { pinned, ...rest } = body;
  if (typeof pinned !== 'boolean' || Object.keys(rest).length > 0) {
    throw fail('invalid', 'client', 'a pin is {"pinned": true} or {"pinned": false}');
  }
  await builds.pin(reachOf(authority), ref, pinned);
  return { json: {} };
}

/** Removes a record. */
async function remove({ builds, authority, names: [ref = ''] }: UiCall) {
  await builds.remove(reachOf(authority), ref);
  return { json: {} };
}
