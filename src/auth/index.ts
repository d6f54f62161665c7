/** Finds out who asks, and what they may do: identities, scopes, policies, and the one check at the edge. */
export { systemAccounts } from './accounts.ts';
export { openAuth } from './auth.ts';
export { authorizeEntitlements } from './authorize.ts';
export { challenge } from './credential.ts';
export { identityKey } from './identity.ts';
export { JsonFault, type JsonValue, parseJson, placeOf } from './json.ts';
export { fieldsOf, listOf, membersOf, onlyTrue, textOf } from './json-fields.ts';
export { ownAuthority, ownOwner } from './own-authority.ts';
export { cachesOf, type Reach, reaches, reachOf, tenantOf } from './ownership.ts';
export { readPolicyText } from './policy-file.ts';
export { parsePolicy } from './policy-text.ts';
export { type TlsFiles, tlsListenerOptions } from './tls.ts';
export { createToken, hashPassword } from './token-hash.ts';
export { type Ask, type Authority, type AuthRequest, type Listener, type Scope, scopes } from './types.ts';
