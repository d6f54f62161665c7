/** `GET /images/get`, `GET /images/{name}/get` (save) and `POST /images/load`. */

import { toDrydockError } from '../../../errors/index.ts';
import { checkLoadedPlatforms, loadImages, saveImages } from '../../../images/index.ts';
import type { Platform } from '../../../oci/index.ts';
import { explainDisk } from '../../../store/index.ts';
import { UploadBody } from '../http/body.ts';
import { apiError, apiMessage, httpStatus } from '../http/errors.ts';
import { JsonStream, sendError } from '../http/json-stream.ts';
import { logFault } from '../http/log-fault.ts';
import { readPlatform } from '../http/platform.ts';
import { transferReport } from '../http/progress.ts';
import { registryConfig } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { eventImage } from '../images.ts';

export const imageArchiveRoutes: Route[] = [
  { method: 'GET', path: '/images/get', scopes: ['images:read'], handle: getMany },
  { method: 'GET', path: '/images/*', suffix: '/get', scopes: ['images:read'], handle: getOne },
  { method: 'POST', path: '/images/load', scopes: ['images:write'], handle: load },
];

function getOne(call: Call): Promise<undefined> {
  return save(call, [call.name]);
}

function getMany(call: Call): Promise<undefined> {
  const names = call.query.all('names').filter((name) => name !== '');
  if (names.length === 0) throw apiError('invalid', 'names is missing: which images?');
  return save(call, names);
}

/** The platforms that are asked for. Throws `invalid` for several before 1.52. */
function platformsOf({ query, version }: Call): Platform[] {
  if (isBefore(version, '1.48')) return [];
  const platforms = query.all('platform');
  if (platforms.length > 1 && isBefore(version, '1.52')) {
    throw apiError('invalid', 'multiple platform parameters not supported', 'API 1.52 and later have them.');
  }
  return platforms.flatMap((text) => readPlatform(text) ?? []);
}

async function save(call: Call, names: string[]): Promise<undefined> {
  const { host, request, response, signal } = call;
  const { store, registry } = host.engine;
  const platforms = platformsOf(call);
  response.setHeader('content-type', 'application/x-tar');
  try {
    const credentials = registryConfig(request.headers['x-registry-config']);
    await saveImages(store, names, response, { client: registry, credentials, signal, platforms });
  } catch (err) {
    const error = toDrydockError(err);
    logFault(host, request, error);
    // Once bytes are out, only a cut connection tells the client that the archive is no good.
    if (response.headersSent) response.destroy();
    else {
      sendError(response, httpStatus(error), apiMessage(error));
    }
    return undefined;
  }
  for (const name of names) host.events.emit('image', 'save', name, { name });
  return undefined;
}

/**
 * Loads an archive. Every fault of the archive is an error of the stream, where docker's clients look for it. A quiet
 * answer begins when the image is loaded, as dockerd's does: clients go away at its status, without reading on.
 */
async function load(call: Call): Promise<undefined> {
  const { host, query, request, response, signal } = call;
  const quiet = !query.has('quiet') || query.bool('quiet');
  const platforms = platformsOf(call);
  const stream = new JsonStream(response);
  const body = new UploadBody(request);
  if (!quiet) stream.start();
  try {
    const report = quiet
      ? undefined
      : transferReport(stream, { moving: 'Loading layer', end: 'Loading layer done' });
    const loaded = await loadImages(host.engine.store, body, { signal, report, platforms });
    for (const { id, name, images } of loaded) {
      stream.write({
        stream: name === undefined ? `Loaded image ID: ${id}\n` : `Loaded image: ${name}\n`,
      });
      for (const image of images.slice(0, 1)) host.events.emitImage('load', eventImage(image), name ?? id);
    }
    checkLoadedPlatforms(loaded, platforms);
    stream.end();
  } catch (err) {
    body.destroy();
    stream.start();
    const error = await explainDisk(err, host.engine.store);
    logFault(host, request, error);
    stream.fail(error);
  }
  return undefined;
}
