/** Reads `--sign` of a build. It is loaded late: few builds sign. */
import type { SignOptions } from '../../engine/index.ts';
import { fail, nearest } from '../../errors/index.ts';
import {
  ambientToken,
  keyText,
  readPrivateKey,
  Services,
  servicesOf,
  tokenOrFile,
} from '../../signing/index.ts';
import { parseBool } from '../../words/index.ts';
import { parsePairs } from '../csv.ts';

const names = [
  'key',
  'identity-token',
  'fulcio-url',
  'rekor-url',
  'rekor-version',
  'timestamp-server-url',
  'tlog-upload',
  'recursive',
  'yes',
] as const;
const annotation = 'annotation.';

/**
 * How images are signed: `key=cosign.key,tlog-upload=false`, `identity-token=ambient,yes`. The key is read, and opened,
 * before the build; the token of the surroundings is asked for when the image is there, as it lives for minutes. Throws
 * `invalid` for what there is not, and for a key or a password that is none.
 */
export async function signFlag(
  text: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<SignOptions> {
  // A word alone is true: `yes`.
  const pairs = parsePairs(
    text
      .split(',')
      .map((part) => (part.includes('=') ? part : `${part}=true`))
      .join(','),
    'sign',
  );
  const annotations: Record<string, string> = {};
  for (const [name, value] of pairs) {
    if (name.startsWith(annotation)) annotations[name.slice(annotation.length)] = value;
    else if (!names.some((known) => known === name)) throw unknown(name);
  }
  const value = (name: (typeof names)[number]) => pairs.get(name) || undefined;
  const [key, token] = [value('key'), value('identity-token')];
  if ((key === undefined) === (token === undefined)) {
    throw fail('invalid', 'client', '--sign needs key=FILE or identity-token=TOKEN, and one of them', {
      hint: 'identity-token=ambient takes the token of GitHub Actions, or SIGSTORE_ID_TOKEN.',
    });
  }
  const yes = (name: 'tlog-upload' | 'recursive' | 'yes') => {
    const said = value(name);
    const truth = said === undefined ? undefined : parseBool(said);
    if (said === undefined || truth !== undefined) return truth;
    throw fail('invalid', 'client', `--sign: ${name}=${said} is neither true nor false`);
  };
  const rekorVersion = value('rekor-version');
  const services = {
    fulcioUrl: value('fulcio-url'),
    rekorUrl: value('rekor-url'),
    tlogUpload: yes('tlog-upload'),
    yes: yes('yes'),
  };
  const timestampServerUrl = value('timestamp-server-url');
  servicesOf({ ...services, rekorVersion, timestampUrl: timestampServerUrl }, token !== undefined);
  const common = {
    ...services,
    rekorVersion: rekorVersion === undefined ? undefined : ((rekorVersion === '2' ? 2 : 1) as 1 | 2),
    timestampServerUrl,
    recursive: yes('recursive'),
    annotations,
  };
  if (key !== undefined) {
    const pem = await keyText(key, env);
    const password = Buffer.from(env.COSIGN_PASSWORD ?? '');
    await readPrivateKey(pem, key, async () => password);
    return { ...common, key: pem, password };
  }
  return {
    ...common,
    identityToken: token === 'ambient' ? () => ambient(env, signal) : await tokenOrFile(token as string),
  };
}

async function ambient(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<string> {
  const services = new Services(signal);
  try {
    const token = await ambientToken(env, services);
    if (token !== undefined) return token;
  } finally {
    services.close();
  }
  throw fail('not-found', 'client', 'there is no identity token in the surroundings to sign with', {
    hint: 'GitHub Actions gives one with `permissions: id-token: write`; elsewhere set SIGSTORE_ID_TOKEN.',
  });
}

function unknown(name: string) {
  const near = nearest(name, names);
  return fail('invalid', 'client', `--sign has no ${JSON.stringify(name)}`, {
    hint: near === undefined ? `There are: ${names.join(', ')}, ${annotation}KEY.` : `Did you mean ${near}?`,
  });
}
