import { randomUUID } from 'node:crypto';
import { ownOwner } from '../../auth/index.ts';
import {
  type BuildRequest,
  type BuildResult,
  type Built,
  dockerfileBuild,
  type Engine,
  runBuild,
} from '../../engine/index.ts';
import { type DrydockError, toDrydockError } from '../../errors/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import { askedDockerfile, type NoteHelp, noteBuild, recorded } from '../../records/index.ts';
import { type InProcessOptions, inProcessSession } from '../../session/index.ts';
import type { DebugInspector } from '../debug/inspector.ts';
import { noteFolders } from '../history/folders.ts';
import type { Endpoint } from '../remote/endpoint.ts';
import type { OwnPage } from './page.ts';
import type { PreparedBuild } from './prepare.ts';

/** What looks into a build while it runs. */
interface Looks {
  /** Looks into the build before it ends. */
  inspector?: DebugInspector;
  /** The page that shows a build of this process. */
  page?: OwnPage;
  /** The reference that the build gets; default one of its own. */
  ref?: string;
  /** The root under which the folders that the build is given are noted; default nowhere. */
  root?: string;
}

/**
 * Builds in an engine of this process, or at a daemon elsewhere, and finishes the outputs; those of a build that fails
 * are left as they were before. Rejects with the build's failure, as "failed to solve: …", and with `canceled` when the
 * signal fires.
 */
export async function runPrepared(
  prepared: PreparedBuild,
  place: Engine | Endpoint,
  sink: ProgressSink,
  signal: AbortSignal,
  looks: Looks = {},
): Promise<BuildResult & { lock?: object }> {
  const { outputs, caches } = prepared;
  try {
    const result = await solve(prepared, place, sink, signal, looks);
    for (const output of outputs) await output.finish();
    await caches.finish(result.metadata);
    return result;
  } catch (err) {
    for (const output of outputs) await output.abandon();
    throw asTold(err);
  }
}

/** The failure of a build in docker's words. */
export function asTold(err: unknown): DrydockError {
  const error = toDrydockError(err);
  if (error.code !== 'canceled' && !error.message.startsWith('failed to solve: ')) {
    error.message = `failed to solve: ${error.message}`;
  }
  return error;
}

async function solve(
  { options, offered }: PreparedBuild,
  place: Engine | Endpoint,
  sink: ProgressSink,
  signal: AbortSignal,
  { inspector, page, root, ref = randomUUID() }: Looks,
): Promise<BuildResult & { lock?: object }> {
  const builds = !options.check && options.subrequest === undefined;
  if (builds && root !== undefined) noteFolders(root, ref, offered.locals ?? {});
  if ('store' in place) {
    const request = dockerfileBuild(options);
    const asked = inspector === undefined ? request : await inspectedRequest(request, inspector, signal);
    // Questions about a Dockerfile build nothing.
    if (!builds) return localBuild(place, asked, offered, sink, signal);
    const stop = new AbortController();
    const either = page === undefined ? signal : AbortSignal.any([signal, stop.signal]);
    return recorded({
      record: page?.record ?? noteBuild(place.store.root, noteHelp),
      owner: ownOwner(),
      asked: { ref, ...askedDockerfile(options) },
      sink,
      run: (both, kept) => localBuild(place, { ...asked, ...kept }, offered, both, either),
      called: (ref) => page?.runs(ref, () => stop.abort(new Error('the build was cancelled on its page'))),
    });
  }
  const { remoteBuild } = await import('../remote/build.ts');
  return remoteBuild(place, options, offered, sink, signal, { inspector, ref });
}

/** The request with an inspector, who speaks to the engine as a client of a daemon does. */
async function inspectedRequest(
  request: BuildRequest,
  inspector: DebugInspector,
  signal: AbortSignal,
): Promise<BuildRequest> {
  const { inspected } = await import('../../engine/frontends/inspected.ts');
  const call = { headers: {}, signal };
  return {
    ...request,
    frontend: inspected(request.frontend, {
      failed: (failure, transport) =>
        inspector.failed({ ...failure, error: asTold(failure.error) }, { transport, call }),
      ...(inspector.wantsResult && {
        made: (result, transport) => inspector.made(result, { transport, call }),
      }),
    }),
  };
}

async function localBuild(
  engine: Engine,
  request: BuildRequest,
  offered: InProcessOptions,
  printer: ProgressSink,
  signal: AbortSignal,
): Promise<Built> {
  const session = inProcessSession({ ...offered, runDir: engine.store.runDir });
  try {
    const traced = { ...request, traceparent: process.env.TRACEPARENT };
    return await runBuild(engine, traced, session, printer, signal);
  } finally {
    await session.close();
  }
}

/** Loaded only when asked for: the history's libraries are not small. */
async function noteHelp(): Promise<NoteHelp> {
  return (await import('../../api/notes/help.ts')).noteHelp;
}
