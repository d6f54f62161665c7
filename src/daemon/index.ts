/** The daemon: its listeners, settings and shutdown. */
export { type Address, daemonFolder, isLoopback, parseAddress } from './address.ts';
export { buildkitdSetup, defaultAddress } from './buildkitd.ts';
export {
  type BuildkitdConfig,
  containerdRuntimes,
  logLevelOf,
  otherRuntime,
  type ReadConfig,
  readBuildkitdToml,
} from './buildkitd-config.ts';
export { gcOfFlags } from './buildkitd-gc.ts';
export { type Daemon, startDaemon } from './daemon.ts';
export type { DockerNames } from './docker-names.ts';
export { createLog } from './log.ts';
export {
  daemonConfig,
  type SettingValues,
  secondsOf,
  settings,
  settingsFromEnv,
  settingsFromFile,
} from './settings.ts';
export { stopOtherDaemon } from './stop-other.ts';
