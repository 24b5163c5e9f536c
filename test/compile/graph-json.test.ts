/** @file Graphs as JSON: what is damaged is refused with one clear error; kernels that would leave their buffers are never made. */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  cond,
  FormatError,
  manualSeed,
  randn,
  ShapeError,
  tensor,
  unslice,
  type Tensor,
} from 'tandem'
import { fromSafetensors, graphToBytes, loadGraph, toSafetensors } from 'tandem/io'
import * as nn from 'tandem/nn'
import { checkCall } from '../../src/compile/check-call.ts'
import { layoutOf } from '../../src/core/layout.ts'
import { operators } from '../../src/ops/define.ts'
import type { InputSpec } from '../../src/tensor/op.ts'
import { specOf } from '../../src/tensor/plan.ts'
import { leaves, type Loose } from '../io/damage.ts'

class Net extends nn.Module {
  conv = new nn.Conv2d(1, 2, 3, { padding: 1 })
  pool = new nn.MaxPool2d(2)
  fc = new nn.Linear(8, 3)
  forward(x: Tensor) {
    const y = this.fc.forward(
      this.pool.forward(this.conv.forward(x)).relu().flatten({ startAxis: 1 }),
    )
    return {
      scores: y,
      certain: cond(
        y.max().gt(1),
        (a) => a.mul(2),
        (a) => a.neg(),
        [y],
      ),
    }
  }
}

let file: Uint8Array
let text = ''
const x = () => randn([1, 1, 4, 4])
const rows = tensor([
  [1, 2],
  [3, 4],
  [5, 6],
])

beforeAll(async () => {
  manualSeed(0)
  const signatures = {
    predict: { inputs: { x: x() } },
    rows: {
      inputs: { at: { shape: [2], dtype: 'int32' as const } },
      fn: (at: Tensor) =>
        unslice(rows.indexSelect(0, at), { shape: [5, 2], starts: [1, 0], value: -Infinity }),
    },
  }
  file = await graphToBytes(new Net(), signatures, { x: { 0: 'batch' } })
  text = fromSafetensors(file).metadata['tandem.graph']!
})

/** The file with another graph in it, and perhaps other weights. */
async function withGraph(graph: string, weights: Record<string, Tensor> = {}): Promise<Uint8Array> {
  const { tensors } = fromSafetensors(file)
  return toSafetensors({ ...tensors, ...weights }, { metadata: { 'tandem.graph': graph } })
}

const errorOf = async (bytes: Uint8Array): Promise<unknown> =>
  loadGraph(bytes).then(
    () => undefined,
    (error: unknown) => error,
  )

