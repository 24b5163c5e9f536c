/**
 * @file Writes small ONNX models, byte by byte: just enough of onnx.proto for a graph of a few nodes.
 *
 * The numbers below are the field numbers of onnx.proto (ModelProto, GraphProto, NodeProto, ...).
 */

export interface OnnxValue {
  readonly name: string
  readonly shape: readonly number[]
}

export interface OnnxNode {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, number | readonly number[] | { float: number }>>
  /** Of operators that are not ONNX's own: 'com.microsoft'. */
  readonly domain?: string
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** Constants: a runtime may rearrange them once for all runs. */
  readonly weights?: readonly (OnnxValue & { readonly data: Float32Array })[]
}

const FLOAT = 1
const IR_VERSION = 8
const OPSET = 17

/** A float32 model (opset 17) as the bytes of its file. */
export function onnxModel({ nodes, inputs, outputs, weights = [] }: OnnxGraph): Uint8Array {
  const graph = join([
    ...nodes.map((node) => field(1, nodeProto(node))),
    field(2, utf8('graph')),
    ...weights.map((weight) => field(5, tensorProto(weight))),
    ...inputs.map((value) => field(11, valueInfo(value))),
    ...outputs.map((value) => field(12, valueInfo(value))),
  ])
  const domains = new Set(['', ...nodes.flatMap(({ domain }) => domain ?? [])])
  return join([
    number(1, IR_VERSION),
    field(7, graph),
    ...[...domains].map((domain) =>
      field(8, join([field(1, utf8(domain)), number(2, domain === '' ? OPSET : 1)])),
    ),
  ])
}

function nodeProto({ op, inputs, outputs, attributes = {}, domain }: OnnxNode): Uint8Array {
  return join([
    ...inputs.map((name) => field(1, utf8(name))),
    ...outputs.map((name) => field(2, utf8(name))),
    field(4, utf8(op)),
    ...Object.entries(attributes).map(([name, value]) => field(5, attributeProto(name, value))),
    ...(domain === undefined ? [] : [field(7, utf8(domain))]),
  ])
}

function attributeProto(
  name: string,
  value: number | readonly number[] | { float: number },
): Uint8Array {
  const type = (kind: number) => number(20, kind)
  if (typeof value === 'number') return join([field(1, utf8(name)), number(3, value), type(2)])
  if ('float' in value) {
    const bits = new Uint8Array(new Float32Array([value.float]).buffer)
    return join([field(1, utf8(name)), varint((2 << 3) | 5), bits, type(1)])
  }
  return join([field(1, utf8(name)), ...value.map((n) => number(8, n)), type(7)])
}

function tensorProto({ name, shape, data }: OnnxValue & { data: Float32Array }): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return join([
    ...shape.map((size) => number(1, size)),
    number(2, FLOAT),
    field(8, utf8(name)),
    field(9, raw),
  ])
}

function valueInfo({ name, shape }: OnnxValue): Uint8Array {
  const dims = shape.map((size) => field(1, number(1, size)))
  const tensorType = join([number(1, FLOAT), field(2, join(dims))])
  return join([field(1, utf8(name)), field(2, field(1, tensorType))])
}

// -- protobuf: a field is its number and wire type, then a varint (0) or a length and bytes (2)

function number(id: number, value: number): Uint8Array {
  return join([varint(id << 3), varint(value)])
}

function field(id: number, bytes: Uint8Array): Uint8Array {
  return join([varint((id << 3) | 2), varint(bytes.length), bytes])
}

/** Seven bits a byte, the lowest first; negative numbers as 64 bits. */
function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
