/** @file How tensors look when printed: as NumPy and PyTorch users know them. */
import type { DType, TypedArray } from '../core/dtype.ts'
import { formatShape, type Shape } from '../core/shape.ts'
import type { NestedArray } from './types.ts'
import type { Tensor } from './tensor.ts'
import { tracing } from './tracing.ts'

/** Tensors with more elements are shortened to the first and last few of each axis. */
const threshold = 1000
const edge = 3
const precision = 4

/** `tensor([[1, 2], [3, 4]], float32, cpu)`; large tensors are shortened and show their shape. */
export function formatTensor(t: Tensor): string {
  tracing?.stand(t)
  const notes = [t.dtype, t.device]
  if (t.backend.symbolic)
    return `tensor(traced, shape ${formatShape(t.shape)}, ${notes.join(', ')})`
  if (t.size > threshold || t.size === 0) notes.unshift(`shape ${formatShape(t.shape)}`)
  if (t.requiresGrad)
    notes.push(t.node === undefined ? 'requiresGrad' : `grad of ${t.node.op.name}`)
  if (!t.backend.synchronous) return `tensor(shape ${formatShape(t.shape)}, ${notes.join(', ')})`
  return `tensor(${formatValues(t.shape, t.dtype, t.dataSync())}, ${notes.join(', ')})`
}

/** Nested arrays of a shape from flat elements. */
export function nestedArray(
  shape: Shape,
  dtype: DType,
  data: TypedArray,
): NestedArray<number | boolean> {
  let at = 0
  const build = (axis: number): NestedArray<number | boolean> => {
    if (axis === shape.length) {
      const value = Number(data[at++])
      return dtype === 'bool' ? value !== 0 : value
    }
    return Array.from({ length: shape[axis]! }, () => build(axis + 1))
  }
  return build(0)
}

function formatValues(shape: Shape, dtype: DType, data: TypedArray): string {
  const shorten = data.length > threshold
  const shown = (n: number): (number | undefined)[] =>
    shorten && n > 2 * edge
      ? [0, 1, 2, undefined, n - 3, n - 2, n - 1]
      : Array.from({ length: n }, (_, i) => i)
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((x, y) => x * y, 1))
  const picked: (number | bigint)[] = []
  const collect = (axis: number, at: number): void => {
    if (axis === shape.length) return void picked.push(data[at]!)
    for (const i of shown(shape[axis]!))
      if (i !== undefined) collect(axis + 1, at + i * strides[axis]!)
  }
  collect(0, 0)
  const format = elementFormat(dtype, picked)
  const texts = picked.map(format)
  const width = shape.length > 0 ? Math.max(0, ...texts.map((x) => x.length)) : 0
  let next = 0
  const build = (axis: number, indent: number): string => {
    if (axis === shape.length) return texts[next++]!.padStart(width)
    const parts = shown(shape[axis]!).map((i) =>
      i === undefined ? '...' : build(axis + 1, indent + 1),
    )
    const last = axis === shape.length - 1
    const gap = last ? ', ' : `,${'\n'.repeat(shape.length - axis - 1)}${' '.repeat(indent + 1)}`
    return `[${wrap(parts, gap, last, indent + 1)}]`
  }
  return build(0, 'tensor('.length)
}

// Long rows go over several lines of about 80 characters.
function wrap(parts: readonly string[], gap: string, last: boolean, indent: number): string {
  if (!last) return parts.join(gap)
  const lines: string[] = []
  let line = ''
  for (const part of parts) {
    if (line !== '' && indent + line.length + part.length > 88) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? part : `, ${part}`
  }
  return [...lines, line].join(`,\n${' '.repeat(indent)}`)
}

function elementFormat(
  dtype: DType,
  values: readonly (number | bigint)[],
): (v: number | bigint) => string {
  if (dtype === 'bool') return (v) => (v ? 'true' : 'false')
  if (!dtype.includes('float')) return String
  const finite = values
    .map(Number)
    .filter((v) => Number.isFinite(v) && v !== 0)
    .map(Math.abs)
  const special = (v: number) => (Number.isNaN(v) ? 'nan' : v > 0 ? 'inf' : '-inf')
  const largest = Math.max(0, ...finite)
  const smallest = Math.min(Infinity, ...finite)
  const isWhole = finite.every(Number.isInteger)
  const scientific =
    finite.length > 0 &&
    (largest >= 1e8 || (!isWhole && (smallest < 1e-4 || largest / smallest > 1e6)))
  const text = (v: number): string => {
    if (scientific) return v.toExponential(precision)
    if (isWhole) return Object.is(v, -0) ? '-0' : String(v)
    return v.toFixed(precision)
  }
  const texts = finite.map(text)
  const decimals = scientific || isWhole ? 0 : Math.max(0, ...texts.map(decimalsOf))
  return (v) => {
    const n = Number(v)
    if (!Number.isFinite(n)) return special(n)
    return scientific || isWhole ? text(n) : n.toFixed(decimals)
  }
}

// Digits after the point that are not trailing zeros.
function decimalsOf(text: string): number {
  const trimmed = text.replace(/0+$/, '')
  return trimmed.length - trimmed.indexOf('.') - 1
}
