/** `POST /build` and `/build/cancel`. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { identityKey, reachOf, tenantOf } from '../../../auth/index.ts';
import { isHere } from '../../../distribution/index.ts';
import { type BuildOptions, dockerfileBuild, type OutputSpec, runBuild } from '../../../engine/index.ts';
import { toDrydockError } from '../../../errors/index.ts';
import type { Digest } from '../../../oci/index.ts';
import type { ProgressSink } from '../../../progress/index.ts';
import { askedDockerfile, type Kept, type RecordBuild, recorded } from '../../../records/index.ts';
import { type ClientSession, namedSession } from '../../../session/index.ts';
import { isDue, nextTurn } from '../../../workers/index.ts';
import { BuildLog } from '../../shared/build-log.ts';
import type { ApiHost } from '../../shared/host.ts';
import { type BuildParameters, readBuildParameters } from '../build/parameters.ts';
import { QuietTeller } from '../build/quiet-teller.ts';
import { requestSession } from '../build/session.ts';
import type { Teller } from '../build/teller.ts';
import { TextTeller } from '../build/text-teller.ts';
import { TraceTeller } from '../build/trace-teller.ts';
import { drain, UploadBody } from '../http/body.ts';
import { apiError, faultOf } from '../http/errors.ts';
import { JsonStream, type ObjectSink } from '../http/json-stream.ts';
import { registryConfig } from '../http/registry-auth.ts';
import type { Answer, Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';

export const buildRoutes: readonly Route[] = [
  { method: 'POST', path: '/build', scopes: ['build'], handle: build },
  {
    method: 'POST',
    path: '/build/cancel',
    scopes: ['build'],
    handle({ host, query, authority }) {
      const id = query.text('id');
      if (id === '') throw apiError('invalid', 'build ID not specified', 'Give it as ?id=….');
      host.builds.cancel(reachOf(authority), id);
      return { status: 204 };
    },
  },
];

async function build(call: Call): Promise<Answer> {
  const { host, request, signal } = call;
  const parameters = readBuildParameters(call.query, call.authority);
  const owner = identityKey(call.authority.identity);
  if (parameters.parkAs !== undefined) {
    const body = new UploadBody(request);
    try {
      await call.uploads.leave({ owner, id: parameters.parkAs }, body, signal);
    } finally {
      body.destroy();
    }
    return { status: 200 };
  }
  const stream = new JsonStream(call.response);
  let body: Readable | undefined;
  let teller: Teller | undefined;
  try {
    await host.builds.run({ id: parameters.id, owner }, signal, async (running, called) => {
      const { input } = parameters;
      if (input.from === 'body') body = new UploadBody(request);
      else drain(request);
      if (input.from === 'parked') body = await call.uploads.take({ owner, id: input.id }, running);
      const client = clientOf(call, parameters, running);
      const credentials = registryConfig(request.headers['x-registry-config']);
      const options = {
        ...parameters.options,
        noCache: parameters.options.noCache || (await lacksCache(call, parameters)),
      };
      const outputs = outputsOf(parameters, client);
      const began = Date.now();
      teller = tellerOf(call, parameters, options.noCache, stream);
      const { onPlan } = teller;
      const asked = { ...options, ...contextOf(parameters), outputs };
      const session = requestSession({
        uploads: body === undefined ? {} : { body },
        credentials,
        client,
        tenant: tenantOf(call.authority),
        tags: options.tags ?? [],
      });
      const run = (sink: ProgressSink, kept: Kept) =>
        runBuild(
          host.engine,
          {
            ...dockerfileBuild(asked, { onPlan }),
            ...kept,
            traceparent: traceparentOf(request),
          },
          session,
          sink,
          running,
        );
      const { sink } = teller;
      const log = sink instanceof BuildLog ? sink : undefined;
      const { record: follow } = host;
      const record: RecordBuild | undefined = follow && ((of) => follow({ ...of, log }));
      const result = await recorded({ record, owner, asked: askedDockerfile(asked), sink, run, called });
      await teller.finish(result, {
        tags: options.tags,
        wasThere: await wasThere(host, result.imageId, began),
      });
      host.events.emitBuilt(result.stored ?? [], owner);
    });
    stream.end();
  } catch (err) {
    const error = toDrydockError(err);
    // What fails once a step has begun is told by the build itself; before that, nothing else tells of it.
    const fault = stream.started && error.code !== 'internal' ? undefined : faultOf(error);
    if (fault !== undefined) host.log('error', 'build failed', fault);
    const message = await teller?.fail(error);
    // With BuildKit docker's CLI ends with 1, whatever the step ended with.
    stream.fail(error, message === undefined ? undefined : () => message, parameters.version === 1);
  } finally {
    // What was not read of an upload is read and dropped, so that the client gets to our answer.
    body?.destroy();
    drain(request);
  }
  return undefined;
}

/** Whether an image was in the store before a build began. */
async function wasThere({ engine }: ApiHost, id: Digest | undefined, began: number): Promise<boolean> {
  const config = id === undefined ? undefined : await engine.store.content.info(id);
  return config !== undefined && config.createdAt < began;
}

