/** Where the nodes and the lines of a graph stand, in pixels, and which of them are in sight. Pure. */
import type { Layout, Placed } from './layout.ts';

export const nodeSize = { width: 216, height: 46 };
const gap = { x: 24, y: 34 };
/** What counts as in sight beyond the part that is, in pixels of the screen. */
const margin = 300;

export const xOf = ({ place }: Placed) => place * (nodeSize.width + gap.x) + gap.x;
export const yOf = ({ layer }: Placed) => layer * (nodeSize.height + gap.y) + gap.y;

/** The part of the drawing that the window shows, in pixels of the screen. */
export interface View {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A line from a step to one that is made of it; `from` and `to` are digests, `path` is SVG's. */
export interface Edge {
  key: string;
  from: string;
  to: string;
  path: string;
}

export function sizeOf({ widest, layers }: Layout): { width: number; height: number } {
  return {
    width: widest * (nodeSize.width + gap.x) + gap.x,
    height: layers * (nodeSize.height + gap.y) + gap.y,
  };
}

export function nodesInSight({ nodes }: Layout, view: View, zoom: number): Placed[] {
  return nodes.filter((placed) => {
    const [x, y] = [xOf(placed), yOf(placed)];
    return isInSight([x, y, x + nodeSize.width, y + nodeSize.height], view, zoom);
  });
}

export function edgesInSight({ nodes, byDigest }: Layout, view: View, zoom: number): Edge[] {
  return nodes.flatMap((to) =>
    to.step.inputs.flatMap((input) => {
      const from = byDigest.get(input);
      if (from === undefined) return [];
      const [x1, y1] = [xOf(from) + nodeSize.width / 2, yOf(from) + nodeSize.height];
      const [x2, y2] = [xOf(to) + nodeSize.width / 2, yOf(to)];
      if (!isInSight([Math.min(x1, x2), y1, Math.max(x1, x2), y2], view, zoom)) return [];
      const middle = (y1 + y2) / 2;
      const path = `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`;
      return [{ key: `${input} ${to.step.digest}`, from: input, to: to.step.digest, path }];
    }),
  );
}

/** Whether a box (left, top, right, bottom) is in sight. */
function isInSight([x1, y1, x2, y2]: [number, number, number, number], view: View, zoom: number): boolean {
  return (
    x2 * zoom >= view.left - margin &&
    x1 * zoom <= view.left + view.width + margin &&
    y2 * zoom >= view.top - margin &&
    y1 * zoom <= view.top + view.height + margin
  );
}
