/**
 * Builds with testcontainers, in a process of its own: the library keeps one client for all. Arguments: JSON of
 * `[context, tag, { buildkit?, args?, cache? }]` each. Prints, a line each, `null` or what it was told.
 */
import { GenericContainer } from 'testcontainers';

interface Options {
  buildkit?: boolean;
  args?: Record<string, string>;
  cache?: boolean;
  target?: string;
}

for (const argument of process.argv.slice(2)) {
  const [context, tag, options] = JSON.parse(argument) as [string, string, Options];
  let builder = GenericContainer.fromDockerfile(context).withBuildArgs(options.args ?? {});
  if (options.buildkit) builder = builder.withBuildkit();
  if (options.cache === false) builder = builder.withCache(false);
  if (options.target !== undefined) builder = builder.withTarget(options.target);
  const failure = await builder.build(tag, { deleteOnExit: false }).then(
    () => null,
    (err: unknown) => String(err),
  );
  console.log(JSON.stringify(failure));
}
process.exit(0);
