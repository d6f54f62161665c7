/** What a frontend image's process is told in its environment. */
import type { Bridge } from '../bridge/bridge.ts';

/** `BUILDKIT_FRONTEND_OPT_<n>=NAME=VALUE` per option, the session, and the workers there are. */
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
