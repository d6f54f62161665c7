/** What a client knows to prove itself to a registry. All fields are secrets but `username`. */
export interface RegistryCredentials {
  username?: string;
  password?: string;
  /** OAuth2 refresh token (`identitytoken` in docker's config). */
  identityToken?: string;
  /** Bearer token to send as it is (`registrytoken`). */
  registryToken?: string;
}

/**
 * Asks for the credentials of a registry host. Docker Hub's (`registry-1.docker.io`) are asked for as
 * `https://index.docker.io/v1/`, as docker's config has them.
 */
export type CredentialSource = (host: string) => Promise<RegistryCredentials | undefined>;
