/**
 * A build of the past that is opened again: what its record has of the request, the folders that were noted on this side,
 * and what has to be given anew. Records hold no folder of the client, no secret, and no value that looks like one.
 */
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, hidden } from '../../errors/index.ts';
import { type DockerfileRequest, dockerfileRequest } from '../../frontend/index.ts';
import { rawName } from '../../linux/index.ts';
import { mkfile, scratch } from '../../llb/index.ts';
import type { BuildHistoryRecord } from '../../pb/moby/buildkit/v1/control_pb.js';
import { saysCanceled } from '../../progress/index.ts';
import { type BuildFlags, type PreparedBuild, prepareBuild } from '../build/prepare.ts';
import type { CommandContext } from '../command.ts';
import type { BuildHistory } from '../history/builds.ts';
import { chosen } from '../history/chosen.ts';
import { foldersOf } from '../history/folders.ts';

/** What is known of a build that has ended. */
export interface PastBuild {
  ref: string;
  /** The request, as far as it is kept. */
  request: DockerfileRequest;
  /** The Dockerfile as it was; undefined when it is not kept. */
  dockerfile?: string;
  /** The name of the step that failed. */
  failed?: string;
}

/** Whether a word may name a build rather than a step: `^0`, or eight letters or more of a reference. */
export function mayNameBuild(word: string): boolean {
  return /^\^\d+$/.test(word) || /^(?=.*\d)[0-9a-z][0-9a-z-]{7,}$/.test(word);
}

/**
 * The build of the history that a word means; undefined when it means none. Throws `conflict` for one that still runs,
 * and `unsupported` for one that no Dockerfile frontend has made.
 */
export async function pastBuild(history: BuildHistory, word: string): Promise<PastBuild | undefined> {
  const all = (await history.list([])).map((record) => ({ ref: record.Ref, record }));
  // Counted are builds of Dockerfiles alone: at a daemon, what a debugger asks for is a build, too.
  const found = chosen(word.startsWith('^') ? all.filter(({ record }) => isOfDockerfile(record)) : all, word);
  if (found === undefined) return undefined;
  const { ref, record } = found;
  if (record.CompletedAt === undefined)
    throw fail('conflict', 'client', `build ${ref} still runs`, { hint: 'Open it when it has ended.' });
  if (!isOfDockerfile(record)) {
    throw fail('unsupported', 'client', `build ${ref} is not known to be of a Dockerfile`, {
      hint: 'Open it by its Dockerfile, if it is of one: drydock debug STEP CONTEXT.',
    });
  }
  const request = dockerfileRequest({ options: record.FrontendAttrs, inputs: {} });
  const files = await history.files(ref);
  const text =
    files.find(({ name }) => name === (request.dockerfile ?? 'Dockerfile'))?.text ?? files[0]?.text;
  const failed = record.error === undefined ? undefined : await failedStep(history, ref);
  return { ref, request, failed, dockerfile: text?.includes(hidden) ? undefined : text };
}

/** Whether a build is of our frontend. Clients that direct their builds themselves, as buildx does, leave its name out. */
function isOfDockerfile({ Frontend, FrontendAttrs }: BuildHistoryRecord): boolean {
  return Frontend === 'dockerfile.v0' || (Frontend === '' && FrontendAttrs.filename !== undefined);
}

async function failedStep(history: BuildHistory, ref: string): Promise<string | undefined> {
  for await (const { vertexes } of history.progress(ref)) {
    const failed = vertexes.find(({ error }) => error !== '' && !saysCanceled(error));
    if (failed !== undefined) return failed.name;
  }
  return undefined;
}

/**
 * Prepares the build to be made again as it was; flags take the place of what the record has. Throws `invalid` with all
 * that is missing.
 */
