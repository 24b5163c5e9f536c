/** @file Where machine code lies: pages that are writable while code is copied in, and executable otherwise. */
import { DeviceError } from '../../util/errors.ts'
import { FreeList } from '../free-list.ts'
import type { Native } from './native.ts'

const page = 4096
const line = 64
/** Arenas are reserved in pieces of this many bytes; pages that are never used cost nothing. */
const arenaBytes = 1 << 20

interface Arena {
  readonly start: number
  readonly end: number
  readonly free: FreeList
}

/**
 * Keeps pieces of machine code at addresses that are multiples of 64. Pages are never writable and
 * executable at once, so while a piece is installed its neighbours cannot run: the owner must be the
 * only thread that runs code from here, or all others must be asleep elsewhere.
 */
export class CodeMemory {
  readonly #native: Native
  readonly #arenas: Arena[] = []
  /** Bytes of each piece, by its address. */
  readonly #pieces = new Map<number, number>()

  constructor(native: Native) {
    this.#native = native
  }

  /** Bytes of the code that is installed. */
  bytes = 0

  /** Copies code in and returns its address. Throws a DeviceError where the system forbids to run it. */
  install(code: Uint8Array): number {
    const bytes = Math.ceil(Math.max(code.length, 1) / line) * line
    const address = this.#take(bytes)
    this.#write(address, code)
    this.#pieces.set(address, bytes)
    this.bytes += bytes
    return address
  }

  /** Gives the room of a piece back; whoever does so never runs it again. */
  release(address: number): void {
    const bytes = this.#pieces.get(address)
    if (bytes === undefined) return
    this.#pieces.delete(address)
    this.bytes -= bytes
    const arena = this.#arenas.find(({ start, end }) => start <= address && address < end)
    arena?.free.give(address, bytes)
  }

  #take(bytes: number): number {
    for (const arena of this.#arenas) {
      const address = arena.free.take(bytes)
      if (address !== 0) return address
    }
    const size = Math.ceil(bytes / arenaBytes) * arenaBytes
    const start = this.#native.map(size)
    const arena = { start, end: start + size, free: new FreeList(start) }
    arena.free.extend(arena.end)
    this.#arenas.push(arena)
    return arena.free.take(bytes)
  }

  #write(address: number, code: Uint8Array): void {
    const native = this.#native
    const from = Math.floor(address / page) * page
    const length = Math.ceil((address + code.length) / page) * page - from
    if (!native.protect(from, length, 'write'))
      throw new DeviceError('the system does not let code memory be written')
    native.copy(address, code)
    if (!native.protect(from, length, 'execute'))
      throw new DeviceError('the system forbids executable memory')
  }
}
