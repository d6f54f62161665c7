/** `GET /images/{name}/get`, `GET /images/get` and `POST /images/load`. */
import { loadImages } from '../../../images/load.ts';
import { saveImages } from '../../../images/save.ts';
import { UploadBody } from '../http/body.ts';
import { apiError } from '../http/errors.ts';
import { JsonStream } from '../http/json-stream.ts';
import { transferReport } from '../http/progress.ts';
import { registryConfig } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const imageArchiveRoutes: Route[] = [
  { method: 'GET', path: '/images/get', scopes: ['images:read'], handle: saveSeveral },
  {
    method: 'GET',
    path: '/images/*',
    suffix: '/get',
    scopes: ['images:read'],
    handle: (call) => save(call, [call.name]),
  },
  { method: 'POST', path: '/images/load', scopes: ['images:write'], handle: load },
];

function saveSeveral(call: Call) {
  const names = call.query.all('names').filter((name) => name !== '');
  if (names.length === 0) throw apiError('invalid', 'the parameter names is missing');
  return save(call, names);
}

async function save({ host, request, response, signal }: Call, names: readonly string[]): Promise<undefined> {
  const { store, registry } = host.engine;
  response.setHeader('content-type', 'application/x-tar');
  try {
    await saveImages(store, names, response, {
      signal,
      client: registry,
      credentials: registryConfig(request.headers['x-registry-config']),
    });
  } catch (err) {
    // Once bytes are out only a broken connection tells that the archive is not whole.
    if (response.headersSent) response.destroy();
    else {
      response.removeHeader('content-type');
      throw err;
    }
  }
  for (const name of names) host.events.emit('image', 'save', name, { name });
  return undefined;
}

async function load({ host, request, response, query, signal }: Call): Promise<undefined> {
  const stream = new JsonStream(response);
  const words = { moving: 'Loading layer', end: 'Loading layer complete' };
  try {
    const loaded = await loadImages(host.engine.store, new UploadBody(request), {
      signal,
      report: query.bool('quiet') ? undefined : transferReport(stream, words),
    });
    for (const { name, id } of loaded) {
      stream.write({ stream: name === undefined ? `Loaded image ID: ${id}\n` : `Loaded image: ${name}\n` });
      host.events.emit('image', 'load', id, { name: name ?? id });
    }
    stream.end();
  } catch (err) {
    stream.fail(err);
  }
  return undefined;
}