describe('a damaged graph is refused with one error', () => {
  const graphOf = (document: Loose) => document.signatures.predict.graph
  const nodeOf = (document: Loose, kind: string, op?: string) =>
    graphOf(document).nodes.find(
      (node: Loose) => node.kind === kind && (op === undefined || node.op === op),
    )

  const damages: Record<string, [damage: (document: Loose) => void, message: RegExp]> = {
    'another format': [(d) => (d.format = 'other'), /not a saved graph/],
    'a newer version': [
      (d) => (d.formatVersion = 2),
      /written in version 2 of the format, by tandem "0\.1\.0"\. This is tandem 0\.1\.0, which reads version 1/,
    ],
    'no version': [(d) => delete d.formatVersion, /version undefined/],
    'a field too many': [(d) => (d.code = 'x'), /unknown field "code"/],
    'a field too few': [(d) => delete d.signatures.predict.result, /'result' is missing/],
    'no signatures': [(d) => (d.signatures = {}), /signatures: there are none/],
    'a cycle': [
      (d) => {
        const { nodes } = graphOf(d)
        const [first, last] = [nodeOf(d, 'call', 'conv'), nodes.at(-1)]
        first.inputs[0] = { value: last.results[0].id }
      },
      /value \d+ is read before it is computed: the graph has a cycle, or a node is missing/,
    ],
    'a value twice': [
      (d) => (nodeOf(d, 'call', 'conv').results[0].id = graphOf(d).inputs[0].id),
      /the number 0 is used twice/,
    ],
    'an unknown op': [
      (d) => (nodeOf(d, 'call', 'conv').op = 'convolve'),
      /nodes\[\d+\]: op: unknown op "convolve"/,
    ],
    'an inherited op': [(d) => (nodeOf(d, 'call', 'conv').op = 'constructor'), /unknown op/],
    'an unknown kind': [(d) => (nodeOf(d, 'call').kind = 'eval'), /unknown kind "eval"/],
    'an inherited kind': [(d) => (nodeOf(d, 'call').kind = 'toString'), /unknown kind "toString"/],
    'an unknown weight': [
      (d) => (nodeOf(d, 'weight').name = 'conv.kernel'),
      /there is no weight "conv.kernel"/,
    ],
    'a wrong shape': [
      (d) => (nodeOf(d, 'call', 'conv').results[0].shape = [1, 2, 4, 5]),
      /stated as float32 \[1, 2, 4, 5\], but conv is float32 \[1, 2, 4, 4\]/,
    ],
    'a wrong dtype': [
      (d) => (nodeOf(d, 'call', 'conv').results[0].dtype = 'float64'),
      /stated as float64 .* but conv is float32/,
    ],
    'an unknown dtype': [(d) => (graphOf(d).inputs[0].dtype = 'float8'), /unknown dtype "float8"/],
    'a wrong weight shape': [
      (d) => (nodeOf(d, 'weight').results[0].shape = [2, 1, 3, 4]),
      /stated as float32 \[2, 1, 3, 4\], but weight "conv.weight" is float32 \[2, 1, 3, 3\]/,
    ],
    'a size of no axis': [
      (d) => (graphOf(d).inputs[0].shape[0] = { $size: ['times', 1, ['length', 1, 0]] }),
      /there is no axis "length"/,
    ],
    'an axis that no input has': [
      (d) => (d.signatures.predict.axes.length = 3),
      /no input has the axis "length"/,
    ],
    'a negative size': [(d) => (graphOf(d).inputs[0].shape[0] = -1), /expected a whole number/],
    'a huge shape': [(d) => (graphOf(d).inputs[0].shape = [65536, 65536, 65536]), /is too large/],
    'a view outside': [(d) => (nodeOf(d, 'view').offset = 1), /the view leaves value/],
    'a view backwards': [(d) => (nodeOf(d, 'view').strides = [-8, -1]), /the view leaves value/],
    'a missing operand': [
      (d) => nodeOf(d, 'call', 'conv').inputs.splice(1),
      /conv does not fit its inputs and attributes/,
    ],
    'a number for a tensor': [
      (d) => (nodeOf(d, 'call', 'conv').inputs[1] = 3),
      /conv does not fit its inputs and attributes/,
    ],
    'attributes that lead outside': [
      (d) => (d.signatures.rows.graph.nodes.at(-1).attributes.starts = [4, 0]),
      /axis 0 of operand 1, which has size 5, may be left/,
    ],
    'attributes that are none': [(d) => (nodeOf(d, 'call').attributes = 3), /expected an object/],
    'a draw for another op': [
      (d) => (nodeOf(d, 'call').inputs[0] = 'draw'),
      /op that is not random/,
    ],
    'branches that differ': [
      (d) =>
        nodeOf(d, 'cond').parts[0].graph.outputs.push(nodeOf(d, 'cond').parts[0].graph.outputs[0]),
      /the branches give different results/,
    ],
    'a result that is none': [
      (d) => (d.signatures.predict.result.scores.$tensor = 2),
      /expected a whole number from 0 to 1, found 2/,
    ],
    'an unknown mark': [(d) => (d.signatures.predict.result = { $code: 1 }), /unknown mark \$code/],
  }
  for (const [what, [damage, message]] of Object.entries(damages))
    test(what, async () => {
      const document = JSON.parse(text) as Loose
      damage(document)
      const error = await errorOf(await withGraph(JSON.stringify(document)))
      expect(error).toBeInstanceOf(FormatError)
      expect((error as Error).message).toMatch(/^loadGraph: the bytes: /)
      expect((error as Error).message).toMatch(message)
    })

  test('truncated, anywhere', async () => {
    for (let length = 0; length < file.length; length += 97)
      expect(await errorOf(file.slice(0, length)), `${length} bytes`).toBeInstanceOf(FormatError)
    for (let length = 0; length < text.length - 1; length += 97)
      expect((await errorOf(await withGraph(text.slice(0, length)))) as Error).toMatchObject({
        message: expect.stringMatching(/not valid JSON .*was the file cut short/) as unknown,
      })
  })

  test('weights that are missing, different or too many', async () => {
    const { tensors, metadata } = fromSafetensors(file)
    const { ['fc.bias']: _, ...others } = tensors
    const missing = await errorOf(await toSafetensors(others, { metadata }))
    expect((missing as Error).message).toMatch(/there is no weight "fc.bias"/)
    const wrong = await errorOf(await withGraph(text, { 'fc.bias': randn([4]) }))
    expect((wrong as Error).message).toMatch(
      /stated as float32 \[3\], but weight "fc.bias" is float32 \[4\]/,
    )
    const more = await errorOf(await withGraph(text, { more: randn([4]) }))
    expect((more as Error).message).toMatch(/no graph uses the weight "more"/)
  })

  test('keys that are there twice, and deep nesting', async () => {
    const twice = text.replace('"formatVersion":1', '"formatVersion":1,"formatVersion":1')
    expect((await errorOf(await withGraph(twice))) as Error).toMatchObject({
      message: expect.stringContaining('the key "formatVersion" is there twice') as unknown,
    })
    const deep = text.replace(
      '"attributes":{}',
      `"attributes":{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`,
    )
    expect(await errorOf(await withGraph(deep))).toBeInstanceOf(FormatError)
  })
})

