/** The environment of a frontend image's process. */
import type { Bridge } from '../bridge/bridge.ts';

/**
 * The variables `BUILDKIT_FRONTEND_OPT_<n>=NAME=VALUE`, one for each option, and those of the session and the workers.
 */
export function frontendEnvironment(
  { job, workers }: Bridge,
  options: Readonly<Record<string, string>>,
): string[] {
  const list = workers.map(({ ID, Labels, platforms }) => ({
    ID,
    Labels,
    Platforms: platforms.map(({ OS, Architecture, Variant }) => ({
      os: OS,
      architecture: Architecture,
      ...(Variant === '' ? {} : { variant: Variant }),
    })),
  }));
  return [
    ...Object.entries(options).map(([name, value], i) => `BUILDKIT_FRONTEND_OPT_${i}=${name}=${value}`),
    `BUILDKIT_SESSION_ID=${job.session.id}`,
    `BUILDKIT_WORKERS=${JSON.stringify(list)}`,
    'BUILDKIT_EXPORTEDPRODUCT=drydock',
  ];
}
