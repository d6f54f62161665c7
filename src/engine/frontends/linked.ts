/** Builds whose named contexts are the results of other builds of Dockerfiles, as bake's targets link to each other. */
import { fail } from '../../errors/index.ts';
import type { DockerfileRequest } from '../../frontend/index.ts';
import { fromDefinition } from '../../llb/index.ts';
import type { ImageConfig } from '../../oci/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { BridgeResult } from '../bridge/types.ts';

/** Requests by names: a named context `target:NAME` is the result of the request of that name. */
export type LinkedRequests = Readonly<Record<string, DockerfileRequest>>;

/** A result as a context: its trees, and the image configs. */
export interface LinkResult {
  /** The tree of a result for one platform. */
  definition?: Definition;
  /** The trees by platforms, of a result for several. */
  definitions?: ReadonlyMap<string, Definition | undefined>;
  metadata: Readonly<Record<string, Uint8Array>>;
}

/** The named contexts that are results of other requests: context → request's name. */
export function linksOf({ namedContexts }: Pick<DockerfileRequest, 'namedContexts'>): [string, string][] {
  return Object.entries(namedContexts).flatMap(([context, value]) =>
    value.startsWith('target:') ? [[context, value.slice('target:'.length)] as [string, string]] : [],
  );
}

/**
 * The request with the results that it links to in the place of its links. `make` makes the result of a request without
 * links; it is called once for each linked request. Throws `invalid` for a link to a request that is not there, and for
 * requests that link to each other in a circle.
 */
export function withLinks(
  request: DockerfileRequest,
  linked: LinkedRequests,
  make: (request: DockerfileRequest) => Promise<LinkResult>,
): Promise<DockerfileRequest> {
  const made = new Map<string, Promise<LinkResult>>();
  const resultOf = (name: string, path: readonly string[]): Promise<LinkResult> => {
    const found = Object.hasOwn(linked, name) ? linked[name] : undefined;
    if (found === undefined)
      throw fail('invalid', 'frontend', `there is no build ${name} to make a context of`);
    if (path.includes(name)) {
      throw fail(
        'invalid',
        'frontend',
        `builds are made from each other in a circle: ${[...path, name].join(' → ')}`,
      );
    }
    let result = made.get(name);
    if (result === undefined) {
      result = resolve(found, [...path, name]).then(make);
      made.set(name, result);
    }
    return result;
  };
  const resolve = async (asked: DockerfileRequest, path: readonly string[]): Promise<DockerfileRequest> => {
    const links = linksOf(asked);
    if (links.length === 0) return asked;
    const namedContexts = { ...asked.namedContexts };
    const inputs = { ...asked.inputs };
    await Promise.all(
      links.map(async ([context, name]) => {
        const result = await resultOf(name, path);
        delete namedContexts[context];
        for (const [platform, definition] of result.definitions ?? [['', result.definition] as const]) {
          const end = platform === '' ? '' : `::${platform}`;
          const config = result.metadata[`containerimage.config${platform === '' ? '' : `/${platform}`}`];
          namedContexts[context + end] = `input:${name}${end}`;
          inputs[name + end] = {
            state: fromDefinition(definition ?? ({ def: [] } as unknown as Definition)),
            config: config && (JSON.parse(Buffer.from(config).toString('utf8')) as ImageConfig),
          };
        }
      }),
    );
    return { ...asked, namedContexts, inputs };
  };
  return resolve(request, []);
}

/** A bridge's result as a context. */
export function linkResult({ ref, refs, metadata }: BridgeResult): LinkResult {
  if (refs === undefined) return { definition: ref?.definition, metadata };
  return { definitions: new Map([...refs].map(([name, each]) => [name, each?.definition])), metadata };
}
