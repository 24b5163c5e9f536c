/** @file Runs one group as machine code, in buffers that end at inaccessible pages. */
import { dtypes } from '../../src/core/dtype.ts'
import { CodeMemory } from '../../src/backend/cpu/code-memory.ts'
import { detectFeatures } from '../../src/backend/cpu/features.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import type { ExprBuilder } from '../../src/ir/expr.ts'
import type { Group } from '../../src/ir/group.ts'
import type { Kernel } from '../../src/ir/loops.ts'
import { compileX86 } from '../../src/target/x86/compile.ts'
import { shareFrom } from '../../src/target/x86/share.ts'
import { argumentLayout } from '../../src/target/x86/emit.ts'
import type { X86Features } from '../../src/target/x86/traits.ts'
import type { Run } from './run-group.ts'

const native = loadNative()
const code = typeof native === 'string' ? undefined : new CodeMemory(native)
const machine = code && detectFeatures(native as Native, code)

/** The instruction sets that this machine can run, with caches small enough for several blocks. */
export const x86Targets: readonly { readonly name: string; readonly features: X86Features }[] = [
  { name: 'AVX2', avx512: false, dots: false },
  { name: 'AVX-512', avx512: true, dots: false },
  { name: 'AVX-512 with dots', avx512: true, dots: true },
].flatMap(({ name, avx512, dots }) => {
  if (!machine?.avx2 || (avx512 && !machine.avx512)) return []
  if (dots && !machine.bf16 && !machine.vnni) return []
  const vectorBytes = avx512 ? 64 : 32
  const caches = { l1Bytes: 64 * vectorBytes, l2Bytes: 128 * vectorBytes }
  const { bf16, vnni } = dots ? machine : { bf16: false, vnni: false }
  return [{ name, features: { avx512, bf16, vnni, ...caches } }]
})

const page = 4096

/** Room whose last byte is followed by an inaccessible page, and given back by `end`. */
function fenced(system: Native, bytes: number): { at: number; end: () => void } {
  const inside = Math.ceil(Math.max(bytes, 1) / page) * page
  const from = system.map(inside + 2 * page)
  system.protect(from, page, 'none')
  system.protect(from + page + inside, page, 'none')
  return { at: from + page + inside - bytes, end: () => system.unmap(from, inside + 2 * page) }
}

/** Results of machine code for these features; `split` runs its iterations in that many calls. */
export function runX86(s: ExprBuilder, group: Group, run: Run, features: X86Features, split = 1) {
  const { kernel, code: bytes, share } = compileX86(s, group, features, { verify: true })
  const isChecked = group.checks.length > 0
  const extra = kernel.buffers
    .slice(run.buffers.length)
    .map((_, i) => (isChecked && i === 0 ? 4 : kernel.scratchBytes))
  const { isShared, count: countOf } = shareFrom(share)
  const count = countOf(run.sizes ?? [])
  const results = runCode(kernel, bytes, run, extra, count, isShared ? split : 1)
  const buffers = run.buffers.map((b, i) => {
    const info = dtypes[group.buffers[i]!.dtype]
    return new info.array(results[i]!)
  })
  const ok = !isChecked || new Int32Array(results[buffers.length]!)[0] !== 0
  return { buffers, ok, kernel }
}

/** What the buffers of a kernel hold after its code has run; `extra` has the lengths in bytes of those beyond the given ones. */
export function runCode(
  kernel: Kernel,
  bytes: Uint8Array,
  { buffers, sizes = [], params = [] }: Run,
  extra: readonly number[],
  count: number,
  split: number,
): ArrayBuffer[] {
  const system = native as Native
  const address = code!.install(bytes)
  const layout = argumentLayout(kernel)
  const lengths = [...buffers.map((b) => b.byteLength), ...extra]
  const rooms = lengths.map((length) => fenced(system, length))
  buffers.forEach((b, i) =>
    system.copy(rooms[i]!.at, new Uint8Array(b.buffer, b.byteOffset, b.byteLength)),
  )
  const args = new Float64Array(new ArrayBuffer(8 * layout.length + 8))
  rooms.forEach(({ at }, i) => (args[i] = at))
  args.set(sizes, layout.sizesAt)
  args.set(params, layout.paramsAt)
  const run = system.procedure(address, 4)
  for (let i = 0; i < split; i++) {
    const [from, to] = [i, i + 1].map((x) => Math.floor((x * count) / split)) as [number, number]
    run(system.addressOf(args.buffer), from, to, 0)
  }
  const results = rooms.map(({ at }, i) => system.view(at, lengths[i]!).slice(0))
  for (const x of rooms) x.end()
  code!.release(address)
  return results
}
