/** @file Graphs of real functions, for tests: a training step of an MLP and of a CNN, attention, a loop. */
import * as td from 'tandem'
import type { Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { currentBackend } from '../../src/ops/create.ts'
import type { Graph } from '../../src/compile/graph.ts'
import { trace } from '../../src/compile/trace.ts'

/** The graph of a function, as it is recorded. */
export function graphOf(
  fn: (...args: Tensor[]) => Tensor | readonly Tensor[] | void,
  ...args: readonly Tensor[]
): Graph {
  const specs = args.map(({ shape, dtype }, i) => ({ name: `x${i}`, shape, dtype }))
  return trace(args[0]?.backend ?? currentBackend(), specs, (inputs) => {
    const returned = fn(...inputs) ?? []
    return { returned: returned instanceof td.Tensor ? [returned] : returned, gradients: [] }
  }).graph
}

function step(model: nn.Module & { forward(x: Tensor): Tensor }, input: Tensor): Graph {
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 })
  const labels = td.zeros([input.shape[0]!], { dtype: 'int32' })
  return graphOf(
    (x, y) => {
      optimizer.zeroGrad()
      const loss = td.crossEntropy(model.forward(x!), y!)
      loss.backward()
      optimizer.step()
      return loss.detach()
    },
    input,
    labels,
  )
}

const graphs: Record<string, () => Graph> = {
  'a step of an MLP': () =>
    step(
      new nn.Sequential(
        new nn.Linear(6, 5),
        new nn.GELU(),
        new nn.Dropout(0.5),
        new nn.Linear(5, 3),
      ),
      td.randn([4, 6]),
    ),
  'a step of a CNN': () =>
    step(
      new nn.Sequential(
        new nn.Conv2d(1, 4, 3, { padding: 1 }),
        new nn.BatchNorm2d(4),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(64, 3),
      ),
      td.randn([2, 1, 8, 8]),
    ),
  attention: () => {
    const attention = new nn.MultiheadAttention(8, 2)
    const norm = new nn.LayerNorm(8)
    return graphOf((x) => norm.forward(attention.forward(x, x, x).add(x)), td.randn([2, 5, 8]))
  },
  'a loop and a branch': () =>
    graphOf(
      (x) => {
        const twice = td.whileLoop(
          (v) => v.sum().lt(100),
          (v) => v.mul(2),
          x!,
        )
        return td.cond(
          x!.sum().gt(0),
          () => twice.add(x!),
          () => x!.neg(),
        )
      },
      td.ones([3]),
    ),
  'views, live numbers and constants': () => {
    const table = td.tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])
    return graphOf(
      (x) => {
        const noise = td.randn([3, 2]).mul(-0)
        const y = x
          .slice([1, 3], null, [null, null, -1])
          .add(table.transpose().exp().clamp({ max: Infinity }))
        return [
          y,
          noise
            .unsqueeze(0)
            .expand([4, 3, 2])
            .add(x.slice(0).slice([0, 3], [0, 2])),
          x.slice(1, 2),
        ]
      },
      td.randn([4, 3, 2]),
    )
  },
}

export const tracedGraphs = Object.entries(graphs)
