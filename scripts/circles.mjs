/**
 * The circles of a graph, by Tarjan's algorithm without recursion. `graph`: node → its edges, `{ target }` each; targets
 * that are no nodes are passed over. Gives a list of nodes for each circle.
 */
export function circlesIn(graph) {
  const index = new Map();
  const low = new Map();
  const onStack = new Set();
  const stack = [];
  const found = [];
  for (const start of graph.keys()) {
    if (index.has(start)) continue;
    const work = [{ file: start, next: 0 }];
    while (work.length > 0) {
      const frame = work.at(-1);
      const { file } = frame;
      if (frame.next === 0) {
        index.set(file, index.size);
        low.set(file, index.get(file));
        stack.push(file);
        onStack.add(file);
      }
      const edges = graph.get(file) ?? [];
      const edge = edges[frame.next++];
      if (edge === undefined) {
        work.pop();
        const parent = work.at(-1)?.file;
        if (parent !== undefined) low.set(parent, Math.min(low.get(parent), low.get(file)));
        if (low.get(file) !== index.get(file)) continue;
        const circle = [];
        for (let popped; popped !== file; ) {
          popped = stack.pop();
          onStack.delete(popped);
          circle.push(popped);
        }
        if (circle.length > 1 || edges.some(({ target }) => target === file)) found.push(circle);
      } else if (!graph.has(edge.target)) continue;
      else if (!index.has(edge.target)) work.push({ file: edge.target, next: 0 });
      else if (onStack.has(edge.target)) low.set(file, Math.min(low.get(file), index.get(edge.target)));
    }
  }
  return found;
}
