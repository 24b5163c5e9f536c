/** @file Patterns, and graphs as pictures. */
import { describe, expect, test } from 'vitest'
import 'tandem'
import { graphToDot } from '../../src/compile/dot.ts'
import { usesOf, type Value } from '../../src/compile/graph.ts'
import {
  any,
  anything,
  call,
  commuting,
  either,
  matchPattern,
  named,
  number,
  once,
  viewOf,
  where,
  type Pattern,
} from '../../src/compile/match.ts'
import { parseGraph } from '../../src/compile/parse.ts'
import { InternalError } from '../../src/util/errors.ts'

const graph = parseGraph(`program(x: float32[2, 3], y: float32[2, 3]) {
  const sum = add(x, y)
  const double = mul(sum, 2)
  const live = mul(y, $0)
  const turned = double.permute(1, 0)
  const squared = mul(turned, turned)
  const out = sub(live, sum)
  return [squared, out]
}`)
const values = new Map<string, Value>(
  ['x', 'y', 'sum', 'double', 'live', 'turned', 'squared', 'out'].map((name, i) => [
    name,
    graph.nodes[i]!.results[0]!,
  ]),
)
const uses = usesOf(graph)
const find = (pattern: Pattern, name: string) => matchPattern(pattern, values.get(name)!, { uses })

describe('patterns', () => {
  test('bind values, numbers and live numbers', () => {
    const found = find(call('mul', any('a'), number('n')), 'double')!
    expect(found.value('a')).toBe(values.get('sum'))
    expect(found.number('n')).toBe(2)
    const live = find(call('mul', any('a'), anything('n')), 'live')!
    expect(live.get('n')).toEqual({ slot: 0 })
    expect(find(call('mul', any('a'), number('n')), 'live')).toBeUndefined()
  })

  test('say the op and how many arguments it has', () => {
    expect(find(call('add', any('a'), any('b')), 'double')).toBeUndefined()
    expect(find(call('add', any('a')), 'sum')).toBeUndefined()
    expect(find(call('add', any('a'), any('b')), 'x')).toBeUndefined()
  })

  test('a name stands for one thing', () => {
    expect(find(call('mul', any('a'), any('a')), 'squared')).toBeDefined()
    expect(find(call('add', any('a'), any('a')), 'sum')).toBeUndefined()
  })

  test('commute, and try every way', () => {
    const product = commuting('mul', number('n'), any('a'))
    expect(find(product, 'double')!.number('n')).toBe(2)
    // The first order of the sum fits, but not what comes after it.
    const both = call('sub', any('b'), commuting('add', any('a'), any('b')))
    expect(find(both, 'out')).toBeUndefined()
    const first = call(
      'sub',
      call('mul', any('b'), anything('n')),
      commuting('add', any('b'), any('a')),
    )
    expect(find(first, 'out')!.value('a')).toBe(values.get('x'))
  })

  test('look through views, name what they find, and choose', () => {
    const turned = viewOf(named('double', call('mul', any('a'), number(2))))
    const found = find(call('mul', turned, any('t')), 'squared')!
    expect(found.node('double').op.name).toBe('mul')
    expect(
      find(either(call('add', any('a'), any('b')), call('sub', any('a'), any('b'))), 'out'),
    ).toBeDefined()
  })

  test('ask whether anybody else reads a value', () => {
    expect(find(call('mul', once(any('a')), number(2)), 'double')).toBeUndefined()
    expect(find(call('sub', once(any('a')), any('b')), 'out')).toBeDefined()
  })

  test('ask anything', () => {
    const wide = where(any('a'), (x) => typeof x === 'object' && 'shape' in x && x.shape[0] === 2)
    expect(find(call('mul', wide, number(2)), 'double')).toBeDefined()
    expect(find(call('mul', wide, any('b')), 'squared')).toBeUndefined()
  })

  test('numbers are told apart as bits are', () => {
    const zero = parseGraph('program(x: float32[2]) { const a = add(x, -0) return [a] }')
    expect(matchPattern(call('add', any('x'), number(0)), zero.outputs[0]!)).toBeUndefined()
    expect(matchPattern(call('add', any('x'), number(-0)), zero.outputs[0]!)).toBeDefined()
  })

  test('say when they are asked for what they do not name', () => {
    const found = find(call('mul', any('a'), number('n')), 'double')!
    expect(() => found.value('b')).toThrow(InternalError)
    expect(() => found.value('n')).toThrow(/n is not a value/)
    expect(() => found.number('a')).toThrow(/a is not a plain number/)
    expect(() => find(any('x'), 'x')!.node('x')).toThrow(/x is not the result of a call/)
  })
})

test('a graph as a picture', () => {
  const step = parseGraph(`program(x: float32[2], p: state(0) float32[2]) {
    const v0 = add(p, x)
    const v1 = v0.reshape(1, 2)
    const v2 = mul(v1, 0.5)
    return [v2], p := v0
  }`)
  expect(graphToDot(step, 'a step')).toMatchInlineSnapshot(`
    "digraph "a step" {
      rankdir=TB
      node [fontname="monospace"]
      n0 [label="x\\nfloat32[2]", shape=ellipse]
      n1 [label="p\\nfloat32[2]", shape=ellipse]
      n2 [label="add", shape=box]
      n1 -> n2 [label="float32[2]"]
      n0 -> n2 [label="float32[2]"]
      n4 [label="mul 0.5", shape=box]
      n2 -> n4 [label="float32[2] as float32[1, 2]"]
      nout0 [label="output 0", shape=plaintext]
      n4 -> nout0 [label="float32[1, 2]"]
      n2 -> n1 [label="float32[2]", style=dashed, constraint=false]
    }"
  `)
})

test('a branch as a picture has frames', () => {
  const branch = parseGraph(`program(x0: bool[], x1: float32[3]) {
    const v0 = cond(x0, x1,
      whenTrue(1) => program(a: float32[3]) { const v0 = neg(a) return [v0] },
      whenFalse(1) => program(a: float32[3]) { const v0 = exp(a) return [v0] })
    return [v0]
  }`)
  const dot = graphToDot(branch)
  expect(dot).toContain('subgraph cluster_n2_whenFalse {')
  expect(dot).toContain('n2_whenFalse_1 [label="exp", shape=box]')
})
