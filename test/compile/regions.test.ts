/** @file Kernels that run at the same time: which they are, and that no order of them shows in a result. */
import { afterEach, describe, expect, test } from 'vitest'
import { cat, compile, explain, manualSeed, profile, randn, tensor, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Random } from '../../scripts/random-op.ts'
import {
  getBackend,
  registerBackend,
  type ProgramExecutable,
  type ProgramStep,
} from '../../src/backend/backend.ts'
import { launchEach } from '../../src/backend/launch-each.ts'
import { WasmBackend } from '../../src/backend/wasm/index.ts'
import { areDisjoint, type Lattice } from '../../src/compile/disjoint.ts'
import { withConfig } from '../../src/util/config.ts'
import { describeMachineCode } from '../devices.ts'
import { programData, randomProgram, runProgram } from './random-programs.ts'

/** Kernels of a region one by one, in another order at each run. */
class ShuffledBackend extends WasmBackend {
  override readonly name = 'shuffled' as 'wasm'
  readonly numThreads = 2
  readonly random = new Random(1)
  /** Kernels that ran somewhere else than in their place. */
  moved = 0

  override program(steps: readonly ProgramStep[]): ProgramExecutable {
    return {
      run: (...run) => {
        const order = this.#shuffled(steps)
        this.moved += order.filter((step, i) => step !== steps[i]).length
        const failed = launchEach(order).run(...run)
        return failed === undefined ? undefined : steps.indexOf(order[failed]!)
      },
    }
  }

  #shuffled(steps: readonly ProgramStep[]): ProgramStep[] {
    const regions: ProgramStep[][] = []
    for (const step of steps)
      if (step.joins === true) regions.at(-1)!.push(step)
      else regions.push([step])
    return regions.flatMap((region) => {
      const keys = new Map(region.map((step) => [step, this.random.next()]))
      return region.sort((a, b) => keys.get(a)! - keys.get(b)!)
    })
  }
}

registerBackend('shuffled', () => new ShuffledBackend())
const shuffled = () => getBackend('shuffled') as ShuffledBackend

type Model = nn.Module & { forward(x: Tensor): Tensor }

const optimizers = {
  SGD: (p) => new optim.SGD(p, { lr: 0.1 }),
  momentum: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true }),
  Adam: (p) => new optim.Adam(p, { lr: 0.01, amsgrad: true }),
  AdamW: (p) => new optim.AdamW(p, { lr: 0.01 }),
  RMSprop: (p) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5 }),
  Adagrad: (p) => new optim.Adagrad(p, { lr: 0.01 }),
} satisfies Record<string, (parameters: Iterable<nn.Parameter>) => optim.Optimizer>

/** A model with norms, small and large parameters, and a layer that is used twice. */
function makeModel(): Model {
  class Net extends nn.Module {
    conv = new nn.Conv2d(1, 4, 3, { stride: 2, padding: 1 })
    norm = new nn.BatchNorm2d(4)
    wide = new nn.Linear(4 * 6 * 6, 24)
    twice = new nn.Linear(24, 24)
    last = new nn.LayerNorm(24)

    forward(x: Tensor): Tensor {
      const hidden = this.norm.forward(this.conv.forward(x)).relu().flatten({ startAxis: 1 })
      const deep = this.twice.forward(this.wide.forward(hidden)).tanh()
      return this.last.forward(this.twice.forward(deep).add(deep))
    }
  }
  return new Net()
}

/** A training step, and what it leaves behind: losses, parameters, buffers and gradients. */
function training(device: string, name: keyof typeof optimizers, isCompiled: boolean) {
  manualSeed(5)
  const model = makeModel()
  model.to(device)
  const optimizer = optimizers[name](model.parameters())
  const x = randn([6, 1, 12, 12]).to(device)
  const y = tensor([1, 5, 7, 0, 3, 23], { dtype: 'int32' }).to(device)
  const eager = () => {
    optimizer.zeroGrad()
    const loss = model.forward(x).crossEntropy(y)
    loss.backward()
    optimizer.step()
    return loss
  }
  const compiled = compile(eager)
  const step = () => withConfig({ backend: device }, isCompiled ? compiled : eager)
  const results = () => {
    const losses = Array.from({ length: 4 }, () => step().itemSync())
    const state = [...model.parameters(), ...model.buffers()]
    const gradients = [...model.parameters()].map((p) => p.grad!)
    return [losses, ...[...state, ...gradients].map((t) => [...t.dataSync()].map(Number))]
  }
  return { step, compiled, results, parameters: [...model.parameters()].length }
}

const names = Object.keys(optimizers) as (keyof typeof optimizers)[]

describe('kernels of a region in any order', () => {
  test.each(names)('a step with %s has the bits of eager code', (name) => {
    const before = shuffled().moved
    expect(training('shuffled', name, true).results()).toEqual(
      training('wasm', name, false).results(),
    )
    expect(shuffled().moved - before).toBeGreaterThan(20)
  })

  test('random programs have the bits of their kernels in order', () => {
    const before = shuffled().moved
    for (let seed = 1; seed <= 150; seed++) {
      const program = randomProgram(seed)
      const [got, wanted] = ['shuffled', 'wasm'].map((device) => {
        const { inputs, ...rest } = programData(program, device)
        const f = compile((...given: Tensor[]) => runProgram(program, given, rest))
        const results = [0, 1, 2].flatMap(() => withConfig({ backend: device }, () => f(...inputs)))
        return [...results, ...rest.buffers].map((t) => [...t.dataSync()])
      })
      expect(got, `seed ${seed}`).toEqual(wanted)
    }
    expect(shuffled().moved - before).toBeGreaterThan(100)
  })
})

