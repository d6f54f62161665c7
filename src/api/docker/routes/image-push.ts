/** `POST /images/{name}/push`. */
import { findImageFor, isDangling, referenceOf } from '../../../distribution/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import { type PushedLayer, pushImage } from '../../../images/index.ts';
import { familiarName, formatReference, parseReference } from '../../../oci/index.ts';
import { explainDisk } from '../../../store/index.ts';
import { isDue, nextTurn } from '../../../workers/index.ts';
import { apiError } from '../http/errors.ts';
import { JsonStream } from '../http/json-stream.ts';
import { logFault } from '../http/log-fault.ts';
import { readPlatform } from '../http/platform.ts';
import { transferReport } from '../http/progress.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { eventImage } from '../images.ts';

export const imagePushRoutes: Route[] = [
  { method: 'POST', path: '/images/*', suffix: '/push', scopes: ['images:write'], handle: push },
];

async function push(call: Call): Promise<undefined> {
  const { host, request, response, signal } = call;
  const { store, registry } = host.engine;
  const stream = new JsonStream(response);
  try {
    const credentials = registryAuth(request.headers['x-registry-auth'], call.name);
    const names = await namesToPush(call);
    const platform = isBefore(call.version, '1.46') ? undefined : readPlatform(call.query.text('platform'));
    // Before anything is said, so that a platform that is not here is a plain answer.
    if (platform !== undefined)
      for (const name of names) await findImageFor(store, familiarName(name), platform);
    stream.write({ status: `The push refers to repository [${repositoryOf(names[0] ?? '')}]` });
    for (const name of names) {
      const ends = new Map<string, string>();
      const { target, image } = await pushImage(store, registry, name, name, {
        signal,
        credentials,
        platform,
        settled: (layer) => void ends.set(layer.digest, endOf(layer)),
        report: transferReport(stream, {
          begin: 'Preparing',
          moving: 'Pushing',
          end: (digest) => ends.get(digest) ?? 'Pushed',
        }),
      });
      const tag = parseReference(name).tag ?? '';
      stream.write({ status: `${tag}: digest: ${target.digest} size: ${target.size}` });
      stream.write({ progressDetail: {}, aux: { Tag: tag, Digest: target.digest, Size: target.size } });
      host.events.emitImage('push', { ...eventImage(image), id: familiarName(name) }, familiarName(name));
    }
    stream.end();
  } catch (err) {
    const error = await explainDisk(err, host.engine.store);
    logFault(host, call.request, error);
    stream.fail(error);
  }
  return undefined;
}

/** The end of a layer's push, in docker's words. */
function endOf({ outcome, from }: PushedLayer): string {
  if (outcome === 'exists') return 'Layer already exists';
  if (outcome === 'mounted') return `Mounted from ${from ?? 'another repository'}`;
  return 'Pushed';
}

function repositoryOf(name: string): string {
  const { domain, path } = parseReference(name);
  return `${domain}/${path}`;
}

/** The tag that is asked for or, without one, every tag of the repository. Throws `not-found`. */
async function namesToPush({ host, name, query }: Call): Promise<string[]> {
  const { store } = host.engine;
  const ref = parseReference(name);
  if (ref.digest !== undefined) throw apiError('invalid', 'cannot push a digest reference');
  const tag = query.text('tag') || ref.tag;
  if (tag !== undefined) {
    const full = formatReference({ ...ref, tag });
    if ((await store.images.get(full)) !== undefined) return [full];
    throw missing(full);
  }
  const names: string[] = [];
  for (const { name } of await store.images.list()) {
    if (isDue()) await nextTurn();
    const own = isDangling(name) ? undefined : referenceOf(name);
    if (own?.domain === ref.domain && own.path === ref.path && own.tag !== undefined) names.push(name);
  }
  if (names.length === 0) throw missing(formatReference(ref));
  return names.sort();
}

function missing(name: string): DrydockError {
  return apiError(
    'not-found',
    `An image does not exist locally with the tag: ${familiarName(name)}`,
    'Give the image this name first: docker tag IMAGE NAME.',
  );
}
