/** Ops that bring a tree into the graph. Attribute names: https://github.com/moby/buildkit/blob/master/solver/pb/attr.go */

import { fail } from '../errors/index.ts';
import { normalizeName, type Platform } from '../oci/index.ts';
import type { Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import { gitIdentifier, gitRemote } from '../words/index.ts';
import { constraints, pbPlatform } from './message.ts';
import { type InputTable, type OpNode, type OpOptions, settle } from './op.ts';
import { create, OpSchema } from './pb.ts';
import { State } from './state.ts';

class SourceNode implements OpNode {
  readonly options: OpOptions;
  readonly caps: readonly string[];
  readonly #identifier: string;
  readonly #attrs: Record<string, string>;

  constructor(
    identifier: string,
    attrs: Record<string, string | undefined>,
    caps: string[],
    options: OpOptions,
  ) {
    this.#identifier = identifier;
    this.#attrs = {};
    for (const key of Object.keys(attrs).sort()) {
      const value = attrs[key];
      if (value !== undefined) this.#attrs[key] = value;
    }
    this.caps = caps;
    this.options = options;
  }

  inputs(): [] {
    return [];
  }

  encode(_inputs: InputTable, platform: Platform): PbOp {
    const specific = /^(docker-image|oci-layout):\/\//.test(this.#identifier);
    return create(OpSchema, {
      op: { case: 'source', value: { identifier: this.#identifier, attrs: this.#attrs } },
      platform: specific ? pbPlatform(platform) : undefined,
      constraints: constraints(),
    });
  }
}

function sourceState(
  identifier: string,
  attrs: Record<string, string | undefined>,
  caps: string[],
  options: OpOptions,
): State {
  return new State(
    { node: new SourceNode(identifier, attrs, caps, options), index: 0 },
    { platform: options.platform },
  );
}

/** Makes a source of its raw identifier and attributes, for kinds that have no function here. */
export function source(identifier: string, attrs: Record<string, string>, options: OpOptions = {}): State {
  return sourceState(identifier, attrs, [], options);
}

export interface ImageOptions extends OpOptions {
  /**
   * `pull`: ask the registry even when the image is known; `local`: prefer the known image; `never`: ask no registry
   * (Drydock alone knows this one).
   */
  resolveMode?: 'default' | 'pull' | 'local' | 'never';
  /** Digest that the image must have. */
  checksum?: string;
}

/** An image from a registry or the store. Throws `invalid` on a bad reference. */
export function image(ref: string, options: ImageOptions = {}): State {
  const caps = ['source.image'];
  const attrs: Record<string, string | undefined> = {};
  if (options.resolveMode !== undefined && options.resolveMode !== 'default') {
    attrs['image.resolvemode'] = options.resolveMode;
    if (options.resolveMode === 'pull') caps.push('source.image.resolvemode');
  }
  if (options.checksum !== undefined) {
    attrs['image.checksum'] = options.checksum;
    caps.push('source.image.checksum');
  }
  return sourceState(`docker-image://${normalizeName(ref)}`, attrs, caps, options);
}

export interface OciLayoutOptions extends OpOptions {
  /** The name under which the session offers the layout; default: the reference's own name. */
  store?: string;
  sessionId?: string;
}

/** An image in an OCI layout that the client offers. The reference must name a digest. */
export function ociLayout(ref: string, options: OciLayoutOptions = {}): State {
  if (!/@sha256:[0-9a-f]{64}$/.test(ref)) {
    throw fail('invalid', 'llb', `the OCI layout reference ${JSON.stringify(ref)} has no digest`);
  }
  const attrs = { 'oci.session': options.sessionId || undefined, 'oci.store': options.store || undefined };
  return sourceState(`oci-layout://${ref}`, attrs, ['source.ocilayout'], options);
}

export interface BlobOptions extends OpOptions {
  /** Name of the file; default: the digest's 64 hex digits. */
  filename?: string;
  /** Permission bits; default 0600. */
  chmod?: number;
  chown?: { uid: number; gid: number };
}

/** One blob of a repository as a file. The reference must name a digest and no tag. */
export function imageBlob(ref: string, options: BlobOptions = {}): State {
  const name = normalizeName(requireDigest(ref));
  return sourceState(`docker-image+blob://${name}`, fileAttrs(options), ['source.imageblob'], options);
}

/** One blob of an OCI layout that the client offers under the name `store`, as a file. */
export function ociLayoutBlob(ref: string, options: BlobOptions & { store: string }): State {
  const attrs = { ...fileAttrs(options), 'oci.store': options.store };
  return sourceState(`oci-layout+blob://${requireDigest(ref)}`, attrs, ['source.imageblob'], options);
}

function requireDigest(ref: string): string {
  if (/^[^@]+@sha256:[0-9a-f]{64}$/.test(ref)) return ref;
  throw fail('invalid', 'llb', `the reference ${JSON.stringify(ref)} of a blob has no digest`);
}

function fileAttrs({ filename, chmod, chown }: BlobOptions): Record<string, string | undefined> {
  return {
    'http.filename': filename,
    'http.perm': chmod === undefined ? undefined : `0${chmod.toString(8)}`,
    'http.uid': chown && String(chown.uid),
    'http.gid': chown && String(chown.gid),
  };
}

export interface LocalOptions extends OpOptions {
  /** Patterns of files to send; an empty list sends all. */
  includes?: readonly string[];
  /** `.dockerignore` patterns. */
  excludes?: readonly string[];
  /** Send only these paths (wildcards allowed) and the targets of their symlinks. */
  followPaths?: readonly string[];
  /** Two local sources with the same hint share the transferred files. */
  sharedKeyHint?: string;
  sessionId?: string;
  /** `none`: do not compare with an earlier transfer to find changes. */
  differ?: 'none' | 'metadata';
  /**
   * Send only the descriptions of files, as the file `.fsutil-metadata` (each a 4-byte little-endian length and
   * fsutil's message Stat), and those files whose paths match these patterns.
   */
  metadataOnly?: readonly string[];
}

/** A folder of the client. */
export function local(name: string, options: LocalOptions = {}): State {
  const caps = ['source.local'];
  const attrs: Record<string, string | undefined> = {};
  const set = (key: string, value: string | undefined, cap: string) => {
    if (value === undefined || value === '') return;
    attrs[key] = value;
    caps.push(cap);
  };
  const json = (list: readonly string[] | undefined) => (list?.length ? JSON.stringify(list) : undefined);
  set('local.session', options.sessionId, 'source.local.sessionid');
  set('local.includepattern', json(options.includes), 'source.local.includepatterns');
  set('local.followpaths', json(options.followPaths), 'source.local.followpaths');
  set('local.excludepatterns', json(options.excludes), 'source.local.excludepatterns');
  set('local.sharedkeyhint', options.sharedKeyHint, 'source.local.sharedkeyhint');
  if (options.metadataOnly !== undefined) {
    set('local.metadatatransfer', 'true', 'source.local.metadatatransfer');
    set('local.metadatatransferexclude', json(options.metadataOnly), 'source.local.metadatatransfer');
  }
  if (options.differ !== undefined) attrs['local.differ'] = options.differ;
  return sourceState(`local://${name}`, attrs, caps, options);
}

interface UploadOptions extends OpOptions {
  /** Files to put aside when the stream's own `.dockerignore` leaves them out; `uploadedAside` is the tree of them. */
  aside?: readonly string[];
  /** The path of a bare Dockerfile in the tree; default: `Dockerfile`. */
  dockerfile?: string;
}

/** A tar (or another stream) that was posted to the daemon, by its id. This source is Drydock's own. */
export function upload(id: string, options: UploadOptions = {}): State {
  const attrs = {
    'upload.aside': options.aside?.length ? JSON.stringify(options.aside) : undefined,
    'upload.dockerfile': options.dockerfile,
  };
  return sourceState(`upload://${id}`, attrs, [], options);
}

/** The files that an upload has put aside, as a separate tree. */
export function uploadedAside(files: State): State {
  const output = settle(files.output);
  return files.withOutput(output && { node: output.node, index: 1 });
}

export interface HttpOptions extends OpOptions {
  /** Name of the file in the tree; default: the last part of the URL's path. */
  filename?: string;
  /** The digest that the file must have: `sha256:…`, `sha384:…` or `sha512:…`. */
  checksum?: string;
  /** Permission bits; default 0600. */
  chmod?: number;
  chown?: { uid: number; gid: number };
  /** The secret that holds an Authorization header. */
  authHeaderSecret?: string;
}

/** One file from an http(s) URL. */
export function http(url: string, options: HttpOptions = {}): State {
  const caps = ['source.http'];
  const attrs: Record<string, string | undefined> = {};
  if (options.filename !== undefined) attrs['http.filename'] = options.filename;
  if (options.checksum !== undefined) {
    attrs['http.checksum'] = options.checksum;
    caps.push('source.http.checksum');
  }
  if (options.chmod !== undefined) {
    attrs['http.perm'] = `0${options.chmod.toString(8)}`;
    caps.push('source.http.perm');
  }
  if (options.chown !== undefined) {
    attrs['http.uid'] = String(options.chown.uid);
    attrs['http.gid'] = String(options.chown.gid);
    // BuildKit spells the capability like this.
    caps.push('soruce.http.uidgid');
  }
  if (options.authHeaderSecret !== undefined) {
    attrs['http.authheadersecret'] = options.authHeaderSecret;
    caps.push('source.http.auth');
  }
  return sourceState(url, attrs, caps, options);
}

export interface GitOptions extends OpOptions {
  keepGitDir?: boolean;
  /** The folder of the repository that becomes the tree. */
  subdir?: string;
  /** The commit that the ref must point to. */
  checksum?: string;
  skipSubmodules?: boolean;
  /** The times of files: that of the checkout (default) or of the commit. */
  mtime?: 'checkout' | 'commit';
  fetchByCommit?: boolean;
  authTokenSecret?: string;
  authHeaderSecret?: string;
  knownSshHosts?: string;
  sshId?: string;
  /**
   * Take the commit, which `checksum` must name, from a git bundle instead of the remote. The bundle is
   * `docker-image+blob://NAME@sha256:…` in a registry, or `oci-layout+blob://NAME@sha256:…` in the layout that the
   * client offers under the name `bundleStore` (default: NAME).
   */
  bundle?: string;
  bundleStore?: string;
  /** Return a git bundle of the commit and its history, as the file `bundle`, instead of the commit's files. */
  checkoutBundle?: boolean;
}

/** A git repository at a ref (branch, tag, commit; default: the remote's HEAD). */
export function git(remote: string, ref = '', options: GitOptions = {}): State {
  const parsed = gitRemote(remote);
  const caps = ['source.git', 'source.git.fullurl'];
  const attrs: Record<string, string | undefined> = {
    'git.fullurl': parsed.url,
    'git.authtokensecret': options.authTokenSecret ?? 'GIT_AUTH_TOKEN',
    'git.authheadersecret': options.authHeaderSecret ?? 'GIT_AUTH_HEADER',
  };
  const set = (key: string, value: string | undefined, cap: string) => {
    if (value === undefined) return;
    attrs[key] = value;
    caps.push(cap);
  };
  if (parsed.scheme === 'ssh') {
    set('git.knownsshhosts', options.knownSshHosts, 'source.git.knownsshhosts');
    set('git.mountsshsock', options.sshId ?? 'default', 'source.git.mountsshsock');
  }
  set('git.keepgitdir', options.keepGitDir ? 'true' : undefined, 'source.git.keepgitdir');
  set('git.checksum', options.checksum, 'source.git.checksum');
  set('git.skipsubmodules', options.skipSubmodules ? 'true' : undefined, 'source.git.skipsubmodules');
  set('git.mtime', options.mtime, 'source.git.mtime');
  set('git.fetchbycommit', options.fetchByCommit ? 'true' : undefined, 'source.git.fetchbycommit');
  set('git.bundle', options.bundle, 'source.git.bundle');
  if (options.bundleStore !== undefined) attrs['oci.store'] = options.bundleStore;
  set('git.checkoutbundle', options.checkoutBundle ? 'true' : undefined, 'source.git.checkoutbundle');
  return sourceState(gitIdentifier(parsed, ref, options.subdir ?? ''), attrs, caps, options);
}
