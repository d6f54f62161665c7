/** Prepares the targets that another one is made from, so that one session serves the folders of all. */
import type { LinkedRequests } from '../../engine/index.ts';
import { linksOf } from '../../engine/index.ts';
import type { DockerfileRequest } from '../../frontend/index.ts';
import type { PreparedBuild } from '../build/prepare.ts';

/**
 * A build with those that it links to, directly or not. `prepared` has all targets of the command. Secrets and ssh agents
 * of all of them are offered; of two with one id, the build's own counts.
 */
export function withLinkedBuilds(name: string, prepared: ReadonlyMap<string, PreparedBuild>): PreparedBuild {
  const build = prepared.get(name) as PreparedBuild;
  const names = reached(build.options, prepared, new Set());
  if (names.size === 0) return build;
  const linked: Record<string, DockerfileRequest> = {};
  const { options } = build;
  const offered = {
    ...build.offered,
    locals: { ...build.offered.locals },
    secrets: [...(build.offered.secrets ?? [])],
    ssh: [...(build.offered.ssh ?? [])],
  };
  for (const other of names) {
    const { options: theirs, offered: gives } = prepared.get(other) as PreparedBuild;
    const rename = (local: string) => `${local}@${other}`;
    linked[other] = renamed(theirs, rename);
    for (const [local, dir] of Object.entries(gives.locals ?? {})) {
      // The stores of OCI layouts are named by their contexts alone.
      offered.locals[local.startsWith('oci-layout-') ? local : rename(local)] = dir;
    }
    offered.secrets.push(
      ...(gives.secrets ?? []).filter(({ id }) => !offered.secrets.some((each) => each.id === id)),
    );
    offered.ssh.push(...(gives.ssh ?? []).filter(({ id }) => !offered.ssh.some((each) => each.id === id)));
  }
  return { ...build, options: { ...options, linked: linked as LinkedRequests }, offered };
}

function reached(
  options: DockerfileRequest,
  prepared: ReadonlyMap<string, PreparedBuild>,
  seen: Set<string>,
): Set<string> {
  for (const [, name] of linksOf(options)) {
    if (seen.has(name)) continue;
    seen.add(name);
    reached((prepared.get(name) as PreparedBuild).options, prepared, seen);
  }
  return seen;
}

/** The request with the names that its folders have in another build's session. */
function renamed(request: DockerfileRequest, rename: (local: string) => string): DockerfileRequest {
  const { context, dockerfileLocal, namedContexts } = request;
  const contexts = Object.entries(namedContexts).map(([name, value]) => [
    name,
    value.startsWith('local:') ? `local:${rename(value.slice('local:'.length))}` : value,
  ]);
  return {
    ...request,
    context: context.type === 'local' ? { ...context, name: rename(context.name) } : context,
    dockerfileLocal: dockerfileLocal === undefined ? undefined : rename(dockerfileLocal),
    namedContexts: Object.fromEntries(contexts),
  };
}
