import { fail } from '../../errors/index.ts';
import { familiarName, normalizeName } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import type { SignerChoice } from '../../signing/index.ts';
import { keyValues } from '../build/values.ts';
import { type CommandContext, command } from '../command.ts';
import { registryClient } from '../registry-client.ts';

export default command({
  usage: 'IMAGE...',
  summary: 'Sign images in a registry, as cosign does, with a key or with the identity of a token.',
  flags: {
    annotations: { type: 'list', short: 'a', value: 'KEY=VALUE', help: 'What to sign besides the digest' },
    'fulcio-url': { type: 'string', value: 'URL', help: 'Fulcio, which certifies the identity of a token' },
    'identity-token': {
      type: 'string',
      value: 'TOKEN|FILE',
      help: 'Sign with the identity of this OpenID token',
    },
    key: {
      type: 'string',
      value: 'FILE|env://NAME',
      help: 'Sign with this private key; $COSIGN_PASSWORD opens it',
    },
    recursive: { type: 'bool', short: 'r', help: 'Also sign each image that an index lists' },
    'rekor-url': { type: 'string', value: 'URL', help: 'The transparency log' },
    'rekor-version': { type: 'string', value: '1|2', help: 'The version of that Rekor (default: 1)' },
    'timestamp-server-url': {
      type: 'string',
      value: 'URL',
      help: 'Have this authority (RFC 3161) date the signature',
    },
    'tlog-upload': { type: 'bool', help: 'Have the log note the signature (default; =false for not)' },
    yes: {
      type: 'bool',
      short: 'y',
      help: 'The public log may show the digest and who has signed, for good',
    },
  },
  operands: [1, 100],
  async run(flags, images, ctx) {
    const { servicesOf, signImage } = await import('../../signing/index.ts');
    const byToken = flags.key === undefined;
    if (!byToken && flags['identity-token'] !== undefined) {
      throw fail('invalid', 'client', 'sign with --key or with --identity-token, not with both');
    }
    const services = servicesOf(
      {
        fulcioUrl: flags['fulcio-url'],
        rekorUrl: flags['rekor-url'],
        rekorVersion: flags['rekor-version'],
        timestampUrl: flags['timestamp-server-url'],
        tlogUpload: flags['tlog-upload'],
        yes: flags.yes,
      },
      byToken,
    );
    const annotations = keyValues(flags.annotations, 'annotations');
    const signer = await signerOf(flags, ctx);
    const client = registryClient(ctx);
    try {
      for (const image of images) {
        const signed = await signImage(client, image, {
          ...{ signer, services, annotations, recursive: flags.recursive },
          credentials: dockerConfigCredentials(ctx.env),
          signal: ctx.signal,
        });
        const name = familiarName(normalizeName(image));
        for (const { digest, signature } of signed) {
          ctx.stdout.write(`${name}: signed ${digest}, signature ${signature}\n`);
        }
      }
    } finally {
      client.close();
    }
    return 0;
  },
});

/** Who signs: the key or token of the flags, else the token of the surroundings. */
async function signerOf(
  flags: { key?: string; 'identity-token'?: string },
  { env, signal }: CommandContext,
): Promise<SignerChoice> {
  const signing = await import('../../signing/index.ts');
  if (flags.key !== undefined) {
    const text = await signing.keyText(flags.key, env);
    return {
      key: await signing.readPrivateKey(text, flags.key, async () => Buffer.from(env.COSIGN_PASSWORD ?? '')),
    };
  }
  const given = flags['identity-token'];
  if (given !== undefined) return { token: signing.parseIdentityToken(await signing.tokenOrFile(given)) };
  const services = new signing.Services(signal);
  try {
    const found = await signing.ambientToken(env, services);
    if (found !== undefined) return { token: signing.parseIdentityToken(found) };
  } finally {
    services.close();
  }
  throw fail('invalid', 'client', 'there is nothing to sign with: no key, and no identity token', {
    hint: 'Give --key FILE or --identity-token TOKEN. GitHub Actions gives a token with `permissions: id-token: write`.',
  });
}