/**
 * Whether no step may come from the cache. Version 1 takes steps from the images in `cachefrom` alone, and never pulls
 * them: when none of them is here, it takes no step from the cache.
 */
async function lacksCache({ host }: Call, { version, cacheNames }: BuildParameters): Promise<boolean> {
  if (version === 2 || cacheNames === undefined) return false;
  for (const name of cacheNames) {
    if (await isHere(host.engine.store, name)) return false;
    if (isDue()) await nextTurn();
  }
  return true;
}

function clientOf({ host, authority }: Call, { sessionId, input }: BuildParameters, signal: AbortSignal) {
  if (sessionId === '') {
    if (input.from !== 'session') return undefined;
    throw apiError('invalid', 'remote=client-session needs the parameter session, and it is empty');
  }
  return namedSession(host.sessions, sessionId, {
    signal,
    owner: identityKey(authority.identity),
    tenant: tenantOf(authority),
  });
}

function contextOf({ input, options }: BuildParameters): Pick<BuildOptions, 'context' | 'dockerfileLocal'> {
  if (input.from === 'url') return { context: { type: 'remote', url: input.url } };
  if (input.from !== 'session') return { context: { type: 'upload', id: 'body' } };
  // Clients serve the Dockerfile's folder on its own: it need not be in the context.
  return {
    context: { type: 'local', name: 'context' },
    dockerfileLocal: options.dockerfileLocal ?? 'dockerfile',
  };
}

function outputsOf({ outputs }: BuildParameters, client: ClientSession | undefined): OutputSpec[] {
  return outputs.map((output, index) => {
    if (output.type === 'image' || output.type === 'cacheonly') return output;
    if (client === undefined) {
      throw apiError(
        'invalid',
        `outputs: type=${output.type} goes to the client over its session, and none is named`,
      );
    }
    return { ...output, sink: client.output(outputs.length > 1 ? index : undefined) };
  });
}

function tellerOf(
  { host, query, version }: Call,
  { quiet, version: builder, input, options: { target } }: BuildParameters,
  noCache: boolean,
  stream: JsonStream,
): Teller {
  const loud = (to: ObjectSink): Teller => {
    const folder = host.engine.store.runDir;
    // BuildKit's own clients park their tars; who posts one with the build (Terraform, dockerode, curl) shows the message.
    if (builder === 2) {
      return new TraceTeller(to, { logsErrors: input.from === 'body', folder });
    }
    return new TextTeller(to, {
      target,
      noCache,
      removes: query.bool('forcerm') || !query.has('rm') || query.bool('rm'),
      wantsAux: !isBefore(version, '1.30'),
      folder,
    });
  };
  return quiet ? new QuietTeller(stream, loud) : loud(stream);
}

/** The client's place in a trace, by its header. */
function traceparentOf({ headers }: IncomingMessage): string | undefined {
  return [headers.traceparent ?? []].flat()[0];
}
