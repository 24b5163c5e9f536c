/** @file BERT's layers as an ONNX model, of the operators into which ONNX Runtime itself turns such models. */

import { weights, type BertShape } from './models.ts'
import type { OnnxGraph, OnnxNode } from './onnx-model.ts'

const domain = 'com.microsoft'

/** As `makeBert` with `fillParameters`: [batch, tokens, width] `x` -> `y`. */
export function onnxBert({ batch, tokens, layers, width, heads }: BertShape): OnnxGraph {
  const shape = [batch, tokens, width]
  const constants: NonNullable<OnnxGraph['weights']>[number][] = []
  const nodes: OnnxNode[] = []
  const constant = (name: string, size: readonly number[], data: Float32Array) => {
    constants.push({ name, shape: size, data })
    return name
  }
  const zeros = (n: number) => constant(`zeros${n}`, [n], new Float32Array(n))
  const none = { hidden: zeros(width), wide: zeros(4 * width), qkv: zeros(3 * width) }
  const scale = constant('ones', [width], new Float32Array(width).fill(1))
  const node = (op: string, inputs: string[], output: string, rest: Partial<OnnxNode> = {}) => {
    nodes.push({ op, inputs, outputs: [output], ...rest })
    return output
  }
  let seed = 0
  const dense = (x: string, from: number, to: number) => {
    const name = `w${++seed}`
    return node('MatMul', [x, constant(name, [from, to], columns(to, from, seed))], `${name}.out`)
  }
  // norm(x + residual + the bias of what made x)
  const norm = (x: string, residual: string, output: string) =>
    node('SkipLayerNormalization', [x, residual, scale, none.hidden, none.hidden], output, {
      domain,
      attributes: { epsilon: { float: 1e-12 } },
    })
  let hidden = 'x'
  for (let layer = 0; layer < layers; layer++) {
    const name = `w${++seed}`
    const joint = constant(name, [width, 3 * width], columns(3 * width, width, seed))
    const mixed = node('Attention', [hidden, joint, none.qkv], `${name}.out`, {
      domain,
      attributes: { num_heads: heads },
    })
    const between = norm(dense(mixed, width, width), hidden, `between${layer}`)
    const wide = dense(between, width, 4 * width)
    const active = node('BiasGelu', [wide, none.wide], `active${layer}`, { domain })
    const isLast = layer === layers - 1
    hidden = norm(dense(active, 4 * width, width), between, isLast ? 'y' : `hidden${layer}`)
  }
  return {
    nodes,
    inputs: [{ name: 'x', shape }],
    outputs: [{ name: 'y', shape }],
    weights: constants,
  }
}

/** A weight [outputs, inputs] as [inputs, outputs]. */
function columns(outputs: number, inputs: number, seed: number): Float32Array {
  const rows = weights([outputs, inputs], seed)
  const result = new Float32Array(rows.length)
  for (let i = 0; i < outputs; i++)
    for (let k = 0; k < inputs; k++) result[k * outputs + i] = rows[i * inputs + k]!
  return result
}
