import { hash } from 'node:crypto';
import { fail } from '../errors/index.ts';
import type { Digest } from './types.ts';

/** The sha256 digest of bytes or of a UTF-8 string. */
export function digestOf(data: Uint8Array | string): Digest {
  return `sha256:${hash('sha256', data, 'hex')}`;
}

/** Whether a text is a well-formed sha256 digest. */
export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** Checks that a text is a digest and returns it. Throws `invalid`. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw fail('invalid', 'client', `invalid digest ${JSON.stringify(text)}: want sha256:<64 hex digits>`);
}

/** The 64 hex digits of a digest. */
export function hex(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/**
 * The chain ID of a stack of layers, lowest first. It names the whole stack, not just its top layer.
 * https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
 */
export function chainId(diffIds: readonly Digest[]): Digest | undefined {
  return chainIds(diffIds).at(-1);
}

/** The chain IDs of the stacks that end at each of these layers. */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const ids: Digest[] = [];
  for (const [i, diff] of diffIds.entries()) ids.push(i === 0 ? diff : digestOf(`${ids[i - 1]} ${diff}`));
  return ids;
}
