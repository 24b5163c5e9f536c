/** @file Runs one group on the interpreter and on WebAssembly, over plain typed arrays. */
import { dtypes, type TypedArray } from '../../src/core/dtype.ts'
import { lowerGroup } from '../../src/codegen/lower.ts'
import type { TargetTraits } from '../../src/codegen/target-traits.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import { verifyGroup, type Group } from '../../src/ir/group.ts'
import { interpretGroup } from '../../src/ir/interpret.ts'
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
  { buffers, sizes = [], params = [] }: Run,
  traits: TargetTraits = wasmTraits({ relaxedSimd: false }),
) {
  verifyGroup(group)
  const kernel = lowerGroup(s, group, traits)
  const bytes = emitWasm(kernel)
  const run = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports
    .run as (args: number) => void
  const layout = argumentLayout(kernel)
  let free = 64 + Math.ceil(layout.bytes / 64) * 64
  const place = (size: number) => {
    const at = free
    free += Math.ceil(size / 64) * 64 + 64
    return at
  }
  const addresses = buffers.map((b) => {
    const at = place(b.byteLength)
    new Uint8Array(memory.buffer).set(new Uint8Array(b.buffer, b.byteOffset, b.byteLength), at)
    return at
  })
  const status = place(4)
  const view = new DataView(memory.buffer)
  kernel.buffers.forEach((_, i) => {
    let at = addresses[i]
    if (at === undefined)
      at = i === buffers.length && group.checks.length ? status : place(kernel.scratchBytes)
    view.setInt32(64 + 4 * i, at, true)
  })
  sizes.forEach((size, i) => view.setInt32(64 + layout.sizesAt + 4 * i, size, true))
  params.forEach((p, i) => view.setFloat64(64 + layout.paramsAt + 8 * i, p, true))
  run(64)
  const results = buffers.map((b, i) => {
    const info = dtypes[group.buffers[i]!.dtype]
    return new info.array(memory.buffer.slice(addresses[i]!, addresses[i]! + b.byteLength))
  })
  return {
    buffers: results,
    ok: group.checks.length === 0 || view.getInt32(status, true) !== 0,
    kernel,
    bytes,
  }
}
