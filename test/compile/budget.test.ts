/** @file compile() with a budget of memory: the same bits from a smaller arena. */
import { describe, expect, test, vi } from 'vitest'
import {
  checkpoint,
  compile,
  explain,
  Generator,
  manualSeed,
  randn,
  withConfig,
  zeros,
  type Compiled,
  type CompileOptions,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { verifyGraph } from '../../src/compile/verify.ts'
import { columns, randomFunction, rows } from './random-functions.ts'

const bits = (t: Tensor) => [...new Uint8Array((t.dataSync() as Float32Array).slice().buffer)]

/** Some training steps: what they give and leave behind, and the program. */
function train(
  make: () => { readonly model: nn.Module; forward(x: Tensor): Tensor },
  shape: readonly number[],
  options: CompileOptions,
) {
  manualSeed(3)
  const { model, forward } = make()
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 })
  const step = compile((x: Tensor) => {
    optimizer.zeroGrad()
    const loss = forward(x).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()
  }, options)
  const losses = [0, 1, 2].map(() => step(randn(shape)))
  const state = Object.values(model.stateDict()) as Tensor[]
  const [program] = step.programs
  return {
    bits: [...losses, ...state].map(bits),
    arena: program!.arenaBytes,
    program: program!,
    step,
  }
}

/** Residual blocks with norms, dropout and running statistics. */
function deepMlp() {
  const generator = new Generator(5)
  const blocks = Array.from({ length: 8 }, () => ({
    norm: new nn.LayerNorm(32),
    up: new nn.Linear(32, 128),
    down: new nn.Linear(128, 32),
  }))
  const model = new nn.ModuleList(
    blocks.flatMap(({ norm, up, down }): nn.Module[] => [norm, up, down]),
  )
  const forward = (x: Tensor) =>
    blocks.reduce(
      (h, { norm, up, down }) =>
        h.add(down.forward(up.forward(norm.forward(h)).gelu().dropout({ p: 0.2, generator }))),
      x,
    )
  return { model, forward }
}

function smallResnet() {
  const conv = (from: number, to: number) => new nn.Conv2d(from, to, 3, { padding: 1, bias: false })
  const blocks = Array.from(
    { length: 4 },
    () =>
      new nn.Sequential(
        conv(8, 8),
        new nn.BatchNorm2d(8),
        new nn.ReLU(),
        conv(8, 8),
        new nn.BatchNorm2d(8),
      ),
  )
  const first = conv(3, 8)
  const model = new nn.ModuleList([first, ...blocks])
  const forward = (x: Tensor) =>
    blocks
      .reduce((h, block) => block.forward(h).add(h).relu(), first.forward(x))
      .mean({ axis: [2, 3] })
  return { model, forward }
}

describe.each([
  ['an MLP with residual blocks', deepMlp, [64, 32]],
  ['a residual network of convolutions', smallResnet, [4, 3, 12, 12]],
])('%s', (_, make, shape) => {
  const plain = train(make, shape, {})

  test.each([0.8, 0.5])('trains with %f of the memory', (share) => {
    const found = train(make, shape, { memoryBudget: plain.arena * share })
    expect(found.arena).toBeLessThanOrEqual(plain.arena * share)
    expect(found.bits).toEqual(plain.bits)
  })

  test('a budget that is not needed changes nothing', () => {
    const { program } = train(make, shape, { memoryBudget: plain.arena * 2 })
    expect(program.graph.nodes).toHaveLength(plain.program.graph.nodes.length)
  })

  test('what cannot be met is met as far as possible, and said', () => {
    const write = vi.spyOn(console, 'error').mockImplementation(() => {})
    const found = withConfig({ debug: 1 }, () => train(make, shape, { memoryBudget: 1 }))
    const said = write.mock.calls.flat().join('\n')
    write.mockRestore()
    expect(said).toMatch(/cannot be kept within 0\.00 MB: the least found is/)
    expect(found.arena).toBeLessThan(plain.arena * 0.5)
    expect(found.bits).toEqual(plain.bits)
  })

  test('explain tells what is computed twice', () => {
    const { step } = train(make, shape, { memoryBudget: plain.arena / 2 })
    expect(explain(step)).toMatch(/Computed again to save memory: .*\d x /)
    expect(explain(plain.step)).not.toMatch(/Computed again/)
  })
})

