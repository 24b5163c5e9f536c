/** @file Memory of the cpu backend: slabs, the pool of large buffers, what is forgotten, and guarded blocks. */
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { memoryStats, ones, tensor } from 'tandem'
import type { CpuBlock } from '../../src/backend/cpu/block.ts'
import { LargePool } from '../../src/backend/cpu/large-pool.ts'
import { CpuMemory } from '../../src/backend/cpu/memory.ts'
import { loadNative, type Native } from '../../src/backend/cpu/native.ts'
import { describeMachineCode } from '../devices.ts'
import { childPrograms, type ChildPrograms } from './child-programs.ts'

const native = loadNative() as Native
const device = 'cpu'
const megabytes = () => process.memoryUsage.rss() / 2 ** 20

describeMachineCode('cpu memory', () => {
  test('live blocks never overlap, begin at multiples of 64 and keep their content', () => {
    const bytes = fc.oneof(
      fc.integer({ min: 1, max: 600 }),
      fc.integer({ min: 1, max: 20_000 }),
      fc.integer({ min: 1, max: 300_000 }),
    )
    const command = fc.record({ allocate: fc.integer({ max: 2, min: 0 }), bytes, pick: fc.nat() })
    const memory = new CpuMemory(native, 1 << 20)
    fc.assert(
      fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
        const live: { block: CpuBlock; mark: number }[] = []
        const check = ({ block, mark }: (typeof live)[0]) => {
          const { u8 } = block
          expect([u8[0], u8[u8.length - 1]]).toEqual([mark, mark])
        }
        for (const [i, { allocate, bytes: size, pick }] of commands.entries()) {
          if (allocate > 0 || live.length === 0) {
            const block = memory.allocate(size)
            expect(block.address % 64).toBe(0)
            expect(block.bytes).toBe(size)
            block.u8.fill(i & 255)
            live.push({ block, mark: i & 255 })
          } else {
            const [gone] = live.splice(pick % live.length, 1)
            check(gone!)
            memory.free(gone!.block)
            expect(gone!.block.address).toBe(0)
          }
        }
        live.forEach(check)
        live.sort((a, b) => a.block.address - b.block.address)
        for (const [i, { block }] of live.entries())
          if (i > 0)
            expect(live[i - 1]!.block.address + live[i - 1]!.block.bytes).toBeLessThanOrEqual(
              block.address,
            )
        for (const { block } of live) memory.free(block)
      }),
    )
  })

  test('what is freed is used again, the latest first', () => {
    const memory = new CpuMemory(native)
    for (const bytes of [4, 400, 16_000, 20_000, 5_000_000]) {
      const [a, b] = [memory.allocate(bytes), memory.allocate(bytes)]
      const [first, second] = [a.address, b.address]
      memory.free(a)
      memory.free(b)
      expect(memory.allocate(bytes).address).toBe(second)
      expect(memory.allocate(bytes).address).toBe(first)
    }
  })

  test('freeing twice does nothing', () => {
    const memory = new CpuMemory(native)
    for (const bytes of [100, 100_000]) {
      const block = memory.allocate(bytes)
      memory.free(block)
      const { current } = memory.stats()
      memory.free(block)
      expect(memory.stats().current).toBe(current)
      expect(memory.allocate(bytes).address).not.toBe(memory.allocate(bytes).address)
    }
  })

  test('the statistics count what is live, what was, and what waits', () => {
    const memory = new CpuMemory(native)
    const blocks = Array.from({ length: 10 }, () => memory.allocate(1 << 20))
    expect(memory.stats()).toEqual({ current: 10 << 20, peak: 10 << 20, reserved: 10 << 20 })
    for (const block of blocks.slice(5)) memory.free(block)
    expect(memory.stats()).toEqual({ current: 5 << 20, peak: 10 << 20, reserved: 10 << 20 })
    memory.allocate(1000)
    expect(memory.stats().current).toBe((5 << 20) + 1024)
  })

  test('the pool drops the oldest beyond its limit, and keeps none that is too large', () => {
    const pool = new LargePool(100)
    const slab = (bytes: number) => ({ buffer: new ArrayBuffer(0), start: 0, base: 0, bytes })
    const slabs = [slab(30), slab(40), slab(30), slab(40)]
    for (const one of slabs) pool.give(one)
    expect(pool.bytes).toBe(70)
    pool.give(slab(101))
    expect(pool.bytes).toBe(70)
    expect(pool.take(30)).toBe(slabs[2])
    expect(pool.take(30)).toBeUndefined()
    expect(pool.take(40)).toBe(slabs[3])
    expect(pool.take(40)).toBeUndefined()
    expect(pool.bytes).toBe(0)
  })

  test('content is seen in place, for a debugger', () => {
    const x = tensor([1, 2, 3], { device })
    const block = x.storage as CpuBlock
    expect([...block.f32]).toEqual([1, 2, 3])
    expect(block.i32[0]).toBe(0x3f800000)
    expect(block.f64.length).toBe(1)
  })

  test('a freed tensor says so when it is used', () => {
    for (const length of [3, 30_000]) {
      const x = ones([length], { device })
      x.dispose()
      expect(() => x.add(1)).toThrow(/was freed/)
      expect(() => x.dataSync()).toThrow(/was freed/)
    }
  })

  test('a synchronous loop that forgets its results runs in bounded memory', () => {
    const before = megabytes()
    for (const [length, rounds] of [
      [1, 300_000],
      [100, 300_000],
      [50_000, 20_000],
      [4_000_000, 200],
    ] as const) {
      const x = ones([length], { device })
      const kept = [x]
      for (let i = 1; i <= rounds; i++) {
        const y = x.add(i)
        if (i % (rounds / 10) === 0) kept.push(y)
      }
      expect(kept.map((t) => t.slice(0).itemSync())).toEqual(
        kept.map((_, i) => 1 + (i * rounds) / 10),
      )
    }
    expect(megabytes() - before).toBeLessThan(900)
    expect(memoryStats(device).current).toBeLessThan(900 << 20)
  })
})

