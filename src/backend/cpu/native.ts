/** @file The way to native code: koffi, loaded when first asked for, and the few C functions the backend needs. */

/** What pages may be used for. Never written and executed at once. */
export type Access = 'none' | 'write' | 'execute'

/** A machine-code procedure of up to six whole numbers below 2^53, returning nothing. */
export type Procedure = (...args: number[]) => void

/** Pages, threads and calls of the process. Addresses are plain numbers: user space ends below 2^48. */
export interface Native {
  /** Fresh zeroed pages for writing. Throws a RangeError when the system gives none. */
  map(bytes: number): number
  /** Says whether the system agreed. */
  protect(address: number, bytes: number, access: Access): boolean
  unmap(address: number, bytes: number): void
  copy(to: number, from: Uint8Array): void
  /** Where a buffer's bytes lie; they stay there as long as the buffer is alive and not transferred. */
  addressOf(buffer: ArrayBuffer): number
  /** An ArrayBuffer over foreign memory, whose life is the caller's business. */
  view(address: number, bytes: number): ArrayBuffer
  procedure(address: number, argumentCount: number): Procedure
  /** Starts a thread of the system with no signals, which nobody joins. Says whether it could. */
  startThread(code: number, argument: number): boolean
  /** Wakes every thread that waits on the word at `address`. */
  wakeAll(address: number): void
  /** Lets another thread run. */
  yield(): void
  /** The system's numbers for this process and for the thread that calls. */
  readonly processId: number
  readonly threadId: number
  /** Asks for large pages wherever one would touch a buffer; a wish only. */
  wishLargePages(address: number, bytes: number): void
  /** Where the heap that buffers come from ends, with room for the next ones; 0 where that is not known. */
  heapEnd(): number
  /** Lets the C library keep the pages of freed buffers for the next ones, up to so many bytes. */
  keepFreedPages(bytes: number): void
}

/** The part of koffi that is used here. */
interface Koffi {
  load(path: string | null): {
    func(name: string, result: string, args: readonly string[]): NativeFunction
  }
  proto(result: string, args: readonly string[]): unknown
  decode(address: number, type: unknown): NativeFunction
  address(value: ArrayBuffer): bigint
  view(address: number, bytes: number): ArrayBuffer
}
type NativeFunction = (...args: unknown[]) => unknown

interface Host {
  readonly platform?: string
  readonly arch?: string
  readonly pid?: number
  getBuiltinModule?(name: string): unknown
}

let known: Native | string | undefined

/** Native calls, or the reason why there are none. The first call of the process loads koffi. */
export function loadNative(): Native | string {
  return (known ??= findNative())
}

/** A module of Node, Bun or Deno, by its bare name; undefined in browsers. Nothing is imported, so bundlers see nothing. */
export function builtinModule<T>(name: string): T | undefined {
  const { process } = globalThis as { process?: Host }
  return process?.getBuiltinModule?.(name) as T | undefined
}

function findNative(): Native | string {
  const { process } = globalThis as { process?: Host }
  if (process?.platform !== 'linux' || process.arch !== 'x64')
    return `it needs Linux on x86-64, and this is ${process?.platform ?? 'a browser'} on ${process?.arch ?? 'an unknown processor'}`
  const modules = builtinModule<{ createRequire(from: string): (id: string) => unknown }>('module')
  if (modules === undefined) return 'it needs process.getBuiltinModule (Node 20.16 or later)'
  let koffi: Koffi
  try {
    koffi = modules.createRequire(import.meta.url)('koffi') as Koffi
  } catch (error) {
    return `the package koffi cannot be loaded (${firstLine(error)}). Install it: npm install koffi`
  }
  try {
    return bind(koffi)
  } catch (error) {
    return `the C library cannot be used (${firstLine(error)})`
  }
}

const firstLine = (error: unknown) => String((error as Error).message ?? error).split('\n')[0]

const flags = { none: 0, write: 3, execute: 5 } as const
/** MAP_PRIVATE | MAP_ANONYMOUS. */
const mapFlags = 0x22
/** Numbers of system calls, and FUTEX_WAKE_PRIVATE. */
const calls = { gettid: 186, futex: 202, wake: 129 }
/** MADV_HUGEPAGE. */
const hugePages = 14
/** What a wish for large pages is about, and starts at multiples of. */
export const largePage = 2 << 20
/** SIG_SETMASK. */
const setMask = 2
/** M_TRIM_THRESHOLD, M_TOP_PAD, and M_MMAP_MAX: how many blocks may be mapped by themselves, and so unmapped when they are freed. */
const [trimThreshold, topPad, mapMost] = [-1, -2, -4]
/** Bytes that the heap grows by at least. */
const heapGrowth = 64 << 20

