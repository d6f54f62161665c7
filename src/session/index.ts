/**
 * The things that a build may ask of its client, in this process or behind a connection, and the client's end of that
 * connection.
 */

export { dockerConfigCredentials } from './docker-config.ts';
export { forgetAccount, keepAccount } from './docker-config-file.ts';
export { dockerProxies } from './docker-proxies.ts';
export { folderSync } from './folder-sync.ts';
export { goMode } from './fsutil/mode.ts';
export { type InProcessOptions, inProcessSession, type SecretSource } from './in-process.ts';
export { SessionManager } from './manager.ts';
export { sessionOverCall } from './message-stream.ts';
export { namedSession } from './named-session.ts';
export { noFolder } from './no-folder.ts';
export type { OutputTarget } from './serve/file-services.ts';
export { SessionServer } from './serve/session-server.ts';
export { sharedKeyOf } from './serve/shared-key.ts';
export type { SshSource } from './ssh-agent.ts';
export type {
  ClientContent,
  ClientOutput,
  ClientSession,
  ContentUpkeep,
  LocalProvider,
  PolicyQuestion,
  Session,
  Tenant,
} from './types.ts';
export { uploadHost } from './upload-host.ts';
