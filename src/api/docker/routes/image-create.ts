/** `POST /images/create`: pull an image, or make one of a root filesystem's tar. */
import { importImage } from '../../../images/import.ts';
import { pullImage } from '../../../images/pull.ts';
import { parsePlatform } from '../../../oci/platform.ts';
import { familiarName, normalizeName, parseReference } from '../../../oci/reference.ts';
import type { Platform } from '../../../oci/types.ts';
import { UploadBody } from '../http/body.ts';
import { apiError } from '../http/errors.ts';
import { JsonStream } from '../http/json-stream.ts';
import { transferReport } from '../http/progress.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const imageCreateRoutes: Route[] = [
  { method: 'POST', path: '/images/create', scopes: ['images:write'], handle: create },
  { method: 'GET', path: '/images/search', scopes: ['images:read'], handle: search },
];

function create(call: Call): Promise<undefined> {
  const { query } = call;
  const platform = query.text('platform') === '' ? undefined : parsePlatform(query.text('platform'));
  if (query.text('fromImage') !== '') return pull(call, platform);
  if (query.text('fromSrc') !== '') return importTar(call, platform);
  throw apiError('invalid', 'one of the parameters fromImage and fromSrc is needed');
}

async function pull(call: Call, platform: Platform | undefined): Promise<undefined> {
  const { host, request, response, query, signal } = call;
  const tag = query.text('tag');
  const image = query.text('fromImage');
  // A digest comes in `tag`, too. Without either docker pulls every tag there is; a registry's worth is nobody's wish.
  const ref = normalizeName(tag === '' ? image : tag.includes(':') ? `${image}@${tag}` : `${image}:${tag}`);
  const parsed = parseReference(ref);
  const credentials = registryAuth(request.headers['x-registry-auth']);
  request.resume();
  const stream = new JsonStream(response);
  try {
    const { store, registry } = host.engine;
    const report = transferReport(stream, {
      begin: 'Pulling fs layer',
      moving: 'Downloading',
      end: 'Pull complete',
    });
    let told = false;
    const tell = () => {
      if (told) return;
      told = true;
      const from = familiarName(`${parsed.domain}/${parsed.path}`);
      stream.write({ status: `Pulling from ${from}`, id: parsed.tag ?? parsed.digest ?? '' });
    };
    const { record, changed } = await pullImage(store, registry, ref, {
      platform,
      signal,
      credentials,
      report: (id, state) => {
        tell();
        report(id, state);
      },
    });
    tell();
    const name = familiarName(record.name);
    stream.write({ status: `Digest: ${record.target.digest}` });
    stream.write({
      status: `Status: ${changed ? 'Downloaded newer image for' : 'Image is up to date for'} ${name}`,
    });
    host.events.emit('image', 'pull', name, { name });
    stream.end();
  } catch (err) {
    stream.fail(err);
  }
  return undefined;
}

async function importTar(call: Call, platform: Platform | undefined): Promise<undefined> {
  const { host, request, response, query, signal } = call;
  if (query.text('fromSrc') !== '-') {
    throw apiError(
      'unsupported',
      'importing from a URL is not supported',
      'Send the tar as the request body, with fromSrc=-.',
    );
  }
  if (query.all('changes').some((change) => change.trim() !== '')) {
    throw apiError(
      'unsupported',
      'changes are not supported when importing',
      'Build FROM the imported image with these instructions.',
    );
  }
  const repo = query.text('repo');
  const tag = query.text('tag');
  const name = repo === '' ? undefined : normalizeName(tag === '' ? repo : `${repo}:${tag}`);
  const stream = new JsonStream(response);
  try {
    const { id } = await importImage(host.engine.store, new UploadBody(request), {
      name,
      platform,
      message: query.text('message'),
      signal,
    });
    stream.write({ status: id });
    host.events.emit('image', 'import', id, { name: name === undefined ? id : familiarName(name) });
    stream.end();
  } catch (err) {
    stream.fail(err);
  }
  return undefined;
}

function search(): never {
  throw apiError(
    'unsupported',
    'searching Docker Hub is not supported',
    'Search on https://hub.docker.com; images are pulled by name.',
  );
}
