/** @file What the processor can do and how large its caches are, asked of the processor itself. */
import { gpr, X86Assembler } from '../../asm/x86.ts'
import type { CodeMemory } from './code-memory.ts'
import type { Native } from './native.ts'

/** The processor, as far as kernels care. */
export interface CpuFeatures {
  /** 'GenuineIntel', 'AuthenticAMD' ... */
  readonly vendor: string
  /** AVX2 with FMA, F16C, BMI1 and BMI2: the least that kernels are made for. */
  readonly avx2: boolean
  /** AVX-512 F, BW, DQ and VL on top of it. */
  readonly avx512: boolean
  /** AVX-512's dot products of bfloat16. */
  readonly bf16: boolean
  /** AVX-512's dot products of bytes. */
  readonly vnni: boolean
  /** Bytes of the first data cache of a core. */
  readonly l1Bytes: number
  /** Bytes of the second cache of a core. */
  readonly l2Bytes: number
  /** Bytes of the last cache, shared by several cores; 0 when there is none. */
  readonly l3Bytes: number
  /** Hardware threads that share one core. */
  readonly threadsPerCore: number
}

/** Registers of one answer. */
export interface CpuidAnswer {
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

/** Asks the processor: `leaf` and `subleaf` of CPUID. */
export type Cpuid = (leaf: number, subleaf: number) => CpuidAnswer

/** Runs the two instructions that describe the processor, and reads their answers. */
export function detectFeatures(native: Native, code: CodeMemory): CpuFeatures {
  const answer = new Uint32Array(16)
  const at = native.addressOf(answer.buffer)
  const cpuidAt = code.install(cpuidCode())
  const xgetbvAt = code.install(xgetbvCode())
  const runCpuid = native.procedure(cpuidAt, 3)
  const runXgetbv = native.procedure(xgetbvAt, 1)
  const features = describeCpu(
    (leaf, subleaf) => {
      runCpuid(at, leaf, subleaf)
      const [eax = 0, ebx = 0, ecx = 0, edx = 0] = answer
      return { eax, ebx, ecx, edx }
    },
    () => {
      runXgetbv(at)
      return answer[0]!
    },
  )
  code.release(cpuidAt)
  code.release(xgetbvAt)
  return features
}

/** Puts the answers together. `enabledState` says which registers the system saves (XCR0). */
export function describeCpu(cpuid: Cpuid, enabledState: () => number): CpuFeatures {
  const first = cpuid(0, 0)
  const vendor = text(first.ebx) + text(first.edx) + text(first.ecx)
  const one = cpuid(1, 0)
  const seven = first.eax >= 7 ? cpuid(7, 0) : none
  const sevenOne = seven.eax >= 1 ? cpuid(7, 1) : none
  // Without OSXSAVE the instruction that reads the state does not exist.
  const state = bit(one.ecx, 27) ? enabledState() : 0
  const avxState = (state & 0x06) === 0x06
  const avx512State = (state & 0xe6) === 0xe6
  const avx = bit(one.ecx, 28) && bit(one.ecx, 12) && bit(one.ecx, 29) // AVX, FMA, F16C
  const avx2 = avxState && avx && bit(seven.ebx, 5) && bit(seven.ebx, 3) && bit(seven.ebx, 8)
  const sets = [16, 17, 30, 31] // F, DQ, BW, VL
  const avx512 = avx2 && avx512State && sets.every((index) => bit(seven.ebx, index))
  return {
    vendor,
    avx2,
    avx512,
    bf16: avx512 && bit(sevenOne.eax, 5),
    vnni: avx512 && bit(seven.ecx, 11),
    ...cacheSizes(cpuid, vendor),
    threadsPerCore: threadsPerCore(cpuid),
  }
}

const none: CpuidAnswer = { eax: 0, ebx: 0, ecx: 0, edx: 0 }
const bit = (word: number, index: number) => ((word >>> index) & 1) === 1
const text = (word: number) =>
  String.fromCharCode(word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24)

// Intel's leaf 4 and AMD's 0x8000001D have the same form: one subleaf per cache.
function cacheSizes(cpuid: Cpuid, vendor: string) {
  const amd = vendor === 'AuthenticAMD' || vendor === 'HygonGenuine'
  const leaf = amd ? 0x8000001d : 4
  const last = amd ? cpuid(0x80000000, 0).eax : cpuid(0, 0).eax
  const sizes = { l1Bytes: 32 << 10, l2Bytes: 512 << 10, l3Bytes: 0 }
  if (last < leaf) return sizes
  for (let index = 0; index < 16; index++) {
    const { eax, ebx, ecx } = cpuid(leaf, index)
    const kind = eax & 31
    if (kind === 0) break
    const isInstructions = kind === 2
    const ways = (ebx >>> 22) + 1
    const partitions = ((ebx >>> 12) & 1023) + 1
    const lineBytes = (ebx & 4095) + 1
    const bytes = ways * partitions * lineBytes * (ecx + 1)
    const level = (eax >>> 5) & 7
    if (level === 1 && !isInstructions) sizes.l1Bytes = bytes
    if (level === 2) sizes.l2Bytes = bytes
    if (level === 3) sizes.l3Bytes = bytes
  }
  return sizes
}

// The first level of leaf 0xB is the core, where the leaf exists.
function threadsPerCore(cpuid: Cpuid): number {
  if (cpuid(0, 0).eax < 11) return 1
  const { ebx, ecx } = cpuid(11, 0)
  return ((ecx >>> 8) & 255) === 1 ? Math.max(1, ebx & 0xffff) : 1
}

/** `cpuid(answer, leaf, subleaf)`: writes eax, ebx, ecx, edx. */
function cpuidCode(): Uint8Array {
  const a = new X86Assembler()
  a.push(gpr.rbx)
  a.mov(32, gpr.rax, gpr.rsi)
  a.mov(32, gpr.rcx, gpr.rdx)
  a.cpuid()
  const results = [gpr.rax, gpr.rbx, gpr.rcx, gpr.rdx]
  results.forEach((register, i) => a.mov(32, { base: gpr.rdi, disp: 4 * i }, register))
  a.pop(gpr.rbx)
  a.ret()
  return a.finish()
}

/** `xgetbv(answer)`: writes the low half of XCR0. */
function xgetbvCode(): Uint8Array {
  const a = new X86Assembler()
  a.mov(64, gpr.rsi, gpr.rdi)
  a.movImm(32, gpr.rcx, 0)
  a.xgetbv()
  a.mov(32, { base: gpr.rsi }, gpr.rax)
  a.ret()
  return a.finish()
}
