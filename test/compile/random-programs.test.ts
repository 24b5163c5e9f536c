/** @file Random programs give what the same operations give one by one, wherever their buffers are put. */
import { expect, test } from 'vitest'
import * as nn from 'tandem/nn'
import { compile, manualSeed, randn, type Tensor } from 'tandem'
import { Random } from '../../scripts/random-op.ts'
import { readableBackends } from '../devices.ts'

const rows = 6
const columns = 35

/** Operations that keep values small, on one tensor [6, 35] or two. */
const table: readonly ((x: Tensor, y: Tensor) => Tensor)[] = [
  (x, y) => x.add(y).mul(0.5),
  (x, y) => x.mul(y).tanh(),
  (x, y) => x.sub(y.mul(0.25)),
  (x) => x.sigmoid(),
  (x, y) => x.maximum(y),
  (x) => x.neg().exp().minimum(2),
  // Other positions than those that are written.
  (x) => x.flip({ axis: 0 }),
  (x, y) => x.flip({ axis: 1 }).add(y),
  (x) => x.roll({ shifts: 3, axis: 1 }),
  (x, y) => x.add(y.slice([0, 1])),
  (x, y) => x.add(y.slice([], [2, 3])),
  (x, y) => x.transpose().contiguous().transpose().mul(0.5).add(y),
  (x, y) => x.reshape([columns, rows]).transpose().add(y).mul(0.5),
  (x) => x.transpose().reshape([rows, columns]),
  // Sums in between, which elementwise operations cannot be fused across.
  (x) => x.sub(x.mean({ axis: 1, keepDims: true })),
  (x) => x.softmax({ axis: 1 }),
  (x, y) => x.matmul(y.transpose()).tanh().matmul(x).mul(0.05),
  (x) => x.cumsum({ axis: 1 }).mul(0.05),
  (x) => x.cast('float64').mul(1.5).cast('float32').mul(0.5),
]

/** Takes a tensor, reads and replaces two buffers, and returns two tensors. */
function randomProgram(seed: number, buffers: readonly nn.Buffer[]): (input: Tensor) => Tensor[] {
  const random = new Random(seed)
  const steps = Array.from({ length: random.whole(6, 24) }, () => ({
    op: random.pick(table),
    // The latest values are read most, so that most end early.
    x: random.whole(1, 3),
    y: random.whole(1, 6),
    read: random.chance(0.2) ? random.pick([0, 1]) : undefined,
    write: random.chance(0.2) ? random.pick([0, 1]) : undefined,
  }))
  return (input) => {
    const values = [input]
    const recent = (n: number) => values.at(-Math.min(n, values.length))!
    for (const { op, x, y, read, write } of steps) {
      if (read !== undefined) values.push(buffers[read]!.detach())
      values.push(op(recent(x), recent(y)))
      if (write !== undefined) buffers[write]!.assign(recent(1))
    }
    return [recent(1), recent(3)]
  }
}

const devices = readableBackends.filter((name) => name !== 'reference')
const seeds = 120

test.each(devices)('on %s', (device) => {
  let farthest = 0
  for (let seed = 1; seed <= seeds; seed++) {
    manualSeed(seed)
    const first = randn([rows, columns])
    const contents = [randn([rows, columns]), randn([rows, columns])]
    const [results, wanted] = [device, 'reference'].map((name, i) => {
      const buffers = contents.map((t) => new nn.Buffer(t.to(name)))
      const program = randomProgram(seed, buffers)
      const run = i === 0 ? compile(program) : program
      const kept: Tensor[] = []
      for (let k = 0; k < 3; k++) kept.push(...run(first.mul(1 - k / 4).to(name)))
      return [...kept, ...buffers].map((t) => t.dataSync() as Float32Array)
    })
    results!.forEach((values, i) =>
      values.forEach((x, k) => {
        const distance = Math.abs(x - wanted![i]![k]!)
        if (!(distance <= farthest)) farthest = distance
        if (!(distance < 1e-3)) throw new Error(`seed ${seed}: ${x}, not ${wanted![i]![k]}`)
      }),
    )
  }
  expect(farthest).toBeLessThan(1e-3)
})
