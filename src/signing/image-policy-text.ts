/** Parses an image policy: whose signature an image must have. docs/signing.md describes the format. Pure. */
import {
  fieldsOf,
  JsonFault,
  type JsonValue,
  listOf,
  membersOf,
  onlyTrue,
  parseJson,
  placeOf,
  textOf,
} from '../auth/index.ts';
import { fail } from '../errors/index.ts';

/** A signer as the file says it. */
export type SignerText = { key: string } | { identity: string; issuer: string };

/** The rule for the images of some names. */
export interface ImageRule {
  /** A pattern for `docker.io/library/debian`. */
  name: string;
  /** Nothing is asked; nothing is allowed; or one of these must have signed. */
  must: 'nothing' | 'refuse' | readonly SignerText[];
  annotations: Record<string, string>;
  /** The file of a trusted root. */
  trustedRoot?: string;
  /** Whether an entry in a transparency log is asked for; undefined: where there is a trusted root or an identity. */
  transparencyLog?: boolean;
}

/** Parses a policy. `file` names it in errors. Throws `invalid` with line and column. */
export function parseImagePolicy(text: string, file: string): ImageRule[] {
  try {
    const { images } = fieldsOf(parseJson(text), 'the image policy', ['images', 'comment']);
    if (images === undefined) throw new JsonFault('the image policy needs "images"', 0);
    return listOf(images, 'images').map(ruleOf);
  } catch (err) {
    if (!(err instanceof JsonFault)) throw err;
    const { line, column } = placeOf(text, err.at);
    throw fail('invalid', 'host', `${file}:${line}:${column}: ${err.message}`, {
      hint: 'docs/signing.md describes the image policy; `drydock policy check FILE` checks one.',
      details: { file, line, column },
    });
  }
}

function ruleOf(value: JsonValue): ImageRule {
  const fields = fieldsOf(value, 'a rule for images', [
    ...([
      'name',
      'signedBy',
      'any',
      'refuse',
      'annotations',
      'trustedRoot',
      'transparencyLog',
      'comment',
    ] as const),
  ]);
  const { name, signedBy, any, refuse, annotations, trustedRoot, transparencyLog } = fields;
  if (name === undefined) throw new JsonFault('a rule for images needs "name"', value.at);
  if ([signedBy, any, refuse].filter((each) => each !== undefined).length !== 1) {
    throw new JsonFault('a rule for images needs "signedBy", "any" or "refuse", and one of them', value.at);
  }
  if (any !== undefined) onlyTrue(any, 'any');
  if (refuse !== undefined) onlyTrue(refuse, 'refuse');
  const notes: Record<string, string> = {};
  if (annotations !== undefined) {
    for (const [key, { value: note }] of membersOf(annotations, 'annotations'))
      notes[key] = textOf(note, key);
  }
  if (transparencyLog !== undefined && transparencyLog.type !== 'boolean') {
    throw new JsonFault('transparencyLog must be true or false', transparencyLog.at);
  }
  const signers = listOf(signedBy, 'signedBy').map(signerOf);
  if (signedBy !== undefined && signers.length === 0) {
    throw new JsonFault('"signedBy" names nobody: say "refuse": true if that is meant', signedBy.at);
  }
  return {
    name: textOf(name, 'name'),
    must: any !== undefined ? 'nothing' : refuse !== undefined ? 'refuse' : signers,
    annotations: notes,
    trustedRoot: trustedRoot && textOf(trustedRoot, 'trustedRoot'),
    transparencyLog: transparencyLog?.value,
  };
}

function signerOf(value: JsonValue): SignerText {
  const { key, identity, issuer } = fieldsOf(value, 'a signer', ['key', 'identity', 'issuer', 'comment']);
  if (key !== undefined && identity === undefined && issuer === undefined) return { key: textOf(key, 'key') };
  if (key === undefined && identity !== undefined && issuer !== undefined) {
    return { identity: textOf(identity, 'identity'), issuer: textOf(issuer, 'issuer') };
  }
  throw new JsonFault('a signer is a "key", or an "identity" with its "issuer"', value.at);
}
