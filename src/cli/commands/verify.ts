import { join } from 'node:path';
import { fail } from '../../errors/index.ts';
import { cacheFolder } from '../../linux/index.ts';
import { familiarName, formatReference, normalizeName, parseReference } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import type { Verified, WantedSigner } from '../../signing/index.ts';
import { keyValues } from '../build/values.ts';
import { type CommandContext, command } from '../command.ts';
import type { FlagTable, FlagValues } from '../flags.ts';
import { registryClient } from '../registry-client.ts';

const flags = {
  annotations: {
    type: 'list',
    short: 'a',
    value: 'KEY=VALUE',
    help: 'What the signature must say besides the digest',
  },
  'certificate-identity': {
    type: 'string',
    value: 'TEXT',
    help: 'The e-mail address or URI that must have signed',
  },
  'certificate-identity-regexp': {
    type: 'string',
    value: 'REGEXP',
    help: 'The same as a regular expression',
  },
  'certificate-oidc-issuer': { type: 'string', value: 'URL', help: 'The issuer of that identity’s tokens' },
  'certificate-oidc-issuer-regexp': {
    type: 'string',
    value: 'REGEXP',
    help: 'The same as a regular expression',
  },
  'insecure-ignore-tlog': { type: 'bool', help: 'Ask for no entry in a transparency log' },
  key: { type: 'string', value: 'FILE|env://NAME', help: 'The public key that must have signed' },
  output: {
    type: 'string',
    short: 'o',
    value: 'json|text',
    help: 'How to print the signatures (default: json)',
  },
  'trusted-root': {
    type: 'string',
    value: 'FILE',
    help: 'The authorities; default: those of the public sigstore',
  },
} as const satisfies FlagTable;

export default command({
  usage: 'IMAGE...',
  summary: 'Verify signatures of images in a registry: ours and cosign’s, of any version.',
  flags,
  operands: [1, 100],
  async run(flags, images, ctx) {
    const { verifyImage } = await import('../../signing/index.ts');
    const { output = 'json' } = flags;
    if (output !== 'json' && output !== 'text') {
      throw fail('invalid', 'client', `unknown output ${JSON.stringify(output)}: want json or text`);
    }
    const wanted = {
      signers: [await wantedSigner(flags, ctx)],
      annotations: keyValues(flags.annotations, 'annotations'),
    };
    const client = registryClient(ctx);
    const at = { credentials: dockerConfigCredentials(ctx.env), signal: ctx.signal };
    try {
      for (const image of images) {
        const name = normalizeName(image);
        const { digest } = await client.resolve(name, at);
        const verified = await verifyImage(client, name, digest, wanted, at);
        const { domain, path } = parseReference(name);
        const pinned = familiarName(formatReference({ domain, path, digest }));
        ctx.stderr.write(
          `${pinned}: ${verified.length === 1 ? 'one signature holds' : `${verified.length} signatures hold`}\n`,
        );
        ctx.stdout.write(`${output === 'json' ? json(pinned, digest, verified) : text(verified)}\n`);
      }
    } finally {
      client.close();
    }
    return 0;
  },
});

/** The signatures in cosign's form, with who has made them. */
function json(name: string, digest: string, verified: readonly Verified[]): string {
  return JSON.stringify(
    verified.map(({ by, kind, annotations, loggedAt }) => ({
      critical: {
        identity: { 'docker-reference': name },
        image: { 'docker-manifest-digest': digest },
        type: kind === 'bundle' ? 'https://sigstore.dev/cosign/sign/v1' : 'cosign container image signature',
      },
      optional: {
        ...annotations,
        ...(by.kind === 'identity' && { Subject: by.identity, Issuer: by.issuer }),
        ...(loggedAt !== undefined && { LoggedAt: loggedAt.toISOString() }),
      },
    })),
  );
}

function text(verified: readonly Verified[]): string {
  return verified
    .map(({ as, digest, annotations }) => {
      const notes = Object.entries(annotations).map(([key, value]) => ` ${key}=${value}`);
      return `${digest} ${as}${notes.join('')}`;
    })
    .join('\n');
}

/** Who must have signed. Throws `invalid` for flags that say nobody, or two. */
async function wantedSigner(given: FlagValues<typeof flags>, ctx: CommandContext): Promise<WantedSigner> {
  const signing = await import('../../signing/index.ts');
  const identity = one(given, 'certificate-identity', signing);
  const issuer = one(given, 'certificate-oidc-issuer', signing);
  if (given.key !== undefined && (identity ?? issuer) !== undefined) {
    throw fail('invalid', 'client', 'want a key or an identity, not both');
  }
  const ignoresLog = given['insecure-ignore-tlog'] ?? false;
  if (given.key === undefined && (identity === undefined || issuer === undefined)) {
    throw fail(
      'invalid',
      'client',
      'whose signature is wanted? Neither a key nor an identity with its issuer is given',
      {
        hint: 'Give --key FILE, or --certificate-identity and --certificate-oidc-issuer (or their -regexp).',
      },
    );
  }
  const keys =
    given.key === undefined
      ? []
      : signing.readPublicKeys(await signing.keyText(given.key, ctx.env), given.key);
  const needsRoots = given.key === undefined || !ignoresLog;
  const roots = needsRoots ? await rootsOf(given['trusted-root'], ctx.env) : undefined;
  if (identity === undefined || issuer === undefined || roots === undefined) {
    return signing.keySigner(`the key ${given.key}`, keys, roots);
  }
  return signing.identitySigner(identity, issuer, roots, ignoresLog);
}

async function rootsOf(file: string | undefined, env: NodeJS.ProcessEnv) {
  const signing = await import('../../signing/index.ts');
  if (file !== undefined)
    return signing.readTrustedRoot(await signing.readSmallFile(file, 'the trusted root'), file);
  return signing.publicRoot(join(cacheFolder('drydock', env), 'sigstore'));
}

function one(
  flags: Record<string, unknown>,
  name: 'certificate-identity' | 'certificate-oidc-issuer',
  { exactly, matching }: typeof import('../../signing/index.ts'),
) {
  const [text, regexp] = [flags[name], flags[`${name}-regexp`]] as (string | undefined)[];
  if (text !== undefined && regexp !== undefined) {
    throw fail('invalid', 'client', `give --${name} or --${name}-regexp, not both`);
  }
  return text !== undefined ? exactly(text) : regexp !== undefined ? matching(regexp) : undefined;
}
