import { type LocalOptions, local, type State } from '../../../llb/index.ts';
import type { DockerfileRequest } from '../../types.ts';

/** A folder of the client, or of another session when the request says so (`local-sessionid:NAME`). */
export function clientFolder(
  { localSessions = {} }: Pick<DockerfileRequest, 'localSessions'>,
  name: string,
  options: LocalOptions,
): State {
  return local(name, {
    ...options,
    sessionId: Object.hasOwn(localSessions, name) ? localSessions[name] : undefined,
  });
}
