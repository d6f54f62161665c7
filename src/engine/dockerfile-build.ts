import { attestationsAsked } from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import { optionsOf } from '../frontend/index.ts';
import { sourceRewrite } from '../llb/index.ts';
import { formatPlatform } from '../oci/index.ts';
import { inlineByArg } from '../remote-cache/index.ts';
import { epochSeconds } from '../words/index.ts';
import { type DockerfileHooks, dockerfile } from './frontends/dockerfile.ts';
import type { BuildOptions, BuildRequest } from './types.ts';
import { takeWishes } from './wishes.ts';

/**
 * The request for a build of a Dockerfile, as a command, the library or POST /build makes it. A build without an output
 * makes an image. With `check`, nothing is exported and no foreign cache is used.
 */
export function dockerfileBuild(options: BuildOptions, hooks?: DockerfileHooks): BuildRequest {
  const { outputs, tags, platforms, allow, classic } = options;
  const { wishes, rest } = takeWishes(prefixedArgs(options.buildArgs));
  const buildArgs = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [name.slice(argPrefix.length), value]),
  );
  const plain = { ...options, buildArgs };
  const asks = options.check || options.subrequest !== undefined;
  const asked = attestationsAsked(rest);
  const provenance = options.provenance === false ? undefined : (options.provenance ?? asked.provenance);
  const sbom = asks || options.sbom === false ? undefined : (options.sbom ?? asked.sbom);
  return {
    frontend: dockerfile(plain, { ...hooks, sbom, linked: options.linked }),
    verifyBy: verifies(options, wishes.verify ?? false)
      ? dockerfile({ ...plain, noCache: true }, { linked: options.linked })
      : undefined,
    outputs: outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }],
    origin: {
      file: options.dockerfile,
      context: options.context.type === 'remote' ? options.context.url : undefined,
    },
    tags,
    platform: platforms.length === 0 ? undefined : platforms.map(formatPlatform).join(','),
    sourceDateEpoch: options.sourceDateEpoch ?? epochSeconds(buildArgs.SOURCE_DATE_EPOCH),
    cacheFrom: asks ? [] : options.cacheFrom,
    cacheTo: [...(options.cacheTo ?? []), ...inlineByArg(buildArgs)],
    provenance,
    sbom,
    rewrite: sourceRewrite(options.sourcePolicy === undefined ? [] : [options.sourcePolicy]),
    locks: options.locks,
    madeNow: classic ? (options.noCache ? 'anew' : 'kept') : undefined,
    allow,
    proxyNetwork: options.proxyNetwork,
    offline: options.offline ?? wishes.offline,
  };
}

/** The options by which a client of BuildKit asks its Dockerfile frontend for the same build. */
export function dockerfileOptions(options: BuildOptions): Readonly<Record<string, string>> {
  return optionsOf(options).options;
}

const argPrefix = 'build-arg:';

function prefixedArgs(args: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [`${argPrefix}${name}`, value]));
}

/** Whether the build is to be verified. Throws `invalid` where it only checks. */
function verifies({ verifyReproducible, check, subrequest }: BuildOptions, byArg: boolean): boolean {
  const wanted = verifyReproducible ?? byArg;
  if (wanted && (check || subrequest !== undefined)) {
    throw fail('invalid', 'client', 'build checks make no result that could be verified', {
      hint: 'Leave --check, --call or --verify-reproducible out.',
    });
  }
  return wanted;
}
