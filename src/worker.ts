/** Entry of the pool's threads. */
import { tasks } from './tasks.ts';
import { serveTasks } from './workers/serve.ts';

serveTasks(tasks);
