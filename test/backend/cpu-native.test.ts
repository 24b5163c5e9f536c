/** @file Native calls, code memory and what the processor says of itself. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { gpr, X86Assembler } from '../../src/asm/x86.ts'
import { CodeMemory } from '../../src/backend/cpu/code-memory.ts'
import { describeCpu, detectFeatures, type CpuidAnswer } from '../../src/backend/cpu/features.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import { describeMachineCode } from '../devices.ts'

const native = loadNative() as Native

/** `f(to, value)`: stores `value` at `to`. */
function storeCode(extra = 0): Uint8Array {
  const a = new X86Assembler()
  a.mov(64, { base: gpr.rdi }, gpr.rsi)
  for (let i = 0; i < extra; i++) a.movImm(32, gpr.rax, i)
  a.ret()
  return a.finish()
}

describeMachineCode('native code', () => {
  test('code that is installed runs, at multiples of 64', () => {
    const code = new CodeMemory(native)
    const target = new Float64Array(1)
    const at = native.addressOf(target.buffer)
    for (const extra of [0, 10, 1000, 300_000]) {
      const address = code.install(storeCode(extra))
      expect(address % 64).toBe(0)
      native.procedure(address, 2)(at, 2 ** 40 + extra)
      expect(Number(new BigInt64Array(target.buffer)[0])).toBe(2 ** 40 + extra)
    }
  })

  test('room that is released is used again, and other code stays as it was', () => {
    const code = new CodeMemory(native)
    const kept = code.install(storeCode())
    const first = code.install(storeCode(5))
    const before = code.bytes
    code.release(first)
    code.release(first)
    expect(code.install(storeCode(6))).toBe(first)
    expect(code.bytes).toBe(before)
    const target = new Int32Array(2)
    native.procedure(kept, 2)(native.addressOf(target.buffer), 7)
    expect(target[0]).toBe(7)
  })

  test('pages are never writable and executable at once', () => {
    const code = new CodeMemory(native)
    const address = code.install(storeCode())
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\n')
    const access = maps
      .map((line) => /^(\w+)-(\w+) (....)/.exec(line))
      .filter((found) => found !== null && parseInt(found[1]!, 16) <= address)
      .findLast((found) => parseInt(found![2]!, 16) > address)![3]
    expect(access).toBe('r-xp')
  })

  test('many pieces come and go', () => {
    const code = new CodeMemory(native)
    const target = new Int32Array(2)
    const at = native.addressOf(target.buffer)
    const live: number[] = []
    for (let i = 0; i < 2000; i++) {
      if (i % 3 === 2) code.release(live.splice((i * 7919) % live.length, 1)[0]!)
      else live.push(code.install(storeCode((i * 31) % 400)))
    }
    expect(new Set(live).size).toBe(live.length)
    for (const [i, address] of live.entries()) {
      native.procedure(address, 2)(at, i)
      expect(target[0]).toBe(i)
    }
  })

  test('the processor says what the system says', () => {
    const features = detectFeatures(native, new CodeMemory(native))
    const info = readFileSync('/proc/cpuinfo', 'utf8')
    const flags = new Set(/^flags\s*: (.*)$/m.exec(info)![1]!.split(' '))
    expect(features.vendor).toBe(/^vendor_id\s*: (.*)$/m.exec(info)![1])
    expect(features.avx2).toBe(['avx2', 'fma', 'f16c', 'bmi1', 'bmi2'].every((f) => flags.has(f)))
    const avx512 = ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl'].every((f) => flags.has(f))
    expect(features.avx512).toBe(avx512)
    expect(features.bf16).toBe(flags.has('avx512_bf16'))
    expect(features.vnni).toBe(flags.has('avx512_vnni'))
    const cache = (index: number) => {
      try {
        const folder = `/sys/devices/system/cpu/cpu0/cache/index${index}`
        return parseInt(readFileSync(`${folder}/size`, 'utf8')) * 1024
      } catch {
        return undefined
      }
    }
    if (cache(0) !== undefined) expect(features.l1Bytes).toBe(cache(0))
    if (cache(2) !== undefined) expect(features.l2Bytes).toBe(cache(2))
    if (cache(3) !== undefined) expect(features.l3Bytes).toBe(cache(3))
  })
})

test('answers of other processors are understood', () => {
  const zero: CpuidAnswer = { eax: 0, ebx: 0, ecx: 0, edx: 0 }
  const describe = (table: Record<string, Partial<CpuidAnswer>>, state = 0xe7) =>
    describeCpu(
      (leaf, subleaf) => ({ ...zero, ...table[`${leaf.toString(16)}.${subleaf}`] }),
      () => state,
    )
  // An Intel client chip without AVX-512, two threads per core: 48 KiB, 1.25 MiB, 24 MiB.
  const intel = {
    '0.0': { eax: 0x20, ebx: 0x756e6547, edx: 0x49656e69, ecx: 0x6c65746e },
    '1.0': { ecx: (1 << 27) | (1 << 28) | (1 << 12) | (1 << 29) },
    '7.0': { ebx: (1 << 5) | (1 << 3) | (1 << 8) },
    '4.0': { eax: 0x1c004121, ebx: (11 << 22) | 63, ecx: 63 },
    '4.1': { eax: 0x1c004122, ebx: (7 << 22) | 63, ecx: 63 },
    '4.2': { eax: 0x1c01c143, ebx: (9 << 22) | 63, ecx: 2047 },
    '4.3': { eax: 0x1c1fc163, ebx: (11 << 22) | 63, ecx: 32767 },
    'b.0': { ebx: 2, ecx: 0x100 },
  }
  expect(describe(intel)).toEqual({
    vendor: 'GenuineIntel',
    avx2: true,
    avx512: false,
    bf16: false,
    vnni: false,
    l1Bytes: 48 << 10,
    l2Bytes: 1280 << 10,
    l3Bytes: 24 << 20,
    threadsPerCore: 2,
  })
  const withAvx512 = {
    ...intel,
    '7.0': { eax: 1, ebx: -0x3ffd0000 | (1 << 5) | (1 << 3) | (1 << 8), ecx: 1 << 11 },
    '7.1': { eax: 1 << 5 },
  }
  expect(describe(withAvx512)).toMatchObject({ avx512: true, bf16: true, vnni: true })
  // The system does not save the wide registers, or none at all.
  expect(describe(withAvx512, 7)).toMatchObject({ avx2: true, avx512: false, vnni: false })
  expect(describe(withAvx512, 3)).toMatchObject({ avx2: false, avx512: false })
  // A processor of 2008.
  const old = { '0.0': { eax: 10 }, '1.0': { ecx: 0 } }
  expect(describe(old)).toMatchObject({ avx2: false, threadsPerCore: 1, l1Bytes: 32 << 10 })
})
