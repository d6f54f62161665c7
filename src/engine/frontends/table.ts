import { fail } from '../../errors/index.ts';
import { withPrefix } from '../../frontend/index.ts';
import { parseReference } from '../../oci/index.ts';
import type { NamedFrontend, NamedFrontends } from '../bridge/types.ts';
import { isOurs } from './syntax.ts';

/**
 * The frontends that builds may name. Each is loaded when a build names it, so that a command that names none does not
 * load them.
 */
export const frontends: NamedFrontends = {
  async 'dockerfile.v0'(bridge, request) {
    const { dockerfileV0 } = await import('./dockerfile-v0.ts');
    return dockerfileV0(bridge, request);
  },
  async 'gateway.v0'(bridge, request) {
    const { source = '', ...options } = request.options;
    // What a `# syntax=` line names is the same as what is named here.
    if (
      source === 'dockerfile.v0' ||
      (source !== '' && isOurs(source, withPrefix(request.options, 'context:')))
    ) {
      return bridge.solve({ ...request, options, frontend: 'dockerfile.v0' });
    }
    const { gatewayV0 } = await import('../gateway/image.ts');
    return gatewayV0(bridge, request);
  },
};

/** An operator's rule for one frontend. */
export interface FrontendRule {
  /** Whether builds may name it; default: true. */
  enabled?: boolean;
  /** For `gateway.v0`: the repositories (without tags) whose images may be frontends. An empty list allows all. */
  allowedRepositories?: readonly string[];
}

/** The frontends that an operator's rules allow. */
export function allowedFrontends(rules: Readonly<Record<string, FrontendRule>>): NamedFrontends {
  const left = Object.entries(frontends).filter(([name]) => rules[name]?.enabled !== false);
  const repositories = rules['gateway.v0']?.allowedRepositories ?? [];
  const allowed = Object.fromEntries(left);
  const gateway = allowed['gateway.v0'];
  if (repositories.length > 0 && gateway !== undefined) {
    allowed['gateway.v0'] = fromRepositories(gateway, repositories);
  }
  return allowed;
}

function fromRepositories(frontend: NamedFrontend, repositories: readonly string[]): NamedFrontend {
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
