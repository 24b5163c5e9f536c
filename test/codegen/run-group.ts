/** @file Runs one group on the interpreter and on WebAssembly, over plain typed arrays. */
import { dtypes, type TypedArray } from '../../src/core/dtype.ts'
import { lowerGroup } from '../../src/codegen/lower.ts'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import { verifyGroup, type Group } from '../../src/ir/group.ts'
import { interpretGroup } from '../../src/ir/interpret.ts'
import type { Kernel } from '../../src/ir/loops.ts'
import { interpretKernel } from '../../src/ir/interpret-loops.ts'
import { scalarOp } from '../../src/ir/scalar-op.ts'
import { verifyKernel } from '../../src/ir/verify-loops.ts'
import { argumentLayout, emitWasm } from '../../src/target/wasm/emit.ts'
import { wasmTraits } from '../../src/target/wasm/traits.ts'

export interface Run {
  buffers: TypedArray[]
  sizes?: number[]
  params?: number[]
}

/** Results of the interpreter: copies of all buffers afterwards. */
export function runInterpreted(group: Group, { buffers, sizes = [], params = [] }: Run) {
  verifyGroup(group)
  const copies = buffers.map((b) => b.slice() as TypedArray)
  const ok = interpretGroup(group, {
    buffers: copies.map((elements) => ({ elements, offset: 0 })),
    sizes,
    params,
  })
  return { buffers: copies, ok }
}

// One memory for all runs: a new one each time would wait for the collector.
const memory = new WebAssembly.Memory({ initial: 2048 })

/** Results of the WebAssembly target. */
export function runWasm(
  s: ExprBuilder,
  group: Group,
  run: Run,
  traits: TargetTraits = wasmTraits({ relaxedSimd: false }),
) {
  verifyGroup(group)
  const kernel = lowerGroup(s, group, traits)
  const isChecked = group.checks.length > 0
  const extra = kernel.buffers
    .slice(run.buffers.length)
    .map((_, i) => (isChecked && i === 0 ? 4 : kernel.scratchBytes))
  const { results, bytes } = runWasmKernel(kernel, run, extra)
  const buffers = run.buffers.map((_, i) => {
    const info = dtypes[group.buffers[i]!.dtype]
    return new info.array(results[i]!)
  })
  const ok = !isChecked || new Int32Array(results[buffers.length]!)[0] !== 0
  return { buffers, ok, kernel, bytes }
}

/** What the buffers of a kernel hold after its module has run; `extra` has the lengths in bytes of those beyond the given ones. */
export function runWasmKernel(
  kernel: Kernel,
  { buffers, sizes = [], params = [] }: Run,
  extra: readonly number[],
) {
  const bytes = emitWasm(kernel)
  const run = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports
    .run as (args: number) => void
  const layout = argumentLayout(kernel)
  let free = 64 + Math.ceil(layout.bytes / 64) * 64
  const lengths = [...buffers.map((b) => b.byteLength), ...extra]
  const view = new DataView(memory.buffer)
  const addresses = lengths.map((length, i) => {
    const at = free
    free += Math.ceil(length / 64) * 64 + 64
    view.setInt32(64 + 4 * i, at, true)
    return at
  })
  const whole = new Uint8Array(memory.buffer)
  buffers.forEach((b, i) =>
    whole.set(new Uint8Array(b.buffer, b.byteOffset, b.byteLength), addresses[i]),
  )
  sizes.forEach((size, i) => view.setInt32(64 + layout.sizesAt + 4 * i, size, true))
  params.forEach((p, i) => view.setFloat64(64 + layout.paramsAt + 8 * i, p, true))
  run(64)
  const results = addresses.map((at, i) => memory.buffer.slice(at, at + lengths[i]!))
  return { results, bytes }
}

/** Results of the loop interpreter, for the traits of any target, present or to come. */
export function runLoops(
  s: ExprBuilder,
  group: Group,
  { buffers, sizes = [], params = [] }: Run,
  traits: TargetTraits,
) {
  verifyGroup(group)
  const kernel = lowerGroup(s, group, traits)
  verifyKernel(kernel)
  const copies = buffers.map((b) => b.slice() as TypedArray)
  const status = new Int32Array(1)
  const extra = kernel.buffers.slice(buffers.length).map(({ memory }, i) => {
    if (i === 0 && group.checks.length > 0) return status
    const length = kernel.scratchBytes / (memory === 'f64' ? 8 : 4)
    if (memory === 'i32') return new Int32Array(length).fill(0x7fc00000)
    return memory === 'f64'
      ? new Float64Array(length).fill(NaN)
      : new Float32Array(length).fill(NaN)
  })
  const memories = [...copies, ...extra].map((elements) => ({ elements, offset: 0 }))
  interpretKernel(kernel, { buffers: memories, sizes, params })
  return { buffers: copies, ok: group.checks.length === 0 || status[0] !== 0, kernel }
}

/** Traits of a target with registers this wide, which spells multiply-add, and masks and dot products if told so. */
export function targetOf(
  vectorBytes: 16 | 32 | 64,
  tail: TargetTraits['tail'],
  hasDots = false,
): TargetTraits {
  const tiles = { 16: [4, 2, 1], 32: [6, 2, 4], 64: [12, 2, 4] } as const
  const [rows, vectors, tileUnroll] = tiles[vectorBytes]
  return {
    vectorBytes,
    tiles: [{ rows, vectors }],
    tileUnroll,
    rowsInPlace: tail === 'scalar',
    // Small, so that small cases have several blocks in every direction.
    l1Bytes: 64 * vectorBytes,
    l2Bytes: 128 * vectorBytes,
    tail,
    spells: (op) =>
      op === 'fma' || (scalarOp(op).takesWords ? hasDots : scalarOp(op).decompose === undefined),
    vectorMemory: () => true,
  }
}
