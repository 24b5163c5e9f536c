/** @file What each pass makes of small graphs. */
import { describe, expect, test } from 'vitest'
import { compile, randn, tensor, ValueError, type Tensor } from 'tandem'
import { parseGraph } from '../../src/compile/parse.ts'
import { passes, passNames, runPass, runPasses, type PassName } from '../../src/compile/passes.ts'
import { simplifyRules } from '../../src/compile/passes/simplify-rules.ts'
import { printGraph } from '../../src/compile/print.ts'
import { verifyGraph } from '../../src/compile/verify.ts'
import { graphOf, tracedGraphs } from './traced-graphs.ts'

/** The lines of a graph after a pass, with the values' names but without what they are. */
function after(name: PassName, text: string, constants?: ReadonlyMap<string, Tensor>): string[] {
  const graph = runPass(passes[name], parseGraph(text, constants))
  verifyGraph(graph, name)
  return linesOf(printGraph(graph))
}

const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .slice(1, -1)
    .map((line) => line.trim().replace(/^const (\S+): .*? = /, '$1 = '))

describe('dce', () => {
  test('what nothing depends on goes, inputs stay', () => {
    const text = `program(x0: float32[2], x1: float32[2]) {
      const v0 = exp(x0)
      const v1 = neg(x0)
      return [v1]
    }`
    expect(after('dce', text)).toEqual(['v0 = neg(x0)', 'return [v0]'])
  })
})

describe('cse', () => {
  const twice = (a: string, b: string) => `program(x0: float32[2, 3], x1: float32[2, 3]) {
    const v0 = ${a}
    const v1 = ${b}
    const v2 = add(v0, v1)
    return [v2]
  }`
  const sum = 'sum(x0, { axes: [1], keepDims: false })'
  const joined: [string, string, boolean][] = [
    [sum, sum, true],
    [sum, 'sum(x1, { axes: [1], keepDims: false })', false],
    [sum, 'mean(x0, { axes: [1], keepDims: false })', false],
    [`${sum} again 1`, sum, false],
    [`${sum} again 1`, `${sum} again 1`, true],
  ]
  test.each(joined)('%s and %s: %s', (a, b, isOne) => {
    expect(after('cse', twice(a, b)).length).toBe(isOne ? 3 : 4)
  })

  test.each([
    ['0', '-0', false],
    ['2', '2', true],
    ['NaN', 'NaN', true],
    ['$0', '$0', true],
    ['$0', '$1', false],
    ['$0', '0', false],
  ])('numbers %s and %s: %s', (a, b, isOne) => {
    const text = `program(x0: float32[2]) {
      const v0 = mul(x0, ${a})
      const v1 = mul(x0, ${b})
      const v2 = add(v0, v1)
      return [v2]
    }`
    expect(after('cse', text).length).toBe(isOne ? 3 : 4)
  })

  test('what depends on equal calls is equal, too, through views', () => {
    const text = `program(x0: float32[2, 3]) {
      const v0 = exp(x0)
      const v1 = v0.permute(1, 0)
      const v2 = neg(v1)
      const v3 = exp(x0)
      const v4 = v3.permute(1, 0)
      const v5 = neg(v4)
      const v6 = mul(v2, v5)
      return [v6]
    }`
    expect(after('cse', text)).toEqual([
      'v0 = exp(x0)',
      'v1 = v0.permute(1, 0)',
      'v2 = neg(v1)',
      'v3 = mul(v2, v2)',
      'return [v3]',
    ])
  })

  test('two results that leave the program stay two', () => {
    const text = `program(x0: float32[2]) {
      const v0 = exp(x0)
      const v1 = exp(x0)
      const v2 = exp(x0)
      const v3 = neg(v2)
      return [v0, v1, v3]
    }`
    expect(after('cse', text)).toEqual([
      'v0 = exp(x0)',
      'v1 = exp(x0)',
      'v2 = neg(v0)',
      'return [v0, v1, v2]',
    ])
  })
})

