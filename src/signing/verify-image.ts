/** Verifies the signatures of an image in a registry: all are looked at, and one that holds is enough. */
import { type DrydockError, fail } from '../errors/index.ts';
import { type Digest, familiarName } from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { type Candidate, type FindContext, findSignatures, maxSignatures } from './find-signatures.ts';
import { type By, checkCandidate, type Trust } from './verify-candidate.ts';

/** Somebody whose signature is wanted. */
export interface WantedSigner {
  /** For errors: `the key cosign.pub`. */
  name: string;
  trust: Trust;
  /** Whether the one who has made a signature that holds is the wanted one. */
  accepts(by: By): boolean;
}

/** The signatures that are wanted: by any of the signers, with all of the annotations. */
interface Wanted {
  signers: readonly WantedSigner[];
  annotations?: Readonly<Record<string, string>>;
}

/** A signature that holds and is wanted. */
export interface Verified {
  by: By;
  /** The name of the wanted signer. */
  as: string;
  kind: 'bundle' | 'simple';
  /** The digest of the bundle or the payload. */
  digest: Digest;
  annotations: Readonly<Record<string, string>>;
  /** When the transparency log noted it. */
  loggedAt?: Date;
}

/** The most signatures that an error tells of. */
const mostTold = 5;

/**
 * The wanted signatures of a manifest or index. Throws `denied` when there is none, with the signatures that there are,
 * and the registry's errors.
 *
 *     await verifyImage(client, 'reg.example/app:1', digest, { signers: [key] }, { signal });
 */
export async function verifyImage(
  client: RegistryClient,
  ref: string,
  digest: Digest,
  wanted: Wanted,
  ctx: FindContext,
): Promise<Verified[]> {
  const { found, more } = await findSignatures(client, ref, digest, ctx);
  const verified: Verified[] = [];
  const told: string[] = [];
  for (const candidate of found) {
    if (isDue()) await nextTurn();
    const result = judge(candidate, digest, wanted);
    if (typeof result !== 'string') verified.push(result);
    else if (told.length < mostTold) told.push(result);
  }
  if (verified.length > 0) return verified;
  throw notSigned({ ref, digest, wanted, found: found.length, more, told });
}

/** The signature as a wanted one, or a sentence that says why it is none. */
function judge(
  candidate: Candidate,
  digest: Digest,
  { signers, annotations = {} }: Wanted,
): Verified | string {
  const flaws = new Set<string>();
  let who: By | undefined;
  for (const signer of signers) {
    const checked = checkCandidate(candidate, signer.trust);
    who ??= checked.by;
    if ('flaw' in checked) {
      flaws.add(checked.flaw);
      continue;
    }
    const { by, claims, loggedAt } = checked;
    who = by;
    if (!signer.accepts(by)) {
      flaws.add('its signer is another one');
      continue;
    }
    const claim = claims.find((each) => each.digest === digest);
    if (claim === undefined) {
      flaws.add(`it is of another image (${claims[0]?.digest ?? 'none'})`);
      continue;
    }
    const lacks = Object.entries(annotations).find(([key, value]) => claim.annotations[key] !== value);
    if (lacks !== undefined) {
      const has = claim.annotations[lacks[0]];
      flaws.add(`its annotation ${lacks[0]} is ${has === undefined ? 'missing' : JSON.stringify(has)}`);
      continue;
    }
    const kind = candidate.kind === 'bundle' ? 'bundle' : 'simple';
    return { by, as: signer.name, kind, digest: candidate.digest, annotations: claim.annotations, loggedAt };
  }
  const named = who === undefined ? '' : ` by ${describe(who)}`;
  return `${candidate.digest.slice(0, 19)}${named}: ${[...flaws].join(', and ')}`;
}

/** The one who has made a signature, in words. */
function describe(by: By): string {
  if (by.kind === 'identity') return `${by.identity} (of ${by.issuer})`;
  return by.hint === '' ? 'a key that it does not name' : `the key ${by.hint}`;
}

function notSigned(facts: {
  ref: string;
  digest: Digest;
  wanted: Wanted;
  found: number;
  more: number;
  told: readonly string[];
}): DrydockError {
  const { ref, digest, wanted, found, more, told } = facts;
  const { annotations = {} } = wanted;
  const notes = Object.entries(annotations).map(([key, value]) => `${key}=${value}`);
  const want = `wanted: ${wanted.signers.map(({ name }) => name).join(', or ')}${notes.length === 0 ? '' : ` with ${notes.join(', ')}`}`;
  const name = `${familiarName(ref)} (${digest})`;
  if (found === 0) {
    return fail('denied', 'registry', `${name} is not signed; ${want}`, {
      hint: 'Sign it with `drydock sign` or cosign, or take an image that is signed.',
    });
  }
  const rest = found - told.length;
  const list = `${told.join('; ')}${rest > 0 ? `; and ${rest} more` : ''}`;
  const unseen = more === 0 ? '' : ` (${more} beyond the first ${maxSignatures} were not looked at)`;
  const count =
    found === 1 ? 'its signature is not the wanted one' : `none of its ${found} signatures is a wanted one`;
  return fail('denied', 'registry', `${name}: ${count}${unseen}: ${list}; ${want}`, {
    hint: 'Sign it with the wanted key or identity, or check which one is meant.',
  });
}
