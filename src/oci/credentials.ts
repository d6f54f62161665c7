/** What a client knows to prove itself to a registry. All fields are secrets but `username`. */
export interface RegistryCredentials {
  username?: string;
  password?: string;
  /** OAuth2 refresh token (`identitytoken` in docker's config). */
  identityToken?: string;
  /** Bearer token to send as it is (`registrytoken`). */
  registryToken?: string;
  /** The client gets bearer tokens itself, so that what proves its user stays with it. */
  tokens?: TokenSource;
  /** Asks for name and password, for a registry that takes nothing else; used with `tokens`. */
  login?: () => Promise<RegistryCredentials | undefined>;
  /** The request's header that brought them; undefined for those that are stored where the client runs. */
  sent?: string;
  /** Why there are none, for the error of a registry that wants some: `its session … is gone`. All else is missing. */
  absent?: string;
}

/** What a registry's token is to be good for, as its challenge and the request say. */
export interface TokenRequest {
  realm: string;
  service?: string;
  scopes: readonly string[];
  signal?: AbortSignal;
}

/** A client that gets bearer tokens for one registry host. */
export interface TokenSource {
  /** Tells apart those whose tokens must not be mixed up; no secret. */
  readonly identity: string;
  /** Rejects with a DrydockError when the client gets none. `expiresIn`: seconds, undefined when not said. */
  fetch(request: TokenRequest): Promise<{ token: string; expiresIn?: number }>;
}

/** Whether there is anything to prove oneself with. */
export function hasCredentials(credentials: RegistryCredentials | undefined): boolean {
  return credentials !== undefined && credentials.absent === undefined;
}

/**
 * Asks for the credentials of a registry host. Docker Hub's (`registry-1.docker.io`) are asked for as
 * `https://index.docker.io/v1/`, as docker's config has them.
 */
export type CredentialSource = (host: string) => Promise<RegistryCredentials | undefined>;
