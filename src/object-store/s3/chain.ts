/**
 * The keys of this machine, by AWS's own chain: variables, the shared files with their profiles (SSO and roles among
 * them), a web identity token, a container's and an instance's metadata. It is a large program of AWS: this file is
 * loaded when somebody needs the machine's keys.
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
 */
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { troubled } from '../trouble.ts';
import type { AwsKeys } from './sign.ts';
import type { AwsKeySource } from './signer.ts';

interface ChainOptions {
  /** The name of a profile in the shared files; default AWS_PROFILE, then `default`. */
  profile?: string;
  region: string;
}

/** How long before their end keys are renewed, ms. */
const early = 5 * 60_000;

/** The keys of the chain. `keys` throws trouble `no-credentials` when no link of it has any. */
export function chainKeys({ profile, region }: ChainOptions): AwsKeySource {
  let known: Promise<AwsKeys & { expiration?: Date }> | undefined;
  let end = Number.POSITIVE_INFINITY;
  const load = async () => {
    try {
      return await defaultProvider({
        ...(profile === undefined ? {} : { profile }),
        clientConfig: { region },
      })({ forceRefresh: true });
    } catch (cause) {
      throw troubled(
        'no-credentials',
        `no AWS credentials were found here: ${cause instanceof Error ? cause.message : String(cause)}`,
        {
          cause,
          hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role; or give access_key_id= and secret_access_key=.',
        },
      );
    }
  };
  return {
    async keys(anew = false) {
      if (anew || known === undefined || Date.now() > end - early) {
        known = load();
        end = Number.POSITIVE_INFINITY;
        const mine = known;
        mine.then(
          ({ expiration }) => {
            if (known === mine) end = expiration?.getTime() ?? Number.POSITIVE_INFINITY;
          },
          () => {
            if (known === mine) known = undefined;
          },
        );
      }
      return known;
    },
  };
}
