/** A client's proofs of identity for a registry. All fields but `username` are secrets. */
export interface RegistryCredentials {
  username?: string;
  password?: string;
  /** OAuth2 refresh token (`identitytoken` in docker's config). */
  identityToken?: string;
  /** Bearer token that is sent unchanged (`registrytoken`). */
  registryToken?: string;
  /** Fetches bearer tokens on the client's side, so that the user's proof of identity never leaves it. */
  tokens?: TokenSource;
  /** Asks for name and password, for a registry that accepts nothing else; used with `tokens`. */
  login?: () => Promise<RegistryCredentials | undefined>;
  /** The request header that brought the credentials; undefined for those stored on the client's machine. */
  sent?: string;
  /**
   * The reason why there are none, for the error of a registry that wants some: `its session … is gone`. All other
   * fields are missing then.
   */
  absent?: string;
}

/** The purpose that a token must be good for, according to the registry's challenge and the request. */
export interface TokenRequest {
  realm: string;
  service?: string;
  scopes: readonly string[];
  signal?: AbortSignal;
}

/** A client that fetches bearer tokens for one registry host. */
export interface TokenSource {
  /** Tells apart sources whose tokens must not be mixed; not a secret. */
  readonly identity: string;
  /**
   * Fetches a token. Rejects with a DrydockError when the client gets none. `expiresIn`: seconds; undefined when
   * unknown.
   */
  fetch(request: TokenRequest): Promise<{ token: string; expiresIn?: number }>;
}

/** Whether the credentials prove anything. */
export function hasCredentials(credentials: RegistryCredentials | undefined): boolean {
  return credentials !== undefined && credentials.absent === undefined;
}

/**
 * Asks for the credentials of a registry host. Those of Docker Hub (`registry-1.docker.io`) are asked for under
 * `https://index.docker.io/v1/`, as in docker's config.
 */
export type CredentialSource = (host: string) => Promise<RegistryCredentials | undefined>;
