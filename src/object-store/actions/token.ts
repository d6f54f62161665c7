/** The token of a job of Actions: a JWT that the service, not we, verifies. Pure. */
import { troubled } from '../trouble.ts';

/** A part of the cache that the job sees: its branch, the default branch … */
export interface ActionsScope {
  /** `refs/heads/main` */
  scope: string;
  canWrite: boolean;
}

interface ActionsToken {
  scopes: ActionsScope[];
  /** When it ends, in ms since the epoch. */
  end: number;
}

const writes = 2;

/** Reads the claims of a token; whether it has ended is for the service to say. Throws trouble `forbidden` for one that has none. */
export function readActionsToken(token: string): ActionsToken {
  const claims = objectOf(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  const { ac, exp } = claims ?? {};
  const list = typeof ac === 'string' ? listOf(ac) : undefined;
  if (list === undefined || typeof exp !== 'number') {
    throw troubled('forbidden', 'the token of the Actions cache does not say what it is for', {
      hint: 'Give ACTIONS_RUNTIME_TOKEN as it is in a job; GITHUB_TOKEN is another one.',
    });
  }
  const scopes = list.flatMap((each) => {
    const { Scope: scope, Permission: permission } = (each ?? {}) as Record<string, unknown>;
    if (typeof scope !== 'string' || typeof permission !== 'number') return [];
    return [{ scope, canWrite: (permission & writes) !== 0 }];
  });
  return { scopes: scopes.slice(0, 16), end: exp * 1000 };
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function listOf(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