describe('random damage is refused, or harmless', () => {
  const numRuns = 150
  /** Loads and runs; the only errors are FormatErrors, and those of checks of values. */
  async function survive(bytes: Uint8Array): Promise<void> {
    const graph = await loadGraph(bytes).catch((error: unknown) => {
      if (!(error instanceof FormatError)) throw error
    })
    if (graph === undefined) return
    for (const [name, { inputs }] of Object.entries(graph.signatures)) {
      const sized = Object.entries(inputs).map(
        ([key, spec]) => [key, spec.shape.map((n) => (n === 'batch' ? 2 : n) as number)] as const,
      )
      if (sized.some(([, shape]) => layoutOf(shape).size > 1e5)) continue
      const given = sized.map(([key, shape]) => [
        key,
        tensor(Array.from({ length: layoutOf(shape).size }, () => 1))
          .reshape(shape)
          .cast(inputs[key]!.dtype),
      ])
      try {
        graph.run(name, Object.fromEntries(given))
      } catch (error) {
        // A formula was damaged that is right at the size of the example.
        if (!(error instanceof ShapeError)) throw error
      }
    }
  }

  test('of characters of the graph', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.constantFrom(...'0123456789-{}[],:"etruxfals. '.split('')),
        async (at, c) => {
          const i = at % text.length
          await survive(await withGraph(text.slice(0, i) + c + text.slice(i + 1)))
        },
      ),
      { numRuns: 2 * numRuns },
    ))

  test('of numbers and other values of the graph', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.oneof(
          fc.integer({ min: -9, max: 20 }),
          fc.constantFrom(-1, 1e9, 2 ** 40, 0.5, null, true, 'x', [], {}, [1, 2]),
        ),
        async (at, value) => {
          const document = JSON.parse(text) as Loose
          const places = leaves(document)
          const { holder, key } = places[at % places.length]!
          holder[key] = value
          await survive(await withGraph(JSON.stringify(document)))
        },
      ),
      { numRuns: 2 * numRuns },
    ))

  test('of nodes that trade places, are left out or doubled', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.constantFrom('swap', 'drop', 'double'),
        async (a, b, how) => {
          const document = JSON.parse(text) as Loose
          const { nodes } = document.signatures.predict.graph
          const [i, j] = [a % nodes.length, b % nodes.length]
          if (how === 'swap') [nodes[i], nodes[j]] = [nodes[j], nodes[i]]
          else nodes.splice(i, how === 'drop' ? 1 : 0, ...(how === 'drop' ? [] : [nodes[j]]))
          await survive(await withGraph(JSON.stringify(document)))
        },
      ),
      { numRuns },
    ))

  test('of bytes of the file', () =>
    fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(255), async (at, byte) => {
        const damaged = file.slice()
        damaged[at % file.length] = byte
        await survive(damaged)
      }),
      { numRuns: 2 * numRuns },
    ))
})

