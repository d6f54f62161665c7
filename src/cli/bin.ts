import { poolLoaded } from '../workers/index.ts';
import { commandArguments } from './arguments.ts';
import { main } from './main.ts';

main(commandArguments()).then(async (code) => {
  await poolLoaded();
  process.exit(code);
});
