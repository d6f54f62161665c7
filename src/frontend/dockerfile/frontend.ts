/** The Dockerfile frontend: reads the Dockerfile of a context and converts it, once for each platform. */
import { type DrydockError, fail, type Stopping, throwIfAborted } from '../../errors/index.ts';
import { limitSteps, nameNetwork } from '../../llb/index.ts';
import type {
  DockerfileFrontend,
  DockerfileRequest,
  FrontendHost,
  FrontendResult,
  LintWarning,
} from '../types.ts';
import type { Dockerfile, Stage } from './ast.ts';
import { type Allowances, allowances } from './convert/allowance.ts';
import { isPredefined, own } from './convert/args.ts';
import { type BuildContext, type DockerfileText, openContext } from './convert/context.ts';
import { convertDockerfile } from './convert/convert.ts';
import { LintFindings } from './convert/findings.ts';
import { lintDockerfile } from './lint/lint.ts';
import { checkOptions, lintFailure, toWarnings } from './lint/warnings.ts';
import { detectSyntax } from './parse/directives.ts';
import { parseDockerfile, parseInTurns } from './parse/parse.ts';

/**
 * The largest Dockerfile, in characters, that the main thread converts itself, in some milliseconds. Larger ones go to
 * a thread.
 */
const maxSmall = 32 * 1024;

/** The context of a request and its Dockerfile, or the result of the frontend that the request was handed over to. */
type Read = { context: BuildContext; text: DockerfileText } | { forwarded: FrontendResult };

/** The same with the Dockerfile parsed. */
type Loaded = { context: BuildContext; file: Dockerfile } | { forwarded: FrontendResult };

