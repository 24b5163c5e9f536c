/**
 * @file What the machine's fused multiply-adds can do at most: the bound that products are compared with.
 *
 * The loop is written with Tandem's own assembler. Run as a worker, this file measures one thread.
 */

import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { rolldown } from 'rolldown'
import type * as assembler from '../src/asm/x86.ts'
import type * as codeMemory from '../src/backend/cpu/code-memory.ts'
import type * as features from '../src/backend/cpu/features.ts'
import type * as native from '../src/backend/cpu/native.ts'

type Parts = typeof assembler & typeof codeMemory & typeof features & typeof native
type Bits = assembler.Bits

/** Long enough to meet some moments in which nothing else runs. */
const WINDOW_MILLISECONDS = 300
const BATCH_MILLISECONDS = 3

/** GFLOP/s in float32 of `threads` threads at once, or the reason why it is unknown. */
export async function fmaPeak(threads: number): Promise<number | string> {
  const file = await bundleParts()
  if (threads === 1) return measureThread(file)
  const parts = await Promise.all(Array.from({ length: threads }, () => measureInWorker(file)))
  const reason = parts.find((part) => typeof part === 'string')
  return reason ?? (parts as number[]).reduce((sum, part) => sum + part, 0)
}

/** The library does not export its assembler, so it is taken from the sources. */
async function bundleParts(): Promise<string> {
  const input = 'tandem-parts'
  const sources = [
    'asm/x86',
    'backend/cpu/code-memory',
    'backend/cpu/features',
    'backend/cpu/native',
  ]
  const bundle = await rolldown({
    input,
    platform: 'node',
    plugins: [
      {
        name: input,
        resolveId: (id) => (id === input ? id : undefined),
        load: (id) =>
          id === input
            ? sources.map((path) => `export * from '${process.cwd()}/src/${path}.ts'`).join('\n')
            : undefined,
      },
    ],
  })
  const file = `${process.cwd()}/build/bench/parts.mjs`
  await bundle.write({ file, codeSplitting: false })
  await bundle.close()
  return file
}

function measureInWorker(file: string): Promise<number | string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url))
    worker.once('error', reject)
    worker.once('message', (value: number | string) => {
      resolve(value)
      void worker.terminate()
    })
    worker.postMessage(file)
  })
}

if (!isMainThread)
  parentPort?.once('message', (file: string) => {
    void measureThread(file).then((value) => parentPort!.postMessage(value))
  })

/** The best of many batches of the widest registers there are, and of those of half the width. */
async function measureThread(file: string): Promise<number | string> {
  const parts = (await import(file)) as Parts
  const native = parts.loadNative()
  if (typeof native === 'string') return native
  const code = new parts.CodeMemory(native)
  const { avx2, avx512 } = parts.detectFeatures(native, code)
  if (!avx2) return 'the processor has no AVX2'
  const widths: Bits[] = avx512 ? [512, 256] : [256]
  let best = 0
  for (const bits of widths) {
    const address = code.install(probeCode(parts, bits))
    const run = native.procedure(address, 1)
    let iterations = 100_000
    const flops = 2 * ACCUMULATORS * (bits / 32)
    const end = performance.now() + WINDOW_MILLISECONDS / widths.length
    while (performance.now() < end) {
      const begin = performance.now()
      run(iterations)
      const milliseconds = performance.now() - begin
      best = Math.max(best, (iterations * flops) / milliseconds / 1e6)
      iterations = Math.ceil((iterations * BATCH_MILLISECONDS) / milliseconds)
    }
    code.release(address)
  }
  return best
}

/** More than the latency of an instruction times the number that start in a cycle. */
const ACCUMULATORS = 12

/** `probe(iterations)`: independent chains of multiply-adds of zeros, nothing else. */
function probeCode({ X86Assembler, gpr }: Parts, bits: Bits): Uint8Array {
  const a = new X86Assembler()
  const [x, y] = [ACCUMULATORS, ACCUMULATORS + 1]
  for (let register = 0; register <= y; register++)
    a.vector('vxorps', 256, [register, register, register])
  const loop = a.label()
  a.align(32)
  a.bind(loop)
  for (let register = 0; register < ACCUMULATORS; register++)
    a.vector('vfmadd231ps', bits, [register, x, y])
  a.unary('dec', 64, gpr.rdi)
  a.jcc('ne', loop)
  a.vector('vzeroupper', 256, [])
  a.ret()
  return a.finish()
}
