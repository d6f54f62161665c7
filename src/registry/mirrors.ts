/** Where a repository is asked for: its registry, or a mirror of it. */
import { fail } from '../errors/index.ts';

/** A server and the name that a repository has there. */
export interface RepositoryPlace {
  /** `docker.io`, `mirror.local:5000` */
  domain: string;
  /** `library/alpine`, `proxy.docker.io/library/alpine` */
  path: string;
  /** On a mirror, whose copy is meant: a mirror may keep several registries' images under one name. */
  namespace?: string;
}

export interface Mirror {
  host: string;
  /** What goes before a repository's name there, without slashes at its ends; often empty. */
  prefix: string;
}

/**
 * Reads `host[:port][/prefix]`; a scheme before it says nothing (a host is spoken to as it is configured). Throws
 * `invalid`. https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md has the notation.
 */
export function parseMirror(text: string): Mirror {
  const found =
    /^(?:https?:\/\/)?([A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?)((?:\/+[\w.-]+)*)\/*$/.exec(text);
  if (found === null) {
    throw fail('invalid', 'client', `the registry mirror ${JSON.stringify(text)} is no host`, {
      hint: 'Write it as mirror.example:5000 or mirror.example/prefix.',
    });
  }
  return { host: found[1] as string, prefix: (found[2] as string).split(/\/+/).filter(Boolean).join('/') };
}

/** The places to ask for a repository, in order: the mirrors of its domain, then the domain. */
export function placesOf(
  { domain, path }: { domain: string; path: string },
  mirrors: readonly Mirror[] | undefined,
): RepositoryPlace[] {
  const copies = (mirrors ?? []).map(({ host, prefix }) => ({
    domain: host,
    path: prefix === '' ? path : `${prefix}/${path}`,
    namespace: domain,
  }));
  return [...copies, { domain, path }];
}
