/** The daemon's two APIs: their servers, and what a daemon gives them to serve. */
export { buildIdHeader } from './buildkit/gateway/service.ts';
export type { BuildFacts } from './buildkit/history/facts.ts';
export type { BuildkitOptions } from './buildkit/services.ts';
export { Behind } from './docker/behind/behind.ts';
export { bodyEndedEarly, continueWhenRead } from './docker/http/body.ts';
export { pathForLogs } from './docker/http/target.ts';
export { type DockerApi, dockerApi } from './docker/server.ts';
export { Builds } from './shared/builds.ts';
export { readErrorDetails, readMessage } from './shared/error-details.ts';
export { EventBus } from './shared/events.ts';
export type { AdmitCall, GrpcAcceptor } from './shared/grpc.ts';
export type { ApiHost, Log, LogLevel } from './shared/host.ts';
export { findingsOf, replay } from './shared/replay.ts';
export { type UiApi, uiApi } from './ui/server.ts';
