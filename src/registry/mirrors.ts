/** The places to ask for a repository: its registry and that registry's mirrors. */
import { fail } from '../errors/index.ts';

/** A server and the name of a repository on it. */
export interface RepositoryPlace {
  /** `docker.io`, `mirror.local:5000` */
  domain: string;
  /** `library/alpine`, `proxy.docker.io/library/alpine` */
  path: string;
  /** On a mirror, the registry whose copy is meant: a mirror may keep images of several registries under one name. */
  namespace?: string;
}

/** A server that has copies of a registry's repositories. */
export interface Mirror {
  host: string;
  /** The prefix of repositories' names on it, without slashes at its ends; often empty. */
  prefix: string;
}

/**
 * Parses `host[:port][/prefix]`. A scheme before it is ignored (hosts are spoken to as they are configured). Throws
 * `invalid`. The form is that of https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md.
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

/** The places to ask for a repository, in order: the mirrors of its domain, then the domain itself. */
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
