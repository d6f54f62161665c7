/** Chooses the maker of a source op by the scheme of its identifier. */
import { fail } from '../errors/index.ts';
import { sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { imageSource } from './image.ts';
import { localSource } from './local.ts';
import { uploadSource } from './upload.ts';

/**
 * A maker whose code is loaded when a source of its kind is first looked at: most builds have none. What the maker throws
 * is thrown then.
 */
const late =
  (load: () => Promise<SourceMaker>): SourceMaker =>
  (vertex, deps) => {
    let made: Promise<ReturnType<SourceMaker>> | undefined;
    const op = () => (made ??= load().then((maker) => maker(vertex, deps)));
    return {
      cacheMap: async (ctx) => (await op()).cacheMap(ctx),
      exec: async (inputs, ctx) => (await op()).exec(inputs, ctx),
    };
  };

const gitSource = late(async () => (await import('./git.ts')).gitSource);
const httpSource = late(async () => (await import('./http.ts')).httpSource);
const imageBlobSource = late(async () => (await import('./image-blob.ts')).imageBlobSource);
const ociLayoutSource = late(async () => (await import('./oci-layout.ts')).ociLayoutSource);

const makers: Record<string, SourceMaker> = {
  'docker-image': imageSource,
  git: gitSource,
  http: httpSource,
  https: httpSource,
  local: localSource,
  'docker-image+blob': imageBlobSource,
  'oci-layout': ociLayoutSource,
  'oci-layout+blob': imageBlobSource,
  upload: uploadSource,
};

/** Makes the op of a source vertex. Throws `unsupported` for an unknown scheme. */
export const sourceOp: SourceMaker = (vertex, deps) => {
  const { identifier } = sourceOf(vertex);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(identifier)?.[1];
  const maker = scheme !== undefined && Object.hasOwn(makers, scheme) ? makers[scheme] : undefined;
  if (maker === undefined) {
    throw fail('unsupported', 'llb', `the source ${JSON.stringify(identifier)} is of no known kind`, {
      hint: `Known are ${Object.keys(makers).join(', ')}.`,
    });
  }
  return maker(vertex, deps);
};
