/** @file What the passes that move casts, layouts and batch norms make of small graphs. */
import { describe, expect, test } from 'vitest'
import { batchNorm, compile, conv2d, linear, noGrad, randn, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { parseGraph } from '../../src/compile/parse.ts'
import { passes, runPass, runPasses, type PassName } from '../../src/compile/passes.ts'
import { printGraph } from '../../src/compile/print.ts'
import { verifyGraph } from '../../src/compile/verify.ts'
import { difference } from './check-passes.ts'
import { graphOf } from './traced-graphs.ts'

/** The lines of a program after a pass, without what the values are. */
function after(name: PassName, source: string, body: string): string[] {
  const graph = runPass(passes[name], parseGraph(`program(${source}) { ${body} }`))
  verifyGraph(graph, name)
  return printGraph(graph)
    .split('\n')
    .slice(1, -2)
    .map((line) => line.trim().replace(/^const \S+: .*? = /, ''))
}

describe('casts', () => {
  const narrow = (body: string) =>
    after('casts', 'x: float16[2, 3], y: float32[2, 3], n: int8[2, 3]', body)
  const cast = (value: string, dtype: string) => `cast(${value}, { dtype: "${dtype}" })`

  test('up, op, down is the op', () => {
    const lines = narrow(`const a = ${cast('x', 'float32')} const b = relu(a)
      const c = ${cast('b', 'float16')} return [c]`)
    expect(lines).toEqual(['relu(x)'])
  })
  test('also under a view', () => {
    const lines = narrow(`const a = ${cast('x', 'float32')} const t = a.permute(1, 0)
      const b = mul(t, 0.3) const c = ${cast('b', 'float16')} return [c]`)
    expect(lines).toEqual(['x.permute(1, 0)', 'mul(v0, 0.3)'])
  })
  test('not where something else reads the wide result, or was wide before', () => {
    const read = narrow(`const a = ${cast('x', 'float32')} const b = relu(a)
      const c = ${cast('b', 'float16')} return [b, c]`)
    expect(read).toHaveLength(3)
    const mixed = narrow(`const a = ${cast('x', 'float32')} const b = mul(a, y)
      const c = ${cast('b', 'float16')} return [c]`)
    expect(mixed).toEqual(['mul(x, y)', cast('v0', 'float16')])
  })
  test('an operand is promoted by the op itself', () => {
    expect(narrow(`const a = ${cast('x', 'float32')} const b = add(a, y) return [b]`)).toEqual([
      'add(x, y)',
    ])
    const product = narrow(`const a = ${cast('x', 'float32')} const t = y.permute(1, 0)
      const b = matmul(a, t) return [b]`)
    expect(product).toEqual(['y.permute(1, 0)', 'matmul(x, v0)'])
  })
  test('not by a product of what lies in another way, whose sums might be added in another order', () => {
    const product = narrow(`const t = x.permute(1, 0) const a = ${cast('t', 'float32')}
      const b = matmul(a, y) return [b]`)
    expect(product).toEqual(['x.permute(1, 0)', cast('v0', 'float32'), 'matmul(v1, y)'])
  })
  test('not where the op would compute at another dtype, or a cast loses something', () => {
    const kept = [
      `const a = ${cast('x', 'float32')} const b = exp(a) return [b]`,
      `const a = ${cast('x', 'float32')} const b = lt(a, y) return [b]`,
      `const a = ${cast('y', 'float16')} const b = add(a, x) return [b]`,
      `const a = ${cast('n', 'int32')} const b = neg(a) return [b]`,
      `const a = ${cast('x', 'float32')} const b = sum(a, { axes: [0], keepDims: false }) return [b]`,
    ]
    for (const body of kept) expect(narrow(body)).toHaveLength(2)
  })
})

describe('layouts', () => {
  const laidOut = (body: string) => after('layouts', 'x: float32[2, 3], y: float32[3, 2]', body)
  const sum = (value: string) => `sum(${value}, { axes: [1], keepDims: false })`

  test('a transpose sinks through elementwise ops to its inverse', () => {
    const lines = laidOut(`const t = x.permute(1, 0) const a = relu(t) const b = mul(a, 2)
      const c = b.permute(1, 0) const d = ${sum('c')} return [d]`)
    expect(lines).toEqual(['relu(x)', 'mul(v0, 2)', sum('v1')])
  })
  test('other operands are turned, too', () => {
    const lines = laidOut(`const t = x.permute(1, 0) const s = x.slice(0, [0, 2])
      const b = mul(t, s) const c = b.permute(1, 0) const d = ${sum('c')} return [d]`)
    expect(lines).toEqual(['x.view([2, 3], [1, 0], 0)', 'mul(x, v0)', sum('v1')])
  })
  test('not to a reader that reads in order', () => {
    const lines = laidOut(
      `const t = x.permute(1, 0) const a = relu(t) const d = ${sum('a')} return [d]`,
    )
    expect(lines).toEqual(['x.permute(1, 0)', 'relu(v0)', sum('v1')])
  })
  test('not through what depends on positions', () => {
    const lines = laidOut(`const t = x.permute(1, 0) const a = tril(t, { diagonal: 0 })
      const c = a.permute(1, 0) const d = ${sum('c')} return [d]`)
    expect(lines[1]).toBe('tril(v0, { diagonal: 0 })')
  })
  test('a copy that only turns is left out', () => {
    const lines = laidOut(`const t = x.permute(1, 0) const a = copy(t)
      const c = a.permute(1, 0) const d = ${sum('c')} return [d]`)
    expect(lines).toEqual([sum('x')])
  })
  test('what is repeated is computed once', () => {
    const lines = after(
      'layouts',
      'x: float32[2, 3], y: float32[4, 2, 3]',
      'const t = x.expand(4, 2, 3) const a = exp(t) const b = mul(a, y) return [b]',
    )
    expect(lines).toEqual(['exp(x)', 'v0.expand(4, 2, 3)', 'mul(v1, y)'])
  })
  test('but not for readers that read in order', () => {
    const lines = laidOut(`const t = x.expand(4, 2, 3) const a = exp(t) const d = ${sum('a')}
      return [d]`)
    expect(lines).toEqual(['x.expand(4, 2, 3)', 'exp(v0)', sum('v1')])
  })
  test('expressions that are shared many times over are looked at once', () => {
    const lines = laidOut(`const n = cast(x, { dtype: "int32" }) const t = n.permute(1, 0)
      const a = pow(t, t) const b = a.permute(1, 0) const d = ${sum('b')} return [d]`)
    expect(lines[1]).toBe('pow(v0, v0)')
  })
  test('what leaves the program keeps its layout', () => {
    const lines = laidOut('const t = x.permute(1, 0) const a = relu(t) return [a]')
    expect(lines).toEqual(['x.permute(1, 0)', 'relu(v0)'])
  })
})

describe('batchNorm', () => {
  const statistics = () => ({
    mean: randn([4]),
    variance: randn([4]).square().add(0.5),
    weight: randn([4]),
    bias: randn([4]),
  })
  const opsOf = (f: (x: Tensor) => Tensor, x: Tensor) =>
    runPasses(graphOf((t) => f(t!), x)).nodes.flatMap((n) => (n.kind === 'call' ? n.op.name : []))

  test.each([true, false])(
    'constants are folded into a convolution (with a bias: %s)',
    (biased) => {
      const x = randn([2, 3, 6, 6])
      const w = randn([4, 3, 3, 3])
      const options = biased ? { bias: randn([4]) } : {}
      const known = statistics()
      const f = (t: Tensor) => batchNorm(conv2d(t, w, options), known).relu()
      expect(opsOf(f, x)).toEqual(['conv', 'relu'])
      expect(difference([compile(f)(x)], [f(x)], false)).toBeUndefined()
    },
  )
  test('and into a dense layer', () => {
    const x = randn([5, 3])
    const w = randn([4, 3])
    const known = statistics()
    const f = (t: Tensor) => batchNorm(linear(t, w), known).relu()
    expect(opsOf(f, x)).toEqual(['linear', 'relu'])
    expect(difference([compile(f)(x)], [f(x)], false)).toBeUndefined()
  })

  /** A model in evaluation, and what is between its convolution and the end. */
  function model(size: number) {
    const layers = new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { padding: 1 }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
    ).eval()
    const x = randn([1, 3, size, size])
    return { layers, x, forward: (t: Tensor) => noGrad(() => layers.forward(t)) }
  }
  test('parameters are scaled in each run where that is little, and may change', () => {
    const { layers, x, forward } = model(16)
    const names = opsOf(forward, x)
    expect(names.slice(-2)).toEqual(['conv', 'relu'])
    const f = compile(forward)
    for (let i = 0; i < 2; i++) {
      expect(difference([f(x)], [forward(x)], false)).toBeUndefined()
      for (const p of layers.parameters()) p.assign(p.mul(1.5))
    }
    expect(f.programs).toHaveLength(1)
  })
  test('else they are left alone', () => {
    const { x, forward } = model(4)
    expect(opsOf(forward, x).slice(-3)).toEqual(['mul', 'add', 'relu'])
  })
  test('so is a product that something else reads', () => {
    const [x, w, known] = [randn([2, 3, 6, 6]), randn([4, 3, 3, 3]), statistics()]
    const f = (t: Tensor) => {
      const y = conv2d(t, w)
      return batchNorm(y, known).add(y)
    }
    expect(opsOf(f, x)).toEqual(['conv', 'mul', 'add', 'add'])
  })
  test('and scales along another axis', () => {
    const [x, w, s] = [randn([2, 3, 6, 6]), randn([4, 3, 3, 3]), randn([4, 1])]
    expect(opsOf((t) => conv2d(t, w).mul(s).relu(), x)).toEqual(['conv', 'mul', 'relu'])
  })
})
