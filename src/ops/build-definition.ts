/** A definition that a step may have written to a file. */
import { DrydockError, fail } from '../errors/index.ts';
import { decodeInTurns, maxMessage, weightOf } from '../grpc/index.ts';
import { type Definition, DefinitionSchema } from '../pb/solver/pb/ops_pb.js';

/** The greatest length of the file, in bytes. */
export const maxDefinition = maxMessage;

/** Decodes the bytes of the file at a path. Throws `invalid` for others, and for a definition of too many parts. */
export async function decodeDefinition(bytes: Uint8Array, path: string): Promise<Definition> {
  try {
    weightOf(DefinitionSchema, bytes);
    return await decodeInTurns(DefinitionSchema, bytes);
  } catch (cause) {
    const why = cause instanceof DrydockError ? `: ${cause.message}` : '';
    throw fail('invalid', 'llb', `the build op's definition ${path} cannot be parsed${why}`, { cause });
  }
}
