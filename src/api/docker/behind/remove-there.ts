import { text } from 'node:stream/consumers';
import type { ApiHost } from '../../shared/host.ts';
import { apiError } from '../http/errors.ts';
import type { Behind } from './behind.ts';
import { imagePath } from './paths.ts';

/**
 * Removes the engine's copy of an image that is removed here. Throws `conflict`, in the engine's words, when a container
 * uses it. An engine that has none, or cannot be reached, is no reason to keep it here.
 */
export async function removeThere(
  { log }: Pick<ApiHost, 'log'>,
  behind: Behind,
  name: string,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  const path = `${imagePath(name)}?force=${force}`;
  const answer = await behind.send('DELETE', path, { signal }).catch((err) => {
    log('warn', 'the image stays at the engine', { image: name, reason: String(err.message) });
    return undefined;
  });
  if (answer === undefined) return;
  const body = await text(answer);
  if (answer.statusCode !== 409) return;
  let message = body;
  try {
    message = (JSON.parse(body) as { message?: string }).message ?? body;
  } catch {}
  throw apiError('conflict', message);
}
