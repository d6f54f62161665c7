/** Reads and checks the attributes of exporters, as BuildKit and buildx name them. Pure. */
import { fail, nearest } from '../errors/index.ts';
import { type Compression, isChunked } from '../layer/index.ts';
import { compressionTypes, epochSeconds, parseBool, readCompression } from '../words/index.ts';
import { type Annotations, parseAnnotation } from './annotations.ts';
import { isSignAttr, readSignAttrs, type SignAttrs } from './sign-attrs.ts';

/** Seconds since 1970; `none` when an output says that the build's SOURCE_DATE_EPOCH is not for it. */
type Epoch = number | 'none';

/** The SOURCE_DATE_EPOCH of an output: its own, else the build's. */
export function epochOf(own: Epoch | undefined, builds: number | undefined): number | undefined {
  return own === 'none' ? undefined : (own ?? builds);
}

/** The attributes of the exporters that make images. */
export interface ImageAttrs {
  push: boolean;
  pushByDigest: boolean;
  /** Talks to the registry without TLS, or with a certificate that does not check. */
  insecure: boolean;
  /**
   * True: unpacks even a base image that was only named, so that the image can run. False: in a containerd, the image
   * keeps no snapshots. Undefined: it keeps those that there are.
   */
  unpack?: boolean;
  /** Puts the image into the store. */
  store: boolean;
  /** In the store, layers that a registry has may stay in the registry. */
  allowIncomplete: boolean;
  /** Undefined: the compression that suits the output. */
  compression?: Compression;
  forceCompression: boolean;
  ociTypes?: boolean;
  /** Makes attestation manifests OCI artifacts; undefined: unless docker's media types are the default. */
  ociArtifact?: boolean;
  /** Keeps attestations that are inline-only, which makes an index also of one platform; undefined: as suits the output. */
  attestationInline?: boolean;
  /** Keeps layers that may not be distributed as they are, by their URLs. */
  keepForeign: boolean;
  rewriteTimestamp: boolean;
  /** The name of an image without one: this prefix, and its digest. */
  danglingPrefix?: string;
  /** Gives that name to images that have names, too. */
  danglingAlso: boolean;
  nameCanonical: boolean;
  sourceDateEpoch?: Epoch;
  annotations: Annotations;
  /** Makes one layer of those that the build has added to its base. */
  squash: boolean;
  /** Signs the image in the registry. */
  sign?: SignAttrs;
  /** For archives: false writes a folder. */
  tar: boolean;
  /** A sentence for each attribute that is known and has no effect any more. */
  notes: string[];
}

const imageNames = [
  'name',
  'push',
  'push-by-digest',
  'registry.insecure',
  'unpack',
  'store',
  'load',
  'unsafe-internal-store-allow-incomplete',
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'oci-artifact',
  'rewrite-timestamp',
  'dangling-name-prefix',
  'danging-name-empty-only',
  'name-canonical',
  'prefer-nondist-layers',
  'attestation-inline',
  'buildinfo',
  'buildinfo-attrs',
  'source-date-epoch',
  'squash',
] as const;
/** The attributes of images in a store or in a registry; an archive goes to neither. */
const notOfArchives = [
  'push',
  'push-by-digest',
  'registry.insecure',
  'unpack',
  'store',
  'unsafe-internal-store-allow-incomplete',
  'name-canonical',
] as const;

/** Reads the attributes of `type=image|oci|docker`. Throws `invalid` for an unknown attribute. */
export function parseImageAttrs(type: 'image' | 'oci' | 'docker', attrs: Record<string, string>): ImageAttrs {
  const known: string[] = [...imageNames, ...(type === 'image' ? [] : ['tar', 'dest'])];
  const annotations: Annotations = [];
  for (const [name, value] of Object.entries(attrs)) {
    const annotation = parseAnnotation(name, value);
    if (annotation !== undefined) annotations.push(annotation);
    else if (isSignAttr(name) && type === 'image') continue;
    else if (!known.includes(name)) throw unknownAttr(type, name, [...known, 'annotation.KEY']);
  }
  const yes = (name: string, otherwise = false) => boolAttr(type, attrs, name) ?? otherwise;
  if (type === 'docker') {
    const vain = (['oci-artifact', 'attestation-inline'] as const).find((name) => yes(name));
    if (vain !== undefined) throw noAttestations(type, vain);
  }
  if (type !== 'image') {
    const vain = notOfArchives.find((name) => yes(name)) ?? danglingName(attrs);
    if (vain !== undefined) throw notOfArchive(type, vain);
  }
  const compression = parseCompression(type, attrs);
  const needsOci = isChunked(compression);
  if (compression !== undefined && needsOci && boolAttr(type, attrs, 'oci-mediatypes') === false) {
    const what = `compression=${compression.type} cannot go with oci-mediatypes=false`;
    throw fail('invalid', 'export', `output type=${type}: ${what}`, {
      hint: 'Its table of contents is found by annotations, which docker’s media types do not have.',
    });
  }
  const obsolete = Object.keys(attrs).filter((name) => name.startsWith('buildinfo'));
  return {
    push: yes('push'),
    pushByDigest: yes('push-by-digest'),
    insecure: yes('registry.insecure'),
    unpack: boolAttr(type, attrs, 'unpack'),
    // docker compose says `load`: an image goes into the store, and an archive is loaded by the client.
    store: yes('store', true) || yes('load'),
    allowIncomplete: yes('unsafe-internal-store-allow-incomplete'),
    compression,
    forceCompression: yes('force-compression'),
    ociTypes: needsOci || boolAttr(type, attrs, 'oci-mediatypes'),
    ociArtifact: boolAttr(type, attrs, 'oci-artifact'),
    attestationInline: boolAttr(type, attrs, 'attestation-inline'),
    keepForeign: yes('prefer-nondist-layers'),
    rewriteTimestamp: yes('rewrite-timestamp'),
    danglingPrefix: attrs['dangling-name-prefix'],
    danglingAlso: attrs['dangling-name-prefix'] !== undefined && !yes('danging-name-empty-only'),
    nameCanonical: yes('name-canonical'),
    sourceDateEpoch: parseEpoch(type, attrs),
    annotations,
    squash: yes('squash'),
    sign: type === 'image' ? readSignAttrs(attrs, (name) => boolAttr(type, attrs, name)) : undefined,
    tar: yes('tar', true),
    notes: obsolete.map((name) => `the attribute ${name} is obsolete, in BuildKit too: it has no effect`),
  };
}

