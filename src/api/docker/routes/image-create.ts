/** `POST /images/create`: pull from a registry, or import a tar (`fromSrc`). */

import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findImage } from '../../../distribution/index.ts';
import { importTar, pullImage } from '../../../images/index.ts';
import {
  familiarName,
  formatReference,
  hostPlatform,
  normalizeName,
  parseReference,
} from '../../../oci/index.ts';
import { download } from '../../../source/index.ts';
import { explainDisk } from '../../../store/index.ts';
import { configOfChanges } from '../config-changes.ts';
import { UploadBody } from '../http/body.ts';
import { apiError } from '../http/errors.ts';
import { JsonStream } from '../http/json-stream.ts';
import { checkCount, requestLimits } from '../http/limits.ts';
import { logFault } from '../http/log-fault.ts';
import { readPlatform } from '../http/platform.ts';
import { progressObject, transferReport } from '../http/progress.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';
import { eventImage } from '../images.ts';

export const imageCreateRoutes: Route[] = [
  { method: 'POST', path: '/images/create', scopes: ['images:write'], handle: create },
];

async function create(call: Call): Promise<undefined> {
  const stream = new JsonStream(call.response);
  try {
    if (call.query.text('fromImage') !== '') await pull(call, stream);
    else if (call.query.text('fromSrc') !== '') await importImage(call, stream);
    else throw apiError('invalid', 'neither fromImage (to pull) nor fromSrc (to import) is given');
    stream.end();
  } catch (err) {
    const error = await explainDisk(err, call.host.engine.store);
    logFault(call.host, call.request, error);
    stream.fail(error);
  }
  return undefined;
}

/** The name to pull. `tag` may be a digest; a tag in `fromImage` itself counts when there is no `tag`. */
function nameOf(image: string, tag: string): string {
  if (tag === '') return image;
  const ref = parseReference(image);
  return tag.startsWith('sha256:')
    ? `${formatReference({ ...ref, digest: undefined })}@${tag}`
    : formatReference({ ...ref, tag, digest: undefined });
}

/** Pulls one image or, without a tag and a digest, every tag of the repository, as the API has it. */
async function pull(call: Call, stream: JsonStream): Promise<void> {
  const { host, query, request, signal } = call;
  readPlatform(query.text('platform'));
  const name = nameOf(query.text('fromImage'), query.text('tag'));
  const { tag, digest } = parseReference(name);
  if (tag !== undefined || digest !== undefined) return pullOne(call, stream, name);
  const credentials = registryAuth(request.headers['x-registry-auth'], name);
  for (const each of await host.engine.registry.tags(name, { signal, credentials })) {
    await pullOne(call, stream, nameOf(name, each));
  }
}

async function pullOne(
  { host, query, request, signal }: Call,
  stream: JsonStream,
  name: string,
): Promise<void> {
  const { store, registry, trust } = host.engine;
  const { tag, digest, path } = parseReference(name);
  // Until something is fetched, a failure is a plain answer with its status.
  let headed = false;
  const head = () => {
    if (headed) return;
    headed = true;
    stream.write({ status: `Pulling from ${path}`, id: digest ?? tag ?? '' });
  };
  const report = transferReport(stream, {
    begin: 'Pulling fs layer',
    moving: 'Downloading',
    end: 'Pull complete',
  });
  const { record, changed } = await pullImage(store, registry, name, {
    trust,
    platform: readPlatform(query.text('platform')),
    all: query.bool('allPlatforms'),
    credentials: registryAuth(request.headers['x-registry-auth'], name),
    signal,
    report(id, state) {
      head();
      report(id, state);
    },
  });
  head();
  const kept = familiarName(record.name);
  stream.write({ status: `Digest: ${record.target.digest}` });
  stream.write({
    status: changed
      ? `Status: Downloaded newer image for ${kept}`
      : `Status: Image is up to date for ${kept}`,
  });
  const { image } = await findImage(store, kept);
  host.events.emitImage('pull', { ...eventImage(image), id: kept }, kept);
}

async function importImage(call: Call, stream: JsonStream): Promise<void> {
  const { host, query, request, signal } = call;
  const { store } = host.engine;
  const platform = readPlatform(query.text('platform')) ?? hostPlatform();
  if (platform.os !== hostPlatform().os) throw apiError('invalid', 'operating system is not supported');
  const changes = query.all('changes');
  checkCount('changes', changes.length, requestLimits.changes);
  const config = await configOfChanges(changes, platform, signal);
  const repository = query.text('repo');
  const tag = query.text('tag');
  const name = repository === '' ? undefined : tag === '' ? repository : `${repository}:${tag}`;
  if (name !== undefined && parseReference(name).digest !== undefined) {
    throw apiError('invalid', 'cannot import digest reference');
  }
  const from = query.text('fromSrc');
  const message = query.text('message') || (from === '-' ? 'Imported from -' : `Imported from ${bare(from)}`);
  const options = { name, platform, config, message, signal };
  let id: string;
  if (from === '-') {
    const body = new UploadBody(request);
    try {
      ({ id } = await importTar(store, body, options));
    } finally {
      body.destroy();
    }
  } else {
    const url = /^https?:\/\//.test(from) ? from : `http://${from}`;
    const file = join(store.runDir, `import-${crypto.randomUUID()}`);
    try {
      let at = 0;
      stream.write({ status: `Downloading from ${bare(url)}` });
      await download(url, file, {
        headers: {},
        signal,
        report(current, total) {
          if (Date.now() - at < 100 || stream.isBlocked) return;
          at = Date.now();
          stream.write(progressObject('Importing', '', current, total));
        },
      });
      ({ id } = await importTar(store, createReadStream(file), options));
    } finally {
      await rm(file, { force: true });
    }
  }
  stream.write({ status: id });
  const image = { id, labels: config.Labels ?? {} };
  host.events.emitImage('import', image, id);
  if (name !== undefined) host.events.emitImage('tag', image, familiarName(normalizeName(name)));
}

/** The URL without credentials and query, for people to read. */
function bare(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/s, '');
}
