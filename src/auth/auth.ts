/** Auth as the daemon uses it: it answers once for each request who asks and what they may do. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { configFolder } from '../linux/index.ts';
import { type Accounts, systemAccounts } from './accounts.ts';
import { type AuditLog, openAuditLog } from './audit.ts';
import { authorize } from './authorize.ts';
import { identifyConnection } from './connection.ts';
import { looksLikeJwt, parseAuthorization } from './credential.ts';
import type { AuthLog } from './log.ts';
import { createOidcTokens, type OidcTokens } from './oidc.ts';
import { authorityOf, type Policy } from './policy.ts';
import { openPolicyFile, type PolicyFile } from './policy-file.ts';
import { createTokens, type Tokens } from './tokens.ts';
import type { Ask, Auth, Authority, AuthRequest, Identity, Listener } from './types.ts';
import { refuseWebPages } from './web-pages.ts';

/** The policy file's place when the daemon is told no other. */
const defaultPolicyFile = () => join(configFolder('drydock'), 'policy.json');

interface AuthOptions {
  /** The policy file, which must then be there. Default: `policy.json` in /etc/drydock or, of a user who is not root, in ~/.config/drydock, if and when it is there. */
  policyFile?: string;
  /** The file for audit lines; default: they go to `log`. */
  auditFile?: string;
  log: AuthLog;
  accounts?: Accounts;
}

/**
 * Opens auth. Throws `invalid` (with line and column), `not-found` or `denied` when the policy file cannot be used, and
 * `invalid` when the audit file cannot.
 */
export function openAuth(options: AuthOptions): Auth {
  const { log, accounts = systemAccounts() } = options;
  const ownUid = process.geteuid?.() ?? 0;
  const policies = openPolicyFile(
    options.policyFile ?? defaultPolicyFile(),
    options.policyFile === undefined,
    log,
    ownUid,
  );
  return new EdgeAuth(policies, openAuditLog(options.auditFile, log), accounts);
}

class EdgeAuth implements Auth {
  readonly #policies: PolicyFile;
  readonly #audit: AuditLog;
  readonly #accounts: Accounts;
  /** The checks of one policy; another policy gets new ones. */
  #checks: { policy: Policy; tokens: Tokens; oidc: OidcTokens } | undefined;

  constructor(policies: PolicyFile, audit: AuditLog, accounts: Accounts) {
    this.#policies = policies;
    this.#audit = audit;
    this.#accounts = accounts;
  }

  async authority(
    request: AuthRequest,
    listener: Listener,
    ask: Pick<Ask, 'fromPage'> = {},
  ): Promise<Authority> {
    const policy = this.#policies.current();
    const identity = await this.#identify(request, listener, policy);
    refuseWebPages(request, listener, ask, identity.kind === 'anonymous');
    return { ...authorityOf(policy, identity, listener, this.#accounts), policy: this.#policies.place() };
  }

  async admit(request: AuthRequest, listener: Listener, ask: Ask): Promise<Authority> {
    const known = { ...ask, requestId: ask.requestId ?? randomUUID() };
    let authority: Authority;
    try {
      authority = await this.authority(request, listener, ask);
    } catch (err) {
      throw this.#refused(known, undefined, err);
    }
    this.check(authority, known);
    return authority;
  }

  check(authority: Authority, ask: Ask): void {
    const { endpoint, scopes, reads, requestId = randomUUID() } = ask;
    const { identity } = authority;
    try {
      authorize(authority, scopes, endpoint);
    } catch (err) {
      throw this.#refused({ ...ask, requestId }, identity, err);
    }
    // What is open to anyone was not decided.
    if (scopes.length > 0)
      this.#audit.write({ requestId, endpoint, identity, scopes, reads, decision: 'allowed' });
  }

  #refused(
    { endpoint, scopes, requestId }: Ask & { requestId: string },
    identity: Identity | undefined,
    err: unknown,
  ): DrydockError {
    const error = toDrydockError(err);
    const decision = error.code === 'denied' || error.code === 'unauthenticated' ? error.code : 'error';
    this.#audit.write({ requestId, endpoint, identity, scopes, decision, reason: error.message });
    return error;
  }

  /**
   * The identity of a request: by the credential in its header, or else by the connection (certificate or socket peer).
   */
  async #identify(request: AuthRequest, listener: Listener, policy: Policy): Promise<Identity> {
    const credential = parseAuthorization(request.headers.authorization);
    if (credential === undefined) return identifyConnection(request.socket, listener, this.#accounts);
    const { tokens, oidc } = this.#checksOf(policy);
    try {
      if (credential.kind === 'bearer') {
        const { token } = credential;
        return looksLikeJwt(token) ? await oidc.check(token) : tokens.bearer(token);
      }
      const { user, secret } = credential;
      // Clients that only know user and password can send an OIDC token as the password.
      return looksLikeJwt(secret) ? await oidc.check(secret) : await tokens.basic(user, secret);
    } catch (err) {
      throw err instanceof DrydockError
        ? err
        : fail('internal', 'host', 'the credential cannot be checked', { cause: err });
    }
  }

  #checksOf(policy: Policy): { tokens: Tokens; oidc: OidcTokens } {
    if (this.#checks?.policy !== policy) {
      this.#checks = { policy, tokens: createTokens(policy.tokens), oidc: createOidcTokens(policy.issuers) };
    }
    return this.#checks;
  }

  reload(): void {
    this.#policies.reload();
    this.#audit.reopen();
  }

  close(): void {
    this.#audit.close();
  }
}