function bind(koffi: Koffi): Native {
  const find = finder(koffi)
  const mmap = find('mmap', 'intptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'intptr_t'])
  const mprotect = find('mprotect', 'int', ['uintptr_t', 'size_t', 'int'])
  const munmap = find('munmap', 'int', ['uintptr_t', 'size_t'])
  const madvise = find('madvise', 'int', ['uintptr_t', 'size_t', 'int'])
  const memcpy = find('memcpy', 'void', ['uintptr_t', 'const void *', 'size_t'])
  const sigmask = find('pthread_sigmask', 'int', ['int', 'const void *', 'void *'])
  const create = find('pthread_create', 'int', ['void *', 'uintptr_t', 'uintptr_t', 'uintptr_t'])
  const detach = find('pthread_detach', 'int', ['uintptr_t'])
  const yieldNow = find('sched_yield', 'int', [])
  const systemCall = find('syscall', 'long', ['long', 'uintptr_t', 'uintptr_t', 'uintptr_t'])
  const mallopt = optional(() => find('mallopt', 'int', ['int', 'int']))
  const sbrk = optional(() => find('sbrk', 'intptr_t', ['intptr_t']))
  const prototypes: unknown[] = []

  return {
    map(bytes) {
      const address = mmap(0, bytes, flags.write, mapFlags, -1, 0) as number
      if (address <= 0) throw new RangeError(`the system gives no ${bytes} bytes of memory`)
      return address
    },
    protect: (address, bytes, access) => mprotect(address, bytes, flags[access]) === 0,
    unmap: (address, bytes) => void munmap(address, bytes),
    copy: (to, from) => void memcpy(to, from, from.length),
    addressOf: (buffer) => Number(koffi.address(buffer)),
    view: (address, bytes) => koffi.view(address, bytes),
    procedure(address, count) {
      const args = new Array<string>(count).fill('uintptr_t')
      const type = (prototypes[count] ??= koffi.proto('void', args))
      return koffi.decode(address, type) as Procedure
    },
    startThread(code, argument) {
      // A thread inherits the mask of the one that makes it: signals stay with JavaScript's threads.
      const every = new Uint8Array(128).fill(255)
      const before = new Uint8Array(128)
      const thread = new Uint32Array(2)
      sigmask(setMask, every, before)
      const failed = create(thread, 0, code, argument)
      sigmask(setMask, before, null)
      if (failed === 0) detach(thread[0]! + thread[1]! * 2 ** 32)
      return failed === 0
    },
    wakeAll: (address) => void systemCall(calls.futex, address, calls.wake, 2 ** 31 - 1),
    yield: () => void yieldNow(),
    processId: (globalThis as { process?: Host }).process?.pid ?? 0,
    threadId: Number(systemCall(calls.gettid, 0, 0, 0)),
    wishLargePages(address, bytes) {
      const begin = Math.floor(address / largePage) * largePage
      const end = Math.ceil((address + bytes) / largePage) * largePage
      madvise(begin, end - begin, hugePages)
    },
    heapEnd: () => Math.max(0, (sbrk?.(0) as number | undefined) ?? 0),
    keepFreedPages(bytes) {
      // Fresh pages cost more than the work on them. Only glibc has these switches.
      mallopt?.(mapMost, 0)
      mallopt?.(trimThreshold, Math.min(bytes, 2 ** 31 - 1))
      // A large page never lies across what two growths of the heap gave: they should be few.
      mallopt?.(topPad, heapGrowth)
    },
  }
}

function optional<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** Symbols of the process itself, else of the C library by its name: glibc's, then musl's. */
function finder(koffi: Koffi) {
  const open = (path: string | null) => optional(() => koffi.load(path))
  const libraries = [null, 'libc.so.6', 'libpthread.so.0', 'libc.musl-x86_64.so.1'].map((path) => ({
    path,
    library: undefined as ReturnType<typeof open>,
  }))
  return (name: string, result: string, args: readonly string[]): NativeFunction => {
    let failure: unknown
    for (const entry of libraries) {
      entry.library ??= open(entry.path)
      if (entry.library === undefined) continue
      try {
        return entry.library.func(name, result, args)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }
}
