/** `GET /images/get`, `GET /images/{name}/get` (save) and `POST /images/load`. */

import { toDrydockError } from '../../../errors/error.ts';
import { loadImages } from '../../../images/load.ts';
import { saveImages } from '../../../images/save.ts';
import { formatPlatform, platformMatches } from '../../../oci/platform.ts';
import { explainDisk } from '../../../store/shared/disk-full.ts';
import { UploadBody } from '../http/body.ts';
import { apiError, apiMessage, httpStatus } from '../http/errors.ts';
import { JsonStream, sendError } from '../http/json-stream.ts';
import { readPlatform } from '../http/platform.ts';
import { transferReport } from '../http/progress.ts';
import { registryConfig } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';
import { namedImage } from '../named-image.ts';

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

async function save({ host, request, query, response, signal }: Call, names: string[]): Promise<undefined> {
  const { store, registry } = host.engine;
  const platform = readPlatform(query.text('platform'));
  if (platform !== undefined) {
    for (const name of names) {
      const { images } = await namedImage(store, name, platform);
      if (images.every(({ config }) => platformMatches(platform, config))) continue;
      throw apiError(
        'unsupported',
        `${name} cannot be saved for ${formatPlatform(platform)} alone: it is here for other platforms too`,
        'Save it without a platform.',
      );
    }
  }
  response.setHeader('content-type', 'application/x-tar');
  try {
    const credentials = registryConfig(request.headers['x-registry-config']);
    await saveImages(store, names, response, { client: registry, credentials, signal });
  } catch (err) {
    // Once bytes are out, only a cut connection tells the client that the archive is no good.
    if (response.headersSent) response.destroy();
    else {
      const error = toDrydockError(err);
      sendError(response, httpStatus(error), apiMessage(error));
    }
    return undefined;
  }
  for (const name of names) host.events.emit('image', 'save', name, { name });
  return undefined;
}

async function load({ host, query, request, response, signal }: Call): Promise<undefined> {
  const stream = new JsonStream(response);
  const body = new UploadBody(request);
  const quiet = query.bool('quiet');
  const platform = readPlatform(query.text('platform'));
  try {
    const report = quiet
      ? undefined
      : transferReport(stream, { moving: 'Loading layer', end: 'Loading layer done' });
    const loaded = await loadImages(host.engine.store, body, { signal, report });
    if (platform !== undefined)
      for (const { id } of loaded) await namedImage(host.engine.store, id, platform);
    for (const { id, name } of loaded) {
      stream.write({
        stream: name === undefined ? `Loaded image ID: ${id}\n` : `Loaded image: ${name}\n`,
      });
      host.events.emit('image', 'load', id, { name: name ?? id });
    }
    stream.end();
  } catch (err) {
    body.destroy();
    stream.fail(await explainDisk(err, host.engine.store));
  }
  return undefined;
}
