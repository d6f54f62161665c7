import { fail } from '../../errors/error.ts';
import { parseReference } from '../../oci/reference.ts';
import type { BridgeFrontend } from './bridge.ts';
import { dockerfileV0 } from './dockerfile.ts';
import { withPrefix } from './dockerfile-options.ts';
import { isOurs } from './syntax.ts';

export type Frontends = Readonly<Record<string, BridgeFrontend>>;

/** The frontends that builds may name. What runs frontend images is loaded when one is asked for: few builds do. */
export const frontends: Frontends = {
  'dockerfile.v0': dockerfileV0,
  async 'gateway.v0'(bridge, request) {
    const { source = '' } = request.options;
    // What a `# syntax=` line names is the same as what is named here.
    if (
      source === 'dockerfile.v0' ||
      (source !== '' && isOurs(source, withPrefix(request.options, 'context:')))
    ) {
      return bridge.solve({ ...request, frontend: 'dockerfile.v0' });
    }
    const { gatewayV0 } = await import('../gateway/image.ts');
    return gatewayV0(bridge, request);
  },
};

/** What an operator says of one frontend. */
export interface FrontendRule {
  /** Default true. */
  enabled?: boolean;
  /** Of `gateway.v0`: the repositories (without tags) whose images may be frontends; all when empty. */
  allowedRepositories?: readonly string[];
}

/** The frontends that rules leave. */
export function allowedFrontends(rules: Readonly<Record<string, FrontendRule>>): Frontends {
  const left = Object.entries(frontends).filter(([name]) => rules[name]?.enabled !== false);
  const repositories = rules['gateway.v0']?.allowedRepositories ?? [];
  const allowed = Object.fromEntries(left);
  const gateway = allowed['gateway.v0'];
  if (repositories.length > 0 && gateway !== undefined) {
    allowed['gateway.v0'] = fromRepositories(gateway, repositories);
  }
  return allowed;
}

function fromRepositories(frontend: BridgeFrontend, repositories: readonly string[]): BridgeFrontend {
  const allowed = new Set(repositories.map(repositoryOf));
  return async (bridge, request) => {
    const source = request.options.source ?? '';
    if (source !== '' && !allowed.has(repositoryOf(source))) {
      throw fail('denied', 'frontend', `'${source}' is not an allowed gateway source`, {
        hint: 'The daemon\'s buildkitd.toml lists them: frontend."gateway.v0".allowedRepositories.',
      });
    }
    return frontend(bridge, request);
  };
}

function repositoryOf(name: string): string {
  const { domain, path } = parseReference(name);
  return `${domain}/${path}`;
}
