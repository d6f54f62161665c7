/** Where auth writes what an operator should know; the daemon's structured log fits. */
export type AuthLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;
