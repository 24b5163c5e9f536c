/** @file Random programs whose sizes are told from one trace give what they give operation by operation, at any size. */
import { expect, test } from 'vitest'
import {
  arange,
  cat,
  compile,
  DynamicAxesError,
  full,
  manualSeed,
  randn,
  type Tensor,
} from 'tandem'
import { Random } from '../../scripts/random-op.ts'
import { readableBackends } from '../devices.ts'

const width = 6

/** Operations that keep values small, from one tensor [n, 6] or two to another. */
const table: readonly ((x: Tensor, y: Tensor) => Tensor)[] = [
  (x, y) => x.add(y).mul(0.5),
  (x, y) => x.mul(y).tanh(),
  (x, y) => x.maximum(y.neg()),
  (x) => x.sub(x.mean({ axis: 1, keepDims: true })),
  (x) => x.softmax({ axis: 1 }),
  (x) => x.flip({ axis: 0 }),
  // Numbers that sizes make.
  (x) => x.sub(x.sum({ axis: 0, keepDims: true }).div(x.shape[0]!)),
  (x) => x.add(x.sum().mul(1 / x.size)),
  (x) => x.mul(1 / Math.sqrt(x.shape[0]!)),
  (x) => x.mul(x.shape[0]! - 1).tanh(),
  (x) => x.add(arange(x.shape[0]!, { device: x.device }).unsqueeze(1)).tanh(),
  (x) => x.mul(full([x.shape[0]!, 1], 0.5, { device: x.device })),
  // Other shapes.
  (x) => x.reshape([-1]).cumsum({ axis: 0 }).tanh().reshape(x.shape),
  (x) => x.reshape([2, -1]).flip({ axis: 0 }).reshape([x.shape[0]!, width]),
  (x) =>
    x
      .reshape([x.shape[0]! * 3, 2])
      .softmax({ axis: 1 })
      .reshape([x.shape[0]!, width]),
  (x) => x.transpose().reshape([x.shape[0]!, width]),
  (x) => x.transpose().softmax({ axis: 1 }).transpose().contiguous(),
  // Products.
  (x, y) =>
    x
      .transpose()
      .matmul(y)
      .tanh()
      .mul(x.mean({ axis: 0 }))
      .sum({ axis: 0 })
      .add(x)
      .tanh(),
  (x, y) => x.matmul(y.transpose()).softmax({ axis: 1 }).matmul(x),
  (x) => x.matmul(x.transpose()).tril().matmul(x).tanh(),
  // Longer and shorter.
  (x, y) => cat([x, y]).slice([0, x.shape[0]!]).mul(0.5),
  (x, y) => cat([x.slice([1]), y.slice([0, 1])]),
  (x, y) => cat([x, y], { axis: 1 }).sum({ axis: 1, keepDims: true }).tanh().add(y),
  (x) =>
    x
      .unsqueeze(0)
      .expand([3, ...x.shape])
      .mean({ axis: 0 }),
  (x) => x.slice(-1).sub(x),
  (x) => x.roll({ shifts: 1, axis: 0 }),
]

function randomProgram(seed: number): (input: Tensor) => Tensor[] {
  const random = new Random(seed)
  const steps = Array.from({ length: random.whole(3, 12) }, () => ({
    op: random.pick(table),
    x: random.whole(1, 3),
    y: random.whole(1, 5),
  }))
  return (input) => {
    const values = [input]
    const recent = (n: number) => values.at(-Math.min(n, values.length))!
    for (const { op, x, y } of steps) values.push(op(recent(x), recent(y)))
    return [recent(1), recent(2).mean({ axis: 0 })]
  }
}

const devices = readableBackends.filter((name) => name !== 'reference')
const seeds = 150

test.each(devices)('on %s', (device) => {
  let refused = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const program = randomProgram(seed)
    let calls = 0
    const compiled = compile((x: Tensor) => (calls++, program(x)), { dynamicAxes: [0] })
    const random = new Random(seed)
    try {
      for (const n of [3, 1, 8, random.whole(2, 70)]) {
        manualSeed(n)
        const x = randn([n, width], { device })
        const [found, wanted] = [compiled(x), program(x)].map((results) =>
          results.map((t) => t.dataSync() as Float32Array),
        )
        found!.forEach((values, i) => {
          const distances = Array.from(values, (value, k) => Math.abs(value - wanted![i]![k]!))
          const distance = Math.max(...distances)
          if (!(distance < 1e-5)) throw new Error(`seed ${seed}, size ${n}: ${distance} apart`)
          expect(values.length).toBe(wanted![i]!.length)
        })
      }
      expect(calls).toBeLessThanOrEqual(2)
    } catch (error) {
      if (!(error instanceof DynamicAxesError)) throw error
      refused++
    }
  }
  expect(refused).toBe(0)
})
