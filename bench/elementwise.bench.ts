/** @file Operations that go once over their operands: four million floats, rows that are normalised, images transposed. */

import type { Case, Setup } from './harness.ts'
import type { OnnxNode } from './onnx-model.ts'
import { ORT, ortContender } from './ort.ts'
import type { TfModule, TfTensor } from './peer-types.ts'
import { loadTfjs, TFJS, tfjsContender, tfTensorOf } from './peers.ts'
import { threadsText } from './settings.ts'
import { loadTandem, tandemContender, tensorOf, type Tensor } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { sizeOf, values } from './values.ts'

/** One operation as each library writes it. */
interface Operation {
  readonly shape: readonly number[]
  /** How many operands of the full shape; default 1. */
  readonly operands?: number
  readonly tandem: (a: Tensor, b: Tensor, weight: Tensor, bias: Tensor) => Tensor
  readonly onnx: Omit<OnnxNode, 'inputs' | 'outputs'>
  /** Where the library has the operation. */
  readonly tfjs?: (tf: TfModule, a: TfTensor, b: TfTensor) => TfTensor
  /** Of the result, where it is not that of the operands. */
  readonly result?: readonly number[]
  /** Of the result relative to one row: a weight and a bias, which are further operands. */
  readonly isAffine?: boolean
}

const FLAT = [4_000_000]

const OPERATIONS: Record<string, Operation> = {
  add: {
    shape: FLAT,
    operands: 2,
    tandem: (a, b) => a.add(b),
    onnx: { op: 'Add' },
    tfjs: (tf, a, b) => tf.add(a, b),
  },
  mul: {
    shape: FLAT,
    operands: 2,
    tandem: (a, b) => a.mul(b),
    onnx: { op: 'Mul' },
    tfjs: (tf, a, b) => tf.mul(a, b),
  },
  exp: {
    shape: FLAT,
    tandem: (a) => a.exp(),
    onnx: { op: 'Exp' },
    tfjs: (tf, a) => tf.exp(a),
  },
  tanh: {
    shape: FLAT,
    tandem: (a) => a.tanh(),
    onnx: { op: 'Tanh' },
    tfjs: (tf, a) => tf.tanh(a),
  },
  gelu: {
    shape: FLAT,
    tandem: (a) => a.gelu(),
    onnx: { op: 'Gelu', domain: 'com.microsoft' },
  },
  sigmoid: {
    shape: FLAT,
    tandem: (a) => a.sigmoid(),
    onnx: { op: 'Sigmoid' },
    tfjs: (tf, a) => tf.sigmoid(a),
  },
  softmax: {
    shape: [4000, 1000],
    tandem: (a) => a.softmax(),
    onnx: { op: 'Softmax', attributes: { axis: -1 } },
    tfjs: (tf, a) => tf.softmax(a),
  },
  layerNorm: {
    shape: [4096, 1024],
    tandem: (a, _b, weight, bias) => a.layerNorm({ weight, bias }),
    onnx: { op: 'LayerNormalization', attributes: { axis: -1, epsilon: { float: 1e-5 } } },
    isAffine: true,
  },
  toNHWC: {
    shape: [64, 64, 32, 32],
    result: [64, 32, 32, 64],
    tandem: (a) => a.permute([0, 2, 3, 1]).contiguous(),
    onnx: { op: 'Transpose', attributes: { perm: [0, 2, 3, 1] } },
  },
  toNCHW: {
    shape: [64, 32, 32, 64],
    result: [64, 64, 32, 32],
    tandem: (a) => a.permute([0, 3, 1, 2]).contiguous(),
    onnx: { op: 'Transpose', attributes: { perm: [0, 3, 1, 2] } },
  },
}

export const cases: Case[] = Object.entries(OPERATIONS).map(([op, operation]) => ({
  name: `${op} of f32 [${operation.shape.join(', ')}] ${threadsText()}`,
  unit: 'ms',
  better: 'lower',
  work: 1,
  group: 'elementwise',
  contenders: {
    tandem: tandemOperation(operation),
    [TORCH]: torchContender('elementwise', { op, shape: operation.shape }),
    [ORT]: ortOperation(operation),
    ...(operation.tfjs && { [TFJS]: tfjsOperation(operation, operation.tfjs) }),
  },
}))

/** Shapes of what the operation reads; operand i has the values of seed i + 1, weight and bias of 3 and 4. */
function operandsOf({ shape, operands = 1, isAffine = false }: Operation) {
  const row = shape.slice(-1)
  return [
    ...Array.from({ length: operands }, (_, i) => ({ name: 'ab'[i]!, shape, seed: i + 1 })),
    ...(isAffine ? ['weight', 'bias'].map((name, i) => ({ name, shape: row, seed: i + 3 })) : []),
  ]
}

function tandemOperation(operation: Operation): Setup {
  return async () => {
    const tandem = await loadTandem()
    const { shape } = operation
    const [a, b] = [tensorOf(tandem, shape, 1), tensorOf(tandem, shape, 2)]
    const [weight, bias] = [3, 4].map((seed) => tensorOf(tandem, shape.slice(-1), seed))
    return tandemContender(() => operation.tandem(a, b, weight!, bias!))
  }
}

function ortOperation(operation: Operation): Setup {
  const inputs = operandsOf(operation)
  return ortContender(
    () => ({
      nodes: [{ ...operation.onnx, inputs: inputs.map(({ name }) => name), outputs: ['y'] }],
      inputs,
      outputs: [{ name: 'y', shape: operation.result ?? operation.shape }],
    }),
    (name) => {
      const { shape, seed } = inputs.find((input) => input.name === name)!
      return values(sizeOf(shape), seed)
    },
  )
}

function tfjsOperation(
  { shape }: Operation,
  compute: (tf: TfModule, a: TfTensor, b: TfTensor) => TfTensor,
): Setup {
  return async () => {
    const tf = await loadTfjs()
    const [a, b] = [tfTensorOf(tf, shape, 1), tfTensorOf(tf, shape, 2)]
    return tfjsContender(() => compute(tf, a, b), [a, b])
  }
}
