/** The Dockerfile frontend: reads the Dockerfile of a context and converts it, once per platform. */
import { throwIfAborted } from '../../errors/error.ts';
import { limitSteps } from '../../llb/limits.ts';
import type {
  DockerfileRequest,
  Frontend,
  FrontendHost,
  FrontendResult,
  FrontendTarget,
  LintWarning,
} from '../types.ts';
import type { Dockerfile, Stage } from './ast.ts';
import { isPredefined, own } from './convert/args.ts';
import { type BuildContext, type DockerfileText, openContext } from './convert/context.ts';
import { convertDockerfile } from './convert/convert.ts';
import { Findings } from './convert/findings.ts';
import { lintDockerfile } from './lint/lint.ts';
import { checkOptions, lintFailure, toWarnings } from './lint/warnings.ts';
import { detectSyntax } from './parse/directives.ts';
import { parseDockerfile } from './parse/parse.ts';

/** A request's context, and its Dockerfile parsed; or the result of the frontend that it was handed to. */
export type Loaded = { context: BuildContext; file: Dockerfile } | { forwarded: FrontendResult };

/** Reads and parses the Dockerfile. Throws `not-found`, `invalid` with the place, and what the host throws. */
export async function loadDockerfile(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Loaded> {
  const context = await openContext(request, host);
  const read = await context.dockerfile();
  throwIfAborted(signal);
  const forwarded = await forward(request, host, read);
  if (forwarded !== undefined) return { forwarded };
  return { context, file: parseDockerfile(read.text, read.filename, read.definition) };
}

/**
 * Turns a request into one definition and image config per platform. Solves only what it needs to read (Dockerfile,
 * .dockerignore, remote contexts). Throws DrydockErrors with the place in the Dockerfile: `invalid`, `not-found`,
 * and what the host throws.
 */
export const dockerfileFrontend: Frontend = async (request, host, signal) => {
  const loaded = await loadDockerfile(request, host, signal);
  if ('forwarded' in loaded) return loaded.forwarded;
  const { context, file } = loaded;
  const findings = new Findings();
  const consumed = declaredArgs(file);
  const shellInBase = new Set<Stage>();
  const platforms = request.platforms.length > 0 ? request.platforms : [undefined];
  const convert = (platform: (typeof platforms)[number]) =>
    convertDockerfile({
      request,
      host,
      signal,
      file,
      context,
      platform,
      findings,
      consumed,
      shellInBase,
    });
  const targets: FrontendTarget[] = await Promise.all(platforms.map(convert));
  for (const { definition } of targets) limitSteps(definition, request.limits);
  const override = own(request.buildArgs, 'BUILDKIT_DOCKERFILE_CHECK');
  const warnings = toWarnings([...lintDockerfile(file, { shellInBase }), ...findings.list], file, override);
  const failure = checkOptions(file, override).error && !request.check ? lintFailure(warnings) : undefined;
  if (failure !== undefined) throw failure;
  const unused = unusedArgs(request, file, consumed);
  return {
    targets,
    warnings: unused === undefined ? warnings : [...warnings, unused],
    dockerfile: { text: file.text, filename: file.filename },
  };
};

/** The result of the frontend that the request or the file asks for, when the host hands over to it. */
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

/** Names of all ARGs, also of stages that are not built. */
function declaredArgs(file: Dockerfile): Set<string> {
  const all = [...file.globalArgs, ...file.stages.flatMap(({ instructions }) => instructions)];
  return new Set(all.flatMap((each) => (each.kind === 'ARG' ? each.args.map(({ name }) => name) : [])));
}

/** Build args that no ARG takes are most likely mistyped. */
function unusedArgs(
  request: DockerfileRequest,
  file: Dockerfile,
  consumed: ReadonlySet<string>,
): LintWarning | undefined {
  const unused = Object.keys(request.buildArgs).filter((name) => !consumed.has(name) && !isPredefined(name));
  if (unused.length === 0) return undefined;
  return {
    rule: 'UnusedBuildArgs',
    description: 'Build arguments that no ARG instruction declares have no effect',
    message: `[Warning] One or more build-args [${unused.sort().join(' ')}] were not consumed`,
    url: 'https://docs.docker.com/reference/dockerfile/#arg',
    location: { filename: file.filename, text: file.text, ranges: [] },
  };
}
