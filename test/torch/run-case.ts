/** @file Makes a recorded call in Tandem and compares results and gradients. */
import type { TestContext } from 'vitest'
import * as tandem from 'tandem'
import { gradients, Tensor, zeros } from 'tandem'
import {
  difference,
  isGenerated,
  isRecorded,
  toTensor,
  upstream,
  valueDifference,
  type Exactness,
  type Expected,
  type Values,
} from './fixture.ts'

export interface Case {
  /** A function of `tandem`. */
  readonly op: string
  readonly name?: string
  /** Tensors, plain values, and options holding both. */
  readonly args: readonly unknown[]
  readonly output: Expected | readonly Expected[]
  readonly exact?: Exactness
}

type AnyFunction = (...args: unknown[]) => unknown

export const caseName = ({ op, name }: Case): string => (name === undefined ? op : `${op}: ${name}`)

/** The function a case calls; undefined if there is none. */
export function functionOf({ op }: Case): AnyFunction | undefined {
  const found = (tandem as Record<string, unknown>)[op]
  return typeof found === 'function' ? (found as AnyFunction) : undefined
}

/** What differs between Tandem and PyTorch, one line each. */
export function runCase(recorded: Case, device?: string): string[] {
  const leaves: { readonly x: Tensor; readonly path: string; readonly grad: Values }[] = []
  const lift = (value: unknown, path: string): unknown => {
    if (isRecorded(value) || isGenerated(value)) {
      const x = toTensor(value, device)
      if (value.grad !== undefined) leaves.push({ x: x.requireGrad(), path, grad: value.grad })
      return x
    }
    if (Array.isArray(value)) return value.map((v, i) => lift(v, `${path}[${i}]`))
    if (value === 'Infinity') return Infinity
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, lift(v, `${path}.${k}`)]))
  }
  const args = recorded.args.map((a, i) => lift(a, `args[${i}]`))
  const outputs = tensorsOf(functionOf(recorded)!(...args))
  const expected = 'shape' in recorded.output ? [recorded.output] : recorded.output
  if (outputs.length !== expected.length)
    return [`${outputs.length} outputs, not ${expected.length}`]
  const found: (string | undefined)[] = outputs.map((o, i) =>
    difference(`output ${i}`, o, expected[i]!, recorded.exact),
  )
  if (leaves.length > 0 && !found.some((d) => d !== undefined)) {
    const roots = outputs.filter((o) => o.requiresGrad)
    const xs = leaves.map(({ x }) => x)
    const gs =
      roots.length === 0 ? [] : gradients(roots, xs, { gradients: roots.map((o) => upstream(o)) })
    leaves.forEach(({ x, path, grad }, i) => {
      // A gradient that is nothing everywhere may be left out.
      found.push(valueDifference(`gradient of ${path}`, gs[i] ?? zeros(x.shape), grad))
    })
  }
  return found.flatMap((d) => d ?? [])
}

function tensorsOf(result: unknown): Tensor[] {
  if (result instanceof Tensor) return [result]
  return Object.values(result as object).filter((v) => v instanceof Tensor)
}

/** Runs a test; while ops are still missing, skips those that need them. */
export function orSkip(context: TestContext, body: () => void): void {
  try {
    body()
  } catch (error) {
    const missing = /(\w+) is not a (function|constructor)/.exec(String(error))
    if (missing === null) throw error
    context.skip(`no ${missing[1]} yet`)
  }
}
