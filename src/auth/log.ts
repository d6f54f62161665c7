/** The log of auth, for an operator. The daemon's structured log is one. */
export type AuthLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;
