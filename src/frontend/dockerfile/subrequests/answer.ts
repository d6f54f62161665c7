/**
 * Answers questions about a Dockerfile instead of building it: `docker buildx build --call`, BuildKit's frontend
 * subrequests. https://github.com/moby/buildkit/tree/master/frontend/subrequests has their names and the JSON of the
 * answers.
 */
import { fail } from '../../../errors/index.ts';
import { inTurns } from '../../../workers/index.ts';
import type { DockerfileRequest, FrontendHost } from '../../types.ts';
import type { Dockerfile } from '../ast.ts';
import { loadDockerfile } from '../frontend.ts';
import { convertAnswer } from './convert.ts';
import { lintAnswer } from './lint.ts';
import { outlineAnswer } from './outline.ts';
import { table } from './table.ts';
import { targetsAnswer } from './targets.ts';

/** The answer of a frontend, in the place of trees: `result.json`, `result.txt`, `version` … */
type Answer = Record<string, Uint8Array>;

interface Subrequest {
  name: string;
  version: string;
  description: string;
  opts?: { name: string; description: string }[];
  results: string[];
  answer(
    request: DockerfileRequest,
    host: FrontendHost,
    signal: AbortSignal,
  ): Promise<Record<string, string>>;
}

const jsonAndText = ['result.json', 'result.txt'];

const subrequests: readonly Subrequest[] = [
  {
    name: 'frontend.outline',
    version: '1.0.0',
    description: 'List all parameters current build target supports',
    opts: [{ name: 'target', description: 'Target build stage' }],
    results: jsonAndText,
    answer: onFile((file, request) => outlineAnswer(file, request)),
  },
  {
    name: 'frontend.targets',
    version: '1.0.0',
    description: 'List all targets current build supports',
    results: jsonAndText,
    answer: onFile((file) => targetsAnswer(file)),
  },
  {
    name: 'frontend.lint',
    version: '1.0.0',
    description: 'Lint a Dockerfile',
    results: [...jsonAndText, 'result.statuscode'],
    answer: lintAnswer,
  },
  {
    name: 'frontend.convertllb',
    version: '0.1.0',
    description: 'Convert Dockerfile to LLB',
    results: ['result.json'],
    answer: convertAnswer,
  },
  {
    name: 'frontend.subrequests.describe',
    version: '1.0.0',
    description: 'List available subrequest types',
    results: jsonAndText,
    answer: async () => describeAnswer(),
  },
];

/**
 * Answers a subrequest; undefined when `id` is undefined, which is a build. Throws `unsupported` for an unknown
 * subrequest, and the errors of reading the Dockerfile.
 *
 *     const answer = await answerSubrequest('frontend.outline', request, host, signal);
 */
export async function answerSubrequest(
  id: string | undefined,
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  if (id === undefined) return undefined;
  const found = subrequests.find(({ name }) => name === id);
  if (found === undefined) {
    throw fail('unsupported', 'frontend', `unsupported request ${id}`, {
      hint: `There are: ${subrequests.map(({ name }) => name).join(', ')}.`,
      details: { subrequest: id },
    });
  }
  const texts = { ...(await found.answer(request, host, signal)), version: found.version };
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]));
}

type OnFile = (
  file: Dockerfile,
  request: DockerfileRequest,
) => Record<string, string> | Generator<void, Record<string, string>>;

/** An answer that needs only the parsed file. */
function onFile(make: OnFile): Subrequest['answer'] {
  return async (request, host, signal) => {
    const loaded = await loadDockerfile(request, host, signal);
    if ('forwarded' in loaded) return {};
    const made = make(loaded.file, request);
    return Symbol.iterator in made ? inTurns(made as Generator<void, Record<string, string>>, signal) : made;
  };
}

function describeAnswer(): Record<string, string> {
  const list = subrequests.map(({ name, version, description, opts, results }) => ({
    name,
    version,
    type: 'rpc',
    description,
    opts: opts ?? [],
    inputs: [],
    metadata: results.map((result) => ({ name: result, description: '' })),
    refs: [],
  }));
  const rows = list.map(({ name, version, description }) => [
    name.replace(/^frontend\./, ''),
    version,
    description,
  ]);
  return {
    'result.json': JSON.stringify(list, undefined, 2),
    'result.txt': table([['NAME', 'VERSION', 'DESCRIPTION'], ...rows], 1),
  };
}
