/**
 * Definitions in JSON, as BuildKit's clients read them in the details of errors: the ops with their names and needs.
 */
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { create, DefinitionSchema } from './pb.ts';

interface Json {
  def: string[];
  metadata: Record<
    string,
    { ignore_cache: boolean; description: Record<string, string>; caps: Record<string, boolean> }
  >;
}

/** The JSON of a definition. */
export function definitionJson({ def, metadata }: Definition): object {
  return {
    def: def.map((bytes) => Buffer.from(bytes).toString('base64')),
    metadata: Object.fromEntries(
      Object.entries(metadata).map(([digest, { ignoreCache, description, caps }]) => [
        digest,
        { ignore_cache: ignoreCache, description, caps },
      ]),
    ),
  };
}

/** Turns the JSON of `definitionJson` back into a definition. */
export function definitionFrom(json: object): Definition {
  const { def, metadata } = json as Json;
  return create(DefinitionSchema, {
    def: def.map((text) => Buffer.from(text, 'base64')),
    metadata: Object.fromEntries(
      Object.entries(metadata).map(([digest, { ignore_cache: ignoreCache, ...more }]) => [
        digest,
        { ignoreCache, ...more },
      ]),
    ),
  });
}
