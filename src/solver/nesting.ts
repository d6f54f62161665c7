/** Graphs that ops bring along and have solved while they run. */
import { canceled, type DrydockError, fail } from '../errors/index.ts';
import { Job, type LoadDefinition } from './job.ts';
import type { VertexState } from './state.ts';
import type { Vertex } from './types.ts';

/** Build ops whose definitions hold build ops, so many deep. */
const maxNesting = 32;

/**
 * The build that graphs nested in a running op are solved in, made when the op first has one. It acts for the builds
 * that hold the op's vertex: it has their sessions, grants, pins and foreign caches, and shows them its progress. It
 * lives as long as the vertex is held.
 * Throws `canceled` when the vertex was given up, and `invalid` when definitions are nested too deep.
 */
export function nestedJob(state: VertexState): Job {
  const { audience, context, work } = state;
  if (work.signal.aborted) throw canceled(work.signal.reason);
  return work.nest(() => {
    const within = [...audience.within, state];
    if (within.length > maxNesting) {
      throw fail('invalid', 'llb', `definitions are nested deeper than ${maxNesting}`);
    }
    const { allow, pins } = audience;
    const about = audience.job?.about;
    const load: LoadDefinition = (definition) => audience.load(definition);
    const judgeUrl = (url: string) => audience.judgeUrl(url);
    const imports = audience.imports();
    return new Job(context.session, audience.forward(), work.signal, {
      allow,
      within,
      pins,
      load,
      judgeUrl,
      imports,
      about,
    });
  });
}

/** The error of a definition that holds the very step it is nested in, which would wait for its own end. */
export function holdsItself({ name }: Vertex): DrydockError {
  return fail(
    'invalid',
    'llb',
    `the definition that ${JSON.stringify(name)} brings along holds that step itself`,
  );
}
