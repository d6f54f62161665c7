/** `POST /images/{name}/push`. */
import { pushImage } from '../../../images/push.ts';
import { familiarName, normalizeName, parseReference } from '../../../oci/reference.ts';
import { JsonStream } from '../http/json-stream.ts';
import { shortId, transferReport } from '../http/progress.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const imagePushRoutes: Route[] = [
  { method: 'POST', path: '/images/*', suffix: '/push', scopes: ['images:read'], handle: push },
];

async function push({ host, request, response, name, query, signal }: Call): Promise<undefined> {
  const tag = query.text('tag');
  const ref = normalizeName(tag === '' ? name : `${name}:${tag}`);
  const { domain, path } = parseReference(ref);
  const credentials = registryAuth(request.headers['x-registry-auth']);
  request.resume();
  const stream = new JsonStream(response);
  stream.write({ status: `The push refers to repository [${domain}/${path}]` });
  try {
    const { store, registry } = host.engine;
    const report = transferReport(stream, { begin: 'Preparing', moving: 'Pushing', end: 'Pushed' });
    const { target, layers } = await pushImage(store, registry, ref, ref, { signal, credentials, report });
    for (const { digest, outcome } of layers) {
      if (outcome !== 'pushed') {
        const status = outcome === 'exists' ? 'Layer already exists' : 'Mounted from another repository';
        stream.write({ status, progressDetail: {}, id: shortId(digest) });
      }
    }
    const pushedTag = parseReference(ref).tag ?? '';
    stream.write({ status: `${pushedTag}: digest: ${target.digest} size: ${target.size}` });
    stream.write({ progressDetail: {}, aux: { Tag: pushedTag, Digest: target.digest, Size: target.size } });
    host.events.emit('image', 'push', familiarName(ref), { name: familiarName(ref) });
    stream.end();
  } catch (err) {
    stream.fail(err);
  }
  return undefined;
}
