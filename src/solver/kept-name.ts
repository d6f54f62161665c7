import { Masks } from '../errors/index.ts';
import type { Vertex } from '../llb/index.ts';

/** A vertex's name as it is kept with its result: without the passwords that its environment and URLs hold. */
export function keptName({ name, op: { op } }: Vertex): string {
  const meta = op.case === 'exec' ? op.value.meta : undefined;
  const env = (meta?.env ?? []).map((entry): [string, string] => {
    const at = entry.indexOf('=');
    return [entry.slice(0, at), entry.slice(at + 1)];
  });
  const { httpProxy = '', httpsProxy = '', ftpProxy = '', allProxy = '' } = meta?.proxyEnv ?? {};
  const proxies = [httpProxy, httpsProxy, ftpProxy, allProxy].map((url): [string, string] => ['', url]);
  return new Masks([...env, ...proxies]).text(name);
}