describe('elements of two kernels', () => {
  const elements = ({ offset, terms }: Lattice): Set<number> =>
    terms.reduce(
      (all, { stride, count }) =>
        new Set([...all].flatMap((x) => Array.from({ length: count }, (_, i) => x + i * stride))),
      new Set([offset]),
    )

  test('are disjoint only if no element is in both', () => {
    const random = new Random(11)
    let found = 0
    for (let i = 0; i < 20_000; i++) {
      const lattice = (): Lattice => ({
        offset: random.whole(0, 24),
        terms: Array.from({ length: random.whole(0, 3) }, () => ({
          stride: random.pick([0, 1, 2, 3, 4, 6, 8, 12, 24]),
          count: random.whole(1, 5),
        })),
      })
      const [a, b] = [lattice(), lattice()]
      if (!areDisjoint(a, b)) continue
      found++
      const those = elements(b)
      const both = [...elements(a)].filter((x) => those.has(x))
      expect(both, JSON.stringify([a, b])).toEqual([])
    }
    expect(found).toBeGreaterThan(1000)
  })

  test.each<[string, Lattice, Lattice]>([
    ['one after the other', row(0, [1, 5]), row(5, [1, 3])],
    ['columns of one matrix', row(0, [12, 4], [1, 5]), row(5, [12, 4], [1, 7])],
    ['every other one', row(0, [8, 3], [2, 4]), row(1, [8, 3], [2, 4])],
    ['every other row', row(0, [8, 3], [1, 4]), row(4, [8, 3], [1, 4])],
  ])('%s', (_, a, b) => {
    expect([areDisjoint(a, b), areDisjoint(a, a)]).toEqual([true, false])
  })

  function row(offset: number, ...terms: readonly (readonly [number, number])[]): Lattice {
    return { offset, terms: terms.map(([stride, count]) => ({ stride, count })) }
  }
})

describeMachineCode('regions', () => {
  const threads = getBackend('cpu').numThreads!
  afterEach(() => void (getBackend('cpu').numThreads = threads))

  test.each(names)('the updates of all parameters by %s are one', (name) => {
    const { step, compiled, parameters } = training('cpu', name, true)
    step()
    const { graph, kernelCount, joined } = compiled.programs[0]!
    const updates = graph.nodes.filter((x) => x.kind === 'call' && x.op.kind === 'update')
    // Batch norms count and average as updates, too, in the middle of the step.
    expect(updates.length).toBeGreaterThanOrEqual(parameters)
    const last = Array.from({ length: parameters - 1 }, (_, i) => kernelCount - 1 - i)
    expect(last.filter((k) => !joined.has(k))).toEqual([])
  })

  test('what reads a result waits for it', () => {
    const f = compile((x: Tensor) => {
      const y = x.sum({ axis: 0 })
      return [y.cumsum({ axis: 0 }), x.max({ axis: 1 })]
    })
    f(randn([3, 4]))
    const { kernelCount, joined } = f.programs[0]!
    expect([kernelCount, joined.size]).toEqual([3, 1])
    expect(joined.has(1)).toBe(false)
  })

  test('what overwrites a state waits for who reads it', () => {
    const buffer = new nn.Buffer(randn([3, 4]))
    const f = compile((x: Tensor) => {
      const before = buffer.cumsum({ axis: 1 })
      buffer.assign(buffer.mul(x))
      return before
    })
    f(randn([3, 4]))
    const { kernelCount, joined } = f.programs[0]!
    expect([kernelCount, joined.size]).toEqual([2, 0])
  })

  test('parts of one result are one', () => {
    const f = compile((x: Tensor) =>
      cat([x.transpose().cumsum({ axis: 0 }), x.transpose().cumsum({ axis: 1 })], { axis: 1 }),
    )
    f(randn([3, 4]))
    const { kernelCount, joined } = f.programs[0]!
    // Two sums that are independent, and two copies of what they gave.
    expect([kernelCount, [...joined]]).toEqual([4, [1, 3]])
  })

  test.each([1, 2, 3, 5])('a step has the same bits with %d threads', (count) => {
    const expected = training('wasm', 'Adam', false)
    getBackend('cpu').numThreads = count
    const results = withConfig({ shareAll: true }, () => training('cpu', 'Adam', true).results())
    const eager = training('cpu', 'Adam', false).results()
    expect(results).toEqual(eager)
    // Another backend rounds products otherwise, but not by much.
    expect(results[0]![3]).toBeCloseTo(expected.results()[0]![3]!, 3)
  })

  test('explain and profile say what they are', () => {
    const { step, compiled } = training('cpu', 'SGD', true)
    step()
    const { kernelCount, joined } = compiled.programs[0]!
    const lines = explain(compiled as never).split('\n')
    const regions = kernelCount - joined.size
    expect(lines.find((x) => x.includes('operations in'))).toContain(
      `in ${kernelCount} kernels (${regions} regions) on cpu`,
    )
    expect(lines.filter((x) => /^ +\d+ \+/.test(x))).toHaveLength(joined.size)
    const report = profile(step)
    expect(report.regions).toBe(regions)
    expect(String(report)).toMatch(
      new RegExp(`^${kernelCount} launches of \\d+ kernels in ${regions} regions on cpu`),
    )
  })
})
