import { poolLoaded } from '../workers/index.ts';
import { commandArguments } from './arguments.ts';
import { main } from './main.ts';
import { print } from './print.ts';

main(commandArguments()).then(async (code) => {
  await poolLoaded();
  for (const stream of [process.stdout, process.stderr]) await print(stream, '');
  process.exit(code);
});