describe('calls are proved to stay inside of their buffers', () => {
  const of = (...shape: number[]): InputSpec =>
    specOf({ dtype: 'float32', layout: layoutOf(shape) })
  const check = (name: string, inputs: InputSpec[], attributes: Record<string, unknown>) => () => {
    const op = operators.get(name)!
    checkCall(op, inputs, op.infer(inputs, attributes), attributes)
  }
  const conv = { stride: [1, 1], before: [1, 1], after: [1, 1], dilation: [1, 1], groups: 1 }
  const rightly: Record<string, () => void> = {
    'a convolution with padding': check('conv', [of(1, 2, 5, 5), of(3, 2, 3, 3)], {
      ...conv,
      sizes: [5, 5],
    }),
    'one of a single channel': check('conv', [of(1, 1, 5, 5), of(3, 1, 3, 3)], {
      ...conv,
      sizes: [5, 5],
    }),
    'one with strides': check('conv', [of(1, 2, 5, 5), of(3, 2, 3, 3)], {
      ...conv,
      stride: [2, 2],
      sizes: [3, 3],
    }),
    'empty tensors': check('linear', [of(0, 3), of(4, 3)], {}),
  }
  for (const [what, call] of Object.entries(rightly)) test(what, () => expect(call).not.toThrow())

  const wrongly: Record<string, () => void> = {
    'groups that reach beyond the weight': check('conv', [of(1, 2, 5, 5), of(3, 2, 3, 3)], {
      ...conv,
      groups: 2,
      sizes: [5, 5],
    }),
    'a place beyond the target': check('unslice', [of(3)], {
      shape: [4],
      starts: [2],
      steps: [1],
      value: 0,
    }),
    'conditions that come true by wrapping around': check(
      'conv',
      [of(1, 2, 9, 9), of(3, 2, 3, 3)],
      {
        ...conv,
        stride: [2 ** 31, 1],
        sizes: [9, 9],
      },
    ),
    'padding with which addresses overflow': check('conv', [of(1, 3, 5, 6), of(4, 3, 3, 2)], {
      ...conv,
      before: [0, 2 ** 31],
      sizes: [3, 5],
    }),
    'a window that is never done': check('maxPool', [of(1, 1, 5, 5)], {
      kernel: [1e9, 2],
      stride: [1, 1],
      before: [1, 1],
      dilation: [1, 1],
      counts: [4, 4],
      indices: false,
    }),
    'steps that are not whole': check('unslice', [of(3)], {
      shape: [4],
      starts: [0.5],
      steps: [1],
      value: 0,
    }),
    'an axis that is none': check('cumsum', [of(3)], { axis: 5 }),
  }
  for (const [what, call] of Object.entries(wrongly)) test(what, () => expect(call).toThrow())
  test('with a ShapeError', () => expect(wrongly['a place beyond the target']).toThrow(ShapeError))
})
