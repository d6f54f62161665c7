/** Makes an image's config of the Dockerfile instructions in import's `changes`. */
import { dockerfileFrontend, type FrontendHost, parseDockerfile } from '../../frontend/index.ts';
import type { ContainerConfig, Platform } from '../../oci/index.ts';
import { apiError } from './http/errors.ts';

const allowed = new Set([
  'CMD',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'HEALTHCHECK',
  'LABEL',
  'ONBUILD',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
]);

/** A host that is never asked: the instructions change only the config. */
const nowhere: FrontendHost = {
  async open() {
    throw apiError('invalid', 'changes cannot use files');
  },
  async resolveImage() {
    throw apiError('invalid', 'changes cannot use images');
  },
  sourceTime: async () => undefined,
};

/**
 * The config that the instructions make, starting from an empty one. Throws `invalid` with the instruction at fault.
 */
export async function configOfChanges(
  changes: readonly string[],
  platform: Platform,
  signal: AbortSignal,
): Promise<ContainerConfig> {
  if (changes.length === 0) return {};
  const text = `FROM scratch\n${changes.join('\n')}\n`;
  const { stages } = parseDockerfile(text, 'changes');
  const instructions = stages.flatMap((stage) => stage.instructions);
  const wrong = instructions.find(({ kind }) => !allowed.has(kind));
  if (stages.length !== 1 || wrong !== undefined) {
    throw apiError(
      'invalid',
      `${wrong?.kind ?? 'FROM'} is not a valid change command`,
      `Valid are: ${[...allowed].join(', ')}.`,
    );
  }
  const { targets } = await dockerfileFrontend(
    {
      context: { type: 'local', name: 'none' },
      dockerfileText: text,
      buildArgs: {},
      labels: {},
      platforms: [platform],
      noCache: false,
      noCacheFilter: [],
      pull: 'missing',
      network: 'default',
      extraHosts: [],
      shmSize: 0,
      ulimits: [],
      namedContexts: {},
    },
    nowhere,
    signal,
  );
  const config = { ...targets[0]?.config.config };
  delete config.ArgsEscaped;
  // A build gives an image a PATH; an import adds nothing of its own.
  const setsPath = instructions.some(
    (each) => each.kind === 'ENV' && each.pairs.some(({ key }) => key === 'PATH'),
  );
  if (!setsPath) config.Env = config.Env?.filter((entry) => !entry.startsWith('PATH='));
  return config;
}
