/** @file The wasm backend's memory: the free list, and eviction of blocks nobody freed. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ones, tensor, tidy } from 'tandem'
import { FreeList } from '../../src/backend/free-list.ts'
import { WasmMemory, type WasmBlock } from '../../src/backend/wasm/memory.ts'

test('the free list never hands out the same bytes twice and merges what comes back', () => {
  const command = fc.record({
    take: fc.boolean(),
    lines: fc.integer({ min: 1, max: 400 }),
    pick: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const list = new FreeList(64)
      list.extend(1 << 24)
      const live: { at: number; bytes: number }[] = []
      for (const { take, lines, pick } of commands) {
        if (take || live.length === 0) {
          const bytes = lines * 64
          const at = list.take(bytes)
          expect(at).toBeGreaterThan(0)
          for (const other of live)
            expect(at + bytes <= other.at || other.at + other.bytes <= at).toBe(true)
          live.push({ at, bytes })
        } else {
          const [gone] = live.splice(pick % live.length, 1)
          list.give(gone!.at, gone!.bytes)
        }
      }
      // Large ranges given back join: all of it can be taken in one piece again.
      for (const { at, bytes } of live) list.give(at, bytes)
    }),
  )
})

test('evicted blocks keep their content and come back when touched', () => {
  const memory = new WasmMemory(1 << 20)
  const blocks: WasmBlock[] = []
  for (let i = 0; i < 600; i++) {
    memory.clock += 100
    const block = memory.allocate(1000 + i * 16)
    memory.u8.fill(i & 255, block.address, block.address + block.bytes)
    blocks.push(block)
  }
  expect(blocks.filter((b) => b.address === 0).length).toBeGreaterThan(300)
  expect(memory.stats().current).toBeLessThan(3 << 20)
  const order = blocks.map((_, i) => (i * 7919) % blocks.length)
  for (const i of order) {
    memory.clock += 100
    const block = blocks[i]!
    const at = memory.touch(block)
    expect(memory.u8[at]).toBe(i & 255)
    expect(memory.u8[at + block.bytes - 1]).toBe(i & 255)
  }
})

test('blocks of the running launch are never evicted', () => {
  const memory = new WasmMemory(1 << 16)
  const first = memory.allocate(60000)
  memory.u8[first.address] = 42
  const second = memory.allocate(60000)
  expect(first.address).not.toBe(0)
  expect(second.address).not.toBe(0)
  expect(memory.u8[first.address]).toBe(42)
})

test('pinned blocks stay where they are', () => {
  const memory = new WasmMemory(1 << 18)
  const parameter = memory.allocate(100_000)
  memory.pin(parameter)
  const at = parameter.address
  for (let i = 0; i < 100; i++) {
    memory.clock += 100
    memory.allocate(50_000)
  }
  expect(parameter.address).toBe(at)
})

test('a synchronous loop that forgets its results runs in bounded memory', () => {
  const x = ones([50_000])
  const kept = [x]
  for (let i = 0; i < 3000; i++) {
    const y = x.add(i)
    if (i % 1000 === 500) kept.push(y)
  }
  expect(kept.map((t) => t.slice(7).itemSync())).toEqual([1, 501, 1501, 2501])
  expect(x.backend.memoryStats().reserved).toBeLessThan(400 << 20)
})

test('a disposed tensor says so when read', () => {
  const x = tensor([1, 2])
  x.dispose()
  expect(() => x.add(1)).toThrow(/was freed/)
})

test('tidy frees what is made inside and keeps what is returned', () => {
  let inside
  const kept = tidy(() => {
    inside = tensor([1, 2])
    return { sum: inside.add(1), list: [inside.mul(2)] }
  })
  expect(kept.sum.toArraySync()).toEqual([2, 3])
  expect(kept.list[0]!.toArraySync()).toEqual([2, 4])
  expect(() => inside!.dataSync()).toThrow(/was freed/)
})

test('a block that was pinned for a while is moved out once', () => {
  const memory = new WasmMemory(1 << 20)
  const first = memory.allocate(1 << 17)
  memory.pin(first)
  memory.unpin(first)
  memory.clock += 1000
  for (let i = 0; i < 40; i++) {
    const block = memory.allocate(1 << 17)
    memory.clock += 1000
    expect(block.address).toBeGreaterThan(0)
  }
  expect(first.address).toBe(0)
  expect(memory.stats().current).toBeGreaterThan(0)
  expect(memory.touch(first)).toBeGreaterThanOrEqual(65536)
})