test('cheap calls come before products', () => {
  const plain = train(deepMlp, [64, 32], {})
  const { program } = train(deepMlp, [64, 32], { memoryBudget: plain.arena * 0.8 })
  const again = program.graph.nodes.flatMap((node) =>
    node.kind === 'call' && node.again !== undefined ? node.op.kind : [],
  )
  expect(again.length).toBeGreaterThan(0)
  expect(again).not.toContain('contract')
})

test('between a compiled forward and backward less is saved', () => {
  const run = (memoryBudget?: number) => {
    manualSeed(1)
    const { forward } = deepMlp()
    const f = compile(forward, memoryBudget === undefined ? {} : { memoryBudget })
    const x = randn([64, 32]).requireGrad()
    const y = f(x)
    y.sum().backward()
    const saved = f.programs[0]!.graph.outputs
    const bytes = saved.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0)
    return { bits: [y, x.grad!].map((t) => bits(t.detach())), bytes }
  }
  const plain = run()
  const tight = run(plain.bytes)
  expect(tight.bytes).toBeLessThan(plain.bytes)
  expect(tight.bits).toEqual(plain.bits)
})

test('narrow floats are kept: what is fused is not rounded to them', () => {
  const make = () => {
    const { model, forward } = deepMlp()
    model.cast('bfloat16')
    return { model, forward: (x: Tensor) => forward(x.cast('bfloat16')).cast('float32') }
  }
  const plain = train(make, [64, 32], {})
  expect(train(make, [64, 32], { memoryBudget: plain.arena / 2 }).bits).toEqual(plain.bits)
})

test('inside a checkpoint nothing is lost', () => {
  const make = () => {
    const { model, forward } = deepMlp()
    return { model, forward: (x: Tensor) => checkpoint(forward, x) }
  }
  const plain = train(make, [64, 32], {})
  expect(train(make, [64, 32], { memoryBudget: plain.arena / 2 }).bits).toEqual(plain.bits)
})

const seeds = 30

test(`${seeds} random functions`, { timeout: 240_000 }, () => {
  let repeated = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const run = (way: 'forward' | 'whole', options: CompileOptions) => {
      manualSeed(seed)
      const generator = new Generator(seed)
      const parameters = [0, 1].map(() => new nn.Parameter(randn([columns, columns]).mul(0.4)))
      const f = randomFunction(seed, parameters, generator)
      const forward = way === 'forward' ? compile(f, options) : f
      const eager = (x: Tensor) => {
        const y = forward(x)
        if (y.requiresGrad) y.pow(2).sum().backward()
        return y.detach()
      }
      const step = way === 'whole' ? compile(eager, options) : eager
      const found = [0, 1].flatMap(() => {
        const x = randn([rows, columns]).requireGrad()
        const y = step(x)
        return [y, ...[x, ...parameters].map((t) => t.grad ?? zeros(t.shape))].map(bits)
      })
      for (const { programs } of [forward, step] as Partial<Compiled<typeof step>>[])
        for (const { graph, backward } of programs ?? [])
          for (const { nodes } of [graph, ...(backward === undefined ? [] : [backward.graph])]) {
            verifyGraph(graph)
            if (nodes.some((node) => node.kind === 'call' && node.again !== undefined)) repeated++
          }
      return found
    }
    for (const way of ['forward', 'whole'] as const) {
      const plain = run(way, {})
      for (const memoryBudget of [1, 1000])
        expect(run(way, { memoryBudget }), `seed ${seed}, ${way}`).toEqual(plain)
    }
  }
  expect(repeated).toBeGreaterThan(seeds)
})

test.each([0, -1, NaN, '1 GB', null])('rejects %o', (memoryBudget) => {
  expect(() => compile((x: Tensor) => x, { memoryBudget: memoryBudget as number })).toThrow(
    /memoryBudget is .* Expected a positive number of bytes/,
  )
})