/**
 * A sentence for each attribute of an image that has no effect. `created` is the date that new layers and the config
 * get, in seconds since the epoch.
 */
export function notesOf(want: ImageAttrs, created: number | undefined): readonly string[] {
  if (!want.rewriteTimestamp || created !== undefined) return want.notes;
  return [...want.notes, 'the attribute rewrite-timestamp has no effect: there is no SOURCE_DATE_EPOCH'];
}

/** The attributes of the exporters that write files. */
export interface FileAttrs {
  /** `delete`: files at the destination that are not in the result are removed. */
  mode: 'copy' | 'delete';
  /** Makes a folder for each platform; undefined: when there are several. */
  platformSplit?: boolean;
  /** The beginning of the names of attestations' files. */
  attestationPrefix: string;
  sourceDateEpoch?: Epoch;
}

/** Reads the attributes of `type=local|tar`. Throws `invalid` for an unknown attribute. */
export function parseFileAttrs(type: 'local' | 'tar', attrs: Record<string, string>): FileAttrs {
  const known = ['dest', 'platform-split', 'attestation-prefix', 'source-date-epoch', 'mode'];
  for (const name of Object.keys(attrs)) if (!known.includes(name)) throw unknownAttr(type, name, known);
  const { 'attestation-prefix': attestationPrefix = '' } = attrs;
  if (/[/\0]/.test(attestationPrefix)) {
    const said = JSON.stringify(attestationPrefix);
    throw fail(
      'invalid',
      'export',
      `output type=${type}: attestation-prefix=${said} leads to another folder`,
    );
  }
  const { mode = 'copy' } = attrs;
  if (mode !== 'copy' && !(mode === 'delete' && type === 'local')) {
    throw fail('invalid', 'export', `output type=${type} has no mode ${JSON.stringify(mode)}`, {
      hint: 'Modes of type=local: copy, delete.',
    });
  }
  return {
    mode,
    platformSplit: boolAttr(type, attrs, 'platform-split'),
    attestationPrefix,
    sourceDateEpoch: parseEpoch(type, attrs),
  };
}

function noAttestations(type: string, name: string) {
  return fail(
    'unsupported',
    'export',
    `output type=${type}: ${name} is not supported: a docker archive holds no attestations`,
    { hint: 'Leave it out.' },
  );
}

/** The name for images without a name, when an attribute gives one. */
function danglingName(attrs: Record<string, string>): string | undefined {
  return attrs['dangling-name-prefix'] === undefined ? undefined : 'dangling-name-prefix';
}

function notOfArchive(type: string, name: string) {
  return fail(
    'unsupported',
    'export',
    `output type=${type}: ${name} is not supported: an archive goes into no store and to no registry`,
    { hint: 'Leave it out, or add an output of type=image.' },
  );
}

function unknownAttr(type: string, name: string, known: readonly string[]) {
  const near = nearest(name, known);
  return fail('invalid', 'export', `output type=${type} has no attribute ${JSON.stringify(name)}`, {
    hint: near === undefined ? `Attributes: ${known.join(', ')}.` : `Did you mean ${near}?`,
  });
}

/** A truth value; '' is true (`push` alone). */
function boolAttr(type: string, attrs: Record<string, string>, name: string): boolean | undefined {
  const text = attrs[name];
  if (text === undefined) return undefined;
  const value = text === '' ? true : parseBool(text);
  if (value !== undefined) return value;
  throw fail('invalid', 'export', `output type=${type}: ${name}=${text} is neither true nor false`);
}

function parseCompression(type: string, attrs: Record<string, string>): Compression | undefined {
  return readCompression(attrs, {
    kind: (kind) =>
      fail('invalid', 'export', `output type=${type}: unknown compression ${JSON.stringify(kind)}`, {
        hint: `Did you mean ${nearest(kind, compressionTypes) ?? compressionTypes.join(', ')}?`,
      }),
    level: (text, kind, highest) =>
      fail(
        'invalid',
        'export',
        /^\d{1,2}$/.test(text)
          ? `output type=${type}: ${kind} has no level ${Number(text)}: it goes from 0 to ${highest}`
          : `output type=${type}: compression-level=${text} is not a number`,
      ),
  });
}

function parseEpoch(type: string, attrs: Record<string, string>): Epoch | undefined {
  const text = attrs['source-date-epoch'];
  if (text === undefined) return undefined;
  if (text === '') return 'none';
  const seconds = epochSeconds(text);
  if (seconds !== undefined) return seconds;
  throw fail(
    'invalid',
    'export',
    `output type=${type}: source-date-epoch=${text} is not a number of seconds`,
  );
}
