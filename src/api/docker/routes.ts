/** All routes, by group. */
import type { Route } from './http/route.ts';
import { buildRoutes } from './routes/build.ts';
import { buildPruneRoutes } from './routes/build-prune.ts';
import { diskUsageRoutes } from './routes/disk-usage.ts';
import { distributionRoutes } from './routes/distribution.ts';
import { eventRoutes } from './routes/events.ts';
import { explainRoutes } from './routes/explain.ts';
import { imageArchiveRoutes } from './routes/image-archives.ts';
import { imageChangeRoutes } from './routes/image-changes.ts';
import { imageCreateRoutes } from './routes/image-create.ts';
import { imageListRoutes } from './routes/image-list.ts';
import { imageLookRoutes } from './routes/image-look.ts';
import { imagePushRoutes } from './routes/image-push.ts';
import { loginRoutes } from './routes/login.ts';
import { networkRoutes } from './routes/networks.ts';
import { runtimeRoutes } from './routes/runtime.ts';
import { systemRoutes } from './routes/system.ts';
import { upgradeRoutes } from './routes/upgrades.ts';

export const routes: readonly Route[] = [
  ...systemRoutes,
  ...loginRoutes,
  ...eventRoutes,
  ...diskUsageRoutes,
  ...buildRoutes,
  ...buildPruneRoutes,
  ...explainRoutes,
  ...imageListRoutes,
  ...distributionRoutes,
  ...imagePushRoutes,
  ...imageLookRoutes,
  ...imageCreateRoutes,
  ...imageChangeRoutes,
  ...imageArchiveRoutes,
  ...upgradeRoutes,
  ...networkRoutes,
  ...runtimeRoutes,
];
