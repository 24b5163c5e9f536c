/** @file Runs a kernel in every way there is and says where one differs from the interpreter. */
import { canonicalize } from '../../../src/codegen/canonical.ts'
import type { TargetTraits } from '../../../src/codegen/target-traits.ts'
import { dtypes, type DType, type TypedArray } from '../../../src/core/dtype.ts'
import { rewrite, type Expr, type ExprBuilder } from '../../../src/ir/expr.ts'
import { rootsOf, visitAll, type Group } from '../../../src/ir/group.ts'
import { readElement } from '../../../src/ir/interpret.ts'
import { scalarOp } from '../../../src/ir/scalar-op.ts'
import { x86Traits } from '../../../src/target/x86/traits.ts'
import { runInterpreted, runLoops, runWasm, targetOf, type Run } from '../run-group.ts'
import { runX86, x86Targets } from '../run-x86.ts'
import { withFused } from './fused.ts'
import type { KernelCase } from './random-kernel.ts'

export interface Failure {
  /** Which way of running the kernel went wrong. */
  readonly where: string
  readonly what: string
}

type Outcome = Pick<ReturnType<typeof runInterpreted>, 'buffers' | 'ok'>

/**
 * The first way in which the kernel goes wrong; undefined if none does. `variant` picks among the ways
 * of lowering it; `only` looks at one way of running it, and leaves out the others.
 */
export function checkKernel(kernel: KernelCase, variant = 0, only?: string): Failure | undefined {
  return withFused(() => checkForms(kernel, variant, only))
}

function checkForms(
  kernel: KernelCase,
  variant: number,
  only: string | undefined,
): Failure | undefined {
  const { s, group, tolerances } = kernel
  const run: Run = { buffers: kernel.buffers, sizes: kernel.sizes, params: kernel.params }
  let failure: Failure | undefined
  const attempt = <T>(where: string, body: () => T): T | undefined => {
    try {
      return body()
    } catch (error) {
      failure = { where, what: String(error instanceof Error ? error.stack : error) }
      return undefined
    }
  }
  const fused = attempt('interpreter', () => runInterpreted(decomposed(s, group, true), run))
  if (fused === undefined) return failure
  // WebAssembly multiplies and adds one after the other.
  const separate = usesFused(s, group) ? runInterpreted(decomposed(s, group, false), run) : fused
  const agrees = (where: string, body: () => Outcome, want: Outcome = fused): boolean => {
    if (only !== undefined && where !== only) return true
    const got = attempt(where, body)
    if (got === undefined) return false
    const what = difference(group, want, got, tolerances)
    if (what !== undefined) failure = { where, what }
    return what === undefined
  }
  const forms: { name: string; group: Group; run: Run }[] = [{ name: '', group, run }]
  if (kernel.isStatic && variant % 2 === 1) {
    const how = [false, true, 'round'] as const
    const canonical = attempt('canonical', () => canonicalize(s, group, how[(variant >> 1) % 3]!))
    if (canonical === undefined) return failure
    const sizes = [...canonical.sizes]
    forms[0] = { name: 'canonical ', group: canonical.group, run: { ...run, sizes } }
    if (
      !agrees('canonical interpreter', () =>
        runInterpreted(decomposed(s, canonical.group, true), forms[0]!.run),
      )
    )
      return failure
  }
  for (const form of forms) {
    for (const { name, traits } of someTraits(variant))
      if (!agrees(`${form.name}loops for ${name}`, () => runLoops(s, form.group, form.run, traits)))
        return failure
    if (!agrees(`${form.name}wasm`, () => runWasm(s, form.group, form.run), separate))
      return failure
    for (const { name, features } of x86Targets) {
      if ((features.bf16 || features.vnni) && !usesSmall(group)) continue
      // Positions are checked first: machine code that strays ends the process.
      const traits = x86Traits(features)
      if (!agrees(`${form.name}loops for ${name}`, () => runLoops(s, form.group, form.run, traits)))
        return failure
      for (const split of [1, 3])
        if (
          !agrees(`${form.name}${name} in ${split}`, () =>
            runX86(s, form.group, form.run, features, split),
          )
        )
          return failure
    }
  }
  return undefined
}