/** Reads and parses the Dockerfile. Throws `not-found`, `invalid` with the place, and the host's errors. */
export async function loadDockerfile(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Loaded> {
  const read = await readDockerfile(request, host, signal);
  if ('forwarded' in read) return read;
  const { text, filename, definition } = read.text;
  return { context: read.context, file: await parseInTurns(text, filename, definition) };
}

async function readDockerfile(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: Stopping,
): Promise<Read> {
  const context = await openContext(request, host);
  const text = await context.dockerfile();
  throwIfAborted(signal);
  if (request.classic && text.text === '') {
    throw fail('invalid', 'dockerfile', `the Dockerfile (${text.filename}) cannot be empty`);
  }
  const forwarded = await forward(request, host, text);
  return forwarded === undefined ? { context, text } : { forwarded };
}

/** The conversion of a Dockerfile, and the findings of the checks, even when the Dockerfile cannot be built. */
export interface Examined extends FrontendResult {
  /** The error of a Dockerfile that could not be parsed or converted. */
  failure?: unknown;
  /** The error of a Dockerfile whose checks say `error=true`. */
  violation?: DrydockError;
}

/**
 * Converts a Dockerfile as `dockerfileFrontend` does, without throwing for mistakes in it. Throws when the Dockerfile
 * cannot be read.
 */
export async function examineDockerfile(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Examined> {
  const read = await readDockerfile(request, host, signal);
  if ('forwarded' in read) return read.forwarded;
  if (!isCostly(read.text.text, request)) {
    const examined = await examine(request, host, signal, read, { others: true });
    if (examined !== undefined) return examined;
  }
  const { examineOnThread } = await import('./large.ts');
  return examineOnThread(request, host, signal);
}

/**
 * Whether a Dockerfile is too costly for the main thread: it, or a value that it is given, is long; or it is for many
 * platforms; or it lists ports by the thousand.
 */
function isCostly(text: string, request: DockerfileRequest): boolean {
  const { buildArgs, labels, namedContexts, extraHosts, ulimits, noCacheFilter, platforms } = request;
  let size = text.length + noCacheFilter.join().length + (extraHosts.length + ulimits.length) * 32;
  for (const given of [buildArgs, labels, namedContexts]) {
    for (const [name, value] of Object.entries(given)) size += name.length + value.length;
  }
  if (size * Math.max(1, platforms.length) > maxSmall) return true;
  return text.split('\n').some((line) => line.includes('-') && /^\s*expose\s/i.test(line));
}

/** Does the same on the calling thread, however large the Dockerfile is. */
export async function examineHere(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: Stopping,
): Promise<Examined> {
  const read = await readDockerfile(request, host, signal);
  if ('forwarded' in read) return read.forwarded;
  return (await examine(request, host, signal, read, { others: false })) as Examined;
}

/**
 * Examines a Dockerfile. `others` says that other work waits meanwhile; the result is then undefined for a Dockerfile
 * that takes too long for that.
 */
async function examine(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: Stopping,
  { context, text: { text, filename, definition } }: Exclude<Read, { forwarded: unknown }>,
  { others }: { others: boolean },
): Promise<Examined | undefined> {
  const override = own(request.buildArgs, 'BUILDKIT_DOCKERFILE_CHECK');
  let warnings: LintWarning[] = [];
  let file: Dockerfile;
  try {
    file = parseDockerfile(text, filename, definition, (partial) => {
      warnings = toWarnings(lintDockerfile(partial, { partial: true }), partial, override);
    });
  } catch (failure) {
    if (warnings.length === 0) throw failure;
    return { targets: [], warnings, failure };
  }
  const findings = new LintFindings();
  const consumed = declaredArgs(file);
  const shellInBase = new Set<Stage>();
  const reached = new Set<Stage>();
  const triggers = new Map<number, number>();
  const platforms = request.platforms.length > 0 ? request.platforms : [undefined];
  const allowed = platforms.map(() => allowances(others));
  const converted = await Promise.allSettled(
    platforms.map((platform, i) =>
      convertDockerfile({
        ...{ request, host, signal, file, context, platform, consumed, shellInBase, reached, triggers },
        // What is found for one platform counts, as in BuildKit.
        findings: i === 0 ? findings : new LintFindings(),
        allowances: allowed[i] as Allowances,
      }),
    ),
  );
  if (others && allowed.some(({ steps }) => steps.isExceeded)) return undefined;
  const failed = converted.find((each) => each.status === 'rejected');
  warnings = toWarnings(
    [...lintDockerfile(file, { shellInBase, reached }), ...findings.list],
    file,
    override,
  );
  const dockerfile = { text: file.text, filename: file.filename, triggers };
  if (failed !== undefined) return { targets: [], warnings, failure: failed.reason, dockerfile };
  const targets = converted.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  for (const { definition } of targets) {
    limitSteps(definition, request.limits);
    nameNetwork(definition, request.networkName);
  }
  const violation = checkOptions(file, override).error ? lintFailure(warnings) : undefined;
  const unused = unusedArgs(request, file, consumed);
  if (unused !== undefined) warnings.push(unused);
  return { targets, warnings, violation, dockerfile };
}

/**
 * Turns a request into one definition and image config for each platform. It solves only the trees that it needs to
 * read (Dockerfile, .dockerignore, remote contexts), and tells the host the findings of the checks. Throws
 * DrydockErrors with the place in the Dockerfile: `invalid`, `not-found`, and the host's errors.
 *
 *     const { targets } = await dockerfileFrontend(request, host, signal);
 */
export const dockerfileFrontend: DockerfileFrontend = async (request, host, signal) => {
  const { failure, violation, ...result } = await examineDockerfile(request, host, signal);
  for (const warning of result.warnings) host.warn?.(warning);
  if (failure !== undefined) throw failure;
  if (violation !== undefined && !request.check) throw violation;
  return result;
};

/** The result of the frontend that the request or the file asks for, when the host hands the build over to it. */
function forward(
  request: DockerfileRequest,
  host: FrontendHost,
  { text, filename, definition }: DockerfileText,
): Promise<FrontendResult> | undefined {
  const cmdline = own(request.buildArgs, 'BUILDKIT_SYNTAX')?.trim() || detectSyntax(text);
  if (cmdline === undefined || host.forward === undefined) return undefined;
  const line = text.slice(0, Math.max(0, text.indexOf(cmdline))).split('\n').length;
  const range = { start: { line, character: 0 }, end: { line, character: 0 } };
  const image = cmdline.split(' ', 1)[0] ?? cmdline;
  return host.forward({ image, cmdline, location: { filename, text, definition, ranges: [range] } });
}

/** The names of all ARGs, also of stages that are not built. */
function declaredArgs(file: Dockerfile): Set<string> {
  const all = [...file.globalArgs, ...file.stages.flatMap(({ instructions }) => instructions)];
  return new Set(all.flatMap((each) => (each.kind === 'ARG' ? each.args.map(({ name }) => name) : [])));
}

/** The findings about build args that no ARG takes: they are most likely mistyped. */
function unusedArgs(
  request: DockerfileRequest,
  file: Dockerfile,
  consumed: ReadonlySet<string>,
): LintWarning | undefined {
  const given = [...Object.keys(request.buildArgs), ...(request.unsetArgs ?? [])];
  const unused = given.filter((name) => !consumed.has(name) && !isPredefined(name));
  if (unused.length === 0) return undefined;
  return {
    rule: 'UnusedBuildArgs',
    description: 'Build arguments that no ARG instruction declares have no effect',
    message: `[Warning] One or more build-args [${unused.sort().join(' ')}] were not consumed`,
    url: 'https://docs.docker.com/reference/dockerfile/#arg',
    location: { filename: file.filename, text: file.text, ranges: [] },
  };
}
