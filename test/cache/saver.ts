/** A process that saves records into a shared cache: `saver.ts <folder> <name> <count>`. */
import { Cache } from '../../src/cache/cache.ts';
import { digestOf } from '../../src/oci/digest.ts';

const [folder = '', name = '', count = '0'] = process.argv.slice(2);
const cache = new Cache(folder);
for (let i = 0; i < Number(count); i++) {
  const id = digestOf(`${name} ${i}`);
  cache.save(
    {
      id,
      description: `${name} ${i}`,
      type: 'regular',
      results: [{ kind: 'snapshot', key: `${name}-${i}` }],
      size: 1,
    },
    [{ key: digestOf(`key ${name} ${i}`), parts: { kind: 'definition', op: digestOf('op'), deps: [] } }],
  );
  // All of them fight for this one.
  cache.save({ id: digestOf('common'), description: name, type: 'regular', results: [], size: 0 }, []);
}
cache.close();