describe('fold', () => {
  const constants = new Map([['c', tensor([[1, 2, 3]])]])
  const folded = (body: string) =>
    after('fold', `program(x0: float32[3], c: constant float32[1, 3]) {\n${body}\n}`, constants)

  test('calls of constants, numbers and views of constants', () => {
    const lines = folded(`const v0 = c.permute(1, 0)
      const v1 = mul(v0, 2)
      const v2 = matmul(v1, c)
      const v3 = add(v2, x0)
      return [v3]`)
    expect(lines).toEqual(['v0 = add(constant0, x0)', 'return [v0]'])
  })

  test('no live numbers, no draws, nothing that leaves the program', () => {
    const lines = folded(`const v0 = mul(c, $0)
      const v1 = exp(c)
      return [v0, v1]`)
    expect(lines).toEqual(['v0 = mul(constant0, $0)', 'v1 = exp(constant0)', 'return [v0, v1]'])
  })

  test('no large results of small constants', () => {
    const body = (n: number) => `const v0 = c.expand(${n}, 3)
      const v1 = exp(v0)
      const v2 = add(v1, x0)
      return [v2]`
    expect(folded(body(1000))).toHaveLength(2)
    expect(folded(body(1000000))).toHaveLength(4)
  })

  test('what fails is left to the run', () => {
    const [table, index] = [tensor([1, 2]), tensor([5], { dtype: 'int32' })]
    const graph = graphOf(() => table.indexSelect(0, index).neg())
    const ops = runPass(passes.fold, graph).nodes.filter(({ kind }) => kind === 'call')
    expect(ops).toHaveLength(2)
  })
})

describe('simplify', () => {
  /** Of each rule, an expression that it applies to and what becomes of it; x and y are float32[2], n is int32[2]. */
  const cases: Record<string, [string[], string[]]> = {
    'x * 1 = x': [['mul(x, 1)'], []],
    'x / 1 = x': [['div(x, 1)'], []],
    'x - 0 = x': [['sub(x, 0)'], []],
    'x + -0 = x': [['add(-0, x)'], []],
    'x + 0 = x': [['add(n, 0)'], []],
    'x ^ 1 = x': [['pow(x, 1)'], []],
    'x ^ 2 = square(x)': [['pow(n, 2)'], ['square(n)']],
    '-(-x) = x': [['neg(x)', 'neg(v0)'], []],
    'x * -1 = -x': [['mul(-1, x)'], ['neg(x)']],
    'x + -y = x - y': [['neg(y)', 'add(v0, x)'], ['sub(x, y)']],
    'x - -y = x + y': [['neg(y)', 'sub(x, v0)'], ['add(x, y)']],
    '-x * -y = x * y': [['neg(x)', 'neg(y)', 'mul(v0, v1)'], ['mul(x, y)']],
    '-x * a = x * -a': [['neg(x)', 'mul(v0, 3)'], ['mul(x, -3)']],
    'x / 2^n = x * 2^-n': [['div(x, 8)'], ['mul(x, 0.125)']],
    '(x * a) * b = x * (a * b)': [['mul(x, 3)', 'mul(5, v0)'], ['mul(x, 15)']],
    '(x + a) + b = x + (a + b)': [['add(n, 3)', 'add(5, v0)'], ['add(n, 8)']],
    'max(x, x) = x': [['maximum(x, x)'], []],
    'min(x, x) = x': [['minimum(x, x)'], []],
    'where(c, x, x) = x': [['lt(x, y)', 'where(v0, x, x)'], []],
    'cast(x, its dtype) = x': [['cast(x, { dtype: "float32" })'], []],
    'cast(cast(x)) = cast(x), where the inner one loses nothing': [
      ['cast(x, { dtype: "float64" })', 'cast(v0, { dtype: "int32" })'],
      ['cast(x, { dtype: "int32" })'],
    ],
    'copy(x) = x, where x is no view': [['copy(x)'], []],
  }
  for (const op of ['abs', 'sign', 'relu', 'relu6', 'floor', 'ceil', 'trunc', 'round'])
    cases[`${op}(${op}(x)) = ${op}(x)`] = [[`${op}(x)`, `${op}(v0)`], [`${op}(x)`]]
  for (const [op, inner] of ['abs neg', 'square neg', 'square abs'].map((pair) => pair.split(' ')))
    cases[`${op}(${inner}(x)) = ${op}(x)`] = [[`${inner}(x)`, `${op}(v0)`], [`${op}(x)`]]

  /** A program of a few calls, whose last result goes through exp and out. */
  function simplified(calls: readonly string[]): string[] {
    const lines = calls.map((line, i) => `const v${i} = ${line}`)
    const text = `program(x: float32[2], y: float32[2], n: int32[2]) {
      ${lines.join('\n')}
      const out = exp(v${calls.length - 1})
      return [out]
    }`
    return after('simplify', text)
      .slice(0, -1)
      .map((line) => line.replace(/^\S+ = /, ''))
  }

  test.each(Object.entries(cases))('%s', (_, [before, wanted]) => {
    expect(simplified(before).slice(0, -1)).toEqual(wanted)
  })

  test('every rule has a case', () => {
    expect(simplifyRules.map((rule) => rule.name).toSorted()).toEqual(Object.keys(cases).toSorted())
  })

  const kept: [string, string[]][] = [
    ['0 of a float, which makes 0 of -0', ['add(x, 0)']],
    ['another dtype', ['div(n, 1)']],
    ['factors on both sides of 1', ['mul(x, 1000)', 'mul(v0, 0.001)']],
    [
      'the sign of what has none',
      ['cast(n, { dtype: "uint8" })', 'neg(v0)', 'abs(v1)', 'cast(v2, { dtype: "float32" })'],
    ],
    ['live numbers', ['mul(x, $0)', 'mul(v0, $1)']],
    ['products that a number cannot hold', ['mul(n, 65536)', 'mul(v0, 65536)']],
    [
      'a cast that loses something',
      ['cast(x, { dtype: "int32" })', 'cast(v0, { dtype: "float64" })'],
    ],
  ]
  test.each(kept)('not %s', (_, calls) => {
    expect(simplified(calls).slice(0, -1)).toEqual(calls)
  })

  test('what leaves the program stays a value of its own', () => {
    const text = 'program(x0: float32[2]) { const v0 = mul(x0, 1) return [v0] }'
    expect(after('simplify', text)).toEqual(['v0 = mul(x0, 1)', 'return [v0]'])
  })

  test('a view of what became a view is a view, or else of a copy', () => {
    const program = (method: string) => `program(x0: float32[2, 3]) {
      const v0 = x0.permute(1, 0)
      const v1 = mul(v0, 1)
      const v2 = v1.${method}
      const v3 = exp(v2)
      return [v3]
    }`
    expect(after('simplify', program('permute(1, 0)'))).toEqual(['v0 = exp(x0)', 'return [v0]'])
    expect(after('simplify', program('reshape(6)'))).toEqual([
      'v0 = x0.permute(1, 0)',
      'v1 = copy(v0)',
      'v2 = v1.reshape(6)',
      'v3 = exp(v2)',
      'return [v3]',
    ])
  })
})