function someTraits(variant: number): { name: string; traits: TargetTraits }[] {
  const bytes = [16, 32, 64] as const
  const all = bytes.flatMap((n) => (['scalar', 'mask'] as const).map((tail) => ({ n, tail })))
  const { n, tail } = all[variant % all.length]!
  return [{ name: `${n} bytes, ${tail} tail`, traits: targetOf(n, tail) }]
}

/**
 * The same group in rows that every target has, so that results can be compared bit for bit; with
 * `fused`, multiply-add is one of them.
 */
export function decomposed(s: ExprBuilder, group: Group, fused: boolean): Group {
  const hasToGo = (e: Expr): e is Expr & { kind: 'op' } =>
    e.kind === 'op' && scalarOp(e.op).decompose !== undefined && !(fused && e.op === 'fma')
  let isPlain = true
  visitAll(rootsOf(group), (e) => {
    if (hasToGo(e)) isPlain = false
  })
  if (isPlain) return group
  const memo = new Map<Expr, Expr>()
  const simpler = (e: Expr): Expr | undefined =>
    hasToGo(e) ? rewrite(s, scalarOp(e.op).decompose!(s, ...e.args), simpler) : undefined
  const map = (e: Expr) => rewrite(s, e, simpler, memo)
  const index = (x: Group['stores'][number]['index']) => ({
    offset: x.offset,
    terms: x.terms.map((t) => ({ ...t, index: map(t.index) })),
  })
  return {
    ...group,
    stores: group.stores.map((x) => ({ ...x, index: index(x.index), value: map(x.value) })),
    checks: group.checks.map(map),
  }
}

// Dot products of small numbers are all that the features beyond AVX-512 are for.
function usesSmall(group: Group): boolean {
  let found = group.buffers.some(({ dtype }) => dtypes[dtype].bytes < 4)
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'op' && scalarOp(e.op).takesWords) found = true
  })
  return found
}

function usesFused(s: ExprBuilder, group: Group): boolean {
  let found = false
  visitAll(rootsOf(decomposed(s, group, true)), (e) => {
    if (e.kind === 'op' && e.op === 'fma') found = true
  })
  return found
}

/** Where two outcomes differ; floats may be off by their buffer's tolerance, which is 0 where every bit counts. */
export function difference(
  group: Pick<Group, 'buffers'>,
  want: Outcome,
  got: Outcome,
  tolerances: readonly number[],
): string | undefined {
  if (got.ok !== want.ok) return `the checks gave ${got.ok}, not ${want.ok}`
  // The caller throws what a failed check leaves behind away.
  if (!want.ok) return undefined
  for (const [i, { dtype }] of group.buffers.entries()) {
    const [x, y] = [want.buffers[i]!, got.buffers[i]!]
    for (let k = 0; k < x.length; k++) {
      if (isAlike(dtype, x, y, k, tolerances[i]!)) continue
      const show = (a: TypedArray) =>
        String(valueAt(dtype, a, k)).replace(
          /^0$/,
          Object.is(valueAt(dtype, a, k), -0) ? '-0' : '0',
        )
      return `buffer ${i}[${k}]: ${show(y)}, not ${show(x)}`
    }
  }
  return undefined
}

const valueAt = (dtype: DType, elements: TypedArray, k: number) =>
  readElement({ elements, offset: 0 }, dtype, k)

function isAlike(
  dtype: DType,
  x: TypedArray,
  y: TypedArray,
  k: number,
  tolerance: number,
): boolean {
  if (x[k] === y[k] && x[k] !== 0) return true
  const [a, b] = [valueAt(dtype, x, k), valueAt(dtype, y, k)]
  if (Object.is(a, b)) return true
  if (typeof a === 'bigint' || typeof b === 'bigint' || tolerance === 0) return false
  return Math.abs(a - b) <= tolerance * (1 + Math.abs(a))
}
