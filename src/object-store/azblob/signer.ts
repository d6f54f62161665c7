/** The three ways to prove oneself to Azure Blob Storage. */
import type { RestRequest, Signer } from '../rest.ts';
import { troubled } from '../trouble.ts';
import { sharedKey } from './shared-key.ts';

/** The version of the protocol. It has blocks of 4,000 MiB. */
const apiVersion = '2021-12-02';

export type AzureProof =
  /** The account's own key, in base64. */
  | { type: 'key'; account: string; key: string }
  /** A shared access signature: the query that was handed out. */
  | { type: 'sas'; query: string }
  /** A token of Microsoft Entra: of a managed identity, a workload's identity, a service principal or a person. */
  | { type: 'identity'; clientId?: string };

/** Throws nothing; a proof that does not hold is the store's to refuse. */
export function azureSigner(proof: AzureProof): Signer {
  const tokens = proof.type === 'identity' ? new Tokens(proof.clientId) : undefined;
  return {
    async sign({ method, url, headers }: RestRequest, now: number) {
      const all: Record<string, string> = {
        ...headers,
        'x-ms-version': apiVersion,
        'x-ms-date': new Date(now).toUTCString(),
      };
      if (proof.type === 'sas') {
        const signed = new URL(url);
        for (const [name, value] of new URLSearchParams(proof.query)) signed.searchParams.set(name, value);
        return { url: signed, headers: all };
      }
      if (proof.type === 'key') {
        all.authorization = sharedKey({ method, url, headers: all }, proof.account, proof.key);
      } else if (tokens !== undefined) all.authorization = `Bearer ${await tokens.get()}`;
      return { url, headers: all };
    },
    ...(tokens === undefined ? {} : { renew: () => tokens.renew() }),
  };
}

const scope = 'https://storage.azure.com/.default';
/** How long before its end a token is renewed, ms. */
const early = 5 * 60_000;

/** Tokens by Azure's own chain, a large program that is loaded when somebody asks for one. */
class Tokens {
  readonly #clientId: string | undefined;
  #known: Promise<{ token: string; expiresOnTimestamp: number }> | undefined;
  #end = 0;

  constructor(clientId: string | undefined) {
    this.#clientId = clientId;
  }

  async get(): Promise<string> {
    const isGood = this.#known !== undefined && Date.now() <= this.#end - early;
    const known = isGood ? this.#known : this.#load();
    return (await known)?.token ?? '';
  }

  async renew(): Promise<boolean> {
    const before = await this.get();
    this.#known = undefined;
    return (await this.get()) !== before;
  }

  #load() {
    const known = this.#ask();
    this.#known = known;
    this.#end = Number.POSITIVE_INFINITY;
    known.then(
      ({ expiresOnTimestamp }) => {
        this.#end = expiresOnTimestamp;
      },
      () => {
        if (this.#known === known) this.#known = undefined;
      },
    );
    return known;
  }

  async #ask() {
    const { identityToken } = await import('./identity-token.ts');
    try {
      const token = await identityToken(this.#clientId, scope);
      if (token !== null) return token;
    } catch (cause) {
      throw nothing(cause);
    }
    throw nothing(undefined);
  }
}

function nothing(cause: unknown): Error {
  const why = cause instanceof Error ? `: ${cause.message.split('\n')[0]}` : '';
  return troubled('no-credentials', `no Azure credentials were found here${why}`, {
    cause,
    hint: 'Give secret_access_key= (the account key) or sas_token=, or run with a managed identity.',
  });
}
