import { attestationsAsked } from '../attest/index.ts';
import { sourceRewrite } from '../llb/index.ts';
import { formatPlatform } from '../oci/index.ts';
import { inlineByArg } from '../remote-cache/index.ts';
import { epochSeconds } from '../words/index.ts';
import { type DockerfileHooks, dockerfile } from './frontends/dockerfile.ts';
import type { BuildOptions, BuildRequest } from './types.ts';

/**
 * The request for a build of a Dockerfile, as a command, the library or POST /build makes it. A build without an output
 * makes an image. With `check`, nothing is exported and no foreign cache is used.
 */
export function dockerfileBuild(options: BuildOptions, hooks?: DockerfileHooks): BuildRequest {
  const { buildArgs, outputs, tags, platforms, allow, classic } = options;
  const asked = attestationsAsked(prefixedArgs(buildArgs));
  const provenance = options.provenance === false ? undefined : (options.provenance ?? asked.provenance);
  const sbom = options.check || options.sbom === false ? undefined : (options.sbom ?? asked.sbom);
  return {
    frontend: dockerfile(options, { ...hooks, sbom }),
    outputs: outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }],
    origin: {
      file: options.dockerfile,
      context: options.context.type === 'remote' ? options.context.url : undefined,
    },
    tags,
    platform: platforms.length === 0 ? undefined : platforms.map(formatPlatform).join(','),
    sourceDateEpoch: options.sourceDateEpoch ?? epochSeconds(buildArgs.SOURCE_DATE_EPOCH),
    cacheFrom: options.check ? [] : options.cacheFrom,
    cacheTo: [...(options.cacheTo ?? []), ...inlineByArg(buildArgs)],
    provenance,
    sbom,
    rewrite: sourceRewrite(options.sourcePolicy === undefined ? [] : [options.sourcePolicy]),
    locks: options.locks,
    madeNow: classic ? (options.noCache ? 'anew' : 'kept') : undefined,
    allow,
    proxyNetwork: options.proxyNetwork,
  };
}

function prefixedArgs(args: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [`build-arg:${name}`, value]));
}
