/** @file Machine code kept between processes: what is read back, and what is never used. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CodeCache } from '../../src/backend/cpu/code-cache.ts'
import { packKernel, unpackKernel } from '../../src/backend/cpu/kernel-record.ts'
import { cacheFolder } from '../../src/util/cache-folder.ts'
import { withConfig } from '../../src/util/config.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-code-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

const keys = ['a<s0;x', 'a<s0;y']
const code = Uint8Array.of(0xc3, 1, 2, 3)

function keep(cache: CodeCache, content = code): void {
  const shelf = cache.shelf(keys)
  shelf.slot(keys[0]!).write('kernel', content)
  shelf.save()
}
const kept = (cache: CodeCache, of = keys) => cache.shelf(of).slot(keys[0]!).read('kernel')
const files = () => readdirSync(folder).map((name) => join(folder, name))

describe('what is kept', () => {
  it('is read by the next process, for the same kernels, library and processor only', () => {
    keep(new CodeCache(folder, 'one'))
    expect([...kept(new CodeCache(folder, 'one'))!]).toEqual([...code])
    expect(kept(new CodeCache(folder, 'another'))).toBeUndefined()
    expect(kept(new CodeCache(folder, 'one'), [...keys, 'z'])).toBeUndefined()
    const slot = new CodeCache(folder, 'one').shelf(keys).slot(keys[0]!)
    expect(slot.read('streaming')).toBeUndefined()
  })

  it('is a file of the user alone, and nothing is written without new code', () => {
    const inside = join(folder, 'made')
    keep(new CodeCache(inside, 'one'))
    if (process.platform !== 'win32') expect(statSync(inside).mode & 0o777).toBe(0o700)
    const empty = join(folder, 'empty')
    new CodeCache(empty, 'one').shelf(keys).save()
    expect(readdirSync(folder)).toEqual(['made'])
    expect(readdirSync(inside)).toHaveLength(1)
  })

  it('is bounded: what was used longest ago goes', () => {
    const cache = new CodeCache(folder, 'one', 5000)
    for (let i = 0; i < 4; i++) {
      const shelf = cache.shelf([`k${i}`])
      shelf.slot(`k${i}`).write('kernel', new Uint8Array(2000).fill(i))
      shelf.save()
      for (const path of files()) {
        const { mtimeMs } = statSync(path)
        utimesSync(path, mtimeMs / 1000 - 10, mtimeMs / 1000 - 10)
      }
    }
    const has = (i: number) =>
      cache
        .shelf([`k${i}`])
        .slot(`k${i}`)
        .read('kernel') !== undefined
    expect([0, 1, 2, 3].map(has)).toEqual([false, false, true, true])
  })
})

describe('what is not used', () => {
  it('is a damaged, cut or foreign file, which is said and written anew', () => {
    const cache = new CodeCache(folder, 'one')
    keep(cache)
    const [path] = files() as [string]
    const whole = readFileSync(path)
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const bad = [new Uint8Array(), new TextEncoder().encode('something else altogether'.repeat(9))]
    for (let at = 0; at < whole.length; at += 1) {
      const changed = Uint8Array.from(whole)
      changed[at]! ^= 1 << (at % 8)
      bad.push(changed, whole.subarray(0, at))
    }
    withConfig({ debug: 1 }, () => {
      for (const bytes of bad) {
        writeFileSync(path, bytes)
        said.mockClear()
        expect(kept(cache)).toBeUndefined()
        expect(said).toHaveBeenCalledOnce()
      }
    })
    said.mockRestore()
    keep(cache)
    expect(readFileSync(path).equals(whole)).toBe(true)
  })

  it.skipIf(process.platform === 'win32')('lies in a folder that others may write', () => {
    const cache = new CodeCache(folder, 'one')
    keep(cache)
    chmodSync(folder, 0o777)
    expect(kept(cache)).toBeUndefined()
    chmodSync(folder, 0o700)
    expect(kept(cache)).toBeDefined()
  })

  it('is what cannot be kept: a folder that cannot be made is no error', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const cache = new CodeCache(join(file, 'inside'), 'one')
    keep(cache)
    expect(kept(cache)).toBeUndefined()
  })
})

it('packs kernels, with and without a share', () => {
  const common = { name: 'é', code, memories: ['f32' as const], operands: 1, isChecked: true }
  const numbers = { sizeCount: 2, paramCount: 3, scratchBytes: 4 }
  const work = { cost: 1.5, loops: [] }
  const share = { formulas: [7, null, { slot: 1 }], end: 2, runEnd: -1, work }
  for (const kernel of [
    { ...common, ...numbers, share },
    { ...common, ...numbers, share: undefined },
  ]) {
    const { code: back, ...about } = unpackKernel(packKernel(kernel))
    const { code: _, ...expected } = kernel
    expect(about).toEqual(expected)
    expect([...back]).toEqual([...code])
  }
})

it('finds its folder', () => {
  vi.stubEnv('TANDEM_CACHE', folder)
  expect(cacheFolder('/home/me')).toBe(folder)
  vi.stubEnv('TANDEM_CACHE', '0')
  expect(cacheFolder('/home/me')).toBeUndefined()
  vi.stubEnv('TANDEM_CACHE', '')
  vi.stubEnv(process.platform === 'win32' ? 'LOCALAPPDATA' : 'XDG_CACHE_HOME', folder)
  expect(cacheFolder('/home/me')).toBe(join(folder, 'tandem'))
})
