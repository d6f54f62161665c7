import { poolLoaded } from '../workers/pool.ts';
import { main } from './main.ts';

main(process.argv.slice(2)).then(async (code) => {
  await poolLoaded();
  process.exit(code);
});
