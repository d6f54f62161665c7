/** The messages between the threads of lazy layers. */
import type { RegistryCredentials, TokenRequest } from '../oci/index.ts';
import type { RegistryClientOptions } from '../registry/index.ts';
import type { PlainError } from '../workers/index.ts';
import type { ContentRead } from './skeleton.ts';

/** From the thread that hears the kernel to the one that fetches. */
export type KernelMessage = { read: ContentRead } | { interrupt: bigint };

/** Credentials as plain data. */
export interface PlainCredentials extends Omit<RegistryCredentials, 'tokens' | 'login'> {
  /** Names the client that fetches tokens; it is asked through the main thread. */
  tokens?: { identity: string; number: number };
}

/** From the thread that fetches to the main thread. */
export type FetcherMessage =
  | { failure: LazyFailure }
  /** Wants a registry host's credentials for a repository (`localhost:5000/app`). */
  | { ask: number; repository: string; host: string }
  | { ask: number; token: number; request: Omit<TokenRequest, 'signal'> };

/** From the main thread to the one that fetches. */
export type MainMessage =
  | { settings: RegistryClientOptions }
  /** The credentials for a repository may be others now. */
  | { lent: string }
  | { answer: number; value?: unknown; error?: PlainError }
  | { stop: true };

/** A read that failed: the program that read got EIO. */
export interface LazyFailure {
  layer: string;
  /** The path of the file in the layer. */
  path: string;
  error: PlainError;
  /** ms since the epoch */
  at: number;
}