/** Others than glibc have no such switch. */
const isGlibc =
  'glibcVersionRuntime' in (process.report.getReport() as unknown as { header: object }).header

describeMachineCode('large pages', () => {
  test.skipIf(!isGlibc)('buffers share them with their neighbours', async () => {
    const programs = await childPrograms(`
      export { CpuMemory } from '@/src/backend/cpu/memory.ts'
      export { loadNative } from '@/src/backend/cpu/native.ts'`)
    const { output, complaint } = await programs.run(`
      import { CpuMemory, loadNative } from './library.mjs'
      import { readFileSync } from 'node:fs'
      const memory = new CpuMemory(loadNative())
      const blocks = []
      for (let i = 0; i < 60; i++) {
        blocks.push(memory.allocate(1_700_000))
        blocks.at(-1).u8.fill(1)
      }
      // Of each mapping: from where to where, and whether large pages were wished. A system without them has no such flag.
      const parts = readFileSync('/proc/self/smaps', 'utf8').split(/\\n(?=[0-9a-f]+-[0-9a-f]+ )/)
      const mappings = parts.map((text) => ({
        ...text.match(/^(?<from>[0-9a-f]+)-(?<to>[0-9a-f]+)/).groups,
        isLarge: / hg/.test(text),
      }))
      const whole = new Set()
      for (const { address, bytes } of blocks) {
        const inside = mappings.filter((x) => parseInt(x.from, 16) < address + bytes && parseInt(x.to, 16) > address)
        for (const x of inside) whole.add(x)
      }
      console.log(JSON.stringify({ count: whole.size, large: [...whole].every((x) => x.isLarge) }))`)
    programs.remove()
    expect(complaint).toBe('')
    const { count, large } = JSON.parse(output) as { count: number; large: boolean }
    if (existsSync('/sys/kernel/mm/transparent_hugepage')) expect(large).toBe(true)
    // Large pages do not lie across mappings.
    expect(count).toBeLessThan(6)
  })
})

describeMachineCode('guarded memory', () => {
  let programs: ChildPrograms
  beforeAll(async () => {
    programs = await childPrograms(`
      export { GuardMemory } from '@/src/backend/cpu/guard-memory.ts'
      export { loadNative } from '@/src/backend/cpu/native.ts'
      export * from '@/src/index.ts'`)
  })
  afterAll(() => programs.remove())

  const touch = (action: string) =>
    programs.run(`
      import { GuardMemory, loadNative } from './library.mjs'
      const native = loadNative()
      const memory = new GuardMemory(native)
      const block = memory.allocate(100)
      const poke = (address) => native.copy(address, new Uint8Array(1))
      ${action}
      console.log('survived')`)

  test('every byte of a block is there, and the next one is not', async () => {
    const inside = await touch('poke(block.address); poke(block.address + 99)')
    expect(inside).toMatchObject({ signal: null, output: 'survived\n' })
    const beyond = await touch('poke(block.address + 100)')
    expect(beyond).toMatchObject({ signal: 'SIGSEGV', output: '' })
    const before = await touch('poke(Math.floor(block.address / 4096) * 4096 - 1)')
    expect(before).toMatchObject({ signal: 'SIGSEGV', output: '' })
  })

  test('a freed block is out of reach', async () => {
    const freed = await touch('const { address } = block; memory.free(block); poke(address)')
    expect(freed).toMatchObject({ signal: 'SIGSEGV', output: '' })
  })

  test('TANDEM_GUARD=1 puts tensors there', async () => {
    const { output, complaint } = await programs.run(
      `
      import { tensor, configure } from './library.mjs'
      const x = tensor([1, 2, 3, 4, 5])
      const ends = (t) => (t.storage.address + t.storage.bytes) % 4096
      const y = x.mul(2).add(x.slice([1, 4]).sum())
      console.log(ends(x), ends(y), y.toArraySync().join())
      x.dispose()
      try { x.add(1) } catch (error) { console.log(error.name) }`,
      { TANDEM_GUARD: '1', TANDEM_BACKEND: 'cpu' },
    )
    expect(output + complaint).toBe('0 0 11,13,15,17,19\nValueError\n')
  })
})
