/** A token by Azure's own chain, which is a large program: this file is loaded when one is asked for. */
import { DefaultAzureCredential } from '@azure/identity';

/** Asks for a token; null when there is none. `clientId`: the managed identity to be. Throws Azure's own errors. */
export function identityToken(clientId: string | undefined, scope: string) {
  const options = clientId === undefined ? {} : { managedIdentityClientId: clientId };
  return new DefaultAzureCredential(options).getToken(scope);
}
