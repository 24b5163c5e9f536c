/** @file Random differentiable functions of chains, checkpoints, branches and loops. */
import type * as nn from 'tandem/nn'
import { checkpoint, cond, whileLoop, type Generator, type Tensor } from 'tandem'
import { Random } from '../../scripts/random-op.ts'

export const rows = 5
export const columns = 7

type Make = (x: Tensor, y: Tensor, w: Tensor, generator: Generator) => Tensor

/** Operations that keep values small, on tensors [5, 7] and a parameter [7, 7]. */
const plain: readonly Make[] = [
  (x, y) => x.add(y).mul(0.5),
  (x, y) => x.mul(y).tanh(),
  (x) => x.gelu().neg(),
  (x) => x.exp().minimum(2),
  (x, _, w) => x.matmul(w).tanh(),
  (x, _, w) => x.mul(w.slice([0, 1])),
  (x) => x.softmax({ axis: 1 }),
  (x) => x.layerNorm({ normalizedShape: [columns] }),
  (x, y) =>
    x
      .transpose()
      .reshape([rows, columns])
      .add(y.flip({ axis: 0 })),
  (x) => x.sub(x.mean({ axis: 0, keepDims: true })),
  (x, _, __, generator) => x.dropout({ p: 0.2, generator }),
  (x, y) => x.maximum(y.detach()),
]

/** Takes and gives a tensor [rows, columns]; parameters are [columns, columns]. */
export function randomFunction(
  seed: number,
  parameters: readonly nn.Parameter[],
  generator: Generator,
) {
  const random = new Random(seed)
  const chain = (length: number, table: readonly Make[]): ((x: Tensor) => Tensor) => {
    const steps = Array.from({ length }, () => ({
      make: random.pick(table),
      x: random.whole(1, 2),
      y: random.whole(1, 4),
      w: random.pick(parameters),
    }))
    return (input) => {
      const values = [input]
      const recent = (n: number) => values.at(-Math.min(n, values.length))!
      for (const { make, x, y, w } of steps) values.push(make(recent(x), recent(y), w, generator))
      return recent(1)
    }
  }
  // Branches and loops draw nothing.
  const still = plain.filter((make) => make !== plain[10])
  const part = (): ((x: Tensor) => Tensor) => {
    const body = chain(random.whole(1, 4), still)
    const other = chain(random.whole(1, 4), still)
    const segment = chain(random.whole(1, 5), plain)
    return random.pick<(x: Tensor) => Tensor>([
      segment,
      segment,
      (x) => checkpoint(segment, x),
      (x) => cond(x.mean().gt(0), body, other, [x]),
      (x) =>
        whileLoop(
          ([i]) => i!.lt(3),
          ([i, t]) => [i!.add(1), body(t!)],
          [x.mean().gt(0).cast('int32'), x],
          { maxSteps: 4 },
        )[1]!,
    ])
  }
  const parts = Array.from({ length: random.whole(1, 4) }, part)
  return (x: Tensor) => parts.reduce((h, f) => f(h), x)
}
