/** Chooses the maker of a source op by the scheme of its identifier. */
import { fail } from '../errors/index.ts';
import { sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { gitSource } from './git.ts';
import { httpSource } from './http.ts';
import { imageSource } from './image.ts';
import { imageBlobSource } from './image-blob.ts';
import { localSource } from './local.ts';
import { ociLayoutSource } from './oci-layout.ts';
import { uploadSource } from './upload.ts';

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
