import { http } from '../llb/index.ts';
import { isHttpUrl } from '../words/index.ts';
import type { DockerfileRequest } from './types.ts';

/** The Dockerfile on a web server, when `file` is its URL (`-f https://…`); undefined for a path. */
export function dockerfileAt(
  file: string | undefined,
): Pick<DockerfileRequest, 'dockerfile' | 'dockerfileState'> | undefined {
  if (file === undefined || !isHttpUrl(file)) return undefined;
  const dockerfile = 'Dockerfile';
  const name = `[internal] load build definition from ${file}`;
  return { dockerfile, dockerfileState: http(file, { filename: dockerfile, name }) };
}
