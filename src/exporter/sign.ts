/** Signs a pushed image before it gets its tag. It is loaded late: few builds sign. */
import { fail } from '../errors/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { parseIdentityToken, readPrivateKey, type SignerChoice, signImage } from '../signing/index.ts';
import { started } from './commit.ts';
import type { SignAttrs } from './sign-attrs.ts';
import type { ExportContext } from './types.ts';

/** Signs the image `REPOSITORY@DIGEST`, once. */
type SignPushed = (registry: RegistryClient, ref: string) => Promise<void>;

/**
 * Reads the key or the token of a build, and makes a function that signs with it. Throws `not-found` for a secret that
 * the build does not have, `invalid` for a key or a token that is none.
 */
export async function pushedSigner(want: SignAttrs, ctx: ExportContext): Promise<SignPushed> {
  const signer = await signerOf(want, ctx);
  const signed = new Set<string>();
  return async (registry, ref) => {
    if (signed.has(ref)) return;
    signed.add(ref);
    const done = started(ctx, `signing ${ref}`);
    const { services, annotations, recursive } = want;
    await signImage(registry, ref, {
      ...{ signer, services, annotations, recursive },
      credentials: (host) => ctx.session.credentials(host),
      signal: ctx.signal,
    });
    done();
  };
}

async function signerOf({ key, password, token }: SignAttrs, ctx: ExportContext): Promise<SignerChoice> {
  const secret = async (id: string) => {
    const value = await (ctx.signingSecret === undefined ? ctx.session.secret(id) : ctx.signingSecret(id));
    if (value !== undefined) return value;
    throw fail(
      'not-found',
      'session',
      `the build has no secret ${JSON.stringify(id)} to sign its image with`,
      {
        hint: `Give it: --secret id=${id},src=FILE.`,
      },
    );
  };
  if (token !== undefined) return { token: parseIdentityToken((await secret(token)).toString()) };
  const text = (await secret(key as string)).toString();
  const opened = () => (password === undefined ? Promise.resolve(Buffer.alloc(0)) : secret(password));
  return { key: await readPrivateKey(text, `of the secret ${key}`, opened) };
}
