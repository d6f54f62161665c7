/** The Dockerfile frontend: reads the Dockerfile of a context and converts it, once per platform. */
import { throwIfAborted } from '../../errors/error.ts';
import type { DockerfileRequest, Frontend, FrontendTarget, LintWarning } from '../types.ts';
import type { Dockerfile, Stage } from './ast.ts';
import { isPredefined, own } from './convert/args.ts';
import { openContext } from './convert/context.ts';
import { convertDockerfile } from './convert/convert.ts';
import { Findings } from './convert/findings.ts';
import { lintDockerfile } from './lint/lint.ts';
import { checkOptions, lintFailure, toWarnings } from './lint/warnings.ts';
import { parseDockerfile } from './parse/parse.ts';

/**
 * Turns a request into one definition and image config per platform. Solves only what it needs to read (Dockerfile,
 * .dockerignore, remote contexts). Throws DrydockErrors with the place in the Dockerfile: `invalid`, `not-found`,
 * and what the host throws.
 */
export const dockerfileFrontend: Frontend = async (request, host, signal) => {
  const context = await openContext(request, host);
  const { text, filename } = await context.dockerfile();
  throwIfAborted(signal);
  const file = parseDockerfile(text, filename);
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
  const override = own(request.buildArgs, 'BUILDKIT_DOCKERFILE_CHECK');
  const warnings = toWarnings([...lintDockerfile(file, { shellInBase }), ...findings.list], file, override);
  const failure = checkOptions(file, override).error && !request.check ? lintFailure(warnings) : undefined;
  if (failure !== undefined) throw failure;
  const unused = unusedArgs(request, file, consumed);
  return { targets, warnings: unused === undefined ? warnings : [...warnings, unused] };
};

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
