/**
 * Turns registry failures into DrydockErrors that tell the attempted action, the place, the status and the registry's
 * own words.
 */
import { DrydockError, type ErrorCode, errnoCode, fail } from '../errors/index.ts';
import { hasCredentials, type RegistryCredentials } from '../oci/index.ts';

/** The purpose of a request, in words for its error messages. */
export interface Purpose {
  /** `resolving app:1`, `pushing layer sha256:…` */
  doing: string;
  host: string;
  /** `host/repository` in the form that the user knows. */
  repository: string;
  push?: boolean;
  /** Something is deleted. */
  deletes?: boolean;
}

/** The registry's own message in an error body (OCI distribution spec, "Error Codes"), or a plain text body. */
function registryMessage(body: string): string | undefined {
  try {
    const parsed = JSON.parse(body) as {
      errors?: { code?: unknown; message?: unknown; detail?: unknown }[];
      details?: unknown;
      message?: unknown;
      error_description?: unknown;
    };
    if (Array.isArray(parsed.errors)) {
      const texts = parsed.errors.slice(0, 3).map((error) => {
        const code = typeof error?.code === 'string' ? error.code : '';
        const message = typeof error?.message === 'string' ? error.message : '';
        return [code, message].filter((part) => part !== '').join(': ');
      });
      const text = texts.filter((part) => part !== '').join('; ');
      if (text !== '') return printable(text);
    }
    for (const value of [parsed.details, parsed.error_description, parsed.message]) {
      if (typeof value === 'string' && value !== '') return printable(value);
    }
    return undefined;
  } catch {
    const text = printable(body.replace(/<[^<>]*>/g, ' ')).trim();
    return text === '' ? undefined : text;
  }
}

/** Makes a stranger's text fit for a terminal: without control characters, and not too long. */
function printable(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean;
}

/**
 * The error for a status that means failure. `from`: the URL of the answer, if it may be another host's.
 *
 *     statusError(purpose, 401, '{"errors":[…]}', undefined) // `unauthenticated`, with a hint to log in
 */
export function statusError(
  purpose: Purpose,
  status: number,
  body: string,
  credentials: RegistryCredentials | undefined,
  from?: URL,
): DrydockError {
  const said = registryMessage(body);
  // The name of a hosts.toml's server without TLS begins with its scheme.
  const { host } = new URL(
    purpose.host.includes('://') ? purpose.host : `${from?.protocol ?? 'https:'}//${purpose.host}`,
  );
  if (from !== undefined && from.host !== host) {
    return elsewhereError(purpose, status, said, from);
  }
  const text = `${purpose.doing}: the registry ${purpose.host} answered ${status}${said === undefined ? '' : ` (${said})`} for ${purpose.repository}`;
  return fail(codeOf(status), 'registry', text, {
    hint: hintOf(purpose, status, credentials),
    details: { registry: purpose.host, repository: purpose.repository, status },
  });
}

/** The error for another host's answer: the registry sent us there, or said that a layer is there. */
function elsewhereError(purpose: Purpose, status: number, said: string | undefined, from: URL): DrydockError {
  const text = `${purpose.doing}: ${from.host}, where the registry ${purpose.host} sent us for ${purpose.repository}, answered ${status}`;
  const refused = status === 401 || status === 403;
  return fail(codeOf(status), 'registry', said === undefined ? text : `${text} (${said})`, {
    hint: refused
      ? `Credentials for ${purpose.host} are given to no other host; try again, or tell who runs the registry.`
      : hintOf(purpose, status, undefined),
    details: { registry: purpose.host, repository: purpose.repository, from: from.host, status },
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 401) return 'unauthenticated';
  if (status === 403) return 'denied';
  if (status === 404) return 'not-found';
  if (status === 405 || status === 501) return 'unsupported';
  if (status === 409) return 'conflict';
  if (status === 413) return 'exhausted';
  if (status === 408 || status === 429 || status >= 500) return 'unavailable';
  return 'invalid';
}

function hintOf(
  purpose: Purpose,
  status: number,
  credentials: RegistryCredentials | undefined,
): string | undefined {
  const host = purpose.host === 'registry-1.docker.io' ? '' : ` ${purpose.host}`;
  if ((status === 401 || status === 403) && credentials?.absent !== undefined) {
    return `The client was not asked for credentials: ${credentials.absent}.`;
  }
  if (status === 401 && credentials?.sent !== undefined) {
    return `The registry did not take the credentials that the request sent (${credentials.sent}): check those that the client is configured with.`;
  }
  if (status === 401 && hasCredentials(credentials)) {
    return `The registry did not take the stored credentials; log in again with \`docker login${host}\`.`;
  }
  if (status === 401) {
    return `No credentials were given. Log in with \`docker login${host}\`, or check the name: some registries say this of repositories that do not exist.`;
  }
  if (purpose.deletes && (status === 403 || status === 405)) {
    return `The registry must let manifests be deleted (docker-registry's setting storage.delete.enabled), and the account must have the right to.`;
  }
  if (status === 403) {
    return `Check that the account may ${purpose.push ? 'push to' : 'pull from'} ${purpose.repository}, or log in with \`docker login${host}\`.`;
  }
  if (status === 404 && !purpose.push) return 'Check the image name, its tag and its spelling.';
  if (status === 429) return 'The registry limits how often it is asked; log in or try again later.';
  if (status >= 500) return 'The registry has trouble of its own: try again later, or tell who runs it.';
  if (purpose.push && status === 400) {
    return 'If it is about a digest, `drydock doctor --verify` says whether the blob is damaged here.';
  }
  return undefined;
}

/** The error for no answer at all: explains the system's error. */
export function connectionError(purpose: Purpose, err: unknown): DrydockError {
  if (err instanceof DrydockError) return err;
  const code = errnoCode(err) ?? '';
  const why = err instanceof Error ? explain(err, code) : String(err);
  return fail(
    'unavailable',
    'registry',
    `${purpose.doing}: cannot reach the registry ${purpose.host} for ${purpose.repository}: ${why}`,
    {
      cause: err,
      hint: connectionHint(purpose.host, code),
      details: {
        registry: purpose.host,
        repository: purpose.repository,
        ...(code === '' ? {} : { errno: code }),
      },
    },
  );
}

function explain(err: Error, code: string): string {
  if (err instanceof AggregateError && err.errors[0] instanceof Error) return explain(err.errors[0], code);
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND') return 'no such host';
  if (code === 'EAI_AGAIN') return 'its name could not be looked up';
  if (code === 'ECONNRESET' || code === 'EPIPE') return `the connection broke off (${err.message})`;
  if (code === 'ETIMEDOUT') return `timed out (${err.message})`;
  return err.message;
}

function connectionHint(host: string, code: string): string {
  if (isTlsCode(code)) {
    return `If ${host} has no trusted certificate, name it in --insecure-registry, or put its CA in /etc/docker/certs.d/${host}/ca.crt.`;
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return 'Check the spelling of the registry and the network (DNS, HTTPS_PROXY).';
  }
  if (code === 'ECONNREFUSED') return `Check that a registry is listening at ${host}.`;
  return 'Try again; if it stays, look at the network and the proxies on the way.';
}

/** Whether a system error is about TLS: a plain-HTTP server, or a certificate that cannot be verified. */
export function isTlsCode(code: string): boolean {
  return (
    code === 'EPROTO' ||
    code.startsWith('ERR_SSL_') ||
    code.startsWith('ERR_TLS_') ||
    code.startsWith('CERT_') ||
    code.startsWith('UNABLE_TO_') ||
    code.includes('SELF_SIGNED')
  );
}