export async function prepareAgain(
  past: PastBuild,
  flags: BuildFlags,
  context: string | undefined,
  ctx: CommandContext,
): Promise<PreparedBuild> {
  const { request } = past;
  const found = givenAgain(past, flags, context, ctx.root);
  const { place } = found;
  const text = flags.file === undefined ? await changedText(past, found) : undefined;
  const file = flags.file ?? (text === undefined ? fileOf(past, found) : undefined);
  const again = { ...flags, file, 'build-context': [...found.contexts, ...flags['build-context']] };
  const { options, ...prepared } = await prepareBuild(again, place, ctx);
  if (context === undefined && request.context.type !== 'remote')
    ctx.stderr.write(`The build context is that of build ${past.ref}: ${place}\n`);
  if (text !== undefined) {
    ctx.stderr.write(
      `The Dockerfile is that of build ${past.ref}, which ${place} does not have like this.\n`,
    );
  }
  const given = (name: string) =>
    flags['build-arg'].some((arg) => arg === name || arg.startsWith(`${name}=`));
  const kept = Object.entries(request.buildArgs).filter(([name]) => !given(name));
  return {
    ...prepared,
    options: {
      ...options,
      target: flags.target ?? request.target,
      buildArgs: { ...options.buildArgs, ...Object.fromEntries(kept) },
      platforms: flags.platform.length > 0 ? options.platforms : request.platforms,
      multiPlatform: request.multiPlatform,
      namedContexts: { ...request.namedContexts, ...options.namedContexts },
      extraHosts: [...request.extraHosts, ...options.extraHosts],
      ...(flags.network === undefined && { network: request.network, networkName: request.networkName }),
      shmSize: flags['shm-size'] === undefined ? request.shmSize : options.shmSize,
      ulimits: flags.ulimit.length > 0 ? options.ulimits : request.ulimits,
      cgroupParent: options.cgroupParent ?? request.cgroupParent,
      hostname: options.hostname ?? request.hostname,
      limits: { ...request.limits, ...options.limits },
      contextSubdir: request.contextSubdir,
      ...(text !== undefined && dockerfileOf(text)),
    },
  };
}

/** A Dockerfile that is in no folder of the client. */
function dockerfileOf(
  text: string,
): Pick<DockerfileRequest, 'dockerfile' | 'dockerfileLocal' | 'dockerfileState'> {
  const name = '[internal] load build definition of the past build';
  const dockerfileState = scratch().file(mkfile('/Dockerfile', text), { name });
  return { dockerfile: 'Dockerfile', dockerfileLocal: undefined, dockerfileState };
}

/** What a build is made of again. */
interface Given {
  /** The context: a folder or a URL. */
  place: string;
  /** The folder of a Dockerfile that is not in the context. */
  dockerfileIn?: string;
  /** Named contexts, as `--build-context` has them. */
  contexts: string[];
}

/** What is given, what the record has whole, and the folders that were noted and are still there. */
function givenAgain(
  { ref, request }: PastBuild,
  flags: BuildFlags,
  given: string | undefined,
  root: string,
): Given {
  const missing: string[] = [];
  const contexts: string[] = [];
  const noted = foldersOf(root, ref);
  const folder = (name: string) => {
    const path = noted[name];
    return path !== undefined && isFolder(path) ? path : undefined;
  };
  const { context } = request;
  const url = context.type === 'remote' && !context.url.includes(hidden) ? context.url : undefined;
  const place = given ?? url ?? (context.type === 'local' ? folder('context') : undefined);
  if (place === undefined) missing.push('CONTEXT');
  const isGiven = (list: readonly string[], name: string) => list.some((each) => each.startsWith(`${name}=`));
  for (const [name, value] of Object.entries(request.namedContexts)) {
    const isKept = /^(docker-image|https?|git|ssh):\/\//.test(value) && !value.includes(hidden);
    if (isKept || isGiven(flags['build-context'], name)) continue;
    const path = value.startsWith('local:') ? folder(value.slice('local:'.length)) : undefined;
    if (path === undefined) missing.push(`--build-context ${name}=…`);
    else contexts.push(`${name}=${path}`);
  }
  for (const [name, value] of Object.entries(request.buildArgs)) {
    const named = flags['build-arg'].includes(name) || isGiven(flags['build-arg'], name);
    if (value.includes(hidden) && !named) missing.push(`--build-arg ${name}=…`);
  }
  if (missing.length === 0 && place !== undefined)
    return { place, contexts, dockerfileIn: given === undefined ? folder('dockerfile') : undefined };
  throw fail('invalid', 'client', `the record of build ${ref} does not have all that it was made of`, {
    hint: `Give what it lacks: ${missing.join(' ')}. Secrets and agents are not kept either (--secret, --ssh).`,
  });
}

/** The Dockerfile of the build, when the context does not have it as it was. */
async function changedText(past: PastBuild, given: Given): Promise<string | undefined> {
  const { request, dockerfile } = past;
  if (dockerfile === undefined || request.context.type === 'remote') return undefined;
  const now = await readFile(rawName(fileOf(past, given)), 'utf8').catch(() => undefined);
  return now === dockerfile ? undefined : dockerfile;
}

/** The Dockerfile in its folder: of a folder as a path from here, of a URL as one in it. */
function fileOf({ request }: PastBuild, { place, dockerfileIn = place }: Given): string {
  const name = request.dockerfile ?? 'Dockerfile';
  return request.context.type === 'remote' ? name : join(dockerfileIn, name);
}

/** Whether a path is a folder here. */
export function isFolder(path: string): boolean {
  return path !== '' && statSync(rawName(path), { throwIfNoEntry: false })?.isDirectory() === true;
}
