import { http } from '../llb/index.ts';
import { isHttpUrl } from '../words/index.ts';
import type { DockerfileRequest } from './types.ts';

/** The Dockerfile that a web server has, when that is where `file` is (`-f https://…`); undefined for a path. */
export function dockerfileAt(
  file: string | undefined,
): Pick<DockerfileRequest, 'dockerfile' | 'dockerfileState'> | undefined {
  if (file === undefined || !isHttpUrl(file)) return undefined;
  const dockerfile = 'Dockerfile';
  const name = `[internal] load build definition from ${file}`;
  return { dockerfile, dockerfileState: http(file, { filename: dockerfile, name }) };
}