describe('all passes', () => {
  test.each(tracedGraphs)('%s is still a graph', (_, make) => {
    const graph = make()
    const made = runPasses(graph)
    verifyGraph(made)
    expect(made.outputs.length).toBe(graph.outputs.length)
    expect(made.updates.map(({ slot }) => slot)).toEqual(graph.updates.map(({ slot }) => slot))
    expect(made.nodes.length).toBeLessThanOrEqual(graph.nodes.length)
  })

  test('go into branches and loops, which return what they computed', () => {
    const graph = parseGraph(`program(x0: bool[], x1: float32[3]) {
      const v0 = cond(x0, x1,
        whenTrue(1) => program(a: float32[3]) {
          const v0 = neg(a)
          const v1 = neg(v0)
          const v2 = exp(v1)
          return [v2]
        },
        whenFalse(1) => program(a: float32[3]) { const v0 = mul(a, 1) return [v0] })
      return [v0]
    }`)
    const text = printGraph(runPasses(graph))
    expect(text).toContain('exp(a)')
    expect(text).toContain('mul(a, 1)')
  })
})

describe('of compile()', () => {
  const f = (x: Tensor) =>
    x
      .mul(1)
      .neg()
      .neg()
      .add(tensor([1, 2]).exp())
  const callsOf = (options?: Parameters<typeof compile>[1]) => {
    const compiled = compile(f, options)
    const x = tensor([3, 4])
    expect(compiled(x).toArraySync()).toEqual(f(x).toArraySync())
    return compiled.programs[0]!.graph.nodes.flatMap((n) => (n.kind === 'call' ? n.op.name : []))
  }

  test('run by default', () => {
    expect(callsOf()).toEqual(['add'])
  })
  test('are switched off one by one', () => {
    expect(callsOf({ passes: { simplify: false } })).toEqual(['mul', 'neg', 'neg', 'add'])
    expect(callsOf({ passes: { fold: false } })).toEqual(['exp', 'add'])
    const none = Object.fromEntries(passNames.map((name) => [name, false]))
    expect(callsOf({ passes: none })).toEqual(['mul', 'neg', 'neg', 'exp', 'add'])
  })
  test('have names', () => {
    const passes = { simplfy: false } as { simplify?: boolean }
    expect(() => compile(f, { passes })).toThrow(ValueError)
    expect(() => compile(f, { passes })).toThrow(
      /unknown option 'simplfy'.*did you mean 'simplify'/,
    )
  })
  test('gradients are those without passes', () => {
    const w = randn([3, 3])
    const loss = (x: Tensor) => x.matmul(w).neg().neg().mul(1).tanh().pow(2).sum()
    const gradients = [{}, { simplify: false, fold: false, cse: false }].map((switches) => {
      const x = w.add(1).requireGrad()
      compile(loss, { passes: switches })(x).backward()
      return x.grad!.toArraySync()
    })
    expect(gradients[0]).toEqual(gradients[1])
  })
})
