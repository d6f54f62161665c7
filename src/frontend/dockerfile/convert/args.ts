/** Build arguments: the predefined ones, those of the client, and those of ARG before the first FROM. */
import type { ProxyEnv } from '../../../llb/index.ts';
import { formatPlatform, type Platform } from '../../../oci/index.ts';
import type { Dockerfile } from '../ast.ts';
import { expandWord } from '../expand/expand.ts';
import { atRange } from './located.ts';

/** The ARGs that configure the build and never reach a process. */
export const notInEnv = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']);

const platformArgs = [
  'BUILDPLATFORM',
  'BUILDOS',
  'BUILDOSVERSION',
  'BUILDARCH',
  'BUILDVARIANT',
  'TARGETPLATFORM',
  'TARGETOS',
  'TARGETOSVERSION',
  'TARGETARCH',
  'TARGETVARIANT',
  'TARGETSTAGE',
];

/** Whether a build argument has an effect without an ARG. */
export function isPredefined(name: string): boolean {
  return (
    /^(http|https|ftp|no|all)_proxy$/i.test(name) ||
    name.startsWith('BUILDKIT_') ||
    name === 'SOURCE_DATE_EPOCH' ||
    platformArgs.includes(name)
  );
}

/**
 * The arguments about platforms, which an ARG without a value brings into a stage.
 *
 *     platformArgValues(amd64, arm64, 'build', {}).get('TARGETARCH') // 'arm64'
 */
export function platformArgValues(
  build: Platform,
  target: Platform,
  stage: string,
  buildArgs: Readonly<Record<string, string>>,
): Map<string, string> {
  const values: [string, string][] = [
    ['BUILDPLATFORM', formatPlatform(build)],
    ['BUILDOS', build.os],
    ['BUILDOSVERSION', build['os.version'] ?? ''],
    ['BUILDARCH', build.architecture],
    ['BUILDVARIANT', build.variant ?? ''],
    ['TARGETPLATFORM', formatPlatform(target)],
    ['TARGETOS', target.os],
    ['TARGETOSVERSION', target['os.version'] ?? ''],
    ['TARGETARCH', target.architecture],
    ['TARGETVARIANT', target.variant ?? ''],
    ['TARGETSTAGE', stage || 'default'],
  ];
  return new Map(values.map(([name, value]) => [name, own(buildArgs, name) ?? value]));
}

/** `base` with the ARGs before the first FROM, with the client's values or their defaults. */
export function globalArgValues(
  file: Dockerfile,
  base: ReadonlyMap<string, string>,
  buildArgs: Readonly<Record<string, string>>,
): Map<string, string> {
  const values = new Map(base);
  for (const instruction of file.globalArgs) {
    for (const arg of instruction.args) {
      let value = own(buildArgs, arg.name);
      if (value === undefined && arg.default !== undefined) {
        value = atRange(
          file,
          instruction.range,
          () =>
            expandWord(arg.default ?? '', (name) => values.get(name), { escape: file.directives.escape })
              .value,
        );
      }
      if (value !== undefined) values.set(arg.name, value);
    }
  }
  return values;
}

/** The client's value of a name. Members of object prototypes are no build arguments. */
export function own(record: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** The proxies for RUN, from the build arguments in either case. */
export function proxyOf(buildArgs: Readonly<Record<string, string>>): ProxyEnv | undefined {
  const proxy: ProxyEnv = {};
  const fields = {
    http_proxy: 'httpProxy',
    https_proxy: 'httpsProxy',
    ftp_proxy: 'ftpProxy',
    no_proxy: 'noProxy',
    all_proxy: 'allProxy',
  } as const;
  for (const name of Object.keys(buildArgs).sort()) {
    const key = name.toLowerCase();
    if (Object.hasOwn(fields, key)) proxy[fields[key as keyof typeof fields]] = buildArgs[name];
  }
  return Object.keys(proxy).length > 0 ? proxy : undefined;
}
