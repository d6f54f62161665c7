/** All routes, by group. */
import type { Route } from './http/route.ts';
import { buildRoutes } from './routes/build.ts';
import { diskUsageRoutes } from './routes/disk-usage.ts';
import { eventRoutes } from './routes/events.ts';
import { imageListRoutes } from './routes/image-list.ts';
import { loginRoutes } from './routes/login.ts';
import { systemRoutes } from './routes/system.ts';
import { upgradeRoutes } from './routes/upgrades.ts';

export const routes: readonly Route[] = [
  ...systemRoutes,
  ...loginRoutes,
  ...eventRoutes,
  ...diskUsageRoutes,
  ...buildRoutes,
  ...imageListRoutes,
  ...upgradeRoutes,
];
